//! Tables to copy, in an order in which every row finds the rows that it refers to.

use sqlx::{PgPool, SqlitePool};

use super::TransferError;

/// Tables that are not copied: what an engine keeps for itself, and counts of a minute.
const LEFT_OUT: &[&str] = &["_sqlx_migrations", "rate_windows", "sequences", "wal_mark"];
/// Tables that have their one row from a migration.
const SEEDED: &[&str] = &["administrator_changes", "ticket_numbers"];
/// A table whose rows come with those of another one, before them: (table, column, other table).
const CARRIED: (&str, &str, &str) = ("postings", "entry_id", "journal_entries");
/// The table that triggers fill while others are copied, so that it comes last.
const LAST: &str = "customer_events";

/// Type of a column of SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Blob,
    Integer,
    Text,
}

/// A column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Type on PostgreSQL.
    target: String,
    /// Place in the primary key, from 1; 0 for other columns.
    key: i64,
}

/// A table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Tables that its rows refer to.
    refers: Vec<String>,
    /// Table whose rows come with these.
    pub(super) carries: Option<Box<Table>>,
}

impl Table {
    /// Returns its name, and that of the table which it carries.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let carried = self.carries.iter().map(|table| table.name.as_str());
        std::iter::once(self.name.as_str()).chain(carried)
    }

    pub(super) fn is_seeded(&self) -> bool {
        SEEDED.contains(&self.name.as_str())
    }

    /// Returns true for a table whose rows are copied all at once, as they refer to one another.
    pub(super) fn refers_to_itself(&self) -> bool {
        self.refers.contains(&self.name)
    }

    /// Returns true for a table whose events are its own, not those of triggers.
    pub(super) fn is_events(&self) -> bool {
        self.name == LAST
    }

    /// Returns the columns of its primary key, with their places among all columns.
    pub(super) fn key(&self) -> Vec<(usize, &Column)> {
        let all = self.columns.iter().enumerate();
        let mut key: Vec<_> = all.filter(|(_, column)| column.key > 0).collect();
        key.sort_by_key(|(_, column)| column.key);
        key
    }

    /// Returns a query of its rows, each column as a text, in the order of their keys.
    pub(super) fn select(&self, condition: &str, limit: i64) -> String {
        let columns: Vec<String> = self.columns.iter().map(Column::read).collect();
        let key = self.key().into_iter();
        let key: Vec<String> = key.map(|(_, column)| column.quoted()).collect();
        format!(
            "SELECT {} FROM \"{}\" {condition} ORDER BY {} LIMIT {limit}",
            columns.join(", "),
            self.name,
            key.join(", ")
        )
    }

    /// Returns the condition of rows after a key that is bound.
    pub(super) fn after(&self) -> String {
        let key = self.key().into_iter();
        let names: Vec<String> = key.map(|(_, column)| column.quoted()).collect();
        let places: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
        format!("WHERE ({}) > ({})", names.join(", "), places.join(", "))
    }

    /// Returns the condition of rows that come with those of another table up to a key that is
    /// bound, and after another one.
    pub(super) fn carried(has_first: bool) -> String {
        let (_, column, _) = CARRIED;
        let first = if has_first {
            format!(" AND \"{column}\" > ?2")
        } else {
            String::new()
        };
        format!("WHERE \"{column}\" <= ?1{first}")
    }

    /// Returns the statement that inserts rows, which are bound as an array for each column.
    pub(super) fn insert(&self) -> String {
        let list = |write: fn(&Column, usize) -> String| -> String {
            let each = self.columns.iter().zip(1..);
            let each: Vec<String> = each.map(|(column, place)| write(column, place)).collect();
            each.join(", ")
        };
        format!(
            "INSERT INTO \"{}\" ({}) SELECT {} FROM unnest({}) AS given ({})",
            self.name,
            list(|column, _| column.quoted()),
            list(Column::written),
            list(|_, place| format!("${place}::text[]")),
            list(|_, place| format!("c{place}")),
        )
    }
}

impl Column {
    fn quoted(&self) -> String {
        format!("\"{}\"", self.name)
    }

    /// Returns the expression that reads it as a text.
    fn read(&self) -> String {
        let name = self.quoted();
        match self.kind {
            Kind::Blob => format!("iif({name} IS NULL, NULL, hex({name}))"),
            Kind::Integer => format!("CAST({name} AS TEXT)"),
            Kind::Text => name,
        }
    }

    /// Returns the expression that makes its value of the text at a place.
    fn written(&self, place: usize) -> String {
        match self.target.as_str() {
            "bytea" => format!("decode(c{place}, 'hex')"),
            target => format!("c{place}::{target}"),
        }
    }
}

/// Reads the tables of a source, and compares their columns with the target's.
pub(super) async fn load(
    source: &SqlitePool,
    target: &PgPool,
) -> Result<Vec<Table>, TransferError> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
    let names: Vec<String> = sqlx::query_scalar(sql).fetch_all(source).await?;
    let mut tables = Vec::new();
    for name in names {
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let columns = columns(source, target, &name).await?;
        let sql = "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?1)";
        let refers = sqlx::query_scalar(sql)
            .bind(&name)
            .fetch_all(source)
            .await?;
        tables.push(Table {
            name,
            columns,
            refers,
            carries: None,
        });
    }
    in_order(tables)
}

