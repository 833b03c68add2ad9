//! Tables of docs/SCALE.md against what the model prints. A figure that has changed is corrected there.

use std::fs;

use clap::Parser as _;
use dermaga_tests::checkout;

use crate::{args::Cli, model};

/// Customers of each column.
const COLUMNS: [u32; 3] = [10_000, 100_000, 1_000_000];
const HAPPENED: &str = "What happened";
const NEEDS: &str = "What it needs";
const ENDS: &str = "Where one PostgreSQL";
const PARTITIONS: &str = "The same month";

/// Rows with a column for each number of customers: the name in the document, the part of the output, the name there.
const MONTHS: [(&str, &str, &str); 15] = [
    (
        "instances at the end of the month",
        HAPPENED,
        "instances at the end",
    ),
    (
        "entries of the ledger in the month",
        HAPPENED,
        "entries of the ledger",
    ),
    (
        "requests a second in the busiest minute",
        NEEDS,
        "requests in the busiest minute",
    ),
    (
        "servers' processors then, in cores",
        NEEDS,
        "servers' processors then",
    ),
    (
        "PostgreSQL's processors then, in cores",
        NEEDS,
        "PostgreSQL's processors then",
    ),
    ("commits a second then", NEEDS, "commits then"),
    (
        "servers, with a second one for the first's death",
        NEEDS,
        "servers for that and for the looks",
    ),
    (
        "memory of each server, in MB",
        NEEDS,
        "memory of each server",
    ),
    (
        "growth of the database in a month, in GB",
        NEEDS,
        "growth of the database",
    ),
    (
        "its size after three years, nothing removed, in GB",
        NEEDS,
        "its size at that age, nothing removed",
    ),
    (
        "renewals on the busiest day of a year",
        NEEDS,
        "renewals on the busiest day of a year",
    ),
    ("their time, in minutes", NEEDS, "their time"),
    (
        "their mails by all servers, in minutes",
        NEEDS,
        "their mails by all servers",
    ),
    (
        "nightly proof after three years, in minutes",
        NEEDS,
        "nightly proof of the books at that age",
    ),
    (
        "partitions for the databases",
        ENDS,
        "partitions for the databases",
    ),
];
/// Limits of a million customers, in the order in which they are reached.
const LIMITS: [(&str, &str); 14] = [
    ("Services of one cluster: 10,000", "Services of one cluster"),
    (
        "namespaces of one cluster: 10,000",
        "namespaces of one cluster",
    ),
    ("pods of one cluster: 150,000", "pods of one cluster"),
    (
        "passes of the reconciler in one server, 8 at once",
        "passes of one server",
    ),
    (
        "memory of each server, which knows all instances",
        "memory of each server",
    ),
    ("processors of one server", "processors of one server"),
    ("processors of PostgreSQL", "processors of PostgreSQL"),
    ("commits of PostgreSQL", "commits of PostgreSQL"),
    (
        "disk of PostgreSQL, 2 TB after three years",
        "disk of PostgreSQL",
    ),
    (
        "one new plan that 1 % buy within ten minutes",
        "one plan that is new",
    ),
    (
        "renewals of the busiest day, even one after another, in four hours",
        "renewals in a night",
    ),
    (
        "nightly proof of the books after three years, in four hours",
        "proof of the books in a night",
    ),
    (
        "mails of the busiest day by one server, in six hours",
        "mails of one server",
    ),
    (
        "one coupon that 10 % redeem within an hour",
        "one coupon in a rush",
    ),
];

/// A line of the output.
struct Line {
    part: String,
    name: String,
    value: String,
    /// Unit and origin.
    rest: String,
}

/// Output for a number of customers, with the seed and the costs of a run that says nothing else.
struct Printed(Vec<Line>);

impl Printed {
    fn of(customers: u32) -> Self {
        let defaults = Cli::try_parse_from(["scale"]).unwrap().options;
        let inputs = crate::inputs(&defaults).unwrap();
        let run = model::simulate(&inputs, customers).unwrap();
        Self::parse(&model::lines(&run))
    }

    /// Reads lines by their columns; those that are not indented name a part.
    fn parse(text: &str) -> Self {
        let (mut part, mut lines) = (String::new(), Vec::new());
        for line in text.lines() {
            let Some(row) = line.strip_prefix("  ") else {
                part = line.to_owned();
                continue;
            };
            let (name, rest) = row.split_at(44);
            let (value, rest) = rest.split_at(17);
            let words: Vec<&str> = rest.split_whitespace().collect();
            lines.push(Line {
                part: part.clone(),
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
                rest: words.join(" "),
            });
        }
        Self(lines)
    }

    fn line(&self, part: &str, name: &str) -> &Line {
        let mut lines = self.0.iter();
        let line = lines.find(|line| line.part.starts_with(part) && line.name == name);
        line.unwrap_or_else(|| panic!("`{name}` is not printed"))
    }

    /// Returns the share of something in percent, where the output has it.
    fn percent(&self, name: &str) -> String {
        let rest = &self.line(PARTITIONS, name).rest;
        let words: Vec<&str> = rest.split(' ').collect();
        let unit = words.iter().position(|word| *word == "%").unwrap();
        format!("{} %", words[unit - 1])
    }

