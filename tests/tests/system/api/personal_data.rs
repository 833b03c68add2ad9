//! Tests of security events and the deletion of accounts.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga::sandbox::{Action, Fault};
use dermaga_shop::{fetch_one, ids::UserId};
use dermaga_tests::{Answer, Client, Shop, both_engines};
use serde_json::{Value, json};

use super::{
    payments::{Till, eventually},
    tickets,
};
use crate::pictures;

const USER: &str = "/api/user";
const PASSWORD: &str = "kata sandi yang panjang";
const WHY: &str = "As asked for by the owner.";

both_engines!(
    Shop,
    [
        what_is_personal_goes_and_the_books_stay,
        nothing_is_deleted_that_runs_or_is_paid_for,
        an_administrator_deletes_with_a_reason,
        of_a_purchase_and_a_deletion_one_happens,
        an_address_is_welcomed_once,
        a_mailbox_is_welcomed_once,
        security_events_are_of_the_account_alone,
        the_address_of_a_deleted_account_is_not_guessed_and_opens_nothing
    ]
);

both_engines!(Till, [money_on_its_way_keeps_an_account]);

async fn id(client: &Client) -> String {
    let profile = client.get("/api/user/profile").await.data(200);
    profile["id"].as_str().unwrap().to_owned()
}

async fn delete(client: &Client, gives_up: bool) -> Answer {
    let body = json!({ "password": PASSWORD, "giveUpCredit": gives_up });
    client.delete_with(USER, body).await
}

/// Counts the rows of tables about a person.
async fn personal_rows(shop: &Shop, id: &str) -> i64 {
    let id: UserId = id.parse().unwrap();
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT (SELECT count(*) FROM notifications WHERE user_id = $1) \
        + (SELECT count(*) FROM sessions WHERE user_id = $1) \
        + (SELECT count(*) FROM refresh_tokens WHERE user_id = $1) \
        + (SELECT count(*) FROM api_tokens WHERE user_id = $1) \
        + (SELECT count(*) FROM mailed_tokens WHERE user_id = $1) \
        + (SELECT count(*) FROM webhook_endpoints WHERE owner_id = $1) \
        + (SELECT count(*) FROM custom_domains WHERE user_id = $1) \
        + (SELECT count(*) FROM customer_events WHERE user_id = $1) \
        + (SELECT count(*) FROM idempotency_keys WHERE user_id = $1) \
        + (SELECT count(*) FROM tickets WHERE user_id = $1) \
        + (SELECT count(*) FROM ticket_attachments WHERE user_id = $1 AND (message_id IS NOT NULL OR name <> '')) \
        + (SELECT count(*) FROM outbox WHERE subject_id = $1)";
    let (count,) = fetch_one!(conn, (i64,), sql, id).unwrap();
    count
}

