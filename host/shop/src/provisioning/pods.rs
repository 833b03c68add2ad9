//! Decisions of the operator about the pods of every instance, written into their templates after the
//! gate, which lets no plugin set any of them.

use std::collections::BTreeMap;

use dermaga_runtime::gate::{cpu_millis, storage_bytes};
use serde_json::{Value, json};

pub use crate::cluster::Toleration;

/// Decisions of the operator about the pods of every instance.
#[derive(Debug, Clone, Default)]
pub struct Pods {
    /// Labels of the nodes that they may run on.
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub priority_class: Option<String>,
    /// Places from which images are taken instead of their own registries.
    pub mirrors: Vec<Mirror>,
    /// Name of the Secret with which nodes fetch images, in each customer's namespace.
    pub pull_secret: Option<String>,
    /// Requests of processor time and memory, in hundredths of the limits; `None` leaves the plugin's.
    pub request_percent: Option<u8>,
}

/// Place from which images are taken instead of another one; both are whole parts of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    pub from: String,
    pub to: String,
}

/// Registry of references that name none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Owner of images there that name none.
const DEFAULT_OWNER: &str = "library";

impl Pods {
    /// Writes the decisions into the pod template of an object; other kinds stay as they are.
    pub(super) fn write_into(&self, object: &mut Value) {
        let template = match object.get("kind").and_then(Value::as_str) {
            Some("Deployment" | "StatefulSet" | "Job") => "/spec/template/spec",
            Some("CronJob") => "/spec/jobTemplate/spec/template/spec",
            _ => return,
        };
        let Some(pod) = object.pointer_mut(template).and_then(Value::as_object_mut) else {
            return;
        };
        if !self.node_selector.is_empty() {
            pod.insert("nodeSelector".to_owned(), json!(self.node_selector));
        }
        if !self.tolerations.is_empty() {
            let tolerations: Vec<_> = self.tolerations.iter().map(Toleration::manifest).collect();
            pod.insert("tolerations".to_owned(), json!(tolerations));
        }
        if let Some(class) = &self.priority_class {
            pod.insert("priorityClassName".to_owned(), json!(class));
        }
        if let Some(secret) = &self.pull_secret {
            pod.insert("imagePullSecrets".to_owned(), json!([{ "name": secret }]));
        }
        for list in ["initContainers", "containers"] {
            let containers = pod.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                self.write_into_container(container);
            }
        }
    }

    fn write_into_container(&self, container: &mut Value) {
        let image = container.get("image").and_then(Value::as_str);
        let mirrored = image.and_then(|image| self.mirrored(image));
        if let (Some(mirrored), Some(fields)) = (mirrored, container.as_object_mut()) {
            fields.insert("image".to_owned(), json!(mirrored));
        }
        if let Some(percent) = self.request_percent {
            request_share(container, percent);
        }
    }

    /// Returns the reference of an image in the mirror of its place: of the longest one that fits.
    fn mirrored(&self, image: &str) -> Option<String> {
        let whole = with_registry(image);
        let fitting = self.mirrors.iter().filter_map(|mirror| {
            let rest = whole.strip_prefix(mirror.from.as_str())?;
            let is_whole = rest.is_empty() || rest.starts_with(['/', ':', '@']);
            is_whole.then(|| (mirror.from.len(), format!("{}{rest}", mirror.to)))
        });
        fitting
            .max_by_key(|(length, _)| *length)
            .map(|(_, image)| image)
    }
}

/// Returns a reference with its registry and owner, as container runtimes read one that lacks them.
fn with_registry(image: &str) -> String {
    let Some((first, _)) = image.split_once('/') else {
        return format!("{DEFAULT_REGISTRY}/{DEFAULT_OWNER}/{image}");
    };
    if first.contains(['.', ':']) || first == "localhost" {
        return image.to_owned();
    }
    format!("{DEFAULT_REGISTRY}/{image}")
}

