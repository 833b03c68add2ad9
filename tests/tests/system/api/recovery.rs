//! Tests of new passwords for those who forgot theirs.

use chrono::TimeDelta;
use dermaga_shop::fetch_one;
use dermaga_tests::{Answer, Client, Engine, MailServer, Shop, both_engines};
use reqwest::Method;
use serde_json::{Value, json};

use super::mails::sends_to;
use crate::settings;

const FORGOT: &str = "/api/auth/forgot-password";
const RESET: &str = "/api/auth/reset-password";
const OLD: &str = "kata sandi yang panjang";
const NEW: &str = "kata sandi yang baru";

/// A shop that sends mails.
struct Post {
    shop: Shop,
    server: MailServer,
}

impl Post {
    async fn open(engine: Engine) -> Option<Self> {
        let server = MailServer::start().await;
        let shop = Shop::open_with(engine, |config| sends_to(config, &server)).await?;
        Some(Self { shop, server })
    }

    /// Registers a customer; returns the answer's data. The mail that confirms the address is sent.
    async fn register(&self, email: &str) -> Value {
        let count = self.server.received().len();
        let registered = self.shop.register(email).await;
        self.server.wait_for(count + 1).await;
        registered
    }

    /// Asks for a token, and returns the one in the mail.
    async fn token(&self, email: &str) -> String {
        let count = self.server.received().len();
        ask(self.shop.client(), email).await.data(200);
        let mails = self.server.wait_for(count + 1).await;
        assert_eq!(mails[count].to, email);
        token_in(&mails[count].unfolded())
    }
}

fn token_in(text: &str) -> String {
    let (_, rest) = text.split_once("reset-password?token=").unwrap();
    let end = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '_';
    rest.split(end).next().unwrap().to_owned()
}

async fn ask(client: &Client, email: &str) -> Answer {
    client.post(FORGOT, json!({ "email": email })).await
}

async fn reset(client: &Client, token: &str, password: &str) -> Answer {
    let body = json!({ "token": token, "newPassword": password });
    client.post(RESET, body).await
}

async fn log_in(client: &Client, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    client.post("/api/auth/login", body).await
}

both_engines!(
    Post,
    [
        a_forgotten_password_is_replaced_once,
        answers_tell_nothing_of_accounts,
        tokens_are_not_guessed
    ]
);

/// A token replaces the password once, and ends every way into the account: sessions, API tokens
/// and further tokens.
async fn a_forgotten_password_is_replaced_once(post: Post) {
    let shop = &post.shop;
    let registered = post.register("lupa@example.com").await;
    let stranger = shop.client();
    let customer = stranger.with_token(registered["accessToken"].as_str().unwrap());
    let key = json!({ "name": "laporan", "scope": "READ" });
    let key = customer.post("/api/user/api-tokens", key).await.data(201);
    let program = stranger.with_token(key["token"].as_str().unwrap());
    program.get("/api/wallet/info").await.data(200);
    post.server.wait_for(2).await;

    let (token, further) = (
        post.token("lupa@example.com").await,
        post.token("lupa@example.com").await,
    );
    assert_ne!(token, further);
    let sql = "SELECT count(*) FROM mailed_tokens WHERE token_hash IN ($1, $2)";
    let mut conn = shop.state().db.read().await.unwrap();
    let (plain,) = fetch_one!(conn, (i64,), sql, &token, &further).unwrap();
    assert_eq!(plain, 0, "tokens are stored hashed");
    drop(conn);
    let weak = reset(stranger, &token, "password123").await;
    assert!(
        weak.fails(400, "VALIDATION_FAILED")
            .detail("newPassword")
            .is_some()
    );

    let (one, two) = tokio::join!(
        reset(stranger, &token, NEW),
        reset(stranger, &token, "kata sandi yang lain")
    );
    let (won, lost, password) = if one.status == 200 {
        (one, two, NEW)
    } else {
        (two, one, "kata sandi yang lain")
    };
    won.data(200);
    assert!(
        lost.fails(400, "VALIDATION_FAILED")
            .detail("token")
            .is_some()
    );
    for used in [&token, &further] {
        reset(stranger, used, NEW)
            .await
            .fails(400, "VALIDATION_FAILED");
    }

    customer
        .get("/api/auth/profile")
        .await
        .fails(401, "UNAUTHENTICATED");
    program
        .get("/api/wallet/info")
        .await
        .fails(401, "UNAUTHENTICATED");
    let refresh = json!({ "refreshToken": registered["refreshToken"] });
    let refreshed = stranger.post("/api/auth/refresh-token", refresh).await;
    refreshed.fails(401, "UNAUTHENTICATED");
    log_in(stranger, "lupa@example.com", OLD)
        .await
        .fails(401, "INVALID_CREDENTIALS");
    let session = log_in(stranger, "lupa@example.com", password)
        .await
        .data(200);

    // The owner reads of it, by mail and in the inbox.
    let mails = post.server.wait_for(5).await;
    assert!(mails[4].unfolded().contains("dengan token yang dikirim"));
    let customer = stranger.with_token(session["accessToken"].as_str().unwrap());
    let inbox = customer.get("/api/notifications").await.data(200);
    let kinds: Vec<&Value> = inbox["notifications"]
        .as_array()
        .unwrap()
        .iter()
        .map(|notification| &notification["kind"])
        .collect();
    assert_eq!(kinds, ["PASSWORD_CHANGED", "API_TOKEN_CREATED"]);
}

