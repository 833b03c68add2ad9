//! Tests of the wallet, for its owner and for administrators. Their lists are in `wallet_lists.rs`.

use dermaga_tests::{Client, Shop, both_engines};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

pub(super) const REASON: &str = "A correction that was agreed on the phone.";

/// Returns the id of a signed-in user.
pub(super) async fn id_of(person: &Client) -> String {
    let profile = person.get("/api/auth/profile").await.data(200);
    profile["id"].as_str().expect("an id").to_owned()
}

async fn balances(person: &Client) -> (i64, i64) {
    let info = person.get("/api/wallet/info").await.data(200);
    let amount = |name: &str| info[name].as_i64().expect("an amount");
    (amount("paidBalance"), amount("bonusBalance"))
}

pub(super) async fn change(
    admin: &Client,
    id: &str,
    how: &str,
    body: Value,
) -> dermaga_tests::Answer {
    admin
        .post(&format!("/api/admin/wallets/{id}/{how}-credit"), body)
        .await
}

both_engines!(
    Shop,
    [
        administrators_add_and_take,
        a_deduction_never_makes_a_balance_negative,
        a_hundred_parallel_debits_never_overdraw,
        a_repeated_adjustment_is_made_once,
        bulk_is_all_or_nothing,
        opposite_bulks_both_end,
        bad_adjustments_write_nothing
    ]
);

/// Credit is added and deducted by kind, with the reason in the customer's own list.
async fn administrators_add_and_take(shop: Shop) {
    let (admin, customer) = (shop.admin().await, shop.customer("sari@example.com").await);
    let id = id_of(&customer).await;
    for (how, body, expected) in [
        (
            "add",
            json!({ "amount": 50_000, "reason": REASON, "kind": "PAID" }),
            (50_000, 0),
        ),
        (
            "add",
            json!({ "amount": 20_000, "reason": REASON }),
            (50_000, 20_000),
        ),
        (
            "deduct",
            json!({ "amount": 5_000, "reason": REASON }),
            (50_000, 15_000),
        ),
        (
            "deduct",
            json!({ "amount": 30_000, "reason": REASON }),
            (35_000, 0),
        ),
        (
            "add",
            json!({ "amount": 1, "reason": REASON, "kind": "BONUS" }),
            (35_000, 1),
        ),
        (
            "deduct",
            json!({ "amount": 35_000, "reason": REASON, "kind": "PAID" }),
            (0, 1),
        ),
    ] {
        let made = change(&admin, &id, how, body.clone()).await.data(201);
        assert_eq!(made["transaction"]["details"]["reason"], REASON);
        assert_eq!(balances(&customer).await, expected, "{how} {body}");
    }
    let seen = customer
        .get("/api/wallet/transactions?type=ADMIN_ADJUSTMENT&status=COMPLETED")
        .await
        .data(200);
    let amounts: Vec<i64> = seen
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["amount"].as_i64().unwrap())
        .collect();
    assert_eq!(amounts, [-35_000, 1, -30_000, -5_000, 20_000, 50_000]);
    let books = shop.books_balance().await;
    assert_eq!(books.accounts["ADJUSTMENTS"].get(), -1);
}

/// A deduction never exceeds the balance of its kind.
async fn a_deduction_never_makes_a_balance_negative(shop: Shop) {
    let (admin, customer) = (
        shop.admin().await,
        shop.customer_with_credit("tipis@example.com", 10_000).await,
    );
    let id = id_of(&customer).await;
    for body in [
        json!({ "amount": 10_001, "reason": REASON }),
        json!({ "amount": 1, "reason": REASON, "kind": "PAID" }),
        json!({ "amount": 10_001, "reason": REASON, "kind": "BONUS" }),
    ] {
        change(&admin, &id, "deduct", body)
            .await
            .fails(402, "INSUFFICIENT_CREDIT");
    }
    assert_eq!(balances(&customer).await, (0, 10_000));
    shop.books_balance().await;
}

