//! Looks for proofs by the clock, and the end of what was not proven or is gone.

use std::time::Duration;

use chrono::TimeDelta;
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{
    Domains,
    model::{Domain, DomainState},
    store::{self, QUEUE},
};
use crate::{
    Code, Error, Result,
    db::{Lease, Term},
    ids::DomainId,
    timekeeping,
    workers::{Next, Worker},
};

/// Rest between two looks at what is due.
const INTERVAL: Duration = Duration::from_secs(5);
/// Claims that are looked at together.
const AT_ONCE: i64 = 8;
/// Longer than one look takes.
const LEASE: TimeDelta = TimeDelta::minutes(2);
/// Pause between looks for the proof of a claim that was just made, and of an older one.
const PAUSES: (TimeDelta, TimeDelta) = (TimeDelta::minutes(5), TimeDelta::minutes(30));
/// Age from which a claim is an older one.
const OLDER: TimeDelta = TimeDelta::hours(1);

/// Returns the pause after a look for the proof of a claim of this age.
pub(super) fn pause(age: TimeDelta) -> TimeDelta {
    let (short, long) = PAUSES;
    if age < OLDER { short } else { long }
}

impl Domains {
    /// Looks for the proofs that are due, and ends what has expired or belonged to instances that are gone;
    /// returns the number of claims that were due.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn look_after(&self) -> Result<usize> {
        let (db, clock) = (&self.instances.db, &self.instances.clock);
        let now = clock.now();
        let mut conn = db.read().await?;
        let ended = store::ended(&mut conn, AT_ONCE).await?;
        let is_any_due = QUEUE.is_any_due(&mut conn, now).await?;
        drop(conn);
        for (id,) in ended {
            let mut conn = db.begin().await?;
            store::delete(&mut conn, id, DomainState::Removing).await?;
            conn.commit().await?;
        }
        if !is_any_due {
            return Ok(0);
        }
        let until = now + LEASE;
        let mut conn = db.begin().await?;
        let leases = QUEUE
            .claim_due(&mut conn, clock, Term { now, until }, AT_ONCE)
            .await?;
        conn.commit().await?;
        let looks = leases.iter().map(|lease| self.check(lease));
        let looked: Vec<Result<()>> = join_all(looks).await;
        looked.into_iter().collect::<Result<()>>()?;
        Ok(leases.len())
    }

    async fn check(&self, lease: &Lease) -> Result<()> {
        let (db, clock) = (&self.instances.db, &self.instances.clock);
        let id: DomainId = lease.id.into();
        let seen = store::by_id(&mut db.read().await?, id).await?;
        let Some(seen) = seen.filter(|seen| seen.state == DomainState::Pending) else {
            return Ok(());
        };
        if seen.expires_at <= clock.now() {
            // A clock that was set says nothing about the time that passed.
            if timekeeping::trusted(clock).is_err() {
                return Ok(());
            }
            let mut conn = db.begin().await?;
            store::delete(&mut conn, id, DomainState::Pending).await?;
            return Ok(conn.commit().await?);
        }
        // Neither name servers nor strangers' servers are asked for a shop that takes no domains any more.
        let looked = match self.check_taken() {
            Ok(()) => self.look(&seen.name, &seen.token).await,
            Err(refused) => Err(refused.message),
        };
        let problem = match looked {
            Ok(by) => {
                let mut conn = db.begin().await?;
                match self.lead(&mut conn, &seen, by).await {
                    Ok(()) => {
                        conn.commit().await?;
                        self.instances.handle.wake();
                        return Ok(());
                    }
                    Err(refused) if is_refusal(&refused) => {
                        conn.rollback().await?;
                        refused.message
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(problem) => problem,
        };
        self.keep(&seen, &problem).await
    }

    /// Writes down why a claim waits on.
    async fn keep(&self, seen: &Domain, problem: &str) -> Result<()> {
        let mut conn = self.instances.db.begin().await?;
        self.note(&mut conn, seen, problem).await?;
        Ok(conn.commit().await?)
    }
}

/// Returns true for a failure that says something about the claim, and not about the shop.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.code,
        Code::Conflict | Code::InvalidState | Code::NotFound
    )
}

/// Looks after domains until cancelled.
pub async fn watch(domains: Domains, cancel: CancellationToken) {
    let worker = Worker::new("domains", INTERVAL);
    let domains = &domains;
    let step = move || async move {
        let looked = domains.look_after().await?;
        let is_more = usize::try_from(AT_ONCE).is_ok_and(|limit| looked >= limit);
        Ok(if is_more {
            Next::AtOnce
        } else {
            Next::AfterRest
        })
    };
    worker.run(cancel, step).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_claim_is_looked_at_less_often() {
        let (fresh, old) = (TimeDelta::minutes(59), TimeDelta::hours(1));
        assert_eq!(pause(TimeDelta::zero()), pause(fresh));
        assert!(pause(fresh) < pause(old));
        assert_eq!(pause(old), pause(TimeDelta::days(6)));
    }

    #[test]
    fn what_a_claim_can_be_refused_for_is_no_failure_of_the_shop() {
        let refused = Error::new(Code::Conflict, "This domain already leads elsewhere.");
        assert!(is_refusal(&refused));
        assert!(!is_refusal(&Error::internal(std::io::Error::other("gone"))));
    }
}
