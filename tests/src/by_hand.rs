//! Writes the rows of one redemption with the engine alone: no server, no plugin, no ledger, and
//! the fewest possible round trips. A lower bound for any redemption on the same tables. Beside it the
//! smallest durable commit there is: one row.

mod purchases;
mod renewals;
mod statements;

use std::sync::Arc;

use dermaga_shop::{
    db::{Clock, Db, new_id},
    ids::UserId,
};
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use uuid::Uuid;

pub use purchases::{Buyer, Purchase};
pub use renewals::{Model, Renewer};

/// Statements in the order of a redemption. `{number}` and `{postings}` differ by engine.
const STATEMENTS: [&str; 8] = [
    "INSERT INTO decisions (id, digest, plugin_id, plugin_version, contract, function, user_id, input, output,
       failure, logs, fuel, duration_us, created_at, coupon_id)
     SELECT $1, digest, plugin_id, plugin_version, contract, function, user_id, input, output,
       failure, logs, fuel, duration_us, created_at, coupon_id FROM decisions WHERE id = $5",
    "INSERT INTO transactions (number, id, user_id, type, status, amount, balance_before, balance_after, description,
       details, subscription_id, coupon_id, price_decision_id, coupon_decision_id, created_at, completed_at)
     SELECT {number}, $2, user_id, type, status, amount, balance_before, balance_after, description,
       details, subscription_id, coupon_id, price_decision_id, $1, created_at, completed_at FROM transactions WHERE id = $6",
    "INSERT INTO postings (entry_id, line, account, user_id, amount)
     SELECT $3, line, account, user_id, amount FROM postings WHERE entry_id = $7",
    "INSERT INTO journal_entries (id, transaction_id, wallet_id, position, posted_at, previous_hash, hash, idempotency_key)
     SELECT $3, $2, wallet_id, $9, posted_at, previous_hash, hash, $10 FROM journal_entries WHERE id = $7{postings}",
    "UPDATE wallets SET bonus_balance = bonus_balance + 1000, entries = $9, updated_at = updated_at WHERE user_id = $11",
    "INSERT INTO coupon_redemptions (id, coupon_id, user_id, effect, amount, reason, decision_id, transaction_id,
       subscription_id, period, created_at)
     SELECT $4, coupon_id, user_id, effect, amount, reason, $1, $2, subscription_id, period, created_at
     FROM coupon_redemptions WHERE id = $8",
    "INSERT INTO coupon_customer_uses (coupon_id, user_id, uses) VALUES ($12, $11, 1)
     ON CONFLICT (coupon_id, user_id) DO UPDATE SET uses = coupon_customer_uses.uses + 1",
    "UPDATE coupons SET used_count = used_count + 1, granted_amount = granted_amount + 1000 WHERE id = $12",
];

/// A connection, and the redemption of one customer that it copies.
#[derive(Debug)]
pub struct Copyist {
    engine: Engine,
    sql: Arc<str>,
    clock: Clock,
    template: Template,
    position: i64,
}

#[derive(Debug)]
enum Engine {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

#[derive(Debug, sqlx::FromRow)]
struct Template {
    id: Uuid,
    decision_id: Uuid,
    transaction_id: Uuid,
    entry_id: Uuid,
    coupon_id: Uuid,
    user_id: UserId,
}

impl Engine {
    /// Connects with commits that wait for the disk, as the shop does.
    async fn connect(url: &str) -> Self {
        if !url.starts_with("sqlite:") {
            return Self::Postgres(PgConnection::connect(url).await.unwrap());
        }
        let options: SqliteConnectOptions = url.parse().unwrap();
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        Self::Sqlite(SqliteConnection::connect_with(&options).await.unwrap())
    }
}

/// A connection that commits one row after another.
#[derive(Debug)]
pub struct Committer(Engine);

impl Committer {
    /// Connects, and makes the table where it is missing.
    pub async fn connect(url: &str) -> Self {
        let mut own = Self(Engine::connect(url).await);
        own.run("CREATE TABLE IF NOT EXISTS bare_rows (value BIGINT NOT NULL)")
            .await;
        own
    }

