//! Configuration by the operator: one table of settings ([`SETTINGS`]), and the values in force.
//!
//! Values come from the configuration file, then `.env` beside it, then the environment, then
//! flags; a later source wins.

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
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono_tz::Tz;
use dermaga_runtime::{Compiler, Limits};
use dermaga_shop::{
    accounts, coupons, crypto::Secret, payments, plugins::signatures::Trust, provisioning::Choice,
    scheduler::Schedule, subscriptions, timekeeping::ClockSetting, wallet,
};

pub use error::{ConfigError, Problem};
pub use keys::{Keys, KeysError};
pub use load::{Loaded, Origin, Source, Sources, load};
pub use reference::reference;
pub use settings::{SETTINGS, Setting};

use crate::{http, telemetry};

/// Environment of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// Keys that are missing are made in the data folder.
    Development,
    /// Keys must be given.
    Production,
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
    /// 64 hexadecimal digits each; the first seals. Empty: made in the data folder.
    pub master_keys: Vec<Secret>,
    pub admin_email: Option<String>,
    pub admin_password: Option<Secret>,

    /// `None`: beside the binary or in the checkout.
    pub plugins_dir: Option<PathBuf>,
    pub templates_dir: Option<PathBuf>,
    pub limits: Limits,
    /// The program that compiles plugins: this binary, set by the command line. `None`, as where
    /// the server is part of another program, compiles in this process.
    pub compiler: Option<Box<Compiler>>,
    pub plugin_concurrency: usize,
    pub plugin_queue_wait: Duration,
    pub plugin_trust: Trust,
    pub plugin_breaker_failures: u32,
    pub plugin_breaker_pause: Duration,
    pub plugin_poll: Duration,

    pub provisioner: Choice,
    pub kubeconfig: Option<PathBuf>,
    /// `None`: `manifests` in the data folder.
    pub manifests_dir: Option<PathBuf>,
    pub resync: Duration,
    pub provisioning_concurrency: usize,
    pub ingress_class: Option<String>,
    pub ingress_namespace: String,
    pub storage_class: Option<String>,

    /// Setting of the clock at start; only in development.
    pub clock: Option<ClockSetting>,
    /// Time zone of the shop's days and months.
    pub billing_timezone: Tz,
    pub cron_daily_renewals: Schedule,
    pub cron_grace_period: Schedule,
    pub cron_coupon_statuses: Schedule,
    pub cron_wallet_float: Schedule,
    pub cron_ledger_seal: Schedule,
    pub cron_database_statistics: Schedule,

    pub accounts: accounts::Settings,
    pub coupons: coupons::Settings,
    pub payments: payments::Settings,
    pub subscriptions: subscriptions::Settings,
    pub wallet: wallet::Settings,
    pub http: http::Settings,
    pub telemetry: telemetry::Settings,
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

    /// Folder of the directory provisioner.
    pub fn manifests_dir(&self) -> PathBuf {
        self.manifests_dir
            .clone()
            .unwrap_or_else(|| self.data_dir.join("manifests"))
    }

    /// Configuration before anything is loaded: empty where nothing is known, replaced by the
    /// defaults at once.
    fn blank() -> Self {
        Self {
            environment: Environment::Development,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: PathBuf::new(),
            database_url: None,
            database_connections: 20,
            migrate: true,
            jwt_secrets: Vec::new(),
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
            manifests_dir: None,
            resync: Duration::ZERO,
            provisioning_concurrency: 0,
            ingress_class: None,
            ingress_namespace: String::new(),
            storage_class: None,
            clock: None,
            billing_timezone: Tz::UTC,
            cron_daily_renewals: Schedule::default(),
            cron_grace_period: Schedule::default(),
            cron_coupon_statuses: Schedule::default(),
            cron_wallet_float: Schedule::default(),
            cron_ledger_seal: Schedule::default(),
            cron_database_statistics: Schedule::default(),
            accounts: accounts::Settings::default(),
            coupons: coupons::Settings::default(),
            payments: payments::Settings::default(),
            subscriptions: subscriptions::Settings::default(),
            wallet: wallet::Settings::default(),
            http: http::Settings::default(),
            telemetry: telemetry::Settings::default(),
        }
    }
}
