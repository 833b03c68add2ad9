//! How an instance is reached and what it reaches.
//!
//! Network policies, as chosen here: one that applies to the instance's own pods may let them talk
//! to each other freely. Whatever goes beyond the instance names ports. Pods of other namespaces
//! are reached by a named selector, never by all namespaces at once on all ports. The internet is
//! reached by an `ipBlock`, which must leave out the link-local addresses where clouds keep the
//! node's credentials; egress without any peer would include them and is refused.

use super::{
    cidr::Block,
    kinds::Kind,
    node::{Node, Report},
    policy::Policy,
    references::Own,
    rule::Rule,
};

pub(super) fn check(
    kind: &Kind,
    object: &Node<'_>,
    own: &Own<'_>,
    policy: &Policy,
    report: &mut Report,
) {
    match kind.name {
        "Ingress" => check_ingress(object, own, policy, report),
        "NetworkPolicy" => check_policy(object, report),
        _ => {}
    }
}

fn check_ingress(object: &Node<'_>, own: &Own<'_>, policy: &Policy, report: &mut Report) {
    if let Some(class) = object.at(&["spec", "ingressClassName"])
        && class.text() != policy.ingress_class.as_deref()
    {
        report.refuse(&class, Rule::IngressClass);
    }
    for rule in object.elements_at(&["spec", "rules"]) {
        // A rule without a host answers for every host.
        check_host(rule.get("host").as_ref().unwrap_or(&rule), policy, report);
        for path in rule.elements_at(&["http", "paths"]) {
            let service = path
                .text_at(&["backend", "service", "name"])
                .unwrap_or_default();
            if !own.has("Service", service) {
                let message = format!("there is no Service `{service}` among the objects");
                report.refuse_because(&path, Rule::IngressBackend, message);
            }
        }
    }
    for tls in object.elements_at(&["spec", "tls"]) {
        for host in tls.elements_at(&["hosts"]) {
            check_host(&host, policy, report);
        }
    }
}

fn check_host(host: &Node<'_>, policy: &Policy, report: &mut Report) {
    if !host.text().is_some_and(|host| policy.hosts.contains(host)) {
        let found = host
            .text()
            .map_or("no host".to_owned(), |host| format!("`{host}`"));
        let message = format!("{}: {found}", Rule::IngressHost.message());
        report.refuse_because(host, Rule::IngressHost, message);
    }
}

fn check_policy(object: &Node<'_>, report: &mut Report) {
    for rule in object.elements_at(&["spec", "ingress"]) {
        check_rule(&rule, &rule.elements_at(&["from"]), report);
    }
    for rule in object.elements_at(&["spec", "egress"]) {
        let peers = rule.elements_at(&["to"]);
        if peers.is_empty() {
            report.refuse(&rule, Rule::NetworkTooOpen);
        }
        check_rule(&rule, &peers, report);
    }
}

fn check_rule(rule: &Node<'_>, peers: &[Node<'_>], report: &mut Report) {
    let is_inside = |peer: &Node<'_>| {
        peer.get("podSelector").is_some()
            && peer.get("namespaceSelector").is_none()
            && peer.get("ipBlock").is_none()
    };
    let stays_inside = !peers.is_empty() && peers.iter().all(is_inside);
    if !stays_inside && rule.elements_at(&["ports"]).is_empty() {
        report.refuse(rule, Rule::NetworkTooOpen);
    }
    for block in peers.iter().filter_map(|peer| peer.get("ipBlock")) {
        check_block(&block, report);
    }
}

fn check_block(block: &Node<'_>, report: &mut Report) {
    let parsed = block.text_at(&["cidr"]).and_then(Block::parse);
    let except: Vec<_> = block
        .elements_at(&["except"])
        .iter()
        .filter_map(|except| Block::parse(except.text()?))
        .collect();
    match parsed {
        None => report.refuse_because(block, Rule::MalformedObject, "cidr is not an address block"),
        Some(parsed) if !parsed.spares_link_local(&except) => {
            report.refuse(block, Rule::NetworkTooOpen);
        }
        Some(_) => {}
    }
}
