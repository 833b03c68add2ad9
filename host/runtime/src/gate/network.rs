//! Network of an instance: ingresses, services and network policies.
//!
//! A network policy may let the instance's own pods talk to each other freely. A rule beyond the
//! instance must name its peers and ports. Other namespaces cannot be peers: the host itself allows
//! the ingress controller in and DNS queries out. A rule reaches the internet by an `ipBlock` that
//! leaves out all of [`super::addresses`].

use super::{
    addresses,
    cidr::Block,
    kinds::Kind,
    node::{Node, Report},
    policy::Policy,
    references::Own,
    rule::Rule,
};

/// Maximum of ports of one entry, enough for a passive FTP server or a media relay.
const MAX_PORT_RANGE: u64 = 1_000;
/// Longest path of an Ingress.
const MAX_PATH: usize = 256;

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
        // A rule without a host would match every host.
        check_host(rule.get("host").as_ref().unwrap_or(&rule), policy, report);
        for path in rule.elements_at(&["http", "paths"]) {
            check_path(&path, report);
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

/// Checks the path of an Ingress. Controllers write it into their configuration, so it must not
/// hold anything that any of them could read as more than a path; regular expressions need another
/// `pathType`.
fn check_path(path: &Node<'_>, report: &mut Report) {
    let text = path.text_at(&["path"]).unwrap_or_default();
    if !is_plain_path(text) {
        let message = format!("the path `{}` is not plain", text.escape_debug());
        report.refuse_because(path, Rule::IngressPath, message);
    }
    if path.get("pathType").is_none() {
        report.refuse_because(path, Rule::IngressPath, "the pathType is missing");
    }
}

/// Reports a path of unreserved characters of RFC 3986, slashes and bytes in hexadecimal, without
/// any segment that a server would resolve.
fn is_plain_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let mut pieces = text.split('%');
    let begins = pieces.next().is_some_and(|piece| piece.bytes().all(plain));
    let encodes = |piece: &str| {
        let hex = piece.get(..2).unwrap_or_default();
        let is_byte = hex.len() == 2 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_control = u8::from_str_radix(hex, 16).is_ok_and(|byte| byte.is_ascii_control());
        // Servers differ on whether an encoded slash or dot is one.
        let is_ambiguous = hex.eq_ignore_ascii_case("2f") || hex.eq_ignore_ascii_case("2e");
        is_byte && !is_control && !is_ambiguous && piece.bytes().skip(2).all(plain)
    };
    let resolves = |segment: &str| segment == "." || segment == "..";
    text.starts_with('/')
        && text.len() <= MAX_PATH
        && begins
        && pieces.all(encodes)
        && !text.contains("//")
        && !text.split('/').any(resolves)
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
    let closed = addresses::closed();
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in object.elements_at(&["spec", rules]) {
            check_rule(&rule, &rule.elements_at(&[peers]), &closed, report);
        }
    }
}

/// Checks the peers of a rule, which without any would apply to all addresses and namespaces.
fn check_rule(rule: &Node<'_>, peers: &[Node<'_>], closed: &[Block], report: &mut Report) {
    if peers.is_empty() {
        let message = "the rule names no peers, which means every pod of every customer";
        report.refuse_because(rule, Rule::NetworkTooOpen, message);
    }
    for peer in peers {
        check_peer(peer, closed, report);
    }
    if peers.iter().any(|peer| peer.get("ipBlock").is_some()) {
        check_ports(rule, report);
    }
}

fn check_peer(peer: &Node<'_>, closed: &[Block], report: &mut Report) {
    match (peer.get("podSelector"), peer.get("ipBlock")) {
        (Some(_), None) => {}
        (None, Some(block)) => check_block(&block, closed, report),
        // The shape refuses the field of a peer in another namespace.
        _ if peer.get("namespaceSelector").is_some() => {}
        _ => {
            let message = "a peer is either a podSelector or an ipBlock";
            report.refuse_because(peer, Rule::MalformedObject, message);
        }
    }
}

/// Demands that a rule beyond the instance names every port, or a short range of them.
fn check_ports(rule: &Node<'_>, report: &mut Report) {
    let ports = rule.elements_at(&["ports"]);
    if ports.is_empty() {
        report.refuse(rule, Rule::NetworkTooOpen);
    }
    for port in &ports {
        let Some(first) = port.get("port") else {
            let message = "an entry without `port` means every port";
            report.refuse_because(port, Rule::NetworkTooOpen, message);
            continue;
        };
        let Some(last) = port.get("endPort") else {
            continue;
        };
        let width = match (first.value().as_u64(), last.value().as_u64()) {
            (Some(first), Some(last)) => last.checked_sub(first),
            _ => None,
        };
        // Both ends belong to the range.
        if width.is_none_or(|width| width >= MAX_PORT_RANGE) {
            let message = format!("a range has at most {MAX_PORT_RANGE} ports, the first first");
            report.refuse_because(&last, Rule::NetworkTooOpen, message);
        }
    }
}

fn check_block(block: &Node<'_>, closed: &[Block], report: &mut Report) {
    let Some(parsed) = block.text_at(&["cidr"]).and_then(Block::parse) else {
        let message = "cidr is not an address block";
        return report.refuse_because(block, Rule::MalformedObject, message);
    };
    let except: Vec<_> = block
        .elements_at(&["except"])
        .iter()
        .filter_map(|except| Block::parse(except.text()?))
        .collect();
    let reached = parsed.reaches(closed, &except);
    if !reached.is_empty() {
        let reached: Vec<_> = reached.iter().map(ToString::to_string).collect();
        let message = format!("the block reaches {}", reached.join(", "));
        report.refuse_because(block, Rule::NetworkTooOpen, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path must mean the same to the ingress controller, to its configuration, and to the server behind it.
    #[test]
    fn a_path_is_read_in_one_way_only() {
        let longest = format!("/{}", "a".repeat(MAX_PATH - 1));
        for good in [
            "/",
            "/api",
            "/a/b/",
            "/a.b-c_d~e",
            "/%41",
            "/caf%C3%A9",
            "/...",
            &longest,
        ] {
            assert!(is_plain_path(good), "{good}");
        }
        let too_long = format!("{longest}a");
        for bad in [
            "",
            "api",
            "//api",
            "/a//b",
            "/.",
            "/a/../b",
            "/a/..",
            "/%2e%2E/b",
            "/a%2Fb",
            "/a%2fb",
            "/%",
            "/%4",
            "/%zz",
            "/%é1",
            "/%00",
            "/%0a",
            "/%7F",
            "/a b",
            "/a;b",
            "/a\nb",
            "/(.*)",
            "/café",
            "/a?b",
            &too_long,
        ] {
            assert!(!is_plain_path(bad), "{bad:?}");
        }
    }
}
