//! Tests of the confirmation of e-mail addresses, and of the bonuses that wait for it.

use chrono::TimeDelta;
use dermaga_shop::{coupons, fetch_one};
use dermaga_tests::{Client, Engine, MailServer, Shop, both_engines};
use serde_json::{Value, json};

use super::mails::sends_to;

const VERIFY: &str = "/api/auth/verify-email";
const RESEND: &str = "/api/auth/verify-email/resend";
const PASSWORD: &str = "kata sandi yang panjang";

/// A shop that sends mails and has a bonus for confirmed addresses.
struct Welcome {
    shop: Shop,
    server: MailServer,
}

impl Welcome {
    async fn open(engine: Engine) -> Option<Self> {
        let server = MailServer::start().await;
        let shop = Shop::open_with(engine, |config| {
            sends_to(config, &server);
            config.coupons.bonus_requires_verified_email = true;
        });
        let shop = Box::pin(shop).await?;
        let bonus = json!({
            "code": "SELAMAT", "plugin": "coupon-welcome-bonus", "parameters": { "amount": 25_000 },
            "maxUsesPerUser": 9,
        });
        let admin = shop.admin().await;
        admin.post("/api/admin/coupons", bonus).await.data(201);
        Some(Self { shop, server })
    }

    /// Returns the token in the mail of this number.
    async fn token(&self, number: usize) -> String {
        let mails = self.server.wait_for(number).await;
        let text = mails[number - 1].unfolded();
        let (_, rest) = text.split_once("verify-email?token=").unwrap();
        let end = |letter: char| !letter.is_ascii_alphanumeric() && letter != '-' && letter != '_';
        rest.split(end).next().unwrap().to_owned()
    }
}

async fn balance(customer: &Client) -> Value {
    customer.get("/api/wallet/info").await.data(200)["totalBalance"].clone()
}

both_engines!(
    Welcome,
    [
        a_confirmed_address_gets_its_bonus_once,
        a_bonus_that_was_announced_and_is_not_given_says_why,
        answers_are_in_the_language_of_the_account,
        tokens_expire_and_answers_tell_nothing,
        a_token_alone_confirms_nothing,
        a_token_lets_no_password_be_guessed
    ]
);

async fn a_confirmed_address_gets_its_bonus_once(welcome: Welcome) {
    let Welcome { shop, server } = &welcome;
    let registered = shop.register("sah@example.com").await;
    assert_eq!(registered["welcomeBonuses"][0]["granted"], false);
    assert_eq!(registered["user"]["emailVerifiedAt"], Value::Null);
    let customer = shop
        .client()
        .with_token(registered["accessToken"].as_str().unwrap());
    let token = welcome.token(1).await;
    assert_eq!(server.received()[0].to, "sah@example.com");
    assert_eq!(server.received()[0].header("List-Unsubscribe"), None);
    assert_eq!(balance(&customer).await, 0);

    let stranger = shop.client();
    let body = json!({ "token": token });
    let (one, two) = tokio::join!(
        customer.post(VERIFY, body.clone()),
        customer.post(VERIFY, body.clone())
    );
    let (won, lost) = if one.status == 200 {
        (one, two)
    } else {
        (two, one)
    };
    let told = "Your e-mail address is confirmed. Rp25.000 was added as a welcome bonus.";
    assert_eq!(won.body["message"], told);
    let bonuses = won.data(200)["welcomeBonuses"].clone();
    lost.fails(400, "VALIDATION_FAILED");
    assert_eq!(
        (&bonuses[0]["granted"], &bonuses[0]["amount"]),
        (&json!(true), &json!(25_000))
    );
    customer
        .post(VERIFY, body)
        .await
        .fails(400, "VALIDATION_FAILED");
    assert_eq!(balance(&customer).await, 25_000);
    // A server that stopped before it noted the bonus leaves it to be given again.
    let user_id = registered["user"]["id"].as_str().unwrap().parse().unwrap();
    let state = shop.state();
    assert!(!state.accounts.take_bonuses(user_id).await.unwrap());
    let due = "UPDATE users SET bonuses_due_at = created_at WHERE email = 'sah@example.com'";
    shop.sql(due).await.unwrap();
    shop.clock().advance(TimeDelta::minutes(2));
    let (one, two) = tokio::join!(
        state.accounts.take_bonuses(user_id),
        state.accounts.take_bonuses(user_id)
    );
    assert_ne!(one.unwrap(), two.unwrap());
    let again = coupons::apply_confirmation(&state.coupons, &state.accounts, user_id).await;
    let again = again.unwrap();
    assert!(!again[0].granted);
    assert_eq!(coupons::told(Some(&again)), "");
    assert_eq!(balance(&customer).await, 25_000);
    let profile = customer.get("/api/user/profile").await.data(200);
    assert!(profile["emailVerifiedAt"].is_string());
    // It is no notification.
    let inbox = customer.get("/api/notifications").await.data(200);
    assert_eq!(inbox["notifications"], json!([]));

    // A confirmed address gets no further mail.
    let again = json!({ "email": "sah@example.com" });
    stranger.post(RESEND, again).await.data(200);
    shop.register("lain@example.com").await;
    server.wait_for(2).await;
    assert_eq!(server.received()[1].to, "lain@example.com");
    shop.books_balance().await;
}

