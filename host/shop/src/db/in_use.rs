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
    #[error("the file system has no locks: {0}")]
    NoLocks(io::Error),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
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
        let cannot = |path: &Path, source| {
            let path = path.to_owned();
            NotHeld::Io { path, source }
        };
        let real = without_links(database).map_err(|error| cannot(database, error))?;
        let path = real.with_added_extension("lock");
        let file = options.open(&path).map_err(|error| cannot(&path, error))?;
        match lock(&file) {
            Ok(()) => Ok(Self { _lock: file }),
            Err(TryLockError::WouldBlock) => Err(NotHeld::Taken),
            Err(TryLockError::Error(error)) => Err(NotHeld::NoLocks(error)),
        }
    }
}

/// Returns the one path of a database, which may be missing: all names of it have the same lock.
fn without_links(database: &Path) -> io::Result<PathBuf> {
    match (database.canonicalize(), database.file_name()) {
        (Err(error), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            let parent = database.parent().unwrap_or(Path::new(""));
            // An empty path is the folder that the program was started in.
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            Ok(parent.canonicalize()?.join(name))
        }
        (found, _) => found,
    }
}

/// Returns the SQLite URL of a file, whatever characters its path has.
pub fn url_of(path: &Path) -> String {
    let path = path.display().to_string();
    format!("sqlite://{}", path.replace('%', "%25").replace('?', "%3F"))
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

    #[cfg(unix)]
    #[test]
    fn a_link_has_the_lock_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("shop.db"), folder.path().join("link.db"));
        let first = Held::by_server(&url_of(&path)).unwrap();
        assert!(first.is_some());
        std::fs::write(&path, "").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let taken = Held::at_rest(&url_of(&link));
        assert!(matches!(taken, Err(NotHeld::Taken)));
    }

    #[test]
    fn a_lock_that_cannot_be_opened_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        std::fs::create_dir(folder.path().join("shop.db.lock")).unwrap();
        let error = Held::by_server(&url_of(&path)).unwrap_err();
        assert!(error.to_string().contains("shop.db.lock: "), "{error}");
    }

    #[test]
    fn every_path_has_a_url() {
        for path in ["data/a.db", "/a%20b.db", "/a?mode=memory.db", "/a#b%.db"] {
            let path = Path::new(path);
            assert_eq!(file_of(&url_of(path)).as_deref(), Some(path));
        }
    }

    #[test]
    fn only_files_are_held() {
        assert_eq!(file_of("postgres://shop@localhost/shop"), None);
        assert_eq!(file_of("sqlite::memory:"), None);
        let path = Path::new("data/dermaga.db").to_owned();
        assert_eq!(file_of("sqlite://data/dermaga.db"), Some(path));
    }
}
