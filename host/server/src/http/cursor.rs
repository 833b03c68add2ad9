//! Cursors: places in a list, by which it is read on without gaps and repetitions while it grows.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use dermaga_shop::{db::Place, input};
use serde::{Deserialize, Deserializer, de};

/// Place in a list, as clients send it back. It names no list and no owner: what a client may see is decided by
/// the request that it comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor<K>(pub Place<K>);

/// The text is not a cursor of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `nextCursor` of an answer of this list")]
pub struct NoCursor;

impl<K: fmt::Display> fmt::Display for Cursor<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Place { at, tie }) = self;
        let place = format!("{}.{tie}", at.timestamp_millis());
        f.write_str(&URL_SAFE_NO_PAD.encode(place))
    }
}

impl<K: FromStr + fmt::Display> FromStr for Cursor<K> {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let place = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoCursor)?;
        let place = String::from_utf8(place).map_err(|_| NoCursor)?;
        let (at, tie) = place.split_once('.').ok_or(NoCursor)?;
        let at = at.parse().map_err(|_| NoCursor)?;
        let at = DateTime::from_timestamp_millis(at).ok_or(NoCursor)?;
        let tie = tie.parse().map_err(|_| NoCursor)?;
        let cursor = Self(Place { at, tie });
        // Numbers and ids are read in several spellings, of which the shop writes one.
        let is_as_written = cursor.to_string() == text;
        let is_storable = (DateTime::UNIX_EPOCH..=input::last_moment()).contains(&at);
        if is_as_written && is_storable {
            Ok(cursor)
        } else {
            Err(NoCursor)
        }
    }
}

impl<'de, K: FromStr + fmt::Display> Deserialize<'de> for Cursor<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use dermaga_shop::{ids::DecisionId, wallet::TransactionNumber};

    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let at = DateTime::from_timestamp_millis(1_790_000_000_123).unwrap();
        let tie = DecisionId::from_u128(7);
        let cursor = Cursor(Place { at, tie });
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        let tie = TransactionNumber::from(101);
        let number = Cursor(Place { at, tie });
        assert_eq!(number.to_string().parse(), Ok(number));
        let other = cursor.to_string().parse::<Cursor<TransactionNumber>>();
        assert_eq!(other, Err(NoCursor), "of another list");
    }

    #[test]
    fn other_texts_are_refused() {
        let packed = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for wrong in [
            String::new(),
            "1".to_owned(),
            "x y".to_owned(),
            packed(""),
            packed("1790000000123"),
            packed("soon.TXMP-1"),
            packed("9223372036854775807.TXMP-1"),
            packed("1790000000123.TXMP-1 OR 1=1"),
            packed("-1.TXMP-1"),
            packed("+1790000000123.TXMP-1"),
            packed("01790000000123.TXMP-1"),
            packed("1790000000123.TXMP-01"),
            packed("253402300800000.TXMP-1"),
            format!("{}=", packed("1790000000123.TXMP-12")),
        ] {
            let read = wrong.parse::<Cursor<TransactionNumber>>();
            assert_eq!(read, Err(NoCursor), "{wrong}");
        }
        let id = DecisionId::from_u128(0xabc).to_string();
        let with_id =
            |id: &str| packed(&format!("1790000000123.{id}")).parse::<Cursor<DecisionId>>();
        assert!(with_id(&id).is_ok());
        for other in [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}")] {
            assert_eq!(with_id(&other), Err(NoCursor), "{other}");
        }
    }
}
