//! Limits of requests by class, held together by all servers of a shop.
//!
//! A limit holds for the last minute at any time: windows follow each other, and requests of the one before
//! count as far as it is not yet a minute ago. On SQLite the one server counts in its memory. On PostgreSQL
//! servers take portions of a window from one row, in the background and several parties at a time, so that
//! requests are counted without a write for each. While the database does not answer, each server holds the
//! limit alone. See `docs/decisions/0029-limits-are-taken-in-portions.md`.

mod store;
mod window;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use tokio::{
    sync::{Notify, mpsc},
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    store::Taken,
    window::{Rule, Step, Window},
};
use crate::{
    Error, Result,
    db::Db,
    ids::UserId,
    throttle::{Bounded, network_of, too_many},
    workers::{Next, Worker},
};

/// Questions that may wait for the database; further parties are counted by this server alone.
const MOST_WAITING: usize = 4_096;
/// Parties whose portions are taken in one transaction.
const BATCH: usize = 64;
/// Longest that the database may take for a batch.
const BATCH_TIME: Duration = Duration::from_secs(1);
/// Longest that a request waits for a portion: for a batch under way, and its own. A busy machine must not make every
/// server count alone, and requests need the same database after this.
const PORTION_WAIT: Duration = Duration::from_secs(2);
/// Time for which the database is left alone after it did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Requests that a party may send in a window, by class.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Requests without an account, by network.
    pub catalogue: u32,
    /// Requests of one customer.
    pub customers: u32,
    /// Requests of one administrator.
    pub administrators: u32,
    /// Notices of a gateway and received mails, by network.
    pub webhooks: u32,
    pub window: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            catalogue: 100,
            customers: 60,
            administrators: 200,
            webhooks: 1_000,
            window: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// Limits far above what people reach, for demonstrations, tests and benchmarks.
    #[must_use]
    pub const fn raised(self) -> Self {
        const HIGH: u32 = 1_000_000;
        Self {
            catalogue: HIGH,
            customers: HIGH,
            administrators: HIGH,
            webhooks: HIGH,
            ..self
        }
    }
}

/// Class of requests that has a limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    Catalogue,
    Customers,
    Administrators,
    Webhooks,
}

impl Class {
    /// Name of the policy in `RateLimit-Policy`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Catalogue => "catalogue",
            Self::Customers => "customers",
            Self::Administrators => "administrators",
            Self::Webhooks => "webhooks",
        }
    }
}

/// Party whose requests are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Party {
    /// A network; `None` for a request that came by no connection.
    Network(Option<IpAddr>),
    Account(UserId),
}

impl Party {
    /// Returns the party of an address: itself, or the /64 network of an IPv6 address.
    pub fn at(address: Option<IpAddr>) -> Self {
        Self::Network(address.map(network_of))
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(Some(address)) => address.fmt(f),
            Self::Network(None) => f.write_str("none"),
            Self::Account(id) => id.fmt(f),
        }
    }
}

/// Quota of a party after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub class: Class,
    pub limit: u32,
    pub remaining: u32,
    /// Seconds after which a request more may come than now.
    pub more_in: u64,
    /// Length of a window in seconds.
    pub window: u64,
    /// True when this request is refused.
    pub is_exceeded: bool,
}

impl Quota {
    /// Returns the refusal of a request beyond the limit.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` with the seconds after which one request is admitted.
    pub fn check(&self) -> Result<()> {
        if !self.is_exceeded {
            return Ok(());
        }
        let wait = i64::try_from(self.more_in).unwrap_or(i64::MAX);
        // The throttle adds the second that it cuts off, which is here already.
        Err(too_many("requests", TimeDelta::seconds(wait - 1)))
    }
}

/// Limit of one class, and the windows of its parties.
#[derive(Debug)]
struct Counter {
    class: Class,
    rule: Rule,
    windows: Bounded<Party, Window>,
}

impl Counter {
    fn new(class: Class, rule: Rule) -> Self {
        let windows = Bounded::default();
        Self {
            class,
            rule,
            windows,
        }
    }

    /// Changes the window of a party, if it is known.
    fn change(&self, party: &Party, change: impl FnOnce(&mut Window)) {
        if let Some(window) = self.windows.lock().peek_mut(party) {
            change(window);
        }
    }
}

/// Question for the next portion of a window.
#[derive(Debug, Clone, Copy)]
struct Ask {
    class: Class,
    party: Party,
    began: Instant,
    owed: u32,
}

/// Limits of all classes.
#[derive(Debug)]
pub struct Rates {
    db: Db,
    length: Duration,
    catalogue: Counter,
    customers: Counter,
    administrators: Counter,
    webhooks: Counter,
    asks: mpsc::Sender<Ask>,
    /// Taken by the worker.
    asked: Mutex<Option<mpsc::Receiver<Ask>>>,
    /// Wakes requests that wait for a portion.
    news: Notify,
}

impl Rates {
    pub fn new(db: Db, settings: Settings) -> Self {
        let (asks, asked) = mpsc::channel(MOST_WAITING);
        let is_shared = matches!(db, Db::Postgres(_));
        let counter = |class, limit| {
            let rule = Rule {
                limit,
                length: settings.window,
                is_shared,
            };
            Counter::new(class, rule)
        };
        Self {
            db,
            length: settings.window,
            catalogue: counter(Class::Catalogue, settings.catalogue),
            customers: counter(Class::Customers, settings.customers),
            administrators: counter(Class::Administrators, settings.administrators),
            webhooks: counter(Class::Webhooks, settings.webhooks),
            asks,
            asked: Mutex::new(Some(asked)),
            news: Notify::new(),
        }
    }

