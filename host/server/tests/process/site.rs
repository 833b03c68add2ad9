//! Servers that die, and the folders that they work on.

mod clusters;
mod opening;
mod patient;

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Seek as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use dermaga::sandbox::Sandbox;
use dermaga_shop::{
    crypto::Secret,
    db::{Clock, Db},
};
use dermaga_tests::{postgres, skip};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

pub(super) use self::patient::Patient;
use super::{command, command_of, dermaga, stderr, stdout};

pub(super) const KEY: &str = "SB-Mid-server-crash";

/// Database and data folder, and the way servers on them are started.
pub(super) struct Site {
    folder: TempDir,
    listen: String,
    environment: Vec<(&'static str, String)>,
    provisioner: &'static str,
}

impl Site {
    /// `None` when its database cannot be had here.
    pub(super) async fn new(on_postgres: bool) -> Option<Self> {
        // One TLS provider for the process; a second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut environment = vec![
            ("MIDTRANS_SERVER_KEY", KEY.to_owned()),
            ("MIDTRANS_BASE_URL", gateway().await),
            // A key whose holder died is free again soon after a request could have ended.
            ("DERMAGA_REQUEST_TIMEOUT", "1s".to_owned()),
        ];
        // All callers of a test have the same address.
        for name in [
            "DERMAGA_CATALOGUE_REQUESTS_PER_MINUTE",
            "DERMAGA_CUSTOMER_REQUESTS_PER_MINUTE",
            "DERMAGA_ADMIN_REQUESTS_PER_MINUTE",
            "DERMAGA_WEBHOOK_REQUESTS_PER_MINUTE",
            "DERMAGA_REGISTRATIONS_PER_HOUR",
        ] {
            environment.push((name, "1000000".to_owned()));
        }
        if on_postgres {
            match postgres::shared() {
                Ok(server) => environment.push(("DATABASE_URL", server.empty_database().await)),
                Err(why) => {
                    skip("PostgreSQL", why);
                    return None;
                }
            }
        }
        let listen = free_address();
        let hook = format!("http://{listen}/api/wallet/webhook/midtrans");
        environment.push(("MIDTRANS_NOTIFICATION_URL", hook));
        let folder = TempDir::new().unwrap();
        copy_compiled(&compiled(), &plugin_cache(folder.path()));
        Some(Self {
            folder,
            listen,
            environment,
            provisioner: "directory",
        })
    }

    /// The same site with another setting.
    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.environment.push((name, value));
        self
    }

    /// Adds a setting.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.environment.push((name, value.to_owned()));
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        let environment = self.environment.iter();
        let environment: Vec<(&str, &str)> = environment
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        dermaga(self.path(), arguments, &environment)
    }

    /// `dermaga` with the settings of this site.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.path());
        command
            .args(arguments)
            .envs(self.environment.iter().cloned());
        command
    }

    /// A site with the same settings and an empty folder.
    pub(super) fn elsewhere(&self) -> Self {
        let listen = free_address();
        let hook = format!("http://{listen}/api/wallet/webhook/midtrans");
        let mut environment = self.environment.clone();
        environment.push(("MIDTRANS_NOTIFICATION_URL", hook));
        Self {
            folder: TempDir::new().unwrap(),
            listen,
            environment,
            provisioner: self.provisioner,
        }
    }

    /// Lends the site's data folder what other tests compiled.
    pub(super) fn lend_compiled(&self) {
        copy_compiled(&compiled(), &plugin_cache(self.path()));
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Address of the server that has this site's folder to itself.
    pub(super) fn listen(&self) -> &str {
        &self.listen
    }

    /// The servers' database, as its operator reaches it.
    pub(super) async fn database(&self) -> Db {
        Db::connect(&self.database_url()).await.unwrap()
    }

    /// URL of the database itself, whatever is before it.
    pub(super) fn database_url(&self) -> String {
        let named = self
            .environment
            .iter()
            .find(|(name, _)| *name == "DATABASE_URL");
        let file = format!("sqlite://{}/data/dermaga.db", self.path().display());
        named.map_or(file, |(_, url)| url.clone())
    }

    /// Report of `ledger verify`, which must succeed.
    pub(super) fn books(&self) -> Value {
        let verified = self.run(&["ledger", "verify", "--json"]);
        assert!(
            verified.status.success(),
            "{}{}",
            stdout(&verified),
            stderr(&verified)
        );
        serde_json::from_str(&stdout(&verified)).unwrap()
    }
}

