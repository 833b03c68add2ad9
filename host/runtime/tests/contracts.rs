//! Plugins built against an older contract, which must answer as they did when they were built. The
//! components in `contract-0.1.0/` are what the toolkit made of `service-ghost` and
//! `coupon-credit-topup` when 0.1.0 was the newest contract, stripped of names; the file beside
//! each holds its answers of that time, one call a line, in the JSON of decisions. They are never
//! rebuilt: a change in any of these answers breaks every plugin in the field.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what cannot go on must stop"
)]

use std::{fs, path::PathBuf};

use dermaga_runtime::{
    Description, LoadError, Plugin, Runtime, RuntimeConfig, canonical_json,
    contract::{Answer, Settings, Version},
    fixtures::{self, CouponFixture, ServiceFixture},
};
use serde::Deserialize;
use serde_json::{Value, json};

const OLD: [&str; 2] = ["service-ghost", "coupon-credit-topup"];

/// One recorded call.
#[derive(Deserialize)]
struct Recorded {
    function: String,
    input: Value,
    output: Value,
}

fn file(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract-0.1.0");
    PathBuf::from(folder).join(name)
}

fn old(plugin: &str) -> Plugin {
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let component = fs::read(file(&format!("{plugin}.wasm"))).unwrap();
    runtime.load(&component).unwrap()
}

fn recorded(plugin: &str) -> Vec<Recorded> {
    let text = fs::read_to_string(file(&format!("{plugin}.jsonl"))).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn plugins_of_0_1_0_answer_what_they_answered_byte_for_byte() {
    for name in OLD {
        let plugin = old(name);
        assert_eq!(plugin.contract(), "0.1.0");
        let calls = recorded(name);
        let mut functions: Vec<&str> = calls.iter().map(|call| call.function.as_str()).collect();
        functions.sort_unstable();
        functions.dedup();
        let whole = match plugin.description() {
            Description::Service(_) => 7,
            Description::Coupon(_) => 3,
        };
        assert_eq!(
            functions.len(),
            whole,
            "every function is shown: {functions:?}"
        );
        for Recorded {
            function,
            input,
            output,
        } in calls
        {
            let called = plugin.call_json(&function, &input).unwrap();
            assert_eq!(
                canonical_json(&called.value),
                canonical_json(&output),
                "{name} {function} {input}"
            );
        }
    }
}

#[test]
fn a_plugin_of_0_1_0_refuses_settings_instead_of_dropping_them() {
    let plugin = old("service-ghost");
    assert!(matches!(
        plugin.describe(&Settings::new()),
        Ok(Answer::Ok(_))
    ));
    let settings = Settings::from_iter([("port".to_owned(), json!(80))]);
    let Answer::Problems(problems) = plugin.describe(&settings).unwrap() else {
        unreachable!("it cannot know them");
    };
    assert!(
        problems[0].message.contains("contract 0.1.0"),
        "{problems:?}"
    );
}

#[test]
fn a_new_plugin_is_of_the_newest_contract_and_unknown_ones_are_refused() {
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    for component in [
        ServiceFixture::default().component(),
        CouponFixture::default().component(),
    ] {
        let plugin = runtime.load(&component).unwrap();
        assert_eq!(plugin.contract(), Version::NEWEST.as_str());
    }
    let refused = runtime.load(&fixtures::wrong_contract()).unwrap_err();
    assert!(matches!(refused, LoadError::WrongContract { .. }));
    for version in Version::ALL {
        assert!(refused.to_string().contains(version.as_str()), "{refused}");
    }
}

#[test]
fn a_component_is_of_one_contract_version() {
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let refused = runtime.load(&fixtures::mixed_contracts()).unwrap_err();
    assert_eq!(refused.code(), "COMPONENT_WRONG_WORLD");
    assert!(
        refused
            .to_string()
            .contains("mixes the contract versions 0.1.0 and 0.2.0"),
        "{refused}"
    );
}
