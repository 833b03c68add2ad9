//! Plays random histories of three customers to the shop and to a simple model: after every
//! operation both must hold the same rupiah.

mod person;
mod requests;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dermaga::sandbox::Action;
use dermaga_shop::billing::renew_due;
use dermaga_tests::Engine;
use proptest::{
    collection::vec,
    prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof},
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};
use serde_json::{Value, json};

use self::{
    person::{Person, Subscription},
    requests::{adjust, buy, settled, upgrade},
};
use crate::api::payments::Till;

const CUSTOMERS: usize = 3;
const ACTS: usize = 450;
/// Number of histories on each engine.
const HISTORIES: u32 = 3;
const REASON: &str = "A random correction of the model.";
const GIFT: i64 = 7_000;
/// Time longer than any period, so that every subscription becomes due.
const MONTH: TimeDelta = TimeDelta::days(31);
/// Most rupiah by which an upgrade can become cheaper between its quote and its purchase.
const MOVED: i64 = 100;

/// One operation. `who` and `which` are taken modulo the number of candidates.
#[derive(Debug, Clone, Copy)]
enum Act {
    TopUp(i64),
    /// The bank takes back the whole of an earlier top-up.
    Chargeback(usize),
    Redeem,
    Add(i64, Kind),
    Deduct(i64, Option<Kind>),
    Buy(Bought),
    Upgrade(usize),
    Refund(usize, i64),
    Cancel(usize),
    /// Days pass for all customers, but no period ends.
    Days(i64),
    /// A month passes for all customers: subscriptions that can be paid are renewed, others are
    /// ended.
    Month,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Paid,
    Bonus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bought {
    Database,
    WorkflowsFree,
    Workflows,
    WorkflowsPro,
}

fn acts() -> BoxedStrategy<Vec<(usize, Act)>> {
    let amount = || 1..=60_000_i64;
    let kind = || prop_oneof![Just(Kind::Paid), Just(Kind::Bonus)];
    let act = prop_oneof![
        4 => (10_000..=90_000_i64).prop_map(Act::TopUp),
        2 => any::<usize>().prop_map(Act::Chargeback),
        4 => Just(Act::Redeem),
        3 => (amount(), kind()).prop_map(|(amount, kind)| Act::Add(amount, kind)),
        4 => (amount(), proptest::option::of(kind())).prop_map(|(amount, kind)| Act::Deduct(amount, kind)),
        4 => prop_oneof![Just(Bought::Database), Just(Bought::WorkflowsFree), Just(Bought::Workflows)].prop_map(Act::Buy),
        2 => any::<usize>().prop_map(Act::Upgrade),
        1 => (1..=9_i64).prop_map(Act::Days),
        3 => (any::<usize>(), amount()).prop_map(|(which, amount)| Act::Refund(which, amount)),
        3 => any::<usize>().prop_map(Act::Cancel),
        1 => Just(Act::Month),
    ];
    vec((0..CUSTOMERS, act), ACTS).boxed()
}

struct Plans {
    database: Value,
    workflows_free: Value,
    workflows: Value,
    workflows_pro: Value,
}

impl Plans {
    const fn of(&self, plan: Bought) -> &Value {
        match plan {
            Bought::Database => &self.database,
            Bought::WorkflowsFree => &self.workflows_free,
            Bought::Workflows => &self.workflows,
            Bought::WorkflowsPro => &self.workflows_pro,
        }
    }

    fn price(&self, plan: Bought) -> i64 {
        self.of(plan)["monthlyPrice"].as_i64().unwrap()
    }

    fn most(&self, plan: Bought) -> usize {
        let most = self.of(plan)["maxInstancesPerUser"].as_u64().unwrap();
        usize::try_from(most).unwrap()
    }
}

struct World {
    till: Till,
    plans: Plans,
    people: Vec<Person>,
}

impl World {
    async fn open(engine: Engine) -> Option<Self> {
        let till = Till::open(engine).await?;
        let shop = &till.shop;
        let plans = Plans {
            database: shop.plan_view("postgresql", "basic").await,
            workflows_free: shop.plan_view("n8n", "free").await,
            workflows: shop.plan_view("n8n", "basic").await,
            workflows_pro: shop.plan_view("n8n", "pro").await,
        };
        for plan in [
            &plans.database,
            &plans.workflows_free,
            &plans.workflows,
            &plans.workflows_pro,
        ] {
            shop.leave_quota(plan["id"].as_str().unwrap(), 10_000).await;
        }
        let mut people = Vec::new();
        for number in 0..CUSTOMERS {
            let email = format!("model-{number}@example.com");
            let client = shop.customer(&email).await;
            let profile = client.get("/api/auth/profile").await.data(200);
            people.push(Person {
                client,
                email,
                id: profile["id"].as_str().unwrap().to_owned(),
                paid: 0,
                bonus: 0,
                debts: 0,
                top_ups: Vec::new(),
                subscriptions: Vec::new(),
            });
        }
        let gift = json!({ "code": "GIFT", "plugin": "coupon-credit-topup", "parameters": { "amount": GIFT } });
        till.admin.post("/api/admin/coupons", gift).await.data(201);
        Some(Self {
            till,
            plans,
            people,
        })
    }

