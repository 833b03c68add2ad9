//! Tests of statements, receipts and exports.

use std::collections::HashMap;

use chrono::TimeDelta;
use dermaga_shop::{
    calendar,
    ids::UserId,
    wallet::{self, ExportFormat},
};
use dermaga_tests::{Answer, Client, Shop, both_engines, entries};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Returns the rows of a CSV answer, by column.
fn rows(answer: &Answer) -> Vec<HashMap<String, String>> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(
        answer.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/csv")
    );
    csv::Reader::from_reader(answer.text.as_bytes())
        .deserialize()
        .map(Result::unwrap)
        .collect()
}

fn number(row: &HashMap<String, String>, column: &str) -> i64 {
    row[column]
        .parse()
        .unwrap_or_else(|_| panic!("{column} is no number in {row:?}"))
}

async fn id_of(person: &Client) -> String {
    person.get("/api/auth/profile").await.data(200)["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn adjust(
    admin: &Client,
    user: &str,
    how: &str,
    amount: i64,
    kind: &str,
    reason: &str,
) -> Value {
    let body = json!({ "amount": amount, "kind": kind, "reason": reason });
    admin
        .post(&format!("/api/admin/wallets/{user}/{how}-credit"), body)
        .await
        .data(201)
}

both_engines!(
    Shop,
    [
        a_statement_adds_up,
        a_long_statement_is_the_same_once_it_is_in_blocks,
        a_statement_is_the_owners,
        a_receipt_of_a_purchase,
        an_export_proves_itself
    ]
);

/// More entries than a block has, which come in several parts.
async fn a_long_statement_is_the_same_once_it_is_in_blocks(shop: Shop) {
    let customer = shop.customer("panjang@example.com").await;
    let id: UserId = id_of(&customer).await.parse().unwrap();
    let state = shop.state();
    let zone = shop.clock().zone();
    let first = calendar::date(zone, shop.clock().now());
    entries::post(&state.db, shop.clock(), &[id], "first", 1_100).await;
    shop.clock().advance(TimeDelta::days(3));
    let last = calendar::date(zone, shop.clock().now());
    entries::post(&state.db, shop.clock(), &[id], "last", 1_100).await;
    let customer = shop.sign_in("panjang@example.com").await;
    let whole = format!("/api/wallet/statement?from={first}&to={last}");
    let last = format!("/api/wallet/statement?from={last}&to={last}");
    let (all, latest) = (customer.get(&whole).await, customer.get(&last).await);
    let (lines, latest_lines) = (rows(&all), rows(&latest));
    assert_eq!(lines.len(), 2_202);
    assert_eq!(latest_lines.len(), 1_102);
    assert_eq!(number(&latest_lines[0], "paid_balance"), 5_500);
    assert_eq!(number(&latest_lines[1_101], "paid_balance"), 11_000);

    let path = "/api/admin/jobs/ledger-seal/run";
    shop.admin().await.post(path, json!({})).await.data(200);
    let blocks = "SELECT count(*) FROM ledger_blocks";
    let mut conn = state.db.read().await.unwrap();
    let (blocks,) = dermaga_shop::fetch_one!(conn, (i64,), blocks).unwrap();
    drop(conn);
    assert_eq!(blocks, 2);
    assert_eq!(customer.get(&whole).await.text, all.text);
    assert_eq!(customer.get(&last).await.text, latest.text);
    shop.books_balance().await;
}

/// Lines add up from the opening to the closing balance, for each kind of credit and any dates.
async fn a_statement_adds_up(shop: Shop) {
    let (admin, customer) = (
        shop.admin().await,
        shop.customer("rekening@example.com").await,
    );
    let id = id_of(&customer).await;
    adjust(
        &admin,
        &id,
        "add",
        80_000,
        "PAID",
        "Credit of the first day.",
    )
    .await;
    adjust(
        &admin,
        &id,
        "add",
        30_000,
        "BONUS",
        "A gift of the first day.",
    )
    .await;
    let first_day = shop
        .clock()
        .now()
        .with_timezone(&chrono_tz::Asia::Jakarta)
        .date_naive();
    shop.clock().advance(TimeDelta::days(40));
    let (admin, customer) = (
        shop.admin().await,
        shop.sign_in("rekening@example.com").await,
    );
    let plan = shop.plan("postgresql", "basic").await;
    customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    adjust(
        &admin,
        &id,
        "deduct",
        1_000,
        "PAID",
        "=HYPERLINK(\"http://x.example\")",
    )
    .await;
    let today = shop
        .clock()
        .now()
        .with_timezone(&chrono_tz::Asia::Jakarta)
        .date_naive();

    let whole = customer
        .get(&format!("/api/wallet/statement?from={first_day}"))
        .await;
    let disposition = whole.headers["content-disposition"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        disposition,
        format!("attachment; filename=\"dermaga-statement-{first_day}-{today}.csv\"")
    );
    let whole = rows(&whole);
    assert_eq!(whole.len(), 6);
    let of_today = rows(
        &customer
            .get(&format!("/api/wallet/statement?from={today}"))
            .await,
    );
    assert_eq!(of_today.len(), 4);
    assert_eq!(
        (
            number(&of_today[0], "paid_balance"),
            number(&of_today[0], "bonus_balance")
        ),
        (80_000, 30_000)
    );
    let wallet = customer.get("/api/wallet/info").await.data(200);
    for lines in [&whole, &of_today] {
        let (opening, closing) = (&lines[0], &lines[lines.len() - 1]);
        assert_eq!(
            (
                opening["description"].as_str(),
                closing["description"].as_str()
            ),
            ("Opening balance", "Closing balance")
        );
        for (change, balance) in [("paid", "paid_balance"), ("bonus", "bonus_balance")] {
            let moved: i64 = lines[1..lines.len() - 1]
                .iter()
                .map(|line| number(line, change))
                .sum();
            assert_eq!(number(opening, balance) + moved, number(closing, balance));
        }
        assert_eq!(
            number(closing, "paid_balance"),
            wallet["paidBalance"].as_i64().unwrap()
        );
        assert_eq!(
            number(closing, "bonus_balance"),
            wallet["bonusBalance"].as_i64().unwrap()
        );
        assert!(closing["time"].ends_with("+07:00"), "{closing:?}");
    }
    assert!(
        whole
            .iter()
            .all(|line| !line["description"].starts_with('=')),
        "{whole:#?}"
    );

    // A day before the first transaction.
    let yesterday = first_day.pred_opt().unwrap();
    let empty = rows(
        &customer
            .get(&format!(
                "/api/wallet/statement?from={yesterday}&to={yesterday}"
            ))
            .await,
    );
    assert_eq!((empty.len(), number(&empty[1], "paid_balance")), (2, 0));
    let same = admin
        .get(&format!(
            "/api/admin/wallets/{id}/statement?from={first_day}"
        ))
        .await;
    assert_eq!(rows(&same), whole);
}

/// Statements refuse invalid dates, other customers, unknown wallets, and requests without a session.
async fn a_statement_is_the_owners(shop: Shop) {
    let (admin, customer) = (shop.admin().await, shop.customer("satu@example.com").await);
    for query in [
        "from=2026-02-30",
        "from=yesterday",
        "from=2026-02-02&to=2026-02-01",
        "from=2020-01-01&to=2026-01-01",
        "user=x",
    ] {
        customer
            .get(&format!("/api/wallet/statement?{query}"))
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    let id = id_of(&customer).await;
    let path = format!("/api/admin/wallets/{id}/statement");
    customer.get(&path).await.fails(403, "FORBIDDEN");
    admin
        .get("/api/admin/wallets/01a2069f-9a88-7bc1-a95e-0bcc1e12247e/statement")
        .await
        .fails(404, "NOT_FOUND");
    shop.client()
        .get("/api/wallet/statement")
        .await
        .fails(401, "UNAUTHENTICATED");
}

/// A receipt has amount, reason and kinds of credit, is for its owner, and has the same bytes
/// each time.
async fn a_receipt_of_a_purchase(shop: Shop) {
    let customer = shop
        .customer_with_credit("kuitansi@example.com", 100_000)
        .await;
    customer
        .put("/api/user/profile", json!({ "name": "Ольга Đặng" }))
        .await
        .data(200);
    let plan = shop.plan_view("postgresql", "basic").await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan["id"] }))
        .await
        .data(201);
    let reference = bought["transaction"].as_str().unwrap();
    let path = format!("/api/wallet/transactions/{reference}/receipt");
    let receipt = customer.get(&path).await;
    assert_eq!(
        (
            receipt.status,
            receipt.headers["content-type"].to_str().unwrap()
        ),
        (200, "application/pdf")
    );
    let text = receipt.pdf_text();
    let view = customer
        .get(&format!("/api/wallet/transactions/{reference}"))
        .await
        .data(200);
    let rupiah =
        |value: &Value| dermaga_shop::money::Rupiah::new(value.as_i64().unwrap()).to_string();
    for expected in [
        format!("Receipt {reference}"),
        "kuitansi@example.com".to_owned(),
        "Ольга Đặng".to_owned(),
        rupiah(&view["amount"]),
        rupiah(&view["balanceBefore"]),
        rupiah(&view["balanceAfter"]),
        "SUBSCRIPTION".to_owned(),
    ] {
        assert!(
            text.contains(&expected),
            "{expected} is not on the receipt:\n{text}"
        );
    }
    assert_eq!(customer.get(&path).await.bytes, receipt.bytes);
    let by_id = format!(
        "/api/wallet/transactions/{}/receipt",
        view["id"].as_str().unwrap()
    );
    assert_eq!(customer.get(&by_id).await.bytes, receipt.bytes);
    shop.customer("lain@example.com")
        .await
        .get(&path)
        .await
        .fails(404, "NOT_FOUND");
    shop.client().get(&path).await.fails(401, "UNAUTHENTICATED");
}

