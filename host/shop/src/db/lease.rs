//! Leases of rows: one server works on a row until a moment, and another one may take it then.
//!
//! A leased table has the columns `id`, `lease_holder` and `lease_until`; both are null in a row
//! that is free. Each claim has a holder of its own, so a server that was taken for dead and comes
//! back changes nothing: its statements ask for `id = $1 AND lease_holder = $2`.

use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{Clock, Conn, Db, new_id};
use crate::{execute, fetch_all, fetch_optional};

/// The right to work on a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub id: Uuid,
    /// Made for this claim alone.
    pub holder: Uuid,
    /// End of the lease as it was claimed. A renewal moves the end in the database.
    pub until: DateTime<Utc>,
}

/// Period of a claim, in the server's clock.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    pub now: DateTime<Utc>,
    pub until: DateTime<Utc>,
}

/// A table whose rows are claimed one by one, made by [`leased_table!`](crate::leased_table).
#[derive(Debug)]
pub struct LeasedTable {
    #[doc(hidden)]
    pub claim: &'static str,
    #[doc(hidden)]
    pub renew: &'static str,
    #[doc(hidden)]
    pub release: &'static str,
}

/// A table whose rows are claimed when they are due.
#[derive(Debug)]
pub struct LeasedQueue {
    /// Name of the table.
    pub table: &'static str,
    /// Column of the moment when a row is due.
    pub due: &'static str,
    /// Condition under which a row is unfinished.
    pub open: &'static str,
}

/// Makes a [`LeasedTable`] of a table's name and the condition under which a row is unfinished.
#[macro_export]
macro_rules! leased_table {
    ($table:literal, open: $open:literal) => {
        $crate::db::LeasedTable {
            claim: concat!(
                "UPDATE ",
                $table,
                " SET lease_holder = $2, lease_until = $3 WHERE id = $1 AND ",
                $open,
                " AND (lease_until IS NULL OR lease_until <= $4)"
            ),
            renew: concat!(
                "UPDATE ",
                $table,
                " SET lease_until = $3 WHERE id = $1 AND lease_holder = $2 AND ",
                $open
            ),
            release: concat!(
                "UPDATE ",
                $table,
                " SET lease_holder = NULL, lease_until = NULL WHERE id = $1 AND lease_holder = $2 AND ",
                $open
            ),
        }
    };
}

impl LeasedQueue {
    /// Returns the condition under which a row is due and free at the moment of this argument.
    fn is_due(&self, now: &str) -> String {
        let Self { due, open, .. } = self;
        format!("{due} <= {now} AND {open} AND (lease_until IS NULL OR lease_until <= {now})")
    }

    /// Returns the statement that claims, which may set one more column.
    fn claim(&self, is_postgres: bool, more: &str) -> AssertSqlSafe<String> {
        let Self { table, due, .. } = self;
        let is_due = self.is_due("$3");
        let first = format!("SELECT id FROM {table} WHERE {is_due} ORDER BY {due} LIMIT $4");
        let these = if is_postgres {
            // A row that is locked is left out: a claim of several rows that waited for one would have the others,
            // which the holder of that lock may wait for. An array is read once, as the locks are to be taken once.
            format!("id = ANY(ARRAY({first} FOR NO KEY UPDATE SKIP LOCKED))")
        } else {
            // SQLite's writer has every row.
            format!("id IN ({first})")
        };
        AssertSqlSafe(format!(
            "UPDATE {table} SET lease_holder = $1, lease_until = $2, {due} = $2{more} WHERE {these} RETURNING id"
        ))
    }

