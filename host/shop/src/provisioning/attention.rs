//! Alerts about instances: faults that administrators must mend, from beginning to end.

use super::{
    is_untouched,
    model::{GivenUp, Instance, NewStatus, Status},
};
use crate::{
    Result,
    alerts::{self, AlertKind},
    db::{Clock, Conn},
};

/// Raises and ends the alerts about an instance, in the transaction that writes the new_status.
///
/// # Errors
/// When the database refuses.
pub(super) async fn tell(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    new_status: &NewStatus,
) -> Result<()> {
    about_trouble(conn, clock, seen, new_status).await?;
    about_data(conn, clock, seen, new_status).await?;
    about_change(conn, clock, seen, new_status).await?;
    about_contest(conn, clock, seen, new_status).await
}

async fn about_trouble(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    new_status: &NewStatus,
) -> Result<()> {
    let kind = AlertKind::InstanceFailed;
    if let Some(trouble) = &new_status.trouble {
        let message = format!(
            "Instance {} in namespace {}: {trouble}",
            seen.name, seen.namespace
        );
        return alerts::raise(conn, clock, kind, &seen.name, &message).await;
    }
    let is_over = match new_status.given_up {
        // One that crashes again and again is healthy for moments.
        GivenUp::Lasts => new_status.status == Status::Terminated,
        GivenUp::Over => true,
        GivenUp::No => is_over(seen, new_status),
    };
    if is_over {
        alerts::resolve(conn, clock, kind, &seen.name).await?;
    }
    Ok(())
}

async fn about_data(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    new_status: &NewStatus,
) -> Result<()> {
    let kind = AlertKind::InstanceDataLost;
    if let Some(lost) = &new_status.lost {
        let message = format!(
            "Instance {} in namespace {} is not started, since its data is missing: {lost} Find the volume, or let it \
             start empty by POST /api/admin/instances/{}/accept-data-loss.",
            seen.name, seen.namespace, seen.id
        );
        return alerts::raise(conn, clock, kind, &seen.name, &message).await;
    }
    if is_over(seen, new_status) {
        alerts::resolve(conn, clock, kind, &seen.name).await?;
    }
    Ok(())
}

/// Tells administrators that a change of an instance did not work and was undone. The alert ends with
/// the next change that works, or with the instance.
pub(super) async fn about_undone(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    (change, reason): (&str, &str),
) -> Result<()> {
    let message = format!(
        "Instance {} in namespace {} goes back to what ran before, since a change of it ({change}) was undone: {reason}",
        seen.name, seen.namespace
    );
    let kind = AlertKind::InstanceChangeUndone;
    alerts::raise(conn, clock, kind, &seen.name, &message).await
}

async fn about_change(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    new_status: &NewStatus,
) -> Result<()> {
    let works = seen.unproven_generation.is_some() && new_status.is_proven();
    let is_gone = new_status.status == Status::Terminated && seen.status != Status::Terminated;
    if works || is_gone {
        let kind = AlertKind::InstanceChangeUndone;
        alerts::resolve(conn, clock, kind, &seen.name).await?;
    }
    Ok(())
}

/// Returns true when a pass ended an earlier fault. Most passes find nothing: only those that end
/// something look for an alert.
fn is_over(seen: &Instance, new_status: &NewStatus) -> bool {
    let is_well = match new_status.status {
        Status::Terminated => true,
        status => new_status.is_applied && (status.is_delivered() || status == Status::Stopped),
    };
    let was_otherwise = seen.failures > 0 || seen.status != new_status.status;
    is_well && was_otherwise && !is_untouched(seen)
}

async fn about_contest(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    new_status: &NewStatus,
) -> Result<()> {
    let kind = AlertKind::InstanceContested;
    if let Some(contested) = &new_status.contested {
        let message = format!(
            "Instance {} in namespace {}: {contested} again and again, and Dermaga changes it back, more \
             and more slowly. Stop the other controller, or give the instance to it.",
            seen.name, seen.namespace
        );
        return alerts::raise(conn, clock, kind, &seen.name, &message).await;
    }
    let is_over = new_status.contest.corrections == 0 || new_status.status == Status::Terminated;
    if is_over && seen.corrections > 0 {
        alerts::resolve(conn, clock, kind, &seen.name).await?;
    }
    Ok(())
}
