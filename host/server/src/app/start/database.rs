//! The database of a server: how it is reached, and its schema.

use std::{path::Path, pin::pin, time::Duration};

use dermaga_shop::{
    db::{self, Db, Schema},
    text::without_secrets,
};
use sqlx::migrate::MigrateError;
use tokio::time::{Instant, interval_at};

use crate::{
    app::{StartError, in_use},
    config::Config,
};

/// Silence of a database after which it is said that it is away. One that is there answers sooner.
const SILENT: Duration = Duration::from_millis(500);
/// Interval between the lines that say so.
const SAID_EVERY: Duration = Duration::from_secs(3);

/// Password hashes and keys lie in it: a new one is for its owner only.
pub(super) fn make_data_dir(path: &Path) -> Result<(), StartError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| StartError::DataDir {
        path: path.to_owned(),
        source,
    })?;
    in_use::refuse_part_restored(path)
}

/// Connects, and brings the schema up to date, or checks that it is when `DERMAGA_MIGRATE` is
/// false.
///
/// # Errors
/// When the database cannot be reached, is newer than this binary, or is older and must not be
/// changed.
pub async fn open_database(config: &Config) -> Result<Db, StartError> {
    if !config.migrate {
        return open_database_as_is(config).await;
    }
    make_data_dir(&config.data_dir)?;
    let db = connect(config).await?;
    in_use::refuse_half_filled(&db).await?;
    db.migrate().await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => StartError::DatabaseNewer { version },
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)
            if db::is_passing(&source) =>
        {
            StartError::passing(db.engine_name(), source)
        }
        other => StartError::Migration(other),
    })?;
    // A copy may have begun since; it marks the database before it makes tables.
    in_use::refuse_half_filled(&db).await?;
    Ok(db)
}

/// Connects, and leaves the schema as it is.
///
/// # Errors
/// When the database cannot be reached, or is empty, or its schema is older or newer than this binary's.
pub async fn open_database_as_is(config: &Config) -> Result<Db, StartError> {
    let db = connect(config).await?;
    in_use::refuse_half_filled(&db).await?;
    match db
        .schema()
        .await
        .map_err(StartError::database(db.engine_name()))?
    {
        Schema::Current | Schema::Expanded(_) => {
            // A copy may have begun since; it marks the database before it makes tables.
            in_use::refuse_half_filled(&db).await?;
            Ok(db)
        }
        Schema::Empty => Err(StartError::DatabaseEmpty {
            engine: db.engine_name(),
        }),
        Schema::Older => Err(StartError::NotMigrated),
        Schema::Newer(version) => Err(StartError::DatabaseNewer { version }),
    }
}

/// Connects, whatever the schema is. A SQLite file is made when it is missing.
///
/// # Errors
/// When the database cannot be reached.
pub async fn connect(config: &Config) -> Result<Db, StartError> {
    let url = config.database_url();
    let connecting = Db::connect_with(&url, &config.database);
    if url.starts_with("sqlite") {
        return connecting.await.map_err(StartError::database("sqlite"));
    }
    let connected = announced(connecting, &url, config.database.acquire).await;
    connected.map_err(StartError::database("postgres"))
}

/// Says while a database is silent that it is tried, and for how long.
async fn announced<T>(connecting: impl Future<Output = T>, url: &str, longest: Duration) -> T {
    let mut connecting = pin!(connecting);
    let mut silence = interval_at(Instant::now() + SILENT, SAID_EVERY);
    let mut waited = SILENT;
    loop {
        tokio::select! {
            biased;
            connected = &mut connecting => return connected,
            _ = silence.tick() => {
                tracing::warn!(
                    database.url = without_secrets(url),
                    waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                    "database.away: it does not answer yet, and is tried for {longest:?} in all"
                );
                waited += SAID_EVERY;
            }
        }
    }
}

/// Says how the database is used.
pub(super) fn tell(db: &Db) {
    let engine = db.engine_name();
    if db.keeps_sessions() {
        tracing::info!(database.engine = engine, "database.open");
    } else {
        tracing::info!(
            database.engine = engine,
            "database.behind_pooler: connections are lent for a transaction, so that statements are not kept, each read \
             is a transaction, and versions of plugins that other servers activate are found by polling"
        );
    }
}
