//! Payments through the gateway: top-ups, its notices, money taken back, debts.
//!
//! The rules: a top-up is written down before the gateway hears of it; the gateway is never asked
//! inside a database transaction; its statements are applied once and never backwards
//! (`state::step`); the ledger is updated in the same transaction (`settlement`); a notice that
//! does not arrive is asked for (`janitor`).

pub(crate) mod asking;
mod budget;
mod gateway;
mod janitor;
mod model;
pub(crate) mod notice;
pub(crate) mod problem;
pub(crate) mod refunds;
pub(crate) mod review;
pub mod sandbox;
mod settings;
mod settlement;
mod state;
pub(crate) mod store;
pub(crate) mod top_up;
mod turns;

use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use axum::Router;
use chrono::{DateTime, Utc};
use uuid::Uuid;

pub use janitor::{check_due, watch};
pub use model::{
    DebtView, NoticeOutcome, NoticeView, Payment, PaymentMethod, PaymentState, PaymentView,
    RefundState,
};
pub use settings::{Midtrans, Settings};

pub(crate) use self::gateway::Gateway;
use self::{
    budget::Budget,
    gateway::{Addresses, Callbacks, GatewaySettings},
    sandbox::Sandbox,
    turns::Turns,
};
use crate::{
    Code, Error, Result,
    crypto::{self, Secret},
    db::{Clock, Db, new_id},
    wallet::Wallets,
};

/// Path of the sandbox gateway on this server.
const SANDBOX_PATH: &str = "/sandbox/midtrans";
pub(crate) const WEBHOOK_PATH: &str = "/api/wallet/webhook/midtrans";

/// Payments of the shop: the database, the clock, the wallets they fill, and the gateway if there
/// is one.
#[derive(Debug)]
pub struct Payments {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    wallets: Wallets,
    settings: Settings,
    gateway: Option<Gateway>,
    pub(crate) sandbox: Option<Sandbox>,
    /// Identity of this server among those that ask by the clock.
    holder: Uuid,
    turns: Turns,
    budget: Budget,
    /// The clock asks nothing before this moment: the gateway wanted a pause.
    resting_until: Mutex<Option<DateTime<Utc>>>,
}

impl Payments {
    /// As the settings say: Midtrans with a server key, the sandbox where it was asked for, or
    /// none.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(wallets: Wallets, settings: Settings) -> Result<Self> {
        let (db, clock) = (wallets.db.clone(), wallets.clock.clone());
        let sandboxed = settings.midtrans.server_key.is_none() && settings.sandbox;
        let sandbox = sandboxed.then(|| {
            let key = Secret::new(format!("SB-Mid-server-{}", crypto::random_hex(12)));
            Sandbox::new(key, clock.clone())
        });
        let midtrans = &settings.midtrans;
        let gateway = match &sandbox {
            Some(sandbox) => Some(Self::gateway_settings(midtrans, sandbox.server_key(), None)),
            None => midtrans.server_key.clone().map(|key| {
                let addresses = match &midtrans.base_url {
                    Some(base) => Addresses::one(base),
                    None => Addresses::midtrans(midtrans.is_production),
                };
                Self::gateway_settings(midtrans, key, Some(addresses))
            }),
        };
        let gateway = gateway.map(|settings| Gateway::new(settings, clock.clone()));
        Ok(Self {
            gateway: gateway.transpose().map_err(Error::internal)?,
            sandbox,
            holder: new_id(&clock),
            db,
            clock,
            wallets,
            settings,
            turns: Turns::default(),
            budget: Budget::default(),
            resting_until: Mutex::default(),
        })
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

    /// The sandbox's own routes, where this server has one.
    pub fn sandbox_routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let routes = |sandbox: &Sandbox| Router::new().nest(SANDBOX_PATH, sandbox.router());
        self.sandbox.as_ref().map(routes).unwrap_or_default()
    }

    /// The address and server key of the sandbox, where this server has one: for Midtrans' own
    /// clients.
    pub fn sandbox_access(&self, address: SocketAddr) -> Option<(String, Secret)> {
        let sandbox = self.sandbox.as_ref()?;
        let base = format!("{}{SANDBOX_PATH}", origin(address));
        Some((base, sandbox.server_key()))
    }

    /// Sets the address of this server in the sandbox and its client.
    pub fn listening_at(&self, address: SocketAddr) {
        let (Some(sandbox), Some(gateway)) = (&self.sandbox, &self.gateway) else {
            return;
        };
        let server = origin(address);
        let base = format!("{server}{SANDBOX_PATH}");
        sandbox.found_at(&base);
        gateway.found_at(Addresses::one(&base), format!("{server}{WEBHOOK_PATH}"));
    }

    pub(crate) fn gateway(&self) -> Result<&Gateway> {
        self.gateway.as_ref().ok_or_else(|| {
            let message = "This shop takes no payments yet: its administrator has not set up a payment gateway.";
            Error::new(Code::PaymentsNotConfigured, message)
        })
    }

    const fn holder(&self) -> Uuid {
        self.holder
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

/// The address under which a server that listens there is reached on its own machine.
fn origin(address: SocketAddr) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    format!("http://{host}:{}", address.port())
}
