//! A year of many customers, day by day: every charge is compared with a plain calculation of its own,
//! where the shop is in Jakarta and where its clocks are moved in summer.

mod acts;
mod comparison;
mod foresight;
mod person;
mod plain;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use dermaga_shop::{
    billing::{process_grace, renew_due, renew_payable},
    db::Clock,
    ids::SubscriptionId,
    scheduler::Outcome,
};
use dermaga_tests::{Client, Engine, Shop};
use serde_json::json;

use self::{
    person::Person,
    plain::{Draws, Plan, Prices, Subscription},
};

/// A year and some weeks, so that terms of twelve months are renewed.
const DAYS: usize = 400;
/// Customers, unless `DERMAGA_TEST_CUSTOMERS` says another number.
const CUSTOMERS: usize = 30;
/// First draw of the year, unless `DERMAGA_TEST_SEED` says another one.
const SEED: u64 = 2_026;
/// Days on which a plan becomes dearer, by how many rupiah a month.
const DEARER: [(usize, Plan, i64); 2] = [(150, Plan::Database, 12_000), (230, Plan::Basic, 3_333)];
/// Time that the test itself takes for a step of a day, at most.
const STEP: TimeDelta = TimeDelta::minutes(2);

struct World {
    shop: Shop,
    admin: Client,
    zone: Tz,
    prices: Prices,
    /// Service and id of each plan.
    plans: [(Plan, &'static str, String); 3],
    people: Vec<Person>,
    draws: Draws,
    day: usize,
    /// Moment of the last night's jobs.
    night: DateTime<Utc>,
    /// Events of the year.
    events: BTreeMap<&'static str, usize>,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

async fn shop_in(engine: Engine, zone: Tz) -> Option<Shop> {
    Shop::open_at(engine, Clock::movable(), |config| {
        config.billing_timezone = zone;
        let long = Duration::from_secs(500 * 86_400);
        // The clients keep their sessions for the whole year.
        config.accounts.access_token_lifetime = long;
        config.accounts.refresh_token_lifetime = long;
        // Or every instance is written again on each day.
        config.provisioning.resync = long;
        // The test runs these itself, at moments that the calculation knows.
        config.schedules.daily_renewals = "off".parse().unwrap();
        config.schedules.grace_period = "off".parse().unwrap();
    })
    .await
}

impl World {
    async fn open(engine: Engine, zone: Tz) -> Option<Self> {
        let shop = shop_in(engine, zone).await?;
        let most =
            "UPDATE service_plans SET total_quota = 1000000, max_instances_per_user = 1000000";
        shop.sql(most).await.unwrap();
        let price = async |service: &str| {
            let view = shop.plan_view(service, "basic").await;
            view["monthlyPrice"].as_i64().unwrap()
        };
        let prices = Prices {
            database: price("postgresql").await,
            basic: price("n8n").await,
        };
        let plans = [
            (Plan::Database, "postgresql", "basic"),
            (Plan::Basic, "n8n", "basic"),
            (Plan::Pro, "n8n", "pro"),
        ];
        let [database, basic, pro] = plans.map(async |(plan, service, slug)| {
            let id = shop.plan(service, slug).await;
            (plan, service, id)
        });
        let plans = [database.await, basic.await, pro.await];
        let admin = shop.admin().await;
        for coupon in [
            json!({ "code": "SEPERTUJUH", "plugin": "coupon-subscription-discount", "lasts": 3,
                "parameters": { "percent": 14 }, "maxUsesPerUser": 1_000 }),
            json!({ "code": "DUABULAN", "plugin": "coupon-free-service",
                "parameters": { "periods": 2 }, "maxUsesPerUser": 1_000 }),
        ] {
            admin.post("/api/admin/coupons", coupon).await.data(201);
        }
        let seed = number("DERMAGA_TEST_SEED").unwrap_or(SEED);
        println!("DERMAGA_TEST_SEED={seed} repeats this year");
        Some(Self {
            people: people(&shop).await,
            night: shop.clock().now(),
            draws: Draws(seed),
            events: BTreeMap::new(),
            day: 0,
            admin,
            zone,
            prices,
            plans,
            shop,
        })
    }

    fn plan(&self, plan: Plan) -> &str {
        let mut plans = self.plans.iter();
        let (_, _, id) = plans.find(|(one, ..)| *one == plan).unwrap();
        id
    }

    fn count(&mut self, event: &'static str, times: usize) {
        *self.events.entry(event).or_default() += times;
    }

    /// Returns the moment of an hour and a minute on the shop's day, so many days later.
    fn at(&self, days: i64, (hour, minute): (u32, u32)) -> DateTime<Utc> {
        let then = self
            .shop
            .clock()
            .now()
            .with_timezone(&self.zone)
            .date_naive();
        let then = then + TimeDelta::days(days);
        let wall = then.and_hms_opt(hour, minute, 0).unwrap();
        let moment = self.zone.from_local_datetime(&wall).single();
        moment.expect("clocks are moved at night").to_utc()
    }

    fn go_to(&self, then: DateTime<Utc>) {
        let by = then - self.shop.clock().now();
        assert!(by > TimeDelta::zero(), "the day was too long");
        self.shop.clock().advance(by);
    }

    /// Returns a minute of this evening at which nothing ends, so that the seconds of the test itself
    /// decide nothing.
    fn evening(&self) -> DateTime<Utc> {
        let zone = self.zone;
        let ends: Vec<_> = self
            .people
            .iter()
            .flat_map(|person| &person.subscriptions)
            .flat_map(|one| {
                [
                    Some(one.end(zone)),
                    Some(one.grace(zone)),
                    one.kept_until(zone),
                ]
            })
            .flatten()
            .collect();
        let mut minutes = (0..60).map(|minute| self.at(0, (18, minute)));
        let quiet = minutes.find(|then| ends.iter().all(|end| (*end - *then).abs() > STEP));
        quiet.expect("a quiet minute of the evening")
    }

    /// The jobs of the day, and the same by the calculation.
    async fn pass_night(&mut self) {
        self.go_to(self.evening());
        let foreseen = self.preview().await;
        let subscriptions = &self.shop.state().subscriptions;
        while dealt(&renew_due(subscriptions).await.unwrap()) > 0 {}
        dealt(&process_grace(subscriptions).await.unwrap());
        if let Some(foreseen) = foreseen {
            self.came_true(&foreseen).await;
        }
        self.night = self.shop.clock().now();
        for who in 0..self.people.len() {
            let events = self.people[who].pass_night(self.zone, self.night);
            self.count("renewals", events.renewed);
            self.count("frozen", events.frozen);
            self.count("suspended", events.suspended);
            self.count("ended unpaid", events.ended);
        }
        self.settle().await;
        self.agree().await;
    }

    /// Acts of the customers at noon: some of those that owe pay, the others buy and change.
    async fn pass_noon(&mut self) {
        self.go_to(self.at(1, (12, 0)));
        for (day, plan, by) in DEARER {
            if day == self.day {
                self.make_dearer(plan, by).await;
            }
        }
        let mut paying = Vec::new();
        for who in 0..self.people.len() {
            let now = self.shop.clock().now();
            let ends_now = |one: &Subscription| {
                let end = one.end(self.zone);
                end > self.night && end < now + TimeDelta::hours(1)
            };
            if self.people[who].subscriptions.iter().any(ends_now) {
                continue;
            }
            match self.people[who].owed(self.zone, now) {
                0 => self.act(who).await,
                owed if self.draws.happens(120) => {
                    self.top_up(who, owed).await;
                    paying.push(who);
                }
                _ => {}
            }
        }
        if !paying.is_empty() {
            renew_payable(&self.shop.state().subscriptions)
                .await
                .unwrap();
            for who in paying {
                self.resume(who).await;
            }
        }
        self.settle().await;
        self.follow_deliveries().await;
    }

    /// Lets first periods begin at their delivery where that waited for more than a minute, as on a busy machine.
    async fn follow_deliveries(&mut self) {
        let mut conn = self.shop.state().db.read().await.unwrap();
        let sql = "SELECT id, delivered_at FROM subscriptions WHERE period_number = 1 AND delivered_at IS NOT NULL";
        let rows = dermaga_shop::fetch_all!(conn, (SubscriptionId, DateTime<Utc>), sql).unwrap();
        drop(conn);
        let delivered: BTreeMap<_, _> = rows
            .into_iter()
            .map(|(id, at)| (id.to_string(), at))
            .collect();
        let people = self.people.iter_mut();
        for one in people.flat_map(|person| &mut person.subscriptions) {
            let Some(at) = delivered.get(&one.id) else {
                continue;
            };
            let wait = *at - one.begun;
            if wait > TimeDelta::minutes(1) {
                one.anchor += wait;
                one.begun = *at;
            }
        }
    }

    /// Waits until every instance is as it was last wanted, and the shop has noted so.
    async fn settle(&self) {
        for _ in 0..6_000 {
            let mut conn = self.shop.state().db.read().await.unwrap();
            let sql = "SELECT count(*) FROM instances WHERE observed_generation < generation AND status <> 'TERMINATED'";
            let (waiting,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
            let sql = "SELECT count(*) FROM subscriptions WHERE delivered_at IS NULL AND status = 'ACTIVE'";
            let (unnoted,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
            drop(conn);
            if waiting + unnoted == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("day {}: an instance is not as it is wanted", self.day);
    }
}

async fn people(shop: &Shop) -> Vec<Person> {
    let count = number("DERMAGA_TEST_CUSTOMERS").map_or(CUSTOMERS, |it| it.try_into().unwrap());
    let mut people = Vec::new();
    for client in shop.many_customers(count).await {
        let profile = client.get("/api/auth/profile").await.data(200);
        people.push(Person {
            client,
            id: profile["id"].as_str().unwrap().to_owned(),
            balance: 0,
            account: Vec::new(),
            subscriptions: Vec::new(),
        });
    }
    people
}

/// Returns the number of subscriptions that a job has dealt with.
fn dealt(outcome: &Outcome) -> u64 {
    assert_eq!(outcome.errors, Vec::<String>::new());
    outcome.items
}

async fn year(engine: Engine, zone: Tz) {
    let Some(mut world) = World::open(engine, zone).await else {
        return;
    };
    let started = Instant::now();
    for day in 0..DAYS {
        world.day = day;
        world.pass_noon().await;
        world.pass_night().await;
    }
    world.compare().await;
    let (customers, seconds) = (world.people.len(), started.elapsed().as_secs());
    println!("{DAYS} days of {customers} customers in {zone} on {engine:?}: {seconds} seconds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_charge_of_a_year_in_jakarta_is_as_calculated() {
    Box::pin(year(Engine::Sqlite, chrono_tz::Asia::Jakarta)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_charge_of_a_year_with_summer_time_is_as_calculated() {
    Box::pin(year(Engine::Postgres, chrono_tz::Europe::Berlin)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "one engine for each zone is enough for every change; .ci/long runs it"]
async fn every_charge_of_a_year_in_jakarta_is_as_calculated_on_postgres() {
    Box::pin(year(Engine::Postgres, chrono_tz::Asia::Jakarta)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "one engine for each zone is enough for every change; .ci/long runs it"]
async fn every_charge_of_a_year_with_summer_time_is_as_calculated_on_sqlite() {
    Box::pin(year(Engine::Sqlite, chrono_tz::Europe::Berlin)).await;
}
