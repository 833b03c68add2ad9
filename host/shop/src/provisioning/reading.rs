//! Instances as their customers read them.

use dermaga_runtime::contract::service;
use serde_json::json;
use uuid::Uuid;

use super::{
    Instances, domains, health, lifecycle,
    marks::{self, Origin},
    model::{Event as InstanceEvent, Owned, Status},
    render::{recorded_objects, subject},
    secrets, store,
    view::{CredentialsView, InstanceDetail, InstanceView, ManifestsView},
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    catalog,
    db::{Conn, Db, Span, Walked},
    ids::{InstanceId, UserId},
    plugins,
};

/// Number of events that an instance shows.
const EVENTS: i64 = 50;

/// Shows the number of instances of each status as metrics.
///
/// # Errors
/// When the database does not answer.
pub async fn show(conn: &mut Conn) -> Result<()> {
    let counts = store::count_by_status(conn).await?;
    for status in Status::ALL {
        let counted = counts.iter().find(|(found, _)| found == status);
        let count = counted.map_or(0, |(_, count)| *count);
        // One that is gone is no instance any more, and not counted.
        if *status != Status::Terminated {
            metrics::gauge!("dermaga_instances", "status" => status.as_str()).set(count as f64);
        }
    }
    Ok(())
}

/// Lists a customer's instances, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    db: &Db,
    user_id: UserId,
    status: Option<Status>,
    span: Span<InstanceId>,
) -> Result<Walked<InstanceView>> {
    let found = store::list(&mut db.read().await?, user_id, status, span).await?;
    Ok(found.map(|owned| InstanceView::from(&owned)))
}

pub(super) async fn owned(db: &Db, user_id: UserId, id: InstanceId) -> Result<Owned> {
    let owned = store::owned(&mut db.read().await?, user_id, id).await?;
    owned.ok_or_else(|| Error::not_found("instance"))
}

/// Walks all events of a customer's instance that the shop keeps, newest first.
///
/// # Errors
/// `NOT_FOUND` when there is none or it is another customer's.
pub async fn walk_events(
    db: &Db,
    user_id: UserId,
    id: InstanceId,
    span: Span<Uuid>,
) -> Result<Walked<InstanceEvent>> {
    owned(db, user_id, id).await?;
    Ok(store::all_events(&mut db.read().await?, id, span).await?)
}

/// Returns a customer's instance, with its endpoints and newest events.
///
/// # Errors
/// `NOT_FOUND` when there is none or it is another customer's.
pub async fn detail(
    instances: &Instances,
    user_id: UserId,
    id: InstanceId,
) -> Result<InstanceDetail> {
    let owned = owned(&instances.db, user_id, id).await?;
    let mut conn = instances.db.read().await?;
    let events = store::events(&mut conn, id, EVENTS).await?;
    let health = health::shown(&mut conn, id).await?;
    drop(conn);
    let version = instances.plugins.version(&owned.instance.plugin_digest);
    // A version that does not load must not hide the instance that depends on it.
    let description = match version.await {
        Ok(plugin) => plugins::describe(&plugin, &owned.instance.settings)
            .await
            .ok(),
        Err(_) => None,
    };
    let endpoints = description
        .as_ref()
        .map(|description| description.endpoints.as_slice())
        .unwrap_or_default();
    Ok(InstanceDetail::of(&owned, health, endpoints, events))
}

/// Returns an instance of any customer, as its customer sees it.
///
/// # Errors
/// `NOT_FOUND` when there is none.
pub async fn detail_of_any(instances: &Instances, id: InstanceId) -> Result<InstanceDetail> {
    let (owner, _) = lifecycle::owner_of(&mut instances.db.read().await?, id).await?;
    detail(instances, owner, id).await
}

/// Returns the access to a customer's instance, and records that it was shown.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` once the instance is removed; `TOO_MANY_REQUESTS` after 60 an hour;
/// the failure of its plugin.
pub async fn credentials(
    instances: &Instances,
    user_id: UserId,
    id: InstanceId,
) -> Result<CredentialsView> {
    let Instances {
        db,
        clock,
        vault,
        plugins: registry,
        ..
    } = instances;
    let Owned { instance, terms } = owned(db, user_id, id).await?;
    if matches!(instance.status, Status::Terminating | Status::Terminated) {
        return Err(Error::new(
            Code::InvalidState,
            "This instance has been removed, and its credentials with it.",
        ));
    }
    instances.looks.admit(user_id, clock.now())?;
    let mut conn = db.read().await?;
    let secrets = secrets::open(&mut conn, vault, &instance).await?;
    let texts = catalog::sentences(&mut conn, &terms.service).await?;
    drop(conn);
    let plugin = registry.version(&instance.plugin_digest).await?;
    let input = subject(&instance, &terms, &secrets)?;
    let card = plugins::decide::<service::Access>(registry, &plugin, input, user_id.into()).await?;
    let (view, shown) = CredentialsView::of(card.value, &secrets, &texts)?;
    let mut conn = db.begin().await?;
    let details = json!({ "secrets": shown });
    let event = Event::new(AuditAct::CredentialsShown, Subject::Instance(id), details);
    audit::record_of_owner(&mut conn, clock, user_id, event).await?;
    conn.commit().await?;
    Ok(view)
}

/// Returns the objects of a customer's instance as they were applied, with the values of secrets
/// masked.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` before anything is applied.
pub async fn manifests(
    instances: &Instances,
    user_id: UserId,
    id: InstanceId,
) -> Result<ManifestsView> {
    let owned = owned(&instances.db, user_id, id).await?;
    let nothing = || {
        Error::new(
            Code::InvalidState,
            "Nothing has been applied for this instance yet.",
        )
    };
    let decision_id = owned.instance.manifests_decision_id.ok_or_else(nothing)?;
    let mut conn = instances.db.read().await?;
    let recorded = store::recorded(&mut conn, decision_id)
        .await?
        .ok_or_else(nothing)?;
    let secrets = secrets::open(&mut conn, &instances.vault, &owned.instance).await?;
    let names = domains::names(&mut conn, &owned.instance).await?;
    let classes = instances.handle.classes();
    let mut objects = recorded_objects(&recorded, &owned, &secrets, classes, &names.led)?;
    let origin = Origin::recorded(&recorded, Some(decision_id));
    marks::put(&mut objects, &owned.instance, &owned.terms.service, &origin);
    Ok(ManifestsView {
        decision_id,
        plugin_id: recorded.plugin_id,
        plugin_version: recorded.plugin_version,
        namespace: owned.instance.namespace,
        objects,
    })
}