/// A coupon that ends before the address is confirmed does not vanish without a word.
async fn a_bonus_that_was_announced_and_is_not_given_says_why(welcome: Welcome) {
    let shop = &welcome.shop;
    let admin = shop.admin().await;
    let found = admin.get("/api/admin/coupons").await.data(200);
    let bonus = found[0]["id"].clone();
    let ends = shop.clock().now() + TimeDelta::minutes(30);
    let short = json!({
        "code": "SEBENTAR", "plugin": "coupon-welcome-bonus", "parameters": { "amount": 5_000 }, "endsAt": ends,
    });
    admin.post("/api/admin/coupons", short).await.data(201);
    let registered = shop.register("telat@example.com").await;
    let announced = registered["welcomeBonuses"].as_array().unwrap();
    assert_eq!(announced.len(), 2, "{announced:#?}");
    let switched = json!({ "ids": [bonus], "status": "DISABLED" });
    admin
        .put("/api/admin/coupons/bulk-status", switched)
        .await
        .data(200);
    // The mail is there before the clock leaps, which would send it again.
    let token = welcome.token(1).await;
    // A coupon that was over before a customer signed up was not announced.
    shop.clock().advance(TimeDelta::hours(1));
    let later = shop.register("nanti@example.com").await;
    assert_eq!(later["welcomeBonuses"], json!([]));

    let stranger = shop.client();
    let body = json!({ "token": token, "password": PASSWORD });
    let answer = stranger.post(VERIFY, body).await;
    let message = answer.body["message"].as_str().unwrap().to_owned();
    let bonuses = answer.data(200)["welcomeBonuses"].clone();
    for (code, reason) in [
        ("SELAMAT", "The coupon SELAMAT is not active."),
        ("SEBENTAR", "The coupon SEBENTAR has expired."),
    ] {
        let mut bonuses = bonuses.as_array().unwrap().iter();
        let bonus = bonuses.find(|bonus| bonus["couponCode"] == code).unwrap();
        assert_eq!(
            (&bonus["granted"], &bonus["message"]),
            (&json!(false), &json!(reason))
        );
        let sentence = format!("A welcome bonus was not given: {reason}");
        assert!(message.contains(&sentence), "{message}");
    }
    let token = welcome.token(2).await;
    // Nor was one that was switched off before, also where it is changed later.
    let changed = json!({
        "code": "SELAMAT", "plugin": "coupon-welcome-bonus", "parameters": { "amount": 20_000 },
        "maxUsesPerUser": 9,
    });
    let path = format!("/api/admin/coupons/{}", bonus.as_str().unwrap());
    admin.put(&path, changed).await.data(200);
    let body = json!({ "token": token, "password": PASSWORD });
    let answer = stranger.post(VERIFY, body).await;
    assert_eq!(answer.body["message"], "Your e-mail address is confirmed.");
    assert_eq!(answer.data(200)["welcomeBonuses"], json!([]));
}

