//! SQL of the health of instances.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Act, CheckSource, InstanceHealth, Span, limits::Attempt, stats::SpanRow};
use crate::{
    db::{self, Conn, Filter, List, Walked, fetch_first, fetch_span, fetch_where},
    defer, execute, fetch_all, fetch_one, fetch_optional,
    ids::{HealthSpanId, InstanceId},
    provisioning::model::{Instance, Status},
};

macro_rules! span {
    () => {
        "SELECT id, state, reason, detail, source, since, until, unwell_since, ailing_since, given_up_at \
         FROM health_spans"
    };
}

/// The span that lasts.
pub(super) async fn open_span(conn: &mut Conn, id: InstanceId) -> sqlx::Result<Option<Span>> {
    let sql = concat!(span!(), " WHERE instance_id = $1 AND until IS NULL");
    fetch_optional!(conn, Span, sql, id)
}

pub(super) async fn insert_span(
    conn: &mut Conn,
    instance_id: InstanceId,
    span: &Span,
    is_new_state: bool,
) -> sqlx::Result<()> {
    defer!(
        conn,
        "INSERT INTO health_spans (id, instance_id, state, is_new_state, reason, detail, source, since, unwell_since, \
         ailing_since, given_up_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        span.id,
        instance_id,
        span.state,
        is_new_state,
        &span.reason,
        &span.detail,
        span.source,
        span.since,
        span.unwell_since,
        span.ailing_since,
        span.given_up_at,
    )
}

pub(super) async fn update_span(conn: &mut Conn, before: &Span, now: &Span) -> sqlx::Result<u64> {
    let sql = "UPDATE health_spans SET reason = $2, detail = $3, unwell_since = $4, ailing_since = $5, given_up_at = $6 \
               WHERE id = $1";
    execute!(
        conn,
        sql,
        before.id,
        &now.reason,
        &now.detail,
        now.unwell_since,
        now.ailing_since,
        now.given_up_at
    )
}

pub(super) async fn close_span(
    conn: &mut Conn,
    instance_id: InstanceId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE health_spans SET until = CASE WHEN since > $2 THEN since ELSE $2 END \
               WHERE instance_id = $1 AND until IS NULL";
    execute!(conn, sql, instance_id, now)
}

/// Returns the state of the last span in which it was known.
pub(super) async fn last_known(
    conn: &mut Conn,
    instance_id: InstanceId,
) -> sqlx::Result<Option<InstanceHealth>> {
    let sql = "SELECT state FROM health_spans WHERE instance_id = $1 AND state <> 'UNKNOWN' \
               ORDER BY since DESC, id DESC LIMIT 1";
    let found = fetch_optional!(conn, (InstanceHealth,), sql, instance_id)?;
    Ok(found.map(|(state,)| state))
}

/// Returns true when an instance was given up after a moment.
pub(super) async fn was_given_up(
    conn: &mut Conn,
    instance_id: InstanceId,
    after: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "SELECT id FROM health_spans WHERE instance_id = $1 AND given_up_at > $2 LIMIT 1";
    let found = fetch_optional!(conn, (HealthSpanId,), sql, instance_id, after)?;
    Ok(found.is_some())
}

