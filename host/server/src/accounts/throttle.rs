//! Slows guessing down: failures counted per account and per address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{Code, Error, Result};

const WINDOW: TimeDelta = TimeDelta::minutes(15);
/// A person who forgot a password tries a handful; a guesser needs thousands.
const PER_ACCOUNT: u32 = 10;
/// Offices share an address.
const PER_ADDRESS: u32 = 100;
/// Windows kept before those that are over are swept.
const SWEEP_AT: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// E-mail as typed, normalised; it need not exist.
    Account(String),
    Address(IpAddr),
}

#[derive(Debug)]
struct Window {
    attempts: u32,
    ends_at: DateTime<Utc>,
}

/// Attempts are counted before the password is looked at, so that many at once do not slip by.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    windows: Mutex<HashMap<Key, Window>>,
}

impl Throttle {
    /// Counts an attempt.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` with the seconds until the window ends.
    pub(super) fn admit(
        &self,
        account: &str,
        address: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= SWEEP_AT {
            windows.retain(|_, window| window.ends_at > now);
        }
        let account = (Key::Account(account.to_owned()), PER_ACCOUNT);
        let address = address.map(|address| (Key::Address(address), PER_ADDRESS));
        for (key, limit) in std::iter::once(account).chain(address) {
            let fresh = || Window {
                attempts: 0,
                ends_at: now + WINDOW,
            };
            let window = windows.entry(key).or_insert_with(fresh);
            if window.ends_at <= now {
                *window = fresh();
            }
            if window.attempts >= limit {
                return Err(refused((window.ends_at - now).num_seconds()));
            }
            window.attempts += 1;
        }
        Ok(())
    }

    /// Takes an attempt back that turned out to be right.
    pub(super) fn forgive(&self, account: &str, address: Option<IpAddr>) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.remove(&Key::Account(account.to_owned()));
        if let Some(window) = address.and_then(|address| windows.get_mut(&Key::Address(address))) {
            window.attempts = window.attempts.saturating_sub(1);
        }
    }
}

fn refused(seconds: i64) -> Error {
    let seconds = u64::try_from(seconds).unwrap_or_default() + 1;
    let message = format!(
        "Too many failed attempts. Try again in {} minutes.",
        seconds.div_ceil(60)
    );
    Error::new(Code::TooManyRequests, message).retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    #[test]
    fn an_account_is_closed_after_ten_and_opens_again() {
        let throttle = Throttle::default();
        for _ in 0..PER_ACCOUNT {
            throttle.admit("a@b.id", None, now()).unwrap();
        }
        let error = throttle.admit("a@b.id", None, now()).unwrap_err();
        assert_eq!(
            (error.code, error.retry_after),
            (Code::TooManyRequests, Some(901))
        );
        assert!(throttle.admit("c@b.id", None, now()).is_ok());
        assert!(throttle.admit("a@b.id", None, now() + WINDOW).is_ok());
    }

    #[test]
    fn an_address_is_closed_whatever_account_it_tries() {
        let throttle = Throttle::default();
        let address = Some(IpAddr::from([192, 0, 2, 1]));
        for number in 0..PER_ADDRESS {
            throttle.admit(&number.to_string(), address, now()).unwrap();
        }
        assert!(throttle.admit("another", address, now()).is_err());
        assert!(
            throttle
                .admit("another", Some(IpAddr::from([192, 0, 2, 2])), now())
                .is_ok()
        );
    }

    #[test]
    fn success_clears_the_account() {
        let throttle = Throttle::default();
        for _ in 0..3 * PER_ADDRESS {
            throttle
                .admit("a@b.id", Some(IpAddr::from([192, 0, 2, 1])), now())
                .unwrap();
            throttle.forgive("a@b.id", Some(IpAddr::from([192, 0, 2, 1])));
        }
    }
}
