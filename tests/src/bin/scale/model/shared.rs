//! Limits over all customers when their wallets are apart: uses of a coupon, places of a plan.
//!
//! The rest of a limit is kept at home, in one partition. Others take a portion of it, spend that without asking, and
//! ask again when it is gone, as servers do with the limits of requests. Portions shrink with the rest, so that the
//! last ones do not lie where none is wanted.

/// Parts that what is left is divided into for each partition.
const PARTS: u64 = 4;

/// A limit with its portions.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    limit: u64,
    /// Rest at home.
    left: u64,
    /// Partition of its home.
    home: usize,
    portions: Vec<u64>,
    used: u64,
}

/// Place where one was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The portion of the partition: nothing was asked.
    Portion,
    /// Home, which had to be asked.
    Home,
    /// Home has no more.
    Refused,
}

impl Shared {
    pub(crate) fn new(limit: u64, home: usize, partitions: usize) -> Self {
        Self {
            limit,
            left: limit,
            home,
            portions: vec![0; partitions.max(1)],
            used: 0,
        }
    }

    pub(crate) const fn home(&self) -> usize {
        self.home
    }

    /// Adds one to the limit that was taken before.
    pub(crate) const fn hold(&mut self) {
        self.limit += 1;
        self.used += 1;
    }

    /// Takes one for a customer of this partition.
    pub(crate) fn take(&mut self, partition: usize) -> Taken {
        let parts = PARTS * u64::try_from(self.portions.len()).unwrap_or(u64::MAX);
        let Some(portion) = self.portions.get_mut(partition) else {
            return Taken::Refused;
        };
        let mut taken = Taken::Portion;
        if *portion == 0 {
            *portion = (self.left / parts).max(1).min(self.left);
            self.left -= *portion;
            taken = Taken::Home;
        }
        if *portion == 0 {
            return Taken::Refused;
        }
        *portion -= 1;
        self.used += 1;
        taken
    }

    /// Returns one to the portion of the partition whose customer had it.
    pub(crate) fn give_back(&mut self, partition: usize) {
        if let Some(portion) = self.portions.get_mut(partition)
            && self.used > 0
        {
            *portion += 1;
            self.used -= 1;
        }
    }

    /// Returns those that lie in portions, which other partitions do without.
    pub(crate) fn lying(&self) -> u64 {
        self.portions.iter().sum()
    }

    /// # Errors
    /// When some were lost or came to be.
    pub(crate) fn check(&self) -> Result<(), String> {
        let all = self.used + self.left + self.lying();
        if all == self.limit {
            return Ok(());
        }
        Err(format!("a limit of {} has become {all}", self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::random::Random;

    #[test]
    fn a_limit_holds_whatever_partitions_take_and_give_back() {
        for seed in 0..20 {
            let mut random = Random::of(seed, 1);
            let mut shared = Shared::new(random.below(500), 0, 7);
            let mut held = Vec::new();
            for _ in 0..2_000 {
                let partition = usize::try_from(random.below(7)).unwrap();
                if random.happens(300)
                    && let Some(partition) = held.pop()
                {
                    shared.give_back(partition);
                } else if shared.take(partition) != Taken::Refused {
                    held.push(partition);
                }
                shared.check().unwrap();
                assert_eq!(shared.used, u64::try_from(held.len()).unwrap());
                assert!(shared.used <= shared.limit);
            }
        }
    }

    #[test]
    fn most_is_taken_without_asking_and_little_is_left_lying() {
        let mut shared = Shared::new(100_000, 0, 8);
        let (mut asked, mut refused) = (0_u64, 0_u64);
        let mut random = Random::of(1, 1);
        for _ in 0..110_000 {
            let partition = usize::try_from(random.below(8)).unwrap();
            match shared.take(partition) {
                Taken::Portion => {}
                Taken::Home => asked += 1,
                Taken::Refused => refused += 1,
            }
        }
        assert!(asked < 1_000, "{asked}");
        assert!(refused >= 10_000);
        assert!(shared.lying() < 100, "{}", shared.lying());
    }

    #[test]
    fn a_partition_alone_uses_all_of_it() {
        let mut shared = Shared::new(1_000, 0, 1);
        let taken = (0..1_500).filter(|_| shared.take(0) != Taken::Refused);
        assert_eq!(taken.count(), 1_000);
        assert_eq!(shared.take(5), Taken::Refused);
        assert_eq!(shared.home(), 0);
    }

    #[test]
    fn what_is_lost_is_noticed() {
        let mut shared = Shared::new(10, 0, 2);
        shared.take(1);
        shared.left += 1;
        assert!(shared.check().is_err());
    }
}
