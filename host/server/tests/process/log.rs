//! The log of a whole run, at its most talkative: one line for each request, no secret that the run used, and no
//! address of a person.

use std::{
    collections::BTreeSet,
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use dermaga_shop::db::Clock;
use dermaga_tests::MailServer;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use super::site::{Patient, Server, Site};

const EMAIL: &str = "rahasia-log@example.com";
const PHONE: &str = "+6281234567890";
const PASSWORD: &str = "kata sandi yang lama sekali";
const NEW_PASSWORD: &str = "kata sandi yang baru sekali";
const JWT_SECRET: &str = "kunci-jwt-yang-panjang-dan-acak-0123456789abcdef";
const SMTP_PASSWORD: &str = "sandi-surat-9f8e7d6c";

/// Names of fields whose values are secrets.
const SECRET_FIELDS: [&str; 7] = [
    "accessToken",
    "refreshToken",
    "token",
    "secret",
    "challenge",
    "codes",
    "password",
];

/// A client that notes each secret it meets, and counts its requests.
struct Noting {
    patient: Patient,
    secrets: BTreeSet<String>,
    sent: AtomicUsize,
}

impl Noting {
    fn id(number: usize) -> String {
        format!("permintaan-{number:03}")
    }

    async fn raw(&mut self, method: Method, path: &str, body: Option<String>) -> (u16, Value) {
        let id = Self::id(self.sent.fetch_add(1, Ordering::Relaxed));
        let (status, answer) = self.patient.send(method, path, (&id, body)).await;
        note(&answer, &mut self.secrets);
        (status, answer)
    }

    async fn ask(&mut self, method: Method, path: &str, body: Value) -> Value {
        let body = (!body.is_null()).then(|| body.to_string());
        let (status, answer) = self.raw(method, path, body).await;
        assert!(status < 300, "{path} answered {status}: {answer:#}");
        answer["data"].clone()
    }

    async fn post(&mut self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, body).await
    }

    fn sign_in(&mut self, session: &Value) {
        let token = session["accessToken"].as_str().unwrap();
        self.patient = self.patient.with_token(token);
    }
}

/// Collects the secrets of an answer.
fn note(value: &Value, secrets: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| note(item, secrets)),
        Value::Object(fields) => {
            // Credentials of an instance.
            if fields.get("isSecret") == Some(&json!(true)) {
                secrets.extend(fields["value"].as_str().map(str::to_owned));
            }
            for (name, field) in fields {
                let is_secret = SECRET_FIELDS.contains(&name.as_str());
                let texts = match field {
                    Value::String(text) => vec![text.as_str()],
                    Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
                    _ => Vec::new(),
                };
                if is_secret {
                    secrets.extend(texts.into_iter().map(str::to_owned));
                } else {
                    note(field, secrets);
                }
            }
        }
        _ => {}
    }
}

/// Returns the code that an authenticator app shows, so many steps from now.
fn code(secret: &str, steps: i64) -> String {
    let secret = Secret::try_from_base32(secret).unwrap();
    let totp = Builder::new().with_secret(secret).build().unwrap();
    let seconds = Clock::system().now().timestamp() + 30 * steps;
    totp.generate(seconds.try_into().unwrap()).to_string()
}

