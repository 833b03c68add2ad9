//! End of domains whose rules a pass has taken back: their certificates, then the domains themselves.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    model::{DomainState, Left},
    store,
};
use crate::{
    Result,
    cluster::{Cluster, ClusterError},
    provisioning::{model::Instance, plugin_calls::Services, reconciler::Reconciler},
};

/// Time after a rule is gone until its certificate is removed. An issuer that has not seen the former would ask
/// for another certificate in the place of the latter.
const ISSUER_SEES: TimeDelta = TimeDelta::seconds(10);

impl<S: Services> Reconciler<S> {
    /// Ends domains that an instance was applied without. Best effort: the next pass tries again.
    pub(in crate::provisioning) async fn take_back(
        &self,
        seen: &Instance,
        left: &[Left],
        objects: &[Value],
    ) {
        if left.is_empty() {
            return;
        }
        if let Err(error) = self.try_to_take_back(seen, left, objects).await {
            tracing::warn!(instance.id = %seen.id, %error, "instance.domains_not_taken_back");
        }
    }

    async fn try_to_take_back(
        &self,
        seen: &Instance,
        left: &[Left],
        objects: &[Value],
    ) -> Result<()> {
        let now = self.clock.now();
        let (mut gone, mut waiting) = (Vec::new(), Vec::new());
        for domain in left {
            let certificates = self.classes.entry.certificates(objects, &domain.name);
            if !certificates.is_empty()
                && let Some(cluster) = self.provisioner.cluster()
            {
                if let Some(until) = kept_until(domain, seen.observed_generation, now) {
                    waiting.push((domain.id, until));
                    continue;
                }
                let removed = remove_all(cluster, &seen.namespace, &certificates);
                // The other domains are free all the same.
                if let Err(error) = removed.await {
                    tracing::warn!(instance.id = %seen.id, %error, "instance.certificate_not_removed");
                    continue;
                }
            }
            gone.push(domain.id);
        }
        let mut conn = self.db.begin().await?;
        for id in gone {
            store::delete(&mut conn, id, DomainState::Removing).await?;
        }
        for (id, until) in waiting {
            store::wait(&mut conn, id, until).await?;
            store::touch(&mut conn, seen.id, until).await?;
        }
        conn.commit().await?;
        Ok(())
    }
}

/// Removes these certificates.
async fn remove_all(
    cluster: &Cluster,
    namespace: &str,
    certificates: &[String],
) -> Result<(), ClusterError> {
    for certificate in certificates {
        cluster.remove_certificate(namespace, certificate).await?;
    }
    Ok(())
}

/// Returns the moment until which the certificate of a domain is kept on, if it is.
fn kept_until(
    domain: &Left,
    observed_generation: i64,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let latest = now + ISSUER_SEES;
    // Applied without the rule in this very pass.
    if domain.gone_with > observed_generation {
        return Some(latest);
    }
    // One that is later was written by a clock that was ahead.
    let is_to_come = domain.kept_until > now && domain.kept_until <= latest;
    is_to_come.then_some(domain.kept_until)
}
