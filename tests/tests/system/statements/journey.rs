//! A journey through the API that sends the statements which are built while the shop runs. Those that
//! are a plain text in the code are read there.

mod offers;

use chrono::{DateTime, Utc};
use dermaga::sandbox::Action;
use dermaga_shop::{
    billing::{process_grace, renew_due},
    catalog::waitlist,
    coupons,
    db::{Place, Span, new_id},
    execute,
    payments::{self, DebtFilter, PaymentFilter, check_due},
    provisioning, subscriptions, timekeeping,
    wallet::ledger,
};
use dermaga_tests::Client;
use serde_json::{Value, json};
use uuid::Uuid;

use super::lists::{ADMIN_LISTS, OWN_LISTS, cursor, lists};
use crate::api::payments::Till;

/// Sends every kind of statement once.
pub(super) async fn play(till: &Till) {
    let Till { shop, admin, .. } = till;
    let customer = shop
        .customer_with_credit("jalan@example.com", 400_000)
        .await;
    let user = customer.get("/api/user/profile").await.data(200)["id"].clone();
    webhook(&customer).await;
    shop.sign_in("jalan@example.com").await;
    let paid = till.paid(&customer, 50_000).await;
    let id = text(&till.seen(&paid).await["payment"]["id"]);
    let named = format!("/api/wallet/transactions/{}/status", paid.id);
    customer.get(&named).await.data(200);
    admin
        .with_key("jalan-kembali")
        .post(
            &format!("/api/admin/payments/{id}/refund"),
            json!({ "amount": 1_000, "reason": "Salah kirim" }),
        )
        .await
        .data(200);
    let open = till.top_up(&customer, 20_000, "QRIS").await;
    till.act(&open, Action::Deny);
    let top_up = json!({ "amount": 20_000, "paymentMethod": "QRIS" });
    let keyed = customer.with_key("jalan-isi");
    keyed.post("/api/wallet/topup", top_up).await.data(201);
    check_due(&shop.state().payments).await.unwrap();

    let subscription = subscribe(till, &customer).await;
    offers::coupons(till, &customer).await;
    offers::reduced(till, &customer).await;
    offers::plugins(till).await;
    offers::catalogue(till).await;
    offers::waiting(till, &customer).await;
    books(till, &customer, &user).await;
    archive(till, &customer, &user).await;
    evidence(till, &customer).await;
    tickets(&customer, admin).await;

    let digest = admin.get("/api/admin/plugins/service-n8n").await.data(200)["active"].clone();
    let known = [
        ("{user}", text(&user)),
        ("{moment}", "2026-01-01T00:00:00Z".to_owned()),
        ("{later}", "2026-01-02T00:00:00Z".to_owned()),
        ("{coupon}", "JALAN".to_owned()),
        ("{digest}", text(&digest)),
        ("{subscription}", subscription.clone()),
    ];
    lists(admin, "/api/admin", ADMIN_LISTS, &known).await;
    lists(&customer, "/api", OWN_LISTS, &known).await;
    endings(till, &customer, &subscription).await;
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Buys, looks at everything, and goes to a higher plan.
async fn subscribe(till: &Till, customer: &Client) -> String {
    let shop = &till.shop;
    let (free, basic) = (
        shop.plan("n8n", "free").await,
        shop.plan("n8n", "basic").await,
    );
    let order = json!({ "planId": free });
    customer
        .post("/api/subscriptions/validate", order.clone())
        .await
        .data(200);
    customer
        .post("/api/subscriptions/quote", order.clone())
        .await
        .data(200);
    let bought = customer
        .with_key("jalan-1")
        .post("/api/subscriptions", order)
        .await
        .data(201);
    let (id, instance) = (
        text(&bought["subscription"]["id"]),
        text(&bought["instanceId"]),
    );
    shop.instance_becomes(customer, &instance, "RUNNING").await;
    let earlier = format!("/events?cursor={}", cursor("events"));
    for path in [
        "",
        "/credentials",
        "/manifests",
        "/events",
        earlier.as_str(),
    ] {
        customer
            .get(&format!("/api/instances/{instance}{path}"))
            .await
            .data(200);
    }
    customer
        .in_language(Some("id"))
        .get(&format!("/api/instances/{instance}/credentials"))
        .await
        .data(200);
    for path in ["", "/billing-info"] {
        customer
            .get(&format!("/api/subscriptions/{id}{path}"))
            .await
            .data(200);
    }
    let wanted = json!({ "planId": basic });
    customer
        .post(
            &format!("/api/subscriptions/{id}/upgrade-quote"),
            wanted.clone(),
        )
        .await
        .data(200);
    customer
        .put(&format!("/api/subscriptions/{id}/upgrade"), wanted)
        .await
        .data(200);
    shop.instance_becomes(customer, &instance, "RUNNING").await;
    domains(customer, &instance).await;
    for act in ["stop", "start"] {
        let path = format!("/api/instances/{instance}/{act}");
        customer.put(&path, json!({})).await.data(202);
    }
    let quota = json!({ "totalQuota": 40, "reason": "Another node was added." });
    let path = format!("/api/admin/quota/plans/{free}");
    till.admin.get(&path).await.data(200);
    till.admin.put(&path, quota).await.data(200);
    till.admin
        .get(&format!("/api/admin/subscriptions/{id}"))
        .await
        .data(200);
    id
}

/// Claims a domain that is never proven.
async fn domains(customer: &Client, instance: &str) {
    let path = format!("/api/instances/{instance}/domains");
    let domain = json!({ "domain": "jalan.example.com" });
    let claimed = customer.post(&path, domain).await.data(201);
    customer.get(&path).await.data(200);
    let verify = format!("{path}/{}/verify", text(&claimed["id"]));
    let looked = customer.post(&verify, json!({})).await.data(200);
    assert_eq!(looked["state"], "PENDING");
}

async fn evidence(till: &Till, customer: &Client) {
    let admin = &till.admin;
    let instances = customer.get("/api/instances").await.data(200);
    let instance = text(&instances[0]["id"]);
    let decisions = admin.get("/api/admin/decisions").await.data(200);
    let path = format!("/api/admin/decisions/{}", text(&decisions[0]["id"]));
    admin.get(&path).await.data(200);
    fault(till, &instance).await;
    for path in ["summary", "stats"] {
        let path = format!("/api/admin/health/{path}");
        admin.get(&path).await.data(200);
    }
    let path = format!("/api/admin/health/instances/{instance}");
    let after = format!("?cursor={}", cursor("health"));
    for query in ["", "?state=FAILED", after.as_str()] {
        admin.get(&format!("{path}{query}")).await.data(200);
    }
    for body in [json!({}), json!({ "instanceIds": [instance] })] {
        admin.post("/api/admin/health/check", body).await.data(202);
    }
    admin.get("/api/admin/audit").await.data(200);
    let profile = customer.get("/api/user/profile").await.data(200);
    let path = format!("/api/admin/users/{}", text(&profile["id"]));
    admin.get(&path).await.data(200);
    let unknown = format!("/api/admin/alerts/{}/acknowledge", Uuid::nil());
    let answer = admin.post(&unknown, json!({})).await;
    answer.fails(404, "NOT_FOUND");
}

/// Lets an instance have failed, so that its figures are completed.
async fn fault(till: &Till, instance: &str) {
    let state = till.shop.state();
    let (id, instance): (Uuid, Uuid) = (new_id(&state.clock), instance.parse().unwrap());
    let sql = "INSERT INTO health_spans (id, instance_id, state, is_new_state, reason, detail, source, since, until)
               VALUES ($1, $2, 'FAILED', TRUE, '', '', 'PERIODIC', $3, $3)";
    let mut conn = state.db.begin().await.unwrap();
    execute!(conn, sql, id, instance, state.clock.now()).unwrap();
    conn.commit().await.unwrap();
}

/// Asks and answers.
async fn tickets(customer: &Client, admin: &Client) {
    let texts = [
        ("subject", "A question of mine"),
        ("description", "How do I move my domain?"),
    ];
    let opened = customer.post_form("/api/tickets", &texts, &[]).await;
    let id = text(&opened.data(201)["id"]);
    for path in ["/api/tickets", "/api/tickets?status=OPEN"] {
        customer.get(path).await.data(200);
    }
    let path = format!("/api/admin/tickets/{id}");
    let answer = [("message", "Like this.")];
    let messages = format!("{path}/messages");
    admin.post_form(&messages, &answer, &[]).await.data(201);
    admin.get(&path).await.data(200);
    let closing = json!({ "reason": "It was answered well." });
    admin.put(&format!("{path}/close"), closing).await.data(200);
}

/// Makes a webhook and disables it before anything happens, so that nothing is sent.
async fn webhook(customer: &Client) {
    let new = json!({ "url": "https://hooks.example.com/", "events": ["QUOTA_FREE"] });
    let made = customer.post("/api/webhooks", new).await.data(201);
    let path = format!("/api/webhooks/{}", text(&made["id"]));
    let disabled = customer.patch(&path, json!({ "enabled": false })).await;
    assert!(disabled.data(200)["disabledAt"].is_string());
    let path = format!("{path}/deliveries");
    customer.get(&path).await.data(200);
    let earlier = format!("cursor={}", cursor("deliveries"));
    for query in ["state=DEAD", earlier.as_str()] {
        customer.get(&format!("{path}?{query}")).await.data(200);
    }
}

async fn books(till: &Till, customer: &Client, user: &Value) {
    let (shop, admin) = (&till.shop, &till.admin);
    for path in ["info", "statistics", "statement", "payment-methods"] {
        assert_eq!(
            customer.get(&format!("/api/wallet/{path}")).await.status,
            200,
            "{path}"
        );
    }
    let transactions = customer.get("/api/wallet/transactions").await.data(200);
    let first = text(&transactions[0]["id"]);
    for path in ["", "/decisions", "/receipt"] {
        let answer = customer
            .get(&format!("/api/wallet/transactions/{first}{path}"))
            .await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }
    let wallet = format!("/api/admin/wallets/{}", text(user));
    let gift = json!({ "amount": 5_000, "reason": "A gift to begin with." });
    admin
        .post(&format!("{wallet}/add-credit"), gift)
        .await
        .data(201);
    for path in [
        wallet.clone(),
        format!("{wallet}/statement"),
        "/api/admin/wallets/statistics".to_owned(),
    ] {
        assert_eq!(admin.get(&path).await.status, 200, "{path}");
    }
    for job in admin
        .get("/api/admin/jobs")
        .await
        .data(200)
        .as_array()
        .unwrap()
    {
        admin
            .post(
                &format!("/api/admin/jobs/{}/run", text(&job["name"])),
                json!({}),
            )
            .await
            .data(200);
    }
    assert!(
        ledger::verify(&shop.state().db, shop.clock())
            .await
            .unwrap()
            .holds()
    );
}

/// Takes the archive of an account, and reads its lists on as one does that is long.
async fn archive(till: &Till, customer: &Client, user: &Value) {
    let proof = json!({ "password": "kata sandi yang panjang" });
    let taken = customer.post("/api/user/export", proof).await;
    assert_eq!(taken.status, 200, "{}", taken.text);
    let (state, now) = (till.shop.state(), till.shop.clock().now());
    let (db, user) = (&state.db, text(user).parse().unwrap());
    let paid = PaymentFilter {
        user_id: Some(user),
        ..PaymentFilter::default()
    };
    payments::list(db, paid, after(now)).await.unwrap();
    let owed = DebtFilter {
        user_id: Some(user),
        ..DebtFilter::default()
    };
    payments::debts(db, owed, after(now)).await.unwrap();
    let used = coupons::redemptions_by(db, user, after(now));
    assert_eq!(used.await.unwrap().items.len(), 1);
    subscriptions::list(db, user, None, after(now))
        .await
        .unwrap();
    provisioning::list(db, user, None, after(now))
        .await
        .unwrap();
    dermaga_shop::plugins::walk_explained(db, user, after(now))
        .await
        .unwrap();
    let waits = waitlist::walk(&state.catalog, user, after(now));
    waits.await.unwrap();
    let notifications = state.notifications.walk(user, after(now));
    notifications.await.unwrap();
    state.tickets.list(user, None, after(now)).await.unwrap();
}

/// Returns the part of a list, of one row, after a moment.
fn after<K: From<Uuid>>(at: DateTime<Utc>) -> Span<K> {
    let tie = Uuid::nil().into();
    Span::After(Place { at, tie }, 1)
}

/// Lets the next period begin, and the subscription end.
async fn endings(till: &Till, customer: &Client, subscription: &str) {
    let state = till.shop.state();
    renew_due(&state.subscriptions).await.unwrap();
    process_grace(&state.subscriptions).await.unwrap();
    timekeeping::mend(&state.db, &state.clock).await.unwrap();
    for page in ["", "?page=2"] {
        let path = format!("/api/admin/billing/preview{page}");
        till.admin.get(&path).await.data(200);
    }
    customer
        .delete(&format!("/api/subscriptions/{subscription}"))
        .await
        .data(200);
}
