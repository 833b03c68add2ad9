//! Settings of connections to PostgreSQL.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use dermaga::config::{self, Sources};
use dermaga_shop::db::{self, Db, Settings};
use dermaga_tests::{postgres, processes::with_children, skip};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{
    dermaga,
    servers::within,
    site::{Server, Site, free_address},
    stderr,
};

/// Longest wait for what takes a second or two on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the settings of the database in an environment.
fn set(environment: &[(&str, &str)]) -> Settings {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    // They are for PostgreSQL alone.
    let server = [("DATABASE_URL", "postgres://dermaga@127.0.0.1/toko")];
    let environment = server.iter().chain(environment);
    let sources = Sources {
        environment: environment.map(owned).collect(),
        ..Sources::default()
    };
    config::load(sources).unwrap().config.database
}

async fn number(db: &Db, sql: &'static str) -> i64 {
    let mut conn = db.read().await.unwrap();
    dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_waited_for_kept_and_used_as_long_as_set() {
    let server = match postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("PostgreSQL", why),
    };
    let url = server.empty_database().await;
    let short = set(&[
        ("DERMAGA_DATABASE_CONNECTIONS", "2"),
        ("DERMAGA_DATABASE_ACQUIRE_TIMEOUT", "1s"),
        ("DERMAGA_DATABASE_IDLE_TIMEOUT", "1s"),
        ("DERMAGA_DATABASE_STATEMENT_TIMEOUT", "1s"),
    ]);
    let db = Db::connect_with(&url, &short).await.unwrap();
    let began = Instant::now();
    let mut conn = db.begin().await.unwrap();
    let slow = "SELECT count(*) FROM pg_sleep(600)";
    let ended = dermaga_shop::fetch_one!(conn, (i64,), slow).unwrap_err();
    let code = ended.as_database_error().and_then(|cause| cause.code());
    assert_eq!(code.as_deref(), Some("57014"), "{ended}");
    assert!(db::is_passing(&ended), "a client may try again");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    conn.rollback().await.unwrap();

    let held = (db.begin().await.unwrap(), db.begin().await.unwrap());
    let began = Instant::now();
    let refused = db.begin().await.unwrap_err();
    let waited = began.elapsed();
    assert!(matches!(refused, sqlx::Error::PoolTimedOut), "{refused}");
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert!(waited < Settings::default().acquire, "{waited:?}");
    held.0.rollback().await.unwrap();
    held.1.rollback().await.unwrap();

    // A spare connection of its own would be counted.
    let mut alone = set(&[]);
    alone.connections = 1;
    let watching = Db::connect_with(&url, &alone).await.unwrap();
    let others = "SELECT count(*) FROM pg_stat_activity \
                  WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let took = within(PATIENCE, "connections are closed", async || {
        number(&watching, others).await == 0
    })
    .await;
    println!("connections without use were closed after {took:?}");
    db.close().await;
    watching.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_is_taken_for_what_is_set() {
    let server = match postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("PostgreSQL", why),
    };
    let url = server.empty_database().await;
    for (word, is_kept) in [("auto", true), ("none", true), ("transaction", false)] {
        let settings = set(&[("DERMAGA_DATABASE_POOLER", word)]);
        let db = Db::connect_with(&url, &settings).await.unwrap();
        assert_eq!(db.keeps_sessions(), is_kept, "{word}");
        assert_eq!(
            number(
                &db,
                "SELECT count(*) FROM pg_database WHERE datname = current_database()"
            )
            .await,
            1
        );
        db.close().await;
    }
}

/// The client of PostgreSQL reads these by itself; what cannot be taken back is refused by its name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_of_other_programs_change_no_connection() {
    let server = match postgres::shared() {
        Ok(server) => server,
        Err(why) => return skip("PostgreSQL", why),
    };
    let url = server.empty_database().await;
    let folder = TempDir::new().unwrap();
    let passwords = folder.path().join("passwords");
    std::fs::write(&passwords, "*:*:*:*:rahasia\n").unwrap();
    let idle = [
        ("PGHOST", "203.0.113.1"),
        ("PGHOSTADDR", "203.0.113.1"),
        ("PGPORT", "1"),
        ("PGDATABASE", "lain"),
        ("PGPASSWORD", "rahasia"),
        ("PGPASSFILE", passwords.to_str().unwrap()),
        ("PGSSLMODE", "verify-full"),
        ("PGAPPNAME", "lain"),
    ];
    let done = migrate(folder.path(), &url, &idle);
    assert!(done.status.success(), "{}", stderr(&done));
    for variable in ["PGOPTIONS", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"] {
        let refused = migrate(folder.path(), &url, &[(variable, "rahasia")]);
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{variable}: {said}");
        assert!(
            said.contains(&format!("{variable} in the environment")),
            "{said}"
        );
        assert!(!said.contains("rahasia"), "{said}");
    }
    let db = Db::connect(&url).await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE pid = pg_backend_pid() AND application_name = 'dermaga'";
    assert_eq!(number(&db, sql).await, 1);
    db.close().await;
}

