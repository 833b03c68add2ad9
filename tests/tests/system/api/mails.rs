//! Tests of mails: one for each notification, to the right person, whatever the mail server does.

use std::time::Duration;

use chrono::TimeDelta;
use dermaga::config::Config;
use dermaga_shop::{
    accounts::{Email, NewAccount, Role},
    notifications,
    outbox::{self, Topic},
};
use dermaga_tests::{Client, Engine, MailServer, Shop, both_engines};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    notifications::told,
    tickets::{TICKETS, answer},
};
use crate::settings;

pub(super) const DELIVERIES: &str = "/api/admin/notifications/deliveries";

/// A shop that sends mails, and the server that takes them.
pub(crate) struct Post {
    pub(crate) shop: Shop,
    pub(crate) server: MailServer,
    pub(crate) admin: Client,
}

pub(crate) fn sends_to(config: &mut Config, server: &MailServer) {
    server.receive_from(config);
}

impl Post {
    pub(crate) async fn open(engine: Engine) -> Option<Self> {
        let server = MailServer::start().await;
        let shop = Shop::open_with(engine, |config| sends_to(config, &server)).await?;
        let admin = shop.admin().await;
        Some(Self {
            shop,
            server,
            admin,
        })
    }
}

/// Makes an account without the mail that confirms its address.
pub(super) async fn customer(shop: &Shop, email: &str) -> (Client, Uuid) {
    named(shop, email, "Pelanggan").await
}

async fn named(shop: &Shop, email: &str, name: &str) -> (Client, Uuid) {
    let new = NewAccount {
        email: Email::parse(email).unwrap(),
        password: "kata sandi yang panjang".to_owned().into(),
        name: name.to_owned(),
        phone: None,
        avatar: None,
        role: Role::User,
    };
    shop.state().accounts.create(new).await.unwrap();
    let customer = shop.sign_in(email).await;
    let profile = customer.get("/api/user/profile").await.data(200);
    (customer, profile["id"].as_str().unwrap().parse().unwrap())
}

pub(super) async fn put(shop: &Shop, (topic, reader): (Topic, Uuid), key: &str) {
    let mut conn = shop.state().db.begin().await.unwrap();
    let payload = json!({ "amount": 10_000, "number": key, "at": shop.clock().now() });
    let what = (topic, reader);
    outbox::put_once(&mut conn, shop.clock(), what, key, payload)
        .await
        .unwrap();
    conn.commit().await.unwrap();
}

