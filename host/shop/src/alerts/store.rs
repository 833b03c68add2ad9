//! SQL of alerts.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::model::{Alert, AlertKind, AlertState};
use crate::{db::Conn, execute, fetch_all, fetch_built, fetch_one, fetch_optional, ids::UserId};

/// Values of an alert to raise.
pub(super) struct NewAlert<'a> {
    pub(super) id: Uuid,
    pub(super) kind: AlertKind,
    pub(super) subject: &'a str,
    pub(super) message: &'a str,
    pub(super) now: DateTime<Utc>,
}

/// Raises an alert; returns the id of the open alert, and how often it has been raised.
pub(super) async fn raise(conn: &mut Conn, new: &NewAlert<'_>) -> sqlx::Result<(Uuid, i64)> {
    let sql = "INSERT INTO alerts (id, kind, subject, message, occurrences, raised_at, last_raised_at)
        VALUES ($1, $2, $3, $4, 1, $5, $5)
        ON CONFLICT (kind, subject) WHERE resolved_at IS NULL DO UPDATE
        SET occurrences = alerts.occurrences + 1, message = excluded.message, last_raised_at = excluded.last_raised_at
        RETURNING id, occurrences";
    fetch_one!(
        conn,
        (Uuid, i64),
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
) -> sqlx::Result<Option<Uuid>> {
    let sql = "UPDATE alerts SET resolved_at = $3
               WHERE kind = $1 AND subject = $2 AND resolved_at IS NULL RETURNING id";
    let row = fetch_optional!(conn, (Uuid,), sql, kind, subject, now)?;
    Ok(row.map(|(id,)| id))
}

/// Records who saw it; `false` when that was recorded before, or there is none.
pub(super) async fn acknowledge(
    conn: &mut Conn,
    id: Uuid,
    actor_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE alerts SET acknowledged_at = $3, acknowledged_by = $2
               WHERE id = $1 AND acknowledged_at IS NULL";
    Ok(execute!(conn, sql, id, actor_id, now)? == 1)
}

const ALERT: &str =
    "SELECT id, kind, CASE WHEN resolved_at IS NULL THEN 'OPEN' ELSE 'RESOLVED' END AS state,
    subject, message, occurrences, raised_at, last_raised_at, acknowledged_at, acknowledged_by, resolved_at FROM alerts";

pub(super) async fn by_id(conn: &mut Conn, id: Uuid) -> sqlx::Result<Option<Alert>> {
    let found: Vec<Alert> = fetch_built!(conn, Alert, ALERT, |q| {
        q.push(" WHERE id = ").push_bind(id);
    })?;
    Ok(found.into_iter().next())
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

/// Filter of a list of alerts.
#[derive(Debug, Default)]
pub struct AlertFilter<'a> {
    pub kind: Option<AlertKind>,
    pub state: Option<AlertState>,
    pub subject: Option<&'a str>,
    pub acknowledged: Option<bool>,
}

macro_rules! filter_alerts {
    ($q:ident, $filter:expr) => {
        if let Some(kind) = $filter.kind {
            $q.push(" AND kind = ").push_bind(kind);
        }
        if let Some(subject) = $filter.subject {
            $q.push(" AND subject = ").push_bind(subject);
        }
        match $filter.state {
            Some(AlertState::Open) => drop($q.push(" AND resolved_at IS NULL")),
            Some(AlertState::Resolved) => drop($q.push(" AND resolved_at IS NOT NULL")),
            None => {}
        }
        match $filter.acknowledged {
            Some(true) => drop($q.push(" AND acknowledged_at IS NOT NULL")),
            Some(false) => drop($q.push(" AND acknowledged_at IS NULL")),
            None => {}
        }
    };
}

pub async fn list(
    conn: &mut Conn,
    filter: &AlertFilter<'_>,
    limit: i64,
    offset: i64,
) -> sqlx::Result<Vec<Alert>> {
    fetch_built!(conn, Alert, ALERT, |q| {
        q.push(" WHERE TRUE");
        filter_alerts!(q, filter);
        q.push(" ORDER BY raised_at DESC, id DESC LIMIT ")
            .push_bind(limit);
        q.push(" OFFSET ").push_bind(offset);
    })
}

pub async fn count(conn: &mut Conn, filter: &AlertFilter<'_>) -> sqlx::Result<i64> {
    let start = "SELECT count(*) FROM alerts WHERE TRUE";
    let rows: Vec<(i64,)> = fetch_built!(conn, (i64,), start, |q| {
        filter_alerts!(q, filter);
    })?;
    Ok(rows.first().map_or(0, |(count,)| *count))
}
