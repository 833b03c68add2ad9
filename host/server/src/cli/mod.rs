//! The command line: what a person types, and what the commands answer.
//!
//! Exit codes: 0 done, 1 failed or refused, 2 wrong usage or configuration, 3 no answer from the
//! server, 4 a token that is missing there or may not do this.

mod admin;
mod backtest;
mod backup;
mod books;
mod completions;
mod demo;
mod doctor;
mod instance;
mod manage;
mod plugin;
mod push;
mod reference;
mod remote;
mod serve;
mod shell;
mod signing;
mod transfer;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use dermaga_runtime::{Compiler, compile_stdin};
use dermaga_shop::{ids::DecisionId, wallet::ExportFormat};

use crate::{
    app::StartError,
    config::{self, ConfigError, Loaded, Sources},
    telemetry,
};

const AFTER_HELP: &str = "\
Examples:
  dermaga demo                        see everything work, with one real purchase
  dermaga serve                       serve on http://127.0.0.1:3000, data in ./data
  dermaga serve --listen 0.0.0.0:80 --data-dir /var/lib/dermaga
  dermaga admin create --email sari@example.com --name Sari
  dermaga config                      what is in force, and where each value came from
  dermaga doctor                      what is wrong with it, and what to do
  dermaga backup /backup/friday       the shop itself, into a new folder
  dermaga user list                   a server's accounts, by DERMAGA_SERVER and DERMAGA_API_TOKEN

Every setting can stand in dermaga.toml or in the environment; `dermaga config --reference` lists
them all. Exit codes: 0 done, 1 failed or refused, 2 wrong usage or configuration, 3 no answer from
the server, 4 a token that is not good or may not do this.";

/// A self-hosted shop for managed services on Kubernetes.
///
/// Customers top up a prepaid rupiah wallet, pick a plan, and own a running N8N, Ghost or
/// PostgreSQL. Services and prices are decided by sandboxed WebAssembly plugins.
#[derive(Debug, Parser)]
#[command(name = "dermaga", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Settings that every command takes as flags; a flag wins over environment and file.
#[derive(Debug, Args)]
struct Global {
    /// Configuration file [env: DERMAGA_CONFIG] [default: dermaga.toml, when it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the database file, keys and caches [env: DERMAGA_DATA_DIR] [default: ./data]
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Level or filter of the log on stderr, such as `info,dermaga=debug` [env: DERMAGA_LOG]
    /// [default: info]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Install missing system packages without asking
    #[arg(long, global = true)]
    yes: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See everything work: start a shop and watch one real purchase in it.
    ///
    /// Builds the plugins, keeps everything in ./data, makes an administrator and a customer with
    /// one-time passwords, buys N8N through the public API, proves the books, and keeps serving.
    Demo(demo::DemoArgs),
    /// Serve the shop until SIGTERM or ctrl-c.
    ///
    /// Brings the database up to date, installs plugins and templates, then prints one line with
    /// the address on stdout. Without any configuration it keeps everything in ./data and writes
    /// instances' manifests into a folder unless a Kubernetes cluster answers.
    Serve(serve::ServeArgs),
    /// Bring the database's schema up to date and exit; or copy a shop from SQLite to PostgreSQL.
    ///
    /// The schema: safe to run while servers start, and needed only where DERMAGA_MIGRATE is false.
    ///
    /// The copy (`--from sqlite --to postgres`): the server is stopped, and the target is empty. Run it
    /// again after any interruption: it continues. It ends with the rows and the books of both databases
    /// compared, changes nothing in the first one, and until it is done no server starts on the second.
    Migrate(transfer::MigrateArgs),
    /// Back the shop up into a new folder: database, keys, pictures of tickets.
    ///
    /// Safe beside a running server. On PostgreSQL it writes all but the database, and prints the command
    /// that adds its dump. The folder is for its owner alone, and is verified while it is written.
    Backup(backup::BackupArgs),
    /// Restore a backup into an empty data folder, or compare a restored database with it.
    ///
    /// Every file is compared with the list in the backup first; then the restored books are verified.
    Restore(backup::RestoreArgs),
    /// Manage administrators.
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Print the settings in force and where each value came from; secrets are masked.
    Config {
        /// Print the reference of all settings instead, as Markdown.
        #[arg(long)]
        reference: bool,
    },
    /// Print the OpenAPI document of the API as JSON.
    Openapi,
    /// Check configuration, database, master key, clock, plugins, templates, cluster, gateway, mail
    /// and attachments; exits with 1 when one has failed.
    ///
    /// Each line is OK, SKIPPED, WARNING or FAILED and says what to do. Safe beside a running server: a
    /// write to the database is taken back, probes in the data folder and among the attachments are
    /// removed again, and what is left is the cache of compiled plugins. It sends no mail, and asks the
    /// payment gateway only with --ask-gateway, without which a gateway with keys is SKIPPED.
    Doctor(doctor::DoctorArgs),
    #[command(flatten)]
    Manage(manage::Managing),
    /// Look after the books.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Run a recorded plugin decision again and compare the output byte for byte.
    ///
    /// The plugin version that made the decision is called with the recorded input. Exits with 1
    /// when the output differs.
    Replay {
        /// Id of the decision: a transaction has it as `priceDecisionId` or `couponDecisionId`, and GET
        /// /api/admin/decisions lists all.
        #[arg(value_parser = books::decision)]
        decision: DecisionId,
    },
    /// Ask a candidate coupon version again what was decided, and show who would have won or lost.
    ///
    /// Reads the recorded decisions of the coupon type and writes nothing: safe at any time.
    Backtest(backtest::BacktestArgs),
    /// Compile the component on stdin to machine code on stdout, within these limits; servers call
    /// it.
    #[command(hide = true)]
    CompileComponent {
        /// Most address space of the process, in bytes.
        #[arg(long)]
        memory_bytes: u64,
        /// Most processor time of the process, in seconds.
        #[arg(long)]
        cpu_seconds: u32,
    },
    /// Build and check plugins.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Print the completions of a shell, to be read by it.
    ///
    /// For example `source <(dermaga completions bash)`, or into a file of the shell's own folder.
    Completions {
        /// The shell.
        shell: completions::Shell,
    },
    /// Print docs/CLI.md, the reference of all commands.
    #[command(hide = true)]
    #[command(name = "command-reference")]
    Reference,
}