async fn columns(
    source: &SqlitePool,
    target: &PgPool,
    table: &str,
) -> Result<Vec<Column>, TransferError> {
    let sql = "SELECT column_name::text, udt_name::text FROM information_schema.columns
               WHERE table_schema = current_schema() AND table_name = $1";
    let theirs: Vec<(String, String)> = sqlx::query_as(sql).bind(table).fetch_all(target).await?;
    let sql = "SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid";
    let ours: Vec<(String, String, i64)> =
        sqlx::query_as(sql).bind(table).fetch_all(source).await?;
    let different = |what: String| TransferError::Different {
        table: table.to_owned(),
        what,
    };
    let mut columns = Vec::new();
    for (name, kind, key) in ours {
        let kind = match kind.as_str() {
            "BLOB" => Kind::Blob,
            "INTEGER" => Kind::Integer,
            "TEXT" => Kind::Text,
            other => return Err(different(format!("{name} has the type {other}"))),
        };
        let theirs = theirs.iter().find(|(their_name, _)| *their_name == name);
        let Some((_, target)) = theirs else {
            return Err(different(format!("{name} is missing")));
        };
        columns.push(Column {
            name,
            kind,
            target: target.clone(),
            key,
        });
    }
    if columns.iter().all(|column| column.key == 0) {
        return Err(different("it has no primary key".to_owned()));
    }
    Ok(columns)
}

/// Puts tables behind those that they refer to.
fn in_order(mut left: Vec<Table>) -> Result<Vec<Table>, TransferError> {
    let (carried, _, carrier) = CARRIED;
    if let Some(at) = left.iter().position(|table| table.name == carried) {
        let table = left.remove(at);
        if let Some(carrier) = left.iter_mut().find(|one| one.name == carrier) {
            let others = table.refers.iter().filter(|name| **name != carrier.name);
            carrier.refers.extend(others.cloned());
            carrier.carries = Some(Box::new(table));
        }
    }
    let mut placed: Vec<Table> = Vec::new();
    while !left.is_empty() {
        let is_there = |name: &String| placed.iter().any(|table| table.name == *name);
        let ready = left.iter().position(|table| {
            let mut others = table.refers.iter().filter(|name| **name != table.name);
            others.all(is_there) && (table.name != LAST || left.len() == 1)
        });
        let Some(ready) = ready else {
            let names: Vec<String> = left.into_iter().map(|table| table.name).collect();
            let what = "their rows refer to one another".to_owned();
            return Err(TransferError::Different {
                table: names.join(", "),
                what,
            });
        };
        placed.push(left.remove(ready));
    }
    Ok(placed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: Kind, target: &str, key: i64) -> Column {
        Column {
            name: name.to_owned(),
            kind,
            target: target.to_owned(),
            key,
        }
    }

    fn table(name: &str, refers: &[&str]) -> Table {
        Table {
            name: name.to_owned(),
            columns: vec![
                column("note", Kind::Text, "jsonb", 0),
                column("line", Kind::Integer, "int8", 2),
                column("id", Kind::Blob, "uuid", 1),
            ],
            refers: refers.iter().map(|&name| name.to_owned()).collect(),
            carries: None,
        }
    }

    #[test]
    fn tables_come_behind_those_that_they_refer_to() {
        let tables = vec![
            table("customer_events", &[]),
            table("journal_entries", &["wallets"]),
            table("postings", &["journal_entries", "users"]),
            table("service_categories", &["service_categories"]),
            table("users", &[]),
            table("wallets", &["users"]),
        ];
        let ordered = in_order(tables).unwrap();
        let names: Vec<&str> = ordered.iter().flat_map(Table::names).collect();
        let expected = [
            "service_categories",
            "users",
            "wallets",
            "journal_entries",
            "postings",
            "customer_events",
        ];
        assert_eq!(names, expected);
        let circle = vec![table("a", &["b"]), table("b", &["a"])];
        assert!(in_order(circle).is_err());
    }

    #[test]
    fn rows_are_read_as_texts_in_the_order_of_their_keys() {
        let table = table("notes", &[]);
        assert_eq!(
            table.select(&table.after(), 5),
            "SELECT \"note\", CAST(\"line\" AS TEXT), iif(\"id\" IS NULL, NULL, hex(\"id\")) FROM \"notes\" \
             WHERE (\"id\", \"line\") > (?1, ?2) ORDER BY \"id\", \"line\" LIMIT 5"
        );
        assert_eq!(
            table.insert(),
            "INSERT INTO \"notes\" (\"note\", \"line\", \"id\") SELECT c1::jsonb, c2::int8, c3::uuid \
             FROM unnest($1::text[], $2::text[], $3::text[]) AS given (c1, c2, c3)"
        );
    }
}
