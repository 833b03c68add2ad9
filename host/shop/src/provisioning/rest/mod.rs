//! Quiet looks: an instance at rest, of which this server knows that nothing changed, needs no pass.
//!
//! The pass that leaves an instance at rest writes its next look as `rests_until`, too. A request for another
//! pass writes `next_attempt_at` alone, or takes `rests_until` away. A little before the time comes, a server
//! that made a full look not long ago asks its watches, and puts the next look off by a statement that does
//! nothing when anything was asked meanwhile. Every other instance becomes due, and has a pass.

mod memory;
mod moments;
mod store;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use futures::future::join_all;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

pub(super) use self::{memory::FullLooks, moments::next_look};
use self::{moments::interval, store::Resting};
use super::{plugin_calls::Services, reconciler::Reconciler, worker::ProvisionerStatus};
use crate::{Result, cluster::Cluster, ids::InstanceId, timekeeping};

/// Instances that are read together.
const PAGE: i64 = 500;
/// Instances that are put off in one transaction.
const AT_ONCE: usize = 64;
/// Namespaces whose Secrets are looked at side by side.
const NAMESPACES: usize = 8;

/// Quiet looks of one server at the instances in its cluster.
pub(super) struct QuietLooks<S> {
    pub(super) reconciler: Arc<Reconciler<S>>,
    pub(super) cluster: Cluster,
    pub(super) status: watch::Receiver<ProvisionerStatus>,
}

impl<S: Services> QuietLooks<S> {
    /// Looks again and again, as long as it is polled.
    pub(super) async fn run(&self) {
        let rest = interval(self.reconciler.resync);
        loop {
            sleep(rest).await;
            if let Err(error) = self.look(Instant::now()).await {
                tracing::warn!(%error, "reconciler.quiet_looks_failed");
            }
        }
    }

    /// Looks at the instances whose time comes soon; returns the number of those that were put off.
    async fn look(&self, at: Instant) -> Result<u64> {
        let Reconciler {
            db,
            clock,
            resync,
            looks,
            ..
        } = &*self.reconciler;
        looks.drop_old(at);
        let now = clock.now();
        let ahead = TimeDelta::from_std(interval(*resync)).unwrap_or_default() * 2;
        let (mut place, mut count) = ((now, InstanceId::MIN), 0);
        while self.may_look() {
            let page = store::resting(&mut db.read().await?, place, now + ahead, PAGE).await?;
            let Some(last) = page.last() else { break };
            place = (last.next_attempt_at, last.id);
            let quiet = self.unchanged(page, at).await;
            for some in quiet.chunks(AT_ONCE) {
                count += self.put_off(some).await?;
            }
        }
        Ok(count)
    }

    /// Returns true while this server would see a change: its watches are current, the cluster answers, and
    /// the clock is believed.
    fn may_look(&self) -> bool {
        let is_available = self.status.borrow().is_available;
        is_available
            && self.cluster.sees_walls()
            && timekeeping::trusted(&self.reconciler.clock).is_ok()
    }

    fn is_settled(&self, seen: &Resting) -> bool {
        let status = seen.status_digest();
        self.cluster.is_settled(&seen.namespace, &seen.name, status)
    }

    /// Returns those of the instances that this server looked at in full not long ago, and that have not
    /// changed since.
    async fn unchanged(&self, page: Vec<Resting>, at: Instant) -> Vec<Resting> {
        let looks = &self.reconciler.looks;
        let mut namespaces: BTreeMap<String, Vec<Resting>> = BTreeMap::new();
        for seen in page {
            if looks.has(seen.id, seen.generation, at) && self.is_settled(&seen) {
                let namespace = seen.namespace.clone();
                namespaces.entry(namespace).or_default().push(seen);
            }
        }
        let mut unchanged = Vec::new();
        let mut namespaces = namespaces.into_values();
        loop {
            let some: Vec<_> = namespaces.by_ref().take(NAMESPACES).collect();
            if some.is_empty() {
                break unchanged;
            }
            let looks = some.into_iter().map(|all| self.with_secrets(all));
            let seen = join_all(looks).await;
            unchanged.extend(seen.into_iter().flatten());
        }
    }

    /// Looks at the Secrets of instances of one namespace, which no watch shows; returns the instances, or
    /// none when that look fails: a pass is due then, which says so.
    async fn with_secrets(&self, all: Vec<Resting>) -> Vec<Resting> {
        let Some(first) = all.first() else { return all };
        let names: Vec<&str> = all.iter().map(|seen| seen.name.as_str()).collect();
        let namespace = first.namespace.as_str();
        let looked = self.cluster.look_at_secrets_of(namespace, &names).await;
        if let Err(error) = looked {
            tracing::debug!(namespace, %error, "reconciler.secrets_not_seen");
            return Vec::new();
        }
        all
    }

    /// Puts the next looks at instances off, as far as nothing changed and nothing was asked meanwhile.
    async fn put_off(&self, some: &[Resting]) -> Result<u64> {
        let Reconciler {
            db, clock, resync, ..
        } = &*self.reconciler;
        let mut some: Vec<_> = some.iter().filter(|seen| self.is_settled(seen)).collect();
        if some.is_empty() || !self.may_look() {
            return Ok(0);
        }
        // In the order of their ids, so that two servers do not lock each other out.
        some.sort_unstable_by_key(|seen| seen.id);
        let mut conn = db.begin().await?;
        let (now, mut count) = (clock.now(), 0);
        for seen in some {
            let next = next_look(seen.id, &seen.namespace, now, *resync);
            count += store::put_off(&mut conn, seen, now, next).await?;
        }
        conn.commit().await?;
        metrics::counter!("dermaga_reconcile_quiet_looks_total").increment(count);
        Ok(count)
    }
}
