//! Lists that grow, read on by cursors while newer rows come.

use std::{cell::Cell, collections::BTreeSet};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dermaga_shop::{db::new_id, execute, outbox::Topic};
use dermaga_tests::{Client, Shop, both_engines, unique};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    health::{buy, past, remember},
    mails::{self, Post},
    notifications::told_times,
    webhooks::{Hooked, OF_SHOP, REASON},
};

both_engines!(
    Shop,
    [
        transactions_are_read_on_while_new_ones_come,
        all_transactions_and_acts_are_read_on,
        decisions_are_read_on,
        an_inbox_is_read_on,
        events_of_an_instance_are_read_on,
        the_health_of_an_instance_is_read_on,
        runs_of_a_job_are_read_on,
        a_cursor_is_refused_that_is_none,
        a_cursor_of_another_list_is_refused,
        a_cursor_shows_nothing_of_others,
    ]
);

both_engines!(Hooked, [deliveries_to_a_webhook_are_read_on]);

both_engines!(Post, [mails_are_read_on]);

async fn gift(shop: &Shop, admin: &Client, customer: &Client, amount: i64) {
    let profile = customer.get("/api/auth/profile").await.data(200);
    let id = profile["id"].as_str().unwrap();
    let path = format!("/api/admin/wallets/{id}/add-credit");
    let body = json!({ "amount": amount, "reason": "A gift for a list." });
    admin.post(&path, body).await.data(201);
    // Two gifts may have one moment: the clock is left as it is.
    assert!(shop.clock().offset().is_some());
}

/// Reads a list to its end, two at a time, and lets something come before each further part.
pub(super) async fn walked(
    client: &Client,
    path: &str,
    field: &str,
    before_each: impl AsyncFn(),
) -> Vec<Value> {
    let joint = if path.contains('?') { '&' } else { '?' };
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = client.get(&format!("{path}{joint}limit=2{cursor}")).await;
        let page = &answer.body["pagination"];
        assert_eq!(page["limit"], 2, "{}", answer.text);
        // Only pages are counted.
        assert_eq!(page["totalItems"].is_null(), !cursor.is_empty());
        assert_eq!(page["page"].is_null(), !cursor.is_empty());
        let next = page["nextCursor"].as_str().map(str::to_owned);
        let data = answer.data(200);
        // An inbox has a number beside its list.
        let items = data.get("notifications").unwrap_or(&data);
        let items = items.as_array().unwrap();
        seen.extend(items.iter().map(|item| item[field].clone()));
        let Some(next) = next else {
            return seen;
        };
        assert_eq!(items.len(), 2, "more follows");
        cursor = format!("&cursor={next}");
        before_each().await;
    }
}

async fn transactions_are_read_on_while_new_ones_come(shop: Shop) {
    let (admin, customer) = (shop.admin().await, shop.customer("jalan@example.com").await);
    for amount in 1..=7 {
        gift(&shop, &admin, &customer, amount * 1_000).await;
    }
    let new = async || gift(&shop, &admin, &customer, 99_000).await;
    let seen = walked(&customer, "/api/wallet/transactions", "amount", new).await;
    let expected: Vec<Value> = (1..=7).rev().map(|amount| json!(amount * 1_000)).collect();
    assert_eq!(seen, expected, "each once, and none that came later");

    // By pages the same rows come again.
    let of_type = "/api/wallet/transactions?type=ADMIN_ADJUSTMENT";
    let seen = walked(&customer, of_type, "number", async || {}).await;
    assert_eq!(seen.len(), 10);
    let whole = customer.get("/api/wallet/transactions?limit=100").await;
    assert!(whole.body["pagination"]["nextCursor"].is_null());
    let whole = whole.data(200);
    let numbers: Vec<Value> = whole
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["number"].clone())
        .collect();
    assert_eq!(seen, numbers);
}