/// Returns the token in the newest mail with this path.
async fn mailed(mails: &MailServer, path: &str) -> String {
    for _ in 0..400 {
        let received = mails.received();
        let texts = received.iter().rev().map(dermaga_tests::Received::unfolded);
        for text in texts {
            if let Some((_, rest)) = text.split_once(path)
                && let Some((_, rest)) = rest.split_once("token=")
            {
                let is_part =
                    |letter: &char| letter.is_ascii_alphanumeric() || "-_".contains(*letter);
                return rest.chars().take_while(is_part).collect();
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no mail with {path} came");
}

/// Requests that are refused, each with a secret in a place where none should be.
async fn wrong_requests(client: &mut Noting) {
    let login = "/api/auth/login";
    for body in [
        json!({ "email": EMAIL, "password": NEW_PASSWORD }).to_string(),
        json!({ "email": EMAIL, "password": [PASSWORD] }).to_string(),
        json!({ "email": PASSWORD, "password": EMAIL }).to_string(),
        json!({ PASSWORD: PASSWORD }).to_string(),
        format!(r#"{{"email": "{EMAIL}", "password": "{PASSWORD}" "#),
    ] {
        let (status, _) = client.raw(Method::POST, login, Some(body)).await;
        assert!((400..500).contains(&status), "{status}");
    }
    let token = client.secrets.iter().find(|text| text.starts_with("ey"));
    let token = token.unwrap().clone();
    for path in [
        format!("/api/wallet/info?token={token}"),
        format!("/api/wallet/transactions/{token}"),
        format!("/api/{token}"),
        format!("/api/notifications/unsubscribe/{token}"),
    ] {
        let (status, _) = client.raw(Method::GET, &path, None).await;
        assert!(status < 500, "{path}: {status}");
    }
    let whole = client.patient.clone();
    client.patient = whole.with_token(&format!("{token}x"));
    let (status, _) = client.raw(Method::GET, "/api/wallet/info", None).await;
    assert_eq!(status, 401);
    client.patient = whole;
}

async fn account(client: &mut Noting, mails: &MailServer) {
    let person =
        json!({ "email": EMAIL, "password": PASSWORD, "name": "Pelanggan", "phone": PHONE });
    let session = client.post("/api/auth/register", person).await;
    client.sign_in(&session);
    let confirmation = mailed(mails, "verify-email").await;
    let body = json!({ "token": confirmation });
    client.secrets.insert(confirmation);
    client.post("/api/auth/verify-email", body).await;
    wrong_requests(client).await;

    let forgotten = json!({ "email": EMAIL });
    client.post("/api/auth/forgot-password", forgotten).await;
    let reset = mailed(mails, "reset-password").await;
    let body = json!({ "token": reset, "newPassword": NEW_PASSWORD });
    client.secrets.insert(reset);
    client.post("/api/auth/reset-password", body).await;
    let credentials = json!({ "email": EMAIL, "password": NEW_PASSWORD });
    let session = client.post("/api/auth/login", credentials.clone()).await;
    client.sign_in(&session);
    let body = json!({ "refreshToken": session["refreshToken"] });
    client.post("/api/auth/refresh-token", body).await;

    let body = json!({ "password": NEW_PASSWORD });
    let enrolment = client.post("/api/user/two-factor", body).await;
    let secret = enrolment["secret"].as_str().unwrap();
    let body = json!({ "code": code(secret, 0) });
    client.post("/api/user/two-factor/confirm", body).await;
    let challenge = client.post("/api/auth/login", credentials).await;
    let body = json!({ "challenge": challenge["challenge"], "code": code(secret, 1) });
    let session = client.post("/api/auth/login/two-factor", body).await;
    client.sign_in(&session);
    let body = json!({ "name": "pipa", "scope": "WRITE" });
    client.post("/api/user/api-tokens", body).await;
}

async fn shopping(client: &mut Noting) {
    let hook = json!({ "url": "https://127.0.0.1:9/", "events": ["TICKET_ANSWERED"] });
    let hook = client.post("/api/webhooks", hook).await;
    let rotate = format!(
        "/api/webhooks/{}/rotate-secret",
        hook["id"].as_str().unwrap()
    );
    client.post(&rotate, json!({})).await;
    let top_up = json!({ "amount": 100_000, "paymentMethod": "QRIS" });
    client.post("/api/wallet/topup", top_up).await;
    let path = "/api/catalog/services/n8n/plans";
    let plans = client.ask(Method::GET, path, Value::Null).await;
    let plans = plans.as_array().unwrap();
    let free = plans.iter().find(|plan| plan["slug"] == "free").unwrap();
    let order = json!({ "planId": free["id"] });
    let bought = client.post("/api/subscriptions", order).await;
    let instance = format!("/api/instances/{}", bought["instanceId"].as_str().unwrap());
    let mut status = Value::Null;
    for _ in 0..600 {
        let found = client.ask(Method::GET, &instance, Value::Null).await;
        status = found["status"].clone();
        if status == "WRITTEN" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Else nothing of the secrets in its manifests was searched for.
    assert_eq!(status, "WRITTEN", "it is never delivered");
    let path = format!("{instance}/credentials");
    client.ask(Method::GET, &path, Value::Null).await;
    client.post("/api/auth/logout", Value::Null).await;
}

/// The whole of it with every library at its most talkative.
async fn nothing_secret_is_logged(on_postgres: bool) {
    let mails = MailServer::start().await;
    let Some(site) = Site::new(on_postgres).await else {
        return;
    };
    let master = "5a".repeat(32);
    let smtp = mails
        .url()
        .replace("smtp://", &format!("smtp://toko:{SMTP_PASSWORD}@"));
    let site = site
        .with("SMTP_URL", smtp)
        .with("SHOP_URL", "https://toko.example.com".to_owned())
        .with("MAIL_FROM", "Toko <toko@example.com>".to_owned())
        .with("JWT_SECRET", JWT_SECRET.to_owned())
        .with("DERMAGA_MASTER_KEY", master.clone())
        .with("DERMAGA_REQUEST_TIMEOUT", "30s".to_owned())
        .with("DERMAGA_WEBHOOK_PERMIT_LOOPBACK", "true".to_owned())
        .with("DERMAGA_LOG", "debug,dermaga=trace,dermaga_shop=trace,sqlx=trace,hyper=trace,lettre=trace,cranelift_codegen=info".to_owned());
    let path = site.path().join("log");
    let server = Server::start_logging(&site, fs::File::create(&path).unwrap());
    let mut client = Noting {
        patient: Patient::new(&site),
        secrets: BTreeSet::new(),
        sent: AtomicUsize::new(0),
    };
    account(&mut client, &mails).await;
    shopping(&mut client).await;
    let created = site.run(&[
        "admin",
        "create",
        "--email",
        "pengurus@example.com",
        "--name",
        "Pengurus",
    ]);
    let printed = super::stdout(&created);
    client
        .secrets
        .extend(printed.split_whitespace().last().map(str::to_owned));
    server.send(Signal::TERM);
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(server);

    let log = fs::read_to_string(&path).unwrap();
    assert!(log.contains("server.ready"), "the log was read");
    let sent = client.sent.load(Ordering::Relaxed);
    for number in 0..sent {
        let id = Noting::id(number);
        let lines = log
            .lines()
            .filter(|line| line.contains(&id) && line.contains("http.status="));
        assert_eq!(lines.count(), 1, "{id} of {sent} has one line");
    }
    let configured = [JWT_SECRET, SMTP_PASSWORD, &master, "SB-Mid-server-crash"];
    let used = [PASSWORD, NEW_PASSWORD].into_iter().chain(configured);
    client.secrets.extend(used.map(str::to_owned));
    assert!(client.secrets.len() > 25, "{:?}", client.secrets);
    // The unsubscribe address of a mail has a token, too.
    let personal = [EMAIL, PHONE, "81234567890", "toko@example.com"].map(str::to_owned);
    for secret in client.secrets.iter().chain(&personal) {
        assert!(
            secret.len() >= 8,
            "{secret} is too short to be searched for"
        );
        let found = log.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(found, None, "`{secret}` is in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_logged_on_sqlite() {
    nothing_secret_is_logged(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_secret_is_logged_on_postgresql() {
    nothing_secret_is_logged(true).await;
}
