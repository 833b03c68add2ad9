//! Test that a deleted account leaves nothing of its person in any table of the database.

use std::collections::BTreeSet;

use dermaga_shop::fetch_all;
use dermaga_tests::{Client, Shop, both_engines};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::{
    notifications::told,
    tickets::{TICKETS, answer},
    webhooks::{OF_SHOP, REASON},
};
use crate::pictures;

const PASSWORD: &str = "kata sandi yang panjang";
const EMAIL: &str = "penanda7@example.com";
const PHONE: &str = "+6281377700077";

/// Marks of the person, which nothing may hold: address, texts and names, and digits of the phone number.
const PERSON: [&str; 2] = ["penanda7", "81377700077"];
/// Mark of what the shop decided about: the configuration, and the code of a coupon.
const DECIDED: [&str; 1] = ["penanda8"];

/// Columns that may hold what was decided about after the deletion, each with the reason.
const KEPT: &[(&str, &str, &str)] = &[
    (
        "audit_events",
        "details",
        "acts of administrators: the coupon that one made",
    ),
    (
        "coupon_redemptions",
        "reason",
        "books: the sentence about a discount",
    ),
    ("coupons", "code", "the shop's own"),
    (
        "transactions",
        "description",
        "books: the lines of a receipt",
    ),
    ("transactions", "details", "books: the lines of a receipt"),
];

/// Tables in which an account has left marks before its deletion, or the test would prove nothing.
const MARKED: [&str; 15] = [
    "api_tokens",
    "custom_domains",
    "decisions",
    "idempotency_keys",
    "instances",
    "notifications",
    "outbox",
    "quotes",
    "sessions",
    "subscriptions",
    "ticket_attachments",
    "ticket_messages",
    "tickets",
    "users",
    "webhook_endpoints",
];

both_engines!(
    Shop,
    [
        a_deleted_account_leaves_nothing_of_its_person,
        a_decision_is_erased_with_its_account_alone,
        decisions_of_accounts_that_are_deleted_already_are_erased,
        looks_without_an_account_are_erased_with_that_of_their_instance
    ]
);

/// Table and name of a column.
type Column = (String, String);

/// Returns every column of every table, without those of bytes.
async fn columns(shop: &Shop) -> Vec<Column> {
    const SQLITE: &str = "SELECT m.name, CAST(c.name AS TEXT) FROM sqlite_master m \
        JOIN pragma_table_info(m.name) c WHERE m.type = 'table'";
    const POSTGRES: &str = "SELECT CAST(c.table_name AS TEXT), CAST(c.column_name AS TEXT) \
        FROM information_schema.columns c JOIN information_schema.tables t \
          ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
        WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.data_type <> 'bytea'";
    let sql = if is_sqlite(shop) { SQLITE } else { POSTGRES };
    let mut conn = shop.state().db.read().await.unwrap();
    fetch_all!(conn, (String, String), sql).unwrap()
}

fn is_sqlite(shop: &Shop) -> bool {
    let url = shop.state().config.database_url();
    url.starts_with("sqlite")
}

/// Returns the columns in which a row holds one of the marks.
async fn holding(shop: &Shop, columns: &[Column], marks: &[&str]) -> BTreeSet<Column> {
    let is_sqlite = is_sqlite(shop);
    let mut conn = shop.state().db.read().await.unwrap();
    let mut holding = BTreeSet::new();
    for (table, column) in columns {
        let is_text = if is_sqlite {
            format!("typeof(\"{column}\") = 'text'")
        } else {
            format!("\"{column}\" IS NOT NULL")
        };
        let sql = format!("SELECT CAST(\"{column}\" AS TEXT) FROM \"{table}\" WHERE {is_text}");
        let values = fetch_all!(conn, (String,), AssertSqlSafe(sql.clone())).unwrap();
        let is_marked = values.iter().any(|(value,)| {
            let value = value.to_lowercase();
            marks.iter().any(|mark| value.contains(mark))
        });
        if is_marked {
            holding.insert((table.clone(), column.clone()));
        }
    }
    holding
}

/// Signs in from a device with a name of its own.
async fn signed_in(shop: &Shop) -> Client {
    let client = shop.client();
    let login = json!({ "email": EMAIL, "password": PASSWORD });
    let request = client
        .request(Method::POST, "/api/auth/login")
        .json(&login)
        .header("user-agent", "Penanda7-Perangkat/1.0");
    let session = client.send(request).await.data(200);
    client.with_token(session["accessToken"].as_str().unwrap())
}