async fn all_transactions_and_acts_are_read_on(shop: Shop) {
    let (admin, customer) = (shop.admin().await, shop.customer("semua@example.com").await);
    for amount in 1..=5 {
        gift(&shop, &admin, &customer, amount * 1_000).await;
    }
    let new = async || gift(&shop, &admin, &customer, 99_000).await;
    let seen = walked(&admin, "/api/admin/transactions", "amount", new).await;
    assert_eq!(seen, [5_000, 4_000, 3_000, 2_000, 1_000].map(Value::from));
    let before = walked(&admin, "/api/admin/audit", "id", async || {}).await;
    assert_eq!(before.len(), 7);
    let new = async || gift(&shop, &admin, &customer, 99_000).await;
    let after = walked(&admin, "/api/admin/audit", "id", new).await;
    assert_eq!(after, before);
}

async fn decisions_are_read_on(shop: Shop) {
    let admin = shop.admin().await;
    // Each redemption is a decision of its coupon's plugin.
    let redeem = async || {
        let email = format!("{}@example.com", unique());
        shop.customer_with_credit(&email, 1_000).await;
    };
    for _ in 0..5 {
        redeem().await;
    }
    let before = walked(&admin, "/api/admin/decisions", "id", async || {}).await;
    assert_eq!(before.len(), 5);
    let after = walked(&admin, "/api/admin/decisions", "id", redeem).await;
    assert_eq!(after, before);
}

/// Makes an API token and returns once the inbox has told so many.
async fn token_told(customer: &Client, count: usize) {
    let key = json!({ "name": unique(), "scope": "READ" });
    customer.post("/api/user/api-tokens", key).await.data(201);
    told_times(customer, "API_TOKEN_CREATED", count).await;
}

async fn an_inbox_is_read_on(shop: Shop) {
    let customer = shop.customer("kotak@example.com").await;
    let other = shop.customer("sebelah@example.com").await;
    token_told(&other, 1).await;
    for count in 1..=5 {
        token_told(&customer, count).await;
    }
    let ids = async |path: &str| {
        let listed = customer.get(&format!("{path}?limit=100")).await.data(200);
        let listed = listed.get("notifications").unwrap_or(&listed).clone();
        let listed = listed.as_array().unwrap().iter();
        listed.map(|row| row["id"].clone()).collect::<Vec<_>>()
    };
    let path = "/api/user/security-events";
    let before = ids(path).await;
    assert_eq!(before.len(), 5);
    let come = Cell::new(5);
    let new = async || {
        come.set(come.get() + 1);
        token_told(&customer, come.get()).await;
    };
    assert_eq!(walked(&customer, path, "id", new).await, before);
    refuses_other_cursors(&customer, path, "security").await;

    let path = "/api/notifications";
    let before = ids(path).await;
    assert!(before.len() >= come.get(), "{before:?}");
    let new = async || {
        come.set(come.get() + 1);
        token_told(&customer, come.get()).await;
    };
    assert_eq!(walked(&customer, path, "id", new).await, before);
    let unread = format!("{path}?unread=true");
    let seen = walked(&customer, &unread, "id", async || {}).await;
    assert_eq!(seen, ids(path).await);
    refuses_other_cursors(&customer, path, "inbox").await;
}

/// Writes an event of an instance as the shop does, at the time of its clock.
async fn event(shop: &Shop, instance: &str, message: &str) {
    let instance: Uuid = instance.parse().unwrap();
    let clock = shop.clock();
    let id: Uuid = new_id(clock);
    let sql = "INSERT INTO instance_events (id, instance_id, kind, message, created_at) VALUES ($1, $2, 'WRITTEN', $3, $4)";
    let mut conn = shop.state().db.begin().await.unwrap();
    execute!(conn, sql, id, instance, message, clock.now()).unwrap();
    conn.commit().await.unwrap();
}

