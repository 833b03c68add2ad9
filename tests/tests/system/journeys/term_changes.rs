//! Tests of changes within a term: to a higher plan, to a lower one, and its refund. The prices are
//! those of `terms.rs`.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};

use crate::journeys::{
    overdue,
    renewal::{id_of, moment, next_period, subscription},
    terms::{REASON, amounts, balance, buy, later},
    upgrade::{customer_with_cash, folder_of},
};

// The nightly job rests: what a test renews, nothing else has renewed before.
both_engines!(
    overdue,
    [
        an_upgrade_within_a_term_is_prorated_over_the_term,
        an_upgrade_within_a_term_says_what_was_rounded_before,
        an_upgrade_of_a_term_that_cannot_be_made_restores_its_price,
        a_lower_plan_within_a_term_returns_the_rest_of_it,
        a_term_is_refunded_for_what_is_left_of_it
    ]
);

/// Moves the clock to the middle of the period.
async fn half(shop: &Shop, id: &str) {
    let seen = subscription(shop, id).await;
    let (start, end) = (moment(&seen["periodStart"]), moment(&seen["periodEnd"]));
    let past = shop.clock().now() - start;
    shop.clock().advance((end - start) / 2 - past);
}

fn near(amount: &Value, expected: i64) {
    let amount = amount.as_i64().unwrap();
    assert!(
        (expected - 5..=expected + 5).contains(&amount),
        "{amount}, not {expected}"
    );
}

async fn an_upgrade_within_a_term_is_prorated_over_the_term(shop: Shop) {
    let customer = customer_with_cash(&shop, "naik-tahun@example.com", 3_000_000).await;
    let bought = buy(&shop, &customer, ("basic", 12), None).await;
    let id = id_of(&bought);
    half(&shop, id).await;
    let customer = shop.sign_in("naik-tahun@example.com").await;
    let pro = shop.plan("n8n", "pro").await;
    let path = format!("/api/subscriptions/{id}/upgrade-quote");
    let quote = customer
        .post(&path, json!({ "planId": pro }))
        .await
        .data(200);
    // Half of 1,800,000, less what the term takes off, less half of 510,000.
    for (amount, expected) in quote["lines"]
        .as_array()
        .unwrap()
        .iter()
        .zip([900_000, -150_000, -255_000])
    {
        near(&amount["amount"], expected);
    }
    near(&quote["due"], 495_000);
    assert_eq!(
        amounts(&quote["lines"]).iter().sum::<i64>(),
        quote["due"].as_i64().unwrap()
    );
    let path = format!("/api/subscriptions/{id}/upgrade");
    let made = customer
        .put(&path, json!({ "planId": pro }))
        .await
        .data(200);
    near(&made["charged"], 495_000);
    let seen = &made["subscription"];
    assert_eq!(
        (&seen["termMonths"], &seen["termPrice"]),
        (&json!(12), &json!(1_500_000))
    );
    assert_eq!(
        moment(&seen["periodEnd"]),
        later(moment(&bought["subscription"]["periodStart"]), 12)
    );
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    crate::api::plan_changes::settled(&shop).await;
    let renewed = next_period(&shop, id).await;
    assert_eq!(
        (
            &renewed["periods"][0]["price"],
            &renewed["periods"][0]["months"]
        ),
        (&json!(1_500_000), &json!(12))
    );
    shop.books_balance().await;
}

/// The price of the rest of the period is in whole rupiah when the term takes its share off it, and the quote says so;
/// a month takes nothing off.
async fn an_upgrade_within_a_term_says_what_was_rounded_before(shop: Shop) {
    let once = "rounded down once to whole rupiah; the lines";
    for (email, months, language, said) in [
        (
            "bulat@example.com",
            12,
            "en",
            "that of the term from amounts that are rounded already",
        ),
        (
            "bulat-id@example.com",
            12,
            "id",
            "baris jangka waktu dari jumlah yang sudah dibulatkan",
        ),
        ("bulan@example.com", 1, "en", once),
    ] {
        let customer = customer_with_cash(&shop, email, 600_000).await;
        let bought = buy(&shop, &customer, ("basic", months), None).await;
        half(&shop, id_of(&bought)).await;
        let customer = shop.sign_in(email).await.in_language(Some(language));
        let path = format!("/api/subscriptions/{}/upgrade-quote", id_of(&bought));
        let pro = json!({ "planId": shop.plan("n8n", "pro").await });
        let quote = customer.post(&path, pro).await.data(200);
        let rounding = quote["rounding"].as_str().unwrap();
        assert!(rounding.contains(said), "{rounding}");
        assert_eq!(rounding.contains(once), said == once, "{rounding}");
        if months == 12 {
            // 1,500,000 for the months of 1,800,000: a sixth of what the line before says, to the rupiah.
            let lines = amounts(&quote["lines"]);
            assert_eq!(lines[1], -(lines[0] / 6), "{quote:#}");
        }
    }
}

