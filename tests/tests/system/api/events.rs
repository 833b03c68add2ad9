//! Tests of `/events`: one's own changes, none lost and none twice, however often the stream ends.

mod servers;

use std::time::Duration;

use chrono::TimeDelta;
use dermaga_shop::{
    events,
    outbox::{self, Topic},
};
use dermaga_tests::{Client, Shop, both_engines};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ticket_administration::NOTE,
    tickets::{OF_SHOP, REASON, TICKETS, answer, opened, write},
    webhooks::user_id,
};
use crate::journeys::renewal::{becomes, buy, id_of};

const EVENTS: &str = "/api/events";
const PATIENCE: Duration = Duration::from_secs(40);

/// An event as a client reads it.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    id: String,
    name: String,
    data: Value,
}

/// An open stream.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(client: &Client, seen: Option<&str>) -> Self {
        // The server may not have noticed yet that an earlier one was closed.
        let mut response = Self::ask(client, seen).await;
        for _ in 0..50 {
            if response.status() != 429 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            response = Self::ask(client, seen).await;
        }
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Self {
            response,
            text: String::new(),
        }
    }

    async fn ask(client: &Client, seen: Option<&str>) -> Response {
        let mut request = client.request(Method::GET, EVENTS);
        if let Some(seen) = seen {
            request = request.header("Last-Event-ID", seen);
        }
        request.send().await.unwrap()
    }

    /// Returns the next event; `None` when the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let prefix = format!("{name}: ");
                    let line = event.lines().find_map(|line| line.strip_prefix(&prefix));
                    line.unwrap_or_default().to_owned()
                };
                // A comment keeps the connection open.
                if event.starts_with(':') {
                    continue;
                }
                return Some(Event {
                    id: field("id"),
                    name: field("event"),
                    data: serde_json::from_str(&field("data")).unwrap(),
                });
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("something comes").ok()??;
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }

    /// Reads until an event is as wanted; returns all that were read.
    async fn until(&mut self, is_wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut read = Vec::new();
        loop {
            let event = self.next().await;
            let event = event.unwrap_or_else(|| panic!("it ended after {read:#?}"));
            read.push(event.clone());
            if is_wanted(&event) {
                return read;
            }
        }
    }

    /// Returns true when nothing comes for a while.
    async fn is_silent(&mut self) -> bool {
        let next = tokio::time::timeout(Duration::from_millis(2500), self.next());
        next.await.is_err()
    }
}

/// Makes an event of the inbox.
async fn put(shop: &Shop, reader: Uuid, key: &str) {
    let mut conn = shop.state().db.begin().await.unwrap();
    let what = (Topic::QuotaFree, reader);
    let payload = json!({ "plan": "Small", "service": "Ghost" });
    outbox::put_once(&mut conn, shop.clock(), what, key, payload)
        .await
        .unwrap();
    conn.commit().await.unwrap();
}

