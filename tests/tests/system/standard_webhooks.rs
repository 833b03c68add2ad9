//! Tests of our webhooks with the library of the Standard Webhooks specification, so that shop and
//! receiver do not only agree with each other.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
};

use dermaga_tests::{Engine, Shop, checkout, skip};
use serde_json::{Value, json};

use crate::receiver::{Received, Receiver};

/// Returns a Python that has the library; `None` when there is none.
fn python() -> Option<String> {
    let named = std::env::var("DERMAGA_TEST_WEBHOOKS_PYTHON");
    let python = named.unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&python)
        .args(["-c", "import standardwebhooks"])
        .output();
    if probe.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let why = "the Python package standardwebhooks is not there; name a Python that has it with DERMAGA_TEST_WEBHOOKS_PYTHON";
    skip("the library of Standard Webhooks", why);
    None
}

/// Returns the library's result for a request.
fn verify(python: &str, secret: &str, received: &Received, body: &str) -> Value {
    let headers: BTreeMap<&str, &str> = received
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let mut child = Command::new(python)
        .arg(checkout().join("tests/interop/webhooks.py"))
        .arg(secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = json!({ "headers": headers, "body": body }).to_string();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_verifies_what_we_sign_and_nothing_else() {
    let Some(python) = python() else {
        return;
    };
    let receiver = Receiver::start().await;
    let shop = Shop::open_with(Engine::Sqlite, |config| {
        config.webhooks.allow_http = true;
        config.webhooks.permit_loopback = true;
    });
    let shop = shop.await.unwrap();
    let customer = shop.customer("pustaka@example.com").await;
    let new = json!({ "url": receiver.url("/hook"), "description": "Pelanggan « é »" });
    let made = customer.post("/api/webhooks", new).await.data(201);
    let first = made["secret"].as_str().unwrap();
    let path = format!("/api/webhooks/{}", made["id"].as_str().unwrap());
    let rotate = format!("{path}/rotate-secret");
    let second = customer.post(&rotate, json!({})).await.data(200);
    let second = second["secret"].as_str().unwrap();
    let test = format!("{path}/test");
    customer.post(&test, json!({})).await.data(202);
    let received = receiver.wait_for("/hook", 1).await.remove(0);
    for secret in [first, second] {
        let verified = verify(&python, secret, &received, &received.body);
        assert_eq!(verified["type"], "WEBHOOK_TEST");
        assert_eq!(verified["data"]["webhookId"], made["id"]);
    }
    let changed = received.body.replace("TEST", "LIES");
    let refused = verify(&python, first, &received, &changed);
    assert_eq!(refused["refused"], "No matching signature found");
    let stranger = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let refused = verify(&python, stranger, &received, &received.body);
    assert_eq!(refused["refused"], "No matching signature found");
}
