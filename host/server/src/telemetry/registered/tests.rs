//! The table against the code that records and the document that explains.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::*;

/// Reads a file of the checkout.
fn read(path: &str) -> String {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    fs::read_to_string(root.join(path)).unwrap()
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A place in the code that records: the kind, and its labels where the call lists them.
type Recorded = (&'static str, Option<BTreeSet<String>>);

/// Finds what shipped code records, by name.
fn recorded() -> BTreeMap<String, Vec<Recorded>> {
    let mut found = BTreeMap::new();
    let host = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for name in ["server", "shop", "runtime", "toolkit"] {
        walk(&host.join(name).join("src"), &mut found);
    }
    found
}

fn walk(folder: &Path, found: &mut BTreeMap<String, Vec<Recorded>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
            calls(&fs::read_to_string(&path).unwrap(), found);
        }
    }
}

fn calls(source: &str, found: &mut BTreeMap<String, Vec<Recorded>>) {
    for kind in [Kind::Counter, Kind::Gauge, Kind::Histogram] {
        let call = format!("metrics::{}!(", kind.word());
        for (at, _) in source.match_indices(&call) {
            let arguments = source[at + call.len()..].trim_start();
            let arguments = &arguments[..arguments.find(')').unwrap()];
            let mut parts = arguments.split('"');
            assert_eq!(
                parts.next(),
                Some(""),
                "a name that is no text: {arguments}"
            );
            let name = parts.next().unwrap().to_owned();
            let labels = arguments.split(" =>").collect::<Vec<_>>();
            let labels = labels.iter().rev().skip(1).map(|before| {
                let before = before.trim_end_matches('"');
                before.rsplit('"').next().unwrap().to_owned()
            });
            let is_listed = !arguments.contains("&labels");
            let labels = is_listed.then(|| labels.collect());
            found.entry(name).or_default().push((kind.word(), labels));
        }
    }
}

#[test]
fn what_is_recorded_is_in_the_table_and_the_other_way_round() {
    let recorded = recorded();
    let names: BTreeSet<&str> = recorded.keys().map(String::as_str).collect();
    let table: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names, table);
    assert_eq!(table.len(), METRICS.len(), "a name is in the table twice");
    for metric in METRICS {
        for (kind, labels) in &recorded[metric.name] {
            assert_eq!(*kind, metric.kind.word(), "{}", metric.name);
            if let Some(labels) = labels {
                let known: BTreeSet<String> = metric
                    .labels
                    .iter()
                    .map(|&label| label.to_owned())
                    .collect();
                assert_eq!(*labels, known, "{}", metric.name);
            }
        }
    }
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    for metric in METRICS {
        let name = metric.name;
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{name}"
        );
        let is_total = name.ends_with("_total");
        assert_eq!(is_total, metric.kind == Kind::Counter, "{name}");
        for unit in ["_ms", "_millis", "_minutes", "_hours", "_kib", "_mib"] {
            assert!(!name.ends_with(unit), "{name} is not in base units");
        }
        assert!(metric.help.ends_with('.'), "{name}: {}", metric.help);
    }
}

#[test]
fn the_table_of_the_document_is_current() {
    let rows = METRICS.iter().map(|metric| {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        format!(
            "| `{}` | {} | {} | {} |\n",
            metric.name,
            metric.kind.word(),
            labels.join(", "),
            metric.help
        )
    });
    let table: String = rows.collect();
    let document = read("docs/OPERATIONS.md");
    assert!(
        document.contains(&table),
        "docs/OPERATIONS.md has not this table:\n{table}"
    );
    let listed = document
        .lines()
        .filter(|line| line.starts_with("| `dermaga_") || line.starts_with("| `http_"));
    assert_eq!(listed.count(), METRICS.len(), "it lists others, too");
}