/// An owner deletes an account with the password: nothing of the person is left but what the books
/// refer to, and the address is free.
async fn what_is_personal_goes_and_the_books_stay(shop: Shop) {
    let email = "pergi@example.com";
    let customer = shop.customer_with_credit(email, 25_000).await;
    let person = id(&customer).await;
    let key = json!({ "name": "laporan", "scope": "WRITE" });
    let key = customer.post("/api/user/api-tokens", key).await.data(201);
    let hook = json!({ "url": "https://hooks.example.com/", "events": ["TICKET_ANSWERED"] });
    customer.post("/api/webhooks", hook).await.data(201);
    let picture = pictures::png();
    let asked = tickets::ask(&customer, &[("rumah.png", &picture)]).await;
    asked.data(201);
    assert!(personal_rows(&shop, &person).await > 3);

    let program = shop.client().with_token(key["token"].as_str().unwrap());
    delete(&program, true).await.fails(403, "FORBIDDEN");
    let proof = json!({ "password": PASSWORD });
    let archive = program.post("/api/user/export", proof).await;
    archive.fails(403, "FORBIDDEN");
    let wrong = json!({ "password": "another password" });
    let refused = customer.delete_with(USER, wrong).await;
    assert!(
        refused
            .fails(400, "VALIDATION_FAILED")
            .detail("password")
            .is_some()
    );
    let empty_code = json!({ "password": PASSWORD, "code": "" });
    for wrong in [
        json!({}),
        json!({ "password": PASSWORD, "x": 1 }),
        empty_code,
    ] {
        let refused = customer.delete_with(USER, wrong).await;
        refused.fails(400, "VALIDATION_FAILED");
    }
    let forgotten = json!({ "email": email });
    let path = "/api/auth/forgot-password";
    shop.client().post(path, forgotten).await.data(200);
    // Bonus credit needs no word: it is no money of the customer.
    delete(&customer, false).await.data(200);
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT count(*) FROM outbox WHERE CAST(payload AS TEXT) LIKE '%pergi@example.com%'";
    let (mails,) = fetch_one!(conn, (i64,), sql).unwrap();
    drop(conn);
    assert_eq!(mails, 0, "no message has the address of a deleted account");

    for client in [&customer, &program] {
        let answer = client.get("/api/wallet/info").await;
        answer.fails(401, "UNAUTHENTICATED");
    }
    let login = json!({ "email": email, "password": PASSWORD });
    let refused = shop.client().post("/api/auth/login", login).await;
    refused.fails(401, "INVALID_CREDENTIALS");
    assert_eq!(personal_rows(&shop, &person).await, 0);

    let admin = shop.admin().await;
    let path = format!("/api/admin/users/{person}");
    let left = admin.get(&path).await.data(200);
    assert_eq!(
        (&left["state"], &left["name"], &left["bonusBalance"]),
        (&json!("DELETED"), &json!("Deleted account"), &json!(0))
    );
    assert!(!left.to_string().contains("pergi"));
    let found = admin.get("/api/admin/users?state=DELETED").await.data(200);
    assert_eq!(found.as_array().unwrap().len(), 1);
    let path = format!("/api/admin/transactions?userId={person}");
    let kept = admin.get(&path).await.data(200);
    let amounts: Vec<&Value> = kept
        .as_array()
        .unwrap()
        .iter()
        .map(|transaction| &transaction["amount"])
        .collect();
    assert_eq!(amounts, [-25_000, 25_000]);
    let path = format!("/api/admin/audit?subject=user:{person}");
    let acts = admin.get(&path).await.data(200);
    assert_eq!(acts[0]["act"], "user.deleted");
    shop.books_balance().await;
    // Nothing more is done to it, and the address is free again.
    let path = format!("/api/admin/users/{person}/status");
    let request = admin.request(reqwest::Method::PATCH, &path);
    let revival = json!({ "status": "ACTIVE", "reason": WHY });
    let revived = admin.send(request.json(&revival)).await;
    revived.fails(404, "NOT_FOUND");
    let again = shop.customer(email).await;
    assert_ne!(id(&again).await, person);
}

/// Services that run and money that was paid have to be settled first, each with its detail.
async fn nothing_is_deleted_that_runs_or_is_paid_for(shop: Shop) {
    let customer = shop.customer("berjalan@example.com").await;
    let (person, admin) = (id(&customer).await, shop.admin().await);
    let order = json!({ "planId": shop.plan("n8n", "free").await });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let credit = json!({ "amount": 30_000, "kind": "PAID", "reason": WHY });
    let path = format!("/api/admin/wallets/{person}/add-credit");
    admin.post(&path, credit).await.data(201);

    let refused = delete(&customer, false).await;
    refused.fails(409, "INVALID_STATE");
    assert_eq!(
        refused.detail("subscriptions"),
        Some("1 still to be cancelled")
    );
    assert_eq!(refused.detail("instances"), Some("1 still to be removed"));
    assert!(refused.detail("giveUpCredit").unwrap().contains("Rp30.000"));
    assert_eq!(refused.detail("debts"), None);
    let subscription = bought["subscription"]["id"].as_str().unwrap();
    let path = format!("/api/subscriptions/{subscription}");
    customer.delete(&path).await.data(200);
    shop.instance_becomes(&customer, instance, "TERMINATED")
        .await;
    let refused = delete(&customer, false).await;
    refused.fails(409, "INVALID_STATE");
    assert_eq!(refused.detail("subscriptions"), None);
    assert!(refused.detail("giveUpCredit").is_some());
    customer.get("/api/wallet/info").await.data(200);
    delete(&customer, true).await.data(200);
    shop.books_balance().await;
}

