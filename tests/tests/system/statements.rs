//! Every statement of the shop, explained on a filled database: none reads all rows of a table that grows,
//! except those on a list with the reason.

mod fill;
mod journey;
mod lists;
mod parting;
mod places;
mod rare;
mod scans;

use std::collections::{BTreeMap, BTreeSet};

use dermaga_shop::db::{Db, Statement};
use dermaga_tests::{
    Engine,
    explain::Explainer,
    past::{self, Size},
};
use tempfile::TempDir;

use crate::api::payments::Till;

/// Tables that do not grow with customers and time.
const SMALL: &[&str] = &[
    "administrator_changes",
    "canned_answers",
    "jobs",
    "plugin_classes",
    "plugin_versions",
    "service_categories",
    "service_plans",
    "services",
    "ticket_numbers",
    "wal_mark",
];

/// Arguments whose types PostgreSQL gets from the driver and cannot tell from the text.
type Types = &'static [(usize, &'static str)];
const TYPES: &[(&str, Types)] = &[
    ("payments/store.rs pay_debt", &[(3, "timestamptz")]),
    (
        "rates/store.rs take",
        &[
            (1, "text"),
            (2, "text"),
            (3, "bigint"),
            (4, "bigint"),
            (5, "bigint"),
            (6, "bigint"),
        ],
    ),
    (
        "provisioning/store/findings.rs finish",
        &[(14, "timestamptz"), (18, "timestamptz")],
    ),
    (
        "billing/store.rs failed",
        &[(3, "timestamptz"), (4, "timestamptz")],
    ),
];

fn types_of(place: &str) -> Types {
    let told = TYPES.iter().find(|(name, _)| *name == place);
    told.map_or(&[], |(_, types)| types)
}

/// Collects the statements that the journey sent and, for places it did not reach, those that can be read in
/// the code.
async fn statements(till: &Till) -> Vec<Statement> {
    let recorder = till.shop.state().db.record();
    journey::play(till).await;
    parting::play(till).await;
    let mut known = recorder.statements();
    known.retain(|statement| places::is_explained(statement.file));
    let sent: BTreeSet<(&str, u32)> = known.iter().map(|one| (one.file, one.line)).collect();
    let mut unknown = Vec::new();
    for place in places::all() {
        if sent.iter().any(|(file, line)| place.is_at(file, *line)) {
            continue;
        }
        match place.literal() {
            Some(statement) => known.push(statement),
            None => unknown.push(place.to_string()),
        }
    }
    assert!(
        unknown.is_empty(),
        "let the journey in journey.rs come by: {unknown:#?}"
    );
    known
}

/// Plays the journey; returns the address of the database, the statements, and the folder of the data, which is to be
/// kept until the end. `None` where the engine is missing.
async fn played(engine: Engine) -> Option<(String, Vec<Statement>, TempDir)> {
    let till = Till::open(engine).await?;
    let known = statements(&till).await;
    let url = till.shop.state().config.database_url();
    let Till { shop, .. } = till;
    Some((url, known, shop.close().await))
}

/// Refuses every statement that reads all rows of a table which is not small and has no reason for it.
async fn explain(url: &str, known: &[Statement], is_small: impl Fn(&str) -> bool) {
    let mut explainer = Explainer::open(url).await.unwrap();
    let partial = explainer.partial_indexes().await.unwrap();
    let (mut scans, mut failures) = (BTreeMap::new(), Vec::new());
    let mut places = BTreeSet::new();
    for statement in known {
        let place = places::name(statement);
        places.insert(place.clone());
        match explainer.reads_with(&statement.sql, types_of(&place)).await {
            Ok(reads) => {
                for read in reads.iter().filter(|read| read.is_scan) {
                    if !is_small(&read.table) && !scans::is_allowed(&place, read, &partial) {
                        let seen = format!("{}\n      {}", read.how, statement.sql);
                        scans.insert((place.clone(), read.table.clone()), seen);
                    }
                }
            }
            Err(error) => failures.push(format!("{place}: {error}: {}", statement.sql)),
        }
    }
    assert!(failures.is_empty(), "not explained: {failures:#?}");
    for ((place, table), seen) in &scans {
        failures.push(format!("{place} scans {table}: {seen}"));
    }
    for place in scans::places().filter(|place| !places.contains(*place)) {
        failures.push(format!("{place} is listed and sends nothing"));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

async fn explained(engine: Engine) {
    let Some((url, known, _data)) = Box::pin(played(engine)).await else {
        return;
    };
    fill::everything(&url, SMALL).await;
    let db = Db::connect(&url).await.unwrap();
    db.optimize().await.unwrap();
    db.close().await;
    explain(&url, &known, |table| SMALL.contains(&table)).await;
}

/// Explains with the statistics of a shop's own rows instead of made-up ones.
async fn explained_at_full_size(engine: Engine) {
    let Some((url, known, _data)) = Box::pin(played(engine)).await else {
        return;
    };
    Box::pin(past::fill(&url, Size::FULL)).await;
    explain(&url, &known, |table| !past::LARGE.contains(&table)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_scans_a_growing_table_on_sqlite() {
    explained(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_scans_a_growing_table_on_postgres() {
    explained(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "fills a shop for minutes; .ci/long runs it"]
async fn no_statement_scans_a_large_table_on_sqlite() {
    explained_at_full_size(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "fills a shop for minutes; .ci/long runs it"]
async fn no_statement_scans_a_large_table_on_postgres() {
    explained_at_full_size(Engine::Postgres).await;
}
