//! Everything that happens once, before the first request; each failure says what to do.

mod database;

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use dermaga_runtime::{Runtime, RuntimeConfig};
use dermaga_shop::{
    Code, Error,
    accounts::{Accounts, Email, TokenKeys},
    catalog::Catalog,
    coupons::Coupons,
    crypto::Vault,
    db::{Clock, Db},
    events::Events,
    files::Files,
    idempotency,
    identity::Identity,
    notifications::{self, Notifications},
    payments::{self, Payments},
    plugins,
    provisioning::{
        self, Instances,
        domains::{Domains, OwnNames},
    },
    rates::Rates,
    replies::Replies,
    scheduler,
    subscriptions::Subscriptions,
    tickets::Tickets,
    users::Exports,
    wallet::Wallets,
    webhooks::Webhooks,
};

pub use database::{connect, open_database, open_database_as_is};

use super::{App, StartError, bootstrap, in_use, jobs};
use crate::{
    api::{AppState, Shared},
    config::{Config, Keys},
    http::{Departure, Streams},
    sandbox::Sandbox,
};

/// Time for requests under way to end when the server stops.
pub(super) const SHUTDOWN_GRACE: Duration = Duration::from_secs(15);
/// Time from then on in which everything ends when the server stops, jobs under way and the database's connections
/// among it. The rest is cut off, as by a crash, and taken up by another server or at the next start.
pub(super) const LAST_GRACE: Duration = Duration::from_secs(20);

impl App {
    /// Connects, migrates, loads plugins and templates, and makes the first administrator.
    ///
    /// # Errors
    /// The first thing that does not work, in a sentence that says what to do.
    pub async fn from_config(config: Config, clock: Clock) -> Result<Self, StartError> {
        // Its state is large.
        Box::pin(Self::prepare(config, clock)).await
    }

    async fn prepare(config: Config, clock: Clock) -> Result<Self, StartError> {
        let clock = clock.in_zone(config.billing_timezone);
        if let Some(setting) = config.clock {
            let system = clock.now() - clock.offset().unwrap_or_default();
            if !setting.is_usable(system) {
                let message =
                    "DERMAGA_CLOCK must lead to a time between 2000-01-01 and 2199-12-31 (UTC).";
                let error = Error::new(Code::ValidationFailed, message);
                return Err(StartError::failed("setting the clock")(error));
            }
            clock.set_offset(setting.offset(system));
            tracing::warn!(clock.now = %clock.now(), "clock.set");
        }
        let keys = prepare_data_dir(&config)?;
        let in_use = in_use::hold(&config.database_url())?;
        let db = open_database(&config).await?;
        db.optimize()
            .await
            .map_err(StartError::database(db.engine_name()))?;
        database::tell(&db);
        let identity = Arc::new(Identity::of_folder(&config.data_dir, &clock));
        release_left_behind(&db, &clock, &identity).await?;
        let vault = Arc::new(Vault::new(&keys.master_keys));
        let accounts = accounts(&config, &keys, &vault, (db.clone(), clock.clone()))?;
        let templates = Arc::new(bootstrap::find_templates(&config)?);
        let plugins = Arc::new(plugins::Registry::new(
            runtime(&config)?,
            db.clone(),
            clock.clone(),
            config.plugins.clone(),
        ));
        bootstrap::install(&config, &db, &clock, &plugins, &templates).await?;
        first_administrator(&config, &accounts).await?;
        check_master_key(&db, &vault).await?;
        let (instances, worker) = provisioning::prepare(
            provisioning_settings(&config),
            db.clone(),
            clock.clone(),
            Arc::clone(&vault),
            Arc::clone(&plugins),
            Arc::clone(&identity),
        )
        .await?;
        let catalog = Catalog::new(
            db.clone(),
            clock.clone(),
            Arc::clone(&plugins),
            templates,
            config.catalog,
            instances.plan_room(),
        );
        let wallets = Wallets::new(db.clone(), clock.clone(), config.wallet.clone());
        let sandbox = Sandbox::asked_for(&config.payments, &clock);
        let key = sandbox.as_ref().map(Sandbox::server_key);
        let settings = config.payments.clone();
        let payments = Payments::new(wallets.clone(), settings, key, identity.id)
            .map_err(StartError::failed("payments cannot be prepared"))?;
        let registry = Arc::clone(&plugins);
        let coupons = Coupons::new(db.clone(), clock.clone(), registry, config.coupons);
        let settings = config.subscriptions.clone();
        let subscriptions = Subscriptions::new(coupons.clone(), instances.clone(), settings);
        let replies = config.tickets.reply_address.clone();
        let replies = replies.map(|address| Replies::new(address, Arc::clone(&vault)));
        let notifications = notifications(&config, &db, &clock, replies.clone())?;
        if config.coupons.bonus_requires_verified_email && !notifications.sends_mails() {
            tracing::warn!(
                "bonus.waits_for_mails: SMTP_URL is not set, so that no address can be confirmed"
            );
        }
        let files = Files::open(&config.files, config.data_dir.join("attachments"))
            .map_err(StartError::failed("attachments cannot be kept"))?;
        let settings = config.tickets.clone();
        let tickets = Tickets::new(instances.clone(), files, replies, settings);
        let settings = config.webhooks.clone();
        let webhooks = Webhooks::new(db.clone(), clock.clone(), vault, settings)
            .map_err(StartError::failed("webhooks cannot be prepared"))?;
        let domains = domains(&config, &instances)?;
        let parts = jobs::Parts {
            subscriptions: &subscriptions,
            coupons: &coupons,
            wallets: &wallets,
            catalog: &catalog,
            tickets: &tickets,
            server: identity.id,
        };
        let scheduler = jobs::scheduler(&config, parts);
        let events = Events::new(db.clone(), clock.clone());
        let rates = Rates::new(db.clone(), config.rates);
        let state = AppState::new(Shared {
            db,
            clock,
            config: Arc::new(config),
            plugins,
            accounts: Arc::new(accounts),
            catalog,
            wallets,
            payments: Arc::new(payments),
            sandbox,
            coupons,
            instances,
            domains,
            subscriptions,
            scheduler: Arc::new(scheduler),
            notifications,
            tickets,
            webhooks,
            events,
            exports: Exports::default(),
            streams: Streams::default(),
            departure: Departure::default(),
            rates: Arc::new(rates),
            kept_refusals: Arc::new(idempotency::refusals()),
            kept_answers: Arc::default(),
        });
        Ok(Self {
            state,
            worker,
            identity,
            in_use,
        })
    }
}

