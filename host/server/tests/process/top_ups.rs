//! `kill -9` while the gateway is asked for a payment page: the same key leads to the same top-up, and to its page.

use std::time::Duration;

use dermaga::sandbox::{Fault, Sandbox};
use serde_json::{Value, json};

use super::site::{Patient, Server, Site, sandbox};

const TOP_UP: &str = "/api/wallet/topup";
const AMOUNT: i64 = 30_000;

/// Ways in which the gateway leaves a server waiting: it has made the page, and its answer does not arrive;
/// it has done nothing.
const WAITS: [Fault; 2] = [Fault::Late, Fault::Silence];

/// Waits until the gateway has been asked and leaves the server without its answer.
async fn until_asked(gateway: &Sandbox, fault: Fault, before: u64) {
    for _ in 0..1000 {
        let is_waiting = match fault {
            Fault::Late => gateway.held() == 1,
            _ => gateway.asked() > before,
        };
        if is_waiting {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the gateway is not asked");
}

/// Pays on the page, as its payer does.
async fn pay(customer: &Patient, open: &Value) {
    let page = open["redirectUrl"].as_str().unwrap();
    let paid = customer.http.post(page).body("action=pay").send().await;
    assert!(paid.unwrap().status().is_success());
    let id = open["transactionId"].as_str().unwrap();
    let path = format!("/api/wallet/transactions/{id}/status");
    customer
        .until(&path, "/transaction/status", "COMPLETED")
        .await;
}

async fn killed_while_a_page_is_made(on_postgres: bool) {
    let Some(mut site) = Site::new(on_postgres).await else {
        return;
    };
    let (gateway, base) = sandbox().await;
    site.set("MIDTRANS_BASE_URL", &base);
    site.set("MIDTRANS_TIMEOUT", "2s");
    let customer = site.customer("c@example.com").await;
    let mut server = Server::start(&site);
    let body = json!({ "amount": AMOUNT, "paymentMethod": "QRIS" });
    for (number, fault) in WAITS.into_iter().enumerate() {
        let (key, asked) = (format!("top-up-{number}"), gateway.asked());
        gateway.fail_next([fault]);
        let begun = tokio::spawn({
            let (customer, key, body) = (customer.clone(), key.clone(), body.clone());
            async move { customer.post(TOP_UP, &key, &body).await }
        });
        until_asked(&gateway, fault, asked).await;
        drop(server);
        gateway.let_go();
        server = Server::start(&site);
        let open = begun.await.unwrap();
        let list = "/api/wallet/transactions?type=TOP_UP";
        let top_ups = customer.get(list).await;
        assert_eq!(top_ups.as_array().unwrap().len(), number + 1, "{fault:?}");
        assert_eq!(top_ups[0]["id"], open["transactionId"], "{fault:?}");
        pay(&customer, &open).await;
        let again = customer.post(TOP_UP, &key, &body).await;
        assert_eq!(again, open, "{fault:?}");
    }
    drop(server);
    let books = site.books();
    let paid = i64::try_from(WAITS.len()).unwrap();
    assert_eq!(books["entries"], paid, "each was credited once: {books:#}");
    assert_eq!(books["accounts"]["GATEWAY"], -paid * AMOUNT, "{books:#}");
}

/// The request of a top-up is given up with its server: one that starts again in its place asks for the page at the
/// first look, long before the earlier question would have ended.
async fn looked_at_after_a_kill(on_postgres: bool) {
    let Some(mut site) = Site::new(on_postgres).await else {
        return;
    };
    let (gateway, base) = sandbox().await;
    site.set("MIDTRANS_BASE_URL", &base);
    site.set("MIDTRANS_TIMEOUT", "20s");
    let customer = site.customer("d@example.com").await;
    let server = Server::start(&site);
    let asked = gateway.asked();
    gateway.fail_next([Fault::Silence]);
    let begun = tokio::spawn({
        let customer = customer.clone();
        let body = json!({ "amount": AMOUNT, "paymentMethod": "QRIS" });
        async move { customer.post(TOP_UP, "looked-at", &body).await }
    });
    until_asked(&gateway, Fault::Silence, asked).await;
    drop(server);
    begun.abort();
    assert!(begun.await.is_err(), "it has no answer");
    let server = Server::start(&site);
    let list = "/api/wallet/transactions?type=TOP_UP";
    let id = customer.get(list).await[0]["id"].clone();
    let path = format!("/api/wallet/transactions/{}/status", id.as_str().unwrap());
    let page = customer.get(&path).await["redirectUrl"].clone();
    assert!(page.is_string(), "its page is there at the first look");
    pay(
        &customer,
        &json!({ "transactionId": id, "redirectUrl": page }),
    )
    .await;
    drop(server);
    assert_eq!(site.books()["entries"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_on_sqlite_is_asked_for_again_after_a_kill() {
    looked_at_after_a_kill(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_on_postgresql_is_asked_for_again_after_a_kill() {
    looked_at_after_a_kill(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_top_up_on_sqlite_survives_the_death_of_its_server() {
    killed_while_a_page_is_made(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_top_up_on_postgresql_survives_the_death_of_its_server() {
    killed_while_a_page_is_made(true).await;
}
