//! Lock beside a SQLite file that separates running servers from programs that need it at rest.
//!
//! SQLite's own locks are held for a transaction only. This one is held for as long as a server
//! lives, and the system releases it when the process ends, however it ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use sqlx::sqlite::SqliteConnectOptions;

use super::is_in_memory;

/// A SQLite file that is held until this is dropped.
#[derive(Debug)]
pub struct Held {
    _lock: File,
}

/// Reason why a SQLite file is not held.
#[derive(Debug, thiserror::Error)]
pub enum NotHeld {
    #[error("another program holds the database")]
    Taken,
    #[error(transparent)]
    Io(io::Error),
}

impl Held {
    /// Holds a file for a server, beside other servers; `None` for a database that is no file.
    ///
    /// # Errors
    /// `Taken` while a program needs the file at rest, and when the lock cannot be made.
    pub fn by_server(url: &str) -> Result<Option<Self>, NotHeld> {
        file_of(url)
            .map(|path| Self::locked(&path, File::try_lock_shared))
            .transpose()
    }

    /// Holds a file that no server may use meanwhile; `None` for a database that is no file.
    ///
    /// # Errors
    /// `Taken` while a server uses the file, and when the lock cannot be made.
    pub fn at_rest(url: &str) -> Result<Option<Self>, NotHeld> {
        file_of(url)
            .map(|path| Self::locked(&path, File::try_lock))
            .transpose()
    }

    fn locked(
        database: &Path,
        lock: impl FnOnce(&File) -> Result<(), TryLockError>,
    ) -> Result<Self, NotHeld> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let path = database.with_added_extension("lock");
        let file = options.open(path).map_err(NotHeld::Io)?;
        match lock(&file) {
            Ok(()) => Ok(Self { _lock: file }),
            Err(TryLockError::WouldBlock) => Err(NotHeld::Taken),
            Err(TryLockError::Error(error)) => Err(NotHeld::Io(error)),
        }
    }
}

/// Returns the file of a SQLite URL; `None` for PostgreSQL, a database in memory, and no URL.
pub fn file_of(url: &str) -> Option<PathBuf> {
    if !url.starts_with("sqlite:") {
        return None;
    }
    let options = SqliteConnectOptions::from_str(url).ok()?;
    let path = options.get_filename();
    (!is_in_memory(path)).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_share_a_file_that_is_at_rest_without_them() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("shop.db").display());
        let first = Held::by_server(&url).unwrap();
        let second = Held::by_server(&url).unwrap();
        assert!(first.is_some() && second.is_some());
        assert!(matches!(Held::at_rest(&url), Err(NotHeld::Taken)));
        drop((first, second));
        let rest = Held::at_rest(&url).unwrap();
        assert!(rest.is_some());
        assert!(matches!(Held::by_server(&url), Err(NotHeld::Taken)));
    }

    #[test]
    fn only_files_are_held() {
        assert_eq!(file_of("postgres://shop@localhost/shop"), None);
        assert_eq!(file_of("sqlite::memory:"), None);
        let path = Path::new("data/dermaga.db").to_owned();
        assert_eq!(file_of("sqlite://data/dermaga.db"), Some(path));
    }
}
