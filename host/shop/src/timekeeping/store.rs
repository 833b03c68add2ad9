//! SQL of moments to wait for that were written by a clock that was ahead.

use chrono::{DateTime, TimeDelta, Utc};

use super::SETTLED;
use crate::{db::Conn, execute};

/// Largest difference between the clocks of several servers.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// Longest lease of a delivery to a webhook. One that was claimed just now is no mark of another clock.
const DELIVERY: TimeDelta = TimeDelta::minutes(6);
/// Longest day.
const DAY: TimeDelta = TimeDelta::hours(26);
/// Longest pause before another attempt.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(25);

/// Distance from now beyond which a moment was written by a clock that was ahead.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// A moment that was present when it was written, or a lease.
    Soon,
    /// The lease of a delivery.
    Claimed,
    /// The next attempt.
    Late,
}

use Bound::{Claimed, Late, Soon};

/// Statements that set such moments to now, and their bounds.
const RESETS: &[(&str, Bound)] = &[
    (
        "UPDATE jobs SET watched_since = $1 WHERE watched_since > $2",
        Soon,
    ),
    (
        "UPDATE job_runs SET lease_until = $1 WHERE finished_at IS NULL AND lease_until > $2",
        Soon,
    ),
    (
        "UPDATE payments SET lease_holder = NULL, lease_until = NULL, next_check_at = $1 WHERE lease_until > $2",
        Soon,
    ),
    (
        "UPDATE instances SET lease_holder = NULL, lease_until = NULL, next_attempt_at = $1 WHERE lease_until > $2",
        Soon,
    ),
    (
        "UPDATE notification_deliveries SET lease_holder = NULL, lease_until = NULL, next_try_at = $1 WHERE lease_until > $2",
        Soon,
    ),
    (
        "UPDATE notification_deliveries SET next_try_at = $1 WHERE state IN ('PENDING', 'FAILED') AND next_try_at > $2",
        Late,
    ),
    (
        "UPDATE webhook_deliveries SET lease_holder = NULL, lease_until = NULL, next_try_at = $1 WHERE lease_until > $2",
        Claimed,
    ),
    (
        "UPDATE webhook_deliveries SET next_try_at = $1 WHERE state IN ('PENDING', 'FAILED') AND next_try_at > $2",
        Late,
    ),
    (
        "UPDATE custom_domains SET lease_holder = NULL, lease_until = NULL, next_check_at = $1 WHERE lease_until > $2",
        Soon,
    ),
    (
        "UPDATE custom_domains SET next_check_at = $1 WHERE state = 'PENDING' AND next_check_at > $2",
        Late,
    ),
    (
        "UPDATE webhook_endpoints SET failing_since = $1 WHERE failing_since > $2",
        Soon,
    ),
    (
        "UPDATE payments SET next_check_at = $1 WHERE next_check_at > $2",
        Late,
    ),
    (
        "UPDATE instances SET next_attempt_at = $1 WHERE next_attempt_at > $2 AND status <> 'TERMINATED'",
        Late,
    ),
    (
        "UPDATE subscriptions SET renewal_retry_at = $1 WHERE renewal_retry_at > $2",
        Late,
    ),
    (
        "UPDATE subscriptions SET suspended_at = $1
         WHERE status IN ('PAST_DUE', 'SUSPENDED') AND suspended_at > $2",
        Soon,
    ),
    (
        "UPDATE instances SET rollout_since = $1 WHERE rollout_since > $2",
        Soon,
    ),
    (
        "UPDATE health_spans SET since = $1 WHERE until IS NULL AND since > $2",
        Soon,
    ),
    (
        "UPDATE health_spans SET unwell_since = $1 WHERE until IS NULL AND unwell_since > $2",
        Soon,
    ),
    (
        "UPDATE health_spans SET ailing_since = $1 WHERE until IS NULL AND ailing_since > $2",
        Soon,
    ),
    (
        "UPDATE health_spans SET given_up_at = $1 WHERE until IS NULL AND given_up_at > $2",
        Soon,
    ),
    ("UPDATE healing_acts SET at = $1 WHERE at > $2", Soon),
    (
        "UPDATE plugin_uploads SET created_at = $1 WHERE state = 'COMPILING' AND created_at > $2",
        Soon,
    ),
    (
        "UPDATE plugin_uploads SET lease_until = $1 WHERE state = 'COMPILING' AND lease_until > $2",
        Soon,
    ),
];

/// Resets every mark that is too far ahead, also the time since when jobs are known.
pub(super) async fn mend(conn: &mut Conn, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let soon = now + SKEW;
    // A run recorded for a future instant would make that instant look done. Selected by job, since
    // the key of runs begins with it.
    let runs = "DELETE FROM job_runs WHERE job IN (SELECT name FROM jobs) AND scheduled_for > $1 AND finished_at IS NOT NULL";
    let mut mended = execute!(conn, runs, soon)?;
    // A day that was kept before it was over for long enough.
    let days = "DELETE FROM kept_days WHERE from_at > $1 AND until_at > $2";
    mended += execute!(conn, days, now - SETTLED - DAY, soon - SETTLED)?;
    for &(sql, bound) in RESETS {
        let limit = match bound {
            Soon => soon,
            Claimed => soon + DELIVERY,
            Late => now + LONGEST_WAIT,
        };
        mended += execute!(conn, sql, now, limit)?;
    }
    Ok(mended)
}
