//! Domains of all customers, for administrators.

use serde_json::json;

use super::{
    Domains,
    model::{DomainFilter, OwnedDomain, Removal},
    store,
};
use crate::{
    Error, Result,
    audit::{self, AuditAct, Event, Subject},
    db::{Span, Walked},
    ids::{DomainId, UserId},
};

impl Domains {
    /// Lists the domains of all customers, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_all(
        &self,
        filter: &DomainFilter<'_>,
        span: Span<DomainId>,
    ) -> Result<Walked<OwnedDomain>> {
        Ok(store::list(&mut self.instances.db.read().await?, filter, span).await?)
    }

    /// Removes a domain of any customer, by an administrator; returns true when it has to be taken back from its
    /// instance.
    ///
    /// # Errors
    /// `NOT_FOUND`; `FORBIDDEN` when the actor is no administrator any more.
    pub async fn remove_any(&self, actor_id: UserId, id: DomainId, reason: &str) -> Result<bool> {
        let mut conn = self.instances.db.begin().await?;
        let domain = store::by_id(&mut conn, id).await?;
        let domain = domain.ok_or_else(|| Error::not_found("domain"))?;
        let removal = self.let_go(&mut conn, &domain).await?;
        if removal == Removal::UnderWay {
            return Ok(true);
        }
        let details = json!({
            "domain": domain.name,
            "instance": domain.instance_id,
            "user": domain.user_id,
            "state": domain.state,
        });
        let event = Event::new(AuditAct::DomainRemoved, Subject::Domain(id), details);
        audit::record(
            &mut conn,
            &self.instances.clock,
            actor_id,
            event.because(reason),
        )
        .await?;
        conn.commit().await?;
        Ok(self.conclude(removal))
    }
}
