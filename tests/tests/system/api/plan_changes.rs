//! Tests of changes of plan by administrators: down and up, at once and with the next period.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_shop::billing::renew_due;
use dermaga_tests::{Answer, Client, Shop, both_engines};
use serde_json::{Value, json};

use crate::journeys::{
    delivery::{failing_at_manifests, pin},
    renewal::{buy, give, id_of, moment, next_period, subscription},
    upgrade::{customer_with_cash, folder_of},
};

const REASON: &str = "The customer asked by telephone.";

both_engines!(
    Shop,
    [
        a_lower_plan_returns_the_cash_of_the_rest_once,
        bonus_credit_does_not_come_back_with_a_lower_plan,
        a_lower_plan_that_ends_before_it_is_made_returns_nothing_twice,
        a_plan_comes_with_the_next_period,
        a_dearer_plan_that_cannot_come_is_given_back,
        a_change_that_cannot_be_settled_stops_no_other,
        a_planned_change_is_taken_back_with_its_place,
        a_higher_plan_can_be_a_gift,
        plans_are_changed_by_administrators_within_the_service
    ]
);

async fn change(admin: &Client, id: &str, body: Value) -> Answer {
    let mut body = body;
    body["reason"] = json!(REASON);
    let path = format!("/api/admin/subscriptions/{id}/upgrade");
    admin.put(&path, body).await
}

async fn paid_balance(client: &Client) -> i64 {
    let info = client.get("/api/wallet/info").await.data(200);
    info["paidBalance"].as_i64().unwrap()
}

async fn available(shop: &Shop, plan: &str) -> i64 {
    let view = shop.plan_view("n8n", plan).await;
    view["availableQuota"].as_i64().unwrap()
}

