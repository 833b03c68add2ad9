//! Tests of refunds by an administrator: cash of a paid period, back to the wallet.

use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};

use super::upgrade::{basic, customer_with_cash};

both_engines!(Shop, [refunds_never_exceed_the_cash_paid]);

/// Refunds never exceed the cash paid, even when repeated or concurrent.
async fn refunds_never_exceed_the_cash_paid(shop: Shop) {
    let admin = shop.admin().await;
    let customer = customer_with_cash(&shop, "kembali@example.com", 50_000).await;
    let (id, _) = basic(&shop, &customer).await;
    let path = format!("/api/admin/subscriptions/{id}/refund");
    let ask = |amount: Value| {
        admin.post(
            &path,
            json!({ "amount": amount, "reason": "The service was down for a day." }),
        )
    };
    for amount in [json!(0), json!(-5), json!(0.5), json!("5"), json!(1e300)] {
        ask(amount).await.fails(400, "VALIDATION_FAILED");
    }
    admin
        .post(&path, json!({ "amount": 5, "reason": "short" }))
        .await
        .fails(400, "VALIDATION_FAILED");
    customer
        .post(
            &path,
            json!({ "amount": 5, "reason": "It would be nice to have." }),
        )
        .await
        .fails(403, "FORBIDDEN");
    assert_eq!(
        ask(json!(50_001))
            .await
            .fails(409, "REFUND_TOO_LARGE")
            .detail("refundable"),
        Some("50000")
    );
    let attempts = (0..8).map(|_| ask(json!(20_000)));
    let answers = futures::future::join_all(attempts).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 201).count(),
        2
    );
    assert_eq!(
        customer.get("/api/wallet/info").await.data(200)["paidBalance"],
        40_000
    );
    let detail = admin
        .get(&format!("/api/admin/subscriptions/{id}"))
        .await
        .data(200);
    assert_eq!(detail["periods"][0]["refundedCash"], 40_000);

    // Payments by bonus credit are not cash.
    let gifted = shop
        .customer_with_credit("hadiah-kembali@example.com", 50_000)
        .await;
    let (other, _) = basic(&shop, &gifted).await;
    let path = format!("/api/admin/subscriptions/{other}/refund");
    admin
        .post(
            &path,
            json!({ "amount": 1, "reason": "The service was down for a day." }),
        )
        .await
        .fails(409, "REFUND_TOO_LARGE");
    shop.books_balance().await;
}
