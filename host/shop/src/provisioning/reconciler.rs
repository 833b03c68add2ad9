//! One pass over one instance: load, render, gate, apply, prune, observe, judge, write.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use dermaga_runtime::contract::Observation;
use tokio::time::timeout;

use super::{
    attention,
    model::{Desired, Instance, Lease, Neighbour, Terms, Verdict},
    provisioner::{Observed, ProvisionError, Provisioner, Release},
    render::{Brief, Classes, RenderError, Rendering, fingerprint, render},
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
    plugins,
};

/// Duration after which a pass is abandoned, well before its lease ends.
pub(super) const PASS_TIMEOUT: Duration = Duration::from_secs(45);
/// Time for which one server alone works on an instance.
pub(super) const LEASE: TimeDelta = TimeDelta::seconds(60);

/// Dependencies of a pass.
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

/// Data that a pass reads before it does anything.
struct Material {
    terms: Terms,
    neighbours: Vec<Neighbour>,
    secrets: Secrets,
}

impl<S: Services> Reconciler<S> {
    /// Works on a leased instance and releases the lease.
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
            Err(RenderError::Host(error)) if !plugins::repeats(&error) => return Err(error),
            Err(refused) => {
                self.stop_if_asked(seen).await;
                return not_rendered(judge, &terms, &secrets, refused);
            }
        };
        let previous = &seen.applied.0;
        let release = Release {
            tenant: &tenant,
            instance: &seen.name,
            objects: &rendering.objects,
            previous,
            is_stopped: seen.desired == Desired::Stopped,
        };
        let rendered: Vec<_> = rendering.objects.iter().map(ObjectRef::of).collect();
        let (verdict, applied) = match self.provisioner.apply(&release).await {
            Ok(outcome) => {
                let contested = outcome.contested;
                let verdict = self
                    .judge_observed(judge, &rendering, outcome.observed, &outcome.left_out)
                    .await?;
                (judge.contested(verdict, &contested), rendered)
            }
            Err(error) => {
                self.stop_if_asked(seen).await;
                (judge.provisioning_failed(&error), union(rendered, previous))
            }
        };
        Ok(Verdict {
            decision: rendering.decision,
            applied,
            ..verdict
        })
    }

    /// Stops an instance that should be stopped, in case its manifests do not do that. Best effort:
    /// the next pass tries again.
    async fn stop_if_asked(&self, seen: &Instance) {
        if seen.desired != Desired::Stopped {
            return;
        }
        if let Err(error) = self.provisioner.stop(&seen.namespace, &seen.name).await {
            tracing::warn!(instance.id = %seen.id, %error, "instance.not_stopped");
        }
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
            Observed::Written => return Ok(judge.written()),
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
            // Applied objects stay applied and recorded, even when the plugin fails to judge them.
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
        // Read the namespace first, then its instances: an instance that comes in between changes
        // the namespace, which is then not removed.
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

    /// Moves an instance back to its earlier version, when the new one will never be set up.
    async fn undo_move(&self, conn: &mut Conn, seen: &Instance, verdict: &Verdict) -> Result<()> {
        let now = self.clock.now();
        if seen.moved_from.is_none() || !verdict.is_final(now) {
            return Ok(());
        }
        let message = format!(
            "The move to another version could not be made and was undone: {}",
            verdict.message
        );
        if let Some(instance) = store::unpin(conn, seen, &message, now).await? {
            super::request(conn, &self.clock, &instance).await?;
            tracing::warn!(instance.id = %seen.id, from = seen.plugin_digest, "instance.move_undone");
        }
        Ok(())
    }

    /// Writes verdict, decision and event together, if the lease still holds.
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
        if generation == seen.generation {
            attention::tell(&mut conn, &self.clock, seen, verdict).await?;
            self.undo_move(&mut conn, seen, verdict).await?;
        }
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

/// Returns the verdict on a version that rendered nothing to apply.
fn not_rendered(
    judge: &Judge<'_>,
    terms: &Terms,
    secrets: &Secrets,
    error: RenderError,
) -> Result<Verdict> {
    let input = fingerprint(judge.seen, terms, secrets)?;
    Ok(match error {
        RenderError::Host(error) => {
            let decision = error
                .details
                .iter()
                .find(|detail| detail.field == "decision");
            let decision = decision.map(|detail| format!(" Decision {}.", detail.message));
            let detail = format!("{}{}", error.message, decision.unwrap_or_default());
            judge.refused(error.message, detail, input)
        }
        RenderError::Refused {
            message,
            detail,
            decision,
        } => Verdict {
            decision: decision.map(|decision| *decision),
            ..judge.refused(message, detail, input)
        },
    })
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
