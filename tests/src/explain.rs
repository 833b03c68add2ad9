//! Plans of statements, as the engines explain them without running anything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection,
};

/// One step of a plan that reads a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub table: String,
    /// True when it reads every row of the table, or every entry of an index.
    pub is_scan: bool,
    /// Description by the engine.
    pub how: String,
}

/// A connection for query plans. PostgreSQL uses generic plans, as for frequent statements, and
/// scans only where no index is usable.
#[derive(Debug)]
pub enum Explainer {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Explainer {
    /// Connects to a database.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn open(url: &str) -> sqlx::Result<Self> {
        if url.starts_with("sqlite:") {
            return Ok(Self::Sqlite(SqliteConnection::connect(url).await?));
        }
        let mut conn = PgConnection::connect(url).await?;
        for setting in [
            "SET plan_cache_mode = force_generic_plan",
            "SET enable_seqscan = off",
        ] {
            conn.execute(setting).await?;
        }
        Ok(Self::Postgres(conn))
    }

    /// Returns every read of a table by a statement.
    ///
    /// # Errors
    /// When the engine refuses the statement.
    pub async fn reads(&mut self, sql: &str) -> sqlx::Result<Vec<Read>> {
        self.reads_with(sql, &[]).await
    }

    /// Lists the same for a statement from which PostgreSQL cannot tell the types of these arguments.
    ///
    /// # Errors
    /// As [`reads`](Self::reads).
    pub async fn reads_with(
        &mut self,
        sql: &str,
        types: &[(usize, &str)],
    ) -> sqlx::Result<Vec<Read>> {
        match self {
            Self::Sqlite(conn) => {
                let text = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
                let rows = sqlx::query(text).fetch_all(conn).await?;
                let aliases = aliases(sql);
                let details = rows.iter().map(|row| row.get::<String, _>("detail"));
                Ok(details
                    .filter_map(|detail| sqlite_read(&detail, &aliases))
                    .collect())
            }
            Self::Postgres(conn) => {
                let prepare = format!("PREPARE explained{} AS {sql}", parameters(types));
                conn.execute(AssertSqlSafe(prepare)).await?;
                let explained = postgres_plan(conn).await;
                conn.execute("DEALLOCATE explained").await?;
                let first = first_columns(conn).await?;
                let mut reads = Vec::new();
                postgres_reads(&explained?[0]["Plan"], None, &first, &mut reads);
                Ok(reads)
            }
        }
    }

    /// Lists the names of the indexes that have only some rows.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn partial_indexes(&mut self) -> sqlx::Result<BTreeSet<String>> {
        let names: Vec<String> = match self {
            Self::Sqlite(conn) => {
                let sql = "SELECT i.name FROM sqlite_schema t JOIN pragma_index_list(t.name) i
                           WHERE t.type = 'table' AND i.partial";
                sqlx::query_scalar(sql).fetch_all(conn).await?
            }
            Self::Postgres(conn) => {
                let sql =
                    "SELECT indexrelid::regclass::text FROM pg_index WHERE indpred IS NOT NULL";
                sqlx::query_scalar(sql).fetch_all(conn).await?
            }
        };
        Ok(names.into_iter().collect())
    }
}

/// Writes the types of a prepared statement's parameters, as far as they are given.
fn parameters(types: &[(usize, &str)]) -> String {
    let Some(last) = types.iter().map(|(number, _)| *number).max() else {
        return String::new();
    };
    let of = |number| types.iter().find(|(given, _)| *given == number);
    let names = (1..=last).map(|number| of(number).map_or("unknown", |(_, name)| *name));
    format!("({})", names.collect::<Vec<_>>().join(", "))
}