/// Addresses with an account and without one, and those of disabled accounts, get the same answer
/// and have the same limit; the others get no mail.
async fn answers_tell_nothing_of_accounts(post: Post) {
    let shop = &post.shop;
    post.register("ada@example.com").await;
    post.register("mati@example.com").await;
    shop.sql("UPDATE users SET status = 'DISABLED' WHERE email = 'mati@example.com'")
        .await
        .unwrap();
    let stranger = shop.client();
    let (known, unknown, disabled) = (
        ask(stranger, "ADA@example.com").await,
        ask(stranger, "hantu@example.com").await,
        ask(stranger, "mati@example.com").await,
    );
    let message = known.body["message"].clone();
    for other in [&unknown, &disabled] {
        assert_eq!(
            (other.status, &other.body["data"], &other.body["message"]),
            (200, &known.body["data"], &message)
        );
    }
    let first = token_in(&post.server.wait_for(3).await[2].unfolded());
    let second = post.token("ada@example.com").await;
    assert_eq!(post.server.received().len(), 4, "one mail for each request");
    ask(stranger, "hantu@example.com").await.data(200);
    for email in ["ada@example.com", "hantu@example.com"] {
        ask(stranger, email).await.fails(429, "TOO_MANY_REQUESTS");
    }
    // A new password by another way ends what was mailed.
    let session = log_in(stranger, "ada@example.com", OLD).await.data(200);
    let customer = stranger.with_token(session["accessToken"].as_str().unwrap());
    let change = json!({ "currentPassword": OLD, "newPassword": NEW });
    let path = "/api/auth/change-password";
    customer.post(path, change).await.data(200);
    for token in [first, second] {
        reset(stranger, &token, "kata sandi yang lain")
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    post.server.wait_for(5).await;
    // A token of an account that was disabled since changes nothing.
    shop.clock().advance(TimeDelta::hours(1));
    let token = post.token("ada@example.com").await;
    shop.sql("UPDATE users SET status = 'DISABLED' WHERE email = 'ada@example.com'")
        .await
        .unwrap();
    reset(stranger, &token, OLD)
        .await
        .fails(403, "ACCOUNT_DISABLED");

    for wrong in [
        json!({}),
        json!({ "email": "x" }),
        json!({ "email": "a@example.com", "y": 1 }),
    ] {
        stranger
            .post(FORGOT, wrong)
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    for wrong in [
        json!({ "token": "x" }),
        json!({ "newPassword": NEW }),
        json!({ "token": "x", "newPassword": NEW, "y": 1 }),
    ] {
        stranger
            .post(RESET, wrong)
            .await
            .fails(400, "VALIDATION_FAILED");
    }
}

/// Guesses of tokens have to wait, and a token that confirms an address changes no password.
async fn tokens_are_not_guessed(post: Post) {
    let shop = &post.shop;
    post.register("tebak@example.com").await;
    let mail = post.server.received()[0].unfolded();
    let (_, confirming) = mail.split_once("verify-email?token=").unwrap();
    let confirming = confirming.split_whitespace().next().unwrap();
    for _ in 0..10 {
        reset(shop.client(), confirming, NEW)
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    reset(shop.client(), confirming, NEW)
        .await
        .fails(429, "TOO_MANY_REQUESTS");
    let body = json!({ "token": confirming, "password": OLD });
    shop.client()
        .post("/api/auth/verify-email", body)
        .await
        .data(200);
    log_in(shop.client(), "tebak@example.com", OLD)
        .await
        .data(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_as_long_as_the_setting_says() {
    let server = MailServer::start().await;
    let url = server.url();
    let shop = settings::empty_shop(&[
        ("SMTP_URL", &url),
        ("MAIL_FROM", "Toko Uji <uji@example.com>"),
        ("SHOP_URL", "https://uji.example.com/"),
        ("DERMAGA_PASSWORD_RESET_EXPIRES_IN", "30m"),
    ])
    .await;
    let post = Post { shop, server };
    post.register("lambat@example.com").await;
    let stranger = post.shop.client();
    let late = post.token("lambat@example.com").await;
    post.shop.clock().advance(TimeDelta::minutes(30));
    let answer = reset(stranger, &late, NEW).await;
    assert!(
        answer
            .fails(400, "VALIDATION_FAILED")
            .detail("token")
            .is_some()
    );
    let token = post.token("lambat@example.com").await;
    post.shop.clock().advance(TimeDelta::minutes(29));
    reset(stranger, &token, NEW).await.data(200);
    log_in(stranger, "lambat@example.com", NEW).await.data(200);
}

/// Strangers who ask for mails to an address keep its owner neither from the answer nor from the last mail; who
/// asks too often is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_do_not_use_up_the_owners_mails() {
    let server = MailServer::start().await;
    let shop = Shop::open_with(Engine::Sqlite, |config| {
        sends_to(config, &server);
        config.http.trusted_proxies = 1;
    });
    let post = Post {
        shop: shop.await.unwrap(),
        server,
    };
    post.register("diganggu@example.com").await;
    let client = post.shop.client();
    let ask_from = async |address: &str, email: &str| {
        let request = client.request(Method::POST, FORGOT);
        let request = request.header("x-forwarded-for", address);
        let body = json!({ "email": email });
        client.send(request.json(&body)).await
    };
    for stranger in 1..=5 {
        let address = format!("192.0.2.{stranger}");
        let asked = ask_from(&address, "diganggu@example.com").await;
        asked.data(200);
    }
    let mails = post.server.wait_for(6).await;
    let last = token_in(&mails[5].unfolded());
    for owner in 1..=3 {
        let address = format!("198.51.100.{owner}");
        let asked = ask_from(&address, "diganggu@example.com").await;
        asked.data(200);
    }
    post.register("lain@example.com").await;
    let mails = post.server.wait_for(7).await;
    assert_eq!(mails[6].to, "lain@example.com", "five mails are enough");
    reset(client, &last, NEW).await.data(200);

    for number in 0..5 {
        let email = format!("banyak-{number}@example.com");
        ask_from("203.0.113.1", &email).await.data(200);
    }
    let refused = ask_from("203.0.113.1", "banyak@example.com").await;
    refused.fails(429, "TOO_MANY_REQUESTS");
}

/// The first reset by the reader of an address ends whatever a stranger set up in its account; later ones leave
/// the owner's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_of_an_address_takes_the_account_over() {
    let post = Post::open(Engine::Sqlite).await.unwrap();
    let shop = &post.shop;
    let registered = post.register("korban@example.com").await;
    let token = registered["accessToken"].as_str().unwrap();
    let stranger = shop.client().with_token(token);
    let hook = json!({ "url": "https://hooks.example.com/", "events": ["QUOTA_FREE"] });
    stranger.post("/api/webhooks", hook.clone()).await.data(201);
    let begun = json!({ "password": OLD });
    let begun = stranger.post("/api/user/two-factor", begun).await.data(201);
    assert!(begun["secret"].is_string());
    shop.sql("UPDATE two_factor SET enabled_at = created_at")
        .await
        .unwrap();
    log_in(shop.client(), "korban@example.com", OLD)
        .await
        .data(202);

    let token = post.token("korban@example.com").await;
    reset(shop.client(), &token, NEW).await.data(200);
    // The mails about the changes come before the next one.
    let mails = post.server.wait_for(4).await;
    let is_told = |text: &str| mails.iter().any(|mail| mail.unfolded().contains(text));
    assert!(is_told("Verifikasi dua langkah"), "{mails:#?}");
    let session = log_in(shop.client(), "korban@example.com", NEW)
        .await
        .data(200);
    let token = session["accessToken"].as_str().unwrap();
    let owner = shop.client().with_token(token);
    let hooks = owner.get("/api/webhooks").await.data(200);
    assert_eq!(hooks, json!([]));
    let profile = owner.get("/api/user/profile").await.data(200);
    assert!(profile["emailVerifiedAt"].is_string());

    owner.post("/api/webhooks", hook).await.data(201);
    let token = post.token("korban@example.com").await;
    reset(shop.client(), &token, OLD).await.data(200);
    let session = log_in(shop.client(), "korban@example.com", OLD)
        .await
        .data(200);
    let token = session["accessToken"].as_str().unwrap();
    let owner = shop.client().with_token(token);
    let hooks = owner.get("/api/webhooks").await.data(200);
    assert_eq!(hooks.as_array().unwrap().len(), 1);
}

/// Who reads the mails of an administrator replaces the password, and still needs the second factor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrators_second_factor_survives_a_reset() {
    let post = Post::open(Engine::Sqlite).await.unwrap();
    let shop = &post.shop;
    let registered = post.register("pengurus@example.com").await;
    let token = registered["accessToken"].as_str().unwrap();
    let owner = shop.client().with_token(token);
    let begun = json!({ "password": OLD });
    owner.post("/api/user/two-factor", begun).await.data(201);
    shop.sql("UPDATE two_factor SET enabled_at = created_at")
        .await
        .unwrap();
    shop.sql("UPDATE users SET role = 'ADMINISTRATOR' WHERE email = 'pengurus@example.com'")
        .await
        .unwrap();

    let token = post.token("pengurus@example.com").await;
    reset(shop.client(), &token, NEW).await.data(200);
    log_in(shop.client(), "pengurus@example.com", NEW)
        .await
        .data(202);
}

/// The address of an account is no password of it: not a first one, nor a changed or a new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_is_no_password() {
    let post = Post::open(Engine::Sqlite).await.unwrap();
    let client = post.shop.client();
    let email = "alamat@example.com";
    let new = json!({ "email": email, "password": "Alamat@Example.com", "name": "Sari" });
    let refused = client.post("/api/auth/register", new).await;
    let refused = refused.fails(400, "VALIDATION_FAILED").detail("password");
    assert!(refused.is_some());
    let registered = post.register(email).await;
    let customer = client.with_token(registered["accessToken"].as_str().unwrap());
    let change = json!({ "currentPassword": OLD, "newPassword": email });
    let refused = customer.post("/api/auth/change-password", change).await;
    let refused = refused
        .fails(400, "VALIDATION_FAILED")
        .detail("newPassword");
    assert!(refused.is_some());
    let token = post.token(email).await;
    let refused = reset(client, &token, email).await;
    let refused = refused
        .fails(400, "VALIDATION_FAILED")
        .detail("newPassword");
    assert!(refused.is_some());
    // The token is as good as before.
    reset(client, &token, NEW).await.data(200);
}
