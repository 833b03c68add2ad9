//! Legal changes of a subscription's stored status, in one table that the database keeps too.

use super::SubscriptionStatus;
use crate::{Code, Error, Result};

impl SubscriptionStatus {
    /// Returns true when a subscription of this status may become `next`, or stays as it is.
    pub const fn may_become(self, next: Self) -> bool {
        use SubscriptionStatus::{Active, Cancelled, Expired, PastDue, Suspended};
        match (self, next) {
            (Active, Active | PastDue | Suspended)
            | (PastDue, PastDue | Active | Suspended)
            // Its grace is over: it is paid for, or it ends.
            | (Suspended, Suspended | Active)
            | (Active | PastDue | Suspended, Cancelled | Expired)
            | (Cancelled, Cancelled)
            | (Expired, Expired) => true,
            (Suspended, PastDue)
            | (Cancelled, Active | PastDue | Suspended | Expired)
            | (Expired, Active | PastDue | Suspended | Cancelled) => false,
        }
    }

    /// Refuses a change that is not legal.
    ///
    /// # Errors
    /// `INVALID_STATE` with the present status.
    pub fn check_move(self, next: Self) -> Result<()> {
        if self.may_become(next) && self != next {
            return Ok(());
        }
        let message = if !self.is_live() {
            format!("This subscription is {self}: it has ended.")
        } else if self == next {
            format!("This subscription is {self} already.")
        } else {
            format!("This subscription is {self} and cannot become {next}.")
        };
        Err(Error::new(Code::InvalidState, message))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{execute, test_database::TestDatabase};

    /// Every pair, from and to, is legal or not, as the table says; the ended stay as they are.
    #[test]
    fn every_pair_is_decided() {
        use SubscriptionStatus::{Active, Cancelled, Expired, PastDue, Suspended};
        let legal = [
            (Active, vec![PastDue, Suspended, Cancelled, Expired]),
            (PastDue, vec![Active, Suspended, Cancelled, Expired]),
            (Suspended, vec![Active, Cancelled, Expired]),
            (Cancelled, vec![]),
            (Expired, vec![]),
        ];
        assert_eq!(legal.len(), SubscriptionStatus::ALL.len());
        for (from, nexts) in legal {
            for &to in SubscriptionStatus::ALL {
                let expected = from == to || nexts.contains(&to);
                assert_eq!(from.may_become(to), expected, "{from} {to}");
                let is_move = from != to && expected;
                assert_eq!(from.check_move(to).is_ok(), is_move, "{from} {to}");
            }
        }
    }

    #[test]
    fn a_refusal_says_why() {
        use SubscriptionStatus::{Active, Cancelled, Expired, PastDue, Suspended};
        for (from, to, message) in [
            (
                Expired,
                Expired,
                "This subscription is EXPIRED: it has ended.",
            ),
            (
                Cancelled,
                Expired,
                "This subscription is CANCELLED: it has ended.",
            ),
            (Active, Active, "This subscription is ACTIVE already."),
            (
                Suspended,
                PastDue,
                "This subscription is SUSPENDED and cannot become PAST_DUE.",
            ),
        ] {
            let refused = from.check_move(to).unwrap_err();
            assert_eq!(refused.message, message);
        }
    }

    /// The database refuses exactly the pairs that the table refuses.
    #[tokio::test]
    async fn the_database_keeps_the_same_table() {
        let database = TestDatabase::open().await;
        let plan = database
            .sell("service-test", "registry.example/app:1")
            .await;
        let end = database.clock.now() + TimeDelta::days(30);
        for &from in SubscriptionStatus::ALL {
            for &to in SubscriptionStatus::ALL {
                let id = database.subscribe(plan, from.as_str(), end).await;
                let mut conn = database.db.begin().await.unwrap();
                let sql = "UPDATE subscriptions SET status = $2 WHERE id = $1";
                let changed = execute!(conn, sql, id, to);
                assert_eq!(changed.is_ok(), from.may_become(to), "{from} {to}");
            }
        }
    }
}
