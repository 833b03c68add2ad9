//! The partition of a wallet, found from its id alone.
//!
//! Each partition has a score for an id, and the highest one has the wallet (rendezvous hashing). Nothing has to be
//! asked or kept for it, and a partition that is added takes wallets from all others and moves none between them.

use super::random::mix;

/// The partitions that wallets are in, numbered from 0.
#[derive(Debug, Clone)]
pub(crate) struct Partitions {
    salts: Vec<u64>,
}

/// Sizes of partitions beside each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    pub(crate) least: u64,
    pub(crate) most: u64,
}

impl Partitions {
    /// At least one.
    pub(crate) fn new(count: usize) -> Self {
        let numbers = (1_u64..).take(count.max(1));
        Self {
            salts: numbers.map(mix).collect(),
        }
    }

    pub(crate) const fn count(&self) -> usize {
        self.salts.len()
    }

    /// Returns the partition of the wallet with this id.
    pub(crate) fn of(&self, id: u128) -> usize {
        let digest = digest(id);
        let scores = self.salts.iter().map(|salt| mix(digest ^ salt));
        let best = scores.enumerate().max_by_key(|(_, score)| *score);
        best.map_or(0, |(place, _)| place)
    }
}

/// Returns the partition of an id by the remainder of its digest, for comparison: nearly all move when one is added.
pub(crate) fn by_remainder(id: u128, count: usize) -> usize {
    let count = u64::try_from(count.max(1)).unwrap_or(u64::MAX);
    usize::try_from(digest(id) % count).unwrap_or_default()
}

/// Returns a number that depends on all bits of an id, of which the first are much the same in ids of one day.
fn digest(id: u128) -> u64 {
    let low = u64::try_from(id & u128::from(u64::MAX)).unwrap_or_default();
    let high = u64::try_from(id >> 64).unwrap_or_default();
    mix(mix(high) ^ low)
}

impl Spread {
    pub(crate) fn of(sizes: &[u64]) -> Self {
        let all: u64 = sizes.iter().sum();
        Self {
            mean: all as f64 / sizes.len().max(1) as f64,
            least: sizes.iter().copied().min().unwrap_or_default(),
            most: sizes.iter().copied().max().unwrap_or_default(),
        }
    }

    /// Returns the part by which the largest is above the mean.
    pub(crate) fn excess(self) -> f64 {
        if self.mean > 0.0 {
            self.most as f64 / self.mean - 1.0
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        ids::{new_id, tests::random_id},
        random::Random,
    };

    const IDS: u64 = 200_000;
    const MILLIS: u64 = 1_800_000_000_000;

    fn sizes(partitions: &Partitions, ids: impl Iterator<Item = u128>) -> Vec<u64> {
        let mut sizes = vec![0; partitions.count()];
        for id in ids {
            sizes[partitions.of(id)] += 1;
        }
        sizes
    }

    /// A change of the function would look for wallets where they are not.
    #[test]
    fn wallets_are_where_they_were() {
        let partitions = Partitions::new(16);
        let found: Vec<usize> = (1..=8).map(|id| partitions.of(id)).collect();
        assert_eq!(found, [8, 2, 1, 15, 7, 3, 0, 1]);
    }

    #[test]
    fn no_partition_is_much_larger_than_the_mean() {
        for count in [2, 16, 64] {
            let partitions = Partitions::new(count);
            let mut random = Random::of(1, 1);
            // All of one millisecond, of three years, and of another version.
            let one = (0..IDS).map(|_| new_id(MILLIS, &mut random));
            let one = Spread::of(&sizes(&partitions, one));
            let mut random = Random::of(1, 2);
            let years = (0..IDS).map(|number| new_id(MILLIS + number * 473_000, &mut random));
            let years = Spread::of(&sizes(&partitions, years));
            let mut random = Random::of(1, 3);
            let fourth = (0..IDS).map(|_| random_id(&mut random));
            let fourth = Spread::of(&sizes(&partitions, fourth));
            for spread in [one, years, fourth] {
                // Four standard deviations of chance alone.
                let most = 4.0 / spread.mean.sqrt();
                assert!(spread.excess() < most, "{count}: {spread:?}");
                assert!(spread.least > 0);
            }
        }
    }

    #[test]
    fn a_partition_that_is_added_takes_its_share_and_moves_no_other() {
        let (before, after) = (Partitions::new(9), Partitions::new(10));
        let mut random = Random::of(1, 1);
        let (mut moved, mut by_remainders) = (0_u64, 0_u64);
        for _ in 0..20_000 {
            let id = new_id(MILLIS, &mut random);
            let (old, new) = (before.of(id), after.of(id));
            assert!(new == old || new == 9, "{old} to {new}");
            moved += u64::from(old != new);
            by_remainders += u64::from(by_remainder(id, 9) != by_remainder(id, 10));
        }
        assert!(moved.abs_diff(2_000) < 200, "{moved}");
        assert!(by_remainders > 16_000, "{by_remainders}");
    }

    #[test]
    fn there_is_always_a_partition() {
        assert_eq!(Partitions::new(0).count(), 1);
        assert_eq!(Partitions::new(1).of(u128::MAX), 0);
        assert_eq!(by_remainder(u128::MAX, 0), 0);
        assert!((Spread::of(&[]).excess()).abs() < f64::EPSILON);
    }
}
