//! Tests of what is paid and not delivered yet: it is shown as pending, and stored as active.

use chrono::TimeDelta;
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use crate::journeys::{
    delivery::{balance, text},
    overdue,
    renewal::{becomes, buy, id_of, subscription as seen},
    upgrade::customer_with_cash,
    waiting::{buy_blocked, set_up},
};

// The nightly job rests: what a test renews, nothing else has renewed before.
both_engines!(
    overdue,
    [
        what_is_paid_is_pending_until_it_is_delivered,
        what_is_pending_can_be_ended
    ]
);

/// Ids that the lists of a customer and of all customers have for a status.
async fn listed(shop: &Shop, customer: &Client, status: &str) -> [Vec<String>; 2] {
    let ids = |list: Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|one| {
            assert_eq!(one["status"], status, "{one:#}");
            one["id"].as_str().unwrap().to_owned()
        })
        .collect()
    };
    let query = format!("subscriptions?status={status}");
    let own = customer.get(&format!("/api/{query}")).await.data(200);
    let admin = shop.admin().await;
    let all = admin.get(&format!("/api/admin/{query}")).await.data(200);
    [ids(own), ids(all)]
}

/// Pending and active ones, in the numbers of the one service and in those of billing.
async fn counted(shop: &Shop) -> [(i64, i64); 2] {
    let number = |counts: &Value, field: &str| counts[field].as_i64().unwrap();
    let of = |counts: &Value| (number(counts, "pending"), number(counts, "active"));
    let admin = shop.admin().await;
    let path = "/api/admin/subscriptions/stats";
    let services = admin.get(path).await.data(200)["services"].clone();
    assert_eq!(services.as_array().unwrap().len(), 1, "{services:#}");
    let billing = admin.get("/api/admin/billing/stats").await.data(200);
    [of(&services[0]), of(&billing)]
}

async fn what_is_paid_is_pending_until_it_is_delivered(shop: Shop) {
    let other = customer_with_cash(&shop, "dulu@example.com", 50_000).await;
    let there = buy(&shop, &other, ("n8n", "basic"), None).await;
    becomes(&shop, id_of(&there), "ACTIVE").await;
    let there = id_of(&there).to_owned();

    let customer = customer_with_cash(&shop, "nanti@example.com", 100_000).await;
    let (bought, in_the_way) = buy_blocked(&shop, &customer).await;
    let id = id_of(&bought).to_owned();
    let path = format!("/api/subscriptions/{id}");
    let own = customer.get(&path).await.data(200);
    let info = format!("{path}/billing-info");
    let info = customer.get(&info).await.data(200);
    let of_shop = seen(&shop, &id).await;
    for shown in [&bought["subscription"], &own, &info, &of_shop] {
        assert_eq!(shown["status"], "PENDING", "{shown:#}");
    }
    let date = (shop.clock().now() + TimeDelta::days(40)).date_naive();
    let preview = format!("/api/admin/billing/preview?date={date}");
    let preview = shop.admin().await.get(&preview).await.data(200);
    for line in preview.as_array().unwrap() {
        let waits = line["subscriptionId"] == id.as_str();
        let expected = if waits { "PENDING" } else { "ACTIVE" };
        assert_eq!(line["status"], expected, "{line:#}");
    }
    let (one, none) = (vec![id.clone()], Vec::new());
    let pending = listed(&shop, &customer, "PENDING").await;
    assert_eq!(pending, [one.clone(), one.clone()]);
    let active = listed(&shop, &customer, "ACTIVE").await;
    assert_eq!(active, [none.clone(), vec![there.clone()]]);
    assert_eq!(counted(&shop).await, [(1, 1); 2]);
    let stored = "UPDATE subscriptions SET updated_at = updated_at WHERE status = 'ACTIVE'";
    assert_eq!(shop.sql(stored).await.unwrap(), 2);

    let moved = set_up(&shop, &customer, &bought, &in_the_way).await;
    assert_eq!(moved["status"], "ACTIVE", "{moved:#}");
    let pending = listed(&shop, &customer, "PENDING").await;
    assert_eq!(pending, [none.clone(), none]);
    let active = listed(&shop, &customer, "ACTIVE").await;
    assert_eq!(active, [one, vec![id, there]]);
    assert_eq!(counted(&shop).await, [(0, 2); 2]);
}

async fn what_is_pending_can_be_ended(shop: Shop) {
    let customer = customer_with_cash(&shop, "batal@example.com", 70_000).await;
    let (bought, in_the_way) = buy_blocked(&shop, &customer).await;
    let id = text(&bought, "/subscription/id");
    let path = format!("/api/subscriptions/{id}");
    let at_end = json!({ "at": "period_end" });
    let ending = customer.delete_with(&path, at_end).await.data(200);
    assert_eq!(
        (&ending["status"], &ending["autoRenew"]),
        (&json!("PENDING"), &json!(false))
    );
    let ended = customer.delete(&path).await.data(200);
    assert_eq!(ended["status"], "CANCELLED", "{ended:#}");
    for status in ["PENDING", "ACTIVE"] {
        let found = listed(&shop, &customer, status).await;
        assert!(found.iter().all(Vec::is_empty), "{status}: {found:?}");
    }
    let cancelled = listed(&shop, &customer, "CANCELLED").await;
    assert_eq!(cancelled, [(); 2].map(|()| vec![id.to_owned()]));
    assert_eq!(counted(&shop).await, [(0, 0); 2]);
    assert_eq!(balance(&customer).await, (json!(70_000), json!(0)));
    std::fs::remove_file(&in_the_way).unwrap();
    shop.books_balance().await;
}
