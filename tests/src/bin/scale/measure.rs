//! Cost of acts on a private PostgreSQL whose commits wait for the disk: each act is done again and again, one after
//! another but for renewals, which are those of a night's run, by a call and without HTTP, but for sign-ups.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use dermaga_runtime::contract::Place;
use dermaga_shop::{
    accounts::Effort,
    billing,
    coupons::{self, CouponCode},
    crypto::Secret,
    ids::{PlanId, UserId},
    subscriptions::{self, Order},
};
use dermaga_tests::{
    Engine, Shop,
    postgres::{self, Postgres},
    processes::{TICK_MICROS, Used, Watched},
    program,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::sleep;

use crate::{Outcome, args::Measurement, model::grouped, split};

/// Code of the coupon that grants credit.
const COUPON: &str = "UKUR";
/// Rupiah of a redemption: enough for purchases and their renewals.
const CREDIT: i64 = 1_000_000;
/// Times that each customer redeems and buys.
const EACH: u32 = 4;
/// Longest wait for what purchases leave to the provisioner.
const LONGEST_DELIVERY: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(200);
/// Time in which jobs begin that are due after the clock was moved.
const JOBS_BEGIN: Duration = Duration::from_secs(5);
/// Days until all periods are over.
const MONTH: i64 = 32;

/// Acts, in the order in which they are measured: each needs those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    SignUp,
    Redeem,
    Buy,
    Renew,
}

/// Costs of one act.
#[derive(Debug)]
struct Measured {
    act: Act,
    count: u32,
    /// Time of one, without what it leaves to be done.
    micros: f64,
    server_micros: f64,
    database_micros: f64,
    bytes: f64,
    wal_bytes: f64,
    /// Rows that it adds, by table.
    rows: BTreeMap<String, f64>,
}

impl Act {
    const ALL: [Self; 4] = [Self::SignUp, Self::Redeem, Self::Buy, Self::Renew];

    /// Name among the costs of the model.
    const fn name(self) -> &'static str {
        match self {
            Self::SignUp => "signUp",
            Self::Redeem => "redeem",
            Self::Buy => "buy",
            Self::Renew => "renew",
        }
    }
}

/// A connection that reads how the database has grown, and the processes that are watched.
struct Probe {
    conn: PgConnection,
    watched: Watched,
}

/// State of the database at a moment.
struct Reading {
    bytes: i64,
    wal: i64,
    rows: BTreeMap<String, i64>,
}

/// Measures all acts, and splits the books of the shop that they made.
pub(crate) async fn run(measurement: &Measurement) -> Outcome<()> {
    let server = postgres::durable()?;
    let url = server.new_database().await;
    let shop = Box::pin(open(&url)).await?;
    let mut probe = Probe::connect(&server, &url).await?;
    let mut acts = Acts::prepare(&shop).await?;
    let count = measurement.acts / EACH * EACH;
    println!("{}", heading());
    let mut results = Vec::new();
    for act in Act::ALL {
        let count = match act {
            Act::SignUp => count / EACH,
            Act::Redeem | Act::Buy | Act::Renew => count,
        };
        let measured = Box::pin(acts.measure(&mut probe, act, count)).await?;
        println!("{}", measured.line());
        results.push(measured.json());
    }
    let books = split::read(&mut probe.conn, measurement.partitions()).await?;
    println!("{}", books.line());
    let results = json!({ "acts": results, "books": books.json() });
    program::write_results(measurement.json.as_deref(), &results)?;
    probe.conn.close().await?;
    shop.close().await;
    Ok(())
}

/// Starts a shop in this process; its nightly renewals rest.
async fn open(url: &str) -> Outcome<Shop> {
    let url = url.to_owned();
    let shop = Shop::open_with(Engine::Sqlite, move |config| {
        config.database_url = Some(Secret::new(url));
        // Other tests hash passwords without effort.
        config.accounts.effort = Effort::default();
        if let Ok(off) = "off".parse() {
            config.schedules.daily_renewals = off;
        }
    });
    let shop = Box::pin(shop).await;
    shop.ok_or_else(|| "the shop does not start".into())
}

/// The shop, and the customers that were made.
struct Acts<'a> {
    shop: &'a Shop,
    plan: PlanId,
    coupon: CouponCode,
    users: Vec<UserId>,
}

