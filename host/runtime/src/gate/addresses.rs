//! Addresses that instances must not reach: the single list for the gate and for the host's own
//! network policy.

use super::cidr::Block;

/// Addresses at which clouds hand out the node's credentials, in any range.
const METADATA: &[&str] = &[
    // Alibaba Cloud.
    "100.100.100.200/32",
    // Azure's host agent, a public address.
    "168.63.129.16/32",
    // Nearly every cloud; some answer on several addresses of it.
    "169.254.0.0/16",
    // Oracle Cloud.
    "192.0.0.192/32",
    // AWS.
    "fd00:ec2::254/128",
    // Google Cloud.
    "fd20:ce::254/128",
    "fe80::/10",
];

/// The node itself, the cluster and its neighbours: ranges that are not the internet.
const PRIVATE: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    // Multicast, and class E, which some clouds give to pods.
    "224.0.0.0/3",
    // Unspecified, loopback, and IPv4 addresses written as IPv6: `::a.b.c.d`, `::ffff:a.b.c.d`.
    "::/80",
    // NAT64 of the network's own, and 6to4, which hold IPv4 addresses too.
    "64:ff9b:1::/48",
    "2002::/16",
    "fc00::/7",
    "ff00::/8",
];

/// Returns all closed blocks of IPv4, none inside another, in the order of their addresses.
pub fn closed_v4() -> Vec<String> {
    texts(Block::is_v4)
}

/// Returns all closed blocks of IPv6, among them those of IPv4 behind the public prefix of NAT64.
pub fn closed_v6() -> Vec<String> {
    texts(|block| !block.is_v4())
}

fn texts(belongs: fn(&Block) -> bool) -> Vec<String> {
    let closed = closed().into_iter().filter(belongs);
    closed.map(|block| block.to_string()).collect()
}

/// Returns every closed block, without smaller ones inside larger ones.
pub(super) fn closed() -> Vec<Block> {
    let listed = METADATA.iter().chain(PRIVATE);
    let listed: Vec<_> = listed.filter_map(|text| Block::parse(text)).collect();
    let translated = listed.iter().filter_map(|block| block.behind_nat64());
    let mut all: Vec<_> = listed.iter().copied().chain(translated).collect();
    all.sort();
    all.dedup();
    let is_inside = |block: &Block| {
        all.iter()
            .any(|other| other != block && other.covers(*block))
    };
    all.iter()
        .filter(|block| !is_inside(block))
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn every_metadata_address_is_closed_in_every_form_it_can_be_written_in() {
        let closed = closed();
        let is_closed = |text: &str| {
            let block = Block::parse(text).unwrap();
            closed.iter().any(|closed| closed.covers(block))
        };
        for v4 in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "10.96.0.1",
        ] {
            let address: Ipv4Addr = v4.parse().unwrap();
            let [a, b, c, d] = address.octets();
            for form in [
                format!("{v4}/32"),
                format!("::ffff:{v4}/128"),
                format!("{}/128", address.to_ipv6_mapped()),
                format!("::{v4}/128"),
                format!("64:ff9b::{v4}/128"),
                format!("64:ff9b:1::{v4}/128"),
                format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::/48"),
            ] {
                assert!(is_closed(&form), "{form}");
            }
        }
        for v6 in [
            "fd00:ec2::254/128",
            "fd20:ce::254/128",
            "fe80::1/128",
            "::1/128",
        ] {
            assert!(is_closed(v6), "{v6}");
        }
        for open in [
            "1.1.1.1/32",
            "168.63.129.17/32",
            "64:ff9b::1.1.1.1/128",
            "2606:4700::/32",
        ] {
            assert!(!is_closed(open), "{open}");
        }
    }

    #[test]
    fn the_lists_are_sorted_and_without_repetition() {
        assert_eq!(
            closed_v4(),
            [
                "0.0.0.0/8",
                "10.0.0.0/8",
                "100.64.0.0/10",
                "127.0.0.0/8",
                "168.63.129.16/32",
                "169.254.0.0/16",
                "172.16.0.0/12",
                "192.0.0.0/24",
                "192.168.0.0/16",
                "198.18.0.0/15",
                "224.0.0.0/3",
            ]
        );
        let v6 = closed_v6();
        for block in [
            "::/80",
            "64:ff9b::a83f:8110/128",
            "64:ff9b::a9fe:0/112",
            "fc00::/7",
            "fe80::/10",
        ] {
            assert!(v6.iter().any(|closed| closed == block), "{block} in {v6:?}");
        }
    }
}