async fn postgres_plan(conn: &mut PgConnection) -> sqlx::Result<Value> {
    let count =
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'explained'";
    let parameters: i32 = sqlx::query_scalar(count).fetch_one(&mut *conn).await?;
    let nulls = vec!["NULL"; usize::try_from(parameters).unwrap_or_default()].join(", ");
    let arguments = if nulls.is_empty() {
        nulls
    } else {
        format!("({nulls})")
    };
    let text = AssertSqlSafe(format!(
        "EXPLAIN (FORMAT JSON) EXECUTE explained{arguments}"
    ));
    let row = sqlx::raw_sql(text).fetch_one(conn).await?;
    let plan: String = row.try_get_unchecked(0)?;
    serde_json::from_str(&plan).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Maps the names of indexes to what they are ordered by first.
async fn first_columns(conn: &mut PgConnection) -> sqlx::Result<BTreeMap<String, String>> {
    let sql = "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid, 1, true) FROM pg_index
               WHERE indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)";
    let found: Vec<(String, String)> = sqlx::query_as(sql).fetch_all(conn).await?;
    Ok(found.into_iter().collect())
}

/// Walks a plan; a bitmap of an index is found below the node that names the table.
fn postgres_reads(
    node: &Value,
    above: Option<&str>,
    first: &BTreeMap<String, String>,
    reads: &mut Vec<Read>,
) {
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let table = node["Relation Name"].as_str().or(above);
    let by_index = matches!(kind, "Index Scan" | "Index Only Scan" | "Bitmap Index Scan");
    if let Some(table) = table
        && (by_index || kind == "Seq Scan")
    {
        let condition = node["Index Cond"].as_str();
        let index = node["Index Name"].as_str().unwrap_or_default();
        // A condition on later columns alone is checked for every entry.
        let is_sought = condition
            .zip(first.get(index))
            .is_some_and(|(condition, first)| condition.contains(first.as_str()));
        reads.push(Read {
            table: table.to_owned(),
            is_scan: !is_sought,
            how: format!("{kind} {index} {}", condition.unwrap_or_default()),
        });
    }
    for below in node["Plans"].as_array().into_iter().flatten() {
        let above = if kind.starts_with("Bitmap") {
            table
        } else {
            None
        };
        postgres_reads(below, above, first, reads);
    }
}

/// Parses `SEARCH t USING INDEX i (c=?)` or `SCAN t ...`; `None` for steps that read no table.
fn sqlite_read(detail: &str, aliases: &BTreeMap<String, BTreeSet<String>>) -> Option<Read> {
    let (verb, rest) = detail.split_once(' ')?;
    if !matches!(verb, "SCAN" | "SEARCH") {
        return None;
    }
    let name = rest.split(' ').next()?;
    let tables = aliases.get(name)?;
    Some(Read {
        table: Vec::from_iter(tables.iter().cloned()).join(" or "),
        is_scan: verb == "SCAN",
        how: detail.to_owned(),
    })
}

/// Maps names in a statement to tables: each table's own and its aliases.
fn aliases(sql: &str) -> BTreeMap<String, BTreeSet<String>> {
    let spaced = sql.replace(['(', ')', ','], " ; ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let is_name = |word: &str| {
        word.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
    };
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (at, word) in words.iter().enumerate() {
        if !matches!(*word, "FROM" | "JOIN" | "UPDATE" | "INTO") {
            continue;
        }
        let Some(table) = words.get(at + 1).filter(|word| is_name(word)) else {
            continue;
        };
        let mut add = |name: &str| {
            found
                .entry(name.to_owned())
                .or_default()
                .insert((*table).to_owned())
        };
        add(table);
        let next = words.get(at + 2).copied().unwrap_or(";");
        let alias = if next == "AS" {
            words.get(at + 3).copied().unwrap_or(";")
        } else {
            next
        };
        if is_name(alias) {
            add(alias);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_index_is_partial_however_its_definition_is_written() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for sql in [
            "CREATE TABLE parcels (id INTEGER, sent_at TEXT)",
            "CREATE INDEX parcels_all ON parcels (id, sent_at)",
            "CREATE INDEX parcels_waiting ON parcels (id) WHERE sent_at IS NULL",
            "CREATE INDEX parcels_sent\nON parcels (id)\nWHERE sent_at IS NOT NULL",
        ] {
            conn.execute(sql).await.unwrap();
        }
        let partial = Explainer::Sqlite(conn).partial_indexes().await.unwrap();
        let expected = ["parcels_sent", "parcels_waiting"].map(str::to_owned);
        assert_eq!(partial, BTreeSet::from(expected));
    }
}
