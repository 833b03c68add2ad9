//! Ids: UUIDv7 made from the clock, so that they sort by creation.

use uuid::{NoContext, Timestamp, Uuid};

use super::Clock;

/// Returns a new time-ordered id, of the type where it goes.
pub fn new_id<Id: From<Uuid>>(clock: &Clock) -> Id {
    let now = clock.now();
    let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
    let time = Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos());
    Uuid::new_v7(time).into()
}