/// Attempts to mend an instance since a moment.
pub(super) async fn attempts(
    conn: &mut Conn,
    instance_id: InstanceId,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<Attempt>> {
    let sql = "SELECT act, at FROM healing_acts WHERE instance_id = $1 AND at > $2";
    fetch_all!(conn, Attempt, sql, instance_id, since)
}

pub(super) async fn insert_attempt(
    conn: &mut Conn,
    id: Uuid,
    instance_id: InstanceId,
    act: Act,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO healing_acts (id, instance_id, act, at) VALUES ($1, $2, $3, $4)";
    execute!(conn, sql, id, instance_id, act, now)
}

/// Renders a restart into the pods of an instance, unless its desired state changed meanwhile.
pub(super) async fn restart(
    conn: &mut Conn,
    seen: &Instance,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE instances SET restarted_at = $3, generation = generation + 1, next_attempt_at = $3 \
               WHERE id = $1 AND generation = $2 AND desired = 'RUNNING'";
    execute!(conn, sql, seen.id, seen.generation, now)
}

pub(super) async fn purge_spans(
    conn: &mut Conn,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let sql = "DELETE FROM health_spans WHERE id IN \
               (SELECT id FROM health_spans WHERE until < $1 ORDER BY until, id LIMIT $2)";
    execute!(conn, sql, before, limit)
}

pub(super) async fn purge_attempts(
    conn: &mut Conn,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let sql = "DELETE FROM healing_acts WHERE id IN \
               (SELECT id FROM healing_acts WHERE at < $1 ORDER BY at LIMIT $2)";
    execute!(conn, sql, before, limit)
}

// ---- readings ----

const SPANS: List = List {
    rows: span!(),
    from: "FROM health_spans",
    key: "id",
    order: "ORDER BY since DESC, id DESC",
};

/// The history of an instance, newest first.
pub(super) async fn spans(
    conn: &mut Conn,
    instance_id: InstanceId,
    state: Option<InstanceHealth>,
    span: db::Span<HealthSpanId>,
) -> sqlx::Result<Walked<Span>> {
    let filter = Filter::of("instance_id = ?", instance_id).with_some("state = ?", state);
    fetch_span(conn, SPANS, "(since, id) < (?, ?)", filter, span).await
}

/// Name and last check of an instance.
pub(super) async fn checked_at(
    conn: &mut Conn,
    id: InstanceId,
) -> sqlx::Result<Option<(Option<DateTime<Utc>>,)>> {
    let sql = "SELECT checked_at FROM instances WHERE id = $1";
    fetch_optional!(conn, (Option<DateTime<Utc>>,), sql, id)
}

/// Numbers of instances that are not removed: all, those whose health is known or was looked for, and these by every state
/// but the one that nearly all have.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Counts {
    pub(super) live: i64,
    pub(super) checked: i64,
    pub(super) starting: i64,
    pub(super) degraded: i64,
    pub(super) failed: i64,
    pub(super) stopped: i64,
    pub(super) unknown: i64,
}

/// Counts instances by health. The span that lasts ends when its instance is removed, so spans are counted without their
/// instances; each of these numbers comes from an index alone.
pub(super) async fn count_by_state(conn: &mut Conn) -> sqlx::Result<Counts> {
    let sql = "SELECT (SELECT count(*) FROM instances WHERE status <> 'TERMINATED') AS live, \
               (SELECT count(*) FROM health_spans WHERE until IS NULL) AS checked, \
               (SELECT count(*) FROM health_spans WHERE until IS NULL AND state = 'STARTING') AS starting, \
               (SELECT count(*) FROM health_spans WHERE until IS NULL AND state = 'DEGRADED') AS degraded, \
               (SELECT count(*) FROM health_spans WHERE until IS NULL AND state = 'FAILED') AS failed, \
               (SELECT count(*) FROM health_spans WHERE until IS NULL AND state = 'STOPPED') AS stopped, \
               (SELECT count(*) FROM health_spans WHERE until IS NULL AND state = 'UNKNOWN') AS unknown";
    fetch_one!(conn, Counts, sql)
}

/// Numbers of attempts since a moment.
pub(super) async fn count_attempts(
    conn: &mut Conn,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<(Act, i64)>> {
    let sql = "SELECT act, count(*) FROM healing_acts \
               WHERE act IN ('RESTART', 'RECREATION') AND at >= $1 GROUP BY act";
    fetch_all!(conn, (Act, i64), sql, since)
}

/// An instance that is not well.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct UnwellRow {
    pub(super) id: InstanceId,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) status: Status,
    pub(super) state: InstanceHealth,
    pub(super) reason: String,
    pub(super) detail: String,
    pub(super) since: DateTime<Utc>,
    pub(super) given_up_at: Option<DateTime<Utc>>,
}

/// The instances that have been unwell the longest.
pub(super) async fn unwell(conn: &mut Conn, limit: i64) -> sqlx::Result<Vec<UnwellRow>> {
    let sql = "SELECT i.id, i.name, i.namespace, i.status, h.state, h.reason, h.detail, \
               coalesce(h.unwell_since, h.since) AS since, h.given_up_at \
               FROM health_spans h CROSS JOIN instances i \
               WHERE i.id = h.instance_id AND h.until IS NULL AND h.state IN ('FAILED', 'DEGRADED') \
               ORDER BY coalesce(h.unwell_since, h.since), i.id LIMIT $1";
    fetch_all!(conn, UnwellRow, sql, limit)
}

