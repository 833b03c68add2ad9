//! Reads the fields of a TOML table, collecting every problem instead of stopping at the first.

use std::{cell::RefCell, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use dermaga_runtime::contract::Settings;

use super::{
    Source,
    error::{Place, TemplateError},
    settings::{self, Places},
};

/// A file being read, with the problems found so far.
#[derive(Debug)]
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    problems: RefCell<Vec<TemplateError>>,
}

impl<'a> Document<'a> {
    pub(super) const fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            problems: RefCell::new(Vec::new()),
        }
    }

    pub(super) fn place(&self, span: &Range<usize>, key: &str) -> Place {
        Place::of(self.file, self.text, span, key)
    }

    pub(super) fn note(&self, span: &Range<usize>, key: &str, message: impl Into<String>) {
        self.problems
            .borrow_mut()
            .push(self.place(span, key).problem(message));
    }

    /// Returns all problems in the order of the text.
    pub(super) fn into_problems(self) -> Vec<TemplateError> {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems
    }
}

/// A table of the document, with its key.
#[derive(Debug)]
pub(super) struct Fields<'a, 'i> {
    document: &'a Document<'a>,
    table: &'a DeTable<'i>,
    span: Range<usize>,
    path: String,
}

impl<'a, 'i> Fields<'a, 'i> {
    pub(super) fn root(document: &'a Document<'a>, table: &'a Spanned<DeTable<'i>>) -> Self {
        // A document has no header to point at, so missing keys are reported at its beginning.
        Self {
            document,
            table: table.get_ref(),
            span: 0..0,
            path: String::new(),
        }
    }

