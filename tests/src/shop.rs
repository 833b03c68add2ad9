//! A shop for one test: a server on a free port, a database, a data folder, a movable clock.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
    time::{Duration, Instant},
};

use dermaga::{
    api::AppState,
    app::{App, Running, StartError},
    config::Config,
};
use dermaga_runtime::Digest;
use dermaga_shop::{
    accounts::{Effort, Email, NewAccount, Role},
    crypto::Secret,
    db::{Clock, Db},
    plugins::Findings,
    provisioning::{Choice, domains::Records},
    wallet::ledger::{self, Verification},
    webhooks::Lookup,
};
use dermaga_toolkit::build::{self, Silent};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Client, journal, postgres, skip, sqlite, unique};

const PASSWORD: &str = "kata sandi yang panjang";

/// Database of a shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// One server with everything it needs; stops when dropped.
#[derive(Debug)]
pub struct Shop {
    running: Running,
    client: Client,
    data: TempDir,
}

/// Root folder of the checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the checkout")
}

/// Folder of the checkout's plugin components, built once for all tests. It is separate from the
/// folder of developers' builds, because a shop offers every plugin in its folder.
pub fn plugins_folder() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let out = checkout().join("target/components-of-tests");
        build::ensure_built(&checkout().join("plugins"), &out, &Silent).expect("the plugins build");
        out
    })
}

/// Passed checks of plugins that all shops of this process share.
fn findings() -> Findings {
    static FINDINGS: OnceLock<Findings> = OnceLock::new();
    FINDINGS.get_or_init(Findings::default).clone()
}

impl Shop {
    /// Starts a shop that writes manifests into a folder; `None` when its database is not
    /// available.
    pub async fn open(engine: Engine) -> Option<Self> {
        Self::open_with(engine, |_| {}).await
    }

    /// Starts a shop with changed settings.
    pub async fn open_with(engine: Engine, change: impl FnOnce(&mut Config)) -> Option<Self> {
        Self::open_at(engine, Clock::movable(), change).await
    }

    /// Starts a shop with changed settings and a clock that it may share with others.
    pub async fn open_at(
        engine: Engine,
        clock: Clock,
        change: impl FnOnce(&mut Config),
    ) -> Option<Self> {
        journal::open();
        let data = TempDir::new().expect("a temporary folder");
        let mut config = Config::in_folder(data.path()).expect("the defaults are good");
        config.http.listen = ([127, 0, 0, 1], 0).into();
        config.provisioning.provisioner = Choice::Directory;
        // Tests that run at the same time share the nodes of a cluster.
        config.provisioning.capacity.check = false;
        // All customers of a test have the same address.
        config.accounts.registrations_per_hour = 10_000;
        config.accounts.effort = Effort::none();
        config.rates = config.rates.raised();
        config.plugins_dir = Some(plugins_folder().to_owned());
        // Each plugin is compiled once for all tests, and not for each shop.
        config.runtime.cache_dir = Some(checkout().join("target/compiled-for-tests"));
        config.templates_dir = Some(checkout().join("service-templates"));
        config.plugins.findings = findings();
        // Every name of an endpoint leads to this machine: nothing is looked up or asked outside.
        config.webhooks.permit_loopback = true;
        config.webhooks.lookup =
            Lookup::new(|_| Box::pin(async { Ok(vec![[127, 0, 0, 1].into()]) }));
        config.provisioning.domains.records =
            Some(Records::new(|_| Box::pin(async { Ok(Vec::new()) })));
        if engine == Engine::Postgres {
            match postgres::shared() {
                Ok(server) => config.database_url = Some(Secret::new(server.new_database().await)),
                Err(why) => {
                    skip("PostgreSQL", why);
                    return None;
                }
            }
        }
        change(&mut config);
        if config.database_url.is_none() {
            sqlite::put_migrated(&config.data_dir.join("dermaga.db")).await;
        }
        let started = Box::pin(App::start(config, clock)).await;
        let running = started.expect("the server starts");
        let client = Client::new(format!("http://{}", running.address));
        Some(Self {
            running,
            client,
            data,
        })
    }

    /// Stops the server and starts it again on the same database and data folder, at another port.
    pub async fn restart(self) -> Self {
        let again = self.restart_with(|_| {}).await;
        again.expect("the server starts again")
    }

    /// Restarts with changed settings.
    ///
    /// # Errors
    /// The error with which the server does not start.
    pub async fn restart_with(self, change: impl FnOnce(&mut Config)) -> Result<Self, StartError> {
        let Self { running, data, .. } = self;
        let mut config = Config::clone(&running.state.config);
        change(&mut config);
        let clock = running.state.clock.clone();
        running.stop().await;
        let running = Box::pin(App::start(config, clock)).await?;
        let client = Client::new(format!("http://{}", running.address));
        Ok(Self {
            running,
            client,
            data,
        })
    }