/// Frees what an earlier run of this server left: keys of requests, runs of jobs, questions to the gateway.
async fn release_left_behind(
    db: &Db,
    clock: &Clock,
    identity: &Identity,
) -> Result<(), StartError> {
    idempotency::release_left_behind(db, clock)
        .await
        .map_err(StartError::failed("releasing what the last run left"))?;
    scheduler::release_left_behind(db, identity)
        .await
        .map_err(StartError::failed("releasing jobs of the last run"))?;
    plugins::uploads::release_left_behind(db, clock, identity)
        .await
        .map_err(StartError::failed("releasing uploads of the last run"))?;
    payments::page::release_left_behind(db, identity)
        .await
        .map_err(StartError::failed(
            "releasing payment pages of the last run",
        ))
}

/// A wrong key would seal new secrets, and be noticed when the first instance cannot be changed.
async fn check_master_key(db: &Db, vault: &Vault) -> Result<(), StartError> {
    let SealedSecrets { all, unreadable } = sealed_secrets(db, vault).await?;
    if unreadable > 0 {
        tracing::error!(secrets = all, unreadable, "start.secrets_without_key");
    }
    Ok(())
}

/// Secrets of instances that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedSecrets {
    pub all: usize,
    /// Those that no master key opens.
    pub unreadable: usize,
}

/// Compares the master keys with those that the secrets in a database were sealed with.
///
/// # Errors
/// When no key opens any of them, and when the database does not answer.
pub async fn sealed_secrets(db: &Db, vault: &Vault) -> Result<SealedSecrets, StartError> {
    let mut conn = db
        .read()
        .await
        .map_err(StartError::database(db.engine_name()))?;
    let found = provisioning::unreadable(&mut conn, vault).await;
    let (secrets, unreadable) = found.map_err(StartError::failed("secrets cannot be read"))?;
    if secrets > 0 && unreadable == secrets {
        return Err(StartError::MasterKey { secrets });
    }
    Ok(SealedSecrets {
        all: secrets,
        unreadable,
    })
}

