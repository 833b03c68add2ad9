//! One of a thing for each processor.

/// Copies in a process at most, as every plugin's machine code is held once for each.
const MOST: usize = 4;

/// The same thing several times, so that calls on different processors need not share one: calls that
/// share an engine wait for each other's counters and locks more than they compute.
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

    /// What they have in common may be asked of this one.
    pub(crate) const fn first(&self) -> &T {
        &self.first
    }

    pub(crate) fn others(&self) -> &[T] {
        &self.others
    }

    /// The one of the processor that this runs on.
    pub(crate) fn here(&self) -> &T {
        let lane = processor().checked_rem(self.others.len() + 1).unwrap_or(0);
        let other = lane.checked_sub(1).and_then(|other| self.others.get(other));
        other.unwrap_or(&self.first)
    }

    pub(crate) fn map<U>(&self, to: impl Fn(&T) -> U) -> PerCore<U> {
        PerCore::new(to(&self.first), self.others.iter().map(to))
    }
}

/// How many lanes there are besides the first.
pub(crate) fn others() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    processors.min(MOST) - 1
}

#[cfg(target_os = "linux")]
fn processor() -> usize {
    rustix::thread::sched_getcpu()
}

/// Where the system does not tell, threads are dealt out in turn.
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
        for others in 0..MOST {
            let lanes = PerCore::new(0, 1..=others);
            assert!(*lanes.here() <= others);
            assert_eq!(lanes.map(|lane| lane * 2).others().len(), others);
        }
    }
}
