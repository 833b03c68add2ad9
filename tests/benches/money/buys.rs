//! Purchases by customers who come at once: of one plan, whose quota they all take from, and of nine.

use std::time::{Duration, Instant};

use dermaga::api::AppState;
use dermaga_shop::{
    db::new_id,
    ids::{PlanId, UserId},
};
use dermaga_tests::{
    Shop,
    bench::{buy, customers},
};
use futures::future::join_all;

use super::AT_ONCE;

const PLANS: usize = 9;
/// Purchases of each kind in one round.
const ACTS: usize = 64;
const ROUNDS: usize = 9;

/// Prints the rates of both, measured in turns.
pub(crate) async fn buys(name: &str, shop: &Shop) {
    let plans = plans(shop).await;
    let customers = customers(shop, "beli", AT_ONCE).await;
    let users: Vec<UserId> = customers.into_iter().map(|(_, id)| id).collect();
    let (mut one, mut many, mut ratios) = (Duration::ZERO, Duration::ZERO, Vec::new());
    for _ in 0..ROUNDS {
        let alike = round(shop.state(), &users, &plans[..1]).await;
        let spread = round(shop.state(), &users, &plans).await;
        ratios.push(alike.as_secs_f64() / spread.as_secs_f64());
        one += alike;
        many += spread;
    }
    ratios.sort_by(f64::total_cmp);
    let rate = |total: Duration| (ROUNDS * ACTS) as f64 / total.as_secs_f64();
    println!(
        "{name:9} buy, durable, {AT_ONCE} at once: one plan {:.0}/s; {PLANS} plans {:.0}/s; ratio {:.2}",
        rate(one),
        rate(many),
        ratios[ROUNDS / 2]
    );
}

/// Copies one plan, so that nothing but the row differs.
async fn plans(shop: &Shop) -> Vec<PlanId> {
    let model: PlanId = shop.plan("n8n", "basic").await.parse().unwrap();
    let mut conn = shop.state().db.begin().await.unwrap();
    let copy = "INSERT INTO service_plans (id, service_id, slug, name, tier, monthly_price, cpu_millis, memory_mib, storage_gib,
                  replicas, total_quota, max_instances_per_user, features, active, created_at, updated_at)
                SELECT $1, service_id, $2, name, tier, monthly_price, cpu_millis, memory_mib, storage_gib,
                  replicas, 1000000, 1000000, features, active, created_at, updated_at
                FROM service_plans WHERE id = $3";
    let mut copies = Vec::with_capacity(PLANS);
    for number in 0..PLANS {
        let (id, slug) = (new_id(&shop.state().clock), format!("copy-{number}"));
        dermaga_shop::execute!(conn, copy, id, slug, model).unwrap();
        copies.push(id);
    }
    conn.commit().await.unwrap();
    copies
}

/// Lets each customer buy one after another, from plan to plan.
async fn round(state: &AppState, users: &[UserId], plans: &[PlanId]) -> Duration {
    let started = Instant::now();
    let customers = users.iter().enumerate().map(|(at, user)| {
        let (user, state, plans) = (*user, state.clone(), plans.to_vec());
        tokio::spawn(async move {
            for number in 0..ACTS / AT_ONCE {
                buy(&state, user, plans[(at + number) % plans.len()]).await;
            }
        })
    });
    for customer in join_all(customers).await {
        customer.unwrap();
    }
    started.elapsed()
}
