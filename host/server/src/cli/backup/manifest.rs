//! The list of what is in a backup, and of what its books said.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use dermaga_shop::{private_file, wallet::ledger::heads::Head};
use serde::{Deserialize, Serialize};

use super::{
    super::CliError,
    files::{Stored, cannot, copied, private_folder, sync_folder, sync_folders},
};

/// Layout of a backup, which a later version may change.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
/// Heads of all chains, a line each.
pub(super) const HEADS: &str = "heads.txt";
/// The database in it, on SQLite.
pub(super) const DATABASE: &str = "data/dermaga.db";

/// Contents of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) format: u32,
    /// Version of the program that made it.
    pub(super) dermaga: String,
    /// Engine of the database.
    pub(super) engine: String,
    /// Last migration of the database.
    pub(super) migration: i64,
    #[serde(serialize_with = "dermaga_shop::calendar::in_json")]
    pub(super) made_at: DateTime<Utc>,
    pub(super) wallets: u64,
    pub(super) entries: u64,
    /// Digest over the heads of all chains, as `ledger verify` prints it.
    pub(super) heads: String,
    /// Digest of the newest seal.
    pub(super) seal: Option<String>,
    pub(super) files: Vec<Stored>,
}

/// A backup that is being written, under a name of its own until it is whole.
#[derive(Debug)]
pub(super) struct Draft {
    folder: PathBuf,
    target: PathBuf,
    files: Vec<Stored>,
}

impl Draft {
    /// Makes the folder.
    pub(super) fn begin(target: &Path) -> Result<Self, CliError> {
        let folder = target.with_added_extension("partial");
        for path in [target, &folder] {
            if path.exists() {
                let message = format!("{} is there already", path.display());
                return Err(CliError::Failed(message));
            }
        }
        private_folder(&folder).map_err(cannot(&folder))?;
        Ok(Self {
            folder,
            target: target.to_owned(),
            files: Vec::new(),
        })
    }

    /// Returns the path of a file.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes an empty private file, with the folders above it, for a program that will fill it.
    pub(super) fn make(&self, name: &str) -> Result<PathBuf, CliError> {
        let path = self.path(name);
        let parent = path.parent().unwrap_or(&self.folder);
        private_folder(parent).map_err(cannot(parent))?;
        private_file::create_new(&path).map_err(cannot(&path))?;
        Ok(path)
    }

    /// Takes a file that was made, and filled, into the list.
    pub(super) fn add(&mut self, name: &str) -> Result<(), CliError> {
        let path = self.path(name);
        let stored = File::open(&path)
            .and_then(|file| file.sync_all())
            .and_then(|()| Stored::of(name, &path));
        self.files.push(stored.map_err(cannot(&path))?);
        Ok(())
    }

    /// Writes a file.
    pub(super) fn put(&mut self, name: &str, mut content: &[u8]) -> Result<(), CliError> {
        let path = self.make(name)?;
        let stored = private_file::create(&path).and_then(|file| {
            let stored = copied(name, &mut content, &file)?;
            file.sync_all()?;
            Ok(stored)
        });
        self.files.push(stored.map_err(cannot(&path))?);
        Ok(())
    }

    /// Returns the number of files so far that a restore brings back.
    pub(super) fn to_restore(&self) -> usize {
        let in_data = self.files.iter().filter_map(Stored::in_data);
        in_data.count()
    }

    /// Writes the list, makes everything durable, and shows the backup under its name.
    pub(super) fn finish(mut self, mut manifest: Manifest) -> Result<(), CliError> {
        manifest.format = FORMAT;
        manifest.files = std::mem::take(&mut self.files);
        let text = serde_json::to_vec_pretty(&manifest).map_err(dermaga_shop::Error::from)?;
        self.put(MANIFEST, &text)?;
        sync_folders(&self.folder).map_err(cannot(&self.folder))?;
        fs::rename(&self.folder, &self.target).map_err(cannot(&self.target))?;
        let parent = self.target.parent().unwrap_or(Path::new("."));
        sync_folder(parent).map_err(cannot(parent))
    }