    const fn counter(&self, class: Class) -> &Counter {
        match class {
            Class::Catalogue => &self.catalogue,
            Class::Customers => &self.customers,
            Class::Administrators => &self.administrators,
            Class::Webhooks => &self.webhooks,
        }
    }

    const fn is_shared(&self) -> bool {
        matches!(self.db, Db::Postgres(_))
    }

    /// Counts a request of a party, and admits it while there is a place in its window. A refused request
    /// is not counted.
    pub async fn admit(&self, class: Class, party: Party) -> Quota {
        let counter = self.counter(class);
        let deadline = Instant::now() + PORTION_WAIT;
        loop {
            let news = self.news.notified();
            let (step, quota) = self.step(counter, party, Instant::now());
            if step != Step::Wait {
                return quota;
            }
            let has_come = tokio::select! {
                () = news => true,
                () = sleep_until(deadline.into()) => false,
            };
            if !has_come {
                counter.change(&party, Window::count_alone);
            }
        }
    }

    fn step(&self, counter: &Counter, party: Party, now: Instant) -> (Step, Quota) {
        let rule = counter.rule;
        let mut windows = counter.windows.lock();
        let window = windows.get_or_insert_mut(party, || Window::begin(now, rule));
        window.follow(now, rule);
        let step = window.admit(now, rule);
        let asked = window.ask(step, now, rule).map(|owed| Ask {
            class: counter.class,
            party,
            began: window.began,
            owed,
        });
        if asked.is_some_and(|ask| self.asks.try_send(ask).is_err()) {
            window.count_alone();
            self.news.notify_waiters();
        }
        let quota = Quota {
            class: counter.class,
            limit: rule.limit,
            remaining: window.remaining(now, rule),
            more_in: seconds_up(window.more_in(now, rule)),
            window: seconds_up(self.length),
            is_exceeded: step == Step::Refused,
        };
        (step, quota)
    }

    /// Takes the portions that requests need, until `stop`.
    pub async fn take_portions(&self, stop: CancellationToken) {
        let asked = self.asked.lock();
        let asked = asked.unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut asked) = asked else { return };
        let mut rests_until = Instant::now();
        while let Some(Some(first)) = stop.run_until_cancelled(asked.recv()).await {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = asked.try_recv()
            {
                batch.push(next);
            }
            if Instant::now() < rests_until || !self.take_batch(&mut batch).await {
                if Instant::now() >= rests_until {
                    rests_until = Instant::now() + PAUSE;
                }
                for ask in &batch {
                    let counter = self.counter(ask.class);
                    counter.change(&ask.party, Window::count_alone);
                }
            }
            self.news.notify_waiters();
        }
    }

    /// Takes the portions of a batch; false when the database does not answer.
    async fn take_batch(&self, batch: &mut [Ask]) -> bool {
        // One order on all servers, so that two batches never wait for each other.
        batch.sort_by_key(|ask| (ask.class, ask.party));
        let taken = timeout(BATCH_TIME, self.taken(batch)).await;
        let taken = match taken {
            Ok(Ok(taken)) => taken,
            Ok(Err(error)) => {
                tracing::warn!(%error, "rates.counted_alone");
                return false;
            }
            Err(_) => {
                tracing::warn!("rates.counted_alone: the database is slow");
                return false;
            }
        };
        let now = Instant::now();
        for (ask, taken) in batch.iter().zip(taken) {
            let counter = self.counter(ask.class);
            let take = |window: &mut Window| window.take(ask.began, taken, now);
            counter.change(&ask.party, take);
        }
        metrics::counter!("dermaga_rate_portions_total")
            .increment(u64::try_from(batch.len()).unwrap_or_default());
        true
    }

    async fn taken(&self, batch: &[Ask]) -> sqlx::Result<Vec<Taken>> {
        let mut taken = Vec::with_capacity(batch.len());
        let mut conn = self.db.begin().await?;
        for ask in batch {
            let (party, limit) = (ask.party.to_string(), self.counter(ask.class).rule.limit);
            let key = (ask.class.as_str(), party.as_str());
            let (owed, window) = (ask.owed.into(), self.window_millis());
            taken.push(store::take(&mut conn, key, owed, limit.into(), window).await?);
        }
        conn.commit().await?;
        Ok(taken)
    }

    fn window_millis(&self) -> i64 {
        i64::try_from(self.length.as_millis()).unwrap_or(i64::MAX)
    }

    async fn purge(&self) -> Result<Next> {
        let mut conn = self.db.begin().await?;
        store::purge(&mut conn, self.window_millis()).await?;
        conn.commit().await.map_err(Error::from)?;
        Ok(Next::AfterRest)
    }
}

/// Takes portions and removes windows that count no more, where servers share them, until `stop`.
pub async fn watch(rates: Arc<Rates>, stop: CancellationToken) {
    if !rates.is_shared() {
        return;
    }
    let period = rates.length.max(Duration::from_secs(1));
    let purge = Worker::new("rate-windows", period).resting_first();
    tokio::join!(
        rates.take_portions(stop.clone()),
        purge.run(stop, || rates.purge()),
    );
}

/// Whole seconds, the last one begun counted.
fn seconds_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000_000))
        .unwrap_or(u64::MAX)
        .max(1)
}

#[cfg(test)]
mod tests;
