//! The examples for authors build, keep the contract, and are not sold.

use std::{collections::BTreeMap, path::Path};

use dermaga_runtime::{Runtime, RuntimeConfig};
use dermaga_tests::{checkout, skip};
use dermaga_toolkit::{
    build::{self, BuildError, PluginSource, Silent},
    case::Case,
    check,
    template::Template,
};

/// All of them, by name.
pub(crate) fn examples() -> BTreeMap<String, PluginSource> {
    let found = build::discover(&checkout().join("plugins/examples")).unwrap();
    let named = found.into_iter().map(|one| (one.name.clone(), one));
    named.collect()
}

/// The component of an example; `None` when its compiler cannot be had here.
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

/// One rule in three languages: whoever reads one example can read the others.
#[test]
fn the_coupon_examples_have_the_same_cases() {
    let examples = examples();
    let cases = |name: &str| Case::load_dir(&examples[name].cases()).unwrap();
    let rust = cases("coupon-first-purchase");
    assert!(rust.len() >= 10);
    assert_eq!(cases("coupon-c"), rust);
    assert_eq!(cases("coupon-javascript"), rust);
}

/// The same C gives the same bytes, wherever it lies.
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
