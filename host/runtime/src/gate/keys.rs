//! Lists whose entries have a key: a server-side apply refuses two entries of the same key, so a
//! rendering with such entries could never be applied.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    kinds::Kind,
    node::{Node, Report},
    rule::Rule,
    workload::Workload,
};

/// One part of a key, and the value that Kubernetes assumes when it is absent.
type Part = (&'static str, Option<&'static str>);

const NAME: &[Part] = &[("name", None)];
const CONTAINER_PORT: &[Part] = &[("containerPort", None), ("protocol", Some("TCP"))];
const SERVICE_PORT: &[Part] = &[("port", None), ("protocol", Some("TCP"))];
const MOUNT: &[Part] = &[("mountPath", None)];

pub(super) fn check_pod(workload: &Workload<'_>, report: &mut Report) {
    let containers = workload.containers();
    unique(&containers, NAME, report);
    unique(&workload.pod.elements_at(&["volumes"]), NAME, report);
    unique_names(&workload.claims, report);
    for container in &containers {
        let ports = container.elements_at(&["ports"]);
        unique(&container.elements_at(&["env"]), NAME, report);
        unique(&container.elements_at(&["volumeMounts"]), MOUNT, report);
        unique(&ports, CONTAINER_PORT, report);
        distinct(&ports, &["name"], report);
    }
}

/// Checks the ports of a Service.
pub(super) fn check_ports(kind: &Kind, object: &Node<'_>, report: &mut Report) {
    if kind.name == "Service" {
        let ports = object.elements_at(&["spec", "ports"]);
        unique(&ports, SERVICE_PORT, report);
        distinct(&ports, &["name"], report);
    }
}

/// Claim templates have their key inside their metadata.
fn unique_names(claims: &[Node<'_>], report: &mut Report) {
    for claim in claims {
        if claim.at(&["metadata", "name"]).is_none() {
            report.refuse_because(claim, Rule::MalformedObject, "its name is missing");
        }
    }
    distinct(claims, &["metadata", "name"], report);
}

/// Checks that every entry has its key, and that no two have the same.
fn unique(entries: &[Node<'_>], key: &[Part], report: &mut Report) {
    let mut seen = BTreeSet::new();
    for entry in entries {
        let parts: Option<Vec<_>> = key.iter().map(|part| part_of(entry, *part)).collect();
        let Some(parts) = parts else {
            let names: Vec<_> = key.iter().map(|(name, _)| *name).collect();
            let message = format!("its {} is missing", names.join(" or "));
            report.refuse_because(entry, Rule::MalformedObject, message);
            continue;
        };
        if !seen.insert(parts) {
            report.refuse(entry, Rule::DuplicateKey);
        }
    }
}

/// Checks that no two entries have the same value there; entries without one do not count.
fn distinct(entries: &[Node<'_>], place: &[&str], report: &mut Report) {
    let mut seen = BTreeSet::new();
    for entry in entries {
        let Some(node) = entry.at(place) else {
            continue;
        };
        if !seen.insert(node.value().to_string()) {
            report.refuse(&node, Rule::DuplicateKey);
        }
    }
}

fn part_of(entry: &Node<'_>, (name, default): Part) -> Option<String> {
    let given = entry.get(name).map(|node| node.value().to_string());
    given.or_else(|| Some(Value::from(default?).to_string()))
}
