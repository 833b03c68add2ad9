//! PostgreSQL, reached directly or through a pooler that lends a connection for one transaction.
//!
//! Behind such a pooler nothing is left on a connection, which may be another session's a moment later:
//! statements are not kept, limits are set in each transaction, each read is a transaction, and nothing
//! is listened to.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, Postgres, Row as _,
    SqlSafeStr as _, SqlStr,
    migrate::{MigrateError, Migration, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    conn::Inner,
    connections::{Borrowed, Connections},
    generation::Generation,
    outdated::is_outdated,
    settings::{Pooler, Settings},
    statements::Recording,
};

/// Time after which PostgreSQL ends a transaction in which nothing was asked: its server is frozen, and
/// what it has locked would hold up all others.
const ABANDONED: &str = "60s";
/// Parameter of PostgreSQL 14 and later: interval in which it looks, within a statement, for a client that is gone. By
/// itself it does not look, and a statement that waits for a row keeps the session of a connection that was closed.
const CLIENT_CHECK: &str = "client_connection_check_interval";
/// Value of [`CLIENT_CHECK`].
const CLIENT_CHECKED_EVERY: &str = "5s";
/// Idle time after which a connection of the driver's pool is tested before use. Testing each time would double the
/// round trips of a short read.
const TESTED_AFTER: Duration = Duration::from_secs(1);
/// Parameter of a session that PostgreSQL keeps and poolers refuse or forget.
const MARK: &str = "dermaga.session";
/// Reads [`MARK`].
const SEEN: &str = "SELECT current_setting('dermaga.session', true)";
/// Begins a transaction that will write, on a connection whose limits are set.
const BEGIN: &str = "BEGIN";
/// Begins a snapshot. It locks no row, and its reader may be slow.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
                        SET LOCAL idle_in_transaction_session_timeout = 0";
/// Begins a migration, which takes its time.
const MIGRATION: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0; \
                         SET LOCAL statement_timeout = 0";
/// Lifts the limit of statements on a connection.
const UNLIMITED: &str = "SET statement_timeout = 0";
/// Table of migrations, as the migrator makes it.
const MIGRATIONS: &str = "CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
    success BOOLEAN NOT NULL, checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL)";
/// Name of the lock of a server that migrates, an arbitrary number.
const MIGRATING: i64 = 0x0064_6572_6d61_6d69;

/// A PostgreSQL server, its recorder, and the generation of the catalogue.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) connections: Connections<Postgres>,
    pub(super) recording: Recording,
    pub(super) catalogue: Generation,
    /// Absent where a connection is one session's.
    lent: Option<Arc<Lent>>,
}

/// First statements of transactions on connections that are lent for them.
#[derive(Debug)]
struct Lent {
    write: String,
    read: String,
    snapshot: String,
}

impl Lent {
    fn new(settings: &Settings, checks_client: bool) -> Self {
        let statement = settings.statement.as_millis();
        let abandoned = format!("SET LOCAL idle_in_transaction_session_timeout = '{ABANDONED}'");
        let mut limit = format!("SET LOCAL statement_timeout = {statement}");
        if checks_client {
            limit += &format!("; SET LOCAL {CLIENT_CHECK} = '{CLIENT_CHECKED_EVERY}'");
        }
        // Each statement of a read sees everything committed before it.
        let read = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY";
        Self {
            write: format!("BEGIN; {abandoned}; {limit}"),
            read: format!("{read}; {abandoned}; {limit}"),
            snapshot: format!("{SNAPSHOT}; {limit}"),
        }
    }
}

impl Server {
    /// Connects, and finds out whether a connection is one session's, unless that is set.
    pub(super) async fn connect(url: &str, settings: &Settings) -> sqlx::Result<Self> {
        let options = settings.options(url)?;
        match settings.pooler {
            Pooler::None => Self::keeping(options, settings).await,
            Pooler::Transaction => Self::borrowing(options, settings).await,
            Pooler::Auto => match Self::marked(options.clone(), settings).await? {
                Some(server) => Ok(server),
                None => Self::borrowing(options, settings).await,
            },
        }
    }

