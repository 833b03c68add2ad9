//! One pass over one instance: load, render, gate, apply, prune, observe, decider, write.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_runtime::contract::Observation;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{
    announcement, attention, cluster_events,
    domains::{self, DomainNames},
    health::{self, Plan},
    marks,
    model::{Desired, Instance, NewStatus, Owned, Status, Terms},
    plugin_calls::Services,
    provisioner::{Observed, Outcome, ProvisionError, Provisioner, Release, union},
    recipe::{self, ChangeKind},
    render::{Classes, RenderError, RenderInputs, Rendering, fingerprint, render},
    rest::{self, FullLooks},
    retry::spread,
    secrets::{self, Secrets},
    status::StatusDecider,
    store,
    tenancy::{self, Turns},
    walls,
};
use crate::{
    Error, Result,
    cluster::{ClusterError, LiveObjects, ObjectRef, Tenant},
    crypto::Vault,
    db::{Clock, Conn, Db, Lease, new_id},
    plugins, timekeeping,
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
    pub(super) patience: Duration,
    /// Longest time that a change may take to be rolled out.
    pub(super) rollout: Duration,
    pub(super) turns: Turns,
    pub(super) looks: FullLooks,
}

impl<S: Services> Reconciler<S> {
    /// Works on a leased instance and releases the lease. Returns true when this, or another instance of the
    /// customer, may be due again already.
    ///
    /// # Errors
    /// When the database fails; the lease ends by itself then, and the instance is due again.
    pub(super) async fn pass(&self, lease: &Lease) -> Result<bool> {
        let (started, begun) = (self.clock.now(), Instant::now());
        let found = store::with_terms(&mut self.db.read().await?, lease.id.into()).await?;
        let found = found.ok_or_else(|| Error::not_found("instance"))?;
        let Owned {
            instance: seen,
            terms,
        } = found;
        if let Some(cluster) = self.provisioner.cluster()
            && seen.reapply_asked_at.is_some()
        {
            cluster.forget(&seen.namespace, &seen.name);
        }
        let resync = spread(seen.id, seen.generation, self.resync);
        let decider = StatusDecider {
            seen: &seen,
            now: started,
            resync,
        };
        let new_status = match timeout(PASS_TIMEOUT, self.work(&decider, &terms)).await {
            Ok(Ok(new_status)) => new_status,
            Ok(Err(error)) => decider.host_failed(&error),
            Err(_) => decider.took_too_long(PASS_TIMEOUT),
        };
        // A clock that was set says nothing about the time that passed.
        let is_trusted = timekeeping::trusted(&self.clock).is_ok();
        let new_status = if is_trusted {
            decider.within(self.rollout, new_status)
        } else {
            new_status
        };
        let plan = self.plan(&seen, &new_status).await?;
        let plan = if is_trusted {
            plan
        } else {
            plan.without_acts()
        };
        let new_status = plan.shape(new_status);
        let rests = is_trusted && plan.is_calm() && new_status.is_at_rest(&seen);
        let new_status = NewStatus {
            rests,
            ..new_status
        };
        let is_current = self.write(lease, &seen, &new_status, &plan).await?;
        if is_current && rests {
            self.looks.note(seen.id, seen.generation, begun);
        } else {
            self.looks.forget(seen.id);
        }
        if is_current {
            self.recreate(&seen, &plan).await;
            self.leave_room(&seen, &new_status).await?;
        }
        // The others are looked at again after a while, and what changes until then says so by itself.
        let is_undone = seen.unproven_generation.is_some();
        let is_gone = new_status.status == Status::Terminated;
        Ok(!is_current || plan.acts() || is_undone || is_gone)
    }

    /// Follows the health of an instance through time.
    async fn plan(&self, seen: &Instance, new_status: &NewStatus) -> Result<Plan> {
        let patience = TimeDelta::from_std(self.patience).unwrap_or(TimeDelta::MAX);
        let mut conn = self.db.read().await?;
        health::load(&mut conn, seen, new_status, patience, self.clock.now()).await
    }

