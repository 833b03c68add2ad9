//! Answers a repeated request from its first answer instead of repeating it.
//!
//! A request with a key claims it, does its work, and keeps its answer in the same database
//! transaction as the work: neither exists without the other. Claims carry their holder, and only
//! the holder can keep an answer, so a request that was taken for dead and comes back can commit
//! nothing. See `docs/decisions/0005-answers-are-kept-with-the-act.md`.

mod claim;
mod purge;
mod store;

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

pub use claim::Claim;
pub use purge::{purge, purge_hourly};

use crate::{
    Code, Error, Result,
    db::{Clock, Conn, Db},
    identity::Identity,
    ids::UserId,
    throttle::Throttle,
};

/// Time for which a key is remembered.
pub const KEPT: TimeDelta = TimeDelta::hours(24);
/// Refusals of one customer that are kept in [`KEPT_REFUSALS_WINDOW`]; each is a row for a day.
const KEPT_REFUSALS: u32 = 100;
const KEPT_REFUSALS_WINDOW: TimeDelta = TimeDelta::hours(1);

/// Returns the counter of refusals kept, by customer. Beyond its limit a refusal is answered and
/// not stored: it did nothing, so the repeated request may be judged again.
pub fn refusals() -> Throttle<UserId> {
    Throttle::new(KEPT_REFUSALS, KEPT_REFUSALS_WINDOW, "refused requests")
}

/// Longest wait of a duplicate for the answer of the running request.
const WAIT: Duration = Duration::from_secs(5);
/// Interval between looks for that answer: a purchase takes a few of these.
const POLL: Duration = Duration::from_millis(50);

/// Client's name of one intention: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    pub const MAX_LENGTH: usize = 255;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "must be 1 to {} visible ASCII characters, without spaces",
            Self::MAX_LENGTH
        ))
    }
}

/// Time by which a lock must exceed its lease to count as taken by a clock that was ahead.
const SKEW: TimeDelta = TimeDelta::minutes(5);

/// Request that must have one effect only. A key applies to one customer on one route.
#[derive(Debug, Clone)]
pub struct Request {
    pub user_id: UserId,
    /// Method and route template: `POST /api/subscriptions`.
    pub route: String,
    pub key: Key,
    /// Hash of the request: equal for a repetition, different for anything else.
    pub fingerprint: String,
}

/// Time for which a key is held between two renewals, at most: for so long are keys of a server that died and did not come
/// back not free. It is more than clocks of two servers are apart, or a repetition would take the key of a request that runs.
const LEASE: TimeDelta = TimeDelta::seconds(15);

/// Terms of a claim, and the server that works on its request.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Longest time for which the request holds its key; none for one that continues when its client is gone or its time
    /// is over, and holds its key until its end.
    pub longest: Option<Duration>,
    /// Identity of the server, the same after a restart.
    pub server: Uuid,
}

impl Terms {
    fn lease(self) -> TimeDelta {
        let longest = self.longest.map(TimeDelta::from_std);
        longest.and_then(Result::ok).unwrap_or(LEASE).min(LEASE)
    }

    /// Latest end of a lock that is believed. A later one was taken by a clock that was ahead, and would hold the key for
    /// as long.
    fn believed(now: DateTime<Utc>) -> DateTime<Utc> {
        now + LEASE + SKEW
    }
}

/// An answer as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// Result of [`begin`].
#[derive(Debug)]
pub enum Begun {
    /// The request is the first: it does its work, then settles its claim.
    Run(Claim),
    /// The request was answered before.
    Answered(Answer),
}

/// Claims the request's key, or returns the answer that is kept under it. While another
/// request holds the key this waits for its answer, five seconds at the most.
///
/// # Errors
/// `IDEMPOTENCY_MISMATCH` when the key belongs to a different request, `IN_PROGRESS` when the other
/// request is not answered in time.
pub async fn begin(db: &Db, clock: &Clock, request: Request, terms: Terms) -> Result<Begun> {
    let deadline = Instant::now() + WAIT;
    // Most keys are new, which their claim finds out by itself: only where it takes nothing is there something to read.
    let mut failure = match Claim::take(db, clock, &request, terms).await {
        Ok(Some(claim)) => return Ok(Begun::Run(claim)),
        Ok(None) => None,
        Err(error) => Some(error),
    };
    loop {
        let now = clock.now();
        let known = store::find(&mut db.read().await?, &request, now - KEPT).await?;
        let held_until = known
            .as_ref()
            .map(|known| known.locked_until)
            .filter(|until| *until > now && *until <= Terms::believed(now));
        match known {
            // First: another request must neither wait for this answer nor have it.
            Some(known) if known.request_hash != request.fingerprint => return Err(mismatch()),
            Some(known) => {
                if let Some(answer) = known.answer() {
                    return Ok(Begun::Answered(answer));
                }
            }
            None => {}
        }
        // Said only now, as an answer is repeated where nothing can be written, too.
        if let Some(error) = failure.take() {
            return Err(error);
        }
        if held_until.is_none()
            && let Some(claim) = Claim::take(db, clock, &request, terms).await?
        {
            return Ok(Begun::Run(claim));
        }
        if Instant::now() >= deadline {
            // A holder that died answers no more: only the end of its lease lets another one run. The read above may
            // have taken a part of that time.
            let rest = held_until.map_or(TimeDelta::zero(), |until| until - clock.now());
            return Err(in_progress(rest));
        }
        sleep(POLL).await;
    }
}