    async fn play(&mut self, who: usize, act: Act) {
        let Self {
            till,
            plans,
            people,
        } = self;
        let person = &mut people[who];
        match act {
            Act::TopUp(amount) => {
                let top_up = till.paid(&person.client, amount).await;
                person.receive(amount);
                person.top_ups.push((top_up, amount));
            }
            Act::Chargeback(which) if !person.top_ups.is_empty() => {
                let (top_up, amount) = person.top_ups.swap_remove(which % person.top_ups.len());
                till.act(&top_up, Action::Chargeback);
                till.notify(&top_up).await.data(200);
                let held = person.paid.min(amount);
                person.paid -= held;
                person.debts += amount - held;
            }
            Act::Redeem => {
                let code = json!({ "couponCode": "GIFT" });
                let redeemed = person.client.post("/api/wallet/redeem-coupon", code);
                redeemed.await.data(201);
                person.bonus += GIFT;
            }
            Act::Add(amount, kind) => {
                adjust(till, person, "add", amount, Some(kind))
                    .await
                    .data(201);
                match kind {
                    Kind::Paid => person.paid += amount,
                    Kind::Bonus => person.bonus += amount,
                }
            }
            Act::Deduct(amount, kind) => {
                let answer = adjust(till, person, "deduct", amount, kind).await;
                let is_enough = match kind {
                    Some(Kind::Paid) if person.paid >= amount => {
                        person.paid -= amount;
                        true
                    }
                    Some(Kind::Bonus) if person.bonus >= amount => {
                        person.bonus -= amount;
                        true
                    }
                    Some(_) => false,
                    None => person.spend(amount).is_some(),
                };
                settled(answer, is_enough);
            }
            Act::Buy(plan) => buy(person, plans, plan).await,
            Act::Upgrade(which) => upgrade(till, person, plans, which).await,
            Act::Refund(which, amount) if !person.subscriptions.is_empty() => {
                let which = which % person.subscriptions.len();
                let subscription = &mut person.subscriptions[which];
                let path = format!("/api/admin/subscriptions/{}/refund", subscription.id);
                let body = json!({ "amount": amount, "reason": REASON });
                let answer = till.admin.post(&path, body).await;
                if amount <= subscription.cash() {
                    answer.data(201);
                    subscription.refund(amount);
                    person.receive(amount);
                } else {
                    answer.fails(409, "REFUND_TOO_LARGE");
                }
            }
            Act::Cancel(which) if !person.subscriptions.is_empty() => {
                let which = which % person.subscriptions.len();
                let gone = person.subscriptions.swap_remove(which);
                let path = format!("/api/subscriptions/{}", gone.id);
                let ended = person.client.delete(&path).await;
                // Delivery may come before or after: the answer says if the purchase was undone.
                if ended.text.contains("before it was set up") {
                    person.receive(gone.cash());
                    person.bonus += gone.paid.iter().map(|paid| paid.bonus).sum::<i64>();
                }
                ended.data(200);
            }
            Act::Days(days) => pass(till, people, TimeDelta::days(days)).await,
            Act::Month => month(till, people, plans).await,
            Act::Chargeback(_) | Act::Refund(..) | Act::Cancel(_) => {}
        }
    }

    /// Compares the shop's view of a customer to the model.
    async fn compare(&self, who: usize) -> Result<(), String> {
        let person = &self.people[who];
        let wallet = person.client.get("/api/wallet/info").await.data(200);
        let debts = person.client.get("/api/wallet/debts?limit=100").await;
        let open = |debt: &Value| debt["amount"].as_i64().unwrap() - debt["paid"].as_i64().unwrap();
        let debts = debts.data(200).as_array().unwrap().iter().map(open).sum();
        let amount = |name: &str| wallet[name].as_i64().unwrap();
        let shop: (i64, i64, i64) = (amount("paidBalance"), amount("bonusBalance"), debts);
        let model = (person.paid, person.bonus, person.debts);
        if shop == model {
            Ok(())
        } else {
            Err(format!(
                "the shop has (paid, bonus, debts) {shop:?}, the model {model:?}"
            ))
        }
    }

