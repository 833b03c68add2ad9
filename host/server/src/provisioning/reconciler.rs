//! One pass over one instance: load, render, gate, apply, prune, observe, judge, write.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use dermaga_runtime::contract::Observation;
use tokio::time::timeout;

use super::{
    model::{Desired, Instance, Lease, Neighbour, Terms, Verdict},
    provisioner::{Observed, ProvisionError, Provisioner, Release},
    render::{Brief, Classes, RenderError, Rendering, render},
    retry::spread,
    secrets::{self, Secrets},
    services::Services,
    store, tenancy,
    verdict::Judge,
};
use crate::{
    Error, Result,
    cluster::{NamespaceState, ObjectRef},
    crypto::Vault,
    db::{Clock, Conn, Db, new_id},
};

/// A pass that takes longer is abandoned, well before its lease ends.
pub(super) const PASS_TIMEOUT: Duration = Duration::from_secs(45);
/// How long an instance is one server's alone.
pub(super) const LEASE: TimeDelta = TimeDelta::seconds(60);

/// What passes need.
#[derive(Debug)]
pub(super) struct Reconciler<S> {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) vault: Arc<Vault>,
    pub(super) services: S,
    pub(super) provisioner: Provisioner,
    pub(super) classes: Classes,
    pub(super) ingress_namespace: String,
    pub(super) resync: Duration,
}

/// What a pass reads before it does anything.
struct Material {
    terms: Terms,
    neighbours: Vec<Neighbour>,
    secrets: Secrets,
}

