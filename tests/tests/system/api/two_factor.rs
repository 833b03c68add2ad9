//! Tests of two-factor sign-in.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_shop::{execute, fetch_one};
use dermaga_tests::{Answer, Client, Engine, Shop, both_engines};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;
use totp_rs::{Builder, Secret};

use crate::settings;

const PATH: &str = "/api/user/two-factor";
const ANSWER: &str = "/api/auth/login/two-factor";
const PASSWORD: &str = "kata sandi yang panjang";

/// A person with an authenticator app.
struct Person<'a> {
    shop: &'a Shop,
    email: String,
    client: Client,
    /// Secret in Base32.
    secret: String,
    recovery_codes: Vec<String>,
}

impl<'a> Person<'a> {
    /// Registers a customer and turns two-factor sign-in on.
    async fn with_app(shop: &'a Shop, email: &str) -> Self {
        let client = shop.customer(email).await;
        Self::enrolled(shop, email, client).await
    }

    async fn enrolled(shop: &'a Shop, email: &str, client: Client) -> Self {
        let begun = client
            .post(PATH, json!({ "password": PASSWORD }))
            .await
            .data(201);
        let mut person = Self {
            shop,
            email: email.to_owned(),
            client,
            secret: begun["secret"].as_str().unwrap().to_owned(),
            recovery_codes: Vec::new(),
        };
        let confirm = json!({ "code": person.code() });
        let codes = person
            .client
            .post(&format!("{PATH}/confirm"), confirm)
            .await;
        let codes = codes.data(200)["codes"].clone();
        person.recovery_codes = serde_json::from_value(codes).unwrap();
        // The next code is another one.
        shop.clock().advance(TimeDelta::seconds(30));
        person
    }

    /// Returns the code that the app shows now.
    fn code(&self) -> String {
        let secret = Secret::try_from_base32(&self.secret).unwrap();
        let app = Builder::new().with_secret(secret).build().unwrap();
        let now = u64::try_from(self.shop.clock().now().timestamp()).unwrap();
        app.generate(now).to_string()
    }

    /// Logs in with the password; returns the challenge.
    async fn challenge(&self) -> String {
        let answer = log_in(self.shop, &self.email).await.data(202);
        assert!(answer.get("accessToken").is_none(), "{answer:#}");
        answer["challenge"].as_str().unwrap().to_owned()
    }

    async fn answer(&self, challenge: &str, code: &str) -> Answer {
        let body = json!({ "challenge": challenge, "code": code });
        self.shop.client().post(ANSWER, body).await
    }

    /// Logs in with password and code.
    async fn sign_in(&self, code: &str) -> Answer {
        self.answer(&self.challenge().await, code).await
    }

    async fn prove(&self, method: Method, path: &str, password: &str, code: &str) -> Answer {
        let body = json!({ "password": password, "code": code });
        let request = self.client.request(method, path).json(&body);
        self.client.send(request).await
    }

