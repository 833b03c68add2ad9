//! Tests of asking for the instance of a subscription.

use chrono::TimeDelta;
use dermaga_shop::{db::Conn, execute, ids::SubscriptionId, provisioning};
use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{bought::Bought, wallet::id_nobody};
use crate::{journeys::waiting::buy_blocked, races::checks::meanwhile};

const INSTANCES: &str = "/api/instances";

both_engines!(
    Shop,
    [
        what_runs_is_returned_as_it_is,
        what_its_owner_stopped_stays_so,
        what_waits_or_failed_is_tried_again,
        a_purchase_that_could_not_be_set_up_is_set_up,
        others_and_ended_subscriptions_have_none_to_ask_for,
        what_is_no_request_is_refused,
        one_key_asks_once,
        many_requests_at_once_make_no_second_instance,
        what_is_cancelled_meanwhile_is_refused,
    ]
);

impl Bought {
    fn request(&self) -> Value {
        json!({ "subscriptionId": self.subscription })
    }

    /// Lets an instance look as if it had waited or failed, with the next attempt in some minutes.
    async fn waits(&self, shop: &Shop, status: &str, failures: i64) {
        let id: Uuid = self.instance.parse().unwrap();
        let later = shop.clock().now() + TimeDelta::minutes(5);
        let sql =
            "UPDATE instances SET status = $2, failures = $3, next_attempt_at = $4 WHERE id = $1";
        let mut conn = shop.state().db.begin().await.unwrap();
        execute!(conn, sql, id, status, failures, later).unwrap();
        conn.commit().await.unwrap();
    }

    /// The customer has this one instance.
    async fn is_the_only_one(&self) {
        let listed = self.customer.get(INSTANCES).await.data(200);
        let listed = listed.as_array().unwrap();
        assert_eq!(listed.len(), 1, "{listed:#?}");
        assert_eq!(listed[0]["id"], json!(self.instance));
    }
}

async fn bought(shop: &Shop, email: &str) -> Bought {
    Bought::by(shop, email, ("uptime-kuma", 100_000)).await
}

async fn what_runs_is_returned_as_it_is(shop: Shop) {
    let bought = bought(&shop, "minta@example.com").await;
    let path = format!("{INSTANCES}/{}", bought.instance);
    let seen = bought.customer.get(&path).await.data(200);
    for _ in 0..2 {
        let asked = bought.customer.post(INSTANCES, bought.request()).await;
        let asked = asked.data(200);
        for field in ["id", "subscriptionId", "status", "generation", "endpoints"] {
            assert_eq!(asked[field], seen[field], "{field}");
        }
    }
    bought.is_the_only_one().await;
    shop.books_balance().await;
}

async fn what_its_owner_stopped_stays_so(shop: Shop) {
    let bought = bought(&shop, "diam@example.com").await;
    let stop = format!("{INSTANCES}/{}/stop", bought.instance);
    bought.customer.put(&stop, json!({})).await.data(202);
    bought.becomes(&shop, "STOPPED").await;
    let asked = bought.customer.post(INSTANCES, bought.request()).await;
    let asked = asked.data(200);
    assert_eq!(
        (&asked["status"], &asked["desired"], &asked["halt"]),
        (&json!("STOPPED"), &json!("STOPPED"), &json!("OWNER"))
    );
}

async fn what_waits_or_failed_is_tried_again(shop: Shop) {
    let bought = bought(&shop, "ulangi@example.com").await;
    for (status, failures) in [("PENDING", 0), ("FAILED", 3), ("DEGRADED", 1)] {
        bought.waits(&shop, status, failures).await;
        let asked = bought.customer.post(INSTANCES, bought.request()).await;
        assert_eq!(asked.body["message"], "It is being tried again.");
        let asked = asked.data(202);
        assert_eq!(asked["id"], json!(bought.instance));
        let running = bought.becomes(&shop, "RUNNING").await;
        assert_eq!(running["failures"], 0, "{status}");
        let asked = bought.customer.post(INSTANCES, bought.request()).await;
        asked.data(200);
    }
    bought.is_the_only_one().await;
}

/// Nothing is charged a second time for an instance that is asked for.
async fn a_purchase_that_could_not_be_set_up_is_set_up(shop: Shop) {
    let customer = shop
        .customer_with_credit("gagal@example.com", 100_000)
        .await;
    let (made, in_the_way) = buy_blocked(&shop, &customer).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let bought = Bought {
        customer,
        subscription: text(&made["subscription"]["id"]),
        instance: text(&made["instanceId"]),
    };
    let before = bought.customer.get("/api/wallet/info").await.data(200);
    let asked = bought.customer.post(INSTANCES, bought.request()).await;
    assert_eq!(asked.data(202)["id"], json!(bought.instance));
    // Directly before, as the shop tries by itself, too.
    std::fs::remove_file(in_the_way).unwrap();
    let asked = bought.customer.post(INSTANCES, bought.request()).await;
    assert!([200, 202].contains(&asked.status), "{}", asked.text);
    bought.becomes(&shop, "RUNNING").await;
    bought.is_the_only_one().await;
    let after = bought.customer.get("/api/wallet/info").await.data(200);
    assert_eq!(after["totalBalance"], before["totalBalance"]);
    shop.books_balance().await;
}

