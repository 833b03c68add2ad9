//! Payments through the gateway: top-ups, its notices, money taken back, debts.
//!
//! The rules: a top-up is written down before the gateway hears of it, under the name of its
//! request, so that a repetition finds it (`top_up`); its page is kept before it is answered
//! (`page`); the gateway is never asked inside a database transaction; its statements are applied
//! once and never backwards (`state::step`); the ledger is updated in the same transaction
//! (`settlement`); a notice that does not arrive is asked for (`janitor`).

pub mod asking;
mod budget;
pub mod debts;
mod gateway;
mod janitor;
mod model;
pub mod notification;
pub mod page;
pub mod problem;
mod reading;
pub mod refunds;
pub mod review;
mod settings;
mod settlement;
mod state;
mod store;
pub mod top_up;
mod turns;

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

pub use janitor::{check_due, watch};
pub use model::{
    DebtFilter, DebtView, NoticeOutcome, NoticeView, Payment, PaymentFilter, PaymentMethod,
    PaymentState, PaymentView, RefundState,
};
pub use reading::{debts, list, of_customer, with_notices};
pub use settings::{Midtrans, Settings};

pub use self::gateway::Gateway;
use self::{
    budget::Budget,
    gateway::{Addresses, Callbacks, GatewaySettings},
    turns::Turns,
};
use crate::{
    Code, Error, Result,
    crypto::Secret,
    db::{Clock, Db},
    wallet::Wallets,
};

/// Path of the route that takes the gateway's notices.
pub const WEBHOOK_PATH: &str = "/api/wallet/webhook/midtrans";

/// Payments of the shop: the database, the clock, the wallets they fill, and the gateway if there
/// is one.
#[derive(Debug)]
pub struct Payments {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    wallets: Wallets,
    settings: Settings,
    /// Identity of this server, under which it asks for payment pages.
    server: Uuid,
    gateway: Option<Gateway>,
    turns: Turns,
    budget: Budget,
    /// The clock asks nothing before this moment: the gateway wanted a pause.
    resting_until: Mutex<Option<DateTime<Utc>>>,
}

impl Payments {
    /// As the settings say: Midtrans with a server key, or none. With the key of a sandbox that
    /// plays it, the gateway is that one, once [`Payments::gateway_found_at`] has told its address.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(
        wallets: Wallets,
        settings: Settings,
        sandbox_key: Option<Secret>,
        server: Uuid,
    ) -> Result<Self> {
        let (db, clock) = (wallets.db.clone(), wallets.clock.clone());
        let midtrans = &settings.midtrans;
        let gateway = match sandbox_key {
            Some(key) => Some(Self::gateway_settings(midtrans, key, None)),
            None => Self::midtrans(midtrans),
        };
        let gateway = gateway.map(|settings| Gateway::new(settings, clock.clone()));
        Ok(Self {
            gateway: gateway.transpose().map_err(Error::internal)?,
            db,
            clock,
            wallets,
            settings,
            server,
            turns: Turns::default(),
            budget: Budget::default(),
            resting_until: Mutex::default(),
        })
    }

    /// Asks Midtrans if it answers and takes the server key, which moves nothing; `None` without a
    /// key.
    ///
    /// # Errors
    /// `GATEWAY_UNAVAILABLE` or `GATEWAY_REFUSED`.
    pub async fn probe(settings: &Settings, clock: Clock) -> Option<Result<()>> {
        let gateway = Gateway::new(Self::midtrans(&settings.midtrans)?, clock);
        Some(match gateway.map_err(Error::internal) {
            Ok(gateway) => gateway.probe().await,
            Err(error) => Err(error),
        })
    }

    /// Returns the address that is asked about payments, without what lets in.
    pub fn gateway_address(settings: &Settings) -> String {
        crate::text::without_secrets(&Self::addresses(&settings.midtrans).core)
    }

    fn addresses(midtrans: &Midtrans) -> Addresses {
        match &midtrans.base_url {
            Some(base) => Addresses::one(base),
            None => Addresses::midtrans(midtrans.is_production),
        }
    }

    /// Returns the parts of Midtrans' client, when there is a server key.
    fn midtrans(midtrans: &Midtrans) -> Option<GatewaySettings> {
        let addresses = Self::addresses(midtrans);
        let key = midtrans.server_key.clone()?;
        Some(Self::gateway_settings(midtrans, key, Some(addresses)))
    }

    fn gateway_settings(
        midtrans: &Midtrans,
        server_key: Secret,
        addresses: Option<Addresses>,
    ) -> GatewaySettings {
        GatewaySettings {
            server_key,
            addresses,
            notify: midtrans.notification_url.clone(),
            callbacks: Callbacks {
                finish: midtrans.finish_url.clone(),
                unfinish: midtrans.unfinish_url.clone(),
                error: midtrans.error_url.clone(),
            },
            timeout: midtrans.timeout,
        }
    }

    /// Sets the address of the gateway, and the one under which it reaches this server's
    /// [`WEBHOOK_PATH`].
    pub fn gateway_found_at(&self, base: &str, notify: String) {
        if let Some(gateway) = &self.gateway {
            gateway.found_at(Addresses::one(base), notify);
        }
    }

    pub fn gateway(&self) -> Result<&Gateway> {
        self.gateway.as_ref().ok_or_else(|| {
            let message = "This shop takes no payments yet: its administrator has not set up a payment gateway.";
            Error::new(Code::PaymentsNotConfigured, message)
        })
    }

    /// Returns the question for a payment page, which is asked by this server alone for as long as it
    /// may take.
    fn page_question(&self) -> store::Question {
        let gateway = self.gateway.as_ref();
        let patience = gateway.map_or(TimeDelta::zero(), Gateway::patience);
        store::Question {
            by: Some(self.server),
            until: self.clock.now() + patience,
        }
    }

    /// Makes the clock ask nothing until then.
    fn rest_until(&self, until: DateTime<Utc>) {
        let mut resting = self.resting();
        *resting = Some(resting.map_or(until, |before| before.max(until)));
    }

    fn is_resting(&self, now: DateTime<Utc>) -> bool {
        self.resting().is_some_and(|until| now < until)
    }

    fn resting(&self) -> std::sync::MutexGuard<'_, Option<DateTime<Utc>>> {
        self.resting_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
