//! Administrators who act, and the reasons that they give.

use std::str::FromStr;

use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{ids::UserId, text};

/// Administrator who acts, with the reason where one was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct By<'a> {
    pub actor_id: UserId,
    pub reason: Option<&'a str>,
}

impl<'a> By<'a> {
    /// Returns an administrator who had to give a reason.
    pub const fn because(actor_id: UserId, reason: &'a str) -> Self {
        Self {
            actor_id,
            reason: Some(reason),
        }
    }

    /// Returns an administrator who was free to give a reason.
    pub fn given(actor_id: UserId, reason: Option<&'a GivenReason>) -> Self {
        Self {
            actor_id,
            reason: reason.map(GivenReason::as_str),
        }
    }
}

impl From<UserId> for By<'_> {
    fn from(actor_id: UserId) -> Self {
        Self {
            actor_id,
            reason: None,
        }
    }
}

/// Reason for an act, which the audit trail keeps: 10 to 500 characters, without the blanks around them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema, Validate)]
#[serde(transparent)]
#[garde(transparent)]
#[schema(min_length = 10, max_length = 500, format = "reason")]
pub struct GivenReason(
    #[serde(deserialize_with = "crate::text::typed_reason")]
    #[garde(length(chars, max = 500), custom(crate::text::reason))]
    String,
);

impl GivenReason {
    /// Returns the text as the audit trail keeps it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<GivenReason> for String {
    fn from(reason: GivenReason) -> Self {
        reason.0
    }
}

/// Reads a reason that is a part of a form.
impl FromStr for GivenReason {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        // Forms end lines with CR and LF.
        let lines = typed.replace("\r\n", "\n");
        text::given_reason(&lines).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_reason_is_read_alike_from_a_body_and_a_form() {
        let reason: GivenReason = from_value(json!("It was sold\u{202e} out.")).unwrap();
        assert_eq!(reason.as_str(), "It was sold out.");
        reason.validate().unwrap();
        assert_eq!("It was sold\u{202e} out.".parse(), Ok(reason));
        let lines: GivenReason = "It was sold\r\nout.".parse().unwrap();
        assert_eq!(lines.as_str(), "It was sold\nout.");
        let padded = format!(" \n{}\u{a0}", "x".repeat(500));
        let read: GivenReason = from_value(json!(padded)).unwrap();
        assert_eq!(read.as_str(), "x".repeat(500));
        read.validate().unwrap();
        assert_eq!(padded.parse(), Ok(read));
        assert!(from_value::<GivenReason>(json!(5)).is_err());
        let unseen = "must say why, in at least 10 characters that can be seen";
        let endless = "x".repeat(501);
        let long = "must be at most 500 characters, not 501";
        for (wrong, told) in [
            ("", unseen),
            ("Because", unseen),
            ("   Because   ", unseen),
            ("            ", unseen),
            ("\u{200b}Because\u{200b}\u{200b}", unseen),
            (endless.as_str(), long),
        ] {
            let read: GivenReason = from_value(json!(wrong)).unwrap();
            assert!(read.validate().is_err(), "{wrong}");
            let fault = wrong.parse::<GivenReason>().unwrap_err();
            assert_eq!(fault, told, "{wrong}");
        }
    }
}
