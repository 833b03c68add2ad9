//! Tests of what administrators see and do of customers' subscriptions.

use chrono::TimeDelta;
use dermaga_tests::{Answer, Client, Shop, both_engines};
use reqwest::Method;
use serde_json::{Value, json};

use super::notifications::run;
use crate::journeys::{
    renewal::{becomes, buy, id_of, moment, next_period, subscription},
    upgrade::{basic, customer_with_cash},
};

pub(super) const REASON: &str = "The customer asked by telephone.";

both_engines!(
    Shop,
    [
        only_administrators_do_what_administrators_do,
        subscriptions_are_listed_by_each_filter,
        statistics_count_what_came_and_went_and_what_was_paid,
        a_gift_is_made_once_and_renews_at_its_price,
        what_is_granted_without_a_gift_is_paid,
        an_extension_moves_the_end_once_for_a_key,
        an_extension_ends_a_grace,
        a_price_only_falls_and_counts_from_the_next_period
    ]
);

pub(super) async fn delete(client: &Client, path: &str, body: Value) -> Answer {
    let request = client.request(Method::DELETE, path);
    client.send(request.json(&body)).await
}

pub(super) async fn balances(client: &Client) -> (i64, i64) {
    let info = client.get("/api/wallet/info").await.data(200);
    let of = |field: &str| info[field].as_i64().unwrap();
    (of("paidBalance"), of("bonusBalance"))
}

async fn me(client: &Client) -> String {
    let profile = client.get("/api/user/profile").await.data(200);
    profile["id"].as_str().unwrap().to_owned()
}

/// Returns the details of the one recorded act of this name on a subscription, whose reason is known.
pub(super) async fn recorded(admin: &Client, act: &str, id: &str) -> Value {
    let path = format!("/api/admin/audit?act={act}&subject=subscription:{id}");
    let page = admin.get(&path).await.data(200);
    assert_eq!(page.as_array().unwrap().len(), 1, "{page:#}");
    assert_eq!(page[0]["reason"], REASON);
    page[0]["details"].clone()
}

/// Each route refuses customers, strangers, unknown fields, bounds and missing reasons.
async fn only_administrators_do_what_administrators_do(shop: Shop) {
    let customer = customer_with_cash(&shop, "biasa@example.com", 100_000).await;
    let (id, _) = basic(&shop, &customer).await;
    let admin = shop.admin().await;
    let base = "/api/admin/subscriptions";
    let (user, plan) = (me(&customer).await, shop.plan("n8n", "basic").await);
    let acts = [
        (
            Method::POST,
            base.to_owned(),
            json!({ "userId": user, "planId": plan, "reason": REASON }),
        ),
        (
            Method::PUT,
            format!("{base}/{id}"),
            json!({ "autoRenew": false, "reason": REASON }),
        ),
        (
            Method::PUT,
            format!("{base}/{id}/extend"),
            json!({ "days": 3, "reason": REASON }),
        ),
        (
            Method::PUT,
            format!("{base}/{id}/expire"),
            json!({ "reason": REASON }),
        ),
        (
            Method::DELETE,
            format!("{base}/{id}/force-cancel"),
            json!({ "reason": REASON }),
        ),
    ];
    let send = async |client: &Client, method: &Method, path: &str, body: &Value| {
        let request = client.request(method.clone(), path);
        client.send(request.json(body)).await
    };
    for (method, path, body) in &acts {
        send(&customer, method, path, body)
            .await
            .fails(403, "FORBIDDEN");
        send(shop.client(), method, path, body)
            .await
            .fails(401, "UNAUTHENTICATED");
        let mut short = body.clone();
        short["reason"] = json!("short");
        let mut more = body.clone();
        more["more"] = json!(1);
        let mut none = body.clone();
        none.as_object_mut().unwrap().remove("reason");
        for wrong in [short, more, none] {
            let answer = send(&admin, method, path, &wrong).await;
            answer.fails(400, "VALIDATION_FAILED");
        }
        let unknown = path.replace(&id, &uuid::Uuid::nil().to_string());
        if unknown != *path {
            send(&admin, method, &unknown, body)
                .await
                .fails(404, "NOT_FOUND");
        }
    }
    for path in [
        base.to_owned(),
        format!("{base}/stats"),
        format!("{base}/{id}"),
    ] {
        customer.get(&path).await.fails(403, "FORBIDDEN");
        shop.client().get(&path).await.fails(401, "UNAUTHENTICATED");
        admin.get(&path).await.data(200);
    }
    for days in [json!(0), json!(366), json!(-1), json!("3"), json!(1.5)] {
        let body = json!({ "days": days, "reason": REASON });
        let answer = admin.put(&format!("{base}/{id}/extend"), body).await;
        answer.fails(400, "VALIDATION_FAILED");
    }
    let nothing = json!({ "reason": REASON });
    let answer = admin.put(&format!("{base}/{id}"), nothing).await;
    answer.fails(400, "VALIDATION_FAILED");
    for query in ["months=0", "months=37", "more=1"] {
        let answer = admin.get(&format!("{base}/stats?{query}")).await;
        answer.fails(400, "VALIDATION_FAILED");
    }
    becomes(&shop, &id, "ACTIVE").await;
}