/// Makes the data folder and obtains the keys that are kept in it.
fn prepare_data_dir(config: &Config) -> Result<Keys, StartError> {
    database::make_data_dir(&config.data_dir)?;
    Ok(Keys::obtain(config)?)
}

/// Accounts alone, for commands that need no server.
///
/// # Errors
/// As [`open_database`], and when the keys cannot be had.
pub async fn open_accounts(config: &Config, clock: Clock) -> Result<Accounts, StartError> {
    let db = open_database(config).await?;
    let keys = Keys::obtain(config)?;
    let vault = Arc::new(Vault::new(&keys.master_keys));
    accounts(config, &keys, &vault, (db, clock))
}

/// Installed plugins alone, for commands that need no server.
///
/// # Errors
/// When the database cannot be reached or the plugin engine does not start.
pub async fn open_registry(config: &Config, clock: Clock) -> Result<plugins::Registry, StartError> {
    registry(config, open_database_as_is(config).await?, &clock)
}

/// Installed plugins of a database that is open already.
///
/// # Errors
/// When the plugin engine does not start.
pub fn registry(config: &Config, db: Db, clock: &Clock) -> Result<plugins::Registry, StartError> {
    Ok(plugins::Registry::new(
        runtime(config)?,
        db,
        clock.in_zone(config.billing_timezone),
        config.plugins.clone(),
    ))
}

fn accounts(
    config: &Config,
    keys: &Keys,
    vault: &Arc<Vault>,
    (db, clock): (Db, Clock),
) -> Result<Accounts, StartError> {
    let secrets: Vec<&str> = keys
        .jwt_secrets
        .iter()
        .map(|secret| secret.reveal())
        .collect();
    let lifetime = lifetime(config.accounts.access_token_lifetime);
    TokenKeys::new(&secrets, lifetime)
        .map(|keys| Accounts::new(db, clock, keys, Arc::clone(vault), &config.accounts))
        .map_err(StartError::failed("accounts cannot be prepared"))
}

fn lifetime(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

fn notifications(
    config: &Config,
    db: &Db,
    clock: &Clock,
    replies: Option<Replies>,
) -> Result<Notifications, StartError> {
    let settings = notifications::Settings {
        shop_name: config.wallet.shop_name.clone(),
        password_reset: lifetime(config.accounts.password_reset_lifetime),
        // A sandbox is never in production.
        log_mails: config.payments.sandbox,
        replies,
        ..config.notifications.clone()
    };
    Notifications::new(db.clone(), clock.clone(), settings).map_err(StartError::failed(
        "templates of notifications cannot be used",
    ))
}

fn domains(config: &Config, instances: &Instances) -> Result<Domains, StartError> {
    let shop_url = config.notifications.shop_url.as_deref();
    let own = OwnNames::new(&config.subscriptions.base_domain, shop_url);
    let settings = config.provisioning.domains.clone();
    Domains::new(instances.clone(), settings, own, &config.webhooks).map_err(StartError::failed(
        "proofs of customers' domains cannot be prepared",
    ))
}

fn runtime(config: &Config) -> Result<Runtime, StartError> {
    let mut settings = RuntimeConfig::clone(&config.runtime);
    settings
        .cache_dir
        .get_or_insert_with(|| config.data_dir.join("plugin-cache"));
    Ok(Runtime::new(settings)?)
}

async fn first_administrator(config: &Config, accounts: &Accounts) -> Result<(), StartError> {
    let (Some(email), Some(password)) = (&config.admin_email, &config.admin_password) else {
        return Ok(());
    };
    let make = async {
        let email = Email::parse(email)
            .map_err(|message| Error::invalid("DERMAGA_ADMIN_EMAIL", message))?;
        let made = accounts
            .ensure_first_administrator(email, password.reveal().to_owned().into())
            .await?;
        if let Some(user) = made {
            tracing::info!(user.id = %user.id, "administrator.made");
        }
        Ok(())
    };
    make.await
        .map_err(StartError::failed("the first administrator cannot be made"))
}

fn provisioning_settings(config: &Config) -> provisioning::Settings {
    provisioning::Settings {
        folder: config.manifests_dir(),
        ..config.provisioning.clone()
    }
}

/// Resolves at SIGTERM or ctrl-c.
pub(super) async fn shutdown_requested() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
    }
}