    /// Removes silent workloads, once the attempt is written: it counts even when the server dies
    /// before it is made.
    async fn recreate(&self, seen: &Instance, plan: &Plan) {
        let workloads = plan.to_recreate();
        let Some(cluster) = self.provisioner.cluster().filter(|_| !workloads.is_empty()) else {
            return;
        };
        let deleted = cluster.delete_workloads(&seen.namespace, workloads);
        let error = match timeout(PASS_TIMEOUT, deleted).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::warn!(instance.id = %seen.id, error, "instance.not_recreated");
    }

    async fn work(&self, decider: &StatusDecider<'_>, terms: &Terms) -> Result<NewStatus> {
        match decider.seen.desired {
            Desired::Running | Desired::Stopped => self.converge(decider, terms).await,
            Desired::Terminated => match self.remove(decider).await? {
                Ok(new_status) => Ok(new_status),
                Err(error) => Ok(decider.provisioning_failed(&error)),
            },
        }
    }

    async fn converge(&self, decider: &StatusDecider<'_>, terms: &Terms) -> Result<NewStatus> {
        let seen = decider.seen;
        let mut conn = self.db.read().await?;
        let secrets = secrets::open(&mut conn, &self.vault, seen).await?;
        let domains = domains::names(&mut conn, seen).await?;
        let recorded = match seen.manifests_decision_id {
            Some(decision_id) => store::recorded(&mut conn, decision_id).await?,
            None => None,
        };
        drop(conn);
        let inputs = RenderInputs {
            instance: seen,
            terms,
            secrets: &secrets,
            classes: &self.classes,
            domains: &domains.led,
            recorded,
        };
        let rendering = match render(&self.services, inputs).await {
            Ok(mut rendering) => {
                marks::put(
                    &mut rendering.objects,
                    seen,
                    &terms.service,
                    &rendering.origin,
                );
                rendering
            }
            Err(RenderError::Host(error)) if !plugins::repeats(&error) => return Err(error),
            Err(refused) => {
                self.stop_if_asked(seen).await;
                return not_rendered(decider, terms, &secrets, refused);
            }
        };
        Box::pin(self.put_in_place(decider, rendering, &domains)).await
    }

    /// Applies what was rendered, takes back what is not wanted any more, and judges what came of it.
    async fn put_in_place(
        &self,
        decider: &StatusDecider<'_>,
        rendering: Rendering,
        domains: &DomainNames,
    ) -> Result<NewStatus> {
        let seen = decider.seen;
        let previous = &seen.applied.0;
        let rendered: Vec<_> = rendering.objects.iter().map(ObjectRef::of).collect();
        let (new_status, applied) = match self.release(decider, &rendering).await? {
            Ok(outcome) => {
                let is_complete = domains.left.is_empty()
                    && outcome.left_out.is_empty()
                    && outcome.contested.is_empty();
                let taken_back = self.take_back(seen, &domains.left, &rendering.objects);
                Box::pin(taken_back).await;
                let contested = outcome.contested;
                let new_status = self
                    .judge_observed(decider, &rendering, outcome.observed, &outcome.left_out)
                    .await?;
                let new_status = NewStatus {
                    is_complete,
                    ..decider.contested(new_status, &contested)
                };
                (new_status, rendered)
            }
            Err(error) => {
                self.stop_if_asked(seen).await;
                (
                    decider.provisioning_failed(&error),
                    union(rendered, previous),
                )
            }
        };
        Ok(NewStatus {
            decision: rendering.decision,
            applied,
            ..new_status
        })
    }

