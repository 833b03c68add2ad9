//! Tests of the hours between the end of a period and the nightly job: nothing is available for the
//! unpaid time.

use chrono::TimeDelta;
use dermaga_shop::billing::renew_due;
use dermaga_tests::{Client, Engine, Shop};
use serde_json::{Value, json};

use crate::journeys::{
    renewal::{self, id_of, moment, subscription as seen},
    upgrade::customer_with_cash,
};

async fn buy(shop: &Shop, customer: &Client, plan: &str) -> (String, String) {
    let bought = renewal::buy(shop, customer, ("n8n", plan), None).await;
    let instance = bought["instanceId"].as_str().unwrap();
    (id_of(&bought).to_owned(), instance.to_owned())
}

/// Advances the clock to an hour after the period's end, and signs in.
pub(crate) async fn an_hour_late(shop: &Shop, id: &str, email: &str) -> Client {
    let end = moment(&seen(shop, id).await["periodEnd"]);
    shop.clock()
        .advance(end - shop.clock().now() + TimeDelta::hours(1));
    shop.sign_in(email).await
}

async fn balance(customer: &Client) -> i64 {
    customer.get("/api/wallet/info").await.data(200)["paidBalance"]
        .as_i64()
        .unwrap()
}

/// Opens a shop whose nightly job does not run by itself.
pub(crate) async fn open(engine: Engine) -> Option<Shop> {
    Shop::open_with(engine, |config| {
        config.schedules.daily_renewals = "off".parse().unwrap();
    })
    .await
}

/// An upgrade renews first, as its quote says; a wallet that cannot pay the month is refused.
async fn an_upgrade_renews_first(shop: &Shop) {
    let customer = customer_with_cash(shop, "lewat@example.com", 50_000).await;
    let (id, _) = buy(shop, &customer, "basic").await;
    let customer = an_hour_late(shop, &id, "lewat@example.com").await;
    let pro = json!({ "planId": shop.plan("n8n", "pro").await });
    let path = format!("/api/subscriptions/{id}/upgrade");
    let quote = customer
        .post(&format!("{path}-quote"), pro.clone())
        .await
        .data(200);
    assert_eq!(
        (&quote["renewal"], &quote["affordable"]),
        (&json!(50_000), &json!(false)),
        "{quote:#}"
    );
    let due = quote["due"].as_i64().unwrap();
    assert!(
        (99_000..=100_000).contains(&due),
        "an hour of PRO instead of BASIC: {quote:#}"
    );
    customer
        .put(&path, pro.clone())
        .await
        .fails(402, "INSUFFICIENT_CREDIT");
    let unchanged = seen(shop, &id).await;
    assert_eq!(
        (&unchanged["status"], &unchanged["plan"]),
        (&json!("ACTIVE"), &json!("basic"))
    );

    let rich = customer_with_cash(shop, "lewat-kaya@example.com", 400_000).await;
    let (id, _) = buy(shop, &rich, "basic").await;
    let rich = an_hour_late(shop, &id, "lewat-kaya@example.com").await;
    let path = format!("/api/subscriptions/{id}/upgrade");
    let done = rich.put(&path, pro).await.data(200);
    let charged = done["charged"].as_i64().unwrap();
    assert!((99_000..=100_000).contains(&charged), "{done:#}");
    assert_eq!(balance(&rich).await, 400_000 - 50_000 - 50_000 - charged);
    let periods = seen(shop, &id).await["periods"].clone();
    assert_eq!(
        (periods.as_array().unwrap().len(), &periods[0]["price"]),
        (2, &json!(50_000 + charged))
    );
    assert_eq!(
        renew_due(&shop.state().subscriptions).await.unwrap().errors,
        Vec::<String>::new()
    );
    assert_eq!(
        seen(shop, &id).await["periods"].as_array().unwrap().len(),
        2,
        "charged twice"
    );
}

/// Operations that would leave the current month unpaid are refused; those that pay it are allowed.
async fn what_acts_on_an_unpaid_month(shop: &Shop) {
    let customer = customer_with_cash(shop, "tutup@example.com", 200_000).await;
    let (id, instance) = buy(shop, &customer, "basic").await;
    let customer = an_hour_late(shop, &id, "tutup@example.com").await;
    let auto_renew = format!("/api/subscriptions/{id}/auto-renew");
    customer
        .put(&auto_renew, json!({ "autoRenew": false }))
        .await
        .fails(409, "INVALID_STATE");
    assert_eq!(seen(shop, &id).await["autoRenew"], true);

    let admin = shop.admin().await;
    let refund = format!("/api/admin/subscriptions/{id}/refund");
    let body = |period: Value| json!({ "amount": 1_000, "reason": "The service was down for a day.", "period": period });
    let unclear = admin.post(&refund, body(Value::Null)).await;
    assert!(
        unclear
            .fails(409, "INVALID_STATE")
            .detail("period")
            .is_some(),
        "{:#}",
        unclear.body
    );
    admin.post(&refund, body(json!(1))).await.data(201);

    let other = shop.put_in_place("service-n8n", &n8n()).await;
    shop.state().plugins.refresh().await.unwrap();
    let moves = json!({ "to": other, "instances": [instance], "dryRun": true });
    let moves = admin
        .post("/api/admin/plugins/service-n8n/moves", moves)
        .await
        .data(200);
    assert_eq!(moves["instances"][0]["outcome"], "REFUSED", "{moves:#}");
    assert!(
        moves["instances"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("not charged yet"),
        "{moves:#}"
    );

    // Turning on automatic renewal again charges at once.
    let before = balance(&customer).await;
    let renewed = customer
        .put(&auto_renew, json!({ "autoRenew": true }))
        .await
        .data(200);
    assert_eq!(
        (
            renewed["periods"].as_array().unwrap().len(),
            balance(&customer).await
        ),
        (2, before - 50_000)
    );
    let stops = customer
        .put(&auto_renew, json!({ "autoRenew": false }))
        .await
        .data(200);
    assert_eq!(stops["autoRenew"], false);

    // Ending needs no paid month, and a subscription without renewal is not upgraded for free.
    let customer = an_hour_late(shop, &id, "tutup@example.com").await;
    let pro = json!({ "planId": shop.plan("n8n", "pro").await });
    customer
        .put(&format!("/api/subscriptions/{id}/upgrade"), pro.clone())
        .await
        .fails(409, "INVALID_STATE");
    customer
        .post(&format!("/api/subscriptions/{id}/upgrade-quote"), pro)
        .await
        .fails(409, "INVALID_STATE");
    customer
        .delete(&format!("/api/subscriptions/{id}"))
        .await
        .data(200);
    assert_eq!(balance(&customer).await, before - 50_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_had_for_an_unpaid_month_on_sqlite() {
    play(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_had_for_an_unpaid_month_on_postgresql() {
    play(Engine::Postgres).await;
}

async fn play(engine: Engine) {
    if let Some(shop) = open(engine).await {
        an_upgrade_renews_first(&shop).await;
        what_acts_on_an_unpaid_month(&shop).await;
        shop.books_balance().await;
    }
}

/// Builds another version of N8N's plugin.
pub(crate) fn n8n() -> Vec<u8> {
    let mut fixture = dermaga_runtime::fixtures::ServiceFixture::default();
    fixture.about.id = "service-n8n".to_owned();
    fixture.component()
}
