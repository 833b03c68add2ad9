//! Progress of a run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts of a run under way. Cheap to clone; a rule that reports nothing leaves it empty.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<Counts>>);

/// All counts under one lock: a report that falls into the beginning of another attempt would count the same things
/// as earlier and as own ones, for good if its server died then.
#[derive(Debug, Default)]
struct Counts {
    own: Counted,
    /// Number of things that earlier parts of the run expected.
    earlier_total: i64,
    /// Number of things that earlier parts of the run dealt with; they are not looked at again.
    earlier_items: i64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) total: i64,
    pub(super) items: i64,
    pub(super) errors: i64,
}

impl Counts {
    const fn after(earlier: Counted) -> Self {
        Self {
            own: Counted {
                total: 0,
                items: 0,
                errors: 0,
            },
            earlier_total: earlier.total,
            earlier_items: earlier.items,
        }
    }

    fn counted(&self) -> Counted {
        let items = self.earlier_items + self.own.items;
        // Things that are left were expected before, and some have come due since. A rule that expects nothing
        // does not count.
        let total = match self.earlier_total.max(self.own.total) {
            0 => 0,
            expected => expected.max(items),
        };
        Counted {
            total,
            items,
            errors: self.own.errors,
        }
    }
}

impl Progress {
    /// Returns the progress of a run of which another server has counted a part. Things that failed there are looked
    /// at again, so that their failures count no more.
    pub(super) fn after(earlier: Counted) -> Self {
        Self(Arc::new(Mutex::new(Counts::after(earlier))))
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the number of things to look at.
    pub fn expect(&self, things: usize) {
        let things = i64::try_from(things).unwrap_or(i64::MAX);
        let mut counts = self.counts();
        counts.own.total = counts.own.total.saturating_add(things);
    }

    /// Counts one thing that was dealt with.
    pub fn item(&self) {
        self.counts().own.items += 1;
    }

    /// Counts one thing that failed.
    pub fn error(&self) {
        self.counts().own.errors += 1;
    }

    /// Keeps the counts for a rule that begins again and deals with the rest.
    pub(super) fn begin_again(&self) {
        let mut counts = self.counts();
        *counts = Counts::after(counts.counted());
    }

    /// Returns the number of things that earlier parts of the run dealt with.
    pub(super) fn earlier_items(&self) -> i64 {
        self.counts().earlier_items
    }

    pub(super) fn counted(&self) -> Counted {
        self.counts().counted()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_run_that_begins_again_counts_no_item_twice() {
        const ITEMS: i64 = 100_000;
        let progress = Progress::default();
        progress.expect(1_000_000);
        let counting = progress.clone();
        let rule = thread::spawn(move || {
            for _ in 0..ITEMS {
                counting.item();
                counting.begin_again();
            }
        });
        let mut reported = 0;
        while !rule.is_finished() {
            let items = progress.counted().items;
            assert!(items >= reported, "{items} after {reported}");
            reported = items;
        }
        rule.join().unwrap();
        assert_eq!(progress.counted().items, ITEMS);
    }
}
