//! The share of the gateway that one customer may use up: it serves the whole shop.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{Code, Error, Result, ids::UserId, text::counted};

/// Acts of one customer, each a question or two, within [`WINDOW`].
const ACTS: u32 = 60;
const WINDOW: TimeDelta = TimeDelta::minutes(1);
/// Beyond this, customers whose window is over are forgotten.
const REMEMBERED: usize = 10_000;

/// The acts of each customer in their present window, on this server.
#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<HashMap<UserId, Spent>>);

#[derive(Debug, Clone, Copy)]
struct Spent {
    since: DateTime<Utc>,
    acts: u32,
}

impl Budget {
    /// Counts one attempt.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` when the customer has used their share up.
    pub(super) fn spend(&self, user_id: UserId, now: DateTime<Utc>) -> Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |spent: &Spent| now >= spent.since + WINDOW || now < spent.since;
        if all.len() >= REMEMBERED {
            all.retain(|_, spent| !is_over(spent));
        }
        let fresh = Spent {
            since: now,
            acts: 0,
        };
        let spent = all.entry(user_id).or_insert(fresh);
        if is_over(spent) {
            *spent = fresh;
        }
        if spent.acts >= ACTS {
            let left = (spent.since + WINDOW - now).num_seconds().max(1);
            let message = format!(
                "You have asked for too many payments at once. Try again in {}.",
                counted(left, "second")
            );
            return Err(Error::new(Code::TooManyRequests, message).retry_after(left.unsigned_abs()));
        }
        spent.acts += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_customer_cannot_use_up_the_share_of_another() {
        let budget = Budget::default();
        let (greedy, modest) = (UserId::from_u128(1), UserId::from_u128(2));
        let now = DateTime::UNIX_EPOCH;
        for _ in 0..ACTS {
            budget.spend(greedy, now).unwrap();
        }
        let later = now + TimeDelta::seconds(20);
        let error = budget.spend(greedy, later).unwrap_err();
        assert_eq!(
            (error.code, error.retry_after),
            (Code::TooManyRequests, Some(40))
        );
        assert!(error.message.ends_with(" in 40 seconds."), "{error}");
        let last = budget.spend(greedy, now + TimeDelta::seconds(59));
        let last = last.unwrap_err();
        assert!(last.message.ends_with(" in 1 second."), "{last}");
        budget.spend(modest, later).unwrap();
        budget.spend(greedy, now + WINDOW).unwrap();
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let budget = Budget::default();
        let now = DateTime::UNIX_EPOCH;
        for id in 1..=10_000 {
            budget.spend(UserId::from_u128(id), now).unwrap();
        }
        assert_eq!(budget.0.lock().unwrap().len(), REMEMBERED);
        budget
            .spend(UserId::from_u128(u128::MAX), now + WINDOW)
            .unwrap();
        assert_eq!(budget.0.lock().unwrap().len(), 1);
    }
}
