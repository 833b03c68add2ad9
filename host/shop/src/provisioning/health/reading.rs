//! Health of instances as administrators and customers read it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Act, HealthSpanView, InstanceHealth, Span, State, TimeRange,
    limits::{MOST_RECREATIONS, MOST_RESTARTS, WINDOW},
    stats::{Percent, Quiet, Tally, Totals, milliseconds, unready},
    store,
};
use crate::{
    Error, Result,
    db::{self, Conn, Db, Walked},
    ids::{HealthSpanId, InstanceId},
    provisioning::{Instances, model::Status},
};

/// Number of instances that a summary or statistics name.
const NAMED: usize = 20;
/// Rows of the history that are read at once.
const AT_ONCE: usize = 2000;
/// Instances whose history one statement reads.
const TOGETHER: usize = 500;

/// Attempts to mend instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempts {
    pub restarts: i64,
    pub recreations: i64,
}

impl Attempts {
    async fn since(conn: &mut Conn, since: DateTime<Utc>) -> Result<Self> {
        let mut all = Self::default();
        for (act, count) in store::count_attempts(conn, since).await? {
            match act {
                Act::Restart => all.restarts = count,
                Act::Recreation => all.recreations = count,
            }
        }
        Ok(all)
    }
}

/// Numbers of instances by their health.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthCounts {
    pub healthy: i64,
    pub starting: i64,
    pub degraded: i64,
    pub failed: i64,
    pub stopped: i64,
    /// The cluster does not answer, their manifests are in a folder, or they were not checked yet.
    pub unknown: i64,
}

impl From<&store::Counts> for HealthCounts {
    fn from(counts: &store::Counts) -> Self {
        let faulty = counts.starting + counts.degraded + counts.failed;
        let unmeasured = counts.stopped + counts.unknown;
        Self {
            healthy: counts.checked - faulty - unmeasured,
            starting: counts.starting,
            degraded: counts.degraded,
            failed: counts.failed,
            stopped: counts.stopped,
            unknown: counts.unknown + counts.live - counts.checked,
        }
    }
}

/// An instance that is not well.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unwell {
    pub id: InstanceId,
    pub name: String,
    pub namespace: String,
    pub status: Status,
    pub health: InstanceHealth,
    /// Reason in a sentence a customer understands.
    #[serde(serialize_with = "crate::language::in_words")]
    pub reason: String,
    /// Reason for administrators.
    #[serde(serialize_with = "crate::language::in_words")]
    pub detail: String,
    /// Begin of the time without health.
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub since: DateTime<Utc>,
    /// Time at which restarts had not helped; absent while they are tried.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub given_up_at: Option<DateTime<Utc>>,
}

impl From<store::UnwellRow> for Unwell {
    fn from(row: store::UnwellRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            namespace: row.namespace,
            status: row.status,
            health: row.state,
            reason: row.reason,
            detail: row.detail,
            since: row.since,
            given_up_at: row.given_up_at,
        }
    }
}

/// Limits of self-healing.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealingLimits {
    /// Time for which a fault must last before it is mended.
    pub patience_seconds: u64,
    pub restarts_per_hour: usize,
    pub recreations_per_hour: usize,
}

/// Health of all instances now.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthSummary {
    /// Instances that are not removed.
    pub total: i64,
    pub by_health: HealthCounts,
    /// Instances that restarts did not mend.
    pub given_up: i64,
    /// Attempts to mend instances within the last hour.
    pub last_hour: Attempts,
    pub limits: HealingLimits,
    /// False while the cluster does not answer: then health is not known.
    pub is_cluster_available: bool,
    /// The failed and degraded instances, the longest first; twenty at most.
    pub unwell: Vec<Unwell>,
}

