//! The write-ahead log beside a SQLite file, and the file that it belongs to.
//!
//! SQLite replays a log into any database that lies beside it. A log left beside a restored
//! database would corrupt it without an error. So every commit changes a mark, which names its
//! value before and after. The file that a log continues has one of the values that the log
//! mentions; any other file is not that log's.

use std::{
    fs::File,
    io::{self, BufReader, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

const PREFIX: &[u8] = b"dermaga-wal:";
/// Number of hexadecimal digits of a value.
const DIGITS: usize = 32;
/// Statement that changes the mark: prefix, value before, colon, value after.
macro_rules! change {
    () => {
        "UPDATE wal_mark SET mark = 'dermaga-wal:' || substr(mark, 46) || ':' || lower(hex(randomblob(16)))"
    };
}
/// Begins a transaction that changes the mark.
pub(super) const BEGIN: &str = concat!("BEGIN IMMEDIATE; ", change!());
const READ: &str = "SELECT substr(mark, 46) FROM wal_mark";

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// Number of comparisons, since another process may be writing into file and log meanwhile.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Two random numbers that SQLite changes with every beginning of the log.
type Salts = [u8; 8];

/// The file that a log continues was replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} was left by another database than {}, and SQLite would tear this one with it. Stop every program that uses \
     the database, move {} and the -shm file beside it away, and start again",
    log.display(), database.display(), log.display()
)]
pub struct ForeignLog {
    database: PathBuf,
    log: PathBuf,
}

/// Checks if the log beside a database file was written for another one. Without a mark in either
/// of them that is unknown, and the log is trusted, as SQLite does.
///
/// # Errors
/// When the log belongs to another file.
pub(super) async fn check(database: &Path) -> Result<(), ForeignLog> {
    for _ in 0..TRIES {
        if belongs(database).await {
            return Ok(());
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
    Err(ForeignLog {
        database: database.to_owned(),
        log: log_of(database),
    })
}

async fn belongs(database: &Path) -> bool {
    let Ok(mentioned) = mentioned(&log_of(database)) else {
        return true;
    };
    if mentioned.is_empty() {
        return true;
    }
    let value = value_in(database).await;
    value.is_none_or(|value| mentioned.contains(&value))
}

fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Reads the value in the file itself, without its log.
async fn value_in(database: &Path) -> Option<String> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .read_only(true)
        .immutable(true);
    let mut conn: SqliteConnection = options.connect().await.ok()?;
    let value: Option<(String,)> = sqlx::query_as(READ).fetch_optional(&mut conn).await.ok()?;
    conn.close().await.ok()?;
    value.map(|(value,)| value)
}

/// Reads all values in the valid frames of a log.
fn mentioned(log: &Path) -> io::Result<Vec<String>> {
    let mut reader = BufReader::new(File::open(log)?);
    let mut header = [0; HEADER_BYTES];
    reader.read_exact(&mut header)?;
    let salts = salts_at::<16>(&header);
    let page_size = u32_at(&header, 8).unwrap_or_default();
    let mut page = vec![0; usize::try_from(page_size).unwrap_or_default()];
    let mut values = Vec::new();
    let mut frame = [0; FRAME_HEADER_BYTES];
    // Frames behind the last one of this log belong to earlier logs and have other salts.
    while salts.is_some()
        && reader.read_exact(&mut frame).is_ok()
        && salts_at::<8>(&frame) == salts
        && reader.read_exact(&mut page).is_ok()
    {
        values.extend(values_of(&page));
    }
    Ok(values)
}

fn values_of(page: &[u8]) -> Vec<String> {
    let length = PREFIX.len() + DIGITS + 1 + DIGITS;
    let marks = page
        .windows(length)
        .filter(|window| window.starts_with(PREFIX));
    marks
        .filter_map(|mark| std::str::from_utf8(mark.get(PREFIX.len()..)?).ok())
        .flat_map(|values| values.split(':'))
        .filter(|value| value.len() == DIGITS)
        .map(str::to_owned)
        .collect()
}

fn salts_at<const START: usize>(bytes: &[u8]) -> Option<Salts> {
    bytes.get(START..START + 8)?.try_into().ok()
}

fn u32_at(bytes: &[u8], start: usize) -> Option<u32> {
    let four = bytes.get(start..start + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(four))
}

/// Changes the mark in a transaction that has begun.
pub(super) async fn change_mark(conn: &mut SqliteConnection) -> sqlx::Result<()> {
    sqlx::query(change!()).execute(conn).await?;
    Ok(())
}

/// Returns `false` before the migration that makes the mark.
pub(super) async fn has_mark(conn: &mut SqliteConnection) -> sqlx::Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'wal_mark'";
    let count: i64 = sqlx::query_scalar(sql).fetch_one(conn).await?;
    Ok(count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(before: &str, after: &str) -> Vec<u8> {
        [PREFIX, before.as_bytes(), b":", after.as_bytes()].concat()
    }

    #[test]
    fn both_values_of_every_mark_of_a_page_are_found() {
        let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(DIGITS));
        let page = [
            b"\0\xff free space \0".as_slice(),
            &mark(&a, &b),
            b"between",
            &mark(&b, &c),
        ]
        .concat();
        assert_eq!(values_of(&page), [a, b.clone(), b, c]);
    }

    /// A page ends where it ends; pieces of marks are left in it by rows that were moved.
    #[test]
    fn pieces_of_a_mark_are_none() {
        let whole = mark(&"a".repeat(DIGITS), &"b".repeat(DIGITS));
        for piece in [&[][..], PREFIX, &whole[..whole.len() - 1], &whole[1..]] {
            assert!(values_of(piece).is_empty());
        }
        let mut torn = whole;
        torn[PREFIX.len()] = 0xff;
        assert!(values_of(&torn).is_empty(), "what is no text is no value");
    }

    #[test]
    fn numbers_beyond_the_end_are_none() {
        assert_eq!(u32_at(&[0, 0, 16, 0], 0), Some(4_096));
        assert_eq!(u32_at(&[9, 0, 0, 16, 0], 1), Some(4_096));
        assert_eq!(u32_at(&[0, 0, 16], 0), None);
        assert_eq!(u32_at(&[0, 0, 16, 0], 1), None);
    }
}
