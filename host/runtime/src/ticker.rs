//! The thread that advances the epoch of the engines while a call runs, and sleeps while none does.

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Length of one epoch, the unit in which deadlines are counted.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Handle of the thread, which ends when the handle is dropped.
#[derive(Debug)]
pub(crate) struct Ticker(Arc<Shared>);

/// State that the thread and its handle share.
#[derive(Debug, Default)]
struct Shared {
    asleep: AtomicBool,
    ended: AtomicBool,
    lock: Mutex<()>,
    woken: Condvar,
}

impl Ticker {
    /// Starts the thread: it calls `tick` once an epoch for as long as `is_idle` is false.
    pub(crate) fn start(
        is_idle: impl Fn() -> bool + Send + 'static,
        tick: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ticker = Self(Arc::clone(&shared));
        let run = move || {
            while !shared.ended.load(Ordering::SeqCst) {
                shared.sleep_while(&is_idle);
                tick();
                thread::sleep(TICK);
            }
        };
        thread::Builder::new()
            .name("plugin-epoch".to_owned())
            .spawn(run)?;
        Ok(ticker)
    }

    /// Wakes the thread. The caller has made `is_idle` false before.
    ///
    /// A woken thread stays awake for at least one epoch, so that of many short calls only the
    /// first in an epoch pays for the waking, and the others for one load.
    pub(crate) fn wake(&self) {
        self.0.wake();
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        self.0.wake();
    }
}

impl Shared {
    fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst) {
            let lock = self.lock.lock();
            self.asleep.store(false, Ordering::SeqCst);
            drop(lock);
            self.woken.notify_one();
        }
    }

    fn sleep_while(&self, is_idle: &impl Fn() -> bool) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // The thread sets the flag before it asks, and a caller begins before it reads the flag;
        // both are sequentially consistent, so that one of the two sees the other.
        self.asleep.store(true, Ordering::SeqCst);
        if !is_idle() || self.ended.load(Ordering::SeqCst) {
            self.asleep.store(false, Ordering::SeqCst);
        }
        while self.asleep.load(Ordering::SeqCst) {
            lock = self
                .woken
                .wait(lock)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, time::Instant};

    use super::*;

    /// Waits until the count is at least this.
    fn reaches(count: &AtomicUsize, least: usize) -> bool {
        let started = Instant::now();
        while count.load(Ordering::SeqCst) < least {
            if started.elapsed() > Duration::from_secs(10) {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn is_asleep(ticker: &Ticker) -> bool {
        let started = Instant::now();
        // The thread holds the lock until it waits, so that the flag is not one it may still lower.
        let asleep = || {
            let _lock = ticker.0.lock.lock().unwrap();
            ticker.0.asleep.load(Ordering::SeqCst)
        };
        while !asleep() {
            if started.elapsed() > Duration::from_secs(10) {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    #[test]
    fn ticks_while_calls_run_and_not_while_none_does() {
        let (calls, ticks) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (running, counted) = (Arc::clone(&calls), Arc::clone(&ticks));
        let ticker = Ticker::start(
            move || running.load(Ordering::SeqCst) == 0,
            move || {
                counted.fetch_add(1, Ordering::SeqCst);
            },
        )
        .unwrap();
        for _ in 0..3 {
            assert!(is_asleep(&ticker));
            let idle = ticks.load(Ordering::SeqCst);
            thread::sleep(TICK * 5);
            assert_eq!(ticks.load(Ordering::SeqCst), idle);
            calls.fetch_add(1, Ordering::SeqCst);
            ticker.wake();
            assert!(reaches(&ticks, idle + 5));
            calls.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn ends_with_its_handle_asleep_or_not() {
        for idle in [true, false] {
            let alive = Arc::new(());
            let held = Arc::clone(&alive);
            let ticker = Ticker::start(move || idle, move || drop(Arc::clone(&held))).unwrap();
            assert!(!idle || is_asleep(&ticker));
            drop(ticker);
            let started = Instant::now();
            while Arc::strong_count(&alive) > 1 {
                assert!(started.elapsed() < Duration::from_secs(10));
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
