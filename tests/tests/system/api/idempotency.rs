//! Tests of `Idempotency-Key`: a repeated request has the same answer and one effect.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_shop::{
    fetch_one,
    idempotency::{self, Begun, Request, Terms},
};
use dermaga_tests::{Answer, Client, Engine, Shop, both_engines};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use uuid::Uuid;

const REDEEM: &str = "/api/wallet/redeem-coupon";
const SUBSCRIBE: &str = "/api/subscriptions";

/// Creates a credit coupon that may be used any number of times.
async fn coupon(admin: &Client, code: &str, amount: i64) -> Value {
    let parameters = json!({ "amount": amount });
    let body = json!({ "code": code, "plugin": "coupon-credit-topup", "parameters": parameters });
    admin.post("/api/admin/coupons", body).await.data(201);
    json!({ "couponCode": code })
}

async fn balance(customer: &Client) -> i64 {
    let wallet = customer.get("/api/wallet/info").await.data(200);
    wallet["totalBalance"].as_i64().unwrap()
}

async fn subscriptions(customer: &Client) -> usize {
    customer
        .get(SUBSCRIBE)
        .await
        .data(200)
        .as_array()
        .unwrap()
        .len()
}

#[track_caller]
fn assert_replayed(again: &Answer, first: &Answer) {
    assert!(again.is_replayed() && !first.is_replayed());
    assert_eq!((again.status, &again.text), (first.status, &first.text));
}

/// Builds the request with which `customer` redeems under `key`; its body is never compared here.
async fn request(customer: &Client, key: &str) -> Request {
    let profile = customer.get("/api/user/profile").await.data(200);
    Request {
        user_id: profile["id"].as_str().unwrap().parse().unwrap(),
        route: format!("POST {REDEEM}"),
        key: key.parse().unwrap(),
        fingerprint: "what was asked".to_owned(),
    }
}

/// Time for which tests hold a key, at most; longer than its lease.
const HELD: Duration = Duration::from_secs(30);

/// Returns the terms of a key that tests hold at a shop's server.
fn terms(shop: &Shop) -> Terms {
    Terms {
        longest: Some(HELD),
        server: shop.state().server,
    }
}

both_engines!(
    Shop,
    [
        a_repetition_is_answered_and_charges_nothing,
        another_body_is_refused,
        a_key_is_its_customers_and_its_routes,
        a_coupon_is_created_once,
        twenty_duplicates_at_once,
        hanging_up_and_trying_again,
        a_refusal_that_can_pass_leaves_the_key_free,
        an_upgrade_that_was_too_dear_is_made_under_the_same_key,
        a_refusal_that_lasts_is_repeated,
        a_corrected_request_is_served_under_the_key_of_the_invalid_one,
        a_day_later,
        a_restart,
        a_request_that_runs_keeps_its_key,
        a_holder_that_died,
        a_restart_ends_the_claims_of_the_run_before
    ]
);

/// The same key and the same body: the same bytes, one charge.
async fn a_repetition_is_answered_and_charges_nothing(shop: Shop) {
    let customer = shop
        .customer_with_credit("ulang@example.com", 200_000)
        .await;
    let keyed = customer.with_key("pesanan-1");
    let order = json!({ "planId": shop.plan("n8n", "basic").await, "config": {} });
    let first = keyed.post(SUBSCRIBE, order.clone()).await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_replayed(&keyed.post(SUBSCRIBE, order.clone()).await, &first);
    // The same JSON in another spelling.
    let text = format!("{{ \"config\": {{}},\n \"planId\": {} }}", order["planId"]);
    let other_words = keyed
        .request(reqwest::Method::POST, SUBSCRIBE)
        .header("content-type", "application/json")
        .body(text);
    assert_replayed(&keyed.send(other_words).await, &first);
    assert_eq!(
        (balance(&customer).await, subscriptions(&customer).await),
        (150_000, 1)
    );
    // Another key is another purchase, and so is every request without a key.
    customer
        .with_key("pesanan-2")
        .post(SUBSCRIBE, order.clone())
        .await
        .data(201);
    customer.post(SUBSCRIBE, order).await.data(201);
    assert_eq!(
        (balance(&customer).await, subscriptions(&customer).await),
        (50_000, 3)
    );
    shop.books_balance().await;
}

