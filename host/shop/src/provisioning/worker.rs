//! The worker: takes due instances, a bounded number at once, and listens to the cluster.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    cluster_watcher::ClusterWatcher,
    passes::Passes,
    plugin_calls::Services,
    reconciler::{LEASE, Reconciler},
    render::Classes,
    rest::QuietLooks,
    status::WRITTEN_STOPPED,
    store,
};
use crate::{
    Code, Error, Result,
    cluster::Cluster,
    db::{Lease, Term},
    identity::Identity,
    traces::TARGET,
    workers::{self, Next},
};

/// Interval between queries for due instances; commits here wake the worker at once.
const POLL: Duration = Duration::from_secs(1);
/// Longest time that passes under way may take to end when the server stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// State of the provisioner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisionerStatus {
    /// `kubernetes` or `directory`.
    pub provisioner: &'static str,
    /// True when the cluster answered last time; true for a directory.
    pub is_available: bool,
    /// Version of the cluster, or the reason that it does not answer.
    pub detail: String,
}

/// Wakes the worker after a commit, and knows the provisioner.
#[derive(Debug, Clone)]
pub struct Handle {
    wake: Arc<Notify>,
    status: watch::Receiver<ProvisionerStatus>,
    classes: Arc<Classes>,
    cluster: Option<Cluster>,
    patience: Duration,
}

impl Handle {
    /// Wakes the worker; call it after the commit that makes an instance due.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub fn status(&self) -> ProvisionerStatus {
        self.status.borrow().clone()
    }

    /// Returns the cluster that instances live in.
    ///
    /// # Errors
    /// `NO_CLUSTER` where manifests are written into a folder.
    pub fn cluster(&self) -> Result<&Cluster> {
        let message = "This server writes manifests into a folder, and has no cluster to ask.";
        let missing = || Error::new(Code::NoCluster, message);
        self.cluster.as_ref().ok_or_else(missing)
    }

    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// Returns the time for which an instance must be at fault before it is restarted.
    pub const fn patience(&self) -> Duration {
        self.patience
    }
}

/// The reconciler at work. Several servers may run one each on the same database.
#[derive(Debug)]
pub struct Worker<S> {
    reconciler: Arc<Reconciler<S>>,
    wake: Arc<Notify>,
    status: watch::Sender<ProvisionerStatus>,
    parallel: usize,
    identity: Arc<Identity>,
    passes: Passes,
    /// True when the last look took all places that were free, so that more may be due.
    is_full: bool,
}

impl<S: Services> Worker<S> {
    pub(super) fn new(
        reconciler: Reconciler<S>,
        parallel: usize,
        identity: Arc<Identity>,
    ) -> (Handle, Self) {
        let status = ProvisionerStatus {
            provisioner: reconciler.provisioner.name(),
            is_available: reconciler.provisioner.cluster().is_none(),
            detail: reconciler.provisioner.place(),
        };
        let (sender, receiver) = watch::channel(status);
        let wake = Arc::new(Notify::new());
        let classes = Arc::new(reconciler.classes.clone());
        let handle = Handle {
            wake: Arc::clone(&wake),
            status: receiver,
            classes,
            cluster: reconciler.provisioner.cluster().cloned(),
            patience: reconciler.patience,
        };
        let worker = Self {
            reconciler: Arc::new(reconciler),
            wake,
            status: sender,
            parallel,
            identity,
            passes: Passes::default(),
            is_full: false,
        };
        (handle, worker)
    }

    /// Works until it is cancelled, then lets the passes under way end. No lease is left.
    pub async fn run(mut self, cancel: CancellationToken) {
        let listener = self.listen(&cancel);
        let mut is_first = self.identity.is_alone();
        let mut is_new_place = self.reconciler.provisioner.cluster().is_some();
        let (mut looks, mut next_look) = (true, Instant::now());
        while !cancel.is_cancelled() {
            if is_first {
                // Until it succeeds: leases of an earlier run would hold up their instances to the end.
                is_first = self.drop_own_leases().await.is_err();
            }
            if is_new_place {
                is_new_place = self.take_from_folder().await.is_err();
            }
            if looks {
                if let Err(error) = self.take_due().await {
                    tracing::warn!(%error, "reconciler.database_away");
                }
                next_look = Instant::now() + POLL;
            }
            looks = tokio::select! {
                () = cancel.cancelled() => break,
                () = self.wake.notified() => true,
                () = sleep_until(next_look) => true,
                Some(waiting) = self.passes.next_end() => {
                    self.start_all(waiting);
                    // A place that comes free is news only where places were missing.
                    self.is_full
                }
            };
        }
        self.finish(listener).await;
    }

