//! The table itself: each name once, and defaults that fit their rules.

use std::collections::HashSet;

use super::*;
use crate::config::Config;

#[test]
fn every_name_is_there_once_and_every_default_fits_its_rule() {
    let mut names = HashSet::new();
    let mut config = Config::default();
    for setting in all_settings() {
        assert!(
            names.insert(setting.env) && names.insert(setting.key),
            "{}",
            setting.env
        );
        assert!(setting.doc.ends_with('.'), "{}", setting.env);
        if let Some(default) = setting.default {
            (setting.set)(&mut config, default)
                .unwrap_or_else(|problem| panic!("{} {problem}", setting.env));
        }
    }
}

/// Settings that take an address of the web, and no other text, are marked as addresses.
#[test]
fn addresses_are_marked() {
    for setting in all_settings() {
        let takes = |text: &str| (setting.set)(&mut Config::default(), text).is_ok();
        let is_address = takes("https://host.example/a") && !takes("a text");
        assert!(
            !is_address || setting.address || setting.secret,
            "{}",
            setting.env
        );
        assert!(!setting.address || is_address, "{}", setting.env);
    }
}

/// A path is shown as it is, so that no address is taken for one, and what is wrong is not repeated.
#[test]
fn an_address_in_the_place_of_a_path_is_refused_and_not_shown() {
    let address = "https://toko:rahasia@host.example/a?kunci=gembok#palang";
    let is_path = |setting: &&Setting| {
        let ends = ["_DIR", "_FILE", "_FONT", "KUBECONFIG", "ATTACHMENTS"];
        ends.iter().any(|end| setting.env.ends_with(*end))
    };
    let mut seen = 0;
    for setting in all_settings().filter(is_path) {
        let said = (setting.set)(&mut Config::default(), address).unwrap_err();
        for secret in ["rahasia", "gembok", "palang"] {
            assert!(!said.contains(secret), "{}: {said}", setting.env);
        }
        seen += 1;
    }
    assert!(seen > 9, "{seen}");
}

/// Faults about what was given do not repeat it, where it may have a password.
#[test]
fn no_fault_shows_what_lets_in() {
    for text in [
        "https://toko:rahasia@host.example/a?rahasia=rahasia#rahasia",
        "postgres://toko:rahasia@host/a?rahasia=rahasia",
    ] {
        for setting in all_settings() {
            if let Err(said) = (setting.set)(&mut Config::default(), text) {
                assert!(!said.contains("rahasia"), "{}: {said}", setting.env);
            }
        }
    }
}

/// The limits that the documents name, in the table and as the type has them without a configuration.
#[test]
fn requests_are_limited_alike_with_and_without_a_configuration() {
    let config = Config::in_folder("data").unwrap();
    for rates in [config.rates, dermaga_shop::rates::Settings::default()] {
        let limits = [
            rates.catalogue,
            rates.customers,
            rates.administrators,
            rates.webhooks,
        ];
        assert_eq!(limits, [100, 60, 200, 1_000]);
        assert_eq!(rates.window, std::time::Duration::from_secs(60));
    }
}

#[test]
fn plugin_limits_default_to_the_runtimes_own() {
    let config = Config::in_folder("data").unwrap();
    assert_eq!(config.runtime.limits, dermaga_runtime::Limits::default());
}
