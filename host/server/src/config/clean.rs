//! Values as people and their tools write them, before a setting's own rule reads them.

use dermaga_shop::text;

/// A value that a rule can read, and a remark about what was taken off it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cleaned {
    pub(super) value: String,
    pub(super) note: Option<&'static str>,
}

/// Trims outer blanks and one pair of surrounding quotes.
///
/// # Errors
/// For a control or invisible character, by its name: at the end of a path or address it would lead
/// elsewhere without a trace.
pub(super) fn clean(text: &str) -> Result<Cleaned, String> {
    let trimmed = text.trim_matches(is_blank);
    let inner = unquoted(trimmed);
    let value = inner.map_or(trimmed, |inner| inner.trim_matches(is_blank));
    let judged = text::judged(value).into_iter().enumerate();
    let mut refused = judged.filter(|(_, (letter, is_idle))| *is_idle || is_refused(*letter));
    if let Some((at, (letter, _))) = refused.next() {
        let name = name_of(letter);
        return Err(format!("must not contain {name} (character {})", at + 1));
    }
    if value.is_empty() && !text.is_empty() && inner.is_none() {
        return Err("must be more than blanks; leave it empty or out for the default".into());
    }
    let has_blanks = trimmed.len() < text.len() || inner.is_some_and(|inner| inner != value);
    let note = match (has_blanks, inner.is_some()) {
        (false, false) => None,
        (true, false) => Some("outer blanks were trimmed"),
        (false, true) => Some("surrounding quotes were taken off"),
        (true, true) => Some("outer blanks and surrounding quotes were taken off"),
    };
    let value = value.to_owned();
    Ok(Cleaned { value, note })
}

/// Line ends are no blanks: they come from a broken file, and which other values it broke is
/// unknown.
fn is_blank(letter: char) -> bool {
    letter == '\t' || (letter.is_whitespace() && !letter.is_control())
}

/// The text between a pair of quotes that does not contain the same quote: `"a", "b"` is a list.
fn unquoted(text: &str) -> Option<&str> {
    ['"', '\''].into_iter().find_map(|quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains(quote)).then_some(inner)
    })
}

fn is_refused(letter: char) -> bool {
    letter.is_control() || letter == char::REPLACEMENT_CHARACTER
}

fn name_of(letter: char) -> String {
    match letter {
        '\r' => "a carriage return".into(),
        '\n' => "a line feed".into(),
        '\t' => "a tab".into(),
        '\0' => "a NUL".into(),
        char::REPLACEMENT_CHARACTER => "bytes that are not UTF-8".into(),
        letter if letter.is_control() => {
            format!("the control character U+{:04X}", u32::from(letter))
        }
        letter => format!("the invisible character U+{:04X}", u32::from(letter)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_one_pair_of_quotes_are_taken_off_with_a_note() {
        for (text, value, note) in [
            ("/srv/shop", "/srv/shop", None),
            (
                "/srv/shop \t",
                "/srv/shop",
                Some("outer blanks were trimmed"),
            ),
            ("\u{a0}30s", "30s", Some("outer blanks were trimmed")),
            ("\"30s\"", "30s", Some("surrounding quotes were taken off")),
            (
                " ' 30s' ",
                "30s",
                Some("outer blanks and surrounding quotes were taken off"),
            ),
            ("\"\"a\"\"", "\"\"a\"\"", None),
            ("\"a\", \"b\"", "\"a\", \"b\"", None),
            ("it's", "it's", None),
            ("\"", "\"", None),
            ("", "", None),
            ("''", "", Some("surrounding quotes were taken off")),
            ("👩‍👧 Shop", "👩‍👧 Shop", None),
        ] {
            let value = value.to_owned();
            assert_eq!(clean(text), Ok(Cleaned { value, note }), "{text:?}");
        }
    }

    #[test]
    fn unseen_characters_are_refused_by_name() {
        for (text, name) in [
            ("/srv/shop\r", "a carriage return (character 10)"),
            ("\"/srv/shop\"\r\n", "a carriage return"),
            ("a\nb", "a line feed"),
            ("a\tb", "a tab"),
            ("a\0", "a NUL"),
            ("a\u{1b}[0m", "the control character U+001B"),
            ("\u{feff}a", "the invisible character U+FEFF"),
            ("a\u{200b}", "the invisible character U+200B"),
            ("a\u{200d}b", "the invisible character U+200D"),
            ("a\u{e000}", "the invisible character U+E000"),
            ("a\u{fffd}", "bytes that are not UTF-8"),
        ] {
            let message = clean(text).unwrap_err();
            assert!(message.contains(name), "{text:?}: {message}");
        }
        assert!(
            clean("  ")
                .unwrap_err()
                .contains("must be more than blanks")
        );
    }
}
