//! Rows of a table: read from SQLite as texts, inserted into PostgreSQL as arrays of texts.

use futures::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, PgConnection, PgPool, Row as _, Sqlite, SqlitePool,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{
    plan::{Column, Kind, Table},
    progress::{self, Reached},
};

/// Rows of one transaction at the most.
const MOST_ROWS: i64 = 500;
/// Bytes of texts after which a transaction takes no further row.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Rows, column by column.
#[derive(Debug, Default)]
struct Batch {
    columns: Vec<Vec<Option<String>>>,
    rows: usize,
    bytes: usize,
}

impl Batch {
    fn of(table: &Table) -> Self {
        Self {
            columns: vec![Vec::new(); table.columns.len()],
            ..Self::default()
        }
    }

    fn take(&mut self, row: &SqliteRow) -> sqlx::Result<()> {
        for (place, column) in self.columns.iter_mut().enumerate() {
            let text: Option<String> = row.try_get(place)?;
            self.bytes += text.as_ref().map_or(0, String::len);
            column.push(text);
        }
        self.rows += 1;
        Ok(())
    }

    /// Returns the key of the last row.
    fn last_key(&self, table: &Table) -> Option<Vec<String>> {
        let key = table.key().into_iter();
        key.map(|(place, _)| self.columns.get(place)?.last()?.clone())
            .collect()
    }
}

/// Copies the rows of a table that are not in the target yet; returns their number.
pub(super) async fn copy(source: &SqlitePool, target: &PgPool, table: &Table) -> sqlx::Result<u64> {
    let mut reached = progress::reached(target, &table.name).await?;
    let mut copied = 0;
    while !reached.is_complete {
        let batch = read(source, table, reached.last.as_deref()).await?;
        let last = batch.last_key(table);
        let carried = match (&table.carries, &last) {
            (Some(carried), Some(last)) => {
                let rows = read_carried(source, carried, last, reached.last.as_deref()).await?;
                Some((carried, rows))
            }
            _ => None,
        };
        let mut tx = target.begin().await?;
        if table.is_seeded() && reached.last.is_none() {
            let sql = format!("DELETE FROM \"{}\"", table.name);
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
        }
        if let Some((carried, rows)) = carried {
            copied += write(&mut tx, carried, rows).await?;
        }
        let rows = write(&mut tx, table, batch).await?;
        if !table.is_events() {
            // They happened long ago, and come with the table of events.
            let sql = "DELETE FROM customer_events WHERE tx = pg_current_xact_id()::text::bigint";
            sqlx::query(sql).execute(&mut *tx).await?;
        }
        copied += rows;
        reached = Reached {
            is_complete: rows == 0 || table.refers_to_itself(),
            last: last.or(reached.last),
        };
        progress::reach(&mut tx, &table.name, &reached).await?;
        tx.commit().await?;
    }
    Ok(copied)
}

/// Reads the rows after a key, as many as one transaction takes.
async fn read(source: &SqlitePool, table: &Table, after: Option<&[String]>) -> sqlx::Result<Batch> {
    let (most_rows, most_bytes) = if table.refers_to_itself() {
        (i64::MAX, usize::MAX)
    } else {
        (MOST_ROWS, MOST_BYTES)
    };
    let condition = after.map_or_else(String::new, |_| table.after());
    let mut query = sqlx::query(AssertSqlSafe(table.select(&condition, most_rows)));
    for ((_, column), text) in table.key().into_iter().zip(after.unwrap_or_default()) {
        query = bind(query, column, text)?;
    }
    let mut batch = Batch::of(table);
    let mut rows = query.fetch(source);
    while let Some(row) = rows.try_next().await? {
        batch.take(&row)?;
        if batch.bytes >= most_bytes {
            break;
        }
    }
    Ok(batch)
}

/// Reads the rows that come with those of another table, from behind one of its keys up to another.
async fn read_carried(
    source: &SqlitePool,
    table: &Table,
    last: &[String],
    after: Option<&[String]>,
) -> sqlx::Result<Batch> {
    let condition = Table::carried(after.is_some());
    let mut query = sqlx::query(AssertSqlSafe(table.select(&condition, i64::MAX)));
    let first = table.key().into_iter().next();
    // The key of the other table has one column, which is the first one of this table's key.
    let bounds = last.first().into_iter().chain(after.unwrap_or_default());
    for text in bounds {
        if let Some((_, column)) = first {
            query = bind(query, column, text)?;
        }
    }
    let mut batch = Batch::of(table);
    let mut rows = query.fetch(source);
    while let Some(row) = rows.try_next().await? {
        batch.take(&row)?;
    }
    Ok(batch)
}

/// Binds a text as the value of a column that it was read from.
fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    column: &Column,
    text: &str,
) -> sqlx::Result<Query<'q, Sqlite, SqliteArguments>> {
    Ok(match column.kind {
        Kind::Blob => query.bind(hex::decode(text).map_err(unreadable)?),
        Kind::Integer => query.bind(text.parse::<i64>().map_err(unreadable)?),
        Kind::Text => query.bind(text.to_owned()),
    })
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

async fn write(tx: &mut PgConnection, table: &Table, batch: Batch) -> sqlx::Result<u64> {
    if batch.rows == 0 {
        return Ok(0);
    }
    let mut query = sqlx::query(AssertSqlSafe(table.insert()));
    for column in batch.columns {
        query = query.bind(column);
    }
    Ok(query.execute(tx).await?.rows_affected())
}
