//! Tests of request bodies as other programs send them, and of the refusals.

use std::io::{Read as _, Write as _};

use dermaga_tests::Engine;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{payments::Till, queries::with_ids};

const WEBHOOK: &str = "/api/wallet/webhook/midtrans";

/// Sends bytes as they are and returns the answer until the server closes or sends nothing more.
async fn raw(base: &str, request: String) -> String {
    let address = base.trim_start_matches("http://").to_owned();
    let exchange = move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(std::time::Duration::from_secs(5)))
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        while let Ok(read) = stream.read(&mut part) {
            if read == 0 {
                break;
            }
            answer.extend_from_slice(&part[..read]);
        }
        String::from_utf8(answer).unwrap()
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_the_notice_url() {
    let till = Till::open(Engine::Sqlite).await.unwrap();
    let client = till.shop.client();
    let customer = till.shop.customer("badan@example.com").await;
    let send = async |method: Method, path: &str| client.send(client.request(method, path)).await;

    // Midtrans' dashboard looks at the URL before it takes it, and people end it with a slash.
    for path in [WEBHOOK, &format!("{WEBHOOK}/")] {
        let head = send(Method::HEAD, path).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""), "{path}");
        send(Method::GET, path).await.data(200);
        let posted = client.request(Method::POST, path).body("{}");
        client.send(posted).await.fails(400, "MALFORMED_REQUEST");
        send(Method::DELETE, path)
            .await
            .fails(405, "METHOD_NOT_ALLOWED");
    }

    // A byte order mark, with and without a key.
    let top_up = "\u{feff}{\"amount\": 10000, \"paymentMethod\": \"QRIS\"}";
    for customer in [customer.clone(), customer.with_key("bom")] {
        let request = customer.request(Method::POST, "/api/wallet/topup");
        let request = request.header("content-type", "application/json");
        customer.send(request.body(top_up)).await.data(201);
    }

    // Compressed bodies are refused as such on every route; `identity` is accepted.
    for (path, encoding) in [
        ("/api/wallet/topup", "gzip"),
        (WEBHOOK, "br"),
        ("/api/admin/plugins", "deflate, gzip"),
    ] {
        let request = customer.request(Method::POST, path);
        let request = request.header("content-type", "application/json");
        let request = request.header("content-encoding", encoding);
        let refused = customer.send(request.body(vec![0x1f, 0x8b, 8, 0])).await;
        refused.fails(415, "UNSUPPORTED_MEDIA_TYPE");
        assert!(
            refused.text.contains("Content-Encoding"),
            "{}",
            refused.text
        );
        assert_eq!(refused.headers["accept-encoding"], "identity");
    }
    let request = customer.request(Method::POST, "/api/wallet/topup");
    let request = request.header("content-encoding", "Identity");
    let plain = request.json(&json!({ "amount": 10_000, "paymentMethod": "QRIS" }));
    customer.send(plain).await.data(201);

    // Refusals quote long values in short form.
    let long = "Q".repeat(100_000);
    for body in [
        json!({ "amount": 10_000, "paymentMethod": long }),
        json!({ "amount": long, "paymentMethod": "QRIS" }),
        json!({ "amount": 10_000, "paymentMethod": "QRIS", long.clone(): 1 }),
    ] {
        let refused = customer.post("/api/wallet/topup", body).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.text.len() < 1_000, "{} bytes", refused.text.len());
        assert!(refused.text.contains("QQQ"), "{}", refused.text);
    }
    let long = "Q".repeat(8_000);
    for path in [
        format!("/api/wallet/transactions?type={long}"),
        format!("/api/wallet/transactions?{long}=1"),
        format!("/api/nothing/{long}"),
        format!("/api/catalog/services/{long}"),
    ] {
        let refused = customer.get(&path).await;
        assert!((400..500).contains(&refused.status));
        assert!(refused.text.len() < 1_000, "{} bytes", refused.text.len());
    }
}

