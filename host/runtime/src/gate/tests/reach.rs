//! Reach of an instance: paths of ingresses, peers of network policies.

use super::*;

const PATH: &str = "/spec/rules/0/http/paths/0/path";
const INGRESS_RULE: &str = "/spec/ingress/0";
const EGRESS_RULE: &str = "/spec/egress/0";

#[test]
fn paths_of_ingresses_are_plain() {
    for plain in [
        "/",
        "/api",
        "/a-b/c.d_e~f/",
        "/caf%C3%A9",
        "/v1/.well-known/x",
    ] {
        allowed(INGRESS, PATH, json!(plain));
    }
    let long = format!("/{}", "a".repeat(256));
    for hostile in [
        "",
        "api",
        "/a b",
        "/a;",
        "/} location /x {",
        "/\"",
        "/'",
        "/a\\b",
        "/a\nb",
        "/$host",
        "/#",
        "/?x=1",
        "/(.*)",
        "/[a-z]+",
        "/a^b",
        "/é",
        "/a//b",
        "/a/../b",
        "/..",
        "/a/.",
        "/%",
        "/%0",
        "/%zz",
        "/%0a",
        "/%7f",
        "/%2e%2e/x",
        "/a%2Fb",
        long.as_str(),
    ] {
        breaks(Rule::IngressPath, INGRESS, PATH, json!(hostile));
    }
    breaks(Rule::IngressPath, INGRESS, PATH, Value::Null);
}

#[test]
fn ingress_paths_are_prefixes_or_exact() {
    let kind = "/spec/rules/0/http/paths/0/pathType";
    allowed(INGRESS, kind, json!("Exact"));
    for other in [
        json!("ImplementationSpecific"),
        json!(""),
        json!("prefix"),
        json!(1),
        Value::Null,
    ] {
        breaks(Rule::IngressPath, INGRESS, kind, other);
    }
}

#[test]
fn a_certificate_has_the_name_of_an_object() {
    let secret = "/spec/tls/0/secretName";
    for name in ["shop-x\n}", "shop-A", "shop-a/b", "shop-"] {
        breaks(Rule::ReferenceForeign, INGRESS, secret, json!(name));
    }
}

#[test]
fn rules_for_the_network_name_peers() {
    for rule in [INGRESS_RULE, EGRESS_RULE] {
        for open in [json!({}), json!({"ports": [{"port": 443}]})] {
            breaks(Rule::NetworkTooOpen, NETWORK, rule, open);
        }
    }
    let empty = json!({"from": [{}], "ports": [{"port": 443}]});
    breaks(Rule::MalformedObject, NETWORK, INGRESS_RULE, empty);
    let block = json!({"cidr": "8.8.8.8/32"});
    let both = json!({"to": [{"podSelector": {}, "ipBlock": block}], "ports": [{"port": 443}]});
    breaks(Rule::MalformedObject, NETWORK, EGRESS_RULE, both);
    let nonsense = json!({"to": [{"ipBlock": {"cidr": "everything"}}], "ports": [{"port": 1}]});
    breaks(Rule::MalformedObject, NETWORK, EGRESS_RULE, nonsense);
}

