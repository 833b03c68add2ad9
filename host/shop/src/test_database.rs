//! Database of a test: a migrated file with one customer, who has an empty wallet, and what a shop
//! needs to sell.

use std::{fs, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_runtime::{Runtime, RuntimeConfig};
use serde_json::json;
use sqlx::types::Json;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::{
    coupons::{self, Coupons},
    crypto::{MasterKey, Vault},
    db::{Clock, Db, new_id, url_of},
    execute, fetch_one,
    identity::Identity,
    ids::{PlanId, SubscriptionId, UserId},
    money::Rupiah,
    plugins::{BreakerRules, Policy, Registry, signatures::Trust},
    provisioning::{self, Choice, Classes},
    subscriptions::{self, Subscription, SubscriptionStatus, Subscriptions},
    wallet,
};

pub(crate) struct TestDatabase {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    /// The one customer.
    pub(crate) user_id: UserId,
    pub(crate) folder: TempDir,
}

/// Bytes of a migrated database, of which each test has a copy.
async fn migrated() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("migrated.db");
    let db = Db::connect(&url_of(&path)).await.unwrap();
    db.migrate().await.unwrap();
    // Closing moves its log into the file.
    db.close().await;
    fs::read(path).unwrap()
}

impl TestDatabase {
    pub(crate) async fn open() -> Self {
        static MIGRATED: OnceCell<Vec<u8>> = OnceCell::const_new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        fs::write(&path, MIGRATED.get_or_init(migrated).await).unwrap();
        let db = Db::connect(&url_of(&path)).await.unwrap();
        let mut database = Self {
            db,
            clock: Clock::movable(),
            user_id: UserId::MIN,
            folder,
        };
        database.user_id = database.account("ani@example.org", "USER").await;
        let mut conn = database.db.begin().await.unwrap();
        wallet::open(&mut conn, &database.clock, database.user_id)
            .await
            .unwrap();
        conn.commit().await.unwrap();
        database
    }

    /// Adds an account of this role, without a wallet.
    pub(crate) async fn account(&self, email: &str, role: &str) -> UserId {
        let id = new_id(&self.clock);
        let mut conn = self.db.begin().await.unwrap();
        let sql =
            "INSERT INTO users (id, email, password_hash, name, role, status, created_at, updated_at)
             VALUES ($1, $2, '', 'Ani', $3, 'ACTIVE', $4, $4)";
        execute!(conn, sql, id, email, role, self.clock.now()).unwrap();
        conn.commit().await.unwrap();
        id
    }

