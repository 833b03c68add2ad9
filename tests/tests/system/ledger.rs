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

    /// A seal notices what a chain cannot show: its end cut off together with the wallet's row, the
    /// way somebody would who has the database's password and knows the tables.
    async fn a_lost_end_is_found_by_the_seal(shop: Shop) {
        let (admin, customer) = (shop.admin().await, shop.customer_with_credit("segel@example.com", 50_000).await);
        assert!(shop.books_balance().await.seal.is_none());
        let seal = async || {
            let run = admin.post("/api/admin/jobs/ledger-seal/run", json!({})).await.data(200);
            (run["items"].clone(), shop.books_balance().await.seal.unwrap())
        };
        let (items, first) = seal().await;
        assert_eq!((items, first.number), (json!(1), 1));
        // Nothing has moved: nothing is sealed again.
        assert_eq!(seal().await, (json!(0), first.clone()));
        customer.post("/api/subscriptions", json!({ "planId": shop.plan("postgresql", "basic").await })).await.data(201);
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
        shop.rewrite(&statements).await;
        let faults = shop.faults().await;
        assert_eq!(faults.len(), 1, "{faults:#?}");
        assert!(faults[0].contains("when seal 2 was made"), "{faults:#?}");
    }
}