async fn subscriptions_are_listed_by_each_filter(shop: Shop) {
    let first = customer_with_cash(&shop, "satu@example.com", 100_000).await;
    let second = customer_with_cash(&shop, "dua@example.com", 100_000).await;
    let one = buy(&shop, &first, ("n8n", "basic"), None).await;
    let free = buy(&shop, &first, ("n8n", "free"), None).await;
    for bought in [&one, &free] {
        becomes(&shop, id_of(bought), "ACTIVE").await;
    }
    let other = buy(&shop, &second, ("postgresql", "basic"), None).await;
    let path = format!("/api/subscriptions/{}", id_of(&other));
    second.delete(&path).await.data(200);
    let path = format!("/api/subscriptions/{}/auto-renew", id_of(&one));
    first
        .put(&path, json!({ "autoRenew": false }))
        .await
        .data(200);

    let admin = shop.admin().await;
    let found = async |query: &str| {
        let answer = admin
            .get(&format!("/api/admin/subscriptions?{query}"))
            .await;
        let total = answer.body["pagination"]["totalItems"].clone();
        let page = answer.data(200);
        assert_eq!(total, page.as_array().unwrap().len());
        page
    };
    let all = found("").await;
    let emails: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["email"])
        .collect();
    assert_eq!(
        emails,
        ["dua@example.com", "satu@example.com", "satu@example.com"]
    );
    assert_eq!(all[2]["id"], one["subscription"]["id"]);
    assert_eq!(all[2]["userId"], json!(me(&first).await));
    let plan = shop.plan("n8n", "basic").await;
    let end = moment(&one["subscription"]["periodEnd"]) + TimeDelta::milliseconds(1);
    let (ends, user) = (end.to_rfc3339().replace('+', "%2B"), me(&second).await);
    for (query, number) in [
        ("status=CANCELLED".to_owned(), 1),
        ("status=ACTIVE".to_owned(), 2),
        ("status=PENDING".to_owned(), 0),
        ("service=n8n".to_owned(), 2),
        (format!("planId={plan}"), 1),
        (format!("userId={user}"), 1),
        ("autoRenew=false".to_owned(), 2),
        ("q=SATU".to_owned(), 2),
        ("q=_".to_owned(), 0),
        ("from=2001-01-01".to_owned(), 3),
        ("to=2001-01-01".to_owned(), 0),
        (format!("endsBy={ends}"), 1),
        ("status=ACTIVE&service=n8n&autoRenew=true".to_owned(), 1),
    ] {
        let page = found(&query).await;
        assert_eq!(page.as_array().unwrap().len(), number, "{query}: {page:#}");
    }
    for query in ["status=GONE", "userId=me", "from=yesterday", "more=1"] {
        let answer = admin
            .get(&format!("/api/admin/subscriptions?{query}"))
            .await;
        answer.fails(400, "VALIDATION_FAILED");
    }
}