/// A token tells whose address it is: without a header the answer is in the account's language.
async fn answers_are_in_the_language_of_the_account(welcome: Welcome) {
    let Welcome { shop, server } = &welcome;
    let bare = shop.client().in_language(None);
    for (email, language, confirmed, changed) in [
        (
            "bahasa@example.com",
            "id",
            "Alamat surel Anda sudah dikonfirmasi.",
            "Kata sandi sudah diubah.",
        ),
        (
            "english@example.com",
            "en",
            "Your e-mail address is confirmed.",
            "The password is changed.",
        ),
    ] {
        let body = json!({ "email": email, "password": PASSWORD, "name": "Pelanggan" });
        // English is asked for with a country, since the tests' clients leave out their own `en` here.
        let header = if language == "en" { "en-GB" } else { "id" };
        let asked = shop.client().in_language(Some(header));
        asked.post("/api/auth/register", body).await.data(201);
        let token = mailed(server, email, "verify-email?token=").await;
        let body = json!({ "token": token, "password": PASSWORD });
        let answer = bare.post(VERIFY, body).await;
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.starts_with(confirmed), "{message}");
        assert_eq!(answer.headers["content-language"], language);

        let forgotten = json!({ "email": email });
        let path = "/api/auth/forgot-password";
        bare.post(path, forgotten).await.data(200);
        let token = mailed(server, email, "reset-password?token=").await;
        let body = json!({ "token": token, "newPassword": "kata sandi yang lain lagi" });
        let answer = bare.post("/api/auth/reset-password", body).await;
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.starts_with(changed), "{message}");
    }
}

