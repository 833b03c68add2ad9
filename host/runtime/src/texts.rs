//! Sentences of a plugin in another language, in a custom section of its component: its digest and its
//! signature are about them, too, and no call sees them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasmparser::{Parser, Payload};

use crate::error::LoadError;

/// Name of the custom section with the texts in Indonesian, a JSON object.
const SECTION: &str = "dermaga:texts/id";
/// Field that errors name.
const FIELD: &str = "texts.id";
/// Gap of an English sentence.
const GAP: &str = "{}";
/// Most sentences of a plugin.
const MOST_SENTENCES: usize = 500;
/// Most characters of a sentence.
const LONGEST: usize = 2_000;
/// Letters in a row without which a sentence with gaps would be recognised anywhere.
const LEAST_LETTERS: usize = 3;

/// English sentences of a plugin and their Indonesian ones. Gaps are `{}` in English, and `{0}`, `{1}` and so on in
/// Indonesian, in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Texts(BTreeMap<String, String>);

impl Texts {
    /// Returns each English sentence with its Indonesian one.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let texts = self.0.iter();
        texts.map(|(english, indonesian)| (english.as_str(), indonesian.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks their form.
    ///
    /// # Errors
    /// A sentence about the first that is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.0.len() > MOST_SENTENCES {
            return Err(format!(
                "there are {} sentences, and at most {MOST_SENTENCES} are allowed",
                self.0.len()
            ));
        }
        for (english, indonesian) in self.iter() {
            Self::check_pair(english, indonesian)
                .map_err(|why| format!("`{english:.80}`: {why}"))?;
        }
        Ok(())
    }

    /// Checks one sentence and its Indonesian one.
    ///
    /// # Errors
    /// A sentence about what is wrong.
    pub fn check_pair(english: &str, indonesian: &str) -> Result<(), String> {
        check_line(english)?;
        check_line(indonesian)?;
        check_gaps(english, indonesian)
    }

    /// Reads the texts of a component; none when it has no such section.
    pub(crate) fn of(component: &[u8]) -> Result<Self, LoadError> {
        let mut found = None;
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            match payload.map_err(|error| LoadError::malformed(error.to_string()))? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::CustomSection(section)
                    if depth == 0
                        && section.name() == SECTION
                        && found.replace(section.data()).is_some() =>
                {
                    return Err(wrong("the section is there twice".to_owned()));
                }
                _ => {}
            }
        }
        let Some(data) = found else {
            return Ok(Self::default());
        };
        let texts: Self = serde_json::from_slice(data)
            .map_err(|error| wrong(format!("it is no table of texts: {error}")))?;
        texts.check().map_err(wrong)?;
        Ok(texts)
    }

    /// Appends the texts to a component, if there are any.
    pub fn append_to(&self, component: &mut Vec<u8>) {
        if self.is_empty() {
            return;
        }
        let texts = self.iter();
        let texts = texts.map(|(english, indonesian)| (english.to_owned(), indonesian.into()));
        let data = Value::Object(texts.collect()).to_string();
        let mut section = Vec::with_capacity(SECTION.len() + data.len() + 1);
        push_length(SECTION.len(), &mut section);
        section.extend_from_slice(SECTION.as_bytes());
        section.extend_from_slice(data.as_bytes());
        // The id of custom sections.
        component.push(0);
        push_length(section.len(), component);
        component.extend_from_slice(&section);
    }
}

