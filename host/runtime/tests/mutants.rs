//! The loader on components that were damaged at random, the same ones in every run: it must refuse
//! or load each, and keep nothing of them.
//!
//! `host/runtime/fuzz` does the same without an end, guided by coverage.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what cannot go on must stop"
)]

use std::collections::BTreeMap;

use dermaga_runtime::fixtures::{Anything, CouponFixture, ServiceFixture};

/// Number of mutants of each component; most are refused in microseconds, some are compiled.
const CASES: usize = 1_500;
/// Maximal growth of the process's memory from the first half to the second: far less than one
/// leaked plugin in each case would cause.
const GROWTH_BYTES: usize = 48 * 1024 * 1024;

/// SplitMix64: small, seeded, good enough to damage files with.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }
}

/// The outermost sections of a component, each with its id and length.
fn sections(component: &[u8]) -> Vec<Vec<u8>> {
    let mut sections = Vec::new();
    let mut at = 8;
    while at < component.len() {
        let (mut length, mut shift, mut end) = (0_usize, 0, at + 1);
        loop {
            let byte = component[end];
            length |= usize::from(byte & 0x7f) << shift;
            (shift, end) = (shift + 7, end + 1);
            if byte < 0x80 {
                break;
            }
        }
        sections.push(component[at..end + length].to_vec());
        at = end + length;
    }
    sections
}

fn damage(component: &[u8], sections: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let reassemble = |sections: Vec<Vec<u8>>| [&component[..8], &sections.concat()].concat();
    match dice.below(6) {
        0 | 1 => {
            for _ in 0..=dice.below(4) {
                let at = dice.below(bytes.len());
                bytes[at] ^= 1 << dice.below(8);
            }
        }
        2 => bytes.truncate(dice.below(component.len())),
        3 => {
            let (from, to) = (dice.below(bytes.len()), dice.below(bytes.len()));
            let piece = bytes[from..(from + dice.below(64)).min(component.len())].to_vec();
            bytes.splice(to..to, piece);
        }
        4 => {
            let mut sections = sections.to_vec();
            let twice = sections[dice.below(sections.len())].clone();
            sections.insert(dice.below(sections.len()), twice);
            bytes = reassemble(sections);
        }
        _ => {
            let mut sections = sections.to_vec();
            let (one, other) = (dice.below(sections.len()), dice.below(sections.len()));
            sections.swap(one, other);
            bytes = reassemble(sections);
        }
    }
    bytes
}

/// Returns the memory that this process holds, if the system tells.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = status.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

#[test]
fn damaged_components_are_refused_or_run_and_leave_nothing_behind() {
    let anything = Anything::default();
    let seeds = [
        CouponFixture::default().component(),
        ServiceFixture::default().component(),
    ];
    let seeds = seeds.map(|component| (sections(&component), component));
    let mut dice = Dice(7);
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut half = None;
    for case in 0..CASES {
        for (sections, component) in &seeds {
            let mutant = damage(component, sections, &mut dice);
            let outcome = anything.outcome_of(&mutant);
            *outcomes.entry(outcome).or_default() += 1;
        }
        if case == CASES / 2 {
            half = resident_bytes();
        }
    }
    assert!(outcomes["COMPONENT_MALFORMED"] > CASES / 2, "{outcomes:?}");
    assert!(outcomes["answered"] > 0, "{outcomes:?}");
    if let (Some(before), Some(after)) = (half, resident_bytes()) {
        let grown = after.saturating_sub(before);
        assert!(grown < GROWTH_BYTES, "{grown} bytes; {outcomes:?}");
    }
    // The runtime is as it was.
    let (_, good) = &seeds[0];
    assert_eq!(anything.outcome_of(good), "answered");
}
