//! Deleting services and plans, or retiring those that were sold.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{plan_row, service_row, store};
use crate::{
    Error, Result,
    audit::{self, AuditAct, Event, Subject},
    catalog::{Catalog, store::LoadedFrom, waitlist},
    db::{Conn, broken_reference},
    ids::{PlanId, ServiceId, UserId},
    text_enum,
};

/// Pauses before a deletion is tried again whose plans others were using.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(300),
];

text_enum! {
    /// Outcome of a removal.
    pub enum Removal {
        Deleted = "DELETED",
        /// It was sold or was being bought, or its template still names it: it is kept and not sold any more.
        Retired = "RETIRED",
    }
}

/// End of an attempt to delete.
enum Attempt {
    Deleted,
    /// The database knows of a sale.
    Sold,
    /// A customer may be buying it.
    InUse,
}

/// Service or plan to remove.
#[derive(Debug, Clone, Copy)]
enum Target {
    Service(ServiceId),
    Plan(ServiceId, PlanId),
}

impl Target {
    const fn service(self) -> ServiceId {
        match self {
            Self::Service(id) | Self::Plan(id, _) => id,
        }
    }

    const fn subject(self) -> Subject<'static> {
        match self {
            Self::Service(id) => Subject::Service(id),
            Self::Plan(_, id) => Subject::Plan(id),
        }
    }

    /// Returns its slug, with a lock on its row.
    async fn lock(self, conn: &mut Conn) -> Result<String> {
        match self {
            Self::Service(id) => {
                store::lock_service(conn, id).await?;
                Ok(service_row(conn, id).await?.slug)
            }
            Self::Plan(service_id, id) => {
                store::lock_plan(conn, id).await?;
                Ok(plan_row(conn, service_id, id).await?.plan.slug)
            }
        }
    }

    /// Returns its slug, with locks that nothing but the deletion itself can follow; `None` when a plan is in use.
    async fn free(self, conn: &mut Conn) -> Result<Option<String>> {
        let (slug, free) = match self {
            Self::Service(id) => {
                let slug = self.lock(conn).await?;
                (slug, store::free_service(conn, id).await?)
            }
            // Purchases refer to the plan's row before they write to it: one that this held would wait for the
            // deletion, which waits for those that refer to it.
            Self::Plan(service_id, id) => {
                let slug = plan_row(conn, service_id, id).await?.plan.slug;
                (slug, store::free_plan(conn, id).await?)
            }
        };
        Ok(free.then_some(slug))
    }

    async fn delete(self, conn: &mut Conn) -> sqlx::Result<()> {
        match self {
            Self::Service(id) => store::delete_service(conn, id).await,
            Self::Plan(_, id) => store::delete_plan(conn, id).await,
        }
    }

    const fn act(self, removal: Removal) -> AuditAct {
        match (self, removal) {
            (Self::Service(_), Removal::Deleted) => AuditAct::ServiceDeleted,
            (Self::Service(_), Removal::Retired) => AuditAct::ServiceRetired,
            (Self::Plan(..), Removal::Deleted) => AuditAct::PlanDeleted,
            (Self::Plan(..), Removal::Retired) => AuditAct::PlanRetired,
        }
    }
}

/// Deletes a service that was never sold; any other is retired, as is one that is being bought.
///
/// # Errors
/// `NOT_FOUND`.
pub async fn remove_service(
    catalog: &Catalog,
    actor_id: UserId,
    id: ServiceId,
    reason: &str,
) -> Result<Removal> {
    remove(catalog, actor_id, Target::Service(id), reason).await
}

/// Deletes a plan that was never sold; any other is retired, as is one that is being bought.
///
/// # Errors
/// `NOT_FOUND`, also for a plan of another service.
pub async fn remove_plan(
    catalog: &Catalog,
    actor_id: UserId,
    (service_id, id): (ServiceId, PlanId),
    reason: &str,
) -> Result<Removal> {
    remove(catalog, actor_id, Target::Plan(service_id, id), reason).await
}

async fn remove(
    catalog: &Catalog,
    actor_id: UserId,
    target: Target,
    reason: &str,
) -> Result<Removal> {
    if is_in_a_file(catalog, target).await? {
        return retire(catalog, actor_id, target, reason).await;
    }
    let mut pauses = PAUSES.into_iter();
    loop {
        match delete(catalog, actor_id, target, reason).await? {
            Attempt::Deleted => return Ok(Removal::Deleted),
            Attempt::Sold => break,
            Attempt::InUse => match pauses.next() {
                Some(pause) => sleep(pause).await,
                None => break,
            },
        }
    }
    retire(catalog, actor_id, target, reason).await
}

/// Deletes it, unless it was sold or is in use. Waits for no purchase while purchases wait for it.
async fn delete(
    catalog: &Catalog,
    actor_id: UserId,
    target: Target,
    reason: &str,
) -> Result<Attempt> {
    let mut conn = catalog.db.begin().await?;
    let Some(slug) = target.free(&mut conn).await? else {
        conn.rollback().await?;
        return Ok(Attempt::InUse);
    };
    match target.delete(&mut conn).await {
        Ok(()) => {}
        Err(error) if broken_reference(&error) => {
            conn.rollback().await?;
            return Ok(Attempt::Sold);
        }
        Err(error) => return Err(error.into()),
    }
    note(
        &mut conn,
        catalog,
        actor_id,
        (target, &slug),
        Removal::Deleted,
        reason,
    )
    .await?;
    conn.commit().await?;
    if let Target::Service(_) = target {
        catalog.templates.drop_service(&slug);
    }
    Ok(Attempt::Deleted)
}

async fn retire(
    catalog: &Catalog,
    actor_id: UserId,
    target: Target,
    reason: &str,
) -> Result<Removal> {
    let now = catalog.clock.now();
    let mut conn = catalog.db.begin().await?;
    let slug = target.lock(&mut conn).await?;
    match target {
        Target::Service(id) => {
            store::retire_service(&mut conn, id, now).await?;
            waitlist::settle_service(&mut conn, catalog, id).await?;
        }
        Target::Plan(_, id) => {
            store::retire_plan(&mut conn, id, now).await?;
            waitlist::settle(&mut conn, catalog, id).await?;
        }
    }
    note(
        &mut conn,
        catalog,
        actor_id,
        (target, &slug),
        Removal::Retired,
        reason,
    )
    .await?;
    conn.commit().await?;
    Ok(Removal::Retired)
}

async fn note(
    conn: &mut Conn,
    catalog: &Catalog,
    actor_id: UserId,
    (target, slug): (Target, &str),
    removal: Removal,
    reason: &str,
) -> Result<()> {
    let details = json!({ "slug": slug, "serviceId": target.service() });
    let event = Event::new(target.act(removal), target.subject(), details).because(reason);
    audit::record(conn, &catalog.clock, actor_id, event).await
}

/// Returns true when a file names it: the next reload would bring back what was deleted.
async fn is_in_a_file(catalog: &Catalog, target: Target) -> Result<bool> {
    let mut conn = catalog.db.read().await?;
    let service = store::template(&mut conn, target.service()).await?;
    let service: LoadedFrom = service.ok_or_else(|| Error::not_found("service"))?;
    let plan = match target {
        Target::Service(_) => None,
        Target::Plan(service_id, id) => Some(plan_row(&mut conn, service_id, id).await?.plan.slug),
    };
    drop(conn);
    catalog.templates.names(&service, plan.as_deref()).await
}