/// Waits until so many deliveries have this state, and returns them.
pub(super) async fn deliveries(admin: &Client, state: &str, count: usize) -> Vec<Value> {
    let path = format!("{DELIVERIES}?state={state}&limit=100");
    for _ in 0..400 {
        let found = admin.get(&path).await.data(200);
        if found.as_array().unwrap().len() >= count {
            return found.as_array().unwrap().clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let all = admin.get(DELIVERIES).await.data(200);
    panic!("there are no {count} {state}: {all:#}");
}

both_engines!(
    Post,
    [
        a_mail_is_in_its_readers_language_until_it_is_unsubscribed,
        what_looks_like_a_template_is_sent_as_it_was_written,
        a_change_of_price_is_told_to_all_whom_it_concerns,
        a_refused_mail_is_dead_until_it_is_sent_again,
        mails_wait_for_a_server_that_is_away,
        what_was_sent_long_ago_is_removed
    ]
);

/// Names, subjects and answers are values of a mail, and never run as a template.
async fn what_looks_like_a_template_is_sent_as_it_was_written(post: Post) {
    let Post {
        shop,
        server,
        admin,
    } = &post;
    let (reader, _) = named(shop, "templat@example.com", "{{ 7 * 7 }}").await;
    let english = json!({ "language": "en" });
    let path = "/api/notifications/preferences";
    reader.patch(path, english).await.data(200);
    let texts = [
        ("subject", "{{ 6 * 7 }} {% x %}"),
        ("description", "{{ data.nothing.at.all }} {% include 'x' %}"),
    ];
    let asked = reader.post_form(TICKETS, &texts, &[]).await.data(201);
    let id = asked["id"].as_str().unwrap();
    let answered = answer(admin, id, "{{ 8 * 8 }} {# unseen #}").await;
    answered.data(201);
    let mail = server.wait_for(1).await.remove(0);
    let subject = "Answer to #001: {{ 6 * 7 }} {% x %}";
    assert_eq!(mail.header("Subject"), Some(subject));
    let whole = mail.unfolded();
    for written in ["Hello {{ 7 * 7 }},", "{{ 8 * 8 }} {# unseen #}"] {
        // As text, and as a page.
        assert_eq!(whole.matches(written).count(), 2, "{whole}");
    }
    let told = told(&reader, "TICKET_ANSWERED").await;
    assert_eq!(told[0]["title"], subject);
}

async fn what_was_sent_long_ago_is_removed(post: Post) {
    let Post { shop, admin, .. } = &post;
    let (_, id) = customer(shop, "lama@example.com").await;
    put(shop, (Topic::TopUpReceived, id), "TX-1").await;
    deliveries(admin, "SENT", 1).await;
    let (db, clock) = (&shop.state().db, shop.clock());
    clock.advance(TimeDelta::days(399));
    assert_eq!(notifications::purge(db, clock).await.unwrap(), 0);
    clock.advance(TimeDelta::days(2));
    let removed = notifications::purge(db, clock).await.unwrap();
    assert_eq!(removed, 2, "a notification and its delivery");
}

async fn a_mail_is_in_its_readers_language_until_it_is_unsubscribed(post: Post) {
    let Post { shop, server, .. } = &post;
    let (reader, id) = customer(shop, "surel@example.com").await;
    let english = json!({ "language": "en" });
    let path = "/api/notifications/preferences";
    reader.patch(path, english).await.data(200);
    put(shop, (Topic::TopUpReceived, id), "TX-1").await;
    let mail = server.wait_for(1).await.remove(0);
    assert_eq!(mail.to, "surel@example.com");
    assert_eq!(mail.header("Subject"), Some("Rp10.000 was added"));
    assert!(mail.header("From").unwrap().contains("toko@example.com"));
    assert!(mail.data.contains("text/plain") && mail.data.contains("text/html"));
    assert!(mail.data.contains("Your top-up TX-1"), "{}", mail.data);

    let address = mail.header("List-Unsubscribe").unwrap();
    let address = address
        .trim_matches(['<', '>'])
        .strip_prefix("https://toko.example.com");
    let address = address.unwrap();
    let stranger = shop.client();
    let page = stranger.get(address).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let kinds = reader.get(path).await.data(200)["kinds"].clone();
    let wants = |kinds: &Value| {
        let kinds = kinds.as_array().unwrap();
        let found = kinds.iter().find(|kind| kind["kind"] == "TOP_UP_RECEIVED");
        (
            found.unwrap()["inbox"].clone(),
            found.unwrap()["email"].clone(),
        )
    };
    assert_eq!(
        wants(&kinds),
        (json!(true), json!(true)),
        "looking changes nothing"
    );
    // The button of the page sends an empty form, and mail programs send the one of RFC 8058.
    let pressed = async |form: &'static str| {
        let request = stranger.request(Method::POST, address);
        let kind = "application/x-www-form-urlencoded";
        let request = request.header("content-type", kind).body(form);
        stranger.send(request).await.data(200)
    };
    let (json, ..) = tokio::join!(
        stranger.post(address, json!({})),
        pressed(""),
        pressed("List-Unsubscribe=One-Click"),
    );
    json.data(200);
    let kinds = reader.get(path).await.data(200)["kinds"].clone();
    assert_eq!(wants(&kinds), (json!(true), json!(false)));
    let unknown = format!("/api/notifications/unsubscribe/{}", "0".repeat(40));
    stranger
        .post(&unknown, json!({}))
        .await
        .fails(404, "NOT_FOUND");

    // A required kind is sent all the same, and cannot be unsubscribed.
    put(shop, (Topic::TopUpReceived, id), "TX-2").await;
    put(shop, (Topic::PasswordChanged, id), "1").await;
    let mails = server.wait_for(2).await;
    assert_eq!(
        mails[1].header("Subject"),
        Some("Your password was changed")
    );
    assert_eq!(mails[1].header("List-Unsubscribe"), None);
    while told(&reader, "TOP_UP_RECEIVED").await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(server.received().len(), 2);
}

/// The price changes whether its customer reads of it or not: the notice cannot be turned off, not even by
/// the link of a mail that was sent when it could.
async fn a_change_of_price_is_told_to_all_whom_it_concerns(post: Post) {
    let Post { shop, server, .. } = &post;
    let (reader, id) = customer(shop, "harga@example.com").await;
    let path = "/api/notifications/preferences";
    for channel in ["email", "inbox"] {
        let mut kind = json!({ "kind": "PRICE_CHANGE" });
        kind[channel] = json!(false);
        let refused = reader.patch(path, json!({ "kinds": [kind] })).await;
        refused.fails(400, "VALIDATION_FAILED");
    }
    put(shop, (Topic::TopUpReceived, id), "TX-1").await;
    let mail = server.wait_for(1).await.remove(0);
    let address = mail.header("List-Unsubscribe").unwrap();
    let address = address.trim_matches(['<', '>']);
    let address = address.strip_prefix("https://toko.example.com").unwrap();
    let earlier = "UPDATE notifications SET kind = 'PRICE_CHANGE' WHERE kind = 'TOP_UP_RECEIVED'";
    assert_eq!(shop.sql(earlier).await.unwrap(), 1);
    let refused = shop.client().post(address, json!({})).await;
    refused.fails(409, "INVALID_STATE");

    put(shop, (Topic::PriceChange, id), "1").await;
    let mails = server.wait_for(2).await;
    assert_eq!(mails[1].header("List-Unsubscribe"), None);
    assert_eq!(told(&reader, "PRICE_CHANGE").await.len(), 2);
}

async fn a_refused_mail_is_dead_until_it_is_sent_again(post: Post) {
    let Post {
        shop,
        server,
        admin,
    } = &post;
    let (reader, id) = customer(shop, "hilang@example.com").await;
    server.refuse("hilang@example.com", "550 5.1.1 no such person");
    put(shop, (Topic::TopUpReceived, id), "TX-1").await;
    let dead = deliveries(admin, "DEAD", 1).await.remove(0);
    assert!(
        dead["answer"].as_str().unwrap().contains("no such person"),
        "{dead:#}"
    );
    assert_eq!(
        (&dead["attempts"], &dead["address"], &dead["kind"]),
        (
            &json!(1),
            &json!("hilang@example.com"),
            &json!("TOP_UP_RECEIVED")
        )
    );
    let path = format!("{DELIVERIES}/{}/resend", dead["id"].as_str().unwrap());
    reader.get(DELIVERIES).await.fails(403, "FORBIDDEN");
    reader.post(&path, json!({})).await.fails(403, "FORBIDDEN");
    let wrong = admin.get(&format!("{DELIVERIES}?state=LOST")).await;
    wrong.fails(400, "VALIDATION_FAILED");
    let unknown = format!("{DELIVERIES}/{}/resend", Uuid::nil());
    admin
        .post(&unknown, json!({}))
        .await
        .fails(404, "NOT_FOUND");

    server.refuse_nothing();
    let because = json!({ "reason": "The mail server is whole again." });
    let (one, two) = tokio::join!(
        admin.post(&path, because.clone()),
        admin.post(&path, because.clone())
    );
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    server.wait_for(1).await;
    let sent = deliveries(admin, "SENT", 1).await.remove(0);
    assert!(
        sent["answer"].as_str().unwrap().contains("taken"),
        "{sent:#}"
    );
    assert!(sent["sentAt"].is_string());
    admin
        .post(&path, json!({}))
        .await
        .fails(409, "INVALID_STATE");
    let acts = admin
        .get("/api/admin/audit?act=notification.resent")
        .await
        .data(200);
    assert_eq!(acts.as_array().unwrap().len(), 1, "{acts:#}");
    assert_eq!(acts[0]["reason"], because["reason"]);

    // A refusal for now is tried again, later and later.
    server.refuse("hilang@example.com", "451 4.7.1 greylisted");
    put(shop, (Topic::TopUpReceived, id), "TX-2").await;
    deliveries(admin, "FAILED", 1).await;
    server.refuse_nothing();
    shop.clock().advance(TimeDelta::minutes(1));
    server.wait_for(2).await;
}

async fn mails_wait_for_a_server_that_is_away(post: Post) {
    let Post {
        shop,
        server,
        admin,
    } = post;
    let address = server.address;
    drop(server);
    let (_, id) = customer(&shop, "sabar@example.com").await;
    for number in 0..30 {
        put(&shop, (Topic::TopUpReceived, id), &format!("TX-{number}")).await;
    }
    deliveries(&admin, "FAILED", 1).await;
    shop.clock().advance(TimeDelta::minutes(59));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let server = MailServer::start_at(address).await;
    shop.clock().advance(TimeDelta::minutes(16));
    server.wait_for(30).await;
    deliveries(&admin, "SENT", 30).await;
    let mut ids: Vec<String> = server
        .received()
        .iter()
        .map(|mail| mail.header("Message-ID").unwrap().to_owned())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), server.received().len()), (30, 30));
}

