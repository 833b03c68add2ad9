//! Tests of the list of sessions.

use chrono::TimeDelta;
use dermaga_shop::fetch_one;
use dermaga_tests::{Answer, Client, Engine, Shop, both_engines};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::notifications::{told, told_times};

const PATH: &str = "/api/user/sessions";
const PASSWORD: &str = "kata sandi yang panjang";

both_engines!(
    Shop,
    [
        sessions_are_listed_and_end_one_by_one,
        a_sign_in_from_a_new_device_is_told_once,
        a_session_that_ends_is_not_refreshed,
        tabs_that_refresh_at_once_keep_their_session,
        a_session_that_ended_is_not_refreshed_again
    ]
);

/// Signs in from a device; returns its client and the answer's data.
async fn sign_in(shop: &Shop, email: &str, user_agent: &str) -> (Client, Value) {
    let body = json!({ "email": email, "password": PASSWORD });
    let client = shop.client();
    let request = client.request(Method::POST, "/api/auth/login").json(&body);
    let data = client.send(request.header("user-agent", user_agent)).await;
    let data = data.data(200);
    let client = client.with_token(data["accessToken"].as_str().unwrap());
    (client, data)
}

/// The first session is no news, a further device is, and it is known from then on, also after its session ended.
async fn a_sign_in_from_a_new_device_is_told_once(shop: Shop) {
    let email = "perangkat@example.com";
    let desk = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Safari/604.1";
    shop.register(email).await;
    let (first, _) = sign_in(&shop, email, desk).await;
    let seen = told(&first, "NEW_DEVICE").await;
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert_eq!(seen[0]["facts"]["device"], "Firefox on Linux");
    assert_eq!(seen[0]["facts"]["address"], "127.0.0.1");
    let text = seen[0]["text"].as_str().unwrap();
    assert!(text.contains("Firefox di Linux, 127.0.0.1"), "{text}");

    // The same device again, and after its sessions have ended.
    let (second, _) = sign_in(&shop, email, desk).await;
    let listed = sessions(&second).await;
    let others = listed
        .iter()
        .filter(|session| session["isCurrent"] == false);
    for session in others {
        let path = format!("{PATH}/{}", session["id"].as_str().unwrap());
        second.delete(&path).await.data(200);
    }
    sign_in(&shop, email, desk).await;
    // The message of a third device comes after what was written before it.
    let (third, _) = sign_in(&shop, email, phone).await;
    let seen = told_times(&third, "NEW_DEVICE", 2).await;
    let devices: Vec<&Value> = seen.iter().map(|one| &one["facts"]["device"]).collect();
    assert_eq!(devices, ["Safari on iPhone", "Firefox on Linux"]);
    let events = third.get("/api/user/security-events").await.data(200);
    let kinds = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["kind"]);
    assert_eq!(kinds.filter(|kind| *kind == "NEW_DEVICE").count(), 2);
    // Each has a key, so that a cause which is written twice makes one message.
    let sql = "UPDATE outbox SET once_key = once_key WHERE once_key IS NOT NULL
               AND topic IN ('NEW_DEVICE', 'EMAIL_CONFIRMATION')
               AND subject_id = (SELECT id FROM users WHERE email = 'perangkat@example.com')";
    assert_eq!(shop.sql(sql).await.unwrap(), 3);
    let stranger = shop.customer("baru@example.com").await;
    assert_eq!(
        stranger.get("/api/user/security-events").await.data(200),
        json!([])
    );
}

async fn sessions(client: &Client) -> Vec<Value> {
    let found = client.get(PATH).await.data(200);
    found.as_array().unwrap().clone()
}

fn path_of(sessions: &[Value], device: &str) -> String {
    let found = sessions.iter().find(|session| session["device"] == device);
    let found = found.unwrap_or_else(|| panic!("no {device}: {sessions:#?}"));
    format!("{PATH}/{}", found["id"].as_str().unwrap())
}

/// An owner sees each session with its device and address, and ends any of them; others see
/// nothing of it.
async fn sessions_are_listed_and_end_one_by_one(shop: Shop) {
    let email = "sesi@example.com";
    let phone =
        "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36";
    let desk = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    shop.register(email).await;
    let (on_phone, phone) = sign_in(&shop, email, phone).await;
    let (on_desk, _) = sign_in(&shop, email, desk).await;
    let listed = sessions(&on_desk).await;
    assert_eq!(listed.len(), 3, "{listed:#?}");
    for session in &listed {
        assert_eq!(session["address"], "127.0.0.1");
        let is_current = session["device"] == "Firefox on Linux";
        assert_eq!(session["isCurrent"], is_current);
    }

    let other = shop.customer("lain@example.com").await;
    let path = path_of(&listed, "Chrome on Android");
    other.delete(&path).await.fails(404, "NOT_FOUND");
    assert_eq!(sessions(&other).await.len(), 1);
    on_phone.get(PATH).await.data(200);
    on_desk.delete(&path).await.data(200);
    on_desk.delete(&path).await.fails(404, "NOT_FOUND");
    on_phone.get(PATH).await.fails(401, "UNAUTHENTICATED");
    let refresh = json!({ "refreshToken": phone["refreshToken"] });
    let refreshed = shop.client().post("/api/auth/refresh-token", refresh).await;
    refreshed.fails(401, "UNAUTHENTICATED");
    assert_eq!(sessions(&on_desk).await.len(), 2);

    let (third, _) = sign_in(&shop, email, "curl/8.5.0").await;
    let key = json!({ "name": "laporan", "scope": "WRITE" });
    let key = on_desk.post("/api/user/api-tokens", key).await.data(201);
    on_desk.delete(PATH).await.data(200);
    third.get(PATH).await.fails(401, "UNAUTHENTICATED");
    let left = sessions(&on_desk).await;
    assert_eq!((left.len(), &left[0]["isCurrent"]), (1, &json!(true)));
    // A program keeps its key, and sees and ends no session with it.
    let program = shop.client().with_token(key["token"].as_str().unwrap());
    program.get("/api/wallet/info").await.data(200);
    program.get(PATH).await.fails(403, "FORBIDDEN");
    program.delete(PATH).await.fails(403, "FORBIDDEN");

    on_desk.post("/api/auth/logout", json!({})).await.data(200);
    on_desk.get(PATH).await.fails(401, "UNAUTHENTICATED");
}

