//! Tests of the quotas of plans, as administrators see and change them.

use dermaga_tests::{Answer, Client, Shop, both_engines};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use uuid::Uuid;

use super::services::{images, new_plan};

both_engines!(
    Shop,
    [
        quotas_are_listed_and_summed,
        a_quota_is_changed_with_a_reason,
        many_quotas_change_together_or_not_at_all,
        fifty_quotas_change_together_and_no_more,
        a_quota_is_never_below_what_is_in_use
    ]
);

const REASON: &str = "Two more nodes were added.";

async fn set(admin: &Client, plan: &str, total: i64) -> Answer {
    let body = json!({ "totalQuota": total, "reason": REASON });
    let path = format!("/api/admin/quota/plans/{plan}");
    admin.put(&path, body).await
}

fn is_sqlite(shop: &Shop) -> bool {
    let url = shop.state().config.database_url();
    url.starts_with("sqlite")
}

async fn use_up(shop: &Shop, plan: &str, used: i64, total: i64) {
    let sql = format!(
        "UPDATE service_plans SET used_quota = {used}, total_quota = {total} WHERE id = '{plan}'"
    );
    let binary = sql.replace(
        &format!("'{plan}'"),
        &format!("X'{}'", plan.replace('-', "")),
    );
    let sql = if is_sqlite(shop) { binary } else { sql };
    shop.rewrite(&[sql]).await.unwrap();
}

/// Quotas are listed with their health, filtered, and summed by service and tier.
async fn quotas_are_listed_and_summed(shop: Shop) {
    let admin = shop.admin().await;
    let plan = shop.plan("n8n", "free").await;
    for (used, health, percent) in [
        (79, "healthy", 79),
        (80, "warning", 80),
        (95, "critical", 95),
        (100, "full", 100),
    ] {
        use_up(&shop, &plan, used, 100).await;
        let one = admin
            .get(&format!("/api/admin/quota/plans/{plan}"))
            .await
            .data(200);
        let seen = [
            &one["health"],
            &one["utilization"],
            &one["usedQuota"],
            &one["availableQuota"],
        ];
        assert_eq!(
            seen,
            [
                &json!(health),
                &json!(percent),
                &json!(used),
                &json!(100 - used)
            ]
        );
        let path = format!("/api/admin/quota?health={health}&service=n8n&tier=FREE");
        let listed = admin.get(&path).await.data(200);
        assert_eq!(listed[0]["planId"], plan, "{health}");
    }
    let page = admin.get("/api/admin/quota?health=full").await;
    assert_eq!(page.body["pagination"]["totalItems"], 1);

    let all = admin.get("/api/admin/quota?limit=100").await.data(200);
    let sum = |field: &str| {
        let rows = all.as_array().unwrap().iter();
        rows.map(|row| row[field].as_i64().unwrap()).sum::<i64>()
    };
    let overview = admin.get("/api/admin/quota/overview").await.data(200);
    assert_eq!(overview["totalQuota"], sum("totalQuota"));
    assert_eq!(overview["availableQuota"], sum("availableQuota"));
    assert_eq!(overview["byHealth"]["full"], 1);
    assert_eq!(overview["attention"][0]["planId"], plan);
    let statistics = admin.get("/api/admin/quota/statistics").await.data(200);
    for group in ["byService", "byTier"] {
        let groups = statistics[group].as_array().unwrap().iter();
        let total: i64 = groups.map(|one| one["totalQuota"].as_i64().unwrap()).sum();
        assert_eq!(total, sum("totalQuota"), "{group}");
    }
    let n8n = all.as_array().unwrap().iter();
    let n8n: i64 = n8n
        .filter(|row| row["service"] == "n8n")
        .map(|row| row["usedQuota"].as_i64().unwrap())
        .sum();
    let services = statistics["byService"].as_array().unwrap();
    let summed = services.iter().find(|one| one["service"] == "n8n").unwrap();
    assert_eq!(summed["usedQuota"], n8n);
    strangers_are_refused(&shop, &plan).await;
}