pub(super) async fn count_given_up(conn: &mut Conn) -> sqlx::Result<i64> {
    let sql = "SELECT count(*) FROM health_spans WHERE until IS NULL AND given_up_at IS NOT NULL";
    let (count,) = fetch_one!(conn, (i64,), sql)?;
    Ok(count)
}

/// Spans with their instances; SQLite keeps the order of a cross join.
macro_rules! measured {
    () => {
        "SELECT h.id, h.instance_id, i.name, i.ready_at, h.state, h.is_new_state, h.since, h.until, h.unwell_since \
         FROM health_spans h CROSS JOIN instances i"
    };
}

/// Spans that ended after a place in their order, which begins with their ends: those without health, and recoveries.
pub(super) async fn eventful_spans(
    conn: &mut Conn,
    after: (DateTime<Utc>, HealthSpanId),
    limit: i64,
) -> sqlx::Result<Vec<SpanRow>> {
    let sql = concat!(
        measured!(),
        " WHERE i.id = h.instance_id AND h.until IS NOT NULL \
         AND (h.state <> 'HEALTHY' OR h.unwell_since IS NOT NULL) \
         AND (h.until, h.id) > ($1, $2) ORDER BY h.until, h.id LIMIT $3"
    );
    fetch_all!(conn, SpanRow, sql, after.0, after.1, limit)
}

/// Spans of a state that last, after a place in their order, which begins with their begins.
pub(super) async fn open_spans(
    conn: &mut Conn,
    state: InstanceHealth,
    after: (DateTime<Utc>, InstanceId),
    limit: i64,
) -> sqlx::Result<Vec<SpanRow>> {
    let sql = concat!(
        measured!(),
        " WHERE i.id = h.instance_id AND h.until IS NULL AND h.state = $1 AND (h.since, h.instance_id) > ($2, $3) \
         ORDER BY h.since, h.instance_id LIMIT $4"
    );
    fetch_all!(conn, SpanRow, sql, state, after.0, after.1, limit)
}

/// Calm spans that ended since a moment, of these instances.
pub(super) async fn calm_spans(
    conn: &mut Conn,
    from: DateTime<Utc>,
    ids: &[InstanceId],
) -> sqlx::Result<Vec<SpanRow>> {
    let filter = Filter::default()
        .and("i.id = h.instance_id AND h.state = 'HEALTHY' AND h.unwell_since IS NULL")
        .with("h.until >= ?", from)
        .with_any("h.instance_id", ids.iter().copied());
    fetch_where(conn, measured!(), &filter, "").await
}

/// Counts the spans that have ended since a moment.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Ended {
    /// Instances with a span that ended.
    pub(super) instances: i64,
    /// Time since then of the calm ones: of health that no fault came before. Most spans are such.
    pub(super) calm_ms: i64,
}

/// Adds up what has ended since a moment, from an index alone.
pub(super) async fn ended(conn: &mut Conn, from: DateTime<Utc>) -> sqlx::Result<Ended> {
    // The engines agree on no word for the time between two moments.
    let sql = if conn.is_postgres() {
        "SELECT count(DISTINCT instance_id) AS instances, CAST(coalesce(sum(CASE \
           WHEN state = 'HEALTHY' AND unwell_since IS NULL \
           THEN extract(epoch FROM until - CASE WHEN since > $1 THEN since ELSE $1 END) END), 0) * 1000 AS BIGINT) AS calm_ms \
         FROM health_spans WHERE until >= $1"
    } else {
        "SELECT count(DISTINCT instance_id) AS instances, CAST(round(coalesce(sum(CASE \
           WHEN state = 'HEALTHY' AND unwell_since IS NULL \
           THEN julianday(until) - CASE WHEN since > $1 THEN julianday(since) ELSE julianday($1) END END), 0) * 86400000) \
           AS BIGINT) AS calm_ms \
         FROM health_spans WHERE until >= $1"
    };
    fetch_one!(conn, Ended, sql, from)
}

/// A calm span that ended, of an instance that was not ready at a moment before.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct LateRow {
    pub(super) since: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
    pub(super) ready_at: Option<DateTime<Utc>>,
}