impl FromIterator<(String, String)> for Texts {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

fn wrong(message: String) -> LoadError {
    LoadError::BadMetadata {
        field: FIELD.to_owned(),
        message,
    }
}

fn check_line(text: &str) -> Result<(), String> {
    let length = text.chars().count();
    if !(1..=LONGEST).contains(&length) {
        return Err(format!(
            "a sentence has 1 to {LONGEST} characters, not {length}"
        ));
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err("a sentence has no blanks around it and no line breaks".to_owned());
    }
    Ok(())
}

fn check_gaps(english: &str, indonesian: &str) -> Result<(), String> {
    let literals: Vec<&str> = english.split(GAP).collect();
    if literals.iter().any(|text| text.contains(['{', '}'])) {
        return Err("a gap is written `{}` in English".to_owned());
    }
    let gaps = literals.len().saturating_sub(1);
    let mut places = places(indonesian)
        .ok_or_else(|| "a gap is written `{0}`, `{1}` and so on in Indonesian".to_owned())?;
    places.sort_unstable();
    if !places.iter().copied().eq(0..gaps) {
        return Err("both sentences need the same gaps, each of them once".to_owned());
    }
    if gaps == 0 {
        return Ok(());
    }
    if english.contains("{}{}") {
        return Err("two gaps need a text between them".to_owned());
    }
    let is_word = |word: &str| word.chars().count() >= LEAST_LETTERS;
    let mut words = literals
        .iter()
        .flat_map(|text| text.split(|letter: char| !letter.is_alphabetic()));
    if !words.any(is_word) {
        return Err("beside its gaps a sentence needs a word".to_owned());
    }
    Ok(())
}

/// Returns the places of the gaps of an Indonesian sentence, in their order; nothing when one is written otherwise.
fn places(indonesian: &str) -> Option<Vec<usize>> {
    let mut parts = indonesian.split('{');
    let before = parts.next().unwrap_or_default();
    if before.contains('}') {
        return None;
    }
    let place = |part: &str| {
        let (place, after) = part.split_once('}')?;
        let is_number = place.bytes().all(|byte| byte.is_ascii_digit());
        let place = place.parse::<usize>().ok().filter(|_| is_number);
        place.filter(|_| !after.contains('}'))
    };
    parts.map(place).collect()
}

/// Writes a length as WebAssembly does: seven bits a byte, the lowest first.
fn push_length(length: usize, bytes: &mut Vec<u8>) {
    let mut left = length;
    loop {
        let low = u8::try_from(left & 0x7f).unwrap_or_default();
        left >>= 7;
        if left == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest component: a preamble alone.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn texts(entries: &[(&str, &str)]) -> Texts {
        let entries = entries.iter();
        let owned =
            entries.map(|(english, indonesian)| ((*english).to_owned(), (*indonesian).to_owned()));
        owned.collect()
    }

    #[test]
    fn a_component_carries_its_texts() {
        assert_eq!(Texts::of(EMPTY).unwrap(), Texts::default());
        let written = texts(&[
            ("Amount", "Jumlah"),
            ("{} of bonus credit.", "Saldo bonus {0}."),
            ("{} of {} months.", "Dari {1} bulan, {0}."),
        ]);
        let mut component = EMPTY.to_vec();
        written.append_to(&mut component);
        assert_eq!(Texts::of(&component).unwrap(), written);
        // A length of two bytes.
        let long = texts(&[("Amount", "Jumlah".repeat(100).as_str())]);
        let mut component = EMPTY.to_vec();
        long.append_to(&mut component);
        assert_eq!(Texts::of(&component).unwrap(), long);
        long.append_to(&mut component);
        let twice = Texts::of(&component).unwrap_err();
        assert_eq!(twice.code(), "COMPONENT_BAD_METADATA");
        let mut none = EMPTY.to_vec();
        Texts::default().append_to(&mut none);
        assert_eq!(none, EMPTY);
    }

    #[test]
    fn texts_of_a_wrong_form_are_refused() {
        for (english, indonesian, why) in [
            ("", "x", "1 to 2000"),
            ("A.", "", "1 to 2000"),
            (" A.", "A.", "no blanks around"),
            ("A.\nB.", "A.", "no line breaks"),
            ("{amount} off.", "Potongan {0}.", "`{}` in English"),
            ("{} off.", "Potongan {}.", "`{0}`"),
            ("{} off.", "Potongan {0.", "`{0}`"),
            ("{} off.", "Potongan 0}.", "`{0}`"),
            ("{} off.", "Potongan {+0}.", "`{0}`"),
            ("{} off.", "Potongan.", "the same gaps"),
            ("{} off.", "Potongan {1}.", "the same gaps"),
            ("{} off.", "Potongan {0} dan {0}.", "the same gaps"),
            ("Off.", "Potongan {0}.", "the same gaps"),
            ("{}{} off.", "Potongan {0} {1}.", "a text between"),
            ("{}: {}", "{0}: {1}", "needs a word"),
            ("{} is {}", "{0} itu {1}", "needs a word"),
        ] {
            let told = texts(&[(english, indonesian)]).check().unwrap_err();
            assert!(told.contains(why), "{english:?}: {told}");
        }
        let many: Vec<String> = (0..=MOST_SENTENCES)
            .map(|number| format!("Number {number}."))
            .collect();
        let many: Vec<(&str, &str)> = many.iter().map(|one| (one.as_str(), "x")).collect();
        assert!(texts(&many).check().unwrap_err().contains("at most 500"));
        for section in ["[]", "{\"a\": 1}", "{\"a\": \"\"}"] {
            let mut component = EMPTY.to_vec();
            component.push(0);
            let length = 1 + SECTION.len() + section.len();
            push_length(length, &mut component);
            push_length(SECTION.len(), &mut component);
            component.extend_from_slice(SECTION.as_bytes());
            component.extend_from_slice(section.as_bytes());
            let refused = Texts::of(&component).unwrap_err();
            assert!(refused.to_string().contains(FIELD), "{section}: {refused}");
        }
    }
}
