//! References to other objects: only to those rendered together, and to the host's secret object.

use std::collections::BTreeSet;

use super::{
    kinds::Kind,
    node::{Node, Report},
    object::{belongs, is_dns_label, name},
    policy::Policy,
    rule::Rule,
    workload::Workload,
};

/// The objects of one instance by kind and name.
#[derive(Debug, Default)]
pub(super) struct Own<'a>(BTreeSet<(&'static str, &'a str)>);

impl<'a> Own<'a> {
    /// Adds an object; `false` when there is already one of this kind and name.
    pub(super) fn insert(&mut self, kind: &Kind, object: &Node<'a>) -> bool {
        self.0.insert((kind.name, name(object)))
    }

    pub(super) fn has(&self, kind: &'static str, name: &str) -> bool {
        self.0.contains(&(kind, name))
    }
}

pub(super) fn check(
    kind: &Kind,
    object: &Node<'_>,
    own: &Own<'_>,
    policy: &Policy,
    report: &mut Report,
) {
    if let Some(workload) = Workload::of(kind, object) {
        for (kind, target) in pod_references(&workload) {
            let is_host_secret =
                kind == "Secret" && target.text() == Some(policy.secret_object.as_str());
            if !is_host_secret {
                check_one(kind, &target, own, report);
            }
        }
    }
    if let Some(service) = object.at(&["spec", "serviceName"]) {
        check_one("Service", &service, own, report);
    }
    // The certificate may be issued into a Secret that is not rendered; its name must still belong
    // to the instance.
    for tls in object.elements_at(&["spec", "tls"]) {
        if let Some(secret) = tls.get("secretName")
            && !secret.text().is_some_and(|name| {
                belongs(name, policy) && is_dns_label(name) && name != policy.secret_object
            })
        {
            report.refuse(&secret, Rule::ReferenceForeign);
        }
    }
}

fn check_one(kind: &'static str, target: &Node<'_>, own: &Own<'_>, report: &mut Report) {
    let name = target.text().unwrap_or_default();
    if !own.has(kind, name) {
        let message = format!("there is no {kind} `{name}` among the objects of this instance");
        report.refuse_because(target, Rule::ReferenceForeign, message);
    }
}

/// Returns the references of a pod to other objects, with their kinds.
fn pod_references<'a>(workload: &Workload<'a>) -> Vec<(&'static str, Node<'a>)> {
    const OF_VARIABLE: &[(&str, &[&str])] = &[
        ("Secret", &["valueFrom", "secretKeyRef", "name"]),
        ("ConfigMap", &["valueFrom", "configMapKeyRef", "name"]),
    ];
    const OF_VARIABLES: &[(&str, &[&str])] = &[
        ("Secret", &["secretRef", "name"]),
        ("ConfigMap", &["configMapRef", "name"]),
    ];
    const OF_VOLUME: &[(&str, &[&str])] = &[
        ("Secret", &["secret", "secretName"]),
        ("ConfigMap", &["configMap", "name"]),
        (
            "PersistentVolumeClaim",
            &["persistentVolumeClaim", "claimName"],
        ),
    ];
    const OF_PROJECTION: &[(&str, &[&str])] = &[
        ("Secret", &["secret", "name"]),
        ("ConfigMap", &["configMap", "name"]),
    ];

    let mut found = Vec::new();
    let mut collect = |nodes: Vec<Node<'a>>, places: &[(&'static str, &[&str])]| {
        for node in nodes {
            for (kind, keys) in places {
                found.extend(node.at(keys).map(|target| (*kind, target)));
            }
        }
    };
    for container in workload.containers() {
        collect(container.elements_at(&["env"]), OF_VARIABLE);
        collect(container.elements_at(&["envFrom"]), OF_VARIABLES);
    }
    for volume in workload.pod.elements_at(&["volumes"]) {
        collect(volume.elements_at(&["projected", "sources"]), OF_PROJECTION);
        collect(vec![volume], OF_VOLUME);
    }
    collect(
        vec![workload.pod.clone()],
        &[("ServiceAccount", &["serviceAccountName"])],
    );
    found
}
