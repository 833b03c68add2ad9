//! Words of SQL for which each engine has another one.

use dermaga_shop::{db::Db, execute};
use sqlx::AssertSqlSafe;

use super::Kind;

/// Rows of one table, made by one statement: one for each number from 1, which is called `n`.
pub(super) struct Rows<'a> {
    db: &'a Db,
    table: &'static str,
    number: u32,
    columns: Vec<&'static str>,
    values: Vec<String>,
    joined: &'static str,
}

/// Returns true for PostgreSQL.
pub(super) const fn is_postgres(db: &Db) -> bool {
    matches!(db, Db::Postgres(_))
}

/// Runs a statement in a transaction of its own.
pub(super) async fn run(db: &Db, sql: String) {
    let mut conn = db.begin().await.unwrap();
    if is_postgres(db) {
        // Longer than a request may take.
        execute!(conn, "SET LOCAL statement_timeout = 0").unwrap();
    }
    let shown: String = sql.chars().take(200).collect();
    if let Err(error) = execute!(conn, AssertSqlSafe(sql)) {
        panic!("{error}: {shown}");
    }
    conn.commit().await.unwrap();
}

impl<'a> Rows<'a> {
    pub(super) const fn of(db: &'a Db, table: &'static str, number: u32) -> Self {
        Self {
            db,
            table,
            number,
            columns: Vec::new(),
            values: Vec::new(),
            joined: "",
        }
    }

    /// Joins a table to each row.
    pub(super) fn join(mut self, joined: &'static str) -> Self {
        self.joined = joined;
        self
    }

    /// Sets a column to an expression.
    pub(super) fn with(mut self, column: &'static str, value: &str) -> Self {
        self.columns.push(column);
        self.values.push(value.to_owned());
        self
    }

    /// Sets a column to an id whose number is an expression.
    pub(super) fn id(self, column: &'static str, kind: Kind, number: &str) -> Self {
        let id = id(self.db, kind, number);
        self.with(column, &id)
    }

    /// Sets columns to a moment, in seconds since 1970.
    pub(super) fn at(mut self, columns: &[&'static str], seconds: &str) -> Self {
        let moment = at(self.db, seconds);
        for column in columns.iter().copied() {
            self = self.with(column, &moment);
        }
        self
    }

    /// Sets a column to a moment, where a condition holds.
    pub(super) fn at_if(self, column: &'static str, condition: &str, seconds: &str) -> Self {
        let moment = at(self.db, seconds);
        self.with(column, &format!("CASE WHEN {condition} THEN {moment} END"))
    }

    pub(super) async fn insert(self) {
        let Self {
            db,
            table,
            number,
            columns,
            values,
            joined,
        } = self;
        if number == 0 {
            return;
        }
        let (columns, values) = (columns.join(", "), values.join(", "));
        let insert = format!("INSERT INTO {table} ({columns}) SELECT {values} FROM");
        let sql = if is_postgres(db) {
            format!("{insert} generate_series(1::bigint, {number}::bigint) AS s (n) {joined}")
        } else {
            format!(
                "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {number}) \
                 {insert} s {joined}"
            )
        };
        run(db, sql).await;
    }
}

/// Writes the id with the number that an expression has.
pub(super) fn id(db: &Db, kind: Kind, number: &str) -> String {
    let kind = kind as u32;
    if is_postgres(db) {
        format!("('{kind:08x}' || lpad(to_hex(({number})::bigint), 24, '0'))::uuid")
    } else {
        format!("unhex('{kind:08x}' || printf('%024x', {number}))")
    }
}

/// Writes the moment so many seconds after 1970.
pub(super) fn at(db: &Db, seconds: &str) -> String {
    if is_postgres(db) {
        format!("to_timestamp({seconds})")
    } else {
        format!("strftime('%Y-%m-%dT%H:%M:%S+00:00', {seconds}, 'unixepoch')")
    }
}