/// Returns the health of all instances.
///
/// # Errors
/// When the database does not answer.
pub async fn summary(instances: &Instances) -> Result<HealthSummary> {
    let mut conn = instances.db.read().await?;
    let counts = store::count_by_state(&mut conn).await?;
    let since = instances.clock.now() - WINDOW;
    let limit = i64::try_from(NAMED).unwrap_or(i64::MAX);
    let unwell = store::unwell(&mut conn, limit).await?;
    Ok(HealthSummary {
        total: counts.live,
        by_health: HealthCounts::from(&counts),
        given_up: store::count_given_up(&mut conn).await?,
        last_hour: Attempts::since(&mut conn, since).await?,
        limits: HealingLimits {
            patience_seconds: instances.handle.patience().as_secs(),
            restarts_per_hour: MOST_RESTARTS,
            recreations_per_hour: MOST_RECREATIONS,
        },
        is_cluster_available: instances.handle.cluster().is_ok()
            && instances.handle.status().is_available,
        unwell: unwell.into_iter().map(Unwell::from).collect(),
    })
}

/// Lists the history of an instance's health, newest first.
///
/// # Errors
/// `NOT_FOUND` when there is no such instance.
pub async fn history(
    db: &Db,
    id: InstanceId,
    state: Option<InstanceHealth>,
    span: db::Span<HealthSpanId>,
) -> Result<Walked<HealthSpanView>> {
    let mut conn = db.read().await?;
    let found = store::checked_at(&mut conn, id).await?;
    let (checked_at,) = found.ok_or_else(|| Error::not_found("instance"))?;
    let walked = store::spans(&mut conn, id, state, span).await?;
    Ok(walked.map(|span| view(span, checked_at)))
}

fn view(span: Span, checked_at: Option<DateTime<Utc>>) -> HealthSpanView {
    let last = span.until.or(checked_at).unwrap_or(span.since);
    HealthSpanView {
        id: span.id,
        state: span.state,
        reason: span.reason,
        detail: span.detail,
        source: span.source,
        since: span.since,
        until: span.until,
        last_seen_at: last.max(span.since),
        given_up_at: span.given_up_at,
    }
}

/// Returns the health of an instance now; `None` before its first check.
///
/// # Errors
/// When the database does not answer.
pub(in crate::provisioning) async fn shown(
    conn: &mut Conn,
    id: InstanceId,
) -> Result<Option<State>> {
    let span = store::open_span(conn, id).await?;
    Ok(span.map(|span| State {
        health: span.state,
        reason: span.reason,
        since: span.since,
    }))
}

/// Figures of one instance in a time range.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceFigures {
    pub id: InstanceId,
    pub name: String,
    /// Share of the measured time in which it was healthy, in percent.
    #[schema(value_type = Option<f64>)]
    pub availability_percent: Option<Percent>,
    pub failures: i64,
    pub recoveries: i64,
    pub mean_seconds_to_recovery: Option<i64>,
}

/// Figures of a time range.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthStatistics {
    pub time_range: TimeRange,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub from: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub to: DateTime<Utc>,
    /// Instances with a history in it.
    pub instances: usize,
    /// Share of the measured time in which instances were healthy, in percent; absent when nothing
    /// was measured. Time in which one is stopped, is set up for the first time, or is in a cluster
    /// that does not answer is not measured.
    #[schema(value_type = Option<f64>)]
    pub availability_percent: Option<Percent>,
    /// Times that an instance failed.
    pub failures: i64,
    /// Times that one was healthy again.
    pub recoveries: i64,
    /// Mean time from the begin of a fault to health.
    pub mean_seconds_to_recovery: Option<i64>,
    /// Attempts to mend them.
    pub attempts: Attempts,
    /// Instances that failed or were not always healthy, the least available first; twenty at most.
    pub least_available: Vec<InstanceFigures>,
}

/// Adds up the history of a time range.
///
/// # Errors
/// When the database does not answer.
pub async fn statistics(instances: &Instances, time_range: TimeRange) -> Result<HealthStatistics> {
    let now = instances.clock.now();
    let from = now - time_range.length();
    let totals = totals(&instances.db, from, now).await?;
    let attempts = Attempts::since(&mut instances.db.read().await?, from).await?;
    Ok(HealthStatistics {
        time_range,
        from,
        to: now,
        instances: totals.instances,
        availability_percent: totals.all.availability(),
        failures: totals.all.failures,
        recoveries: totals.all.recoveries,
        mean_seconds_to_recovery: totals.all.mean_seconds_to_recovery(),
        attempts,
        least_available: least_available(totals),
    })
}

