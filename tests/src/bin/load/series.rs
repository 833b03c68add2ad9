//! Figures of one side over all rounds.

use std::time::Duration;

use dermaga_tests::processes::{TICK_MICROS, Used};
use hdrhistogram::Histogram;

use crate::{Outcome, turn::Turn};

/// Longest latency that is recorded as it is, in microseconds: ten minutes.
const LONGEST: u64 = 600_000_000;
/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// Turns of one side, added up.
#[derive(Debug)]
pub(crate) struct Series {
    /// Latencies by step; the first is the whole.
    latencies: Vec<Histogram<u64>>,
    /// Acts a second of each round.
    rates: Vec<f64>,
    acts: usize,
    took: Duration,
    used: Used,
    pub(crate) busy: u64,
    pub(crate) failures: u64,
    pub(crate) first_failure: Option<String>,
    /// Turns after which the processes did not become quiet in time.
    pub(crate) unsettled: u32,
}

/// Latencies of a step, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Latencies {
    pub(crate) count: u64,
    pub(crate) p50: u64,
    pub(crate) p95: u64,
    pub(crate) p99: u64,
}

/// Processor time of one repetition in microseconds, with the work that it left for after its answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    pub(crate) server: f64,
    pub(crate) database: f64,
}

impl Series {
    /// An empty series of a case with this many steps, the whole included.
    pub(crate) fn new(steps: usize) -> Outcome<Self> {
        let empty = Histogram::new_with_max(LONGEST, DIGITS)?;
        Ok(Self {
            latencies: vec![empty; steps],
            rates: Vec::new(),
            acts: 0,
            took: Duration::ZERO,
            used: Used::default(),
            busy: 0,
            failures: 0,
            first_failure: None,
            unsettled: 0,
        })
    }

    /// Adds a turn that counts.
    pub(crate) fn add(&mut self, turn: &Turn, used: Used, is_settled: bool) {
        for (step, micros) in &turn.record.samples {
            if let Some(latencies) = self.latencies.get_mut(*step) {
                latencies.saturating_record(*micros);
            }
        }
        let acts = turn.record.acts();
        self.rates.push(acts as f64 / turn.took.as_secs_f64());
        self.acts += acts;
        self.took += turn.took;
        self.used.server += used.server;
        self.used.database += used.database;
        self.busy += turn.record.busy;
        self.unsettled += u32::from(!is_settled);
    }

    /// Adds the failures of any turn.
    pub(crate) fn add_failures(&mut self, turn: &Turn) {
        self.failures += turn.record.failures;
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&turn.record.first_failure);
        }
    }

    /// Acts a second over all rounds.
    pub(crate) fn rate(&self) -> f64 {
        self.acts as f64 / self.took.as_secs_f64()
    }

    pub(crate) fn cost(&self) -> Cost {
        let each = |ticks: u64| ticks as f64 * TICK_MICROS / self.acts as f64;
        Cost {
            server: each(self.used.server),
            database: each(self.used.database),
        }
    }

    /// Latencies of each step, the whole first.
    pub(crate) fn latencies(&self) -> Vec<Latencies> {
        let steps = self.latencies.iter().map(|step| Latencies {
            count: step.len(),
            p50: step.value_at_quantile(0.50),
            p95: step.value_at_quantile(0.95),
            p99: step.value_at_quantile(0.99),
        });
        steps.collect()
    }

    /// Median over the rounds of this side's rate to another's in the same round.
    pub(crate) fn ratio_to(&self, other: &Self) -> f64 {
        let rounds = self.rates.iter().zip(&other.rates);
        median(rounds.map(|(own, others)| own / others).collect())
    }
}

/// Returns the value in the middle, the upper one of two; not a number when there is none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::Record;

    fn turn(samples: Vec<(usize, u64)>, seconds: u64) -> Turn {
        Turn {
            took: Duration::from_secs(seconds),
            record: Record {
                samples,
                ..Record::default()
            },
        }
    }

    fn acts(count: u64) -> Vec<(usize, u64)> {
        (1..=count).map(|micros| (0, micros)).collect()
    }

    #[test]
    fn percentiles_are_those_of_all_rounds_by_step() {
        let mut series = Series::new(2).unwrap();
        let mut fast = acts(50);
        fast.push((1, 7));
        let slow = acts(100).split_off(50);
        series.add(&turn(fast, 1), Used::default(), true);
        series.add(&turn(slow, 1), Used::default(), true);
        let [whole, step]: [Latencies; 2] = series.latencies().try_into().unwrap();
        let expected = Latencies {
            count: 100,
            p50: 50,
            p95: 95,
            p99: 99,
        };
        assert_eq!(whole, expected);
        assert_eq!((step.count, step.p50, step.p99), (1, 7, 7));
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_and_not_of_the_sums() {
        let (mut own, mut floor) = (Series::new(1).unwrap(), Series::new(1).unwrap());
        // One round on a busy machine, which slowed the floor alone.
        for (ours, floors) in [(10, 40), (10, 40), (30, 10)] {
            own.add(&turn(acts(ours), 1), Used::default(), true);
            floor.add(&turn(acts(floors), 1), Used::default(), true);
        }
        assert!((own.ratio_to(&floor) - 0.25).abs() < 1e-9);
        assert!((own.rate() - 50.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn processor_time_is_shared_by_the_acts() {
        let mut series = Series::new(1).unwrap();
        let used = Used {
            server: 30,
            database: 10,
        };
        series.add(&turn(acts(100), 2), used, false);
        let expected = Cost {
            server: 3_000.0,
            database: 1_000.0,
        };
        assert_eq!(series.cost(), expected);
        assert_eq!(series.unsettled, 1);
    }

    #[test]
    fn a_median_of_nothing_is_no_number() {
        assert!(median(Vec::new()).is_nan());
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    }
}
