//! Reasons why a server does not start, in sentences that say what to do.

#[cfg(test)]
mod answer;
mod database;

use std::{io, net::SocketAddr, path::PathBuf};

use dermaga_runtime::RuntimeError;
use dermaga_shop::{
    Error,
    cluster::ClusterError,
    db::{self, Ambient, ForeignLog},
    text::counted,
};
use dermaga_toolkit::build::BuildError;
use sqlx::{error::BoxDynError, migrate::MigrateError};

pub use self::database::database_reason;
use crate::config::KeysError;

/// Reason why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot write in the data folder {}: {source}. Give another with DERMAGA_DATA_DIR", path.display())]
    DataDir { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("{}. Check that it runs, and DATABASE_URL", silent(engine))]
    DatabaseSilent { engine: &'static str },
    #[error("{}. Check {}", unusable(engine, source), place(engine))]
    Database {
        engine: &'static str,
        source: sqlx::Error,
    },
    #[error(
        "another program has locked the database. Close it, or wait until it is done, and start again"
    )]
    DatabaseLocked,
    #[error(
        "`dermaga migrate --from` is copying the database. Wait until it is done, and start again"
    )]
    BeingCopied,
    #[error(
        "cannot open {}, which keeps the database from being copied while it is in use: {source}. Give it to the user \
         that the server runs as", path.display()
    )]
    NotHeld { path: PathBuf, source: io::Error },
    #[error(
        "a restore into the data folder was interrupted: {} is there. Empty the folder, and run `dermaga restore` again",
        mark.display()
    )]
    PartRestored { mark: PathBuf },
    #[error(
        "the database has a part of a shop only: run `dermaga migrate --from` again, which continues"
    )]
    HalfFilled,
    #[error(transparent)]
    ForeignLog(#[from] ForeignLog),
    #[error(transparent)]
    Ambient(#[from] Ambient),
    #[error(
        "the database was made by a newer Dermaga (it has migration {version}, which this one does not work with). Start that version or restore a backup"
    )]
    DatabaseNewer { version: i64 },
    #[error("the database's schema cannot be brought up to date: {0}")]
    Migration(MigrateError),
    #[error(
        "the {engine} database is empty: run `dermaga migrate` first, which makes its tables, or check {}",
        place(engine)
    )]
    DatabaseEmpty { engine: &'static str },
    #[error("the database's schema is not up to date: run `dermaga migrate` first")]
    NotMigrated,
    #[error("{setting} names {}, which is not a folder", path.display())]
    NoFolder {
        setting: &'static str,
        path: PathBuf,
    },
    #[error("the plugins cannot be built: {0}")]
    Build(#[from] BuildError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(
        "Kubernetes cannot be used: {0}. Give KUBECONFIG, or set DERMAGA_PROVISIONER to directory"
    )]
    Cluster(#[from] ClusterError),
    #[error(
        "the port of {address} is in use; stop the other program or set DERMAGA_LISTEN (port 0 picks a free one)"
    )]
    PortInUse { address: SocketAddr },
    #[error("cannot listen on {address}: {source}. Set DERMAGA_LISTEN")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(
        "the master key is another than the one that sealed the {} of instances in the database. Give that one in \
         DERMAGA_MASTER_KEY, alone or after a new one, or as master.key in the data folder",
        counted(secrets, "secret")
    )]
    MasterKey { secrets: usize },
    #[error(
        "the key file {} is missing, whose key sealed {} of instances in the database. Restore it from a backup, or \
         give its key in DERMAGA_MASTER_KEY", path.display(), counted(secrets, "secret")
    )]
    NoMasterKey { secrets: usize, path: PathBuf },
    #[error("{doing}: {}", error.message)]
    Failed {
        doing: &'static str,
        #[source]
        error: Error,
    },
}

impl StartError {
    pub(super) fn database(engine: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| {
            // The words of the driver are for those who look for them: people get plain ones.
            tracing::debug!(cause = ?source, "database.unusable");
            match source {
                sqlx::Error::PoolTimedOut => Self::DatabaseSilent { engine },
                source if db::is_passing(&source) => Self::passing(engine, source),
                sqlx::Error::Configuration(cause) => Self::configuration(engine, cause),
                source => Self::Database { engine, source },
            }
        }
    }

    fn configuration(engine: &'static str, cause: BoxDynError) -> Self {
        let cause = match cause.downcast::<ForeignLog>() {
            Ok(foreign) => return Self::ForeignLog(*foreign),
            Err(cause) => cause,
        };
        match cause.downcast::<Ambient>() {
            Ok(ambient) => Self::Ambient(*ambient),
            Err(cause) => Self::Database {
                engine,
                source: sqlx::Error::Configuration(cause),
            },
        }
    }

    /// Returns the failure of a database without advice, for those who have their own; all else as it is shown.
    pub fn without_advice(&self) -> String {
        match self {
            Self::DatabaseSilent { engine } => silent(engine),
            Self::Database { engine, source } => unusable(engine, source),
            Self::Keys(error) => error.without_advice(),
            other => other.to_string(),
        }
    }

    pub(super) fn passing(engine: &'static str, source: sqlx::Error) -> Self {
        match engine {
            "sqlite" => Self::DatabaseLocked,
            _ => Self::Database { engine, source },
        }
    }

    pub(super) fn listen(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortInUse { address },
            _ => Self::Listen { address, source },
        }
    }

    pub(super) fn failed(doing: &'static str) -> impl FnOnce(Error) -> Self {
        move |error| {
            tracing::error!(cause = ?error.source, "start.failed");
            Self::Failed { doing, error }
        }
    }
}

fn silent(engine: &str) -> String {
    format!("the {engine} database does not answer")
}

fn unusable(engine: &str, source: &sqlx::Error) -> String {
    let reason = database_reason(engine, source);
    format!("the {engine} database cannot be used: {reason}")
}

/// Returns the place of a database, for advice.
fn place(engine: &str) -> &'static str {
    match engine {
        "sqlite" => "its file: dermaga.db in the data folder, where DATABASE_URL names no other",
        _ => "DATABASE_URL",
    }
}

#[cfg(test)]
mod tests {
    use super::{answer::answer, *};

    #[test]
    fn a_refusal_of_a_database_has_no_line_of_its_source() {
        let refused = || answer("", "database \"nosuch\" does not exist");
        let told = "database cannot be used: database \"nosuch\" does not exist. Check";
        let of_server = StartError::database("postgres")(refused());
        assert_eq!(
            of_server.to_string(),
            format!("the postgres {told} DATABASE_URL")
        );
        let of_file = StartError::database("sqlite")(refused()).to_string();
        assert!(
            of_file.starts_with(&format!("the sqlite {told} its file: ")),
            "{of_file}"
        );
    }

    #[test]
    fn a_database_is_named_once_and_advice_can_be_left_to_others() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = StartError::database("postgres")(sqlx::Error::Io(refused));
        let told = "the postgres database cannot be used: its address refuses connections";
        assert_eq!(error.without_advice(), told);
        assert_eq!(error.to_string(), format!("{told}. Check DATABASE_URL"));
        let error = StartError::database("postgres")(sqlx::Error::PoolTimedOut);
        let told = "the postgres database does not answer";
        assert_eq!(error.without_advice(), told);
        assert_eq!(
            error.to_string(),
            format!("{told}. Check that it runs, and DATABASE_URL")
        );
        assert_eq!(
            StartError::NotMigrated.without_advice(),
            StartError::NotMigrated.to_string()
        );
    }
}