/// Buys a service with a coupon and a configuration, after a quote; returns the purchase.
async fn bought(shop: &Shop, customer: &Client) -> Value {
    let coupon = json!({
        "code": "PENANDA8", "plugin": "coupon-subscription-discount", "parameters": { "percent": 5 },
    });
    let admin = shop.admin().await;
    admin.post("/api/admin/coupons", coupon).await.data(201);
    let mail = json!({
        "host": "penanda8.example", "from": "penanda8@example.com", "user": "penanda8", "password": PASSWORD,
    });
    let order = json!({
        "planId": shop.plan("n8n", "basic").await, "couponCode": "PENANDA8", "config": { "mail": mail },
    });
    let path = "/api/subscriptions/quote";
    customer.post(path, order.clone()).await.data(200);
    let once = customer.with_key("penanda7-kunci");
    once.post("/api/subscriptions", order).await.data(201)
}

/// Opens a ticket with a picture, which is answered, and one of its messages came by mail.
async fn asked(shop: &Shop, customer: &Client, admin: &Client, instance: &str) {
    let texts = [
        ("subject", "Penanda7 tidak terbuka"),
        ("description", "Nama saya Penanda7, tolong dibantu."),
        ("instanceId", instance),
    ];
    let picture = pictures::png();
    let files: [(&str, &[u8]); 1] = [("penanda7.png", &picture)];
    let asked = customer.post_form(TICKETS, &texts, &files).await.data(201);
    let id = asked["id"].as_str().unwrap();
    let said = answer(admin, id, "Hello Penanda7, look again.").await;
    said.data(201);
    let sql =
        "UPDATE ticket_messages SET mail_from = 'penanda7@example.com' WHERE author = 'CUSTOMER'";
    shop.sql(sql).await.unwrap();
}

/// Leaves a mark wherever a customer can write; returns the purchase.
async fn leave_marks(shop: &Shop, customer: &Client) -> Value {
    let person = json!({ "name": "Penanda7", "phone": PHONE });
    customer.put("/api/user/profile", person).await.data(200);
    let admin = shop.admin().await;
    let of_shop = json!({ "url": "https://hooks.example.com/shop", "reason": REASON });
    admin.post(OF_SHOP, of_shop).await.data(201);
    let hook =
        json!({ "url": "https://hooks.example.com/penanda7", "events": ["TICKET_ANSWERED"] });
    customer.post("/api/webhooks", hook).await.data(201);
    let key = json!({ "name": "penanda7", "scope": "READ" });
    customer.post("/api/user/api-tokens", key).await.data(201);
    signed_in(shop).await;
    let bought = bought(shop, customer).await;
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(customer, instance, "RUNNING").await;
    let domain = json!({ "domain": "penanda7.example.com" });
    let path = format!("/api/instances/{instance}/domains");
    customer.post(&path, domain).await.data(201);
    asked(shop, customer, &admin, instance).await;
    let forgotten = json!({ "email": EMAIL });
    let path = "/api/auth/forgot-password";
    shop.client().post(path, forgotten).await.data(200);
    told(customer, "API_TOKEN_CREATED").await;
    told(customer, "NEW_DEVICE").await;
    bought
}

/// Returns the path of the decision that priced a purchase.
fn price_of(bought: &Value) -> String {
    let id = bought["priceDecisionId"].as_str().unwrap();
    format!("/api/admin/decisions/{id}")
}

/// Expects a decision without its texts, which cannot be replayed, and still tells who decided and at which cost.
async fn is_erased(shop: &Shop, path: &str, before: &Value) {
    let admin = shop.admin().await;
    let erased = admin.get(path).await.data(200);
    for text in ["input", "output"] {
        assert!(erased[text].is_null(), "{erased:#}");
        let digest = format!("{text}Digest");
        assert!(erased[digest.as_str()].is_string(), "{erased:#}");
    }
    assert!(erased["erasedAt"].is_string(), "{erased:#}");
    assert_eq!(erased["logs"], json!([]), "{erased:#}");
    for kept in [
        "id",
        "digest",
        "pluginId",
        "pluginVersion",
        "contract",
        "function",
        "userId",
        "fuel",
        "createdAt",
    ] {
        assert_eq!(erased[kept], before[kept], "{kept}");
    }
    let replay = format!("{path}/replay");
    let refused = admin.post(&replay, json!(null)).await;
    refused.fails(409, "INVALID_STATE");
}