/// Every operation whose fields may all be left out takes a request without a body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_whose_fields_are_all_optional_may_be_left_out() {
    let till = Till::open(Engine::Sqlite).await.unwrap();
    let admin = till.shop.admin().await;
    let customer = till.shop.customer("kosong@example.com").await;
    let document = admin.get("/api/openapi.json").await.body;
    let mut asked = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"];
            if body["content"]["application/json"].is_null() || body["required"] == true {
                continue;
            }
            let caller = match path.starts_with("/api/admin") {
                true => &admin,
                false => &customer,
            };
            let kind: Method = method.to_uppercase().parse().unwrap();
            let answer = caller.send(caller.request(kind, &with_ids(path))).await;
            let what = format!("{method} {path}: {:#}", answer.body);
            assert!(!matches!(answer.status, 413 | 415), "{what}");
            assert_ne!(answer.body["error"]["code"], "MALFORMED_REQUEST", "{what}");
            asked.push(format!("{method} {path}"));
        }
    }
    let thaw = "post /api/subscriptions/{id}/thaw".to_owned();
    assert!(asked.contains(&thaw), "{asked:#?}");
    // With a body, its kind must still be said.
    let path = format!("/api/subscriptions/{}/thaw", uuid::Uuid::nil());
    let request = customer.request(Method::POST, &path).body("{}");
    let refused = customer.send(request).await;
    refused.fails(415, "UNSUPPORTED_MEDIA_TYPE");
}

/// Without a body every operation that needs one names the fields that are missing, as it does for an empty object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_left_out_has_no_fields() {
    let till = Till::open(Engine::Sqlite).await.unwrap();
    let admin = till.shop.admin().await;
    let document = admin.get("/api/openapi.json").await.body;
    let mut without_reason = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"];
            let is_needed = body["required"] == true && path != WEBHOOK;
            if body["content"]["application/json"].is_null() || !is_needed {
                continue;
            }
            let kind: Method = method.to_uppercase().parse().unwrap();
            let url = with_ids(path);
            let request = admin.request(kind.clone(), &url);
            let empty = admin.send(request.json(&json!({}))).await;
            let absent = admin.send(admin.request(kind, &url)).await;
            let what = format!("{method} {path}: {:#}", absent.body);
            assert_eq!(absent.status, empty.status, "{what}");
            assert_eq!(absent.body["error"], empty.body["error"], "{what}");
            assert_ne!(absent.status, 415, "{what}");
            if absent.detail("reason") == Some("is missing") {
                without_reason.push(format!("{method} {path}"));
            }
        }
    }
    let remove = "delete /api/admin/domains/{id}".to_owned();
    assert!(without_reason.contains(&remove), "{without_reason:#?}");
    assert!(without_reason.len() > 20, "{without_reason:#?}");
}

/// A field that an operation does not know is refused, alone and beside all those of its example.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_has_a_field_that_is_not_known() {
    let till = Till::open(Engine::Sqlite).await.unwrap();
    let admin = till.shop.admin().await;
    let customer = till.shop.customer("asing@example.com").await;
    let document = admin.get("/api/openapi.json").await.body;
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let content = &operation["requestBody"]["content"]["application/json"];
            // Midtrans adds fields to its notices as it likes.
            if content.is_null() || path == WEBHOOK {
                continue;
            }
            let caller = match path.starts_with("/api/admin") {
                true => &admin,
                false => &customer,
            };
            let kind: Method = method.to_uppercase().parse().unwrap();
            let url = with_ids(path);
            let example = content["example"].clone();
            assert!(example.is_object(), "{method} {path}: {content:#}");
            for mut body in [json!({}), example] {
                body["unheardOf"] = json!(true);
                let request = caller.request(kind.clone(), &url);
                let refused = caller.send(request.json(&body)).await;
                let what = format!("{method} {path}: {}", refused.text);
                assert_eq!(refused.status, 400, "{what}");
                assert_eq!(refused.body["error"]["code"], "VALIDATION_FAILED", "{what}");
                let said = refused.detail("unheardOf").unwrap_or_default();
                assert!(said.starts_with("is not known here"), "{what}");
            }
            asked += 1;
        }
    }
    assert!(asked > 100, "{asked}");
}

