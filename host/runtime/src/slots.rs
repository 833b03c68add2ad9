//! How many calls run at once: a counting semaphore with a bounded wait.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Places for running calls. There are fewer of them than the engine's pool has, so that a call
/// that got a place never fails for want of a pool slot.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
    total: usize,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a>(&'a Slots);

impl Slots {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            free: Mutex::new(total),
            freed: Condvar::new(),
            total,
        }
    }

    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    /// Takes a place, waiting at most this long for one; `None` when none came free.
    pub(crate) fn take(&self, wait: Duration) -> Option<Slot<'_>> {
        let free = self.lock();
        let (mut free, _) = self
            .freed
            .wait_timeout_while(free, wait, |free| *free == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Slot(self))
    }

    // The counter is whole after every statement, so a poisoned lock still holds the truth.
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_a_place_and_gives_up_when_none_comes() {
        let slots = Slots::new(1);
        let only = slots.take(Duration::ZERO).unwrap();
        assert!(slots.take(Duration::from_millis(5)).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| slots.take(Duration::from_secs(10)).is_some());
            std::thread::sleep(Duration::from_millis(5));
            drop(only);
            assert!(waiting.join().unwrap());
        });
        assert!(slots.take(Duration::ZERO).is_some());
    }
}
