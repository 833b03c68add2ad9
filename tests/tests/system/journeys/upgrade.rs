//! Tests of upgrades in the middle of a period.

use chrono::TimeDelta;
use dermaga_shop::{
    ids::UserId,
    money::Rupiah,
    wallet::{
        self, Account, NewTransaction, TransactionType,
        ledger::{self, Movement},
    },
};
use dermaga_tests::{Client, Shop, both_engines, unique};
use serde_json::{Value, json};
use uuid::Uuid;

/// Registers a customer with cash.
pub(crate) async fn customer_with_cash(shop: &Shop, email: &str, amount: i64) -> Client {
    let registered = shop.register(email).await;
    let user_id: UserId = registered["user"]["id"].as_str().unwrap().parse().unwrap();
    let amount = Rupiah::new(amount);
    let movement = Movement {
        paid: amount,
        bonus: Rupiah::ZERO,
        others: vec![(Account::Gateway, amount.negated())],
    };
    let new = NewTransaction {
        user_id,
        kind: TransactionType::TopUp,
        description: "Top-up".to_owned(),
        details: Value::Null,
        subscription_id: None,
        coupon_id: None,
        price_decision_id: None,
        coupon_decision_id: None,
    };
    let mut conn = shop.state().db.begin().await.unwrap();
    let mut wallet = wallet::lock(&mut conn, user_id).await.unwrap();
    let key = format!("test-top-up:{}", unique());
    ledger::post(&mut conn, shop.clock(), &mut wallet, &movement, &key, new)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    shop.client()
        .with_token(registered["accessToken"].as_str().unwrap())
}

/// Buys N8N Basic and waits until it runs; returns subscription and instance.
pub(crate) async fn basic(shop: &Shop, customer: &Client) -> (String, Value) {
    let plan = shop.plan("n8n", "basic").await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    let instance = shop
        .instance_becomes(customer, bought["instanceId"].as_str().unwrap(), "RUNNING")
        .await;
    let id = bought["subscription"]["id"].as_str().unwrap().to_owned();
    (id, instance)
}

/// Folder into which the manifests of an instance are written.
pub(crate) fn folder_of(shop: &Shop, instance: &Value) -> std::path::PathBuf {
    let part = |key: &str| instance[key].as_str().unwrap().to_owned();
    let manifests = shop.data_dir().join("manifests");
    manifests.join(part("namespace")).join(part("name"))
}

async fn available(shop: &Shop, plan: &str) -> i64 {
    shop.plan_view("n8n", plan).await["availableQuota"]
        .as_i64()
        .unwrap()
}