    /// Compares the whole ledger to the model.
    async fn compare_books(&self) -> Result<(), String> {
        let books = self.till.shop.books_balance().await;
        let account = |name: &str| books.accounts.get(name).map_or(0, |sum| sum.get());
        let sum = |of: fn(&Person) -> i64| self.people.iter().map(of).sum::<i64>();
        let shop = (
            account("WALLET_PAID"),
            account("WALLET_BONUS"),
            -account("RECEIVABLES"),
        );
        let model = (
            sum(|person| person.paid),
            sum(|person| person.bonus),
            sum(|person| person.debts),
        );
        if shop == model {
            Ok(())
        } else {
            Err(format!("the books have {shop:?}, the model {model:?}"))
        }
    }
}

/// Waits until every purchase is delivered: undelivered ones are not charged, and waiting moves
/// their period.
async fn delivered(people: &[Person]) {
    for person in people {
        for one in &person.subscriptions {
            let path = format!("/api/instances/{}", one.instance);
            let waits = async || person.client.get(&path).await.data(200)["status"] != "WRITTEN";
            while waits().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Moves the clock, at most to just before the end of a period.
async fn pass(till: &mut Till, people: &mut [Person], by: TimeDelta) {
    let shop = &till.shop;
    let subscriptions = people.iter().flat_map(|person| &person.subscriptions);
    let first = subscriptions.map(Subscription::period_end).min();
    if first.is_some_and(|end| end <= shop.clock().now() + by + TimeDelta::hours(1)) {
        return;
    }
    delivered(people).await;
    shop.clock().advance(by);
    // Tokens expire within days.
    till.admin = shop.admin().await;
    for person in people {
        person.client = shop.sign_in(&person.email).await;
    }
}

async fn month(till: &mut Till, people: &mut [Person], plans: &Plans) {
    let shop = &till.shop;
    delivered(people).await;
    shop.clock().advance(MONTH);
    let now = shop.clock().now();
    // A run charges one period of each subscription.
    loop {
        let outcome = renew_due(&shop.state().subscriptions).await.unwrap();
        assert_eq!(outcome.errors, Vec::<String>::new());
        if outcome.items == 0 {
            break;
        }
    }
    // All tokens expire within a month.
    till.admin = shop.admin().await;
    for person in people {
        person.client = shop.sign_in(&person.email).await;
        for unpaid in person.renew(plans, now) {
            let path = format!("/api/subscriptions/{}", unpaid.id);
            let seen = person.client.get(&path).await.data(200);
            let status = seen["status"].as_str().unwrap();
            assert!(matches!(status, "PAST_DUE" | "SUSPENDED"), "{seen:#}");
            // Otherwise it would be paid as soon as the wallet can, in the middle of other
            // operations.
            person.client.delete(&path).await.data(200);
        }
        for paid in &person.subscriptions {
            let path = format!("/api/subscriptions/{}", paid.id);
            let seen = person.client.get(&path).await.data(200);
            let number = seen["periods"].as_array().unwrap().len();
            assert_eq!(
                (seen["status"].as_str(), number),
                (Some("ACTIVE"), paid.periods as usize)
            );
        }
    }
}

async fn history(engine: Engine, acts: Vec<(usize, Act)>) -> Result<(), String> {
    let Some(mut world) = World::open(engine).await else {
        return Ok(());
    };
    for (number, (who, act)) in acts.into_iter().enumerate() {
        world.play(who, act).await;
        let touched = match act {
            Act::Month => 0..CUSTOMERS,
            _ => who..who + 1,
        };
        for who in touched {
            let compared = world.compare(who).await;
            compared.map_err(|why| format!("after act {number}, {act:?} of {who}: {why}"))?;
        }
    }
    world.compare_books().await
}

/// A period that begins is worth its whole price, also where UTC still has the day, and the month,
/// before.
#[test]
fn the_model_counts_months_where_the_shop_is() {
    let moment = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let subscription = Subscription {
        id: String::new(),
        instance: String::new(),
        plan: Bought::WorkflowsFree,
        paid: Vec::new(),
        begun: moment("2026-11-30T21:00:00Z"),
        periods: 2,
    };
    let begins = moment("2026-12-31T21:00:00Z");
    assert_eq!(subscription.upgrade_price(50_000, begins), 50_000);
}

/// Plays histories until one differs, then shows the shortest one that still differs.
fn play(engine: Engine) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases: HISTORIES,
        max_shrink_iters: 10,
        failure_persistence: None,
        ..Config::default()
    };
    let played = TestRunner::new(config).run(&acts(), |acts| {
        let played = runtime.block_on(history(engine, acts));
        played.map_err(TestCaseError::fail)
    });
    match played {
        Ok(()) => {}
        Err(TestError::Fail(why, acts)) => panic!("{why}\nafter {acts:?}"),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_shop_agrees_with_the_model_on_sqlite() {
    play(Engine::Sqlite);
}

#[test]
fn the_shop_agrees_with_the_model_on_postgresql() {
    play(Engine::Postgres);
}
