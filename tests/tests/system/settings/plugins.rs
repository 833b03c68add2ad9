//! Limits of plugin calls, and the places for them.

use dermaga_runtime::{
    Failure, Plugin, SizeClass,
    contract::{Decision, Effect, Grant},
    fixtures::{CouponFixture, Misdeed, ServiceFixture},
};
use dermaga_tests::{Client, Shop};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::empty_shop;

/// Calls this function of a component under this server's limits; returns its failure.
fn failure(shop: &Shop, component: &[u8], function: &str) -> Failure {
    let plugin = shop.state().plugins.runtime().load(component).unwrap();
    let input = match function {
        "evaluate" => evaluation(),
        "health" => json!({ "instance": instance(), "observed": [] }),
        _ => instance(),
    };
    plugin.call_json(function, &input).unwrap_err().failure
}

fn evaluation() -> Value {
    json!({ "parameters": {}, "moment": 0, "place": "wallet", "purchase": null, "facts": {} })
}

fn instance() -> Value {
    let resources = json!({ "cpuMillis": 500, "memoryMib": 512, "storageGib": 1, "replicas": 1 });
    let plan = json!({
        "slug": "basic", "tier": "BASIC", "monthlyPrice": 50_000, "resources": resources,
    });
    json!({
        "name": "shop", "plan": plan, "config": {}, "secretObject": "shop-secrets", "secrets": [],
        "images": [],
    })
}

fn bad_coupon(misdeed: Misdeed) -> Vec<u8> {
    CouponFixture::misbehaving("evaluate", misdeed).component()
}

fn bad_service(function: &str, misdeed: Misdeed) -> Vec<u8> {
    ServiceFixture::misbehaving(function, misdeed).component()
}

#[tokio::test]
async fn every_limit_of_a_call_is_the_one_that_was_set() {
    let shop = empty_shop(&[
        ("DERMAGA_PLUGIN_QUICK_FUEL", "123_456"),
        ("DERMAGA_PLUGIN_QUICK_MEMORY_MIB", "3"),
        ("DERMAGA_PLUGIN_QUICK_OUTPUT_BYTES", "4_321"),
        ("DERMAGA_PLUGIN_HEAVY_FUEL", "654_321"),
        ("DERMAGA_PLUGIN_HEAVY_MEMORY_MIB", "5"),
        ("DERMAGA_PLUGIN_HEAVY_OUTPUT_BYTES", "8_765"),
        ("DERMAGA_PLUGIN_STACK_KIB", "96"),
    ])
    .await;
    let talkative = CouponFixture::deciding(Decision::Grant(Grant {
        effect: Effect::Credit(1),
        reason: "x".repeat(5_000),
    }));
    let bulky = ServiceFixture::rendering(vec![json!({ "kind": "x".repeat(9_000) })]);
    for (component, function, expected) in [
        (
            bad_coupon(Misdeed::LoopForever),
            "evaluate",
            Failure::FuelExhausted { limit: 123_456 },
        ),
        (
            bad_coupon(Misdeed::GrowMemory),
            "evaluate",
            Failure::MemoryExceeded { limit: 3 << 20 },
        ),
        (
            talkative.component(),
            "evaluate",
            Failure::OutputTooLarge { limit: 4_321 },
        ),
        (
            bad_service("manifests", Misdeed::LoopForever),
            "manifests",
            Failure::FuelExhausted { limit: 654_321 },
        ),
        (
            bad_service("health", Misdeed::GrowMemory),
            "health",
            Failure::MemoryExceeded { limit: 5 << 20 },
        ),
        (
            bulky.component(),
            "manifests",
            Failure::OutputTooLarge { limit: 8_765 },
        ),
        (
            bad_coupon(Misdeed::Recurse),
            "evaluate",
            Failure::StackOverflow { limit: 96 << 10 },
        ),
    ] {
        assert_eq!(failure(&shop, &component, function), expected);
    }
}

