//! SQL of what a pass over an instance has found.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::super::{
    contest::Contest,
    model::{Instance, NewStatus, RolloutTime},
    recipe::Recipe,
};
use crate::{
    db::{Conn, Lease},
    write_returning,
};

/// Part of an instance as a pass has left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(in crate::provisioning) struct Finished {
    pub(in crate::provisioning) generation: i64,
    pub(in crate::provisioning) ready_at: Option<DateTime<Utc>>,
}

/// Columns that follow from what a pass found and from what the instance was before it.
struct Columns {
    observed_generation: i64,
    updated_at: DateTime<Utc>,
    ran_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
    ready_at: Option<DateTime<Utc>>,
    final_generation: Option<i64>,
    rollout: RolloutTime,
    /// Fingerprint of the recipe, where an earlier one had failed.
    proven_recipe: Option<String>,
}

impl Columns {
    fn of(seen: &Instance, new_status: &NewStatus, now: DateTime<Utc>) -> Self {
        let is_delivered = new_status.is_applied && new_status.status.is_delivered();
        let ran_at = is_delivered.then_some(now);
        let failed_before = seen.failed_recipe.is_some() && new_status.is_proven();
        Self {
            observed_generation: if new_status.is_applied {
                seen.generation
            } else {
                seen.observed_generation
            },
            updated_at: if is_news(seen, new_status) {
                now
            } else {
                seen.updated_at
            },
            ran_at,
            delivered_at: ran_at.filter(|_| seen.delivered_at.is_none()),
            ready_at: ran_at.filter(|_| new_status.status.is_seen_to_run()),
            final_generation: new_status.is_final(now).then_some(seen.generation),
            rollout: new_status.rollout_time(seen, now),
            proven_recipe: failed_before.then(|| Recipe::of(seen).fingerprint()),
        }
    }
}

/// Statement that writes what a pass says of the desired state only where that is still the one it saw (`$4`).
const FINISH: &str = "UPDATE instances SET \
     status = CASE WHEN generation = $4 THEN $5 ELSE status END, \
     message = CASE WHEN generation = $4 THEN $6 ELSE message END, \
     failures = CASE WHEN generation = $4 THEN $7 ELSE failures END, \
     applied = $8, observed_generation = $9, \
     updated_at = CASE WHEN generation = $4 THEN $10 ELSE updated_at END, \
     manifests_decision_id = coalesce($11, manifests_decision_id), \
     delivered_at = CASE WHEN desired = 'TERMINATED' THEN delivered_at ELSE coalesce(delivered_at, $12) END, \
     ready_at = CASE WHEN desired = 'TERMINATED' THEN ready_at ELSE coalesce(ready_at, $29) END, \
     next_attempt_at = CASE WHEN next_attempt_at = $3 OR (generation = $4 AND $18 > $14) THEN $13 \
       ELSE next_attempt_at END, \
     rests_until = CASE WHEN $30 AND generation = $4 AND next_attempt_at = $3 THEN $13 END, \
     refusal = $15, final_generation = $16, last_ran_at = coalesce($17, last_ran_at), \
     quiet_until = $18, corrections = $19, \
     failure_cause = CASE WHEN generation = $4 THEN $21 ELSE failure_cause END, \
     claims = CASE WHEN claims = $22 THEN $23 ELSE claims END, \
     checked_at = coalesce($24, checked_at), \
     due_by = CASE WHEN next_attempt_at = $3 THEN NULL ELSE due_by END, \
     good_digest = CASE WHEN $20 AND generation = $4 THEN plugin_digest ELSE good_digest END, \
     good_settings = CASE WHEN $20 AND generation = $4 THEN settings ELSE good_settings END, \
     good_images = CASE WHEN $20 AND generation = $4 THEN images ELSE good_images END, \
     good_sizes = CASE WHEN $20 AND generation = $4 THEN $27 ELSE good_sizes END, \
     good_config = CASE WHEN $20 AND generation = $4 THEN config ELSE good_config END, \
     good_decision_id = CASE WHEN $20 AND generation = $4 THEN coalesce($11, manifests_decision_id) \
       ELSE good_decision_id END, \
     unproven_generation = CASE WHEN $20 AND generation = $4 THEN NULL ELSE unproven_generation END, \
     rollout_since = CASE WHEN generation = $4 THEN $25 ELSE rollout_since END, \
     rollout_held_since = CASE WHEN generation = $4 THEN $26 ELSE rollout_held_since END, \
     rollout_begun_at = CASE WHEN generation = $4 THEN $32 ELSE rollout_begun_at END, \
     reapply_asked_at = CASE WHEN reapply_asked_at = $28 THEN NULL ELSE reapply_asked_at END, \
     failed_recipe = CASE WHEN generation = $4 AND failed_recipe = $31 THEN NULL ELSE failed_recipe END, \
     lease_holder = NULL, lease_until = NULL \
     WHERE id = $1 AND lease_holder = $2 RETURNING generation, ready_at";

/// Writes the findings of a pass and releases the lease. A change of the desired state, and a
/// change seen in the cluster meanwhile, keep their earlier time to look again. Returns nothing when the
/// lease was lost: then another server's findings are newer.
pub(in crate::provisioning) async fn finish(
    conn: &mut Conn,
    lease: &Lease,
    seen: &Instance,
    new_status: &NewStatus,
    now: DateTime<Utc>,
    next: DateTime<Utc>,
) -> sqlx::Result<Option<Finished>> {
    let columns = Columns::of(seen, new_status, now);
    let Contest {
        corrections,
        quiet_until,
    } = new_status.contest;
    let decision_id = new_status.decision.as_ref().map(|decision| decision.id);
    let failure = new_status.failure;
    // Sent together with the decision that it refers to.
    write_returning!(
        conn,
        Finished,
        FINISH,
        lease.id,
        lease.holder,
        lease.until,
        seen.generation,
        new_status.status,
        &new_status.message,
        failure.map_or(0, |failure| failure.times),
        Json(&new_status.applied),
        columns.observed_generation,
        columns.updated_at,
        decision_id,
        columns.delivered_at,
        next,
        now,
        new_status.refusal.as_ref().map(Json),
        columns.final_generation,
        columns.ran_at,
        quiet_until,
        corrections,
        new_status.is_proven(),
        failure.map(|failure| failure.cause),
        &seen.claims,
        Json(&new_status.claims),
        new_status.is_applied.then_some(now),
        columns.rollout.since,
        columns.rollout.held_since,
        Json(seen.sizes),
        seen.reapply_asked_at.filter(|_| new_status.is_applied),
        columns.ready_at,
        new_status.rests,
        columns.proven_recipe.as_deref(),
        columns.rollout.begun_at,
    )
}

/// Returns true when the status or the message changed.
pub(in crate::provisioning) fn is_news(seen: &Instance, new_status: &NewStatus) -> bool {
    seen.status != new_status.status || seen.message != new_status.message
}