    /// Returns a number and its share of the entries, as the document has both in one cell.
    fn part(&self, name: &str) -> String {
        let value = &self.line(PARTITIONS, name).value;
        format!("{value} ({})", self.percent(name))
    }
}

/// Returns the cells of the only row with this name.
fn cells<'a>(document: &'a str, name: &str) -> Vec<&'a str> {
    let begin = format!("| {name} |");
    let mut rows = document.lines().filter(|line| line.starts_with(&begin));
    let row = rows.next().unwrap_or_else(|| panic!("no row `{name}`"));
    assert!(rows.next().is_none(), "two rows `{name}`");
    row.trim_matches('|').split('|').map(str::trim).collect()
}

fn document() -> String {
    fs::read_to_string(checkout().join("docs/SCALE.md")).unwrap()
}

/// Returns what differs in one column of all tables that have columns.
fn differences(printed: &Printed, column: usize) -> Vec<String> {
    let document = document();
    let mut expected: Vec<(&str, String)> = MONTHS
        .iter()
        .map(|(cell, part, name)| (*cell, printed.line(part, name).value.clone()))
        .collect();
    let clusters = printed
        .line(ENDS, "partitions for the clusters")
        .value
        .clone();
    expected.push(("partitions for the clusters", clusters));
    let wallets = "wallets in a partition";
    let mean = printed.line(PARTITIONS, wallets).value.clone();
    expected.extend([
        ("wallets in a partition, mean", mean),
        ("the largest above the mean", printed.percent(wallets)),
        (
            "entries in a partition, the largest above the mean",
            printed.percent("entries in a partition"),
        ),
        (
            "wallets that move to one partition more",
            printed.percent("move to one partition more"),
        ),
        (
            "wallets that would move by the remainder of a division",
            printed.percent("would move by remainder"),
        ),
        (
            "acts that take from a limit or give back",
            printed.part("take from a limit over all customers"),
        ),
        (
            "of them ask another partition, without portions",
            printed.part("another partition is asked, without portions"),
        ),
        (
            "ask another partition, with portions",
            printed.part("another partition is asked, with portions"),
        ),
        (
            "places and uses of the scarcest plan and coupon that lie in portions at the end",
            printed
                .line(PARTITIONS, "lie in portions at the end")
                .value
                .clone(),
        ),
    ]);
    let compared = expected.into_iter().filter_map(|(name, printed)| {
        let written = cells(&document, name)[column + 1];
        (written != printed).then(|| format!("{name}: {written} is written, {printed} printed"))
    });
    compared.collect()
}

/// Returns what differs in the table of limits, and in sentences about the same run.
fn differences_of_limits(printed: &Printed) -> Vec<String> {
    let document = document();
    let mut found = Vec::new();
    for (cell, name) in LIMITS {
        let (row, line) = (cells(&document, cell), printed.line(ENDS, name));
        let reached = row[1].trim_end_matches(" customers");
        if reached != line.value {
            found.push(format!(
                "{cell}: {reached} is written, {} printed",
                line.value
            ));
        }
        // Shares are figures of the run, too; other origins are told in words.
        if row[2].contains('%') && !line.rest.ends_with(row[2]) {
            found.push(format!(
                "{cell}: {} is written, {} printed",
                row[2], line.rest
            ));
        }
    }
    let order = printed.0.iter().filter(|line| line.part.starts_with(ENDS));
    let order: Vec<&str> = order.map(|line| line.name.as_str()).collect();
    let listed: Vec<&str> = LIMITS.iter().map(|(_, name)| *name).collect();
    if !order.starts_with(&listed) {
        found.push(format!("limits are reached in another order: {order:?}"));
    }
    let revenue = printed.line(PARTITIONS, "REVENUE of all partitions");
    let one = revenue.rest.trim_start_matches("rupiah; ");
    let in_one_line = document.split_whitespace().collect::<Vec<_>>().join(" ");
    for told in [
        format!(
            "The {} instances of a million customers",
            printed.line(HAPPENED, "instances at the end").value
        ),
        format!(
            "are {} looks",
            printed.line(NEEDS, "looks at instances at rest").value
        ),
        format!(
            "most of the {} commits a second",
            printed.line(NEEDS, "commits then").value
        ),
        format!(
            "ask for {} things a second",
            printed.line(NEEDS, "requests in the busiest minute").value
        ),
        format!("{} rupiah of revenue are", revenue.value),
        one.to_owned(),
    ] {
        if !in_one_line.contains(&told) {
            found.push(format!("`{told}` is not written"));
        }
    }
    found
}

#[test]
fn the_first_columns_are_what_the_model_prints() {
    let found = [0, 1].map(|column| differences(&Printed::of(COLUMNS[column]), column));
    let found = found.concat();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
#[ignore = "a million customers take a minute; .ci/long runs it"]
fn the_column_of_a_million_and_its_limits_are_what_the_model_prints() {
    let printed = Printed::of(COLUMNS[2]);
    let found = [differences(&printed, 2), differences_of_limits(&printed)];
    let found = found.concat();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn tables_of_the_schema_are_as_many_as_written() {
    let (document, printed) = (document(), Printed::parse(&model::places()));
    for Line { name, value, .. } in &printed.0 {
        assert_eq!(cells(&document, name)[1], value, "{name}");
    }
}
