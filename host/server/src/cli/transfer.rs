//! `migrate`: the schema of one database, or everything of a SQLite one into a PostgreSQL one.

use clap::Args;
use dermaga_shop::{
    db::{
        self, Address, Clock, Db, Held, NotHeld,
        transfer::{Begun, Counted, Transfer, TransferError},
    },
    text::{counted, without_password},
    wallet::ledger,
};

use super::{CliError, print, serve};
use crate::config::{Config, Loaded};

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    /// SQLite database to copy, whose server is stopped: `sqlite` for the one in the data folder, or
    /// its URL (`sqlite://FILE`)
    #[arg(long, value_name = "DATABASE", requires = "to")]
    from: Option<String>,
    /// Empty PostgreSQL database to copy into: `postgres` for the one of DATABASE_URL, or its URL
    #[arg(long, value_name = "DATABASE", requires = "from")]
    to: Option<String>,
}

pub(super) async fn migrate(loaded: Loaded, args: MigrateArgs) -> Result<(), CliError> {
    match (args.from, args.to) {
        (Some(from), Some(to)) => {
            let from = source(&loaded.config, from);
            let to = target(&loaded.config, to)?;
            Box::pin(transfer(&from, &to, &protection(&loaded.config))).await
        }
        _ => Box::pin(serve::migrate(loaded)).await,
    }
}

fn source(config: &Config, given: String) -> String {
    if given == "sqlite" {
        return db::url_of(&config.data_dir.join("dermaga.db"));
    }
    given
}

fn target(config: &Config, given: String) -> Result<String, CliError> {
    let url = if given == "postgres" {
        config.database_url()
    } else {
        given
    };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        let message = "--to needs a PostgreSQL database: its URL (postgres://...), or `postgres` with DATABASE_URL set";
        return Err(CliError::Usage(message.to_owned()));
    }
    let address = Address::parse(&url)
        .map_err(|fault| CliError::Usage(format!("the URL of --to {fault}")))?;
    let (set, of_url) = (config.database.tls, address.tls());
    if set.is_some() && of_url.is_some() && set != of_url {
        let message = "DERMAGA_DATABASE_TLS is another protection than `sslmode` in the URL of --to: leave one of them out";
        return Err(CliError::Usage(message.to_owned()));
    }
    Ok(url)
}

/// Returns the settings of connections to the target, which are protected as those of a server. All others are of
/// requests, and of the way that a server takes.
fn protection(config: &Config) -> db::Settings {
    db::Settings {
        tls: config.database.tls,
        ca_file: config.database.ca_file.clone(),
        ..db::Settings::default()
    }
}

async fn transfer(from: &str, to: &str, protection: &db::Settings) -> Result<(), CliError> {
    let Some(file) = db::file_of(from) else {
        let message = "--from needs a SQLite database: `sqlite`, or sqlite://FILE";
        return Err(CliError::Usage(message.to_owned()));
    };
    if !file.exists() {
        let message = format!("there is no database at {}", file.display());
        return Err(CliError::Failed(message));
    }
    let _at_rest = Held::at_rest(from).map_err(|error| match error {
        NotHeld::Taken => CliError::Failed(format!(
            "a server uses {}: stop it first, and leave it stopped",
            file.display()
        )),
        error => CliError::Failed(format!("{}: {error}", file.display())),
    })?;
    let opened = |what: &'static str| {
        move |error: sqlx::Error| CliError::Failed(format!("the {what} database: {error}"))
    };
    let source = Db::connect(from).await.map_err(opened("SQLite"))?;
    let target = Db::connect_with(to, protection).await;
    let target = target.map_err(opened("PostgreSQL"))?;
    let done = fill(&source, &target).await;
    source.close().await;
    target.close().await;
    done?;
    print(&format!(
        "Set DATABASE_URL={} (with its password) and start the server with the same data folder: keys and pictures \
         stay in it. {} is as it was; keep it until you have seen the shop at work.\n",
        without_password(to),
        file.display()
    ))
}

async fn fill(source: &Db, target: &Db) -> Result<(), CliError> {
    let begun = Box::pin(Transfer::begin(source, target)).await;
    let transfer = match begun.map_err(|error| refused(&error))? {
        Begun::Now(transfer) => transfer,
        Begun::Before(at) => {
            return print(&format!(
                "Everything was copied at {}, and nothing is left to copy.\n",
                at.format("%Y-%m-%d %H:%M:%S UTC")
            ));
        }
    };
    let compared = Box::pin(copy(&transfer, source, target)).await;
    match compared {
        Ok(()) => transfer.finish().await.map_err(|error| refused(&error)),
        Err(error) => {
            // The reason is the error; what holds the databases ends with the process, too.
            let _ = transfer.end().await;
            Err(error)
        }
    }
}

/// Copies everything and compares both databases.
async fn copy(transfer: &Transfer, source: &Db, target: &Db) -> Result<(), CliError> {
    let mut told = |table: &str, rows: u64| {
        // A reader that has gone stops nothing.
        let _ = print(&format!("{table}: {} copied\n", counted(rows, "row")));
    };
    transfer
        .copy(&mut told)
        .await
        .map_err(|error| refused(&error))?;
    let tables = transfer.count().await.map_err(|error| refused(&error))?;
    let different = tables.iter().filter(|table| table.source != table.target);
    let different: String = different.map(described).collect();
    if !different.is_empty() {
        print(&different)?;
        let message = "the databases differ: the PostgreSQL one was changed meanwhile";
        return Err(CliError::Check(message.to_owned()));
    }
    let rows: i64 = tables.iter().map(|table| table.source).sum();
    let ours = ledger::verify(source, &Clock::system()).await?;
    let theirs = ledger::verify(target, &Clock::system()).await?;
    print(&format!(
        "{} with {} in each database.\nHeads of all chains in SQLite:     {}\nHeads of all chains in PostgreSQL: {}\n",
        counted(tables.len(), "table"),
        counted(rows, "row"),
        ours.heads,
        theirs.heads
    ))?;
    if ours.heads != theirs.heads || ours.accounts != theirs.accounts {
        return Err(CliError::Check("the books differ".to_owned()));
    }
    if theirs.holds() {
        return print("The books hold in both.\n");
    }
    Err(CliError::Check(
        "the books do not hold; `dermaga ledger verify` on the SQLite database names the faults"
            .to_owned(),
    ))
}

fn described(table: &Counted) -> String {
    let Counted {
        table,
        source,
        target,
    } = table;
    format!("{table}: {source} in SQLite, {target} in PostgreSQL\n")
}

fn refused(error: &TransferError) -> CliError {
    CliError::Failed(error.to_string())
}
