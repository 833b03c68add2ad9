//! Loads: usage by the metrics API, requests and limits by the pods.

use std::{collections::HashMap, iter::Sum, ops::Add, time::Duration};

use dermaga_runtime::gate::{INSTANCE_LABEL, cpu_millis, storage_bytes};
use kube::api::ListParams;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{
    Cluster, ClusterError,
    reading::{Scope, all, promptly, text},
};
use crate::Result;

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";
/// Time for the metrics API, which is a server beside the cluster's own.
const METRICS_TIMEOUT: Duration = Duration::from_secs(1);

/// Processor and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    pub memory_bytes: u64,
}

impl Add for Load {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }
}

impl Sum for Load {
    fn sum<I: Iterator<Item = Self>>(loads: I) -> Self {
        loads.fold(Self::default(), Add::add)
    }
}

impl Load {
    /// Reads `{"cpu": "250m", "memory": "64Mi"}`; what is absent counts as nothing.
    pub(super) fn of(amounts: Option<&Value>) -> Self {
        let amount = |key: &str, read: fn(&Value) -> Option<u128>| {
            let amount = amounts.and_then(|amounts| amounts.get(key)).and_then(read);
            amount.map_or(0, |amount| u64::try_from(amount).unwrap_or(u64::MAX))
        };
        Self {
            cpu_millis: amount("cpu", cpu_millis),
            memory_bytes: amount("memory", storage_bytes),
        }
    }

    pub(super) fn times(self, count: u64) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_mul(count),
            memory_bytes: self.memory_bytes.saturating_mul(count),
        }
    }
}

/// Requests and limits of the containers of a pod's spec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Claimed {
    pub(super) requests: Load,
    pub(super) limits: Load,
}

impl Claimed {
    pub(super) fn of_spec(spec: &Value) -> Self {
        let sum = |pointer: &str| {
            all(spec, "/containers")
                .map(|container| Load::of(container.pointer(pointer)))
                .sum()
        };
        Self {
            requests: sum("/resources/requests"),
            limits: sum("/resources/limits"),
        }
    }

    /// Sums those of the pods that have not ended.
    pub(super) fn of_pods<'a>(pods: impl IntoIterator<Item = &'a Value>) -> Self {
        let live = pods.into_iter().filter(|pod| !has_ended(pod));
        let claims = live.filter_map(|pod| pod.get("spec")).map(Self::of_spec);
        claims.fold(Self::default(), |sum, one| Self {
            requests: sum.requests + one.requests,
            limits: sum.limits + one.limits,
        })
    }
}

pub(super) fn has_ended(pod: &Value) -> bool {
    let phase = pod.pointer("/status/phase").and_then(Value::as_str);
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Measured loads by namespace and name; `None` when the cluster measures none.
#[derive(Debug, Default)]
pub(super) struct Measured(Option<HashMap<(String, String), Load>>);

impl Measured {
    pub(super) fn get(&self, object: &Value) -> Option<Load> {
        self.0.as_ref()?.get(&key(object)).copied()
    }

    /// Sums the loads of several objects; `None` when not one of them is measured.
    pub(super) fn sum<'a>(&self, objects: impl IntoIterator<Item = &'a Value>) -> Option<Load> {
        let loads = objects.into_iter().filter_map(|object| self.get(object));
        loads.reduce(Add::add)
    }
}

fn key(object: &Value) -> (String, String) {
    let part = |pointer: &str| text(object, pointer).unwrap_or_default();
    (part("/metadata/namespace"), part("/metadata/name"))
}

/// Usage of one pod against its limits.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodUsage {
    pub name: String,
    /// Absent until it is measured.
    pub usage: Option<Load>,
    pub requests: Load,
    pub limits: Load,
}

impl Cluster {
    /// Measured loads of nodes.
    pub(super) async fn measured_nodes(&self) -> Measured {
        let path = format!("{METRICS}/nodes");
        let every = ListParams::default();
        let measured = self.items(&path, &every);
        sums(measured, |node| Load::of(node.get("usage"))).await
    }

