//! What an operator decides: one table of settings ([`SETTINGS`]), and the values in force.
//!
//! Values come from the configuration file, then `.env` beside it, then the environment, then flags;
//! a later source wins.

mod clean;
mod dotenv;
mod error;
mod file;
mod keys;
mod load;
mod midtrans;
mod names;
mod parse;
mod reference;
mod rules;
mod settings;
mod strength;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{Days, TimeDelta};
use chrono_tz::Tz;
use dermaga_runtime::{Compiler, Limits};
use zeroize::Zeroizing;

pub use error::{ConfigError, Problem};
pub use keys::{Keys, KeysError};
pub use load::{Loaded, Origin, Source, Sources, load};
pub use reference::reference;
pub use settings::{SETTINGS, Setting};

use crate::{
    http, money::Rupiah, plugins::signatures::Trust, provisioning::Choice, scheduler::Schedule,
    timekeeping::ClockSetting, wallet::Typeface,
};

/// Where this runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Keys that are missing are made in the data folder.
    Development,
    /// Keys must be given.
    Production,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// Text that must not reach a log; wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// How Midtrans is reached.
#[derive(Debug, Clone, Default)]
pub struct Midtrans {
    /// `None`: no payments, or the sandbox.
    pub server_key: Option<Secret>,
    pub client_key: Option<String>,
    pub is_production: bool,
    /// `None`: Midtrans' own.
    pub base_url: Option<String>,
    /// These four: `None` leaves it to Midtrans' dashboard.
    pub notification_url: Option<String>,
    pub finish_url: Option<String>,
    pub unfinish_url: Option<String>,
    pub error_url: Option<String>,
    pub timeout: Duration,
}

/// Upper bound of GRACE_PERIOD_MAX_DAYS: longer than that is a gift, not a grace.
pub const MOST_GRACE_DAYS: u64 = 90;

/// What happens when a period is over.
#[derive(Debug, Clone, Copy)]
pub struct Billing {
    /// Charge the next period of subscriptions that renew.
    pub auto_renewal: bool,
    /// Let an unpaid subscription go on running for `grace_days` before it is suspended.
    pub grace_period: bool,
    pub grace_days: u64,
    /// Bounds of every grace, in days.
    pub grace_min_days: u64,
    pub grace_max_days: u64,
    /// How long the data of a suspended subscription is kept.
    pub retention: Days,
    /// How often a renewal that failed through no fault of the customer is tried again on its day.
    pub retries: i64,
    pub retry_delay: TimeDelta,
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            auto_renewal: false,
            grace_period: false,
            grace_days: 0,
            grace_min_days: 0,
            grace_max_days: 0,
            retention: Days::new(0),
            retries: 0,
            retry_delay: TimeDelta::zero(),
        }
    }
}

impl Billing {
    /// Checks a grace of so many days against the shop's bounds.
    ///
    /// # Errors
    /// A sentence that completes the name of what was given: "must be ...".
    pub fn check_grace_days(&self, days: u64) -> Result<(), String> {
        let (least, most) = (self.grace_min_days, self.grace_max_days);
        if (least..=most).contains(&days) {
            return Ok(());
        }
        Err(format!(
            "must be from {least} to {most} days (GRACE_PERIOD_MIN_DAYS, GRACE_PERIOD_MAX_DAYS)"
        ))
    }
}

/// Every value in force. [`SETTINGS`] says what each one means and where it comes from.
#[derive(Debug, Clone)]
pub struct Config {
    pub environment: Environment,
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    /// `None`: a SQLite file in the data folder.
    pub database_url: Option<Secret>,
    pub database_connections: u32,
    pub migrate: bool,

    /// The first signs. Empty: made in the data folder.
    pub jwt_secrets: Vec<Secret>,
    pub access_token_lifetime: Duration,
    pub refresh_token_lifetime: Duration,
    /// 64 hexadecimal digits each; the first seals. Empty: made in the data folder.
    pub master_keys: Vec<Secret>,
    pub admin_email: Option<String>,
    pub admin_password: Option<Secret>,

    /// `None`: beside the binary or in the checkout.
    pub plugins_dir: Option<PathBuf>,
    pub templates_dir: Option<PathBuf>,
    pub limits: Limits,
    /// The program that compiles plugins: this binary, set by the command line. `None`, as where the
    /// server is part of another program, compiles in this process.
    pub compiler: Option<Box<Compiler>>,
    pub plugin_concurrency: usize,
    pub plugin_queue_wait: Duration,
    pub plugin_trust: Trust,
    pub plugin_breaker_failures: u32,
    pub plugin_breaker_pause: Duration,
    pub plugin_poll: Duration,

