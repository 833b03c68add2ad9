//! Rows that nothing is posted for, and those that follow from transactions.

mod rest;
mod running;

use chrono::TimeDelta;
use dermaga_shop::{
    db::{Clock, Db},
    wallet,
};

use super::{
    DAY, DAYS, Kind, Size, user,
    words::{Rows, at, id, run},
};

/// Wallets of one commit.
const TOGETHER: u32 = 1_000;
/// Subscriptions that are over. None of them is among those that are not paid for.
const OVER: &str = "(n % 20 = 0 OR n % 3 = 0)";
/// Plans in a row, each with the version that its service has now.
const PLANS: &str = "JOIN (SELECT p.id AS plan, v.digest, s.settings, s.images, \
                         row_number() OVER (ORDER BY p.id) - 1 AS place, count(*) OVER () AS plans \
                     FROM service_plans p JOIN services s ON s.id = p.service_id \
                     JOIN plugin_versions v ON v.plugin_id = s.plugin_id AND v.state = 'ACTIVE') AS p \
                     ON p.place = n % p.plans";
/// Versions of plugins in a row.
const VERSIONS: &str = "JOIN (SELECT digest, plugin_id, kind, version, contract, \
                            row_number() OVER (ORDER BY digest) - 1 AS place, count(*) OVER () AS versions \
                        FROM plugin_versions WHERE state = 'ACTIVE') AS v ON v.place = n % v.versions";

/// Number of coupons.
pub(super) fn coupons(size: Size) -> u32 {
    (size.subscriptions / 100).max(1)
}

/// Facts that all statements need.
struct Filling<'a> {
    db: &'a Db,
    size: Size,
    /// Seconds since 1970.
    now: i64,
}

/// Customers, and their wallets.
pub(super) async fn people(db: &Db, size: Size) {
    let filling = Filling::new(db, size);
    filling.customers().await;
    let clock = Clock::movable();
    clock.set_offset(-TimeDelta::days(i64::from(DAYS) + 1));
    for first in (1..=size.customers).step_by(TOGETHER as usize) {
        let mut conn = db.begin().await.unwrap();
        for number in first..=size.customers.min(first + TOGETHER - 1) {
            wallet::open(&mut conn, &clock, user(number)).await.unwrap();
        }
        conn.commit().await.unwrap();
    }
}

/// Rows to which transactions refer, and what hangs on subscriptions.
pub(super) async fn before_money(db: &Db, size: Size) {
    let filling = Filling::new(db, size);
    filling.decisions().await;
    filling.coupons().await;
    filling.subscriptions().await;
    filling.periods().await;
    filling.instances().await;
    filling.events_of_instances().await;
    filling.health().await;
    filling.domains().await;
}

/// A subscription of each customer that runs, and what it refers to.
pub(super) async fn running(db: &Db, size: Size) {
    let filling = Filling::new(db, size);
    filling.decisions().await;
    filling.running().await;
}

/// Rows that refer to transactions, and those of the rest of a shop.
pub(super) async fn after_money(db: &Db, size: Size) {
    let filling = Filling::new(db, size);
    filling.payments().await;
    filling.redemptions().await;
    filling.audit().await;
    filling.notifications().await;
    filling.tickets().await;
    filling.sessions_and_alerts().await;
    filling.webhooks().await;
    // Streams would begin with the events of a year.
    run(db, "DELETE FROM customer_events".to_owned()).await;
}

impl<'a> Filling<'a> {
    fn new(db: &'a Db, size: Size) -> Self {
        Self {
            db,
            size,
            now: Clock::system().now().timestamp(),
        }
    }

    /// Seconds of row `n` of so many that are spread over the year.
    fn spread(&self, number: u32) -> String {
        let (begin, year) = (self.now - i64::from(DAYS * DAY), DAYS * DAY);
        format!("({begin} + n * {year} / {})", number.max(1))
    }

    /// Seconds of a moment so many days from now.
    fn in_days(&self, days: i64) -> String {
        (self.now + days * i64::from(DAY)).to_string()
    }

