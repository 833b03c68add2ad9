//! Counts of what was done, by the hour.

use std::collections::BTreeMap;

use super::costs::Act;

const HOUR_SECONDS: u64 = 3_600;

/// Acts of each hour that had one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    hours: BTreeMap<u64, BTreeMap<Act, u64>>,
}

impl Tally {
    pub(crate) fn add(&mut self, second: u64, act: Act, times: u64) {
        if times > 0 {
            let hour = self.hours.entry(second / HOUR_SECONDS).or_default();
            *hour.entry(act).or_default() += times;
        }
    }

    /// Returns the count of all hours.
    pub(crate) fn all(&self, act: Act) -> u64 {
        let hours = self.hours.values();
        hours.filter_map(|acts| acts.get(&act)).sum()
    }

    /// Returns the acts of each hour.
    pub(crate) fn hours(&self) -> impl Iterator<Item = &BTreeMap<Act, u64>> {
        self.hours.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_are_counted_in_their_hour() {
        let mut tally = Tally::default();
        tally.add(0, Act::Buy, 1);
        tally.add(3_599, Act::Buy, 2);
        tally.add(3_600, Act::Buy, 4);
        tally.add(7_200, Act::Renew, 0);
        assert_eq!((tally.all(Act::Buy), tally.all(Act::Renew)), (7, 0));
        let hours: Vec<_> = tally.hours().map(|acts| acts[&Act::Buy]).collect();
        assert_eq!(hours, [3, 4]);
    }
}
