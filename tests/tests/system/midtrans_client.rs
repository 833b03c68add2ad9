//! Tests of the gateway emulator and the shop with Midtrans' published client library, so that shop
//! and emulator do not only agree with each other.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use dermaga::sandbox::Action;
use dermaga_tests::{Engine, checkout, skip, unique};
use serde_json::{Value, json};

use crate::api::payments::{KEY, Till, gateway};

/// The client library, in Python.
#[derive(Debug, Clone)]
struct Library {
    python: String,
    base: String,
}

impl Library {
    /// Finds the library; `None` when it is not installed.
    fn find(base: &str) -> Option<Self> {
        let named = std::env::var("DERMAGA_TEST_MIDTRANS_PYTHON");
        let python = named.unwrap_or_else(|_| "python3".to_owned());
        let probe = Command::new(&python)
            .args(["-c", "import midtransclient"])
            .output();
        if probe.is_ok_and(|output| output.status.success()) {
            let base = base.to_owned();
            return Some(Self { python, base });
        }
        let why = "the Python package midtransclient is not there; name a Python that has it with DERMAGA_TEST_MIDTRANS_PYTHON";
        skip("Midtrans' own client", why);
        None
    }

    /// Runs a call of the library and returns its result.
    async fn ask(&self, key: &str, arguments: &[&str], input: &str) -> Value {
        let mut command = Command::new(&self.python);
        command
            .arg(checkout().join("tests/interop/midtrans.py"))
            .args([&self.base, key])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let input = input.to_owned();
        let ran = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            child
                .stdin
                .take()
                .unwrap()
                .write_all(input.as_bytes())
                .unwrap();
            child.wait_with_output().unwrap()
        });
        let output = ran.await.unwrap();
        assert!(output.status.success(), "{arguments:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_creates_asks_reads_notices_refunds_and_is_refused() {
    let (sandbox, base) = gateway(dermaga_shop::db::Clock::movable()).await;
    let Some(library) = Library::find(&base) else {
        return;
    };
    let order = format!("TXMP-{}", unique());
    let ask = async |arguments: &[&str]| library.ask(KEY, arguments, "").await;
    let made = ask(&["create", &order, "150000"]).await;
    let (token, url) = (
        made["token"].as_str().unwrap(),
        made["redirect_url"].as_str().unwrap(),
    );
    assert!(url.starts_with(&base) && url.ends_with(token), "{made}");
    assert_eq!(
        ask(&["status", &order]).await["refused"],
        404,
        "nothing is chosen yet"
    );

    sandbox.act(&order, Action::Pay).unwrap();
    let status = ask(&["status", &order]).await;
    assert_eq!(status["transaction_status"], "settlement");
    assert_eq!(status["gross_amount"], "150000.00");
    assert_eq!(status["computed_signature"], status["signature_key"]);

    let notice = sandbox.notice(&order).unwrap();
    let read = library
        .ask(KEY, &["notification"], &notice.to_string())
        .await;
    for field in [
        "order_id",
        "transaction_status",
        "fraud_status",
        "gross_amount",
        "signature_key",
    ] {
        assert_eq!(read[field], notice[field], "{field}");
    }
    assert_eq!(ask(&["cancel", &order]).await["refused"], 412, "it is paid");
    let refunded = ask(&["refund", &order, "50000"]).await;
    assert_eq!(
        (&refunded["transaction_status"], &refunded["refund_amount"]),
        (&json!("partial_refund"), &json!("50000.00"))
    );
    assert_eq!(
        ask(&["refund", &order, "50000"]).await["refused"],
        406,
        "the key was used"
    );
    let stranger = library
        .ask("SB-Mid-server-stranger", &["status", &order], "")
        .await;
    assert_eq!(stranger["refused"], 401);
}

/// The shop accepts a notice built from the library's result and signed as the documentation says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_shop_believes_its_signature() {
    let Some(till) = Till::open(Engine::Sqlite).await else {
        return;
    };
    let base = till
        .shop
        .state()
        .config
        .payments
        .midtrans
        .base_url
        .clone()
        .unwrap();
    let Some(library) = Library::find(&base) else {
        return;
    };
    let customer = till.shop.customer("pustaka@example.com").await;
    let top_up = till.top_up(&customer, 80_000, "QRIS").await;
    till.gateway.act(&top_up.order, Action::Pay).unwrap();
    let mut notice = library.ask(KEY, &["status", &top_up.order], "").await;
    notice["signature_key"] = notice["computed_signature"].take();
    till.send(notice.clone()).await.data(200);
    assert_eq!(till.paid_balance(&customer).await, 80_000);
    let other = library
        .ask("SB-Mid-server-stranger", &["status", &top_up.order], "")
        .await;
    assert_eq!(other["refused"], 401);
    till.shop.books_balance().await;
}
