//! The decision of an administrator that lost data stays lost.

use serde_json::json;

use super::{
    Instances,
    model::{Instance, Status},
    store,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    ids::{InstanceId, UserId},
};

/// Lets an instance start on empty volumes after its data was lost; with the reason, audited.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` when no data of it is missing.
pub async fn accept_data_loss(
    instances: &Instances,
    actor_id: UserId,
    id: InstanceId,
    reason: &str,
) -> Result<Instance> {
    let Instances {
        db, clock, handle, ..
    } = instances;
    let mut conn = db.begin().await?;
    let found = store::instance(&mut conn, id).await?;
    let lost = found.ok_or_else(|| Error::not_found("instance"))?;
    if !store::forget_claims(&mut conn, id, clock.now()).await? {
        let message = match lost.status {
            Status::Terminating | Status::Terminated => "This instance has been removed.",
            _ => "No data of this instance is missing.",
        };
        return Err(Error::new(Code::InvalidState, message));
    }
    let details = json!({ "claims": lost.claims });
    let event =
        Event::new(AuditAct::DataLossAccepted, Subject::Instance(id), details).because(reason);
    audit::record(&mut conn, clock, actor_id, event).await?;
    conn.commit().await?;
    handle.wake();
    Ok(lost)
}
