//! A private PgBouncer before a PostgreSQL of the tests.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{free_port, unique};

/// Places where packages put the program.
const PROGRAMS: [&str; 3] = [
    "/usr/sbin/pgbouncer",
    "/usr/bin/pgbouncer",
    "/usr/local/bin/pgbouncer",
];
/// Connections to PostgreSQL, fewer than three servers ask for.
const CONNECTIONS: u32 = 12;

/// A pooler, which ends with this value.
#[derive(Debug)]
pub struct PgBouncer {
    process: Child,
    folder: PathBuf,
    url: String,
}

/// Starts a pooler before a database of [`crate::postgres`], in a mode of its own words, with further lines of
/// its configuration.
///
/// # Errors
/// The reason why it could not start.
pub fn start(database: &str, mode: &str, more: &str) -> Result<PgBouncer, String> {
    let program = PROGRAMS.iter().find(|path| Path::new(path).exists());
    let program =
        program.ok_or("PgBouncer is not installed (Debian: apt-get install pgbouncer)")?;
    let wrong = || format!("no address in {database}");
    let (server, name) = database.rsplit_once('/').ok_or_else(wrong)?;
    let (_, postgres) = server.rsplit_once(':').ok_or_else(wrong)?;
    let port = free_port();
    let folder = std::env::temp_dir().join(format!("dermaga-pgbouncer-{}", unique()));
    fs::create_dir(&folder).map_err(|error| error.to_string())?;
    let file = folder.join("pgbouncer.ini");
    let text = format!(
        "[databases]\n* = host=127.0.0.1 port={postgres} user=dermaga\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
         pool_mode = {mode}\nmax_client_conn = 400\ndefault_pool_size = {CONNECTIONS}\n{more}\n"
    );
    fs::write(&file, text).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    // It refuses to be root.
    if is_root() {
        command.args(["-u", "postgres"]);
    }
    let log = fs::File::create(folder.join("log")).map_err(|error| error.to_string())?;
    let process = command
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| error.to_string())?;
    let bouncer = PgBouncer {
        process,
        folder,
        url: format!("postgres://dermaga@127.0.0.1:{port}/{name}"),
    };
    bouncer.wait_for(port)?;
    Ok(bouncer)
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

impl PgBouncer {
    /// Returns the database's URL behind the pooler.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn wait_for(&self, port: u16) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        Err(format!("PgBouncer did not become ready: {log}"))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
