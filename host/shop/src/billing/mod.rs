//! Billing: the jobs and the worker that renew, suspend and end subscriptions, and what
//! administrators and customers see of it ahead.
//!
//! Every step is one database transaction that looks again at what it was decided on, with the
//! customer's wallet locked.

mod dunning;
mod forecast;
mod lanes;
mod preview;
mod statistics;
mod store;
mod telling;
#[cfg(test)]
mod tests;
mod walk;
mod watch;

use chrono::TimeDelta;
use futures::{StreamExt as _, stream};

pub use dunning::{expire, process_all_grace, process_grace, set_grace};
pub use forecast::{Forecast, ForecastLine, forecast, low_credit, low_credit_page};
pub use preview::{BillingInfo, billing_info};
pub use statistics::{BillingStatistics, ChargesView, statistics};
pub use telling::{
    BILLING_STATS, GRACE_PERIOD_REMINDERS, LOW_CREDIT_NOTIFICATIONS, remind_of_grace, summarise,
    warn_of_low_credit,
};
pub use watch::watch;

use store::Due;

use crate::{
    Error, Result, coupons,
    ids::{SubscriptionId, UserId},
    scheduler::{Outcome, Progress},
    subscriptions::{
        self, Settings, Subscription, SubscriptionStatus, Subscriptions, delivery,
        end_notice::Cause,
        renewal::{ATTEMPTS, Charge, charge, price},
        upgrade,
    },
    timekeeping,
};

/// Names of the jobs.
pub const DAILY_RENEWALS: &str = "daily-renewals";
pub const GRACE_PERIOD: &str = "grace-period";
/// Names of all jobs of billing, as the first system knew them.
pub const JOBS: [&str; 5] = [
    DAILY_RENEWALS,
    GRACE_PERIOD,
    LOW_CREDIT_NOTIFICATIONS,
    GRACE_PERIOD_REMINDERS,
    BILLING_STATS,
];

/// Subscriptions that are put into lanes together; those after them wait until they are done.
const PART: usize = 512;
/// Lanes that are worked on at a time: on SQLite they share commits, on PostgreSQL they use as many connections.
const AT_ONCE: usize = 8;

/// Result for one subscription that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Renewed,
    /// The wallet does not hold enough.
    Unpaid,
    Ended,
    /// Nothing is left to do.
    Nothing,
}

/// Course of a subscription whose period is over, before the wallet is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// It ends, since it is not to be renewed.
    Ends,
    /// Nothing is charged while renewals are switched off.
    Waits,
    /// Its next period is charged.
    Charged,
}

impl Course {
    fn of(seen: &Subscription, billing: &Settings) -> Self {
        match (seen.auto_renew, billing.auto_renewal) {
            (false, _) => Self::Ends,
            (true, false) => Self::Waits,
            (true, true) => Self::Charged,
        }
    }
}

/// Returns true for a subscription that is held as long as its instance has not run. Without renewal it ends on its
/// day, unless it still waits for the delivery of its first payment.
fn may_be_held(seen: &Subscription) -> bool {
    let may_wait = seen.auto_renew || seen.delivered_at.is_none();
    seen.status == SubscriptionStatus::Active && may_wait
}

/// The job [`DAILY_RENEWALS`]: charges the next period of every subscription whose period is over,
/// or ends it where it is not to be renewed. A failure is reported and stops no other.
///
/// One period of a subscription is charged at most, however far behind it is: where no server ran
/// for months, as many runs catch up, and a clock that was wrong costs no customer more than one
/// period a run.
///
/// # Errors
/// When the database does not answer; `UNAVAILABLE` while the clock is in doubt.
pub async fn renew_due(shop: &Subscriptions) -> Result<Outcome> {
    renew_all_due(shop, &Progress::default()).await
}

/// The same as [`renew_due`], and says how far it has come.
///
/// # Errors
/// As [`renew_due`].
pub async fn renew_all_due(shop: &Subscriptions, progress: &Progress) -> Result<Outcome> {
    timekeeping::trusted(&shop.clock)?;
    // A change of plan that is under way keeps its subscription from being charged.
    upgrade::settle_all(shop).await?;
    let due = store::due(&mut shop.db.read().await?, shop.clock.now()).await?;
    Ok(each(shop, due, progress).await)
}

/// Renews unpaid subscriptions whose wallet holds enough by now, and tries again what failed. The worker does
/// so every second.
///
/// # Errors
/// When the database does not answer.
pub async fn renew_payable(shop: &Subscriptions) -> Result<()> {
    if !shop.settings.auto_renewal || shop.clock.jump().is_some() {
        return Ok(());
    }
    let payable = store::payable(&mut shop.db.read().await?, shop.clock.now()).await?;
    each(shop, payable, &Progress::default()).await;
    Ok(())
}

