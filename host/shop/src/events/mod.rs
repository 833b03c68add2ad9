//! Events of customers: what changed of their own, in an order in which nothing is missed.
//!
//! Triggers of the database write them in the transaction of the change. A stream remembers the
//! place of its last event and asks for those after it; each server looks once a second for whom
//! there is something new, so that streams of others do not ask.

mod model;
mod store;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::TimeDelta;
use futures::{Stream, stream};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

pub use model::{Cursor, CustomerEvent, EventKind, NoCursor};

use self::model::Place;
use crate::{
    Result,
    db::{Clock, Conn, Db},
    ids::UserId,
    workers::{Next, Worker},
};

/// Rest between two looks at what is new.
const INTERVAL: Duration = Duration::from_secs(1);
/// Longest rest of a stream between two questions of its own, for what no look found.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// Events that one question returns.
const AT_ONCE: i64 = 100;
/// Places that one look reads.
const LOOKED_AT: i64 = 1000;
/// Time for which events are kept.
const KEPT: TimeDelta = TimeDelta::days(7);
/// Age of a cursor after which events behind it may be gone.
const GOOD_FOR: TimeDelta = TimeDelta::days(6);
/// Rows that one transaction of the purge removes.
const PURGED_AT_ONCE: i64 = 1000;

/// Everything streams of events need, built once at start.
#[derive(Debug, Clone)]
pub struct Events {
    db: Db,
    clock: Clock,
    bells: Arc<Mutex<HashMap<UserId, watch::Sender<()>>>>,
    /// Place of the last look; absent before the first one, and while no stream is open.
    looked_at: Arc<Mutex<Option<Place>>>,
}

/// Content of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// From here on nothing is missed.
    Ready,
    /// Something may have been missed: everything is to be read again.
    Reset,
    Event(CustomerEvent),
}

impl Events {
    pub fn new(db: Db, clock: Clock) -> Self {
        Self {
            db,
            clock,
            bells: Arc::default(),
            looked_at: Arc::default(),
        }
    }

    /// Follows the events of a customer, from the id of the last one that a client saw, or from now
    /// on. The stream ends when `is_welcome`, which is asked again and again, returns false, and
    /// when the database does not answer.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn follow<C, W>(
        &self,
        user_id: UserId,
        seen: Option<&str>,
        is_welcome: C,
    ) -> Result<impl Stream<Item = (Cursor, Sent)> + Send + use<C, W>>
    where
        C: Fn() -> W + Send + 'static,
        W: Future<Output = bool> + Send + 'static,
    {
        // Before the place is read, so that what comes after it is heard.
        let bell = self.bell(user_id);
        let now = store::now(&mut self.db.read().await?).await?;
        let (place, greeting) = match seen.map(|seen| self.place_of(seen, now)) {
            None => (now, Some(Sent::Ready)),
            Some(None) => (now, Some(Sent::Reset)),
            Some(Some(place)) => (place, None),
        };
        let following = Following {
            events: self.clone(),
            user_id,
            place,
            bell,
            read: Vec::new(),
            greeting,
            is_welcome,
        };
        Ok(stream::unfold(following, Following::next))
    }

    /// Returns the place of an id that a client saw, unless events behind it may be gone: it is too
    /// old, or of a database that was replaced by an earlier copy.
    fn place_of(&self, seen: &str, now: Place) -> Option<Place> {
        let cursor: Cursor = seen.parse().ok()?;
        let is_young = cursor.sent_at > self.clock.now() - GOOD_FOR;
        (is_young && cursor.place <= now).then_some(cursor.place)
    }

    fn bell(&self, user_id: UserId) -> watch::Receiver<()> {
        let mut bells = self.bells();
        let bell = bells.entry(user_id);
        bell.or_insert_with(|| watch::channel(()).0).subscribe()
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<UserId, watch::Sender<()>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looked_at(&self) -> MutexGuard<'_, Option<Place>> {
        self.looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for whom there is something new, and rings for their streams.
    async fn look(&self) -> Result<Next> {
        self.bells().retain(|_, bell| bell.receiver_count() > 0);
        if self.bells().is_empty() {
            *self.looked_at() = None;
            return Ok(Next::AfterRest);
        }
        let before = *self.looked_at();
        let Some(place) = before else {
            let now = store::now(&mut self.db.read().await?).await?;
            *self.looked_at() = Some(now);
            // Events before this place were not looked at.
            self.bells().values().for_each(ring);
            return Ok(Next::AfterRest);
        };
        let new = store::of_all_after(&mut self.db.read().await?, place, LOOKED_AT).await?;
        if let Some((tx, seq, _)) = new.last() {
            let (tx, seq) = (*tx, *seq);
            *self.looked_at() = Some(Place { tx, seq });
        }
        let bells = self.bells();
        for (_, _, user_id) in &new {
            bells.get(user_id).into_iter().for_each(ring);
        }
        let is_more = usize::try_from(LOOKED_AT).is_ok_and(|limit| new.len() >= limit);
        Ok(if is_more {
            Next::AtOnce
        } else {
            Next::AfterRest
        })
    }
}

