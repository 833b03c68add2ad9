//! Listens to the cluster: changes of instances and of what separates customers, and its absence.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures::{StreamExt, future::try_join, stream};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};

use super::{
    plugin_calls::Services,
    reconciler::Reconciler,
    store,
    walls::{self, Memory},
    worker::ProvisionerStatus,
};
use crate::cluster::{Cluster, PolicyRef, WallChange};

/// Delay after an event, so that events of one moment lead to one pass.
pub(super) const SETTLE: TimeDelta = TimeDelta::milliseconds(300);
/// Changes that are taken from the watches at once.
const MOST_AT_ONCE: usize = 64;
/// Instances that are made due at the same time.
const TOGETHER: usize = 4;
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Interval between probes of a cluster that is away or has just come back.
const PROBE_AWAY_EVERY: Duration = Duration::from_secs(1);
/// Time after its return in which a cluster may still fail: passes that began before wait for their
/// calls to end, and its own parts find each other again.
const RETURNING: Duration = Duration::from_secs(30);

/// Listens to the cluster.
pub(super) struct ClusterWatcher<S> {
    pub(super) reconciler: Arc<Reconciler<S>>,
    pub(super) wake: Arc<Notify>,
    pub(super) cluster: Cluster,
    /// The cluster answers again: watches that wait for their next try need not wait.
    pub(super) is_back: Notify,
}

impl<S: Services> ClusterWatcher<S> {
    /// Makes an instance due soon after something of it changed.
    pub(super) async fn listen(&self) {
        let mut memory = Memory::default();
        loop {
            // Changes that watches noted and did not tell are not seen again: full looks find them.
            self.reconciler.looks.forget_all(Instant::now());
            tokio::select! {
                () = self.is_back.notified() => {}
                () = self.follow_changes(&mut memory) => {}
            }
        }
    }

    async fn follow_changes(&self, memory: &mut Memory) {
        match try_join(self.cluster.changes(), self.cluster.wall_changes()).await {
            Ok((changes, mut walls)) => {
                let mut changes = changes.ready_chunks(MOST_AT_ONCE);
                loop {
                    tokio::select! {
                        Some(names) = changes.next() => self.touch(&names).await,
                        Some(change) = walls.next() => self.attend(memory, change).await,
                        Some(policy) = memory.next_doubt() => self.judge(memory, &policy).await,
                        else => break,
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "cluster.watch_not_started"),
        }
        sleep(PROBE_AWAY_EVERY).await;
    }

    /// Makes instances due soon. Objects of many change at once, and several of each.
    async fn touch(&self, names: &[String]) {
        let names: BTreeSet<&String> = names.iter().collect();
        let touching: Vec<_> = names.into_iter().map(|name| self.touch_one(name)).collect();
        let mut touched = stream::iter(touching).buffer_unordered(TOGETHER);
        while let Some(touched) = touched.next().await {
            self.note(touched);
        }
    }

    /// Makes one instance due soon. Each has a transaction of its own: one that waited for several rows could wait for
    /// another that has some of them. Those of one moment share a commit all the same.
    async fn touch_one(&self, name: &str) -> crate::Result<bool> {
        let Reconciler { db, clock, .. } = &*self.reconciler;
        let mut conn = db.begin_together().await?;
        let touched = store::touch(&mut conn, name, clock.now() + SETTLE).await?;
        conn.commit().await?;
        Ok(touched > 0)
    }

    async fn attend(&self, memory: &mut Memory, change: WallChange) {
        let Reconciler { db, clock, .. } = &*self.reconciler;
        self.note(walls::attend(db, clock, memory, change).await);
    }

    async fn judge(&self, memory: &mut Memory, policy: &PolicyRef) {
        let Reconciler { db, clock, .. } = &*self.reconciler;
        let judged = walls::judge(db, clock, memory, policy, None).await;
        self.note(judged.map(|()| false));
    }

    /// Notes if a change made an instance due.
    fn note(&self, touched: crate::Result<bool>) {
        match touched {
            Ok(true) => self.wake_soon(),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, "cluster.change_not_noted");
                // The change is not seen again: full looks find it.
                self.reconciler.looks.forget_all(Instant::now());
            }
        }
    }

    fn wake_soon(&self) {
        let wake = Arc::clone(&self.wake);
        tokio::spawn(async move {
            sleep(SETTLE.to_std().unwrap_or_default()).await;
            wake.notify_one();
        });
    }