    /// Removes what was written.
    pub(super) fn discard(self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            let path = self.folder.display();
            tracing::warn!(%path, %error, "backup.rest_not_removed");
        }
    }
}

/// A backup that is read.
#[derive(Debug)]
pub(super) struct Backup {
    folder: PathBuf,
    pub(super) manifest: Manifest,
}

impl Backup {
    /// Reads the list, and compares every file with it.
    pub(super) fn open(folder: &Path) -> Result<Self, CliError> {
        let path = folder.join(MANIFEST);
        let text = fs::read(&path).map_err(cannot(&path))?;
        let unusable = |why: String| CliError::Failed(format!("{}: {why}", path.display()));
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| unusable(format!("is no list of a backup: {error}")))?;
        if manifest.format != FORMAT {
            let message = format!("has the layout {}, unknown here", manifest.format);
            return Err(unusable(message));
        }
        let backup = Self {
            folder: folder.to_owned(),
            manifest,
        };
        for stored in &backup.manifest.files {
            let path = backup.path(stored)?;
            let found = Stored::of(&stored.name, &path).map_err(cannot(&path))?;
            if found != *stored {
                return Err(damaged(&path));
            }
        }
        Ok(backup)
    }

    fn path(&self, stored: &Stored) -> Result<PathBuf, CliError> {
        stored
            .below(&self.folder)
            .ok_or_else(|| CliError::Failed(format!("{} leads out of the backup", stored.name)))
    }

    /// Copies a file to a new private one, which has another name until it is whole.
    pub(super) fn copy(&self, stored: &Stored, to: &Path) -> Result<(), CliError> {
        let path = self.path(stored)?;
        let parent = to.parent().unwrap_or(to);
        private_folder(parent).map_err(cannot(parent))?;
        let draft = to.with_added_extension("partial");
        let copy = || -> io::Result<Stored> {
            let mut file = private_file::create_new(&draft)?;
            let found = copied(&stored.name, &mut File::open(&path)?, &mut file)?;
            file.flush()?;
            file.sync_all()?;
            Ok(found)
        };
        if copy().map_err(cannot(to))? != *stored {
            return Err(damaged(&path));
        }
        fs::rename(&draft, to).map_err(cannot(to))
    }

    /// Returns the heads of all chains as they were.
    pub(super) fn heads(
        &self,
    ) -> Result<impl Iterator<Item = Result<Head, CliError>> + use<>, CliError> {
        let path = self.folder.join(HEADS);
        let file = File::open(&path).map_err(cannot(&path))?;
        let lines = BufReader::new(file).lines();
        Ok(lines.map(move |line| -> Result<Head, CliError> {
            let line = line.map_err(cannot(&path))?;
            line.parse::<Head>()
                .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))
        }))
    }
}

fn damaged(path: &Path) -> CliError {
    let message = "is damaged: it is not the file that was backed up";
    CliError::Check(format!("{} {message}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: 0,
            dermaga: "0.1.0".to_owned(),
            engine: "sqlite".to_owned(),
            migration: 1,
            made_at: DateTime::UNIX_EPOCH,
            wallets: 0,
            entries: 0,
            heads: String::new(),
            seal: None,
            files: Vec::new(),
        }
    }

    #[test]
    fn a_changed_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("backup");
        let mut draft = Draft::begin(&target).unwrap();
        draft.put("data/a", b"content").unwrap();
        draft.finish(manifest()).unwrap();
        assert!(Draft::begin(&target).is_err(), "nothing is overwritten");
        let backup = Backup::open(&target).unwrap();
        assert_eq!(backup.manifest.files.len(), 1);
        let to = folder.path().join("restored/a");
        backup.copy(&backup.manifest.files[0], &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"content");
        fs::write(target.join("data/a"), "contenT").unwrap();
        let error = Backup::open(&target).unwrap_err();
        assert!(error.to_string().contains("is damaged"), "{error}");
    }

    #[test]
    fn a_backup_that_failed_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut draft = Draft::begin(&folder.path().join("backup")).unwrap();
        draft.put("data/a", b"content").unwrap();
        draft.discard();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