    /// Waits for the notifications about the second factor, and returns what changed, the newest
    /// first.
    async fn told(&self, count: usize) -> Vec<Value> {
        for _ in 0..100 {
            let path = "/api/notifications?kind=TWO_FACTOR_CHANGED";
            let inbox = self.client.get(path).await.data(200);
            let found = inbox["notifications"].as_array().unwrap().clone();
            if found.len() >= count {
                return found
                    .iter()
                    .map(|one| one["facts"]["change"].clone())
                    .collect();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("fewer than {count} notifications");
    }
}

async fn log_in(shop: &Shop, email: &str) -> Answer {
    let body = json!({ "email": email, "password": PASSWORD });
    shop.client().post("/api/auth/login", body).await
}

both_engines!(
    Shop,
    [
        a_wrong_code_is_answered_in_the_language_of_the_account,
        a_login_needs_a_code_once_it_is_on,
        recovery_codes_work_once,
        guesses_of_codes_have_to_wait,
        it_is_turned_off_with_password_and_code,
        an_administrator_helps_who_lost_it,
        an_administrator_does_not_help_oneself,
        a_code_at_the_same_moment_opens_one_session
    ]
);

/// Turning it on takes the password and a code, and ends other sessions; then a login needs a code,
/// which works once, and a challenge, which does not last.
async fn a_login_needs_a_code_once_it_is_on(shop: Shop) {
    let email = "dua@example.com";
    let customer = shop.customer(email).await;
    let other = shop.sign_in(email).await;
    let wrong = customer
        .post(PATH, json!({ "password": "another password" }))
        .await;
    assert!(
        wrong
            .fails(400, "VALIDATION_FAILED")
            .detail("password")
            .is_some()
    );
    let confirm = format!("{PATH}/confirm");
    let too_early = customer.post(&confirm, json!({ "code": "123456" })).await;
    too_early.fails(409, "INVALID_STATE");
    let begun = customer
        .post(PATH, json!({ "password": PASSWORD }))
        .await
        .data(201);
    assert!(
        begun["uri"]
            .as_str()
            .unwrap()
            .starts_with("otpauth://totp/")
    );
    assert_eq!(customer.get(PATH).await.data(200)["isEnabled"], false);
    let wrong = customer.post(&confirm, json!({ "code": "abcdef" })).await;
    assert!(
        wrong
            .fails(400, "VALIDATION_FAILED")
            .detail("code")
            .is_some()
    );
    // Until a code is confirmed, a login takes the password alone.
    log_in(&shop, email).await.data(200);

    let person = Person::enrolled(&shop, email, customer).await;
    let state = person.client.get(PATH).await.data(200);
    assert_eq!(
        (
            &state["isEnabled"],
            &state["recoveryCodesLeft"],
            &state["isRequired"]
        ),
        (&json!(true), &json!(10), &json!(false))
    );
    other
        .get("/api/auth/profile")
        .await
        .fails(401, "UNAUTHENTICATED");
    let again = person
        .client
        .post(PATH, json!({ "password": PASSWORD }))
        .await;
    again.fails(409, "INVALID_STATE");
    // The secret is sealed: neither it nor its Base32 is in the database.
    let plain = Secret::try_from_base32(&person.secret).unwrap();
    let sql = "SELECT secret FROM two_factor";
    let mut conn = shop.state().db.read().await.unwrap();
    let (sealed,) = fetch_one!(conn, (Vec<u8>,), sql).unwrap();
    drop(conn);
    assert!(!sealed.windows(20).any(|part| part == plain.as_bytes()));

    let challenge = person.challenge().await;
    for wrong in ["000000", "abc", "aaaa-aaaa-aaaa-aaaa"] {
        let refused = person.answer(&challenge, wrong).await;
        refused.fails(401, "INVALID_CREDENTIALS");
    }
    let code = person.code();
    let session = person.answer(&challenge, &code).await.data(200);
    assert_eq!(session["user"]["email"], email);
    let signed_in = shop
        .client()
        .with_token(session["accessToken"].as_str().unwrap());
    signed_in.get("/api/auth/profile").await.data(200);

    let replayed = person.sign_in(&code).await;
    replayed.fails(401, "INVALID_CREDENTIALS");
    shop.clock().advance(TimeDelta::seconds(30));
    let used = person.answer(&challenge, &person.code()).await;
    used.fails(401, "INVALID_CREDENTIALS");
    let late = person.challenge().await;
    shop.clock().advance(TimeDelta::minutes(5));
    let refused = person.answer(&late, &person.code()).await;
    refused.fails(401, "INVALID_CREDENTIALS");
    person.sign_in(&person.code()).await.data(200);
    // A challenge is no access token.
    let refused = shop
        .client()
        .with_token(late)
        .get("/api/auth/profile")
        .await;
    refused.fails(401, "UNAUTHENTICATED");
    assert_eq!(person.told(1).await, ["ENABLED"]);
}

/// Each recovery code opens one session, however it is typed, and new ones end the old ones. They are
/// stored hashed.
async fn recovery_codes_work_once(shop: Shop) {
    let mut person = Person::with_app(&shop, "hilang@example.com").await;
    assert_eq!(person.recovery_codes.len(), 10);
    let sql = "SELECT count(*) FROM recovery_codes WHERE code_hash = $1 OR code_hash = $2";
    let mut conn = shop.state().db.read().await.unwrap();
    let code = &person.recovery_codes[0];
    let (plain,) = fetch_one!(conn, (i64,), sql, code, code.replace('-', "")).unwrap();
    drop(conn);
    assert_eq!(plain, 0);
    let typed = code.to_uppercase().replace('-', " ");
    person.sign_in(&typed).await.data(200);
    let again = person.sign_in(code).await;
    again.fails(401, "INVALID_CREDENTIALS");
    let state = person.client.get(PATH).await.data(200);
    assert_eq!(state["recoveryCodesLeft"], 9);

    let path = format!("{PATH}/recovery-codes");
    let wrong = person
        .prove(Method::POST, &path, "another password", &person.code())
        .await;
    assert!(
        wrong
            .fails(400, "VALIDATION_FAILED")
            .detail("password")
            .is_some()
    );
    let renewed = person
        .prove(Method::POST, &path, PASSWORD, &person.code())
        .await;
    let old = person.recovery_codes[1].clone();
    person.recovery_codes = serde_json::from_value(renewed.data(200)["codes"].clone()).unwrap();
    person.sign_in(&old).await.fails(401, "INVALID_CREDENTIALS");
    let new = person.recovery_codes[0].clone();
    person.sign_in(&new).await.data(200);
    let told = person.told(4).await;
    assert_eq!(told, ["CODE_USED", "CODES_RENEWED", "CODE_USED", "ENABLED"]);
}

/// After ten wrong codes none is looked at for a quarter of an hour, not even the right one, and the
/// owner gets a notification.
async fn guesses_of_codes_have_to_wait(shop: Shop) {
    let shop = shop
        .restart_with(|config| config.http.trusted_proxies = 1)
        .await
        .unwrap();
    let person = Person::with_app(&shop, "tebak@example.com").await;
    let challenge = person.challenge().await;
    // Each guess from another address: the account itself is protected.
    let guess = async |number: usize, code: &str| {
        let body = json!({ "challenge": challenge, "code": code });
        let request = shop.client().request(Method::POST, ANSWER).json(&body);
        let from = format!("192.0.2.{number}");
        shop.client()
            .send(request.header("x-forwarded-for", from))
            .await
    };
    let guesses = (1..=10).map(|number| guess(number, "zzzzzz"));
    for answer in join_all(guesses).await {
        answer.fails(401, "INVALID_CREDENTIALS");
    }
    let blocked = guess(11, &person.code()).await;
    blocked.fails(429, "TOO_MANY_REQUESTS");
    let seconds = blocked.headers["retry-after"].to_str().unwrap();
    // Fifteen minutes from the last guess.
    assert!((890..=901).contains(&seconds.parse().unwrap()), "{seconds}");
    let proof = person
        .prove(Method::DELETE, PATH, PASSWORD, &person.recovery_codes[0])
        .await;
    proof.fails(429, "TOO_MANY_REQUESTS");
    shop.clock().advance(TimeDelta::minutes(16));
    person.sign_in(&person.code()).await.data(200);
    assert_eq!(person.told(2).await, ["GUESSED", "ENABLED"]);
}

/// Turning it off takes both proofs, and none of them alone.
async fn it_is_turned_off_with_password_and_code(shop: Shop) {
    let person = Person::with_app(&shop, "mati@example.com").await;
    for (password, code, field) in [
        ("another password", person.code(), "password"),
        (PASSWORD, "000000".to_owned(), "code"),
    ] {
        let refused = person.prove(Method::DELETE, PATH, password, &code).await;
        assert!(
            refused
                .fails(400, "VALIDATION_FAILED")
                .detail(field)
                .is_some()
        );
    }
    log_in(&shop, &person.email).await.data(202);
    let off = person
        .prove(Method::DELETE, PATH, PASSWORD, &person.code())
        .await;
    off.data(200);
    log_in(&shop, &person.email).await.data(200);
    let again = person
        .prove(Method::DELETE, PATH, PASSWORD, &person.code())
        .await;
    again.fails(409, "INVALID_STATE");
    assert_eq!(person.told(2).await, ["DISABLED", "ENABLED"]);
}

/// An administrator turns it off for a person who has lost app and codes, with a reason; all sessions
/// end.
async fn an_administrator_helps_who_lost_it(shop: Shop) {
    let person = Person::with_app(&shop, "lupa@example.com").await;
    let profile = person.client.get("/api/user/profile").await.data(200);
    let id = profile["id"].as_str().unwrap();
    let (admin, path) = (
        shop.admin().await,
        format!("/api/admin/users/{id}/two-factor"),
    );
    let because = json!({ "reason": "The phone was stolen, as a call has shown." });
    let refused = person.client.delete_with(&path, because.clone()).await;
    refused.fails(403, "FORBIDDEN");
    let refused = admin.delete_with(&path, json!({})).await;
    refused.fails(400, "VALIDATION_FAILED");
    admin.delete_with(&path, because.clone()).await.data(200);
    person.client.get(PATH).await.fails(401, "UNAUTHENTICATED");
    log_in(&shop, &person.email).await.data(200);
    let again = admin.delete_with(&path, because).await;
    again.fails(409, "INVALID_STATE");
    let acts = format!("/api/admin/audit?subject=user:{id}");
    let acts = admin.get(&acts).await.data(200);
    assert_eq!(acts[0]["act"], "user.two_factor_removed");
}

/// A session of an administrator does not take the second factor from its own account; another administrator does.
async fn an_administrator_does_not_help_oneself(shop: Shop) {
    let admin = shop.admin().await;
    let profile = admin.get("/api/user/profile").await.data(200);
    let (id, email) = (&profile["id"], &profile["email"]);
    let person = Person::enrolled(&shop, email.as_str().unwrap(), admin).await;
    let path = format!("/api/admin/users/{}/two-factor", id.as_str().unwrap());
    let because = json!({ "reason": "The phone was stolen, as a call has shown." });
    let own = person.client.delete_with(&path, because.clone()).await;
    own.fails(409, "INVALID_STATE");
    log_in(&shop, &person.email).await.data(202);
    let other = shop.admin().await;
    other.delete_with(&path, because).await.data(200);
    log_in(&shop, &person.email).await.data(200);
}

/// Of several answers with the same code at the same moment, one opens a session.
async fn a_code_at_the_same_moment_opens_one_session(shop: Shop) {
    let person = Person::with_app(&shop, "balapan@example.com").await;
    for code in [person.code(), person.recovery_codes[0].clone()] {
        let mut challenges = Vec::new();
        for _ in 0..5 {
            challenges.push(person.challenge().await);
        }
        let answers = challenges
            .iter()
            .map(|challenge| person.answer(challenge, &code));
        let answers = join_all(answers).await;
        let opened = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(opened, 1);
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            answer.fails(401, "INVALID_CREDENTIALS");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_need_a_code_where_the_setting_says() {
    let shop = settings::empty_shop(&[("DERMAGA_ADMIN_TWO_FACTOR", "true")]).await;
    let admin = shop.admin().await;
    let email = admin.get("/api/user/profile").await.data(200)["email"].clone();
    let key = json!({ "name": "pipeline", "scope": "WRITE" });
    let key = admin.post("/api/user/api-tokens", key).await.data(201);
    let program = shop.client().with_token(key["token"].as_str().unwrap());
    for client in [&admin, &program] {
        let refused = client.get("/api/admin/users").await;
        refused.fails(403, "TWO_FACTOR_REQUIRED");
    }
    assert_eq!(admin.get(PATH).await.data(200)["isRequired"], true);
    let person = Person::enrolled(&shop, email.as_str().unwrap(), admin).await;
    person.client.get("/api/admin/users").await.data(200);
    // It was made with the password alone.
    let ended = program.get("/api/admin/users").await;
    ended.fails(401, "UNAUTHENTICATED");
    let kept = person
        .prove(Method::DELETE, PATH, PASSWORD, &person.code())
        .await;
    let message = kept.fails(403, "TWO_FACTOR_REQUIRED").body["message"].clone();
    assert!(
        message.as_str().unwrap().contains("may not be turned off"),
        "{message}"
    );
    // Customers choose for themselves.
    let customer = Person::with_app(&shop, "bebas@example.com").await;
    let password = json!({ "password": PASSWORD });
    for answer in [
        customer
            .client
            .post("/api/user/export", password.clone())
            .await,
        customer.client.delete_with("/api/user", password).await,
    ] {
        let refused = answer.fails(400, "VALIDATION_FAILED").detail("code");
        assert_eq!(refused, Some("is missing"));
    }
    let off = customer
        .prove(Method::DELETE, PATH, PASSWORD, &customer.code())
        .await;
    off.data(200);
}

/// The challenge came after the right password.
async fn a_wrong_code_is_answered_in_the_language_of_the_account(shop: Shop) {
    let person = Person::with_app(&shop, "bahasa@example.com").await;
    let body = json!({ "challenge": person.challenge().await, "code": "nothing" });
    let refused = shop.client().in_language(None).post(ANSWER, body).await;
    refused.fails(401, "INVALID_CREDENTIALS");
    assert_eq!(refused.headers["content-language"], "id");
}

/// Counts the challenges that are too old and kept.
async fn expired(shop: &Shop) -> i64 {
    let now = shop.clock().now();
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT count(*) FROM login_challenges WHERE expires_at <= $1";
    let (count,) = fetch_one!(conn, (i64,), sql, now).unwrap();
    count
}

/// A login leaves out a challenge that is too old and is being removed: waiting for it, it would have what the
/// deletion of that account waits for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_waits_for_no_challenge_that_is_being_removed_on_postgresql() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let leaving = Person::with_app(&shop, "pergi@example.com").await;
    let other = Person::with_app(&shop, "masuk@example.com").await;
    leaving.challenge().await;
    shop.clock().advance(TimeDelta::minutes(6));
    let mut removal = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE login_challenges SET expires_at = expires_at";
    let held = execute!(removal, sql).unwrap();
    assert_eq!(held, 1);
    let login = timeout(Duration::from_secs(10), other.challenge()).await;
    login.expect("it waits for no lock");
    assert_eq!(expired(&shop).await, 1);
    removal.rollback().await.unwrap();
    other.challenge().await;
    assert_eq!(expired(&shop).await, 0);
}