/// Calm spans that ended since a moment, of instances that were not ready by then.
pub(super) async fn calm_before_ready(
    conn: &mut Conn,
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<LateRow>> {
    // Each part by the index of that time; together they would read the long rows of all instances.
    let sql = "SELECT h.since, h.until, i.ready_at FROM instances i CROSS JOIN health_spans h \
               WHERE i.ready_at IS NULL AND h.instance_id = i.id AND h.until >= $1 \
                 AND h.state = 'HEALTHY' AND h.unwell_since IS NULL \
               UNION ALL SELECT h.since, h.until, i.ready_at FROM instances i CROSS JOIN health_spans h \
               WHERE i.ready_at > $1 AND h.instance_id = i.id AND h.until >= $1 \
                 AND h.state = 'HEALTHY' AND h.unwell_since IS NULL";
    fetch_all!(conn, LateRow, sql, from)
}

/// Numbers of spans that last.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Lasting {
    pub(super) lasting: i64,
    /// Those that are not of health.
    pub(super) others: i64,
    /// Those of health that began since a moment.
    pub(super) begun: i64,
    /// Those that began since then, when another one of the instance ended.
    pub(super) continued: i64,
}

/// Counts the spans that last. Nearly all are of health from before the moment; these are what the others leave.
pub(super) async fn count_lasting(conn: &mut Conn, from: DateTime<Utc>) -> sqlx::Result<Lasting> {
    let sql = "SELECT (SELECT count(*) FROM health_spans WHERE until IS NULL) AS lasting, \
               (SELECT count(*) FROM health_spans WHERE until IS NULL \
                 AND state IN ('STARTING', 'DEGRADED', 'FAILED', 'STOPPED', 'UNKNOWN')) AS others, \
               (SELECT count(*) FROM health_spans WHERE until IS NULL AND state = 'HEALTHY' AND since >= $1) AS begun, \
               (SELECT count(*) FROM health_spans h WHERE h.until IS NULL \
                 AND h.state IN ('HEALTHY', 'STARTING', 'DEGRADED', 'FAILED', 'STOPPED', 'UNKNOWN') AND h.since >= $1 \
                 AND EXISTS (SELECT 1 FROM health_spans p WHERE p.instance_id = h.instance_id AND p.until >= $1)) \
                 AS continued";
    fetch_one!(conn, Lasting, sql, from)
}

/// Times at which instances were first ready that are well from before a moment, and were not ready by then.
pub(super) async fn ready_late(
    conn: &mut Conn,
    from: DateTime<Utc>,
) -> sqlx::Result<Vec<(Option<DateTime<Utc>>,)>> {
    // As in `calm_before_ready`: each part by the index.
    let sql = "SELECT i.ready_at FROM instances i CROSS JOIN health_spans h \
               WHERE i.ready_at IS NULL AND h.instance_id = i.id AND h.until IS NULL \
                 AND h.state = 'HEALTHY' AND h.since < $1 \
               UNION ALL SELECT i.ready_at FROM instances i CROSS JOIN health_spans h \
               WHERE i.ready_at > $1 AND h.instance_id = i.id AND h.until IS NULL \
                 AND h.state = 'HEALTHY' AND h.since < $1";
    fetch_all!(conn, (Option<DateTime<Utc>>,), sql, from)
}

// ---- checks that are asked for ----

/// Instances that are not removed, of these.
pub(super) async fn known(conn: &mut Conn, ids: &[InstanceId]) -> sqlx::Result<Vec<(InstanceId,)>> {
    let filter = Filter::default()
        .and("status <> 'TERMINATED'")
        .with_any("id", ids.iter().copied());
    let most = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    fetch_first(
        conn,
        "SELECT id FROM instances",
        &filter,
        "ORDER BY id",
        most,
    )
    .await
}

pub(super) async fn make_due(
    conn: &mut Conn,
    id: InstanceId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE instances SET due_by = $3, rests_until = NULL, \
               next_attempt_at = CASE WHEN next_attempt_at > $2 THEN $2 ELSE next_attempt_at END \
               WHERE id = $1 AND status <> 'TERMINATED'";
    execute!(conn, sql, id, now, CheckSource::Request)
}

pub(super) async fn make_all_due(conn: &mut Conn, now: DateTime<Utc>) -> sqlx::Result<u64> {
    let sql = "UPDATE instances SET due_by = $2, rests_until = NULL, \
               next_attempt_at = CASE WHEN next_attempt_at > $1 THEN $1 ELSE next_attempt_at END \
               WHERE status <> 'TERMINATED'";
    execute!(conn, sql, now, CheckSource::Request)
}
