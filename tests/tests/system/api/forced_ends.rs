//! Tests of subscriptions that administrators end.

use dermaga_tests::{Engine, Shop, both_engines};
use serde_json::json;

use super::subscriptions::{REASON, balances, delete, recorded};
use crate::journeys::{
    renewal::{buy, id_of, moment, subscription},
    upgrade::customer_with_cash,
};

both_engines!(
    Shop,
    [
        a_forced_end_returns_the_unused_cash_once,
        a_forced_end_never_returns_days_that_were_given,
        both_names_of_an_end_are_one_act,
        the_later_of_two_ends_is_told_of_the_other
    ]
);

async fn a_forced_end_returns_the_unused_cash_once(shop: Shop) {
    let customer = customer_with_cash(&shop, "paksa@example.com", 60_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let whole = subscription(&shop, id).await;
    let (start, end) = (moment(&whole["periodStart"]), moment(&whole["periodEnd"]));
    let available = shop.plan_view("n8n", "basic").await["availableQuota"]
        .as_i64()
        .unwrap();
    shop.clock()
        .advance((end - start) / 2 - (shop.clock().now() - start));
    let admin = shop.admin().await;
    let path = format!("/api/admin/subscriptions/{id}/force-cancel");
    let body = json!({ "processRefund": true, "reason": REASON });
    let attempts = (0..4).map(|_| delete(&admin, &path, body.clone()));
    let answers = futures::future::join_all(attempts).await;
    let (done, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((done.len(), refused.len()), (1, 3));
    for answer in refused {
        answer.fails(409, "INVALID_STATE");
    }
    let done = done[0].clone().data(200);
    let back = done["refunded"].as_i64().unwrap();
    assert!((24_990..=25_000).contains(&back), "{back}");
    assert_eq!(done["returned"], back);
    assert_eq!(done["subscription"]["status"], "CANCELLED");
    assert_eq!(done["subscription"]["periods"][0]["refundedCash"], back);
    let customer = shop.sign_in("paksa@example.com").await;
    assert_eq!(balances(&customer).await, (10_000 + back, 0));
    let details = recorded(&admin, "subscription.force_cancelled", id).await;
    assert_eq!(details["refunded"], back);
    let after = shop.plan_view("n8n", "basic").await["availableQuota"]
        .as_i64()
        .unwrap();
    assert_eq!(after, available + 1);

    // Bonus credit is not cash, and without the wish nothing comes back.
    let gifted = shop
        .customer_with_credit("paksa-bonus@example.com", 50_000)
        .await;
    let other = buy(&shop, &gifted, ("n8n", "basic"), None).await;
    let path = format!("/api/admin/subscriptions/{}/force-cancel", id_of(&other));
    assert_eq!(delete(&admin, &path, body).await.data(200)["refunded"], 0);
    assert_eq!(balances(&gifted).await, (0, 0));
    let plain = customer_with_cash(&shop, "paksa-biasa@example.com", 50_000).await;
    let third = buy(&shop, &plain, ("n8n", "basic"), None).await;
    let path = format!("/api/admin/subscriptions/{}/force-cancel", id_of(&third));
    let ended = delete(&admin, &path, json!({ "reason": REASON })).await;
    assert_eq!(ended.data(200)["refunded"], 0);
    assert_eq!(balances(&plain).await, (0, 0));
    shop.books_balance().await;
}

async fn a_forced_end_never_returns_days_that_were_given(shop: Shop) {
    let customer = customer_with_cash(&shop, "panjang@example.com", 50_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let end = moment(&subscription(&shop, id).await["periodEnd"]);
    let admin = shop.admin().await;
    let path = format!("/api/admin/subscriptions/{id}");
    let body = json!({ "days": 60, "reason": REASON });
    admin.put(&format!("{path}/extend"), body).await.data(200);
    shop.clock().advance(end - shop.clock().now());
    let admin = shop.admin().await;
    let body = json!({ "processRefund": true, "reason": REASON });
    let ended = delete(&admin, &format!("{path}/force-cancel"), body).await;
    assert_eq!(ended.data(200)["refunded"], 0);
    shop.books_balance().await;
}

async fn both_names_of_an_end_are_one_act(shop: Shop) {
    let customer = customer_with_cash(&shop, "habis@example.com", 50_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let admin = shop.admin().await;
    let path = format!("/api/admin/subscriptions/{id}/expire");
    let ended = admin
        .in_language(Some("en"))
        .put(&path, json!({ "reason": REASON }))
        .await;
    assert_eq!(ended.body["message"], "The subscription has ended.");
    let ended = ended.data(200);
    assert_eq!(
        (&ended["status"], &ended["cancelReason"]),
        (&json!("EXPIRED"), &json!(REASON))
    );
    let details = recorded(&admin, "subscription.expired", id).await;
    assert_eq!(details, json!({ "returned": 0, "undone": false }));
    let again = admin.put(&path, json!({ "reason": REASON })).await;
    again.fails(409, "INVALID_STATE");
    let other = format!("/api/admin/billing/expire/{id}");
    let again = admin.post(&other, json!({ "reason": REASON })).await;
    again.fails(409, "INVALID_STATE");
    assert_eq!(balances(&customer).await, (0, 0));
    shop.books_balance().await;
}

async fn the_later_of_two_ends_is_told_of_the_other(shop: Shop) {
    let customer = customer_with_cash(&shop, "berdua@example.com", 50_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let path = format!("/api/admin/subscriptions/{}/expire", id_of(&bought));
    let admin = shop.admin().await.in_language(Some("en"));
    let body = json!({ "reason": REASON });
    let attempts = (0..2).map(|_| admin.put(&path, body.clone()));
    let answers = futures::future::join_all(attempts).await;
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status != 200)
        .collect();
    assert_eq!(refused.len(), 1, "{answers:#?}");
    refused[0].fails(409, "INVALID_STATE");
    let ended = "This subscription is EXPIRED: it has ended.";
    assert_eq!(refused[0].body["message"], ended);
    let again = admin.in_language(Some("id")).put(&path, body).await;
    let ended = "Langganan ini berstatus EXPIRED: sudah berakhir.";
    assert_eq!(again.body["message"], ended);
    shop.books_balance().await;
}

/// Two servers extend, end and give back at the same moment: each end is one, and the cash comes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_end_a_subscription_once() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let other = shop.second_server().await;
    let customer = customer_with_cash(&shop, "dua-server@example.com", 50_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let path = format!("/api/admin/subscriptions/{}/force-cancel", id_of(&bought));
    let admin = shop.admin().await;
    let there = admin.moved_to(other.client());
    let body = json!({ "processRefund": true, "reason": REASON });
    let clients = [&admin, &there, &admin, &there];
    let attempts = clients.map(|client| delete(client, &path, body.clone()));
    let answers = futures::future::join_all(attempts).await;
    let done = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(done.count(), 1);
    let (paid, _) = balances(&customer).await;
    assert!((49_000..=50_000).contains(&paid), "{paid}");
    shop.books_balance().await;
}