async fn is_whole(shop: &Shop, path: &str) {
    let admin = shop.admin().await;
    let decision = admin.get(path).await.data(200);
    assert!(decision["input"].is_object(), "{decision:#}");
    assert!(decision["erasedAt"].is_null(), "{decision:#}");
    let replay = admin.post(&format!("{path}/replay"), json!(null)).await;
    assert_eq!(replay.data(200)["identical"], true);
}

/// Ends what was bought, and deletes the account.
async fn leave(shop: &Shop, customer: &Client, bought: &Value) {
    let id = bought["subscription"]["id"].as_str().unwrap();
    let moved = json!({ "reason": "Penanda7 pindah rumah." });
    let path = format!("/api/subscriptions/{id}");
    customer.delete_with(&path, moved).await.data(200);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(customer, instance, "TERMINATED")
        .await;
    let proof = json!({ "password": PASSWORD });
    customer.delete_with("/api/user", proof).await.data(200);
}

/// The decisions about a deleted account lose their texts; those about another one do not, and the database refuses
/// every other change.
async fn a_decision_is_erased_with_its_account_alone(shop: Shop) {
    let customer = shop.customer_with_credit(EMAIL, 200_000).await;
    let bought = bought(&shop, &customer).await;
    let other = shop.customer("tinggal@example.com").await;
    let order = json!({ "planId": shop.plan("n8n", "free").await });
    let others = other.post("/api/subscriptions", order).await.data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    let (path, others) = (price_of(&bought), price_of(&others));
    is_whole(&shop, &path).await;
    let before = shop.admin().await.get(&path).await.data(200);
    let erase =
        "UPDATE decisions SET input = 'null', output = NULL, logs = '[]', input_digest = 'x',
        output_digest = 'x', erased_at = created_at WHERE output IS NOT NULL AND erased_at IS NULL";
    assert!(
        shop.sql(erase).await.is_err(),
        "of an account that is there"
    );

    leave(&shop, &customer, &bought).await;
    is_erased(&shop, &path, &before).await;
    is_whole(&shop, &others).await;
    for sql in [
        erase,
        "UPDATE decisions SET erased_at = NULL WHERE erased_at IS NOT NULL",
        "UPDATE decisions SET input = '{}' WHERE erased_at IS NOT NULL",
        "UPDATE decisions SET fuel = 0 WHERE erased_at IS NOT NULL",
        "DELETE FROM decisions WHERE erased_at IS NOT NULL",
    ] {
        assert!(shop.sql(sql).await.is_err(), "{sql} was possible");
    }
    shop.books_balance().await;
}

/// A release without erasure has deleted the account: the job of the night erases what it has left.
async fn decisions_of_accounts_that_are_deleted_already_are_erased(shop: Shop) {
    let customer = shop.customer_with_credit(EMAIL, 200_000).await;
    let bought = bought(&shop, &customer).await;
    let path = price_of(&bought);
    let admin = shop.admin().await;
    let before = admin.get(&path).await.data(200);
    let job = "/api/admin/jobs/health-history/run";
    admin.post(job, json!({})).await.data(200);
    is_whole(&shop, &path).await;
    let deleted = "UPDATE users SET deleted_at = created_at, status = 'DISABLED' WHERE email = 'penanda7@example.com'";
    assert_eq!(shop.sql(deleted).await.unwrap(), 1);
    let run = admin.post(job, json!({})).await.data(200);
    assert_eq!(run["status"], "SUCCEEDED", "{run:#}");
    is_erased(&shop, &path, &before).await;
}

/// Records a failed look at the one instance, or at one of another name, as a release without accounts did.
async fn looked_at(shop: &Shop, name: &str, mail: &str) {
    let id = if is_sqlite(shop) {
        "randomblob(16)"
    } else {
        "gen_random_uuid()"
    };
    let sql = format!(
        "INSERT INTO decisions (id, digest, plugin_id, plugin_version, contract, function, input, failure, logs, fuel,
           duration_us, created_at)
         SELECT {id}, v.digest, v.plugin_id, v.version, v.contract, 'health',
           '{{\"instance\":{{\"config\":{{\"mail\":\"{mail}\"}},\"name\":\"' || {name} || '\"}},\"observed\":[]}}',
           'PLUGIN_FAILED', '[]', 0, 0, i.created_at
         FROM instances i JOIN plugin_versions v ON v.digest = i.plugin_digest"
    );
    shop.rewrite(&[sql]).await.unwrap();
}