    /// A customer for each row, in turn.
    fn customer(&self) -> String {
        let number = format!("1 + n % {}", self.size.customers);
        id(self.db, Kind::User, &number)
    }

    async fn customers(&self) {
        let number = self.size.customers;
        let made = self.spread(number);
        let password = "(SELECT password_hash FROM users WHERE role = 'ADMINISTRATOR' LIMIT 1)";
        Rows::of(self.db, "users", number)
            .id("id", Kind::User, "n")
            .with("email", "'pelanggan-' || n || '@example.com'")
            .with("password_hash", password)
            .with("name", "'Pelanggan ' || n")
            .with("role", "'USER'")
            .with(
                "status",
                "CASE WHEN n % 100 = 0 THEN 'DISABLED' ELSE 'ACTIVE' END",
            )
            .with("language", "'id'")
            .at(&["created_at", "updated_at", "email_verified_at"], &made)
            .insert()
            .await;
    }

    async fn decisions(&self) {
        let number = self.size.decisions;
        let made = self.spread(number);
        let words = "word ".repeat(100);
        let input = format!("'{{\"settings\":\"{words}\",\"number\":' || n || '}}'");
        let function = "CASE WHEN v.kind = 'coupon' THEN 'evaluate' WHEN n % 2 = 0 THEN 'price' ELSE 'manifests' END";
        Rows::of(self.db, "decisions", number)
            .join(VERSIONS)
            .id("id", Kind::Decision, "n")
            .with("digest", "v.digest")
            .with("plugin_id", "v.plugin_id")
            .with("plugin_version", "v.version")
            .with("contract", "v.contract")
            .with("function", function)
            .with("user_id", &self.customer())
            .with("input", &input)
            .with(
                "output",
                "CASE WHEN n % 1000 <> 0 THEN '{\"lines\":[]}' END",
            )
            .with(
                "failure",
                "CASE WHEN n % 1000 = 0 THEN 'PLUGIN_TRAPPED' END",
            )
            .with("logs", "'[]'")
            .with("fuel", "100000 + n % 1000")
            .with("duration_us", "500 + n % 5000")
            .at(&["created_at"], &made)
            .insert()
            .await;
    }

