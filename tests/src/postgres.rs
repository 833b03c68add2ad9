//! A private PostgreSQL for this test process: on loopback, in a temporary folder, removed at the
//! end.

use std::{
    cell::RefCell,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

use dermaga_shop::db::Db;
use sqlx::{Connection, PgConnection};
use tokio::sync::OnceCell;

use crate::{free_port, say, unique};

/// Script that starts the server, and stops it and removes its folder when its input ends, which
/// happens however this process ends.
const KEEPER: &str = r#"
set -eu
bin=$1 dir=$2 port=$3
as() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
cd "$dir"
[ "$(id -u)" != 0 ] || chown -R postgres "$dir"
as "$bin/initdb" -D "$dir/data" -U dermaga -A trust --no-sync -E UTF8 >"$dir/initdb.log" 2>&1
set -- "$@" -c ssl_cert_file="$dir/server.crt" -c ssl_key_file="$dir/server.key"
# A database that is lost with this process needs no log to mend its pages by.
[ "$4" = on ] || set -- "$@" -c full_page_writes=off -c wal_level=minimal -c max_wal_senders=0 -c checkpoint_timeout=1h
# Every database would be visited every minute by a process of its own.
as "$bin/postgres" -D "$dir/data" -p "$port" -h 127.0.0.1 -k "" -c fsync="$4" -c ssl="$5" -c max_connections=400 \
  -c shared_buffers=64MB -c autovacuum_naptime=1h "${@:6}" >"$dir/postgres.log" 2>&1 &
trap 'kill -INT "$(head -n 1 "$dir/data/postmaster.pid")" 2>/dev/null; wait; rm -rf "$dir"' EXIT
echo started
cat >/dev/null
"#;

/// Databases of tests that have ended, with the ports of their servers.
static LEFT: Mutex<Vec<(u16, String)>> = Mutex::new(Vec::new());

thread_local! {
    /// Databases of the test that has this thread.
    static LENT: Lent = Lent::default();
}

/// Databases that are left when their thread ends.
#[derive(Debug, Default)]
struct Lent(RefCell<Vec<(u16, String)>>);

impl Drop for Lent {
    fn drop(&mut self) {
        if let Ok(mut left) = LEFT.lock() {
            left.append(&mut self.0.borrow_mut());
        }
    }
}

/// The server of this test process.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    /// Folder that is removed at the end.
    dir: PathBuf,
    /// Name of the database that new ones are copied from.
    migrated: OnceCell<String>,
    _keeper: Child,
    /// Input of the script; closing it stops the server.
    _input: ChildStdin,
}

/// Returns the server of this process, started on first use, or the reason why there is none.
pub fn shared() -> Result<&'static Postgres, &'static str> {
    static SERVER: OnceLock<Result<Postgres, String>> = OnceLock::new();
    SERVER
        .get_or_init(|| start(false, None))
        .as_ref()
        .map_err(String::as_str)
}

/// Starts another server, whose commits wait for the disk, as in production.
///
/// # Errors
/// The reason why it could not start.
pub fn durable() -> Result<Postgres, String> {
    start(true, None)
}

/// Starts another server, which encrypts connections with this certificate and key.
///
/// # Errors
/// The reason why it could not start.
pub fn with_certificate(certificate: &Path, key: &Path) -> Result<Postgres, String> {
    start(false, Some((certificate, key)))
}

/// Copies a certificate and its key into a server's folder, where its user alone reads them.
fn copy_certificate((certificate, key): (&Path, &Path), dir: &Path) -> std::io::Result<()> {
    let kept = dir.join("server.key");
    fs::copy(certificate, dir.join("server.crt"))?;
    fs::copy(key, &kept)?;
    fs::set_permissions(kept, fs::Permissions::from_mode(0o600))
}