/// Returns the detail about a thing that keeps an account from being deleted, if it does.
async fn obstacle(owner: &Client, field: &str) -> Option<String> {
    let refused = delete(owner, false).await;
    refused.fails(409, "INVALID_STATE");
    refused.detail(field).map(str::to_owned)
}

/// A top-up that waits, a refund without an answer and a debt keep an account, each until it is over.
async fn money_on_its_way_keeps_an_account(till: Till) {
    let shop = &till.shop;
    let customer = shop.customer("jalan@example.com").await;
    let top_up = till.top_up(&customer, 60_000, "QRIS").await;
    let told = obstacle(&customer, "topUps").await;
    assert_eq!(told.as_deref(), Some("1 still to be paid or cancelled"));
    till.act(&top_up, Action::Pay);
    till.notify(&top_up).await.data(200);
    assert_eq!(obstacle(&customer, "topUps").await, None);

    till.gateway.fail_next([Fault::TooMany(5)]);
    let path = till.refunds_of(&top_up).await;
    let refund = json!({ "amount": 10_000, "reason": WHY });
    let unanswered = till.admin.post(&path, refund).await;
    unanswered.fails(503, "GATEWAY_UNAVAILABLE");
    let told = obstacle(&customer, "refunds").await;
    let still = "1 still to be answered by the gateway";
    assert_eq!(told.as_deref(), Some(still));
    shop.clock().advance(TimeDelta::seconds(91));
    let is_answered = async || {
        let mut conn = shop.state().db.read().await.unwrap();
        let sql = "SELECT count(*) FROM payment_refunds WHERE state = 'PENDING'";
        let (open,) = fetch_one!(conn, (i64,), sql).unwrap();
        open == 0
    };
    eventually("the refund is answered", is_answered).await;
    assert_eq!(obstacle(&customer, "refunds").await, None);
    delete(&customer, true).await.data(200);

    let debtor = shop.customer("berutang@example.com").await;
    let spent = till.paid(&debtor, 50_000).await;
    let order = json!({ "planId": shop.plan("n8n", "basic").await });
    debtor.post("/api/subscriptions", order).await.data(201);
    till.act(&spent, Action::Chargeback);
    till.notify(&spent).await.data(200);
    let told = obstacle(&debtor, "debts").await;
    assert_eq!(told.as_deref(), Some("1 still to be paid"));
    till.paid(&debtor, 50_000).await;
    assert_eq!(obstacle(&debtor, "debts").await, None);
    shop.books_balance().await;
}