async fn statistics_count_what_came_and_went_and_what_was_paid(shop: Shop) {
    let customer = customer_with_cash(&shop, "angka@example.com", 150_000).await;
    let gifted = shop.customer_with_credit("bonus@example.com", 50_000).await;
    let kept = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let gone = buy(&shop, &customer, ("n8n", "free"), None).await;
    let given = buy(&shop, &gifted, ("n8n", "basic"), None).await;
    for bought in [&kept, &given] {
        becomes(&shop, id_of(bought), "ACTIVE").await;
    }
    let path = format!("/api/subscriptions/{}", id_of(&gone));
    customer.delete(&path).await.data(200);
    let back = json!({ "amount": 10_000, "reason": REASON });
    let path = format!("/api/admin/subscriptions/{}/refund", id_of(&kept));
    shop.admin().await.post(&path, back).await.data(201);
    let statistics = async || {
        let admin = shop.admin().await;
        let path = "/api/admin/subscriptions/stats?months=2";
        admin.get(path).await.data(200)
    };
    let seen = statistics().await;
    assert_eq!(seen["live"], 2);
    let n8n = &seen["services"].as_array().unwrap()[0];
    assert_eq!(
        (&n8n["pending"], &n8n["active"], &n8n["cancelled"]),
        (&json!(0), &json!(2), &json!(1)),
        "{n8n:#}"
    );
    let months = seen["months"].as_array().unwrap();
    assert_eq!(months.len(), 2);
    let month = |view: &Value| {
        let service = &view["services"][0];
        assert_eq!(service["service"], "n8n");
        let fields = ["new", "lost", "active", "revenue", "bonusSpent"];
        fields.map(|field| service[field].as_i64().unwrap())
    };
    assert_eq!(month(&months[0]), [3, 1, 2, 40_000, 50_000], "{seen:#}");
    assert_eq!(month(&months[1]), [0, 0, 0, 0, 0]);

    // The next month: one is charged again, the other is not paid and lives on in its grace.
    next_period(&shop, id_of(&kept)).await;
    let seen = statistics().await;
    let months = seen["months"].as_array().unwrap();
    assert_eq!(month(&months[1]), [3, 1, 2, 40_000, 50_000], "{seen:#}");
    let [new, lost, active, revenue, _] = month(&months[0]);
    assert_eq!([new, lost, active, revenue], [0, 0, 2, 50_000], "{seen:#}");

    // Days that are over are kept, and say the same; what comes then counts, too.
    run(&shop.admin().await, "billing-stats").await;
    let kept = shop.sql("UPDATE kept_days SET until_at = until_at").await;
    assert!(kept.unwrap() >= 28);
    // The nightly renewal may have come meanwhile, to the one that is not paid.
    let now = statistics().await;
    assert_eq!(
        (&now["live"], &now["months"]),
        (&seen["live"], &seen["months"])
    );
    let customer = shop.sign_in("angka@example.com").await;
    buy(&shop, &customer, ("n8n", "free"), None).await;
    let now = statistics().await;
    assert_eq!(now["months"][1], seen["months"][1]);
    let [new, lost, active, revenue, _] = month(&now["months"][0]);
    assert_eq!([new, lost, active, revenue], [1, 0, 3, 50_000], "{now:#}");
}

