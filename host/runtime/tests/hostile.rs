//! Misbehaving components: each fault has an error of its own and leaves the runtime intact.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what cannot go on must stop"
)]

use std::{sync::Arc, time::Duration};

use dermaga_runtime::{
    CallError, Failure, LoadError, LogLevel, Plugin, Runtime, RuntimeConfig,
    contract::{
        Answer, Decision, DescribeRequest, Effect, Evaluation, Facts, Grant, Place, PriceAnswer,
        Refusal, Settings, coupon, service,
    },
    fixtures::{self, CouponFixture, Misdeed, ServiceFixture},
};
use serde_json::{Value, json};

fn runtime() -> Runtime {
    Runtime::new(RuntimeConfig {
        concurrency: 2,
        ..RuntimeConfig::default()
    })
    .unwrap()
}

fn evaluation() -> Evaluation {
    Evaluation {
        parameters: json!({"amount": 10_000}),
        moment: 1_795_000_000,
        place: Place::Wallet,
        purchase: None,
        facts: Facts::default(),
    }
}

fn coupon(fixture: &CouponFixture) -> Plugin {
    runtime().load(&fixture.component()).unwrap()
}

fn misbehaving(misdeed: Misdeed) -> CallError {
    let plugin = coupon(&CouponFixture::misbehaving("evaluate", misdeed));
    let error = plugin.call::<coupon::Evaluate>(&evaluation()).unwrap_err();
    assert_eq!(
        (&*error.plugin, &*error.version),
        ("coupon-fixture", "1.0.0")
    );
    assert_eq!(&*error.function, "evaluate");
    error
}

#[test]
fn an_endless_loop_ends_by_fuel() {
    let error = misbehaving(Misdeed::LoopForever);
    assert_eq!(error.failure, Failure::FuelExhausted { limit: 10_000_000 });
    assert_eq!(error.usage.unwrap().fuel, 10_000_000);
}

#[test]
fn a_memory_bomb_ends_at_the_limit_of_its_kind_of_call() {
    let error = misbehaving(Misdeed::GrowMemory);
    assert_eq!(error.failure, Failure::MemoryExceeded { limit: 16 << 20 });
    assert_eq!(error.usage.unwrap().memory_bytes, 16 << 20);

    let fixture = ServiceFixture::misbehaving("health", Misdeed::GrowMemory);
    let plugin = runtime().load(&fixture.component()).unwrap();
    let error = plugin.call_json("health", &observation()).unwrap_err();
    assert_eq!(error.failure, Failure::MemoryExceeded { limit: 32 << 20 });
}

#[test]
fn endless_recursion_ends_at_the_stack_limit() {
    let error = misbehaving(Misdeed::Recurse);
    assert_eq!(error.failure, Failure::StackOverflow { limit: 512 << 10 });
}

#[test]
fn a_trap_is_told_with_the_plugins_last_words() {
    let error = misbehaving(Misdeed::Trap);
    assert_eq!(error.code(), "PLUGIN_TRAPPED");
    assert_eq!(
        error.to_string(),
        "plugin coupon-fixture 1.0.0, evaluate: it stopped on its own error: \
         wasm trap: wasm `unreachable` instruction executed"
    );
    let error = misbehaving(Misdeed::Panic);
    assert!(
        error.to_string().ends_with("it last said: coupon-f"),
        "{error}"
    );
    assert_eq!(error.logs.first().unwrap().level, LogLevel::Error);
}

#[test]
fn an_output_bomb_never_reaches_the_host() {
    let decision = Decision::Grant(Grant {
        effect: Effect::Credit(1),
        reason: "x".repeat(1_000_000),
    });
    let plugin = coupon(&CouponFixture::deciding(decision));
    let error = plugin.call::<coupon::Evaluate>(&evaluation()).unwrap_err();
    assert_eq!(error.failure, Failure::OutputTooLarge { limit: 20_000 });
    assert_eq!(
        misbehaving(Misdeed::LongLog(100_000)).code(),
        "PLUGIN_OUTPUT_TOO_LARGE"
    );
}

#[test]
fn log_lines_are_bounded_and_a_flood_ends_by_fuel() {
    let plugin = coupon(&CouponFixture::misbehaving(
        "evaluate",
        Misdeed::FloodLog(100),
    ));
    let logs = plugin.call::<coupon::Evaluate>(&evaluation()).unwrap().logs;
    assert_eq!(logs.len(), 65);
    assert_eq!(
        logs.last().unwrap().message,
        "36 further lines were dropped"
    );

    let plugin = coupon(&CouponFixture::misbehaving(
        "evaluate",
        Misdeed::LongLog(5_000),
    ));
    let logs = plugin.call::<coupon::Evaluate>(&evaluation()).unwrap().logs;
    assert_eq!(logs.first().unwrap().message.len(), 1000);

    assert_eq!(
        misbehaving(Misdeed::FloodLog(1_000_000)).code(),
        "PLUGIN_FUEL_EXHAUSTED"
    );
}

