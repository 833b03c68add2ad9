//! Copies everything in a SQLite database into a PostgreSQL one, and can be killed at any instant
//! and continued.
//!
//! Rows come in the order of their keys. The key of the last one is written in the transaction that
//! brings them, so that none is copied twice or left out. The target's triggers stay on: its ledger
//! takes an entry only with postings that balance.

mod plan;
mod progress;
mod rows;

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection, PgPool, SqlitePool, migrate::MigrateError};

use self::plan::Table;
use super::{Conn, Db, Schema};

/// Name of the lock that a copying session holds, an arbitrary number.
const ALONE: i64 = 0x0064_6572_6d61_6761;

/// Reason why a database is not copied.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("only a SQLite database can be copied, and only into a PostgreSQL one")]
    Engines,
    #[error(
        "the schema of the SQLite database is not this program's: run `dermaga migrate` on it first"
    )]
    SourceSchema,
    #[error(
        "the address of the PostgreSQL database is a pooler's, which keeps no session. Give that of PostgreSQL itself"
    )]
    Pooler,
    #[error("another `dermaga migrate` is filling the PostgreSQL database")]
    NotAlone,
    #[error(
        "the PostgreSQL database has tables of another program. Make an empty one with `createdb`"
    )]
    Foreign,
    #[error(
        "the PostgreSQL database is a shop of its own: its table {table} has rows. Make an empty one with `createdb`"
    )]
    NotEmpty { table: String },
    #[error(
        "the PostgreSQL database was begun with another SQLite database, or with this one before it was changed. Make \
         an empty one with `createdb`"
    )]
    OtherSource,
    #[error("the table {table} differs between the databases: {what}")]
    Different { table: String, what: String },
    #[error("the rows of {table} cannot be copied: {source}")]
    Rows { table: String, source: sqlx::Error },
    #[error("the schema of the PostgreSQL database cannot be brought up to date: {0}")]
    Migration(#[from] MigrateError),
    #[error("a database does not answer: {0}")]
    Database(#[from] sqlx::Error),
}

/// State of a target when a copy begins.
#[derive(Debug)]
pub enum Begun {
    /// Filled from the same source at this moment, completely.
    Before(DateTime<Utc>),
    /// Empty, or filled in part.
    Now(Box<Transfer>),
}

/// A copy under way, during which nothing writes to its source.
#[derive(Debug)]
pub struct Transfer {
    source: SqlitePool,
    target: PgPool,
    tables: Vec<Table>,
    /// Write transaction that is never committed: others wait, and then fail.
    rest: Conn,
    /// Session that holds the lock of the target.
    alone: PgConnection,
}

/// Numbers of rows of a table in both databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub table: String,
    pub source: i64,
    pub target: i64,
}

impl Transfer {
    /// Looks at both databases, and makes the tables of an empty target. The caller sees to it that
    /// no server uses the source.
    ///
    /// # Errors
    /// When the source cannot be copied, and when the target is neither empty nor begun from the
    /// same source; then nothing was changed.
    pub async fn begin(source: &Db, target: &Db) -> Result<Begun, TransferError> {
        let (Db::Sqlite { reader, .. }, Db::Postgres(server)) = (source, target) else {
            return Err(TransferError::Engines);
        };
        if source.schema().await? != Schema::Current {
            return Err(TransferError::SourceSchema);
        }
        if !server.keeps_sessions() {
            return Err(TransferError::Pooler);
        }
        let rest = source.begin().await?;
        let (reader, pool) = (reader.pool(), server.connections.pool());
        let origin = progress::origin(reader).await?;
        let alone = alone(pool).await?;
        let begun = progress::find(&mut *pool.acquire().await?).await?;
        let is_marked = match begun {
            Some(begun) if begun.origin != origin => return Err(TransferError::OtherSource),
            Some(begun) => {
                if let Some(at) = begun.finished_at {
                    return Ok(Begun::Before(at));
                }
                true
            }
            None => mark_bare(pool, &origin).await?,
        };
        target.migrate().await?;
        let pool = server.connections.pool();
        let tables = plan::load(reader, pool).await?;
        if !is_marked {
            progress::refuse_filled(pool, &tables).await?;
            progress::open(pool, &origin).await?;
        }
        Ok(Begun::Now(Box::new(Self {
            source: reader.clone(),
            target: pool.clone(),
            tables,
            rest,
            alone,
        })))
    }

    /// Copies all rows that are not there yet, and tells each table with the number of rows that
    /// were copied now.
    ///
    /// # Errors
    /// When a database does not answer, or the target refuses a row.
    pub async fn copy(
        &self,
        told: &mut (dyn FnMut(&str, u64) + Send),
    ) -> Result<(), TransferError> {
        for table in &self.tables {
            let copied = rows::copy(&self.source, &self.target, table)
                .await
                .map_err(|source| TransferError::Rows {
                    table: table.name.clone(),
                    source,
                })?;
            told(&table.name, copied);
        }
        progress::set_counters(&self.source, &self.target).await?;
        Ok(())
    }

    /// Counts the rows of all tables in both databases.
    ///
    /// # Errors
    /// When a database does not answer.
    pub async fn count(&self) -> Result<Vec<Counted>, TransferError> {
        let mut counted = Vec::new();
        for name in self.tables.iter().flat_map(Table::names) {
            let sql = format!("SELECT count(*) FROM \"{name}\"");
            let text = sqlx::AssertSqlSafe(sql.clone());
            let source: i64 = sqlx::query_scalar(text).fetch_one(&self.source).await?;
            let text = sqlx::AssertSqlSafe(sql);
            let target: i64 = sqlx::query_scalar(text).fetch_one(&self.target).await?;
            counted.push(Counted {
                table: name.to_owned(),
                source,
                target,
            });
        }
        Ok(counted)
    }

    /// Marks the target as complete, so that servers start on it, and releases both databases.
    ///
    /// # Errors
    /// When a database does not answer.
    pub async fn finish(self) -> Result<(), TransferError> {
        progress::finish(&self.target).await?;
        self.end().await
    }

    /// Releases both databases, and leaves the target as it is.
    ///
    /// # Errors
    /// When a database does not answer.
    pub async fn end(self) -> Result<(), TransferError> {
        self.rest.rollback().await?;
        self.alone.close().await?;
        Ok(())
    }
}

/// Marks a target without tables before it has any, so that no server takes them for a new shop's;
/// returns false for one that has tables.
async fn mark_bare(target: &PgPool, origin: &str) -> Result<bool, TransferError> {
    if progress::is_foreign(target).await? {
        return Err(TransferError::Foreign);
    }
    let is_bare = progress::is_bare(target).await?;
    if is_bare {
        progress::open(target, origin).await?;
    }
    Ok(is_bare)
}

/// Takes the lock of a target, for as long as the returned session lives.
async fn alone(pool: &PgPool) -> Result<PgConnection, TransferError> {
    let mut session = pool.acquire().await?.detach();
    let is_alone: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(ALONE)
        .fetch_one(&mut session)
        .await?;
    if is_alone {
        Ok(session)
    } else {
        Err(TransferError::NotAlone)
    }
}

impl Db {
    /// Returns true for a database that a copy fills and has not finished.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn is_half_filled(&self) -> sqlx::Result<bool> {
        let Self::Postgres(server) = self else {
            return Ok(false);
        };
        let mut tx = server.begin().await?;
        let begun = progress::find(tx.connection()?).await?;
        tx.rollback().await?;
        Ok(begun.is_some_and(|begun| begun.finished_at.is_none()))
    }
}