    async fn coupons(&self) {
        let number = coupons(self.size);
        let made = self.spread(number);
        Rows::of(self.db, "coupons", number)
            .id("id", Kind::Coupon, "n")
            .with("code", "'LAMA-' || n")
            .with("description", "'Kredit'")
            .with("plugin_id", "'coupon-credit-topup'")
            .with("parameters", r#"'{"amount":5000}'"#)
            .with("services", "'[]'")
            .with("tiers", "'[]'")
            .with(
                "status",
                "CASE WHEN n % 4 = 0 THEN 'EXPIRED' ELSE 'ACTIVE' END",
            )
            .at(&["starts_at", "created_at", "updated_at"], &made)
            .at_if("ends_at", "n % 4 = 0", &format!("{made} + 60"))
            .insert()
            .await;
    }

    async fn subscriptions(&self) {
        let number = self.size.subscriptions;
        let made = self.spread(number);
        let status = "CASE WHEN n % 20 = 0 THEN 'CANCELLED' WHEN n % 3 = 0 THEN 'EXPIRED' \
                      WHEN n % 300 = 1 THEN 'PAST_DUE' WHEN n % 300 = 2 THEN 'SUSPENDED' ELSE 'ACTIVE' END";
        // Of those that are paid for, none is over while something is measured.
        let end = format!(
            "CASE WHEN {OVER} THEN {made} + 60 WHEN n % 300 IN (1, 2) THEN {} \
             ELSE {} + (n * 7919) % 2505600 END",
            self.in_days(-2),
            self.in_days(1),
        );
        Rows::of(self.db, "subscriptions", number)
            .join(PLANS)
            .id("id", Kind::Subscription, "n")
            .with("user_id", &self.customer())
            .with("plan_id", "p.plan")
            .with("status", status)
            .with("monthly_price", "30000")
            .with("config", "'{}'")
            .with("auto_renew", "n % 10 <> 7")
            .with("period_number", "2")
            .with("unpaid", "CASE WHEN n % 300 IN (1, 2) THEN 30000 END")
            .with(
                "renewal_failures",
                "CASE WHEN n % 300 = 1 THEN 1 ELSE 0 END",
            )
            .at(
                &["anchor_at", "created_at", "updated_at", "delivered_at"],
                &made,
            )
            .at(&["period_start"], &format!("{end} - 2592000"))
            .at(&["period_end"], &end)
            .at_if("cancelled_at", OVER, &format!("{made} + 60"))
            .at_if("grace_until", "n % 300 = 1", &self.in_days(3))
            .at_if("renewal_retry_at", "n % 300 = 1", &self.in_days(2))
            .at_if("suspended_at", "n % 300 = 2", &self.in_days(-1))
            .insert()
            .await;
    }

    async fn periods(&self) {
        let (each, subscription) = (2 * self.size.subscriptions, "1 + (n - 1) / 2");
        let made = self.spread(each);
        let decision = format!("1 + n % {}", self.size.decisions);
        Rows::of(self.db, "subscription_periods", each)
            .id("subscription_id", Kind::Subscription, subscription)
            .with("number", "1 + (n - 1) % 2")
            .with("price", "30000")
            .with("discount", "0")
            .with("paid_cash", "30000")
            .with("paid_bonus", "0")
            .id("price_decision_id", Kind::Decision, &decision)
            .at(&["starts_at", "created_at"], &made)
            .at(&["ends_at"], &format!("{made} + 2592000"))
            .insert()
            .await;
    }

    async fn instances(&self) {
        let number = self.size.subscriptions;
        let made = self.spread(number);
        let desired = format!(
            "CASE WHEN {OVER} THEN 'TERMINATED' WHEN n % 300 = 2 THEN 'STOPPED' ELSE 'RUNNING' END"
        );
        let objects = r#"'[{"apiVersion":"apps/v1","kind":"Deployment","name":"app"},
                           {"apiVersion":"v1","kind":"Service","name":"app"}]'"#;
        Rows::of(self.db, "instances", number)
            .join(PLANS)
            .id("id", Kind::Instance, "n")
            .id("subscription_id", Kind::Subscription, "n")
            .with("user_id", &self.customer())
            .with("plan_id", "p.plan")
            .with("plugin_digest", "p.digest")
            .with("settings", "p.settings")
            .with("images", "p.images")
            .with("name", "'lama-' || n")
            .with(
                "namespace",
                &format!("'dermaga-u-' || (1 + n % {})", self.size.customers),
            )
            .with("config", "'{}'")
            .with("desired", &desired)
            .with("status", &desired)
            .with("message", "'Set up.'")
            .with("observed_generation", "1")
            .with("applied", objects)
            .with("halt", "CASE WHEN n % 300 = 2 THEN 'UNPAID' END")
            .at(
                &["created_at", "updated_at", "ready_at", "delivered_at"],
                &made,
            )
            .at(&["next_attempt_at"], &self.in_days(DAYS.into()))
            .insert()
            .await;
    }

    async fn events_of_instances(&self) {
        let number = 3 * self.size.subscriptions;
        Rows::of(self.db, "instance_events", number)
            .id("id", Kind::InstanceEvent, "n")
            .id("instance_id", Kind::Instance, "1 + (n - 1) / 3")
            .with("kind", "'RUNNING'")
            .with("message", "'Set up.'")
            .at(&["created_at"], &self.spread(number))
            .insert()
            .await;
    }

    /// A domain of every tenth instance; one of twenty waits for its proof.
    async fn domains(&self) {
        let number = self.size.subscriptions / 10;
        let (made, is_proven) = (self.spread(number), "n % 20 <> 0");
        let owner = format!("1 + (10 * n) % {}", self.size.customers);
        Rows::of(self.db, "custom_domains", number)
            .id("id", Kind::Domain, "n")
            .id("instance_id", Kind::Instance, "10 * n")
            .id("user_id", Kind::User, &owner)
            .with("name", "'toko-' || n || '.example.com'")
            .with("token", "'5b1f4e0a93d26a8fbb0c3e5d7f917c1d'")
            .with(
                "state",
                &format!("CASE WHEN {is_proven} THEN 'ACTIVE' ELSE 'PENDING' END"),
            )
            .with(
                "proven_by",
                &format!("CASE WHEN {is_proven} THEN 'DNS' END"),
            )
            .at_if("proven_at", is_proven, &made)
            .at(&["created_at", "updated_at"], &made)
            .at(&["next_check_at", "expires_at"], &self.in_days(DAYS.into()))
            .insert()
            .await;
    }

