//! Tests of the notice that a subscription has ended.

use chrono::TimeDelta;
use dermaga_shop::billing::process_grace;
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use crate::{
    api::notifications::{told, told_times},
    journeys::{
        renewal::{becomes, buy, id_of, moment, next_period, subscription},
        upgrade::customer_with_cash,
    },
};

const KIND: &str = "SUBSCRIPTION_ENDED";
const REASON: &str = "The service is misused.";

both_engines!(
    Shop,
    [
        every_end_at_once_is_told_with_its_cause,
        an_end_with_the_period_is_told,
        a_second_end_without_a_reason_keeps_the_first_reason,
        an_unpaid_end_is_told_once,
        the_notice_of_an_end_is_required
    ]
);

fn fact<'a>(notice: &'a Value, name: &str) -> &'a Value {
    &notice["facts"][name]
}

/// By the customer, by administrators, and before it was set up, when the payment comes back.
async fn every_end_at_once_is_told_with_its_cause(shop: Shop) {
    let customer = customer_with_cash(&shop, "selesai@example.com", 200_000).await;
    let own = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let path = format!("/api/subscriptions/{}", id_of(&own));
    customer.delete(&path).await.data(200);
    customer.delete(&path).await.fails(409, "INVALID_STATE");
    let found = told(&customer, KIND).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(fact(&found[0], "because"), "CUSTOMER");
    assert_eq!(fact(&found[0], "subscriptionId"), id_of(&own));
    assert_eq!(fact(&found[0], "undone"), false);
    assert!(
        found[0]["text"]
            .as_str()
            .unwrap()
            .contains("Datanya dihapus"),
        "{found:#?}"
    );

    let admin = shop.admin().await;
    let forced = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let path = format!("/api/admin/subscriptions/{}/force-cancel", id_of(&forced));
    let ended = admin.delete_with(&path, json!({ "reason": REASON })).await;
    ended.data(200);
    told_times(&customer, KIND, 2).await;
    let expired = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let path = format!("/api/admin/subscriptions/{}/expire", id_of(&expired));
    let ended = admin.put(&path, json!({ "reason": REASON })).await;
    ended.data(200);
    let found = told_times(&customer, KIND, 3).await;
    for purchase in [&forced, &expired] {
        let notice = found
            .iter()
            .find(|notice| fact(notice, "subscriptionId") == id_of(purchase));
        let notice = notice.unwrap();
        assert_eq!(fact(notice, "because"), "SHOP");
        assert!(
            notice["text"].as_str().unwrap().contains(REASON),
            "{notice:#}"
        );
    }
    shop.books_balance().await;
}

async fn an_end_with_the_period_is_told(shop: Shop) {
    let customer = customer_with_cash(&shop, "tamat@example.com", 60_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let request = customer.request(reqwest::Method::DELETE, &format!("/api/subscriptions/{id}"));
    let at_end = json!({ "at": "period_end" });
    customer.send(request.json(&at_end)).await.data(200);
    next_period(&shop, id).await;
    becomes(&shop, id, "EXPIRED").await;
    let customer = shop.sign_in("tamat@example.com").await;
    let found = told(&customer, KIND).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(fact(&found[0], "because"), "NOT_RENEWED");
}

async fn a_second_end_without_a_reason_keeps_the_first_reason(shop: Shop) {
    let customer = customer_with_cash(&shop, "alasan@example.com", 60_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    becomes(&shop, id_of(&bought), "ACTIVE").await;
    let path = format!("/api/subscriptions/{}", id_of(&bought));
    for (body, reason, status) in [
        (
            json!({ "at": "period_end", "reason": "Terlalu mahal" }),
            json!("Terlalu mahal"),
            "ACTIVE",
        ),
        (
            json!({ "at": "period_end" }),
            json!("Terlalu mahal"),
            "ACTIVE",
        ),
        (json!({}), json!("Terlalu mahal"), "CANCELLED"),
    ] {
        let answer = customer.delete_with(&path, body.clone()).await;
        let ended = answer.data(200);
        assert_eq!(
            (&ended["cancelReason"], &ended["status"]),
            (&reason, &json!(status)),
            "{body}"
        );
    }
}

async fn an_unpaid_end_is_told_once(shop: Shop) {
    let customer = customer_with_cash(&shop, "tunggak@example.com", 60_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    assert_eq!(next_period(&shop, id).await["status"], "PAST_DUE");
    let end = moment(&subscription(&shop, id).await["graceUntil"]);
    shop.clock().advance(end - shop.clock().now());
    process_grace(&shop.state().subscriptions).await.unwrap();
    becomes(&shop, id, "SUSPENDED").await;
    shop.clock().advance(TimeDelta::days(15));
    for _ in 0..2 {
        process_grace(&shop.state().subscriptions).await.unwrap();
    }
    becomes(&shop, id, "EXPIRED").await;
    let customer = shop.sign_in("tunggak@example.com").await;
    let found = told(&customer, KIND).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(fact(&found[0], "because"), "UNPAID");
}

/// It cannot be turned off, can be looked at before it is sent, and is a type of webhooks.
async fn the_notice_of_an_end_is_required(shop: Shop) {
    let reader: Client = shop.customer("wajib@example.com").await;
    let off = json!({ "kinds": [{ "kind": KIND, "email": false }] });
    let refused = reader.patch("/api/notifications/preferences", off).await;
    refused.fails(400, "VALIDATION_FAILED");
    let types = reader.get("/api/webhooks/event-types").await.data(200);
    assert!(types.as_array().unwrap().contains(&json!(KIND)), "{types}");
    let admin = shop.admin().await;
    for (language, words) in [("en", "has ended"), ("id", "telah berakhir")] {
        let path = format!("/api/admin/notifications/preview?kind={KIND}&language={language}");
        let seen = admin.get(&path).await.data(200);
        assert!(seen["subject"].as_str().unwrap().contains(words), "{seen}");
        assert!(seen["html"].as_str().unwrap().contains(words), "{seen}");
    }
}
