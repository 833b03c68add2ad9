//! Plays random histories of three customers to the shop and to a simple model: after every
//! operation both must hold the same rupiah.

use std::{mem, time::Duration};

use chrono::{DateTime, Months, TimeDelta, Utc};
use dermaga::sandbox::Action;
use dermaga_shop::billing::renew_due;
use dermaga_tests::{Answer, Client, Engine};
use proptest::{
    collection::vec,
    prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof},
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};
use serde_json::{Value, json};

use crate::api::payments::{Till, TopUp};

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

/// Expected possessions of a customer.
struct Person {
    client: Client,
    email: String,
    id: String,
    paid: i64,
    bonus: i64,
    debts: i64,
    top_ups: Vec<(TopUp, i64)>,
    subscriptions: Vec<Subscription>,
}

struct Subscription {
    id: String,
    instance: String,
    plan: Bought,
    /// Payments for the current period less refunds, the oldest first.
    paid: Vec<Paid>,
    begun: DateTime<Utc>,
    /// Number of periods paid.
    periods: u32,
}

/// A payment covers the time from a moment to the period's end.
struct Paid {
    cash: i64,
    bonus: i64,
    from: DateTime<Utc>,
}

impl Subscription {
    /// Returns the cash that can be refunded.
    fn cash(&self) -> i64 {
        self.paid.iter().map(|paid| paid.cash).sum()
    }

    /// Refunds an amount, from the newest payment first.
    fn refund(&mut self, amount: i64) {
        let mut rest = amount;
        for paid in self.paid.iter_mut().rev() {
            let part = paid.cash.min(rest);
            paid.cash -= part;
            rest -= part;
        }
    }

    /// Returns the price of the rest of the period in a plan, less the part of it that payments
    /// still cover.
    fn upgrade_price(&self, price: i64, now: DateTime<Utc>) -> i64 {
        let end = self.end_of(self.periods);
        let share = |amount: i64, from: DateTime<Utc>| {
            amount * (end - now).num_seconds() / (end - from).num_seconds()
        };
        let start = self.end_of(self.periods - 1);
        let credits = self.paid.iter();
        let credit: i64 = credits
            .map(|paid| share(paid.cash + paid.bonus, paid.from))
            .sum();
        (share(price, start) - credit).max(0)
    }

    fn period_end(&self) -> DateTime<Utc> {
        self.end_of(self.periods)
    }

    /// Returns the end of a period, by the months of the shop's calendar: where the shop is, it may be
    /// another day than in UTC.
    fn end_of(&self, period: u32) -> DateTime<Utc> {
        let jakarta = self.begun.with_timezone(&chrono_tz::Asia::Jakarta);
        (jakarta + Months::new(period)).to_utc()
    }
}

impl Person {
    /// Takes in cash, of which open debts are paid first.
    fn receive(&mut self, cash: i64) {
        let owed = self.debts.min(cash);
        self.debts -= owed;
        self.paid += cash - owed;
    }

    /// Spends credit, bonus first; returns the cash spent, or `None` when it is too much.
    fn spend(&mut self, due: i64) -> Option<i64> {
        if self.paid + self.bonus < due {
            return None;
        }
        let bonus = self.bonus.min(due);
        self.bonus -= bonus;
        self.paid -= due - bonus;
        Some(due - bonus)
    }

    /// Pays every period that has begun, one of each subscription at a time, the longest overdue
    /// first. Returns the subscriptions that the wallet could not pay.
    fn renew(&mut self, plans: &Plans, now: DateTime<Utc>) -> Vec<Subscription> {
        let mut unpaid = Vec::new();
        let mut is_paid = true;
        while mem::take(&mut is_paid) {
            let mut subscriptions = mem::take(&mut self.subscriptions);
            subscriptions.sort_by_key(|one| (one.period_end(), one.id.clone()));
            for mut one in subscriptions {
                if one.period_end() <= now {
                    let price = plans.price(one.plan);
                    let Some(cash) = self.spend(price) else {
                        unpaid.push(one);
                        continue;
                    };
                    let from = one.period_end();
                    one.paid = vec![Paid {
                        cash,
                        bonus: price - cash,
                        from,
                    }];
                    one.periods += 1;
                    is_paid = true;
                }
                self.subscriptions.push(one);
            }
        }
        unpaid
    }

