//! Tests that the bundled plugins keep the contract on every plan.

use dermaga_runtime::{Runtime, RuntimeConfig};
use dermaga_tests::{checkout, plugins_folder};
use dermaga_toolkit::{build, case::Case, check, template::Template};

/// Checks imports, `describe`, golden cases, determinism, and the gate on every plan.
#[test]
fn every_bundled_plugin_conforms() {
    let templates = Template::load_dir(&checkout().join("service-templates")).unwrap();
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    let crates = build::discover(&checkout().join("plugins")).unwrap();
    assert_eq!(crates.len(), 8, "plugins were added or lost: say so here");
    for plugin in crates {
        let component = plugins_folder().join(format!("{}.wasm", plugin.name));
        let loaded = runtime.load(&std::fs::read(component).unwrap()).unwrap();
        let cases = Case::load_dir(&plugin.cases()).unwrap();
        assert!(
            cases.len() >= 5,
            "{} has hardly any golden cases",
            plugin.name
        );
        let report = check::conformance(&loaded, &templates, &cases);
        assert!(report.passed(), "{report}");
        println!("{report}");
    }
}
