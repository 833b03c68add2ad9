//! Tests of moves of customers to the present price of their plan.

use chrono::{DateTime, Days, TimeDelta, Utc};
use dermaga_shop::billing::renew_due;
use dermaga_tests::{Answer, Client, Shop, both_engines};
use serde_json::{Value, json};
use uuid::Uuid;

use super::notifications::{told, told_times};
use crate::journeys::upgrade::customer_with_cash;

both_engines!(
    Shop,
    [
        a_moved_customer_pays_the_new_price_after_the_notice,
        a_move_is_refused_whole,
        the_same_move_is_told_once_and_must_make_sense,
        a_price_is_not_lowered_below_an_announced_one,
        a_move_is_void_when_it_is_taken_back,
        a_year_moves_to_the_plans_present_price_of_it,
        a_year_has_a_price_of_its_own_and_else_keeps_its_share
    ]
);

const REASON: &str = "The new price list of January.";

/// A plan that became dearer, and a customer who bought before.
pub(crate) struct Dearer {
    pub(crate) admin: Client,
    pub(crate) customer: Client,
    pub(crate) subscription: String,
    user: Value,
    /// Path of the plan, for administrators.
    pub(crate) plan: String,
}

impl Dearer {
    pub(crate) async fn open(shop: &Shop) -> Self {
        let dearer = Self::of_term(shop, 1).await;
        dearer.edit(json!({ "monthlyPrice": 65_000 })).await;
        dearer
    }

    /// Lets a customer buy so many months at 50,000 each, or 15 % less for 12; the plan is as it was.
    async fn of_term(shop: &Shop, months: u32) -> Self {
        let admin = shop.admin().await;
        let customer = customer_with_cash(shop, "tetap@example.com", 2_000_000).await;
        let user = customer.get("/api/user/profile").await.data(200)["id"].clone();
        let found = admin.get("/api/admin/services?q=n8n").await.data(200);
        let plans = found[0]["plans"].as_array().unwrap();
        let basic = plans.iter().find(|plan| plan["slug"] == "basic").unwrap();
        let id = |value: &Value| value["id"].as_str().unwrap().to_owned();
        let plan = format!("/api/admin/services/{}/plans/{}", id(&found[0]), id(basic));
        let order = json!({ "planId": basic["id"], "termMonths": months });
        let bought = customer.post("/api/subscriptions", order).await.data(201);
        let instance = id(&json!({ "id": bought["instanceId"] }));
        shop.instance_becomes(&customer, &instance, "RUNNING").await;
        Self {
            subscription: id(&bought["subscription"]),
            admin,
            customer,
            user,
            plan,
        }
    }

    /// Changes the plan for new customers.
    async fn edit(&self, mut fields: Value) {
        fields["reason"] = json!(REASON);
        self.admin.put(&self.plan, fields).await.data(200);
    }

    pub(crate) async fn move_at(&self, ids: &[&str], effective_at: DateTime<Utc>) -> Answer {
        let body = json!({ "subscriptionIds": ids, "effectiveAt": effective_at, "reason": REASON });
        let path = format!("{}/price-moves", self.plan);
        self.admin.post(&path, body).await
    }

    pub(crate) async fn seen(&self) -> Value {
        let path = format!("/api/subscriptions/{}", self.subscription);
        self.customer.get(&path).await.data(200)
    }

    async fn due(&self) -> Value {
        let path = format!("/api/subscriptions/{}/billing-info", self.subscription);
        self.customer.get(&path).await.data(200)["due"].clone()
    }