    /// Adds an active version of a plugin, past every check.
    pub(crate) async fn install(&self, (id, kind): (&str, &str), digest: &str, component: &[u8]) {
        let mut conn = self.db.begin().await.unwrap();
        let sql = "INSERT INTO plugin_versions (digest, plugin_id, kind, version, contract, title, component,
               size_bytes, state, report, created_at)
             VALUES ($1, $2, $3, '1.0.0', '0.1.0', 'Test', $4, 0, 'ACTIVE', '{}', $5)";
        let now = self.clock.now();
        execute!(conn, sql, digest, id, kind, component, now).unwrap();
        conn.commit().await.unwrap();
    }

    /// Adds a service of this plugin with one plan of 50,000 rupiah; returns the plan's id.
    pub(crate) async fn sell(&self, plugin_id: &str, image: &str) -> PlanId {
        let now = self.clock.now();
        let [category, service]: [Uuid; 2] = [(); 2].map(|()| new_id(&self.clock));
        let plan = new_id(&self.clock);
        let mut conn = self.db.begin().await.unwrap();
        let sql = "INSERT INTO service_categories (id, slug, name, description) VALUES ($1, 'c', 'C', '')";
        execute!(conn, sql, category).unwrap();
        let sql = "INSERT INTO services (id, slug, category_id, plugin_id, name, summary, description, featured,
               active, images, settings, pod_security_exceptions, created_at, updated_at)
             VALUES ($1, 'test', $2, $3, 'Test', '', '', FALSE, TRUE, $4, '{}', '[]', $5, $5)";
        let images = Json(json!({ "app": image }));
        execute!(conn, sql, service, category, plugin_id, images, now).unwrap();
        let sql = "INSERT INTO service_plans (id, service_id, slug, name, tier, monthly_price, cpu_millis,
               memory_mib, storage_gib, replicas, total_quota, max_instances_per_user, features, active, created_at,
               updated_at)
             VALUES ($1, $2, 'basic', 'Basic', 'BASIC', 50000, 500, 512, 1, 1, 10, 10, '[]', TRUE, $3, $3)";
        execute!(conn, sql, plan, service, now).unwrap();
        conn.commit().await.unwrap();
        plan
    }

    /// Adds a subscription of the customer, whose period ends at a moment.
    pub(crate) async fn subscribe(
        &self,
        plan_id: PlanId,
        status: &str,
        end: DateTime<Utc>,
    ) -> SubscriptionId {
        let user_id = self.user_id;
        self.subscribe_as(user_id, (plan_id, status, end)).await
    }

    /// Adds the same for another customer.
    pub(crate) async fn subscribe_as(
        &self,
        user_id: UserId,
        (plan_id, status, end): (PlanId, &str, DateTime<Utc>),
    ) -> SubscriptionId {
        let (id, now) = (new_id(&self.clock), self.clock.now());
        let mut conn = self.db.begin().await.unwrap();
        let sql = "INSERT INTO subscriptions (id, user_id, plan_id, status, monthly_price, config, auto_renew,
               anchor_at, period_number, period_start, period_end, created_at, updated_at)
             VALUES ($1, $2, $3, $4, 50000, '{}', TRUE, $5, 1, $5, $6, $5, $5)";
        execute!(conn, sql, id, user_id, plan_id, status, now, end).unwrap();
        conn.commit().await.unwrap();
        id
    }

    /// Runs a statement, and expects it to change something.
    pub(crate) async fn sql(&self, sql: &'static str) {
        let mut conn = self.db.begin().await.unwrap();
        assert!(execute!(conn, sql).unwrap() > 0, "{sql}");
        conn.commit().await.unwrap();
    }

    /// The number that a query returns.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        let (number,) = fetch_one!(self.db.read().await.unwrap(), (i64,), sql).unwrap();
        number
    }

    /// Loads the installed plugins.
    pub(crate) async fn registry(&self) -> Arc<Registry> {
        let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
        let policy = Policy {
            trust: Trust::default(),
            breaker: BreakerRules {
                failures: 0,
                pause: TimeDelta::zero(),
            },
            ..Policy::default()
        };
        let registry = Registry::new(runtime, self.db.clone(), self.clock.clone(), policy);
        registry.refresh().await.unwrap();
        Arc::new(registry)
    }

    /// Puts a shop on this database that delivers nothing.
    pub(crate) async fn subscriptions(&self, settings: subscriptions::Settings) -> Subscriptions {
        let registry = self.registry().await;
        let provisioning = provisioning::Settings {
            provisioner: Choice::Directory,
            kubeconfig: None,
            folder: self.folder.path().join("manifests"),
            secret_store: None,
            classes: Classes::default(),
            ingress_namespace: None,
            parallel: 1,
            resync: Duration::from_secs(3600),
            patience: Duration::from_secs(3600),
            health_kept: TimeDelta::days(30),
            rollout: Duration::from_secs(600),
            capacity: provisioning::capacity::Settings::default(),
            domains: provisioning::domains::Settings::default(),
        };
        let (db, clock) = (self.db.clone(), self.clock.clone());
        let vault = Arc::new(Vault::new(&[MasterKey::generate()]));
        let identity = Arc::new(Identity::passing(&clock));
        let plugins = Arc::clone(&registry);
        let prepared =
            provisioning::prepare(provisioning, db, clock, vault, plugins, identity).await;
        let (instances, _) = prepared.unwrap();
        let (db, clock) = (self.db.clone(), self.clock.clone());
        let coupons = Coupons::new(db, clock, registry, coupons::Settings::default());
        Subscriptions::new(coupons, instances, settings)
    }
}

/// A subscription whose period ended at noon of the 10th of January in Greenwich.
pub(crate) fn ended(status: SubscriptionStatus) -> Subscription {
    let at = |text: &str| text.parse().unwrap();
    let (start, end) = (at("2027-12-10T12:00:00Z"), at("2028-01-10T12:00:00Z"));
    Subscription {
        id: SubscriptionId::from_u128(1),
        user_id: UserId::from_u128(2),
        plan_id: PlanId::from_u128(3),
        status,
        monthly_price: Rupiah::new(50_000),
        term_months: 1,
        term_price: None,
        freeze_state: subscriptions::FreezeState::None,
        storage_price: None,
        config: Json(json!({})),
        auto_renew: true,
        anchor_at: start,
        anchor_months: 1,
        period_number: 1,
        period_start: start,
        period_end: end,
        coupon_id: None,
        coupon_periods_left: None,
        cancelled_at: None,
        cancel_reason: None,
        grace_until: None,
        suspended_at: None,
        unpaid: None,
        delivered_at: Some(start),
        held_since: None,
        next_plan_id: None,
        next_price: None,
        next_term_price: None,
        next_price_from: None,
        created_at: start,
        updated_at: start,
    }
}