/// Oldest claim that a server which died may have left, with a clock that was put back since.
const LEFT_BEHIND: TimeDelta = TimeDelta::hours(1);

/// Forgets the keys of an account that is deleted, with the answers that were kept under them.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut Conn, user_id: UserId) -> Result<()> {
    store::forget(conn, user_id).await?;
    Ok(())
}

/// Ends the claims that an earlier run of this server left, so that a repeated request need not wait for their time.
/// On SQLite these are all claims, as it has no other server; on PostgreSQL those under this identity. A request that
/// runs after all still has its key until another one takes it; then it keeps no answer, and so commits nothing. Call
/// it before the first request of this run.
///
/// # Errors
/// When the database refuses.
pub async fn release_left_behind(db: &Db, clock: &Clock, identity: &Identity) -> Result<()> {
    let on_postgres = matches!(db, Db::Postgres(_));
    if on_postgres && !identity.is_alone() {
        return Ok(());
    }
    let now = clock.now();
    let made_after = now - LEFT_BEHIND;
    let mut conn = db.begin().await?;
    let claims = if on_postgres {
        store::unlock(&mut conn, identity.id, now, made_after).await?
    } else {
        store::unlock_all(&mut conn, now, made_after).await?
    };
    conn.commit().await?;
    if claims > 0 {
        tracing::info!(claims, "idempotency.released");
    }
    Ok(())
}

fn mismatch() -> Error {
    let message = "This Idempotency-Key was used for another request. Use a new key for a new one.";
    Error::new(Code::IdempotencyMismatch, message)
}