/// Of a refresh and the end of its session at the same moment, neither leaves a token that works.
async fn a_session_that_ends_is_not_refreshed(shop: Shop) {
    let email = "balapan@example.com";
    shop.register(email).await;
    for _ in 0..10 {
        let (owner, _) = sign_in(&shop, email, "curl/8.5.0").await;
        let (thief, session) = sign_in(&shop, email, "thief/1.0").await;
        let path = path_of(&sessions(&owner).await, "thief");
        let refresh = json!({ "refreshToken": session["refreshToken"] });
        let stranger = shop.client();
        let (ended, refreshed) = tokio::join!(
            owner.delete(&path),
            stranger.post("/api/auth/refresh-token", refresh)
        );
        ended.data(200);
        thief
            .get("/api/auth/profile")
            .await
            .fails(401, "UNAUTHENTICATED");
        if refreshed.status == 200 {
            let tokens = refreshed.data(200);
            let again = stranger.with_token(tokens["accessToken"].as_str().unwrap());
            again
                .get("/api/auth/profile")
                .await
                .fails(401, "UNAUTHENTICATED");
            let refresh = json!({ "refreshToken": tokens["refreshToken"] });
            let refreshed = stranger.post("/api/auth/refresh-token", refresh).await;
            refreshed.fails(401, "UNAUTHENTICATED");
        }
    }
}

/// Refresh tokens of all answers, which succeeded.
fn refresh_tokens(answers: Vec<Answer>) -> Vec<Value> {
    let tokens = answers
        .into_iter()
        .map(|answer| answer.data(200)["refreshToken"].clone());
    tokens.collect()
}

/// Mails to owners that sessions of theirs were ended.
async fn ends_told(shop: &Shop) -> i64 {
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT count(*) FROM outbox WHERE topic = 'SESSIONS_ENDED'";
    let (count,) = fetch_one!(conn, (i64,), sql).unwrap();
    count
}

/// Tabs of a browser have one refresh token, and send it at the same moment: all have the same new one, and the
/// session is one. Sent later, the old token is a theft.
async fn tabs_that_refresh_at_once_keep_their_session(shop: Shop) {
    let first = shop.register("tab@example.com").await;
    let refresh = async |token: &Value| {
        let body = json!({ "refreshToken": token });
        shop.client().post("/api/auth/refresh-token", body).await
    };
    let spent = &first["refreshToken"];
    let answers = join_all((0..6).map(|_| refresh(spent))).await;
    let next = refresh_tokens(answers);
    assert!(next.iter().all(|token| *token == next[0]), "{next:?}");
    let renewed = refresh(&next[0]).await.data(200);
    let client = shop
        .client()
        .with_token(renewed["accessToken"].as_str().unwrap());
    assert_eq!(sessions(&client).await.len(), 1);

    shop.clock().advance(TimeDelta::seconds(11));
    assert_eq!(ends_told(&shop).await, 0);
    refresh(&next[0]).await.fails(401, "UNAUTHENTICATED");
    let last = refresh(&renewed["refreshToken"]).await;
    last.fails(401, "UNAUTHENTICATED");
    client.get(PATH).await.fails(401, "UNAUTHENTICATED");
    assert_eq!(ends_told(&shop).await, 1);
}

/// The moment in which a token may come again ends with its session.
async fn a_session_that_ended_is_not_refreshed_again(shop: Shop) {
    let first = shop.register("keluar@example.com").await;
    let body = json!({ "refreshToken": first["refreshToken"] });
    let refresh = || shop.client().post("/api/auth/refresh-token", body.clone());
    let renewed = refresh().await.data(200);
    let client = shop
        .client()
        .with_token(renewed["accessToken"].as_str().unwrap());
    client.post("/api/auth/logout", json!({})).await.data(200);
    refresh().await.fails(401, "UNAUTHENTICATED");
    assert_eq!(ends_told(&shop).await, 0);
}

/// Tabs whose requests reach two servers have one session, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_refresh_at_two_servers() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let other = shop.second_server().await;
    let mut token = shop.register("dua@example.com").await["refreshToken"].clone();
    for _ in 0..5 {
        let body = json!({ "refreshToken": token });
        let sent = (0..6).map(|at| {
            let server = if at % 2 == 0 { &shop } else { &other };
            let path = "/api/auth/refresh-token";
            server.client().post(path, body.clone())
        });
        let next = refresh_tokens(join_all(sent).await);
        assert!(next.iter().all(|token| *token == next[0]), "{next:?}");
        token = next[0].clone();
    }
    assert_eq!(ends_told(&shop).await, 0);
}
