//! Tests of waiting for plans that are sold out.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_shop::catalog::waitlist;
use dermaga_tests::{Answer, Client, Shop, both_engines};
use serde_json::{Value, json};
use uuid::Uuid;

use super::notifications::{told, told_times};
use crate::settings;

both_engines!(
    Shop,
    [
        a_free_place_is_held_for_the_first_who_waited,
        a_hold_that_lapses_goes_to_the_next,
        a_hold_does_not_run_while_nothing_is_sold,
        a_wait_is_refused_where_it_makes_no_sense,
        a_held_place_that_is_given_up_goes_to_the_next,
        a_raised_quota_is_held_for_those_who_wait_and_sold_to_others,
        administrators_see_the_queue_and_the_held_places,
        a_queue_ends_with_its_plan_and_an_entry_with_its_account,
        an_upgrade_takes_the_place_that_is_held
    ]
);

pub(super) const WAITLIST: &str = "/api/subscriptions/waitlist";
const REASON: &str = "A place for those who wait.";

/// A plan without a free place, and the subscription that has the last one.
pub(super) struct SoldOut {
    pub(super) plan: String,
    pub(super) owner: Client,
    subscription: String,
}

impl SoldOut {
    pub(super) async fn open(shop: &Shop) -> Self {
        let plan = shop.plan("ghost", "free").await;
        shop.leave_quota(&plan, 1).await;
        let owner = shop.customer("pemilik@example.com").await;
        let bought = buy(&owner, &plan).await.data(201);
        let subscription = bought["subscription"]["id"].as_str().unwrap().to_owned();
        Self {
            plan,
            owner,
            subscription,
        }
    }

    /// Returns the place, and lets the queue be looked at.
    pub(super) async fn cancel(&self, shop: &Shop) {
        let path = format!("/api/subscriptions/{}", self.subscription);
        self.owner.delete(&path).await.data(200);
        settle(shop).await;
    }
}

pub(super) async fn settle(shop: &Shop) {
    waitlist::settle_all(&shop.state().catalog).await.unwrap();
}

pub(super) async fn buy(customer: &Client, plan: &str) -> Answer {
    let order = json!({ "planId": plan });
    customer.post("/api/subscriptions", order).await
}

pub(super) async fn join(customer: &Client, plan: &str) -> Answer {
    customer.post(WAITLIST, json!({ "planId": plan })).await
}

/// Returns the customer's only entry.
pub(super) async fn entry(customer: &Client) -> Value {
    let entries = customer.get(WAITLIST).await.data(200);
    assert_eq!(entries.as_array().unwrap().len(), 1, "{entries:#}");
    entries[0].clone()
}

fn until(entry: &Value) -> DateTime<Utc> {
    entry["heldUntil"].as_str().unwrap().parse().unwrap()
}

async fn is_sold_out(shop: &Shop) -> bool {
    let plan = shop.plan_view("ghost", "free").await;
    plan["isAvailable"] == false && plan["availableQuota"] == 0
}