fn start(durable: bool, tls: Option<(&Path, &Path)>) -> Result<Postgres, String> {
    let bin =
        installed().ok_or("PostgreSQL is not installed (Debian: apt-get install postgresql)")?;
    let dir = std::env::temp_dir().join(format!("dermaga-postgres-{}", unique()));
    fs::create_dir(&dir).map_err(|error| error.to_string())?;
    if let Some(files) = tls {
        copy_certificate(files, &dir).map_err(|error| error.to_string())?;
    }
    let port = free_port();
    let mut keeper = Command::new("bash")
        .args(["-c", KEEPER, "postgres-keeper"])
        .arg(&bin)
        .arg(&dir)
        .arg(port.to_string())
        .arg(if durable { "on" } else { "off" })
        .arg(if tls.is_some() { "on" } else { "off" })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut said = String::new();
    let output = keeper.stdout.take().ok_or("no output")?;
    BufReader::new(output)
        .read_line(&mut said)
        .map_err(|error| error.to_string())?;
    if said.trim() != "started" {
        let log = fs::read_to_string(dir.join("initdb.log")).unwrap_or_default();
        return Err(format!("PostgreSQL did not start: {log}"));
    }
    let input = keeper.stdin.take().ok_or("no input")?;
    wait_for(port, &dir)?;
    say(&format!(
        "PostgreSQL: {} on 127.0.0.1:{port}",
        bin.display()
    ));
    Ok(Postgres {
        port,
        dir,
        migrated: OnceCell::new(),
        _keeper: keeper,
        _input: input,
    })
}

/// Finds the programs of the newest installed version.
fn installed() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut bins: Vec<PathBuf> = versions
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    bins.sort();
    bins.into_iter()
        .rev()
        .find(|bin| bin.join("initdb").exists())
}

fn wait_for(port: u16, dir: &Path) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let log = fs::read_to_string(dir.join("postgres.log")).unwrap_or_default();
        if log.contains("ready to accept connections")
            && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(format!(
        "PostgreSQL did not become ready: {}",
        fs::read_to_string(dir.join("postgres.log")).unwrap_or_default()
    ))
}

impl Postgres {
    /// Creates a database with the shop's tables and returns its URL. It is a copy of one that was
    /// migrated for all tests of this process, and is dropped some time after the thread of this call has ended.
    pub async fn new_database(&self) -> String {
        let migrated = || async {
            let (name, url) = self.create("").await;
            let db = Db::connect(&url).await.expect("PostgreSQL answers");
            db.migrate().await.expect("the tables are made");
            // A database that is in use is no template.
            db.close().await;
            name
        };
        let template = self.migrated.get_or_init(migrated).await;
        let (name, url) = self.create(&self.copying(template)).await;
        LENT.with(|lent| lent.0.borrow_mut().push((self.port, name)));
        url
    }

    /// Drops the databases of tests that have ended: hundreds of copies would fill a disk in memory.
    async fn drop_left(&self, conn: &mut PgConnection) {
        let left: Vec<_> = {
            let mut left = LEFT.lock().expect("no test panics with the list");
            left.extract_if(.., |(port, _)| *port == self.port)
                .collect()
        };
        for (_, name) in left {
            let sql = sqlx::AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
            let dropped = sqlx::query(sql).execute(&mut *conn).await;
            dropped.expect("a database can be dropped");
        }
    }

    /// Returns the id of the server's first process, whose children do its work.
    pub fn process_id(&self) -> Option<u32> {
        let text = fs::read_to_string(self.dir.join("data/postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// Copies a database of this server, which nothing may use meanwhile, and returns the copy's URL.
    pub async fn copy_of(&self, url: &str) -> String {
        let name = url.rsplit('/').next().expect("a name");
        self.create(&self.copying(name)).await.1
    }

    /// Returns the options that make a new database a copy of `template`. Its files are copied: a page at a time through
    /// the log, as PostgreSQL 15 and later do unless told otherwise, takes three times as long.
    fn copying(&self, template: &str) -> String {
        let version = fs::read_to_string(self.dir.join("data/PG_VERSION")).unwrap_or_default();
        let strategy = match version.trim().parse::<u32>() {
            Ok(15..) => "STRATEGY FILE_COPY",
            _ => "",
        };
        format!("TEMPLATE {template} {strategy}")
    }

    /// Creates an empty database and returns its URL.
    pub async fn empty_database(&self) -> String {
        self.create("").await.1
    }

    /// Creates a database; returns its name and its URL.
    async fn create(&self, options: &str) -> (String, String) {
        let name = format!("test_{}", unique());
        let server = format!("postgres://dermaga@127.0.0.1:{}/postgres", self.port);
        let mut conn = PgConnection::connect(&server)
            .await
            .expect("PostgreSQL answers");
        self.drop_left(&mut conn).await;
        let sql = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} {options}"));
        sqlx::query(sql)
            .execute(&mut conn)
            .await
            .expect("a database can be made");
        conn.close().await.expect("the connection closes");
        let url = format!("postgres://dermaga@127.0.0.1:{}/{name}", self.port);
        (name, url)
    }
}
