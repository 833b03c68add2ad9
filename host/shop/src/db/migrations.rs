//! The schema: migrations of both engines, and the databases that a server may work with.
//!
//! Servers of two releases share a database while one replaces the other, so a migration expands the
//! schema: a server that does not know it works as before. What takes something away comes a release
//! later, in a file that says so: `0070_old_column.contract_0063.sql` breaks servers that do not know
//! migration 63. The name is kept with the migration in the database, where servers read it. See
//! `docs/decisions/0034-schemas-expand-first.md`.

use std::{cmp::Ordering, sync::LazyLock};

use sqlx::{
    error::DatabaseError,
    migrate::{MigrateError, Migrator},
};

use super::Db;

static SQLITE: LazyLock<Migrator> =
    LazyLock::new(|| tolerant(sqlx::migrate!("../../migrations/sqlite")));
static POSTGRES: LazyLock<Migrator> =
    LazyLock::new(|| tolerant(sqlx::migrate!("../../migrations/postgres")));

/// Mark in the description of a migration that takes something away, before the number of the
/// first migration whose servers do without it.
const CONTRACT: &str = ".contract ";

/// Result of [`Db::schema`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// Database without a migration, in which no shop was made.
    Empty,
    /// Schema with missing migrations.
    Older,
    Current,
    /// Schema of a later binary that only expanded it, with its last migration.
    Expanded(i64),
    /// Schema of a later binary that this one does not work with, with the migration that decides.
    Newer(i64),
}

impl Db {
    /// Brings the schema up to this binary's version. Safe when several servers start at once.
    ///
    /// # Errors
    /// When a migration fails, or the database is newer than this binary and not only expanded.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        let applied = self.applied().await.map_err(MigrateError::Execute)?;
        if let Some(version) = in_the_way(self.known(), &applied) {
            return Err(MigrateError::VersionMissing(version));
        }
        match self {
            Self::Sqlite { writer, .. } => Box::pin(SQLITE.run(writer.pool())).await,
            Self::Postgres(server) => Box::pin(server.migrate(&POSTGRES)).await,
        }
    }

    /// Compares the schema with the migrations that this binary knows.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn schema(&self) -> sqlx::Result<Schema> {
        let applied = self.applied().await?;
        if let Some(version) = in_the_way(self.known(), &applied) {
            return Ok(Schema::Newer(version));
        }
        if applied.is_empty() {
            return Ok(Schema::Empty);
        }
        let last = last(&applied);
        Ok(match last.cmp(&newest_migration()) {
            Ordering::Less => Schema::Older,
            Ordering::Equal => Schema::Current,
            Ordering::Greater => Schema::Expanded(last),
        })
    }

    /// Returns the number of the last migration of this database; 0 for one without any.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn last_migration(&self) -> sqlx::Result<i64> {
        Ok(last(&self.applied().await?))
    }

    /// Returns the migrations of this database with their descriptions, the first one first.
    async fn applied(&self) -> sqlx::Result<Vec<(i64, String)>> {
        let mut conn = self.read().await?;
        let sql =
            "SELECT version, description FROM _sqlx_migrations WHERE success ORDER BY version";
        match crate::fetch_all!(&mut conn, (i64, String), sql) {
            // The table is made by the first migration.
            Err(sqlx::Error::Database(error)) if is_without_table(&*error) => Ok(Vec::new()),
            applied => applied,
        }
    }

    fn known(&self) -> &'static Migrator {
        match self {
            Self::Sqlite { .. } => LazyLock::force(&SQLITE),
            Self::Postgres(_) => LazyLock::force(&POSTGRES),
        }
    }
}

/// Returns true for the answer of an engine about a table that is not there; SQLite has no code of its own for it.
fn is_without_table(error: &dyn DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("42P01" | "1"))
}

/// Lets a database have migrations of later binaries, which are judged before.
fn tolerant(mut known: Migrator) -> Migrator {
    known.set_ignore_missing(true);
    known
}

/// Returns the number of the newest migration that this binary knows, the same for both engines.
pub fn newest_migration() -> i64 {
    newest_of(&SQLITE)
}

