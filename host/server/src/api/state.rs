//! State of the application: the parts of every domain, shared by handlers.

use std::{ops::Deref, sync::Arc};

use dermaga_shop::{
    accounts::Accounts,
    catalog::Catalog,
    coupons::Coupons,
    db::{Clock, Db},
    events::Events,
    ids::UserId,
    notifications::Notifications,
    payments::Payments,
    plugins::Registry,
    provisioning::{Instances, domains::Domains},
    rates::Rates,
    scheduler::Scheduler,
    subscriptions::Subscriptions,
    throttle::Throttle,
    tickets::Tickets,
    users::Exports,
    wallet::Wallets,
    webhooks::Webhooks,
};
use uuid::Uuid;

use crate::{
    config::Config,
    http::{Departure, KeptAnswers, Streams},
    sandbox::Sandbox,
};

/// State shared by handlers and workers. Every request clones it many times over, so it is one
/// pointer.
#[derive(Debug, Clone)]
pub struct AppState(Arc<Shared>);

impl AppState {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// The same, but for what is changed.
    #[cfg(test)]
    pub(crate) fn with(&self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = Shared::clone(self);
        change(&mut shared);
        Self::new(shared)
    }
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The parts of an [`AppState`].
#[derive(Debug, Clone)]
pub struct Shared {
    /// Identity of this server.
    pub server: Uuid,
    pub db: Db,
    pub clock: Clock,
    pub config: Arc<Config>,
    pub plugins: Arc<Registry>,
    pub accounts: Arc<Accounts>,
    pub catalog: Catalog,
    pub wallets: Wallets,
    pub payments: Arc<Payments>,
    /// Gateway that this server plays for itself.
    pub sandbox: Option<Sandbox>,
    pub coupons: Coupons,
    pub instances: Instances,
    pub domains: Domains,
    pub subscriptions: Subscriptions,
    pub scheduler: Arc<Scheduler>,
    pub notifications: Notifications,
    pub tickets: Tickets,
    pub webhooks: Webhooks,
    pub events: Events,
    pub exports: Exports,
    /// Open streams of events.
    pub(crate) streams: Streams,
    /// End of this server, once it has begun.
    pub(crate) departure: Departure,
    /// Limits of requests by class.
    pub rates: Arc<Rates>,
    /// Refusals kept under an Idempotency-Key, by customer.
    pub(crate) kept_refusals: Arc<Throttle<UserId>>,
    /// Answers of the public catalogue.
    pub(crate) kept_answers: Arc<KeptAnswers>,
}
