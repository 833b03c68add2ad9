//! Reasons why a database cannot be used, in plain words and without those of its driver.

use std::io::{self, ErrorKind};

use dermaga_shop::tls;
use sqlx::error::DatabaseError;

const FILES: &str = "sqlite";
const ENDED: &str = "the connection to it ended";
const SILENT: &str = "it does not answer in time";

/// Returns the reason of a failure; it completes "the database cannot be used: ...".
pub fn database_reason(engine: &str, error: &sqlx::Error) -> String {
    if let Some(refused) = tls::refusal(error) {
        return of_tls(refused).to_owned();
    }
    let reason = match error {
        // Sentences of this program about an address.
        sqlx::Error::Configuration(cause) => return cause.to_string(),
        sqlx::Error::Database(cause) => return of_answer(engine, &**cause),
        sqlx::Error::Io(cause) if engine == FILES => of_file(cause),
        sqlx::Error::Io(cause) => of_connection(cause),
        sqlx::Error::Tls(_) => {
            "no encrypted connection (TLS) can be made, which its server may not offer"
        }
        sqlx::Error::PoolTimedOut => SILENT,
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => ENDED,
        _ => "its answers are not understood",
    };
    reason.to_owned()
}

fn of_tls(refused: &rustls::Error) -> &'static str {
    match (tls::plain(refused), refused) {
        (Some(reason), _) => reason,
        (None, rustls::Error::InvalidCertificate(_)) => "the certificate is refused",
        (None, _) => "no encrypted connection (TLS) can be made",
    }
}

fn of_connection(cause: &io::Error) -> &'static str {
    match cause.kind() {
        ErrorKind::ConnectionRefused => "its address refuses connections",
        ErrorKind::TimedOut => SILENT,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => ENDED,
        ErrorKind::NotFound => "its socket, or a file of a certificate, is not there",
        ErrorKind::PermissionDenied => "this user may not connect to it",
        // The kind of a name that is not found has no name.
        _ => "its host is not known or cannot be reached",
    }
}

fn of_file(cause: &io::Error) -> &'static str {
    match cause.kind() {
        ErrorKind::NotFound => "the folder of its file is not there",
        ErrorKind::PermissionDenied => "this user may not open its file",
        ErrorKind::NotADirectory => "a part of its path is no folder",
        ErrorKind::IsADirectory => "its file is a folder",
        ErrorKind::ReadOnlyFilesystem => "its disk is only for reading",
        ErrorKind::StorageFull => "its disk is full",
        _ => "its file cannot be opened",
    }
}

/// Returns the reason that an engine answered; one without words here has the engine's own message.
fn of_answer(engine: &str, cause: &dyn DatabaseError) -> String {
    let code = cause.code().unwrap_or_default();
    let known = if engine == FILES {
        of_sqlite(&code)
    } else {
        of_postgres(&code)
    };
    // As a whole, one of PostgreSQL ends with a line of its own source.
    known.unwrap_or_else(|| cause.message()).to_owned()
}

/// Returns words for an extended code of SQLite, whose low byte is the primary one.
fn of_sqlite(code: &str) -> Option<&'static str> {
    let code = code.parse::<u32>().ok()?;
    Some(match code & 0xff {
        3 | 23 => "this user may not open its file",
        5 | 6 => "another program has locked it",
        8 => "its file is only for reading",
        10 => "its file cannot be read or written",
        11 => "its file is damaged",
        13 => "its disk is full",
        14 => "its file cannot be opened",
        26 => "its file is no database",
        _ => return None,
    })
}

/// Returns words for a code of PostgreSQL.
fn of_postgres(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" => "its server refuses the user or the password",
        "28000" => "its server does not let this user in from here",
        "3D000" => "its server has none of this name",
        "42501" => "this user lacks a right in it",
        "25006" => "it is only for reading, as a standby is",
        "53300" => "its server has no connection left",
        "57P01" | "57P02" | "57P03" => "its server is starting or stopping",
        "57014" => "a statement took longer than it may",
        _ if code.starts_with("53") => "its server is short of memory or room",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;
    use crate::app::start_error::answer;

    const MESSAGE: &str = "words of an engine";

    fn answer(code: &'static str) -> sqlx::Error {
        answer::answer(code, MESSAGE)
    }

    fn certificate(reason: CertificateError) -> sqlx::Error {
        let refused = rustls::Error::InvalidCertificate(reason);
        sqlx::Error::Io(io::Error::new(ErrorKind::InvalidData, refused))
    }

    #[test]
    fn a_server_that_is_not_used_has_a_plain_reason() {
        let of = |kind: ErrorKind| sqlx::Error::Io(kind.into());
        let looked_up = io::Error::other("failed to lookup address information");
        for (error, expected) in [
            (of(ErrorKind::ConnectionRefused), "refuses connections"),
            (of(ErrorKind::HostUnreachable), "cannot be reached"),
            (sqlx::Error::Io(looked_up), "is not known"),
            (of(ErrorKind::UnexpectedEof), ENDED),
            (sqlx::Error::PoolTimedOut, "does not answer"),
            (sqlx::Error::PoolClosed, ENDED),
            (answer("28P01"), "password"),
            (answer("28000"), "let this user in"),
            (answer("3D000"), "none of this name"),
            (answer("53300"), "no connection left"),
            (answer("53200"), "short of memory"),
            (answer("57P03"), "starting or stopping"),
            (certificate(CertificateError::UnknownIssuer), "not trusted"),
            (
                certificate(CertificateError::Revoked),
                "certificate is refused",
            ),
            (sqlx::Error::Tls("driver".into()), "(TLS)"),
            (sqlx::Error::Protocol("driver".to_owned()), "not understood"),
        ] {
            let said = database_reason("postgres", &error);
            assert!(said.contains(expected), "{error:?}: {said}");
            for foreign in [MESSAGE, "driver", "lookup", "communicating", "pool"] {
                assert!(!said.contains(foreign), "{error:?}: {said}");
            }
        }
        assert_eq!(database_reason("postgres", &answer("42P01")), MESSAGE);
    }

    #[test]
    fn a_file_that_is_not_used_has_a_plain_reason() {
        let denied = sqlx::Error::Io(ErrorKind::PermissionDenied.into());
        for (error, expected) in [
            (denied, "this user may not open its file"),
            (answer("26"), "its file is no database"),
            (answer("11"), "its file is damaged"),
            // SQLITE_CANTOPEN_ISDIR and SQLITE_READONLY_DBMOVED
            (answer("526"), "its file cannot be opened"),
            (answer("1032"), "its file is only for reading"),
            (answer("1"), MESSAGE),
        ] {
            assert_eq!(database_reason("sqlite", &error), expected, "{error:?}");
        }
    }
}