    /// Measured loads of pods.
    pub(super) async fn measured_pods(&self, scope: &Scope, params: &ListParams) -> Measured {
        let path = scope.path(METRICS, "pods");
        let measured = self.items(&path, params);
        sums(measured, |pod| {
            let containers = all(pod, "/containers");
            containers
                .map(|container| Load::of(container.get("usage")))
                .sum()
        })
        .await
    }

    /// Returns the pods of an instance with their usage.
    ///
    /// # Errors
    /// `CLUSTER_UNAVAILABLE`, within seconds.
    pub async fn instance_usage(&self, namespace: &str, instance: &str) -> Result<Vec<PodUsage>> {
        let scope = Scope::of_namespace(namespace);
        let params = ListParams::default().labels(&format!("{INSTANCE_LABEL}={instance}"));
        promptly(async {
            let path = scope.path("/api/v1", "pods");
            let (pods, measured) = tokio::join!(
                self.known(&path, &params),
                self.measured_pods(&scope, &params)
            );
            let pods = pods?.into_iter().filter(|pod| !has_ended(pod));
            let usage = pods.map(|pod| {
                let Claimed { requests, limits } = Claimed::of_pods([&pod]);
                PodUsage {
                    name: text(&pod, "/metadata/name").unwrap_or_default(),
                    usage: measured.get(&pod),
                    requests,
                    limits,
                }
            });
            Ok(usage.collect())
        })
        .await
    }
}

/// A cluster without metrics is no failure: then nothing is measured.
async fn sums(
    measured: impl Future<Output = Result<Option<Vec<Value>>, ClusterError>>,
    load: impl Fn(&Value) -> Load,
) -> Measured {
    let items = match timeout(METRICS_TIMEOUT, measured).await {
        Ok(Ok(Some(items))) => items,
        Ok(Ok(None)) | Err(_) => return Measured(None),
        Ok(Err(error)) => {
            tracing::debug!(%error, "cluster.metrics_away");
            return Measured(None);
        }
    };
    let loads = items.iter().map(|item| (key(item), load(item)));
    Measured(Some(loads.collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn loads_read_every_spelling_and_sum_what_runs() {
        let load = |cpu: &str, memory: &str| Load::of(Some(&json!({"cpu": cpu, "memory": memory})));
        let expected = Load {
            cpu_millis: 2,
            memory_bytes: 3 << 20,
        };
        assert_eq!(load("1500001n", "3Mi"), expected);
        assert_eq!(load("2m", "3145728"), expected);
        assert_eq!(Load::of(None), Load::default());

        let pod = |phase: &str| {
            let sizes =
                json!({"requests": {"cpu": "1m"}, "limits": {"cpu": "2m", "memory": "3Mi"}});
            json!({"spec": {"containers": [{"resources": sizes}, {}]}, "status": {"phase": phase}})
        };
        let (runs, waits, ended) = (pod("Running"), pod("Pending"), pod("Succeeded"));
        let claimed = Claimed::of_pods([&runs, &waits, &ended]);
        assert_eq!(claimed.limits, expected + expected);
        assert_eq!(claimed.requests.cpu_millis, 2);
        assert_eq!(expected.times(2), expected + expected);
    }

    #[test]
    fn what_is_not_measured_is_absent_and_not_zero() {
        let pod = json!({"metadata": {"namespace": "a", "name": "b"}});
        assert_eq!(Measured(None).get(&pod), None);
        let load = Load {
            cpu_millis: 1,
            memory_bytes: 1,
        };
        let measured = Measured(Some(HashMap::from([(key(&pod), load)])));
        let other = json!({"metadata": {"namespace": "a", "name": "c"}});
        assert_eq!(measured.sum([&pod, &other]), Some(load));
        assert_eq!(measured.sum([&other]), None);
    }
}