/// Returns what follows a mark in a mail to an address, once there is one.
async fn mailed(server: &MailServer, email: &str, mark: &str) -> String {
    for _ in 0..200 {
        for mail in server.received() {
            let text = mail.unfolded();
            if mail.to == email
                && let Some((_, rest)) = text.split_once(mark)
            {
                let end = |letter: char| {
                    !letter.is_ascii_alphanumeric() && letter != '-' && letter != '_'
                };
                return rest.split(end).next().unwrap().to_owned();
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no mail to {email} has {mark}");
}

async fn tokens_expire_and_answers_tell_nothing(welcome: Welcome) {
    let Welcome { shop, server } = &welcome;
    shop.register("lambat@example.com").await;
    let first = welcome.token(1).await;
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT count(*) FROM mailed_tokens WHERE token_hash = $1";
    let (plain,) = fetch_one!(conn, (i64,), sql, &first).unwrap();
    assert_eq!(plain, 0, "tokens are stored hashed");
    drop(conn);
    shop.clock().advance(TimeDelta::hours(49));
    let stranger = shop.client();
    let late = stranger.post(VERIFY, json!({ "token": first })).await;
    late.fails(400, "VALIDATION_FAILED");

    let ask = |email: &str| stranger.post(RESEND, json!({ "email": email }));
    let (known, unknown) = tokio::join!(ask("lambat@example.com"), ask("hantu@example.com"));
    let message = known.body["message"].clone();
    assert_eq!(
        (known.data(200), &message),
        (unknown.body["data"].clone(), &unknown.body["message"])
    );
    let second = welcome.token(2).await;
    assert_ne!(first, second);
    stranger
        .post(VERIFY, json!({ "token": second, "password": PASSWORD }))
        .await
        .data(200);
    assert_eq!(server.received().len(), 2);
    for _ in 0..5 {
        ask("hantu@example.com").await;
    }
    ask("hantu@example.com")
        .await
        .fails(429, "TOO_MANY_REQUESTS");

    for wrong in [
        json!({}),
        json!({ "token": "" }),
        json!({ "token": "x", "y": 1 }),
        json!({ "token": "x", "password": "" }),
    ] {
        stranger
            .post(VERIFY, wrong)
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    for wrong in [
        json!({}),
        json!({ "email": "x" }),
        json!({ "email": "a@example.com", "y": 1 }),
    ] {
        stranger
            .post(RESEND, wrong)
            .await
            .fails(400, "VALIDATION_FAILED");
    }
    let login = json!({ "email": "lambat@example.com", "password": PASSWORD });
    let session = stranger.post("/api/auth/login", login).await.data(200);
    assert!(session["user"]["emailVerifiedAt"].is_string());
}

/// A stranger who registered the address of another gets no confirmed account by its reader's click: the reader
/// has neither the password nor a session, and takes the account over by a new password.
async fn a_token_alone_confirms_nothing(welcome: Welcome) {
    let Welcome { shop, server } = &welcome;
    let email = "korban@example.com";
    let registered = shop.register(email).await;
    let access = registered["accessToken"].as_str().unwrap();
    let stranger = shop.client().with_token(access);
    let key = json!({ "name": "laporan", "scope": "WRITE" });
    let key = stranger.post("/api/user/api-tokens", key).await.data(201);
    let program = shop.client().with_token(key["token"].as_str().unwrap());
    let token = mailed(server, email, "verify-email?token=").await;

    let (reader, other) = (shop.client(), shop.customer("lain@example.com").await);
    let bare = json!({ "token": token });
    let guess = json!({ "token": token, "password": "another password" });
    for (client, body) in [(reader, &bare), (reader, &guess), (&other, &bare)] {
        let refused = client.post(VERIFY, body.clone()).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail("password").is_some(), "{:#}", refused.body);
    }
    let by_program = program.post(VERIFY, bare.clone()).await;
    by_program.fails(403, "FORBIDDEN");
    let by_nothing = reader.with_token("x").post(VERIFY, bare).await;
    by_nothing.fails(401, "UNAUTHENTICATED");
    let profile = stranger.get("/api/user/profile").await.data(200);
    assert_eq!(profile["emailVerifiedAt"], Value::Null);
    assert_eq!(balance(&stranger).await, 0);

    let new = "kata sandi milik pembacanya";
    let forgotten = json!({ "email": email });
    let path = "/api/auth/forgot-password";
    reader.post(path, forgotten).await.data(200);
    let reset = mailed(server, email, "reset-password?token=").await;
    let body = json!({ "token": reset, "newPassword": new });
    let path = "/api/auth/reset-password";
    reader.post(path, body).await.data(200);
    for client in [&stranger, &program] {
        let answer = client.get("/api/wallet/info").await;
        answer.fails(401, "UNAUTHENTICATED");
    }
    let refresh = json!({ "refreshToken": registered["refreshToken"] });
    let refreshed = reader.post("/api/auth/refresh-token", refresh).await;
    refreshed.fails(401, "UNAUTHENTICATED");
    let login = json!({ "email": email, "password": PASSWORD });
    let refused = reader.post("/api/auth/login", login).await;
    refused.fails(401, "INVALID_CREDENTIALS");
    let login = json!({ "email": email, "password": new });
    let session = reader.post("/api/auth/login", login).await.data(200);
    assert!(session["user"]["emailVerifiedAt"].is_string());
    let late = json!({ "token": token, "password": new });
    let late = reader.post(VERIFY, late).await;
    assert!(
        late.fails(400, "VALIDATION_FAILED")
            .detail("token")
            .is_some()
    );
}

/// Ten wrong passwords beside a token have to wait as those of a login do; a session of the account does not.
async fn a_token_lets_no_password_be_guessed(welcome: Welcome) {
    let shop = &welcome.shop;
    let customer = shop.customer("tebakan@example.com").await;
    let token = welcome.token(1).await;
    let reader = shop.client();
    for _ in 0..10 {
        let guess = json!({ "token": token, "password": "another password" });
        let refused = reader.post(VERIFY, guess).await;
        refused.fails(400, "VALIDATION_FAILED");
    }
    let right = json!({ "token": token, "password": PASSWORD });
    let refused = reader.post(VERIFY, right).await;
    refused.fails(429, "TOO_MANY_REQUESTS");
    let body = json!({ "token": token });
    customer.post(VERIFY, body).await.data(200);
}
