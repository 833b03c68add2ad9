//! `kill -9` at any instant: nothing that was answered is lost, nothing happens twice.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{command, dermaga, stderr, stdout};

const CUSTOMERS: usize = 4;
const REDEMPTIONS: usize = 40;
/// Instants of death, in milliseconds after the server was ready.
const DEATHS: [u64; 5] = [180, 40, 320, 90, 250];

/// A server process that dies with the test.
struct Server {
    process: Child,
    base: String,
}

impl Server {
    /// Starts on an address and waits for the ready line.
    fn start(folder: &Path, listen: &str) -> Self {
        let mut process = command(folder)
            .args(["serve", "--provisioner", "directory", "--listen", listen])
            // A key whose holder died is free again soon after a request could have ended.
            .env("DERMAGA_REQUEST_TIMEOUT", "1s")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        let base = ready
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        let base = base
            .unwrap_or_else(|| panic!("no address in `{ready}`"))
            .to_owned();
        Self { process, base }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A client that does not give up before it has an answer.
struct Patient {
    http: reqwest::Client,
    base: String,
}

impl Patient {
    /// The answer's data, however often the server dies meanwhile. The same key each time.
    async fn post(&self, path: &str, token: &str, key: &str, body: Value) -> Value {
        for _ in 0..600 {
            let request = self.http.post(format!("{}{path}", self.base));
            let request = request
                .bearer_auth(token)
                .header("Idempotency-Key", key)
                .json(&body);
            if let Ok(response) = request.send().await {
                let status = response.status().as_u16();
                match (status, response.json::<Value>().await) {
                    (200 | 201, Ok(answer)) => return answer["data"].clone(),
                    // Being answered, or not able to at the moment.
                    (408 | 409 | 500.., _) | (_, Err(_)) => {}
                    (status, Ok(answer)) => panic!("{path} answered {status}: {answer:#}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} was never answered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_again_and_again_keeps_exact_books() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = TempDir::new().unwrap();
    let create = [
        "admin",
        "create",
        "--email",
        "a@example.com",
        "--name",
        "Admin",
    ];
    let made = dermaga(folder.path(), &create, &[]);
    let password = stdout(&made)
        .split_whitespace()
        .last()
        .unwrap_or_default()
        .to_owned();
    let mut server = Server::start(folder.path(), "127.0.0.1:0");
    let patient = Arc::new(Patient {
        http: reqwest::Client::new(),
        base: server.base.clone(),
    });
    let login = json!({ "email": "a@example.com", "password": password });
    let admin = patient.post("/api/auth/login", "", "login", login).await;
    let admin = admin["accessToken"].as_str().unwrap().to_owned();
    let coupon = json!({ "code": "GIFT", "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 } });
    patient
        .post("/api/admin/coupons", &admin, "coupon", coupon)
        .await;

    let mut customers = Vec::new();
    for number in 0..CUSTOMERS {
        let body = json!({
            "email": format!("c{number}@example.com"), "password": "kata sandi yang panjang", "name": "Pelanggan",
        });
        let registered = patient
            .post("/api/auth/register", "", "register", body)
            .await;
        let token = registered["accessToken"].as_str().unwrap().to_owned();
        let patient = Arc::clone(&patient);
        customers.push(tokio::spawn(async move {
            for number in 0..REDEMPTIONS {
                let key = format!("redemption-{number}");
                let body = json!({ "code": "GIFT" });
                patient
                    .post("/api/wallet/redeem-coupon", &token, &key, body)
                    .await;
            }
        }));
    }
    let listen = server.base.trim_start_matches("http://").to_owned();
    let data: PathBuf = folder.path().to_owned();
    for millis in DEATHS {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        drop(server);
        let verified = dermaga(&data, &["ledger", "verify"], &[]);
        assert!(
            verified.status.success(),
            "{}{}",
            stdout(&verified),
            stderr(&verified)
        );
        server = Server::start(&data, &listen);
    }
    for customer in customers {
        customer.await.unwrap();
    }
    drop(server);
    let verified = dermaga(&data, &["ledger", "verify", "--json"], &[]);
    let report: Value = serde_json::from_str(&stdout(&verified)).unwrap();
    let expected = i64::try_from(CUSTOMERS * REDEMPTIONS).unwrap();
    assert_eq!(report["faults"], json!([]));
    assert_eq!(
        report["entries"], expected,
        "each key redeemed once, none twice: {report:#}"
    );
    assert_eq!(report["accounts"]["WALLET_BONUS"], expected * 1_000);
}