    /// Brings the namespace and then the instance to their desired states.
    async fn release(
        &self,
        decider: &StatusDecider<'_>,
        rendering: &Rendering,
    ) -> Result<Result<Outcome, ProvisionError>> {
        let seen = decider.seen;
        let checked = self
            .provisioner
            .check_claims(seen, replicas(seen, rendering));
        if let Err(error) = checked.await {
            return Ok(Err(error.into()));
        }
        let (tenant, prepared) = self.prepare(seen).await?;
        let refused = match prepared {
            Ok(()) => None,
            // An instance that runs nothing needs no network policy or quota around it.
            Err(error) if seen.desired == Desired::Stopped && error.is_about_object() => {
                Some(error)
            }
            Err(error) => return Ok(Err(error.into())),
        };
        let release = Release {
            tenant: &tenant,
            instance: &seen.name,
            objects: &rendering.objects,
            previous: &seen.applied.0,
            status: seen.status_digest(seen.status, &seen.message),
        };
        let outcome = self.provisioner.apply(&release).await;
        Ok(match refused {
            Some(error) if outcome.is_ok() => Err(error.into()),
            _ => outcome,
        })
    }

    /// Brings the customer's namespace to its desired state, by one pass at a time: another one that
    /// read fewer instances would take back the room that was made.
    async fn prepare(&self, seen: &Instance) -> Result<(Tenant, Result<(), ClusterError>)> {
        let _turn = self.turns.take(&seen.namespace).await;
        let neighbours = store::neighbours(&mut self.db.read().await?, &seen.namespace).await?;
        let tenant = tenancy::tenant(seen, &neighbours, &self.ingress_namespace)?;
        let prepared = self.provisioner.prepare(&tenant).await;
        Ok((tenant, prepared))
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

    async fn judge_observed(
        &self,
        decider: &StatusDecider<'_>,
        rendering: &Rendering,
        observed: Observed,
        left_out: &[ObjectRef],
    ) -> Result<NewStatus> {
        let sweep = match observed {
            Observed::Unchanged => return Ok(decider.unchanged()),
            Observed::Written(store) => {
                return Ok(decider.written(&rendering.subject.secrets, store));
            }
            Observed::Live(sweep) => sweep,
        };
        let manifests = replicas(decider.seen, rendering);
        let claims = sweep.claims(&decider.seen.claims, manifests);
        let digest = sweep.digest();
        let new_status = self.judge_live(decider, rendering, sweep, left_out).await?;
        if let Some(digest) = digest.filter(|_| new_status.is_settled()) {
            let Instance {
                namespace, name, ..
            } = decider.seen;
            let status = decider
                .seen
                .status_digest(new_status.status, &new_status.message);
            self.provisioner.settle(namespace, name, digest, status);
        }
        Ok(NewStatus {
            claims,
            ..new_status
        })
    }

    async fn judge_live(
        &self,
        decider: &StatusDecider<'_>,
        rendering: &Rendering,
        sweep: LiveObjects,
        left_out: &[ObjectRef],
    ) -> Result<NewStatus> {
        if decider.seen.desired == Desired::Stopped {
            return Ok(decider.stopped(sweep.has_pods()));
        }
        let observed = sweep.observed();
        let input = Observation {
            instance: rendering.subject.clone(),
            observed: observed.clone(),
        };
        let health = match self
            .services
            .health(&decider.seen.plugin_digest, input, decider.seen.user_id)
            .await
        {
            Ok(health) => health,
            // Applied objects stay applied and recorded, even when the plugin fails to decider them.
            Err(error) => return Ok(decider.not_judged(&error)),
        };
        let applied = (rendering.objects.as_slice(), left_out);
        Ok(decider.healthy(&health, &observed, applied))
    }

    /// Undoes a change that will never work, and tells administrators.
    async fn undo_change(
        &self,
        conn: &mut Conn,
        seen: &Instance,
        new_status: &NewStatus,
    ) -> Result<()> {
        if seen.unproven_generation.is_none() || !new_status.is_final(self.clock.now()) {
            return Ok(());
        }
        let reason = new_status.unproven.as_ref().unwrap_or(&new_status.message);
        let undone = recipe::go_back(conn, &self.clock, seen, reason).await?;
        let change = match &undone {
            Some(undone) => undone.change.as_str(),
            None if new_status.unproven.is_none() => return Ok(()),
            None if recipe::forget_change(conn, seen).await? => return Ok(()),
            // The subscription goes back to its plan, and brings the instance with it.
            None => ChangeKind::Plan.as_str(),
        };
        attention::about_undone(conn, &self.clock, seen, (change, reason)).await
    }

    fn next_look(
        &self,
        seen: &Instance,
        new_status: &NewStatus,
        now: DateTime<Utc>,
    ) -> DateTime<Utc> {
        if new_status.rests {
            return rest::next_look(seen.id, &seen.namespace, now, self.resync);
        }
        now + TimeDelta::from_std(new_status.after).unwrap_or(TimeDelta::minutes(5))
    }

    /// Writes new_status, decision, event and health together, if the lease still holds; returns
    /// true when they are written and nothing changed meanwhile.
    pub(super) async fn write(
        &self,
        lease: &Lease,
        seen: &Instance,
        new_status: &NewStatus,
        plan: &Plan,
    ) -> Result<bool> {
        let now = self.clock.now();
        let next = self.next_look(seen, new_status, now);
        // Nothing is done or told before the commit, so that customers need not wait for one of its own.
        let mut conn = self.db.begin_together().await?;
        if let Some(decision) = &new_status.decision {
            decision.record(&mut conn).await?;
        }
        let finished = store::finish(&mut conn, lease, seen, new_status, now, next).await?;
        let Some(finished) = finished else {
            conn.rollback().await?;
            Box::pin(self.make_good(seen)).await?;
            return Ok(false);
        };
        announcement::announce(&mut conn, &self.clock, seen, finished.ready_at).await?;
        walls::recorded(&mut conn, &self.clock, seen, new_status).await?;
        let is_current = finished.generation == seen.generation;
        if is_current {
            attention::tell(&mut conn, &self.clock, seen, new_status).await?;
        }
        if is_current && store::is_news(seen, new_status) {
            let event_id = new_id(&self.clock);
            store::insert_event(
                &mut conn,
                event_id,
                seen.id,
                new_status.status,
                &new_status.message,
                now,
            )
            .await?;
            tracing::info!(instance.id = %seen.id, instance.name = seen.name, status = %new_status.status, "instance.changed");
        }
        if is_current {
            health::record(&mut conn, &self.clock, seen, new_status, plan).await?;
            self.undo_change(&mut conn, seen, new_status).await?;
        }
        conn.commit().await?;
        if let Some(cluster) = self.provisioner.cluster().filter(|_| is_current) {
            cluster_events::tell(cluster, seen, new_status).await;
        }
        metrics::counter!("dermaga_reconcile_passes_total", "status" => new_status.status.as_str())
            .increment(1);
        Ok(is_current)
    }
}

/// Returns the new_status on a version that rendered nothing to apply.
fn not_rendered(
    decider: &StatusDecider<'_>,
    terms: &Terms,
    secrets: &Secrets,
    error: RenderError,
) -> Result<NewStatus> {
    let input = fingerprint(decider.seen, terms, secrets)?;
    Ok(match error {
        RenderError::Host(error) => {
            let decision = error
                .details
                .iter()
                .find(|detail| detail.field == "decision");
            let decision = decision.map(|detail| format!(" Decision {}.", detail.message));
            let detail = format!("{}{}", error.message, decision.unwrap_or_default());
            decider.refused(error.message, detail, input)
        }
        RenderError::Refused {
            message,
            detail,
            decision,
        } => NewStatus {
            decision: decision.map(|decision| *decision),
            ..decider.refused(message, detail, input)
        },
    })
}

/// Returns the manifests that tell which replicas an instance has. Those of a stopped one have none,
/// and it keeps the data of all.
fn replicas<'a>(seen: &Instance, rendering: &'a Rendering) -> &'a [Value] {
    if seen.desired == Desired::Running {
        &rendering.objects
    } else {
        &[]
    }
}

#[cfg(test)]
mod tests;
