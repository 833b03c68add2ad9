//! Counts the events of one party, so that it cannot use up a shared resource.
//!
//! Counts live in memory, per server: they slow a stranger down and never decide about money.

use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use lru::LruCache;

use crate::{Code, Error, Result};

/// Maximum of keys remembered; the one that was quiet longest goes first. Strangers choose the
/// keys, so they must be bounded.
const MOST_KEYS: usize = 100_000;

/// Prefix of an IPv6 network: providers hand out whole /64 networks, so one party has all of it.
const IPV6_PREFIX: u32 = 64;

/// Returns the address whose requests are counted together with this one's: itself, or the /64
/// network of an IPv6 address.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let mask = u128::MAX << (u128::BITS - IPV6_PREFIX);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
        v4 => v4,
    }
}

/// Values by key, at most [`MOST_KEYS`] of them.
#[derive(Debug)]
pub(crate) struct Bounded<K: Hash + Eq, V>(Mutex<LruCache<K, V>>);

impl<K: Hash + Eq, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }
}

impl<K: Hash + Eq, V> Bounded<K, V> {
    /// Locks all entries, after dropping the oldest ones beyond the limit.
    pub(crate) fn lock(&self) -> MutexGuard<'_, LruCache<K, V>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while entries.len() > MOST_KEYS {
            entries.pop_lru();
        }
        entries
    }
}

/// A limit of events per key in a window that begins with the first one.
#[derive(Debug)]
pub struct Throttle<K: Hash + Eq> {
    limit: u32,
    window: TimeDelta,
    /// Noun that completes "Too many ...".
    of_what: &'static str,
    windows: Bounded<K, Window>,
}

#[derive(Debug)]
struct Window {
    events: u32,
    ends_at: DateTime<Utc>,
}

impl<K: Hash + Eq> Throttle<K> {
    pub(crate) fn new(limit: u32, window: TimeDelta, of_what: &'static str) -> Self {
        Self {
            limit,
            window,
            of_what,
            windows: Bounded::default(),
        }
    }

    /// Checks if the key has events left, without counting one.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` with the seconds until the window ends.
    pub(crate) fn check(&self, key: &K, now: DateTime<Utc>) -> Result<()> {
        let windows = self.windows.lock();
        let window = windows.peek(key).filter(|window| self.runs(window, now));
        match window {
            Some(window) if window.events >= self.limit => {
                Err(too_many(self.of_what, window.ends_at - now))
            }
            _ => Ok(()),
        }
    }

    /// Returns `true` until a window ends. One longer than allowed was begun by a wrong clock.
    fn runs(&self, window: &Window, now: DateTime<Utc>) -> bool {
        window.ends_at > now && window.ends_at - now <= self.window
    }

    /// Counts an event.
    pub(crate) fn count(&self, key: K, now: DateTime<Utc>) {
        let fresh = || Window {
            events: 0,
            ends_at: now + self.window,
        };
        let mut windows = self.windows.lock();
        let window = windows.get_or_insert_mut(key, fresh);
        if !self.runs(window, now) {
            *window = fresh();
        }
        window.events = window.events.saturating_add(1);
    }

    /// Checks, and counts when the event may happen; concurrent callers cannot exceed the limit.
    ///
    /// # Errors
    /// A refusal with the time until the window ends; the refused event is not counted.
    pub fn admit(&self, key: K, now: DateTime<Utc>) -> Result<()> {
        let mut windows = self.windows.lock();
        let fresh = || Window {
            events: 0,
            ends_at: now + self.window,
        };
        let window = windows.get_or_insert_mut(key, fresh);
        if !self.runs(window, now) {
            *window = fresh();
        }
        if window.events >= self.limit {
            return Err(too_many(self.of_what, window.ends_at - now));
        }
        window.events += 1;
        Ok(())
    }
}

/// Returns the refusal of an event beyond its limit.
pub(crate) fn too_many(of_what: &str, wait: TimeDelta) -> Error {
    // The part of a second that is cut off counts, or the next attempt would come too early.
    let seconds = u64::try_from(wait.num_seconds()).unwrap_or_default() + 1;
    let message = format!("Too many {of_what}. Try again in {}.", in_words(seconds));
    Error::new(Code::TooManyRequests, message).retry_after(seconds)
}

fn in_words(seconds: u64) -> String {
    match seconds {
        0..=1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    #[test]
    fn a_limit_holds_for_each_key_until_its_window_ends() {
        let throttle = Throttle::new(3, TimeDelta::minutes(15), "attempts");
        for _ in 0..3 {
            throttle.check(&1, now()).unwrap();
            throttle.admit(1, now()).unwrap();
        }
        let error = throttle.admit(1, now()).unwrap_err();
        assert_eq!(error.retry_after, Some(901));
        assert_eq!(error.message, "Too many attempts. Try again in 16 minutes.");
        assert!(throttle.check(&1, now()).is_err());
        assert!(throttle.check(&2, now()).is_ok());
        assert!(throttle.admit(1, now() + TimeDelta::minutes(15)).is_ok());
    }

    #[test]
    fn a_window_by_a_clock_that_was_ahead_is_over_when_it_is_right() {
        let throttle = Throttle::new(1, TimeDelta::minutes(1), "attempts");
        let ahead = now() + TimeDelta::days(100);
        throttle.admit(1, ahead).unwrap();
        assert!(throttle.admit(1, ahead).is_err());
        assert!(throttle.check(&1, now()).is_ok());
        assert!(throttle.admit(1, now()).is_ok());
        assert!(throttle.admit(1, now()).is_err());
    }

    #[test]
    fn counting_and_admitting_share_the_count() {
        let throttle = Throttle::new(2, TimeDelta::minutes(1), "attempts");
        throttle.count("a", now());
        throttle.admit("a", now()).unwrap();
        assert!(throttle.check(&"a", now()).is_err());
    }

    #[test]
    fn the_key_that_was_quiet_longest_goes_first() {
        let throttle = Throttle::new(1, TimeDelta::minutes(15), "attempts");
        for key in 0..=MOST_KEYS {
            throttle.admit(key, now()).unwrap();
        }
        throttle.count(MOST_KEYS + 1, now());
        assert!(throttle.windows.lock().len() <= MOST_KEYS);
        assert!(throttle.check(&0, now()).is_ok(), "the oldest is forgotten");
        assert!(throttle.check(&MOST_KEYS, now()).is_err());
    }

    #[test]
    fn an_ipv6_network_is_one_party() {
        let network = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