    /// Returns true when a row is due and free.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn is_any_due(&self, conn: &mut Conn, now: DateTime<Utc>) -> sqlx::Result<bool> {
        let (table, is_due) = (self.table, self.is_due("$1"));
        let sql = AssertSqlSafe(format!("SELECT id FROM {table} WHERE {is_due} LIMIT 1"));
        Ok(fetch_optional!(conn, (Uuid,), sql, now)?.is_some())
    }

    /// Returns false when no row is due and free, where a claim that finds none would cost more than this look: it
    /// takes SQLite's only writer, and a transaction behind a pooler. Elsewhere it is one statement, as the look is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn may_be_due(&self, db: &Db, now: DateTime<Utc>) -> sqlx::Result<bool> {
        Ok(db.writes_singly() || self.is_any_due(&mut db.read().await?, now).await?)
    }

    /// Claims up to `limit` rows that are due and free, the earliest first. A row is due again when
    /// its lease ends, so that the work of a server that stopped is taken up by another one. On PostgreSQL, rows that
    /// another transaction has locked are not free.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claim_due(
        &self,
        conn: &mut Conn,
        clock: &Clock,
        term: Term,
        limit: i64,
    ) -> sqlx::Result<Vec<Lease>> {
        let holder = new_id(clock);
        let Term { now, until } = term;
        let sql = self.claim(conn.is_postgres(), "");
        let taken = fetch_all!(conn, (Uuid,), sql, holder, until, now, limit)?;
        let lease = |(id,)| Lease { id, holder, until };
        Ok(taken.into_iter().map(lease).collect())
    }

    /// Claims as [`claim_due`](Self::claim_due) does, and writes down the server that claims, for a table with the
    /// column `lease_server`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claim_due_by(
        &self,
        conn: &mut Conn,
        clock: &Clock,
        term: Term,
        limit: i64,
        server: Uuid,
    ) -> sqlx::Result<Vec<Lease>> {
        let holder = new_id(clock);
        let Term { now, until } = term;
        let sql = self.claim(conn.is_postgres(), ", lease_server = $5");
        let taken = fetch_all!(conn, (Uuid,), sql, holder, until, now, limit, server)?;
        let lease = |(id,)| Lease { id, holder, until };
        Ok(taken.into_iter().map(lease).collect())
    }

    /// Ends a lease whose work was not done; the row is due at once, for any server. `false` when
    /// another holder has the row, or its work is done.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn give_back(
        &self,
        conn: &mut Conn,
        lease: &Lease,
        now: DateTime<Utc>,
    ) -> sqlx::Result<bool> {
        let Self { table, due, open } = self;
        let sql = AssertSqlSafe(format!(
            "UPDATE {table} SET lease_holder = NULL, lease_until = NULL, {due} = $3 \
             WHERE id = $1 AND lease_holder = $2 AND {open}"
        ));
        Ok(execute!(conn, sql, lease.id, lease.holder, now)? == 1)
    }
}

