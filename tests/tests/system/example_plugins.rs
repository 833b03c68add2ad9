//! Tests that the examples for authors build, keep the contract, and are not sold.

use std::{collections::BTreeMap, path::Path};

use dermaga_runtime::{Failure, Runtime, RuntimeConfig};
use dermaga_tests::{checkout, skip};
use dermaga_toolkit::{
    build::{self, BuildError, PluginSource, Silent},
    case::Case,
    check,
    template::Template,
};
use serde_json::json;

/// Returns all examples, by name.
pub(crate) fn examples() -> BTreeMap<String, PluginSource> {
    let found = build::discover(&checkout().join("plugins/examples")).unwrap();
    let named = found.into_iter().map(|one| (one.name.clone(), one));
    named.collect()
}

/// Builds the component of an example; `None` when its compiler is not available.
pub(crate) fn component(source: &PluginSource, out: &Path) -> Option<Vec<u8>> {
    let options = build::Options {
        out: out.to_owned(),
        target: None,
    };
    match build::build(std::slice::from_ref(source), &options, &Silent) {
        Ok(report) => Some(std::fs::read(&report.plugins[0].component).unwrap()),
        Err(error @ BuildError::NoToolchain { .. }) => {
            skip(&source.name, &error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_example_conforms_in_the_class_of_its_language() {
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let examples = examples();
    let names: Vec<_> = examples.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "coupon-c",
            "coupon-first-purchase",
            "coupon-javascript",
            "service-uptime-kuma"
        ],
        "examples were added or lost: say so here"
    );
    for source in examples.values() {
        let Some(bytes) = component(source, &checkout().join("target/examples")) else {
            continue;
        };
        let plugin = runtime.load_as(&bytes, source.language.class()).unwrap();
        assert_eq!(plugin.about().id, source.name);
        let sold = source.folder.join("service-templates");
        let templates = Template::load_dir(&sold).unwrap_or_default();
        let cases = Case::load_dir(&source.cases()).unwrap();
        assert!(cases.len() >= 5, "{} has hardly any cases", source.name);
        let report = check::conformance(&plugin, &templates, &cases);
        assert!(report.passed(), "{report}");
        let skipped = report
            .checks
            .iter()
            .filter(|check| check.outcome == check::Outcome::Skip);
        assert_eq!(skipped.count(), 0, "{report}");
        println!("{report}");
    }
}

/// The coupon examples are one rule in three languages, with the same golden cases.
#[test]
fn the_coupon_examples_have_the_same_cases() {
    let examples = examples();
    let cases = |name: &str| Case::load_dir(&examples[name].cases()).unwrap();
    let rust = cases("coupon-first-purchase");
    assert!(rust.len() >= 10);
    assert_eq!(cases("coupon-c"), rust);
    assert_eq!(cases("coupon-javascript"), rust);
}

/// C builds to the same bytes in any folder.
#[test]
fn c_builds_reproducibly() {
    let examples = examples();
    let source = &examples["coupon-c"];
    let out = tempfile::tempdir().unwrap();
    let Some(here) = component(source, out.path()) else {
        return;
    };
    let elsewhere = tempfile::tempdir().unwrap();
    for file in ["plugin.toml", "plugin.c"] {
        std::fs::copy(source.folder.join(file), elsewhere.path().join(file)).unwrap();
    }
    let moved = PluginSource::at(elsewhere.path()).unwrap();
    assert_eq!(component(&moved, &elsewhere.path().join("out")), Some(here));
}

#[test]
fn examples_are_not_sold() {
    let sold = build::discover(&checkout().join("plugins")).unwrap();
    let examples = examples();
    for plugin in sold {
        assert!(!examples.contains_key(&plugin.name), "{}", plugin.name);
    }
}

/// A coupon in JavaScript that evaluates its parameters and answers with the result.
const PROBE: &str = r#"
export const metadata = {
  about: () => ({ id: "coupon-javascript", version: "0.1.0", title: "Probe", summary: "For tests." }),
};
export const coupon = {
  describe: () => ({ parametersSchema: '{"type": "object"}', places: ["wallet"], facts: [] }),
  check(_parameters) {},
  evaluate({ parameters }) {
    const message = String(eval(JSON.parse(parameters).code));
    return { tag: "refuse", val: { code: "ANSWERED", message } };
  },
};
"#;

/// The engine's clock and randomness are frozen at build time, so that using them throws and logs
/// the name of the function.
#[test]
fn javascript_has_no_clock_and_no_chance() {
    let example = &examples()["coupon-javascript"];
    // The folder is kept, so that the probe is rebuilt only when it changes.
    let folder = checkout().join("target/probe/coupon-javascript");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in [
        ("package.json", None),
        ("package-lock.json", None),
        ("plugin.js", Some(PROBE)),
    ] {
        let copied = || std::fs::read_to_string(example.folder.join(name)).unwrap();
        let text = text.map_or_else(copied, str::to_owned);
        if std::fs::read_to_string(folder.join(name)).ok().as_ref() != Some(&text) {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    let source = PluginSource::at(&folder).unwrap();
    let Some(bytes) = component(&source, &checkout().join("target/probe")) else {
        return;
    };
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let plugin = runtime.load_as(&bytes, source.language.class()).unwrap();
    let evaluate = |code: &str| {
        let input = json!({ "parameters": { "code": code }, "moment": 0, "place": "wallet" });
        plugin.call_json("evaluate", &input)
    };
    for asked in [
        "Date.now()",
        "new Date()",
        "Date()",
        "new (new Date(0).constructor)()",
        "new (class extends Date {})()",
        "Math.random()",
        "performance.now()",
        "performance.timeOrigin",
        "crypto.randomUUID()",
        "crypto.getRandomValues(new Uint8Array(4))",
        "setTimeout(() => 1, 1)",
    ] {
        let error = evaluate(asked).unwrap_err();
        assert!(
            matches!(error.failure, Failure::Trapped(_)),
            "{asked}: {error}"
        );
        let said = &error.logs.last().unwrap().message;
        assert!(
            said.contains(" is not there: a plugin is a function of its arguments."),
            "{asked}: {said}"
        );
    }
    let right = "new Date(0).toISOString() + Date.UTC(2026, 0, 1) + (new Date(5) instanceof Date) + Date.parse('2026-01-01T00:00:00Z')";
    let answer = evaluate(right).unwrap().value;
    assert_eq!(
        answer["refuse"]["message"],
        "1970-01-01T00:00:00.000Z1767225600000true1767225600000"
    );
}
