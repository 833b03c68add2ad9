//! Configuration by the operator: one table of settings ([`all_settings`]), and the values in force.
//!
//! Values come from the configuration file, then `.env` beside it, then the environment, then
//! flags; a later source wins.

mod addresses;
mod clean;
mod cluster;
mod database;
mod dotenv;
mod effects;
mod entry;
mod error;
mod file;
mod keys;
mod lists;
mod load;
mod log_filter;
mod midtrans;
mod names;
mod otel;
mod parse;
mod reference;
mod rules;
mod setting;
mod settings;
mod strength;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use chrono_tz::Tz;
use dermaga_runtime::RuntimeConfig;
use dermaga_shop::{
    accounts, catalog, coupons, crypto::Secret, db, files, notifications, payments,
    plugins::Policy, provisioning, rates, scheduler::Schedule, subscriptions, tickets,
    timekeeping::ClockSetting, wallet, webhooks,
};

pub use error::{ConfigError, Problem};
pub use keys::{Keys, KeysError};
pub use load::{Loaded, Origin, Source, Sources, load};
pub use reference::reference;
pub use setting::Setting;
pub use settings::all_settings;

use crate::{http, telemetry};

/// Environment of this server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Environment {
    /// Keys that are missing are made in the data folder.
    #[default]
    Development,
    /// Keys must be given.
    Production,
}

/// Every value in force. [`all_settings`] says what each one means and where it comes from.
///
/// The default is empty: the table has the settings' defaults, as [`Config::in_folder`] applies.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub environment: Environment,
    pub data_dir: PathBuf,
    /// `None`: a SQLite file in the data folder.
    pub database_url: Option<Secret>,
    pub database: db::Settings,
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
    /// Without a folder for compiled components, which the start keeps in the data folder. The
    /// program that compiles is this binary, set by the command line; `None`, as where the server
    /// is part of another program, compiles in this process.
    pub runtime: Box<RuntimeConfig>,
    pub plugins: Policy,
    pub plugin_poll: Duration,

    /// Without its folders, which the start takes from this configuration.
    pub provisioning: provisioning::Settings,
    /// `None`: `manifests` in the data folder.
    pub manifests_dir: Option<PathBuf>,

    /// Setting of the clock at start; only in development.
    pub clock: Option<ClockSetting>,
    /// Time zone of the shop's days and months.
    pub billing_timezone: Tz,
    pub schedules: Schedules,

    /// Days without a look for a newer version after which an image counts as old.
    pub image_check_days: u64,
    pub accounts: accounts::Settings,
    pub catalog: catalog::Settings,
    pub coupons: coupons::Settings,
    /// Place of attachments.
    pub files: files::Settings,
    /// Without the shop's name, which the start takes from the wallet's settings.
    pub notifications: notifications::Settings,
    pub payments: payments::Settings,
    pub rates: rates::Settings,
    pub subscriptions: subscriptions::Settings,
    pub tickets: tickets::Settings,
    pub wallet: wallet::Settings,
    pub webhooks: webhooks::Settings,
    pub http: http::Settings,
    pub telemetry: telemetry::Settings,
}

/// Schedules of the jobs.
#[derive(Debug, Clone, Default)]
pub struct Schedules {
    pub daily_renewals: Schedule,
    pub grace_period: Schedule,
    pub low_credit_notifications: Schedule,
    pub grace_period_reminders: Schedule,
    pub billing_stats: Schedule,
    pub coupon_statuses: Schedule,
    pub wallet_float: Schedule,
    pub ledger_seal: Schedule,
    pub ledger_verify: Schedule,
    pub database_statistics: Schedule,
    pub image_ages: Schedule,
    pub health_history: Schedule,
    pub ticket_silence: Schedule,
    pub attachment_orphans: Schedule,
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
            None => db::url_of(&self.data_dir.join("dermaga.db")),
        }
    }

    /// Folder of the directory provisioner.
    pub fn manifests_dir(&self) -> PathBuf {
        self.manifests_dir
            .clone()
            .unwrap_or_else(|| self.data_dir.join("manifests"))
    }
}
