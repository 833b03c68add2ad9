//! Trust in the clock: no time-dependent work is done while it is in doubt, and moments written by
//! a wrong clock are reset.

pub mod setting;
mod store;
mod watch;

pub use setting::ClockSetting;
pub use watch::Watch;

use std::time::Duration;

use chrono::TimeDelta;

#[cfg(doc)]
use crate::db::HOLD;
use crate::{
    Code, Error, Result,
    db::{Clock, Db},
};

/// Interval at which work under way checks if the clock is believed again.
const LOOK: Duration = Duration::from_secs(1);

/// Time for which a day is over before its figures are kept: commits that began on it have ended by then.
pub const SETTLED: TimeDelta = TimeDelta::hours(1);

/// Refuses while the clock is in doubt: it jumped by more than a minute since it was last believed.
///
/// # Errors
/// `UNAVAILABLE` with the seconds until the clock is believed again.
pub fn trusted(clock: &Clock) -> Result<()> {
    let Some(jump) = clock.jump() else {
        return Ok(());
    };
    let seconds = u64::try_from(jump.believed_in.num_seconds()).unwrap_or_default();
    let message = "The server's clock was set by hand or by a time server. Jobs wait until it is believed again.";
    Err(Error::new(Code::Unavailable, message).retry_after(seconds + 1))
}

/// Waits until the clock is believed again, at most [`HOLD`]: for work under way.
pub async fn wait_until_trusted(clock: &Clock) {
    while clock.jump().is_some() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Resets every mark that lies too far in the future; returns their number.
///
/// # Errors
/// When the database refuses.
pub async fn mend(db: &Db, clock: &Clock) -> Result<u64> {
    let mut conn = db.begin().await?;
    let mended = store::mend(&mut conn, clock.now()).await?;
    conn.commit().await?;
    if mended > 0 {
        tracing::warn!(marks = mended, "clock.marks_reset");
    }
    Ok(mended)
}