/// Waits until no change of plan is under way.
pub(crate) async fn settled(shop: &Shop) {
    for _ in 0..300 {
        let mut conn = shop.state().db.read().await.unwrap();
        let sql = "SELECT count(*) FROM plan_changes WHERE state = 'PENDING'";
        let (pending,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
        drop(conn);
        if pending == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the change of plan is not settled");
}

fn sum(lines: &Value) -> i64 {
    let lines = lines.as_array().unwrap().iter();
    lines.map(|line| line["amount"].as_i64().unwrap()).sum()
}

/// Moves the clock to the middle of the period.
async fn half(shop: &Shop, id: &str) {
    let seen = subscription(shop, id).await;
    let (start, end) = (moment(&seen["periodStart"]), moment(&seen["periodEnd"]));
    shop.clock()
        .advance((end - start) / 2 - (shop.clock().now() - start));
}

/// In the middle of a month of PRO (150,000), BASIC (50,000) returns half of the difference, once; going up
/// again costs what came back.
async fn a_lower_plan_returns_the_cash_of_the_rest_once(shop: Shop) {
    let customer = customer_with_cash(&shop, "turun@example.com", 150_000).await;
    let bought = buy(&shop, &customer, ("n8n", "pro"), None).await;
    let id = id_of(&bought);
    let before = (
        available(&shop, "basic").await,
        available(&shop, "pro").await,
    );
    half(&shop, id).await;
    let admin = shop.admin().await;
    let (basic, pro) = (
        shop.plan("n8n", "basic").await,
        shop.plan("n8n", "pro").await,
    );
    let attempts = (0..4).map(|_| change(&admin, id, json!({ "planId": basic })));
    let answers = futures::future::join_all(attempts).await;
    let (done, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((done.len(), refused.len()), (1, 3));
    assert!(
        refused
            .iter()
            .all(|answer| answer.status == 409 || answer.status == 400)
    );
    let done = done[0].clone().data(200);
    let back = done["givesBack"].as_i64().unwrap();
    assert!((49_990..=50_010).contains(&back), "{done:#}");
    assert_eq!((sum(&done["lines"]), &done["charged"]), (-back, &json!(0)));
    assert_eq!(done["subscription"]["plan"], "basic");
    settled(&shop).await;
    let customer = shop.sign_in("turun@example.com").await;
    assert_eq!(paid_balance(&customer).await, back);
    let seen = subscription(&shop, id).await;
    assert_eq!(seen["periods"][0]["refundedCash"], back);
    let after = (
        available(&shop, "basic").await,
        available(&shop, "pro").await,
    );
    assert_eq!(after, (before.0 - 1, before.1 + 1));
    let noted = customer
        .get("/api/wallet/transactions?type=DOWNGRADE")
        .await;
    assert_eq!(noted.data(200)[0]["amount"], 0);

    // The rest of the month counts as BASIC now.
    let quote = format!("/api/subscriptions/{id}/upgrade-quote");
    let quote = customer
        .post(&quote, json!({ "planId": pro }))
        .await
        .data(200);
    let due = quote["due"].as_i64().unwrap();
    assert!((back - 50..=back + 5).contains(&due), "{quote:#}");
    let refund = json!({ "amount": 150_000 - back + 1, "reason": REASON });
    let path = format!("/api/admin/subscriptions/{id}/refund");
    admin
        .post(&path, refund)
        .await
        .fails(409, "REFUND_TOO_LARGE");
    // A second of a slow run leaves a rupiah too little for the next month.
    let profile = customer.get("/api/auth/profile").await.data(200);
    give(&shop, profile["id"].as_str().unwrap(), 1_000).await;
    let renewed = next_period(&shop, id).await;
    assert_eq!(renewed["periods"][0]["price"], 50_000);
    shop.books_balance().await;
}

async fn bonus_credit_does_not_come_back_with_a_lower_plan(shop: Shop) {
    let customer = shop
        .customer_with_credit("turun-bonus@example.com", 150_000)
        .await;
    let bought = buy(&shop, &customer, ("n8n", "pro"), None).await;
    let id = id_of(&bought);
    half(&shop, id).await;
    let (basic, pro) = (
        shop.plan("n8n", "basic").await,
        shop.plan("n8n", "pro").await,
    );
    let admin = shop.admin().await;
    let done = change(&admin, id, json!({ "planId": basic }))
        .await
        .data(200);
    assert_eq!((&done["givesBack"], sum(&done["lines"])), (&json!(0), 0));
    settled(&shop).await;
    let customer = shop.sign_in("turun-bonus@example.com").await;
    let info = customer.get("/api/wallet/info").await.data(200);
    assert_eq!(info["totalBalance"], 0);
    // An earlier payment still counts when it goes up again.
    let quote = format!("/api/subscriptions/{id}/upgrade-quote");
    let quote = customer
        .post(&quote, json!({ "planId": pro }))
        .await
        .data(200);
    assert!(quote["due"].as_i64().unwrap() <= 10, "{quote:#}");
    shop.books_balance().await;
}

async fn a_lower_plan_that_ends_before_it_is_made_returns_nothing_twice(shop: Shop) {
    let customer = customer_with_cash(&shop, "turun-habis@example.com", 150_000).await;
    let bought = buy(&shop, &customer, ("n8n", "pro"), None).await;
    let id = id_of(&bought);
    let before = (
        available(&shop, "basic").await,
        available(&shop, "pro").await,
    );
    half(&shop, id).await;
    let admin = shop.admin().await;
    let basic = shop.plan("n8n", "basic").await;
    change(&admin, id, json!({ "planId": basic }))
        .await
        .data(200);
    let path = format!("/api/admin/subscriptions/{id}/force-cancel");
    let body = json!({ "processRefund": true, "reason": REASON });
    let request = admin.request(reqwest::Method::DELETE, &path).json(&body);
    let ended = admin.send(request).await.data(200);
    settled(&shop).await;
    let customer = shop.sign_in("turun-habis@example.com").await;
    let paid = paid_balance(&customer).await;
    assert!((74_900..=75_010).contains(&paid), "{paid} {ended:#}");
    let after = (
        available(&shop, "basic").await,
        available(&shop, "pro").await,
    );
    assert_eq!(after, (before.0, before.1 + 1));
    shop.books_balance().await;
}

/// The place in the plan is taken when the change is planned, so that the renewal needs none.
async fn a_plan_comes_with_the_next_period(shop: Shop) {
    let customer = customer_with_cash(&shop, "nanti@example.com", 250_000).await;
    let bought = buy(&shop, &customer, ("n8n", "pro"), None).await;
    let id = id_of(&bought);
    let before = available(&shop, "pro").await;
    let basic = shop.plan("n8n", "basic").await;
    let admin = shop.admin().await;
    shop.leave_quota(&basic, 0).await;
    let wanted = json!({ "planId": basic, "at": "period_end" });
    change(&admin, id, wanted.clone())
        .await
        .fails(409, "QUOTA_EXHAUSTED");
    shop.leave_quota(&basic, 1).await;
    let planned = change(&admin, id, wanted.clone()).await.data(200);
    assert_eq!(planned["subscription"]["nextPlanId"], json!(basic));
    assert_eq!(planned["subscription"]["plan"], "pro");
    assert_eq!(available(&shop, "basic").await, 0);
    let info = format!("/api/subscriptions/{id}/billing-info");
    assert_eq!(customer.get(&info).await.data(200)["due"], 50_000);
    assert_eq!(paid_balance(&customer).await, 100_000);

    let renewed = next_period(&shop, id).await;
    assert_eq!(
        (&renewed["plan"], &renewed["nextPlanId"]),
        (&json!("basic"), &Value::Null)
    );
    assert_eq!(renewed["monthlyPrice"], 50_000);
    assert_eq!(renewed["periods"][0]["price"], 50_000);
    let paid = "/api/admin/transactions?type=SUBSCRIPTION";
    let paid = shop.admin().await.get(paid).await.data(200);
    assert_eq!(paid[0]["description"], "N8N Basic, month 2");
    settled(&shop).await;
    assert_eq!(available(&shop, "pro").await, before + 1);
    assert_eq!(available(&shop, "basic").await, 0);
    let customer = shop.sign_in("nanti@example.com").await;
    assert_eq!(paid_balance(&customer).await, 50_000);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let renewed = next_period(&shop, id).await;
    assert_eq!(renewed["periods"].as_array().unwrap().len(), 3);
    shop.books_balance().await;
}

async fn a_planned_change_is_taken_back_with_its_place(shop: Shop) {
    let customer = customer_with_cash(&shop, "batal@example.com", 400_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let places = async || {
        let mut found = Vec::new();
        for plan in ["free", "basic", "pro"] {
            found.push(available(&shop, plan).await);
        }
        found
    };
    let [free, basic, pro] = [
        shop.plan("n8n", "free").await,
        shop.plan("n8n", "basic").await,
        shop.plan("n8n", "pro").await,
    ];
    let before = places().await;
    let admin = shop.admin().await;
    let at_end = |plan: &str| json!({ "planId": plan, "at": "period_end" });
    change(&admin, id, at_end(&basic))
        .await
        .fails(400, "VALIDATION_FAILED");
    change(&admin, id, at_end(&free)).await.data(200);
    assert_eq!(places().await, [before[0] - 1, before[1], before[2]]);
    // Another plan takes its place, and the present one takes it back.
    change(&admin, id, at_end(&pro)).await.data(200);
    assert_eq!(places().await, [before[0], before[1], before[2] - 1]);
    let kept = change(&admin, id, at_end(&basic)).await.data(200);
    assert_eq!(kept["subscription"]["nextPlanId"], Value::Null);
    assert_eq!(places().await, before);
    // An upgrade, and an end, take it back too.
    change(&admin, id, at_end(&free)).await.data(200);
    let path = format!("/api/subscriptions/{id}/upgrade");
    customer
        .put(&path, json!({ "planId": pro }))
        .await
        .data(200);
    settled(&shop).await;
    assert_eq!(places().await, [before[0], before[1] + 1, before[2] - 1]);
    change(&admin, id, at_end(&free)).await.data(200);
    customer
        .delete(&format!("/api/subscriptions/{id}"))
        .await
        .data(200);
    assert_eq!(places().await, [before[0], before[1] + 1, before[2]]);
    shop.books_balance().await;
}

async fn a_higher_plan_can_be_a_gift(shop: Shop) {
    let customer = customer_with_cash(&shop, "naik@example.com", 50_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let admin = shop.admin().await;
    let pro = shop.plan("n8n", "pro").await;
    change(&admin, id, json!({ "planId": pro }))
        .await
        .fails(402, "INSUFFICIENT_CREDIT");
    let gift = json!({ "planId": pro, "skipCreditCheck": true });
    let done = change(&admin, id, gift).await.data(200);
    assert_eq!((&done["charged"], sum(&done["lines"])), (&json!(0), 0));
    assert_eq!(done["subscription"]["plan"], "pro");
    settled(&shop).await;
    let seen = subscription(&shop, id).await;
    let period = &seen["periods"][0];
    assert_eq!(
        (&period["price"], &period["paidCash"]),
        (&json!(50_000), &json!(50_000))
    );
    let page = format!("/api/admin/audit?act=subscription.plan_changed&subject=subscription:{id}");
    let page = admin.get(&page).await.data(200);
    assert_eq!(
        (&page[0]["reason"], &page[0]["details"]["gift"]),
        (&json!(REASON), &json!(true))
    );
    shop.books_balance().await;
}

async fn plans_are_changed_by_administrators_within_the_service(shop: Shop) {
    let customer = customer_with_cash(&shop, "tukar@example.com", 150_000).await;
    let bought = buy(&shop, &customer, ("n8n", "pro"), None).await;
    let id = id_of(&bought);
    let admin = shop.admin().await;
    let basic = shop.plan("n8n", "basic").await;
    let body = json!({ "planId": basic });
    change(&customer, id, body.clone())
        .await
        .fails(403, "FORBIDDEN");
    change(shop.client(), id, body.clone())
        .await
        .fails(401, "UNAUTHENTICATED");
    let own = format!("/api/subscriptions/{id}/upgrade");
    customer
        .put(&own, body.clone())
        .await
        .fails(400, "VALIDATION_FAILED");
    let (same, other) = (
        shop.plan("n8n", "pro").await,
        shop.plan("postgresql", "basic").await,
    );
    for wrong in [
        json!({ "planId": same }),
        json!({ "planId": other }),
        json!({ "planId": other, "at": "period_end" }),
        json!({ "planId": basic, "at": "later" }),
        json!({ "planId": basic, "more": 1 }),
        json!({}),
    ] {
        change(&admin, id, wrong)
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    let nil = uuid::Uuid::nil().to_string();
    change(&admin, &nil, body.clone())
        .await
        .fails(404, "NOT_FOUND");
    change(&admin, id, json!({ "planId": nil }))
        .await
        .fails(404, "NOT_FOUND");
    let behind = next_period(&shop, id).await;
    assert_eq!(behind["status"], "PAST_DUE");
    let admin = shop.admin().await;
    change(&admin, id, body).await.fails(409, "INVALID_STATE");
    shop.clock().advance(TimeDelta::seconds(1));
    shop.books_balance().await;
}

/// Puts a file in the place of the folder of an instance, so that its changes wait; returns the instance and the file.
async fn block(shop: &Shop, customer: &Client, bought: &Value) -> (Value, std::path::PathBuf) {
    let path = format!("/api/instances/{}", bought["instanceId"].as_str().unwrap());
    let instance = customer.get(&path).await.data(200);
    let folder = folder_of(shop, &instance);
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    (instance, folder)
}

/// A dearer plan is paid by the renewal that it comes with, and the instance cannot be made so: its customer has
/// the difference again, and keeps the cheaper plan.
async fn a_dearer_plan_that_cannot_come_is_given_back(shop: Shop) {
    let customer = customer_with_cash(&shop, "lebih@example.com", 300_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let before = (
        available(&shop, "basic").await,
        available(&shop, "pro").await,
    );
    let pro = shop.plan("n8n", "pro").await;
    let wanted = json!({ "planId": pro, "at": "period_end" });
    let admin = shop.admin().await;
    change(&admin, id, wanted).await.data(200);
    let (instance, folder) = block(&shop, &customer, &bought).await;
    let renewed = next_period(&shop, id).await;
    assert_eq!(
        (&renewed["plan"], &renewed["periods"][0]["price"]),
        (&json!("pro"), &json!(150_000))
    );
    let failing = failing_at_manifests(&shop).await;
    let instance_id = instance["id"].as_str().unwrap();
    pin(&shop, instance_id, &failing).await;
    let mut seen = renewed;
    for _ in 0..400 {
        if seen["plan"] == "basic" {
            break;
        }
        shop.clock().advance(TimeDelta::minutes(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
        seen = subscription(&shop, id).await;
    }
    let period = &seen["periods"][0];
    assert_eq!(
        (
            &seen["plan"],
            &seen["monthlyPrice"],
            &period["price"],
            &period["paidCash"]
        ),
        (
            &json!("basic"),
            &json!(50_000),
            &json!(50_000),
            &json!(50_000)
        ),
        "{seen:#}"
    );
    let customer = shop.sign_in("lebih@example.com").await;
    assert_eq!(paid_balance(&customer).await, 200_000);
    let after = (
        available(&shop, "basic").await,
        available(&shop, "pro").await,
    );
    assert_eq!(after, before);
    std::fs::remove_file(&folder).unwrap();
    let digest = instance["pluginDigest"].as_str().unwrap();
    pin(&shop, instance_id, digest).await;
    shop.instance_becomes(&customer, instance_id, "RUNNING")
        .await;
    shop.books_balance().await;
}

/// A change whose refund fails waits; another customer's is settled meanwhile, and renewals are charged.
async fn a_change_that_cannot_be_settled_stops_no_other(shop: Shop) {
    let stuck = customer_with_cash(&shop, "macet@example.com", 150_000).await;
    let bought = buy(&shop, &stuck, ("n8n", "pro"), None).await;
    let (instance, folder) = block(&shop, &stuck, &bought).await;
    let [basic, pro] = [
        shop.plan("n8n", "basic").await,
        shop.plan("n8n", "pro").await,
    ];
    let lower = json!({ "planId": basic });
    let admin = shop.admin().await;
    change(&admin, id_of(&bought), lower).await.data(200);
    let sabotaged = shop
        .sql("UPDATE plan_changes SET give_back = 900000000 WHERE state = 'PENDING'")
        .await;
    assert_eq!(sabotaged.unwrap(), 1);
    std::fs::remove_file(&folder).unwrap();
    let (instance_id, digest) = (&instance["id"], &instance["pluginDigest"]);
    let instance_id = instance_id.as_str().unwrap();
    pin(&shop, instance_id, digest.as_str().unwrap()).await;
    shop.instance_becomes(&stuck, instance_id, "RUNNING").await;

    let customer = customer_with_cash(&shop, "lancar@example.com", 400_000).await;
    let other = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let path = format!("/api/subscriptions/{}/upgrade", id_of(&other));
    customer
        .put(&path, json!({ "planId": pro }))
        .await
        .data(200);
    let states = async || {
        let mut conn = shop.state().db.read().await.unwrap();
        let sql = "SELECT state FROM plan_changes ORDER BY created_at";
        dermaga_shop::fetch_all!(conn, (String,), sql).unwrap()
    };
    let expected = ["PENDING", "APPLIED"].map(|state| (state.to_owned(),));
    for _ in 0..300 {
        if states().await == expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(states().await, expected);
    let end = moment(&subscription(&shop, id_of(&other)).await["periodEnd"]);
    shop.clock().advance(end - shop.clock().now());
    renew_due(&shop.state().subscriptions).await.unwrap();
    let renewed = subscription(&shop, id_of(&other)).await;
    assert_eq!(renewed["periods"][0]["number"], 2);
    shop.books_balance().await;
}
