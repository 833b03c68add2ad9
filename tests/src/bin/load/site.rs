//! A shop as it is installed: the `dermaga` command in a folder of its own, on either engine.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use dermaga_tests::{
    Engine, checkout, plugins_folder,
    postgres::{self, Postgres},
    processes::Watched,
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::{
    Outcome,
    process::Process,
    setup::{ADMINISTRATOR, PASSWORD},
};

/// Settings of the server beside folders and addresses. All requests come from one address, so that limits of
/// requests and connections are as high as they can be.
const SETTINGS: [(&str, &str); 12] = [
    ("DERMAGA_LISTEN", "127.0.0.1:0"),
    ("DERMAGA_PROVISIONER", "directory"),
    ("DERMAGA_PAYMENTS_SANDBOX", "true"),
    ("DERMAGA_ADMIN_EMAIL", ADMINISTRATOR),
    ("DERMAGA_ADMIN_PASSWORD", PASSWORD),
    ("DERMAGA_REGISTRATIONS_PER_HOUR", "1000000"),
    ("DERMAGA_MAX_CONNECTIONS_PER_ADDRESS", "10000"),
    ("DERMAGA_CATALOGUE_REQUESTS_PER_MINUTE", "1000000"),
    ("DERMAGA_CUSTOMER_REQUESTS_PER_MINUTE", "1000000"),
    ("DERMAGA_ADMIN_REQUESTS_PER_MINUTE", "1000000"),
    ("DERMAGA_WEBHOOK_REQUESTS_PER_MINUTE", "1000000"),
    // Connections wait while the other side has its turn.
    ("DERMAGA_IDLE_TIMEOUT", "1h"),
];
/// Characters of the log that a failure shows.
const LOG_TAIL: usize = 2_000;

/// Folder and database of a shop, and its server while it runs.
#[derive(Debug)]
pub(crate) struct Site {
    // Fields are dropped in this order: the server first, the folder last.
    server: Option<Process>,
    postgres: Option<Postgres>,
    /// Database on PostgreSQL.
    url: Option<String>,
    binary: PathBuf,
    log: String,
    folder: TempDir,
}

impl Site {
    /// Prepares a folder and an empty database, whose commits wait for the disk.
    pub(crate) async fn new(engine: Engine, binary: &Path, log: &str) -> Outcome<Self> {
        let folder = TempDir::new()?;
        let postgres = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(postgres::durable()?),
        };
        let url = match &postgres {
            Some(server) => Some(server.empty_database().await),
            None => None,
        };
        Ok(Self {
            server: None,
            postgres,
            url,
            binary: binary.to_owned(),
            log: log.to_owned(),
            folder,
        })
    }

    /// Starts the server, and waits until it answers.
    pub(crate) fn start(&mut self) -> Outcome<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let mut command = self.command();
        command.arg("serve").stderr(log);
        self.server = Some(Process::start(&mut command)?);
        Ok(())
    }

    pub(crate) fn stop(&mut self) -> Outcome<()> {
        match self.server.take() {
            Some(server) => server.stop(),
            None => Ok(()),
        }
    }

    /// Address of the running server.
    pub(crate) fn host(&self) -> Outcome<&str> {
        let server = self.server.as_ref().ok_or("the server does not run")?;
        Ok(server.address())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Processes that work for the shop.
    pub(crate) fn watched(&self) -> Watched {
        Watched {
            server: self.server.as_ref().map(Process::id),
            database: self.postgres.as_ref().and_then(Postgres::process_id),
        }
    }

    /// Address of the shop's database.
    pub(crate) fn database_url(&self) -> String {
        match &self.url {
            Some(url) => url.clone(),
            None => format!(
                "sqlite://{}",
                self.folder().join("data/dermaga.db").display()
            ),
        }
    }

    /// Copies the database of the stopped server, and returns the copy's URL. Rows that are written by hand
    /// are in no chain of the ledger, and would spoil the proof of the shop's own books.
    pub(crate) async fn copy_database(&self) -> Outcome<String> {
        if let (Some(server), Some(url)) = (&self.postgres, &self.url) {
            return Ok(server.copy_of(url).await);
        }
        let copy = self.folder().join("by-hand.db").display().to_string();
        let mut conn = SqliteConnection::connect(&self.database_url()).await?;
        let sql = AssertSqlSafe(format!("VACUUM INTO '{copy}'"));
        sqlx::query(sql).execute(&mut conn).await?;
        conn.close().await?;
        Ok(format!("sqlite://{copy}"))
    }

    /// Proves the books by the command, which is safe beside a running server; returns the number of entries.
    pub(crate) fn verify(&self) -> Outcome<u64> {
        let output = self
            .command()
            .args(["ledger", "verify", "--json"])
            .output()?;
        if !output.status.success() {
            let found = String::from_utf8_lossy(&output.stdout);
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("the books do not hold:\n{found}\n{said}").into());
        }
        let found: Value = serde_json::from_slice(&output.stdout)?;
        let entries = found.get("entries").and_then(Value::as_u64);
        entries.ok_or_else(|| "the proof of the books tells no entries".into())
    }

    /// End of the server's log.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read(self.log_file()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let skipped = text.chars().count().saturating_sub(LOG_TAIL);
        text.chars().skip(skipped).collect()
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("server.log")
    }

    /// The command in its folder, with nothing of this process's settings in its environment.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .current_dir(self.folder())
            .env_clear()
            .envs(SETTINGS)
            .env("DERMAGA_DATA_DIR", self.folder().join("data"))
            .env("DERMAGA_PLUGINS_DIR", plugins_folder())
            .env(
                "DERMAGA_TEMPLATES_DIR",
                checkout().join("service-templates"),
            )
            .env("DERMAGA_LOG", &self.log)
            .stdin(Stdio::null());
        for name in ["PATH", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(url) = &self.url {
            command.env("DATABASE_URL", url);
        }
        command
    }
}
