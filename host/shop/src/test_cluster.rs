//! Disposable clusters for tests, of this crate and of others.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails should stop where it fails"
)]

use std::{io::Write as _, path::PathBuf, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Namespace, Node, PersistentVolumeClaim, Pod, ResourceQuota},
};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{sleep, timeout},
};

use crate::{crypto, db::Clock};

/// Longest time until instances are ready again, from the moment at which the cluster itself works.
pub const RECOVERY: Duration = Duration::from_secs(15);
/// Longest time that the parts of a control plane may take to find its API server again.
const CONTROLLERS: Duration = Duration::from_secs(180);

/// Returns the path in an environment variable; prints a line about the skipped test when unset.
///
/// # Panics
/// When `DERMAGA_TEST_REQUIRE=all` forbids skipping.
pub(crate) fn named_by(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        let may_skip = std::env::var("DERMAGA_TEST_REQUIRE").as_deref() != Ok("all");
        assert!(may_skip, "this test must run, and {variable} names nothing");
        // Not by the print macros: what they write in a test that passes is hidden.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: needs a disposable cluster, and {variable} names none"
        );
    }
    path
}

/// A control plane whose API server a test may stop and start again: a folder with `apiserver.sh`,
/// `pids/2-apiserver.pid` and `admin.kubeconfig`. Its nodes survive that. One test has it at a time.
#[derive(Debug)]
pub struct ControlPlane {
    folder: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl ControlPlane {
    /// Waits for its turn; returns nothing when no control plane is named.
    pub async fn take() -> Option<Self> {
        static TURN: Mutex<()> = Mutex::const_new(());
        let folder = named_by("DERMAGA_TEST_CONTROL_PLANE")?;
        let turn = TURN.lock().await;
        Some(Self {
            folder,
            _turn: turn,
        })
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("pids/2-apiserver.pid")
    }

    /// Kills the API server.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        let pid = std::fs::read_to_string(self.pid_file()).unwrap();
        let killed = std::process::Command::new("kill")
            .args(["-9", pid.trim()])
            .status()
            .unwrap();
        assert!(killed.success());
    }

    /// Starts the API server, which answers some seconds later.
    ///
    /// # Panics
    /// When its program is missing.
    pub fn start(&self) {
        let log = std::fs::File::create(self.folder.join("logs/2-apiserver.log")).unwrap();
        let started = std::process::Command::new("setsid")
            .arg(self.folder.join("apiserver.sh"))
            .stdout(std::process::Stdio::null())
            .stderr(log)
            .spawn();
        std::fs::write(self.pid_file(), started.unwrap().id().to_string()).unwrap();
    }

    async fn client(&self) -> Client {
        let file = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(file, &options).await;
        Client::try_from(config.unwrap()).unwrap()
    }

    /// Applies workloads of no shop, waits until they are ready, and returns that moment: from here on
    /// the cluster itself works.
    ///
    /// # Panics
    /// When it does not within minutes.
    pub async fn works_at(&self) -> DateTime<Utc> {
        let client = self.client().await;
        let name = format!("bare-{}", crypto::random_hex(8));
        let ready = async {
            // An API server that has just started refuses some requests.
            while !bare_are_ready(&client, &name).await.unwrap_or(false) {
                let _ = report(&client).await;
                sleep(Duration::from_millis(500)).await;
            }
        };
        let works = timeout(CONTROLLERS, ready).await;
        assert!(works.is_ok(), "the control plane does not recover");
        let at = Clock::system().now();
        let namespaces: Api<Namespace> = Api::all(client);
        let params = DeleteParams::default();
        namespaces.delete(&name, &params).await.unwrap();
        at
    }

    /// Lets every node report that it is ready, as a kubelet does from time to time. The nodes of a
    /// test only renew their lease, and an outage counts as theirs when the controller sees no report.
    /// The next report makes good one that fails.
    pub async fn nodes_report(&self) {
        let _ = report(&self.client().await).await;
    }

