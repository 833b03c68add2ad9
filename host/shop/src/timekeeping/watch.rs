//! Detects that the clock was set, and that it is right again.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::TimeDelta;

use crate::{
    Result,
    alerts::{self, AlertKind},
    db::{Clock, Db, HOLD, Jump},
    text::counted,
};

/// Subject of the alert: the clock of the shop, whichever server noticed.
const SUBJECT: &str = "clock";
/// Interval between looks for marks in the future: another server may have written them.
const EVERY: Duration = Duration::from_secs(600);

/// A server's view of its clock. Checked before jobs run.
#[derive(Debug)]
pub struct Watch {
    db: Db,
    clock: Clock,
    seen: Mutex<State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// The jump that administrators know of.
    known: Option<TimeDelta>,
    /// Time of the last look for marks.
    mended: Option<Instant>,
    /// Time of this server's last warning.
    warned: Option<Instant>,
}

/// Action about the clock after a look.
enum Step {
    Warn(Jump),
    Wait,
    Mend { after: Option<TimeDelta> },
    Go,
}

impl Watch {
    /// Returns a watch that has not looked yet.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self {
            db,
            clock,
            seen: Mutex::default(),
        }
    }

    /// Returns `true` when jobs may run. Raises `CLOCK_JUMPED` when they may not, and resets marks
    /// of a wrong clock when they may again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn is_steady(&self) -> Result<bool> {
        match self.step(self.clock.jump()) {
            Step::Warn(jump) => {
                self.warn(&message(jump)).await?;
                self.update(|seen| {
                    seen.known = Some(jump.by);
                    seen.warned = Some(Instant::now());
                });
                Ok(false)
            }
            Step::Wait => Ok(false),
            Step::Mend { after } => {
                self.mend(after).await?;
                Ok(true)
            }
            Step::Go => Ok(true),
        }
    }

    fn step(&self, jump: Option<Jump>) -> Step {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |since: Instant| since.elapsed() >= EVERY;
        match jump {
            Some(jump) if seen.known == Some(jump.by) => Step::Wait,
            Some(jump) => Step::Warn(jump),
            None if seen.known.is_some() || seen.mended.is_none_or(is_old) => {
                Step::Mend { after: seen.known }
            }
            None => Step::Go,
        }
    }

    async fn mend(&self, after: Option<TimeDelta>) -> Result<()> {
        let mended = super::mend(&self.db, &self.clock).await?;
        if mended > 0 {
            let message = format!(
                "A server's clock was ahead, so that {} in the future had to be reset. Compare the clocks of all servers, and look at what was charged and suspended lately.",
                counted(mended, "moment")
            );
            self.warn(&message).await?;
        }
        let has_news = mended > 0 || after.is_some();
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // The alert was open long enough to be seen, also by a client that reads only open alerts.
        let is_over = seen.warned.is_none_or(|since| since.elapsed() >= EVERY);
        if !has_news && is_over {
            let mut conn = self.db.begin().await?;
            alerts::resolve(&mut conn, &self.clock, AlertKind::ClockJumped, SUBJECT).await?;
            conn.commit().await?;
        }
        self.update(|seen| {
            seen.known = None;
            seen.mended = Some(Instant::now());
            if has_news {
                seen.warned = seen.mended;
            }
        });
        Ok(())
    }

    async fn warn(&self, message: &str) -> Result<()> {
        let mut conn = self.db.begin().await?;
        let kind = AlertKind::ClockJumped;
        alerts::raise(&mut conn, &self.clock, kind, SUBJECT, message).await?;
        Ok(conn.commit().await?)
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn message(jump: Jump) -> String {
    let direction = if jump.by < TimeDelta::zero() {
        "back"
    } else {
        "ahead"
    };
    format!(
        "A server's clock was set {direction} by {}. Jobs wait until it is set right, or has run steadily for {} minutes. Check its time server.",
        // The two clocks are not read at the same instant.
        length(jump.by.abs() + TimeDelta::seconds(30)),
        HOLD.num_minutes()
    )
}

/// Formats a length in the largest unit that fits: `100 days`, `1 hour`.
fn length(by: TimeDelta) -> String {
    let (count, unit) = match (by.num_days(), by.num_hours(), by.num_minutes()) {
        (0, 0, minutes) => (minutes, "minute"),
        (0, hours, _) => (hours, "hour"),
        (days, _, _) => (days, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_is_told_in_words() {
        for (by, expected) in [
            (TimeDelta::days(100), "ahead by 100 days."),
            (TimeDelta::hours(-1), "back by 1 hour."),
            (TimeDelta::minutes(59), "ahead by 59 minutes."),
        ] {
            let believed_in = HOLD;
            let told = message(Jump { by, believed_in });
            assert!(told.contains(expected), "{told}");
            assert!(told.contains("for 10 minutes"), "{told}");
        }
    }
}
