//! Two administrators on two servers, at one customer's subscriptions at the same moment.

use chrono::TimeDelta;
use dermaga_shop::db::Conn;
use dermaga_tests::{Answer, Client, Engine, Shop};
use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    api::plan_changes::settled,
    journeys::{
        renewal::{becomes, buy, id_of, moment, subscription},
        upgrade::customer_with_cash,
    },
};

const REASON: &str = "Two administrators at the same moment.";

struct Servers {
    shop: Shop,
    /// Signed in at one of the servers each.
    admins: [Client; 2],
    _other: Shop,
}

impl Servers {
    async fn open() -> Option<Self> {
        let shop = Shop::open(Engine::Postgres).await?;
        let other = shop.second_server().await;
        let admins = [shop.admin().await, other.admin().await];
        Some(Self {
            shop,
            admins,
            _other: other,
        })
    }

    /// Sends requests at once, to both servers in turn; returns their answers.
    async fn all(&self, count: usize, path: &str, body: impl Fn(usize) -> Value) -> Vec<Answer> {
        let requests = (0..count).map(|number| {
            let admin = &self.admins[number % 2];
            let body = body(number);
            async move {
                if path == GRANTS {
                    admin.post(path, body).await
                } else {
                    admin.put(path, body).await
                }
            }
        });
        join_all(requests).await
    }

    async fn left(&self, slug: &str) -> i64 {
        let view = self.shop.plan_view("n8n", slug).await;
        view["availableQuota"].as_i64().unwrap()
    }

    /// Waits until so many statements wait for a lock.
    async fn wait_for(&self, waiting: i64) {
        self.shop.statements_wait("%", waiting).await;
    }
}

const GRANTS: &str = "/api/admin/subscriptions";

fn path_of(purchase: &Value, act: &str) -> String {
    format!("{GRANTS}/{}/{act}", id_of(purchase))
}

/// Returns the codes of what was refused.
fn refusals(answers: &[Answer]) -> Vec<&str> {
    let refused = answers.iter().filter(|answer| answer.status >= 300);
    refused
        .map(|answer| answer.body["error"]["code"].as_str().unwrap())
        .collect()
}

async fn user_of(customer: &Client) -> String {
    let profile = customer.get("/api/auth/profile").await.data(200);
    profile["id"].as_str().unwrap().to_owned()
}

async fn balance(customer: &Client) -> i64 {
    let wallet = customer.get("/api/wallet/info").await.data(200);
    wallet["totalBalance"].as_i64().unwrap()
}

