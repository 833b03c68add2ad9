//! Lists and statistics of a shop with a past, asked one after the other on one connection.

mod paths;
mod table;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use dermaga_shop::db::Clock;
use dermaga_tests::{
    Engine,
    past::{self, Size},
};
use reqwest::{Client, Response, StatusCode};

use crate::{Outcome, SHOWN, args::Options, setup, site::Site, text_at};

use paths::Words;
use table::Row;

/// Requests to a list in a row, unless the turn ends before.
const IN_A_ROW: u32 = 20;
/// Jobs that keep what lists and statistics read of days that are over.
const KEEPERS: [&str; 2] = ["ledger-seal", "billing-stats"];

/// Account that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Administrator,
    /// Customer with the most transactions.
    Biggest,
    /// Customer like the others.
    Ordinary,
    /// None.
    Visitor,
}

/// Access tokens of those who ask.
struct Tokens {
    administrator: String,
    biggest: String,
    ordinary: String,
}

/// A request that was answered to its end.
struct Taken {
    first_byte: Duration,
    whole: Duration,
    bytes: usize,
}

/// Measures on each engine, and prints a table.
pub(crate) async fn run(
    server: &Path,
    processors: usize,
    options: &Options,
    percent: u32,
) -> Outcome<()> {
    println!(
        "{} on {processors} processors, {} rounds; {percent} % of the full size; the client is on the same processors",
        server.display(),
        options.rounds,
    );
    // The process needs one TLS provider; a second installation fails and changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut rows = Vec::new();
    for engine in options.engines() {
        let mut site = Site::new(*engine, server, &options.log).await?;
        let measured = Box::pin(measure(&mut site, *engine, options, percent)).await;
        rows.extend(measured.map_err(|error| format!("{error}\n{}", site.log_tail()))?);
    }
    if let Some(file) = &options.json {
        let results = table::json(&rows, processors, percent);
        fs::write(file, format!("{results:#}\n"))?;
    }
    let failed = rows.iter().filter(|row| row.failure.is_some()).count();
    if failed > 0 {
        return Err(format!("{failed} lists were not answered").into());
    }
    Ok(())
}

/// Fills the shop and measures it; the books hold after that.
async fn measure(
    site: &mut Site,
    engine: Engine,
    options: &Options,
    percent: u32,
) -> Outcome<Vec<Row>> {
    // The first start makes services, plans and plugins.
    site.start()?;
    site.stop()?;
    let size = Size::percent(percent);
    Box::pin(past::fill(&site.database_url(), size)).await;
    site.start()?;
    let host = site.host()?.to_owned();
    let tokens = Tokens::of(&host).await?;
    for job in KEEPERS {
        setup::run_job(&host, &tokens.administrator, job).await?;
    }
    let words = words(&host, &tokens, size).await?;
    let mut rows: Vec<Row> = paths::all()
        .map(|(who, path)| Row::new(name(engine), who, words.fill_in(path)))
        .collect::<Outcome<_>>()?;
    let http = Client::builder().no_proxy().build()?;
    for round in 0..=options.rounds {
        for row in &mut rows {
            site.watched().forget_peak();
            let turn = turn(&http, &host, &tokens, row, options.seconds).await;
            // The first round warms up.
            if round > 0 || row.failure.is_some() {
                row.add(turn, site.watched().server_peak());
            }
        }
    }
    print!("{}", table::heading());
    for row in &rows {
        println!("{}", row.line());
    }
    println!("{}", table::summary(&rows));
    site.stop()?;
    site.verify()?;
    Ok(rows)
}

const fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "sqlite",
        Engine::Postgres => "postgres",
    }
}

/// Asks for a list until the turn ends, or until it fails.
async fn turn(
    http: &Client,
    host: &str,
    tokens: &Tokens,
    row: &mut Row,
    seconds: u64,
) -> Vec<Taken> {
    let begun = Instant::now();
    let mut taken = Vec::new();
    for _ in 0..IN_A_ROW {
        match ask(http, host, tokens.of_one(row.who), &row.path).await {
            Ok(answered) => taken.push(answered),
            Err(error) => {
                if row.failure.is_none() {
                    row.failure = Some(error.to_string());
                }
                break;
            }
        }
        if begun.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
    taken
}

/// Asks once, and reads the answer without keeping it.
async fn ask(http: &Client, host: &str, token: Option<&str>, path: &str) -> Outcome<Taken> {
    let mut request = http.get(format!("http://{host}{path}"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let begun = Instant::now();
    let mut response = request.send().await?;
    if response.status() != StatusCode::OK {
        return Err(refused(path, response).await.into());
    }
    let mut bytes = 0;
    let mut first_byte = None;
    while let Some(part) = response.chunk().await? {
        if first_byte.is_none() {
            first_byte = Some(begun.elapsed());
        }
        bytes += part.len();
    }
    let whole = begun.elapsed();
    Ok(Taken {
        first_byte: first_byte.unwrap_or(whole),
        whole,
        bytes,
    })
}

async fn refused(path: &str, response: Response) -> String {
    let status = response.status();
    // Of an answer that is cut off, as much as came.
    let body = response.text().await.unwrap_or_default();
    let body: String = body.chars().take(SHOWN).collect();
    format!("{path} answered {status}: {body}")
}

/// Meanings of words in paths, with cursors from the shop's answers.
async fn words(host: &str, tokens: &Tokens, size: Size) -> Outcome<Words> {
    let mut words = Words::new(size, Clock::system().now().date_naive());
    for (who, path, word) in paths::CURSORS {
        let answer = setup::read(host, tokens.of_one(who), path).await?;
        words.add(word, text_at(&answer, "/pagination/nextCursor")?);
    }
    Ok(words)
}

impl Tokens {
    async fn of(host: &str) -> Outcome<Self> {
        Ok(Self {
            administrator: setup::administrator(host).await?,
            biggest: setup::session(host, past::BIGGEST).await?,
            ordinary: setup::session(host, past::ORDINARY).await?,
        })
    }

    fn of_one(&self, who: Who) -> Option<&str> {
        match who {
            Who::Administrator => Some(&self.administrator),
            Who::Biggest => Some(&self.biggest),
            Who::Ordinary => Some(&self.ordinary),
            Who::Visitor => None,
        }
    }
}

impl Who {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Biggest => "biggest",
            Self::Ordinary => "ordinary",
            Self::Visitor => "visitor",
        }
    }
}
