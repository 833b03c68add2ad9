//! Cursors: places in a list, by which it is read on without gaps and repetitions while it grows.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dermaga_shop::db::Place;
use serde::{Deserialize, Deserializer, de};

use super::lists::{Listed, Rank};

/// Place in a list, as clients send it back. It names the list and no owner: what a client may see is decided by
/// the request that it comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor<L: Listed>(pub Place<L::Key, L::Rank>);

/// The text is not a cursor of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `nextCursor` of an answer of this list")]
pub struct NoCursor;

impl<L: Listed> fmt::Display for Cursor<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Place { at, tie }) = self;
        let place = format!("{}.{}.{tie}", L::NAME, at.number());
        f.write_str(&URL_SAFE_NO_PAD.encode(place))
    }
}

impl<L: Listed> FromStr for Cursor<L> {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let place = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoCursor)?;
        let place = String::from_utf8(place).map_err(|_| NoCursor)?;
        let (list, place) = place.split_once('.').ok_or(NoCursor)?;
        if list != L::NAME {
            return Err(NoCursor);
        }
        let (at, tie) = place.split_once('.').ok_or(NoCursor)?;
        let at = at.parse().map_err(|_| NoCursor)?;
        let at = <L::Rank as Rank>::of_number(at).ok_or(NoCursor)?;
        let tie = tie.parse().map_err(|_| NoCursor)?;
        let cursor = Self(Place { at, tie });
        // Numbers and ids are read in several spellings, of which the shop writes one.
        if cursor.to_string() == text {
            Ok(cursor)
        } else {
            Err(NoCursor)
        }
    }
}

impl<'de, L: Listed> Deserialize<'de> for Cursor<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use dermaga_shop::{
        ids::{DecisionId, NotificationId, UserId},
        money::Rupiah,
        wallet::TransactionNumber,
    };

    use super::*;
    use crate::http::lists::{
        Decisions, Notifications, OwnTransactions, SecurityEvents, Transactions, Wallets,
    };

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let at = DateTime::from_timestamp_millis(1_790_000_000_123).unwrap();
        let tie = DecisionId::from_u128(7);
        let cursor = Cursor::<Decisions>(Place { at, tie });
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        let tie = TransactionNumber::from(101);
        let number = Cursor::<Transactions>(Place { at, tie });
        assert_eq!(number.to_string().parse(), Ok(number));
        let other = cursor.to_string().parse::<Cursor<Transactions>>();
        assert_eq!(other, Err(NoCursor), "of another list");
        let (at, tie) = (Rupiah::new(50_000), UserId::from_u128(7));
        let balance = Cursor::<Wallets>(Place { at, tie });
        assert_eq!(balance.to_string().parse(), Ok(balance));
        let debt = Cursor::<Wallets>(Place {
            at: Rupiah::new(-1),
            tie,
        });
        let read = debt.to_string().parse::<Cursor<Wallets>>();
        assert_eq!(read, Err(NoCursor), "of a balance that no wallet has");
    }

    /// Places of both lists have one form.
    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let at = DateTime::from_timestamp_millis(1_790_000_000_123).unwrap();
        let tie = TransactionNumber::from(101);
        let own = Cursor::<OwnTransactions>(Place { at, tie }).to_string();
        assert!(own.parse::<Cursor<OwnTransactions>>().is_ok());
        assert_eq!(own.parse::<Cursor<Transactions>>(), Err(NoCursor));
        let tie = NotificationId::from_u128(7);
        let inbox = Cursor::<Notifications>(Place { at, tie }).to_string();
        assert_eq!(inbox.parse::<Cursor<SecurityEvents>>(), Err(NoCursor));
    }

    #[test]
    fn other_texts_are_refused() {
        let packed = |text: &str| URL_SAFE_NO_PAD.encode(text);
        assert!(
            packed("own.1790000000123.TXMP-1")
                .parse::<Cursor<OwnTransactions>>()
                .is_ok()
        );
        for wrong in [
            String::new(),
            "1".to_owned(),
            "x y".to_owned(),
            packed(""),
            packed("own"),
            packed("own.1790000000123"),
            packed("1790000000123.TXMP-1"),
            packed("OWN.1790000000123.TXMP-1"),
            packed(".1790000000123.TXMP-1"),
            packed("own.soon.TXMP-1"),
            packed("own.9223372036854775807.TXMP-1"),
            packed("own.1790000000123.TXMP-1 OR 1=1"),
            packed("own.-1.TXMP-1"),
            packed("own.+1790000000123.TXMP-1"),
            packed("own.01790000000123.TXMP-1"),
            packed("own.1790000000123.TXMP-01"),
            packed("own.253402300800000.TXMP-1"),
            format!("{}=", packed("own.1790000000123.TXMP-12")),
        ] {
            let read = wrong.parse::<Cursor<OwnTransactions>>();
            assert_eq!(read, Err(NoCursor), "{wrong}");
        }
        let id = DecisionId::from_u128(0xabc).to_string();
        let with_id = |id: &str| {
            packed(&format!("decisions.1790000000123.{id}")).parse::<Cursor<Decisions>>()
        };
        assert!(with_id(&id).is_ok());
        for other in [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}")] {
            assert_eq!(with_id(&other), Err(NoCursor), "{other}");
        }
    }
}
