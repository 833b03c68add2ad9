//! Errors of templates, each with its place.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

/// One problem of a template.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
#[serde(rename_all = "camelCase")]
pub struct TemplateError {
    pub file: String,
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// Column, from 1, in characters; 0 for the file as a whole.
    pub column: usize,
    /// Key, for example `plans[1].resources.cpu_millis`; empty when the error is about none.
    pub key: String,
    /// Explanation with advice, a sentence.
    pub message: String,
}

impl TemplateError {
    pub(super) fn of_file(file: &str, message: String) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key: String::new(),
            message,
        }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            key,
            message,
        } = self;
        f.write_str(file)?;
        if *line > 0 {
            write!(f, ":{line}:{column}")?;
        }
        if !key.is_empty() {
            write!(f, ": {key}")?;
        }
        write!(f, ": {message}")
    }
}

/// Place of a key in a file, for errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) key: String,
}

impl Place {
    pub(super) fn of(file: &str, text: &str, span: &Range<usize>, key: &str) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before
                .get(line_start..)
                .map_or(0, |line| line.chars().count())
                + 1,
            key: key.to_owned(),
        }
    }

    pub(super) fn problem(&self, message: impl Into<String>) -> TemplateError {
        let Self {
            file,
            line,
            column,
            key,
        } = self.clone();
        TemplateError {
            file,
            line,
            column,
            key,
            message: message.into(),
        }
    }
}
