//! Fills the placeholders in a template's texts: `{{url}}`, `{{hostname}}`, `{{host.WORKLOAD}}`,
//! `{{config.NAME}}`, and `{{memory.PERCENT}}`, in MiB of the workload's own.

use dermaga_plugin_sdk::service::{Compute, Instance, Problem};
use serde_json::{Map, Value};

use crate::settings::Settings;

/// A placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placeholder<'t> {
    Url,
    Hostname,
    /// Host name of a workload.
    Host(&'t str),
    Config(&'t str),
    /// Percentage of the workload's memory, in MiB.
    Memory(u8),
}

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'t> {
    Plain(&'t str),
    Filled(Placeholder<'t>),
}

/// Returns the placeholders of a text.
///
/// # Errors
/// A sentence about the first invalid one.
pub(crate) fn placeholders(text: &str) -> Result<Vec<Placeholder<'_>>, String> {
    let filled = |piece| match piece {
        Piece::Filled(placeholder) => Some(placeholder),
        Piece::Plain(_) => None,
    };
    Ok(pieces(text)?.into_iter().filter_map(filled).collect())
}

fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, after) = after
            .split_once("}}")
            .ok_or_else(|| "A `{{` is not closed by `}}`.".to_owned())?;
        pieces.push(Piece::Plain(before));
        pieces.push(Piece::Filled(placeholder(inside.trim())?));
        rest = after;
    }
    pieces.push(Piece::Plain(rest));
    Ok(pieces)
}

fn placeholder(text: &str) -> Result<Placeholder<'_>, String> {
    match text.split_once('.') {
        None if text == "url" => Ok(Placeholder::Url),
        None if text == "hostname" => Ok(Placeholder::Hostname),
        Some(("host", workload)) => Ok(Placeholder::Host(workload)),
        Some(("config", name)) => Ok(Placeholder::Config(name)),
        Some(("memory", percent)) => match percent.parse() {
            Ok(percent @ 1..=100) => Ok(Placeholder::Memory(percent)),
            _ => Err(format!("`{percent}` is not a percentage from 1 to 100.")),
        },
        _ => Err(format!(
            "There is no `{{{{{text}}}}}`; there are {{{{url}}}}, {{{{hostname}}}}, {{{{host.WORKLOAD}}}}, \
             {{{{config.NAME}}}} and {{{{memory.PERCENT}}}}."
        )),
    }
}

/// Values for the texts of one workload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) instance: &'a Instance,
    pub(crate) config: &'a Map<String, Value>,
    pub(crate) compute: Compute,
}

impl Facts<'_> {
    /// Returns the text with every placeholder filled.
    ///
    /// # Errors
    /// When the instance lacks the value of a placeholder.
    pub(crate) fn fill(&self, text: &str) -> Result<String, Problem> {
        let pieces = pieces(text).map_err(|message| Problem::new("", message))?;
        pieces
            .into_iter()
            .map(|piece| match piece {
                Piece::Plain(text) => Ok(text.to_owned()),
                Piece::Filled(placeholder) => self.value(placeholder),
            })
            .collect()
    }

    fn value(&self, placeholder: Placeholder<'_>) -> Result<String, Problem> {
        match placeholder {
            Placeholder::Hostname => self.instance.public_hostname().map(str::to_owned),
            Placeholder::Url => self
                .instance
                .public_hostname()
                .map(|hostname| format!("https://{hostname}")),
            Placeholder::Host(workload) => Ok(self.instance.object_name(workload)),
            Placeholder::Config(name) => {
                let default = self.settings.config.get(name).map(|field| &field.default);
                let value = self.config.get(name).or(default);
                Ok(value.map(shown).unwrap_or_default())
            }
            Placeholder::Memory(percent) => {
                let (part, _) = self.compute.split(percent);
                Ok(part.memory_mib.to_string())
            }
        }
    }
}

fn shown(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_apart_and_what_is_none_is_told() {
        assert_eq!(
            placeholders("a {{ url }}{{host.database}}:{{memory.75}} ${X}"),
            Ok(vec![
                Placeholder::Url,
                Placeholder::Host("database"),
                Placeholder::Memory(75)
            ])
        );
        assert!(placeholders("{{memory.101}}").is_err());
        assert!(placeholders("{{url").unwrap_err().contains("not closed"));
        assert!(placeholders("{{ulr}}").unwrap_err().contains("{{url}}"));
    }
}
