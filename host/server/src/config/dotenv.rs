//! `.env` beside `dermaga.toml`: lines of `NAME=value`, below the real environment.

use std::path::Path;

use super::{
    error::{ConfigError, Problem},
    file::Entry,
};

/// Reads the file.
///
/// # Errors
/// When it cannot be read, and for every line that is no assignment.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, ConfigError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| {
        ConfigError::one(name.clone(), "the file", format!("cannot be read: {error}"))
    })?;
    parse(&name, &String::from_utf8_lossy(&bytes))
}

fn parse(name: &str, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (at, line) in text.lines().enumerate() {
        match assignment(line) {
            Ok(None) => {}
            Ok(Some((key, value))) => entries.push(Entry {
                key,
                value,
                line: at + 1,
            }),
            Err((key, message)) => problems.push(Problem {
                source: format!("{name}:{}", at + 1),
                name: key,
                message,
            }),
        }
    }
    if problems.is_empty() {
        Ok(entries)
    } else {
        Err(ConfigError(problems))
    }
}

/// Name and value of a line; `None` for a comment or an empty line.
fn assignment(line: &str) -> Result<Option<(String, String)>, (String, String)> {
    let line = line.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let Some((name, rest)) = line.split_once('=') else {
        // The line may be the rest of a secret: it is not repeated.
        return Err(("the line".into(), "must be NAME=value".into()));
    };
    let name = name.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(("the line".into(), "must be NAME=value".into()));
    }
    match value(rest.trim_start_matches([' ', '\t'])) {
        Ok(value) => Ok(Some((name.to_owned(), value))),
        Err(message) => Err((name.to_owned(), message.to_owned())),
    }
}

fn value(text: &str) -> Result<String, &'static str> {
    let (value, rest) = if let Some(inner) = text.strip_prefix('\'') {
        let (value, rest) = inner.split_once('\'').ok_or(UNCLOSED)?;
        return alone(rest).map(|()| value.to_owned());
    } else if let Some(inner) = text.strip_prefix('"') {
        unescaped(inner).ok_or(UNCLOSED)?
    } else {
        (bare(text).to_owned(), "")
    };
    alone(rest)?;
    if value.contains("${") {
        return Err(
            "must not contain `${`: variables are not filled in here; single quotes keep it as it is",
        );
    }
    Ok(value)
}

const UNCLOSED: &str = "must have its closing quote on the same line";

/// A value without quotes ends at a comment, which a blank precedes.
fn bare(text: &str) -> &str {
    let comment = text
        .char_indices()
        .zip(std::iter::once(' ').chain(text.chars()))
        .find(|((_, letter), before)| *letter == '#' && before.is_whitespace());
    let end = comment.map_or(text.len(), |((at, _), _)| at);
    text.get(..end)
        .unwrap_or(text)
        .trim_end_matches([' ', '\t'])
}

/// The text up to the closing double quote, and the rest of the line.
fn unescaped(text: &str) -> Option<(String, &str)> {
    let (mut value, mut letters) = (String::new(), text.chars());
    loop {
        match letters.next()? {
            '"' => return Some((value, letters.as_str())),
            '\\' => match letters.next()? {
                escaped @ ('"' | '\\' | '$') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            letter => value.push(letter),
        }
    }
}

/// Checks that only a comment follows a quoted value.
fn alone(rest: &str) -> Result<(), &'static str> {
    let rest = rest.trim();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(())
    } else {
        Err("must not be followed by more text after its closing quote")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_such_files_hold() {
        let text = "\u{feff}# shop\r\n\r\nA=1\r\nexport B = two words  # why\nC='a # ${b}'\nD=\"q\\\"\\\\d\\n\" # x\nE=\nF=a#b\nG=#c\n";
        let found: Vec<_> = parse(".env", text)
            .unwrap()
            .into_iter()
            .map(|entry| (entry.line, entry.key, entry.value))
            .collect();
        let expected = [
            (3, "A", "1"),
            (4, "B", "two words"),
            (5, "C", "a # ${b}"),
            (6, "D", "q\"\\d\\n"),
            (7, "E", ""),
            (8, "F", "a#b"),
            (9, "G", ""),
        ];
        assert_eq!(
            found,
            expected.map(|(line, key, value)| (line, key.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn names_the_line_that_is_none() {
        let text = "nonsense\nA=\"open\nB='x' y\nC=${HOME}/x\n=1\n";
        let error = parse(".env", text).unwrap_err();
        let found: Vec<String> = error.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "the line must be NAME=value (.env:1)",
                "A must have its closing quote on the same line (.env:2)",
                "B must not be followed by more text after its closing quote (.env:3)",
                "C must not contain `${`: variables are not filled in here; single quotes keep it as it is (.env:4)",
                "the line must be NAME=value (.env:5)",
            ]
        );
    }
}
