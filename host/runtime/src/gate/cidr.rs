//! Blocks of addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// All addresses from the first to the last, as numbers of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block {
    is_v6: bool,
    first: u128,
    last: u128,
    length: u32,
}

/// The public prefix of NAT64: the last 32 bits are an IPv4 address.
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

impl Block {
    /// Parses a block such as `10.0.0.0/8` or `fd00::/8`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let (is_v6, bits, address) = match address.parse().ok()? {
            IpAddr::V4(address) => (false, 32_u32, u128::from(u32::from(address))),
            IpAddr::V6(address) => (true, 128, u128::from(address)),
        };
        let length: u32 = length.parse().ok().filter(|length| *length <= bits)?;
        // A shift by the whole width is not defined; every bit is free then.
        let free = 1_u128
            .checked_shl(bits - length)
            .map_or(u128::MAX, |size| size - 1);
        Some(Self {
            is_v6,
            first: address & !free,
            last: address | free,
            length,
        })
    }

    pub(super) const fn is_v4(&self) -> bool {
        !self.is_v6
    }

    /// Returns the closed blocks that this one overlaps and that no exception excludes.
    pub(super) fn reaches(self, closed: &[Self], except: &[Self]) -> Vec<Self> {
        let is_reached = |closed: &&Self| {
            self.overlaps(**closed) && !except.iter().any(|except| except.covers(**closed))
        };
        closed.iter().filter(is_reached).copied().collect()
    }

    /// Returns this block of IPv4 behind the public prefix of NAT64.
    pub(super) fn behind_nat64(self) -> Option<Self> {
        self.is_v4().then(|| Self {
            is_v6: true,
            first: u128::from(NAT64) | self.first,
            last: u128::from(NAT64) | self.last,
            length: self.length + 96,
        })
    }

    pub(super) const fn overlaps(self, other: Self) -> bool {
        self.is_v6 == other.is_v6 && self.first <= other.last && other.first <= self.last
    }

    pub(super) const fn covers(self, other: Self) -> bool {
        self.is_v6 == other.is_v6 && self.first <= other.first && other.last <= self.last
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = match u32::try_from(self.first) {
            Ok(first) if self.is_v4() => IpAddr::V4(Ipv4Addr::from(first)),
            _ => IpAddr::V6(Ipv6Addr::from(self.first)),
        };
        write!(f, "{first}/{}", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_reaches_what_its_exceptions_leave() {
        let block = |text| Block::parse(text).unwrap();
        let closed = [
            block("10.0.0.0/8"),
            block("169.254.0.0/16"),
            block("fe80::/10"),
        ];
        for (text, except, reached) in [
            ("8.8.8.0/24", &[][..], &[][..]),
            ("10.1.2.3/32", &[], &["10.0.0.0/8"]),
            ("0.0.0.0/0", &[], &["10.0.0.0/8", "169.254.0.0/16"]),
            ("0.0.0.0/0", &["0.0.0.0/1"], &["169.254.0.0/16"]),
            (
                "0.0.0.0/0",
                &["10.0.0.0/8", "169.254.169.254/32"],
                &["169.254.0.0/16"],
            ),
            ("0.0.0.0/0", &["10.0.0.0/8", "169.254.0.0/16"], &[]),
            ("::/0", &["10.0.0.0/8"], &["fe80::/10"]),
        ] {
            let except: Vec<_> = except.iter().map(|text| block(text)).collect();
            let found = block(text).reaches(&closed, &except);
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, reached, "{text}");
        }
    }

    #[test]
    fn what_is_no_block_is_none() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "010.0.0.0/8",
            "10.0.0.0/-1",
            "x/8",
        ] {
            assert_eq!(Block::parse(text), None, "{text}");
        }
    }
}
