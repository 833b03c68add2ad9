//! Writes the rows of purchases with the engine alone, as [`Copyist`](super::Copyist) does those of a redemption.

use std::sync::Arc;

use dermaga_shop::{
    db::{Clock, Db, new_id},
    ids::{DecisionId, EntryId, InstanceId, PlanId, SubscriptionId, TransactionId, UserId},
};
use sqlx::{AssertSqlSafe, Postgres, Sqlite};
use uuid::Uuid;

use super::{Engine, statements::Script};

/// The values in the order in which they are bound, and the statements in the order of a purchase.
const PURCHASE: Script = Script {
    model: &[
        "{model.decision}",
        "{model.transaction}",
        "{model.entry}",
        "{model.subscription}",
        "{model.instance}",
        "{model.plan}",
        "{model.user}",
        "{model.route}",
        "{model.key}",
    ],
    own: &[
        "{decision}",
        "{transaction}",
        "{entry}",
        "{subscription}",
        "{instance}",
        "{event}",
        "{user}",
        "{name}",
        "{key}",
    ],
    statements: &STATEMENTS,
};
/// Writes thirteen rows: postings are two, and the key is written once, with its answer. The balance stays, so that no
/// customer runs out of credit, and a plan that is sold out begins again.
const STATEMENTS: [&str; 12] = [
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
       total_spent = total_spent - (SELECT amount FROM transactions WHERE id = {model.transaction}),
       head_hash = (SELECT hash FROM journal_entries WHERE id = {model.entry})
     WHERE user_id = {user}",
    "INSERT INTO subscriptions (id, user_id, plan_id, status, monthly_price, config, auto_renew, anchor_at,
       period_number, period_start, period_end, coupon_periods_left, created_at, updated_at, term_months, term_price,
       anchor_months)
     SELECT {subscription}, {user}, plan_id, 'ACTIVE', monthly_price, config, auto_renew, anchor_at,
       period_number, period_start, period_end, coupon_periods_left, created_at, created_at, term_months, term_price,
       anchor_months FROM subscriptions WHERE id = {model.subscription}",
    "INSERT INTO instances (id, subscription_id, user_id, plan_id, plugin_digest, name, namespace, hostname, config,
       desired, status, message, applied, next_attempt_at, created_at, updated_at, settings, images,
       cpu_millis, memory_mib, storage_gib, replicas)
     SELECT {instance}, {subscription}, {user}, plan_id, plugin_digest, {name}, namespace, hostname, config,
       'RUNNING', 'PENDING', 'Waiting to be set up.', '[]', created_at, created_at, created_at, settings, images,
       cpu_millis, memory_mib, storage_gib, replicas FROM instances WHERE id = {model.instance}",
    "INSERT INTO instance_secrets (instance_id, name, sealed)
     SELECT {instance}, name, sealed FROM instance_secrets WHERE instance_id = {model.instance}",
    "INSERT INTO instance_events (id, instance_id, kind, message, created_at)
     SELECT {event}, {instance}, 'PENDING', 'Waiting to be set up.', created_at
     FROM instances WHERE id = {model.instance}",
    "INSERT INTO subscription_periods (subscription_id, number, starts_at, ends_at, price, discount, paid_cash,
       paid_bonus, transaction_id, price_decision_id, created_at, months, frozen, storage)
     SELECT {subscription}, number, starts_at, ends_at, price, discount, paid_cash,
       paid_bonus, {transaction}, {decision}, created_at, months, frozen, storage
     FROM subscription_periods WHERE subscription_id = {model.subscription} AND transaction_id = {model.transaction}",
    "INSERT INTO idempotency_keys (user_id, route, key, request_hash, holder, status, answer, created_at, locked_until)
     SELECT {user}, route, {key}, request_hash, {event}, status, answer, created_at, locked_until
     FROM idempotency_keys WHERE user_id = {model.user} AND route = {model.route} AND key = {model.key}",
    "UPDATE service_plans SET used_quota = used_quota % total_quota + 1, updated_at = updated_at
     WHERE id = {model.plan}{others}",
];

/// A purchase whose rows are copied.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Purchase {
    decision_id: DecisionId,
    transaction_id: TransactionId,
    entry_id: EntryId,
    subscription_id: SubscriptionId,
    instance_id: InstanceId,
    plan_id: PlanId,
    user_id: UserId,
    route: String,
    key: String,
}

impl Purchase {
    /// Reads the last purchase of a customer, made under this key.
    pub async fn of(db: &Db, user: UserId, key: &str) -> Self {
        let sql = "SELECT p.price_decision_id AS decision_id, p.transaction_id, e.id AS entry_id, p.subscription_id,
                     i.id AS instance_id, s.plan_id, s.user_id, k.route, k.key
                   FROM subscriptions s JOIN subscription_periods p ON p.subscription_id = s.id AND p.number = 1
                     JOIN journal_entries e ON e.transaction_id = p.transaction_id
                     JOIN instances i ON i.subscription_id = s.id
                     JOIN idempotency_keys k ON k.user_id = s.user_id AND k.answer IS NOT NULL
                   WHERE s.user_id = $1 AND k.key = $2 ORDER BY s.created_at DESC, s.id DESC LIMIT 1";
        let mut conn = db.read().await.unwrap();
        dermaga_shop::fetch_one!(conn, Purchase, sql, user, key).unwrap()
    }
}

/// A connection of a customer who buys what was bought before.
#[derive(Debug)]
pub struct Buyer {
    engine: Engine,
    sql: Arc<str>,
    clock: Clock,
    model: Purchase,
    user_id: UserId,
}

impl Buyer {
    /// Connects to the database that has the model.
    pub async fn connect(url: &str, clock: &Clock, model: &Purchase, user_id: UserId) -> Self {
        let engine = Engine::connect(url).await;
        let sql = match engine {
            Engine::Sqlite(_) => PURCHASE.in_sequence(1),
            Engine::Postgres(_) => PURCHASE.in_one(),
        };
        Self {
            engine,
            sql: sql.into(),
            clock: clock.clone(),
            model: model.clone(),
            user_id,
        }
    }

    /// Writes the rows of a purchase, durably, under new ids.
    pub async fn buy(&mut self) {
        let model = &self.model;
        let [decision, transaction, entry, subscription, instance, event]: [Uuid; 6] =
            [(); 6].map(|()| new_id(&self.clock));
        macro_rules! run {
            ($db:ty, $conn:expr) => {{
                let query = sqlx::query::<$db>(AssertSqlSafe(Arc::clone(&self.sql)))
                    .bind(model.decision_id)
                    .bind(model.transaction_id)
                    .bind(model.entry_id)
                    .bind(model.subscription_id)
                    .bind(model.instance_id)
                    .bind(model.plan_id)
                    .bind(model.user_id)
                    .bind(model.route.as_str())
                    .bind(model.key.as_str())
                    .bind(decision)
                    .bind(transaction)
                    .bind(entry)
                    .bind(subscription)
                    .bind(instance)
                    .bind(event)
                    .bind(self.user_id)
                    .bind(format!("postgresql-{}", instance.simple()))
                    .bind(format!("by-hand:{decision}"));
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
        PURCHASE.check();
        let two = PURCHASE.in_sequence(2);
        assert_eq!(two.matches("INSERT INTO instances").count(), 2);
    }
}