/// All events of an instance are reached, more than 500 and by both routes.
async fn events_of_an_instance_are_read_on(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop
        .customer_with_credit("riwayat@example.com", 200_000)
        .await;
    let order = json!({ "planId": shop.plan("postgresql", "basic").await });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let id = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, id, "RUNNING").await;
    for number in 0..510 {
        event(&shop, id, &format!("Number {number}.")).await;
    }
    let own = format!("/api/instances/{id}/events");
    let of_all = format!("/api/admin/instances/{id}/events");
    let pages = 1..=6;
    for (client, path) in [(&customer, &own), (&admin, &of_all)] {
        let mut before = Vec::new();
        for page in pages.clone() {
            let listed = client.get(&format!("{path}?limit=100&page={page}")).await;
            assert_eq!(listed.body["pagination"]["totalPages"], 6);
            let listed = listed.data(200);
            let listed = listed.as_array().unwrap().iter();
            before.extend(listed.map(|event| event["message"].clone()));
        }
        assert!(before.len() >= 512, "{}", before.len());
        let numbers = |messages: &[Value]| {
            let texts = messages.iter().filter_map(Value::as_str);
            let texts = texts.filter(|text| text.starts_with("Number "));
            texts.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let expected: BTreeSet<_> = (0..510).map(|at| format!("Number {at}.")).collect();
        assert_eq!(numbers(&before), expected);
        let new = async || event(&shop, id, "Later.").await;
        let seen = read_on(client, path, 100, new).await;
        assert_eq!(seen, before, "each once, and none that came later");
        refuses_other_cursors(client, path, "events").await;
        let gone = "DELETE FROM instance_events WHERE message = 'Later.'";
        shop.sql(gone).await.unwrap();
    }
}

/// Reads the messages of a list to its end, so many at a time.
async fn read_on(
    client: &Client,
    path: &str,
    limit: usize,
    before_each: impl AsyncFn(),
) -> Vec<Value> {
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = client.get(&format!("{path}?limit={limit}{cursor}")).await;
        let next = &answer.body["pagination"]["nextCursor"];
        let next = next.as_str().map(str::to_owned);
        let items = answer.data(200);
        let items = items.as_array().unwrap().iter();
        seen.extend(items.map(|item| item["message"].clone()));
        let Some(next) = next else {
            return seen;
        };
        cursor = format!("&cursor={next}");
        before_each().await;
    }
}

async fn deliveries_to_a_webhook_are_read_on(hooked: Hooked) {
    let Hooked {
        shop,
        receiver,
        admin,
        ..
    } = &hooked;
    let customer = shop.customer("kait@example.com").await;
    let (own, _secret) = hooked.hook(&customer, "/own", json!(["QUOTA_FREE"])).await;
    let new = json!({ "url": receiver.url("/shop"), "events": ["IMAGE_OLD"], "reason": REASON });
    let made = admin.post(OF_SHOP, new).await.data(201);
    let of_shop = format!("{OF_SHOP}/{}", made["id"].as_str().unwrap());
    for (client, hook) in [(&customer, own), (admin, of_shop)] {
        let test = format!("{hook}/test");
        let send = async || {
            client.post(&test, json!({})).await.data(202);
        };
        for _ in 0..5 {
            send().await;
        }
        let path = format!("{hook}/deliveries");
        let before = walked(client, &path, "id", async || {}).await;
        assert_eq!(before.len(), 5);
        assert_eq!(walked(client, &path, "id", send).await, before);
        refuses_other_cursors(client, &path, "deliveries").await;
    }
}

async fn mails_are_read_on(post: Post) {
    let Post { shop, admin, .. } = &post;
    let (_reader, id) = mails::customer(shop, "surat@example.com").await;
    let come = Cell::new(0_usize);
    let mail = async || {
        come.set(come.get() + 1);
        let key = format!("TX-{}", come.get());
        mails::put(shop, (Topic::TopUpReceived, id), &key).await;
        mails::deliveries(admin, "SENT", come.get()).await;
    };
    for _ in 0..5 {
        mail().await;
    }
    let path = mails::DELIVERIES;
    let before = walked(admin, path, "id", async || {}).await;
    assert_eq!(before.len(), 5);
    assert_eq!(walked(admin, path, "id", mail).await, before);
    let sent = format!("{path}?state=SENT");
    let sent = walked(admin, &sent, "id", async || {}).await;
    assert_eq!(sent.len(), come.get());
    refuses_other_cursors(admin, path, "mails").await;
}

