//! Proof that every setting has a test which shows its effect.

mod table;

use std::fs;

use dermaga::config::all_settings;
use dermaga_tests::checkout;

use self::table::SHOWN_BY;

/// Every setting in force has a test in [`SHOWN_BY`], and every test there exists.
#[test]
fn every_setting_has_a_test_that_shows_its_effect() {
    // Pending settings have no effect yet, and are shown as such.
    let in_force = all_settings().filter(|setting| !setting.pending);
    let mut promised: Vec<&str> = in_force.map(|setting| setting.env).collect();
    let mut shown: Vec<&str> = SHOWN_BY
        .iter()
        .flat_map(|(.., names)| *names)
        .copied()
        .collect();
    promised.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, promised, "each setting stands in the table, once");
    for (file, test, settings) in SHOWN_BY {
        let source = fs::read_to_string(checkout().join(file)).unwrap();
        let signature = format!("fn {test}()");
        let before = source
            .split_once(&signature)
            .unwrap_or_else(|| panic!("{settings:?}: {file} has no `{signature}`"))
            .0;
        let attribute = before
            .trim_end_matches("async ")
            .lines()
            .last()
            .unwrap_or_default();
        assert!(
            attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test"),
            "{settings:?}: {test} in {file} does not run"
        );
    }
}
