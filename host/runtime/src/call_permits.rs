//! A bound on concurrent calls: a counting semaphore with a bounded wait.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Permits for running calls. There are fewer of them than an engine's pool has places, so that a
/// call with a permit never fails for want of a pool slot.
///
/// Calls on all processors share these counters, so only `free` is touched while permits are free.
/// Both counters are sequentially consistent: either the call that returns a permit sees the
/// waiting one, or the one about to wait sees the permit.
#[derive(Debug)]
pub(crate) struct CallPermits {
    free: AtomicUsize,
    waiting: AtomicUsize,
    queue: Mutex<()>,
    freed: Condvar,
    total: usize,
}

/// One permit, returned when dropped.
#[derive(Debug)]
pub(crate) struct CallPermit<'a>(&'a CallPermits);

impl CallPermits {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            free: AtomicUsize::new(total),
            waiting: AtomicUsize::new(0),
            queue: Mutex::default(),
            freed: Condvar::new(),
            total,
        }
    }

    pub(crate) const fn total(&self) -> usize {
        self.total
    }

    /// Reports that no call runs.
    pub(crate) fn are_all_free(&self) -> bool {
        self.free.load(Ordering::SeqCst) == self.total
    }

    /// Takes a permit, waiting at most this long; `None` when none came free.
    pub(crate) fn take(&self, wait: Duration) -> Option<CallPermit<'_>> {
        if let Some(permit) = self.take_now() {
            return Some(permit);
        }
        let mut permit = None;
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let waited = self.freed.wait_timeout_while(queue, wait, |()| {
            permit = self.take_now();
            permit.is_none()
        });
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        drop(waited);
        permit
    }

    fn take_now(&self) -> Option<CallPermit<'_>> {
        let order = Ordering::SeqCst;
        let taken = self
            .free
            .fetch_update(order, order, |free| free.checked_sub(1));
        taken.ok().map(|_| CallPermit(self))
    }
}

impl Drop for CallPermit<'_> {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            // A waiter holds the lock from counting itself until it sleeps, so it cannot miss this.
            drop(self.0.queue.lock());
            self.0.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_a_place_and_gives_up_when_none_comes() {
        let permits = CallPermits::new(1);
        let only = permits.take(Duration::ZERO).unwrap();
        assert!(permits.take(Duration::from_millis(5)).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| permits.take(Duration::from_secs(10)).is_some());
            std::thread::sleep(Duration::from_millis(5));
            drop(only);
            assert!(waiting.join().unwrap());
        });
        assert!(permits.take(Duration::ZERO).is_some());
    }

    #[test]
    fn nobody_sleeps_while_places_are_free() {
        let (permits, running) = (CallPermits::new(2), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let _permit = permits.take(Duration::from_secs(30)).unwrap();
                        assert!(running.fetch_add(1, Ordering::SeqCst) < 2);
                        running.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(permits.free.into_inner(), 2);
        assert_eq!(permits.waiting.into_inner(), 0);
    }
}
