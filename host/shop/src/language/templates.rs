//! Sentences with gaps: the one that a text fits best, and its Indonesian one, filled.

use std::collections::HashMap;

/// Sentences without arguments by themselves, and templates by their first word.
#[derive(Debug, Default)]
pub(super) struct Table {
    exact: HashMap<String, String>,
    by_word: HashMap<String, Vec<Template>>,
    /// Templates that do not begin with a whole word.
    others: Vec<Template>,
}

impl Table {
    pub(super) fn of(entries: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut table = Self::default();
        for (english, indonesian) in entries {
            let template = Template::of(&english, &indonesian);
            if template.literals.len() < 2 {
                table.exact.insert(english, indonesian);
            } else if let Some(word) = template.first_word() {
                table.by_word.entry(word).or_default().push(template);
            } else {
                table.others.push(template);
            }
        }
        table
    }

    /// Lets a noun behind a gap alone follow a number: other words of ours end with the same nouns.
    pub(super) fn counting(mut self) -> Self {
        for template in &mut self.others {
            template.counts =
                matches!(template.literals.as_slice(), [first, _] if first.is_empty());
        }
        self
    }

    pub(super) fn exact(&self, text: &str) -> Option<&str> {
        self.exact.get(text).map(String::as_str)
    }

    /// Returns the template with the most literal bytes that fits, and the arguments in the text.
    pub(super) fn matching<'a>(&self, text: &'a str) -> Option<(&Template, Vec<&'a str>)> {
        let first = text.split(' ').next().unwrap_or_default();
        let named = self.by_word.get(first).into_iter().flatten();
        let mut best: Option<(&Template, Vec<&'a str>)> = None;
        for template in named.chain(&self.others) {
            let most = best
                .as_ref()
                .map_or(0, |(template, _)| template.literal_bytes);
            // Compared first, since a match costs more.
            if template.literal_bytes > most
                && let Some(arguments) = template.arguments(text)
            {
                best = Some((template, arguments));
            }
        }
        best
    }
}

/// An English sentence with gaps, and its Indonesian one.
#[derive(Debug)]
pub(super) struct Template {
    /// Texts before, between and after the gaps.
    literals: Vec<String>,
    pub(super) literal_bytes: usize,
    /// True where the gap holds a number alone.
    counts: bool,
    indonesian: Vec<Piece>,
}

/// A part of an Indonesian sentence.
#[derive(Debug)]
enum Piece {
    Text(String),
    /// Place of an argument in the English sentence.
    Argument(usize),
}

impl Template {
    fn of(english: &str, indonesian: &str) -> Self {
        let literals: Vec<String> = english.split("{}").map(str::to_owned).collect();
        Self {
            literal_bytes: literals.iter().map(String::len).sum(),
            literals,
            counts: false,
            indonesian: pieces(indonesian),
        }
    }

    /// Returns the first word, when the text before the first gap holds all of it.
    fn first_word(&self) -> Option<String> {
        let (word, _) = self.literals.first()?.split_once(' ')?;
        (!word.is_empty()).then(|| word.to_owned())
    }

    /// Returns true for a gap between quotes or backticks, which holds a client's own value.
    pub(super) fn quotes(&self, place: usize) -> bool {
        let mut around = self.literals.iter().skip(place);
        let (Some(before), Some(after)) = (around.next(), around.next()) else {
            return false;
        };
        ['"', '`']
            .into_iter()
            .any(|quote| before.ends_with(quote) && after.starts_with(quote))
    }

    /// Returns the arguments of a text of this form: the first literal begins it, the last one ends it, and
    /// each one between is where it first comes.
    fn arguments<'a>(&self, text: &'a str) -> Option<Vec<&'a str>> {
        let (first, rest) = self.literals.split_first()?;
        let (last, inner) = rest.split_last()?;
        let mut left = text.strip_prefix(first.as_str())?;
        left = left.strip_suffix(last.as_str())?;
        let mut arguments = Vec::with_capacity(rest.len());
        for literal in inner {
            let (argument, after) = left.split_once(literal.as_str())?;
            arguments.push(argument);
            left = after;
        }
        arguments.push(left);
        if self.counts && !text.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        Some(arguments)
    }

    /// Fills the Indonesian sentence.
    pub(super) fn with(&self, arguments: &[&str]) -> String {
        let mut text = String::new();
        for piece in &self.indonesian {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Argument(place) => {
                    text.push_str(arguments.get(*place).copied().unwrap_or_default());
                }
            }
        }
        text
    }
}

/// Cuts an Indonesian sentence at its `{0}`, `{1}` and so on.
fn pieces(sentence: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = sentence;
    let mut literal = String::new();
    while let Some((before, after)) = rest.split_once('{') {
        literal.push_str(before);
        let place = after
            .split_once('}')
            .and_then(|(place, after)| Some((place.parse::<usize>().ok()?, after)));
        if let Some((place, after)) = place {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
            pieces.push(Piece::Argument(place));
            rest = after;
        } else {
            literal.push('{');
            rest = after;
        }
    }
    literal.push_str(rest);
    pieces.push(Piece::Text(literal));
    pieces
}

#[cfg(test)]
pub(super) mod probes {
    //! Views of templates for the tests of the catalogues.

    use super::{Piece, pieces};

    /// Returns the places of arguments in an Indonesian sentence, in order.
    pub(in crate::language) fn places(sentence: &str) -> Vec<usize> {
        let places = pieces(sentence);
        let mut places: Vec<usize> = places
            .iter()
            .filter_map(|piece| match piece {
                Piece::Argument(place) => Some(*place),
                Piece::Text(_) => None,
            })
            .collect();
        places.sort_unstable();
        places
    }
}
