//! Checks that an administrator asks for.

use serde_json::json;

use super::store;
use crate::{
    Result,
    audit::{self, AuditAct, Event, Subject},
    ids::{InstanceId, UserId},
    provisioning::Instances,
};

/// Largest number of instances that are named in one request.
pub const MOST_AT_ONCE: usize = 100;

/// Checks that are under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// Number of instances that are being checked.
    pub due: u64,
    /// Those of the named ones that are unknown or removed.
    pub unknown: Vec<InstanceId>,
}

/// Makes a pass over these instances due now, or over all; audited.
///
/// # Errors
/// When the database refuses.
pub async fn check(
    instances: &Instances,
    actor_id: UserId,
    named: Option<&[InstanceId]>,
) -> Result<Requested> {
    let Instances {
        db, clock, handle, ..
    } = instances;
    let now = clock.now();
    let mut conn = db.begin().await?;
    let requested = match named {
        None => Requested {
            due: store::make_all_due(&mut conn, now).await?,
            unknown: Vec::new(),
        },
        Some(ids) => {
            let known = store::known(&mut conn, ids).await?;
            let mut due = 0;
            // In the order of their ids, so that two requests do not lock each other out.
            for (id,) in &known {
                due += store::make_due(&mut conn, *id, now).await?;
            }
            let mut unknown = ids.to_vec();
            unknown.retain(|id| !known.contains(&(*id,)));
            unknown.sort_unstable();
            unknown.dedup();
            Requested { due, unknown }
        }
    };
    let details = json!({ "instanceIds": named, "due": requested.due });
    let event = Event::new(AuditAct::HealthCheckRequested, Subject::Instances, details);
    audit::record(&mut conn, clock, actor_id, event).await?;
    conn.commit().await?;
    handle.wake();
    Ok(requested)
}