    /// Connects for sessions that are kept.
    async fn keeping(options: PgConnectOptions, settings: &Settings) -> sqlx::Result<Self> {
        let statement = settings.statement.as_millis();
        let limits = format!(
            "SET idle_in_transaction_session_timeout = '{ABANDONED}'; SET statement_timeout = {statement}"
        );
        let limits: Arc<str> = limits.into();
        let pool = pool(settings).after_connect(move |conn, _| {
            let limits = Arc::clone(&limits);
            Box::pin(async move {
                conn.execute(AssertSqlSafe(limits)).await?;
                check_client(conn, made(&client_check(false))).await
            })
        });
        Ok(Self::of(pool.connect_with(options).await?, None))
    }

    /// Connects for transactions that each have a connection of a pooler.
    async fn borrowing(options: PgConnectOptions, settings: &Settings) -> sqlx::Result<Self> {
        let options = options.statement_cache_capacity(0);
        let pool = pool(settings).connect_with(options).await?;
        let lent = Lent::new(settings, can_check_client(&pool).await?);
        Ok(Self::of(pool, Some(Arc::new(lent))))
    }

    /// Connects with a mark on each session; `None` when the mark is refused, or lost, as poolers do.
    async fn marked(options: PgConnectOptions, settings: &Settings) -> sqlx::Result<Option<Self>> {
        let mark = format!("{:016x}", RandomState::new().hash_one(MARK));
        let statement = settings.statement.as_millis().to_string();
        let options = options.options([
            (MARK, mark.as_str()),
            ("idle_in_transaction_session_timeout", ABANDONED),
            ("statement_timeout", statement.as_str()),
        ]);
        // Set where the mark is kept alone, so that nothing is left on a connection of a pooler.
        let check =
            client_check(false) + &format!(" AND current_setting('{MARK}', true) = '{mark}'");
        let pool =
            pool(settings).after_connect(move |conn, _| Box::pin(check_client(conn, made(&check))));
        let pool = match pool.connect_with(options).await {
            Ok(pool) => pool,
            Err(error) if refuses_parameters(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if is_kept(&pool, &mark).await? {
            return Ok(Some(Self::of(pool, None)));
        }
        pool.close().await;
        Ok(None)
    }

    fn of(pool: PgPool, lent: Option<Arc<Lent>>) -> Self {
        Self {
            connections: Connections::new(pool),
            recording: Recording::default(),
            catalogue: Generation::default(),
            lent,
        }
    }

    /// Returns true where a connection is one session's, and what is left on it stays.
    pub(super) const fn keeps_sessions(&self) -> bool {
        self.lent.is_none()
    }

    pub(super) async fn begin(&self) -> sqlx::Result<Borrowed<Postgres>> {
        let statement = match &self.lent {
            None => BEGIN.into_sql_str(),
            Some(lent) => made(&lent.write),
        };
        self.connections.begin(statement).await
    }

    pub(super) async fn read(&self) -> sqlx::Result<Inner> {
        Ok(match &self.lent {
            None => Inner::PostgresRead(self.connections.acquire().await?),
            Some(lent) => Inner::PostgresTx(self.connections.begin(made(&lent.read)).await?),
        })
    }

    pub(super) async fn snapshot(&self) -> sqlx::Result<Borrowed<Postgres>> {
        let statement = match &self.lent {
            None => SNAPSHOT.into_sql_str(),
            Some(lent) => made(&lent.snapshot),
        };
        self.connections.begin(statement).await
    }

    /// Brings the schema up to date.
    pub(super) async fn migrate(&self, migrator: &'static Migrator) -> Result<(), MigrateError> {
        if self.keeps_sessions() {
            // A connection of its own, which ends with its lock, and whose statements may take their time.
            let mut conn = self.connections.pool().acquire().await?.detach();
            conn.execute(UNLIMITED).await?;
            Box::pin(migrator.run_direct(None, &mut conn, false)).await?;
            return Ok(conn.close().await?);
        }
        // The migrator's lock is a session's, and it keeps statements.
        while self.migrate_once(migrator).await? {}
        Ok(())
    }

    /// Applies the next migration, with a lock that ends with its transaction; returns false when none
    /// is missing.
    async fn migrate_once(&self, migrator: &Migrator) -> Result<bool, MigrateError> {
        let mut tx = self.connections.pool().begin_with(MIGRATION).await?;
        sqlx::query::<Postgres>("SELECT pg_advisory_xact_lock($1)")
            .persistent(false)
            .bind(MIGRATING)
            .execute(&mut *tx)
            .await?;
        tx.execute(MIGRATIONS).await?;
        let sql = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";
        let applied = sqlx::query_as::<Postgres, (i64, Vec<u8>)>(sql)
            .persistent(false)
            .fetch_all(&mut *tx)
            .await?;
        let Some(next) = next_of(migrator, &applied)? else {
            tx.commit().await?;
            return Ok(false);
        };
        tx.execute(next.sql.clone())
            .await
            .map_err(|error| MigrateError::ExecuteMigration(error, next.version))?;
        let sql =
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                   VALUES ($1, $2, TRUE, $3, -1)";
        sqlx::query::<Postgres>(sql)
            .persistent(false)
            .bind(next.version)
            .bind(&*next.description)
            .bind(&*next.checksum)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Returns the statement that sets [`CLIENT_CHECK`] for a session or a transaction. It sets nothing where PostgreSQL does
/// not know it, or looks already.
fn client_check(is_local: bool) -> String {
    format!(
        "SELECT set_config('{CLIENT_CHECK}', '{CLIENT_CHECKED_EVERY}', {is_local}) \
         WHERE current_setting('{CLIENT_CHECK}', true) = '0'"
    )
}

/// Sets [`CLIENT_CHECK`] by this statement, which PostgreSQL refuses on systems that cannot look.
async fn check_client(conn: &mut PgConnection, statement: SqlStr) -> sqlx::Result<()> {
    match conn.execute(statement).await {
        Ok(_) | Err(sqlx::Error::Database(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns true where [`CLIENT_CHECK`] can be set, and is not yet.
async fn can_check_client(pool: &PgPool) -> sqlx::Result<bool> {
    let mut conn = pool.acquire().await?;
    match conn.fetch_optional(made(&client_check(true))).await {
        Ok(row) => Ok(row.is_some()),
        Err(sqlx::Error::Database(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Names a statement that is made of constants and of what this server made up.
fn made(statement: &str) -> SqlStr {
    AssertSqlSafe(statement.to_owned()).into_sql_str()
}

fn pool(settings: &Settings) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(settings.connections)
        .acquire_timeout(settings.acquire)
        .idle_timeout(settings.idle)
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            Box::pin(async move {
                if is_outdated(meta.age) {
                    return Ok(false);
                }
                if meta.idle_for >= TESTED_AFTER {
                    conn.ping().await?;
                }
                Ok(true)
            })
        })
}

/// Returns true for the answer of a pooler to a parameter that it cannot keep for a session.
fn refuses_parameters(error: &sqlx::Error) -> bool {
    const REFUSALS: [&str; 2] = ["startup parameter", "command-line options"];
    error.as_database_error().is_some_and(|cause| {
        let message = cause.message();
        REFUSALS.iter().any(|part| message.contains(part))
    })
}

/// Returns true when a session has its mark. The question is sent without a statement to prepare, which
/// may be lost behind a pooler.
async fn is_kept(pool: &PgPool, mark: &str) -> sqlx::Result<bool> {
    let mut conn = pool.acquire().await?;
    let row = conn.fetch_one(SEEN).await?;
    let seen: Option<String> = row.try_get(0)?;
    Ok(seen.as_deref() == Some(mark))
}

/// Returns the first migration that is not applied. Unknown ones were judged before.
fn next_of<'m>(
    migrator: &'m Migrator,
    applied: &[(i64, Vec<u8>)],
) -> Result<Option<&'m Migration>, MigrateError> {
    for migration in migrator.iter() {
        let found = applied
            .iter()
            .find(|(version, _)| *version == migration.version);
        match found {
            None => return Ok(Some(migration)),
            Some((version, checksum)) if checksum.as_slice() != &*migration.checksum => {
                return Err(MigrateError::VersionMismatch(*version));
            }
            Some(_) => {}
        }
    }
    Ok(None)
}
