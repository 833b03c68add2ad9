//! Deletes keys after their time.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{KEPT, store};
use crate::{
    Result,
    db::{Clock, Db},
    timekeeping,
};

const EVERY: Duration = Duration::from_secs(3600);
/// Keys deleted in one transaction: few enough that no purchase waits noticeably for SQLite's
/// single writer.
const BATCH: u16 = 500;

/// Purges at the start and every hour, until the server stops.
pub async fn purge_hourly(db: Db, clock: Clock, cancel: CancellationToken) {
    let mut hours = interval(EVERY);
    hours.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let work = async {
        loop {
            hours.tick().await;
            // A clock that is months ahead would make today's keys look old.
            timekeeping::wait_until_trusted(&clock).await;
            match purge(&db, &clock).await {
                Ok(0) => {}
                Ok(keys) => tracing::info!(keys, "idempotency.purged"),
                Err(error) => tracing::error!(%error, "idempotency.purge_failed"),
            }
        }
    };
    cancel.run_until_cancelled(work).await;
}

/// Deletes every key older than [`KEPT`]; returns their number.
///
/// # Errors
/// When the database does not answer; the next purge deletes the rest.
pub async fn purge(db: &Db, clock: &Clock) -> Result<u64> {
    let forgotten = clock.now() - KEPT;
    let mut purged = 0;
    loop {
        let mut conn = db.begin().await?;
        let deleted = store::purge(&mut conn, forgotten, BATCH.into()).await?;
        conn.commit().await?;
        purged += deleted;
        if deleted < BATCH.into() {
            return Ok(purged);
        }
    }
}