    /// Writes a row, durably.
    pub async fn commit(&mut self) {
        self.run("INSERT INTO bare_rows (value) VALUES (1)").await;
    }

    async fn run(&mut self, sql: &'static str) {
        match &mut self.0 {
            Engine::Sqlite(conn) => drop(sqlx::query(sql).execute(conn).await.unwrap()),
            Engine::Postgres(conn) => drop(sqlx::query(sql).execute(conn).await.unwrap()),
        }
    }
}

impl Copyist {
    /// Reads the last redemption of this customer, and connects to the same database at this address.
    pub async fn of(db: &Db, clock: &Clock, url: &str, user: UserId) -> Self {
        let sql = "SELECT r.id, r.decision_id, r.transaction_id, e.id AS entry_id,
                     r.coupon_id, r.user_id, w.entries AS position
                   FROM coupon_redemptions r JOIN journal_entries e ON e.transaction_id = r.transaction_id
                     JOIN wallets w ON w.user_id = r.user_id
                   WHERE r.user_id = $1 ORDER BY e.position DESC LIMIT 1";
        let mut conn = db.read().await.unwrap();
        #[derive(sqlx::FromRow)]
        struct Row {
            #[sqlx(flatten)]
            template: Template,
            position: i64,
        }
        let row = dermaga_shop::fetch_one!(conn, Row, sql, user).unwrap();
        let engine = Engine::connect(url).await;
        let sql = match engine {
            Engine::Sqlite(_) => in_sequence(),
            Engine::Postgres(_) => in_one(),
        };
        Self {
            engine,
            sql: sql.into(),
            clock: clock.clone(),
            template: row.template,
            position: row.position,
        }
    }

    /// Writes the rows again, durably, under new ids.
    pub async fn copy(&mut self) {
        self.position += 1;
        let t = &self.template;
        let [decision, transaction, entry, redemption]: [Uuid; 4] =
            [(); 4].map(|()| new_id(&self.clock));
        macro_rules! run {
            ($conn:expr) => {
                sqlx::query(AssertSqlSafe(Arc::clone(&self.sql)))
                    .bind(decision)
                    .bind(transaction)
                    .bind(entry)
                    .bind(redemption)
                    .bind(t.decision_id)
                    .bind(t.transaction_id)
                    .bind(t.entry_id)
                    .bind(t.id)
                    .bind(self.position)
                    .bind(format!("by-hand:{decision}"))
                    .bind(t.user_id)
                    .bind(t.coupon_id)
                    .execute($conn)
                    .await
                    .unwrap()
            };
        }
        match &mut self.engine {
            Engine::Sqlite(conn) => drop(run!(conn)),
            Engine::Postgres(conn) => drop(run!(conn)),
        }
    }
}

/// Returns a transaction for SQLite, sent as one text.
fn in_sequence() -> String {
    let number = "(SELECT max(number) + 1 FROM transactions)";
    let statements = STATEMENTS.join(";\n");
    let statements = statements
        .replace("{number}", number)
        .replace("{postings}", "");
    format!("BEGIN IMMEDIATE;\n{statements};\nCOMMIT")
}

/// Returns one statement for PostgreSQL, which needs no transaction around it. The entry's trigger
/// requires the postings.
fn in_one() -> String {
    let [others @ .., last] = &STATEMENTS;
    let others = others.iter().enumerate();
    let others: Vec<String> = others
        .map(|(number, sql)| format!("w{number} AS ({sql} RETURNING 1)"))
        .collect();
    format!("WITH {}\n{last}", others.join(",\n"))
        .replace("{number}", "nextval('transaction_numbers')")
        .replace("{postings}", " AND (SELECT count(*) FROM w2) > 1")
}
