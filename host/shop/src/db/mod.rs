//! Both engines behind one SQL text: connections, migrations, clock and ids.
//!
//! SQLite is the embedded default; PostgreSQL serves more than one machine. Stores write each
//! statement once, with `$1`-style parameters, and bind native types on each engine.

mod address;
mod ambient;
mod batch;
mod boxed;
mod clock;
mod conn;
mod connections;
mod filter;
mod free_rows;
mod generation;
mod ids;
mod in_use;
mod lease;
mod migrations;
mod notify;
mod online_copy;
mod outdated;
mod page;
mod probe;
mod server;
mod session;
mod settings;
mod statements;
mod steadiness;
mod text_enum;
pub mod transfer;
mod uncommitted;
mod wal;
mod writer;

use std::{path::Path, str::FromStr, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use sqlx::{
    SqlSafeStr as _, Sqlite,
    sqlite::{
        SqliteConnectOptions, SqliteError, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
    },
};

pub use address::Address;
pub use ambient::Ambient;
#[doc(hidden)]
pub use batch::{Batch, Waiting, bind};
#[doc(hidden)]
pub use boxed::{postgres, sqlite};
pub use clock::Clock;
pub use conn::{Conn, Engine};
use connections::{Connections, Lends};
pub use filter::{Filter, Value};
pub use generation::{Edition, Generation};
pub use ids::new_id;
pub use in_use::{Held, NotHeld, file_of, url_of};
pub use lease::{Lease, LeasedQueue, LeasedTable, Term};
pub use migrations::{Schema, newest_migration};
pub use notify::{Heard, Listener, notify};
pub use page::{
    List, MOST_COUNTED, Page, Part, Place, Row, Span, Walked, count_where, fetch_first, fetch_page,
    fetch_span, fetch_where, find_where,
};
pub use server::Server;
#[doc(hidden)]
pub use session::Session;
pub use settings::{Pooler, Settings, Tls};
#[doc(hidden)]
pub use statements::Recorder;
use statements::Recording;
pub use statements::Statement;
pub use steadiness::{HOLD, Jump};
pub use uncommitted::Uncommitted;
pub use wal::ForeignLog;
use writer::Sees;
pub use writer::Writer;

use crate::private_file;

/// Longest wait for a free connection of SQLite before a request is answered 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const MOST_READERS: u32 = 8;
/// Prepared statements that each connection keeps: those of a customer's whole journey, and of the workers beside it.
/// Statements that come in turns, and are more than a connection keeps, are prepared again each time.
const KEPT_STATEMENTS: usize = 256;
/// Longest wait of SQLite for another process's lock; shorter than [`ACQUIRE_TIMEOUT`], which the
/// writers queued behind it wait for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Size in bytes to which the write-ahead log is truncated after a long read made it grow.
const LOG_SIZE_LIMIT: &str = "16777216";
/// Pages that SQLite's writer keeps in memory, in KiB below zero; a reader forgets its own with each commit. A purchase
/// touches more than the 2 MiB that SQLite keeps by itself, and read a third of its time.
const WRITER_CACHE: &str = "-16384";
/// Begins a snapshot of SQLite.
const BEGIN: &str = "BEGIN";
/// Statement of [`Db::optimize`]: all tables, each analysed in part.
const OPTIMIZE: &str = "PRAGMA optimize = 0x10002";

/// A database of either engine. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Db {
    /// One writer, since SQLite has one write lock anyway; readers see the last commit.
    Sqlite {
        writer: Writer,
        reader: Connections<Sqlite>,
        recording: Recording,
        catalogue: Generation,
    },
    Postgres(Server),
}

impl Db {
    /// Connects to `sqlite://path` or `postgres://...`. A SQLite file is made when it is missing.
    ///
    /// # Errors
    /// When the URL is neither or has what would be left out, or the engine cannot be reached.
    pub async fn connect(url: &str) -> sqlx::Result<Self> {
        Self::connect_with(url, &Settings::default()).await
    }