/// The refusal while another request has the key, which it will lose after a time if it is not answered before.
fn in_progress(rest: TimeDelta) -> Error {
    let message = "The first request with this Idempotency-Key is still running. Try again in a moment, with the same key.";
    let milliseconds = u64::try_from(rest.num_milliseconds()).unwrap_or_default();
    let seconds = milliseconds.div_ceil(1000).max(1);
    Error::new(Code::InProgress, message).retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{db::Uncommitted, fetch_one, test_database::TestDatabase};

    fn request(database: &TestDatabase) -> Request {
        Request {
            user_id: database.user_id,
            route: "POST /api/subscriptions".to_owned(),
            key: "first".parse().unwrap(),
            fingerprint: "what is asked".to_owned(),
        }
    }

    fn terms() -> Terms {
        Terms {
            longest: Some(Duration::from_secs(60)),
            server: Uuid::from_u128(1),
        }
    }

    async fn claimed(database: &TestDatabase) -> Claim {
        claimed_on(database, terms()).await
    }

    async fn claimed_on(database: &TestDatabase, terms: Terms) -> Claim {
        let (db, clock) = (&database.db, &database.clock);
        let begun = begin(db, clock, request(database), terms).await;
        let Begun::Run(claim) = begun.unwrap() else {
            panic!("no answer was kept");
        };
        claim
    }

    /// Returns the rest of the only lease.
    async fn lease_left(database: &TestDatabase) -> TimeDelta {
        let mut conn = database.db.begin().await.unwrap();
        let sql = "SELECT locked_until FROM idempotency_keys";
        let (until,) = fetch_one!(conn, (DateTime<Utc>,), sql).unwrap();
        until - database.clock.now()
    }

    #[tokio::test]
    async fn the_wait_of_a_claim_is_not_taken_from_its_lease() {
        let database = TestDatabase::open().await;
        let writing = database.db.begin().await.unwrap();
        let wait = async {
            // The claim waits by then.
            sleep(Duration::from_millis(200)).await;
            database.clock.advance(TimeDelta::seconds(14));
            writing.rollback().await.unwrap();
        };
        let (_claim, ()) = tokio::join!(claimed(&database), wait);
        let left = lease_left(&database).await;
        assert!(left > TimeDelta::seconds(10), "{left}");
    }

    /// The first renewal waits until it is refused; those behind it do not wait for that, and their wait is not taken from
    /// the lease.
    #[tokio::test]
    async fn a_renewal_that_waits_holds_up_no_other() {
        let database = TestDatabase::open().await;
        let claim = claimed(&database).await;
        let work = async {
            let writing = database.db.begin().await.unwrap();
            // The first one began after 4 seconds, and a writer waits for 10 at most.
            sleep(Duration::from_secs(15)).await;
            writing.rollback().await.unwrap();
            sleep(Duration::from_millis(500)).await;
        };
        claim.hold(work).await;
        let left = lease_left(&database).await;
        assert!(left > TimeDelta::seconds(10), "{left}");
    }

    #[tokio::test]
    async fn a_request_that_runs_to_its_end_holds_its_key_until_then() {
        let terms = Terms {
            longest: None,
            ..terms()
        };
        let database = TestDatabase::open().await;
        let claim = claimed_on(&database, terms).await;
        database.clock.advance(TimeDelta::seconds(14));
        claim.hold(sleep(Duration::from_secs(5))).await;
        let left = lease_left(&database).await;
        assert!(left > TimeDelta::seconds(10), "{left}");
    }

    /// The claim goes with a commit that it shared and that failed, which is no other request at work.
    #[tokio::test]
    async fn a_request_whose_claim_was_lost_is_to_be_sent_again() {
        let database = TestDatabase::open().await;
        let answer = Answer {
            status: 201,
            body: "{}".to_owned(),
        };
        let claim = claimed(&database).await;
        database.sql("DELETE FROM idempotency_keys").await;
        let lost = claim.refuse(&answer).await.unwrap_err();
        assert_eq!((lost.code, lost.retry_after), (Code::Unavailable, Some(1)));
        let claim = claimed(&database).await;
        database.sql("DELETE FROM idempotency_keys").await;
        let act = Uncommitted::new(database.db.begin().await.unwrap(), ());
        let lost = claim.commit(act, &answer).await.unwrap_err();
        assert_eq!((lost.code, lost.retry_after), (Code::Unavailable, Some(1)));

        let claim = claimed(&database).await;
        let taken = "UPDATE idempotency_keys SET holder = user_id";
        database.sql(taken).await;
        let refused = claim.refuse(&answer).await.unwrap_err();
        assert_eq!(refused.code, Code::InProgress);
    }

    /// Deletes the account as far as a request can see, with its keys.
    async fn delete_account(database: &TestDatabase) {
        let mut conn = database.db.begin().await.unwrap();
        forget(&mut conn, database.user_id).await.unwrap();
        conn.commit().await.unwrap();
        database
            .sql("UPDATE users SET status = 'DISABLED', deleted_at = updated_at")
            .await;
    }

    /// A repetition would not be let in.
    #[tokio::test]
    async fn a_request_whose_account_was_deleted_is_not_to_be_sent_again() {
        let answer = Answer {
            status: 404,
            body: "{}".to_owned(),
        };
        let database = TestDatabase::open().await;
        let claim = claimed(&database).await;
        delete_account(&database).await;
        let refused = claim.refuse(&answer).await.unwrap_err();
        let found = (refused.code, refused.retry_after);
        assert_eq!(found, (Code::Unauthenticated, None));

        let database = TestDatabase::open().await;
        let claim = claimed(&database).await;
        delete_account(&database).await;
        let act = Uncommitted::new(database.db.begin().await.unwrap(), ());
        let refused = claim.commit(act, &answer).await.unwrap_err();
        let found = (refused.code, refused.retry_after);
        assert_eq!(found, (Code::Unauthenticated, None));
    }

    #[tokio::test]
    async fn a_new_key_costs_one_statement() {
        let database = TestDatabase::open().await;
        let TestDatabase { db, clock, .. } = &database;
        let request = request(&database);
        let sent = db.record();
        let begun = begin(db, clock, request.clone(), terms()).await;
        let Begun::Run(claim) = begun.unwrap() else {
            panic!("nothing was asked before");
        };
        assert_eq!(sent.statements().len(), 1, "{:#?}", sent.statements());
        let answer = Answer {
            status: 201,
            body: "{}".to_owned(),
        };
        claim.refuse(&answer).await.unwrap();
        let again = begin(db, clock, request, terms()).await;
        assert!(matches!(again.unwrap(), Begun::Answered(kept) if kept == answer));
    }

    #[test]
    fn a_repetition_comes_back_when_the_lease_is_over() {
        for (milliseconds, seconds) in [
            (-5_000, 1),
            (0, 1),
            (1_000, 1),
            (1_001, 2),
            (29_400, 30),
            (35_000, 35),
        ] {
            let error = in_progress(TimeDelta::milliseconds(milliseconds));
            assert_eq!(error.retry_after, Some(seconds), "{milliseconds}");
        }
    }

    #[test]
    fn keys_are_short_and_visible() {
        let longest = "k".repeat(255);
        for good in [
            "a",
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
            "\"quoted\"",
            &longest,
        ] {
            assert_eq!(good.parse::<Key>().unwrap().as_str(), good);
        }
        let too_long = "k".repeat(256);
        for bad in ["", " ", "a b", "tab\t", "kunci-é", "\u{7f}", &too_long] {
            assert!(bad.parse::<Key>().is_err(), "{bad:?}");
        }
    }
}
