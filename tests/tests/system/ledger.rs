//! The ledger's proof finds what it is there to find.

use dermaga_tests::both_engines;
use serde_json::json;

both_engines! {
    /// The database itself refuses to change what is posted.
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

    /// A balance changed behind the ledger's back is found, and so is a rewritten entry.
    async fn tampering_is_found(shop: Shop) {
        let customer = shop.customer_with_credit("ubah@example.com", 50_000).await;
        let plan = shop.plan("postgresql", "basic").await;
        customer.post("/api/subscriptions", json!({ "planId": plan })).await.data(201);
        shop.books_balance().await;
        shop.sql("UPDATE wallets SET bonus_balance = bonus_balance + 1").await.unwrap();
        assert!(shop.faults().await.iter().all(|fault| fault.contains("its entries say")));
        assert!(!shop.faults().await.is_empty());
        shop.sql("UPDATE wallets SET bonus_balance = bonus_balance - 1").await.unwrap();
        shop.books_balance().await;
        shop.drop_ledger_triggers().await;
        shop.sql("UPDATE postings SET amount = amount * 2").await.unwrap();
        assert!(shop.faults().await.iter().any(|fault| fault.contains("has been changed")));
        shop.sql("UPDATE postings SET amount = amount / 2").await.unwrap();
        shop.sql("UPDATE transactions SET amount = amount - 1 WHERE type = 'SUBSCRIPTION'").await.unwrap();
        assert!(shop.faults().await.iter().any(|fault| fault.contains("no matching entry")));
    }
}