impl<S: Services> Reconciler<S> {
    /// Works on a leased instance and gives the lease back.
    ///
    /// # Errors
    /// When the database fails; the lease ends by itself then, and the instance is due again.
    pub(super) async fn pass(&self, lease: &Lease) -> Result<()> {
        let started = self.clock.now();
        let seen = store::instance(&mut self.db.read().await?, lease.instance_id).await?;
        let seen = seen.ok_or_else(|| Error::not_found("instance"))?;
        let resync = spread(seen.id, seen.generation, self.resync);
        let judge = Judge {
            seen: &seen,
            now: started,
            resync,
        };
        let verdict = match timeout(PASS_TIMEOUT, self.work(&judge)).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(error)) => judge.host_failed(&error),
            Err(_) => judge.took_too_long(PASS_TIMEOUT),
        };
        self.write(lease, &seen, &verdict).await
    }

    async fn work(&self, judge: &Judge<'_>) -> Result<Verdict> {
        match judge.seen.desired {
            Desired::Running | Desired::Stopped => self.converge(judge).await,
            Desired::Terminated => match self.remove(judge).await? {
                Ok(verdict) => Ok(verdict),
                Err(error) => Ok(judge.provisioning_failed(&error)),
            },
        }
    }

    async fn converge(&self, judge: &Judge<'_>) -> Result<Verdict> {
        let seen = judge.seen;
        let mut conn = self.db.read().await?;
        let Material {
            terms,
            neighbours,
            secrets,
        } = self.material(&mut conn, seen).await?;
        let recorded = match seen.manifests_decision_id {
            Some(decision_id) => store::recorded(&mut conn, decision_id).await?,
            None => None,
        };
        drop(conn);
        let tenant = tenancy::tenant(seen, &neighbours, &self.ingress_namespace)?;
        let brief = Brief {
            instance: seen,
            terms: &terms,
            secrets: &secrets,
            classes: &self.classes,
            recorded,
        };
        let rendering = match render(&self.services, brief).await {
            Ok(rendering) => rendering,
            Err(RenderError::Host(error)) => return Err(error),
            Err(RenderError::Refused { message, decision }) => {
                return Ok(Verdict {
                    decision: decision.map(|decision| *decision),
                    ..judge.refused(message)
                });
            }
        };
        let previous = &seen.applied.0;
        let release = Release {
            tenant: &tenant,
            instance: &seen.name,
            objects: &rendering.objects,
            previous,
        };
        let rendered: Vec<_> = rendering.objects.iter().map(ObjectRef::of).collect();
        let (verdict, applied) = match self.provisioner.apply(&release).await {
            Ok(outcome) => (
                self.judge_observed(judge, &rendering, outcome.observed, &outcome.left_out)
                    .await?,
                rendered,
            ),
            Err(error) => (judge.provisioning_failed(&error), union(rendered, previous)),
        };
        Ok(Verdict {
            decision: rendering.decision,
            applied,
            ..verdict
        })
    }

    async fn material(&self, conn: &mut Conn, seen: &Instance) -> Result<Material> {
        Ok(Material {
            terms: store::terms(conn, seen.id).await?,
            neighbours: store::neighbours(conn, &seen.namespace).await?,
            secrets: secrets::open(conn, &self.vault, seen.id).await?,
        })
    }

    async fn judge_observed(
        &self,
        judge: &Judge<'_>,
        rendering: &Rendering,
        observed: Observed,
        left_out: &[ObjectRef],
    ) -> Result<Verdict> {
        let sweep = match observed {
            Observed::Written(folder) => return Ok(judge.written(&folder)),
            Observed::Live(sweep) => sweep,
        };
        if judge.seen.desired == Desired::Stopped {
            return Ok(judge.stopped(sweep.has_pods()));
        }
        let observed = sweep.observed();
        let input = Observation {
            instance: rendering.subject.clone(),
            observed: observed.clone(),
        };
        let health = match self.services.health(&judge.seen.plugin_digest, input).await {
            Ok(health) => health,
            // What was applied stays applied and recorded, whatever the plugin makes of it.
            Err(error) => return Ok(judge.host_failed(&error)),
        };
        Ok(judge.healthy(&health, &observed, left_out))
    }

    /// Removes everything of the instance, and the namespace when it was the last one in it.
    async fn remove(&self, judge: &Judge<'_>) -> Result<Result<Verdict, ProvisionError>> {
        let Instance {
            namespace,
            name,
            applied,
            user_id,
            ..
        } = judge.seen;
        let kubernetes = match &self.provisioner {
            Provisioner::Kubernetes(kubernetes) => kubernetes,
            Provisioner::Directory(directory) => {
                let is_last = self.is_last(judge.seen).await?;
                let (directory, namespace, name) =
                    (directory.clone(), namespace.clone(), name.clone());
                let removal = move || directory.remove(&namespace, &name, is_last);
                return Ok(match tokio::task::spawn_blocking(removal).await {
                    Ok(removed) => removed.map(|()| judge.gone()).map_err(Into::into),
                    Err(stopped) => Err(stopped.into()),
                });
            }
        };
        let remaining = match kubernetes.remove(namespace, name, applied).await {
            Ok(remaining) => remaining,
            Err(error) => return Ok(Err(error.into())),
        };
        if !remaining.is_empty() {
            return Ok(Ok(judge.leaving(&remaining)));
        }
        // The namespace first, then who lives in it: an instance that comes in between changes the
        // namespace, which is then not removed.
        let state = match kubernetes.namespace_state(namespace, *user_id).await {
            Ok(state) => state,
            Err(error) => return Ok(Err(error.into())),
        };
        if !self.is_last(judge.seen).await? {
            return Ok(Ok(judge.gone()));
        }
        let removed = match state {
            NamespaceState::Absent => return Ok(Ok(judge.gone())),
            NamespaceState::Leaving => Ok(()),
            NamespaceState::Present(version) => {
                kubernetes.remove_namespace(namespace, version).await
            }
        };
        let remaining = [format!("Namespace/{namespace}")];
        Ok(removed
            .map(|()| judge.leaving(&remaining))
            .map_err(Into::into))
    }

    async fn is_last(&self, seen: &Instance) -> Result<bool> {
        let neighbours = store::neighbours(&mut self.db.read().await?, &seen.namespace).await?;
        Ok(neighbours
            .iter()
            .all(|neighbour| neighbour.desired == Desired::Terminated))
    }

    /// Verdict, decision and event together, if the lease still holds.
    async fn write(&self, lease: &Lease, seen: &Instance, verdict: &Verdict) -> Result<()> {
        let now = self.clock.now();
        let next = now + TimeDelta::from_std(verdict.after).unwrap_or(TimeDelta::minutes(5));
        let mut conn = self.db.begin().await?;
        if let Some(decision) = &verdict.decision {
            decision.record(&mut conn).await?;
        }
        let Some(generation) = store::finish(&mut conn, lease, seen, verdict, now, next).await?
        else {
            tracing::warn!(instance.id = %seen.id, "instance.lease_lost");
            return Ok(conn.rollback().await?);
        };
        if generation == seen.generation && store::is_news(seen, verdict) {
            let event_id = new_id(&self.clock);
            store::insert_event(
                &mut conn,
                event_id,
                seen.id,
                verdict.status,
                &verdict.message,
                now,
            )
            .await?;
            tracing::info!(instance.id = %seen.id, instance.name = seen.name, status = %verdict.status, "instance.changed");
        }
        conn.commit().await?;
        metrics::counter!("dermaga_reconcile_passes_total", "status" => verdict.status.as_str())
            .increment(1);
        Ok(())
    }
}

/// Everything that may exist after a release that failed half-way.
fn union(mut rendered: Vec<ObjectRef>, previous: &[ObjectRef]) -> Vec<ObjectRef> {
    let missing: Vec<_> = previous
        .iter()
        .filter(|object| !rendered.contains(object))
        .cloned()
        .collect();
    rendered.extend(missing);
    rendered
}
