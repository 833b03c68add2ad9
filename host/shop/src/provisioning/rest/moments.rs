//! Moments of looks at instances at rest.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::ids::InstanceId;

/// Longest time over which the looks at the instances of one namespace are spread, in milliseconds. One
/// request for its Secrets serves all of them.
const WIDTH: i64 = 30_000;

/// Returns the time between two rounds of quiet looks. Each is at what comes due within two of them.
pub(super) fn interval(resync: Duration) -> Duration {
    (resync / 20).clamp(Duration::from_secs(1), Duration::from_secs(15))
}

/// Returns the moment of the next look at an instance at rest, after 80 to 120 % of a resync. The moments of
/// one namespace lie close together and those of others elsewhere, whenever each was looked at last.
pub(in crate::provisioning) fn next_look(
    id: InstanceId,
    namespace: &str,
    now: DateTime<Utc>,
    resync: Duration,
) -> DateTime<Utc> {
    let fifth = i64::from(u32::try_from(resync.as_millis() / 5).unwrap_or(u32::MAX));
    let period = (fifth * 2).max(1);
    let width = WIDTH.min(period / 4).max(1);
    let phase = part(namespace, period) + part(&id, width);
    let earliest = TimeDelta::milliseconds(fifth * 4);
    let since = (now + earliest).timestamp_millis();
    let wait = (phase - since).rem_euclid(period);
    now + earliest + TimeDelta::milliseconds(wait)
}

/// Returns a number below a limit, the same for the same value on every server.
fn part(value: &(impl Hash + ?Sized), limit: i64) -> i64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    let half = i64::try_from(hasher.finish() / 2).unwrap_or_default();
    half.rem_euclid(limit)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn looks_at_one_namespace_come_together_and_those_at_others_apart() {
        for resync in [5, 300, 86_400].map(Duration::from_secs) {
            assert!(interval(resync) * 2 < resync * 4 / 5, "{resync:?}");
        }
        let resync = Duration::from_secs(300);
        let (period, width) = (120_000, 30_000);
        let start = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000);
        let place = |namespace: &str, id: u128, second: i64| {
            let now = start + TimeDelta::seconds(second);
            let next = next_look(InstanceId::from_u128(id), namespace, now, resync);
            let wait = (next - now).num_seconds();
            assert!((240..=360).contains(&wait), "{wait} s");
            next.timestamp_millis().rem_euclid(period)
        };
        let first = place("user-1", 0, 0);
        for second in 0_i64..400 {
            let other = place("user-1", u128::from(second.unsigned_abs() % 7), second);
            let apart = (other - first).rem_euclid(period);
            assert!(apart < width || apart > period - width, "{apart} ms");
        }
        let places = (0..20).map(|number| place(&format!("user-{number}"), 0, 0) / 10_000);
        let places: BTreeSet<_> = places.collect();
        assert!(places.len() > 5, "{places:?}");
    }
}