/// Administrators delete an account as its owner would, with a reason, once; never the last of them.
async fn an_administrator_deletes_with_a_reason(shop: Shop) {
    let customer = shop.customer("dihapus@example.com").await;
    let (person, admin) = (id(&customer).await, shop.admin().await);
    let path = format!("/api/admin/users/{person}");
    let refused = admin.delete_with(&path, json!({ "reason": "no" })).await;
    refused.fails(400, "VALIDATION_FAILED");
    let because = json!({ "reason": WHY });
    let refused = customer.delete_with(&path, because.clone()).await;
    refused.fails(403, "FORBIDDEN");
    admin.delete_with(&path, because.clone()).await.data(200);
    customer
        .get("/api/auth/profile")
        .await
        .fails(401, "UNAUTHENTICATED");
    let again = admin.delete_with(&path, because.clone()).await;
    again.fails(404, "NOT_FOUND");
    let path = format!("/api/admin/wallets/{person}/add-credit");
    let gift = json!({ "amount": 5_000, "reason": WHY });
    let gift = admin.post(&path, gift).await;
    gift.fails(404, "NOT_FOUND");
    let own = format!("/api/admin/users/{}", id(&admin).await);
    let last = admin.delete_with(&own, because.clone()).await;
    last.fails(409, "INVALID_STATE");
    delete(&admin, false).await.fails(409, "INVALID_STATE");
    let path = format!("/api/admin/audit?subject=user:{person}");
    let acts = admin.get(&path).await.data(200);
    assert_eq!(acts[0]["reason"], WHY);
    // With another one, an administrator goes as everybody does.
    let other = shop.admin().await;
    // A session alone does not, though.
    let alone = admin.delete_with(&own, because).await;
    alone.fails(409, "INVALID_STATE");
    assert!(alone.text.contains("with its password"), "{}", alone.text);
    delete(&admin, false).await.data(200);
    other.get(&own).await.data(200);
}

/// A purchase at the same moment is either an obstacle or refused: no subscription is of an account
/// that is gone.
async fn of_a_purchase_and_a_deletion_one_happens(shop: Shop) {
    let order = json!({ "planId": shop.plan("n8n", "free").await });
    for round in 0..6 {
        let email = format!("cepat-{round}@example.com");
        let customer = shop.customer(&email).await;
        let (bought, deleted) = tokio::join!(
            customer.post("/api/subscriptions", order.clone()),
            delete(&customer, false)
        );
        match (bought.status, deleted.status) {
            (201, 409) => {}
            (401 | 404, 200) => {}
            other => panic!("{other:?}: {:#} {:#}", bought.body, deleted.body),
        }
    }
}

/// Registers an address; returns its client and the one welcome bonus that there is.
async fn welcomed(shop: &Shop, email: &str) -> (Client, Value) {
    let registered = shop.register(email).await;
    let token = registered["accessToken"].as_str().unwrap();
    let bonuses = registered["welcomeBonuses"].as_array().unwrap();
    assert_eq!(bonuses.len(), 1, "{registered:#}");
    (shop.client().with_token(token), bonuses[0].clone())
}

/// Who deletes an account and registers again gets no second welcome bonus, also of a coupon that is new; who had
/// none gets it. No address is kept for that.
async fn an_address_is_welcomed_once(shop: Shop) {
    let without = shop.customer("tanpa@example.com").await;
    delete(&without, false).await.data(200);
    let admin = shop.admin().await;
    let bonus = json!({
        "code": "SELAMAT", "plugin": "coupon-welcome-bonus", "parameters": { "amount": 10_000 },
    });
    let coupon = admin.post("/api/admin/coupons", bonus).await.data(201);
    let (customer, bonus) = welcomed(&shop, "lagi@example.com").await;
    assert_eq!(bonus["granted"], true);
    delete(&customer, false).await.data(200);
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT email_hash FROM welcomed_addresses";
    let (hash,) = fetch_one!(conn, (String,), sql).unwrap();
    drop(conn);
    assert_eq!(hash.len(), 32, "{hash}");
    let (again, bonus) = welcomed(&shop, "Lagi@Example.com").await;
    assert_eq!(bonus["granted"], false);
    let told = "Alamat surel ini sudah pernah mendapat bonus selamat datang.";
    assert_eq!(bonus["message"], told);
    let info = again.get("/api/wallet/info").await.data(200);
    assert_eq!(info["totalBalance"], 0);
    let (_, bonus) = welcomed(&shop, "tanpa@example.com").await;
    assert_eq!(bonus["granted"], true);

    delete(&again, false).await.data(200);
    let off = json!({ "ids": [coupon["id"]], "status": "DISABLED" });
    let path = "/api/admin/coupons/bulk-status";
    admin.put(path, off).await.data(200);
    let new = json!({
        "code": "LAIN", "plugin": "coupon-welcome-bonus", "parameters": { "amount": 5_000 },
    });
    admin.post("/api/admin/coupons", new).await.data(201);
    let (_, bonus) = welcomed(&shop, "lagi@example.com").await;
    assert_eq!(
        (&bonus["couponCode"], &bonus["granted"]),
        (&json!("LAIN"), &json!(false))
    );
    shop.books_balance().await;
}

