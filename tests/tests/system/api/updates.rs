//! Tests of new configurations for what a customer has, and of ending it.

use dermaga_runtime::{
    contract::{PriceAnswer, PriceLine},
    fixtures::ServiceFixture,
};
use dermaga_tests::{Answer, Client, Shop, both_engines};
use serde_json::{Value, json};

use super::bought::Bought;

both_engines!(
    Shop,
    [
        a_configuration_is_previewed_and_applied,
        what_does_not_fit_is_refused_and_changes_nothing,
        a_configuration_that_costs_more_is_refused,
        a_service_that_does_not_run_is_not_updated,
        updates_at_once_leave_one_whole_configuration,
        an_instance_is_ended_by_its_owner_and_by_administrators,
    ]
);

impl Bought {
    async fn update(&self, body: Value) -> Answer {
        let path = format!("/api/instances/{}/update", self.instance);
        self.customer.put(&path, body).await
    }

    async fn detail(&self) -> Value {
        let path = format!("/api/instances/{}", self.instance);
        self.customer.get(&path).await.data(200)
    }

    /// Waits until no change is under way, and returns the manifests in one text.
    async fn applied(&self) -> String {
        for _ in 0..400 {
            let detail = self.detail().await;
            if detail["changing"] == false
                && detail["generation"] == detail["observedGeneration"]
                && detail["failures"] == 0
            {
                let path = format!("/api/instances/{}/manifests", self.instance);
                return self.customer.get(&path).await.data(200)["objects"].to_string();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("it never settles: {:#}", self.detail().await);
    }

    async fn config(&self) -> Value {
        let path = format!("/api/subscriptions/{}", self.subscription);
        self.customer.get(&path).await.data(200)["config"].clone()
    }
}

fn zone(name: &str) -> Value {
    json!({ "config": { "timezone": name } })
}

async fn a_configuration_is_previewed_and_applied(shop: Shop) {
    let bought = Bought::by(&shop, "ubah@example.com", ("uptime-kuma", 100_000)).await;
    let before = bought.applied().await;
    let mut preview = zone("Asia/Makassar");
    preview["dryRun"] = json!(true);
    let seen = bought.update(preview).await.data(200);
    assert_eq!(
        (&seen["applied"], &seen["restarts"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        (&seen["priceNow"], &seen["priceNext"]),
        (&json!(20_000), &json!(20_000))
    );
    let diff = seen["diff"].as_str().unwrap();
    assert!(
        diff.contains("-          value: Asia/Jakarta\n")
            && diff.contains("+          value: Asia/Makassar\n"),
        "{diff}"
    );
    assert_eq!(bought.applied().await, before);

    let made = bought.update(zone("Asia/Makassar")).await.data(202);
    assert_eq!(
        (&made["applied"], &made["config"]),
        (&json!(true), &json!({"timezone": "Asia/Makassar"}))
    );
    let applied = bought.applied().await;
    assert!(applied.contains("Asia/Makassar") && !applied.contains("Asia/Jakarta"));
    assert_eq!(bought.config().await, json!({"timezone": "Asia/Makassar"}));
    let detail = bought.detail().await;
    assert_eq!(
        (&detail["generation"], &detail["undone"]),
        (&json!(2), &Value::Null)
    );

    let again = bought.update(zone("Asia/Makassar")).await.data(200);
    assert_eq!(again["applied"], false);
    assert_eq!(bought.detail().await["generation"], 2);
    // The period that was paid for is charged once.
    let path = "/api/wallet/info";
    assert_eq!(
        bought.customer.get(path).await.data(200)["bonusBalance"],
        80_000
    );
    shop.books_balance().await;
}

async fn what_does_not_fit_is_refused_and_changes_nothing(shop: Shop) {
    let bought = Bought::by(&shop, "tolak@example.com", ("postgresql", 100_000)).await;
    let refused = bought.update(json!({"config": {"databse": "b"}})).await;
    refused.fails(400, "VALIDATION_FAILED");
    let refused = bought.update(json!({"config": {"database": "toko"}})).await;
    let told = refused
        .fails(400, "VALIDATION_FAILED")
        .detail("config/database");
    assert!(
        told.is_some_and(|told| told.contains("first start")),
        "{told:?}"
    );
    let other = shop.plan("postgresql", "pro").await;
    let refused = bought.update(json!({"config": {}, "planId": other})).await;
    let told = refused.fails(400, "VALIDATION_FAILED").detail("planId");
    assert!(
        told.is_some_and(|told| told.contains("/upgrade")),
        "{told:?}"
    );
    let own = shop.plan("postgresql", "basic").await;
    bought
        .update(json!({"config": {}, "planId": own}))
        .await
        .data(200);

    let path = format!("/api/instances/{}/update", bought.instance);
    let stranger = shop.customer("orang-lain@example.com").await;
    stranger
        .put(&path, json!({"config": {}}))
        .await
        .fails(404, "NOT_FOUND");
    let nobody = "/api/instances/00000000-0000-7000-8000-000000000000/update";
    stranger
        .put(nobody, json!({"config": {}}))
        .await
        .fails(404, "NOT_FOUND");
    assert_eq!(bought.detail().await["generation"], 1);
}

/// Builds a version of N8N's plugin whose price depends on the configured size.
fn n8n_priced_by_size() -> Vec<u8> {
    let price = |amount: i64| PriceAnswer {
        lines: vec![PriceLine {
            code: "size".to_owned(),
            label: "Size".to_owned(),
            amount,
            reason: "One month in this size.".to_owned(),
        }],
        total: amount,
    };
    let mut fixture = ServiceFixture {
        price: price(50_000),
        prices_by_word: vec![
            ("large".to_owned(), price(80_000)),
            ("small".to_owned(), price(30_000)),
        ],
        ..ServiceFixture::default()
    };
    fixture.about.id = "service-n8n".to_owned();
    fixture.component()
}

/// The next period of a configuration may cost as much as that of the present one, or less.
async fn a_configuration_that_costs_more_is_refused(shop: Shop) {
    shop.put_in_place("service-n8n", &n8n_priced_by_size())
        .await;
    shop.state().plugins.refresh().await.unwrap();
    let bought = Bought::by(&shop, "lebih-mahal@example.com", ("n8n", 100_000)).await;
    let wallet = async || {
        let wallet = bought.customer.get("/api/wallet/info").await.data(200);
        wallet["totalBalance"].clone()
    };
    let before = bought.applied().await;
    assert_eq!(wallet().await, 50_000);
    let size = |size: &str| json!({ "config": { "size": size } });

    let mut preview = size("large");
    preview["dryRun"] = json!(true);
    bought.update(preview).await.fails(409, "PRICE_WOULD_RISE");
    let refused = bought.update(size("large")).await;
    refused.fails(409, "PRICE_WOULD_RISE");
    assert!(
        refused.text.contains("Rp80.000") && refused.text.contains("Rp30.000 more"),
        "{}",
        refused.text
    );
    assert_eq!(bought.applied().await, before);
    assert_eq!(bought.config().await, json!({}));
    assert_eq!(bought.detail().await["generation"], 1);

    // It costs the same, then less, and from there the price it had before would be a rise.
    for (name, (now, next)) in [("medium", (50_000, 50_000)), ("small", (50_000, 30_000))] {
        let made = bought.update(size(name)).await.data(202);
        assert_eq!(
            (&made["applied"], &made["priceNow"], &made["priceNext"]),
            (&json!(true), &json!(now), &json!(next))
        );
        bought.applied().await;
        assert_eq!(bought.config().await, json!({ "size": name }));
    }
    let refused = bought.update(size("medium")).await;
    refused.fails(409, "PRICE_WOULD_RISE");
    assert_eq!(bought.config().await, json!({ "size": "small" }));
    assert_eq!(bought.detail().await["generation"], 3);
    assert_eq!(wallet().await, 50_000, "no period was charged");
    shop.books_balance().await;
}

async fn a_service_that_does_not_run_is_not_updated(shop: Shop) {
    let bought = Bought::by(&shop, "diam@example.com", ("uptime-kuma", 100_000)).await;
    let act = |name: &str| format!("/api/instances/{}/{name}", bought.instance);
    bought.customer.put(&act("stop"), json!({})).await.data(202);
    bought.becomes(&shop, "STOPPED").await;
    let refused = bought.update(zone("UTC")).await;
    refused.fails(409, "INVALID_STATE");
    assert!(refused.text.contains("Start it first"), "{}", refused.text);
    bought
        .customer
        .put(&act("start"), json!({}))
        .await
        .data(202);
    bought.becomes(&shop, "RUNNING").await;
    bought.update(zone("UTC")).await.data(202);
    let path = format!("/api/instances/{}", bought.instance);
    bought.customer.delete(&path).await.data(202);
    bought
        .update(zone("Asia/Tokyo"))
        .await
        .fails(409, "INVALID_STATE");
}

/// Requests at once: each is made whole or refused, and one key makes one update.
async fn updates_at_once_leave_one_whole_configuration(shop: Shop) {
    let bought = Bought::by(&shop, "serentak@example.com", ("uptime-kuma", 100_000)).await;
    let zones = [
        "Asia/Tokyo",
        "Asia/Seoul",
        "Asia/Manila",
        "Europe/Paris",
        "UTC",
    ];
    let answers = futures::future::join_all(zones.map(|name| bought.update(zone(name)))).await;
    let mut made = 0;
    for answer in &answers {
        match answer.status {
            202 => made += 1,
            _ => drop(answer.fails(409, "CONFLICT")),
        }
    }
    assert!(made >= 1, "{answers:?}");
    let applied = bought.applied().await;
    let config = bought.config().await;
    let name = config["timezone"].as_str().unwrap();
    assert!(
        zones.contains(&name) && applied.contains(name),
        "{config} {applied}"
    );
    assert_eq!(bought.detail().await["generation"], 1 + made);

    let path = format!("/api/instances/{}/update", bought.instance);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let request = bought.customer.request(reqwest::Method::PUT, &path);
        let request = request
            .header("Idempotency-Key", "ubah-1")
            .json(&zone("Asia/Dili"));
        kept.push(bought.customer.send(request).await.data(202));
    }
    assert_eq!(kept[0], kept[1]);
    bought.applied().await;
    assert_eq!(bought.detail().await["generation"], 2 + made);
}

async fn an_instance_is_ended_by_its_owner_and_by_administrators(shop: Shop) {
    let admin = shop.admin().await;
    let own = Bought::by(&shop, "akhiri@example.com", ("uptime-kuma", 100_000)).await;
    let other = Bought::by(&shop, "diakhiri@example.com", ("uptime-kuma", 100_000)).await;
    let path = |bought: &Bought| format!("/api/instances/{}", bought.instance);
    other
        .customer
        .delete(&path(&own))
        .await
        .fails(404, "NOT_FOUND");
    own.customer.delete(&path(&own)).await.data(202);
    own.customer
        .delete(&path(&own))
        .await
        .fails(409, "INVALID_STATE");
    own.becomes(&shop, "TERMINATED").await;

    let path = format!("/api/admin/instances/{}", other.instance);
    let end = async |client: &Client, body: Value| {
        let request = client.request(reqwest::Method::DELETE, &path);
        client.send(request.json(&body)).await
    };
    let reason = json!({ "reason": "Its owner sends spam from it." });
    end(&other.customer, reason.clone())
        .await
        .fails(403, "FORBIDDEN");
    end(&admin, json!({ "reason": "spam" }))
        .await
        .fails(400, "VALIDATION_FAILED");
    let ended = end(&admin, reason.clone()).await.data(202);
    assert_eq!(ended["undone"], false);
    other.becomes(&shop, "TERMINATED").await;
    end(&admin, reason).await.fails(409, "INVALID_STATE");
    let sql = "SELECT count(*) FROM audit_events WHERE act = 'instance.terminated'";
    let mut conn = shop.state().db.read().await.unwrap();
    let (audited,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    assert_eq!(audited, 1);
    drop(conn);
    let status = format!("/api/subscriptions/{}", other.subscription);
    let status = other.customer.get(&status).await.data(200);
    assert_eq!(status["status"], "CANCELLED");
    assert_eq!(status["cancelReason"], "Its owner sends spam from it.");
}