    /// Notes every key that is not among `known`, with the most similar known one.
    pub(super) fn only(&self, known: &[&str]) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let message = match nearest(name, known) {
                Some(near) => format!("there is no such key; did you mean `{near}`?"),
                None => format!("there is no such key; known here are {}", known.join(", ")),
            };
            self.document.note(&key.span(), &self.key(name), message);
        }
    }

    /// Reads the value of a required key, if the rule accepts it.
    pub(super) fn required<T>(
        &self,
        key: &str,
        rule: impl FnOnce(&DeValue<'i>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.present(key)?;
        self.accept(value, &self.key(key), rule)
    }

    /// Reads the value of an optional key, if the rule accepts it.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        default: T,
        rule: impl FnOnce(&DeValue<'i>) -> Result<T, String>,
    ) -> Option<T> {
        match self.table.get(key) {
            Some(value) => self.accept(value, &self.key(key), rule),
            None => Some(default),
        }
    }

    /// Reads a required list of at least `least` values, each accepted by the rule.
    pub(super) fn list<T>(
        &self,
        key: &str,
        least: usize,
        rule: impl Fn(&DeValue<'i>) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let items = self.items(key, least)?;
        let path = self.key(key);
        let accepted: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(position, item)| self.accept(item, &format!("{path}[{position}]"), &rule))
            .collect();
        accepted.into_iter().collect()
    }

    /// Reads a required array of tables, at least one.
    pub(super) fn tables(&self, key: &str) -> Vec<Fields<'a, 'i>> {
        let path = self.key(key);
        let items = self.items(key, 1).unwrap_or_default();
        let tables = items.iter().enumerate();
        tables
            .filter_map(|(position, item)| self.sub(item, format!("{path}[{position}]")))
            .collect()
    }

    /// Reads an optional array of tables.
    pub(super) fn optional_tables(&self, key: &str) -> Vec<Fields<'a, 'i>> {
        if self.table.contains_key(key) {
            self.tables(key)
        } else {
            Vec::new()
        }
    }

    /// Returns true when the table has this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Reads a required table.
    pub(super) fn table(&self, key: &str) -> Option<Fields<'a, 'i>> {
        self.sub(self.present(key)?, self.key(key))
    }

    /// Reads an optional table.
    pub(super) fn optional_table(&self, key: &str) -> Option<Fields<'a, 'i>> {
        self.sub(self.table.get(key)?, self.key(key))
    }

    /// Reads an optional table of any shape; without it, problems of the whole are shown at
    /// `instead`.
    pub(super) fn free(&self, key: &str, instead: &str) -> Option<(Settings, Places)> {
        let table = match self.table.get(key) {
            Some(_) => Some(self.optional_table(key)?.table),
            None => None,
        };
        let whole = self.place(if table.is_some() { key } else { instead });
        settings::read(self.document, table, whole)
    }

    /// Reads every key with its value, in alphabetical order; both are put to a rule.
    pub(super) fn entries<K: Ord, V>(
        &self,
        key_rule: impl Fn(&str) -> Result<K, String>,
        value_rule: impl Fn(&DeValue<'i>) -> Result<V, String>,
    ) -> Option<std::collections::BTreeMap<K, V>> {
        let entry = |(key, value): (&Spanned<_>, _)| {
            let key: &Spanned<std::borrow::Cow<'_, str>> = key;
            let path = self.key(key.get_ref());
            let name = key_rule(key.get_ref())
                .map_err(|message| self.document.note(&key.span(), &path, message))
                .ok();
            let value = self.accept(value, &path, &value_rule);
            Some((name?, value?))
        };
        let entries: Vec<_> = self.table.iter().map(entry).collect();
        entries.into_iter().collect()
    }

    /// Returns every table in the table, with its key.
    pub(super) fn subtables(&self) -> impl Iterator<Item = (String, Fields<'a, 'i>)> {
        let tables = self
            .table
            .iter()
            .filter(|(_, value)| value.get_ref().is_table());
        tables.filter_map(|(key, value)| {
            let name = key.get_ref().to_string();
            let table = self.sub(value, self.key(&name))?;
            Some((name, table))
        })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.table.keys().map(|key| key.get_ref().as_ref())
    }

    /// Place at which the table begins.
    pub(super) fn here(&self) -> Place {
        self.document.place(&self.span, &self.path)
    }

    /// Returns the document's name and text.
    pub(super) fn source(&self) -> Source {
        Source {
            file: self.document.file.to_owned(),
            text: self.document.text.to_owned(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Notes a problem of a key, or of the table when the key is missing.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        let span = self
            .table
            .get(key)
            .map_or_else(|| self.span.clone(), Spanned::span);
        self.document.note(&span, &self.key(key), message);
    }

    pub(super) fn note(&self, message: impl Into<String>) {
        self.document.note(&self.span, &self.path, message);
    }

    pub(super) fn place(&self, key: &str) -> Place {
        let span = self
            .table
            .get(key)
            .map_or_else(|| self.span.clone(), Spanned::span);
        self.document.place(&span, &self.key(key))
    }

    fn present(&self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        let value = self.table.get(key);
        if value.is_none() {
            self.document
                .note(&self.span, &self.key(key), "it is missing; write it here");
        }
        value
    }

    fn items(&self, key: &str, least: usize) -> Option<&'a [Spanned<DeValue<'i>>]> {
        let value = self.present(key)?;
        match value.get_ref().as_array() {
            Some(items) if items.len() < least => {
                self.problem(key, "the list is empty; give it at least one entry");
                None
            }
            Some(items) => Some(items),
            None => {
                self.problem(key, expected("a list", value.get_ref()));
                None
            }
        }
    }

    fn sub(&self, value: &'a Spanned<DeValue<'i>>, path: String) -> Option<Fields<'a, 'i>> {
        let Some(table) = value.get_ref().as_table() else {
            self.document
                .note(&value.span(), &path, expected("a table", value.get_ref()));
            return None;
        };
        Some(Fields {
            document: self.document,
            table,
            span: value.span(),
            path,
        })
    }

    fn accept<T>(
        &self,
        value: &Spanned<DeValue<'i>>,
        path: &str,
        rule: impl FnOnce(&DeValue<'i>) -> Result<T, String>,
    ) -> Option<T> {
        rule(value.get_ref())
            .map_err(|message| self.document.note(&value.span(), path, message))
            .ok()
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// Returns a message such as `expected a text and found an integer`.
pub(super) fn expected(what: &str, found: &DeValue<'_>) -> String {
    format!("expected {what} and found {}", kind(found))
}

/// Returns the name of a value's type with its article.
const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a datetime",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// Returns the known name that a misspelt one most likely means.
pub(super) fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_means_the_nearest_and_not_any() {
        let known = ["slug", "summary", "storage_price", "name"];
        for (written, meant) in [
            ("sumary", Some("summary")),
            ("summray", Some("summary")),
            ("naem", Some("name")),
            ("storageprice", Some("storage_price")),
            ("quota", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(written, &known), meant, "{written}");
        }
        assert_eq!(nearest("name", &[]), None);
    }
}
