//! Jobs that tell people of what is due: warnings and reminders for customers, a summary for
//! administrators. Each goes out once for its cause and its period, however often a job runs.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{ForecastLine, low_credit, store};
use crate::{
    Result, calendar,
    db::Conn,
    ids::SubscriptionId,
    money::Rupiah,
    outbox::{self, ADMINISTRATORS, Topic},
    scheduler::{Outcome, Progress},
    subscriptions::{
        self, FreezeState, SubscriptionStatus as Status, Subscriptions,
        overview::keep_days,
        renewal::{is_as_seen, price},
    },
    timekeeping,
    wallet::{self, TransactionStatus, TransactionType, TypeTotal},
};

/// Names of the jobs.
pub const LOW_CREDIT_NOTIFICATIONS: &str = "low-credit-notifications";
pub const GRACE_PERIOD_REMINDERS: &str = "grace-period-reminders";
pub const BILLING_STATS: &str = "billing-stats";

/// The job [`LOW_CREDIT_NOTIFICATIONS`]: warns customers whose next period is due soon and whose
/// wallet does not hold enough for it, once for each period.
///
/// # Errors
/// When the database does not answer; `UNAVAILABLE` while the clock is in doubt.
pub async fn warn_of_low_credit(shop: &Subscriptions, progress: &Progress) -> Result<Outcome> {
    if !shop.settings.low_credit_warning {
        return Ok(Outcome::default());
    }
    timekeeping::trusted(&shop.clock)?;
    let lines = low_credit(shop, shop.settings.low_credit_days).await?;
    progress.expect(lines.len());
    let mut outcome = Outcome::default();
    for line in lines {
        let told = warn(shop, &line).await;
        note(&mut outcome, progress, line.subscription_id, told);
    }
    Ok(outcome)
}