/// A field that an operation without a body does not read is refused, never ignored: its sender meant a condition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_operation_without_a_body_ignores_one() {
    let till = Till::open(Engine::Sqlite).await.unwrap();
    let admin = till.shop.admin().await;
    let customer = till.shop.customer("abai@example.com").await;
    let document = admin.get("/api/openapi.json").await.body;
    let mut asked = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let has_body = operation["requestBody"].is_object();
            if method == "get" || has_body || path.contains("/unsubscribe/") {
                continue;
            }
            let caller = match path.starts_with("/api/admin") {
                true => &admin,
                false => &customer,
            };
            let kind: Method = method.to_uppercase().parse().unwrap();
            let url = with_ids(path);
            let send = async |body: Value| {
                let request = caller.request(kind.clone(), &url);
                caller.send(request.json(&body)).await
            };
            let refused = send(json!({ "unknown": true })).await;
            refused.fails(400, "VALIDATION_FAILED");
            let what = format!("{method} {path}: {}", refused.text);
            let said = refused.detail("unknown");
            assert_eq!(said, Some("is not known here"), "{what}");
            asked.push((kind, path.clone()));
        }
    }
    assert!(asked.len() > 20, "{asked:#?}");
    // Those that end the session of their caller come last.
    let ends_session = |path: &str| path.contains("/logout") || path == "/api/user/sessions";
    asked.retain(|(_, path)| !ends_session(path));
    for (kind, path) in asked {
        let caller = match path.starts_with("/api/admin") {
            true => &admin,
            false => &customer,
        };
        for nothing in ["{}", "null"] {
            let request = caller.request(kind.clone(), &with_ids(&path));
            let request = request.header("content-type", "application/json");
            let answer = caller.send(request.body(nothing)).await;
            let what = format!("{kind} {path} {nothing}: {}", answer.text);
            let code = answer.body["error"]["code"].as_str().unwrap_or_default();
            let is_taken = !["VALIDATION_FAILED", "MALFORMED_REQUEST"].contains(&code);
            assert!(is_taken && !matches!(answer.status, 413 | 415), "{what}");
        }
    }
    let path = format!("/api/subscriptions/{}/freeze", uuid::Uuid::nil());
    let at = json!({ "at": "now" });
    let refused = customer.in_language(Some("id")).post(&path, at).await;
    let said = refused.detail("at").unwrap_or_default();
    assert!(said.contains("tidak dikenal"), "{}", refused.text);
    let long = json!({ "at": "x".repeat(5_000) });
    let refused = customer.post(&path, long).await;
    refused.fails(413, "PAYLOAD_TOO_LARGE");
    // Programs of mail services send a form to end mails.
    let one_click = till
        .shop
        .client()
        .request(Method::POST, "/api/notifications/unsubscribe/tidak-ada");
    let one_click = one_click.header("content-type", "application/x-www-form-urlencoded");
    let one_click = one_click.body("List-Unsubscribe=One-Click");
    let answer = till.shop.client().send(one_click).await;
    assert!(![413, 415].contains(&answer.status), "{}", answer.text);
}

/// A client that waits for `100 Continue` receives the refusal before it sends its body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_answers_an_expectation() {
    let till = Till::open(Engine::Sqlite).await.unwrap();
    let customer = till.shop.customer("harap@example.com").await;
    let (base, token) = customer.address_and_token();
    let ask = async |path: &str, more: &str| {
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: shop\r\nexpect: 100-continue\r\n{more}\r\n");
        raw(base, head).await
    };
    let signed_in = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    for (path, more, status) in [
        (
            "/api/wallet/topup",
            "content-length: 500\r\n".to_owned(),
            "401",
        ),
        ("/api/nothing", "content-length: 500\r\n".to_owned(), "404"),
        (
            "/api/wallet/topup",
            format!("{signed_in}content-length: 9000000\r\n"),
            "413",
        ),
        (
            "/api/wallet/topup",
            format!("{signed_in}content-encoding: gzip\r\ncontent-length: 500\r\n"),
            "415",
        ),
    ] {
        let answer = ask(path, &more).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {answer}"
        );
        assert!(answer.contains("connection: close"), "{answer}");
    }
    // An acceptable request receives its `100 Continue`.
    let body = r#"{"amount": 10000, "paymentMethod": "QRIS"}"#;
    let more = format!(
        "{signed_in}connection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    let head = format!(
        "POST /api/wallet/topup HTTP/1.1\r\nhost: shop\r\nexpect: 100-continue\r\n{more}\r\n"
    );
    let answer = raw(base, head + body).await;
    assert!(answer.contains("HTTP/1.1 201 "), "{answer}");
}