/// Waits until both plans have the expected quota.
async fn quota_becomes(shop: &Shop, basic: i64, pro: i64) {
    for _ in 0..200 {
        if (available(shop, "basic").await, available(shop, "pro").await) == (basic, pro) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the quota does not become {basic} and {pro}");
}

both_engines!(
    Shop,
    [
        an_upgrade_is_prorated_and_applied,
        upgrades_are_refused_for_their_reason,
        one_of_many_upgrades_wins,
        an_upgrade_that_cannot_be_made_is_undone,
        an_upgrade_that_is_stopped_until_its_period_ends_is_undone,
        an_upgrade_that_is_not_made_before_its_period_ends_is_undone,
        a_forced_end_says_all_that_it_returned
    ]
);

/// An upgrade charges the rest of the period in the higher plan, less the unused part of the
/// payment; plan, quota and instance follow.
async fn an_upgrade_is_prorated_and_applied(shop: Shop) {
    let customer = customer_with_cash(&shop, "naik@example.com", 300_000).await;
    let (basic_left, pro_left) = (
        available(&shop, "basic").await,
        available(&shop, "pro").await,
    );
    let (id, instance) = basic(&shop, &customer).await;
    let pro = shop.plan("n8n", "pro").await;
    let quote = customer
        .post(
            &format!("/api/subscriptions/{id}/upgrade-quote"),
            json!({ "planId": pro }),
        )
        .await
        .data(200);
    assert_eq!(quote["due"], 100_000, "{quote:#}");
    let path = format!("/api/subscriptions/{id}/upgrade");
    let too_much = json!({ "planId": pro, "maxCharge": 99_999 });
    customer
        .put(&path, too_much)
        .await
        .fails(409, "QUOTE_CHANGED");

    let done = customer
        .with_key("up-1")
        .put(&path, json!({ "planId": pro, "maxCharge": 100_000 }))
        .await
        .data(200);
    assert_eq!(
        (&done["charged"], &done["paidCash"]),
        (&json!(100_000), &json!(100_000))
    );
    assert_eq!(done["subscription"]["plan"], "pro");
    let again = customer
        .with_key("up-1")
        .put(&path, json!({ "planId": pro, "maxCharge": 100_000 }))
        .await;
    assert!(again.is_replayed());
    customer
        .put(&path, json!({ "planId": pro }))
        .await
        .fails(400, "VALIDATION_FAILED");

    quota_becomes(&shop, basic_left, pro_left - 1).await;
    let detail = customer
        .get(&format!("/api/subscriptions/{id}"))
        .await
        .data(200);
    assert_eq!(
        (
            &detail["periods"][0]["price"],
            &detail["periods"][0]["paidCash"]
        ),
        (&json!(150_000), &json!(150_000))
    );
    let instance = shop
        .instance_becomes(&customer, instance["id"].as_str().unwrap(), "RUNNING")
        .await;
    assert_eq!(instance["plan"], "pro", "{instance:#}");
    assert_eq!(
        customer.get("/api/wallet/info").await.data(200)["paidBalance"],
        150_000
    );
    shop.books_balance().await;
}

/// Refused, without effect: lower plans, other services, other customers, missing credit or
/// quota.
async fn upgrades_are_refused_for_their_reason(shop: Shop) {
    let customer = customer_with_cash(&shop, "turun@example.com", 60_000).await;
    let (id, _) = basic(&shop, &customer).await;
    let path = format!("/api/subscriptions/{id}/upgrade");
    for plan in [
        shop.plan("n8n", "free").await,
        shop.plan("n8n", "basic").await,
        shop.plan("postgresql", "pro").await,
    ] {
        assert!(
            customer
                .put(&path, json!({ "planId": plan }))
                .await
                .fails(400, "VALIDATION_FAILED")
                .detail("planId")
                .is_some()
        );
    }
    let pro = shop.plan("n8n", "pro").await;
    let thief = shop.customer("pencuri-naik@example.com").await;
    thief
        .put(&path, json!({ "planId": pro }))
        .await
        .fails(404, "NOT_FOUND");
    customer
        .put(&path, json!({ "planId": pro }))
        .await
        .fails(402, "INSUFFICIENT_CREDIT");
    customer
        .put(&path, json!({ "planId": Uuid::nil() }))
        .await
        .fails(404, "NOT_FOUND");
    shop.leave_quota(&pro, 0).await;
    let rich = customer_with_cash(&shop, "kaya@example.com", 500_000).await;
    let (other, _) = basic(&shop, &rich).await;
    rich.put(
        &format!("/api/subscriptions/{other}/upgrade"),
        json!({ "planId": pro }),
    )
    .await
    .fails(409, "QUOTA_EXHAUSTED");
    assert_eq!(
        rich.get("/api/wallet/info").await.data(200)["paidBalance"],
        450_000
    );
    customer
        .delete(&format!("/api/subscriptions/{id}"))
        .await
        .data(200);
    customer
        .put(&path, json!({ "planId": pro }))
        .await
        .fails(409, "INVALID_STATE");
    shop.books_balance().await;
}

/// Of many concurrent upgrades, one is made and charged.
async fn one_of_many_upgrades_wins(shop: Shop) {
    let customer = customer_with_cash(&shop, "rebut@example.com", 1_000_000).await;
    let (id, _) = basic(&shop, &customer).await;
    let (pro, path) = (
        shop.plan("n8n", "pro").await,
        format!("/api/subscriptions/{id}/upgrade"),
    );
    let attempts = (0..10).map(|_| customer.put(&path, json!({ "planId": pro })));
    let answers = futures::future::join_all(attempts).await;
    assert_eq!(
        answers.iter().filter(|answer| answer.status == 200).count(),
        1
    );
    assert_eq!(
        customer.get("/api/wallet/info").await.data(200)["paidBalance"],
        850_000
    );
    shop.books_balance().await;
}

/// An upgrade that cannot be applied is undone: plan, cash, bonus and quota are as before.
async fn an_upgrade_that_cannot_be_made_is_undone(shop: Shop) {
    let customer = customer_with_cash(&shop, "gagal@example.com", 200_000).await;
    let (id, instance) = basic(&shop, &customer).await;
    let (basic_left, pro_left) = (
        available(&shop, "basic").await,
        available(&shop, "pro").await,
    );
    let id_of_instance = instance["id"].as_str().unwrap();
    let digest = instance["pluginDigest"].as_str().unwrap();
    // The folder is blocked until the pinned version fails for good.
    let folder = folder_of(&shop, &instance);
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();

    let pro = shop.plan("n8n", "pro").await;
    customer
        .put(
            &format!("/api/subscriptions/{id}/upgrade"),
            json!({ "planId": pro }),
        )
        .await
        .data(200);
    assert_eq!(available(&shop, "pro").await, pro_left - 1);
    assert_eq!(
        available(&shop, "basic").await,
        basic_left,
        "the old place is kept meanwhile"
    );
    let waits = async |said: &str| {
        for _ in 0..200 {
            let seen = customer
                .get(&format!("/api/instances/{id_of_instance}"))
                .await
                .data(200);
            if seen["lastError"]
                .as_str()
                .is_some_and(|error| error.contains(said))
            {
                return seen;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the instance does not say {said}");
    };
    let seen = waits("could not be prepared").await;
    // Paths are for administrators.
    assert!(
        !seen.to_string().contains(shop.data_dir().to_str().unwrap()),
        "{seen:#}"
    );
    // Repeated disk errors are no reason to undo the upgrade.
    for _ in 0..20 {
        shop.clock().advance(TimeDelta::minutes(1));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let seen = customer
        .get(&format!("/api/subscriptions/{id}"))
        .await
        .data(200);
    assert_eq!(seen["plan"], "pro", "{seen:#}");
    let failing = crate::journeys::delivery::failing_at_manifests(&shop).await;
    crate::journeys::delivery::pin(&shop, id_of_instance, &failing).await;
    let mut restored = false;
    for _ in 0..400 {
        shop.clock().advance(TimeDelta::minutes(1));
        let seen = customer.get(&format!("/api/subscriptions/{id}")).await;
        if seen.status == 200 && seen.body["data"]["plan"] == "basic" {
            restored = true;
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(restored, "the upgrade was not undone");
    let path = format!("/api/instances/{id_of_instance}");
    let seen = customer.get(&path).await.data(200);
    assert_eq!(seen["undone"]["change"], "PLAN", "{seen:#}");
    quota_becomes(&shop, basic_left, pro_left).await;
    assert_eq!(
        customer.get("/api/wallet/info").await.data(200)["paidBalance"],
        150_000
    );
    let detail = customer
        .get(&format!("/api/subscriptions/{id}"))
        .await
        .data(200);
    assert_eq!(
        (
            &detail["periods"][0]["price"],
            &detail["periods"][0]["paidCash"]
        ),
        (&json!(50_000), &json!(50_000))
    );
    std::fs::remove_file(&folder).unwrap();
    crate::journeys::delivery::pin(&shop, id_of_instance, digest).await;
    shop.instance_becomes(&customer, id_of_instance, "RUNNING")
        .await;
    shop.books_balance().await;
}

/// A customer who stops a service right after its upgrade never had the larger plan.
async fn an_upgrade_that_is_stopped_until_its_period_ends_is_undone(shop: Shop) {
    lapses(&shop, true).await;
}

/// A customer whose larger plan could not be set up for the rest of the period pays nothing for it.
async fn an_upgrade_that_is_not_made_before_its_period_ends_is_undone(shop: Shop) {
    lapses(&shop, false).await;
}

/// Upgrades what cannot be written, and waits until the next period is paid for in the plan before.
async fn lapses(shop: &Shop, is_stopped: bool) {
    let customer = customer_with_cash(shop, "berhenti@example.com", 300_000).await;
    let (id, instance) = basic(shop, &customer).await;
    let (basic_left, pro_left) = (available(shop, "basic").await, available(shop, "pro").await);
    let folder = folder_of(shop, &instance);
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let path = format!("/api/subscriptions/{id}");
    let pro = json!({ "planId": shop.plan("n8n", "pro").await });
    let upgrade = format!("{path}/upgrade");
    customer.put(&upgrade, pro).await.data(200);
    let id_of_instance = instance["id"].as_str().unwrap();
    if is_stopped {
        let stop = format!("{path}/stop");
        customer.put(&stop, json!({})).await.data(202);
        std::fs::remove_file(&folder).unwrap();
    }
    shop.clock().advance(TimeDelta::hours(1));
    if is_stopped {
        shop.instance_becomes(&customer, id_of_instance, "STOPPED")
            .await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let seen = customer.get(&path).await.data(200);
    assert_eq!(seen["plan"], "pro", "it may still be made: {seen:#}");

    shop.clock().advance(TimeDelta::days(31));
    let (admin, customer) = (
        shop.admin().await,
        shop.sign_in("berhenti@example.com").await,
    );
    let job = "/api/admin/jobs/daily-renewals/run";
    let answer = admin.post(job, json!({})).await;
    // The clock may have started it, too.
    assert!([200, 409].contains(&answer.status), "{answer:?}");
    for _ in 0..200 {
        if customer.get(&path).await.data(200)["periods"][0]["number"] == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let seen = customer.get(&path).await.data(200);
    assert_eq!(
        (&seen["plan"], &seen["periods"][0]["number"]),
        (&json!("basic"), &json!(2)),
        "{seen:#}"
    );
    let wallet = customer.get("/api/wallet/info").await.data(200);
    assert_eq!(wallet["paidBalance"], 300_000 - 2 * 50_000, "{wallet:#}");
    quota_becomes(shop, basic_left, pro_left).await;
    if !is_stopped {
        std::fs::remove_file(&folder).unwrap();
        shop.clock().advance(TimeDelta::hours(1));
        shop.instance_becomes(&customer, id_of_instance, "RUNNING")
            .await;
    }
    shop.books_balance().await;
}

/// An upgrade that was not made yet is undone with a forced end, whether the rest is refunded or not.
async fn a_forced_end_says_all_that_it_returned(shop: Shop) {
    let customer = customer_with_cash(&shop, "dipaksa@example.com", 300_000).await;
    let (id, instance) = basic(&shop, &customer).await;
    let folder = folder_of(&shop, &instance);
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let pro = json!({ "planId": shop.plan("n8n", "pro").await });
    let upgrade = format!("/api/subscriptions/{id}/upgrade");
    let charged = customer.put(&upgrade, pro).await.data(200)["charged"].clone();
    let path = format!("/api/admin/subscriptions/{id}/force-cancel");
    let end = json!({ "processRefund": false, "reason": "The customer asked for it." });
    let ended = shop.admin().await.delete_with(&path, end).await;
    let message = ended.body["message"].as_str().unwrap().to_owned();
    let ended = ended.data(200);
    assert_eq!(
        (&ended["refunded"], &ended["returned"]),
        (&json!(0), &charged)
    );
    assert!(message.contains("back in the wallet"), "{message}");
    let wallet = customer.get("/api/wallet/info").await.data(200);
    assert_eq!(wallet["paidBalance"], 300_000 - 50_000, "{wallet:#}");
    shop.books_balance().await;
}
