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
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) total: i64,
    pub(super) items: i64,
    pub(super) errors: i64,
}

impl Progress {
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

    /// Counts from zero, for a rule that begins again.
    pub(super) fn begin_again(&self) {
        for count in [&self.0.total, &self.0.items, &self.0.errors] {
            count.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn counted(&self) -> Counted {
        Counted {
            total: self.0.total.load(Ordering::Relaxed),
            items: self.0.items.load(Ordering::Relaxed),
            errors: self.0.errors.load(Ordering::Relaxed),
        }
    }
}
