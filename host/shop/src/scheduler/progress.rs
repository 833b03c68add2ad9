//! Progress of a run.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

/// Counts of a run under way. Cheap to clone; a rule that reports nothing leaves it empty.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: AtomicI64,
    items: AtomicI64,
    errors: AtomicI64,
    /// Number of things that earlier parts of the run expected.
    earlier_total: AtomicI64,
    /// Number of things that earlier parts of the run dealt with; they are not looked at again.
    earlier_items: AtomicI64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) total: i64,
    pub(super) items: i64,
    pub(super) errors: i64,
}

impl Progress {
    /// Returns the progress of a run of which another server has counted a part. Things that failed there are looked
    /// at again, so that their failures count no more.
    pub(super) fn after(earlier: Counted) -> Self {
        let progress = Self::default();
        progress.begin_after(earlier);
        progress
    }

    /// Adds to the number of things to look at.
    pub fn expect(&self, things: usize) {
        let things = i64::try_from(things).unwrap_or(i64::MAX);
        self.0.total.fetch_add(things, Ordering::Relaxed);
    }

    /// Counts one thing that was dealt with.
    pub fn item(&self) {
        self.0.items.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one thing that failed.
    pub fn error(&self) {
        self.0.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps the counts for a rule that begins again and deals with the rest.
    pub(super) fn begin_again(&self) {
        self.begin_after(self.counted());
    }

    fn begin_after(&self, earlier: Counted) {
        let Counted { total, items, .. } = earlier;
        self.0.earlier_total.store(total, Ordering::Relaxed);
        self.0.earlier_items.store(items, Ordering::Relaxed);
        for count in [&self.0.total, &self.0.items, &self.0.errors] {
            count.store(0, Ordering::Relaxed);
        }
    }

    /// Returns the number of things that earlier parts of the run dealt with.
    pub(super) fn earlier_items(&self) -> i64 {
        self.0.earlier_items.load(Ordering::Relaxed)
    }

    pub(super) fn counted(&self) -> Counted {
        let earlier = self.0.earlier_total.load(Ordering::Relaxed);
        let own = self.0.total.load(Ordering::Relaxed);
        let items = self.earlier_items() + self.0.items.load(Ordering::Relaxed);
        // Things that are left were expected before, and some have come due since. A rule that expects nothing
        // does not count.
        let total = match earlier.max(own) {
            0 => 0,
            expected => expected.max(items),
        };
        Counted {
            total,
            items,
            errors: self.0.errors.load(Ordering::Relaxed),
        }
    }
}