impl<'a> Acts<'a> {
    /// Makes the coupon, and room in all plans.
    async fn prepare(shop: &'a Shop) -> Outcome<Self> {
        let room =
            "UPDATE service_plans SET total_quota = 1000000, max_instances_per_user = 1000000";
        shop.sql(room).await?;
        let coupon = json!({
            "code": COUPON, "plugin": "coupon-credit-topup", "parameters": { "amount": CREDIT },
        });
        let admin = shop.admin().await;
        admin.post("/api/admin/coupons", coupon).await.data(201);
        let plan = shop.plan("postgresql", "basic").await;
        Ok(Self {
            shop,
            plan: plan.parse().map_err(|_| "a plan without an id")?,
            coupon: COUPON.parse().map_err(|_| "no code of a coupon")?,
            users: Vec::new(),
        })
    }

    async fn measure(&mut self, probe: &mut Probe, act: Act, count: u32) -> Outcome<Measured> {
        if act == Act::Renew {
            self.let_a_month_pass(probe).await;
        }
        let before = probe.read().await?;
        let (used, started) = (probe.watched.used(), Instant::now());
        match act {
            Act::SignUp => self.sign_up(count).await?,
            Act::Redeem => self.redeem().await?,
            Act::Buy => self.buy().await?,
            Act::Renew => self.renew(count).await?,
        }
        let took = started.elapsed();
        if act == Act::Buy {
            probe.until_delivered().await?;
        }
        probe.settle(act).await;
        let used = probe.watched.used().since(used);
        let after = probe.read().await?;
        Ok(Measured::between(
            (act, count),
            &before,
            &after,
            (took, used),
        ))
    }

    async fn sign_up(&mut self, count: u32) -> Outcome<()> {
        for number in 0..count {
            let email = format!("ukur-{number}@example.com");
            let welcome = self.shop.register(&email).await;
            let id = welcome.pointer("/user/id").and_then(Value::as_str);
            let id = id.ok_or("a customer without an id")?.parse::<UserId>();
            self.users.push(id.map_err(|_| "a customer without an id")?);
        }
        Ok(())
    }

    async fn redeem(&self) -> Outcome<()> {
        let coupons = &self.shop.state().coupons;
        for _ in 0..EACH {
            for user in &self.users {
                let redeemed = coupons::redeem(coupons, *user, &self.coupon, Place::Wallet).await?;
                redeemed.commit().await?;
            }
        }
        Ok(())
    }

    async fn buy(&self) -> Outcome<()> {
        let shop = &self.shop.state().subscriptions;
        for _ in 0..EACH {
            for user in &self.users {
                let order = Order {
                    user_id: *user,
                    plan_id: self.plan,
                    term_months: 1,
                    coupon: None,
                    config: json!({}),
                    is_gift: false,
                };
                let bought = Box::pin(subscriptions::buy(shop, &order, None)).await?;
                bought.commit().await?;
            }
        }
        Ok(())
    }

    /// Moves the clock until all periods are over, and waits for the jobs that are due then.
    async fn let_a_month_pass(&self, probe: &Probe) {
        self.shop.clock().advance(TimeDelta::days(MONTH));
        sleep(JOBS_BEGIN).await;
        probe.settle(Act::Renew).await;
    }

    /// Runs the job of a night.
    async fn renew(&self, count: u32) -> Outcome<()> {
        let done = Box::pin(billing::renew_due(&self.shop.state().subscriptions)).await?;
        if done.items == u64::from(count) && done.errors.is_empty() {
            return Ok(());
        }
        let failure = done.errors.first().cloned().unwrap_or_default();
        Err(format!("{} of {count} were renewed. {failure}", done.items).into())
    }
}

impl Probe {
    async fn connect(server: &Postgres, url: &str) -> Outcome<Self> {
        Ok(Self {
            conn: PgConnection::connect(url).await?,
            watched: Watched {
                server: Some(std::process::id()),
                database: server.process_id(),
            },
        })
    }

