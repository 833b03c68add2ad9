//! Requests of pods, as the scheduler counts them.

use serde_json::{Value, json};

use crate::cluster::{
    Load,
    reading::{all, text},
};

/// Returns the requests of every pod of an instance's objects.
pub fn pods_of(objects: &[Value]) -> Vec<Load> {
    objects.iter().flat_map(pods_of_one).collect()
}

fn pods_of_one(object: &Value) -> Vec<Load> {
    let (copies, pod) = match object.get("kind").and_then(Value::as_str) {
        Some("Deployment" | "StatefulSet") => ("/spec/replicas", "/spec/template/spec"),
        Some("Job") => ("/spec/parallelism", "/spec/template/spec"),
        Some("CronJob") => (
            "/spec/jobTemplate/spec/parallelism",
            "/spec/jobTemplate/spec/template/spec",
        ),
        _ => return Vec::new(),
    };
    let copies = object.pointer(copies).and_then(Value::as_u64).unwrap_or(1);
    let requests = object.pointer(pod).map(requests_of).unwrap_or_default();
    vec![requests; usize::try_from(copies).unwrap_or_default()]
}

/// Returns the requests of a pod: its containers together, or one init container before them, and all
/// sidecars in either case.
pub(super) fn requests_of(spec: &Value) -> Load {
    let is_sidecar =
        |container: &&Value| text(container, "/restartPolicy").as_deref() == Some("Always");
    let (sidecars, init): (Vec<&Value>, Vec<&Value>) =
        all(spec, "/initContainers").partition(is_sidecar);
    let main: Load = all(spec, "/containers").map(requests).sum();
    let sidecars: Load = sidecars.into_iter().map(requests).sum();
    let peak = init.into_iter().map(requests).fold(main, larger);
    peak + sidecars + Load::of(spec.get("overhead"))
}

/// Returns the requests of a container. The API server takes a limit for a request that is not stated.
fn requests(container: &Value) -> Load {
    let stated = |resource: &str| {
        let at = |side: &str| container.pointer(&format!("/resources/{side}/{resource}"));
        at("requests").or_else(|| at("limits"))
    };
    let (cpu, memory) = (stated("cpu"), stated("memory"));
    Load::of(Some(&json!({ "cpu": cpu, "memory": memory })))
}

fn larger(one: Load, other: Load) -> Load {
    Load {
        cpu_millis: one.cpu_millis.max(other.cpu_millis),
        memory_bytes: one.memory_bytes.max(other.memory_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn load(cpu_millis: u64, memory_mib: u64) -> Load {
        Load {
            cpu_millis,
            memory_bytes: memory_mib * MIB,
        }
    }

    fn container(cpu: &str, memory: &str) -> Value {
        let amounts = json!({"cpu": cpu, "memory": memory});
        json!({"resources": {"requests": amounts, "limits": amounts}})
    }

    #[test]
    fn a_pod_asks_for_its_containers_or_its_largest_first_step() {
        let mut sidecar = container("100m", "64Mi");
        sidecar["restartPolicy"] = "Always".into();
        let spec = json!({
            "initContainers": [container("900m", "32Mi"), sidecar],
            "containers": [container("200m", "128Mi"), {"resources": {"limits": {"cpu": "300m", "memory": "64Mi"}}}],
            "overhead": {"cpu": "10m", "memory": "1Mi"},
        });
        assert_eq!(requests_of(&spec), load(900 + 100 + 10, 192 + 64 + 1));
        let objects = [
            json!({"kind": "Deployment", "spec": {"replicas": 2, "template": {"spec": &spec}}}),
            json!({"kind": "StatefulSet", "spec": {"template": {"spec": &spec}}}),
            json!({"kind": "StatefulSet", "spec": {"replicas": 0, "template": {"spec": &spec}}}),
            json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": &spec}}}}}),
            json!({"kind": "Service", "spec": {}}),
        ];
        assert_eq!(pods_of(&objects), vec![load(1010, 257); 4]);
    }
}
