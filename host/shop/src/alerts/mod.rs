//! Alerts to administrators, from the beginning of a fault to its end.
//!
//! A lasting cause is one alert, however often it is noticed: raising it again counts. Raising and
//! resolving happen in the transaction of their cause.

mod model;
mod store;

use serde_json::json;

pub use model::{Alert, AlertFilter, AlertKind, AlertState};

use crate::{
    Error, Result,
    audit::{self, AuditAct, By, Event, Subject},
    db::{Clock, Conn, Db, Span, Walked, new_id},
    ids::AlertId,
};

/// Raises an alert, or counts it once more when the same kind is open about the same subject. The
/// subject names what it is about (`coupon-gift`), the message is a sentence that says what to do.
///
/// # Errors
/// When the database refuses.
pub async fn raise(
    conn: &mut Conn,
    clock: &Clock,
    kind: AlertKind,
    subject: &str,
    message: &str,
) -> Result<()> {
    let new = store::NewAlert {
        id: new_id(clock),
        kind,
        subject,
        message,
        now: clock.now(),
    };
    let (id, occurrences) = store::raise(conn, &new).await?;
    metrics::counter!("dermaga_alerts_total", "kind" => kind.as_str()).increment(1);
    if occurrences > 1 {
        tracing::debug!(alert.kind = %kind, alert.subject = subject, alert.occurrences = occurrences, "alert.raised_again");
        return Ok(());
    }
    tracing::warn!(alert.id = %id, alert.kind = %kind, alert.subject = subject, alert.message = message, "alert.raised");
    Ok(())
}

/// Resolves the open alert of this kind about this subject; returns true when there was one.
///
/// # Errors
/// When the database refuses.
pub async fn resolve(
    conn: &mut Conn,
    clock: &Clock,
    kind: AlertKind,
    subject: &str,
) -> Result<bool> {
    let Some(id) = store::resolve(conn, kind, subject, clock.now()).await? else {
        return Ok(false);
    };
    tracing::info!(alert.id = %id, alert.kind = %kind, alert.subject = subject, "alert.resolved");
    Ok(true)
}

/// Lists alerts, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(db: &Db, filter: &AlertFilter<'_>, span: Span<AlertId>) -> Result<Walked<Alert>> {
    Ok(store::list(&mut db.read().await?, filter, span).await?)
}

/// Records who acknowledged an alert first; the alert stays open until its cause ends.
///
/// # Errors
/// `NOT_FOUND` for an unknown one.
pub async fn acknowledge(db: &Db, clock: &Clock, by: By<'_>, id: AlertId) -> Result<Alert> {
    let mut conn = db.begin().await?;
    if store::acknowledge(&mut conn, id, by.actor_id, clock.now()).await? {
        let event = Event::new(AuditAct::AlertAcknowledged, Subject::Alert(id), json!({}));
        audit::record_by(&mut conn, clock, by, event).await?;
    }
    let alert = store::by_id(&mut conn, id).await?;
    let alert = alert.ok_or_else(|| Error::not_found("alert"))?;
    conn.commit().await?;
    Ok(alert)
}

/// Returns the subjects of the open alerts of a kind.
///
/// # Errors
/// When the database does not answer.
pub async fn open_subjects(conn: &mut Conn, kind: AlertKind) -> Result<Vec<String>> {
    Ok(store::open_subjects(conn, kind).await?)
}

/// Shows the number of open alerts of each kind as metrics.
///
/// # Errors
/// When the database does not answer.
pub async fn show(conn: &mut Conn) -> Result<()> {
    let counts = open(conn).await?;
    for kind in AlertKind::ALL {
        let counted = counts.iter().find(|(found, _)| found == kind);
        let count = counted.map_or(0, |(_, count)| *count);
        metrics::gauge!("dermaga_alerts_open", "kind" => kind.as_str()).set(count as f64);
    }
    Ok(())
}

/// Returns the number of open alerts, by kind.
///
/// # Errors
/// When the database does not answer.
pub async fn open(conn: &mut Conn) -> Result<Vec<(AlertKind, i64)>> {
    Ok(store::count_open(conn).await?)
}
