//! Tests of the ledger's proof and of the database's own checks.

use dermaga_shop::db::Db;
use dermaga_tests::{Shop, both_engines};
use serde_json::json;

both_engines!(
    Shop,
    [
        posted_rows_are_append_only,
        the_database_is_the_last_fence,
        tampering_is_found,
        broken_books_raise_an_alert_until_they_hold,
        a_lost_end_is_found_by_the_seal
    ]
);

/// The database itself refuses to change posted rows.
async fn posted_rows_are_append_only(shop: Shop) {
    shop.customer_with_credit("tetap@example.com", 50_000).await;
    for sql in [
        "UPDATE postings SET amount = amount + 1",
        "DELETE FROM postings",
        "UPDATE journal_entries SET hash = 'x'",
        "DELETE FROM journal_entries",
        "UPDATE wallets SET bonus_balance = -1",
    ] {
        assert!(shop.sql(sql).await.is_err(), "{sql} was possible");
    }
    shop.books_balance().await;
}

/// The database refuses entries that do not balance, a second entry for the same operation or
/// chain position, and postings without an entry.
async fn the_database_is_the_last_fence(shop: Shop) {
    shop.customer_with_credit("pagar@example.com", 50_000).await;
    let is_postgres = matches!(shop.state().db, Db::Postgres(_));
    let id = if is_postgres {
        "'01a2069f-9a88-7bc1-a95e-0bcc1e12247e'"
    } else {
        "x'01a2069f9a887bc1a95e0bcc1e12247e'"
    };
    let posting = |line: i64, account: &str, amount: i64| {
        format!(
            "INSERT INTO postings (entry_id, line, account, user_id, amount) VALUES ({id}, {line}, '{account}', NULL, {amount})"
        )
    };
    let entry = |position: &str, key: &str| {
        format!(
            "INSERT INTO journal_entries (id, transaction_id, wallet_id, position, posted_at, previous_hash, hash, idempotency_key)
             SELECT {id}, transaction_id, wallet_id, {position}, posted_at, hash, hash, {key} FROM journal_entries LIMIT 1"
        )
    };
    let balanced = || vec![posting(1, "PROMOTIONS", -5), posting(2, "REVENUE", 5)];
    let with = |mut statements: Vec<String>, more: String| {
        statements.push(more);
        statements
    };
    for (what, statements) in [
        (
            "an entry that does not balance",
            vec![
                posting(1, "PROMOTIONS", -5),
                posting(2, "REVENUE", 4),
                entry("position + 1", "'new'"),
            ],
        ),
        ("an entry of nothing", vec![entry("position + 1", "'new'")]),
        (
            "a second entry for one act",
            with(balanced(), entry("position + 1", "idempotency_key")),
        ),
        (
            "a second entry in one place",
            with(balanced(), entry("position", "'new'")),
        ),
        ("postings without an entry", balanced()),
        ("a posting of nothing", vec![posting(1, "REVENUE", 0)]),
        (
            "wallet credit of nobody",
            vec![posting(1, "WALLET_PAID", 5)],
        ),
        ("an account nobody knows", vec![posting(1, "POCKET", 5)]),
    ] {
        assert!(
            shop.rewrite(&statements).await.is_err(),
            "{what} was possible"
        );
    }
    if is_postgres {
        for table in [
            "postings",
            "journal_entries",
            "decisions",
            "ledger_seals",
            "ledger_seal_heads",
            "ledger_blocks",
        ] {
            assert!(
                shop.rewrite(&[format!("TRUNCATE {table} CASCADE")])
                    .await
                    .is_err(),
                "{table} was emptied"
            );
        }
    }
    // A correct entry is accepted, which shows that the refusals had their own reasons.
    shop.rewrite(&with(balanced(), entry("position + 1", "'new'")))
        .await
        .unwrap();
    assert!(
        !shop.faults().await.is_empty(),
        "the chain knows that nobody made this entry"
    );
}

