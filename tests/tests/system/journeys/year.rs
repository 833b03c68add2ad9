//! A year of many customers, day by day: every charge is compared with a plain calculation of its own,
//! where the shop is in Jakarta and where its clocks are moved in summer.

use std::{fmt, time::Duration};

use chrono::{DateTime, Months, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use dermaga_shop::{
    billing::{process_grace, renew_due},
    db::Clock,
};
use dermaga_tests::{Client, Engine, Shop};
use serde_json::{Value, json};

use crate::{api::plan_changes::settled, journeys::renewal::moment};

const DAYS: usize = 365;
/// Customers, unless `DERMAGA_TEST_CUSTOMERS` says another number.
const CUSTOMERS: usize = 30;
/// First draw of the year, unless `DERMAGA_TEST_SEED` says another one.
const SEED: u64 = 2_026;
/// The day on which a plan becomes dearer, and the days until its customers pay that.
const DEARER_ON: usize = 150;
const NOTICE: i64 = 35;
/// Most rupiah by which a part of a period can differ, as time passes between two requests.
const MOVED: i64 = 5;
const REASON: &str = "The price list of the year.";

/// Repeatable draws (SplitMix64).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(most).unwrap()).unwrap()
    }

    /// True so many times of a thousand.
    fn happens(&mut self, permille: usize) -> bool {
        self.below(1_000) < permille
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Database,
    Basic,
    Pro,
}

/// Prices as the price list has them; the first changes in the year.
struct Prices {
    database: i64,
}

impl Prices {
    fn month(&self, plan: Plan) -> i64 {
        match plan {
            Plan::Database => self.database,
            Plan::Basic => 50_000,
            Plan::Pro => 150_000,
        }
    }

