//! Tests of the wallet, for its owner and for administrators.

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_tests::{Client, Shop, both_engines};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

const REASON: &str = "A correction that was agreed on the phone.";

/// Returns the id of a signed-in user.
async fn id_of(person: &Client) -> String {
    let profile = person.get("/api/auth/profile").await.data(200);
    profile["id"].as_str().expect("an id").to_owned()
}

async fn balances(person: &Client) -> (i64, i64) {
    let info = person.get("/api/wallet/info").await.data(200);
    let amount = |name: &str| info[name].as_i64().expect("an amount");
    (amount("paidBalance"), amount("bonusBalance"))
}

async fn change(admin: &Client, id: &str, how: &str, body: Value) -> dermaga_tests::Answer {
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
        bad_adjustments_write_nothing,
        administrators_find_wallets_and_transactions,
        all_wallets_together,
        statistics_count_the_running_period,
        filters_know_every_word
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

/// Lists of all wallets and transactions have filters, and are for administrators only.
async fn administrators_find_wallets_and_transactions(shop: Shop) {
    let admin = shop.admin().await;
    let mut people = Vec::new();
    for (name, amount) in [("kaya", 90_000), ("cukup", 40_000), ("100%_", 1_000)] {
        people.push(
            shop.customer_with_credit(&format!("{name}@example.com"), amount)
                .await,
        );
    }
    let emails = |query: &'static str| {
        let admin = admin.clone();
        async move {
            let found = admin
                .get(&format!("/api/admin/wallets?{query}"))
                .await
                .data(200);
            found
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["email"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(
        emails("minBalance=1").await,
        ["kaya@example.com", "cukup@example.com", "100%_@example.com"]
    );
    assert_eq!(
        emails("minBalance=1&maxBalance=40000&limit=1").await,
        ["cukup@example.com"]
    );
    assert_eq!(emails("q=KAYA@").await, ["kaya@example.com"]);
    // Wildcards of LIKE are taken literally.
    assert_eq!(emails("q=%25_").await, ["100%_@example.com"]);
    assert_eq!(emails("q=%25%25").await, Vec::<String>::new());
    for bad in [
        "minBalance=-1",
        "minBalance=1.5",
        "minBalance=2&maxBalance=1",
        "order=LUCK",
        "foo=1",
        "limit=0",
    ] {
        admin
            .get(&format!("/api/admin/wallets?{bad}"))
            .await
            .fails(400, "VALIDATION_FAILED");
    }

    let id = id_of(&people[0]).await;
    let detail = admin
        .get(&format!("/api/admin/wallets/{id}"))
        .await
        .data(200);
    assert_eq!(
        (
            &detail["totalBalance"],
            &detail["entries"],
            &detail["recentTransactions"][0]["amount"]
        ),
        (&json!(90_000), &json!(1), &json!(90_000))
    );
    admin
        .get(&format!("/api/admin/wallets/{}", id_nobody()))
        .await
        .fails(404, "NOT_FOUND");

    let listed = admin
        .get("/api/admin/transactions?type=COUPON_REDEMPTION&minAmount=2000")
        .await;
    assert_eq!(listed.body["pagination"]["totalItems"], 2);
    let number = listed.body["data"][0]["number"]
        .as_str()
        .unwrap()
        .to_owned();
    let found = admin
        .get(&format!("/api/admin/transactions?number={number}"))
        .await
        .data(200);
    assert_eq!(
        (found.as_array().unwrap().len(), &found[0]["email"]),
        (1, &json!("cukup@example.com"))
    );
    assert_eq!(
        admin
            .get(&format!(
                "/api/admin/transactions?userId={id}&status=FAILED"
            ))
            .await
            .data(200),
        json!([])
    );
    for bad in [
        "number=17",
        "number=TXMP-99999999999999999999",
        "userId=me",
        "status=DONE",
        "from=yesterday",
    ] {
        admin
            .get(&format!("/api/admin/transactions?{bad}"))
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    for path in [
        "/api/admin/wallets",
        "/api/admin/wallets/statistics",
        "/api/admin/transactions",
    ] {
        people[0].get(path).await.fails(403, "FORBIDDEN");
    }
}

/// Totals, the float and this month's transactions.
async fn all_wallets_together(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop
        .customer_with_credit("bersama@example.com", 30_000)
        .await;
    let id = id_of(&customer).await;
    change(
        &admin,
        &id,
        "add",
        json!({ "amount": 80_000, "reason": REASON, "kind": "PAID" }),
    )
    .await
    .data(201);
    let all = admin.get("/api/admin/wallets/statistics").await.data(200);
    assert_eq!(
        (
            &all["float"]["paid"],
            &all["bonusBalance"],
            &all["walletsWithCredit"]
        ),
        (&json!(80_000), &json!(30_000), &json!(1))
    );
    assert_eq!(
        (&all["float"]["warningLevel"], &all["float"]["warning"]),
        (&json!(null), &json!(false))
    );
    assert!(all["thisMonth"].as_array().unwrap().contains(
        &json!({ "type": "ADMIN_ADJUSTMENT", "status": "COMPLETED", "count": 1, "amount": 80_000 })
    ));
    let metrics = shop.client().get("/metrics").await.text;
    assert!(metrics.contains("dermaga_wallet_float_rupiah"), "{metrics}");
}

/// Statistics count inflow and outflow by period in the shop's time zone, for the customer's
/// own money only.
async fn statistics_count_the_running_period(shop: Shop) {
    let customer = shop
        .customer_with_credit("hitung@example.com", 60_000)
        .await;
    shop.customer_with_credit("lain@example.com", 5_000).await;
    let plan = shop.plan("postgresql", "basic").await;
    customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    for period in ["day", "week", "month", "year"] {
        let found = customer
            .get(&format!("/api/wallet/statistics?period={period}"))
            .await
            .data(200);
        assert_eq!(
            (&found["credited"], &found["debited"], &found["timeZone"]),
            (&json!(60_000), &json!(25_000), &json!("Asia/Jakarta"))
        );
        let parts = found["parts"].as_array().unwrap();
        assert_eq!(
            parts
                .iter()
                .map(|part| part["debited"].as_i64().unwrap())
                .sum::<i64>(),
            25_000
        );
    }
    // Two years later, day, week, month and year are all new.
    shop.clock().advance(TimeDelta::days(731));
    let customer = shop.sign_in("hitung@example.com").await;
    for period in ["day", "week", "month", "year"] {
        let found = customer
            .get(&format!("/api/wallet/statistics?period={period}"))
            .await
            .data(200);
        assert_eq!(
            (&found["credited"], &found["byType"]),
            (&json!(0), &json!([]))
        );
        let start: DateTime<Utc> = serde_json::from_value(found["from"].clone()).unwrap();
        assert!(start <= shop.clock().now());
    }
    assert_eq!(
        customer.get("/api/wallet/info").await.data(200)["spentThisMonth"],
        0
    );
    for bad in ["period=decade", "period=Month", "since=1"] {
        customer
            .get(&format!("/api/wallet/statistics?{bad}"))
            .await
            .fails(400, "VALIDATION_FAILED");
    }
}

/// A customer's own list can be filtered by every type and status.
async fn filters_know_every_word(shop: Shop) {
    let customer = shop
        .customer_with_credit("saring@example.com", 10_000)
        .await;
    let count = |query: String| {
        let customer = customer.clone();
        async move {
            customer
                .get(&format!("/api/wallet/transactions?{query}"))
                .await
                .data(200)
                .as_array()
                .unwrap()
                .len()
        }
    };
    for kind in dermaga_shop::wallet::TransactionType::ALL {
        let expected =
            usize::from(*kind == dermaga_shop::wallet::TransactionType::CouponRedemption);
        assert_eq!(count(format!("type={kind}")).await, expected, "{kind}");
    }
    for status in dermaga_shop::wallet::TransactionStatus::ALL {
        let expected = usize::from(*status == dermaga_shop::wallet::TransactionStatus::Completed);
        assert_eq!(
            count(format!("status={status}")).await,
            expected,
            "{status}"
        );
    }
    assert_eq!(
        count("from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z".into()).await,
        0
    );
    assert_eq!(count("from=2020-01-01T00:00:00Z".into()).await, 1);
    // A filter that holds nothing is absent, and a date is a day.
    assert_eq!(count("status=&from=2020-01-01&to=".into()).await, 1);
    for bad in ["type=GIFT", "from=2020-13-01", "to=-1", "page=0", "user=1"] {
        customer
            .get(&format!("/api/wallet/transactions?{bad}"))
            .await
            .fails(400, "VALIDATION_FAILED");
    }
}

/// Returns an unused id.
fn id_nobody() -> String {
    uuid::Uuid::nil().to_string()
}
