//! Text that must not be seen: keys and passwords of settings and people, tokens and hashes.

use std::{fmt, ops::Deref};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Text that must not reach a log; wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Text for one answer or one row, and for no log: a token that its owner is shown, the hash of a
/// password. Schemas call it a string, by `value_type = String`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Hidden(String);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Deref for Hidden {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_text_is_sent_and_not_printed() {
        let (secret, hidden) = (Secret::new("rahasia"), Hidden::from("rahasia".to_owned()));
        assert_eq!(format!("{secret:?} {hidden:?}"), "Secret(***) Hidden(***)");
        assert_eq!((secret.reveal(), &*hidden), ("rahasia", "rahasia"));
        assert_eq!(serde_json::to_value(&hidden).unwrap(), "rahasia");
        let read: Hidden = serde_json::from_str(r#""rahasia""#).unwrap();
        assert_eq!(read, hidden);
    }
}