/// The proof finds a balance changed outside the ledger, and a rewritten entry.
async fn tampering_is_found(shop: Shop) {
    let customer = shop.customer_with_credit("ubah@example.com", 50_000).await;
    let plan = shop.plan("postgresql", "basic").await;
    customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    shop.books_balance().await;
    shop.sql("UPDATE wallets SET bonus_balance = bonus_balance + 1")
        .await
        .unwrap();
    assert!(
        shop.faults()
            .await
            .iter()
            .all(|fault| fault.contains("its entries say"))
    );
    assert!(!shop.faults().await.is_empty());
    shop.sql("UPDATE wallets SET bonus_balance = bonus_balance - 1")
        .await
        .unwrap();
    shop.books_balance().await;
    shop.drop_ledger_triggers().await;
    shop.sql("UPDATE postings SET amount = amount * 2")
        .await
        .unwrap();
    assert!(
        shop.faults()
            .await
            .iter()
            .any(|fault| fault.contains("has been changed"))
    );
    shop.sql("UPDATE postings SET amount = amount / 2")
        .await
        .unwrap();
    shop.sql("UPDATE transactions SET amount = amount - 1 WHERE type = 'SUBSCRIPTION'")
        .await
        .unwrap();
    assert!(
        shop.faults()
            .await
            .iter()
            .any(|fault| fault.contains("no matching entry"))
    );
}

/// The nightly proof tells administrators until the books hold again.
async fn broken_books_raise_an_alert_until_they_hold(shop: Shop) {
    let admin = shop.admin().await;
    shop.customer_with_credit("malam@example.com", 50_000).await;
    let proven = async || {
        let run = "/api/admin/jobs/ledger-verify/run";
        let run = admin.post(run, json!({})).await.data(200);
        let open = "/api/admin/alerts?kind=BOOKS_BROKEN&state=OPEN";
        let open = admin.get(open).await.data(200);
        (run["status"].clone(), open.as_array().unwrap().len())
    };
    assert_eq!(proven().await, (json!("SUCCEEDED"), 0));
    shop.sql("UPDATE wallets SET bonus_balance = bonus_balance + 1")
        .await
        .unwrap();
    assert_eq!(proven().await, (json!("PARTIAL"), 1));
    assert_eq!(
        proven().await,
        (json!("PARTIAL"), 1),
        "one cause, one alert"
    );
    shop.sql("UPDATE wallets SET bonus_balance = bonus_balance - 1")
        .await
        .unwrap();
    assert_eq!(proven().await, (json!("SUCCEEDED"), 0));
}

/// The seal finds tampering that a chain cannot show: its end cut off together with the
/// wallet's row.
async fn a_lost_end_is_found_by_the_seal(shop: Shop) {
    let (admin, customer) = (
        shop.admin().await,
        shop.customer_with_credit("segel@example.com", 50_000).await,
    );
    assert!(shop.books_balance().await.seal.is_none());
    let seal = async || {
        let run = admin
            .post("/api/admin/jobs/ledger-seal/run", json!({}))
            .await
            .data(200);
        (
            run["items"].clone(),
            shop.books_balance().await.seal.unwrap(),
        )
    };
    let (items, first) = seal().await;
    assert_eq!((items, first.number), (json!(1), 1));
    // Without new entries, nothing is sealed again.
    assert_eq!(seal().await, (json!(0), first.clone()));
    customer
        .post(
            "/api/subscriptions",
            json!({ "planId": shop.plan("postgresql", "basic").await }),
        )
        .await
        .data(201);
    let (items, second) = seal().await;
    assert_eq!((items, second.number), (json!(1), 2));
    assert_ne!(second.digest, first.digest);
    for sql in [
        "UPDATE ledger_seals SET digest = 'x'",
        "DELETE FROM ledger_seals",
        "UPDATE ledger_seal_heads SET position = 1",
        "DELETE FROM ledger_seal_heads",
    ] {
        assert!(shop.sql(sql).await.is_err(), "{sql} was possible");
    }
    shop.books_balance().await;

    shop.drop_ledger_triggers().await;
    let last = "(SELECT id FROM journal_entries ORDER BY position DESC LIMIT 1)";
    let statements = [
        "UPDATE wallets SET (entries, head_hash, bonus_balance) = (SELECT 1, previous_hash, 50000 FROM journal_entries WHERE position = 2)
         WHERE entries = 2".to_owned(),
        format!("DELETE FROM postings WHERE entry_id = {last}"),
        "UPDATE transactions SET status = 'CANCELLED' WHERE type = 'SUBSCRIPTION'".to_owned(),
        "DELETE FROM journal_entries WHERE position = 2".to_owned(),
    ];
    shop.rewrite(&statements).await.unwrap();
    let faults = shop.faults().await;
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(faults[0].contains("when seal 2 was made"), "{faults:#?}");
}