    /// Lets the running period end, and renews.
    async fn renew(&mut self, shop: &Shop) -> Value {
        let end: DateTime<Utc> = self.seen().await["periodEnd"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        shop.clock()
            .advance(end - shop.clock().now() + TimeDelta::minutes(1));
        renew_due(&shop.state().subscriptions).await.unwrap();
        // A day is the life of a token.
        self.customer = shop.sign_in("tetap@example.com").await;
        self.admin = shop.admin().await;
        self.seen().await
    }
}

/// The period that begins before the moment keeps the price, the one after has the new one, and forecasts
/// say so before. The message is written with the move.
async fn a_moved_customer_pays_the_new_price_after_the_notice(shop: Shop) {
    let mut dearer = Dearer::open(&shop).await;
    let from = shop.clock().now() + Days::new(40);
    let moved = dearer
        .move_at(&[&dearer.subscription], from)
        .await
        .data(201);
    let one = &moved[0];
    assert_eq!(
        (&one["before"], &one["after"]),
        (&json!(50_000), &json!(65_000))
    );
    assert_eq!(one["userId"], dearer.user);
    let seen = dearer.seen().await;
    assert_eq!(
        (&seen["monthlyPrice"], &seen["nextPrice"]),
        (&json!(50_000), &json!(65_000))
    );
    let told = shop
        .sql("UPDATE outbox SET created_at = created_at WHERE topic = 'PRICE_CHANGE'")
        .await;
    assert_eq!(told.unwrap(), 1);
    let prices = dearer
        .admin
        .get(&format!("{}/prices", dearer.plan))
        .await
        .data(200);
    assert_eq!(prices["present"], 65_000);
    let paid = json!([{
        "monthlyPrice": 50_000, "termMonths": 1, "termPrice": null, "subscriptions": 1, "moving": 1,
    }]);
    assert_eq!(prices["paid"], paid);

    // The second period begins a month after the first, before the moment.
    assert_eq!(dearer.due().await, 50_000);
    let second = dearer.renew(&shop).await;
    assert_eq!(
        (&second["periods"][0]["price"], &second["nextPrice"]),
        (&json!(50_000), &json!(65_000))
    );
    assert_eq!(dearer.due().await, 65_000);
    let third = dearer.renew(&shop).await;
    assert_eq!(
        (
            &third["periods"][0]["number"],
            &third["periods"][0]["price"]
        ),
        (&json!(3), &json!(65_000))
    );
    assert_eq!(
        (&third["monthlyPrice"], &third["nextPrice"]),
        (&json!(65_000), &Value::Null)
    );
    shop.books_balance().await;
    let acts = dearer
        .admin
        .get("/api/admin/audit?act=subscription.price_moved")
        .await
        .data(200);
    assert_eq!(
        (&acts[0]["reason"], &acts[0]["details"]["after"]),
        (&json!(REASON), &json!(65_000))
    );
}

/// All move or none: too soon, unknown, already at the price, of another plan, or without rights.
async fn a_move_is_refused_whole(shop: Shop) {
    let dearer = Dearer::open(&shop).await;
    let (own, now) = (dearer.subscription.as_str(), shop.clock().now());
    let later = now + Days::new(31);
    let soon = dearer.move_at(&[own], now + Days::new(28)).await;
    soon.fails(400, "VALIDATION_FAILED");
    let nearly = now + Days::new(30) - TimeDelta::minutes(5);
    let nearly = dearer.move_at(&[own], nearly).await;
    nearly.fails(400, "VALIDATION_FAILED");
    assert!(soon.detail("effectiveAt").is_some());
    let nobody = Uuid::nil().to_string();
    dearer
        .move_at(&[own, &nobody], later)
        .await
        .fails(404, "NOT_FOUND");
    dearer
        .move_at(&[], later)
        .await
        .fails(400, "VALIDATION_FAILED");
    assert_eq!(dearer.seen().await["nextPrice"], Value::Null);
    let path = format!("{}/price-moves", dearer.plan);
    let body = json!({ "subscriptionIds": [own], "effectiveAt": later, "reason": REASON });
    dearer
        .customer
        .post(&path, body.clone())
        .await
        .fails(403, "FORBIDDEN");
    shop.client()
        .post(&path, body.clone())
        .await
        .fails(401, "UNAUTHENTICATED");
    let prices = format!("{}/prices", dearer.plan);
    dearer.customer.get(&prices).await.fails(403, "FORBIDDEN");
    let mut wrong = body.clone();
    wrong["price"] = json!(1);
    dearer
        .admin
        .post(&path, wrong)
        .await
        .fails(400, "VALIDATION_FAILED");
    let back = json!({ "monthlyPrice": 50_000, "reason": REASON });
    dearer.admin.put(&dearer.plan, back).await.data(200);
    dearer
        .move_at(&[own], later)
        .await
        .fails(409, "INVALID_STATE");
    let path = format!("/api/subscriptions/{own}");
    dearer.customer.delete(&path).await.data(200);
    dearer
        .move_at(&[own], later)
        .await
        .fails(409, "INVALID_STATE");
}

/// A move that was taken back, and one of a plan that was left, change nothing.
async fn a_move_is_void_when_it_is_taken_back(shop: Shop) {
    let mut dearer = Dearer::open(&shop).await;
    let later = shop.clock().now() + Days::new(31);
    dearer
        .move_at(&[&dearer.subscription], later)
        .await
        .data(201);
    let path = format!(
        "/api/admin/subscriptions/{}/price-move",
        dearer.subscription
    );
    let because = json!({ "reason": REASON });
    dearer
        .customer
        .delete_with(&path, because.clone())
        .await
        .fails(403, "FORBIDDEN");
    let kept = dearer
        .admin
        .delete_with(&path, because.clone())
        .await
        .data(200);
    assert_eq!(kept["nextPrice"], Value::Null);
    dearer
        .admin
        .delete_with(&path, because)
        .await
        .fails(409, "INVALID_STATE");
    // Once as announced, and once as taken back.
    let messages = told_times(&dearer.customer, "PRICE_CHANGE", 2).await;
    let facts: Vec<Value> = messages.iter().map(|one| one["facts"].clone()).collect();
    let of =
        |facts: &Value| ["oldPrice", "newPrice", "droppedPrice"].map(|name| facts[name].as_i64());
    assert!(
        facts
            .iter()
            .any(|facts| of(facts) == [Some(50_000), Some(65_000), None]),
        "{facts:#?}"
    );
    assert!(
        facts
            .iter()
            .any(|facts| of(facts) == [Some(50_000), Some(50_000), Some(65_000)]),
        "{facts:#?}"
    );
    let second = dearer.renew(&shop).await;
    assert_eq!(second["periods"][0]["price"], 50_000);
}

/// The announced price would replace the lower one a moment later.
async fn a_price_is_not_lowered_below_an_announced_one(shop: Shop) {
    let dearer = Dearer::open(&shop).await;
    let later = shop.clock().now() + Days::new(31);
    let moved = dearer.move_at(&[&dearer.subscription], later).await;
    moved.data(201);
    let path = format!("/api/admin/subscriptions/{}", dearer.subscription);
    let lower = json!({ "monthlyPrice": 30_000, "reason": REASON });
    let refused = dearer.admin.put(&path, lower.clone()).await;
    refused.fails(409, "INVALID_STATE");
    let message = refused.body["message"].as_str().unwrap();
    let written = shop.clock().written(later);
    assert!(
        message.contains("Rp65.000") && message.contains(&written),
        "{message}"
    );
    assert_eq!(dearer.seen().await["monthlyPrice"], 50_000);
    let because = json!({ "reason": REASON });
    let back = format!("{path}/price-move");
    dearer.admin.delete_with(&back, because).await.data(200);
    let lowered = dearer.admin.put(&path, lower).await.data(200);
    assert_eq!(
        (&lowered["monthlyPrice"], &lowered["nextPrice"]),
        (&json!(30_000), &Value::Null)
    );
}

/// The same once more changes nothing and sends nothing; doubled, or in another age, it is a mistake.
async fn the_same_move_is_told_once_and_must_make_sense(shop: Shop) {
    let dearer = Dearer::open(&shop).await;
    let (own, now) = (dearer.subscription.as_str(), shop.clock().now());
    let doubled = dearer.move_at(&[own, own], now + Days::new(31)).await;
    doubled.fails(400, "VALIDATION_FAILED");
    assert!(doubled.detail("subscriptionIds").is_some());
    let far = dearer.move_at(&[own], now + Days::new(732)).await;
    far.fails(400, "VALIDATION_FAILED");
    assert!(far.detail("effectiveAt").is_some());
    let later = now + Days::new(729);
    for _ in 0..2 {
        let moved = dearer.move_at(&[own], later).await.data(201);
        assert_eq!(moved[0]["after"], 65_000);
    }
    let count = async |kind: &str| {
        let path = format!("/api/admin/audit?act={kind}");
        let found = dearer.admin.get(&path).await.data(200);
        found.as_array().unwrap().len()
    };
    assert_eq!(count("subscription.price_moved").await, 1);
    let other = dearer.move_at(&[own], later - Days::new(1)).await;
    other.data(201);
    assert_eq!(count("subscription.price_moved").await, 2);
    assert_eq!(
        told_times(&dearer.customer, "PRICE_CHANGE", 2).await.len(),
        2
    );
}

/// Only the price of the term changes, from 15 % off to 5 %. The price that was announced is charged, whatever
/// the plan costs by then, and the preview says so before.
async fn a_year_moves_to_the_plans_present_price_of_it(shop: Shop) {
    let mut dearer = Dearer::of_term(&shop, 12).await;
    let own = dearer.subscription.clone();
    let from = shop.clock().now() + Days::new(40);
    dearer
        .move_at(&[&own], from)
        .await
        .fails(409, "INVALID_STATE");
    let terms = json!([{ "months": 12, "discountPercent": 5 }]);
    dearer.edit(json!({ "terms": terms })).await;
    for _ in 0..2 {
        let moved = dearer.move_at(&[&own], from).await.data(201);
        let fields = ["before", "after", "termMonths", "termBefore", "termAfter"];
        let moved = fields.map(|field| moved[0][field].as_i64());
        let expected = [50_000, 50_000, 12, 510_000, 570_000];
        assert_eq!(moved, expected.map(Some));
    }
    let seen = dearer.seen().await;
    let prices = ["termPrice", "nextPrice", "nextTermPrice"].map(|field| seen[field].as_i64());
    assert_eq!(prices, [510_000, 50_000, 570_000].map(Some));
    let path = format!("{}/prices", dearer.plan);
    let prices = dearer.admin.get(&path).await.data(200);
    let paid = json!([{
        "monthlyPrice": 50_000, "termMonths": 12, "termPrice": 510_000, "subscriptions": 1, "moving": 1,
    }]);
    assert_eq!(prices["paid"], paid);
    let present = json!([
        { "months": 1, "price": 50_000, "fullPrice": 50_000 },
        { "months": 12, "price": 570_000, "fullPrice": 600_000 },
    ]);
    assert_eq!(prices["terms"], present);
    let messages = told(&dearer.customer, "PRICE_CHANGE").await;
    assert_eq!(messages.len(), 1, "{messages:#?}");
    let facts = ["months", "oldPrice", "newPrice"].map(|name| messages[0]["facts"][name].as_i64());
    assert_eq!(facts, [12, 510_000, 570_000].map(Some));
    let text = messages[0]["text"].as_str().unwrap();
    assert!(text.contains("Rp570.000 untuk 12 bulan"), "{text}");
    let audited = "/api/admin/audit?act=subscription.price_moved";
    let acts = dearer.admin.get(audited).await.data(200);
    assert_eq!(
        (
            acts.as_array().unwrap().len(),
            &acts[0]["details"]["termAfter"]
        ),
        (1, &json!(570_000))
    );

    let terms = json!([{ "months": 12, "discountPercent": 1 }]);
    dearer.edit(json!({ "terms": terms })).await;
    assert_eq!(dearer.due().await, 570_000);
    let date = (shop.clock().now() + Days::new(370)).date_naive();
    let preview = format!("/api/admin/billing/preview?date={date}");
    let lines = dearer.admin.get(&preview).await.data(200);
    let mut all = lines.as_array().unwrap().iter();
    let line = all.find(|line| line["subscriptionId"] == own.as_str());
    assert_eq!(line.unwrap()["due"], 570_000, "{lines:#}");
    let second = dearer.renew(&shop).await;
    let period = &second["periods"][0];
    assert_eq!(
        (&period["months"], &period["price"]),
        (&json!(12), &json!(570_000))
    );
    let prices = ["termPrice", "nextPrice", "nextTermPrice"].map(|field| second[field].as_i64());
    assert_eq!(prices, [Some(570_000), None, None]);
    assert_eq!(dearer.due().await, 570_000);
    shop.books_balance().await;
}

/// A fixed price of the term is taken as it is, and not the old share of the new monthly price; that is for a term
/// which the plan does not sell any more.
async fn a_year_has_a_price_of_its_own_and_else_keeps_its_share(shop: Shop) {
    let mut dearer = Dearer::of_term(&shop, 12).await;
    let own = dearer.subscription.clone();
    let from = shop.clock().now() + Days::new(40);
    let terms = json!([{ "months": 12, "price": 600_000 }]);
    let fields = json!({ "monthlyPrice": 60_000, "terms": terms });
    dearer.edit(fields).await;
    let moved = dearer.move_at(&[&own], from).await.data(201);
    let of = |moved: &Value| ["after", "termAfter"].map(|field| moved[0][field].as_i64());
    assert_eq!(of(&moved), [60_000, 600_000].map(Some));
    assert_eq!(dearer.due().await, 600_000);

    let path = format!("/api/admin/subscriptions/{own}/price-move");
    let because = json!({ "reason": REASON });
    let kept = dearer.admin.delete_with(&path, because).await.data(200);
    assert_eq!(kept["nextTermPrice"], Value::Null);
    assert_eq!(dearer.due().await, 510_000);
    let messages = told_times(&dearer.customer, "PRICE_CHANGE", 2).await;
    let of_message = |message: &Value| {
        let names = ["months", "oldPrice", "newPrice", "droppedPrice"];
        names.map(|name| message["facts"][name].as_i64())
    };
    for expected in [
        [Some(12), Some(510_000), Some(600_000), None],
        [Some(12), Some(510_000), Some(510_000), Some(600_000)],
    ] {
        let mut all = messages.iter();
        assert!(
            all.any(|message| of_message(message) == expected),
            "{messages:#?}"
        );
    }

    dearer.edit(json!({ "terms": [] })).await;
    let moved = dearer.move_at(&[&own], from).await.data(201);
    assert_eq!(of(&moved), [60_000, 612_000].map(Some));
    let second = dearer.renew(&shop).await;
    assert_eq!(
        (&second["periods"][0]["price"], &second["termPrice"]),
        (&json!(612_000), &json!(612_000))
    );
    shop.books_balance().await;
}