/// Writes that an instance had failed for a moment.
async fn failed(shop: &Shop, instance: &str) {
    let (id, instance): (Uuid, Uuid) = (new_id(shop.clock()), instance.parse().unwrap());
    let sql = "INSERT INTO health_spans (id, instance_id, state, is_new_state, reason, detail, source, since, until)
               VALUES ($1, $2, 'FAILED', TRUE, '', '', 'PERIODIC', $3, $3)";
    let mut conn = shop.state().db.begin().await.unwrap();
    execute!(conn, sql, id, instance, shop.clock().now()).unwrap();
    conn.commit().await.unwrap();
}

async fn the_health_of_an_instance_is_read_on(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop
        .customer_with_credit("denyut@example.com", 400_000)
        .await;
    let (id, other) = (buy(&shop, &customer).await, buy(&shop, &customer).await);
    // Two spans begin at one moment.
    let spans = [
        past("HEALTHY", 90, Some(80)),
        past("FAILED", 80, Some(80)),
        past("HEALTHY", 80, Some(50)),
        past("DEGRADED", 50, Some(40)),
        past("HEALTHY", 40, None),
    ];
    remember(&shop, &id, &spans).await;
    remember(&shop, &other, &[past("HEALTHY", 60, None)]).await;
    let path = format!("/api/admin/health/instances/{id}");
    let before = walked(&admin, &path, "id", async || {}).await;
    assert_eq!(before.len(), 5);
    let new = async || failed(&shop, &id).await;
    assert_eq!(walked(&admin, &path, "id", new).await, before);
    let healthy = format!("{path}?state=HEALTHY");
    let healthy = walked(&admin, &healthy, "id", async || {}).await;
    assert_eq!(healthy.len(), 3);
    refuses_other_cursors(&admin, &path, "health").await;
}

async fn runs_of_a_job_are_read_on(shop: Shop) {
    let admin = shop.admin().await;
    let run = async || {
        let path = "/api/admin/jobs/coupon-statuses/run";
        admin.post(path, json!({})).await.data(200);
    };
    for _ in 0..5 {
        run().await;
    }
    let path = "/api/admin/jobs/coupon-statuses/runs";
    let before = walked(&admin, path, "id", async || {}).await;
    assert_eq!(before.len(), 5);
    assert_eq!(walked(&admin, path, "id", run).await, before);
    refuses_other_cursors(&admin, path, "runs").await;
}

/// Cursors that the list of this name has not written are refused, and one beside a page.
pub(super) async fn refuses_other_cursors(client: &Client, path: &str, list: &str) {
    let packed = |list: &str, place: &str| URL_SAFE_NO_PAD.encode(format!("{list}.{place}"));
    let id = Uuid::from_u128(0xabc);
    let place = format!("1790000000123.{id}");
    let good = packed(list, &place);
    client.get(&format!("{path}?cursor={good}")).await.data(200);
    for query in [
        "x".to_owned(),
        URL_SAFE_NO_PAD.encode(&place),
        packed("acts", &place),
        packed(list, "1790000000123.TXMP-1"),
        packed(list, &format!("-1.{id}")),
        packed(list, &format!("1790000000123.{}", id.simple())),
        packed(list, &format!("{place}' OR '1'='1")),
        format!("{good}&page=2"),
    ] {
        let refused = client.get(&format!("{path}?cursor={query}")).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail("cursor").is_some(), "{}", refused.text);
    }
}