    pub provisioner: Choice,
    pub kubeconfig: Option<PathBuf>,
    pub base_domain: String,
    /// `None`: `manifests` in the data folder.
    pub manifests_dir: Option<PathBuf>,
    pub resync: Duration,
    pub provisioning_concurrency: usize,
    pub ingress_class: Option<String>,
    pub ingress_namespace: String,
    pub storage_class: Option<String>,

    pub midtrans: Midtrans,
    /// Play the gateway where there is no key.
    pub payments_sandbox: bool,
    /// Where the clock is put at start; only in development.
    pub clock: Option<ClockSetting>,
    /// Most paid credit that one customer may hold.
    pub balance_cap: Option<Rupiah>,
    /// What the shop is called.
    pub shop_name: String,
    pub receipt_font: Option<Typeface>,
    /// Whose days and months the shop's are.
    pub billing_timezone: Tz,
    /// Paid credit of all customers from which administrators are warned.
    pub wallet_float_warning: Option<Rupiah>,
    pub billing: Billing,
    pub cron_daily_renewals: Schedule,
    pub cron_grace_period: Schedule,
    pub cron_coupon_statuses: Schedule,
    pub cron_wallet_float: Schedule,
    pub cron_ledger_seal: Schedule,
    pub cron_database_statistics: Schedule,

    /// New accounts from one address.
    pub registrations_per_hour: u32,
    pub bonus_requires_verified_email: bool,
    /// Most top-ups of one customer that wait to be paid.
    pub open_top_ups: i64,
    pub connections: http::ConnectionLimits,
    pub request_timeout: Duration,
    pub trusted_proxies: usize,
    pub log: String,
    pub log_format: LogFormat,
}

impl Config {
    /// The defaults, with everything kept below `data_dir`.
    ///
    /// # Errors
    /// Never, as long as the table's own defaults fit their rules.
    pub fn in_folder(data_dir: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let flags = vec![("data_dir", data_dir.as_ref().display().to_string())];
        load(Sources {
            flags,
            ..Sources::default()
        })
        .map(|loaded| loaded.config)
    }

    pub const fn is_production(&self) -> bool {
        matches!(self.environment, Environment::Production)
    }

    /// The database in force.
    pub fn database_url(&self) -> String {
        match &self.database_url {
            Some(url) => url.reveal().to_owned(),
            None => format!("sqlite://{}", self.data_dir.join("dermaga.db").display()),
        }
    }

    /// Where the directory provisioner writes.
    pub fn manifests_dir(&self) -> PathBuf {
        self.manifests_dir
            .clone()
            .unwrap_or_else(|| self.data_dir.join("manifests"))
    }

    /// Before anything is loaded: empty where nothing is known, replaced by the defaults at once.
    fn blank() -> Self {
        Self {
            environment: Environment::Development,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: PathBuf::new(),
            database_url: None,
            database_connections: 20,
            migrate: true,
            jwt_secrets: Vec::new(),
            access_token_lifetime: Duration::ZERO,
            refresh_token_lifetime: Duration::ZERO,
            master_keys: Vec::new(),
            admin_email: None,
            admin_password: None,
            plugins_dir: None,
            templates_dir: None,
            limits: Limits::default(),
            plugin_concurrency: 0,
            plugin_queue_wait: Duration::ZERO,
            plugin_trust: Trust::default(),
            plugin_breaker_failures: 0,
            plugin_breaker_pause: Duration::ZERO,
            compiler: None,
            plugin_poll: Duration::ZERO,
            provisioner: Choice::Auto,
            kubeconfig: None,
            base_domain: String::new(),
            manifests_dir: None,
            resync: Duration::ZERO,
            provisioning_concurrency: 0,
            ingress_class: None,
            ingress_namespace: String::new(),
            storage_class: None,
            midtrans: Midtrans::default(),
            payments_sandbox: false,
            clock: None,
            balance_cap: None,
            shop_name: String::new(),
            receipt_font: None,
            billing_timezone: Tz::UTC,
            wallet_float_warning: None,
            billing: Billing::default(),
            cron_daily_renewals: Schedule::default(),
            cron_grace_period: Schedule::default(),
            cron_coupon_statuses: Schedule::default(),
            cron_wallet_float: Schedule::default(),
            cron_ledger_seal: Schedule::default(),
            registrations_per_hour: 0,
            bonus_requires_verified_email: false,
            open_top_ups: 0,
            connections: http::ConnectionLimits::default(),
            cron_database_statistics: Schedule::default(),
            request_timeout: Duration::ZERO,
            trusted_proxies: 0,
            log: String::new(),
            log_format: LogFormat::Text,
        }
    }
}
