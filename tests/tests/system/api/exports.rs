//! Tests of the archive of an account.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Cursor, Read as _},
};

use chrono::TimeDelta;
use dermaga_shop::{
    fetch_all,
    users::held::{self, Held},
};
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};
use zip::ZipArchive;

use super::{payments::Till, prices::Dearer, tickets};
use crate::pictures;

const PASSWORD: &str = "kata sandi yang panjang";
const WHY: &str = "As asked for by the owner.";
/// Files of every archive, without `.json`.
const NAMES: [&str; 30] = [
    "acts",
    "acts-by-you",
    "api-tokens",
    "coupons",
    "debts",
    "decisions",
    "domains",
    "ended-api-tokens",
    "ended-sessions",
    "instance-events",
    "instances",
    "mails",
    "notification-preferences",
    "notifications",
    "payments",
    "plan-changes",
    "price-moves",
    "profile",
    "quotes",
    "refunds",
    "security-events",
    "sessions",
    "subscriptions",
    "tickets",
    "transactions",
    "two-factor",
    "waitlist",
    "wallet",
    "webhook-deliveries",
    "webhooks",
];

both_engines!(
    Shop,
    [
        an_archive_holds_everything_of_its_owner_and_of_no_other,
        an_archive_holds_what_is_over_and_what_was_done,
        an_archive_holds_changes_of_plans_and_prices,
        every_table_about_a_person_has_its_place_in_the_archive
    ]
);

both_engines!(Till, [an_archive_holds_refunds_through_the_gateway]);

/// Takes the archive of an account.
async fn archive(client: &Client) -> BTreeMap<String, Value> {
    let proof = json!({ "password": PASSWORD });
    let taken = client.post("/api/user/export", proof).await;
    assert_eq!(taken.status, 200, "{}", taken.text);
    read(&unpacked(&taken.bytes))
}

/// Returns the files of an archive by their names.
fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut files = BTreeMap::new();
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        let name = file.name().unwrap().into_owned();
        files.insert(name, content);
    }
    files
}