async fn a_cursor_is_refused_that_is_none(shop: Shop) {
    let (admin, customer) = (shop.admin().await, shop.customer("salah@example.com").await);
    for amount in 1..=3 {
        gift(&shop, &admin, &customer, amount * 1_000).await;
    }
    let page = customer.get("/api/wallet/transactions?limit=1").await;
    let cursor = page.body["pagination"]["nextCursor"].as_str().unwrap();
    // Before 1970, and in other spellings than the shop's.
    for place in [
        "-1.TXMP-1",
        "+1790000000123.TXMP-1",
        "1790000000123.TXMP-01",
    ] {
        for (client, path, list) in [
            (&customer, "/api/wallet/transactions", "own"),
            (&admin, "/api/admin/transactions", "transactions"),
        ] {
            let cursor = URL_SAFE_NO_PAD.encode(format!("{list}.{place}"));
            let refused = client.get(&format!("{path}?cursor={cursor}")).await;
            refused.fails(400, "VALIDATION_FAILED");
            assert!(refused.detail("cursor").is_some(), "{}", refused.text);
        }
    }
    for (client, query) in [
        (&customer, "/api/wallet/transactions?cursor=x".to_owned()),
        (
            &customer,
            "/api/wallet/transactions?cursor=%27%20OR%201=1".to_owned(),
        ),
        (
            &customer,
            format!("/api/wallet/transactions?cursor={}", "A".repeat(101)),
        ),
        (
            &customer,
            format!("/api/wallet/transactions?cursor={cursor}&page=2"),
        ),
        (&admin, format!("/api/admin/decisions?cursor={cursor}")),
        (&admin, format!("/api/admin/audit?cursor={cursor}")),
    ] {
        let refused = client.get(&query).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail("cursor").is_some(), "{}", refused.text);
    }
    for (cursor, message) in [
        ("A".repeat(101), "must have at most 100 characters, not 101"),
        (String::new(), "must not be empty"),
    ] {
        let path = format!("/api/wallet/transactions?cursor={cursor}");
        let refused = customer.get(&path).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert_eq!(refused.detail("cursor"), Some(message));
    }
    // Lists that do not grow have none.
    let other = format!("/api/subscriptions/waitlist?cursor={cursor}");
    customer.get(&other).await.fails(400, "VALIDATION_FAILED");
}

/// Lists of one order know their own cursors, each the one that its answer had.
async fn a_cursor_of_another_list_is_refused(shop: Shop) {
    let (admin, customer) = (shop.admin().await, shop.customer("tukar@example.com").await);
    for amount in 1..=3 {
        gift(&shop, &admin, &customer, amount * 1_000).await;
    }
    for count in 1..=2 {
        token_told(&customer, count).await;
    }
    let lists = [
        (&customer, "/api/wallet/transactions"),
        (&admin, "/api/admin/transactions"),
        (&customer, "/api/notifications"),
        (&customer, "/api/user/security-events"),
        (&admin, "/api/admin/audit"),
        (&admin, "/api/admin/users"),
    ];
    for (client, path) in lists {
        let page = client.get(&format!("{path}?limit=1")).await;
        let cursor = page.body["pagination"]["nextCursor"].as_str().unwrap();
        for (client, other) in lists {
            let answer = client.get(&format!("{other}?cursor={cursor}")).await;
            if other == path {
                answer.data(200);
                continue;
            }
            answer.fails(400, "VALIDATION_FAILED");
            let told = answer.detail("cursor");
            let expected = "must be `nextCursor` of an answer of this list";
            assert_eq!(told, Some(expected), "{path} at {other}");
        }
    }
}

async fn a_cursor_shows_nothing_of_others(shop: Shop) {
    let (admin, rich) = (shop.admin().await, shop.customer("kaya@example.com").await);
    for amount in 1..=3 {
        gift(&shop, &admin, &rich, amount * 1_000).await;
    }
    let page = rich.get("/api/wallet/transactions?limit=1").await;
    let cursor = page.body["pagination"]["nextCursor"].as_str().unwrap();
    let poor = shop.customer("lain@example.com").await;
    let path = format!("/api/wallet/transactions?cursor={cursor}");
    assert_eq!(poor.get(&path).await.data(200), json!([]));
}