/// The same key for something else is refused, and does nothing.
async fn another_body_is_refused(shop: Shop) {
    let admin = shop.admin().await;
    let (small, large) = (
        coupon(&admin, "KECIL", 1_000).await,
        coupon(&admin, "BESAR", 9_000).await,
    );
    let customer = shop.customer("lain@example.com").await.with_key("satu");
    customer.post(REDEEM, small.clone()).await.data(201);
    customer
        .post(REDEEM, large)
        .await
        .fails(422, "IDEMPOTENCY_MISMATCH");
    assert!(customer.post(REDEEM, small).await.is_replayed());
    assert_eq!(balance(&customer).await, 1_000);
    for bad in [String::new(), "two words".to_owned(), "k".repeat(256)] {
        let refused = customer
            .with_key(bad)
            .post(REDEEM, json!({ "couponCode": "KECIL" }))
            .await;
        assert!(
            refused
                .fails(400, "VALIDATION_FAILED")
                .detail("Idempotency-Key")
                .is_some()
        );
    }
}

/// A key belongs to one customer and one route.
async fn a_key_is_its_customers_and_its_routes(shop: Shop) {
    let admin = shop.admin().await.with_key("sama");
    let code = coupon(&admin, "SEMUA", 5_000).await;
    let plan = json!({ "planId": shop.plan("ghost", "free").await });
    for email in ["satu@example.com", "dua@example.com"] {
        let customer = shop.customer(email).await.with_key("sama");
        assert!(!customer.post(REDEEM, code.clone()).await.is_replayed());
        let bought = customer.post(SUBSCRIBE, plan.clone()).await;
        assert!(
            bought.status == 201 && !bought.is_replayed(),
            "{}",
            bought.text
        );
        assert_eq!(
            (balance(&customer).await, subscriptions(&customer).await),
            (5_000, 1)
        );
    }
}