async fn strangers_are_refused(shop: &Shop, plan: &str) {
    let customer = shop.customer("kuota@example.com").await;
    let plan = format!("plans/{plan}");
    for path in ["", "/overview", "/statistics"] {
        let path = format!("/api/admin/quota{path}");
        customer.get(&path).await.fails(403, "FORBIDDEN");
    }
    for path in [plan.as_str(), "bulk"] {
        let path = format!("/api/admin/quota/{path}");
        customer.put(&path, json!({})).await.fails(403, "FORBIDDEN");
        let unknown = shop.client().put(&path, json!({})).await;
        unknown.fails(401, "UNAUTHENTICATED");
    }
}

/// A change needs a reason, is audited, and decides at once what can be bought.
async fn a_quota_is_changed_with_a_reason(shop: Shop) {
    let admin = shop.admin().await;
    let plan = shop.plan("ghost", "free").await;
    let changed = set(&admin, &plan, 1).await.data(200);
    assert_eq!(
        (&changed["totalQuota"], &changed["health"]),
        (&json!(1), &json!("healthy"))
    );
    let order = json!({ "planId": plan });
    let [first, second] = ["satu@example.com", "dua@example.com"];
    let first = shop.customer(first).await;
    first
        .post("/api/subscriptions", order.clone())
        .await
        .data(201);
    let second = shop.customer(second).await;
    let refused = second.post("/api/subscriptions", order.clone()).await;
    refused.fails(409, "QUOTA_EXHAUSTED");
    set(&admin, &plan, 0).await.fails(409, "INVALID_STATE");
    set(&admin, &plan, 2).await.data(200);
    second.post("/api/subscriptions", order).await.data(201);

    let path = format!("/api/admin/audit?act=plan.quota_changed&subject=plan:{plan}");
    let acts = admin.get(&path).await.data(200);
    let (last, count) = (&acts[0], acts.as_array().unwrap().len());
    assert_eq!((count, &last["reason"]), (2, &json!(REASON)));
    assert_eq!(
        (&last["details"]["before"], &last["details"]["after"]),
        (&json!(1), &json!(2))
    );

    let path = format!("/api/admin/quota/plans/{plan}");
    for wrong in [
        json!({ "totalQuota": 3 }),
        json!({ "totalQuota": 3, "reason": "more" }),
        json!({ "totalQuota": -1, "reason": REASON }),
        json!({ "totalQuota": 1_000_001, "reason": REASON }),
        json!({ "totalQuota": 3, "reason": REASON, "usedQuota": 0 }),
    ] {
        admin
            .put(&path, wrong)
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    set(&admin, &Uuid::nil().to_string(), 3)
        .await
        .fails(404, "NOT_FOUND");
}

/// Up to fifty plans change in one step: one that cannot change keeps all others as they were.
async fn many_quotas_change_together_or_not_at_all(shop: Shop) {
    let admin = shop.admin().await;
    let [free, basic] = [
        shop.plan("n8n", "free").await,
        shop.plan("n8n", "basic").await,
    ];
    let bulk = async |plans: Vec<Value>| {
        let body = json!({ "plans": plans, "reason": REASON });
        admin.put("/api/admin/quota/bulk", body).await
    };
    let to = |plan: &str, total: i64| json!({ "planId": plan, "totalQuota": total });
    let changed = bulk(vec![to(&free, 7), to(&basic, 9)]).await.data(200);
    assert_eq!(changed.as_array().unwrap().len(), 2);
    let total = async |plan: &str| {
        let path = format!("/api/admin/quota/plans/{plan}");
        admin.get(&path).await.data(200)["totalQuota"].clone()
    };
    assert_eq!(
        (total(&free).await, total(&basic).await),
        (json!(7), json!(9))
    );

    use_up(&shop, &basic, 3, 9).await;
    let refused = bulk(vec![to(&free, 8), to(&basic, 2)]).await;
    refused.fails(409, "INVALID_STATE");
    assert_eq!(refused.detail("n8n/basic"), Some("is in use"));
    let nowhere = to(&Uuid::nil().to_string(), 1);
    bulk(vec![to(&free, 8), nowhere])
        .await
        .fails(404, "NOT_FOUND");
    let twice = bulk(vec![to(&free, 8), to(&free, 9)]).await;
    twice.fails(400, "VALIDATION_FAILED");
    bulk(Vec::new()).await.fails(400, "VALIDATION_FAILED");
    let many = (0..51).map(|n| to(&Uuid::from_u128(n).to_string(), 1));
    bulk(many.collect()).await.fails(400, "VALIDATION_FAILED");
    assert_eq!(
        (total(&free).await, total(&basic).await),
        (json!(7), json!(9))
    );
    use_up(&shop, &basic, 0, 9).await;
}

/// Fifty plans are the most of one request.
async fn fifty_quotas_change_together_and_no_more(shop: Shop) {
    let admin = shop.admin().await;
    let images = images(&shop, "n8n").await;
    let tiers = ["FREE", "BASIC", "PRO", "PREMIUM", "ENTERPRISE"];
    for number in 0..8 {
        let plans = tiers.map(|tier| {
            let price = if tier == "FREE" { 0 } else { 10_000 };
            new_plan(&tier.to_lowercase(), tier, price)
        });
        let new = json!({
            "slug": format!("flows-{number}"), "category": "databases", "plugin": "service-n8n",
            "name": format!("Flows {number}"), "summary": "Flows.", "description": "Flows, made here.",
            "images": images, "plans": plans, "reason": REASON,
        });
        admin.post("/api/admin/services", new).await.data(201);
    }
    let all = admin.get("/api/admin/quota?limit=100").await.data(200);
    let wanted: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .take(51)
        .map(|plan| json!({ "planId": plan["planId"], "totalQuota": 7 }))
        .collect();
    let bulk = |plans: &[Value]| {
        let body = json!({ "plans": plans, "reason": REASON });
        admin.put("/api/admin/quota/bulk", body)
    };
    bulk(&wanted).await.fails(400, "VALIDATION_FAILED");
    let changed = bulk(&wanted[..50]).await.data(200);
    let changed = changed.as_array().unwrap();
    assert_eq!(changed.len(), 50);
    assert!(changed.iter().all(|plan| plan["totalQuota"] == 7));
}

/// Two servers sell a plan while administrators shrink it: what was sold fits, and what fits was sold.
async fn a_quota_is_never_below_what_is_in_use(shop: Shop) {
    // One server alone writes to a file.
    let second = if is_sqlite(&shop) {
        None
    } else {
        Some(shop.second_server().await)
    };
    let other = second.as_ref().unwrap_or(&shop);
    let admin = shop.admin().await;
    let plan = shop.plan("ghost", "free").await;
    set(&admin, &plan, 10).await.data(200);
    let customers = shop.many_customers(12).await;
    let order = json!({ "planId": plan });
    let buying = stream::iter(customers.iter().enumerate())
        .map(|(number, customer)| {
            let moved = customer.moved_to(other.client());
            let caller = if number % 2 == 0 {
                customer.clone()
            } else {
                moved
            };
            let order = order.clone();
            async move { caller.post("/api/subscriptions", order).await }
        })
        .buffer_unordered(6)
        .collect::<Vec<_>>();
    let shrinking = async {
        let mut last = 10;
        for total in [8, 6, 5] {
            let answer = set(&admin.moved_to(other.client()), &plan, total).await;
            match answer.status {
                200 => last = total,
                _ => drop(answer.fails(409, "INVALID_STATE")),
            }
        }
        last
    };
    let (bought, total) = tokio::join!(buying, shrinking);
    let sold = bought.iter().filter(|answer| answer.status == 201).count();
    for answer in bought.iter().filter(|answer| answer.status != 201) {
        answer.fails(409, "QUOTA_EXHAUSTED");
    }
    let path = format!("/api/admin/quota/plans/{plan}");
    let seen = admin.get(&path).await.data(200);
    assert_eq!(
        (&seen["usedQuota"], &seen["totalQuota"]),
        (&json!(sold), &json!(total))
    );
    assert_eq!(seen["health"], "full", "{seen:#}");
    shop.books_balance().await;
}
