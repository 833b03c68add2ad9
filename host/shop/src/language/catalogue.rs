//! Recognises finished English sentences, and says them in Indonesian.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use arc_swap::{ArcSwap, Guard};
use dermaga_runtime::Texts;

use super::{kept::Kept, templates::Table};

/// Files of sentences, which are recognised wherever they are.
pub(super) const SENTENCES: &[&str] = &[
    include_str!("id/customers.toml"),
    include_str!("id/administrators.toml"),
    include_str!("id/rules.toml"),
    include_str!("id/authors.toml"),
];
/// File of words and parts of sentences, which are recognised inside of sentences alone.
pub(super) const WORDS: &str = include_str!("id/words.toml");

/// File of titles and labels, which are recognised as whole texts alone.
pub(super) const LABELS: &str = include_str!("id/labels.toml");

/// Longest text that is compared with templates.
const LONGEST: usize = 2_000;
/// Most sentences of a text that is read sentence by sentence.
const MOST_SENTENCES: usize = 8;
/// Depth to which arguments of arguments are looked at.
const DEEPEST: u8 = 4;

/// The catalogue, whose files are read once.
static SPOKEN: LazyLock<ArcSwap<Catalogue>> =
    LazyLock::new(|| ArcSwap::from_pointee(Catalogue::of(SENTENCES, WORDS, LABELS)));

/// Returns the catalogue as it is now.
pub(super) fn indonesian() -> Guard<Arc<Catalogue>> {
    SPOKEN.load()
}

/// Replaces the sentences that plugins have brought along.
pub(super) fn learn(texts: BTreeMap<String, String>) {
    let learned = SPOKEN.load().with(texts);
    SPOKEN.store(Arc::new(learned));
}

/// Reads one file. One that cannot be read has no entries; a test shows that there is none.
pub(super) fn entries(file: &str) -> BTreeMap<String, String> {
    toml::from_str(file).unwrap_or_default()
}

/// English sentences, and their Indonesian ones.
#[derive(Debug)]
pub(super) struct Catalogue {
    sentences: Arc<Table>,
    words: Arc<Table>,
    /// Titles, labels and other texts that are no sentences: within another text they may be a name.
    labels: Arc<Table>,
    /// Sentences of plugins. One of the shop's that fits as well goes first.
    taught: Table,
    taught_labels: Table,
    /// Texts that were said lately.
    kept: Kept,
}

/// A text that was said in the other language, and how many of its bytes were recognised.
#[derive(Debug)]
struct Said {
    text: String,
    recognised: usize,
}

impl Said {
    /// Leaves a text as it is.
    fn unknown(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            recognised: 0,
        }
    }
}

impl Catalogue {
    pub(super) fn of(sentences: &[&str], words: &str, labels: &str) -> Self {
        let sentences = sentences.iter().flat_map(|file| entries(file));
        Self {
            sentences: Arc::new(Table::of(sentences)),
            words: Arc::new(Table::of(entries(words)).counting()),
            labels: Arc::new(Table::of(entries(labels))),
            taught: Table::default(),
            taught_labels: Table::default(),
            kept: Kept::default(),
        }
    }

    /// Returns the same with these texts of plugins.
    fn with(&self, texts: BTreeMap<String, String>) -> Self {
        let is_sentence = |(english, _): &(String, String)| english.ends_with(['.', '!', '?']);
        let (sentences, labels): (Vec<_>, Vec<_>) = texts.into_iter().partition(is_sentence);
        Self {
            sentences: Arc::clone(&self.sentences),
            words: Arc::clone(&self.words),
            labels: Arc::clone(&self.labels),
            taught: Table::of(sentences),
            taught_labels: Table::of(labels),
            // A text that was not known may be now.
            kept: Kept::default(),
        }
    }