/// Of a hundred concurrent debits on a wallet with enough for thirty, exactly thirty succeed.
async fn a_hundred_parallel_debits_never_overdraw(shop: Shop) {
    let (admin, customer) = (shop.admin().await, shop.customer("ramai@example.com").await);
    let id = id_of(&customer).await;
    change(
        &admin,
        &id,
        "add",
        json!({ "amount": 16_000, "reason": REASON, "kind": "PAID" }),
    )
    .await
    .data(201);
    change(
        &admin,
        &id,
        "add",
        json!({ "amount": 14_999, "reason": REASON }),
    )
    .await
    .data(201);
    let statuses: Vec<u16> = stream::iter(0..100)
        .map(|_| async {
            let answer = change(
                &admin,
                &id,
                "deduct",
                json!({ "amount": 1_000, "reason": REASON }),
            )
            .await;
            if answer.status != 201 {
                answer.fails(402, "INSUFFICIENT_CREDIT");
            }
            answer.status
        })
        .buffer_unordered(100)
        .collect()
        .await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 30);
    assert_eq!(balances(&customer).await, (999, 0));
    shop.books_balance().await;
}

/// A key moves money once, also in ten concurrent requests.
async fn a_repeated_adjustment_is_made_once(shop: Shop) {
    let (admin, customer) = (
        shop.admin().await,
        shop.customer("sekali@example.com").await,
    );
    let (id, keyed) = (id_of(&customer).await, admin.with_key("koreksi-7"));
    let body = json!({ "amount": 7_000, "reason": REASON });
    let answers: Vec<_> = stream::iter(0..10)
        .map(|_| change(&keyed, &id, "add", body.clone()))
        .buffer_unordered(10)
        .collect()
        .await;
    for answer in &answers {
        if answer.status != 201 {
            answer.fails(409, "IN_PROGRESS");
        }
    }
    assert!(change(&keyed, &id, "add", body).await.is_replayed());
    change(
        &keyed,
        &id,
        "add",
        json!({ "amount": 8_000, "reason": REASON }),
    )
    .await
    .fails(422, "IDEMPOTENCY_MISMATCH");
    assert_eq!(balances(&customer).await, (0, 7_000));
}

/// A bulk adjustment is all or nothing, and names the failing item.
async fn bulk_is_all_or_nothing(shop: Shop) {
    let admin = shop.admin().await;
    let people = [
        shop.customer("satu@example.com").await,
        shop.customer("dua@example.com").await,
    ];
    let (one, two) = (id_of(&people[0]).await, id_of(&people[1]).await);
    let item = |id: &str, direction: &str, amount: i64| json!({ "userId": id, "direction": direction, "amount": amount });
    let send = |items: Vec<Value>| {
        admin.post(
            "/api/admin/wallets/bulk-adjustment",
            json!({ "reason": REASON, "adjustments": items }),
        )
    };

    let made = send(vec![
        item(&one, "ADD", 5_000),
        item(&two, "ADD", 6_000),
        item(&one, "DEDUCT", 1_000),
    ])
    .await
    .data(201);
    assert_eq!(made.as_array().unwrap().len(), 3);
    let refused = send(vec![item(&two, "ADD", 1), item(&one, "DEDUCT", 4_001)]).await;
    refused.fails(402, "INSUFFICIENT_CREDIT");
    assert!(
        refused.detail("adjustments[1]").is_some(),
        "{:#}",
        refused.body
    );
    let unknown = send(vec![item(&one, "ADD", 1), item(&id_nobody(), "ADD", 1)]).await;
    unknown.fails(404, "NOT_FOUND");
    assert!(
        unknown.detail("adjustments[1]").is_some(),
        "{:#}",
        unknown.body
    );
    send(Vec::new()).await.fails(400, "VALIDATION_FAILED");
    send(vec![item(&one, "ADD", 1); 101])
        .await
        .fails(400, "VALIDATION_FAILED");
    send(vec![item(&one, "ADD", 1); 100]).await.data(201);
    assert_eq!(
        (balances(&people[0]).await, balances(&people[1]).await),
        ((0, 4_100), (0, 6_000))
    );
    shop.books_balance().await;
}