/// A start says at once that it waits, for what, and for how long, again and again.
#[test]
fn a_database_that_is_away_is_waited_for_aloud() {
    let folder = TempDir::new().unwrap();
    let address = free_address();
    let url = format!("postgres://toko:rahasia@{address}/toko?application_name=gembok");
    let environment = [
        ("DATABASE_URL", url.as_str()),
        ("DERMAGA_DATABASE_ACQUIRE_TIMEOUT", "4s"),
    ];
    let ended = dermaga(folder.path(), &["serve"], &environment);
    let said = stderr(&ended);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("database.away"))
        .collect();
    assert!(lines.len() >= 2, "{said}");
    for line in lines {
        assert!(line.contains("is tried for 4s in all"), "{said}");
        assert!(line.contains(&address), "{said}");
    }
    assert!(
        said.contains("the postgres database does not answer"),
        "{said}"
    );
    assert!(
        !said.contains("rahasia") && !said.contains("gembok"),
        "{said}"
    );
}

/// One that refuses is asked no more, and one that is silent is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_database_is_away_stops() {
    for signal in [Signal::QUIT, Signal::STOP] {
        let postgres = match postgres::durable() {
            Ok(server) => server,
            Err(why) => return skip("PostgreSQL", &why),
        };
        let Some(mut site) = Site::new(false).await else {
            return;
        };
        site.set("DATABASE_URL", &postgres.empty_database().await);
        let mut server = Server::start(&site);
        let first = postgres.process_id().unwrap();
        let all = match signal {
            Signal::STOP => with_children(first),
            _ => vec![first],
        };
        send_to(&all, signal);
        // Workers look every second, and the scheduler every five.
        tokio::time::sleep(Duration::from_secs(7)).await;
        let began = Instant::now();
        server.send(Signal::TERM);
        let status = server.ended().await;
        println!("{signal:?}: it ended after {:?}: {status}", began.elapsed());
        if signal == Signal::STOP {
            send_to(&all, Signal::CONT);
        }
    }
}

fn send_to(ids: &[u32], signal: Signal) {
    for id in ids {
        let id = i32::try_from(*id).ok().and_then(Pid::from_raw).unwrap();
        // One that served a connection may have ended meanwhile.
        let _ = kill_process(id, signal);
    }
}

/// An authority, and a certificate for the address of the tests' servers that it signed.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let made = Self(TempDir::new().unwrap());
        let names = "subjectAltName=IP:127.0.0.1";
        std::fs::write(made.0.path().join("names"), names).unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        for arguments in [
            format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=Uji -days 2"),
            format!("req {key} -keyout key.pem -out request.pem -subj /CN=postgres"),
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile names"
                .to_owned(),
        ] {
            let mut command = Command::new("openssl");
            command.args(arguments.split(' ')).current_dir(made.0.path());
            let output = command.output().unwrap();
            assert!(output.status.success(), "openssl {arguments}");
        }
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Brings the schema of a database up to date, with these settings of its connections.
fn migrate(folder: &Path, url: &str, settings: &[(&str, &str)]) -> Output {
    let environment = [&[("DATABASE_URL", url)][..], settings].concat();
    dermaga(folder, &["migrate"], &environment)
}

async fn is_encrypted(url: &str, settings: &[(&str, &str)]) -> bool {
    let db = Db::connect_with(url, &set(settings)).await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";
    let found = number(&db, sql).await;
    db.close().await;
    found == 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_authority_is_refused() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (known, other) = (Authority::new(), Authority::new());
    let started = postgres::with_certificate(&known.path("cert.pem"), &known.path("key.pem"));
    let server = match started {
        Ok(server) => server,
        Err(why) => return skip("PostgreSQL", &why),
    };
    let url = server.empty_database().await;
    let by_name = url.replace("127.0.0.1", "localhost");
    let folder = TempDir::new().unwrap();
    let (known, other) = (known.path("ca.pem"), other.path("ca.pem"));
    let (known, other) = (known.display().to_string(), other.display().to_string());
    let believed = ("DERMAGA_DATABASE_CA_FILE", known.as_str());
    let unknown = ("DERMAGA_DATABASE_CA_FILE", other.as_str());
    let tls = |word| ("DERMAGA_DATABASE_TLS", word);

    for (url, settings) in [
        (&url, &[unknown][..]),
        (&url, &[unknown, tls("verify-ca")][..]),
        (&url, &[tls("verify-full")][..]),
        // The certificate is for the address.
        (&by_name, &[believed][..]),
    ] {
        let refused = migrate(folder.path(), url, settings);
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{settings:?}: {said}");
        assert!(said.contains("certificate"), "{settings:?}: {said}");
    }
    let idle = migrate(folder.path(), &url, &[believed, tls("require")]);
    let said = stderr(&idle);
    assert!(said.contains("DERMAGA_DATABASE_CA_FILE needs"), "{said}");
    for (url, settings) in [
        (&url, &[believed][..]),
        (&url, &[believed, tls("verify-full")][..]),
        (&by_name, &[believed, tls("verify-ca")][..]),
    ] {
        let done = migrate(folder.path(), url, settings);
        assert!(done.status.success(), "{settings:?}: {}", stderr(&done));
        assert!(is_encrypted(url, settings).await, "{settings:?}");
    }
    let verifying = format!("{url}?sslmode=verify-full&sslrootcert={known}");
    assert!(is_encrypted(&verifying, &[]).await);
    assert!(is_encrypted(&url, &[]).await, "it is offered");
    assert!(!is_encrypted(&url, &[tls("disable")]).await);
}
