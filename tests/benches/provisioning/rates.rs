//! Rates: how soon what was bought is applied, beside a bare loop that applies the same objects.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use dermaga_shop::ids::{PlanId, UserId};
use dermaga_tests::{
    Client as Person, Shop,
    bench::{buy, customers, verdict},
};
use futures::future::join_all;
use tokio::time::sleep;

use super::{all_applied, bare, median};

/// Customers of one turn, each with a namespace of their own.
const CUSTOMERS: usize = 10;
/// Instances of each customer.
const EACH: usize = 5;
const RATE_TARGET: f64 = 1.0;
/// Rest before each turn, so that none begins among the pods of the one before it.
const REST: Duration = Duration::from_secs(2);

/// Puts the first pass of what is bought off, so that purchases can be committed before any of them begins.
const HOLD: &str = "CREATE TRIGGER bench_held AFTER INSERT ON instances BEGIN
    UPDATE instances SET next_attempt_at = '9999-01-01T00:00:00+00:00' WHERE id = NEW.id; END";
const HOLD_NO_MORE: &str = "DROP TRIGGER bench_held";
const RELEASE: &str = "UPDATE instances SET next_attempt_at = created_at
    WHERE next_attempt_at = '9999-01-01T00:00:00+00:00'";

/// Times that one round took.
struct Round {
    /// From the commit of the purchases to the last object of theirs.
    applied: Duration,
    /// The same, with the purchases.
    bought: Duration,
    /// The same objects, by a loop that applies one after another.
    bare: Duration,
    /// The same, by eight loops side by side.
    beside: Duration,
}

/// Compares the shop with a bare loop, in turns, so that load slows both; returns the namespaces that were made.
pub(crate) async fn measure(
    shop: &Shop,
    kubeconfig: &Path,
    (plan, rounds): (PlanId, usize),
) -> Vec<String> {
    let client = bare::client(kubeconfig).await;
    let (mut namespaces, mut times) = (Vec::new(), Vec::new());
    for number in 0..rounds {
        let held = customers(shop, &format!("ronde-{number}"), CUSTOMERS).await;
        let open = customers(shop, &format!("belanja-{number}"), CUSTOMERS).await;
        // Purchases come before the others in one round, and after them in the next.
        let before = match number % 2 {
            0 => Some(with_purchases(shop, plan, &open).await),
            _ => None,
        };
        let applied = from_commit(shop, plan, &held).await;
        let copies = bare::copies(&client, shop, &held).await;
        sleep(REST).await;
        let bare = bare::apply(&client, &copies, "bare", 1).await;
        sleep(REST).await;
        let beside = bare::apply(&client, &copies, "beside", 8).await;
        let bought = match before {
            Some(time) => time,
            None => with_purchases(shop, plan, &open).await,
        };
        times.push(Round {
            applied,
            bought,
            bare,
            beside,
        });
        namespaces.extend(copies.namespaces());
        for (_, user) in &open {
            namespaces.push(bare::namespace(shop, *user).await);
        }
    }
    show(&times);
    namespaces
}

async fn buy_all(shop: &Shop, plan: PlanId, customers: &[(Person, UserId)]) {
    let buying = customers.iter().map(|(_, user)| async move {
        for _ in 0..EACH {
            buy(shop.state(), *user, plan).await;
        }
    });
    join_all(buying).await;
}

/// Commits purchases, and returns the time from there until they are applied.
async fn from_commit(shop: &Shop, plan: PlanId, customers: &[(Person, UserId)]) -> Duration {
    shop.sql(HOLD).await.unwrap();
    buy_all(shop, plan, customers).await;
    shop.sql(HOLD_NO_MORE).await.unwrap();
    sleep(REST).await;
    let began = Instant::now();
    let released = shop.sql(RELEASE).await.unwrap();
    shop.state().instances.handle.wake();
    all_applied(shop).await;
    let took = began.elapsed();
    assert_eq!(
        usize::try_from(released).unwrap(),
        CUSTOMERS * EACH,
        "all of them waited for this"
    );
    took
}

/// Returns the time from the first purchase until all are applied: passes begin while others still buy.
async fn with_purchases(shop: &Shop, plan: PlanId, customers: &[(Person, UserId)]) -> Duration {
    sleep(REST).await;
    let began = Instant::now();
    buy_all(shop, plan, customers).await;
    all_applied(shop).await;
    began.elapsed()
}

fn show(rounds: &[Round]) {
    let instances = (rounds.len() * CUSTOMERS * EACH) as f64;
    let rate = |time: fn(&Round) -> Duration| {
        instances / rounds.iter().map(time).sum::<Duration>().as_secs_f64()
    };
    let ratio = |loops: fn(&Round) -> Duration, ours: fn(&Round) -> Duration| {
        let ratios = rounds.iter();
        median(
            ratios
                .map(|round| loops(round).as_secs_f64() / ours(round).as_secs_f64())
                .collect(),
        )
    };
    let reached = ratio(|round| round.bare, |round| round.applied);
    println!(
        "{instances} instances from commit to applied: {:.1}/s; a bare loop {:.1}/s; {reached:.2} x its rate (target: >= {RATE_TARGET}, {}), {:.2} x that of eight loops side by side",
        rate(|round| round.applied),
        rate(|round| round.bare),
        verdict(reached >= RATE_TARGET),
        ratio(|round| round.beside, |round| round.applied)
    );
    println!(
        "{instances} others from purchase to applied, with rules, ledger and wallet: {:.1}/s; {:.2} x the rate of the bare loop",
        rate(|round| round.bought),
        ratio(|round| round.bare, |round| round.bought)
    );
}