    /// Says a text; one that is not known stays as it is.
    pub(super) fn said<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.kept.or_else(text, || self.compared(text))
    }

    /// Says a text by a comparison with the templates, of which there are hundreds.
    fn compared<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let label = || {
            self.labels
                .exact(text)
                .or_else(|| self.taught_labels.exact(text))
        };
        if self.sentences.exact(text).is_none()
            && let Some(label) = label()
        {
            return Cow::Owned(label.to_owned());
        }
        let said = self.best(text, 0).or_else(|| self.count(text));
        match said.or_else(|| self.label(text)) {
            Some(said) => Cow::Owned(said.text),
            None => Cow::Borrowed(text),
        }
    }

    /// Says a text by these texts alone; words of the shop are said within its gaps.
    pub(super) fn said_by(&self, texts: &Texts, text: &str) -> Option<String> {
        let texts = texts.iter();
        let owned = texts.map(|(english, indonesian)| (english.to_owned(), indonesian.to_owned()));
        let table = Table::of(owned);
        if let Some(exact) = table.exact(text) {
            return Some(exact.to_owned());
        }
        if text.len() > LONGEST {
            return None;
        }
        self.filled(&table, text, 0).map(|said| said.text)
    }

    /// Says a label with gaps.
    fn label(&self, text: &str) -> Option<Said> {
        if text.len() > LONGEST {
            return None;
        }
        let own = self.filled(&self.labels, text, 0);
        fuller(own, self.filled(&self.taught_labels, text, 0))
    }

    /// Says a number with its noun, which is a whole message over a list: `3 tickets.`
    fn count(&self, text: &str) -> Option<Said> {
        let phrase = text.strip_suffix('.')?;
        let (number, _) = phrase.split_once(' ')?;
        if text.len() > LONGEST || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut said = self.filled(&self.words, phrase, 0)?;
        said.text.push('.');
        Some(said)
    }

    /// Reads a text as one sentence or as several, whichever recognises more of it.
    fn best(&self, text: &str, depth: u8) -> Option<Said> {
        if let Some(exact) = self.exact(text) {
            return Some(exact);
        }
        if text.len() > LONGEST {
            return None;
        }
        let whole = self.sentence(text, depth);
        fuller(whole, self.one_by_one(text, depth))
    }

    /// Says a sentence without gaps.
    fn exact(&self, text: &str) -> Option<Said> {
        let own = self.sentences.exact(text);
        let said = own.or_else(|| self.taught.exact(text))?;
        Some(Said {
            text: said.to_owned(),
            recognised: text.len(),
        })
    }

    /// Says a sentence with gaps.
    fn sentence(&self, text: &str, depth: u8) -> Option<Said> {
        let own = self.filled(&self.sentences, text, depth);
        fuller(own, self.filled(&self.taught, text, depth))
    }

    /// Reads a text as sentences in a row, some of which may not be known.
    fn one_by_one(&self, text: &str, depth: u8) -> Option<Said> {
        // Arguments of arguments are short, and reading them so costs the most.
        if depth > 1 {
            return None;
        }
        let starts = starts(text);
        if !(2..=MOST_SENTENCES).contains(&starts.len()) {
            return None;
        }
        // From the end: the best reading of what begins at each start.
        let mut later: Vec<(usize, Said)> = Vec::new();
        for start in starts.into_iter().rev() {
            let mut best = self.stretch(text, start, text.len(), depth);
            for (next, rest) in &later {
                let first = self.stretch(text, start, *next, depth);
                let recognised = first.recognised + rest.recognised;
                if recognised > best.recognised {
                    best = Said {
                        text: format!("{}{}", first.text, rest.text),
                        recognised,
                    };
                }
            }
            later.push((start, best));
        }
        let (_, said) = later.pop()?;
        (said.recognised > 0).then_some(said)
    }

    /// Reads a stretch of a text as one sentence, with the blanks at its end.
    fn stretch(&self, text: &str, start: usize, end: usize, depth: u8) -> Said {
        let stretch = text.get(start..end).unwrap_or_default();
        let sentence = stretch.trim_end();
        let blanks = stretch.get(sentence.len()..).unwrap_or_default();
        let said = self.exact(sentence);
        let said = said.or_else(|| self.sentence(sentence, depth));
        let mut said = said.unwrap_or_else(|| Said::unknown(sentence));
        said.text.push_str(blanks);
        said
    }

    /// Finds the template that fits a text best, and fills its Indonesian one.
    fn filled(&self, table: &Table, text: &str, depth: u8) -> Option<Said> {
        let (template, arguments) = table.matching(text)?;
        let said: Vec<Said> = arguments
            .into_iter()
            .enumerate()
            .map(|(place, argument)| {
                if template.quotes(place) {
                    Said::unknown(argument)
                } else {
                    self.argument(argument, depth + 1)
                }
            })
            .collect();
        let of_arguments: usize = said.iter().map(|said| said.recognised).sum();
        let arguments: Vec<&str> = said.iter().map(|said| said.text.as_str()).collect();
        Some(Said {
            text: template.with(&arguments),
            recognised: template.literal_bytes + of_arguments,
        })
    }

    /// Says an argument when it is words of ours, and leaves it otherwise.
    fn argument(&self, argument: &str, depth: u8) -> Said {
        let text = argument.trim();
        if text.is_empty() || depth > DEEPEST {
            return Said::unknown(argument);
        }
        let said = match self.words.exact(text) {
            Some(word) => Some(Said {
                text: word.to_owned(),
                recognised: text.len(),
            }),
            None => self
                .best(text, depth)
                .or_else(|| self.filled(&self.words, text, depth)),
        };
        let Some(mut said) = said else {
            return Said::unknown(argument);
        };
        let leading = argument.len() - argument.trim_start().len();
        let trailing = leading + text.len();
        said.text = format!(
            "{}{}{}",
            argument.get(..leading).unwrap_or_default(),
            said.text,
            argument.get(trailing..).unwrap_or_default()
        );
        said
    }
}

/// Returns the reading of which more is recognised, of two that are equal the first.
fn fuller(first: Option<Said>, second: Option<Said>) -> Option<Said> {
    match (first, second) {
        // On a tie the first stays, whose words were chosen for the whole text.
        (Some(first), Some(second)) if second.recognised > first.recognised => Some(second),
        (None, second) => second,
        (first, _) => first,
    }
}

/// Returns the places where sentences of a text may begin.
fn starts(text: &str) -> Vec<usize> {
    let mut starts = vec![0];
    let ends = text.match_indices(['.', '!', '?']);
    for (at, _) in ends {
        let Some(rest) = text.get(at + 1..) else {
            continue;
        };
        let begins = rest.strip_prefix(' ').and_then(|rest| rest.chars().next());
        if begins.is_some_and(|letter| !letter.is_lowercase() && !letter.is_whitespace()) {
            starts.push(at + 2);
        }
    }
    starts
}
