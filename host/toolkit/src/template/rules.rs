//! Rules for the values of a template.

use dermaga_runtime::{contract::Tier, gate::Exception, is_pinned_image};
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error},
};
use toml::de::DeValue;

use super::{
    fields::{expected, nearest},
    terms::TERMS,
};
use crate::letters::{is_unseen, separates, shown_line, shown_prose, turns, turns_passages};

const TURNED: &str =
    "it has invisible characters that turn the direction of the text; leave them out";
const HIDDEN: &str = "it has line breaks or invisible characters; leave them out";

/// Accepts a text of 1 to `max` characters, of which something can be seen.
pub(super) fn text(max: usize) -> impl Fn(&DeValue<'_>) -> Result<String, String> {
    move |value| {
        let text = value
            .as_str()
            .ok_or_else(|| expected("a text", value))?
            .trim();
        match text.chars().count() {
            _ if is_unseen(text) => Err("it is empty; write a text".into()),
            length if length > max => Err(format!(
                "it has {length} characters; at most {max} are allowed"
            )),
            _ => Ok(text.to_owned()),
        }
    }
}

/// Accepts a text as [`text`] does, of any number of lines, in which no passage is turned and no character prints
/// nothing to no use.
pub(super) fn prose(max: usize) -> impl Fn(&DeValue<'_>) -> Result<String, String> {
    move |value| {
        let prose = text(max)(value)?;
        if prose.chars().any(turns_passages) {
            return Err(TURNED.into());
        }
        if shown_prose(&prose) != prose {
            return Err("it has invisible characters; leave them out".into());
        }
        Ok(prose)
    }
}

/// Accepts a line as [`text`] does, without characters that turn its direction or print nothing: it is shown beside
/// others. Where an administrator types such a line, the shop leaves them out; a file is mended by its author.
pub(super) fn title(max: usize) -> impl Fn(&DeValue<'_>) -> Result<String, String> {
    let ends_line = |letter: char| letter.is_control() || separates(letter);
    move |value| {
        let name = text(max)(value)?;
        if name.chars().any(turns) {
            return Err(TURNED.into());
        }
        if name.chars().any(ends_line) || shown_line(&name) != name {
            return Err(HIDDEN.into());
        }
        Ok(name)
    }
}

/// Accepts `[a-z][a-z0-9-]*` of `min` to 50 characters that does not end with a hyphen.
pub(super) fn slug(min: usize) -> impl Fn(&DeValue<'_>) -> Result<String, String> {
    move |value| {
        name(
            value.as_str().ok_or_else(|| expected("a text", value))?,
            min,
        )
    }
}

/// Applies the rule of [`slug`] to a key.
pub(super) fn name(text: &str, min: usize) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (min..=50).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(inner);
    if good {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is not a slug: {min} to 50 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen"
    ))
}

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| expected("true or false", value))
}

/// Accepts a whole number within bounds.
pub(super) fn whole<T>(min: i64, max: i64) -> impl Fn(&DeValue<'_>) -> Result<T, String>
where
    T: TryFrom<i64>,
{
    move |value| {
        let integer = value
            .as_integer()
            .ok_or_else(|| expected("a whole number", value))?;
        let refused = || format!("it is {} and must be {min} to {max}", integer.as_str());
        let number =
            i64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| refused())?;
        if !(min..=max).contains(&number) {
            return Err(refused());
        }
        T::try_from(number).map_err(|_| refused())
    }
}

/// Accepts the months of a term.
pub(super) fn term(value: &DeValue<'_>) -> Result<u32, String> {
    let months = whole(0, i64::from(u32::MAX))(value)?;
    if TERMS.contains(&months) {
        return Ok(months);
    }
    Err(format!(
        "it is {months} and must be 3, 6 or 12; a month is sold at the monthly price"
    ))
}

/// Accepts a day, such as `2027-04-30` without quotes.
pub(super) fn date(value: &DeValue<'_>) -> Result<String, String> {
    let day = value.as_datetime().filter(|moment| moment.time.is_none());
    day.map(ToString::to_string)
        .ok_or_else(|| expected("a day such as 2027-04-30, without quotes", value))
}

/// Accepts an image reference that is pinned to a version or digest.
pub(super) fn image(value: &DeValue<'_>) -> Result<String, String> {
    let reference = value.as_str().ok_or_else(|| expected("a text", value))?;
    if is_pinned_image(reference) {
        return Ok(reference.to_owned());
    }
    Err(format!(
        "`{reference}` is not pinned: give it a tag other than `latest` (registry/name:1.2.3), or a digest (name@sha256:...)"
    ))
}

pub(super) fn tier(value: &DeValue<'_>) -> Result<Tier, String> {
    one_of("a tier", value)
}

pub(super) fn exception(value: &DeValue<'_>) -> Result<Exception, String> {
    one_of("an exception of the gate", value)
}

/// Accepts a value of an enum, by its serialised name.
fn one_of<'de, T: Deserialize<'de>>(what: &str, value: &DeValue<'_>) -> Result<T, String> {
    let text = value.as_str().ok_or_else(|| expected("a text", value))?;
    T::deserialize(text.to_owned().into_deserializer()).map_err(|error: Error| {
        let known = names(&error.to_string());
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        match nearest(text, &known) {
            Some(near) => format!("`{text}` is not {what}; did you mean `{near}`?"),
            None => format!("`{text}` is not {what}; it is one of {}", known.join(", ")),
        }
    })
}

/// Extracts the known names from serde's message: every text in backquotes but the first, which is
/// the unknown one.
fn names(sentence: &str) -> Vec<String> {
    sentence
        .split('`')
        .skip(1)
        .step_by(2)
        .skip(1)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_a_label_that_begins_with_a_letter() {
        let longest = "a".repeat(50);
        for good in ["abc", "a-1", "a--b", &longest] {
            assert_eq!(name(good, 3).as_deref(), Ok(good));
        }
        let too_long = "a".repeat(51);
        for bad in ["", "ab", "1ab", "-ab", "ab-", "Abc", "a_b", "aé", &too_long] {
            assert!(name(bad, 3).is_err(), "{bad:?}");
        }
    }

    /// The sentences are serde's: `unknown variant `x`, expected one of `a`, `b``.
    #[test]
    fn the_known_names_are_found_in_a_refusal() {
        for (sentence, known) in [
            (
                "unknown variant `x`, expected one of `a`, `b`",
                vec!["a", "b"],
            ),
            ("unknown variant `x`, expected `a`", vec!["a"]),
            ("unknown variant `x`, there are no variants", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(names(sentence), known, "{sentence}");
        }
    }
}