/// Returns the JSON of an archive by the names of its files.
fn read(files: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Value> {
    let mut read = BTreeMap::new();
    for (name, content) in files {
        if let Some(name) = name.strip_suffix(".json") {
            let value: Value = serde_json::from_slice(content).unwrap();
            read.insert(name.to_owned(), value);
        }
    }
    read
}

/// An archive is made for the password alone. Each of its files is JSON that can be read, the pictures are
/// those that were kept, and no hash, no token and nothing of another customer is in it.
async fn an_archive_holds_everything_of_its_owner_and_of_no_other(shop: Shop) {
    let customer = shop.customer_with_credit("arsip@example.com", 60_000).await;
    let stranger = shop.customer("orang-lain@example.com").await;
    tickets::ask(&stranger, &[]).await.data(201);
    let picture = pictures::png();
    let asked = tickets::ask(&customer, &[("rumah.png", &picture)]).await;
    let asked = asked.data(201);
    let order = json!({ "planId": shop.plan("n8n", "basic").await });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let key = json!({ "name": "laporan", "scope": "READ" });
    let key = customer.post("/api/user/api-tokens", key).await.data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    let domain = json!({ "domain": "arsip.example.com" });
    let path = format!("/api/instances/{instance}/domains");
    customer.post(&path, domain).await.data(201);

    let path = "/api/user/export";
    let wrong = json!({ "password": "another password" });
    let refused = customer.post(path, wrong).await;
    refused.fails(400, "VALIDATION_FAILED");
    let proof = json!({ "password": PASSWORD });
    let archive = customer.post(path, proof.clone()).await;
    assert_eq!(archive.status, 200, "{}", archive.text);
    assert_eq!(archive.headers["content-type"], "application/zip");
    let files = unpacked(&archive.bytes);
    let read = read(&files);
    assert_eq!(read["profile"]["email"], "arsip@example.com");
    assert_eq!(read["transactions"].as_array().unwrap().len(), 2);
    assert_eq!(read["subscriptions"][0]["id"], bought["subscription"]["id"]);
    assert_eq!(read["instances"][0]["id"], bought["instanceId"]);
    assert_eq!(read["domains"][0]["domain"], "arsip.example.com");
    assert_eq!(read["api-tokens"][0]["name"], "laporan");
    assert_eq!(read["tickets"][0]["id"], asked["id"]);
    assert_eq!(read["tickets"].as_array().unwrap().len(), 1);
    let kept = asked["messages"][0]["attachments"][0]["id"].as_str();
    let picture = format!("attachments/{}.png", kept.unwrap());
    let mut names: BTreeSet<String> = NAMES.iter().map(|name| format!("{name}.json")).collect();
    names.extend(["README.txt".to_owned(), picture.clone()]);
    let written: BTreeSet<String> = files.keys().cloned().collect();
    assert_eq!(written, names);
    assert!(files[&picture].starts_with(b"\x89PNG"));
    let readme = String::from_utf8_lossy(&files["README.txt"]);
    let words: Vec<&str> = readme.split_whitespace().collect();
    let left = "Acts of administrators on your tickets, payments and mails are not in it";
    assert!(words.join(" ").contains(left), "{readme}");
    let all: Vec<u8> = files.values().flatten().copied().collect();
    let all = String::from_utf8_lossy(&all);
    for secret in ["$argon2", key["token"].as_str().unwrap(), "orang-lain"] {
        assert!(!all.contains(secret), "{secret}");
    }
    // The fifth of the hour is the last.
    for _ in 0..4 {
        let again = customer.post(path, proof.clone()).await;
        assert_eq!(again.status, 200, "{}", again.text);
    }
    let refused = customer.post(path, proof).await;
    refused.fails(429, "TOO_MANY_REQUESTS");
}

/// Holds ended and past things, too: a revoked key, a session that was left, a quote, decisions with their
/// reasons, events of an instance, deliveries, and acts, without the names of administrators and notes on tickets.
async fn an_archive_holds_what_is_over_and_what_was_done(shop: Shop) {
    let customer = shop
        .customer_with_credit("sejarah@example.com", 60_000)
        .await;
    let admin = shop.admin().await;
    let key = json!({ "name": "lama", "scope": "READ" });
    let key = customer.post("/api/user/api-tokens", key).await.data(201);
    let path = format!("/api/user/api-tokens/{}", key["id"].as_str().unwrap());
    customer.delete(&path).await.data(200);
    let login = json!({ "email": "sejarah@example.com", "password": PASSWORD });
    let session = shop.client().post("/api/auth/login", login).await.data(200);
    let left = shop
        .client()
        .with_token(session["accessToken"].as_str().unwrap());
    left.post("/api/auth/logout", json!({})).await.data(200);
    let plan = shop.plan("n8n", "basic").await;
    let order = json!({ "planId": plan });
    let quote = customer
        .post("/api/subscriptions/quote", order.clone())
        .await;
    let quote = quote.data(200);
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let path = format!("/api/instances/{instance}/credentials");
    customer.get(&path).await.data(200);
    let asked = tickets::ask(&customer, &[]).await.data(201);
    let path = format!("/api/admin/tickets/{}/notes", asked["id"].as_str().unwrap());
    let note = json!({ "message": "A difficult one." });
    admin.post(&path, note).await.data(201);
    let profile = customer.get("/api/user/profile").await.data(200);
    let path = format!(
        "/api/admin/wallets/{}/add-credit",
        profile["id"].as_str().unwrap()
    );
    let gift = json!({ "amount": 5_000, "kind": "BONUS", "reason": WHY });
    admin.post(&path, gift).await.data(201);
    shop.clock().advance(TimeDelta::seconds(1));

    let read = archive(&customer).await;
    assert_eq!(read["ended-api-tokens"][0]["name"], "lama");
    assert_eq!(read["api-tokens"], json!([]));
    assert_eq!(read["ended-sessions"].as_array().unwrap().len(), 1);
    assert_eq!(read["quotes"][0]["id"], quote["id"]);
    let decided = read["decisions"].as_array().unwrap();
    assert!(decided.iter().any(|one| one["function"] == "price"));
    assert!(decided[0]["reasons"][0]["reason"].is_string());
    assert!(decided[0].get("input").is_none());
    assert_eq!(read["instance-events"][0]["instanceId"], instance);
    let by: Vec<&Value> = read["acts-by-you"]
        .as_array()
        .unwrap()
        .iter()
        .map(|act| &act["act"])
        .collect();
    assert!(by.contains(&&json!("instance.credentials_shown")), "{by:?}");
    let upon = read["acts"].as_array().unwrap();
    let credited = upon.iter().find(|act| act["act"] == "wallet.credit_added");
    assert_eq!(credited.unwrap()["reason"], WHY);
    // The README names these kinds, and says that acts on others are not there.
    let named = ["user", "wallet", "subscription", "instance", "domain"];
    for act in upon {
        let subject = act["subject"].as_str().unwrap();
        let kind = subject.split(':').next().unwrap();
        assert!(named.contains(&kind), "{subject}");
    }
    let all = json!(read).to_string();
    for unseen in [
        "A difficult one.",
        "actorEmail",
        "tokenHash",
        "ticket.noted",
    ] {
        assert!(!all.contains(unseen), "{unseen}");
    }
}

/// A move to another price is there while it waits, and an upgrade as soon as it was asked for, without the reason of an
/// administrator.
async fn an_archive_holds_changes_of_plans_and_prices(shop: Shop) {
    let dearer = Dearer::open(&shop).await;
    let later = shop.clock().now() + TimeDelta::days(40);
    let moved = dearer.move_at(&[&dearer.subscription], later).await;
    moved.data(201);
    let read = archive(&dearer.customer).await;
    let moved = &read["price-moves"][0];
    assert_eq!(moved["subscriptionId"], dearer.subscription.as_str());
    assert_eq!(
        (&moved["monthlyPrice"], &moved["appliedPeriod"]),
        (&json!(65_000), &Value::Null)
    );
    assert_eq!((moved.get("reason"), moved.get("movedBy")), (None, None));
    assert_eq!(read["plan-changes"], json!([]));

    let instances = dearer.customer.get("/api/instances").await.data(200);
    let instance = instances[0]["id"].as_str().unwrap();
    shop.instance_becomes(&dearer.customer, instance, "RUNNING")
        .await;
    let pro = shop.plan("n8n", "pro").await;
    let path = format!("/api/subscriptions/{}/upgrade", dearer.subscription);
    let upgraded = dearer.customer.put(&path, json!({ "planId": pro })).await;
    assert_eq!(upgraded.status / 100, 2, "{}", upgraded.text);
    let read = archive(&dearer.customer).await;
    let changed = &read["plan-changes"][0];
    assert_eq!(
        (&changed["subscriptionId"], &changed["toPlanId"]),
        (&json!(dearer.subscription), &json!(pro))
    );
}

/// A refund is there with its amount and its state, and no other customer's is.
async fn an_archive_holds_refunds_through_the_gateway(till: Till) {
    let customer = till.shop.customer("kembali@example.com").await;
    let other = till.shop.customer("lain@example.com").await;
    let top_up = till.paid(&customer, 60_000).await;
    let path = till.refunds_of(&top_up).await;
    let refund = json!({ "amount": 20_000, "reason": WHY });
    till.admin.post(&path, refund).await.data(200);
    let read = archive(&customer).await;
    let refunds = read["refunds"].as_array().unwrap();
    assert_eq!(refunds.len(), 1, "{refunds:?}");
    assert_eq!(
        (&refunds[0]["amount"], &refunds[0]["state"]),
        (&json!(20_000), &json!("DONE"))
    );
    assert_eq!(refunds[0]["paymentId"], read["payments"][0]["id"]);
    assert_eq!(refunds[0].get("reason"), None);
    assert_eq!(archive(&other).await["refunds"], json!([]));
}

/// Each table with a column that names an account is in the archive or on the list of what is left out, and each
/// of the list exists and names a file that is written.
async fn every_table_about_a_person_has_its_place_in_the_archive(shop: Shop) {
    const SQLITE: &str = "SELECT DISTINCT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c \
        WHERE m.type = 'table' AND (c.name IN ('user_id', 'owner_id', 'actor_id', 'acting_id', 'author_id', \
          'assignee_id', 'subject_id', 'wallet_id', 'party', 'email', 'address', 'email_hash') \
        OR EXISTS (SELECT 1 FROM pragma_foreign_key_list(m.name) f WHERE f.\"table\" IN ('users', 'wallets')))";
    const POSTGRES: &str = "SELECT DISTINCT CAST(t.relname AS TEXT) FROM pg_class t \
        JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = current_schema() \
        JOIN pg_attribute c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped \
        WHERE t.relkind = 'r' \
        AND (c.attname IN ('user_id', 'owner_id', 'actor_id', 'acting_id', 'author_id', \
          'assignee_id', 'subject_id', 'wallet_id', 'party', 'email', 'address', 'email_hash') \
        OR EXISTS (SELECT 1 FROM pg_constraint f WHERE f.conrelid = t.oid AND f.contype = 'f' \
          AND f.confrelid IN ('users'::regclass, 'wallets'::regclass)))";
    const EVERY_SQLITE: &str = "SELECT name FROM sqlite_master WHERE type = 'table'";
    const EVERY_POSTGRES: &str = "SELECT CAST(t.relname AS TEXT) FROM pg_class t \
        JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = current_schema() \
        WHERE t.relkind = 'r'";
    let url = shop.state().config.database_url();
    let (about, every) = if url.starts_with("sqlite") {
        (SQLITE, EVERY_SQLITE)
    } else {
        (POSTGRES, EVERY_POSTGRES)
    };
    let mut conn = shop.state().db.read().await.unwrap();
    let about = fetch_all!(conn, (String,), about).unwrap();
    let every = fetch_all!(conn, (String,), every).unwrap();
    drop(conn);
    assert!(about.len() > 30, "{about:?}");
    let every: BTreeSet<String> = every.into_iter().map(|(name,)| name).collect();
    for (name,) in &about {
        let is_placed = held::TABLES.iter().any(|(table, _)| table == name);
        assert!(is_placed, "{name} has no place in users/export/held.rs");
    }
    for (table, held) in held::TABLES {
        assert!(every.contains(*table), "there is no table {table}");
        if let Held::In(files) = held {
            assert!(files.iter().all(|file| NAMES.contains(file)), "{files:?}");
        }
    }
    assert_eq!(held::files(), BTreeSet::from(NAMES));
}
