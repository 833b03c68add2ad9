//! Reports about components made by hand: those that keep the contract, and each way to break it.

use dermaga_runtime::{
    LoadError, Runtime, RuntimeConfig,
    contract::{Decision, Effect, Grant, Place},
    fixtures::{CouponFixture, Misdeed, ServiceFixture, forbidden_import},
};
use serde_json::{Value, json};

use super::*;

pub(super) const TEMPLATE: &str = r#"slug = "fixture"
name = "Fixture"
summary = "For tests."
description = "For tests."
plugin = "service-fixture"
[category]
slug = "tests"
name = "Tests"
description = "For tests."
[images]
app = "docker.io/library/nginx:1.29.3"
[[plans]]
slug = "free"
name = "Free"
tier = "FREE"
monthly_price = 0
quota = 1
max_instances_per_user = 1
features = ["One"]
resources = { cpu_millis = 100, memory_mib = 128, storage_gib = 1, replicas = 1 }
[[plans]]
slug = "basic"
name = "Basic"
tier = "BASIC"
monthly_price = 50000
quota = 1
max_instances_per_user = 1
features = ["Two"]
resources = { cpu_millis = 200, memory_mib = 256, storage_gib = 2, replicas = 1 }
"#;

fn load(component: &[u8]) -> Result<Plugin, LoadError> {
    let config = RuntimeConfig {
        concurrency: 1,
        ..RuntimeConfig::default()
    };
    Runtime::new(config).unwrap().load(component)
}

fn coupon(fixture: &CouponFixture, cases: &[Case]) -> Report {
    conformance(&load(&fixture.component()).unwrap(), &[], cases)
}

fn service(fixture: &ServiceFixture, template: &str, cases: &[Case]) -> Report {
    let templates = if template.is_empty() {
        Vec::new()
    } else {
        vec![Template::parse("t.toml", template).unwrap()]
    };
    conformance(&load(&fixture.component()).unwrap(), &templates, cases)
}

fn case(function: &str, input: Value, output: Option<Value>) -> Case {
    Case {
        name: "one".into(),
        description: "A case.".into(),
        function: function.into(),
        input,
        output,
    }
}

fn evaluation() -> Value {
    json!({"parameters": {}, "moment": 0, "place": "wallet"})
}

fn outcomes(report: &Report) -> Vec<(&str, Outcome)> {
    report
        .checks
        .iter()
        .map(|check| (check.name.as_str(), check.outcome))
        .collect()
}

#[test]
fn a_coupon_that_keeps_the_contract_conforms_and_its_shares_name_calls() {
    let answer = json!({"grant": {"effect": {"credit": 10_000}, "reason": "A fixed gift."}});
    let report = coupon(
        &CouponFixture::default(),
        &[case("evaluate", evaluation(), Some(answer))],
    );
    assert!(report.passed(), "{report}");
    let names: Vec<_> = report
        .shares
        .iter()
        .map(|share| share.limit.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "component",
            "fuel",
            "time",
            "memory",
            "output",
            "log lines",
            "log line",
            "stack"
        ]
    );
    for share in &report.shares {
        assert!(share.percent <= 100 && !share.call.is_empty(), "{report}");
        // The fixture logs nothing.
        assert_eq!(share.used == 0, share.limit.starts_with("log"), "{report}");
    }
}

#[test]
fn the_stack_that_the_deepest_call_needs_is_found() {
    let share = |depth| {
        let fixture = CouponFixture::misbehaving("evaluate", Misdeed::RecurseTo(depth));
        let report = coupon(&fixture, &[case("evaluate", evaluation(), None)]);
        let mut shares = report.shares.into_iter();
        shares.find(|share| share.limit == "stack").unwrap()
    };
    let (shallow, deep) = (share(10), share(2_500));
    assert_eq!((shallow.percent, shallow.used), (2, 8_192));
    assert!((25..=100).contains(&deep.percent), "{deep:?}");
    assert!(deep.call.starts_with("evaluate"), "{deep:?}");
}

#[test]
fn a_changed_answer_is_shown_at_its_place() {
    let old = json!({"grant": {"effect": {"credit": 9_000}, "reason": "A fixed gift."}});
    let report = coupon(
        &CouponFixture::default(),
        &[case("evaluate", evaluation(), Some(old))],
    );
    let failure = report.first_failure().unwrap().to_string();
    assert!(
        failure.starts_with(
            "cases: 1 problem: one (A case.): /grant/effect/credit: expected 9000, answered 10000"
        ),
        "{failure}"
    );
    let report = coupon(
        &CouponFixture::default(),
        &[case("evaluate", evaluation(), None)],
    );
    assert!(
        report
            .first_failure()
            .unwrap()
            .to_string()
            .contains("no output yet"),
        "{report}"
    );
    let report = coupon(
        &CouponFixture::default(),
        &[case("evaluatee", json!({}), None)],
    );
    assert!(
        report
            .first_failure()
            .unwrap()
            .to_string()
            .contains("PLUGIN_UNKNOWN_FUNCTION"),
        "{report}"
    );
}

#[test]
fn an_effect_where_it_cannot_be_given_fails() {
    let mut fixture = CouponFixture::deciding(Decision::Grant(Grant {
        effect: Effect::Discount(5),
        reason: "No.".into(),
    }));
    assert!(coupon(&fixture, &[]).passed());
    fixture.description.places = vec![Place::Wallet];
    let report = coupon(&fixture, &[]);
    assert!(
        report
            .first_failure()
            .unwrap()
            .to_string()
            .contains("cannot be given there"),
        "{report}"
    );
}