/// Returns the key of a message that is told once for an end of a period: days that are given move it, and it is told
/// again.
fn once_until(seen: &Subscription) -> String {
    let end = seen.period_end.timestamp();
    format!("{}:{}:{end}", seen.id, seen.period_number)
}

/// Takes one step with each, several at a time where they share nothing.
async fn each(shop: &Subscriptions, due: Vec<Due>, progress: &Progress) -> Outcome {
    let mut outcome = Outcome::default();
    progress.expect(due.len());
    for part in due.chunks(PART) {
        let done: Vec<Outcome> = stream::iter(lanes::of(part))
            .map(|lane| along(shop, lane, progress))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        for one in done {
            outcome.items += one.items;
            outcome.errors.extend(one.errors);
        }
    }
    outcome
}

/// Takes one step with each, one after another.
async fn along(shop: &Subscriptions, lane: Vec<SubscriptionId>, progress: &Progress) -> Outcome {
    let mut outcome = Outcome::default();
    for id in lane {
        timekeeping::wait_until_trusted(&shop.clock).await;
        let done = step(shop, id).await;
        let is_step = done.as_ref().map(|step| *step != Step::Nothing);
        note(&mut outcome, progress, id, is_step);
        if let Err(error) = done {
            tracing::warn!(subscription.id = %id, %error, cause = ?error.source, "renewal.failed");
            if let Err(error) = try_again(shop, id).await {
                tracing::error!(subscription.id = %id, %error, "renewal.retry_not_noted");
            }
        }
    }
    outcome
}

/// Counts a subscription that something was done with, or tells of its failure.
fn note(
    outcome: &mut Outcome,
    progress: &Progress,
    id: SubscriptionId,
    done: Result<bool, &Error>,
) {
    match done {
        Ok(false) => {}
        Ok(true) => {
            outcome.items += 1;
            progress.item();
        }
        Err(error) => {
            progress.error();
            let (code, message) = (error.code, &error.message);
            let told = format!("Subscription {id}: {code}: {message}");
            outcome.errors.push(told);
        }
    }
}

async fn try_again(shop: &Subscriptions, id: SubscriptionId) -> Result<()> {
    let (billing, now) = (&shop.settings, shop.clock.now());
    let (soon, later) = (now + billing.retry_delay, now + TimeDelta::days(1));
    let mut conn = shop.db.begin().await?;
    store::failed(&mut conn, id, billing.retries, (now, soon, later)).await?;
    Ok(conn.commit().await?)
}

/// Takes one step with a subscription, if its period is over.
async fn step(shop: &Subscriptions, id: SubscriptionId) -> Result<Step> {
    for _ in 0..ATTEMPTS {
        let row = subscriptions::row(&mut shop.db.read().await?, id).await?;
        let seen = &row.subscription;
        if !seen.is_due(shop.clock.now()) {
            return Ok(Step::Nothing);
        }
        if may_be_held(seen) && delivery::is_held(shop, seen).await? {
            return Ok(Step::Nothing);
        }
        match Course::of(seen, &shop.settings) {
            Course::Ends => {
                let why = ("It was not to be renewed.", Cause::NotRenewed);
                let ended = dunning::end(shop, seen, why, None).await?;
                return Ok(ended.map_or(Step::Nothing, |_| Step::Ended));
            }
            Course::Waits => return Ok(Step::Nothing),
            Course::Charged => {}
        }
        let next = price(shop, &row).await?;
        match charge(shop, &row, next).await? {
            Charge::Paid => return Ok(Step::Renewed),
            Charge::Short(due) => match dunning::fall_behind(shop, seen, due).await? {
                Some(status) if status == seen.status => return Ok(Step::Nothing),
                Some(_) => return Ok(Step::Unpaid),
                None => {}
            },
            Charge::Overtaken => {}
        }
    }
    Err(coupons::too_busy())
}

/// Sets if a subscription is renewed when its period is over. One whose period is over already is
/// renewed at once.
///
/// # Errors
/// As [`subscriptions::set_auto_renew`].
pub async fn set_auto_renew(
    shop: &Subscriptions,
    user_id: UserId,
    id: SubscriptionId,
    auto_renew: bool,
) -> Result<()> {
    if subscriptions::set_auto_renew(shop, user_id, id, auto_renew).await? {
        renew_now(shop, id).await;
    }
    Ok(())
}

/// Renews or ends now, as the nightly job would, a subscription whose period is over.
async fn renew_now(shop: &Subscriptions, id: SubscriptionId) {
    if timekeeping::trusted(&shop.clock).is_ok() {
        along(shop, vec![id], &Progress::default()).await;
    }
}