#[test]
fn other_namespaces_are_no_peers() {
    let system = json!({"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}});
    let own = json!({"matchLabels": {"kubernetes.io/metadata.name": "user-7f3a"}});
    for namespace in [json!({}), system, own] {
        for (rule, peers) in [(INGRESS_RULE, "from"), (EGRESS_RULE, "to")] {
            for peer in [
                json!({"namespaceSelector": namespace}),
                json!({"namespaceSelector": namespace, "podSelector": {}}),
                json!({"namespaceSelector": namespace, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}),
            ] {
                let open = json!({peers: [peer], "ports": [{"port": 53, "protocol": "UDP"}]});
                breaks(Rule::NetworkTooOpen, NETWORK, rule, open);
            }
        }
    }
}

#[test]
fn a_null_selector_of_namespaces_leaves_the_peer_inside_the_instance() {
    let peer = json!({"from": [{"podSelector": {}, "namespaceSelector": null}]});
    let admitted = admit(&changed(NETWORK, INGRESS_RULE, peer), &policy()).unwrap();
    assert_eq!(
        admitted.objects[NETWORK]["spec"]["ingress"][0]["from"],
        json!([{"podSelector": {"matchLabels": {INSTANCE_LABEL: "shop"}}}]),
        "the null is gone and the instance's label there"
    );
}

fn to_block(block: Value, ports: Value) -> Value {
    json!({"to": [{"ipBlock": block}], "ports": ports})
}

#[test]
fn every_port_beyond_the_instance_is_named() {
    let block = || json!({"cidr": "1.1.1.0/24"});
    for named in [
        json!([{"port": 443}]),
        json!([{"port": "https", "protocol": "UDP"}]),
        json!([{"port": 40_000, "endPort": 40_999}]),
    ] {
        allowed(NETWORK, EGRESS_RULE, to_block(block(), named));
    }
    for unnamed in [
        json!([]),
        json!([{}]),
        json!([{"protocol": "TCP"}]),
        json!([{"port": 443}, {}]),
        json!([{"port": null}]),
        json!([{"port": 1, "endPort": 65_535}]),
        json!([{"port": 2, "endPort": 1}]),
        json!([{"port": "https", "endPort": 500}]),
    ] {
        let rule = to_block(block(), unnamed);
        breaks(Rule::NetworkTooOpen, NETWORK, EGRESS_RULE, rule);
    }
    let mixed = json!({"from": [{"podSelector": {}}, {"ipBlock": block()}], "ports": [{}]});
    breaks(Rule::NetworkTooOpen, NETWORK, INGRESS_RULE, mixed);
    let odd = to_block(block(), json!([{"port": 443, "protocol": "ICMP"}]));
    breaks(Rule::ValueNotAllowed, NETWORK, EGRESS_RULE, odd);
    breaks(
        Rule::ValueNotAllowed,
        NETWORK,
        "/spec/policyTypes/0",
        json!("Everything"),
    );
}

#[test]
fn private_and_metadata_addresses_are_closed() {
    let ports = || json!([{"port": 443}]);
    for (cidr, except) in [
        ("8.8.8.0/24", vec![]),
        ("2606:4700::/32", vec![]),
        ("0.0.0.0/0", addresses::closed_v4()),
        ("::/0", addresses::closed_v6()),
    ] {
        let block = json!({"cidr": cidr, "except": except});
        allowed(NETWORK, EGRESS_RULE, to_block(block, ports()));
    }
    for (cidr, except) in [
        ("0.0.0.0/0", json!(["169.254.0.0/16"])),
        ("0.0.0.0/0", Value::Null),
        ("::/0", json!(["fe80::/10", "fd00:ec2::/32"])),
        ("10.0.0.0/8", Value::Null),
        ("10.96.0.1/32", Value::Null),
        ("172.20.0.0/16", Value::Null),
        ("192.168.1.0/24", Value::Null),
        ("127.0.0.1/32", Value::Null),
        ("169.254.169.254/32", Value::Null),
        ("100.100.100.200/32", Value::Null),
        ("168.63.129.16/32", Value::Null),
        ("168.0.0.0/8", json!(["168.63.0.0/17"])),
        ("fd00:ec2::254/128", Value::Null),
        ("fd20:ce::254/128", Value::Null),
        ("::ffff:169.254.169.254/128", Value::Null),
        ("::ffff:a9fe:a9fe/128", Value::Null),
        ("::ffff:10.0.0.0/104", Value::Null),
        ("64:ff9b::a9fe:a9fe/128", Value::Null),
    ] {
        let rule = to_block(json!({"cidr": cidr, "except": except}), ports());
        breaks(Rule::NetworkTooOpen, NETWORK, EGRESS_RULE, rule.clone());
        let rule = json!({"from": rule["to"], "ports": ports()});
        breaks(Rule::NetworkTooOpen, NETWORK, INGRESS_RULE, rule);
    }
}
