//! Checks of what settings name in a cluster and elsewhere: nodes, classes, issuers, stores, a name server; and of the
//! room on the nodes.

use dermaga_shop::{
    catalog::Sizes,
    cluster::{Cluster, ClusterError, NamedKind},
    provisioning::{Issuer, capacity},
    text::counted,
};

use super::{
    outside::APPLY_ROLES,
    report::{Finding, Part},
};
use crate::config::Config;

/// Checks nodes, a priority class and an issuer, where settings name them.
pub(super) async fn in_cluster(
    config: &Config,
    cluster: &Cluster,
    plans: &[Sizes],
) -> Vec<Finding> {
    let classes = &config.provisioning.classes;
    let mut findings = Vec::new();
    findings.extend(nodes(config, cluster).await);
    if let Some(name) = &classes.pods.priority_class {
        let found = cluster.has(NamedKind::PriorityClass, name).await;
        let setting = "DERMAGA_PRIORITY_CLASS";
        findings.push(object(NamedKind::PriorityClass, name, setting, found));
    }
    if let Some(Issuer::Cluster(name)) = &classes.entry.issuer {
        let found = cluster.has(NamedKind::ClusterIssuer, name).await;
        let setting = "DERMAGA_INGRESS_ISSUER";
        findings.push(object(NamedKind::ClusterIssuer, name, setting, found));
    }
    findings.extend(room(config, cluster, plans).await);
    findings
}

fn object(
    kind: NamedKind,
    name: &str,
    setting: &str,
    found: Result<bool, ClusterError>,
) -> Finding {
    let (part, kind) = (Part::Cluster, kind.as_str());
    match found {
        Ok(true) => part.ok(format!("{kind} {name} is there")),
        Ok(false) => part.failed(
            format!("there is no {kind} {name}, which {setting} names"),
            format!("Make it, or correct {setting}."),
        ),
        Err(error) => part.warning(
            format!("{kind} {name} could not be looked for: {error}"),
            APPLY_ROLES,
        ),
    }
}

/// Checks that nodes have the labels of the operator's selector.
async fn nodes(config: &Config, cluster: &Cluster) -> Option<Finding> {
    let part = Part::Cluster;
    let selector = &config.provisioning.classes.pods.node_selector;
    if selector.is_empty() {
        return None;
    }
    let labels = selector.iter().map(|(key, value)| format!("{key}={value}"));
    let labels = labels.collect::<Vec<_>>().join(",");
    Some(match cluster.nodes_with(selector).await {
        Ok(0) => {
            let message = format!("no node has the labels {labels} of DERMAGA_NODE_SELECTOR");
            let todo = "Label the nodes of customers so, or correct DERMAGA_NODE_SELECTOR: no instance runs before.";
            if config.provisioning.capacity.check {
                part.failed(message, todo)
            } else {
                // Nodes may be added as pods wait for them.
                part.warning(message, todo)
            }
        }
        Ok(1) => part.ok(format!("1 node has the labels {labels}")),
        Ok(count) => part.ok(format!("{count} nodes have the labels {labels}")),
        Err(error) => part.warning(format!("the nodes are not known: {error}"), APPLY_ROLES),
    })
}

/// Checks that a node has room for a plan, where plans are sold by it.
async fn room(config: &Config, cluster: &Cluster, plans: &[Sizes]) -> Option<Finding> {
    let (part, settings) = (Part::Cluster, &config.provisioning);
    if !settings.capacity.check || plans.is_empty() {
        return None;
    }
    let sold = counted(plans.len(), "plan");
    Some(match capacity::fitting(cluster, settings, plans).await {
        Ok(0) => part.warning(
            format!("no node has room for the whole of any plan ({sold} on sale)"),
            "Add a node or a larger one, or lower DERMAGA_CAPACITY_HEADROOM: a plan without room is not sold.",
        ),
        Ok(fitting) => part.ok(format!("the nodes have room for {fitting} of {sold} on sale")),
        Err(error) => part.warning(
            format!("the room on the nodes is not known: {error}"),
            APPLY_ROLES,
        ),
    })
}

/// Checks the store from which another cluster makes the Secrets of a folder, if one is named.
pub(super) async fn secret_store(config: &Config) -> Option<Finding> {
    let (part, kind) = (Part::Cluster, NamedKind::ClusterSecretStore);
    let name = config.provisioning.secret_store.as_deref()?;
    let not_looked = |why: &str| {
        part.skipped(
            format!("ClusterSecretStore {name} was not looked for: {why}"),
            format!("Run `kubectl get clustersecretstore {name}` in the cluster that applies the folder."),
        )
    };
    let Some(path) = config.provisioning.kubeconfig.as_deref() else {
        return Some(not_looked("KUBECONFIG names no cluster"));
    };
    let cluster = match Cluster::connect(Some(path)).await {
        Ok(cluster) => cluster,
        Err(error) => return Some(not_looked(&error.to_string())),
    };
    Some(match cluster.has(kind, name).await {
        Err(error @ (ClusterError::Denied(_) | ClusterError::Unreachable(_))) => {
            not_looked(&error.to_string())
        }
        found => object(kind, name, "DERMAGA_SECRET_STORE", found),
    })
}

/// Asks the name server that the operator names. Those of the system are not the shop's.
pub(super) async fn name_server(config: &Config) -> Option<Finding> {
    let (part, settings) = (Part::Domains, &config.provisioning.domains);
    let server = settings.name_server?;
    Some(match settings.probe().await? {
        Ok(()) => part.ok(format!("the name server {server} answers")),
        Err(error) => part.warning(
            format!("the name server {server} does not answer: {error}"),
            "Check DERMAGA_NAME_SERVER, and the way to its port by UDP and TCP: no domain is proven by a TXT record before.",
        ),
    })
}
