//! Tests of webhooks over TLS, with a receiver that is not of this project.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use chrono::TimeDelta;
use dermaga_shop::{crypto::Authorities, outbox::Topic};
use dermaga_tests::{Client, Engine, Shop, checkout, skip};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::webhooks::{OWN, deliveries, detail, put, user_id};
use crate::{certificates::Certificates, settings};

/// Name of the receiver; the shops of tests find this machine under every name.
const NAME: &str = "hook.example.com";

/// A receiver process that ends with the test.
struct Receiver {
    process: Child,
    events: UnboundedReceiver<String>,
    port: u16,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Receiver {
    /// Starts the receiver; `None` without Python.
    fn start(certificates: &Certificates) -> Option<Self> {
        let started = Command::new("python3")
            .arg(checkout().join("tests/interop/https_receiver.py"))
            .args([certificates.path("cert.pem"), certificates.path("key.pem")])
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut process) = started else {
            skip("a receiver over TLS", "python3 is not there");
            return None;
        };
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        // A thread of its own, which ends with the process.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|one| sender.send(one))
        });
        Some(Self {
            process,
            events,
            port: port.parse().unwrap(),
        })
    }

    fn url(&self, name: &str) -> String {
        format!("https://{name}:{}/kabar", self.port)
    }

    /// Waits for the next event.
    async fn next(&mut self) -> Value {
        let event = tokio::time::timeout(Duration::from_secs(60), self.events.recv()).await;
        serde_json::from_str(&event.expect("an event comes").unwrap()).unwrap()
    }
}

/// Opens a shop that trusts an authority, if one is named.
async fn shop(authority: Option<&str>) -> Shop {
    let authorities = authority.map(|path| Authorities::read(path).unwrap());
    let open = Shop::open_with(Engine::Sqlite, |config| {
        config.webhooks.authorities = authorities;
    });
    open.await.unwrap()
}

/// Makes a webhook at an address, and an event for it; returns its owner and its path in the API.
async fn event_for(shop: &Shop, url: &str) -> (Client, String) {
    let owner = shop.customer("aman@example.com").await;
    let made = owner.post(OWN, json!({ "url": url, "events": [] })).await;
    let hook = format!("{OWN}/{}", made.data(201)["id"].as_str().unwrap());
    put(shop, (Topic::QuotaFree, user_id(&owner).await), "1").await;
    (owner, hook)
}

/// Waits for the failed delivery; returns the reason that its owner reads.
async fn reason(owner: &Client, hook: &str) -> String {
    let failed = deliveries(owner, hook, "FAILED", 1).await.remove(0);
    let log = detail(owner, hook, &failed).await["log"].clone();
    assert_eq!(log[0]["status"], Value::Null, "{log:#}");
    log[0]["answer"].as_str().unwrap().to_owned()
}

/// The connection goes to the address that was checked, and asks for the name of the webhook.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_goes_over_tls_to_the_name_of_the_webhook() {
    let certificates = Certificates::new(NAME);
    let Some(mut receiver) = Receiver::start(&certificates) else {
        return;
    };
    let shop = shop(Some(&certificates.path("ca.pem"))).await;
    let (owner, hook) = event_for(&shop, &receiver.url(NAME)).await;
    let event = receiver.next().await;
    let host = format!("{NAME}:{}", receiver.port);
    assert_eq!(
        (&event["server_name"], &event["host"], &event["path"]),
        (&json!(NAME), &json!(host), &json!("/kabar"))
    );
    let delivered = deliveries(&owner, &hook, "DELIVERED", 1).await.remove(0);
    let log = detail(&owner, &hook, &delivered).await["log"].clone();
    assert_eq!(log[0]["status"], 204, "{log:#}");
}

/// No event goes to a server that nothing vouches for, and none is given up: it goes out as soon as
/// the certificate is trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_an_unknown_authority_is_refused_until_it_is_trusted() {
    let certificates = Certificates::new(NAME);
    let Some(mut receiver) = Receiver::start(&certificates) else {
        return;
    };
    let shop = shop(None).await;
    let (owner, hook) = event_for(&shop, &receiver.url(NAME)).await;
    let expected = "the certificate is of an authority that is not trusted";
    assert_eq!(reason(&owner, &hook).await, expected);
    assert!(receiver.events.try_recv().is_err(), "nothing was sent");

    let authorities = Authorities::read(&certificates.path("ca.pem")).unwrap();
    let trusting = shop.restart_with(|config| config.webhooks.authorities = Some(authorities));
    let shop = trusting.await.unwrap();
    shop.clock().advance(TimeDelta::minutes(1));
    receiver.next().await;
    let owner = owner.moved_to(shop.client());
    let delivered = deliveries(&owner, &hook, "DELIVERED", 1).await.remove(0);
    assert_eq!(delivered["attempts"], 2);
}

/// A trusted authority vouches for the name in the certificate alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_name_is_refused_and_tried_again() {
    let certificates = Certificates::new("other.example.com");
    let Some(mut receiver) = Receiver::start(&certificates) else {
        return;
    };
    let shop = shop(Some(&certificates.path("ca.pem"))).await;
    let (owner, hook) = event_for(&shop, &receiver.url(NAME)).await;
    let expected = "the certificate is for another name";
    assert_eq!(reason(&owner, &hook).await, expected);
    shop.clock().advance(TimeDelta::minutes(1));
    for _ in 0..400 {
        let failed = deliveries(&owner, &hook, "FAILED", 1).await.remove(0);
        if failed["attempts"] == 2 {
            assert_eq!(reason(&owner, &hook).await, expected);
            assert!(receiver.events.try_recv().is_err(), "nothing was sent");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("there is no second attempt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_the_operators_own_is_trusted() {
    let certificates = Certificates::new("localhost");
    let Some(mut receiver) = Receiver::start(&certificates) else {
        return;
    };
    let ca = certificates.path("ca.pem");
    let shop = settings::empty_shop(&[
        ("DERMAGA_WEBHOOK_CA_FILE", ca.as_str()),
        ("DERMAGA_WEBHOOK_PERMIT_LOOPBACK", "true"),
    ])
    .await;
    event_for(&shop, &receiver.url("localhost")).await;
    assert_eq!(receiver.next().await["server_name"], "localhost");
}