    /// Watches if the cluster answers; when it does again, waiting instances become due.
    pub(super) async fn probe(&self, status: watch::Sender<ProvisionerStatus>) {
        let mut back_since = None;
        loop {
            let (is_available, detail) = match self.cluster.probe().await {
                Ok(version) => (true, version),
                Err(error) => (false, error.to_string()),
            };
            let was_available = status.borrow().is_available;
            if is_available != was_available {
                tracing::info!(
                    cluster.url = self.cluster.url(),
                    is_available,
                    detail,
                    "cluster.availability"
                );
            }
            if is_available && !was_available {
                self.is_back.notify_one();
                back_since = Some(Instant::now());
            }
            let is_returning =
                is_available && back_since.is_some_and(|since| since.elapsed() < RETURNING);
            if is_returning {
                self.touch_failed().await;
            }
            status.send_modify(|status| {
                status.is_available = is_available;
                status.detail = detail;
            });
            // A pass whose call outlived the outage fails late, and tries again with the next probe.
            let rest = if is_available && !is_returning {
                PROBE_EVERY
            } else {
                PROBE_AWAY_EVERY
            };
            sleep(rest).await;
        }
    }

    async fn touch_failed(&self) {
        let Reconciler { db, clock, .. } = &*self.reconciler;
        let touched = async {
            let mut conn = db.begin().await?;
            store::touch_failed(&mut conn, clock.now()).await?;
            conn.commit().await
        };
        if let Err(error) = touched.await {
            tracing::warn!(%error, "instance.waiting_not_resumed");
        }
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::pretended::Pretended,
        execute,
        ids::InstanceId,
        provisioning::{
            kubernetes::Kubernetes,
            provisioner::Provisioner,
            test_service::Scripted,
            test_shop::{GOOD_IMAGE, Shop},
        },
    };

    fn watcher(shop: &Shop) -> ClusterWatcher<Scripted> {
        let cluster = Pretended::new().cluster;
        let provisioner = Provisioner::Kubernetes(Kubernetes::new(cluster.clone()));
        ClusterWatcher {
            reconciler: Arc::new(shop.reconciler(provisioner)),
            wake: Arc::new(Notify::new()),
            cluster,
            is_back: Notify::new(),
        }
    }

    impl ClusterWatcher<Scripted> {
        fn note_full_look(&self, id: InstanceId) {
            self.reconciler.looks.note(id, 1, Instant::now());
            assert!(self.has_full_look(id));
        }

        fn has_full_look(&self, id: InstanceId) -> bool {
            self.reconciler.looks.has(id, 1, Instant::now())
        }
    }

    /// A pass that is under way may settle what the change led to.
    #[tokio::test]
    async fn a_change_that_the_database_does_not_take_makes_the_next_looks_full() {
        let shop = Shop::open(GOOD_IMAGE).await;
        let watcher = watcher(&shop);
        let instance = shop.buy().await;
        watcher.note_full_look(instance.id);
        let broken = "CREATE TRIGGER broken BEFORE UPDATE ON instances BEGIN SELECT RAISE(ABORT, 'broken'); END";
        for is_broken in [false, true] {
            let later = shop.clock.now() + TimeDelta::hours(1);
            let mut conn = shop.db.begin().await.unwrap();
            execute!(conn, "UPDATE instances SET next_attempt_at = $1", later).unwrap();
            if is_broken {
                execute!(conn, broken).unwrap();
            }
            conn.commit().await.unwrap();
            watcher.touch(std::slice::from_ref(&instance.name)).await;
            assert_eq!(watcher.has_full_look(instance.id), !is_broken);
        }
    }

    #[tokio::test]
    async fn instances_that_change_together_are_due_together() {
        let shop = Shop::open(GOOD_IMAGE).await;
        let watcher = watcher(&shop);
        let (one, other) = (shop.buy().await, shop.buy().await);
        let later = shop.clock.now() + TimeDelta::hours(1);
        let mut conn = shop.db.begin().await.unwrap();
        execute!(conn, "UPDATE instances SET next_attempt_at = $1", later).unwrap();
        conn.commit().await.unwrap();
        let names = [&other.name, &one.name, &other.name].map(Clone::clone);
        watcher.touch(&names).await;
        for instance in [&one, &other] {
            assert!(shop.now(instance).await.next_attempt_at < later);
        }
    }

    #[tokio::test]
    async fn watches_that_begin_again_make_the_next_looks_full() {
        let shop = Shop::open(GOOD_IMAGE).await;
        let watcher = watcher(&shop);
        let id = InstanceId::from_u128(1);
        let short = Duration::from_millis(50);
        let again = async {
            sleep(short).await;
            watcher.note_full_look(id);
            watcher.is_back.notify_one();
            sleep(short).await;
            assert!(!watcher.has_full_look(id));
        };
        tokio::select! {
            () = watcher.listen() => {}
            () = again => {}
        }
    }
}
