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
        let is_address = takes("https://toko:rahasia@host.example/a?b=c") && !takes("a text");
        assert!(
            !is_address || setting.address || setting.secret,
            "{}",
            setting.env
        );
        assert!(!setting.address || is_address, "{}", setting.env);
    }
}

#[test]
fn plugin_limits_default_to_the_runtimes_own() {
    let config = Config::in_folder("data").unwrap();
    assert_eq!(config.runtime.limits, dermaga_runtime::Limits::default());
}