    async fn read(&mut self) -> Outcome<Reading> {
        let sql = "SELECT relname::text FROM pg_stat_user_tables ORDER BY relname";
        let names: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut self.conn).await?;
        let mut rows = BTreeMap::new();
        for name in names {
            let sql = AssertSqlSafe(format!("SELECT count(*) FROM {name}"));
            let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.conn).await?;
            rows.insert(name, count);
        }
        let sql = "SELECT pg_database_size(current_database())";
        let bytes: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.conn).await?;
        let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
        let wal: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.conn).await?;
        Ok(Reading { bytes, wal, rows })
    }

    /// Waits until server and database are quiet, and says so when they do not become it in time.
    async fn settle(&self, act: Act) {
        if !self.watched.settle().await {
            let name = act.name();
            println!("  around `{name}` there was work for longer than is waited");
        }
    }

    /// Waits until the manifests of all instances are written: what is not delivered is not renewed.
    async fn until_delivered(&mut self) -> Outcome<()> {
        let sql = "SELECT count(*) FROM instances WHERE status <> 'WRITTEN'";
        let deadline = Instant::now() + LONGEST_DELIVERY;
        loop {
            let waiting: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.conn).await?;
            if waiting == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{waiting} instances are not delivered").into());
            }
            sleep(PAUSE).await;
        }
    }
}

impl Measured {
    fn between(
        (act, count): (Act, u32),
        before: &Reading,
        after: &Reading,
        (took, used): (Duration, Used),
    ) -> Self {
        let each = f64::from(count.max(1));
        let ticks = |ticks: u64| ticks as f64 * TICK_MICROS / each;
        let rows = after.rows.iter().filter_map(|(table, rows)| {
            let added = rows - before.rows.get(table).copied().unwrap_or_default();
            (added != 0).then(|| (table.clone(), added as f64 / each))
        });
        Self {
            act,
            count,
            micros: took.as_secs_f64() * 1_000_000.0 / each,
            server_micros: ticks(used.server),
            database_micros: ticks(used.database),
            bytes: (after.bytes - before.bytes) as f64 / each,
            wal_bytes: (after.wal - before.wal) as f64 / each,
            rows: rows.collect(),
        }
    }

    fn line(&self) -> String {
        let rows: f64 = self.rows.values().sum();
        format!(
            "{:8} {:>8} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8.1}",
            self.act.name(),
            self.count,
            grouped(self.micros.round()),
            grouped(self.server_micros.round()),
            grouped(self.database_micros.round()),
            grouped(self.bytes.round()),
            grouped(self.wal_bytes.round()),
            rows
        )
    }

    fn json(&self) -> Value {
        json!({
            "name": self.act.name(),
            "count": self.count,
            "micros": self.micros,
            "serverMicros": self.server_micros,
            "databaseMicros": self.database_micros,
            "bytes": self.bytes.max(0.0),
            "walBytes": self.wal_bytes,
            "rows": self.rows,
        })
    }
}

/// Returns the names of the columns.
fn heading() -> String {
    format!(
        "{:8} {:>8} {:>10} {:>10} {:>10} {:>10} {:>10} {:>8}",
        "act", "times", "us", "server us", "db us", "bytes", "WAL bytes", "rows"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(bytes: i64, rows: &[(&str, i64)]) -> Reading {
        let rows = rows.iter().map(|(name, rows)| ((*name).to_owned(), *rows));
        Reading {
            bytes,
            wal: 2 * bytes,
            rows: rows.collect(),
        }
    }

    #[test]
    fn growth_is_shared_by_the_acts() {
        let before = reading(1_000, &[("users", 5), ("jobs", 3)]);
        let after = reading(5_000, &[("users", 7), ("jobs", 3), ("wallets", 4)]);
        let used = Used {
            server: 3,
            database: 1,
        };
        let of = Measured::between(
            (Act::Redeem, 4),
            &before,
            &after,
            (Duration::from_millis(8), used),
        );
        assert_eq!(
            (of.micros, of.bytes, of.wal_bytes),
            (2_000.0, 1_000.0, 2_000.0)
        );
        assert_eq!((of.server_micros, of.database_micros), (7_500.0, 2_500.0));
        let rows = [("users".to_owned(), 0.5), ("wallets".to_owned(), 1.0)];
        assert_eq!(of.rows, rows.into());
        assert_eq!(of.line().len(), heading().len());
        assert_eq!(of.json()["rows"]["wallets"], 1.0);
    }
}