/// The export alone is enough to prove every hash, chain and sum.
async fn an_export_proves_itself(shop: Shop) {
    for name in ["satu", "dua"] {
        let customer = shop
            .customer_with_credit(&format!("{name}@example.com"), 60_000)
            .await;
        let plan = shop.plan("postgresql", "basic").await;
        customer
            .post("/api/subscriptions", json!({ "planId": plan }))
            .await
            .data(201);
    }
    let mut file = Vec::new();
    let written = wallet::export(&shop.state().db, ExportFormat::Jsonl, &mut file)
        .await
        .unwrap();
    assert_eq!(written, 4);
    let mut heads: HashMap<String, String> = HashMap::new();
    for line in String::from_utf8(file).unwrap().lines() {
        let mut entry: Value = serde_json::from_str(line).unwrap();
        let hash = entry.as_object_mut().unwrap().remove("hash").unwrap();
        let hash = hash.as_str().unwrap().to_owned();
        // `serde_json` sorts keys and writes no spaces.
        assert_eq!(hex::encode(Sha256::digest(entry.to_string())), hash);
        let sum: i64 = entry["postings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|posting| posting[2].as_i64().unwrap())
            .sum();
        assert_eq!(sum, 0);
        let wallet = entry["wallet"].as_str().unwrap().to_owned();
        if let Some(previous) = heads.insert(wallet, hash) {
            assert_eq!(entry["previous"], previous);
        }
    }
    assert_eq!(heads.len(), 2);
    let mut table = Vec::new();
    wallet::export(&shop.state().db, ExportFormat::Csv, &mut table)
        .await
        .unwrap();
    let amounts: Vec<i64> = csv::Reader::from_reader(table.as_slice())
        .deserialize::<HashMap<String, String>>()
        .map(|row| number(&row.unwrap(), "amount"))
        .collect();
    let postings = shop.books_balance().await.postings;
    assert_eq!(
        (u64::try_from(amounts.len()), amounts.iter().sum::<i64>()),
        (Ok(postings), 0)
    );
}
