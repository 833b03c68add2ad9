//! Tests of renewals: each period is charged once. Those with a coupon are in `reduced_renewals.rs`,
//! those of unpaid subscriptions in `unpaid.rs`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dermaga::config::{self, Sources};
use dermaga_runtime::fixtures::{Misdeed, ServiceFixture};
use dermaga_shop::billing::{process_grace, renew_due};
use dermaga_tests::{Client, Engine, Shop, both_engines};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::journeys::{overdue, upgrade::customer_with_cash};

const REASON: &str = "A gift of the house.";

/// Buys a plan and waits for its delivery; returns the purchase.
pub(crate) async fn buy(
    shop: &Shop,
    customer: &Client,
    plan: (&str, &str),
    coupon: Option<&str>,
) -> Value {
    let plan = shop.plan(plan.0, plan.1).await;
    let order = json!({ "planId": plan, "couponCode": coupon });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    // Only delivered services are charged again.
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(customer, instance, "RUNNING").await;
    bought
}

pub(crate) fn id_of(purchase: &Value) -> &str {
    purchase["subscription"]["id"].as_str().unwrap()
}

pub(crate) async fn subscription(shop: &Shop, id: &str) -> Value {
    let path = format!("/api/admin/subscriptions/{id}");
    shop.admin().await.get(&path).await.data(200)
}