    /// Starts listening to the cluster, where there is one, until it is cancelled.
    fn listen(&self, cancel: &CancellationToken) -> Option<JoinHandle<()>> {
        let cluster = self.reconciler.provisioner.cluster()?.clone();
        let quiet = QuietLooks {
            reconciler: Arc::clone(&self.reconciler),
            cluster: cluster.clone(),
            status: self.status.subscribe(),
        };
        let watcher = ClusterWatcher {
            reconciler: Arc::clone(&self.reconciler),
            wake: Arc::clone(&self.wake),
            cluster,
            is_back: Notify::new(),
        };
        let (status, listening) = (self.status.clone(), cancel.child_token());
        Some(tokio::spawn(async move {
            let step = || async {
                tokio::select! {
                    () = watcher.listen() => {}
                    () = watcher.probe(status.clone()) => {}
                    () = quiet.run() => {}
                }
                Ok::<_, Error>(Next::AfterRest)
            };
            // Begins again after a fault of its own, or nothing would be seen any more.
            let worker = workers::Worker::new("cluster", POLL);
            worker.run(listening, step).await;
        }))
    }

    /// Ends the leases of this server: those that an earlier run left, or those that this one leaves.
    async fn drop_own_leases(&self) -> Result<()> {
        let Reconciler { db, clock, .. } = &*self.reconciler;
        let mut conn = db.begin().await?;
        let dropped = store::drop_leases(&mut conn, self.identity.id, clock.now()).await?;
        conn.commit().await?;
        if dropped > 0 {
            tracing::info!(leases = dropped, "reconciler.own_leases_dropped");
        }
        Ok(())
    }

    /// Makes the instances due that an earlier server wrote into a folder: what they wait for is this cluster, and
    /// their next look is as far off as that of what is settled.
    async fn take_from_folder(&self) -> Result<()> {
        let Reconciler { db, clock, .. } = &*self.reconciler;
        let mut conn = db.begin().await?;
        let touched = store::touch_written(&mut conn, clock.now(), WRITTEN_STOPPED).await?;
        conn.commit().await?;
        if touched > 0 {
            tracing::info!(instances = touched, "reconciler.taken_from_folder");
        }
        Ok(())
    }

    async fn take_due(&mut self) -> Result<()> {
        while let Some(waiting) = self.passes.try_next_end() {
            self.start_all(waiting);
        }
        let free = self.parallel.saturating_sub(self.passes.len());
        let Reconciler { db, clock, .. } = &*self.reconciler;
        let now = clock.now();
        self.is_full = free == 0;
        if free == 0 || !store::PASSES.may_be_due(db, now).await? {
            return Ok(());
        }
        // No pass begins before the claim is durable.
        let mut conn = db.begin_single().await?;
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        let (until, server) = (now + LEASE, self.identity.id);
        let term = Term { now, until };
        let claimed = store::PASSES.claim_due_by(&mut conn, clock, term, limit, server);
        let leases = claimed.await?;
        conn.commit().await?;
        self.is_full = leases.len() >= free;
        self.start_all(leases);
        Ok(())
    }

    fn start_all(&mut self, leases: impl IntoIterator<Item = Lease>) {
        for lease in leases {
            let (reconciler, wake) = (Arc::clone(&self.reconciler), Arc::clone(&self.wake));
            self.passes.start(lease, async move |lease: Lease| {
                let span = tracing::info_span!(
                    target: TARGET,
                    parent: None,
                    "reconcile",
                    instance.id = %lease.id
                );
                match reconciler.pass(&lease).instrument(span).await {
                    Ok(true) => wake.notify_one(),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(instance.id = %lease.id, %error, "instance.pass_not_written");
                    }
                }
            });
        }
    }

    async fn finish(mut self, listener: Option<JoinHandle<()>>) {
        let drain = async { while self.passes.next_end().await.is_some() {} };
        if timeout(SHUTDOWN_GRACE, drain).await.is_err() {
            self.passes.cut_off().await;
            // Its files are not changed any more when another server gets the lease.
            self.reconciler.provisioner.idle().await;
        }
        if let Some(listener) = listener {
            listener.abort();
        }
        // Those of passes that were cut off, and claims that waited for a pass of the same instance.
        if let Err(error) = self.drop_own_leases().await {
            tracing::warn!(%error, "reconciler.leases_not_given_back");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::provisioning::{
        Desired, Status,
        test_shop::{GOOD_IMAGE, Shop, in_cluster},
    };

    /// The cluster is away, which is found out by looking at an instance alone.
    #[tokio::test]
    async fn what_was_written_into_a_folder_is_looked_at_once_there_is_a_cluster() {
        let shop = Shop::open(GOOD_IMAGE).await;
        let server = shop.server(shop.in_folder());
        let (running, stopped) = (shop.buy().await, shop.buy().await);
        shop.set_desired(&stopped, Desired::Stopped).await;
        server.handle.wake();
        shop.is(&running, Status::Written).await;
        let written = shop.is(&stopped, Status::Stopped).await;
        server.stop().await;
        assert!(written.next_attempt_at > shop.clock.now());
        let other = shop.server(shop.in_folder());
        shop.until(&shop.buy().await, |now| now.status == Status::Written)
            .await;
        other.stop().await;
        let settled = shop.now(&stopped).await;
        assert_eq!(
            settled.next_attempt_at, written.next_attempt_at,
            "one more folder"
        );

        let server = shop.server(in_cluster(&shop.closed_kubeconfig()).await.0);
        for instance in [&running, &stopped] {
            shop.until(instance, |now| now.failures > 0).await;
        }
        server.stop().await;
    }
}