/// The first customer gets the place and a notification; it is sold out for all others until it is bought.
async fn a_free_place_is_held_for_the_first_who_waited(shop: Shop) {
    let sold_out = SoldOut::open(&shop).await;
    let [first, second] = ["satu@example.com", "dua@example.com"];
    let (first, second) = (shop.customer(first).await, shop.customer(second).await);
    let joined = join(&first, &sold_out.plan).await.data(201);
    assert_eq!(
        (&joined["position"], &joined["heldUntil"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(
        (&joined["service"], &joined["plan"]),
        (&json!("ghost"), &json!("free"))
    );
    join(&second, &sold_out.plan).await.data(201);
    assert_eq!(entry(&second).await["position"], 2);

    let path = format!("/api/subscriptions/{}", sold_out.subscription);
    sold_out.owner.delete(&path).await.data(200);
    // Free or held: it belongs to those who wait.
    let stranger = shop.customer("lain@example.com").await;
    for customer in [&stranger, &second] {
        buy(customer, &sold_out.plan)
            .await
            .fails(409, "QUOTA_EXHAUSTED");
    }
    settle(&shop).await;
    assert!(is_sold_out(&shop).await);
    let held = entry(&first).await;
    assert_eq!(held["position"], Value::Null);
    let hours = (until(&held) - shop.clock().now()).num_minutes();
    assert!((24 * 60 - 2..=24 * 60).contains(&hours), "{held:#}");
    let message = &told(&first, "QUOTA_FREE").await[0];
    assert_eq!(message["facts"]["planId"], sold_out.plan);
    assert_eq!(entry(&second).await["position"], 1);
    for customer in [&stranger, &second] {
        let order = json!({ "planId": sold_out.plan });
        let validated = customer.post("/api/subscriptions/validate", order).await;
        validated.fails(409, "QUOTA_EXHAUSTED");
        buy(customer, &sold_out.plan)
            .await
            .fails(409, "QUOTA_EXHAUSTED");
    }
    let order = json!({ "planId": sold_out.plan });
    let validated = first.post("/api/subscriptions/validate", order).await;
    validated.data(200);
    buy(&first, &sold_out.plan).await.data(201);
    assert_eq!(first.get(WAITLIST).await.data(200), json!([]));
    // The place that was held is the one that is sold.
    let admin = shop.admin().await;
    let path = format!("/api/admin/quota/plans/{}", sold_out.plan);
    let quota = admin.get(&path).await.data(200);
    assert_eq!(
        (
            &quota["usedQuota"],
            &quota["totalQuota"],
            &quota["heldQuota"]
        ),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(entry(&second).await["position"], 1);
    shop.books_balance().await;
}

/// After its time the hold is no use to the first, and the second has a day of its own.
async fn a_hold_that_lapses_goes_to_the_next(shop: Shop) {
    let sold_out = SoldOut::open(&shop).await;
    for email in ["satu@example.com", "dua@example.com"] {
        join(&shop.customer(email).await, &sold_out.plan)
            .await
            .data(201);
    }
    sold_out.cancel(&shop).await;
    shop.clock().advance(TimeDelta::hours(25));
    let first = shop.sign_in("satu@example.com").await;
    buy(&first, &sold_out.plan)
        .await
        .fails(409, "QUOTA_EXHAUSTED");
    settle(&shop).await;
    assert_eq!(first.get(WAITLIST).await.data(200), json!([]));
    let second = shop.sign_in("dua@example.com").await;
    assert!(until(&entry(&second).await) > shop.clock().now() + TimeDelta::hours(23));
    buy(&first, &sold_out.plan)
        .await
        .fails(409, "QUOTA_EXHAUSTED");
    // One may wait again, at the end.
    assert_eq!(join(&first, &sold_out.plan).await.data(201)["position"], 1);
    buy(&second, &sold_out.plan).await.data(201);
    assert_eq!(told(&second, "QUOTA_FREE").await.len(), 1);
}

/// A plan that is taken off sale holds no places; the customer keeps the place in the queue, and reads of it again.
async fn a_hold_does_not_run_while_nothing_is_sold(shop: Shop) {
    let sold_out = SoldOut::open(&shop).await;
    let first = shop.customer("satu@example.com").await;
    join(&first, &sold_out.plan).await.data(201);
    sold_out.cancel(&shop).await;
    let second = shop.customer("dua@example.com").await;
    join(&second, &sold_out.plan).await.data(201);
    let held = until(&entry(&first).await);
    let sell = async |is_sold: &str| {
        let sql = match is_sold {
            "no" => "UPDATE service_plans SET active = FALSE WHERE slug = 'free'",
            _ => "UPDATE service_plans SET active = TRUE WHERE slug = 'free'",
        };
        shop.sql(sql).await.unwrap();
    };
    sell("no").await;
    shop.clock().advance(TimeDelta::hours(23));
    settle(&shop).await;
    let waiting = entry(&first).await;
    assert_eq!(
        (&waiting["position"], &waiting["heldUntil"]),
        (&json!(1), &Value::Null)
    );
    sell("yes").await;
    settle(&shop).await;
    assert!(until(&entry(&first).await) - held >= TimeDelta::hours(23));
    told_times(&first, "QUOTA_FREE", 2).await;
    assert_eq!(entry(&second).await["position"], 1);
    buy(&first, &sold_out.plan).await.data(201);
}

/// Not for a plan that can be bought, is not sold or unknown, and not twice.
async fn a_wait_is_refused_where_it_makes_no_sense(shop: Shop) {
    let sold_out = SoldOut::open(&shop).await;
    let customer = shop.customer("tunggu@example.com").await;
    let free = shop.plan("n8n", "free").await;
    join(&customer, &free).await.fails(409, "INVALID_STATE");
    join(&customer, &Uuid::nil().to_string())
        .await
        .fails(404, "NOT_FOUND");
    let unknown = json!({ "planId": sold_out.plan, "position": 1 });
    customer
        .post(WAITLIST, unknown)
        .await
        .fails(400, "VALIDATION_FAILED");
    let id = join(&customer, &sold_out.plan).await.data(201)["id"].clone();
    join(&customer, &sold_out.plan).await.fails(409, "CONFLICT");
    let hasty = shop.customer("buru-buru@example.com").await;
    let several = futures::future::join_all((0..6).map(|_| join(&hasty, &sold_out.plan)));
    let joined = several.await;
    let taken = joined.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(taken, 1);
    for answer in joined.iter().filter(|answer| answer.status != 201) {
        answer.fails(409, "CONFLICT");
    }

    let path = format!("{WAITLIST}/{}", id.as_str().unwrap());
    let stranger = shop.customer("lain@example.com").await;
    stranger.delete(&path).await.fails(404, "NOT_FOUND");
    shop.client()
        .delete(&path)
        .await
        .fails(401, "UNAUTHENTICATED");
    assert_eq!(stranger.get(WAITLIST).await.data(200), json!([]));
    customer.delete(&path).await.data(200);
    customer.delete(&path).await.fails(404, "NOT_FOUND");

    shop.sql("UPDATE service_plans SET active = FALSE WHERE slug = 'free'")
        .await
        .unwrap();
    join(&customer, &sold_out.plan)
        .await
        .fails(409, "PLAN_UNAVAILABLE");
}

async fn a_held_place_that_is_given_up_goes_to_the_next(shop: Shop) {
    let sold_out = SoldOut::open(&shop).await;
    let first = shop.customer("satu@example.com").await;
    let second = shop.customer("dua@example.com").await;
    for customer in [&first, &second] {
        join(customer, &sold_out.plan).await.data(201);
    }
    sold_out.cancel(&shop).await;
    let leave = async |customer: &Client| {
        let id = entry(customer).await["id"].as_str().unwrap().to_owned();
        customer.delete(&format!("{WAITLIST}/{id}")).await.data(200);
    };
    leave(&first).await;
    buy(&first, &sold_out.plan)
        .await
        .fails(409, "QUOTA_EXHAUSTED");
    assert!(entry(&second).await["heldUntil"].is_string());
    leave(&second).await;
    buy(&first, &sold_out.plan).await.data(201);
}

/// Of three new places one is held for the one who waits, and two are sold at once.
async fn a_raised_quota_is_held_for_those_who_wait_and_sold_to_others(shop: Shop) {
    let (admin, sold_out) = (shop.admin().await, SoldOut::open(&shop).await);
    let waiting = shop.customer("tunggu@example.com").await;
    join(&waiting, &sold_out.plan).await.data(201);
    let path = format!("/api/admin/quota/plans/{}", sold_out.plan);
    let raised = json!({ "totalQuota": 4, "reason": REASON });
    let raised = admin.put(&path, raised).await.data(200);
    assert_eq!(
        (
            &raised["usedQuota"],
            &raised["heldQuota"],
            &raised["waiting"]
        ),
        (&json!(2), &json!(1), &json!(0))
    );
    let others = shop.many_customers(3).await;
    for other in &others[..2] {
        buy(other, &sold_out.plan).await.data(201);
    }
    buy(&others[2], &sold_out.plan)
        .await
        .fails(409, "QUOTA_EXHAUSTED");
    // A held place is in use: the quota cannot take it away.
    let lowered = json!({ "totalQuota": 3, "reason": REASON });
    let refused = admin.put(&path, lowered).await;
    refused.fails(409, "INVALID_STATE");
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("are in use or held"), "{message}");
    buy(&waiting, &sold_out.plan).await.data(201);
}

async fn administrators_see_the_queue_and_the_held_places(shop: Shop) {
    let (admin, sold_out) = (shop.admin().await, SoldOut::open(&shop).await);
    let emails = ["satu@example.com", "dua@example.com", "tiga@example.com"];
    for email in emails {
        join(&shop.customer(email).await, &sold_out.plan)
            .await
            .data(201);
    }
    sold_out.cancel(&shop).await;
    let plan = format!("/api/admin/quota/plans/{}", sold_out.plan);
    let path = format!("{plan}/waitlist");
    let queue = admin.get(&path).await.data(200);
    let queue = queue.as_array().unwrap();
    let seen: Vec<_> = queue
        .iter()
        .map(|one| (&one["email"], &one["position"]))
        .collect();
    let expected = [
        (&json!(emails[0]), &Value::Null),
        (&json!(emails[1]), &json!(1)),
        (&json!(emails[2]), &json!(2)),
    ];
    assert_eq!(seen, expected);
    assert!(queue[0]["heldUntil"].is_string(), "{queue:#?}");
    let page = admin.get(&format!("{path}?page=2&limit=2")).await;
    assert_eq!(page.body["pagination"]["totalItems"], 3);
    assert_eq!(page.data(200)[0]["email"], emails[2]);
    let quota = admin.get(&plan).await.data(200);
    assert_eq!(
        (&quota["health"], &quota["heldQuota"], &quota["waiting"]),
        (&json!("full"), &json!(1), &json!(2))
    );
    let unknown = format!("/api/admin/quota/plans/{}/waitlist", Uuid::nil());
    admin.get(&unknown).await.fails(404, "NOT_FOUND");
    let customer = shop.customer("ingin-tahu@example.com").await;
    customer.get(&path).await.fails(403, "FORBIDDEN");
}

async fn a_queue_ends_with_its_plan_and_an_entry_with_its_account(shop: Shop) {
    let (admin, sold_out) = (shop.admin().await, SoldOut::open(&shop).await);
    let [closed, first, second] = ["tutup@example.com", "satu@example.com", "dua@example.com"];
    let mut customers = Vec::new();
    for email in [closed, first, second] {
        let customer = shop.customer(email).await;
        join(&customer, &sold_out.plan).await.data(201);
        customers.push(customer);
    }
    shop.sql("UPDATE users SET status = 'DISABLED' WHERE email = 'tutup@example.com'")
        .await
        .unwrap();
    sold_out.cancel(&shop).await;
    assert!(entry(&customers[1]).await["heldUntil"].is_string());

    let found = admin.get("/api/admin/services?q=ghost").await.data(200);
    let service = found[0]["id"].as_str().unwrap();
    let path = format!("/api/admin/services/{service}/plans/{}", sold_out.plan);
    let body = json!({ "reason": REASON });
    let removed = admin.delete_with(&path, body).await.data(200);
    assert_eq!(removed["outcome"], "RETIRED", "{removed:#}");
    for customer in &customers[1..] {
        assert_eq!(customer.get(WAITLIST).await.data(200), json!([]));
    }
    let quota = format!("/api/admin/quota/plans/{}", sold_out.plan);
    assert_eq!(admin.get(&quota).await.data(200)["usedQuota"], 0);
}

/// The place of a higher plan that is held serves an upgrade as well.
async fn an_upgrade_takes_the_place_that_is_held(shop: Shop) {
    let admin = shop.admin().await;
    let higher = shop.plan("ghost", "basic").await;
    shop.leave_quota(&higher, 0).await;
    let customer = shop.customer_with_credit("naik@example.com", 500_000).await;
    let plan = shop.plan("ghost", "free").await;
    let bought = buy(&customer, &plan).await.data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let id = bought["subscription"]["id"].as_str().unwrap();
    let upgrade = async || {
        let path = format!("/api/subscriptions/{id}/upgrade");
        customer.put(&path, json!({ "planId": higher })).await
    };
    upgrade().await.fails(409, "QUOTA_EXHAUSTED");
    join(&customer, &higher).await.data(201);
    let path = format!("/api/admin/quota/plans/{higher}");
    let raised = json!({ "totalQuota": 1, "reason": REASON });
    admin.put(&path, raised).await.data(200);
    assert!(entry(&customer).await["heldUntil"].is_string());
    let upgraded = upgrade().await;
    assert_eq!(upgraded.status / 100, 2, "{:#}", upgraded.body);
    assert_eq!(customer.get(WAITLIST).await.data(200), json!([]));
    let quota = admin.get(&path).await.data(200);
    assert_eq!(
        (&quota["usedQuota"], &quota["heldQuota"]),
        (&json!(1), &json!(0))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_is_held_as_long_as_the_setting_says() {
    let shop = settings::shop(&[("WAITLIST_HOLD_HOURS", "2")]).await;
    let sold_out = SoldOut::open(&shop).await;
    let customer = shop.customer("dua-jam@example.com").await;
    join(&customer, &sold_out.plan).await.data(201);
    let path = format!("/api/subscriptions/{}", sold_out.subscription);
    sold_out.owner.delete(&path).await.data(200);
    // The worker of the server holds it by itself.
    for _ in 0..200 {
        let held = entry(&customer).await;
        if held["heldUntil"].is_string() {
            let left = until(&held) - shop.clock().now();
            assert!((119..=120).contains(&(left.num_seconds() + 59).div_euclid(60)));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no place is held");
}
