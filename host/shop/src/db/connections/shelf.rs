//! Connections at rest, and the way back to the driver's pool.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use sqlx::pool::PoolConnection;
use tokio::{runtime::Handle, sync::Semaphore, time::sleep};

use super::{super::outdated::is_outdated, Lends};

/// Longest time without use of a connection that is lent without a test.
const REST: Duration = Duration::from_secs(1);
/// Time of use after which a connection goes back to the driver's pool, which knows its age.
const SHIFT: Duration = Duration::from_secs(60);

/// A connection, and its times.
pub(super) struct Lent<D: Lends> {
    pub(super) conn: PoolConnection<D>,
    /// Moment at which the driver's pool lent it.
    since: Instant,
    used_at: Instant,
}

impl<D: Lends> Lent<D> {
    pub(super) fn new(conn: PoolConnection<D>) -> Self {
        let now = Instant::now();
        Self {
            conn,
            since: now,
            used_at: now,
        }
    }

    /// Gives it back to the driver's pool, which tests it. That takes a task: without a runtime it is closed.
    pub(super) fn release(self) {
        match Handle::try_current() {
            Ok(_) => drop(self.conn),
            Err(_) => drop(self.conn.detach()),
        }
    }

    /// Closes it.
    pub(super) fn close(mut self) {
        match Handle::try_current() {
            Ok(_) => self.conn.close_on_drop(),
            Err(_) => drop(self.conn.detach()),
        }
    }

    fn has_rested(&self) -> bool {
        self.used_at.elapsed() >= REST
    }

    /// Returns true where the driver's pool has to look at it.
    fn is_due(&self) -> bool {
        let time = self.since.elapsed();
        time >= SHIFT || is_outdated(time)
    }
}

/// Connections that rest, and the turns of those who ask for one.
pub(super) struct Shelf<D: Lends> {
    ready: Mutex<Ready<D>>,
    /// One for each connection that may be open. Their order is that of arrival.
    pub(super) turns: Arc<Semaphore>,
}

pub(super) struct Ready<D: Lends> {
    /// Those that rest, the last used one at the end.
    pub(super) connections: Vec<Lent<D>>,
    /// Number of borrowers that wait for the driver's pool.
    asking: usize,
    /// True while a task returns those that rested.
    pub(super) is_swept: bool,
    is_closed: bool,
}

impl<D: Lends> Shelf<D> {
    /// Returns a shelf of this many turns.
    pub(super) fn new(most: usize) -> Self {
        Self {
            ready: Mutex::new(Ready {
                connections: Vec::new(),
                asking: 0,
                is_swept: false,
                is_closed: false,
            }),
            turns: Arc::new(Semaphore::new(most)),
        }
    }

    /// Refuses those who ask from now on, and keeps no connection.
    pub(super) fn close(&self) {
        self.turns.close();
        self.ready().is_closed = true;
    }

    pub(super) fn ready(&self) -> MutexGuard<'_, Ready<D>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection that was used last. Counts a borrower of the driver's pool where there is
    /// none, until [`Asking`] is dropped.
    pub(super) fn take(&self) -> Option<Lent<D>> {
        let mut ready = self.ready();
        let last = ready.connections.pop();
        if let Some(lent) = last {
            if !lent.has_rested() && !lent.is_due() {
                return Some(lent);
            }
            // The others rested for longer, or are soon looked at.
            ready.connections.push(lent);
        }
        ready.asking += 1;
        let rested = mem::take(&mut ready.connections);
        drop(ready);
        drop(rested);
        None
    }

    /// Keeps a connection at rest for the next borrower. It goes to the driver's pool while one waits for that.
    pub(super) fn put(self: &Arc<Self>, mut lent: Lent<D>) {
        lent.used_at = Instant::now();
        let is_due = lent.is_due();
        let mut ready = self.ready();
        if is_due || ready.asking > 0 || ready.is_closed {
            drop(ready);
            lent.release();
            return;
        }
        ready.connections.push(lent);
        let is_swept = mem::replace(&mut ready.is_swept, true);
        // A runtime that ends drops the task at once, here, and that takes the same lock.
        drop(ready);
        if is_swept {
            return;
        }
        let sweeping = Sweeping::of(self);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(sweep(sweeping))),
            Err(_) => drop(sweeping),
        }
    }

    /// Takes all that rest.
    pub(super) fn empty(&self) -> Vec<Lent<D>> {
        mem::take(&mut self.ready().connections)
    }

    /// Takes those that nothing borrowed for long enough; returns true with them when none is left.
    fn rested(&self) -> (Vec<Lent<D>>, bool) {
        let mut ready = self.ready();
        let resting = ready.connections.iter();
        let resting = resting.take_while(|lent| lent.has_rested()).count();
        let rested = ready.connections.drain(..resting).collect();
        let is_empty = ready.connections.is_empty();
        ready.is_swept = !is_empty;
        drop(ready);
        (rested, is_empty)
    }
}

impl<D: Lends> Drop for Shelf<D> {
    fn drop(&mut self) {
        let ready = self.ready.get_mut();
        let ready = ready.unwrap_or_else(PoisonError::into_inner);
        for lent in ready.connections.drain(..) {
            drop(lent.conn.detach());
        }
    }
}

/// A borrower that waits for the driver's pool.
pub(super) struct Asking<'s, D: Lends>(pub(super) &'s Shelf<D>);

impl<D: Lends> Drop for Asking<'_, D> {
    fn drop(&mut self) {
        let mut ready = self.0.ready();
        ready.asking = ready.asking.saturating_sub(1);
    }
}

/// The task that returns connections. A later one may begin when it was ended with its runtime.
struct Sweeping<D: Lends> {
    shelf: Weak<Shelf<D>>,
    /// True once it has noted its end itself.
    is_over: bool,
}

impl<D: Lends> Sweeping<D> {
    fn of(shelf: &Arc<Shelf<D>>) -> Self {
        Self {
            shelf: Arc::downgrade(shelf),
            is_over: false,
        }
    }
}

impl<D: Lends> Drop for Sweeping<D> {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(shelf) = self.shelf.upgrade()
        {
            shelf.ready().is_swept = false;
        }
    }
}

/// Returns to the driver's pool what rested, until nothing rests.
async fn sweep<D: Lends>(mut sweeping: Sweeping<D>) {
    loop {
        sleep(REST).await;
        let Some(shelf) = sweeping.shelf.upgrade() else {
            return;
        };
        let (rested, is_empty) = shelf.rested();
        sweeping.is_over = is_empty;
        drop(rested);
        if is_empty {
            return;
        }
    }
}