#[test]
fn a_call_that_fails_is_named_with_its_code() {
    let report = coupon(
        &CouponFixture::misbehaving("evaluate", Misdeed::LoopForever),
        &[],
    );
    let failure = report.first_failure().unwrap();
    assert_eq!(failure.name, "calls");
    assert!(
        failure.details[0].starts_with("evaluate at wallet"),
        "{report}"
    );
    assert!(
        failure.details[0].ends_with("(PLUGIN_FUEL_EXHAUSTED)"),
        "{report}"
    );
    let fuel = report
        .shares
        .iter()
        .find(|share| share.limit == "fuel")
        .unwrap();
    assert!(
        fuel.percent >= 100 && fuel.call.starts_with("evaluate"),
        "{fuel:?}"
    );
}

#[test]
fn a_schema_that_is_none_and_one_without_samples_are_told_apart() {
    let mut fixture = CouponFixture::default();
    fixture.description.parameters_schema = json!({"type": "object", "properties": 5});
    let report = coupon(&fixture, &[]);
    assert_eq!(report.first_failure().unwrap().name, "describe", "{report}");
    fixture.description.parameters_schema = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "pattern": "^[0-9]{9}$"}}});
    let report = coupon(&fixture, &[]);
    assert!(
        outcomes(&report).contains(&("calls", Outcome::Skip)),
        "{report}"
    );
}

#[test]
fn a_service_is_tried_on_every_plan_that_is_sold() {
    let mut fixture = ServiceFixture::default();
    fixture.price.lines.clear();
    fixture.price.total = 0;
    let report = service(&fixture, TEMPLATE, &[]);
    assert!(report.passed(), "{report}");
    let gate = report
        .checks
        .iter()
        .find(|check| check.name == "gate")
        .unwrap();
    assert_eq!(
        gate.message,
        "2 plans of fixture: within what each buys, and within the rules"
    );
}

#[test]
fn what_the_gate_refuses_is_reported_for_each_plan_with_the_fix() {
    let fixture = ServiceFixture::rendering(vec![
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}),
    ]);
    let report = service(&fixture, TEMPLATE, &[]);
    let gate = report.first_failure().unwrap();
    assert_eq!(gate.name, "gate", "{report}");
    assert!(
        gate.details[0].starts_with("fixture free: Node/n"),
        "{report}"
    );
    assert!(
        gate.details
            .iter()
            .any(|detail| detail.starts_with("fixture basic: ")),
        "{report}"
    );
    assert!(
        gate.details[0].contains("GATE_KIND_NOT_ALLOWED") && gate.fix.is_some(),
        "{report}"
    );
}

#[test]
fn a_template_lists_exactly_the_images_the_plugin_runs() {
    let report = service(
        &ServiceFixture::default(),
        &TEMPLATE.replace("app = ", "apq = "),
        &[],
    );
    let template = report.first_failure().unwrap();
    assert_eq!(
        template.details,
        [
            "fixture: [images] does not list `app`, which the plugin runs",
            "fixture: [images] lists `apq`, which the plugin does not know"
        ]
    );
}

#[test]
fn an_upgrade_credits_at_most_what_was_paid() {
    let mut fixture = ServiceFixture::default();
    let mut credit = fixture.price.lines[0].clone();
    credit.amount = -1;
    fixture.price.lines.push(credit);
    fixture.price.total -= 1;
    let report = service(&fixture, TEMPLATE, &[]);
    let failure = report.first_failure().unwrap().to_string();
    assert!(
        failure.contains("upgrade from fixture free: it credits 1 rupiah and only 0 was paid"),
        "{failure}"
    );
}

#[test]
fn without_a_template_the_plans_of_the_cases_serve_and_without_cases_the_gate_is_skipped() {
    let report = service(&ServiceFixture::default(), "", &[]);
    assert!(
        report.passed() && outcomes(&report).contains(&("gate", Outcome::Skip)),
        "{report}"
    );
    let plan = serde_json::to_value(sample::plan(50_000)).unwrap();
    let check = case(
        "check",
        json!({"plan": plan, "config": {}}),
        Some(json!({"ok": null})),
    );
    let report = service(&ServiceFixture::default(), "", &[check]);
    let gate = report
        .checks
        .iter()
        .find(|check| check.name == "gate")
        .unwrap();
    assert_eq!(
        (
            gate.outcome,
            gate.message
                .starts_with("no template given: checked with 1 plan")
        ),
        (Outcome::Pass, true),
        "{report}"
    );
}

#[test]
fn a_component_that_does_not_load_is_a_report_too() {
    let refused = load(&forbidden_import()).unwrap_err();
    let report = Report::refused(&refused);
    assert!(!report.passed());
    assert!(
        report.to_string().contains("COMPONENT_FORBIDDEN_IMPORT"),
        "{report}"
    );
}

#[test]
fn blessing_writes_the_answer_and_never_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gift.json");
    let text = json!({"description": "A gift.", "function": "evaluate", "input": evaluation()})
        .to_string();
    std::fs::write(&file, &text).unwrap();
    let hostile = load(&CouponFixture::misbehaving("evaluate", Misdeed::Trap).component()).unwrap();
    let error = crate::case::bless(folder.path(), &hostile)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("the case gift has no answer to bless"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);

    let plugin = load(&CouponFixture::default().component()).unwrap();
    assert_eq!(
        crate::case::bless(folder.path(), &plugin).unwrap(),
        ["gift"]
    );
    assert_eq!(
        crate::case::bless(folder.path(), &plugin).unwrap(),
        Vec::<String>::new()
    );
    let cases = Case::load_dir(folder.path()).unwrap();
    assert!(conformance(&plugin, &[], &cases).passed());
}
