//! Settings of a template for its plugin: a table of any shape, with the place of every value, so
//! that the plugin's problems are shown at the value.

use std::collections::BTreeMap;

use dermaga_runtime::contract::{Problem, Settings};
use serde_json::{Map, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{Place, TemplateError},
    fields::{Document, expected},
};

/// Name of the table.
pub(super) const KEY: &str = "settings";

/// Places of values by their JSON pointers within the settings; always has the empty pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places(BTreeMap<String, Place>);

/// The settings as they are read.
#[derive(Debug)]
struct Reader<'a> {
    document: &'a Document<'a>,
    places: BTreeMap<String, Place>,
}

/// Reads the table; problems of the settings as a whole are shown at `whole`.
pub(super) fn read(
    document: &Document<'_>,
    table: Option<&DeTable<'_>>,
    whole: Place,
) -> Option<(Settings, Places)> {
    let mut reader = Reader {
        document,
        places: [(String::new(), whole)].into(),
    };
    let settings = match table {
        Some(table) => reader.table(table, "")?,
        None => Settings::new(),
    };
    Some((settings, Places(reader.places)))
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, pointer: &str) -> Option<Map<String, Value>> {
        let entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let name: &str = key.get_ref();
                let token = name.replace('~', "~0").replace('/', "~1");
                let value = self.value(value, &format!("{pointer}/{token}"))?;
                Some((name.to_owned(), value))
            })
            .collect();
        entries.into_iter().collect()
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, pointer: &str) -> Option<Value> {
        let place = self.document.place(&value.span(), &key(pointer));
        self.places.insert(pointer.to_owned(), place);
        match value.get_ref() {
            DeValue::String(text) => Some(Value::String(text.to_string())),
            DeValue::Boolean(truth) => Some(Value::Bool(*truth)),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map(Value::from)
                .map_err(|_| self.refuse(value, pointer, "it does not fit in 64 bits"))
                .ok(),
            DeValue::Array(items) => items
                .iter()
                .enumerate()
                .map(|(position, item)| self.value(item, &format!("{pointer}/{position}")))
                .collect::<Vec<_>>()
                .into_iter()
                .collect::<Option<Vec<_>>>()
                .map(Value::Array),
            DeValue::Table(table) => self.table(table, pointer).map(Value::Object),
            // Settings are compared and recorded as texts, but one fraction has many spellings.
            other @ (DeValue::Float(_) | DeValue::Datetime(_)) => {
                let what = "a text, a whole number, true, false, a list or a table";
                self.refuse(value, pointer, &expected(what, other));
                None
            }
        }
    }

    fn refuse(&self, value: &Spanned<DeValue<'_>>, pointer: &str, message: &str) {
        self.document.note(&value.span(), &key(pointer), message);
    }
}

impl Places {
    /// Checks for a value at this pointer.
    pub(super) fn has(&self, pointer: &str) -> bool {
        self.0.contains_key(pointer)
    }

    /// Converts a plugin's problem to an error at the value, or at the nearest table when it is
    /// missing.
    pub(super) fn problem(&self, problem: &Problem) -> TemplateError {
        let pointer = &problem.field;
        let ancestors = pointer
            .match_indices('/')
            .map(|(end, _)| pointer.get(..end).unwrap_or_default())
            .rev();
        let place = std::iter::once(pointer.as_str())
            .chain(ancestors)
            .find_map(|pointer| self.0.get(pointer));
        let error = TemplateError::of_file("", problem.message.clone());
        let error = place.map_or(error, |place| place.problem(problem.message.clone()));
        TemplateError {
            key: key(pointer),
            ..error
        }
    }
}

/// Converts a pointer to a key: `/workloads/0/port` to `settings.workloads[0].port`.
fn key(pointer: &str) -> String {
    let tokens = pointer.split('/').skip(1);
    tokens.fold(KEY.to_owned(), |key, token| {
        if token.bytes().all(|byte| byte.is_ascii_digit()) && !token.is_empty() {
            format!("{key}[{token}]")
        } else {
            format!("{key}.{}", token.replace("~1", "/").replace("~0", "~"))
        }
    })
}
