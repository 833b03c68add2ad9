//! Deletes keys after their time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{KEPT, store};
use crate::{
    Result,
    db::{Clock, Db},
    timekeeping,
    workers::{Next, Worker},
};

const EVERY: Duration = Duration::from_secs(3600);
/// Keys deleted in one transaction: few enough that no purchase waits noticeably for SQLite's
/// single writer.
const BATCH: u16 = 500;

/// Purges at the start and every hour, until the server stops.
pub async fn purge_hourly(db: Db, clock: Clock, cancel: CancellationToken) {
    let step = || async {
        // A clock that is months ahead would make today's keys look old.
        timekeeping::wait_until_trusted(&clock).await;
        let keys = purge(&db, &clock).await?;
        if keys > 0 {
            tracing::info!(keys, "idempotency.purged");
        }
        Ok(Next::AfterRest)
    };
    Worker::new("idempotency", EVERY).run(cancel, step).await;
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
