//! Languages of what people read. Sentences are written in English where they arise, and are recognised and
//! said in Indonesian when they leave.

mod catalogue;
mod header;
mod kept;
mod taught;
mod templates;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    future::Future,
    sync::atomic::{AtomicU8, Ordering},
};

use dermaga_runtime::Texts;
use serde::{Serialize as _, Serializer};
use serde_json::Value;

pub use header::accepted;
pub use taught::{forget, teach};

use crate::text_enum;

text_enum! {
    /// Language of what is written to an account.
    pub enum Language {
        Indonesian = "id",
        English = "en",
    }
}

impl Language {
    /// Language of accounts that were made without naming one, as the column's default.
    pub const OF_ACCOUNTS: Self = Self::Indonesian;
}

tokio::task_local! {
    static CURRENT: Current;
}

/// Languages that a request asks for, as far as they are known.
struct Current {
    /// Language that its header names.
    named: Option<Language>,
    /// Place of the account's language in [`Language::ALL`], counted from one; zero while it is not known.
    account: AtomicU8,
}

/// Runs `work` for a request whose header names this language.
pub fn within<F: Future>(named: Option<Language>, work: F) -> impl Future<Output = F::Output> {
    let account = AtomicU8::new(0);
    CURRENT.scope(Current { named, account }, work)
}

/// Runs `work` in English, in which sentences are kept.
pub fn as_kept<T>(work: impl FnOnce() -> T) -> T {
    let english = Current {
        named: Some(Language::English),
        account: AtomicU8::new(0),
    };
    CURRENT.sync_scope(english, work)
}

/// Remembers the language of the account that sent the request.
pub fn remember(language: Language) {
    let place = match language {
        Language::Indonesian => 1,
        Language::English => 2,
    };
    // Outside of a request no answer depends on it.
    let _ = CURRENT.try_with(|current| current.account.store(place, Ordering::Relaxed));
}

/// Returns the language that the header of the request names.
pub fn named() -> Option<Language> {
    CURRENT.try_with(|current| current.named).ok().flatten()
}

/// Returns the language to answer in: of the header, else of the account, else English.
pub fn current() -> Language {
    let of = |current: &Current| {
        current
            .named
            .unwrap_or_else(|| match current.account.load(Ordering::Relaxed) {
                1 => Language::Indonesian,
                _ => Language::English,
            })
    };
    CURRENT.try_with(of).unwrap_or(Language::English)
}

/// Says an English sentence of the shop in the current language. One that is not known stays as it is.
pub fn spoken(sentence: &str) -> Cow<'_, str> {
    translated(sentence, current())
}

/// Says an English sentence of the shop in a language. One that is not known stays as it is.
pub fn translated(sentence: &str, language: Language) -> Cow<'_, str> {
    match language {
        Language::English => Cow::Borrowed(sentence),
        Language::Indonesian => catalogue::indonesian().said(sentence),
    }
}

/// Says a text by these texts in Indonesian, which are not known elsewhere; nothing when none of them fits.
pub fn said_by(texts: &Texts, text: &str) -> Option<String> {
    if texts.is_empty() {
        return None;
    }
    catalogue::indonesian().said_by(texts, text)
}

/// Writes a sentence in the current language, for `#[serde(serialize_with)]`.
///
/// # Errors
/// As the serializer.
pub fn in_words<S: Serializer>(sentence: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&spoken(sentence))
}

/// Writes an optional sentence in the current language, for `#[serde(serialize_with)]`.
///
/// # Errors
/// As the serializer.
pub fn in_words_if_any<T: AsRef<str>, S: Serializer>(
    sentence: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match sentence {
        Some(sentence) => serializer.serialize_some(&*spoken(sentence.as_ref())),
        None => serializer.serialize_none(),
    }
}

/// Writes several sentences in the current language, for `#[serde(serialize_with)]`.
///
/// # Errors
/// As the serializer.
pub fn in_words_each<S: Serializer>(
    sentences: &[String],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(sentences.iter().map(|sentence| spoken(sentence)))
}

/// Names of the sentences in the details of a charge.
const SENTENCES_OF_DETAILS: [&str; 3] = ["label", "reason", "couponGaveNothing"];

/// Writes the details of a charge with their labels and reasons in the current language, for
/// `#[serde(serialize_with)]`. What is kept of a charge has them as they are.
///
/// # Errors
/// As the serializer.
pub fn details_in_words<S: Serializer>(details: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    match current() {
        Language::English => details.serialize(serializer),
        Language::Indonesian => said_in(details).serialize(serializer),
    }
}

/// Says the labels and reasons within a value in the current language.
fn said_in(details: &Value) -> Value {
    let field = |(name, value): (&String, &Value)| {
        let said = match value {
            Value::String(text) if SENTENCES_OF_DETAILS.contains(&name.as_str()) => {
                Value::String(spoken(text).into_owned())
            }
            other => said_in(other),
        };
        (name.clone(), said)
    };
    match details {
        Value::Object(fields) => Value::Object(fields.iter().map(field).collect()),
        Value::Array(items) => Value::Array(items.iter().map(said_in).collect()),
        other => other.clone(),
    }
}
