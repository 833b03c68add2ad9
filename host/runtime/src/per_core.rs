//! Copies of a value for each processor core.

/// Maximum of copies, as the machine code of every plugin is held once for each.
const MOST_ENGINES: usize = 4;

/// The same value several times, so that calls on different processors need not share one: calls
/// that share an engine spend more time on each other's counters and locks than on computing.
#[derive(Debug, Clone)]
pub(crate) struct PerCore<T> {
    first: T,
    others: Box<[T]>,
}

impl<T> PerCore<T> {
    pub(crate) fn new(first: T, others: impl IntoIterator<Item = T>) -> Self {
        let others = others.into_iter().collect();
        Self { first, others }
    }

    /// Returns the first copy, which can answer for properties that all have in common.
    pub(crate) const fn first(&self) -> &T {
        &self.first
    }

    pub(crate) fn others(&self) -> &[T] {
        &self.others
    }

    /// Returns the copy of the processor that this runs on.
    pub(crate) fn here(&self) -> &T {
        let lane = processor().checked_rem(self.others.len() + 1).unwrap_or(0);
        let other = lane.checked_sub(1).and_then(|other| self.others.get(other));
        other.unwrap_or(&self.first)
    }

    pub(crate) fn map<U>(&self, to: impl Fn(&T) -> U) -> PerCore<U> {
        PerCore::new(to(&self.first), self.others.iter().map(to))
    }
}

/// Returns the number of copies besides the first.
pub(crate) fn others() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.min(MOST_ENGINES) - 1
}

#[cfg(target_os = "linux")]
fn processor() -> usize {
    rustix::thread::sched_getcpu()
}

/// Returns a number for this thread, dealt out in turn, as the system does not tell the processor.
#[cfg(not(target_os = "linux"))]
fn processor() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    MINE.with(|mine| *mine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_processor_has_one() {
        for others in 0..MOST_ENGINES {
            let lanes = PerCore::new(0, 1..=others);
            assert!(*lanes.here() <= others);
            assert_eq!(lanes.map(|lane| lane * 2).others().len(), others);
        }
    }
}