async fn others_and_ended_subscriptions_have_none_to_ask_for(shop: Shop) {
    let bought = bought(&shop, "punya@example.com").await;
    let stranger = shop.customer("asing@example.com").await;
    let refused = stranger.post(INSTANCES, bought.request()).await;
    refused.fails(404, "NOT_FOUND");
    assert!(!refused.text.contains(&bought.instance), "{}", refused.text);
    let nobody = json!({ "subscriptionId": id_nobody() });
    let unknown = bought.customer.post(INSTANCES, nobody).await;
    unknown.fails(404, "NOT_FOUND");
    let path = format!("/api/subscriptions/{}", bought.subscription);
    bought.customer.delete(&path).await.data(200);
    let ended = bought.customer.post(INSTANCES, bought.request()).await;
    ended.fails(409, "INVALID_STATE");
    bought.becomes(&shop, "TERMINATED").await;
    let ended = bought.customer.post(INSTANCES, bought.request()).await;
    ended.fails(409, "INVALID_STATE");
}

async fn what_is_no_request_is_refused(shop: Shop) {
    let customer = shop.customer("salah@example.com").await;
    let more = json!({ "subscriptionId": id_nobody(), "planId": id_nobody() });
    for (request, field) in [
        (more, "planId"),
        (json!({}), "subscriptionId"),
        (json!({ "subscriptionId": "mine" }), "subscriptionId"),
        (json!({ "subscriptionId": null }), "subscriptionId"),
    ] {
        let refused = customer.post(INSTANCES, request).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail(field).is_some(), "{}", refused.text);
    }
    let visitor = shop.client().post(INSTANCES, json!({})).await;
    visitor.fails(401, "UNAUTHENTICATED");
}

async fn one_key_asks_once(shop: Shop) {
    let bought = bought(&shop, "kunci@example.com").await;
    bought.waits(&shop, "FAILED", 2).await;
    let keyed = bought.customer.with_key("minta-1");
    let first = keyed.post(INSTANCES, bought.request()).await;
    assert!(!first.is_replayed());
    let told = first.data(202);
    bought.becomes(&shop, "RUNNING").await;
    let again = keyed.post(INSTANCES, bought.request()).await;
    assert!(again.is_replayed());
    assert_eq!(again.data(202), told);
    let other = json!({ "subscriptionId": id_nobody() });
    let other = keyed.post(INSTANCES, other).await;
    other.fails(422, "IDEMPOTENCY_MISMATCH");
}

async fn many_requests_at_once_make_no_second_instance(shop: Shop) {
    let bought = bought(&shop, "serentak@example.com").await;
    bought.waits(&shop, "FAILED", 2).await;
    let requests = (0..8).map(|_| bought.customer.post(INSTANCES, bought.request()));
    let answers = futures::future::join_all(requests).await;
    for answer in &answers {
        assert!([200, 202].contains(&answer.status), "{}", answer.text);
        assert_eq!(answer.body["data"]["id"], json!(bought.instance));
    }
    assert!(answers.iter().any(|answer| answer.status == 202));
    bought.becomes(&shop, "RUNNING").await;
    bought.is_the_only_one().await;
    shop.books_balance().await;
}

/// The request has seen the subscription alive, and waits for the instance, which is being removed.
async fn what_is_cancelled_meanwhile_is_refused(shop: Shop) {
    let bought = bought(&shop, "mendadak@example.com").await;
    bought.waits(&shop, "FAILED", 2).await;
    let id: SubscriptionId = bought.subscription.parse().unwrap();
    let (clock, customer, body) = (shop.clock(), bought.customer.clone(), bought.request());
    let request = async move { customer.post(INSTANCES, body).await };
    let cancel = async |conn: &mut Conn| {
        let sql = "UPDATE subscriptions SET status = 'CANCELLED', auto_renew = FALSE, cancelled_at = $2, updated_at = $2
                   WHERE id = $1";
        assert_eq!(execute!(conn, sql, id, clock.now()).unwrap(), 1);
        provisioning::terminate(conn, clock, id).await.unwrap();
    };
    let tries = "UPDATE instances SET next_attempt_at";
    let asked = meanwhile(&shop, tries, cancel, request).await;
    asked.fails(409, "INVALID_STATE");
    assert!(!asked.text.contains(&bought.instance), "{}", asked.text);
    bought.becomes(&shop, "TERMINATED").await;
    bought.is_the_only_one().await;
}