async fn a_gift_is_made_once_and_renews_at_its_price(shop: Shop) {
    let customer = customer_with_cash(&shop, "dihadiahi@example.com", 60_000).await;
    let admin = shop.admin().await;
    let (user, plan) = (me(&customer).await, shop.plan("n8n", "basic").await);
    let path = "/api/admin/subscriptions";
    let body = json!({ "userId": user, "planId": plan, "skipCreditCheck": true, "reason": REASON });
    let keyed = admin.with_key("hadiah-1");
    let answers = futures::future::join_all((0..4).map(|_| keyed.post(path, body.clone()))).await;
    let made: Vec<_> = answers
        .into_iter()
        .filter(|answer| answer.status == 201)
        .collect();
    let made = made[0].clone().data(201);
    let repeated = keyed.post(path, body.clone()).await;
    assert!(repeated.is_replayed());
    assert_eq!(repeated.data(201), made);
    assert_eq!(
        (&made["charged"], &made["discount"]),
        (&json!(0), &json!(50_000))
    );
    let lines = made["lines"].as_array().unwrap();
    let sum: i64 = lines
        .iter()
        .map(|line| line["amount"].as_i64().unwrap())
        .sum();
    assert_eq!((sum, &lines.last().unwrap()["code"]), (0, &json!("gift")));
    assert_eq!(balances(&customer).await, (60_000, 0));
    let details = recorded(&admin, "subscription.granted", id_of(&made)).await;
    assert_eq!(
        (&details["gift"], &details["charged"]),
        (&json!(true), &json!(0))
    );
    let own = customer.get("/api/subscriptions").await.data(200);
    assert_eq!(own.as_array().unwrap().len(), 1);

    // No cash was paid for it, so none comes back.
    let refund = json!({ "amount": 1, "reason": REASON });
    let refund = admin
        .post(&format!("{path}/{}/refund", id_of(&made)), refund)
        .await;
    refund.fails(409, "REFUND_TOO_LARGE");
    let instance = made["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let renewed = next_period(&shop, id_of(&made)).await;
    assert_eq!(renewed["periods"][0]["paidCash"], 50_000, "{renewed:#}");

    let admin = shop.admin().await;
    let mut nobody = body.clone();
    nobody["userId"] = json!(uuid::Uuid::nil());
    admin.post(path, nobody).await.fails(404, "NOT_FOUND");
    shop.leave_quota(&plan, 0).await;
    admin.post(path, body).await.fails(409, "QUOTA_EXHAUSTED");
    shop.books_balance().await;
}

async fn what_is_granted_without_a_gift_is_paid(shop: Shop) {
    let customer = customer_with_cash(&shop, "dibantu@example.com", 60_000).await;
    let admin = shop.admin().await;
    let (user, plan) = (me(&customer).await, shop.plan("n8n", "basic").await);
    let body = json!({ "userId": user, "planId": plan, "reason": REASON });
    let path = "/api/admin/subscriptions";
    let made = admin.post(path, body.clone()).await.data(201);
    assert_eq!(made["charged"], 50_000);
    assert_eq!(balances(&customer).await, (10_000, 0));
    admin
        .post(path, body)
        .await
        .fails(402, "INSUFFICIENT_CREDIT");
    shop.books_balance().await;
}

async fn an_extension_moves_the_end_once_for_a_key(shop: Shop) {
    let customer = customer_with_cash(&shop, "lebih@example.com", 200_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let admin = shop.admin().await;
    let path = format!("/api/admin/subscriptions/{id}/extend");
    let body = json!({ "days": 20, "reason": REASON });
    let before = moment(&subscription(&shop, id).await["periodEnd"]);
    let keyed = admin.with_key("lebih-1");
    let extended = keyed.put(&path, body.clone()).await.data(200);
    assert!(keyed.put(&path, body.clone()).await.is_replayed());
    let end = moment(&extended["periodEnd"]);
    assert_eq!(end, before + TimeDelta::days(20));
    assert_eq!(moment(&subscription(&shop, id).await["periodEnd"]), end);
    assert_eq!(extended["periods"][0]["endsAt"], extended["periodEnd"]);
    assert_eq!(moment(&extended["periods"][0]["paidUntil"]), before);
    let details = recorded(&admin, "subscription.extended", id).await;
    assert_eq!(details["days"], 20);

    // Without keys, each act counts, at the same moment too.
    let twice = futures::future::join_all((0..2).map(|_| admin.put(&path, body.clone()))).await;
    assert!(twice.iter().all(|answer| answer.status == 200));
    let end = end + TimeDelta::days(40);
    assert_eq!(moment(&subscription(&shop, id).await["periodEnd"]), end);
    let renewed = next_period(&shop, id).await;
    assert_eq!(moment(&renewed["periodStart"]), end);
    let next = moment(&renewed["periodEnd"]) - end;
    assert!(
        next >= TimeDelta::days(28) && next <= TimeDelta::days(34),
        "{next}"
    );
    let paid = &renewed["periods"].as_array().unwrap().len();
    assert_eq!(*paid, 2, "{renewed:#}");

    let customer = shop.sign_in("lebih@example.com").await;
    customer
        .delete(&format!("/api/subscriptions/{id}"))
        .await
        .data(200);
    let admin = shop.admin().await;
    admin.put(&path, body).await.fails(409, "INVALID_STATE");
    shop.books_balance().await;
}

async fn an_extension_ends_a_grace(shop: Shop) {
    let customer = customer_with_cash(&shop, "sabar@example.com", 50_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let behind = next_period(&shop, id).await;
    assert_eq!(behind["status"], "PAST_DUE");
    shop.clock().advance(TimeDelta::days(3));
    let admin = shop.admin().await;
    let path = format!("/api/admin/subscriptions/{id}/extend");
    let extend = |days: i64| admin.put(&path, json!({ "days": days, "reason": REASON }));
    extend(2).await.fails(409, "INVALID_STATE");
    let extended = extend(5).await.data(200);
    let fields = ["status", "graceUntil", "unpaid"].map(|field| extended[field].clone());
    assert_eq!(fields, [json!("ACTIVE"), Value::Null, Value::Null]);
    shop.clock().advance(TimeDelta::days(1));
    assert_eq!(subscription(&shop, id).await["status"], "ACTIVE");
    let behind = next_period(&shop, id).await;
    assert_eq!(behind["status"], "PAST_DUE");
    shop.books_balance().await;
}

async fn a_price_only_falls_and_counts_from_the_next_period(shop: Shop) {
    let customer = customer_with_cash(&shop, "murah@example.com", 200_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let admin = shop.admin().await;
    let path = format!("/api/admin/subscriptions/{id}");
    let price = |amount: i64| admin.put(&path, json!({ "monthlyPrice": amount, "reason": REASON }));
    price(50_001).await.fails(400, "VALIDATION_FAILED");
    price(-1).await.fails(400, "VALIDATION_FAILED");
    let changed = price(30_000).await.data(200);
    assert_eq!(changed["monthlyPrice"], 30_000);
    // It was bought at 50,000.
    let refused = price(30_001).await;
    refused.fails(400, "VALIDATION_FAILED");
    let told = refused.detail("monthlyPrice").unwrap();
    assert!(told.ends_with("than its price of Rp30.000"), "{told}");
    let details = recorded(&admin, "subscription.changed", id).await;
    assert_eq!(
        details["monthlyPrice"],
        json!({ "before": 50_000, "after": 30_000 })
    );
    assert_eq!(balances(&customer).await, (150_000, 0));
    // The other plan that begins with the next period has its own price.
    let plan = |id: String| json!({ "planId": id, "at": "period_end", "reason": REASON });
    let plan_path = format!("{path}/upgrade");
    let [free, basic] = [
        shop.plan("n8n", "free").await,
        shop.plan("n8n", "basic").await,
    ];
    admin.put(&plan_path, plan(free)).await.data(200);
    price(20_000).await.fails(409, "INVALID_STATE");
    admin.put(&plan_path, plan(basic)).await.data(200);
    let renewed = next_period(&shop, id).await;
    assert_eq!(renewed["periods"][0]["price"], 30_000);

    let admin = shop.admin().await;
    let off = json!({ "autoRenew": false, "reason": REASON });
    let noted = admin.put(&path, off).await.data(200);
    assert_eq!(
        (&noted["autoRenew"], &noted["cancelReason"]),
        (&json!(false), &json!(REASON))
    );
    next_period(&shop, id).await;
    let ended = becomes(&shop, id, "EXPIRED").await;
    assert_eq!(ended["periods"].as_array().unwrap().len(), 2);
    let on = json!({ "autoRenew": true, "reason": REASON });
    let answer = shop.admin().await.put(&path, on).await;
    answer.fails(409, "INVALID_STATE");
    shop.books_balance().await;
}
