//! The worker: takes due instances, a bounded number at once, and listens to the cluster.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures::StreamExt;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    identity::Identity,
    passes::Passes,
    plugin_calls::Services,
    reconciler::{LEASE, Reconciler},
    render::Classes,
    store,
};
use crate::{
    Result,
    cluster::Cluster,
    db::{Lease, Term},
};

/// Interval between queries for due instances; commits here wake the worker at once.
const POLL: Duration = Duration::from_secs(1);
/// Delay after an event, so that events of one moment lead to one pass.
const SETTLE: TimeDelta = TimeDelta::milliseconds(300);
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Interval between probes of a cluster that is away.
const PROBE_AWAY_EVERY: Duration = Duration::from_secs(1);
/// Time after its return in which a cluster may still fail: passes that began before wait for their
/// calls to end, and its own parts find each other again.
const RETURNING: Duration = Duration::from_secs(30);
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
}

impl Handle {
    /// Wakes the worker; call it after the commit that makes an instance due.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub fn status(&self) -> ProvisionerStatus {
        self.status.borrow().clone()
    }

    pub fn classes(&self) -> &Classes {
        &self.classes
    }
}

/// The reconciler at work. Several servers may run one each on the same database.
#[derive(Debug)]
pub struct Worker<S> {
    reconciler: Arc<Reconciler<S>>,
    wake: Arc<Notify>,
    status: watch::Sender<ProvisionerStatus>,
    parallel: usize,
    identity: Identity,
    passes: Passes,
}

impl<S: Services> Worker<S> {
    pub(super) fn new(
        reconciler: Reconciler<S>,
        parallel: usize,
        identity: Identity,
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
        };
        let worker = Self {
            reconciler: Arc::new(reconciler),
            wake,
            status: sender,
            parallel,
            identity,
            passes: Passes::default(),
        };
        (handle, worker)
    }

    /// Works until it is cancelled, then lets the passes under way end.
    pub async fn run(mut self, cancel: CancellationToken) {
        let listening = cancel.child_token();
        let listener = self
            .reconciler
            .provisioner
            .cluster()
            .cloned()
            .map(|cluster| {
                let ear = ClusterWatcher {
                    reconciler: Arc::clone(&self.reconciler),
                    wake: Arc::clone(&self.wake),
                    cluster,
                    is_back: Notify::new(),
                };
                let status = self.status.clone();
                let listening = listening.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = listening.cancelled() => {}
                        () = ear.listen() => {}
                        () = ear.probe(status) => {}
                    }
                })
            });
        let mut is_first = self.identity.is_alone();
        while !cancel.is_cancelled() {
            if is_first {
                is_first = self.drop_own_leases().await.is_err();
            }
            if let Err(error) = self.take_due().await {
                tracing::warn!(%error, "reconciler.database_away");
            }
            tokio::select! {
                () = cancel.cancelled() => break,
                () = self.wake.notified() => {}
                () = sleep(POLL) => {}
                Some(waiting) = self.passes.next_end() => self.start_all(waiting),
            }
        }
        self.finish(listener).await;
    }

    /// Ends the leases that an earlier run of this server left.
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

    async fn take_due(&mut self) -> Result<()> {
        while let Some(waiting) = self.passes.try_next_end() {
            self.start_all(waiting);
        }
        let free = self.parallel.saturating_sub(self.passes.len());
        let Reconciler { db, clock, .. } = &*self.reconciler;
        let now = clock.now();
        if free == 0 || !store::PASSES.is_any_due(&mut db.read().await?, now).await? {
            return Ok(());
        }
        let mut conn = db.begin().await?;
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        let until = now + LEASE;
        let leases = store::PASSES
            .claim_due(&mut conn, clock, Term { now, until }, limit)
            .await?;
        if let Some(lease) = leases.first() {
            store::name_server(&mut conn, lease.holder, self.identity.id).await?;
        }
        conn.commit().await?;
        self.start_all(leases);
        Ok(())
    }

    fn start_all(&mut self, leases: impl IntoIterator<Item = Lease>) {
        for lease in leases {
            let reconciler = Arc::clone(&self.reconciler);
            self.passes.start(lease, async move |lease: Lease| {
                if let Err(error) = reconciler.pass(&lease).await {
                    tracing::warn!(instance.id = %lease.id, %error, "instance.pass_not_written");
                }
            });
        }
    }

    async fn finish(mut self, listener: Option<tokio::task::JoinHandle<()>>) {
        let drain = async { while self.passes.next_end().await.is_some() {} };
        if timeout(SHUTDOWN_GRACE, drain).await.is_err() {
            // Their leases end by themselves and another server continues.
            self.passes.abort_all();
        }
        if let Some(listener) = listener {
            listener.abort();
        }
    }
}

/// Listens to the cluster.
struct ClusterWatcher<S> {
    reconciler: Arc<Reconciler<S>>,
    wake: Arc<Notify>,
    cluster: Cluster,
    /// The cluster answers again: watches that wait for their next try need not wait.
    is_back: Notify,
}

impl<S: Services> ClusterWatcher<S> {
    /// Makes an instance due soon after something of it changed.
    async fn listen(&self) {
        loop {
            tokio::select! {
                () = self.is_back.notified() => {}
                () = self.follow_changes() => {}
            }
        }
    }

    async fn follow_changes(&self) {
        match self.cluster.changes().await {
            Ok(mut changes) => {
                while let Some(name) = changes.next().await {
                    self.touch(&name).await;
                }
            }
            Err(error) => tracing::debug!(%error, "cluster.watch_not_started"),
        }
        sleep(PROBE_EVERY).await;
    }

    async fn touch(&self, name: &str) {
        let Reconciler { db, clock, .. } = &*self.reconciler;
        let touched = async {
            let mut conn = db.begin().await?;
            let touched = store::touch(&mut conn, name, clock.now() + SETTLE).await?;
            conn.commit().await?;
            Ok::<_, sqlx::Error>(touched)
        };
        match touched.await {
            Ok(touched) if touched > 0 => self.wake_soon(),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "instance.change_not_noted"),
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
    async fn probe(&self, status: watch::Sender<ProvisionerStatus>) {
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
            if is_available && back_since.is_some_and(|since| since.elapsed() < RETURNING) {
                self.touch_failed().await;
            }
            status.send_modify(|status| {
                status.is_available = is_available;
                status.detail = detail;
            });
            let rest = if is_available {
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