/// An upgrade that is undone brings the price of the term back, with its money.
async fn an_upgrade_of_a_term_that_cannot_be_made_restores_its_price(shop: Shop) {
    let customer = customer_with_cash(&shop, "batal-tahun@example.com", 3_000_000).await;
    let bought = buy(&shop, &customer, ("basic", 12), None).await;
    let id = id_of(&bought);
    let instance = bought["instanceId"].as_str().unwrap();
    let seen = shop.instance_becomes(&customer, instance, "RUNNING").await;
    // The folder is blocked until the pinned version fails for good.
    let folder = folder_of(&shop, &seen);
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let pro = shop.plan("n8n", "pro").await;
    let path = format!("/api/subscriptions/{id}/upgrade");
    let made = customer.put(&path, json!({ "planId": pro })).await;
    assert_eq!(made.data(200)["subscription"]["termPrice"], 1_500_000);
    let failing = crate::journeys::delivery::failing_at_manifests(&shop).await;
    crate::journeys::delivery::pin(&shop, instance, &failing).await;
    for _ in 0..400 {
        if subscription(&shop, id).await["plan"] == "basic" {
            break;
        }
        shop.clock().advance(TimeDelta::minutes(1));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seen = subscription(&shop, id).await;
    let kept = (&seen["plan"], &seen["termMonths"], &seen["termPrice"]);
    assert_eq!(kept, (&json!("basic"), &json!(12), &json!(510_000)));
    assert_eq!(balance(&customer).await, 3_000_000 - 510_000);
    shop.books_balance().await;
}

async fn a_lower_plan_within_a_term_returns_the_rest_of_it(shop: Shop) {
    let customer = customer_with_cash(&shop, "turun-tahun@example.com", 1_500_000).await;
    let bought = buy(&shop, &customer, ("pro", 12), None).await;
    let id = id_of(&bought);
    assert_eq!(bought["charged"], 1_500_000);
    half(&shop, id).await;
    let basic = shop.plan("n8n", "basic").await;
    let path = format!("/api/admin/subscriptions/{id}/upgrade");
    let body = json!({ "planId": basic, "reason": REASON });
    let made = shop.admin().await.put(&path, body).await.data(200);
    // Half of 1,500,000 less half of 510,000.
    near(&made["givesBack"], 495_000);
    crate::api::plan_changes::settled(&shop).await;
    let customer = shop.sign_in("turun-tahun@example.com").await;
    assert_eq!(
        balance(&customer).await,
        made["givesBack"].as_i64().unwrap()
    );
    let seen = subscription(&shop, id).await;
    assert_eq!(
        (&seen["termMonths"], &seen["termPrice"]),
        (&json!(12), &json!(510_000))
    );
    shop.books_balance().await;
}

async fn a_term_is_refunded_for_what_is_left_of_it(shop: Shop) {
    let customer = customer_with_cash(&shop, "kembali-tahun@example.com", 510_000).await;
    let bought = buy(&shop, &customer, ("basic", 12), None).await;
    let id = id_of(&bought);
    half(&shop, id).await;
    let admin = shop.admin().await;
    let path = format!("/api/admin/subscriptions/{id}");
    let more = json!({ "amount": 510_001, "reason": REASON });
    let refused = admin.post(&format!("{path}/refund"), more).await;
    assert_eq!(
        refused.fails(409, "REFUND_TOO_LARGE").detail("refundable"),
        Some("510000")
    );
    let end = json!({ "processRefund": true, "reason": REASON });
    let ended = admin
        .delete_with(&format!("{path}/force-cancel"), end)
        .await
        .data(200);
    near(&ended["refunded"], 255_000);
    let customer = shop.sign_in("kembali-tahun@example.com").await;
    near(&json!(balance(&customer).await), 255_000);
    shop.books_balance().await;
}