    /// Three spans of each instance, of ten days each, the last of them open where it runs.
    async fn health(&self) {
        let since = format!(
            "{} + ((n - 1) % 3) * 864000 + ((n - 1) / 3) % 3600",
            self.in_days(-30)
        );
        let state = "CASE WHEN n % 3 = 1 THEN 'STARTING' WHEN n % 1500 = 0 THEN 'FAILED' ELSE 'HEALTHY' END";
        Rows::of(self.db, "health_spans", 3 * self.size.subscriptions)
            .id("id", Kind::Span, "n")
            .id("instance_id", Kind::Instance, "1 + (n - 1) / 3")
            .with("state", state)
            .with("is_new_state", "TRUE")
            .with("reason", "'Everything is ready.'")
            .with("detail", "'1 of 1 ready'")
            .with("source", "'PERIODIC'")
            .at(&["since"], &since)
            .at_if("until", "n % 3 <> 0", &format!("{since} + 864000"))
            .insert()
            .await;
        let ended = format!(
            "UPDATE health_spans SET until = {} WHERE until IS NULL AND instance_id IN \
             (SELECT id FROM instances WHERE status = 'TERMINATED')",
            at(self.db, &self.in_days(-1)),
        );
        run(self.db, ended).await;
    }

    /// Payments of all top-ups. Of those that were not paid, half have failed.
    async fn payments(&self) {
        let failed =
            "UPDATE transactions SET status = 'FAILED' WHERE status = 'PENDING' AND number % 2 = 0";
        run(self.db, failed.to_owned()).await;
        let payments = format!(
            "INSERT INTO payments (id, transaction_id, user_id, order_id, method, amount, state, credited, \
                 expires_at, created_at, updated_at) \
             SELECT id, id, user_id, 'TXMP-' || number, 'QRIS', amount, \
                 CASE status WHEN 'COMPLETED' THEN 'SETTLED' WHEN 'FAILED' THEN 'EXPIRED' ELSE 'PENDING' END, \
                 CASE status WHEN 'COMPLETED' THEN amount ELSE 0 END, {}, created_at, created_at \
             FROM transactions WHERE type = 'TOP_UP'",
            at(self.db, &self.in_days(1)),
        );
        run(self.db, payments).await;
        let debts = "INSERT INTO debts (id, user_id, payment_id, transaction_id, amount, paid, created_at, settled_at) \
                     SELECT id, user_id, id, transaction_id, 10000, 10000, created_at, created_at FROM payments \
                     WHERE state = 'SETTLED' ORDER BY id LIMIT 500";
        run(self.db, debts.to_owned()).await;
    }

    async fn redemptions(&self) {
        for sql in [
            r#"INSERT INTO coupon_redemptions (id, coupon_id, user_id, effect, amount, reason, decision_id,
                   transaction_id, created_at)
               SELECT id, coupon_id, user_id, '{"credit":5000}', amount, 'Credit', coupon_decision_id, id, created_at
               FROM transactions WHERE type = 'COUPON_REDEMPTION'"#,
            "INSERT INTO coupon_customer_uses (coupon_id, user_id, uses)
             SELECT coupon_id, user_id, count(*) FROM coupon_redemptions GROUP BY coupon_id, user_id",
            "UPDATE coupons SET
                 used_count = (SELECT count(*) FROM coupon_redemptions r WHERE r.coupon_id = coupons.id),
                 granted_amount = (SELECT coalesce(sum(r.amount), 0) FROM coupon_redemptions r
                                   WHERE r.coupon_id = coupons.id)",
        ] {
            run(self.db, sql.to_owned()).await;
        }
    }
}