/// Adds up spans of health that no fault came before without reading them, and reads the others part after part, so that
/// a long history takes no memory.
async fn totals(db: &Db, from: DateTime<Utc>, now: DateTime<Utc>) -> Result<Totals> {
    let mut totals = Totals::default();
    add_ended(db, &mut totals, from, now).await?;
    add_open(db, &mut totals, from, now).await?;
    let mut conn = db.read().await?;
    let ended = store::ended(&mut conn, from).await?;
    totals.add_healthy(milliseconds(ended.calm_ms));
    for late in store::calm_before_ready(&mut conn, from).await? {
        let unready = unready((late.since, late.until), late.ready_at, from);
        totals.add_healthy(-unready);
    }
    let lasting = store::count_lasting(&mut conn, from).await?;
    let quiet = Quiet {
        healthy: lasting.lasting - lasting.others - lasting.begun,
        ready_late: ready_late(&mut conn, from).await?,
    };
    totals.add_healthy(quiet.healthy_time(from, now));
    let instances = ended.instances + lasting.lasting - lasting.continued;
    totals.instances = usize::try_from(instances).unwrap_or_default();
    let faulty = totals.faulty();
    for ids in faulty.chunks(TOGETHER) {
        for span in store::calm_spans(&mut conn, from, ids).await? {
            totals.complete(&span, from, now);
        }
    }
    Ok(totals)
}

/// Adds the spans that ended and of which more than their time counts.
async fn add_ended(
    db: &Db,
    totals: &mut Totals,
    from: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
    let mut place = (from, HealthSpanId::MIN);
    loop {
        let spans = store::eventful_spans(&mut db.read().await?, place, limit).await?;
        for span in &spans {
            totals.add(span, from, now);
            place = (span.until.unwrap_or(now), span.id);
        }
        if spans.len() < AT_ONCE {
            return Ok(());
        }
    }
}

/// Adds the spans that last, but for quiet ones.
async fn add_open(
    db: &Db,
    totals: &mut Totals,
    from: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<()> {
    let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
    for state in InstanceHealth::ALL {
        let begin = if is_quiet(*state) {
            from
        } else {
            DateTime::<Utc>::UNIX_EPOCH
        };
        let mut after = (begin, InstanceId::MIN);
        loop {
            let spans = store::open_spans(&mut db.read().await?, *state, after, limit).await?;
            for span in &spans {
                totals.add(span, from, now);
                after = (span.since, span.instance_id);
            }
            if spans.len() < AT_ONCE {
                break;
            }
        }
    }
    Ok(())
}

/// Returns true for a state of which spans that last from before a time range are only counted.
const fn is_quiet(state: InstanceHealth) -> bool {
    matches!(
        state,
        InstanceHealth::Healthy | InstanceHealth::Stopped | InstanceHealth::Unknown
    )
}

async fn ready_late(conn: &mut Conn, from: DateTime<Utc>) -> Result<Vec<Option<DateTime<Utc>>>> {
    let late = store::ready_late(conn, from).await?;
    Ok(late.into_iter().map(|(ready_at,)| ready_at).collect())
}

fn least_available(totals: Totals) -> Vec<InstanceFigures> {
    let share = |tally: &Tally| tally.availability().unwrap_or(Percent::ALL);
    let mut worst: Vec<_> = totals
        .each
        .into_iter()
        .filter(|(_, tally)| tally.has_faults())
        .collect();
    worst.sort_by(|(id, one), (other_id, other)| {
        let by_share = share(one).cmp(&share(other));
        by_share
            .then(other.failures.cmp(&one.failures))
            .then(id.cmp(other_id))
    });
    worst.truncate(NAMED);
    let figures = |(id, tally): (InstanceId, Tally)| InstanceFigures {
        id,
        availability_percent: tally.availability(),
        failures: tally.failures,
        recoveries: tally.recoveries,
        mean_seconds_to_recovery: tally.mean_seconds_to_recovery(),
        name: tally.name,
    };
    worst.into_iter().map(figures).collect()
}