    /// Connects as [`connect`](Self::connect), to PostgreSQL with these settings.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_with(url: &str, settings: &Settings) -> sqlx::Result<Self> {
        let address = Address::parse(url);
        let wrong = |fault: String| sqlx::Error::Configuration(format!("the URL {fault}").into());
        if address.map_err(wrong)?.is_server() {
            let server = Box::pin(Server::connect(url, settings)).await?;
            Ok(Self::Postgres(server))
        } else {
            Box::pin(Self::connect_sqlite(url)).await
        }
    }

    async fn connect_sqlite(url: &str) -> sqlx::Result<Self> {
        let options = SqliteConnectOptions::from_str(url)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("journal_size_limit", LOG_SIZE_LIMIT)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .statement_cache_capacity(KEPT_STATEMENTS)
            .busy_timeout(BUSY_TIMEOUT);
        // SQLite creates the files beside it (-wal, -shm) with the database's own mode.
        let path = options.get_filename();
        if !is_in_memory(path) {
            private_file::ensure(path).map_err(sqlx::Error::Io)?;
        }
        // Before anything is opened, because opening the file replays the log.
        let foreign = wal::check(Path::new(options.get_filename())).await;
        foreign.map_err(|error| sqlx::Error::Configuration(error.into()))?;
        let pool = SqlitePoolOptions::new()
            .acquire_timeout(ACQUIRE_TIMEOUT)
            // A file connection cannot be closed by the other side.
            .test_before_acquire(false);
        let writer = Writer::connect(
            pool.clone(),
            options.clone().pragma("cache_size", WRITER_CACHE),
            ACQUIRE_TIMEOUT,
        )
        .await?;
        let reader = pool
            .max_connections(readers())
            .connect_with(options)
            .await?;
        Ok(Self::Sqlite {
            writer,
            reader: Connections::new(reader),
            recording: Recording::default(),
            catalogue: Generation::default(),
        })
    }

    /// Starts to record the statements of this database, once; returns the record.
    #[doc(hidden)]
    pub fn record(&self) -> Recorder {
        match self {
            Self::Sqlite { recording, .. } | Self::Postgres(Server { recording, .. }) => {
                recording.start()
            }
        }
    }

    fn recorder(&self) -> Option<Recorder> {
        match self {
            Self::Sqlite { recording, .. } | Self::Postgres(Server { recording, .. }) => {
                recording.recorder()
            }
        }
    }

    /// Returns the generation of the public catalogue on this server.
    pub const fn catalogue(&self) -> &Generation {
        match self {
            Self::Sqlite { catalogue, .. } | Self::Postgres(Server { catalogue, .. }) => catalogue,
        }
    }

    /// Asks for an answer.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ping(&self) -> sqlx::Result<()> {
        let mut conn = self.read().await?;
        crate::fetch_one!(&mut conn, (i32,), "SELECT 1").map(|_| ())
    }

    /// Updates SQLite's statistics of its tables, by which it chooses indexes. PostgreSQL does so
    /// by itself.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn optimize(&self) -> sqlx::Result<()> {
        let mut conn = self.begin().await?;
        if !conn.is_postgres() {
            crate::execute!(conn, OPTIMIZE)?;
        }
        conn.commit().await
    }

    /// Starts a transaction that will write.
    ///
    /// # Errors
    /// When no connection becomes free in time.
    pub fn begin(&self) -> BoxFuture<'_, sqlx::Result<Conn>> {
        let opened = async { self.begin_seeing(Sees::Durable).await };
        opened.boxed()
    }

    /// Starts a transaction as [`begin`](Self::begin) does, for short and frequent work: on SQLite
    /// concurrent callers share one commit. It may see writes that are not durable yet, so commit
    /// before reporting that something was done, or was done before.
    ///
    /// # Errors
    /// When no connection becomes free in time.
    pub fn begin_together(&self) -> BoxFuture<'_, sqlx::Result<Conn>> {
        let opened = async { self.begin_seeing(Sees::Undurable).await };
        opened.boxed()
    }

    /// Starts work that writes by a single statement, as [`begin_together`](Self::begin_together) does. On PostgreSQL
    /// such a statement is a transaction of its own, so that neither its beginning nor its commit is a round trip: what
    /// it wrote cannot be undone. Commit all the same, which is what makes it durable elsewhere.
    ///
    /// # Errors
    /// When no connection becomes free in time.
    pub fn begin_single(&self) -> BoxFuture<'_, sqlx::Result<Conn>> {
        if self.writes_singly() {
            return self.read();
        }
        self.begin_together()
    }

    /// Returns true where [`begin_single`](Self::begin_single) begins no transaction.
    pub fn writes_singly(&self) -> bool {
        matches!(self, Self::Postgres(server) if server.keeps_sessions())
    }

    async fn begin_seeing(&self, sees: Sees) -> sqlx::Result<Conn> {
        let inner = match self {
            Self::Sqlite { writer, .. } => {
                conn::Inner::SqliteTurn(counted(writer.begin(sees).await)?)
            }
            Self::Postgres(server) => conn::Inner::PostgresTx(counted(server.begin().await)?),
        };
        Ok(self.conn(inner))
    }

    fn conn(&self, inner: conn::Inner) -> Conn {
        Conn::new(
            inner,
            self.recorder(),
            self.keeps_sessions(),
            self.catalogue().clone(),
        )
    }

    /// Returns true unless connections are lent by a pooler for one transaction each, so that nothing
    /// can be left on them, and nothing listened to.
    pub fn keeps_sessions(&self) -> bool {
        match self {
            Self::Sqlite { .. } => true,
            Self::Postgres(server) => server.keeps_sessions(),
        }
    }

    /// Returns a connection for reading: each statement sees everything committed before it.
    ///
    /// # Errors
    /// When no connection becomes free in time.
    pub fn read(&self) -> BoxFuture<'_, sqlx::Result<Conn>> {
        let opened = async {
            let inner = match self {
                Self::Sqlite { reader, .. } => {
                    conn::Inner::SqliteRead(counted(reader.acquire().await)?)
                }
                Self::Postgres(server) => counted(server.read().await)?,
            };
            Ok(self.conn(inner))
        };
        opened.boxed()
    }

    /// Starts a read-only transaction in which every statement sees the same moment.
    ///
    /// # Errors
    /// When no connection becomes free in time.
    pub fn snapshot(&self) -> BoxFuture<'_, sqlx::Result<Conn>> {
        let opened = async {
            let inner = match self {
                // In WAL mode a transaction keeps the snapshot of its first read.
                Self::Sqlite { reader, .. } => {
                    let begun = reader.begin(BEGIN.into_sql_str());
                    conn::Inner::SqliteSnapshot(counted(begun.await)?)
                }
                Self::Postgres(server) => {
                    conn::Inner::PostgresTx(counted(server.snapshot().await)?)
                }
            };
            Ok(self.conn(inner))
        };
        opened.boxed()
    }

    /// Shows the connections of each pool as metrics.
    pub fn show(&self) {
        match self {
            Self::Sqlite { writer, reader, .. } => {
                show("writer", writer.connections());
                show("reader", reader);
            }
            Self::Postgres(server) => show("postgres", &server.connections),
        }
    }

    /// `sqlite` or `postgres`.
    pub const fn engine_name(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Waits for connections in use and closes the pools.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, reader, .. } => {
                reader.close().await;
                writer.close().await;
            }
            Self::Postgres(server) => server.connections.close().await,
        }
    }
}

