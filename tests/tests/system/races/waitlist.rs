//! Tests of held places under concurrency.

use chrono::TimeDelta;
use dermaga_shop::catalog::waitlist;
use dermaga_tests::{Client, Engine, Shop, both_engines};
use futures::future::join_all;
use serde_json::{Value, json};

both_engines!(
    Shop,
    [
        one_held_place_is_sold_once_and_to_its_holder,
        customers_who_join_together_wait_one_behind_the_other
    ]
);

const WAITLIST: &str = "/api/subscriptions/waitlist";

async fn wait(customer: &Client, plan: &str) -> Value {
    let answer = customer.post(WAITLIST, json!({ "planId": plan })).await;
    answer.data(201)
}

async fn entries(customer: &Client) -> Vec<Value> {
    let entries = customer.get(WAITLIST).await.data(200);
    entries.as_array().unwrap().clone()
}

/// Its holder, pressing the button several times, buys it once, while all others are refused.
async fn one_held_place_is_sold_once_and_to_its_holder(shop: Shop) {
    let plan = shop.plan("ghost", "free").await;
    shop.leave_quota(&plan, 0).await;
    let customers = shop.many_customers(6).await;
    let (holder, others) = customers.split_first().unwrap();
    wait(holder, &plan).await;
    for other in &others[..2] {
        wait(other, &plan).await;
    }
    shop.leave_quota(&plan, 1).await;
    waitlist::settle_all(&shop.state().catalog).await.unwrap();
    let callers = [holder, holder, holder].into_iter().chain(others);
    let buying = callers.map(|customer| {
        let order = json!({ "planId": plan });
        async move { customer.post("/api/subscriptions", order).await }
    });
    let settling = join_all((0..3).map(|_| waitlist::settle_all(&shop.state().catalog)));
    let (answers, settled) = tokio::join!(join_all(buying), settling);
    for one in settled {
        one.unwrap();
    }
    let (own, strange) = answers.split_at(3);
    let bought = own.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(bought, 1);
    for answer in own.iter().filter(|answer| answer.status != 201) {
        let code = answer.body["error"]["code"].as_str().unwrap();
        let expected = ["QUOTA_EXHAUSTED", "INSTANCE_LIMIT_REACHED"];
        assert!(expected.contains(&code), "{:#}", answer.body);
    }
    for answer in strange {
        answer.fails(409, "QUOTA_EXHAUSTED");
    }
    assert!(entries(holder).await.is_empty());
    shop.books_balance().await;
}

async fn customers_who_join_together_wait_one_behind_the_other(shop: Shop) {
    let plan = shop.plan("ghost", "free").await;
    shop.leave_quota(&plan, 0).await;
    let customers = shop.many_customers(10).await;
    join_all(customers.iter().map(|one| wait(one, &plan))).await;
    let mut positions = Vec::new();
    for customer in &customers {
        positions.push(entries(customer).await[0]["position"].as_i64().unwrap());
    }
    positions.sort_unstable();
    assert_eq!(positions, (1..=10).collect::<Vec<i64>>());
}

/// Two servers look at the same moment: each place is held for one customer, in order, and each is notified once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_hold_each_place_once() {
    let Some(one) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let two = one.second_server().await;
    let plan = one.plan("ghost", "free").await;
    one.leave_quota(&plan, 0).await;
    let customers = one.many_customers(8).await;
    for customer in &customers {
        wait(customer, &plan).await;
    }
    let look = async || {
        let catalogs = [&one.state().catalog, &two.state().catalog];
        for settled in join_all(
            catalogs
                .iter()
                .cycle()
                .take(8)
                .map(|c| waitlist::settle_all(c)),
        )
        .await
        {
            settled.unwrap();
        }
    };
    let held = async || {
        let mut held = Vec::new();
        for number in 0..8 {
            let email = format!("ramai-{number}@example.com");
            let entries = entries(&one.sign_in(&email).await).await;
            let is_held = entries.first().map(|entry| entry["heldUntil"].is_string());
            held.push(is_held);
        }
        held
    };
    one.leave_quota(&plan, 3).await;
    look().await;
    let now = held().await;
    let holders = |now: &[Option<bool>]| now.iter().filter(|held| **held == Some(true)).count();
    assert_eq!((holders(&now), now.len()), (3, 8), "{now:?}");
    for shop in [&one, &two] {
        shop.clock().advance(TimeDelta::hours(25));
    }
    look().await;
    let later = held().await;
    let gone = later.iter().filter(|held| held.is_none()).count();
    assert_eq!((holders(&later), gone), (3, 3), "{later:?}");
    let told = one
        .sql("UPDATE outbox SET created_at = created_at WHERE topic = 'QUOTA_FREE'")
        .await;
    assert_eq!(told.unwrap(), 6);
    let quota = format!("/api/admin/quota/plans/{plan}");
    let seen = one.admin().await.get(&quota).await.data(200);
    assert_eq!(
        (&seen["usedQuota"], &seen["heldQuota"], &seen["waiting"]),
        (&json!(3), &json!(3), &json!(2))
    );
}