/// Two bulk adjustments of the same wallets in opposite order do not deadlock.
async fn opposite_bulks_both_end(shop: Shop) {
    let admin = shop.admin().await;
    let people = shop.many_customers(4).await;
    let ids: Vec<String> = stream::iter(&people).then(id_of).collect().await;
    let backwards: Vec<_> = ids.iter().rev().cloned().collect();
    stream::iter(0..16)
        .for_each_concurrent(16, |round| {
            let order = if round % 2 == 0 { &ids } else { &backwards };
            let items: Vec<_> = order
                .iter()
                .map(|id| json!({ "userId": id, "direction": "ADD", "amount": 10 }))
                .collect();
            let body = json!({ "reason": REASON, "adjustments": items });
            let admin = &admin;
            async move {
                admin
                    .post("/api/admin/wallets/bulk-adjustment", body)
                    .await
                    .data(201);
            }
        })
        .await;
    for person in &people {
        assert_eq!(balances(person).await, (0, 160));
    }
    shop.books_balance().await;
}

/// Bad amounts and reasons are refused with the field's name, and nothing is written.
async fn bad_adjustments_write_nothing(shop: Shop) {
    let (admin, customer) = (shop.admin().await, shop.customer("buruk@example.com").await);
    let id = id_of(&customer).await;
    let amounts = [
        "0",
        "-1",
        "1.5",
        "1e3",
        "1000000001",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "1e999",
        "\"1000\"",
        "null",
        "true",
        "[1]",
    ];
    for how in ["add", "deduct"] {
        for amount in amounts {
            let text = format!(r#"{{ "amount": {amount}, "reason": "{REASON}" }}"#);
            let request = admin.request(
                reqwest::Method::POST,
                &format!("/api/admin/wallets/{id}/{how}-credit"),
            );
            let answer = admin
                .send(
                    request
                        .header("content-type", "application/json")
                        .body(text),
                )
                .await;
            assert_eq!(answer.status, 400, "{how} {amount}: {:#}", answer.body);
            assert!(
                ["VALIDATION_FAILED", "MALFORMED_REQUEST"]
                    .contains(&answer.body["error"]["code"].as_str().unwrap())
            );
        }
        for reason in ["", "too short", "            x   ", &"x".repeat(501)] {
            let answer = change(&admin, &id, how, json!({ "amount": 1, "reason": reason })).await;
            answer.fails(400, "VALIDATION_FAILED");
            assert!(answer.detail("reason").is_some());
        }
        change(
            &admin,
            &id,
            how,
            json!({ "amount": 1, "reason": REASON, "kind": "GOLD" }),
        )
        .await
        .fails(400, "VALIDATION_FAILED");
        change(
            &admin,
            &id,
            how,
            json!({ "amount": 1, "reason": REASON, "currency": "USD" }),
        )
        .await
        .fails(400, "VALIDATION_FAILED");
        change(
            &admin,
            "nobody",
            how,
            json!({ "amount": 1, "reason": REASON }),
        )
        .await
        .fails(404, "NOT_FOUND");
        change(
            &admin,
            &id_nobody(),
            how,
            json!({ "amount": 1, "reason": REASON }),
        )
        .await
        .fails(404, "NOT_FOUND");
        change(
            &customer,
            &id,
            how,
            json!({ "amount": 1, "reason": REASON }),
        )
        .await
        .fails(403, "FORBIDDEN");
        change(
            shop.client(),
            &id,
            how,
            json!({ "amount": 1, "reason": REASON }),
        )
        .await
        .fails(401, "UNAUTHENTICATED");
    }
    assert_eq!(
        customer.get("/api/wallet/transactions").await.data(200),
        json!([])
    );
}

/// Returns an unused id.
pub(super) fn id_nobody() -> String {
    uuid::Uuid::nil().to_string()
}