fn note(outcome: &mut Outcome, progress: &Progress, id: SubscriptionId, told: Result<bool>) {
    match told {
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

async fn warn(shop: &Subscriptions, line: &ForecastLine) -> Result<bool> {
    let mut conn = shop.db.begin().await?;
    // A renewal takes this lock, too: what it has paid for since the forecast needs no warning.
    wallet::lock(&mut conn, line.user_id).await?;
    let row = subscriptions::row(&mut conn, line.subscription_id).await?;
    let seen = &row.subscription;
    if seen.period_end != line.period_end || seen.status != Status::Active {
        return Ok(false);
    }
    let payload = json!({
        "subscriptionId": seen.id,
        "service": row.service_name,
        "plan": subscriptions::next_plan_name(&mut conn, &row).await?,
        "periodEnd": calendar::json_text(line.period_end),
        "due": line.due,
        "missing": line.missing,
        "isFrozen": seen.freeze_state != FreezeState::None,
    });
    let key = super::once_until(seen);
    let what = (Topic::LowCreditWarning, seen.user_id.into());
    let is_new = outbox::put_once(&mut conn, &shop.clock, what, &key, payload).await?;
    conn.commit().await?;
    Ok(is_new)
}

/// The job [`GRACE_PERIOD_REMINDERS`]: reminds customers, once a day, of unpaid services that run on
/// for a while.
///
/// # Errors
/// When the database does not answer; `UNAVAILABLE` while the clock is in doubt.
pub async fn remind_of_grace(shop: &Subscriptions, progress: &Progress) -> Result<Outcome> {
    timekeeping::trusted(&shop.clock)?;
    let ids = store::in_grace(&mut shop.db.read().await?, shop.clock.now()).await?;
    progress.expect(ids.len());
    let mut outcome = Outcome::default();
    for id in ids {
        let told = remind(shop, id).await;
        note(&mut outcome, progress, id, told);
    }
    Ok(outcome)
}

async fn remind(shop: &Subscriptions, id: SubscriptionId) -> Result<bool> {
    let now = shop.clock.now();
    let row = subscriptions::row(&mut shop.db.read().await?, id).await?;
    let due = match price(shop, &row).await {
        Ok(next) => next.due()?,
        // That of the last attempt, when the plugin does not answer.
        Err(_) => row.subscription.unpaid.unwrap_or(Rupiah::ZERO),
    };
    let mut conn = shop.db.begin().await?;
    let seen = &row.subscription;
    if !is_as_seen(&mut conn, seen).await? {
        // It is paid for by now, or changed: the next run tells of it.
        return Ok(false);
    }
    let Some(until) = seen.grace_until.filter(|until| *until > now) else {
        return Ok(false);
    };
    let balance = wallet::balance(&mut conn, seen.user_id).await?.total()?;
    let missing = due.minus(balance)?;
    // It is renewed within seconds.
    if seen.status != Status::PastDue || !missing.is_positive() {
        return Ok(false);
    }
    let payload = json!({
        "subscriptionId": seen.id,
        "service": row.service_name,
        "plan": subscriptions::next_plan_name(&mut conn, &row).await?,
        "due": due,
        "missing": missing,
        "isFrozen": seen.freeze_state != FreezeState::None,
        "graceUntil": calendar::json_text(until),
    });
    let today = calendar::date(shop.clock.zone(), now);
    let key = format!("{id}:{}:{today}", seen.period_number);
    let what = (Topic::GracePeriodReminder, seen.user_id.into());
    let is_new = outbox::put_once(&mut conn, &shop.clock, what, &key, payload).await?;
    conn.commit().await?;
    Ok(is_new)
}

/// The job [`BILLING_STATS`]: tells administrators the figures of the day, once, and keeps those of days that
/// are over.
///
/// # Errors
/// When the database does not answer.
pub async fn summarise(shop: &Subscriptions) -> Result<Outcome> {
    let clock = &shop.clock;
    keep_days(&shop.db, clock).await?;
    let short = low_credit(shop, shop.settings.low_credit_days).await?.len();
    let today = calendar::date(clock.zone(), clock.now());
    let since = calendar::start_of_day(clock.zone(), today);
    let figures = figures(&mut shop.db.snapshot().await?, since).await?;
    let mut conn = shop.db.begin().await?;
    let payload = json!({
        "date": today,
        "paid": figures.paid.0,
        "paidAmount": figures.paid.1,
        "topUps": figures.top_ups.0,
        "topUpAmount": figures.top_ups.1,
        "active": figures.of(Status::Active),
        "pastDue": figures.of(Status::PastDue),
        "suspended": figures.of(Status::Suspended),
        "lowCredit": short,
        "warningDays": shop.settings.low_credit_days,
    });
    let what = (Topic::AdminBillingSummary, ADMINISTRATORS);
    let is_new = outbox::put_once(&mut conn, clock, what, &today.to_string(), payload).await?;
    conn.commit().await?;
    Ok(Outcome::of(is_new.into()))
}

struct Figures {
    by_status: Vec<(Status, i64)>,
    /// Periods that were paid: how many, and how much.
    paid: (i64, Rupiah),
    top_ups: (i64, Rupiah),
}

impl Figures {
    fn of(&self, status: Status) -> i64 {
        let found = self.by_status.iter().find(|(other, _)| *other == status);
        found.map_or(0, |(_, count)| *count)
    }
}

async fn figures(conn: &mut Conn, since: DateTime<Utc>) -> Result<Figures> {
    let totals = wallet::totals_since(conn, since).await?;
    let settled = |kind: TransactionType| {
        let is_this =
            |one: &&TypeTotal| one.kind == kind && one.status == TransactionStatus::Completed;
        let found = totals.iter().find(is_this);
        found.map_or((0, Rupiah::ZERO), |one| (one.count, one.amount))
    };
    // A payment leaves its wallet, so that its amount is negative.
    let (periods, charged) = settled(TransactionType::Subscription);
    Ok(Figures {
        paid: (periods, charged.negated()),
        top_ups: settled(TransactionType::TopUp),
        by_status: store::count_by_status(conn).await?,
    })
}