#[tokio::test]
async fn a_deadline_is_the_one_of_its_kind_of_call() {
    let shop = empty_shop(&[
        ("DERMAGA_PLUGIN_QUICK_FUEL", "10_000_000_000"),
        ("DERMAGA_PLUGIN_QUICK_DEADLINE_MS", "40"),
        ("DERMAGA_PLUGIN_HEAVY_FUEL", "10_000_000_000"),
        ("DERMAGA_PLUGIN_HEAVY_DEADLINE_MS", "60"),
    ])
    .await;
    assert_eq!(
        failure(&shop, &bad_coupon(Misdeed::LoopForever), "evaluate"),
        Failure::DeadlineExceeded { limit_ms: 40 }
    );
    assert_eq!(
        failure(
            &shop,
            &bad_service("health", Misdeed::LoopForever),
            "health"
        ),
        Failure::DeadlineExceeded { limit_ms: 60 }
    );
}

#[tokio::test]
async fn a_component_may_be_as_large_as_was_set() {
    let beyond_one_mib = vec![0; (1 << 20) + 1];
    for (standard, large, code) in [
        ("1", "1", "COMPONENT_TOO_LARGE"),
        ("1", "2", "COMPONENT_ABOVE_CLASS"),
        ("2", "2", "COMPONENT_MALFORMED"),
    ] {
        let shop = empty_shop(&[
            ("DERMAGA_PLUGIN_COMPONENT_MIB", standard),
            ("DERMAGA_PLUGIN_LARGE_COMPONENT_MIB", large),
        ])
        .await;
        let answer = shop.admin().await.upload(beyond_one_mib.clone()).await;
        answer.fails(400, "COMPONENT_REFUSED");
        assert!(
            answer.body.to_string().contains(code),
            "{standard} and {large} MiB: {:#}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_large_plugin_has_the_memory_that_was_set() {
    let shop = empty_shop(&[("DERMAGA_PLUGIN_LARGE_MEMORY_MIB", "40")]).await;
    let hungry = bad_coupon(Misdeed::GrowMemory);
    let runtime = shop.state().plugins.runtime();
    let plugin = runtime.load_as(&hungry, SizeClass::Large).unwrap();
    assert_eq!(
        plugin
            .call_json("evaluate", &evaluation())
            .unwrap_err()
            .failure,
        Failure::MemoryExceeded { limit: 40 << 20 }
    );
}

#[tokio::test]
async fn so_many_lines_of_a_call_are_kept_so_long() {
    let shop = empty_shop(&[
        ("DERMAGA_PLUGIN_LOG_LINES", "3"),
        ("DERMAGA_PLUGIN_LOG_LINE_BYTES", "17"),
    ])
    .await;
    let said = |misdeed| {
        let plugin = shop.state().plugins.runtime().load(&bad_coupon(misdeed));
        plugin
            .unwrap()
            .call_json("evaluate", &evaluation())
            .unwrap()
            .logs
    };
    let lines = said(Misdeed::FloodLog(5));
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[3].message, "2 further lines were dropped");
    assert_eq!(said(Misdeed::LongLog(100))[0].message.len(), 17);
}

/// Returns a coupon type whose calls take as long as this server allows.
fn slow(shop: &Shop) -> Plugin {
    let slow = bad_coupon(Misdeed::LoopForever);
    shop.state().plugins.runtime().load(&slow).unwrap()
}

/// Starts a call of such a coupon type.
fn call_slowly(slow: &Plugin) -> JoinHandle<()> {
    let slow = slow.clone();
    tokio::task::spawn_blocking(move || {
        let error = slow.call_json("evaluate", &evaluation()).unwrap_err();
        assert_eq!(error.code(), "PLUGIN_DEADLINE_EXCEEDED");
    })
}

/// Starts a call that takes as long as this server allows.
fn occupy(shop: &Shop) -> JoinHandle<()> {
    call_slowly(&slow(shop))
}

/// Installs a good coupon type; returns the request that tries it.
async fn dry_run(admin: &Client) -> (&'static str, Value) {
    let component = CouponFixture::default().component();
    let staged = admin.upload(component).await.data(201);
    let body = json!({
        "function": "evaluate", "input": evaluation(), "digest": staged["digest"],
    });
    ("/api/admin/plugins/coupon-fixture/dry-run", body)
}

/// During one call, others have a slot, wait for one, or are answered that there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_place_waits_and_then_answers_busy() {
    for (places, wait, is_refused) in [("1", "0s", true), ("2", "0s", false), ("1", "30s", false)] {
        let shop = empty_shop(&[
            ("DERMAGA_PLUGIN_CONCURRENCY", places),
            ("DERMAGA_PLUGIN_QUEUE_WAIT", wait),
            ("DERMAGA_PLUGIN_QUICK_FUEL", "10_000_000_000"),
            ("DERMAGA_PLUGIN_QUICK_DEADLINE_MS", "400"),
        ])
        .await;
        let admin = shop.admin().await;
        let (path, body) = dry_run(&admin).await;
        let (mut answered, mut refused) = (0, 0);
        // On a busy machine the slot may become free before the request arrives.
        for _ in 0..20 {
            let occupied = occupy(&shop);
            loop {
                let answer = admin.post(path, body.clone()).await;
                if answer.status == 200 {
                    answered += 1;
                } else {
                    answer.fails(503, "PLUGIN_BUSY");
                    refused += 1;
                }
                if occupied.is_finished() {
                    break;
                }
            }
            occupied.await.unwrap();
            if !is_refused || refused > 0 {
                break;
            }
        }
        assert_eq!(
            refused > 0,
            is_refused,
            "{places} places, {wait}: {refused}"
        );
        assert!(is_refused || answered > 0, "{places} places, {wait}");
    }
}