fn newest_of(known: &Migrator) -> i64 {
    let versions = known.iter().map(|migration| migration.version);
    versions.max().unwrap_or_default()
}

fn last(applied: &[(i64, String)]) -> i64 {
    applied.last().map_or(0, |(version, _)| *version)
}

/// Returns the first migration of a database that its binary cannot work beside: an unknown one that
/// takes away what the binary uses, one that should be known, or one without all that are known.
fn in_the_way(known: &Migrator, applied: &[(i64, String)]) -> Option<i64> {
    let newest = newest_of(known);
    let mut unknown = applied
        .iter()
        .filter(|(version, _)| !known.version_exists(*version));
    let is_there = |version: i64| applied.iter().any(|(applied, _)| *applied == version);
    // A later binary would have applied them first, and may have built on them.
    let has_all = known.iter().all(|migration| is_there(migration.version));
    let found = unknown.find(|(version, description)| {
        let takes_away = contracts(description, *version).is_some_and(|since| since > newest);
        *version < newest || !has_all || takes_away
    });
    found.map(|(version, _)| *version)
}

/// Returns the first migration whose servers do without what this one takes away. A mark that cannot be
/// read means the migration itself.
fn contracts(description: &str, version: i64) -> Option<i64> {
    let (_, since) = description.rsplit_once(CONTRACT)?;
    Some(since.parse().unwrap_or(version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_database::TestDatabase;

    /// Newest migration of the time before the first release.
    const BEFORE: i64 = 64;

    /// Clauses that take away what servers of the release before use.
    const TAKES_AWAY: &[&str] = &[
        "DROP TABLE ",
        "DROP COLUMN ",
        "DROP DEFAULT",
        "RENAME ",
        "SET NOT NULL",
        "SET DATA TYPE",
    ];

    /// Returns the first clause of a migration that an older server does not survive. Functions,
    /// triggers and checks are left to the reader: a new one may allow more or less.
    fn taken_away(sql: &str) -> Option<String> {
        let lines = sql
            .lines()
            .filter(|line| !line.trim_start().starts_with("--"));
        let text = lines.collect::<Vec<_>>().join(" ");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = text.to_uppercase();
        if let Some(clause) = TAKES_AWAY.iter().find(|clause| text.contains(*clause)) {
            return Some((*clause).trim_end().to_owned());
        }
        let is_required = |column: &&str| {
            // Up to the next column that the same statement adds.
            let column = column.split(';').next().unwrap_or_default();
            let column = column.replace("IS NOT NULL", "");
            column.contains("NOT NULL") && !column.contains("DEFAULT")
        };
        let mut added = text.split("ADD COLUMN ").skip(1);
        added
            .find(is_required)
            .map(|_| "ADD COLUMN NOT NULL".into())
    }

    #[test]
    fn what_takes_something_away_is_recognised() {
        for (sql, expected) in [
            ("CREATE TABLE a (b TEXT NOT NULL);", None),
            ("ALTER TABLE a ADD COLUMN b TEXT NOT NULL DEFAULT '';", None),
            (
                "ALTER TABLE a ADD COLUMN b TEXT;\nCREATE TABLE c (d TEXT NOT NULL);",
                None,
            ),
            (
                "-- Instead of DROP TABLE a.\nALTER TABLE a ALTER COLUMN b DROP NOT NULL;",
                None,
            ),
            ("alter table a\n  drop column b;", Some("DROP COLUMN")),
            ("ALTER TABLE a RENAME COLUMN b TO c;", Some("RENAME")),
            ("DROP TABLE a;", Some("DROP TABLE")),
            (
                "ALTER TABLE a ALTER COLUMN b SET NOT NULL;",
                Some("SET NOT NULL"),
            ),
            (
                "ALTER TABLE a ADD COLUMN b TEXT NOT NULL;",
                Some("ADD COLUMN NOT NULL"),
            ),
        ] {
            assert_eq!(taken_away(sql).as_deref(), expected, "{sql}");
        }
        let early: Vec<i64> = POSTGRES
            .iter()
            .filter(|migration| taken_away(migration.sql.as_str()).is_some())
            .map(|migration| migration.version)
            .collect();
        assert!(early.contains(&24) && early.contains(&33), "{early:?}");
        assert!(!early.contains(&62), "{early:?}");
    }

    /// SQLite has one server: its tables may be made again, which widens a check there.
    #[test]
    fn migrations_expand_or_say_what_they_contract() {
        for migration in POSTGRES
            .iter()
            .filter(|migration| migration.version > BEFORE)
        {
            let (version, description) = (migration.version, &migration.description);
            match contracts(description, version) {
                Some(since) => assert!(
                    POSTGRES.version_exists(since) && since < version,
                    "{version} {description}: the number is of the migration that servers know who do without"
                ),
                None => assert_eq!(
                    taken_away(migration.sql.as_str()),
                    None,
                    "{version} {description} breaks servers of the release before; a release later it is \
                     `{version:04}_….contract_NNNN.sql`"
                ),
            }
        }
    }

    #[test]
    fn both_engines_have_the_same_migrations() {
        let names = |migrator: &Migrator| -> Vec<(i64, String)> {
            let all = migrator.iter();
            all.map(|one| (one.version, one.description.to_string()))
                .collect()
        };
        assert_eq!(names(&SQLITE), names(&POSTGRES));
    }

    #[test]
    fn the_file_says_whose_servers_are_left_behind() {
        assert_eq!(contracts("old column.contract 0063", 70), Some(63));
        assert_eq!(contracts("contract with a customer", 70), None);
        assert_eq!(contracts("old column.contract soon", 70), Some(70));
    }

    async fn apply(database: &TestDatabase, version: i64, description: &str) {
        let mut conn = database.db.begin().await.unwrap();
        let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                   VALUES ($1, $2, TRUE, x'00', 0)";
        crate::execute!(conn, sql, version, description).unwrap();
        conn.commit().await.unwrap();
    }

    #[tokio::test]
    async fn an_expanded_database_is_worked_with() {
        let database = TestDatabase::open().await;
        let (db, newest) = (&database.db, newest_migration());
        assert_eq!(db.schema().await.unwrap(), Schema::Current);
        apply(&database, newest + 1, "one more column").await;
        let known = format!("what this one does without.contract {newest:04}");
        apply(&database, newest + 2, &known).await;
        assert_eq!(db.schema().await.unwrap(), Schema::Expanded(newest + 2));
        db.migrate().await.unwrap();
        assert_eq!(db.last_migration().await.unwrap(), newest + 2);

        let unknown = format!("what this one needs.contract {:04}", newest + 1);
        apply(&database, newest + 3, &unknown).await;
        assert_eq!(db.schema().await.unwrap(), Schema::Newer(newest + 3));
        let refused = db.migrate().await.unwrap_err();
        assert!(
            matches!(refused, MigrateError::VersionMissing(version) if version == newest + 3),
            "{refused}"
        );
    }

    /// One that is missing in the middle is of another history.
    #[tokio::test]
    async fn a_migration_that_should_be_known_is_refused() {
        let database = TestDatabase::open().await;
        assert!(!SQLITE.version_exists(3));
        apply(&database, 3, "of another history").await;
        assert_eq!(database.db.schema().await.unwrap(), Schema::Newer(3));
        assert!(database.db.migrate().await.is_err());
    }

    /// So is one beside which a known one is missing.
    #[tokio::test]
    async fn a_later_migration_without_all_that_are_known_is_refused() {
        let database = TestDatabase::open().await;
        let (db, newest) = (&database.db, newest_migration());
        let mut conn = db.begin().await.unwrap();
        let sql = "DELETE FROM _sqlx_migrations WHERE version = $1";
        crate::execute!(conn, sql, newest).unwrap();
        conn.commit().await.unwrap();
        assert_eq!(db.schema().await.unwrap(), Schema::Older);
        apply(&database, newest + 1, "one more column").await;
        assert_eq!(db.schema().await.unwrap(), Schema::Newer(newest + 1));
        assert!(db.migrate().await.is_err());
    }
}