#[derive(Debug, Subcommand)]
enum LedgerCommand {
    /// Prove that the books balance; exits with 1 when they do not.
    ///
    /// Every entry balances, every wallet's chain is unbroken, every balance is the sum of its
    /// postings. Reads one snapshot and writes nothing: safe at any time.
    Verify {
        /// Print the findings as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the whole ledger to a file or to stdout, for auditors.
    ///
    /// Reads one snapshot and writes nothing to the database: safe at any time.
    Export {
        /// File to write; stdout when absent.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Format of each entry; when absent, CSV for a file whose name ends in `.csv`, otherwise
        /// JSON lines.
        #[arg(long, value_enum)]
        format: Option<EntryFormat>,
    },
}

/// Format of an export.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum EntryFormat {
    /// A JSON object for each entry. Without its `hash`, written with sorted keys and no spaces, it
    /// is what SHA-256 made `hash` of; `previous` is the hash of the entry before in that wallet.
    Jsonl,
    /// A line for each posting, for spreadsheets.
    Csv,
}

impl EntryFormat {
    fn of(output: Option<&Path>) -> Self {
        let extension = output.and_then(Path::extension);
        if extension.is_some_and(|it| it.eq_ignore_ascii_case("csv")) {
            Self::Csv
        } else {
            Self::Jsonl
        }
    }
}

impl From<EntryFormat> for ExportFormat {
    fn from(format: EntryFormat) -> Self {
        match format {
            EntryFormat::Jsonl => Self::Jsonl,
            EntryFormat::Csv => Self::Csv,
        }
    }
}

/// Reason why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    /// A value on the command line or stdin that breaks its rule.
    #[error("{0}")]
    Usage(String),
    /// Something that the command should do and could not.
    #[error("{0}")]
    Failed(String),
    /// A check that did not pass; what was found is printed already.
    #[error("{0}")]
    Check(String),
    /// A server that does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// A token that the server does not take, or that may not do this.
    #[error("{0}")]
    Denied(String),
}

impl CliError {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Usage(_) | Self::Start(StartError::NoFolder { .. }) => 2,
            Self::Start(_) | Self::Failed(_) | Self::Check(_) => 1,
            Self::Unreachable(_) => 3,
            Self::Denied(_) => 4,
        }
    }
}

impl From<dermaga_shop::Error> for CliError {
    fn from(error: dermaga_shop::Error) -> Self {
        let details = error
            .details
            .iter()
            .map(|detail| format!("\n  {} {}", detail.field, detail.message));
        let cause = error
            .source
            .iter()
            .map(|cause| format!("\n  cause: {cause}"));
        Self::Failed(format!(
            "{}{}",
            error.message,
            details.chain(cause).collect::<String>()
        ))
    }
}

