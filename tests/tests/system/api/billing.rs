//! Tests of what administrators see of billing, and of the names by which they run its jobs.

use chrono::TimeDelta;
use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};

use crate::journeys::{
    renewal::{becomes, buy, id_of, moment, next_period, subscription},
    upgrade::customer_with_cash,
};

both_engines!(
    Shop,
    [
        billing_is_told_in_numbers,
        who_cannot_pay_soon_is_listed,
        who_cannot_pay_soon_is_listed_in_pages,
        who_cannot_pay_later_is_listed_as_foreseen,
        jobs_of_billing_run_by_their_names
    ]
);

async fn statistics(shop: &Shop) -> Value {
    let admin = shop.admin().await;
    admin.get("/api/admin/billing/stats").await.data(200)
}

async fn billing_is_told_in_numbers(shop: Shop) {
    let rich = customer_with_cash(&shop, "lunas@example.com", 300_000).await;
    let poor = customer_with_cash(&shop, "kurang@example.com", 60_000).await;
    let kept = buy(&shop, &rich, ("n8n", "basic"), None).await;
    let unpaid = buy(&shop, &poor, ("n8n", "basic"), None).await;
    let gone = buy(&shop, &rich, ("n8n", "free"), None).await;
    for bought in [&kept, &unpaid] {
        becomes(&shop, id_of(bought), "ACTIVE").await;
    }
    let path = format!("/api/subscriptions/{}", id_of(&gone));
    rich.delete(&path).await.data(200);
    let refund = json!({ "amount": 5_000, "reason": "The service was down for a day." });
    let path = format!("/api/admin/subscriptions/{}/refund", id_of(&kept));
    shop.admin().await.post(&path, refund).await.data(201);
    let seen = statistics(&shop).await;
    let number = |field: &str| seen[field].as_i64().unwrap();
    assert_eq!(
        (number("active"), number("pastDue"), number("unpaid")),
        (2, 0, 0)
    );
    assert_eq!(
        (number("recurring"), number("dueWithinSevenDays")),
        (100_000, 0)
    );
    for span in ["today", "thisMonth"] {
        let span = &seen[span];
        let fields = ["charges", "charged", "refunds", "refunded", "ended"];
        let sums = fields.map(|field| span[field].as_i64().unwrap());
        assert_eq!(sums, [3, 100_000, 1, 5_000, 1], "{seen:#}");
    }

    let end = moment(&subscription(&shop, id_of(&kept)).await["periodEnd"]);
    shop.clock()
        .advance(end - TimeDelta::days(6) - shop.clock().now());
    assert_eq!(statistics(&shop).await["dueWithinSevenDays"], 2);
    next_period(&shop, id_of(&unpaid)).await;
    let seen = statistics(&shop).await;
    let number = |field: &str| seen[field].as_i64().unwrap();
    assert_eq!((number("active"), number("pastDue")), (1, 1), "{seen:#}");
    assert_eq!((number("unpaid"), number("recurring")), (50_000, 50_000));
    assert_eq!(number("overdue"), 0);
    let today = &seen["today"];
    assert_eq!(
        (&today["charges"], &today["charged"]),
        (&json!(1), &json!(50_000))
    );
    rich_is_refused(&shop).await;
}

async fn rich_is_refused(shop: &Shop) {
    let customer = shop.sign_in("lunas@example.com").await;
    for path in ["stats", "low-credit", "job-status"] {
        let path = format!("/api/admin/billing/{path}");
        customer.get(&path).await.fails(403, "FORBIDDEN");
        shop.client().get(&path).await.fails(401, "UNAUTHENTICATED");
    }
    let path = "/api/admin/billing/run-job/daily-renewals";
    customer.post(path, json!({})).await.fails(403, "FORBIDDEN");
}

async fn who_cannot_pay_soon_is_listed(shop: Shop) {
    let rich = customer_with_cash(&shop, "cukup@example.com", 100_000).await;
    let poor = customer_with_cash(&shop, "tipis@example.com", 60_000).await;
    buy(&shop, &rich, ("n8n", "basic"), None).await;
    let short = buy(&shop, &poor, ("n8n", "basic"), None).await;
    let end = moment(&subscription(&shop, id_of(&short)).await["periodEnd"]);
    let path = "/api/admin/billing/low-credit";
    let admin = shop.admin().await;
    assert_eq!(admin.get(path).await.data(200), json!([]));
    let wide = admin.get(&format!("{path}?days=40")).await.data(200);
    assert_eq!(wide.as_array().unwrap().len(), 1, "{wide:#}");
    shop.clock()
        .advance(end - TimeDelta::days(2) - shop.clock().now());
    let admin = shop.admin().await;
    let found = admin.get(path).await.data(200);
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["subscriptionId"], short["subscription"]["id"]);
    assert_eq!(
        (&found[0]["due"], &found[0]["missing"]),
        (&json!(50_000), &json!(40_000))
    );
    for query in [
        "days=0",
        "days=91",
        "days=x",
        "more=1",
        "page=0",
        "limit=101",
    ] {
        let answer = admin.get(&format!("{path}?{query}")).await;
        answer.fails(400, "VALIDATION_FAILED");
    }
}

