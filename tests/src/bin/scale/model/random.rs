//! Numbers by chance that are the same for the same seed on every machine (SplitMix64).

/// Step of the sequence.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
/// Throws of one count, by which it has a spread around its mean.
const THROWS: u64 = 8;

/// A sequence of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of one thing among many, which does not depend on how many there are.
    pub(crate) const fn of(seed: u64, number: u64) -> Self {
        Self(mix(mix(seed.wrapping_add(STEP)) ^ number))
    }

    pub(crate) const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Returns a number below a bound; 0 when the bound is.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.draw()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or_default()
    }

    /// Returns true this often in a thousand.
    pub(crate) fn happens(&mut self, per_thousand: u64) -> bool {
        self.below(1_000) < per_thousand
    }

    /// Returns a count whose mean is this over a thousand: some throws, each of which may hit, or hit several
    /// times where the mean is large.
    pub(crate) fn count(&mut self, per_thousand: u64) -> u64 {
        let (sure, rest) = (
            per_thousand / (THROWS * 1_000),
            per_thousand % (THROWS * 1_000),
        );
        let hits = (0..THROWS).filter(|_| self.below(THROWS * 1_000) < rest);
        let hits = u64::try_from(hits.count()).unwrap_or_default();
        THROWS * sure + hits
    }

    /// Returns the place of one of these weights, each as often as it is large.
    pub(crate) fn choose(&mut self, weights: &[u64]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (place, weight) in weights.iter().enumerate() {
            if left < *weight {
                return place;
            }
            left -= weight;
        }
        0
    }
}

/// Returns a number all of whose bits depend on all bits of the given one.
pub(crate) const fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_sequence_and_another_seed_another() {
        let draws = |seed, number| {
            let mut random = Random::of(seed, number);
            [(); 4].map(|()| random.draw())
        };
        assert_eq!(draws(1, 7), draws(1, 7));
        assert_ne!(draws(1, 7), draws(2, 7));
        assert_ne!(draws(1, 7), draws(1, 8));
    }

    #[test]
    fn counts_have_the_mean_that_is_asked_for() {
        for mean in [30, 900, 4_000, 20_000] {
            let mut random = Random::of(1, mean);
            let sum: u64 = (0..20_000).map(|_| random.count(mean)).sum();
            let expected = mean * 20;
            assert!(sum.abs_diff(expected) < expected / 10, "{mean}: {sum}");
        }
    }

    #[test]
    fn weights_are_chosen_as_often_as_they_are_large() {
        let mut random = Random::of(1, 1);
        let mut seen = [0_u64; 3];
        for _ in 0..30_000 {
            seen[random.choose(&[1, 0, 2])] += 1;
        }
        assert_eq!(seen[1], 0);
        assert!(seen[0].abs_diff(10_000) < 500, "{seen:?}");
        assert_eq!(Random::of(1, 1).choose(&[]), 0);
    }
}
