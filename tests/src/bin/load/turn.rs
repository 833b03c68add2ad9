//! A turn: users who are at work at the same time for a while.

use std::time::{Duration, Instant};

use dermaga_tests::by_hand::{Buyer, Committer, Copyist};
use futures::future::join_all;

use crate::{Outcome, floor::Replayer, journey::Journey, routes::Caller};

/// Failures after which a user stops for this turn.
const MOST_FAILURES: u64 = 5;

/// A user, who repeats one thing as soon as it is done.
#[derive(Debug)]
pub(crate) enum Actor {
    Caller(Box<Caller>),
    Journey(Box<Journey>),
    Replayer(Box<Replayer>),
    Copyist(Box<Copyist>),
    Buyer(Box<Buyer>),
    Committer(Box<Committer>),
}

/// Latencies and failures of one or more users.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Step and microseconds of each answer. Step 0 is the whole of what is repeated.
    pub(crate) samples: Vec<(usize, u64)>,
    /// Refusals of a queue that was full, which were asked again.
    pub(crate) busy: u64,
    pub(crate) failures: u64,
    pub(crate) first_failure: Option<String>,
}

impl Record {
    /// Notes that a step is done.
    pub(crate) fn take(&mut self, step: usize, started: Instant) {
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.samples.push((step, micros));
    }

    fn fail(&mut self, failure: String) {
        self.failures += 1;
        self.first_failure.get_or_insert(failure);
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.samples.extend(other.samples);
        self.busy += other.busy;
        self.failures += other.failures;
        if let Some(failure) = other.first_failure {
            self.first_failure.get_or_insert(failure);
        }
    }

    /// Counts how often the whole was done.
    pub(crate) fn acts(&self) -> usize {
        self.samples.iter().filter(|(step, _)| *step == 0).count()
    }
}

/// Result of a turn.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) took: Duration,
    pub(crate) record: Record,
}

/// Lets all work for this long. Whatever has begun by then is finished, and counts.
pub(crate) async fn play(actors: Vec<Actor>, length: Duration) -> Outcome<(Vec<Actor>, Turn)> {
    let started = Instant::now();
    let until = started + length;
    let tasks = actors
        .into_iter()
        .map(|actor| tokio::spawn(actor.work(until)));
    let (mut back, mut record) = (Vec::new(), Record::default());
    for done in join_all(tasks).await {
        let (actor, own) = done?;
        back.push(actor);
        record.add(own);
    }
    let took = started.elapsed();
    Ok((back, Turn { took, record }))
}

impl Actor {
    async fn work(mut self, until: Instant) -> (Self, Record) {
        let mut record = Record::default();
        while Instant::now() < until && record.failures < MOST_FAILURES {
            if let Err(failure) = self.act(&mut record).await {
                record.fail(failure.to_string());
            }
        }
        (self, record)
    }

    async fn act(&mut self, record: &mut Record) -> Outcome<()> {
        match self {
            Self::Caller(caller) => caller.act(record).await,
            Self::Journey(journey) => journey.act(record).await,
            Self::Replayer(replayer) => replayer.act(record).await,
            Self::Copyist(copyist) => {
                let started = Instant::now();
                copyist.copy().await;
                record.take(0, started);
                Ok(())
            }
            Self::Buyer(buyer) => {
                let started = Instant::now();
                buyer.buy().await;
                record.take(0, started);
                Ok(())
            }
            Self::Committer(committer) => {
                let started = Instant::now();
                committer.commit().await;
                record.take(0, started);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_add_up_and_keep_the_first_failure() {
        let mut all = Record::default();
        let mut one = Record::default();
        one.take(0, Instant::now());
        one.take(2, Instant::now());
        one.fail("first".to_owned());
        let mut other = Record {
            busy: 3,
            ..Record::default()
        };
        other.fail("second".to_owned());
        all.add(one);
        all.add(other);
        assert_eq!((all.samples.len(), all.acts()), (2, 1));
        assert_eq!((all.busy, all.failures), (3, 2));
        assert_eq!(all.first_failure.as_deref(), Some("first"));
    }
}