/// Two servers deliver from one database: each mail is sent once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_send_each_mail_once() {
    let Some(post) = Post::open(Engine::Postgres).await else {
        return;
    };
    let _two = post.shop.second_server().await;
    let (_, id) = customer(&post.shop, "berdua@example.com").await;
    post.server.pause(Duration::from_millis(10));
    for number in 0..100 {
        put(
            &post.shop,
            (Topic::TopUpReceived, id),
            &format!("TX-{number}"),
        )
        .await;
    }
    post.server.wait_for(100).await;
    deliveries(&post.admin, "SENT", 100).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(post.server.received().len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_go_where_the_settings_say() {
    let server = MailServer::start().await;
    let url = format!("smtp://toko:rahasia@{}?tls=none", server.address);
    let shop = settings::empty_shop(&[
        ("SMTP_URL", &url),
        ("SMTP_CONNECTIONS", "1"),
        ("SMTP_RETRY_HOURS", "2"),
        ("MAIL_FROM", "Toko Uji <uji@example.com>"),
        ("SHOP_URL", "https://uji.example.com/"),
    ])
    .await;
    let admin = shop.admin().await;
    let (_, id) = customer(&shop, "satu@example.com").await;
    server.pause(Duration::from_millis(20));
    for number in 0..10 {
        put(&shop, (Topic::TopUpReceived, id), &format!("TX-{number}")).await;
    }
    let mails = server.wait_for(10).await;
    assert!(mails[0].header("From").unwrap().contains("uji@example.com"));
    let unsubscribe = mails[0].header("List-Unsubscribe").unwrap();
    assert!(
        unsubscribe.starts_with("<https://uji.example.com/api/"),
        "{unsubscribe}"
    );
    assert_eq!(
        server.sign_ins().into_iter().collect::<Vec<_>>(),
        ["toko:rahasia"]
    );
    assert_eq!(server.most_connections(), 1);
    deliveries(&admin, "SENT", 10).await;

    drop(server);
    put(&shop, (Topic::TopUpReceived, id), "TX-late").await;
    deliveries(&admin, "FAILED", 1).await;
    shop.clock().advance(TimeDelta::hours(3));
    deliveries(&admin, "DEAD", 1).await;
}
