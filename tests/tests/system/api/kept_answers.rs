//! Tests of answers of the catalogue, which are kept: they are as made ones, and a change shows at once on its
//! server and soon on others.

use std::time::{Duration, Instant};

use dermaga_shop::db::Db;
use dermaga_tests::{Answer, Client, Shop, both_engines};
use reqwest::Method;
use serde_json::{Value, json};

use super::services::{because, path_of, plan_of, plan_path, service};

both_engines!(
    Shop,
    [
        a_kept_answer_says_what_a_made_one_says,
        what_a_head_keeps_a_get_reads,
        every_change_shows_at_once,
        what_another_server_changes_shows_soon
    ]
);

const PATHS: [&str; 9] = [
    "/api/catalog/categories",
    "/api/catalog/categories/databases/services?limit=1",
    "/api/catalog/featured",
    "/api/catalog/search?q=n8n",
    "/api/catalog/search?category=databases&featured=false&page=2",
    "/api/catalog/services",
    "/api/catalog/services?limit=100",
    "/api/catalog/services/n8n",
    "/api/catalog/services/n8n/plans",
];

async fn asked(shop: &Shop, path: &str, language: &str, encoding: &str, known: &str) -> Answer {
    let client = shop.client().in_language(Some(language));
    let request = client.request(Method::GET, path);
    let request = request.header("accept-encoding", encoding);
    let request = request.header("if-none-match", known);
    client.send(request).await
}

/// Content of an answer, without what belongs to its request and its moment.
fn said(answer: &Answer) -> (u16, Vec<(String, String)>, Value) {
    const OF_ONE: [&str; 4] = ["content-length", "date", "ratelimit", "x-request-id"];
    let headers = answer.headers.iter();
    let mut headers: Vec<_> = headers
        .filter(|(name, _)| !OF_ONE.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    // Compressed, its moment cannot be left out.
    let is_packed = answer.headers.contains_key("content-encoding");
    let mut body = if is_packed {
        Value::Null
    } else {
        answer.body.clone()
    };
    if let Some(body) = body.as_object_mut() {
        body.remove("timestamp");
    }
    (answer.status, headers, body)
}

async fn a_kept_answer_says_what_a_made_one_says(shop: Shop) {
    for path in PATHS {
        for language in ["en", "id"] {
            for encoding in ["identity", "br", "gzip", "gzip, deflate, br", "gzip;q=0.5"] {
                let ask = |known: &'static str| asked(&shop, path, language, encoding, known);
                shop.state().db.catalogue().raise();
                let made = ask("\"other\"").await;
                assert_eq!(made.status, 200, "{path}: {}", made.text);
                assert_eq!(made.headers["content-language"], language);
                let kept = ask("\"other\"").await;
                assert_eq!(said(&kept), said(&made), "{path} {language} {encoding}");
                for own in ["x-request-id", "ratelimit"] {
                    assert_ne!(kept.headers[own], made.headers[own], "{path}");
                }
                let known = ask("*").await;
                assert_eq!((known.status, known.text.as_str()), (304, ""), "{path}");
                assert_eq!(known.headers["etag"], made.headers["etag"]);
            }
        }
    }
}

/// An answer that HEAD made is kept with its body.
async fn what_a_head_keeps_a_get_reads(shop: Shop) {
    let ask = async |method: Method| {
        let request = shop.client().request(method, "/api/catalog/services");
        let request = request.header("accept-encoding", "identity");
        shop.client().send(request).await
    };
    shop.state().db.catalogue().raise();
    let (head, get) = (ask(Method::HEAD).await, ask(Method::GET).await);
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_ne!(head.headers["content-length"], "0");
    assert_eq!(get.status, 200, "{}", get.text);
    assert!(get.body["data"].is_array(), "{}", get.text);
    assert_eq!(head.headers["etag"], get.headers["etag"]);
}

async fn set_quota(admin: &Client, plan: &Value, total: i64) {
    let path = format!("/api/admin/quota/plans/{}", plan.as_str().unwrap());
    let body = because(json!({ "totalQuota": total }));
    admin.put(&path, body).await.data(200);
}

async fn every_change_shows_at_once(shop: Shop) {
    let (admin, guest) = (shop.admin().await, shop.client());
    let n8n = service(&admin, "n8n").await;
    let sold = async || guest.get("/api/catalog/services/n8n").await.data(200);
    assert_ne!(sold().await["name"], "Flows");
    let edit = because(json!({ "name": "Flows", "featured": n8n["featured"] }));
    admin.put(&path_of(&n8n), edit).await.data(200);
    assert_eq!(sold().await["name"], "Flows");

    let edit = because(json!({ "name": "Dasar" }));
    admin.put(&plan_path(&n8n, "basic"), edit).await.data(200);
    assert_eq!(plan_of(&sold().await, "basic")["name"], "Dasar");

    let toggle = format!("{}/toggle", path_of(&n8n));
    for (active, status) in [(false, 404), (true, 200)] {
        let switch = because(json!({ "active": active }));
        admin.patch(&toggle, switch).await.data(200);
        let answer = guest.get("/api/catalog/services/n8n").await;
        assert_eq!(answer.status, status);
    }

    let categories = async || {
        let all = guest.get("/api/catalog/categories").await.data(200);
        all.as_array().unwrap().len()
    };
    let before = categories().await;
    let category = because(json!({ "slug": "baru", "name": "Baru", "description": "Yang baru." }));
    admin
        .post("/api/admin/categories", category)
        .await
        .data(201);
    assert_eq!(categories().await, before + 1);

    let plan = shop.plan_view("ghost", "free").await["id"].clone();
    set_quota(&admin, &plan, 1).await;
    let free = shop.plan_view("ghost", "free").await;
    assert_eq!(
        (&free["availableQuota"], &free["isAvailable"]),
        (&json!(1), &json!(true))
    );
    let customer = shop.customer("tempat@example.com").await;
    let order = json!({ "planId": plan });
    customer.post("/api/subscriptions", order).await.data(201);
    let full = shop.plan_view("ghost", "free").await;
    assert_eq!(
        (&full["availableQuota"], &full["isAvailable"]),
        (&json!(0), &json!(false))
    );
}

/// Servers on one database read it again after a second.
async fn what_another_server_changes_shows_soon(shop: Shop) {
    if !matches!(shop.state().db, Db::Postgres(_)) {
        return;
    }
    let (admin, other) = (shop.admin().await, shop.second_server().await);
    let plan = other.plan_view("ghost", "free").await["id"].clone();
    set_quota(&admin, &plan, 3).await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while other.plan_view("ghost", "free").await["availableQuota"] != 3 {
        assert!(
            Instant::now() < deadline,
            "the other server keeps what it read"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
