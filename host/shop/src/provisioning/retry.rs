//! Waits until the next look at an instance.

use std::time::Duration;

use uuid::Uuid;

use crate::ids::InstanceId;

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(300);

/// Returns the wait after this many failures in a row: 2 s, 4 s, ... up to 5 minutes, spread.
pub(super) fn back_off(instance_id: InstanceId, failures: i64) -> Duration {
    // Beyond sixteen the wait is the longest anyway.
    let doublings = u32::try_from(failures.clamp(1, 16)).unwrap_or(16) - 1;
    let wait = FIRST
        .saturating_mul(2_u32.saturating_pow(doublings))
        .min(LONGEST);
    spread(instance_id, failures, wait)
}

/// Returns the wait after a refusal: short once, since the second one decides; then the longest.
pub(super) fn after_refusal(instance_id: InstanceId, failures: i64, is_first: bool) -> Duration {
    if is_first {
        back_off(instance_id, 1)
    } else {
        slowly(instance_id, failures)
    }
}

/// Returns the longest wait, for a failure that lasts until for example a better plugin version.
pub(super) fn slowly(instance_id: InstanceId, failures: i64) -> Duration {
    spread(instance_id, failures, LONGEST)
}

/// Spreads a wait between 80 and 120 %, so that instances that failed together do not come back
/// together. The spread depends on the id, so the same case is the same in every run.
pub(super) fn spread(instance_id: InstanceId, salt: i64, wait: Duration) -> Duration {
    let id = Uuid::from(instance_id);
    let seed = id
        .as_bytes()
        .iter()
        .fold(salt.unsigned_abs(), |seed, byte| {
            seed.wrapping_mul(0x0100_0000_01b3)
                .wrapping_add(u64::from(*byte)) // FNV's prime
        });
    let percent = 80 + u32::try_from(seed % 41).unwrap_or_default();
    wait.saturating_mul(percent) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_five_minutes_and_stay_there() {
        let id = InstanceId::from_u128(7);
        assert!(
            back_off(id, 1) >= Duration::from_millis(1600)
                && back_off(id, 1) <= Duration::from_millis(2400)
        );
        assert!(back_off(id, 4) > back_off(id, 1));
        for failures in [9, 100, i64::MAX] {
            let wait = back_off(id, failures);
            assert!(
                wait >= LONGEST * 8 / 10 && wait <= LONGEST * 12 / 10,
                "{wait:?} after {failures}"
            );
        }
    }

    #[test]
    fn instances_that_failed_together_come_back_apart() {
        let waits: std::collections::BTreeSet<_> = (0..20)
            .map(|id| back_off(InstanceId::from_u128(id), 5))
            .collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
