//! Everything that happens once, before the first request; each failure says what to do.

mod database;
mod parts;

use std::{path::Path, sync::Arc, time::Duration};

use chrono::TimeDelta;
use dermaga_runtime::{Runtime, RuntimeConfig};
use dermaga_shop::{
    Code, Error,
    accounts::{Accounts, Email, TokenKeys},
    crypto::Vault,
    db::{Clock, Db},
    idempotency,
    identity::Identity,
    payments, plugins, provisioning, scheduler,
};

pub use database::{connect, open_database, open_database_as_is};

use self::parts::Base;
use super::{App, StartError, bootstrap, in_use};
use crate::{
    api::AppState,
    config::{Config, Keys},
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
        set_clock(&config, &clock)?;
        prepare_data_dir(&config)?;
        let in_use = in_use::hold(&config.database_url())?;
        let db = open_database(&config).await?;
        db.optimize()
            .await
            .map_err(StartError::database(db.engine_name()))?;
        database::tell(&db);
        let keys = obtain_keys(&config, &db).await?;
        let identity = Arc::new(Identity::of_folder(&config.data_dir, &clock));
        release_left_behind(&db, &clock, &identity).await?;
        let vault = Arc::new(Vault::new(&keys.master_keys));
        let accounts = accounts(&config, &keys, &vault, (db.clone(), clock.clone()))?;
        let templates = Arc::new(bootstrap::find_templates(&config)?);
        let plugins = Arc::new(registry(&config, db.clone(), &clock)?);
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
        let base = Base {
            config,
            db,
            clock,
            vault,
            plugins,
            server: identity.id,
        };
        Ok(Self {
            state: AppState::new(base.parts(accounts, templates, instances)?),
            worker,
            identity,
            in_use,
        })
    }
}

/// Sets the shop's clock ahead or back, as the configuration says.
fn set_clock(config: &Config, clock: &Clock) -> Result<(), StartError> {
    let Some(setting) = config.clock else {
        return Ok(());
    };
    let system = clock.now() - clock.offset().unwrap_or_default();
    if !setting.is_usable(system) {
        let message = "DERMAGA_CLOCK must lead to a time between 2000-01-01 and 2199-12-31 (UTC).";
        let error = Error::new(Code::ValidationFailed, message);
        return Err(StartError::failed("setting the clock")(error));
    }
    clock.set_offset(setting.offset(system));
    tracing::warn!(clock.now = %clock.now(), "clock.set");
    Ok(())
}

/// Frees what an earlier run of this server left: keys of requests, runs of jobs, questions to the gateway.
async fn release_left_behind(
    db: &Db,
    clock: &Clock,
    identity: &Identity,
) -> Result<(), StartError> {
    idempotency::release_left_behind(db, clock, identity)
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
    let SealedSecrets { all, unreadable } = sealed_secrets(db, vault, None).await?;
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

/// Compares the master keys with those that the secrets in a database were sealed with; `missing` is the file of the
/// key where there is none, which the refusal names then.
///
/// # Errors
/// When no key opens any of them, and when the database does not answer.
pub async fn sealed_secrets(
    db: &Db,
    vault: &Vault,
    missing: Option<&Path>,
) -> Result<SealedSecrets, StartError> {
    let mut conn = db
        .read()
        .await
        .map_err(StartError::database(db.engine_name()))?;
    let found = provisioning::unreadable(&mut conn, vault).await;
    let (secrets, unreadable) = found.map_err(StartError::failed("secrets cannot be read"))?;
    if secrets > 0 && unreadable == secrets {
        return Err(match missing {
            Some(path) => StartError::NoMasterKey {
                secrets,
                path: path.to_owned(),
            },
            None => StartError::MasterKey { secrets },
        });
    }
    Ok(SealedSecrets {
        all: secrets,
        unreadable,
    })
}

/// Returns a vault with the master keys that there are, and makes none.
///
/// # Errors
/// As [`sealed_secrets`], and when a key cannot be read.
pub async fn vault_of_data(config: &Config, db: &Db) -> Result<Vault, StartError> {
    let keys = Keys::master_keys_of_data(config)?;
    let missing = keys.is_none().then(|| Keys::master_key_file(config));
    let vault = Vault::new(&keys.unwrap_or_default());
    sealed_secrets(db, &vault, missing.as_deref()).await?;
    Ok(vault)
}

/// Makes the data folder, and refuses damaged keys in it before anything is waited for.
fn prepare_data_dir(config: &Config) -> Result<(), StartError> {
    database::make_data_dir(&config.data_dir)?;
    Keys::check_token_key(config)?;
    Keys::master_keys_of_data(config)?;
    Ok(())
}

/// Obtains the keys of the data folder. None is made beside a database whose secrets a missing one sealed: the next
/// start would take the new one for theirs.
async fn obtain_keys(config: &Config, db: &Db) -> Result<Keys, StartError> {
    if Keys::master_keys_of_data(config)?.is_none() {
        let missing = Keys::master_key_file(config);
        sealed_secrets(db, &Vault::new(&[]), Some(&missing)).await?;
    }
    Ok(Keys::obtain(config)?)
}

/// Accounts alone, for commands that need no server.
///
/// # Errors
/// As [`open_database`], when the keys cannot be had, and when the one is missing that secrets were sealed with.
pub async fn open_accounts(config: &Config, clock: Clock) -> Result<Accounts, StartError> {
    let db = open_database(config).await?;
    let keys = obtain_keys(config, &db).await?;
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
