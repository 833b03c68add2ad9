//! Ids: UUIDv7 made from the clock, so that they sort by creation.

use uuid::{NoContext, Timestamp, Uuid};

use super::Clock;

/// Returns a new time-ordered id.
pub fn new_id(clock: &Clock) -> Uuid {
    let now = clock.now();
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    Uuid::new_v7(Timestamp::from_unix(
        NoContext,
        seconds,
        now.timestamp_subsec_nanos(),
    ))
}
