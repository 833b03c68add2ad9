//! Slows password guessing down without letting a stranger close another person's account.
//!
//! Three counts of failures within [`WINDOW`] of one another: an address at one account, an address
//! at all accounts, and an account from all addresses. The last one only delays, and only addresses
//! that have failed at that account: its owner, elsewhere, always gets in with the right password.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use lru::LruCache;

use crate::{
    Result,
    ids::UserId,
    throttle::{Bounded, network_of, too_many},
};

const WINDOW: TimeDelta = TimeDelta::minutes(15);
/// Limit of an address at one account: a forgetful owner tries a handful, a guesser thousands.
const PER_ADDRESS_AND_ACCOUNT: u32 = 10;
/// Limit of an address at all accounts, higher because offices share one.
const PER_ADDRESS: u32 = 100;
/// Failures at an account, from anywhere, before further ones are delayed.
const UNDELAYED: u32 = 10;
const LONGEST_DELAY_SECONDS: i64 = 30;

/// Guesser: an address (a /64 of IPv6), or a session when a password is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Guesser {
    Address(IpAddr),
    /// Peer without a known address.
    Unknown,
    /// The account's own signed-in user, by id.
    Owner(UserId),
}

impl From<Option<IpAddr>> for Guesser {
    fn from(address: Option<IpAddr>) -> Self {
        address.map_or(Self::Unknown, |address| Self::Address(network_of(address)))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Pair(Guesser, String),
    Guesser(Guesser),
    /// E-mail as typed, normalised; it need not exist.
    Account(String),
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    failed: u32,
    /// Time of the last failure: what succeeds does not prolong the window.
    failed_at: DateTime<Utc>,
    /// Attempts whose password is being checked.
    pending: u32,
    last_at: DateTime<Utc>,
}

impl Count {
    /// Returns the refusal's remaining time when `limit` is used up.
    fn wait(self, limit: u32, now: DateTime<Utc>) -> Option<TimeDelta> {
        let since = if self.pending > 0 {
            self.last_at
        } else {
            self.failed_at
        };
        let left = since + WINDOW - now;
        (self.failed + self.pending >= limit && left > TimeDelta::zero()).then_some(left)
    }

    fn delay(self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let doublings = self.failed.checked_sub(UNDELAYED)?;
        let seconds = 1_i64.checked_shl(doublings.min(16)).unwrap_or(i64::MAX);
        let left = self.last_at + TimeDelta::seconds(seconds.min(LONGEST_DELAY_SECONDS)) - now;
        (left > TimeDelta::zero()).then_some(left)
    }
}

/// The three counts of every guesser and account.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    counts: Bounded<Key, Count>,
}

/// Attempt under way. Dropping it counts as a failure: an abandoned attempt is a guess, too.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    throttle: &'a Throttle,
    keys: [Key; 3],
    outcome: Outcome,
    now: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Failed,
    Succeeded,
    NotTried,
}

impl Throttle {
    /// Counts an attempt with a token that was sent or shown: those of one guesser, for no account.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub(super) fn admit_token(&self, guesser: Guesser, now: DateTime<Utc>) -> Result<Attempt<'_>> {
        self.admit(guesser, &format!("tokens of {guesser:?}"), now)
    }

    /// Checks all limits, then counts the attempt.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` with the seconds to wait; a refused attempt is not counted.
    pub(super) fn admit(
        &self,
        guesser: Guesser,
        account: &str,
        now: DateTime<Utc>,
    ) -> Result<Attempt<'_>> {
        let keys = [
            Key::Pair(guesser, account.to_owned()),
            Key::Guesser(guesser),
            Key::Account(account.to_owned()),
        ];
        let mut counts = self.counts.lock();
        let [pair, address, all] = keys.each_ref().map(|key| read(&mut counts, key, now));
        let delayed = if pair.failed > 0 {
            all.delay(now)
        } else {
            None
        };
        let wait = pair
            .wait(PER_ADDRESS_AND_ACCOUNT, now)
            .or_else(|| address.wait(PER_ADDRESS, now))
            .or(delayed);
        if let Some(wait) = wait {
            return Err(too_many("failed attempts", wait));
        }
        for key in &keys {
            let count = counts.get_or_insert_mut(key.clone(), Count::default);
            count.pending += 1;
            count.last_at = now;
        }
        Ok(Attempt {
            throttle: self,
            keys,
            outcome: Outcome::Failed,
            now,
        })
    }
}

/// Reads a count; one whose window is over starts from zero.
fn read(counts: &mut LruCache<Key, Count>, key: &Key, now: DateTime<Utc>) -> Count {
    let Some(count) = counts.get_mut(key) else {
        return Count::default();
    };
    if count.failed_at + WINDOW <= now {
        count.failed = 0;
    }
    *count
}

