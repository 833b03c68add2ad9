//! SQL of alerts.

use chrono::{DateTime, Utc};

use super::model::{Alert, AlertFilter, AlertKind, AlertState};
use crate::{
    db::{Conn, Filter, List, Span, Walked, fetch_span, find_where},
    execute, fetch_all, fetch_one, fetch_optional,
    ids::{AlertId, UserId},
};

/// Values of an alert to raise.
pub(super) struct NewAlert<'a> {
    pub(super) id: AlertId,
    pub(super) kind: AlertKind,
    pub(super) subject: &'a str,
    pub(super) message: &'a str,
    pub(super) now: DateTime<Utc>,
}

/// Raises an alert; returns the id of the open alert, and how often it has been raised.
pub(super) async fn raise(conn: &mut Conn, new: &NewAlert<'_>) -> sqlx::Result<(AlertId, i64)> {
    let sql = "INSERT INTO alerts (id, kind, subject, message, occurrences, raised_at, last_raised_at)
        VALUES ($1, $2, $3, $4, 1, $5, $5)
        ON CONFLICT (kind, subject) WHERE resolved_at IS NULL DO UPDATE
        SET occurrences = alerts.occurrences + 1, message = excluded.message, last_raised_at = excluded.last_raised_at
        RETURNING id, occurrences";
    fetch_one!(
        conn,
        (AlertId, i64),
        sql,
        new.id,
        new.kind,
        new.subject,
        new.message,
        new.now
    )
}

pub(super) async fn resolve(
    conn: &mut Conn,
    kind: AlertKind,
    subject: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<AlertId>> {
    let sql = "UPDATE alerts SET resolved_at = $3
               WHERE kind = $1 AND subject = $2 AND resolved_at IS NULL RETURNING id";
    let row = fetch_optional!(conn, (AlertId,), sql, kind, subject, now)?;
    Ok(row.map(|(id,)| id))
}

/// Records who saw it; `false` when that was recorded before, or there is none.
pub(super) async fn acknowledge(
    conn: &mut Conn,
    id: AlertId,
    actor_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE alerts SET acknowledged_at = $3, acknowledged_by = $2
               WHERE id = $1 AND acknowledged_at IS NULL";
    Ok(execute!(conn, sql, id, actor_id, now)? == 1)
}

const ALERTS: List = List {
    rows: "SELECT id, kind, CASE WHEN resolved_at IS NULL THEN 'OPEN' ELSE 'RESOLVED' END AS state, subject, message,
        occurrences, raised_at, last_raised_at, acknowledged_at, acknowledged_by, resolved_at FROM alerts",
    from: "FROM alerts",
    key: "id",
    order: "ORDER BY raised_at DESC, id DESC",
};

pub(super) async fn by_id(conn: &mut Conn, id: AlertId) -> sqlx::Result<Option<Alert>> {
    find_where(conn, ALERTS.rows, &Filter::of("id = ?", id)).await
}

pub(super) async fn count_open(conn: &mut Conn) -> sqlx::Result<Vec<(AlertKind, i64)>> {
    let sql =
        "SELECT kind, count(*) FROM alerts WHERE resolved_at IS NULL GROUP BY kind ORDER BY kind";
    fetch_all!(conn, (AlertKind, i64), sql)
}

pub(super) async fn open_subjects(conn: &mut Conn, kind: AlertKind) -> sqlx::Result<Vec<String>> {
    let sql = "SELECT subject FROM alerts WHERE kind = $1 AND resolved_at IS NULL";
    let rows = fetch_all!(conn, (String,), sql, kind)?;
    Ok(rows.into_iter().map(|(subject,)| subject).collect())
}

pub(super) async fn list(
    conn: &mut Conn,
    wanted: &AlertFilter<'_>,
    span: Span<AlertId>,
) -> sqlx::Result<Walked<Alert>> {
    let state = wanted.state.map(|state| match state {
        AlertState::Open => "resolved_at IS NULL",
        AlertState::Resolved => "resolved_at IS NOT NULL",
    });
    let acknowledged = wanted.acknowledged.map(|is_acknowledged| {
        if is_acknowledged {
            "acknowledged_at IS NOT NULL"
        } else {
            "acknowledged_at IS NULL"
        }
    });
    let filter = Filter::default()
        .with_some("kind = ?", wanted.kind)
        .with_some("subject = ?", wanted.subject)
        .and_some(state)
        .and_some(acknowledged);
    let place = "(raised_at, id) < (?, ?)";
    fetch_span(conn, ALERTS, place, filter, span).await
}
