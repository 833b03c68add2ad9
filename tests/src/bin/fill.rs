//! Fills a shop's database with a year of rows, for a look at lists at the size for which they are made.
//!
//! `cargo run --release --package dermaga-tests --bin fill -- --help`

use clap::Parser;
use dermaga_tests::past::{self, Size};

/// Fills a database with a year of customers, transactions, decisions and subscriptions, whose books balance.
///
/// The database is one on which a server has started once, and runs no more. All customers, from
/// pelanggan-1@example.com on, have the administrator's password; the first has a tenth of the transactions.
#[derive(Debug, Parser)]
#[command(name = "fill", max_term_width = 100)]
struct Cli {
    /// Address of the database, as DATABASE_URL
    #[arg(long, value_name = "URL")]
    database: String,
    /// Hundredths of the full size, which is a million transactions and takes minutes
    #[arg(long, default_value_t = 100, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    size: u32,
}

#[tokio::main]
async fn main() {
    let cli = Cli::parse();
    Box::pin(past::fill(&cli.database, Size::percent(cli.size))).await;
}
