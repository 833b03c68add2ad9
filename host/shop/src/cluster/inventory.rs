//! Nodes, namespaces, pods and workloads of a cluster, as administrators read them.

use dermaga_runtime::gate::INSTANCE_LABEL;
use kube::api::ListParams;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Cluster,
    reading::{Scope, Whereabouts, all, number, part_of, promptly, text},
    usage::{Claimed, Load, Measured},
};
use crate::{
    Error, Result,
    db::{Page, Part},
};

const CORE: &str = "/api/v1";
const APPS: &str = "/apis/apps/v1";

/// Usage next to requests and limits.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Loads {
    /// Absent where the cluster measures none.
    pub usage: Option<Load>,
    pub requests: Load,
    pub limits: Load,
}

impl Loads {
    const fn of(Claimed { requests, limits }: Claimed, usage: Option<Load>) -> Self {
        Self {
            usage,
            requests,
            limits,
        }
    }
}

/// A node with the load that its pods put on it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    #[serde(flatten)]
    pub node: Whereabouts,
    pub is_ready: bool,
    /// False for a node that takes no new pods.
    pub is_schedulable: bool,
    /// Conditions that are not as they should be, with their messages.
    pub faults: Vec<String>,
    pub kubelet_version: Option<String>,
    pub addresses: Vec<String>,
    pub capacity: Load,
    pub allocatable: Load,
    #[serde(flatten)]
    pub loads: Loads,
    pub pods: usize,
}

impl NodeView {
    fn of(node: &Value, pods: &[Value], measured: &Measured) -> Self {
        let name = text(node, "/metadata/name");
        let on_it = |pod: &&Value| name.is_some() && text(pod, "/spec/nodeName") == name;
        let pods: Vec<_> = pods.iter().filter(on_it).collect();
        let status = |condition: &Value| text(condition, "/status").unwrap_or_default();
        let is_ready_one = |condition: &Value| text(condition, "/type").as_deref() == Some("Ready");
        let conditions = || all(node, "/status/conditions");
        let faults = conditions().filter_map(|condition| {
            let wanted = if is_ready_one(condition) {
                "True"
            } else {
                "False"
            };
            let kind = text(condition, "/type")?;
            let message = text(condition, "/message").unwrap_or_default();
            (status(condition) != wanted).then(|| format!("{kind}: {message}"))
        });
        Self {
            is_ready: conditions().any(|one| is_ready_one(one) && status(one) == "True"),
            is_schedulable: node.pointer("/spec/unschedulable") != Some(&Value::Bool(true)),
            faults: faults.collect(),
            kubelet_version: text(node, "/status/nodeInfo/kubeletVersion"),
            addresses: all(node, "/status/addresses")
                .filter_map(|address| text(address, "/address"))
                .collect(),
            capacity: Load::of(node.pointer("/status/capacity")),
            allocatable: Load::of(node.pointer("/status/allocatable")),
            loads: Loads::of(Claimed::of_pods(pods.iter().copied()), measured.get(node)),
            pods: pods.len(),
            node: Whereabouts::of(node),
        }
    }
}

/// A namespace with the sum of its pods.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceView {
    #[serde(flatten)]
    pub namespace: Whereabouts,
    /// `Active` or `Terminating`.
    pub phase: Option<String>,
    #[serde(flatten)]
    pub loads: Loads,
    pub pods: usize,
    pub ready_pods: usize,
}

impl NamespaceView {
    fn of(namespace: &Value, pods: &[Value], measured: &Measured) -> Self {
        let name = text(namespace, "/metadata/name");
        let in_it = |pod: &&Value| text(pod, "/metadata/namespace") == name;
        let pods: Vec<_> = pods.iter().filter(in_it).collect();
        let usage = measured.sum(pods.iter().copied());
        Self {
            phase: text(namespace, "/status/phase"),
            loads: Loads::of(Claimed::of_pods(pods.iter().copied()), usage),
            pods: pods.len(),
            ready_pods: pods.iter().filter(|pod| is_ready(pod)).count(),
            namespace: Whereabouts::of(namespace),
        }
    }
}

