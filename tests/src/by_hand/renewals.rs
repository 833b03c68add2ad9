//! Writes the rows of renewals with the engine alone, as [`Copyist`](super::Copyist) does those of a redemption.

use std::sync::Arc;

use dermaga_shop::{
    db::{Clock, Db, new_id},
    ids::{DecisionId, EntryId, SubscriptionId, TransactionId, UserId},
};
use sqlx::{AssertSqlSafe, Postgres, Sqlite};
use uuid::Uuid;

use super::{Engine, statements::Script};

/// The values in the order in which they are bound, and the statements in the order of a renewal.
const RENEWAL: Script = Script {
    model: &[
        "{model.decision}",
        "{model.transaction}",
        "{model.entry}",
        "{model.message}",
        "{model.subscription}",
    ],
    own: &[
        "{decision}",
        "{transaction}",
        "{entry}",
        "{message}",
        "{subscription}",
        "{user}",
        "{key}",
    ],
    statements: &STATEMENTS,
};
const STATEMENTS: [&str; 8] = [
    "INSERT INTO decisions (id, digest, plugin_id, plugin_version, contract, function, user_id, input, output,
       failure, logs, fuel, duration_us, created_at, coupon_id)
     SELECT {decision}, digest, plugin_id, plugin_version, contract, function, {user}, input, output,
       failure, logs, fuel, duration_us, created_at, coupon_id FROM decisions WHERE id = {model.decision}",
    "INSERT INTO transactions (number, id, user_id, type, status, amount, balance_before, balance_after, description,
       details, subscription_id, coupon_id, price_decision_id, coupon_decision_id, created_at, completed_at)
     SELECT {number}, {transaction}, {user}, type, status, amount, balance_before, balance_after, description,
       details, {subscription}, coupon_id, {decision}, coupon_decision_id, created_at, completed_at
     FROM transactions WHERE id = {model.transaction}",
    "INSERT INTO postings (entry_id, line, account, user_id, amount)
     SELECT {entry}, line, account, CASE WHEN user_id IS NOT NULL THEN {user} END, amount
     FROM postings WHERE entry_id = {model.entry}",
    "INSERT INTO journal_entries (id, transaction_id, wallet_id, position, posted_at, previous_hash, hash, idempotency_key)
     SELECT {entry}, {transaction}, {user}, (SELECT w.entries + 1 FROM wallets w WHERE w.user_id = {user}), posted_at,
       previous_hash, hash, {key} FROM journal_entries WHERE id = {model.entry}{postings}",
    "UPDATE wallets SET entries = entries + 1, updated_at = updated_at,
       paid_balance = paid_balance + (SELECT amount FROM transactions WHERE id = {model.transaction}),
       total_spent = total_spent - (SELECT amount FROM transactions WHERE id = {model.transaction}),
       head_hash = (SELECT hash FROM journal_entries WHERE id = {model.entry})
     WHERE user_id = {user}",
    "INSERT INTO subscription_periods (subscription_id, number, starts_at, ends_at, price, discount, paid_cash, paid_bonus,
       transaction_id, price_decision_id, created_at, months, frozen)
     SELECT {subscription}, number, starts_at, ends_at, price, discount, paid_cash, paid_bonus,
       {transaction}, {decision}, created_at, months, frozen
     FROM subscription_periods WHERE subscription_id = {model.subscription} AND transaction_id = {model.transaction}",
    "UPDATE subscriptions SET period_number = period_number + 1, period_start = period_end, updated_at = updated_at,
       period_end = (SELECT m.period_end FROM subscriptions m WHERE m.id = {model.subscription})
     WHERE id = {subscription}",
    "INSERT INTO outbox (id, topic, subject_id, once_key, payload, created_at)
     SELECT {message}, topic, {user}, {key}, payload, created_at FROM outbox WHERE id = {model.message}",
];

/// A renewal whose rows are copied.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct Model {
    decision_id: DecisionId,
    transaction_id: TransactionId,
    entry_id: EntryId,
    message_id: Uuid,
    subscription_id: SubscriptionId,
}

impl Model {
    /// Reads the last renewal of a subscription.
    pub async fn of(db: &Db, subscription_id: SubscriptionId) -> Self {
        let sql = "SELECT p.price_decision_id AS decision_id, p.transaction_id, e.id AS entry_id,
                     o.id AS message_id, p.subscription_id
                   FROM subscription_periods p JOIN journal_entries e ON e.transaction_id = p.transaction_id
                     JOIN subscriptions s ON s.id = p.subscription_id
                     JOIN outbox o ON o.topic = 'RENEWAL_SUCCESS' AND o.subject_id = s.user_id
                   WHERE p.subscription_id = $1 ORDER BY p.number DESC LIMIT 1";
        let mut conn = db.read().await.unwrap();
        dermaga_shop::fetch_one!(conn, Model, sql, subscription_id).unwrap()
    }
}

/// A connection, and the renewal that it copies.
#[derive(Debug)]
pub struct Renewer {
    engine: Engine,
    sql: Arc<str>,
    /// Renewals of one commit.
    together: usize,
    clock: Clock,
    model: Model,
}

impl Renewer {
    /// Connects to the database that has the model. On SQLite so many renewals share a commit; on PostgreSQL each
    /// has its own.
    pub async fn connect(url: &str, clock: &Clock, model: Model, together: usize) -> Self {
        let engine = Engine::connect(url).await;
        let (sql, together) = match engine {
            Engine::Sqlite(_) => (RENEWAL.in_sequence(together), together),
            Engine::Postgres(_) => (RENEWAL.in_one(), 1),
        };
        Self {
            engine,
            sql: sql.into(),
            together,
            clock: clock.clone(),
            model,
        }
    }

    /// Writes the rows of a renewal of each subscription, durably; their number is a multiple of those that share a
    /// commit.
    pub async fn renew(&mut self, all: &[(SubscriptionId, UserId)]) {
        for copies in all.chunks(self.together) {
            assert_eq!(copies.len(), self.together, "a commit is not full");
            self.copy(copies).await;
        }
    }

    async fn copy(&mut self, copies: &[(SubscriptionId, UserId)]) {
        let (model, clock) = (self.model, &self.clock);
        macro_rules! run {
            ($db:ty, $conn:expr) => {{
                let mut query = sqlx::query::<$db>(AssertSqlSafe(Arc::clone(&self.sql)))
                    .bind(model.decision_id)
                    .bind(model.transaction_id)
                    .bind(model.entry_id)
                    .bind(model.message_id)
                    .bind(model.subscription_id);
                for (subscription_id, user_id) in copies {
                    let [decision, transaction, entry, message]: [Uuid; 4] =
                        [(); 4].map(|()| new_id(clock));
                    query = query
                        .bind(decision)
                        .bind(transaction)
                        .bind(entry)
                        .bind(message)
                        .bind(*subscription_id)
                        .bind(*user_id)
                        .bind(format!("by-hand:{decision}"));
                }
                query.execute($conn).await.unwrap();
            }};
        }
        match &mut self.engine {
            Engine::Sqlite(conn) => run!(Sqlite, conn),
            Engine::Postgres(conn) => run!(Postgres, conn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_number() {
        RENEWAL.check();
        let two = RENEWAL.in_sequence(2);
        assert_eq!(two.matches("INSERT INTO decisions").count(), 2);
    }
}
