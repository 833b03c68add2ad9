//! Tests of the lists and statistics of wallets and transactions, for administrators.

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_shop::ids::UserId;
use dermaga_tests::{Shop, both_engines, entries};
use serde_json::json;

use super::wallet::{REASON, change, id_nobody, id_of};

both_engines!(
    Shop,
    [
        administrators_find_wallets_and_transactions,
        a_smallest_amount_is_found_among_few_and_many,
        all_wallets_together,
        statistics_count_the_running_period,
        filters_know_every_word
    ]
);

/// Few transactions of a smallest amount are found by the index of amounts, and many in the list.
async fn a_smallest_amount_is_found_among_few_and_many(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop
        .customer_with_credit("sedikit@example.com", 70_000)
        .await;
    let id: UserId = id_of(&customer).await.parse().unwrap();
    entries::post(&shop.state().db, shop.clock(), &[id], "kecil", 510).await;
    for (query, total) in [
        ("minAmount=70001", 0),
        ("minAmount=70000", 1),
        ("minAmount=6", 1),
        ("minAmount=6&type=TOP_UP", 0),
        ("minAmount=5", 511),
        ("minAmount=5&type=TOP_UP", 510),
        ("minAmount=5&page=26", 511),
        ("minAmount=5&page=27", 511),
    ] {
        let path = format!("/api/admin/transactions?{query}");
        let found = admin.get(&path).await;
        assert_eq!(found.body["pagination"]["totalItems"], total, "{query}");
    }
    let path = "/api/admin/transactions?minAmount=5&limit=2";
    let first = admin.get(path).await;
    let cursor = first.body["pagination"]["nextCursor"].as_str().unwrap();
    let next = admin.get(&format!("{path}&cursor={cursor}")).await;
    let number = |row: usize| {
        let (from, row) = if row < 2 {
            (&first, row)
        } else {
            (&next, row - 2)
        };
        let number = from.body["data"][row]["number"].as_str().unwrap();
        number.trim_start_matches("TXMP-").parse::<i64>().unwrap()
    };
    let newest = number(0);
    assert_eq!([1, 2, 3].map(number), [newest - 1, newest - 2, newest - 3]);
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
    // A date is a day, and a filter that holds nothing is none.
    assert_eq!(count("from=2020-01-01".into()).await, 1);
    for bad in [
        "type=GIFT",
        "from=2020-13-01",
        "to=-1",
        "page=0",
        "user=1",
        "status=&from=2020-01-01",
        "from=2020-01-01&to=",
    ] {
        customer
            .get(&format!("/api/wallet/transactions?{bad}"))
            .await
            .fails(400, "VALIDATION_FAILED");
    }
}
