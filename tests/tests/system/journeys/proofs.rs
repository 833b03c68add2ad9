//! Tests that the proof of the ledger reads every row once.

use dermaga_shop::wallet::{ExportFormat, export, ledger};
use dermaga_tests::{Shop, both_engines, explain::Explainer};
use serde_json::json;

both_engines!(
    Shop,
    [
        postings_are_found_by_their_entry,
        a_ledger_of_several_pages_is_read_whole
    ]
);

/// Postings are found by their entry; by account or owner, the proof would read all postings
/// for each transaction or wallet.
async fn postings_are_found_by_their_entry(shop: Shop) {
    let customer = shop.customer_with_credit("bukti@example.com", 50_000).await;
    let order = json!({ "planId": shop.plan("postgresql", "basic").await });
    customer.post("/api/subscriptions", order).await.data(201);
    shop.admin()
        .await
        .post("/api/admin/jobs/ledger-seal/run", json!({}))
        .await
        .data(200);

    let (db, recorder) = (&shop.state().db, shop.state().db.record());
    let found = ledger::verify(db, shop.clock()).await.unwrap();
    assert!(found.holds() && found.entries >= 2, "{found:#?}");
    assert_eq!(
        export(db, ExportFormat::Jsonl, Vec::new()).await.unwrap(),
        found.entries
    );

    let mut explainer = Explainer::open(&shop.state().config.database_url())
        .await
        .unwrap();
    let mut looked_up = 0;
    for statement in recorder
        .statements()
        .iter()
        .filter(|one| one.file.contains("wallet/store"))
    {
        for read in explainer.reads(&statement.sql).await.unwrap() {
            if read.table == "postings" && !read.is_scan {
                assert!(
                    read.how.contains("entry_id"),
                    "{}: {}",
                    read.how,
                    statement.sql
                );
                looked_up += 1;
            }
            // A full read of postings happens once, not for each row of another table.
            let once = statement.sql.starts_with("SELECT count(*) FROM postings");
            assert!(
                read.table != "postings" || !read.is_scan || once,
                "{}: {}",
                read.how,
                statement.sql
            );
        }
    }
    assert!(
        looked_up >= 2,
        "the postings of entries and of transactions are looked up"
    );
}

/// A ledger of several pages is read whole: nothing is lost or read twice between pages.
async fn a_ledger_of_several_pages_is_read_whole(shop: Shop) {
    let user = shop
        .customer_with_credit("panjang@example.com", 1_000)
        .await;
    let id = user.get("/api/user/profile").await.data(200)["id"].clone();
    let admin = shop.admin().await;
    let item = json!({ "userId": id, "direction": "ADD", "amount": 5 });
    for _ in 0..11 {
        let body = json!({ "reason": "A page is a thousand entries.", "adjustments": vec![item.clone(); 100] });
        admin
            .post("/api/admin/wallets/bulk-adjustment", body)
            .await
            .data(201);
    }
    let found = shop.books_balance().await;
    assert_eq!(found.entries, 1_101);
    let mut lines = Vec::new();
    assert_eq!(
        export(&shop.state().db, ExportFormat::Jsonl, &mut lines)
            .await
            .unwrap(),
        1_101
    );
    let text = String::from_utf8(lines).unwrap();
    for (line, position) in text.lines().zip(1..) {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(entry["position"], position);
    }
}