/// The text after a plus sign names no other mailbox, of an account that is there as of one that is gone; a dot does.
async fn a_mailbox_is_welcomed_once(shop: Shop) {
    let admin = shop.admin().await;
    for (code, amount) in [("SELAMAT", 10_000), ("TIBA", 5_000)] {
        let bonus = json!({
            "code": code, "plugin": "coupon-welcome-bonus", "parameters": { "amount": amount },
        });
        admin.post("/api/admin/coupons", bonus).await.data(201);
    }
    let granted = async |email: &str| {
        let registered = shop.register(email).await;
        assert_eq!(registered["user"]["email"], email, "it is kept as written");
        let bonuses = registered["welcomeBonuses"].as_array().unwrap().iter();
        let each = bonuses.map(|bonus| bonus["granted"].as_bool().unwrap());
        each.collect::<Vec<bool>>()
    };
    for (email, is_welcomed) in [
        ("name+one@example.com", true),
        ("name+two@example.com", false),
        ("name@example.com", false),
        ("na.me@example.com", true),
    ] {
        assert_eq!(granted(email).await, [is_welcomed; 2], "{email}");
    }
    let (one, two) = tokio::join!(
        granted("both+one@example.com"),
        granted("both+two@example.com")
    );
    assert_ne!(one, two, "one of two at the same time");

    let customer = shop.sign_in("name+one@example.com").await;
    delete(&customer, false).await.data(200);
    let again = granted("name+three@example.com").await;
    assert_eq!(again, [false; 2]);
    shop.books_balance().await;
}

/// A new password and a new key are events of the account; a top-up is none.
async fn security_events_are_of_the_account_alone(shop: Shop) {
    let customer = shop.customer_with_credit("aman@example.com", 20_000).await;
    let key = json!({ "name": "laporan", "scope": "READ" });
    customer.post("/api/user/api-tokens", key).await.data(201);
    let path = "/api/user/security-events";
    let mut seen = Value::Null;
    for _ in 0..100 {
        seen = customer.get(path).await.data(200);
        if seen.as_array().is_some_and(|events| !events.is_empty()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let kinds: Vec<&Value> = seen
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["kind"])
        .collect();
    assert_eq!(kinds, ["API_TOKEN_CREATED"]);
    let other = shop.customer("lain@example.com").await;
    assert_eq!(other.get(path).await.data(200), json!([]));
}

/// An address that looks like one of a deleted account keeps none from being deleted, and what is left of it is
/// refused like an unknown account.
async fn the_address_of_a_deleted_account_is_not_guessed_and_opens_nothing(shop: Shop) {
    let customer = shop.customer("pamit@example.com").await;
    let (person, admin) = (id(&customer).await, shop.admin().await);
    shop.register(&format!("deleted-{person}@deleted.invalid"))
        .await;
    delete(&customer, false).await.data(200);
    let path = format!("/api/admin/users/{person}");
    let left = admin.get(&path).await.data(200);
    assert_eq!(left["state"], "DELETED");
    let login = json!({ "email": left["email"], "password": PASSWORD });
    let refused = shop.client().post("/api/auth/login", login).await;
    refused.fails(401, "INVALID_CREDENTIALS");
}