impl Attempt<'_> {
    /// Runs the work of the attempt; when that fails by itself, the attempt is taken back.
    ///
    /// # Errors
    /// Those of `work`.
    pub(super) async fn unless_failing<T>(
        self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(Self, T)> {
        match work.await {
            Ok(done) => Ok((self, done)),
            Err(error) => {
                self.not_tried();
                Err(error)
            }
        }
    }

    /// Clears the account's failures after a right password.
    pub(super) fn succeeded(mut self) {
        self.outcome = Outcome::Succeeded;
    }

    /// Takes the attempt back: the password was not checked.
    fn not_tried(mut self) {
        self.outcome = Outcome::NotTried;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut counts = self.throttle.counts.lock();
        for key in &self.keys {
            let Some(count) = counts.get_mut(key) else {
                continue;
            };
            count.pending = count.pending.saturating_sub(1);
            match self.outcome {
                Outcome::Failed => {
                    count.failed = count.failed.saturating_add(1);
                    count.failed_at = self.now;
                    count.last_at = self.now;
                }
                // Other accounts that this address failed at stay counted.
                Outcome::Succeeded if !matches!(key, Key::Guesser(_)) => count.failed = 0,
                Outcome::Succeeded | Outcome::NotTried => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    fn from(last: u8) -> Guesser {
        Some(IpAddr::from([192, 0, 2, last])).into()
    }

    fn fail(throttle: &Throttle, guesser: Guesser, account: &str, now: DateTime<Utc>) {
        drop(throttle.admit(guesser, account, now).unwrap());
    }

    fn wait(throttle: &Throttle, guesser: Guesser, account: &str, now: DateTime<Utc>) -> u64 {
        let error = throttle.admit(guesser, account, now).unwrap_err();
        assert_eq!(error.code, Code::TooManyRequests);
        error.retry_after.unwrap()
    }

    #[test]
    fn an_address_waits_for_an_account_after_ten_failures() {
        let throttle = Throttle::default();
        for _ in 0..PER_ADDRESS_AND_ACCOUNT {
            fail(&throttle, from(1), "a@b.id", now());
        }
        assert_eq!(wait(&throttle, from(1), "a@b.id", now()), 901);
        fail(&throttle, from(1), "c@b.id", now());
        fail(&throttle, from(1), "a@b.id", now() + WINDOW);
    }

    #[test]
    fn a_stranger_does_not_keep_the_owner_out() {
        let throttle = Throttle::default();
        for address in 1..=20 {
            for _ in 0..3 {
                let later = now() + TimeDelta::seconds(i64::from(address) * 40);
                if let Ok(attempt) = throttle.admit(from(address), "a@b.id", later) {
                    drop(attempt);
                }
            }
        }
        let later = now() + TimeDelta::seconds(20 * 40);
        throttle
            .admit(from(99), "a@b.id", later)
            .unwrap()
            .succeeded();
        throttle
            .admit(from(99), "a@b.id", later)
            .unwrap()
            .succeeded();
    }

    #[test]
    fn the_account_as_a_whole_delays_who_has_failed_there() {
        let throttle = Throttle::default();
        let mut moment = now();
        for address in 1..=10 {
            fail(&throttle, from(address), "a@b.id", moment);
        }
        for delay in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(wait(&throttle, from(1), "a@b.id", moment), delay + 1);
            moment += TimeDelta::seconds(i64::try_from(delay).unwrap());
            fail(&throttle, from(1), "a@b.id", moment);
        }
        // An address that has not failed there gets its guess, and is delayed from then on.
        fail(&throttle, from(50), "a@b.id", moment);
        assert_eq!(wait(&throttle, from(50), "a@b.id", moment), 31);
    }

    #[test]
    fn refused_attempts_count_for_nothing() {
        let throttle = Throttle::default();
        for number in 0..PER_ADDRESS {
            fail(&throttle, from(1), &number.to_string(), now());
        }
        for _ in 0..50 {
            wait(&throttle, from(1), "victim@b.id", now());
        }
        let mut counts = throttle.counts.lock();
        assert!(
            counts
                .get(&Key::Account("victim@b.id".to_owned()))
                .is_none()
        );
    }

    #[test]
    fn many_at_once_do_not_slip_by() {
        let throttle = Throttle::default();
        let under_way = (0..PER_ADDRESS_AND_ACCOUNT)
            .map(|_| throttle.admit(from(1), "a@b.id", now()).unwrap())
            .collect::<Vec<_>>();
        assert!(throttle.admit(from(1), "a@b.id", now()).is_err());
        for attempt in under_way {
            attempt.not_tried();
        }
        fail(&throttle, from(1), "a@b.id", now());
    }

    #[test]
    fn success_clears_the_account_and_not_the_address() {
        let throttle = Throttle::default();
        for _ in 0..3 * PER_ADDRESS {
            throttle
                .admit(from(1), "a@b.id", now())
                .unwrap()
                .succeeded();
        }
        for number in 0..PER_ADDRESS {
            fail(&throttle, from(1), &number.to_string(), now());
            let owner = throttle.admit(from(1), "a@b.id", now());
            if number + 1 < PER_ADDRESS {
                owner.unwrap().succeeded();
            } else {
                assert!(owner.is_err());
            }
        }
    }

    #[test]
    fn failures_end_while_others_succeed() {
        let throttle = Throttle::default();
        for number in 1..PER_ADDRESS {
            fail(&throttle, from(1), &number.to_string(), now());
        }
        let mut moment = now();
        for _ in 0..3 {
            moment += WINDOW / 2;
            let neighbour = throttle.admit(from(1), "a@b.id", moment).unwrap();
            neighbour.succeeded();
        }
        fail(&throttle, from(1), "c@b.id", moment);
        let neighbour = throttle.admit(from(1), "a@b.id", moment).unwrap();
        neighbour.succeeded();
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let throttle = Throttle::default();
        let address = |text: &str| Guesser::from(Some(text.parse::<IpAddr>().unwrap()));
        for host in 0..PER_ADDRESS_AND_ACCOUNT {
            fail(
                &throttle,
                address(&format!("2001:db8::{host:x}")),
                "a@b.id",
                now(),
            );
        }
        assert!(
            throttle
                .admit(address("2001:db8::ffff"), "a@b.id", now())
                .is_err()
        );
        assert!(
            throttle
                .admit(address("2001:db8:0:1::1"), "a@b.id", now())
                .is_ok()
        );
    }
}