/// A pod.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodView {
    #[serde(flatten)]
    pub pod: Whereabouts,
    pub phase: Option<String>,
    pub is_ready: bool,
    pub containers: usize,
    pub ready_containers: usize,
    pub restarts: i64,
    /// Kubernetes' word for what keeps it from running, such as `CrashLoopBackOff`.
    pub reason: Option<String>,
    pub node: Option<String>,
    #[serde(flatten)]
    pub loads: Loads,
}

impl PodView {
    fn of(pod: &Value, measured: &Measured) -> Self {
        let statuses = || all(pod, "/status/containerStatuses");
        let is_true = |status: &&Value| status.get("ready") == Some(&Value::Bool(true));
        let waiting = statuses().find_map(|status| {
            text(status, "/state/waiting/reason")
                .or_else(|| text(status, "/state/terminated/reason"))
        });
        Self {
            phase: text(pod, "/status/phase"),
            is_ready: is_ready(pod),
            containers: all(pod, "/spec/containers").count(),
            ready_containers: statuses().filter(is_true).count(),
            restarts: statuses()
                .map(|status| number(status, "/restartCount"))
                .sum(),
            reason: waiting.or_else(|| text(pod, "/status/reason")),
            node: text(pod, "/spec/nodeName"),
            loads: Loads::of(Claimed::of_pods([pod]), measured.get(pod)),
            pod: Whereabouts::of(pod),
        }
    }
}

fn is_ready(pod: &Value) -> bool {
    all(pod, "/status/conditions").any(|condition| {
        text(condition, "/type").as_deref() == Some("Ready")
            && text(condition, "/status").as_deref() == Some("True")
    })
}

/// A Deployment or a StatefulSet.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadView {
    #[serde(flatten)]
    pub workload: Whereabouts,
    /// `Deployment` or `StatefulSet`.
    pub kind: String,
    /// Wanted pods.
    pub replicas: i64,
    pub ready_replicas: i64,
    pub updated_replicas: i64,
    pub available_replicas: i64,
    pub images: Vec<String>,
    /// Usage is that of the instance's pods which this workload selects.
    #[serde(flatten)]
    pub loads: Loads,
}

impl WorkloadView {
    fn of(kind: &str, workload: &Value, pods: &[Value], measured: &Measured) -> Self {
        let replicas = number(workload, "/spec/replicas");
        let spec = workload.pointer("/spec/template/spec");
        let one = spec.map(Claimed::of_spec).unwrap_or_default();
        let count = u64::try_from(replicas).unwrap_or_default();
        let claimed = Claimed {
            requests: one.requests.times(count),
            limits: one.limits.times(count),
        };
        let usage = measured.sum(pods.iter().filter(|pod| selects(workload, pod)));
        Self {
            kind: kind.to_owned(),
            replicas,
            ready_replicas: number(workload, "/status/readyReplicas"),
            updated_replicas: number(workload, "/status/updatedReplicas"),
            available_replicas: number(workload, "/status/availableReplicas"),
            images: all(workload, "/spec/template/spec/containers")
                .filter_map(|container| text(container, "/image"))
                .collect(),
            loads: Loads::of(claimed, usage),
            workload: Whereabouts::of(workload),
        }
    }
}

/// Returns true when a pod is in a workload's namespace and has every label that it selects by.
fn selects(workload: &Value, pod: &Value) -> bool {
    let wanted = workload.pointer("/spec/selector/matchLabels");
    let Some(wanted) = wanted.and_then(Value::as_object) else {
        return false;
    };
    let labels = pod.pointer("/metadata/labels");
    let has =
        |(key, value): (&String, &Value)| labels.and_then(|labels| labels.get(key)) == Some(value);
    !wanted.is_empty()
        && text(workload, "/metadata/namespace") == text(pod, "/metadata/namespace")
        && wanted.iter().all(has)
}

impl Cluster {
    /// Lists the nodes.
    ///
    /// # Errors
    /// `CLUSTER_UNAVAILABLE`, within seconds.
    pub async fn nodes(&self, part: Part) -> Result<Page<NodeView>> {
        self.nodes_by(&ListParams::default(), part).await
    }