/// An administrator's coupon is created once.
async fn a_coupon_is_created_once(shop: Shop) {
    let admin = shop.admin().await;
    let body = json!({ "code": "BARU", "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 } });
    let keyed = admin.with_key("buat");
    let first = keyed.post("/api/admin/coupons", body.clone()).await;
    assert_eq!(first.status, 201);
    assert_replayed(
        &keyed.post("/api/admin/coupons", body.clone()).await,
        &first,
    );
    admin
        .post("/api/admin/coupons", body)
        .await
        .fails(409, "CONFLICT");
}

/// Of twenty duplicates at once, one takes effect; the others repeat its answer or fail with
/// `IN_PROGRESS`.
async fn twenty_duplicates_at_once(shop: Shop) {
    let customer = shop
        .customer_with_credit("serentak@example.com", 500_000)
        .await;
    let plan = json!({ "planId": shop.plan("postgresql", "basic").await });
    let keyed = customer.with_key("serentak");
    let answers: Vec<Answer> = stream::iter(0..20)
        .map(|_| keyed.post(SUBSCRIBE, plan.clone()))
        .buffer_unordered(20)
        .collect()
        .await;
    let (bought, waiting): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(
        bought.iter().filter(|answer| !answer.is_replayed()).count(),
        1
    );
    assert!(bought.iter().all(|answer| answer.text == bought[0].text));
    for answer in waiting {
        assert!(
            answer
                .fails(409, "IN_PROGRESS")
                .headers
                .contains_key("retry-after")
        );
    }
    assert_eq!(
        (balance(&customer).await, subscriptions(&customer).await),
        (475_000, 1)
    );
    shop.books_balance().await;
}

/// A client that disconnects at any moment and retries with the same key receives one credit.
async fn hanging_up_and_trying_again(shop: Shop) {
    let code = coupon(&shop.admin().await, "PUTUS", 1_000).await;
    let customer = shop.customer("putus@example.com").await;
    for attempt in 0..30 {
        let keyed = customer.with_key(format!("putus-{attempt}"));
        let impatience = Duration::from_micros(attempt * 700);
        let _ = tokio::time::timeout(impatience, keyed.post(REDEEM, code.clone())).await;
        keyed.post(REDEEM, code.clone()).await.data(201);
    }
    assert_eq!(balance(&customer).await, 30_000);
    shop.books_balance().await;
}

/// Mistakes that the client can correct do not use up a key, nor do refusals that other acts lift:
/// the same request is carried out once its obstacle is gone.
async fn a_refusal_that_can_pass_leaves_the_key_free(shop: Shop) {
    let customer = shop.customer("tolak@example.com").await;
    let plan = shop.plan("n8n", "basic").await;
    let keyed = customer.with_key("beli");
    keyed
        .post(SUBSCRIBE, json!({ "planId": 5 }))
        .await
        .fails(400, "VALIDATION_FAILED");
    let nonsense = json!({ "planId": plan, "config": { "nonsense": true } });
    keyed
        .post(SUBSCRIBE, nonsense)
        .await
        .fails(400, "VALIDATION_FAILED");
    let order = json!({ "planId": plan });
    let short = keyed.post(SUBSCRIBE, order.clone()).await;
    short.fails(402, "INSUFFICIENT_CREDIT");
    let code = coupon(&shop.admin().await, "ISI", 60_000).await;
    customer.post(REDEEM, code).await.data(201);
    shop.leave_quota(&plan, 0).await;
    let sold_out = keyed.post(SUBSCRIBE, order.clone()).await;
    sold_out.fails(409, "QUOTA_EXHAUSTED");
    shop.leave_quota(&plan, 5).await;
    let bought = keyed.post(SUBSCRIBE, order.clone()).await;
    assert_eq!(bought.status, 201, "{}", bought.text);
    assert_replayed(&keyed.post(SUBSCRIBE, order).await, &bought);
    assert_eq!(
        (balance(&customer).await, subscriptions(&customer).await),
        (10_000, 1)
    );
    shop.books_balance().await;
}

/// A purchase that the wallet could not pay succeeds after a top-up, by the same request with the same key.
async fn an_upgrade_that_was_too_dear_is_made_under_the_same_key(shop: Shop) {
    let customer = shop.customer_with_credit("naik@example.com", 50_000).await;
    let order = json!({ "planId": shop.plan("n8n", "basic").await });
    let bought = customer.post(SUBSCRIBE, order).await.data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let id = bought["subscription"]["id"].as_str().unwrap();
    let path = format!("{SUBSCRIBE}/{id}/upgrade");
    let wanted = json!({ "planId": shop.plan("n8n", "pro").await });
    let keyed = customer.with_key("naik");
    let short = keyed.put(&path, wanted.clone()).await;
    short.fails(402, "INSUFFICIENT_CREDIT");
    let code = coupon(&shop.admin().await, "NAIK", 500_000).await;
    customer.post(REDEEM, code).await.data(201);
    let done = keyed.put(&path, wanted.clone()).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_replayed(&keyed.put(&path, wanted).await, &done);
    shop.books_balance().await;
}

/// A request for what is not there is answered as it was, also when the same comes again.
async fn a_refusal_that_lasts_is_repeated(shop: Shop) {
    let customer = shop.customer("tetap@example.com").await;
    let keyed = customer.with_key("tidak-ada");
    let unknown = json!({ "planId": Uuid::nil() });
    let first = keyed.post(SUBSCRIBE, unknown.clone()).await;
    first.fails(404, "NOT_FOUND");
    assert_replayed(&keyed.post(SUBSCRIBE, unknown).await, &first);
}

/// A request that is invalid, for its form or for what a domain finds in it, leaves the key to the
/// corrected one: that one is carried out, and its answer is kept.
async fn a_corrected_request_is_served_under_the_key_of_the_invalid_one(shop: Shop) {
    let admin = shop.admin().await;
    coupon(&admin, "BENAR", 60_000).await;
    let customer = shop.customer("betul@example.com").await;
    let plan = shop.plan("n8n", "basic").await;
    let coupons = "/api/admin/coupons";
    let new =
        json!({ "code": "BETUL", "plugin": "coupon-credit-topup", "parameters": { "amount": 1 } });
    for (caller, path, invalid, corrected) in [
        (
            &customer,
            REDEEM,
            json!({ "couponCode": "!" }),
            json!({ "couponCode": "BENAR" }),
        ),
        (
            &customer,
            SUBSCRIBE,
            json!({ "planId": "x" }),
            json!({ "planId": plan }),
        ),
        (
            &customer,
            SUBSCRIBE,
            json!({ "planId": plan, "config": { "nonsense": 1 } }),
            json!({ "planId": shop.plan("n8n", "free").await }),
        ),
        (
            &admin,
            coupons,
            json!({ "code": "BETUL", "plugin": "coupon-credit-topup", "parameters": { "amount": 0 } }),
            new,
        ),
    ] {
        let keyed = caller.with_key(format!("betul-{path}-{invalid}").replace(['"', ' '], ""));
        let refused = keyed.post(path, invalid.clone()).await;
        assert_eq!(refused.status, 400, "{path} {invalid}: {}", refused.text);
        let served = keyed.post(path, corrected.clone()).await;
        assert_eq!(served.status, 201, "{path} {corrected}: {}", served.text);
        assert_replayed(&keyed.post(path, corrected).await, &served);
        // Now the key has its request.
        let other = keyed.post(path, invalid).await;
        assert!(matches!(other.status, 400 | 422), "{path}: {}", other.text);
    }
    assert_eq!(subscriptions(&customer).await, 2);
    shop.books_balance().await;
}

/// After a day a key is forgotten, and its row is removed.
async fn a_day_later(shop: Shop) {
    let code = coupon(&shop.admin().await, "BESOK", 1_000).await;
    let customer = shop.customer("besok@example.com").await.with_key("besok");
    customer.post(REDEEM, code.clone()).await.data(201);
    shop.clock()
        .advance(TimeDelta::hours(24) - TimeDelta::minutes(1));
    let customer = shop.sign_in("besok@example.com").await.with_key("besok");
    assert!(customer.post(REDEEM, code.clone()).await.is_replayed());
    let (db, clock) = (&shop.state().db, shop.clock());
    assert_eq!(idempotency::purge(db, clock).await.unwrap(), 0);
    clock.advance(TimeDelta::minutes(1));
    let again = customer.post(REDEEM, code.clone()).await;
    assert!(
        again.status == 201 && !again.is_replayed(),
        "{}",
        again.text
    );
    assert_eq!(balance(&customer).await, 2_000);
    clock.advance(TimeDelta::hours(25));
    assert_eq!(idempotency::purge(db, clock).await.unwrap(), 1);
}

/// Kept answers survive a restart.
async fn a_restart(shop: Shop) {
    let code = coupon(&shop.admin().await, "TETAP", 1_000).await;
    let customer = shop.customer("tetap@example.com").await.with_key("tetap");
    let first = customer.post(REDEEM, code.clone()).await;
    let shop = shop.restart().await;
    let customer = customer.moved_to(shop.client());
    assert_replayed(&customer.post(REDEEM, code).await, &first);
    assert_eq!(balance(&customer).await, 1_000);
}

/// A request that takes its time renews the lease of its key.
async fn a_request_that_runs_keeps_its_key(shop: Shop) {
    let customer = shop.customer("lama@example.com").await;
    let request = request(&customer, "lama").await;
    let (db, clock, terms) = (&shop.state().db, shop.clock(), terms(&shop));
    let begin = || idempotency::begin(db, clock, request.clone(), terms);
    let Begun::Run(claim) = begin().await.unwrap() else {
        panic!("the key is new")
    };
    // All but a moment of the lease.
    clock.advance(TimeDelta::seconds(14));
    let work = tokio::time::sleep(Duration::from_secs(6));
    claim.hold(work).await;
    let refused = begin().await.unwrap_err();
    assert_eq!(refused.code, dermaga_shop::Code::InProgress);
    claim.release().await.unwrap();
    assert!(matches!(begin().await, Ok(Begun::Run(_))));
}

/// The key of a request whose server crashed is usable again after its lease, for the same
/// request only; a server that was merely slow can no longer commit.
async fn a_holder_that_died(shop: Shop) {
    let code = coupon(&shop.admin().await, "MATI", 1_000).await;
    let customer = shop.customer("mati@example.com").await.with_key("mati");
    let (db, clock) = (&shop.state().db, shop.clock());
    let request = request(&customer, "mati").await;
    let terms = terms(&shop);
    let begin = || idempotency::begin(db, clock, request.clone(), terms);
    let Begun::Run(slow) = begin().await.unwrap() else {
        panic!("the key is new")
    };
    customer
        .post(REDEEM, code)
        .await
        .fails(422, "IDEMPOTENCY_MISMATCH");
    let waiting = begin().await.unwrap_err();
    assert_eq!(waiting.code, dermaga_shop::Code::InProgress);
    // The wait is a part of the lease, which is short until it is renewed.
    let seconds = waiting.retry_after.unwrap();
    assert!((1..=10).contains(&seconds), "{seconds}");

    clock.advance(TimeDelta::from_std(HELD).unwrap());
    let Begun::Run(second) = begin().await.unwrap() else {
        panic!("the lease is over")
    };
    let sql = "UPDATE wallets SET total_spent = total_spent + 7";
    let act = async || {
        let mut conn = db.begin().await.unwrap();
        dermaga_shop::execute!(&mut conn, sql).unwrap();
        dermaga_shop::db::Uncommitted::new(conn, ())
    };
    let answer = idempotency::Answer {
        status: 201,
        body: "{}".to_owned(),
    };
    let late = slow.commit(act().await, &answer).await.unwrap_err();
    assert_eq!(late.code, dermaga_shop::Code::InProgress);
    second.commit(act().await, &answer).await.unwrap();
    let Begun::Answered(kept) = begin().await.unwrap() else {
        panic!("it was answered")
    };
    assert_eq!(kept, answer);
    let wallet = customer.get("/api/wallet/info").await.data(200);
    assert_eq!(wallet["totalSpent"], 7);
}

/// Claims the key of a request at a shop's server, as one does that dies before it has answered.
async fn claimed_and_left(shop: &Shop, request: &Request) {
    let state = shop.state();
    let begun = idempotency::begin(&state.db, &state.clock, request.clone(), terms(shop)).await;
    assert!(matches!(&begun, Ok(Begun::Run(_))));
    std::mem::forget(begun);
}

/// A server that died while it worked on a request leaves a claim, which its next run ends.
async fn a_restart_ends_the_claims_of_the_run_before(shop: Shop) {
    let customer = shop.customer("mati@example.com").await;
    let request = request(&customer, "mati").await;
    claimed_and_left(&shop, &request).await;
    let server = shop.state().server;
    let shop = shop.restart().await;
    assert_eq!(shop.state().server, server);
    let state = shop.state();
    let began = std::time::Instant::now();
    let begun = idempotency::begin(&state.db, &state.clock, request, terms(&shop)).await;
    assert!(matches!(&begun, Ok(Begun::Run(_))));
    assert!(began.elapsed() < Duration::from_secs(4), "it waited");
}

/// The start of a server ends no claims of another one, which may be at work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_start_of_another_server_on_postgresql_ends_no_claims() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let customer = shop.customer("hidup@example.com").await;
    let request = request(&customer, "hidup").await;
    claimed_and_left(&shop, &request).await;
    let held = async || {
        let mut conn = shop.state().db.read().await.unwrap();
        let sql = "SELECT lease_server, locked_until FROM idempotency_keys";
        fetch_one!(conn, (Uuid, DateTime<Utc>), sql).unwrap()
    };
    let before = held().await;
    assert_eq!(before.0, shop.state().server);
    let other = shop.second_server().await;
    assert_ne!(other.state().server, before.0);
    assert_eq!(held().await, before);
}