/// Plugins that a server compiled are there for the next site: most tests need no compiler.
impl Drop for Site {
    fn drop(&mut self) {
        copy_compiled(&plugin_cache(self.path()), &compiled());
    }
}

fn plugin_cache(folder: &Path) -> PathBuf {
    folder.join("data/plugin-cache")
}

fn compiled() -> PathBuf {
    dermaga_tests::checkout().join("target/compiled-for-tests")
}

/// Lends a folder what other tests compiled.
pub(super) fn lend_compiled(folder: &Path) {
    copy_compiled(&compiled(), &folder.join("plugin-cache"));
}

/// Copies what is missing; a folder that is not there has nothing.
fn copy_compiled(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        let target = to.join(entry.file_name());
        let is_whole = entry.path().extension().is_some_and(|end| end == "cwasm");
        if is_whole && !target.exists() {
            let draft = target.with_extension(format!("{}.draft", rand::rng().random::<u64>()));
            std::fs::copy(entry.path(), &draft).unwrap();
            std::fs::rename(&draft, &target).unwrap();
        }
    }
}

/// Ends the leases that a dead server held in a queue's table, so that no test waits until they are over.
pub(super) async fn end_leases(db: &Db, table: &str) {
    let sql = format!(
        "UPDATE {table} SET lease_until = $1, next_try_at = $1 WHERE lease_holder IS NOT NULL"
    );
    let mut conn = db.begin().await.unwrap();
    dermaga_shop::execute!(conn, sqlx::AssertSqlSafe(sql), Clock::system().now()).unwrap();
    conn.commit().await.unwrap();
}

/// Source of the moments at which servers die.
pub(super) fn seeded() -> StdRng {
    let given = std::env::var("DERMAGA_TEST_SEED").ok();
    let seed = given.map_or_else(|| rand::rng().random(), |seed| seed.parse().unwrap());
    println!("DERMAGA_TEST_SEED={seed} repeats these deaths");
    StdRng::seed_from_u64(seed)
}

/// Returns an address of this machine that nothing listens on.
pub(super) fn free_address() -> String {
    format!("127.0.0.1:{}", dermaga_tests::free_port())
}

/// The payment gateway outlives the servers.
pub(super) async fn gateway() -> String {
    sandbox().await.1
}

/// The same, for tests that make it fail; its address is the second part.
pub(super) async fn sandbox() -> (Sandbox, String) {
    let gateway = Sandbox::new(Secret::new(KEY), Clock::system());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    gateway.found_at(&base);
    let router: axum::Router = gateway.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (gateway, base)
}

/// A server process that dies with the test.
pub(super) struct Server(Child);

impl Server {
    /// Starts and waits for the ready line.
    pub(super) fn start(site: &Site) -> Self {
        Self::start_at(site, &site.listen)
    }

    /// Starts at an address of its own, beside others on the same database.
    pub(super) fn start_at(site: &Site, listen: &str) -> Self {
        Self::spawn(command(site.path()), site, listen, None)
    }

    /// Starts a server whose log goes into a file.
    pub(super) fn start_logging(site: &Site, log: File) -> Self {
        Self::spawn(command(site.path()), site, &site.listen, Some(log))
    }

    /// Starts another build of the command at an address of its own.
    pub(super) fn start_program(site: &Site, program: &Path, listen: &str) -> Self {
        Self::spawn(command_of(program, site.path()), site, listen, None)
    }

    fn spawn(mut command: Command, site: &Site, listen: &str, log: Option<File>) -> Self {
        let mut log = log.unwrap_or_else(|| tempfile::tempfile().unwrap());
        let mut process = command
            .args(["serve", "--provisioner", site.provisioner])
            .args(["--listen", listen])
            .envs(site.environment.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        if !ready.contains("http://") {
            let mut said = String::new();
            let read = log.rewind().and_then(|()| log.read_to_string(&mut said));
            panic!("not ready: `{ready}`, {read:?}: {said}");
        }
        Self(process)
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for the end of a process that was asked to end.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        for _ in 0..1200 {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server does not end");
    }

    /// Sends a signal, such as one that freezes the process or lets it continue.
    pub(super) fn send(&self, signal: Signal) {
        let id = Pid::from_child(&self.0);
        kill_process(id, signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