    /// Returns the moment at which the last pod of a namespace got its node, if one did. A pod that
    /// came before the scheduler had found the API server again is tried once more only later.
    ///
    /// # Panics
    /// When the API server does not answer.
    pub async fn scheduled_at(&self, namespace: &str) -> Option<DateTime<Utc>> {
        let pods: Api<Pod> = Api::namespaced(self.client().await, namespace);
        let pods = pods.list(&ListParams::default()).await.unwrap();
        let conditions = pods.items.iter().flat_map(|pod| {
            let pod = serde_json::to_value(pod).unwrap();
            let conditions = pod["status"]["conditions"].as_array().cloned();
            conditions.unwrap_or_default()
        });
        let scheduled = conditions
            .filter(|one| one["type"] == "PodScheduled" && one["status"] == "True")
            .filter_map(|one| {
                one["lastTransitionTime"]
                    .as_str()?
                    .parse::<DateTime<Utc>>()
                    .ok()
            });
        scheduled.max()
    }
}

/// Applies a Deployment with a volume and a StatefulSet, in a namespace with a quota, and returns true
/// when all are at work. Each is another controller's, and some of them find the API server again
/// half a minute after others; instances need all of them.
async fn bare_are_ready(client: &Client, name: &str) -> kube::Result<bool> {
    let ours = PatchParams::apply("test").force();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    namespaces
        .patch(name, &ours, &Patch::Apply(&namespace))
        .await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), name);
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name},
        "spec": {"hard": {"pods": "10"}},
    });
    let quota = quotas.patch(name, &ours, &Patch::Apply(&quota)).await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), name);
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    claims.patch(name, &ours, &Patch::Apply(&claim)).await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), name);
    let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": name}}]);
    let deployment = workload("Deployment", name, &volumes);
    let deployment = deployments
        .patch(name, &ours, &Patch::Apply(&deployment))
        .await?;
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), name);
    let set = workload("StatefulSet", name, &json!([]));
    let set = sets.patch(name, &ours, &Patch::Apply(&set)).await?;
    let is_in_force = quota.status.is_some_and(|status| status.hard.is_some());
    let deployed = deployment.status.and_then(|status| status.ready_replicas);
    let set = set.status.and_then(|status| status.ready_replicas);
    Ok(is_in_force && deployed == Some(1) && set == Some(1))
}

/// Returns a workload of one pod, whose kinds keep apart by a label.
fn workload(kind: &str, name: &str, volumes: &Value) -> Value {
    let labels = json!({"app": kind});
    let mut workload = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {
                "containers": [{"name": "app", "image": "docker.io/library/app:1.0"}],
                "volumes": volumes,
            },
        }},
    });
    if kind == "StatefulSet" {
        workload["spec"]["serviceName"] = json!(name);
    }
    workload
}

/// Writes into every node that it is ready now, and into its pods if they count as lost.
async fn report(client: &Client) -> kube::Result<()> {
    let (params, every) = (PatchParams::default(), ListParams::default());
    let now = Clock::system().now();
    let now = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let ready = json!({"status": {"conditions": [{
        "type": "Ready", "status": "True", "lastHeartbeatTime": now,
    }]}});
    let ready = Patch::Strategic(&ready);
    let nodes: Api<Node> = Api::all(client.clone());
    for node in nodes.list(&every).await?.items {
        nodes
            .patch_status(&node.name_any(), &params, &ready)
            .await?;
    }
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let ready = Patch::Strategic(&ready);
    let pods: Api<Pod> = Api::all(client.clone());
    for pod in pods.list(&every).await?.items {
        let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
        if is_lost(&serde_json::to_value(&pod).unwrap_or_default()) {
            let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            pods.patch_status(&name, &params, &ready).await?;
        }
    }
    Ok(())
}

/// Returns true for a pod that counts as lost with its node, while its containers are ready.
fn is_lost(pod: &Value) -> bool {
    let has = |kind: &str, status: &str| {
        let conditions = pod["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|one| one["type"] == kind && one["status"] == status)
    };
    pod["status"]["phase"] == "Running" && has("Ready", "False") && has("ContainersReady", "True")
}
