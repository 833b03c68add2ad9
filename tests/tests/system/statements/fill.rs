//! Made-up rows for every growing table of a database, for its planner only.

use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection,
};

const ROWS: u32 = 100_000;

struct Column {
    name: String,
    /// Name of the type in this engine, in lower case.
    kind: String,
    is_nullable: bool,
    /// Part of a primary or unique key, so no two rows may be alike.
    is_key: bool,
    /// Words that a check allows.
    words: Vec<String>,
}

/// Fills all tables but the small ones.
pub(super) async fn everything(url: &str, small: &[&str]) {
    if url.starts_with("sqlite:") {
        sqlite(&mut SqliteConnection::connect(url).await.unwrap(), small).await;
    } else {
        postgres(&mut PgConnection::connect(url).await.unwrap(), small).await;
    }
}

fn is_filled(table: &str, small: &[&str]) -> bool {
    !small.contains(&table) && !table.starts_with("sqlite_") && table != "_sqlx_migrations"
}

async fn sqlite(conn: &mut SqliteConnection, small: &[&str]) {
    for setting in [
        "foreign_keys = OFF",
        "ignore_check_constraints = ON",
        "synchronous = OFF",
        "cache_size = -200000",
    ] {
        conn.execute(AssertSqlSafe(format!("PRAGMA {setting}")))
            .await
            .unwrap();
    }
    let named = |kind: &str| format!("SELECT name, sql FROM sqlite_schema WHERE type = '{kind}'");
    for row in conn
        .fetch_all(AssertSqlSafe(named("trigger")))
        .await
        .unwrap()
    {
        let drop = format!("DROP TRIGGER {}", row.get::<String, _>(0));
        conn.execute(AssertSqlSafe(drop)).await.unwrap();
    }
    let indexes = named("index") + " AND sql LIKE 'CREATE INDEX %'";
    let indexes: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(indexes))
        .fetch_all(&mut *conn)
        .await
        .unwrap();
    conn.execute(drop_all(&indexes)).await.unwrap();
    for row in conn.fetch_all(AssertSqlSafe(named("table"))).await.unwrap() {
        let (table, source): (String, String) = (row.get(0), row.get(1));
        if !is_filled(&table, small) {
            continue;
        }
        let keys = "SELECT c.name FROM pragma_index_list($1) i JOIN pragma_index_info(i.name) c WHERE i.\"unique\"";
        let keys: Vec<String> = sqlx::query_scalar(keys)
            .bind(&table)
            .fetch_all(&mut *conn)
            .await
            .unwrap();
        let rows =
            sqlx::query("SELECT name, lower(type), \"notnull\", pk FROM pragma_table_info($1)")
                .bind(&table);
        let rows = rows.fetch_all(&mut *conn).await.unwrap();
        let columns = rows.iter().map(|row| Column {
            is_key: keys.contains(&row.get::<String, _>(0)) || row.get::<i64, _>(3) > 0,
            words: words(&source, &row.get::<String, _>(0)),
            name: row.get(0),
            kind: row.get(1),
            is_nullable: row.get::<i64, _>(2) == 0,
        });
        let insert = insert(&table, &columns.collect::<Vec<_>>(), sqlite_value);
        let series = format!(
            "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {ROWS})"
        );
        conn.execute(AssertSqlSafe(format!("{series} {insert} FROM s")))
            .await
            .unwrap();
    }
    conn.execute(create_all(&indexes)).await.unwrap();
}

/// Takes indexes away until the rows are there: sorting them all is faster than placing each.
fn drop_all(indexes: &[(String, String)]) -> AssertSqlSafe<String> {
    let drops = indexes
        .iter()
        .map(|(name, _)| format!("DROP INDEX {name};"));
    AssertSqlSafe(drops.collect())
}

/// Puts them back.
fn create_all(indexes: &[(String, String)]) -> AssertSqlSafe<String> {
    let creates = indexes.iter().map(|(_, sql)| format!("{sql};"));
    AssertSqlSafe(creates.collect())
}

