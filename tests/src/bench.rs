//! Parts that benchmarks have in common.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use dermaga::{api::AppState, config::Config};
use dermaga_shop::{
    crypto::Secret,
    ids::{PlanId, UserId},
    subscriptions::{self, Order},
};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::{
    Client, Engine, Shop,
    postgres::{self, Postgres},
};

/// Goals of the benchmark that this process is.
static GOALS: Goals = Goals::new();

/// Goals of a benchmark, each of which is met or missed.
#[derive(Debug)]
struct Goals {
    is_missed: AtomicBool,
}

impl Goals {
    const fn new() -> Self {
        Self {
            is_missed: AtomicBool::new(false),
        }
    }

    fn note(&self, is_met: bool) -> &'static str {
        if is_met {
            return "met";
        }
        self.is_missed.store(true, Ordering::Relaxed);
        "MISSED"
    }

    /// Returns 1 after a goal that was missed, else 0.
    fn status(&self) -> u8 {
        u8::from(self.is_missed.load(Ordering::Relaxed))
    }
}

/// Returns the word for a goal that is met or missed. One that is missed fails the benchmark at its [`end`], after the
/// rest was measured.
pub fn verdict(is_met: bool) -> &'static str {
    GOALS.note(is_met)
}

/// Ends a benchmark: with 1 when a goal was missed.
pub fn end() -> ExitCode {
    GOALS.status().into()
}

/// Measures on one engine after the other.
pub fn on_both_engines(measure: impl AsyncFn(Engine)) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            measure(engine).await;
        }
    });
}

/// Opens a shop whose commits wait for the disk, as in production. Its PostgreSQL ends with the second value;
/// `None`, with a line that says so, when there is none here.
pub async fn durable_shop(
    engine: Engine,
    change: impl FnOnce(&mut Config),
) -> Option<(Shop, Option<Postgres>)> {
    let server = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => match postgres::durable() {
            Ok(server) => Some(server),
            Err(why) => {
                crate::say(&format!("PostgreSQL is left out: {why}"));
                return None;
            }
        },
    };
    let url = match &server {
        Some(server) => Some(Secret::new(server.new_database().await)),
        None => None,
    };
    let shop = Box::pin(Shop::open_with(Engine::Sqlite, |config| {
        change(config);
        if url.is_some() {
            config.database_url = url;
        }
    }));
    Some((shop.await.unwrap(), server))
}

/// Registers customers with enough credit for any number of purchases.
pub async fn customers(shop: &Shop, word: &str, count: usize) -> Vec<(Client, UserId)> {
    let mut customers = Vec::with_capacity(count);
    for number in 0..count {
        let email = format!("{word}-{number}@example.com");
        let customer = shop.customer_with_credit(&email, 100_000_000).await;
        let profile = customer.get("/api/user/profile").await.data(200);
        let id = profile["id"].as_str().unwrap().parse().unwrap();
        customers.push((customer, id));
    }
    customers
}

/// Buys for a month, without a request.
pub async fn buy(state: &AppState, user_id: UserId, plan_id: PlanId) {
    let order = Order {
        user_id,
        plan_id,
        term_months: 1,
        coupon: None,
        config: json!({}),
        is_gift: false,
    };
    let bought = subscriptions::buy(&state.subscriptions, &order, None).await;
    bought.unwrap().commit().await.unwrap();
}

/// Returns the resident memory of this process, in KiB.
pub fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.unwrap_or_default().split_whitespace().next();
    words.unwrap_or_default().parse().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_fails_the_benchmark_whatever_comes_after_it() {
        let goals = Goals::new();
        assert_eq!((goals.note(true), goals.status()), ("met", 0));
        assert_eq!((goals.note(false), goals.status()), ("MISSED", 1));
        assert_eq!((goals.note(true), goals.status()), ("met", 1));
    }
}