#[test]
fn the_clock_stops_what_the_fuel_would_allow() {
    let mut config = RuntimeConfig {
        concurrency: 1,
        ..RuntimeConfig::default()
    };
    config.limits.quick.fuel = u64::MAX / 2;
    config.limits.quick.deadline = Duration::from_millis(30);
    let component = CouponFixture::misbehaving("evaluate", Misdeed::LoopForever).component();
    let plugin = Runtime::new(config).unwrap().load(&component).unwrap();
    for _ in 0..2 {
        let error = plugin.call::<coupon::Evaluate>(&evaluation()).unwrap_err();
        assert_eq!(error.failure, Failure::DeadlineExceeded { limit_ms: 30 });
        assert!(error.usage.unwrap().duration >= Duration::from_millis(30));
        // Long enough for the clock to stop, as no call runs.
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn answers_that_break_the_contract_are_malformed() {
    assert_eq!(
        misbehaving(Misdeed::WildPointer).code(),
        "PLUGIN_MALFORMED_OUTPUT"
    );
    for (decision, field) in [
        (
            Decision::Grant(Grant {
                effect: Effect::Discount(-1),
                reason: "No.".into(),
            }),
            "grant.effect",
        ),
        (
            Decision::Refuse(Refusal {
                code: "no".into(),
                message: "No.".into(),
            }),
            "refuse.code",
        ),
    ] {
        let plugin = coupon(&CouponFixture::deciding(decision));
        match plugin
            .call::<coupon::Evaluate>(&evaluation())
            .unwrap_err()
            .failure
        {
            Failure::MalformedOutput { field: found, .. } => assert_eq!(found, field),
            other => panic!("{other:?}"),
        }
    }
    let price = PriceAnswer {
        lines: Vec::new(),
        total: 1,
    };
    let plugin = runtime().load(
        &ServiceFixture {
            price,
            ..ServiceFixture::default()
        }
        .component(),
    );
    assert_eq!(
        plugin
            .unwrap()
            .call_json("price", &price_request())
            .unwrap_err()
            .to_string(),
        "plugin service-fixture 1.0.0, price: its answer breaks the contract at `total`: it is 1 \
         and the lines add up to 0"
    );
}

#[test]
fn a_full_runtime_answers_busy_after_a_bounded_wait() {
    let mut config = RuntimeConfig {
        concurrency: 1,
        queue_wait: Duration::from_millis(5),
        ..RuntimeConfig::default()
    };
    config.limits.quick.fuel = u64::MAX / 2;
    config.limits.quick.deadline = Duration::from_millis(300);
    let runtime = Runtime::new(config).unwrap();
    let slow = CouponFixture::misbehaving("evaluate", Misdeed::LoopForever).component();
    let (slow, quick) = (runtime.load(&slow).unwrap(), coupon_of(&runtime));
    std::thread::scope(|scope| {
        scope.spawn(|| slow.call::<coupon::Evaluate>(&evaluation()).unwrap_err());
        std::thread::sleep(Duration::from_millis(50));
        let error = quick.call::<coupon::Evaluate>(&evaluation()).unwrap_err();
        assert_eq!(
            error.failure,
            Failure::Busy {
                limit: 1,
                waited_ms: 5
            }
        );
        assert!(error.failure.is_transient());
    });
    quick.call::<coupon::Evaluate>(&evaluation()).unwrap();
}

fn coupon_of(runtime: &Runtime) -> Plugin {
    runtime.load(&CouponFixture::default().component()).unwrap()
}

#[test]
fn many_failures_leave_no_place_taken() {
    let runtime = runtime();
    let bad = runtime
        .load(&CouponFixture::misbehaving("evaluate", Misdeed::GrowMemory).component())
        .unwrap();
    let good = coupon_of(&runtime);
    for _ in 0..50 {
        bad.call::<coupon::Evaluate>(&evaluation()).unwrap_err();
        good.call::<coupon::Evaluate>(&evaluation()).unwrap();
    }
}

#[test]
fn what_is_no_plugin_is_refused_with_its_own_code() {
    let runtime = runtime();
    let code = |bytes: &[u8]| runtime.load(bytes).unwrap_err().code();
    assert_eq!(code(b"hello"), "COMPONENT_IS_TEXT");
    assert_eq!(code(b""), "COMPONENT_EMPTY");
    assert_eq!(code(&[0x1f, 0x8b, 8, 0]), "COMPONENT_COMPRESSED");
    assert_eq!(code(&fixtures::truncated()), "COMPONENT_MALFORMED");
    assert_eq!(code(&fixtures::core_module()), "COMPONENT_IS_CORE_MODULE");
    assert_eq!(code(&fixtures::precompiled()), "COMPONENT_PRECOMPILED");
    assert_eq!(code(&fixtures::wrong_world()), "COMPONENT_WRONG_WORLD");
    assert_eq!(code(&vec![0; (4 << 20) + 1]), "COMPONENT_ABOVE_CLASS");
    assert_eq!(code(&vec![0; (16 << 20) + 1]), "COMPONENT_TOO_LARGE");
    assert_eq!(
        runtime.load(&fixtures::forbidden_import()).unwrap_err(),
        LoadError::ForbiddenImport("wasi:clocks/monotonic-clock@0.2.6".to_owned())
    );
    assert_eq!(
        runtime
            .load(&fixtures::wrong_contract())
            .unwrap_err()
            .to_string(),
        "the component was built against dermaga:plugin@0.7.0 and this server speaks 0.1.0 and \
         0.2.0: rebuild it with the dermaga-plugin-sdk that comes with this server, or run a server that speaks 0.7.0"
    );
}

#[test]
fn a_component_that_describes_itself_badly_is_refused() {
    let runtime = runtime();
    let refused = |fixture: ServiceFixture| match runtime.load(&fixture.component()).unwrap_err() {
        LoadError::BadMetadata { field, .. } => field,
        other => panic!("{other}"),
    };
    let mut fixture = ServiceFixture::default();
    fixture.about.id = "No".into();
    assert_eq!(refused(fixture), "about.id");
    let mut fixture = ServiceFixture::default();
    fixture.about.version = "1".into();
    assert_eq!(refused(fixture), "about.version");
    let mut fixture = ServiceFixture::default();
    fixture.description.images[0].reference = Some("nginx:latest".into());
    assert_eq!(refused(fixture), "images[0].reference");
    let mut fixture = ServiceFixture::default();
    fixture
        .description
        .images
        .push(fixture.description.images[0].clone());
    assert_eq!(refused(fixture), "images[1]");
    let mut fixture = ServiceFixture::default();
    fixture.description.config_schema = json!({"type": "string"});
    assert_eq!(refused(fixture), "configSchema");

    let looping = CouponFixture::misbehaving("describe", Misdeed::LoopForever).component();
    assert_eq!(
        runtime.load(&looping).unwrap_err().code(),
        "COMPONENT_DESCRIBE_FAILED"
    );
}

fn plan() -> Value {
    json!({
        "slug": "basic", "tier": "BASIC", "monthlyPrice": 50_000,
        "resources": {"cpuMillis": 500, "memoryMib": 512, "storageGib": 5, "replicas": 1}
    })
}

fn price_request() -> Value {
    json!({"plan": plan(), "term": {"months": 1}, "config": {}, "occasion": "first", "moment": 0})
}

fn observation() -> Value {
    let instance = json!({
        "name": "shop", "plan": plan(), "config": {}, "secretObject": "shop-secrets", "secrets": [],
        "images": []
    });
    json!({"instance": instance, "observed": []})
}

#[test]
fn every_function_of_both_worlds_answers_by_type_and_by_name() {
    let runtime = runtime();
    let service =
        runtime.load(&ServiceFixture::rendering(vec![json!({"kind": "Job"})]).component());
    let service = service.unwrap();
    let instance = &observation()["instance"];
    for (function, input, answer) in [
        (
            "check",
            json!({"plan": plan(), "config": {}}),
            json!({"ok": null}),
        ),
        (
            "manifests",
            instance.clone(),
            json!({"ok": [{"kind": "Job"}]}),
        ),
        (
            "health",
            observation(),
            json!({"state": "ready", "message": "It is ready."}),
        ),
        (
            "access",
            instance.clone(),
            json!({"url": null, "fields": [], "notes": ""}),
        ),
        (
            "plan-change",
            json!({"from": plan(), "to": plan(), "config": {}}),
            json!("allowed"),
        ),
    ] {
        assert_eq!(
            service.call_json(function, &input).unwrap().value,
            answer,
            "{function}"
        );
    }
    let described = service
        .call::<service::Describe>(&DescribeRequest::default())
        .unwrap();
    let told = service.describe(&Settings::new()).unwrap();
    assert_eq!(
        described.value,
        Answer::Ok(ServiceFixture::default().description)
    );
    assert_eq!(
        told,
        Answer::Ok(Arc::new(ServiceFixture::default().description))
    );
    assert_eq!(
        service.call_json("price", &price_request()).unwrap().value["ok"]["total"],
        50_000
    );

    let coupon = coupon_of(&runtime);
    let called = coupon.call::<coupon::Evaluate>(&evaluation()).unwrap();
    assert_eq!(called.value, CouponFixture::default().decision);
    assert!(called.usage.fuel > 0 && called.usage.memory_bytes >= 65_536);
    assert_eq!(
        called.usage.fuel,
        coupon
            .call::<coupon::Evaluate>(&evaluation())
            .unwrap()
            .usage
            .fuel
    );
}

#[test]
fn what_a_plugin_does_not_have_or_take_is_said() {
    let coupon = coupon(&CouponFixture::default());
    for error in [
        coupon.call_json("prize", &Value::Null).unwrap_err(),
        coupon
            .call::<service::Describe>(&DescribeRequest::default())
            .unwrap_err(),
    ] {
        assert_eq!(
            error.failure,
            Failure::UnknownFunction {
                known: "check, describe, evaluate".into()
            }
        );
    }
    let error = coupon
        .call_json("evaluate", &json!({"parameters": {}}))
        .unwrap_err();
    assert_eq!(error.code(), "PLUGIN_BAD_INPUT");
    assert!(
        error.to_string().contains("missing field `moment`"),
        "{error}"
    );
}