/// Holds the lock of a customer's wallet.
async fn hold(shop: &Shop, user: &str) -> Conn {
    let user: Uuid = user.parse().unwrap();
    let mut conn = shop.state().db.begin().await.unwrap();
    let sql = "UPDATE wallets SET updated_at = updated_at WHERE user_id = $1";
    assert_eq!(dermaga_shop::execute!(conn, sql, user).unwrap(), 1);
    conn
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_extension_of_two_administrators_counts_and_a_repeated_one_once() {
    let Some(servers) = Servers::open().await else {
        return;
    };
    let shop = &servers.shop;
    let customer = customer_with_cash(shop, "panjang@example.com", 50_000).await;
    let bought = buy(shop, &customer, ("n8n", "basic"), None).await;
    let end = moment(&subscription(shop, id_of(&bought)).await["periodEnd"]);
    let path = path_of(&bought, "extend");
    let days = |number: usize| json!({ "days": number + 1, "reason": REASON });
    for answer in servers.all(8, &path, days).await {
        answer.data(200);
    }
    let seen = subscription(shop, id_of(&bought)).await;
    assert_eq!(moment(&seen["periodEnd"]) - end, TimeDelta::days(36));

    let admin = servers.admins[0].with_key("one-extension");
    let keyed = [admin.clone(), admin.moved_to(&servers.admins[1])];
    let body = json!({ "days": 10, "reason": REASON });
    let answers = join_all(keyed.iter().map(|admin| admin.put(&path, body.clone()))).await;
    assert!(answers.iter().any(|answer| answer.status == 200));
    keyed[1].put(&path, body).await.data(200);
    let seen = subscription(shop, id_of(&bought)).await;
    assert_eq!(moment(&seen["periodEnd"]) - end, TimeDelta::days(46));

    let audited = servers.admins[1].get("/api/admin/audit?limit=100").await;
    let audited = audited.data(200);
    let acts = audited.as_array().unwrap().iter();
    let extended = acts.filter(|event| event["act"] == "subscription.extended");
    assert_eq!(extended.count(), 9);
    shop.books_balance().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_plan_change_of_two_administrators_is_made_and_charged() {
    let Some(servers) = Servers::open().await else {
        return;
    };
    let shop = &servers.shop;
    let (basic, pro) = (servers.left("basic").await, servers.left("pro").await);
    let wanted = shop.plan("n8n", "pro").await;
    for round in 0..3 {
        let email = format!("naik-{round}@example.com");
        let customer = customer_with_cash(shop, &email, 500_000).await;
        let bought = buy(shop, &customer, ("n8n", "basic"), None).await;
        let before = balance(&customer).await;
        let change = |_| json!({ "planId": wanted, "reason": REASON });
        let answers = servers.all(6, &path_of(&bought, "upgrade"), change).await;
        for code in refusals(&answers) {
            // The last is the answer where the change is already done.
            let known = ["CONFLICT", "INVALID_STATE", "VALIDATION_FAILED"];
            assert!(known.contains(&code), "{code}");
        }
        let mut made = answers.into_iter().filter(|answer| answer.status == 200);
        let one = made.next().expect("one change is made").data(200);
        assert!(made.next().is_none(), "two changes were made");
        settled(shop).await;
        let charged = one["charged"].as_i64().unwrap();
        assert!(charged > 90_000, "{one:#}");
        assert_eq!(balance(&customer).await, before - charged);
        let seen = subscription(shop, id_of(&bought)).await;
        assert_eq!(seen["plan"], "pro", "{seen:#}");
        assert_eq!(servers.left("basic").await, basic);
        assert_eq!(servers.left("pro").await, pro - round - 1);
    }
    shop.books_balance().await;
}

/// The extension is made after the upgrade was priced and before it is booked: the rest that it was priced for
/// is not the rest that it would pay for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_change_is_not_charged_for_a_period_that_another_administrator_extends() {
    let Some(servers) = Servers::open().await else {
        return;
    };
    let shop = &servers.shop;
    let customer = customer_with_cash(shop, "sela@example.com", 900_000).await;
    let bought = buy(shop, &customer, ("n8n", "basic"), None).await;
    // While it waits for its delivery, the rest of its period is the whole, whatever its end.
    becomes(shop, id_of(&bought), "ACTIVE").await;
    let before = balance(&customer).await;
    let upgrade = json!({ "planId": shop.plan("n8n", "pro").await, "reason": REASON });
    let extend = json!({ "days": 30, "reason": REASON });
    let [one, two] = servers.admins.clone();
    let held = hold(shop, &user_of(&customer).await).await;
    let (path, body) = (path_of(&bought, "extend"), extend);
    let extending = tokio::spawn(async move { one.put(&path, body).await });
    servers.wait_for(1).await;
    let (path, body) = (path_of(&bought, "upgrade"), upgrade.clone());
    let upgrading = tokio::spawn(async move { two.put(&path, body).await });
    servers.wait_for(2).await;
    held.rollback().await.unwrap();
    extending.await.unwrap().data(200);
    upgrading.await.unwrap().fails(409, "CONFLICT");
    assert_eq!(balance(&customer).await, before);

    let path = path_of(&bought, "upgrade");
    let again = servers.admins[0].put(&path, upgrade);
    let charged = again.await.data(200)["charged"].as_i64().unwrap();
    settled(shop).await;
    assert_eq!(balance(&customer).await, before - charged);
    shop.books_balance().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gifts_of_two_administrators_keep_the_limit_and_the_last_place() {
    let Some(servers) = Servers::open().await else {
        return;
    };
    let shop = &servers.shop;
    let plan = shop.plan_view("n8n", "basic").await;
    let most = plan["maxInstancesPerUser"].as_u64().unwrap();
    let left = servers.left("basic").await;
    let mut users = Vec::new();
    for email in ["hadiah@example.com", "satu@example.com", "lain@example.com"] {
        users.push(user_of(&shop.customer(email).await).await);
    }
    let gift = |user: &str| json!({ "userId": user, "planId": plan["id"], "skipCreditCheck": true, "reason": REASON });
    let answers = servers.all(8, GRANTS, |_| gift(&users[0])).await;
    let refused = refusals(&answers);
    assert_eq!(refused.len() as u64, 8 - most, "{refused:?}");
    for code in refused {
        assert!(
            ["INSTANCE_LIMIT_REACHED", "CONFLICT"].contains(&code),
            "{code}"
        );
    }
    assert_eq!(
        servers.left("basic").await,
        left - i64::try_from(most).unwrap()
    );

    shop.leave_quota(plan["id"].as_str().unwrap(), 1).await;
    let answers = servers
        .all(2, GRANTS, |number| gift(&users[1 + number]))
        .await;
    assert_eq!(refusals(&answers), ["QUOTA_EXHAUSTED"]);
    assert_eq!(servers.left("basic").await, 0);
    shop.books_balance().await;
}