/// Returns the failed looks, each with its account, and with the mail in its configuration while that is there.
async fn looks(shop: &Shop) -> Vec<(Value, Value)> {
    let admin = shop.admin().await;
    let path = "/api/admin/decisions?function=health";
    let listed = admin.get(path).await.data(200);
    let mut looks = Vec::new();
    for look in listed.as_array().unwrap() {
        let path = format!("/api/admin/decisions/{}", look["id"].as_str().unwrap());
        let look = admin.get(&path).await.data(200);
        assert_eq!(look["erasedAt"].is_null(), look["input"].is_object());
        assert_eq!(look["erasedAt"].is_null(), look["inputDigest"].is_null());
        let mail = look["input"]["instance"]["config"]["mail"].clone();
        looks.push((look["userId"].clone(), mail));
    }
    looks.sort_by_key(|(_, mail)| mail.to_string());
    looks
}

/// One that was deleted is found, too, and the account of an instance that is not known is none.
async fn looks_without_an_account_are_erased_with_that_of_their_instance(shop: Shop) {
    let customer = shop.customer_with_credit(EMAIL, 200_000).await;
    let id = customer.get("/api/user/profile").await.data(200)["id"].clone();
    let bought = bought(&shop, &customer).await;
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    looked_at(&shop, "i.name", "penanda8").await;
    looked_at(&shop, "'unknown'", "other").await;
    let unknown = (json!(null), json!("other"));
    let unowned = (json!(null), json!("penanda8"));
    assert_eq!(looks(&shop).await, [unknown.clone(), unowned.clone()]);

    let job = async || {
        let path = "/api/admin/jobs/health-history/run";
        let run = shop.admin().await.post(path, json!({})).await.data(200);
        assert_eq!(run["status"], "SUCCEEDED", "{run:#}");
    };
    job().await;
    let owned = (id.clone(), json!("penanda8"));
    assert_eq!(looks(&shop).await, [unknown.clone(), owned.clone()]);
    // The database takes no other account than the instance's.
    let other = "UPDATE decisions SET user_id = (SELECT user_id FROM instances)
        WHERE user_id IS NULL AND function = 'health'";
    assert!(shop.sql(other).await.is_err());

    leave(&shop, &customer, &bought).await;
    let erased = (id, json!(null));
    assert_eq!(looks(&shop).await, [unknown.clone(), erased.clone()]);
    looked_at(&shop, "i.name", "penanda8").await;
    assert_eq!(
        looks(&shop).await,
        [unknown.clone(), unowned, erased.clone()]
    );
    job().await;
    assert_eq!(looks(&shop).await, [unknown, erased.clone(), erased]);
    job().await;
    assert_eq!(looks(&shop).await.len(), 3);
}

/// Every column of every table is read: none holds the person, and what was decided about is in those columns alone
/// that are kept with a reason.
async fn a_deleted_account_leaves_nothing_of_its_person(shop: Shop) {
    let customer = shop.customer_with_credit(EMAIL, 200_000).await;
    let bought = leave_marks(&shop, &customer).await;
    let columns = columns(&shop).await;
    for (table, column, why) in KEPT {
        let is_there = columns.iter().any(|(t, c)| t == table && c == column);
        assert!(is_there, "there is no {table}.{column}: {why}");
    }
    let mut before = holding(&shop, &columns, &PERSON).await;
    before.extend(holding(&shop, &columns, &DECIDED).await);
    for table in MARKED {
        let is_marked = before.iter().any(|(marked, _)| marked == table);
        assert!(is_marked, "{table} has no mark: {before:?}");
    }
    let copies = ("webhook_deliveries".to_owned(), "body".to_owned());
    assert!(before.contains(&copies), "{before:?}");

    leave(&shop, &customer, &bought).await;

    let left = holding(&shop, &columns, &PERSON).await;
    assert!(left.is_empty(), "{left:?}");
    let mut left = holding(&shop, &columns, &DECIDED).await;
    left.retain(|(table, column)| {
        let mut kept = KEPT.iter();
        !kept.any(|(t, c, _)| t == table && c == column)
    });
    assert!(left.is_empty(), "{left:?}");
    shop.books_balance().await;
}