    /// Returns one node.
    ///
    /// # Errors
    /// `NOT_FOUND`; as [`Cluster::nodes`].
    pub async fn node(&self, name: &str) -> Result<NodeView> {
        let named = ListParams::default().fields(&format!("metadata.name={name}"));
        let (offset, limit) = (0, 1);
        let found = self.nodes_by(&named, Part { offset, limit }).await?;
        let node = found.items.into_iter().next();
        node.ok_or_else(|| Error::not_found("node"))
    }

    async fn nodes_by(&self, params: &ListParams, part: Part) -> Result<Page<NodeView>> {
        promptly(async {
            let pods = Scope::default().path(CORE, "pods");
            let nodes = format!("{CORE}/nodes");
            let every = ListParams::default();
            let (nodes, pods, measured) = tokio::join!(
                self.known(&nodes, params),
                self.known(&pods, &every),
                self.measured_nodes()
            );
            let (nodes, pods) = (part_of(nodes?, part), pods?);
            Ok(nodes.map(|node| NodeView::of(&node, &pods, &measured)))
        })
        .await
    }

    /// Lists the namespaces.
    ///
    /// # Errors
    /// As [`Cluster::nodes`].
    pub async fn namespaces(&self, scope: &Scope, part: Part) -> Result<Page<NamespaceView>> {
        promptly(async {
            let mut params = scope.selector();
            if let Some(name) = &scope.namespace {
                params = params.fields(&format!("metadata.name={name}"));
            }
            let within = Scope {
                owner: None,
                ..scope.clone()
            };
            let (namespaces, pods) = (format!("{CORE}/namespaces"), within.path(CORE, "pods"));
            let every = ListParams::default();
            let (namespaces, pods, measured) = tokio::join!(
                self.known(&namespaces, &params),
                self.known(&pods, &every),
                self.measured_pods(&within, &every)
            );
            let (namespaces, pods) = (part_of(namespaces?, part), pods?);
            Ok(namespaces.map(|one| NamespaceView::of(&one, &pods, &measured)))
        })
        .await
    }

    /// Lists the pods.
    ///
    /// # Errors
    /// As [`Cluster::nodes`].
    pub async fn pods(&self, scope: &Scope, part: Part) -> Result<Page<PodView>> {
        promptly(async {
            let (path, params) = (scope.path(CORE, "pods"), scope.selector());
            let (pods, measured) = tokio::join!(
                self.known(&path, &params),
                self.measured_pods(scope, &params)
            );
            let pods = part_of(pods?, part);
            Ok(pods.map(|pod| PodView::of(&pod, &measured)))
        })
        .await
    }

    /// Lists the Deployments and StatefulSets.
    ///
    /// # Errors
    /// As [`Cluster::nodes`].
    pub async fn workloads(&self, scope: &Scope, part: Part) -> Result<Page<WorkloadView>> {
        promptly(async {
            let params = scope.selector();
            let path = |kind| scope.path(APPS, kind);
            let (deployments, sets) = (path("deployments"), path("statefulsets"));
            let pods = scope.path(CORE, "pods");
            let (deployments, sets, pods, measured) = tokio::join!(
                self.known(&deployments, &params),
                self.known(&sets, &params),
                self.known(&pods, &params),
                self.measured_pods(scope, &params)
            );
            let of_kind = |kind: &'static str, mut objects: Vec<Value>| {
                // The items of a list leave their kind out.
                for object in objects.iter_mut().filter_map(Value::as_object_mut) {
                    object.insert("kind".to_owned(), kind.into());
                }
                objects
            };
            let mut workloads = of_kind("Deployment", deployments?);
            workloads.extend(of_kind("StatefulSet", sets?));
            let (workloads, pods) = (part_of(workloads, part), pods?);
            Ok(workloads.map(|one| {
                let kind = text(&one, "/kind").unwrap_or_default();
                WorkloadView::of(&kind, &one, &pods, &measured)
            }))
        })
        .await
    }
}

/// Selects the objects of one instance.
pub(super) fn of_instance(instance: &str) -> ListParams {
    ListParams::default().labels(&format!("{INSTANCE_LABEL}={instance}"))
}
