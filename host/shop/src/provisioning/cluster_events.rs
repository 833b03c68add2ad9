//! Events in the cluster about what became of an instance.
//!
//! They say what the shop's own events say, in a few fixed words and the sentence that its customer
//! reads: nothing of a Secret. A pass that changes nothing tells nothing.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    lifecycle,
    model::{Cause, Desired, Halt, Instance, NewStatus, Status},
    store,
};
use crate::{
    cluster::{Cluster, Told},
    text::counted,
};

/// Time for the events of a pass; they must not hold up the next one.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Returns what a pass did that is worth an event.
pub(super) fn events(seen: &Instance, new_status: &NewStatus) -> Vec<Told> {
    let told = |reason, message: &str| Told {
        reason,
        message: message.to_owned(),
        is_warning: false,
    };
    if new_status.status == Status::Terminated {
        return vec![told(
            "Terminated",
            &format!("Everything of {} was removed.", seen.name),
        )];
    }
    let mut all = Vec::new();
    let is_new = seen.generation != seen.observed_generation;
    if new_status.is_applied && is_new && seen.desired != Desired::Terminated {
        let applied = format!(
            "Generation {} was applied: {}.",
            seen.generation,
            counted(new_status.applied.len(), "object")
        );
        all.push(match (seen.desired, seen.halt) {
            (Desired::Stopped, Some(Halt::Owner)) => told("Stopped", "Stopped by its owner."),
            (Desired::Stopped, Some(Halt::Frozen | Halt::OwnerAndFrozen)) => {
                told("Frozen", "Frozen, as its customer asked.")
            }
            (Desired::Stopped, _) => told("Suspended", "Suspended: it is not paid for."),
            _ if lifecycle::is_restart(seen) => told("Restarted", "Restarted by its owner."),
            _ if lifecycle::is_healing(seen) => {
                told("Restarted", "Restarted, since it was not well.")
            }
            _ => told("Applied", &applied),
        });
    }
    let has_changed = store::is_news(seen, new_status);
    let is_away = new_status
        .failure
        .is_some_and(|failure| matches!(failure.cause, Cause::Away | Cause::NotYet));
    if new_status.status == Status::Running && seen.status != Status::Running {
        all.push(told("Started", "Every part of it is ready."));
    } else if has_changed && new_status.failure.is_some() && !is_away {
        all.push(Told {
            is_warning: true,
            ..told("Failed", &new_status.message)
        });
    }
    all
}

/// Tells the cluster what a pass did. Best effort: events are no record, the shop has its own.
pub(super) async fn tell(cluster: &Cluster, seen: &Instance, new_status: &NewStatus) {
    let telling = async {
        for told in events(seen, new_status) {
            let written = cluster.tell(&seen.namespace, &seen.name, &told).await;
            if let Err(error) = written {
                tracing::debug!(instance.name = seen.name, %error, "instance.event_not_told");
            }
        }
    };
    if timeout(TIMEOUT, telling).await.is_err() {
        tracing::debug!(instance.name = seen.name, "instance.event_not_told");
    }
}
