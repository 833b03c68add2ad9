//! `dermaga.toml`, flattened to dotted keys with the line of each.

use std::path::Path;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::{ConfigError, Problem};

/// Value of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Dotted.
    pub(super) key: String,
    pub(super) value: String,
    /// Line number, from 1.
    pub(super) line: usize,
}

/// Reads a configuration file.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::one(
            name.clone(),
            "the configuration file",
            format!("cannot be read: {error}"),
        )
    })?;
    parse(&name, &text)
}

fn parse(name: &str, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        ConfigError::one(
            format!("{name}:{line}"),
            "the file",
            format!("is not TOML: {}", error.message()),
        )
    })?;
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    flatten(
        "",
        table.get_ref(),
        &mut |key, value| match scalar(value.get_ref()) {
            Ok(text_value) => entries.push(Entry {
                key,
                value: text_value,
                line: line_of(text, value.span().start),
            }),
            Err(message) => {
                let source = format!("{name}:{}", line_of(text, value.span().start));
                problems.push(Problem {
                    source,
                    name: key,
                    message,
                });
            }
        },
    );
    if problems.is_empty() {
        Ok(entries)
    } else {
        Err(ConfigError(problems))
    }
}

fn flatten<'t>(
    prefix: &str,
    table: &'t DeTable<'t>,
    take: &mut impl FnMut(String, &'t Spanned<DeValue<'t>>),
) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => flatten(&format!("{path}."), inner, take),
            _ => take(path, value),
        }
    }
}

/// Settings are texts; numbers and truth values may be written bare, lists of texts for several.
fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Ok(flag.to_string()),
        DeValue::Array(items) => {
            let items: Result<Vec<String>, String> =
                items.iter().map(|item| scalar(item.get_ref())).collect();
            Ok(items?.join(","))
        }
        _ => Err("must be a text, a whole number, true or false, or a list of texts".into()),
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flattens_with_lines() {
        let text = "listen = \"127.0.0.1:0\"\n\n[plugins]\nquick_fuel = 5\njwt = [\"a\", \"b\"]\n";
        let entries: Vec<_> = parse("f", text)
            .unwrap()
            .into_iter()
            .map(|entry| (entry.key, entry.value, entry.line))
            .collect();
        let expected = [
            ("listen", "127.0.0.1:0", 1),
            ("plugins.jwt", "a,b", 5),
            ("plugins.quick_fuel", "5", 4),
        ];
        for (key, value, line) in expected {
            assert!(
                entries.contains(&(key.into(), value.into(), line)),
                "{key}: {entries:?}"
            );
        }
    }

    #[test]
    fn names_the_line_of_broken_toml_and_odd_values() {
        let error = parse("dermaga.toml", "listen = \"x\"\nport = = 3\n").unwrap_err();
        assert_eq!(error.0[0].source, "dermaga.toml:2");
        let error = parse("dermaga.toml", "a = 1\nratio = 1.5\n").unwrap_err();
        assert_eq!(
            (error.0[0].source.as_str(), error.0[0].name.as_str()),
            ("dermaga.toml:2", "ratio")
        );
    }
}