async fn postgres(conn: &mut PgConnection, small: &[&str]) {
    conn.execute("SET session_replication_role = replica")
        .await
        .unwrap();
    conn.execute("SET maintenance_work_mem = '128MB'")
        .await
        .unwrap();
    let checks = "SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint
                  WHERE contype = 'c' AND connamespace = 'public'::regnamespace";
    let mut sources = String::new();
    for row in conn.fetch_all(checks).await.unwrap() {
        let (table, name, source): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        sources.push_str(&format!("{table} {source}\n"));
        let drop = format!("ALTER TABLE {table} DROP CONSTRAINT {name}");
        conn.execute(AssertSqlSafe(drop)).await.unwrap();
    }
    let indexes = "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
                   WHERE NOT indisunique AND indexrelid::regclass::text IN (SELECT indexname FROM pg_indexes WHERE schemaname = 'public')";
    let indexes: Vec<(String, String)> =
        sqlx::query_as(indexes).fetch_all(&mut *conn).await.unwrap();
    conn.execute(drop_all(&indexes)).await.unwrap();
    let tables =
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename";
    for row in conn.fetch_all(tables).await.unwrap() {
        let table: String = row.get(0);
        if !is_filled(&table, small) {
            continue;
        }
        let columns = "SELECT column_name::text, udt_name::text, is_nullable = 'YES', EXISTS (
              SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
              WHERE i.indisunique AND i.indrelid = $1::regclass AND a.attname = column_name)
            FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1";
        let rows = sqlx::query(columns)
            .bind(&table)
            .fetch_all(&mut *conn)
            .await
            .unwrap();
        let own: String = sources
            .lines()
            .filter(|line| line.starts_with(&format!("{table} ")))
            .collect();
        let columns = rows.iter().map(|row| Column {
            words: words(&own, &row.get::<String, _>(0)),
            name: row.get(0),
            kind: row.get(1),
            is_nullable: row.get(2),
            is_key: row.get(3),
        });
        let insert = insert(&table, &columns.collect::<Vec<_>>(), postgres_value);
        // Statistics of a sample, taken at any moment, would make plans a matter of luck.
        let still = format!("ALTER TABLE {table} SET (autovacuum_enabled = false)");
        conn.execute(AssertSqlSafe(still)).await.unwrap();
        let series = format!("generate_series(1, {ROWS}) n");
        conn.execute(AssertSqlSafe(format!("{insert} FROM {series}")))
            .await
            .unwrap();
    }
    conn.execute(create_all(&indexes)).await.unwrap();
    // A sample has three hundred rows for each of these: all of them.
    conn.execute("SET default_statistics_target = 400")
        .await
        .unwrap();
    conn.execute("ANALYZE").await.unwrap();
}

fn insert(table: &str, columns: &[Column], value: fn(&Column) -> String) -> String {
    let names: Vec<String> = columns
        .iter()
        .map(|column| format!("\"{}\"", column.name))
        .collect();
    let values: Vec<String> = columns
        .iter()
        .map(|column| nullable(column, value(column)))
        .collect();
    format!(
        "INSERT INTO {table} ({}) SELECT {}",
        names.join(", "),
        values.join(", ")
    )
}

/// Leaves out half of the values of a column that may be empty.
fn nullable(column: &Column, value: String) -> String {
    if column.is_nullable {
        format!("CASE WHEN n % 2 = 0 THEN {value} END")
    } else {
        value
    }
}

/// Returns a value of its own for each row of a key, and one of a thousand otherwise. Those lie far apart,
/// since planners look at the range of values, too.
fn number(column: &Column) -> &'static str {
    if column.is_key {
        "n"
    } else {
        "(n % 1000 * 100 + 1)"
    }
}

/// Returns the last word for nearly all rows, since most rows end there, and each other one for a few.
fn word(column: &Column) -> Option<String> {
    let (last, others) = column.words.split_last()?;
    let cases = others
        .iter()
        .enumerate()
        .map(|(at, word)| format!("WHEN {at} THEN '{word}'"));
    let cases: Vec<String> = cases.collect();
    match (column.is_key, cases.is_empty()) {
        (true, _) => None,
        (false, true) => Some(format!("'{last}'")),
        (false, false) => Some(format!("CASE n % 50 {} ELSE '{last}' END", cases.join(" "))),
    }
}

fn is_moment(name: &str) -> bool {
    ["_at", "_until", "_since", "_for", "_start", "_end"]
        .iter()
        .any(|end| name.ends_with(end))
}

fn sqlite_value(column: &Column) -> String {
    let number = number(column);
    match column.kind.as_str() {
        "blob" => format!("unhex(printf('%032x', {number}))"),
        "text" if is_moment(&column.name) => {
            "strftime('%Y-%m-%dT%H:%M:%f+00:00', 1500000000 + n * 60, 'unixepoch')".to_owned()
        }
        "text" => word(column).unwrap_or_else(|| format!("'word' || {number}")),
        _ => format!("1000000 + {number}"),
    }
}

fn postgres_value(column: &Column) -> String {
    let number = number(column);
    match column.kind.as_str() {
        "uuid" => format!("lpad(to_hex({number}), 32, '0')::uuid"),
        "timestamptz" => "to_timestamp(1500000000 + n * 60)".to_owned(),
        "bool" => "n % 2 = 0".to_owned(),
        "bytea" => format!("decode(lpad(to_hex({number}), 32, '0'), 'hex')"),
        "json" | "jsonb" => format!("'{{}}'::{}", column.kind),
        "text" => word(column).unwrap_or_else(|| format!("'word' || {number}")),
        _ => format!("1000000 + {number}"),
    }
}

/// Reads the words that a column's check allows from a table's source.
fn words(source: &str, column: &str) -> Vec<String> {
    let starts = [
        format!("CHECK ({column} IN ("),
        format!("CHECK ((({column} = ANY (ARRAY["),
        format!("CHECK (({column} = ANY (ARRAY["),
    ];
    let Some(rest) = starts.iter().find_map(|start| source.split_once(start)) else {
        return Vec::new();
    };
    let list = rest.1.split([')', ']']).next().unwrap_or_default();
    list.split('\'')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}