pub(crate) fn moment(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

/// Moves the clock to the end of the period and renews; returns the subscription.
pub(crate) async fn next_period(shop: &Shop, id: &str) -> Value {
    let end = moment(&subscription(shop, id).await["periodEnd"]);
    shop.clock().advance(end - shop.clock().now());
    let outcome = renew_due(&shop.state().subscriptions).await.unwrap();
    assert_eq!(outcome.errors, Vec::<String>::new());
    subscription(shop, id).await
}

/// Waits until the subscription has this status.
pub(crate) async fn becomes(shop: &Shop, id: &str, status: &str) -> Value {
    for _ in 0..200 {
        let seen = subscription(shop, id).await;
        if seen["status"] == status {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!(
        "{id} does not become {status}: {:#}",
        subscription(shop, id).await
    );
}

pub(crate) async fn give(shop: &Shop, user: &str, amount: i64) {
    let path = format!("/api/admin/wallets/{user}/add-credit");
    let body = json!({ "amount": amount, "reason": REASON });
    shop.admin().await.post(&path, body).await.data(201);
}

// The nightly job rests: what a test renews, nothing else has renewed before.
both_engines!(
    overdue,
    [
        a_year_is_charged_month_by_month,
        many_at_once_charge_once,
        of_one_customer_the_longest_over_is_paid_first,
        a_failing_plugin_is_nobodys_debt
    ]
);

/// A year is charged month by month, each once, on the same day of the month.
async fn a_year_is_charged_month_by_month(shop: Shop) {
    let customer = customer_with_cash(&shop, "setahun@example.com", 25_000 * 13).await;
    let bought = buy(&shop, &customer, ("postgresql", "basic"), None).await;
    let id = id_of(&bought);
    let begun = moment(&bought["subscription"]["periodStart"]);
    for month in 2..=13_u32 {
        let renewed = next_period(&shop, id).await;
        assert_eq!(renewed["status"], "ACTIVE", "{renewed:#}");
        assert_eq!(renewed["periods"].as_array().unwrap().len(), month as usize);
        let expected = begun.with_timezone(&chrono_tz::Asia::Jakarta) + chrono::Months::new(month);
        assert_eq!(moment(&renewed["periodEnd"]), expected);
        assert_eq!(
            renew_due(&shop.state().subscriptions).await.unwrap().items,
            0,
            "charged twice"
        );
    }
    let customer = shop.sign_in("setahun@example.com").await;
    let wallet = customer.get("/api/wallet/info").await.data(200);
    assert_eq!(
        (&wallet["totalBalance"], &wallet["totalSpent"]),
        (&json!(0), &json!(325_000))
    );
    let newest = &wallet["recentTransactions"][0];
    assert_eq!(
        (&newest["type"], &newest["amount"]),
        (&json!("SUBSCRIPTION"), &json!(-25_000))
    );
    assert!(
        newest["description"]
            .as_str()
            .unwrap()
            .ends_with("month 13"),
        "{newest:#}"
    );
    let number = newest["number"].as_str().unwrap();
    let why = customer
        .get(&format!("/api/wallet/transactions/{number}/decisions"))
        .await
        .data(200);
    assert_eq!(why[0]["function"], "price", "{why:#}");
    shop.books_balance().await;
}

/// A run renews several customers at once, and each customer's subscriptions in their order.
async fn of_one_customer_the_longest_over_is_paid_first(shop: Shop) {
    let plan = ("postgresql", "basic");
    let customer = customer_with_cash(&shop, "berurutan@example.com", 75_000).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let bought = buy(&shop, &customer, plan, None).await;
        ids.push(id_of(&bought).to_owned());
        shop.clock().advance(TimeDelta::minutes(1));
    }
    for number in 0..4 {
        let email = format!("bersebelahan-{number}@example.com");
        let other = customer_with_cash(&shop, &email, 50_000).await;
        ids.push(id_of(&buy(&shop, &other, plan, None).await).to_owned());
    }
    let mut last = shop.clock().now();
    for id in &ids {
        last = last.max(moment(&subscription(&shop, id).await["periodEnd"]));
    }
    shop.clock().advance(last - shop.clock().now());
    let outcome = renew_due(&shop.state().subscriptions).await.unwrap();
    assert_eq!((outcome.items, outcome.errors), (6, Vec::new()));
    let mut periods = Vec::new();
    for id in &ids {
        let seen = subscription(&shop, id).await;
        periods.push(seen["periods"].as_array().unwrap().len());
    }
    assert_eq!(periods, [2, 1, 2, 2, 2, 2], "the second was not paid");
    shop.books_balance().await;
}

/// Concurrent renewals charge each period once; after months without a server, each run charges
/// one of them.
async fn many_at_once_charge_once(shop: Shop) {
    let mut ids = Vec::new();
    for number in 0..4 {
        let customer =
            customer_with_cash(&shop, &format!("serentak-{number}@example.com"), 100_000).await;
        ids.push(id_of(&buy(&shop, &customer, ("postgresql", "basic"), None).await).to_owned());
    }
    shop.clock().advance(TimeDelta::days(65));
    assert_eq!(
        renew_due(&shop.state().subscriptions).await.unwrap().items,
        4
    );
    for id in &ids {
        let renewed = subscription(&shop, id).await;
        assert_eq!(
            renewed["periods"].as_array().unwrap().len(),
            2,
            "one a run: {renewed:#}"
        );
    }
    let outcomes = join_all((0..6).map(|_| renew_due(&shop.state().subscriptions))).await;
    for outcome in outcomes {
        assert_eq!(outcome.unwrap().errors, Vec::<String>::new());
    }
    for id in &ids {
        let renewed = subscription(&shop, id).await;
        assert_eq!(
            renewed["periods"].as_array().unwrap().len(),
            3,
            "{renewed:#}"
        );
        assert_eq!(renewed["status"], "ACTIVE");
    }
    shop.books_balance().await;
}

/// A failing plugin does not stop other renewals, puts no subscription into grace, and is
/// retried later.
async fn a_failing_plugin_is_nobodys_debt(shop: Shop) {
    let customer = customer_with_cash(&shop, "gagal@example.com", 300_000).await;
    let mut fixture = ServiceFixture::misbehaving("price", Misdeed::Trap);
    fixture.about.id = "service-n8n".to_owned();
    let healthy = id_of(&buy(&shop, &customer, ("postgresql", "basic"), None).await).to_owned();
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought).to_owned();
    let bad = shop.put_in_place("service-n8n", &fixture.component()).await;
    shop.state().plugins.refresh().await.unwrap();
    let pin = async |digest: &str| {
        let mut conn = shop.state().db.begin().await.unwrap();
        let id: uuid::Uuid = bought["instanceId"].as_str().unwrap().parse().unwrap();
        dermaga_shop::execute!(
            conn,
            "UPDATE instances SET plugin_digest = $1 WHERE id = $2",
            digest,
            id
        )
        .unwrap();
        conn.commit().await.unwrap();
    };
    let admin = shop.admin().await;
    let good = admin.get("/api/admin/plugins/service-n8n").await.data(200);
    let versions = good["versions"].as_array().unwrap();
    let good = versions
        .iter()
        .find(|version| version["digest"] != bad.as_str())
        .unwrap();
    let good = good["digest"].as_str().unwrap().to_owned();
    pin(&bad).await;

    let end = moment(&subscription(&shop, &id).await["periodEnd"]);
    shop.clock()
        .advance(end - shop.clock().now() + TimeDelta::seconds(1));
    let outcome = renew_due(&shop.state().subscriptions).await.unwrap();
    let expected = format!("Subscription {id}: ");
    assert!(
        outcome
            .errors
            .iter()
            .all(|error| error.starts_with(&expected)),
        "{:?}",
        outcome.errors
    );
    assert_eq!(
        subscription(&shop, &healthy).await["periods"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let seen = subscription(&shop, &id).await;
    assert_eq!(
        (&seen["status"], seen["periods"].as_array().unwrap().len()),
        (&json!("ACTIVE"), 1)
    );
    let forecast = shop
        .admin()
        .await
        .get("/api/admin/billing/preview")
        .await
        .data(200);
    let line = forecast
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["subscriptionId"] == id)
        .unwrap();
    assert_eq!(line["forecast"], "UNKNOWN", "{line:#}");

    pin(&good).await;
    shop.clock().advance(TimeDelta::minutes(31));
    for _ in 0..200 {
        if subscription(&shop, &id).await["periods"]
            .as_array()
            .unwrap()
            .len()
            == 2
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(
        subscription(&shop, &id).await["periods"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    shop.books_balance().await;
}

/// Opens a shop with these settings in its environment, whose jobs only run when called.
async fn shop_with(settings: &[(&str, &str)]) -> Shop {
    let never = [
        ("CRON_DAILY_RENEWALS", "0 0 29 2 *"),
        ("CRON_GRACE_PERIOD", "0 0 29 2 *"),
    ];
    let settings = never.iter().chain(settings);
    let sources = Sources {
        environment: settings
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Sources::default()
    };
    // In a box, because it is large and kept over a wait.
    let read = Box::new(config::load(sources).unwrap().config);
    let change = |config: &mut config::Config| {
        config.subscriptions = read.subscriptions.clone();
        config.schedules.daily_renewals = read.schedules.daily_renewals.clone();
        config.schedules.grace_period = read.schedules.grace_period.clone();
    };
    Shop::open_with(Engine::Sqlite, change).await.unwrap()
}

/// Settings decide about automatic renewal, and the lengths of grace and of suspension.
#[tokio::test]
async fn the_settings_decide() {
    for (settings, expected) in [
        (&[("AUTO_RENEWAL_ENABLED", "false")][..], ["ACTIVE"; 3]),
        (
            &[
                ("GRACE_PERIOD_ENABLED", "false"),
                ("SUSPENSION_RETENTION_DAYS", "2"),
            ][..],
            ["SUSPENDED", "SUSPENDED", "EXPIRED"],
        ),
        (
            &[
                ("GRACE_PERIOD_DAYS", "2"),
                ("SUSPENSION_RETENTION_DAYS", "1"),
            ][..],
            ["PAST_DUE", "PAST_DUE", "SUSPENDED"],
        ),
    ] {
        let shop = shop_with(settings).await;
        let customer = customer_with_cash(&shop, "atur@example.com", 25_000).await;
        let bought = buy(&shop, &customer, ("postgresql", "basic"), None).await;
        let id = id_of(&bought);
        becomes(&shop, id, "ACTIVE").await;
        let mut seen = vec![next_period(&shop, id).await["status"].clone()];
        for _ in 0..2 {
            shop.clock().advance(TimeDelta::days(1));
            process_grace(&shop.state().subscriptions).await.unwrap();
            seen.push(subscription(&shop, id).await["status"].clone());
        }
        assert_eq!(seen, expected, "{settings:?}");
        shop.books_balance().await;
    }
}

/// A failed renewal is retried soon, as often as the settings say, and then once a day.
#[tokio::test]
async fn a_failed_renewal_is_tried_again_when_the_settings_say() {
    let shop = shop_with(&[
        ("BILLING_RETRY_ATTEMPTS", "1"),
        ("BILLING_RETRY_DELAY_MINUTES", "5"),
    ])
    .await;
    let customer = customer_with_cash(&shop, "ulang@example.com", 300_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let mut fixture = ServiceFixture::misbehaving("price", Misdeed::Trap);
    fixture.about.id = "service-n8n".to_owned();
    let bad = shop.put_in_place("service-n8n", &fixture.component()).await;
    shop.state().plugins.refresh().await.unwrap();
    let mut conn = shop.state().db.begin().await.unwrap();
    dermaga_shop::execute!(conn, "UPDATE instances SET plugin_digest = $1", &bad).unwrap();
    conn.commit().await.unwrap();
    let end = moment(&bought["subscription"]["periodEnd"]);
    shop.clock()
        .advance(end - shop.clock().now() + TimeDelta::seconds(1));
    for expected in [TimeDelta::minutes(5), TimeDelta::days(1)] {
        assert_eq!(
            renew_due(&shop.state().subscriptions)
                .await
                .unwrap()
                .errors
                .len(),
            1
        );
        let mut conn = shop.state().db.read().await.unwrap();
        let sql = "SELECT renewal_retry_at FROM subscriptions";
        let (at,) = dermaga_shop::fetch_one!(conn, (DateTime<Utc>,), sql).unwrap();
        let wait = at - shop.clock().now();
        assert!((expected - wait).abs() < TimeDelta::seconds(30), "{wait}");
    }
}

/// Two servers with a shared clock, both running their jobs, charge once.
#[tokio::test]
async fn two_servers_charge_once() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let other = shop.second_server().await;
    let customer = customer_with_cash(&shop, "dua@example.com", 300_000).await;
    let bought = buy(&shop, &customer, ("postgresql", "basic"), None).await;
    let id = id_of(&bought);
    for server in [&shop, &other] {
        server.clock().advance(TimeDelta::days(32));
    }
    for outcome in
        join_all([&shop, &other, &shop, &other].map(|one| renew_due(&one.state().subscriptions)))
            .await
    {
        assert_eq!(outcome.unwrap().errors, Vec::<String>::new());
    }
    let renewed = subscription(&shop, id).await;
    assert_eq!(
        renewed["periods"].as_array().unwrap().len(),
        2,
        "{renewed:#}"
    );
    shop.books_balance().await;
}