fn ring(bell: &watch::Sender<()>) {
    // A stream that has ended meanwhile hears nothing.
    let _ = bell.send(());
}

/// State of one stream.
struct Following<C> {
    events: Events,
    user_id: UserId,
    /// Place after the last event that was sent.
    place: Place,
    bell: watch::Receiver<()>,
    /// Events that were read and not sent yet, the last one first.
    read: Vec<CustomerEvent>,
    /// Sent before anything else.
    greeting: Option<Sent>,
    is_welcome: C,
}

impl<C, W> Following<C>
where
    C: Fn() -> W,
    W: Future<Output = bool>,
{
    async fn next(mut self) -> Option<((Cursor, Sent), Self)> {
        let sent = match self.greeting.take() {
            Some(greeting) => greeting,
            None => Sent::Event(self.next_event().await?),
        };
        let cursor = Cursor {
            place: self.place,
            sent_at: self.events.clock.now(),
        };
        Some(((cursor, sent), self))
    }

    async fn next_event(&mut self) -> Option<CustomerEvent> {
        loop {
            if let Some(event) = self.read.pop() {
                self.place = event.place();
                return Some(event);
            }
            // Before the question, so that what is new after it rings again.
            self.bell.mark_unchanged();
            if !(self.is_welcome)().await {
                return None;
            }
            match self.ask().await {
                Ok(found) => self.read = found,
                Err(error) => {
                    tracing::warn!(%error, "events.not_read");
                    return None;
                }
            }
            if self.read.is_empty() {
                let _ = timeout(LONGEST_REST, self.bell.changed()).await;
            }
        }
    }

    /// Returns the next events, the last one first.
    async fn ask(&mut self) -> Result<Vec<CustomerEvent>> {
        let mut conn = self.events.db.read().await?;
        let mut found = store::after(&mut conn, self.user_id, self.place, AT_ONCE).await?;
        found.reverse();
        Ok(found)
    }
}

/// Removes the events of an account that is deleted.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut Conn, user_id: UserId) -> Result<()> {
    store::forget(conn, user_id).await?;
    Ok(())
}

/// Removes events that no stream asks for any more; returns their number.
///
/// # Errors
/// When the database refuses; what was removed until then is gone.
pub async fn purge(db: &Db, clock: &Clock) -> Result<u64> {
    let before = clock.now() - KEPT;
    let mut removed = 0;
    loop {
        let mut conn = db.begin().await?;
        let now = store::purge(&mut conn, before, PURGED_AT_ONCE).await?;
        conn.commit().await?;
        if now == 0 {
            return Ok(removed);
        }
        removed += now;
    }
}

/// Looks for what is new, until cancelled.
pub async fn watch(events: Events, cancel: CancellationToken) {
    let worker = Worker::new("events", INTERVAL);
    worker.run(cancel, || events.look()).await;
}
