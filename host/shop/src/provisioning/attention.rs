//! Alerts about instances: faults that administrators must mend, from beginning to end.

use super::model::{Instance, Status, Verdict};
use crate::{
    Result,
    alerts::{self, AlertKind},
    db::{Clock, Conn},
};

/// Raises and ends the alerts about an instance, in the transaction that writes the verdict.
///
/// # Errors
/// When the database refuses.
pub(super) async fn tell(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    verdict: &Verdict,
) -> Result<()> {
    about_trouble(conn, clock, seen, verdict).await?;
    about_contest(conn, clock, seen, verdict).await
}

async fn about_trouble(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    verdict: &Verdict,
) -> Result<()> {
    let kind = AlertKind::InstanceFailed;
    if let Some(trouble) = &verdict.trouble {
        let message = format!(
            "Instance {} in namespace {}: {trouble}",
            seen.name, seen.namespace
        );
        return alerts::raise(conn, clock, kind, &seen.name, &message).await;
    }
    // Most passes find nothing: only those that end something look for an alert.
    let is_over = match verdict.status {
        Status::Terminated => true,
        status => verdict.is_applied && (status.is_delivered() || status == Status::Stopped),
    };
    let had_trouble = seen.failures > 0 || seen.status != verdict.status;
    if is_over && had_trouble {
        alerts::resolve(conn, clock, kind, &seen.name).await?;
    }
    Ok(())
}

async fn about_contest(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    verdict: &Verdict,
) -> Result<()> {
    let kind = AlertKind::InstanceContested;
    if let Some(contested) = &verdict.contested {
        let message = format!(
            "Instance {} in namespace {}: {contested} again and again, and Dermaga changes it back, more \
             and more slowly. Stop the other controller, or give the instance to it.",
            seen.name, seen.namespace
        );
        return alerts::raise(conn, clock, kind, &seen.name, &message).await;
    }
    let is_over = verdict.contest.corrections == 0 || verdict.status == Status::Terminated;
    if is_over && seen.corrections > 0 {
        alerts::resolve(conn, clock, kind, &seen.name).await?;
    }
    Ok(())
}