    fn term(&self, plan: Plan, months: u32) -> i64 {
        match (plan, months) {
            (Plan::Basic, 6) => 270_000,
            (Plan::Basic, 12) => 510_000,
            (Plan::Pro, 12) => 1_500_000,
            _ => self.month(plan) * i64::from(months),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coupon {
    /// A fifth off for three months.
    Fifth,
    /// Two months free.
    Free,
}

impl Coupon {
    const fn code(self) -> &'static str {
        match self {
            Self::Fifth => "SEPERLIMA",
            Self::Free => "DUABULAN",
        }
    }

    const fn months(self) -> u32 {
        match self {
            Self::Fifth => 3,
            Self::Free => 2,
        }
    }

    /// Returns what it takes off the price of so many months, of which it lasts for some.
    fn discount(self, price: i64, months: u32, left: u32) -> i64 {
        let off = match self {
            Self::Fifth => price * 20 / 100,
            Self::Free => price,
        };
        off * i64::from(left.min(months)) / i64::from(months)
    }
}

#[derive(Debug)]
struct Subscription {
    id: String,
    instance: String,
    plan: Plan,
    months: u32,
    /// Price of a period.
    price: i64,
    /// Another price, of the periods that begin from a moment on.
    next: Option<(i64, DateTime<Utc>)>,
    coupon: Option<(Coupon, u32)>,
    anchor: DateTime<Utc>,
    /// Months from the anchor to the end of the last paid period.
    passed: u32,
    /// Begin and payment of the last paid period.
    begun: DateTime<Utc>,
    paid: i64,
}

impl Subscription {
    fn end(&self, zone: Tz) -> DateTime<Utc> {
        (self.anchor.with_timezone(&zone) + Months::new(self.passed)).to_utc()
    }

    /// Returns what the next period costs.
    fn due(&self, zone: Tz) -> i64 {
        let begins = self.end(zone);
        let price = match self.next {
            Some((price, from)) if begins >= from => price,
            _ => self.price,
        };
        let off = self.coupon.map_or(0, |(coupon, left)| {
            coupon.discount(price, self.months, left)
        });
        price - off
    }

    /// Moves to the next period; returns its charge.
    fn go_on(&mut self, zone: Tz) -> i64 {
        let (due, begins) = (self.due(zone), self.end(zone));
        if let Some((price, from)) = self.next
            && begins >= from
        {
            (self.price, self.next) = (price, None);
        }
        if let Some((_, left)) = &mut self.coupon {
            *left = left.saturating_sub(self.months);
        }
        (self.begun, self.paid) = (begins, due);
        self.passed += self.months;
        due
    }

    /// Returns the price of the rest of the period in another plan, less what is left of the payment.
    fn upgrade(&self, (whole, price): (i64, i64), now: DateTime<Utc>, zone: Tz) -> i64 {
        let end = self.end(zone);
        let part =
            |amount: i64| amount * (end - now).num_seconds() / (end - self.begun).num_seconds();
        let rest = part(whole);
        let reduced = rest - rest * (whole - price) / whole;
        (reduced - part(self.paid)).max(0)
    }
}

struct Person {
    client: Client,
    id: String,
    balance: i64,
    /// Charges and top-ups in their order.
    account: Vec<i64>,
    /// True when something was booked since the last comparison.
    has_changed: bool,
    subscriptions: Vec<Subscription>,
}

impl Person {
    fn book(&mut self, amount: i64) {
        self.balance += amount;
        if amount != 0 {
            self.account.push(amount);
        }
    }

    /// Pays what has begun, the longest overdue first, one period of each at a time.
    fn renew(&mut self, zone: Tz, now: DateTime<Utc>) {
        loop {
            self.subscriptions
                .sort_by_key(|one| (one.end(zone), one.id.clone()));
            let balance = self.balance;
            let payable = self
                .subscriptions
                .iter_mut()
                .find(|one| one.end(zone) <= now && one.due(zone) <= balance);
            let Some(one) = payable else { return };
            let due = one.go_on(zone);
            self.book(-due);
        }
    }

    /// Returns what it owes for periods that have begun.
    fn owed(&self, zone: Tz, now: DateTime<Utc>) -> i64 {
        let begun = self.subscriptions.iter().filter(|one| one.end(zone) <= now);
        begun.map(|one| one.due(zone)).sum()
    }
}

struct World {
    shop: Shop,
    admin: Client,
    zone: Tz,
    prices: Prices,
    /// Id of each plan.
    plans: [(Plan, String); 3],
    people: Vec<Person>,
    draws: Draws,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

impl World {
    async fn open(engine: Engine, zone: Tz) -> Option<Self> {
        let shop = Shop::open_at(engine, Clock::movable(), |config| {
            config.billing_timezone = zone;
            // The clients keep their sessions for the whole year.
            let long = Duration::from_secs(500 * 86_400);
            config.accounts.access_token_lifetime = long;
            config.accounts.refresh_token_lifetime = long;
        })
        .await?;
        let plans = [
            (Plan::Database, shop.plan("postgresql", "basic").await),
            (Plan::Basic, shop.plan("n8n", "basic").await),
            (Plan::Pro, shop.plan("n8n", "pro").await),
        ];
        let most =
            "UPDATE service_plans SET total_quota = 1000000, max_instances_per_user = 1000000";
        shop.sql(most).await.unwrap();
        let database = shop.plan_view("postgresql", "basic").await["monthlyPrice"].as_i64();
        let admin = shop.admin().await;
        for coupon in [
            json!({ "code": "SEPERLIMA", "plugin": "coupon-subscription-discount", "lasts": 3,
                "parameters": { "percent": 20 }, "maxUsesPerUser": 1_000 }),
            json!({ "code": "DUABULAN", "plugin": "coupon-free-service",
                "parameters": { "periods": 2 }, "maxUsesPerUser": 1_000 }),
        ] {
            admin.post("/api/admin/coupons", coupon).await.data(201);
        }
        let count = number("DERMAGA_TEST_CUSTOMERS").map_or(CUSTOMERS, |it| it.try_into().unwrap());
        let mut people = Vec::new();
        for number in 0..count {
            let client = shop.customer(&format!("tahun-{number}@example.com")).await;
            let profile = client.get("/api/auth/profile").await.data(200);
            people.push(Person {
                client,
                id: profile["id"].as_str().unwrap().to_owned(),
                balance: 0,
                account: Vec::new(),
                has_changed: false,
                subscriptions: Vec::new(),
            });
        }
        // Noon, so that no act falls into an hour that is skipped or repeated.
        let now = shop.clock().now().with_timezone(&zone);
        let noon = (now + TimeDelta::days(1))
            .date_naive()
            .and_hms_opt(12, 0, 0)
            .unwrap();
        let noon = zone.from_local_datetime(&noon).unwrap().to_utc();
        shop.clock().advance(noon - shop.clock().now());
        let seed = number("DERMAGA_TEST_SEED").unwrap_or(SEED);
        println!("DERMAGA_TEST_SEED={seed} repeats this year");
        Some(Self {
            admin,
            zone,
            prices: Prices {
                database: database.unwrap(),
            },
            plans,
            people,
            draws: Draws(seed),
            shop,
        })
    }

    fn plan(&self, plan: Plan) -> &str {
        let mut plans = self.plans.iter();
        let (_, id) = plans.find(|(one, _)| *one == plan).unwrap();
        id
    }

    /// Moves the clock to an hour where the shop is, so many days later.
    fn go_to(&self, days: i64, hour: u32) {
        let then = self.shop.clock().now().with_timezone(&self.zone) + TimeDelta::days(days);
        let then = then.date_naive().and_hms_opt(hour, 0, 0).unwrap();
        let then = self.zone.from_local_datetime(&then).unwrap().to_utc();
        self.shop.clock().advance(then - self.shop.clock().now());
    }

    /// Renews in the evening, when every period that ends on this day has ended, and acts at noon.
    async fn day(&mut self, day: usize) {
        self.go_to(0, 18);
        let subscriptions = &self.shop.state().subscriptions;
        while renew_due(subscriptions).await.unwrap().items > 0 {}
        process_grace(subscriptions).await.unwrap();
        let now = self.shop.clock().now();
        for person in &mut self.people {
            let booked = person.account.len();
            person.renew(self.zone, now);
            person.has_changed |= booked != person.account.len();
        }
        for who in 0..self.people.len() {
            if self.people[who].has_changed || day % 7 == who % 7 {
                self.agree(who, day).await;
                self.people[who].has_changed = false;
            }
        }
        self.go_to(1, 12);
        if day == DEARER_ON {
            self.make_dearer().await;
        }
        let now = self.shop.clock().now();
        let before = now - TimeDelta::hours(1);
        for who in 0..self.people.len() {
            let person = &self.people[who];
            let booked = person.account.len();
            let ends_now =
                |one: &Subscription| (one.end(self.zone) - now).abs() < TimeDelta::hours(1);
            let owes = person.owed(self.zone, before);
            if person.subscriptions.iter().any(ends_now) {
                continue;
            }
            if owes > 0 {
                self.fall_behind(who, owes, before).await;
            } else {
                self.act(who).await;
            }
            self.people[who].has_changed = booked != self.people[who].account.len();
        }
    }

    /// Pays all that is owed on some days, and loses what was not paid for too long.
    async fn fall_behind(&mut self, who: usize, owes: i64, now: DateTime<Utc>) {
        if self.draws.happens(120) {
            let person = &mut self.people[who];
            let (owed_by, admin) = (person.id.clone(), &self.admin);
            let body = json!({ "amount": owes, "kind": "PAID", "reason": REASON });
            let path = format!("/api/admin/wallets/{owed_by}/add-credit");
            admin.post(&path, body).await.data(201);
            person.book(owes);
            self.resume(who, now).await;
            return;
        }
        let zone = self.zone;
        let person = &mut self.people[who];
        let mut kept = Vec::new();
        for one in person.subscriptions.drain(..) {
            let path = format!("/api/subscriptions/{}", one.id);
            let is_over = one.end(zone) <= now
                && person.client.get(&path).await.data(200)["status"] == "EXPIRED";
            if !is_over {
                kept.push(one);
            }
        }
        person.subscriptions = kept;
    }

    /// Lets the shop take what is owed. A period that begins after a suspension begins now.
    async fn resume(&mut self, who: usize, now: DateTime<Utc>) {
        let zone = self.zone;
        let person = &mut self.people[who];
        let mut charges = Vec::new();
        for one in person
            .subscriptions
            .iter_mut()
            .filter(|one| one.end(zone) <= now)
        {
            let path = format!("/api/subscriptions/{}", one.id);
            let seen = eventually(&path, async || {
                let seen = person.client.get(&path).await.data(200);
                (seen["status"] == "ACTIVE").then_some(seen)
            })
            .await;
            let begins = moment(&seen["periodStart"]);
            let due = one.go_on(zone);
            if begins > one.begun {
                // As long as it was switched off, its months move on.
                one.anchor += begins - one.begun;
                one.begun = begins;
                assert!(now - begins < TimeDelta::days(22), "{seen:#}");
            }
            let end = moment(&seen["periodEnd"]);
            let off = (end - one.end(zone)).abs();
            assert!(
                off < TimeDelta::hours(2),
                "{end}, not {}: {seen:#}",
                one.end(zone)
            );
            one.anchor += end - one.end(zone);
            charges.push(due);
        }
        for due in charges {
            person.book(-due);
        }
    }

    async fn act(&mut self, who: usize) {
        if self.draws.happens(60) {
            let amount = i64::try_from(50_000 + self.draws.below(700_000)).unwrap();
            let body = json!({ "amount": amount, "kind": "PAID", "reason": REASON });
            let path = format!("/api/admin/wallets/{}/add-credit", self.people[who].id);
            self.admin.post(&path, body).await.data(201);
            self.people[who].book(amount);
        }
        if self.draws.happens(25) {
            self.buy(who).await;
        }
        if self.draws.happens(10) {
            self.upgrade(who).await;
        }
        if self.draws.happens(4) && !self.people[who].subscriptions.is_empty() {
            let at = self.draws.below(self.people[who].subscriptions.len());
            let person = &mut self.people[who];
            let gone = person.subscriptions.swap_remove(at);
            let path = format!("/api/subscriptions/{}", gone.id);
            person.client.delete(&path).await.data(200);
        }
    }

    async fn buy(&mut self, who: usize) {
        let plan = self
            .draws
            .one_of(&[Plan::Database, Plan::Basic, Plan::Basic, Plan::Pro]);
        let months = match plan {
            Plan::Database => 1,
            Plan::Basic => self.draws.one_of(&[1, 1, 6, 12]),
            Plan::Pro => self.draws.one_of(&[1, 12]),
        };
        let coupon = self
            .draws
            .one_of(&[None, None, Some(Coupon::Fifth), Some(Coupon::Free)]);
        let price = self.prices.term(plan, months);
        let off = coupon.map_or(0, |coupon| coupon.discount(price, months, coupon.months()));
        let order = json!({ "planId": self.plan(plan), "termMonths": months, "couponCode": coupon.map(Coupon::code) });
        let person = &mut self.people[who];
        let answer = person.client.post("/api/subscriptions", order).await;
        if person.balance < price - off {
            answer.fails(402, "INSUFFICIENT_CREDIT");
            return;
        }
        let bought = answer.data(201);
        assert_eq!(bought["charged"], price - off, "{bought:#}");
        person.book(off - price);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let instance = text(&bought["instanceId"]);
        self.shop
            .instance_becomes(&person.client, &instance, "RUNNING")
            .await;
        // The first period begins when the service is there.
        let path = format!("/api/subscriptions/{}", text(&bought["subscription"]["id"]));
        let begun = moment(&person.client.get(&path).await.data(200)["periodStart"]);
        person.subscriptions.push(Subscription {
            id: text(&bought["subscription"]["id"]),
            instance,
            plan,
            months,
            price,
            next: None,
            coupon: coupon.map(|coupon| (coupon, coupon.months().saturating_sub(months))),
            anchor: begun,
            passed: months,
            begun,
            paid: price - off,
        });
    }

    /// Upgrades the first subscription that can be.
    async fn upgrade(&mut self, who: usize) {
        let (zone, now) = (self.zone, self.shop.clock().now());
        let pro = json!({ "planId": self.plan(Plan::Pro) });
        let person = &mut self.people[who];
        let can_be = |one: &&mut Subscription| {
            one.plan == Plan::Basic
                && one.months != 6
                && one.coupon.is_none_or(|(_, left)| left == 0)
        };
        let Some(one) = person.subscriptions.iter_mut().find(can_be) else {
            return;
        };
        let price = self.prices.term(Plan::Pro, one.months);
        let whole = self.prices.month(Plan::Pro) * i64::from(one.months);
        let expected = one.upgrade((whole, price), now, zone);
        let path = format!("/api/subscriptions/{}/upgrade", one.id);
        let answer = person.client.put(&path, pro).await;
        if person.balance < expected - MOVED {
            answer.fails(402, "INSUFFICIENT_CREDIT");
            return;
        }
        let made = answer.data(200);
        let charged = made["charged"].as_i64().unwrap();
        assert!(
            (charged - expected).abs() <= MOVED,
            "{charged}, not {expected}: {made:#}"
        );
        (one.plan, one.price, one.coupon) = (Plan::Pro, price, None);
        let instance = one.instance.clone();
        person.book(-charged);
        self.shop
            .instance_becomes(&person.client, &instance, "RUNNING")
            .await;
        settled(&self.shop).await;
    }

    /// Makes the databases dearer, for those who have one after a notice.
    async fn make_dearer(&mut self) {
        let found = self
            .admin
            .get("/api/admin/services?q=postgresql")
            .await
            .data(200);
        let service = found[0]["id"].as_str().unwrap();
        let path = format!(
            "/api/admin/services/{service}/plans/{}",
            self.plan(Plan::Database)
        );
        self.prices.database += 12_000;
        let body = json!({ "monthlyPrice": self.prices.database, "reason": REASON });
        self.admin.put(&path, body).await.data(200);
        let from = self.shop.clock().now() + TimeDelta::days(NOTICE);
        let mut ids = Vec::new();
        for one in self
            .people
            .iter_mut()
            .flat_map(|person| &mut person.subscriptions)
        {
            if one.plan == Plan::Database {
                one.next = Some((self.prices.database, from));
                ids.push(one.id.clone());
            }
        }
        for ids in ids.chunks(50) {
            let body = json!({ "subscriptionIds": ids, "effectiveAt": from, "reason": REASON });
            self.admin
                .post(&format!("{path}/price-moves"), body)
                .await
                .data(201);
        }
    }

    /// Waits until the shop and the calculation have the same rupiah.
    async fn agree(&self, who: usize, day: usize) {
        let person = &self.people[who];
        for _ in 0..600 {
            let wallet = person.client.get("/api/wallet/info").await.data(200);
            if wallet["totalBalance"] == person.balance {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let seen = person.client.get("/api/wallet/transactions?limit=10").await;
        let seen = seen.data(200);
        let rows = seen.as_array().unwrap().iter();
        let seen: Vec<_> = rows
            .map(|one| (&one["amount"], &one["description"], &one["createdAt"]))
            .collect();
        panic!(
            "customer {who} on day {day}, newest first: {seen:#?}\nby the calculation {:?}, and owed {}: {:#?}",
            person.account,
            person.owed(self.zone, self.shop.clock().now()),
            person.subscriptions
        );
    }

    /// Compares every charge and every top-up of the year.
    async fn compare(&self) {
        let mut charges = 0;
        for (who, person) in self.people.iter().enumerate() {
            let mut amounts = Vec::new();
            for page in 1.. {
                let path = format!("/api/wallet/transactions?limit=100&page={page}");
                let found = person.client.get(&path).await.data(200).clone();
                let found = found.as_array().unwrap();
                amounts.extend(found.iter().map(|one| one["amount"].as_i64().unwrap()));
                if found.len() < 100 {
                    break;
                }
            }
            amounts.retain(|amount| *amount != 0);
            let mut account = person.account.clone();
            // Several of one instant have no order.
            amounts.sort_unstable();
            account.sort_unstable();
            assert_eq!(amounts, account, "customer {who}");
            charges += account.iter().filter(|amount| **amount < 0).count();
        }
        println!("{charges} charges of {} customers agree", self.people.len());
        assert!(charges > self.people.len(), "nothing happened");
        self.shop.books_balance().await;
    }
}

async fn eventually<T>(what: impl fmt::Display, mut seen: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = seen().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never: {what}");
}

async fn year(engine: Engine, zone: Tz) {
    let Some(mut world) = World::open(engine, zone).await else {
        return;
    };
    for day in 0..DAYS {
        world.day(day).await;
    }
    world.compare().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes, and has not run to its end yet"]
async fn every_charge_of_a_year_in_jakarta_is_as_calculated() {
    Box::pin(year(Engine::Sqlite, chrono_tz::Asia::Jakarta)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes, and has not run to its end yet"]
async fn every_charge_of_a_year_with_summer_time_is_as_calculated() {
    Box::pin(year(Engine::Postgres, chrono_tz::Europe::Berlin)).await;
}
