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
                if let Some(until) = kept_until(domain, now) {
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
fn kept_until(domain: &Left, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let latest = now + ISSUER_SEES;
    // The generation that was seen applied says nothing: it stays while the plugin does not judge what runs.
    let Some(until) = domain.kept_until else {
        return Some(latest);
    };
    // One that is later was written by a clock that was ahead.
    let is_to_come = until > now && until <= latest;
    is_to_come.then_some(until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::DomainId, provisioning::domains::model::Led};

    #[test]
    fn a_certificate_is_kept_once_and_for_seconds_after_its_rule() {
        let left_at: DateTime<Utc> = "2027-03-01T00:00:00Z".parse().unwrap();
        let second = TimeDelta::seconds(1);
        let kept = |next_check_at, now| {
            let led = Led {
                id: DomainId::from_u128(1),
                name: "toko.example.com".to_owned(),
                state: DomainState::Removing,
                next_check_at,
                updated_at: left_at,
            };
            kept_until(&led.left(), now)
        };
        // However late the first pass without the rule comes.
        for now in [left_at, left_at + TimeDelta::days(2)] {
            assert_eq!(kept(left_at, now), Some(now + ISSUER_SEES));
        }
        let until = left_at + ISSUER_SEES;
        assert_eq!(kept(until, until - second), Some(until));
        assert_eq!(kept(until, until), None);
        assert_eq!(kept(until, until + second), None);
        assert_eq!(kept(left_at + TimeDelta::days(1), left_at), None);
    }
}
