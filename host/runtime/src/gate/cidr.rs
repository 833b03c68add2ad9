//! Blocks of addresses.

use std::net::IpAddr;

/// All addresses from the first to the last; both families in one number line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    is_v4: bool,
    first: u128,
    last: u128,
}

/// Where clouds answer with the node's credentials: link-local addresses, and the one AWS chose
/// for IPv6.
const FORBIDDEN: &[&str] = &["169.254.0.0/16", "fe80::/10", "fd00:ec2::/32"];

impl Block {
    /// `10.0.0.0/8` or `fd00::/8`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let (is_v4, bits, address) = match address.parse().ok()? {
            IpAddr::V4(address) => (true, 32_u32, u128::from(u32::from(address))),
            IpAddr::V6(address) => (false, 128, u128::from(address)),
        };
        let length: u32 = length.parse().ok().filter(|length| *length <= bits)?;
        // A shift by the whole width is none at all: then every bit is free.
        let free = 1_u128
            .checked_shl(bits - length)
            .map_or(u128::MAX, |size| size - 1);
        Some(Self {
            is_v4,
            first: address & !free,
            last: address | free,
        })
    }

    /// Whether no forbidden address is in this block, the exceptions left out.
    pub(super) fn spares_link_local(self, except: &[Self]) -> bool {
        FORBIDDEN
            .iter()
            .filter_map(|text| Self::parse(text))
            .all(|forbidden| {
                !self.overlaps(forbidden) || except.iter().any(|except| except.covers(forbidden))
            })
    }

    fn overlaps(self, other: Self) -> bool {
        self.is_v4 == other.is_v4 && self.first <= other.last && other.first <= self.last
    }

    fn covers(self, other: Self) -> bool {
        self.is_v4 == other.is_v4 && self.first <= other.first && other.last <= self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spares(block: &str, except: &[&str]) -> bool {
        let except: Vec<_> = except
            .iter()
            .map(|text| Block::parse(text).unwrap())
            .collect();
        Block::parse(block).unwrap().spares_link_local(&except)
    }

    #[test]
    fn link_local_addresses_must_be_left_out() {
        assert!(spares("10.0.0.0/8", &[]));
        assert!(!spares("0.0.0.0/0", &[]));
        assert!(!spares("169.254.169.254/32", &[]));
        assert!(spares("0.0.0.0/0", &["10.0.0.0/8", "169.254.0.0/16"]));
        assert!(!spares("0.0.0.0/0", &["169.254.169.254/32"]));
        assert!(!spares("::/0", &["fe80::/10"]));
        assert!(spares("::/0", &["fe80::/10", "fd00:ec2::/32"]));
        assert!(spares("2001:db8::/32", &[]));
    }

    #[test]
    fn what_is_no_block_is_none() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/-1",
            "x/8",
        ] {
            assert_eq!(Block::parse(text), None, "{text}");
        }
    }
}
