//! Tests of what is sent to webhooks: each event once to those who want it, signed, until it is taken.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::TimeDelta;
use dermaga::config::Config;
use dermaga_shop::{
    outbox::{self, ADMINISTRATORS, Topic},
    webhooks::{self, Lookup},
};
use dermaga_tests::{Client, Engine, Shop, both_engines};
use serde_json::{Value, json};
use uuid::Uuid;

use super::notifications::told;
use crate::receiver::{Received, Receiver};

pub(super) const OWN: &str = "/api/webhooks";
pub(super) const OF_SHOP: &str = "/api/admin/webhooks";
pub(super) const REASON: &str = "The bookkeeping wants it.";

/// Names of a test's own, and the addresses that they resolve to.
type Names = Arc<Mutex<Vec<IpAddr>>>;

/// A shop that sends events, and the server that takes them.
pub(super) struct Hooked {
    pub(super) shop: Shop,
    pub(super) receiver: Receiver,
    pub(super) admin: Client,
    /// Addresses of every name.
    names: Names,
}

impl Hooked {
    pub(super) async fn open(engine: Engine) -> Option<Self> {
        let receiver = Receiver::start().await;
        let names = Names::default();
        let known = Arc::clone(&names);
        let change = |config: &mut Config| {
            config.webhooks.allow_http = true;
            config.webhooks.permit_loopback = true;
            config.webhooks.lookup = Lookup::new(move |_| {
                let found = known.lock().unwrap().clone();
                Box::pin(async move { Ok(found) })
            });
        };
        let shop = Shop::open_with(engine, change).await?;
        let admin = shop.admin().await;
        Some(Self {
            shop,
            receiver,
            admin,
            names,
        })
    }

    /// Makes a webhook of a customer; returns its path in the API and its secret.
    pub(super) async fn hook(&self, owner: &Client, path: &str, events: Value) -> (String, String) {
        let new = json!({ "url": self.receiver.url(path), "events": events });
        let made = owner.post(OWN, new).await.data(201);
        let id = made["id"].as_str().unwrap();
        (
            format!("{OWN}/{id}"),
            made["secret"].as_str().unwrap().to_owned(),
        )
    }

    pub(super) fn resolves_to(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        *self.names.lock().unwrap() = addresses.collect();
    }
}

pub(super) async fn user_id(client: &Client) -> Uuid {
    let profile = client.get("/api/user/profile").await.data(200);
    profile["id"].as_str().unwrap().parse().unwrap()
}

pub(super) async fn put(shop: &Shop, (topic, subject): (Topic, Uuid), key: &str) {
    let mut conn = shop.state().db.begin().await.unwrap();
    let payload = json!({ "amount": 10_000, "number": key, "at": shop.clock().now() });
    let what = (topic, subject);
    outbox::put_once(&mut conn, shop.clock(), what, key, payload)
        .await
        .unwrap();
    conn.commit().await.unwrap();
}