/// Runs the command.
pub async fn run(cli: Cli) -> ExitCode {
    // An error means that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if cli.global.yes {
        crate::terminal::assume_yes();
    }
    match Box::pin(dispatch(cli)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dermaga: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Returns this binary as the program that compiles plugins.
fn compiler() -> Option<Compiler> {
    Compiler::own(vec!["compile-component".to_owned()])
}

impl Cli {
    /// Runs `compile-component`; `None` for any other command. Call it before any thread is
    /// started.
    pub fn compile_component(&self) -> Option<ExitCode> {
        let Command::CompileComponent {
            memory_bytes,
            cpu_seconds,
        } = self.command
        else {
            return None;
        };
        let compiled = compile_stdin(memory_bytes, cpu_seconds);
        Some(compiled.map_or_else(
            |error| {
                eprintln!("dermaga: {error}");
                ExitCode::FAILURE
            },
            ExitCode::from,
        ))
    }
}

async fn dispatch(Cli { global, command }: Cli) -> Result<(), CliError> {
    match command {
        Command::Config { reference: true } => print(&config::reference()),
        // `main` has run it already, without threads.
        Command::CompileComponent { .. } => Ok(()),
        Command::Openapi => serve::print_openapi(),
        Command::Completions { shell } => print(&completions::script(shell)),
        Command::Reference => print(&reference::reference()),
        Command::Plugin(command) => plugin::run(command).await,
        Command::Demo(args) => {
            let file = global.config.clone();
            let loaded = global.load_quietly(args.flags())?;
            Box::pin(demo::demo(loaded, file.as_deref(), args.exit)).await
        }
        Command::Serve(args) => {
            Box::pin(serve::serve(global.load_for(Use::Serving, args.flags())?)).await
        }
        Command::Config { reference: false } => {
            print(&global.load_for(Use::Examining, Vec::new())?.describe())
        }
        Command::Migrate(args) => {
            Box::pin(transfer::migrate(global.load_quietly(Vec::new())?, args)).await
        }
        Command::Backup(args) => {
            Box::pin(backup::backup(global.load_quietly(Vec::new())?, args)).await
        }
        Command::Restore(args) => {
            Box::pin(backup::restore(global.load_quietly(Vec::new())?, args)).await
        }
        Command::Admin(command) => Box::pin(admin::run(global.load(Vec::new())?, command)).await,
        Command::Doctor(args) => {
            // Its findings are all that it has to say.
            let loaded = global.logging("off").load_for(Use::Examining, args.flags());
            Box::pin(doctor::doctor(loaded, args)).await
        }
        Command::Manage(manage::Managing::Remotely(asked)) => manage::run(*asked).await,
        Command::Manage(manage::Managing::Locally(command)) => {
            Box::pin(instance::run(global.load(Vec::new())?, command)).await
        }
        Command::Ledger(LedgerCommand::Verify { json }) => {
            Box::pin(books::verify(global.load(Vec::new())?, json)).await
        }
        Command::Ledger(LedgerCommand::Export { output, format }) => {
            let format = format.unwrap_or_else(|| EntryFormat::of(output.as_deref()));
            Box::pin(books::export(
                global.load_quietly(Vec::new())?,
                output,
                format.into(),
            ))
            .await
        }
        Command::Backtest(args) => {
            Box::pin(backtest::backtest(global.load(Vec::new())?, args)).await
        }
        Command::Replay { decision } => {
            Box::pin(books::replay(global.load(Vec::new())?, decision)).await
        }
    }
}

/// Use of a configuration.
#[derive(Debug, Clone, Copy)]
enum Use {
    Serving,
    /// It is judged as a server would.
    Examining,
    /// A command that takes no payments.
    Working,
}

impl Global {
    /// As [`Global::load`], with a log of the shop's own warnings only unless more was asked for: the command
    /// tells its own story, and a library has no part in it.
    fn load_quietly(self, flags: Vec<(&'static str, String)>) -> Result<Loaded, ConfigError> {
        self.logging("off,dermaga=warn").load(flags)
    }

    /// With a log by this filter unless another was asked for.
    fn logging(mut self, filter: &str) -> Self {
        if self.log.is_none() && std::env::var_os("DERMAGA_LOG").is_none() {
            self.log = Some(filter.to_owned());
        }
        self
    }

    /// The configuration in force for a command that takes no payments, with logging started by it.
    fn load(self, flags: Vec<(&'static str, String)>) -> Result<Loaded, ConfigError> {
        self.load_for(Use::Working, flags)
    }

    /// The configuration in force, with logging started by it, and traces for a server.
    fn load_for(
        self,
        purpose: Use,
        mut flags: Vec<(&'static str, String)>,
    ) -> Result<Loaded, ConfigError> {
        flags.extend(
            self.data_dir
                .map(|folder| ("data_dir", folder.display().to_string())),
        );
        flags.extend(self.log.map(|filter| ("log", filter)));
        let mut loaded = config::load(Sources {
            without_payments: matches!(purpose, Use::Working),
            ..Sources::of_process(self.config, flags)?
        })?;
        loaded.config.runtime.compiler = compiler();
        telemetry::start_logging(&loaded.config.telemetry, matches!(purpose, Use::Serving));
        for note in loaded.notes() {
            tracing::warn!(note, "config.note");
        }
        Ok(loaded)
    }
}

/// Writes to stdout; a reader that stops early (`dermaga config | head`) is no failure.
fn print(text: &str) -> Result<(), CliError> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::Failed(
            format!("stdout cannot be written: {error}"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        fn check(command: &clap::Command) {
            for sub in command
                .get_subcommands()
                .filter(|sub| sub.get_name() != "help")
            {
                assert!(sub.get_about().is_some(), "{}", sub.get_name());
                check(sub);
            }
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
        }
        check(&Cli::command());
    }
}