impl LeasedTable {
    /// Claims one row, if it is free.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn claim(
        &self,
        conn: &mut Conn,
        clock: &Clock,
        id: Uuid,
        term: Term,
    ) -> sqlx::Result<Option<Lease>> {
        let holder = new_id(clock);
        let Term { now, until } = term;
        let claimed = execute!(conn, self.claim, id, holder, until, now)?;
        Ok((claimed == 1).then_some(Lease { id, holder, until }))
    }

    /// Moves the end of a lease; `false` when another holder has the row, or its work is done.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn renew(
        &self,
        conn: &mut Conn,
        lease: &Lease,
        until: DateTime<Utc>,
    ) -> sqlx::Result<bool> {
        Ok(execute!(conn, self.renew, lease.id, lease.holder, until)? == 1)
    }

    /// Ends a lease; another server may take the row at once.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn release(&self, conn: &mut Conn, lease: &Lease) -> sqlx::Result<bool> {
        Ok(execute!(conn, self.release, lease.id, lease.holder)? == 1)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{fetch_one, test_database::TestDatabase};

    const JOBS: LeasedTable = leased_table!("jobs_of_test", open: "finished_at IS NULL");
    const QUEUE: LeasedQueue = LeasedQueue {
        table: "jobs_of_test",
        due: "due_at",
        open: "finished_at IS NULL",
    };

    struct Table {
        database: TestDatabase,
        row: Uuid,
    }

    impl Table {
        /// Creates a table with one row that is due.
        async fn new() -> Self {
            let database = TestDatabase::open().await;
            let row = new_id(&database.clock);
            let mut conn = database.db.begin().await.unwrap();
            let table = "CREATE TABLE jobs_of_test (id BLOB, due_at TEXT, finished_at TEXT,
                         lease_holder BLOB, lease_until TEXT)";
            execute!(conn, table).unwrap();
            let sql = "INSERT INTO jobs_of_test (id, due_at) VALUES ($1, $2)";
            execute!(conn, sql, row, database.clock.now()).unwrap();
            conn.commit().await.unwrap();
            Self { database, row }
        }

        fn term(&self) -> Term {
            let now = self.database.clock.now();
            let until = now + TimeDelta::minutes(1);
            Term { now, until }
        }

        async fn conn(&self) -> Conn {
            self.database.db.begin().await.unwrap()
        }

        async fn claim_due(&self) -> Vec<Lease> {
            let mut conn = self.conn().await;
            let clock = &self.database.clock;
            let claimed = QUEUE.claim_due(&mut conn, clock, self.term(), 10).await;
            conn.commit().await.unwrap();
            claimed.unwrap()
        }

        async fn claim(&self) -> Option<Lease> {
            let mut conn = self.conn().await;
            let clock = &self.database.clock;
            let claimed = JOBS.claim(&mut conn, clock, self.row, self.term()).await;
            conn.commit().await.unwrap();
            claimed.unwrap()
        }
    }

    #[tokio::test]
    async fn a_due_row_is_claimed_once_until_its_lease_ends() {
        let table = Table::new().await;
        let first = table.claim_due().await;
        assert_eq!(first.len(), 1);
        assert!(table.claim_due().await.is_empty());
        assert_eq!(table.claim().await, None);
        let TestDatabase { db, clock, .. } = &table.database;
        assert!(!QUEUE.may_be_due(db, clock.now()).await.unwrap());
        clock.advance(TimeDelta::minutes(1));
        assert!(QUEUE.may_be_due(db, clock.now()).await.unwrap());
        let second = table.claim_due().await;
        assert_ne!(first[0].holder, second[0].holder);
    }

    #[tokio::test]
    async fn a_row_that_is_given_back_is_due_at_once() {
        let table = Table::new().await;
        let first = table.claim_due().await.remove(0);
        let now = table.database.clock.now();
        let mut conn = table.conn().await;
        assert!(QUEUE.give_back(&mut conn, &first, now).await.unwrap());
        assert!(!QUEUE.give_back(&mut conn, &first, now).await.unwrap());
        conn.commit().await.unwrap();
        let second = table.claim_due().await;
        assert_eq!(second.len(), 1);
        assert_ne!(first.holder, second[0].holder);
    }

    #[tokio::test]
    async fn an_earlier_holder_changes_nothing() {
        let table = Table::new().await;
        let first = table.claim().await.unwrap();
        table.database.clock.advance(TimeDelta::minutes(1));
        let second = table.claim().await.unwrap();
        let mut conn = table.conn().await;
        let later = second.until + TimeDelta::minutes(1);
        assert!(!JOBS.renew(&mut conn, &first, later).await.unwrap());
        assert!(!JOBS.release(&mut conn, &first).await.unwrap());
        assert!(JOBS.renew(&mut conn, &second, later).await.unwrap());
        let sql = "SELECT lease_until FROM jobs_of_test";
        let (until,) = fetch_one!(conn, (DateTime<Utc>,), sql).unwrap();
        assert_eq!(until, later);
    }

    #[tokio::test]
    async fn a_released_row_is_free_and_a_finished_one_is_not() {
        let table = Table::new().await;
        let first = table.claim().await.unwrap();
        let mut conn = table.conn().await;
        assert!(JOBS.release(&mut conn, &first).await.unwrap());
        conn.commit().await.unwrap();
        let second = table.claim().await.unwrap();
        let mut conn = table.conn().await;
        execute!(
            conn,
            "UPDATE jobs_of_test SET finished_at = due_at, lease_until = NULL"
        )
        .unwrap();
        assert!(!JOBS.renew(&mut conn, &second, second.until).await.unwrap());
        conn.commit().await.unwrap();
        assert_eq!(table.claim().await, None);
        assert!(table.claim_due().await.is_empty());
    }
}
