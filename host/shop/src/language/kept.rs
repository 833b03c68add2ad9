//! Texts that were said lately: lists show the same ones again and again.

use std::{
    borrow::Cow,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;

/// Most texts that are kept.
const MOST_TEXTS: usize = 4_096;
/// Longest text that is kept, in bytes.
const LONGEST: usize = 300;

/// English texts with their Indonesian ones; nothing beside a text that is not known.
#[derive(Debug)]
pub(super) struct Kept(Mutex<LruCache<String, Option<String>>>);

impl Default for Kept {
    fn default() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }
}

impl Kept {
    /// Returns a text as it was said before, or says it and keeps that.
    pub(super) fn or_else<'a>(
        &self,
        text: &'a str,
        say: impl FnOnce() -> Cow<'a, str>,
    ) -> Cow<'a, str> {
        if text.len() > LONGEST {
            return say();
        }
        if let Some(known) = self.texts().get(text) {
            return known.clone().map_or(Cow::Borrowed(text), Cow::Owned);
        }
        // Without the lock, since this is what takes long.
        let said = say();
        let own = match &said {
            Cow::Borrowed(_) => None,
            Cow::Owned(said) => Some(said.clone()),
        };
        let mut texts = self.texts();
        texts.put(text.to_owned(), own);
        if texts.len() > MOST_TEXTS {
            texts.pop_lru();
        }
        said
    }

    fn texts(&self) -> MutexGuard<'_, LruCache<String, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_text_is_said_once() {
        let (kept, count) = (Kept::default(), Cell::new(0));
        let say = |text: &'static str, said: Option<&str>| {
            let said = said.map(str::to_owned);
            let answer = kept.or_else(text, || {
                count.set(count.get() + 1);
                said.map_or(Cow::Borrowed(text), Cow::Owned)
            });
            answer.into_owned()
        };
        for _ in 0..3 {
            assert_eq!(say("Your wallet.", Some("Dompet Anda.")), "Dompet Anda.");
            assert_eq!(say("PostgreSQL", None), "PostgreSQL");
        }
        assert_eq!(count.get(), 2);
    }

    #[test]
    fn few_and_short_texts_are_kept() {
        let kept = Kept::default();
        for number in 0..MOST_TEXTS + 100 {
            let text = format!("Text {number}.");
            kept.or_else(&text, || Cow::Owned("Teks.".to_owned()));
        }
        let long = "x".repeat(LONGEST + 1);
        kept.or_else(&long, || Cow::Owned("Panjang.".to_owned()));
        assert_eq!(kept.texts().len(), MOST_TEXTS);
        assert!(kept.texts().peek(long.as_str()).is_none());
    }
}
