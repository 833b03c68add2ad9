//! Backups of PostgreSQL, which has tools of its own for its part.

use std::{path::Path, process::Command};

use dermaga_shop::{db::Db, text::without_password};

use super::super::{CliError, shell::quoted};
use crate::config::Config;

/// File of the dump in the folder of the backup.
const DUMP: &str = "dermaga.dump";

/// Returns the commands that complete a backup and restore it.
pub(super) async fn instructions(
    config: &Config,
    db: &Db,
    folder: &Path,
) -> Result<String, CliError> {
    let version = db
        .server_version()
        .await
        .map_err(dermaga_shop::Error::from)?;
    let url = quoted(&without_password(&config.database_url()));
    let dump = quoted(&folder.join(DUMP).display().to_string());
    Ok(format!(
        "\nThe database is not in it yet. Run this now, with the password in PGPASSWORD or ~/.pgpass:\n  \
         pg_dump --format=custom --no-owner --no-privileges --file={dump} --dbname={url}\n{}\n",
        tool(version.unwrap_or_default())
    ))
}

/// Returns the commands that put a dump into an empty database.
pub(super) fn restoring(folder: &Path) -> String {
    let dump = quoted(&folder.join(DUMP).display().to_string());
    let folder = quoted(&folder.display().to_string());
    format!(
        "\nThe database is restored by PostgreSQL's own tools, into an empty one of the server's user (here shop):\n  \
         createdb --host HOST --username postgres --owner shop NAME\n  \
         pg_restore --host HOST --username shop --no-owner --no-privileges --exit-on-error --dbname=NAME {dump}\n\
         Then compare it with the backup, before a server is started on it:\n  \
         DATABASE_URL=postgres://shop:PASSWORD@HOST/NAME dermaga restore {folder} --check\n"
    )
}

/// Returns a sentence about the tool: one that is older than its server refuses to dump it.
fn tool(server: i64) -> String {
    let output = Command::new("pg_dump").arg("--version").output();
    let said = output.ok().map(|output| output.stdout);
    let said = said.map(|said| String::from_utf8_lossy(&said).into_owned());
    match said.as_deref().and_then(major) {
        None => format!(
            "pg_dump is not here: install the client tools of PostgreSQL {server}, or run it where they are."
        ),
        Some(found) if found < server => format!(
            "The pg_dump here is of PostgreSQL {found} and would refuse a server of {server}: install its client tools."
        ),
        Some(found) => format!(
            "The pg_dump here is of PostgreSQL {found}, good for the server, which is {server}."
        ),
    }
}

/// Reads the major version in `pg_dump (PostgreSQL) 15.6 (Debian 15.6-1)`.
fn major(said: &str) -> Option<i64> {
    let mut words = said.split_ascii_whitespace();
    let version = words.find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()))?;
    let mut digits = version.split(|letter: char| !letter.is_ascii_digit());
    digits.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_the_tool_is_read() {
        assert_eq!(
            major("pg_dump (PostgreSQL) 15.6 (Debian 15.6-1)\n"),
            Some(15)
        );
        assert_eq!(major("pg_dump (PostgreSQL) 19devel\n"), Some(19));
        assert_eq!(major("no such tool"), None);
    }
}
