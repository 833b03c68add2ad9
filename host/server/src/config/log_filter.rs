//! Filters of the log. `EnvFilter` takes a word that is no level for the name of a program, logs nothing else, and
//! lets the later one of two rules for the same name win.

use std::collections::BTreeSet;

use tracing_subscriber::EnvFilter;

use super::names::nearest;

/// Levels, from none of what is logged to all of it.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// Likeness from which a word is taken for a misspelt level.
const ALIKE: f64 = 0.75;

/// A level for everything, levels of targets, or both, separated by commas.
pub(super) fn parse(text: &str) -> Result<String, String> {
    let rules: Vec<&str> = text.split(',').map(str::trim).collect();
    let mut seen = BTreeSet::new();
    for rule in &rules {
        let (target, level) = parts(rule);
        if !is_level(level) {
            return Err(no_level(level));
        }
        if !seen.insert(target) {
            return Err(if target.is_empty() {
                "must have one level for everything, not two".to_owned()
            } else {
                format!("must have `{target}` once, not twice")
            });
        }
    }
    let filter = rules.join(",");
    match EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => Err(format!(
            "must be a level or filter such as `info,dermaga=debug` ({error})"
        )),
    }
}

/// Splits a rule into its target, which is empty for everything, and its level. A span alone has all levels.
fn parts(rule: &str) -> (&str, &str) {
    match rule.rsplit_once('=') {
        Some((target, level)) if !level.ends_with(']') => (target, level),
        _ if rule.ends_with(']') => (rule, "trace"),
        _ => ("", rule),
    }
}

fn is_level(word: &str) -> bool {
    let mut levels = LEVELS.into_iter();
    let is_word = levels.any(|level| level.eq_ignore_ascii_case(word));
    is_word || matches!(word.as_bytes(), [b'0'..=b'5'])
}

fn no_level(word: &str) -> String {
    let rule = format!(
        "must be a level ({}) or a filter such as `info,dermaga=debug`",
        LEVELS.join(", ")
    );
    match nearest(word, LEVELS.into_iter(), ALIKE) {
        Some(level) => format!("{rule}; did you mean `{level}`?"),
        None => rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_with_blanks_between_their_rules() {
        for (text, read) in [
            ("info", "info"),
            ("WARN", "WARN"),
            ("3", "3"),
            ("info, dermaga=debug", "info,dermaga=debug"),
            ("dermaga::http=trace , warn", "dermaga::http=trace,warn"),
            ("info,[request]", "info,[request]"),
            (
                "off,dermaga[request{id=7}]=debug",
                "off,dermaga[request{id=7}]=debug",
            ),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(read), "{text}");
        }
    }

    #[test]
    fn a_misspelt_level_is_no_name_of_a_program() {
        for (text, meant) in [
            ("inof", "info"),
            ("debgu", "debug"),
            ("warning", "warn"),
            ("errors", "error"),
            ("info,dermaga=degub", "debug"),
            ("tarce,dermaga=info", "trace"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.starts_with("must be a level (off, error"), "{said}");
            let proposal = format!("did you mean `{meant}`?");
            assert!(said.ends_with(&proposal), "{text}: {said}");
        }
        for wrong in ["", "info,", "dermaga", "dermaga=", "info,,debug", "6"] {
            let said = parse(wrong).unwrap_err();
            assert!(said.starts_with("must be a level"), "{wrong}: {said}");
        }
    }

    #[test]
    fn each_target_has_one_level() {
        let said = |text| parse(text).unwrap_err();
        let refused = "must have one level for everything, not two";
        assert_eq!(said("info,debug"), refused);
        assert_eq!(said("info,dermaga=debug,info"), refused);
        let refused = "must have `dermaga` once, not twice";
        assert_eq!(said("dermaga=debug,info,dermaga=debug"), refused);
    }
}
