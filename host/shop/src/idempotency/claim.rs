//! Claim of a key while its request runs.

use std::{convert::Infallible, future::pending, pin::pin, time::Duration};

use chrono::{DateTime, TimeDelta};
use tokio::{
    runtime::Handle,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Answer, KEPT, Request, Terms, in_progress, store};
use crate::{
    Code, Error, Result,
    db::{Clock, Conn, Db, Uncommitted, new_id},
    owners,
};

/// Interval between the beginnings of renewals of a lease, which has room for some that fail.
const RENEWED_EVERY: Duration = Duration::from_secs(4);
/// Longest time of a renewal. Written later than that, its end of the lease could come before the next renewal.
const RENEWED_WITHIN: Duration = Duration::from_secs(10);

/// Waits between attempts to release a key, while the database may be on its way back.
const RELEASED_AFTER: [Duration; 3] = [
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// Key held by a running request. Dropped without an answer (the client went away, the handler
/// panicked) it releases the key, so that the next attempt need not wait for the lease to end.
#[derive(Debug)]
pub struct Claim {
    db: Db,
    clock: Clock,
    request: Request,
    terms: Terms,
    holder: Uuid,
    settled: bool,
}

impl Claim {
    /// Takes the key, unless another request holds it. Once begun this runs to its end even when
    /// the caller is dropped: a claim cut off in its commit would have no owner.
    pub(super) async fn take(
        db: &Db,
        clock: &Clock,
        request: &Request,
        terms: Terms,
    ) -> Result<Option<Self>> {
        let claim = Self {
            db: db.clone(),
            clock: clock.clone(),
            request: request.clone(),
            terms,
            holder: new_id(clock),
            settled: false,
        };
        let take = claim.taken().in_current_span();
        tokio::spawn(take).await.map_err(Error::internal)?
    }

    async fn taken(mut self) -> Result<Option<Self>> {
        let mut conn = self.db.begin_single().await?;
        // Read after the wait for a connection, which would be taken from the lease.
        let now = self.clock.now();
        let new = store::NewClaim {
            request: &self.request,
            holder: self.holder,
            server: self.terms.server,
            now,
            locked_until: now + self.terms.lease(),
            unbelieved: Terms::believed(now),
            forgotten: now - KEPT,
        };
        let taken = store::claim(&mut conn, &new).await?;
        // The answer is kept only under a claim that is there, and is durable with it.
        conn.commit_unawaited().await?;
        self.settled = !taken;
        Ok(taken.then_some(self))
    }

    /// Runs an operation, and renews the lease while it runs, so that the lease of a server that died is soon over.
    pub async fn hold<T>(&self, act: impl Future<Output = T>) -> T {
        let mut act = pin!(act);
        tokio::select! {
            biased;
            done = act.as_mut() => done,
            never = self.renew_again_and_again() => match never {},
        }
    }

    /// Renews for the longest time for which the request may hold its key.
    async fn renew_again_and_again(&self) -> Infallible {
        let longest = self.terms.longest.unwrap_or(Duration::MAX);
        let began = Instant::now();
        let mut ticks = interval_at(began + RENEWED_EVERY, RENEWED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if began.elapsed() >= longest {
                return pending().await;
            }
            // Not waited for: the lease would end behind one that is slow, or whose connection never answers.
            self.begin_renewal();
        }
    }

    /// Begins to move the end of the lease. This runs to its end, also when the operation ends before.
    fn begin_renewal(&self) {
        let (db, clock, terms) = (self.db.clone(), self.clock.clone(), self.terms);
        let (request, holder) = (self.request.clone(), self.holder);
        let renewal = async move {
            let mut conn = db.begin_single().await?;
            // Read after the wait for a connection, as in a claim.
            let until = clock.now() + terms.lease();
            store::renew(&mut conn, &request, holder, until).await?;
            conn.commit_unawaited().await
        };
        let limited = async move {
            let renewed = timeout(RENEWED_WITHIN, renewal).await;
            if let Err(error) = renewed.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                tracing::warn!(%error, "idempotency.key_not_renewed");
            }
        };
        tokio::spawn(limited.in_current_span());
    }

    /// Commits the operation together with its answer.
    ///
    /// # Errors
    /// `IN_PROGRESS` when the lease ended and another request took the key; `UNAVAILABLE` when the claim was lost;
    /// `UNAUTHENTICATED` when the account was deleted, with its keys. All is undone then.
    pub async fn commit(mut self, mut act: Uncommitted<()>, answer: &Answer) -> Result<()> {
        if !store::keep_answer(act.conn(), &self.request, self.holder, answer).await? {
            return Err(gone(act.conn(), &self.request).await?);
        }
        act.commit().await?;
        self.settled = true;
        Ok(())
    }

    /// Keeps the answer of a request that was refused and did nothing.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn refuse(mut self, answer: &Answer) -> Result<()> {
        let mut conn = self.db.begin_single().await?;
        if !store::keep_answer(&mut conn, &self.request, self.holder, answer).await? {
            return Err(gone(&mut conn, &self.request).await?);
        }
        conn.commit().await?;
        self.settled = true;
        Ok(())
    }

    /// Releases the key: the request did nothing, and may be sent again.
    ///
    /// # Errors
    /// When the database does not answer; it is released behind that, or free when the lease ends.
    pub async fn release(mut self) -> Result<()> {
        release(&self.db, &self.request, self.holder).await?;
        self.settled = true;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if self.settled {
            return;
        }
        let (db, request, holder) = (self.db.clone(), self.request.clone(), self.holder);
        let give_back = async move {
            let mut waits = RELEASED_AFTER.into_iter();
            while let Err(error) = release(&db, &request, holder).await {
                let Some(wait) = waits.next() else {
                    tracing::warn!(%error, "idempotency.key_not_released");
                    return;
                };
                sleep(wait).await;
            }
        };
        runtime.spawn(give_back.in_current_span());
    }
}

/// Returns the failure of a request whose claim is not there any more: its account was deleted, another request took the
/// key, or the claim was lost with a commit that it shared and that nothing waited for.
async fn gone(conn: &mut Conn, request: &Request) -> Result<Error> {
    // First: a repetition would not be let in. The deletion that forgot the key has committed, so no lock is needed.
    owners::check_active(conn, request.user_id).await?;
    let taken = store::find(conn, request, DateTime::UNIX_EPOCH).await?;
    if taken.is_some() {
        return Ok(in_progress(TimeDelta::zero()));
    }
    let message =
        "This request could not be finished. Try again in a moment, with the same Idempotency-Key.";
    Ok(Error::new(Code::Unavailable, message).retry_after(1))
}

/// Releases a key without an answer. A commit cut off in its last moment may have gone through, and
/// the database makes this wait until it knows.
async fn release(db: &Db, request: &Request, holder: Uuid) -> Result<()> {
    let mut conn = db.begin().await?;
    store::release(&mut conn, request, holder).await?;
    Ok(conn.commit().await?)
}
