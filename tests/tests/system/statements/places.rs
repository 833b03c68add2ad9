//! Places in the shop's code that send statements.

use std::{fmt, fs, path::Path};

use dermaga_shop::db::Statement;
use dermaga_tests::checkout;

const SOURCES: &str = "host/shop/src";
const CALLS: &[&str] = &[
    "execute!(",
    "fetch_one!(",
    "fetch_optional!(",
    "fetch_all!(",
    "fetch_page(",
    "fetch_span(",
    "fetch_where(",
    "fetch_first(",
    "find_where(",
    "count_where(",
    "defer!(",
    "write_returning!(",
];

/// A call of one of the macros or functions.
pub(super) struct Place {
    /// Path in the checkout.
    file: &'static str,
    line: u32,
    /// Source before the call.
    before: String,
    /// Source from the call on.
    call: String,
}

/// Returns `false` for the macros themselves and for tests, which send nothing of their own.
pub(super) fn is_of_the_shop(file: &str) -> bool {
    let within = file.find(SOURCES).map(|at| &file[at + SOURCES.len()..]);
    let is_other = |path: &str| {
        path.starts_with("/db/") || path.contains("/test_") || path.ends_with("tests.rs")
    };
    within.is_some_and(|path| !is_other(path))
}

/// Returns `true` for the shop's statements, and for those that claim the rows of its tables.
pub(super) fn is_explained(file: &str) -> bool {
    is_of_the_shop(file) || file.ends_with("/db/lease.rs")
}

/// Finds every call in the shop's code.
pub(super) fn all() -> Vec<Place> {
    let mut found = Vec::new();
    walk(&checkout().join(SOURCES), &mut found);
    assert!(found.len() > 200, "only {} places were found", found.len());
    found
}

fn walk(folder: &Path, found: &mut Vec<Place>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let file = path.strip_prefix(checkout()).unwrap().display().to_string();
            if is_of_the_shop(&file) {
                calls(file.leak(), &fs::read_to_string(&path).unwrap(), found);
            }
        }
    }
}

fn calls(file: &'static str, source: &str, found: &mut Vec<Place>) {
    let source = source.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    for name in CALLS {
        for (at, _) in source.match_indices(name) {
            let (before, call) = source.split_at(at);
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let line = u32::try_from(before.matches('\n').count()).unwrap() + 1;
            found.push(Place {
                file,
                line,
                before: before.to_owned(),
                call: call.to_owned(),
            });
        }
    }
}

impl Place {
    pub(super) fn is_at(&self, file: &str, line: u32) -> bool {
        file.ends_with(self.file) && line == self.line
    }

    /// Returns the statement where the call names a text that can be read; one that is built has to be recorded.
    pub(super) fn literal(&self) -> Option<Statement> {
        let statement = |sql| Statement {
            file: self.file,
            line: self.line,
            sql,
        };
        let arguments = self.arguments()?;
        let name = &self.call[..self.call.find('(')?];
        let is_built = !name.ends_with('!');
        if is_built || arguments.contains('!') {
            return None;
        }
        if let Some(at) = arguments.find('"') {
            return text(&arguments[at..]).map(statement);
        }
        let names = arguments.split(|c: char| !c.is_alphanumeric() && c != '_');
        let function = &self.before[self.before.rfind("fn ")?..];
        let mut values = names.filter(|name| !name.is_empty()).filter_map(|name| {
            let start = format!("let {name} =");
            let value = &function[function.rfind(&start)? + start.len()..];
            text(value.trim_start())
        });
        values.next().map(statement)
    }

    /// Returns the text between the brackets of the call.
    fn arguments(&self) -> Option<&str> {
        let inside = &self.call[self.call.find('(')? + 1..];
        let (mut depth, mut is_text, mut before) = (1, false, ' ');
        for (at, character) in inside.char_indices() {
            match character {
                '"' if before != '\\' => is_text = !is_text,
                '(' if !is_text => depth += 1,
                ')' if !is_text => depth -= 1,
                _ => {}
            }
            before = character;
            if depth == 0 {
                return Some(&inside[..=at]);
            }
        }
        None
    }
}

/// Reads a string literal that is followed by the end of an expression.
fn text(source: &str) -> Option<String> {
    let inside = source.strip_prefix('"')?;
    let end = inside
        .match_indices('"')
        .find(|(at, _)| !inside[..*at].ends_with('\\'))?
        .0;
    let mut lines = inside[..end].split("\\\n");
    let mut whole = lines.next()?.to_owned();
    for line in lines {
        whole.push_str(line.trim_start());
    }
    let after = inside[end + 1..].trim_start();
    after
        .starts_with([',', ';', ')'])
        .then(|| whole.replace("\\\"", "\""))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{} in {}",
            self.file,
            self.line,
            function(&self.before)
        )
    }
}

/// Names the function of a statement as the list of scans does: `wallet/store.rs unposted`.
pub(super) fn name(statement: &Statement) -> String {
    let at = statement.file.find(SOURCES).unwrap();
    let path = &statement.file[at..];
    let source = fs::read_to_string(checkout().join(path)).unwrap();
    let lines: Vec<&str> = source.lines().take(statement.line as usize).collect();
    format!(
        "{} {}",
        &path[SOURCES.len() + 1..],
        function(&lines.join("\n"))
    )
}

/// Names the last function that begins in a source.
fn function(source: &str) -> &str {
    let after = source.rsplit("fn ").next().unwrap_or_default();
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_');
    &after[..end.unwrap_or(after.len())]
}
