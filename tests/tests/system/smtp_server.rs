//! Tests of mails with a real SMTP server, encrypted and with a sign-in, so that shop and test server
//! do not only agree with each other.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use chrono::TimeDelta;
use dermaga_shop::crypto::Authorities;
use dermaga_tests::{Client, Shop, checkout, skip};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::{certificates::Certificates, settings};

const DELIVERIES: &str = "/api/admin/notifications/deliveries";
const PASSWORD: &str = "rahasia sekali";

/// A server process that ends with the test.
struct Server {
    process: Child,
    mails: UnboundedReceiver<String>,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts the server; `None` when its library is not installed.
    fn start(mode: &str, certificates: &Certificates) -> Option<Self> {
        let named = std::env::var("DERMAGA_TEST_MAIL_PYTHON");
        let python = named.unwrap_or_else(|_| "python3".to_owned());
        let probe = Command::new(&python)
            .args(["-c", "import aiosmtpd"])
            .output();
        if !probe.is_ok_and(|output| output.status.success()) {
            let why = "the Python package aiosmtpd is not there; name a Python that has it with DERMAGA_TEST_MAIL_PYTHON";
            skip("a real SMTP server", why);
            return None;
        }
        let script: &Path = &checkout().join("tests/interop/mail_server.py");
        let mut process = Command::new(&python)
            .arg(script)
            .args([
                mode,
                &certificates.path("cert.pem"),
                &certificates.path("key.pem"),
            ])
            .args(["toko", PASSWORD])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap();
        let (sender, mails) = mpsc::unbounded_channel();
        // A thread of its own, which ends with the process.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|one| sender.send(one))
        });
        Some(Self {
            process,
            mails,
            port: port.parse().unwrap(),
        })
    }

    fn url(&self, scheme: &str, password: &str) -> String {
        let password = password.replace(' ', "%20");
        format!("{scheme}://toko:{password}@localhost:{}", self.port)
    }

    /// Waits for the next mail.
    async fn next(&mut self) -> Value {
        let mail = tokio::time::timeout(Duration::from_secs(60), self.mails.recv()).await;
        serde_json::from_str(&mail.expect("a mail comes").unwrap()).unwrap()
    }
}

/// Opens a shop that sends to a server. The first mail is the one that confirms its customer's address.
async fn shop(url: &str, ca: Option<&str>) -> (Shop, Client) {
    let mut given = vec![("SMTP_URL", url), ("MAIL_FROM", "Toko <toko@example.com>")];
    given.extend(ca.map(|path| ("SMTP_CA_FILE", path)));
    let shop = settings::empty_shop(&given).await;
    let admin = shop.admin().await;
    shop.register("pembeli@example.com").await;
    (shop, admin)
}

/// Waits until the only delivery has this state.
async fn delivery(admin: &Client, state: &str) -> Value {
    for _ in 0..400 {
        let path = format!("{DELIVERIES}?state={state}");
        let found = admin.get(&path).await.data(200);
        if let Some(found) = found.as_array().unwrap().first() {
            return found.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let all = admin.get(DELIVERIES).await.data(200);
    panic!("nothing is {state}: {all:#}");
}

async fn mails_arrive(mode: &str, scheme: &str) {
    let certificates = Certificates::new("localhost");
    let Some(mut server) = Server::start(mode, &certificates) else {
        return;
    };
    let ca = certificates.path("ca.pem");
    let (_shop, admin) = shop(&server.url(scheme, PASSWORD), Some(&ca)).await;
    let mail = server.next().await;
    assert_eq!(
        (&mail["from"], &mail["to"]),
        (&json!("toko@example.com"), &json!(["pembeli@example.com"]))
    );
    assert_eq!(
        (&mail["user"], &mail["encrypted"]),
        (&json!("toko"), &json!(true))
    );
    let sent = delivery(&admin, "SENT").await;
    assert_eq!(sent["answer"], "250 taken", "{sent:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_arrive_by_starttls() {
    mails_arrive("starttls", "smtp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_arrive_by_tls_from_the_first_byte() {
    mails_arrive("tls", "smtps").await;
}

/// No word goes to a server whose certificate nothing vouches for, and the mail is not given up: it goes out as
/// soon as the certificate is trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_not_trusted_is_refused() {
    for (mode, scheme) in [("starttls", "smtp"), ("tls", "smtps")] {
        let certificates = Certificates::new("localhost");
        let Some(mut server) = Server::start(mode, &certificates) else {
            return;
        };
        let (shop, admin) = shop(&server.url(scheme, PASSWORD), None).await;
        let failed = delivery(&admin, "FAILED").await;
        let answer = failed["answer"].as_str().unwrap();
        assert!(answer.contains("certificate"), "{mode}: {answer}");
        let ca = certificates.path("ca.pem");
        let trusting = shop.restart_with(|config| {
            config.templates_dir = Some(checkout().join("service-templates"));
            config.plugins_dir = Some(dermaga_tests::plugins_folder().to_owned());
            config.notifications.authorities = Some(Authorities::read(&ca).unwrap());
        });
        let shop = trusting.await.unwrap();
        shop.clock().advance(TimeDelta::minutes(16));
        let mail = server.next().await;
        assert_eq!(mail["to"], json!(["pembeli@example.com"]), "{mode}");
    }
}

/// A wrong password is the shop's fault and no mail's: all wait until it is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_loses_no_mail() {
    let certificates = Certificates::new("localhost");
    let Some(mut server) = Server::start("starttls", &certificates) else {
        return;
    };
    let ca = certificates.path("ca.pem");
    let (shop, admin) = shop(&server.url("smtp", "salah"), Some(&ca)).await;
    let failed = delivery(&admin, "FAILED").await;
    let answer = failed["answer"].as_str().unwrap();
    assert!(answer.contains("535"), "{answer}");
    let url = server.url("smtp", PASSWORD);
    let right = shop.restart_with(|config| {
        config.templates_dir = Some(checkout().join("service-templates"));
        config.plugins_dir = Some(dermaga_tests::plugins_folder().to_owned());
        config.notifications.smtp =
            Some(dermaga_shop::notifications::SmtpUrl::parse(&url).unwrap());
    });
    let shop = right.await.unwrap();
    shop.clock().advance(TimeDelta::minutes(16));
    let mail = server.next().await;
    assert_eq!(mail["user"], "toko");
}

/// A name that the certificate is not for is refused, although its authority is trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_name_is_refused() {
    let certificates = Certificates::new("localhost");
    let Some(server) = Server::start("tls", &certificates) else {
        return;
    };
    let ca = certificates.path("ca.pem");
    let url = server
        .url("smtps", PASSWORD)
        .replace("localhost", "127.0.0.1");
    let (_shop, admin) = shop(&url, Some(&ca)).await;
    let failed = delivery(&admin, "FAILED").await;
    let answer = failed["answer"].as_str().unwrap();
    assert!(answer.contains("certificate"), "{answer}");
}