/// Waits until a stream that is opened has nothing of what was written until now: PostgreSQL tells of a change when all
/// transactions that began before it have ended, those of other databases of the same server among them.
async fn settled(shop: &Shop) {
    let sql =
        "SELECT (SELECT count(*) FROM customer_events) - (SELECT count(*) FROM settled_changes)";
    let is_settled = async || {
        let mut conn = shop.state().db.begin().await.unwrap();
        let (waiting,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
        waiting == 0
    };
    let all = async {
        while !is_settled().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, all).await;
    ended.expect("transactions that began before end");
}

both_engines!(
    Shop,
    [
        a_stream_has_ones_own_changes,
        a_ticket_is_told_of_and_its_notes_are_not,
        a_freeze_is_told_of,
        a_stream_goes_on_where_it_was_left,
        a_place_that_cannot_be_found_is_told,
        a_stream_ends_with_its_token,
        streams_are_few_and_their_owners
    ]
);

async fn a_stream_has_ones_own_changes(shop: Shop) {
    let customer = shop
        .customer_with_credit("kabar@example.com", 300_000)
        .await;
    let other = shop.customer("lain@example.com").await;
    settled(&shop).await;
    let mut own = Stream::open(&customer, None).await;
    let mut others = Stream::open(&other, None).await;
    for stream in [&mut own, &mut others] {
        let ready = stream.next().await.unwrap();
        assert_eq!((ready.name.as_str(), ready.data), ("ready", json!({})));
    }
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    becomes(&shop, id_of(&bought), "ACTIVE").await;
    put(&shop, user_id(&customer).await, "1").await;
    let read = own
        .until(|event| event.data["change"] == "QUOTA_FREE")
        .await;
    let of = |kind: &str| -> Vec<(&str, &str)> {
        let found = read.iter().filter(|event| event.name == kind);
        found
            .map(|event| {
                assert_eq!(event.data["kind"], kind);
                assert!(event.data["at"].is_string());
                (
                    event.data["subjectId"].as_str().unwrap(),
                    event.data["change"].as_str().unwrap(),
                )
            })
            .collect()
    };
    let (instance, subscription) = (
        bought["instanceId"].as_str().unwrap(),
        bought["subscription"]["id"].as_str().unwrap(),
    );
    let instances = of("instance");
    assert!(instances.iter().all(|(id, _)| *id == instance), "{read:#?}");
    assert_eq!(instances.last().unwrap().1, "WRITTEN");
    let subscriptions = of("subscription");
    assert!(subscriptions.iter().all(|(id, _)| *id == subscription));
    // Paid, and then delivered; a delivery that took long moves the period, and has an event of its own.
    let mut changes: Vec<&str> = subscriptions.iter().map(|(_, change)| *change).collect();
    changes.dedup();
    assert_eq!(changes, ["PENDING", "ACTIVE"], "{read:#?}");
    let wallet = of("wallet");
    assert_eq!(wallet.len(), 1, "{read:#?}");
    let path = format!("/api/wallet/transactions/{}", wallet[0].0);
    let transaction = customer.get(&path).await.data(200);
    assert_eq!(transaction["type"], wallet[0].1);
    let notification = of("notification").pop().unwrap();
    let inbox = customer.get("/api/notifications").await.data(200);
    assert_eq!(inbox["notifications"][0]["id"], notification.0);

    put(&shop, user_id(&other).await, "1").await;
    let theirs = others.next().await.unwrap();
    assert_eq!(
        theirs.data["change"], "QUOTA_FREE",
        "the first of the other"
    );
    let path = format!("/api/subscriptions/{subscription}/auto-renew");
    let ends = json!({ "autoRenew": false });
    customer.put(&path, ends).await.data(200);
    let event = own.next().await.unwrap();
    assert_eq!(
        (event.name.as_str(), &event.data["change"]),
        ("subscription", &json!("ACTIVE"))
    );
    assert!(own.is_silent().await, "nothing of others, nothing twice");
}

/// Opened, answered, written to, closed, opened again, and closed by its customer: one event each.
async fn a_ticket_is_told_of_and_its_notes_are_not(shop: Shop) {
    let customer = shop.customer("tanya@example.com").await;
    let other = shop.customer("lain@example.com").await;
    let admin = shop.admin().await;
    let mut own = Stream::open(&customer, None).await;
    let mut others = Stream::open(&other, None).await;
    for stream in [&mut own, &mut others] {
        assert_eq!(stream.next().await.unwrap().name, "ready");
    }
    let note = async |id: &str| {
        let path = format!("{OF_SHOP}/{id}/notes");
        admin
            .post(&path, json!({ "message": NOTE }))
            .await
            .data(201);
    };
    let act = async |id: &str, act: &str, mut body: Value| {
        body["reason"] = json!(REASON);
        let path = format!("{OF_SHOP}/{id}/{act}");
        admin.put(&path, body).await.data(200);
    };
    let id = opened(&customer).await;
    note(&id).await;
    act(&id, "priority", json!({ "priority": "HIGH" })).await;
    answer(&admin, &id, "One moment.").await.data(201);
    note(&id).await;
    write(&customer, &id, "I wait.").await.data(201);
    answer(&admin, &id, "It is done.").await.data(201);
    act(&id, "close", json!({})).await;
    note(&id).await;
    act(&id, "assign", json!({ "assigneeId": null })).await;
    act(&id, "reopen", json!({})).await;
    note(&id).await;
    let close = format!("{TICKETS}/{id}/close");
    customer.put(&close, json!({})).await.data(200);

    let expected = [
        "OPEN",
        "IN_PROGRESS",
        "IN_PROGRESS",
        "IN_PROGRESS",
        "CLOSED",
        "OPEN",
        "CLOSED",
    ];
    let mut read = Vec::new();
    let (mut changes, mut told) = (Vec::new(), 0);
    while changes.len() < expected.len() || told < 2 {
        let event = own.next().await.unwrap();
        match event.name.as_str() {
            "ticket" => {
                assert_eq!(event.data["subjectId"], id.as_str());
                assert_eq!(event.data["kind"], "ticket");
                changes.push(event.data["change"].as_str().unwrap().to_owned());
            }
            "notification" => {
                assert_eq!(event.data["change"], "TICKET_ANSWERED");
                told += 1;
            }
            name => panic!("an event {name} after {read:#?}"),
        }
        read.push(event);
    }
    assert_eq!(changes, expected, "{read:#?}");
    assert!(own.is_silent().await, "no note, and nothing twice");

    // Those of another customer hear of their own alone.
    let theirs = opened(&other).await;
    let event = others.next().await.unwrap();
    assert_eq!(
        (event.name.as_str(), &event.data["subjectId"]),
        ("ticket", &json!(theirs))
    );
    assert!(own.is_silent().await, "of another customer");
}

/// A freeze that is asked for changes nothing else until the next period; neither does its recall.
async fn a_freeze_is_told_of(shop: Shop) {
    let customer = shop.customer_with_credit("beku@example.com", 300_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    becomes(&shop, id, "ACTIVE").await;
    settled(&shop).await;
    let mut stream = Stream::open(&customer, None).await;
    for act in ["freeze", "thaw"] {
        let path = format!("/api/subscriptions/{id}/{act}");
        customer.post(&path, json!({})).await.data(200);
        let of_subscription = |event: &Event| event.name == "subscription";
        let read = stream.until(of_subscription).await;
        let told = &read.last().unwrap().data;
        assert_eq!(
            (&told["subjectId"], &told["change"]),
            (&json!(id), &json!("ACTIVE")),
            "{act}"
        );
    }
    assert!(stream.is_silent().await, "each once");
}

async fn a_stream_goes_on_where_it_was_left(shop: Shop) {
    let customer = shop.customer("lanjut@example.com").await;
    let reader = user_id(&customer).await;
    let mut seen: Vec<Event> = Vec::new();
    let mut stream = Stream::open(&customer, None).await;
    let mut last = stream.next().await.unwrap().id;
    for round in 0..6 {
        // Some while the stream is open, and some while it is not.
        let open = async {
            for number in 0..5 {
                put(&shop, reader, &format!("{round}-open-{number}")).await;
            }
        };
        let read = async {
            for _ in 0..3 {
                seen.push(stream.next().await.unwrap());
            }
        };
        tokio::join!(open, read);
        last.clone_from(&seen.last().unwrap().id);
        drop(stream);
        for number in 0..4 {
            put(&shop, reader, &format!("{round}-shut-{number}")).await;
        }
        stream = Stream::open(&customer, Some(&last)).await;
    }
    while seen.len() < 54 {
        seen.push(stream.next().await.unwrap());
    }
    assert!(stream.is_silent().await);
    let mut ids: Vec<&str> = seen
        .iter()
        .map(|event| event.data["subjectId"].as_str().unwrap())
        .collect();
    assert!(seen.iter().all(|event| event.name == "notification"));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 54, "each once");

    // A place before the first event is one, too.
    let mut again = Stream::open(&customer, Some(&last)).await;
    let at = seen.iter().position(|event| event.id == last).unwrap();
    for expected in &seen[at + 1..] {
        let event = again.next().await.unwrap();
        assert_eq!(
            (event.name, event.data),
            (expected.name.clone(), expected.data.clone())
        );
    }
    shop.clock().advance(TimeDelta::days(6));
    let (db, clock) = (&shop.state().db, shop.clock());
    assert_eq!(events::purge(db, clock).await.unwrap(), 0);
    clock.advance(TimeDelta::days(2));
    assert!(events::purge(db, clock).await.unwrap() >= 54);
}

async fn a_place_that_cannot_be_found_is_told(shop: Shop) {
    let customer = shop.customer("jauh@example.com").await;
    let mut stream = Stream::open(&customer, None).await;
    let ready = stream.next().await.unwrap();
    let mut found = Stream::open(&customer, Some(&ready.id)).await;
    let parts: Vec<&str> = ready.id.split('-').collect();
    let later = format!("{}-{}-{}", i64::MAX, parts[1], parts[2]);
    for seen in ["x", "1-2", later.as_str(), "titik-tiga…"] {
        let mut stream = Stream::open(&customer, Some(seen)).await;
        let reset = stream.next().await.unwrap();
        assert_eq!(reset.name, "reset", "{seen}");
        put(&shop, user_id(&customer).await, seen).await;
        let event = stream.next().await.unwrap();
        assert_eq!(event.data["change"], "QUOTA_FREE");
        let event = found.next().await.unwrap();
        assert_eq!(
            event.data["change"], "QUOTA_FREE",
            "a good place needs no greeting"
        );
    }
    shop.clock().advance(TimeDelta::days(7));
    let customer = shop.sign_in("jauh@example.com").await;
    let mut stream = Stream::open(&customer, Some(&ready.id)).await;
    assert_eq!(stream.next().await.unwrap().name, "reset", "it is too old");
}

async fn a_stream_ends_with_its_token(shop: Shop) {
    let customer = shop.customer("habis@example.com").await;
    let token = json!({ "name": "pipa", "scope": "READ" });
    let token = customer.post("/api/user/api-tokens", token).await.data(201);
    let program = shop.client().with_token(token["token"].as_str().unwrap());
    let reader = user_id(&customer).await;
    let mut by_session = Stream::open(&customer, None).await;
    let mut by_token = Stream::open(&program, None).await;
    let path = format!("/api/user/api-tokens/{}", token["id"].as_str().unwrap());
    customer.delete(&path).await.data(200);
    let end = |event: &Event| event.name == "end";
    by_token.until(end).await;
    assert_eq!(by_token.next().await, None);
    customer.post("/api/auth/logout-all", json!({})).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    put(&shop, reader, "late").await;
    let read = by_session.until(end).await;
    let late = read
        .iter()
        .any(|event| event.data["change"] == "QUOTA_FREE");
    assert!(!late, "nothing is sent after it: {read:#?}");

    // One that expires ends as well.
    let customer = shop.sign_in("habis@example.com").await;
    let mut stream = Stream::open(&customer, None).await;
    stream.next().await.unwrap();
    shop.clock().advance(TimeDelta::hours(25));
    stream.until(end).await;
}

async fn streams_are_few_and_their_owners(shop: Shop) {
    let stranger = shop.client();
    stranger.get(EVENTS).await.fails(401, "UNAUTHENTICATED");
    let customer = shop.customer("banyak@example.com").await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(Stream::open(&customer, None).await);
    }
    let refused = customer.get(EVENTS).await;
    refused.fails(429, "TOO_MANY_REQUESTS");
    drop(streams.pop());
    for _ in 0..100 {
        let answer = customer.request(Method::GET, EVENTS).send().await.unwrap();
        if answer.status() == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("the place of a stream that was closed is not free");
}