/// An upload without a free slot is answered as busy, without a verdict on the component.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_without_a_place_is_not_refused_but_busy() {
    let shop = empty_shop(&[
        ("DERMAGA_PLUGIN_CONCURRENCY", "1"),
        ("DERMAGA_PLUGIN_QUEUE_WAIT", "0s"),
        ("DERMAGA_PLUGIN_QUICK_FUEL", "10_000_000_000"),
        ("DERMAGA_PLUGIN_QUICK_DEADLINE_MS", "1000"),
    ])
    .await;
    let admin = shop.admin().await;
    let (path, body) = dry_run(&admin).await;
    let mut busy = 0;
    while busy == 0 {
        let occupied = occupy(&shop);
        while admin.post(path, body.clone()).await.status == 200 && !occupied.is_finished() {}
        let mut number = 0;
        while !occupied.is_finished() {
            number += 1;
            let mut fixture = CouponFixture::default();
            fixture.about.version = format!("2.0.{number}");
            let answer = admin.upload(fixture.component()).await;
            if answer.status != 201 {
                answer.fails(503, "PLUGIN_BUSY");
                busy += 1;
            }
        }
        occupied.await.unwrap();
    }
}

/// The request waits for a slot of plugin calls here, behind calls that together take longer than it may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_too_long_is_answered() {
    let shop = empty_shop(&[
        ("DERMAGA_REQUEST_TIMEOUT", "2s"),
        ("DERMAGA_PLUGIN_CONCURRENCY", "1"),
        ("DERMAGA_PLUGIN_QUEUE_WAIT", "30s"),
        ("DERMAGA_PLUGIN_QUICK_FUEL", "10_000_000_000"),
        ("DERMAGA_PLUGIN_QUICK_DEADLINE_MS", "1500"),
    ])
    .await;
    let admin = shop.admin().await;
    let (path, body) = dry_run(&admin).await;
    let slow = slow(&shop);
    let mut late = None;
    // On a busy machine the slot may be free again when a request arrives, which is answered in time then.
    for _ in 0..20 {
        let calls: Vec<_> = (0..3).map(|_| call_slowly(&slow)).collect();
        while late.is_none() && !calls.iter().all(JoinHandle::is_finished) {
            let answer = admin.post(path, body.clone()).await;
            late = (answer.status != 200).then_some(answer);
        }
        for call in calls {
            call.await.unwrap();
        }
        if late.is_some() {
            break;
        }
    }
    late.expect("one had to wait").fails(408, "REQUEST_TIMEOUT");
}