/// Lets a container request this share of its limits, of processor time and memory alone: scratch
/// space is no matter of a schedule.
fn request_share(container: &mut Value, percent: u8) {
    let Some(resources) = container
        .get_mut("resources")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let limit = |name: &str| resources.get("limits")?.get(name);
    let share = |amount: u128| (amount * u128::from(percent) / 100).max(1);
    let cpu = limit("cpu").and_then(cpu_millis);
    let memory = limit("memory").and_then(storage_bytes);
    let requests = [
        ("cpu", cpu.map(|millis| format!("{}m", share(millis)))),
        (
            "memory",
            memory.map(|bytes| format!("{}Ki", share(bytes / 1024))),
        ),
    ];
    let wanted = resources.entry("requests").or_insert_with(|| json!({}));
    if let Some(wanted) = wanted.as_object_mut() {
        for (name, request) in requests {
            if let Some(request) = request {
                wanted.insert(name.to_owned(), json!(request));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided() -> Pods {
        let mirror = |from: &str, to: &str| Mirror {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        let toleration = |value: Option<&str>, effect| Toleration {
            key: "pool".to_owned(),
            value: value.map(str::to_owned),
            effect,
        };
        Pods {
            node_selector: [("pool".to_owned(), "customers".to_owned())].into(),
            tolerations: vec![
                toleration(Some("customers"), Some("NoSchedule")),
                toleration(None, None),
            ],
            priority_class: Some("customers".to_owned()),
            mirrors: vec![
                mirror("docker.io", "mirror.example/hub"),
                mirror("docker.io/n8nio", "mirror.example/n8n"),
            ],
            pull_secret: Some("registry".to_owned()),
            request_percent: Some(25),
        }
    }

    fn pod() -> Value {
        json!({
            "initContainers": [{"name": "first", "image": "busybox:1.37"}],
            "containers": [{
                "name": "app",
                "image": "docker.io/n8nio/n8n:1.121.3",
                "resources": {
                    "limits": {"cpu": "1", "memory": "512Mi", "ephemeral-storage": "1Gi"},
                    "requests": {"cpu": "900m", "memory": "512Mi", "ephemeral-storage": "64Mi"},
                },
            }],
        })
    }

    fn written() -> Value {
        let mut pod = pod();
        pod["nodeSelector"] = json!({"pool": "customers"});
        pod["tolerations"] = json!([
            {"key": "pool", "operator": "Equal", "value": "customers", "effect": "NoSchedule"},
            {"key": "pool", "operator": "Exists"},
        ]);
        pod["priorityClassName"] = json!("customers");
        pod["imagePullSecrets"] = json!([{"name": "registry"}]);
        pod["initContainers"][0]["image"] = json!("mirror.example/hub/library/busybox:1.37");
        let app = &mut pod["containers"][0];
        app["image"] = json!("mirror.example/n8n/n8n:1.121.3");
        app["resources"]["requests"]["cpu"] = json!("250m");
        app["resources"]["requests"]["memory"] = json!("131072Ki");
        pod
    }

    #[test]
    fn every_kind_with_pods_carries_what_was_decided() {
        for kind in ["Deployment", "StatefulSet", "Job"] {
            let mut object = json!({"kind": kind, "spec": {"template": {"spec": pod()}}});
            decided().write_into(&mut object);
            let expected = json!({"kind": kind, "spec": {"template": {"spec": written()}}});
            assert_eq!(object, expected, "{kind}");
        }
        let scheduled = |pod: Value| json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}}});
        let mut object = scheduled(pod());
        decided().write_into(&mut object);
        assert_eq!(object, scheduled(written()));
    }

    #[test]
    fn without_decisions_and_without_pods_nothing_changes() {
        let before = json!({"kind": "Deployment", "spec": {"template": {"spec": pod()}}});
        let mut object = before.clone();
        Pods::default().write_into(&mut object);
        assert_eq!(object, before);
        let before = json!({"kind": "ConfigMap", "spec": {"template": {"spec": pod()}}});
        let mut object = before.clone();
        decided().write_into(&mut object);
        assert_eq!(object, before);
    }

    #[test]
    fn a_mirror_is_of_whole_parts_of_a_reference() {
        let mirrored = |image: &str| decided().mirrored(image);
        let digest = "docker.io/n8nio@sha256:00";
        for (image, expected) in [
            ("ghost:5.130.1", "mirror.example/hub/library/ghost:5.130.1"),
            ("n8nio/n8n:1", "mirror.example/n8n/n8n:1"),
            (
                "docker.io/n8nio-other/a:1",
                "mirror.example/hub/n8nio-other/a:1",
            ),
            (digest, "mirror.example/n8n@sha256:00"),
        ] {
            assert_eq!(mirrored(image).as_deref(), Some(expected), "{image}");
        }
        for image in ["ghcr.io/a/b:1", "docker.io.example/a:1", "localhost/a:1"] {
            assert_eq!(mirrored(image), None, "{image}");
        }
    }

    #[test]
    fn a_share_is_never_nothing_and_needs_a_limit() {
        let mut container = json!({"resources": {"limits": {"cpu": "2m"}}});
        request_share(&mut container, 1);
        let expected = json!({"limits": {"cpu": "2m"}, "requests": {"cpu": "1m"}});
        assert_eq!(container["resources"], expected);
        let mut container = json!({"name": "app"});
        request_share(&mut container, 50);
        assert_eq!(container, json!({"name": "app"}));
    }
}