    /// Starts another server on the same PostgreSQL with the same keys, and its own data folder and
    /// clock.
    pub async fn second_server(&self) -> Self {
        let data = TempDir::new().expect("a temporary folder");
        for key in ["jwt.key", "master.key"] {
            std::fs::copy(self.data.path().join(key), data.path().join(key)).expect("a key");
        }
        let mut config = Config::clone(&self.state().config);
        config.data_dir = data.path().to_owned();
        let running = Box::pin(App::start(config, Clock::movable()))
            .await
            .expect("the second server starts");
        let client = Client::new(format!("http://{}", running.address));
        Self {
            running,
            client,
            data,
        }
    }

    pub fn state(&self) -> &AppState {
        &self.running.state
    }

    pub fn clock(&self) -> &Clock {
        &self.running.state.clock
    }

    /// Data folder of this server.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Waits until so many statements of this pattern (`LIKE`) wait for a lock of PostgreSQL.
    pub async fn statements_wait(&self, pattern: &str, number: i64) {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1";
        for _ in 0..400 {
            let mut conn = self.state().db.read().await.expect("the database answers");
            let waiting = dermaga_shop::fetch_one!(conn, (i64,), sql, pattern);
            if waiting.expect("the database answers").0 >= number {
                return;
            }
            drop(conn);
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{number} never wait at `{pattern}`");
    }

    /// Stops the server and keeps its data folder.
    pub async fn close(self) -> TempDir {
        self.running.stop().await;
        self.data
    }

    // ---- people ----

    /// Client without a session.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Signs in as the administrator.
    pub async fn admin(&self) -> Client {
        let email = format!("admin-{}@example.com", unique());
        let new = NewAccount {
            email: Email::parse(&email).expect("an e-mail address"),
            password: PASSWORD.to_owned().into(),
            name: "Admin".to_owned(),
            phone: None,
            avatar: None,
            role: Role::Administrator,
        };
        self.state()
            .accounts
            .create(new)
            .await
            .expect("an administrator");
        self.sign_in(&email).await
    }

    /// Registers a customer; returns the answer's data.
    pub async fn register(&self, email: &str) -> Value {
        let body = json!({ "email": email, "password": PASSWORD, "name": "Pelanggan" });
        self.client.post("/api/auth/register", body).await.data(201)
    }

    pub async fn sign_in(&self, email: &str) -> Client {
        let body = json!({ "email": email, "password": PASSWORD });
        let data = self.client.post("/api/auth/login", body).await.data(200);
        self.client
            .with_token(data["accessToken"].as_str().expect("an access token"))
    }

    /// Registers a new customer and signs in.
    pub async fn customer(&self, email: &str) -> Client {
        let data = self.register(email).await;
        self.client
            .with_token(data["accessToken"].as_str().expect("an access token"))
    }

    /// Registers a new customer and grants this much credit by a coupon.
    pub async fn customer_with_credit(&self, email: &str, amount: i64) -> Client {
        let code = format!("C-{}", unique());
        let body = json!({
            "code": code, "plugin": "coupon-credit-topup", "parameters": { "amount": amount }, "maxUses": 1,
        });
        self.admin()
            .await
            .post("/api/admin/coupons", body)
            .await
            .data(201);
        let customer = self.customer(email).await;
        customer
            .post("/api/wallet/redeem-coupon", json!({ "couponCode": code }))
            .await
            .data(201);
        customer
    }

    /// Registers new customers and signs them in.
    pub async fn many_customers(&self, count: usize) -> Vec<Client> {
        stream::iter(0..count)
            .map(
                |number| async move { self.customer(&format!("ramai-{number}@example.com")).await },
            )
            .buffer_unordered(8)
            .collect()
            .await
    }

    // ---- catalogue ----

    pub async fn plan_view(&self, service: &str, slug: &str) -> Value {
        let plans = self
            .client
            .get(&format!("/api/catalog/services/{service}/plans"))
            .await
            .data(200);
        let found = plans
            .as_array()
            .expect("a list")
            .iter()
            .find(|plan| plan["slug"] == slug);
        found
            .unwrap_or_else(|| panic!("{service} has no plan {slug}"))
            .clone()
    }

    /// Returns the id of a plan.
    pub async fn plan(&self, service: &str, slug: &str) -> String {
        self.plan_view(service, slug).await["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// Sets a plan's quota so that this many are left.
    pub async fn leave_quota(&self, plan_id: &str, left: i64) {
        let id: Uuid = plan_id.parse().expect("an id");
        let mut conn = self.state().db.begin().await.expect("the database answers");
        let sql = "UPDATE service_plans SET total_quota = used_quota + $2 WHERE id = $1";
        dermaga_shop::execute!(conn, sql, id, left).expect("the quota is set");
        conn.commit().await.expect("the quota is set");
    }

    /// Waits until an instance has this status, and returns it. In shops that write manifests into
    /// a folder, `RUNNING` is taken as `WRITTEN`, since nothing there can run.
    pub async fn instance_becomes(&self, owner: &Client, id: &str, status: &str) -> Value {
        let provisioner = self.state().instances.handle.status().provisioner;
        let status = match (status, provisioner) {
            ("RUNNING", "directory") => "WRITTEN",
            (status, _) => status,
        };
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let instance = owner.get(&format!("/api/instances/{id}")).await.data(200);
            if instance["status"] == status {
                return instance;
            }
            assert!(
                Instant::now() < deadline,
                "the instance does not become {status}: {instance:#}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    // ---- plugins ----

    /// Replaces the bytes of a plugin's active version in the database, past every check; returns
    /// their digest.
    pub async fn put_in_place(&self, plugin: &str, component: &[u8]) -> String {
        let digest = Digest::of(component).to_string();
        let mut conn = self.state().db.begin().await.expect("the database answers");
        let sql = "UPDATE plugin_versions SET state = 'SUPERSEDED' WHERE plugin_id = $1 AND state = 'ACTIVE'";
        dermaga_shop::execute!(conn, sql, plugin).expect("the rows change");
        let sql = "INSERT INTO plugin_versions (digest, plugin_id, kind, version, contract, title, component, size_bytes,
               state, report, created_at, activated_at)
             SELECT $1, plugin_id, kind, version, contract, title, $2, 0, 'ACTIVE', report, created_at, activated_at
             FROM plugin_versions WHERE plugin_id = $3 ORDER BY created_at LIMIT 1";
        dermaga_shop::execute!(conn, sql, &digest, component, plugin).expect("the rows change");
        conn.commit().await.expect("the rows change");
        digest
    }

    // ---- books ----

    /// Asserts that the whole ledger holds.
    pub async fn books_balance(&self) -> Verification {
        let found = self.verification().await;
        assert!(found.holds(), "{:#?}", found.faults);
        found
    }

    /// Returns the faults of the ledger.
    pub async fn faults(&self) -> Vec<String> {
        self.verification().await.faults
    }

    async fn verification(&self) -> Verification {
        ledger::verify(&self.state().db, self.clock())
            .await
            .expect("the ledger can be read")
    }

    /// Runs a statement directly on the database.
    ///
    /// # Errors
    /// When the database refuses, at the statement or at the commit.
    pub async fn sql(&self, sql: &'static str) -> sqlx::Result<u64> {
        let mut conn = self.state().db.begin().await?;
        let rows = dermaga_shop::execute!(conn, sql)?;
        conn.commit().await?;
        Ok(rows)
    }

    /// Runs statements in one transaction directly on the database, including the deferred checks.
    ///
    /// # Errors
    /// When the database refuses, at a statement or at the commit.
    pub async fn rewrite(&self, statements: &[String]) -> sqlx::Result<()> {
        let mut conn = self.state().db.begin().await?;
        for sql in statements {
            dermaga_shop::execute!(conn, sqlx::AssertSqlSafe(sql.clone()))?;
        }
        conn.commit().await
    }

    /// Drops the triggers that protect decisions.
    pub async fn drop_decision_triggers(&self) {
        let statement = match self.state().db {
            Db::Sqlite { .. } => "DROP TRIGGER decisions_frozen",
            Db::Postgres(_) => "DROP TRIGGER decisions_frozen ON decisions",
        };
        self.sql(statement).await.expect("the trigger is dropped");
    }

    /// Drops the triggers that protect the ledger.
    pub async fn drop_ledger_triggers(&self) {
        let statements: &[&'static str] = match self.state().db {
            Db::Sqlite { .. } => &[
                "DROP TRIGGER postings_frozen",
                "DROP TRIGGER postings_kept",
                "DROP TRIGGER journal_entries_frozen",
                "DROP TRIGGER journal_entries_kept",
            ],
            Db::Postgres(_) => &[
                "DROP TRIGGER postings_frozen ON postings",
                "DROP TRIGGER journal_entries_frozen ON journal_entries",
            ],
        };
        for statement in statements {
            self.sql(statement).await.expect("the trigger is dropped");
        }
    }
}