/// Returns the deliveries in a state, once there are so many.
pub(super) async fn deliveries(
    owner: &Client,
    hook: &str,
    state: &str,
    count: usize,
) -> Vec<Value> {
    let path = format!("{hook}/deliveries?state={state}&limit=100");
    for _ in 0..400 {
        let found = owner.get(&path).await.data(200);
        let found = found.as_array().unwrap();
        if found.len() == count {
            return found.clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let all = owner.get(&format!("{hook}/deliveries")).await.data(200);
    panic!("there are no {count} {state}: {all:#}");
}

pub(super) async fn detail(owner: &Client, hook: &str, delivery: &Value) -> Value {
    let path = format!("{hook}/deliveries/{}", delivery["id"].as_str().unwrap());
    owner.get(&path).await.data(200)
}

/// Waits for longer than a worker rests.
pub(super) async fn a_while() {
    tokio::time::sleep(Duration::from_millis(2500)).await;
}

both_engines!(
    Hooked,
    [
        an_event_is_signed_and_sent_to_those_who_want_it,
        what_fails_is_sent_again_until_it_is_taken,
        what_is_not_taken_for_days_is_dead_until_it_is_sent_again,
        an_endpoint_that_is_gone_is_disabled,
        an_endpoint_that_fails_for_days_is_disabled,
        what_a_dead_server_had_claimed_is_sent_by_another
    ]
);

async fn an_event_is_signed_and_sent_to_those_who_want_it(hooked: Hooked) {
    let Hooked {
        shop,
        receiver,
        admin,
        ..
    } = &hooked;
    let (one, two) = (
        shop.customer("satu@example.com").await,
        shop.customer("dua@example.com").await,
    );
    let (_, secret) = hooked.hook(&one, "/one", json!(["TOP_UP_RECEIVED"])).await;
    let (of_two, _) = hooked.hook(&two, "/two", json!([])).await;
    let new = json!({ "url": receiver.url("/shop"), "reason": REASON });
    let of_shop = admin.post(OF_SHOP, new).await.data(201);
    let reader = user_id(&one).await;
    put(shop, (Topic::TopUpReceived, reader), "TX-1").await;
    put(shop, (Topic::QuotaFree, reader), "TX-1").await;
    put(shop, (Topic::ImageOld, ADMINISTRATORS), "ghost").await;

    let to_shop = receiver.wait_for("/shop", 3).await;
    let to_one = receiver.wait_for("/one", 1).await.remove(0);
    assert!(to_one.is_signed_with(&secret));
    assert!(!to_one.is_signed_with(of_shop["secret"].as_str().unwrap()));
    assert_eq!(to_one.header("content-type"), "application/json");
    assert!(to_one.header("webhook-id").starts_with("msg_"));
    let at: i64 = to_one.header("webhook-timestamp").parse().unwrap();
    assert!((shop.clock().now().timestamp() - at).abs() < 60);
    let sent = to_one.json();
    let mut fields: Vec<&String> = sent.as_object().unwrap().keys().collect();
    fields.sort_unstable();
    assert_eq!(fields, ["data", "timestamp", "type"]);
    assert_eq!(sent["type"], "TOP_UP_RECEIVED");
    assert_eq!(sent["data"]["number"], "TX-1");
    assert_eq!(sent["data"]["userId"], json!(reader));

    for event in &to_shop {
        assert!(event.is_signed_with(of_shop["secret"].as_str().unwrap()));
    }
    let mut kinds: Vec<String> = to_shop
        .iter()
        .map(|event| event.json()["type"].as_str().unwrap().to_owned())
        .collect();
    kinds.sort_unstable();
    // An address that waits for its confirmation is no event.
    assert_eq!(kinds, ["IMAGE_OLD", "QUOTA_FREE", "TOP_UP_RECEIVED"]);
    let of_same = to_shop.iter().find(|event| event.body == to_one.body);
    let of_same = of_same.unwrap();
    assert_eq!(of_same.header("webhook-id"), to_one.header("webhook-id"));

    // A test comes whatever was chosen, and others' events do not.
    let test = two
        .post(&format!("{of_two}/test"), json!({}))
        .await
        .data(202);
    assert_eq!(test["type"], "WEBHOOK_TEST");
    let to_two = receiver.wait_for("/two", 1).await;
    assert_eq!(to_two[0].json()["type"], "WEBHOOK_TEST");
    let customer = json!(user_id(&two).await);
    assert_eq!(to_two[0].json()["data"]["userId"], customer);
    a_while().await;
    let counts = ["/one", "/two", "/shop"].map(|path| receiver.at(path).len());
    assert_eq!(counts, [1, 1, 3], "each once");
    let delivered = deliveries(&two, &of_two, "DELIVERED", 1).await.remove(0);
    let seen = detail(&two, &of_two, &delivered).await;
    assert_eq!(seen["payload"], to_two[0].json());
    assert_eq!(seen["log"][0]["status"], 204);
    assert!(seen["deliveredAt"].is_string());

    shop.clock().advance(TimeDelta::days(29));
    let (db, clock) = (&shop.state().db, shop.clock());
    assert_eq!(webhooks::purge(db, clock).await.unwrap(), 0);
    clock.advance(TimeDelta::days(2));
    assert_eq!(webhooks::purge(db, clock).await.unwrap(), 5);
}

async fn what_fails_is_sent_again_until_it_is_taken(hooked: Hooked) {
    let Hooked { shop, receiver, .. } = &hooked;
    let owner = shop.customer("ulang@example.com").await;
    let (hook, secret) = hooked.hook(&owner, "/again", json!([])).await;
    receiver.say(&format!("not now \u{0}{}", "x".repeat(5000)));
    receiver.answer([500, 302, 200]);
    put(shop, (Topic::QuotaFree, user_id(&owner).await), "1").await;
    receiver.wait_for("/again", 1).await;
    let failed = deliveries(&owner, &hook, "FAILED", 1).await.remove(0);
    assert_eq!(failed["attempts"], 1);
    let seen = owner.get(&hook).await.data(200);
    for written in [
        &failed["nextTryAt"],
        &failed["createdAt"],
        &seen["failingSince"],
    ] {
        let written = written.as_str().unwrap();
        let form = "2027-01-31T05:00:00.000Z";
        assert_eq!(written.len(), form.len(), "{written}");
    }
    shop.clock().advance(TimeDelta::seconds(5));
    receiver.wait_for("/again", 2).await;
    deliveries(&owner, &hook, "FAILED", 1).await;
    a_while().await;
    assert!(
        receiver.at("/elsewhere").is_empty(),
        "no redirect is followed"
    );
    assert_eq!(receiver.at("/again").len(), 2, "the next pause is longer");
    shop.clock().advance(TimeDelta::minutes(5));
    let received = receiver.wait_for("/again", 3).await;
    let delivered = deliveries(&owner, &hook, "DELIVERED", 1).await.remove(0);
    let of = |one: &Received| (one.header("webhook-id").to_owned(), one.body.clone());
    for one in &received {
        assert_eq!(of(one), of(&received[0]));
        assert!(
            one.is_signed_with(&secret),
            "each attempt with its own time"
        );
    }
    let times: Vec<&str> = received
        .iter()
        .map(|one| one.header("webhook-timestamp"))
        .collect();
    assert!(times[0] < times[1] && times[1] < times[2], "{times:?}");
    let log = detail(&owner, &hook, &delivered).await["log"].clone();
    let statuses: Vec<&Value> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| &attempt["status"])
        .collect();
    assert_eq!(statuses, [200, 302, 500], "newest first");
    let kept = log[2]["answer"].as_str().unwrap();
    assert!(
        kept.starts_with("not now  xxx") && kept.len() == 1024,
        "{kept}"
    );
    let seen = owner.get(&hook).await.data(200);
    assert_eq!(seen["failingSince"], Value::Null, "a success ends it");
}

async fn what_is_not_taken_for_days_is_dead_until_it_is_sent_again(hooked: Hooked) {
    let Hooked { shop, receiver, .. } = &hooked;
    let owner = shop.customer("mati@example.com").await;
    let (hook, _) = hooked.hook(&owner, "/dead", json!([])).await;
    receiver.answer_always(503);
    put(shop, (Topic::QuotaFree, user_id(&owner).await), "1").await;
    let minutes = [1, 5, 30, 120, 300, 600, 840, 1200, 1440];
    for (attempt, pause) in (1..).zip(minutes) {
        receiver.wait_for("/dead", attempt).await;
        let owner = shop.sign_in("mati@example.com").await;
        loop {
            let failed = deliveries(&owner, &hook, "FAILED", 1).await.remove(0);
            if failed["attempts"] == attempt {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        shop.clock().advance(TimeDelta::minutes(pause));
    }
    receiver.wait_for("/dead", 10).await;
    let owner = shop.sign_in("mati@example.com").await;
    let dead = deliveries(&owner, &hook, "DEAD", 1).await.remove(0);
    assert_eq!(dead["attempts"], 10);
    receiver.answer_always(200);
    receiver.pause(Duration::from_secs(1));
    let path = format!("{hook}/deliveries/{}/resend", dead["id"].as_str().unwrap());
    let (one, two) = tokio::join!(owner.post(&path, json!({})), owner.post(&path, json!({})));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409], "{} {}", one.text, two.text);
    deliveries(&owner, &hook, "DELIVERED", 1).await;
    let all = receiver.at("/dead");
    assert_eq!(all.len(), 11);
    assert_eq!(all[10].header("webhook-id"), all[0].header("webhook-id"));
    assert_eq!(all[10].body, all[0].body);
}

async fn an_endpoint_that_is_gone_is_disabled(hooked: Hooked) {
    let Hooked {
        shop,
        receiver,
        admin,
        ..
    } = &hooked;
    let owner = shop.customer("pergi@example.com").await;
    let id = user_id(&owner).await;
    let (hook, _) = hooked.hook(&owner, "/gone", json!(["QUOTA_FREE"])).await;
    receiver.answer([410]);
    put(shop, (Topic::QuotaFree, id), "1").await;
    deliveries(&owner, &hook, "DEAD", 1).await;
    let seen = owner.get(&hook).await.data(200);
    assert_eq!(seen["disabledBecause"], "GONE");
    let disabled = told(&owner, "WEBHOOK_DISABLED").await;
    assert_eq!(disabled.len(), 1, "{disabled:#?}");
    assert_eq!(disabled[0]["facts"]["because"], "GONE");
    assert!(disabled[0]["text"].as_str().unwrap().contains("(410)"));
    put(shop, (Topic::QuotaFree, id), "2").await;
    a_while().await;
    assert_eq!(receiver.at("/gone").len(), 1, "nothing more is sent");
    owner
        .patch(&hook, json!({ "enabled": true }))
        .await
        .data(200);
    put(shop, (Topic::QuotaFree, id), "3").await;
    receiver.wait_for("/gone", 2).await;
    deliveries(&owner, &hook, "DELIVERED", 1).await;

    // The shop's own: its administrators are told.
    let new = json!({ "url": receiver.url("/shop"), "events": ["IMAGE_OLD"], "reason": REASON });
    admin.post(OF_SHOP, new).await.data(201);
    receiver.answer([410]);
    put(shop, (Topic::ImageOld, ADMINISTRATORS), "ghost").await;
    receiver.wait_for("/shop", 1).await;
    assert_eq!(told(admin, "WEBHOOK_DISABLED").await.len(), 1);
    assert_eq!(told(&owner, "WEBHOOK_DISABLED").await.len(), 1);
}

async fn an_endpoint_that_fails_for_days_is_disabled(hooked: Hooked) {
    let Hooked { shop, receiver, .. } = &hooked;
    let owner = shop.customer("gagal@example.com").await;
    let id = user_id(&owner).await;
    let (hook, _) = hooked.hook(&owner, "/fails", json!(["QUOTA_FREE"])).await;
    // Waits for so many attempts, and returns what is known of the endpoint then.
    let after = async |attempts: i64| {
        let owner = shop.sign_in("gagal@example.com").await;
        for _ in 0..400 {
            let found = owner.get(&format!("{hook}/deliveries")).await.data(200);
            let found = found.as_array().unwrap().iter();
            let made: i64 = found.map(|one| one["attempts"].as_i64().unwrap()).sum();
            if made >= attempts {
                return owner.get(&hook).await.data(200);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("there are no {attempts} attempts");
    };
    receiver.answer_always(500);
    put(shop, (Topic::QuotaFree, id), "1").await;
    assert!(after(1).await["failingSince"].is_string());
    shop.clock().advance(TimeDelta::days(4));
    assert!(
        after(2).await["disabledAt"].is_null(),
        "four days are not five"
    );
    receiver.answer_always(200);
    shop.clock().advance(TimeDelta::minutes(5));
    assert!(
        after(3).await["failingSince"].is_null(),
        "a success ends it"
    );
    receiver.answer_always(500);
    put(shop, (Topic::QuotaFree, id), "2").await;
    after(4).await;
    shop.clock().advance(TimeDelta::days(4));
    assert!(
        after(5).await["disabledAt"].is_null(),
        "a success was between"
    );
    shop.clock().advance(TimeDelta::days(2));
    assert_eq!(after(6).await["disabledBecause"], "FAILING");
    let owner = shop.sign_in("gagal@example.com").await;
    let disabled = told(&owner, "WEBHOOK_DISABLED").await;
    assert_eq!(disabled.len(), 1, "{disabled:#?}");
    assert_eq!(disabled[0]["facts"]["because"], "FAILING");
}

async fn what_a_dead_server_had_claimed_is_sent_by_another(hooked: Hooked) {
    let Hooked { shop, receiver, .. } = &hooked;
    let owner = shop.customer("sita@example.com").await;
    let (hook, _) = hooked.hook(&owner, "/claimed", json!([])).await;
    receiver.answer([500]);
    owner
        .post(&format!("{hook}/test"), json!({}))
        .await
        .data(202);
    deliveries(&owner, &hook, "FAILED", 1).await;
    let until = shop.clock().now() + TimeDelta::minutes(6);
    let mut conn = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE webhook_deliveries SET lease_holder = id, lease_until = $1, next_try_at = $1";
    dermaga_shop::execute!(conn, sql, until).unwrap();
    conn.commit().await.unwrap();
    shop.clock().advance(TimeDelta::minutes(5));
    a_while().await;
    assert_eq!(receiver.at("/claimed").len(), 1, "another server has it");
    let id = deliveries(&owner, &hook, "FAILED", 1).await.remove(0);
    let path = format!("{hook}/deliveries/{}/resend", id["id"].as_str().unwrap());
    let refused = owner.post(&path, json!({})).await;
    refused.fails(409, "INVALID_STATE");
    shop.clock().advance(TimeDelta::minutes(2));
    receiver.wait_for("/claimed", 2).await;
    deliveries(&owner, &hook, "DELIVERED", 1).await;
}

/// Two servers deliver from one database: each event is sent once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_deliver_each_event_once() {
    let Some(hooked) = Hooked::open(Engine::Postgres).await else {
        return;
    };
    let Hooked { shop, receiver, .. } = &hooked;
    let _two = shop.second_server().await;
    let owner = shop.customer("berdua@example.com").await;
    let id = user_id(&owner).await;
    let (hook, _) = hooked.hook(&owner, "/both", json!([])).await;
    receiver.pause(Duration::from_millis(10));
    for number in 0..60 {
        put(shop, (Topic::QuotaFree, id), &number.to_string()).await;
    }
    receiver.wait_for("/both", 60).await;
    deliveries(&owner, &hook, "DELIVERED", 60).await;
    a_while().await;
    let received = receiver.at("/both");
    let mut ids: Vec<&str> = received
        .iter()
        .map(|one| one.header("webhook-id"))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), received.len()), (60, 60));
}
