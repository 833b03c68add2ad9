//! Tests of inboxes: each message once, to its readers, as they want it.

use std::{fs, time::Duration};

use chrono::TimeDelta;
use dermaga_shop::{
    billing::{process_grace, renew_due},
    outbox::{self, ADMINISTRATORS, Topic},
    scheduler::Schedule,
};
use dermaga_tests::{Client, Engine, Shop, both_engines};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    api::payments::Till,
    journeys::{
        renewal::{buy, give, id_of, moment, next_period},
        upgrade::customer_with_cash,
    },
    settings,
};

const INBOX: &str = "/api/notifications";
const PREFERENCES: &str = "/api/notifications/preferences";

async fn read_inbox(reader: &Client, query: &str) -> (i64, Vec<Value>) {
    let inbox = reader.get(&format!("{INBOX}{query}")).await.data(200);
    let list = inbox["notifications"].as_array().unwrap().clone();
    (inbox["unread"].as_i64().unwrap(), list)
}

/// Returns the notifications of a kind, once there is one.
pub(crate) async fn told(reader: &Client, kind: &str) -> Vec<Value> {
    told_times(reader, kind, 1).await
}

/// Returns the notifications of a kind, once there are so many.
pub(crate) async fn told_times(reader: &Client, kind: &str, count: usize) -> Vec<Value> {
    for _ in 0..200 {
        let (_, found) = read_inbox(reader, &format!("?kind={kind}")).await;
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{kind} is not told: {:#?}", read_inbox(reader, "").await);
}

pub(super) async fn user_id(client: &Client) -> Uuid {
    let profile = client.get("/api/user/profile").await.data(200);
    profile["id"].as_str().unwrap().parse().unwrap()
}

/// Writes a message that a top-up of this number was received; true when it is new.
pub(super) async fn put(shop: &Shop, (topic, reader): (Topic, Uuid), key: &str) -> bool {
    let mut conn = shop.state().db.begin().await.unwrap();
    let payload = json!({ "amount": 10_000, "number": key });
    let is_new = outbox::put_once(&mut conn, shop.clock(), (topic, reader), key, payload).await;
    conn.commit().await.unwrap();
    is_new.unwrap()
}

mod acts {
    use super::*;

    both_engines!(Till, [acts_are_told_with_their_facts]);

    async fn acts_are_told_with_their_facts(till: Till) {
        let shop = &till.shop;
        let customer = shop.customer("kabar@example.com").await;
        till.paid(&customer, 50_000).await;
        let received = told(&customer, "TOP_UP_RECEIVED").await;
        assert_eq!(received.len(), 1, "{received:#?}");
        assert_eq!(received[0]["title"], "Rp50.000 telah diterima");
        assert_eq!(received[0]["facts"]["amount"], 50_000);
        assert_eq!(received[0]["readAt"], Value::Null);

        let bought = buy(shop, &customer, ("n8n", "free"), None).await;
        written_is_not_ready(shop, &customer, &bought).await;

        let token = json!({ "name": "pipa", "scope": "READ" });
        let token = customer.post("/api/user/api-tokens", token).await.data(201);
        let made = told(&customer, "API_TOKEN_CREATED").await;
        assert_eq!(made[0]["facts"]["tokenId"], token["id"]);
        assert!(
            !made[0]
                .to_string()
                .contains(token["token"].as_str().unwrap())
        );

        let new = "kata sandi yang lebih panjang";
        let change = json!({ "currentPassword": "kata sandi yang panjang", "newPassword": new });
        let path = "/api/auth/change-password";
        let session = customer.post(path, change).await.data(200);
        let customer = customer.with_token(session["accessToken"].as_str().unwrap());
        assert_eq!(told(&customer, "PASSWORD_CHANGED").await.len(), 1);
        let (unread, all) = read_inbox(&customer, "").await;
        assert_eq!(
            (unread, all.len()),
            (3, 3),
            "nothing is called ready: {all:#?}"
        );
        assert_eq!(all[0]["kind"], "PASSWORD_CHANGED", "the newest is first");

        let all = "/api/auth/logout-all";
        customer.post(all, json!({})).await.data(200);
        let login = json!({ "email": "kabar@example.com", "password": new });
        let session = shop.client().post("/api/auth/login", login).await.data(200);
        let refresh = json!({ "refreshToken": session["refreshToken"] });
        let path = "/api/auth/refresh-token";
        shop.client().post(path, refresh.clone()).await.data(200);
        // A copy of the token in other hands, which is later than another tab, ends the session: one message says so.
        shop.clock().advance(TimeDelta::seconds(11));
        for _ in 0..2 {
            let stolen = shop.client().post(path, refresh.clone()).await;
            stolen.fails(401, "UNAUTHENTICATED");
        }
        let login = json!({ "email": "kabar@example.com", "password": new });
        let session = shop.client().post("/api/auth/login", login).await.data(200);
        let customer = customer.with_token(session["accessToken"].as_str().unwrap());
        let mut ended = told(&customer, "SESSIONS_ENDED").await;
        while ended.len() < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ended = told(&customer, "SESSIONS_ENDED").await;
        }
        let of_all: Vec<_> = ended.iter().map(|one| &one["facts"]["all"]).collect();
        assert_eq!(of_all, [&json!(false), &json!(true)], "{ended:#?}");
        // Each has a key, so that a cause which is written twice makes one message.
        let sql = "UPDATE outbox SET once_key = once_key WHERE once_key IS NOT NULL
                   AND topic IN ('API_TOKEN_CREATED', 'PASSWORD_CHANGED', 'SESSIONS_ENDED')";
        assert_eq!(shop.sql(sql).await.unwrap(), 4);
    }
}

/// Expects that an instance whose manifests are in a folder counts as delivered, and is not called
/// ready.
async fn written_is_not_ready(shop: &Shop, customer: &Client, bought: &Value) {
    let path = format!("/api/subscriptions/{}", id_of(bought));
    let mut tries = 0;
    while customer.get(&path).await.data(200)["deliveredAt"].is_null() {
        tries += 1;
        assert!(tries < 1_200, "the delivery is not noted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let path = format!("/api/instances/{}", bought["instanceId"].as_str().unwrap());
    let written = customer.get(&path).await.data(200);
    assert_eq!(
        (&written["status"], &written["readyAt"]),
        (&json!("WRITTEN"), &Value::Null),
        "{written:#}"
    );
    let sql = "SELECT count(*) FROM outbox WHERE topic = 'INSTANCE_READY'";
    let mut conn = shop.state().db.read().await.unwrap();
    let (told,): (i64,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    assert_eq!(told, 0, "its customer is told that it is ready");
}

both_engines!(
    Shop,
    [
        an_inbox_is_its_owners,
        a_reader_decides_what_is_told_in_which_language,
        periods_that_are_paid_and_not_paid_are_told,
        the_same_is_told_once
    ]
);

async fn an_inbox_is_its_owners(shop: Shop) {
    let (owner, other) = (
        shop.customer("pemilik@example.com").await,
        shop.customer("lain@example.com").await,
    );
    let id = user_id(&owner).await;
    for key in ["1", "2", "3"] {
        assert!(put(&shop, (Topic::TopUpReceived, id), key).await);
    }
    let found = loop {
        let (unread, found) = read_inbox(&owner, "?unread=true").await;
        // The list is read before the count.
        if (unread, found.len()) == (3, 3) {
            break found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(read_inbox(&other, "").await, (0, vec![]));

    let path = format!("{INBOX}/{}/read", found[0]["id"].as_str().unwrap());
    other.patch(&path, json!({})).await.fails(404, "NOT_FOUND");
    let (first, again) = tokio::join!(owner.patch(&path, json!({})), owner.patch(&path, json!({})));
    let (first, again) = (first.data(200), again.data(200));
    assert!(first["readAt"].is_string());
    assert_eq!(first, again, "it is read once");
    let (unread, rest) = read_inbox(&owner, "?unread=true").await;
    assert_eq!((unread, rest.len()), (2, 2));
    assert_eq!(read_inbox(&owner, "?unread=false").await.1.len(), 1);

    let all = "/api/notifications/read-all";
    let (one, two) = tokio::join!(owner.post(all, json!({})), owner.post(all, json!({})));
    let read = |answer: Value| answer["read"].as_u64().unwrap();
    assert_eq!(read(one.data(200)) + read(two.data(200)), 2);
    assert_eq!(read_inbox(&owner, "").await.0, 0);

    let unknown = format!("{INBOX}/{}/read", Uuid::nil());
    owner
        .patch(&unknown, json!({}))
        .await
        .fails(404, "NOT_FOUND");
    for query in ["?kind=NOISE", "?loud=true", "?unread=perhaps"] {
        let answer = owner.get(&format!("{INBOX}{query}")).await;
        answer.fails(400, "VALIDATION_FAILED");
    }
    let stranger = shop.client();
    stranger.get(INBOX).await.fails(401, "UNAUTHENTICATED");
    stranger
        .get(PREFERENCES)
        .await
        .fails(401, "UNAUTHENTICATED");
}

async fn a_reader_decides_what_is_told_in_which_language(shop: Shop) {
    let reader = shop.customer("pilih@example.com").await;
    let id = user_id(&reader).await;
    let before = reader.get(PREFERENCES).await.data(200);
    assert_eq!(before["language"], "id");
    let kinds = before["kinds"].as_array().unwrap();
    let not_told = |topic: &&Topic| topic.is_mail_only() || topic.is_for_administrators();
    let left_out = Topic::ALL.iter().filter(not_told).count();
    assert_eq!((kinds.len(), left_out), (Topic::ALL.len() - left_out, 4));
    let admin = shop.admin().await.get(PREFERENCES).await.data(200);
    assert_eq!(
        admin["kinds"].as_array().unwrap().len(),
        Topic::ALL.len() - 2
    );
    assert!(
        kinds
            .iter()
            .all(|kind| kind["inbox"] == true && kind["email"] == true)
    );

    let change = json!({
        "language": "en",
        "kinds": [{ "kind": "TOP_UP_RECEIVED", "inbox": false }, { "kind": "QUOTA_FREE", "email": false }],
    });
    let (one, two) = tokio::join!(
        reader.patch(PREFERENCES, change.clone()),
        reader.patch(PREFERENCES, change)
    );
    let after = one.data(200);
    assert_eq!(after, two.data(200));
    let of = |kind: &str| {
        let kinds = after["kinds"].as_array().unwrap();
        let found = kinds.iter().find(|one| one["kind"] == kind).unwrap();
        (found["inbox"].clone(), found["email"].clone())
    };
    assert_eq!(after["language"], "en");
    assert_eq!(of("TOP_UP_RECEIVED"), (json!(false), json!(true)));
    assert_eq!(of("QUOTA_FREE"), (json!(true), json!(false)));

    put(&shop, (Topic::TopUpReceived, id), "1").await;
    put(&shop, (Topic::QuotaFree, id), "1").await;
    let free = told(&reader, "QUOTA_FREE").await;
    assert!(
        free[0]["title"]
            .as_str()
            .unwrap()
            .ends_with("is available again")
    );
    assert_eq!(read_inbox(&reader, "").await, (1, free));

    let off = json!({ "kinds": [{ "kind": "PASSWORD_CHANGED", "email": false }] });
    let refused = reader.patch(PREFERENCES, off).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(
        refused
            .detail("kinds")
            .unwrap()
            .contains("PASSWORD_CHANGED")
    );
    for wrong in [
        json!({ "language": "de" }),
        json!({ "kinds": [{ "kind": "NOISE" }] }),
        json!({ "kinds": [{ "kind": "QUOTA_FREE", "sms": true }] }),
        json!({ "loud": true }),
    ] {
        let answer = reader.patch(PREFERENCES, wrong).await;
        answer.fails(400, "VALIDATION_FAILED");
    }
    let other = shop.customer("lain@example.com").await;
    assert_eq!(other.get(PREFERENCES).await.data(200)["language"], "id");
}

async fn periods_that_are_paid_and_not_paid_are_told(shop: Shop) {
    let customer = customer_with_cash(&shop, "bayar@example.com", 110_000).await;
    let reader = user_id(&customer).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    assert_eq!(next_period(&shop, id).await["status"], "ACTIVE");
    assert_eq!(next_period(&shop, id).await["status"], "PAST_DUE");
    // A failure is one notification, however often the job comes by.
    renew_due(&shop.state().subscriptions).await.unwrap();
    shop.clock().advance(TimeDelta::days(8));
    process_grace(&shop.state().subscriptions).await.unwrap();
    process_grace(&shop.state().subscriptions).await.unwrap();

    let customer = shop.sign_in("bayar@example.com").await;
    let suspended = told(&customer, "SUBSCRIPTION_SUSPENDED").await;
    let paid = told(&customer, "RENEWAL_SUCCESS").await;
    let failed = told(&customer, "RENEWAL_FAILURE").await;
    assert_eq!((paid.len(), failed.len(), suspended.len()), (1, 1, 1));
    assert_eq!(paid[0]["facts"]["paid"], 50_000);
    assert_eq!(failed[0]["facts"]["due"], 50_000);
    assert!(failed[0]["facts"]["graceUntil"].is_string());
    assert!(suspended[0]["facts"]["dataUntil"].is_string());

    give(&shop, &reader.to_string(), 100_000).await;
    for _ in 0..200 {
        if told(&customer, "RENEWAL_SUCCESS").await.len() == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the second renewal is not told");
}

async fn the_same_is_told_once(shop: Shop) {
    let reader = shop.customer("sekali@example.com").await;
    let what = (Topic::TopUpReceived, user_id(&reader).await);
    let (one, two) = tokio::join!(put(&shop, what, "1"), put(&shop, what, "1"));
    assert!(one ^ two, "one of them is new");
    told(&reader, "TOP_UP_RECEIVED").await;
    assert!(!put(&shop, what, "1").await, "also when it was told");
    assert!(put(&shop, what, "2").await);
    // A message for administrators goes to each of them, and to no customer.
    let admins = [shop.admin().await, shop.admin().await];
    let image = (Topic::ImageOld, ADMINISTRATORS);
    put(&shop, image, "ghost").await;
    for admin in &admins {
        assert_eq!(told(admin, "IMAGE_OLD").await.len(), 1);
    }
    assert_eq!(
        read_inbox(&reader, "?kind=IMAGE_OLD").await.1,
        [] as [Value; 0]
    );
    let own = read_inbox(&reader, "?kind=TOP_UP_RECEIVED").await.1;
    assert_eq!(own.len(), 2);
}

pub(crate) async fn run(admin: &Client, job: &str) -> Value {
    let path = format!("/api/admin/jobs/{job}/run");
    loop {
        let answer = admin.post(&path, json!({})).await;
        if answer.status == 200 {
            let run = answer.data(200);
            assert_eq!(run["status"], "SUCCEEDED", "{run:#}");
            return run;
        }
        // The clock has started it too.
        answer.fails(409, "CONFLICT");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warnings_are_as_early_as_the_settings_say() {
    for (enabled, days, expected) in [("true", "10", 1), ("true", "5", 0), ("false", "10", 0)] {
        let warned = ("LOW_CREDIT_WARNING_ENABLED", enabled);
        let early = ("LOW_CREDIT_WARNING_DAYS", days);
        let shop = settings::shop(&[warned, early]).await;
        // The job runs when it is called. A setting may not ask for that where there are no warnings.
        let called = shop.restart_with(|it| it.schedules.low_credit_notifications = Schedule::Off);
        let shop = called.await.unwrap();
        let customer = customer_with_cash(&shop, "dini@example.com", 60_000).await;
        let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
        let end = moment(&bought["subscription"]["periodEnd"]);
        shop.clock()
            .advance(end - shop.clock().now() - TimeDelta::days(8));
        let run = run(&shop.admin().await, "low-credit-notifications").await;
        assert_eq!(run["items"], expected, "{enabled} {days}");
    }
}

/// Two servers read one outbox: each message is one notification.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_tell_each_message_once() {
    let Some(one) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let _two = one.second_server().await;
    let reader = one.customer("dua@example.com").await;
    let id = user_id(&reader).await;
    for number in 0..150 {
        let key = number.to_string();
        put(&one, (Topic::TopUpReceived, id), &key).await;
    }
    for _ in 0..200 {
        if read_inbox(&reader, "").await.0 >= 150 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(read_inbox(&reader, "").await.0, 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_of_the_operator_are_checked_and_used() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("quota-free.en.txt");
    fs::write(&file, "Subject: Buy {{ data.service }}\n\nNow.\n").unwrap();
    let path = folder.path().to_str().unwrap();
    let setting = [("DERMAGA_NOTIFICATION_TEMPLATES_DIR", path)];
    let shop = settings::shop(&setting).await;
    let admin = shop.admin().await;
    let preview = "/api/admin/notifications/preview?kind=QUOTA_FREE&language=en";
    let reload = "/api/admin/notifications/templates/reload";
    let shown = admin.get(preview).await.data(200);
    assert_eq!(shown["subject"], "Buy Ghost");
    assert!(shown["html"].as_str().unwrap().contains("<p>Now.</p>"));

    fs::write(&file, "Subject: x\n\n{{ data.servise }}\n").unwrap();
    let refused = admin.post(reload, json!({})).await;
    refused.fails(400, "VALIDATION_FAILED");
    let message = refused.body["message"].as_str().unwrap();
    assert!(message.contains("quota-free.en.txt:3: "), "{message}");
    assert_eq!(
        admin.get(preview).await.data(200),
        shown,
        "the earlier stay"
    );
    fs::write(&file, "Subject: Again\n\nNow.\n").unwrap();
    admin.post(reload, json!({})).await.data(200);
    assert_eq!(admin.get(preview).await.data(200)["subject"], "Again");
    // The trail has the loading alone.
    let acts = "/api/admin/audit?act=notification_templates.loaded";
    let acts = admin.get(acts).await.data(200);
    assert_eq!(acts.as_array().unwrap().len(), 1);

    for wrong in [
        "?kind=QUOTA_FREE",
        "?kind=X&language=en",
        "?kind=QUOTA_FREE&language=en&x=1",
    ] {
        let path = format!("/api/admin/notifications/preview{wrong}");
        admin.get(&path).await.fails(400, "VALIDATION_FAILED");
    }
    let customer = shop.customer("ingin@example.com").await;
    customer.get(preview).await.fails(403, "FORBIDDEN");
    customer
        .post(reload, json!({}))
        .await
        .fails(403, "FORBIDDEN");

    fs::write(&file, "Subject: x\n\n{% for %}\n").unwrap();
    let error = shop.restart_with(|_| ()).await.unwrap_err().to_string();
    assert!(error.contains("quota-free.en.txt:3: "), "{error}");
}