/// One of two subscriptions ends after the other was renewed twice, and the list says of it what the preview does.
async fn who_cannot_pay_later_is_listed_as_foreseen(shop: Shop) {
    let customer = customer_with_cash(&shop, "lusa@example.com", 120_000).await;
    buy(&shop, &customer, ("postgresql", "basic"), None).await;
    let later = buy(&shop, &customer, ("postgresql", "basic"), None).await;
    // The two answers are compared with their status.
    becomes(&shop, id_of(&later), "ACTIVE").await;
    let admin = shop.admin().await;
    let path = format!("/api/admin/subscriptions/{}/extend", id_of(&later));
    let body = json!({ "days": 42, "reason": "The cluster was away." });
    admin.put(&path, body).await.data(200);
    let path = "/api/admin/billing/low-credit?days=75";
    let listed = admin.get(path).await.data(200);
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 1, "{listed:#?}");
    assert_eq!(listed[0]["subscriptionId"], id_of(&later));
    assert_eq!(
        (&listed[0]["due"], &listed[0]["missing"]),
        (&json!(25_000), &json!(5_000))
    );
    let date = (shop.clock().now() + TimeDelta::days(75)).date_naive();
    let path = format!("/api/admin/billing/preview?date={date}");
    let foreseen = admin.get(&path).await.data(200);
    let mut foreseen = foreseen.as_array().unwrap().iter();
    let line = foreseen.find(|line| line["subscriptionId"] == id_of(&later));
    assert_eq!(line, listed.first());
}

/// Pages of 20, unless said otherwise, of those who are short: one who can pay in between is on none.
async fn who_cannot_pay_soon_is_listed_in_pages(shop: Shop) {
    let mut short = Vec::new();
    for number in 0..8 {
        let cash = if number == 1 { 150_000 } else { 75_000 };
        let email = format!("tipis-{number}@example.com");
        let customer = customer_with_cash(&shop, &email, cash).await;
        for _ in 0..3 {
            let bought = buy(&shop, &customer, ("postgresql", "basic"), None).await;
            if number != 1 {
                short.push(bought["subscription"]["id"].clone());
            }
        }
    }
    let admin = shop.admin().await;
    let page = async |query: &str| {
        let path = format!("/api/admin/billing/low-credit?days=40{query}");
        let answer = admin.get(&path).await;
        let pagination = answer.body["pagination"].clone();
        let lines = answer.data(200);
        let ids = lines.as_array().unwrap().iter();
        let ids: Vec<Value> = ids.map(|line| line["subscriptionId"].clone()).collect();
        (ids, pagination)
    };
    let (first, pagination) = page("").await;
    assert_eq!(first, short[..20]);
    assert_eq!(
        (&pagination["totalItems"], &pagination["totalPages"]),
        (&json!(21), &json!(2)),
        "{pagination:#}"
    );
    assert_eq!(page("&page=2").await.0, short[20..]);
    assert_eq!(page("&limit=2&page=3").await.0, short[4..6]);
    assert!(page("&page=3").await.0.is_empty());
}

async fn jobs_of_billing_run_by_their_names(shop: Shop) {
    let admin = shop.admin().await;
    let jobs = admin.get("/api/admin/billing/job-status").await.data(200);
    let jobs = jobs.as_array().unwrap().iter();
    let mut names: Vec<&str> = jobs.map(|job| job["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    let expected = [
        "billing-stats",
        "daily-renewals",
        "grace-period",
        "grace-period-reminders",
        "low-credit-notifications",
    ];
    assert_eq!(names, expected);
    let run = async |name: &str| {
        let path = format!("/api/admin/billing/run-job/{name}");
        admin.post(&path, json!({})).await
    };
    let ran = run("grace-period").await.data(200);
    assert_eq!(
        (&ran["job"], &ran["status"]),
        (&json!("grace-period"), &json!("SUCCEEDED"))
    );
    let page = admin.get("/api/admin/audit?act=job.run").await.data(200);
    assert_eq!(page[0]["subject"], "job:grace-period");
    run("ledger-seal").await.fails(404, "NOT_FOUND");
    run("nothing").await.fails(404, "NOT_FOUND");
}
