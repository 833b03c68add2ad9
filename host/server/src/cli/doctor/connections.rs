//! Advice about a database that cannot be used, and checks of the bounds that are set for connections to PostgreSQL.

use std::{io::ErrorKind, time::Duration};

use dermaga_shop::{
    db::{Db, file_of},
    tls,
};

use super::report::{Finding, Part};
use crate::{app::StartError, config::Config};

/// Time for which a server that is frozen may lock a row: PostgreSQL ends its transaction then.
const LOCKED: Duration = Duration::from_secs(60);
/// Advice for a server that may not run.
const RUNS: &str = "Check that it runs, and DATABASE_URL.";
const HOST: &str = "Check the host and the port in DATABASE_URL, and the network to it.";
const NAME: &str = "Make the database, or correct its name in DATABASE_URL.";
const USER: &str = "Check the user and the password in DATABASE_URL, DERMAGA_DATABASE_TLS, and whom its server lets in (pg_hba.conf).";
const TLS: &str = "Check that its server offers TLS with a certificate that is trusted, DERMAGA_DATABASE_TLS (or `sslmode` in DATABASE_URL) and DERMAGA_DATABASE_CA_FILE.";

/// Returns advice for a database that cannot be opened.
pub(super) fn unopened(config: &Config, error: &StartError) -> &'static str {
    match error {
        StartError::Database { source, .. } => unusable(config, Some(source)),
        _ => unusable(config, None),
    }
}

/// Returns advice for a database that cannot be used. A file does not run, and may have no setting.
pub(super) fn unusable(config: &Config, cause: Option<&sqlx::Error>) -> &'static str {
    match (file_of(&config.database_url()), &config.database_url) {
        (None, _) => cause.map_or(RUNS, of_server),
        (Some(_), Some(_)) => "Check the file that DATABASE_URL names, and its rights.",
        (Some(_), None) => "Check dermaga.db in the data folder, and its rights.",
    }
}

/// Returns advice for PostgreSQL. A server that answers runs.
fn of_server(cause: &sqlx::Error) -> &'static str {
    if tls::refusal(cause).is_some() {
        return TLS;
    }
    match cause {
        sqlx::Error::Tls(_) => TLS,
        sqlx::Error::Database(answer) => match &*answer.code().unwrap_or_default() {
            "3D000" => NAME,
            "28P01" | "28000" => USER,
            _ => RUNS,
        },
        sqlx::Error::Io(cause) => match cause.kind() {
            ErrorKind::ConnectionRefused
            | ErrorKind::TimedOut
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::NotFound
            | ErrorKind::PermissionDenied => RUNS,
            // The kind of a name that is not found has no name.
            _ => HOST,
        },
        _ => RUNS,
    }
}

/// Warns of bounds that PostgreSQL cannot keep, or that end what should wait.
pub(super) async fn bounds(config: &Config, db: &Db) -> Vec<Finding> {
    if file_of(&config.database_url()).is_some() {
        return Vec::new();
    }
    let settings = &config.database;
    // A database that is away is a finding of its own.
    let room = db.room_for_connections().await.ok().flatten();
    let crowded = room.and_then(|room| too_many(settings.connections, room));
    crowded
        .into_iter()
        .chain(too_short(settings.statement))
        .collect()
}

/// Warns of more connections than PostgreSQL has room for.
fn too_many(connections: u32, room: i64) -> Option<Finding> {
    (i64::from(connections) > room).then(|| {
        Part::Database.warning(
            format!("DERMAGA_DATABASE_CONNECTIONS is {connections}, and PostgreSQL has room for {room} of all servers and programs"),
            "Lower it, or raise `max_connections` of PostgreSQL: the connections of all servers together stay below that.",
        )
    })
}

/// Warns of a limit of statements that ends those that wait for a frozen server.
fn too_short(statement: Duration) -> Option<Finding> {
    (statement <= LOCKED).then(|| {
        Part::Database.warning(
            format!("DERMAGA_DATABASE_STATEMENT_TIMEOUT is {statement:?}: a frozen server may lock a row for a minute, and statements that wait for it end before"),
            "Set it above 1m.",
        )
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn advice_fits_the_failure() {
        let of = |kind: ErrorKind| sqlx::Error::Io(kind.into());
        let looked_up = io::Error::other("failed to lookup address information");
        let untrusted = rustls::CertificateError::UnknownIssuer;
        let untrusted = rustls::Error::InvalidCertificate(untrusted);
        let untrusted = io::Error::new(ErrorKind::InvalidData, untrusted);
        for (error, expected) in [
            (sqlx::Error::Tls("not offered".into()), TLS),
            (sqlx::Error::Io(untrusted), TLS),
            (sqlx::Error::Io(looked_up), HOST),
            (of(ErrorKind::HostUnreachable), HOST),
            (of(ErrorKind::ConnectionRefused), RUNS),
            (sqlx::Error::PoolTimedOut, RUNS),
        ] {
            assert_eq!(of_server(&error), expected, "{error:?}");
        }
    }

    #[test]
    fn bounds_that_hold_are_not_mentioned() {
        assert_eq!(too_many(97, 97), None);
        assert!(too_many(98, 97).is_some());
        assert_eq!(too_short(Duration::from_secs(61)), None);
        assert!(too_short(Duration::from_secs(60)).is_some());
    }
}
