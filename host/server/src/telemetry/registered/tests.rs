//! The table against the code that records and the document that explains.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use dermaga_shop::alerts::AlertKind;
use serde_json::Value;

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

/// Metrics in dashboard and rules that others record: Prometheus itself, and the blackbox exporter.
const OTHERS: &[&str] = &["up", "probe_ssl_earliest_cert_expiry"];
/// Words of queries that are no metrics.
const WORDS: &[&str] = &[
    "and",
    "by",
    "histogram_quantile",
    "increase",
    "max",
    "rate",
    "sum",
    "time",
    "topk",
];

/// Collects the queries of a dashboard or of rules.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(query) if key == "expr" => found.push(query.to_owned()),
                    _ => queries(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

/// Returns the metrics of a query, each with its conditions: label and wanted words.
fn asked(query: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut rest = query;
    let mut found = Vec::new();
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        rest = &rest[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        if word == "by" {
            // The labels to add up by are no metrics.
            rest = &rest[rest.find(')').unwrap()..];
        } else if !WORDS.contains(&word) {
            let mut conditions = Vec::new();
            if let Some(inside) = rest.strip_prefix('{') {
                let (inside, after) = inside.split_once('}').unwrap();
                rest = after;
                for condition in inside.split(',') {
                    let (label, words) = condition.split_at(condition.find(['=', '!']).unwrap());
                    let words = words.trim_matches(['=', '!', '~', '"']);
                    conditions.push((label.to_owned(), words.to_owned()));
                }
            }
            found.push((word.to_owned(), conditions));
        }
        if let Some(range) = rest.strip_prefix('[') {
            rest = &range[range.find(']').unwrap()..];
        }
    }
    found
}

/// Returns the metric that has the series of this name.
fn metric_of(series: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| {
        let part = series.strip_prefix(metric.name);
        match metric.kind {
            Kind::Histogram => matches!(part, Some("_bucket" | "_sum" | "_count")),
            Kind::Counter | Kind::Gauge => part == Some(""),
        }
    })
}

#[test]
fn dashboard_and_alerts_ask_for_what_is_recorded() {
    let yaml = |path| serde_norway::from_str::<Value>(&read(path)).unwrap();
    let rules = yaml("deploy/monitoring/rules.yaml");
    let component = yaml("deploy/components/prometheus-rule/rule.yaml");
    assert_eq!(component["spec"], rules, "the operator has other rules");
    let dashboard = read("deploy/monitoring/dashboard.json");
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut found = Vec::new();
    for source in [&rules, &dashboard] {
        let before = found.len();
        queries(source, &mut found);
        assert!(found.len() > before + 20, "{source:#}");
    }
    for query in &found {
        let series = asked(query);
        assert!(!series.is_empty(), "{query}");
        for (name, conditions) in series {
            if OTHERS.contains(&&*name) {
                continue;
            }
            let metric = metric_of(&name);
            let metric = metric.unwrap_or_else(|| panic!("nothing records {name}: {query}"));
            for (label, words) in conditions {
                assert!(metric.labels.contains(&&*label), "{label} in {query}");
                if metric.name == "dermaga_alerts_open" {
                    for kind in words.split('|') {
                        kind.parse::<AlertKind>().unwrap();
                    }
                }
            }
        }
    }
}

/// A server that is not ready says so to probes with 503, and fails no one by it.
#[test]
fn answers_to_probes_are_no_errors() {
    let rules: Value = serde_norway::from_str(&read("deploy/monitoring/rules.yaml")).unwrap();
    let dashboard: Value = serde_json::from_str(&read("deploy/monitoring/dashboard.json")).unwrap();
    for source in [&rules, &dashboard] {
        let mut found = Vec::new();
        queries(source, &mut found);
        let is_share =
            |query: &&String| query.contains("http_requests_total") && query.contains("5..");
        let shares: Vec<_> = found.iter().filter(is_share).collect();
        assert_eq!(shares.len(), 1, "{shares:?}");
        let series = asked(shares[0]);
        assert_eq!(series.len(), 2, "{series:?}");
        for (name, conditions) in series {
            let route = conditions.iter().find(|(label, _)| label == "route");
            let (_, left_out) = route.unwrap_or_else(|| panic!("{name} has all routes"));
            assert!(
                left_out.contains("healthz") && left_out.contains("readyz"),
                "{left_out}"
            );
        }
    }
}

#[test]
fn queries_are_read_as_prometheus_reads_them() {
    let query = "histogram_quantile(0.95, sum by (le, verb) (rate(a_bucket{verb!=\"watch\",kind=~\"x|y\"}[5m]))) > 2 * b";
    let condition = |label: &str, words: &str| (label.to_owned(), words.to_owned());
    let expected = [
        (
            "a_bucket".to_owned(),
            vec![condition("verb", "watch"), condition("kind", "x|y")],
        ),
        ("b".to_owned(), Vec::new()),
    ];
    assert_eq!(asked(query), expected);
}