    fn live(&self, plan: Bought) -> usize {
        let same = self.subscriptions.iter().filter(|one| one.plan == plan);
        same.count()
    }
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

/// Repeats a request until no change of plan is under way; returns the answer.
async fn settled_down(ask: impl AsyncFn() -> Answer) -> Answer {
    for _ in 0..600 {
        let answer = ask().await;
        if answer.body["error"]["code"] != "INVALID_STATE" {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a change of plan does not end");
}

fn settled(answer: Answer, is_enough: bool) {
    if is_enough {
        answer.data(201);
    } else {
        answer.fails(402, "INSUFFICIENT_CREDIT");
    }
}

async fn adjust(
    till: &Till,
    person: &Person,
    how: &str,
    amount: i64,
    kind: Option<Kind>,
) -> Answer {
    let kind = kind.map(|kind| match kind {
        Kind::Paid => "PAID",
        Kind::Bonus => "BONUS",
    });
    let body = json!({ "amount": amount, "kind": kind, "reason": REASON });
    let path = format!("/api/admin/wallets/{}/{how}-credit", person.id);
    till.admin.post(&path, body).await
}

async fn buy(person: &mut Person, plans: &Plans, plan: Bought) {
    let body = json!({ "planId": plans.of(plan)["id"] });
    let answer = person.client.post("/api/subscriptions", body).await;
    if person.live(plan) >= plans.most(plan) {
        answer.fails(409, "INSTANCE_LIMIT_REACHED");
        return;
    }
    let Some(cash) = person.spend(plans.price(plan)) else {
        answer.fails(402, "INSUFFICIENT_CREDIT");
        return;
    };
    let bought = answer.data(201);
    assert_eq!(bought["paidCash"], cash);
    let begun: DateTime<Utc> = bought["subscription"]["periodStart"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let bonus = plans.price(plan) - cash;
    person.subscriptions.push(Subscription {
        id: bought["subscription"]["id"].as_str().unwrap().to_owned(),
        instance: bought["instanceId"].as_str().unwrap().to_owned(),
        plan,
        paid: vec![Paid {
            cash,
            bonus,
            from: begun,
        }],
        begun,
        periods: 1,
    });
}

/// Upgrades in both. The price of the rest of a period falls with the clock, so the shop may differ
/// by some rupiah.
async fn upgrade(till: &Till, person: &mut Person, plans: &Plans, which: usize) {
    let (from, to) = match which % 3 {
        0 => (Bought::WorkflowsFree, Bought::Workflows),
        1 => (Bought::WorkflowsFree, Bought::WorkflowsPro),
        _ => (Bought::Workflows, Bought::WorkflowsPro),
    };
    let small = person.subscriptions.iter();
    let small: Vec<usize> = small
        .enumerate()
        .filter(|(_, one)| one.plan == from)
        .map(|(at, _)| at)
        .collect();
    let is_full = person.live(to) >= plans.most(to);
    if small.is_empty() || is_full {
        return;
    }
    let at = small[which % small.len()];
    let (id, instance) = (
        person.subscriptions[at].id.clone(),
        person.subscriptions[at].instance.clone(),
    );
    let shop = &till.shop;
    shop.instance_becomes(&person.client, &instance, "RUNNING")
        .await;
    let expected = person.subscriptions[at].upgrade_price(plans.price(to), shop.clock().now());
    let pro = json!({ "planId": plans.of(to)["id"] });
    let path = format!("/api/subscriptions/{id}/upgrade");
    let quote = person
        .client
        .post(&format!("{path}-quote"), pro.clone())
        .await;
    let quote = quote.data(200);
    let due = quote["due"].as_i64().unwrap();
    assert!(
        (due - expected).abs() <= MOVED,
        "{due}, not {expected}: {quote:#}"
    );
    let answer = person.client.put(&path, pro).await;
    if person.paid + person.bonus < due {
        // Within a few rupiah of the price, either outcome is right.
        if person.paid + person.bonus < due - MOVED || answer.status != 200 {
            answer.fails(402, "INSUFFICIENT_CREDIT");
            return;
        }
    }
    let done = answer.data(200);
    let charged = done["charged"].as_i64().unwrap();
    assert!((due - MOVED..=due).contains(&charged), "{done:#}");
    let cash = person.spend(charged).expect("the wallet held enough");
    assert_eq!(done["paidCash"], cash);
    person.subscriptions[at].plan = to;
    person.subscriptions[at].paid.push(Paid {
        cash,
        bonus: charged - cash,
        from: shop.clock().now(),
    });
    // Cancelling during a change would undo the change; this model waits for its end.
    let path = format!("/api/admin/subscriptions/{id}/refund");
    let too_much = json!({ "amount": 1_000_000_000, "reason": REASON });
    let refused = settled_down(async || till.admin.post(&path, too_much.clone()).await).await;
    refused.fails(409, "REFUND_TOO_LARGE");
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
