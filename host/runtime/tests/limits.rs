//! Every limit by its name: one test value below it and one above.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what cannot go on must stop"
)]

use std::time::Duration;

use dermaga_runtime::{
    CallLimits, Called, Failure, Limits, Runtime, RuntimeConfig,
    contract::{Decision, Effect, Evaluation, Facts, Grant, Place, coupon},
    fixtures::{CouponFixture, Misdeed, ServiceFixture},
};
use serde_json::{Value, json};

const PAGE: usize = 65_536;

fn runtime(change: impl FnOnce(&mut Limits)) -> Runtime {
    let mut config = RuntimeConfig {
        concurrency: 1,
        ..RuntimeConfig::default()
    };
    change(&mut config.limits);
    Runtime::new(config).unwrap()
}

fn evaluation() -> Evaluation {
    Evaluation {
        parameters: json!({}),
        moment: 0,
        place: Place::Wallet,
        purchase: None,
        facts: Facts::default(),
    }
}

fn observation() -> Value {
    let resources = json!({"cpuMillis": 500, "memoryMib": 512, "storageGib": 5, "replicas": 1});
    let plan = json!({
        "slug": "basic", "tier": "BASIC", "monthlyPrice": 50_000, "resources": resources
    });
    let instance = json!({
        "name": "shop", "plan": plan, "config": {}, "secretObject": "shop-secrets", "secrets": [],
        "images": []
    });
    json!({"instance": instance, "observed": []})
}

/// Evaluates a coupon (a quick call) that does this first.
fn evaluate(runtime: &Runtime, misdeed: Misdeed) -> Result<Called<Decision>, Failure> {
    let component = CouponFixture::misbehaving("evaluate", misdeed).component();
    let plugin = runtime.load(&component).unwrap();
    plugin
        .call::<coupon::Evaluate>(&evaluation())
        .map_err(|error| error.failure)
}

/// Asks a service for its health (a heavy call), which does this first.
fn health(runtime: &Runtime, misdeed: Misdeed) -> Result<Called<Value>, Failure> {
    let component = ServiceFixture::misbehaving("health", misdeed).component();
    let plugin = runtime.load(&component).unwrap();
    plugin
        .call_json("health", &observation())
        .map_err(|error| error.failure)
}

/// The two kinds of call.
type Of = fn(&mut Limits) -> &mut CallLimits;
type Call = fn(&Runtime, Misdeed) -> Result<u64, Failure>;
const KINDS: [(&str, Of, Call); 2] = [
    (
        "quick",
        |limits| &mut limits.quick,
        |runtime, misdeed| evaluate(runtime, misdeed).map(|called| called.usage.fuel),
    ),
    (
        "heavy",
        |limits| &mut limits.heavy,
        |runtime, misdeed| health(runtime, misdeed).map(|called| called.usage.fuel),
    ),
];

#[test]
fn fuel() {
    // Fuel is checked when a loop repeats, so a call runs out of it only there.
    const ROUND: u64 = 100;
    for (kind, of, call) in KINDS {
        let work = Misdeed::Work(10_000);
        let used = call(&runtime(|_| {}), work).unwrap();
        assert!(used > 10_000, "{kind}");
        let with = |fuel| call(&runtime(|limits| of(limits).fuel = fuel), work);
        assert_eq!(with(used), Ok(used), "{kind}: exactly enough");
        let limit = used - ROUND;
        assert_eq!(
            with(limit),
            Err(Failure::FuelExhausted { limit }),
            "{kind}: too little"
        );
    }
}

#[test]
fn memory() {
    for (kind, of, call) in KINDS {
        let pages = 40;
        let limit = pages * PAGE;
        let grow = |pages: usize| {
            let misdeed = Misdeed::GrowMemoryTo(u32::try_from(pages).unwrap());
            call(&runtime(|limits| of(limits).memory_bytes = limit), misdeed)
        };
        assert!(grow(pages).is_ok(), "{kind}: all of it");
        assert_eq!(
            grow(pages + 1),
            Err(Failure::MemoryExceeded { limit }),
            "{kind}: a page more"
        );
    }
}

#[test]
fn output() {
    let answer = |length: usize, limit: usize| {
        let runtime = runtime(|limits| limits.quick.output_bytes = limit);
        let fixture = CouponFixture::deciding(Decision::Grant(Grant {
            effect: Effect::Credit(1),
            reason: "x".repeat(length),
        }));
        let plugin = runtime.load(&fixture.component()).unwrap();
        plugin
            .call::<coupon::Evaluate>(&evaluation())
            .map(|called| called.usage.output_bytes)
            .map_err(|error| error.failure)
    };
    let limit = 200;
    assert!(answer(limit, limit).is_ok(), "as long as the limit");
    assert_eq!(
        answer(limit + 1, limit),
        Err(Failure::OutputTooLarge { limit }),
        "a byte longer"
    );
}

#[test]
fn stack() {
    let deepest = |stack_bytes: usize| {
        let runtime = runtime(|limits| limits.stack_bytes = stack_bytes);
        let descend = |depth| evaluate(&runtime, Misdeed::RecurseTo(depth));
        let (mut fits, mut overflows) = (1, 1_000_000);
        while overflows - fits > 1 {
            let middle = u32::midpoint(fits, overflows);
            match descend(middle) {
                Ok(_) => fits = middle,
                Err(failure) => {
                    let limit = stack_bytes;
                    assert_eq!(failure, Failure::StackOverflow { limit });
                    overflows = middle;
                }
            }
        }
        fits
    };
    let (small, large) = (deepest(128 * 1024), deepest(256 * 1024));
    let ratio = large * 100 / small;
    assert!((195..=205).contains(&ratio), "{small} and {large} frames");
}

#[test]
fn deadline() {
    let limit_ms = 30;
    for (kind, of, call) in KINDS {
        let runtime = runtime(|limits| {
            let limits = of(limits);
            limits.fuel = u64::MAX / 2;
            limits.deadline = Duration::from_millis(limit_ms);
        });
        assert_eq!(
            call(&runtime, Misdeed::LoopForever),
            Err(Failure::DeadlineExceeded { limit_ms }),
            "{kind}"
        );
    }
    for (kind, of, call) in KINDS {
        let ample = runtime(|limits| of(limits).deadline = Duration::from_secs(600));
        assert!(call(&ample, Misdeed::Work(1_000)).is_ok(), "{kind}");
    }
}

#[test]
fn log_lines() {
    let runtime = runtime(|limits| limits.log_lines = 5);
    let said = |lines| evaluate(&runtime, Misdeed::FloodLog(lines)).unwrap().logs;
    assert_eq!(said(5).len(), 5);
    let cut = said(6);
    assert_eq!(
        (cut.len(), cut[5].message.as_str()),
        (6, "1 further line was dropped")
    );
}

#[test]
fn log_line_length() {
    let runtime = runtime(|limits| limits.log_line_bytes = 50);
    let said = |bytes| {
        let logs = evaluate(&runtime, Misdeed::LongLog(bytes)).unwrap().logs;
        logs[0].message.len()
    };
    assert_eq!((said(49), said(50), said(51)), (49, 50, 50));
}