fn show<D: Lends>(name: &'static str, connections: &Connections<D>) {
    let (most, used) = (connections.most(), connections.used());
    metrics::gauge!("dermaga_database_connections_max", "pool" => name).set(f64::from(most));
    metrics::gauge!("dermaga_database_connections_used", "pool" => name).set(f64::from(used));
}

/// Counts a wait for a connection that was given up.
fn counted<T>(opened: sqlx::Result<T>) -> sqlx::Result<T> {
    if matches!(opened, Err(sqlx::Error::PoolTimedOut)) {
        metrics::counter!("dermaga_database_waits_given_up_total").increment(1);
    }
    opened
}

/// Returns the most connections that read SQLite at once: two for each processor, which reads keep busy, and at most eight.
/// Each holds some 2 MB, for its pages and its own copy of the schema.
fn readers() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(2 * processors)
        .unwrap_or(MOST_READERS)
        .min(MOST_READERS)
}

fn is_in_memory(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.is_empty() || name == ":memory:" || name.starts_with("file:")
}

/// Returns true when a statement left a row that refers to nothing.
pub fn broken_reference(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_foreign_key_violation())
}

/// Returns the unique constraint that a statement broke, named as PostgreSQL names it by default
/// (`users_email_key`); `None` for every other error.
pub fn broken_unique(error: &sqlx::Error) -> Option<String> {
    let sqlx::Error::Database(error) = error else {
        return None;
    };
    if !error.is_unique_violation() {
        return None;
    }
    if let Some(name) = error.constraint() {
        return Some(name.to_owned());
    }
    // SQLite says `UNIQUE constraint failed: users.email, users.other`.
    let columns = error.message().rsplit_once(": ")?.1;
    let mut parts = columns.split(", ");
    let (table, first) = parts.next()?.split_once('.')?;
    let mut name = format!("{table}_{first}");
    for part in parts {
        name.push('_');
        name.push_str(part.split_once('.')?.1);
    }
    Some(name + "_key")
}

/// Returns true when a statement broke a foreign key: the row it refers to is gone, or the row it
/// deletes is referred to.
pub fn broke_foreign_key(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|cause| cause.is_foreign_key_violation())
}

/// Primary codes of SQLite's passing failures: busy, locked, full.
const SQLITE_PASSING: [u32; 3] = [5, 6, 13];
/// Codes of PostgreSQL's passing failures: the engine is away, starting or stopping, short of
/// connections, memory or room, another transaction is in the way, a statement (57014) or a silent
/// transaction (25P03) took longer than it may, or a table got another column.
const POSTGRES_PASSING: &[&str] = &[
    "08",
    "53",
    "57P0",
    "57014",
    "25P03",
    "55P03",
    "40001",
    outdated::REFUSAL,
];

/// Returns true for a failure that passes by itself, or once an operator acts.
pub fn is_passing(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return false;
    };
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<SqliteError>().is_some() {
        // The extended code has the primary one in its low byte.
        let code = code.parse::<u32>().unwrap_or_default();
        return SQLITE_PASSING.contains(&(code & 0xff));
    }
    POSTGRES_PASSING
        .iter()
        .any(|prefix| code.starts_with(prefix))
}

/// Returns true when PostgreSQL aborted a transaction because of a deadlock.
pub fn is_deadlock(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|cause| cause.code());
    code.as_deref() == Some("40P01")
}
