//! Load through HTTP: single routes and whole journeys against the `dermaga` command, beside floors; and lists of a shop
//! with a past.
//!
//! `cargo run --release --package dermaga-tests --bin load -- --help`

#![allow(clippy::float_arithmetic, reason = "rates and ratios are numbers")]

mod args;
mod floor;
mod goals;
mod journey;
mod level;
mod lists;
mod process;
mod report;
mod routes;
mod series;
mod setup;
mod site;
mod turn;

use std::{path::Path, process::ExitCode, thread};

use clap::Parser as _;
use dermaga_shop::{
    db::{Clock, Db},
    ids::UserId,
};
use dermaga_tests::{
    Engine, bench,
    by_hand::Purchase,
    entries,
    program::{self, Outcome},
    unique,
    wire::Answered,
};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use args::{Cli, Command, Options};
use level::Stage;
use report::{Row, Run};
use routes::{Caller, Route};
use setup::User;
use site::Site;

/// Characters of an answer that a failure shows.
const SHOWN: usize = 500;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Some(Command::Floor { answers }) => floor::serve(answers).await,
        None => until_stopped(&cli.options).await,
    };
    match done {
        Ok(()) => bench::end(),
        failed => program::end(failed),
    }
}

/// Measures until it is done or asked to end; the processes that were started end in both cases.
async fn until_stopped(options: &Options) -> Outcome<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = Box::pin(run(options)) => done,
        _ = terminated.recv() => Err("stopped".into()),
        _ = interrupted.recv() => Err("stopped".into()),
    }
}

async fn run(options: &Options) -> Outcome<()> {
    let server = options.server()?;
    let processors = thread::available_parallelism()?.get();
    if let Some(percent) = options.lists {
        return Box::pin(lists::run(&server, processors, options, percent)).await;
    }
    println!(
        "{} on {processors} processors, {} rounds with turns of {} s; the clients are on the same processors",
        server.display(),
        options.rounds,
        options.seconds
    );
    if !options.has_goals() {
        println!("no goals: the run is shorter than the usual one; --goals judges it all the same");
    }
    print!("{}", report::heading());
    let mut rows = Vec::new();
    for engine in options.engines() {
        rows.extend(Box::pin(measure(*engine, &server, options)).await?);
    }
    let run = Run {
        processors,
        rounds: options.rounds,
        seconds: options.seconds,
        entries: options.entries,
        has_goals: options.has_goals(),
        server: server.display().to_string(),
        log: options.log.clone(),
    };
    program::write_results(options.json.as_deref(), &report::json(&run, &rows))?;
    let failures: u64 = rows.iter().map(|row| row.failures).sum();
    if failures > 0 {
        return Err(format!("{failures} requests failed").into());
    }
    Ok(())
}

/// Measures one engine; a failure shows the end of the server's log.
async fn measure(engine: Engine, binary: &Path, options: &Options) -> Outcome<Vec<Row>> {
    let mut site = Site::new(engine, binary, &options.log).await?;
    let measured = Box::pin(measure_at(&mut site, engine, options)).await;
    measured.map_err(|error| format!("{error}\n{}", site.log_tail()).into())
}

async fn measure_at(site: &mut Site, engine: Engine, options: &Options) -> Outcome<Vec<Row>> {
    let most = options.connections().max().ok_or("no connections")?;
    site.start()?;
    let admin = setup::administrator(site.host()?).await?;
    let users = setup::users(site.host()?, &admin, most).await?;
    let plan = setup::plan(site.host()?, &admin).await?;
    let buyer = users.first().ok_or("no customers")?;
    let key = purchase(site.host()?, buyer, &plan).await?;
    site.stop()?;
    let each = options.entries_of_each(users.len());
    if each > 0 {
        let ids: Vec<UserId> = users.iter().map(|user| user.id).collect();
        let db = Db::connect(&site.database_url()).await?;
        entries::post(&db, &Clock::system(), &ids, "before", each).await;
        db.optimize().await?;
        db.close().await;
    }
    // The copy has a redemption of each customer, and a purchase of one, from which rows are written by hand.
    let by_hand_url = site.copy_database().await?;
    site.start()?;
    let by_hand = Db::connect(&by_hand_url).await?;
    let bought = Purchase::of(&by_hand, buyer.id, &key).await;
    let stage = Stage {
        site,
        engine,
        users: &users,
        plan: &plan,
        by_hand: &by_hand,
        by_hand_url: &by_hand_url,
        bought: &bought,
    };
    let mut rows = Vec::new();
    for case in options.cases() {
        rows.extend(Box::pin(stage.measure(*case, options)).await?);
    }
    by_hand.close().await;
    site.stop()?;
    site.verify()?;
    Ok(rows)
}

/// Buys once, and returns the key of this purchase.
async fn purchase(host: &str, user: &User, plan: &str) -> Outcome<String> {
    let mut caller = Caller::connect(host, Route::Subscribe, user, plan, unique()).await?;
    caller.exchange().await?;
    Ok(caller.key())
}

/// Describes an answer that was not wanted.
fn refusal(what: &str, answered: Answered<'_>) -> String {
    let body = String::from_utf8_lossy(answered.body);
    let body: String = body.chars().take(SHOWN).collect();
    format!("{what} answered {}: {body}", answered.status)
}

/// Returns the text at a JSON pointer.
fn text_at<'a>(value: &'a Value, pointer: &str) -> Outcome<&'a str> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.ok_or_else(|| format!("the answer has no text at {pointer}").into())
}
