//! Files and folders of a backup: private, durable, and known by their digests.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::CliError;

/// Folder of what belongs into the data folder.
pub(super) const DATA: &str = "data";

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// Path in the backup, with slashes.
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Stored {
    /// Returns its path below a folder; `None` for a name that leads out of it.
    pub(super) fn below(&self, folder: &Path) -> Option<PathBuf> {
        let path = Path::new(&self.name);
        let mut parts = path.components();
        let is_inside = parts.all(|part| matches!(part, Component::Normal(_)));
        // After an empty part the rest of the path would begin at the root.
        let is_whole = self.name.split('/').all(|part| !part.is_empty());
        (is_inside && is_whole).then(|| folder.join(path))
    }

    /// Returns its path in the data folder; `None` for what a restore does not bring back.
    pub(super) fn in_data(&self) -> Option<&str> {
        self.name.strip_prefix(DATA)?.strip_prefix('/')
    }

    /// Reads a file and measures it.
    pub(super) fn of(name: &str, path: &Path) -> io::Result<Self> {
        copied(name, &mut File::open(path)?, io::sink())
    }
}

/// Passes on what is written, and measures it.
struct Measured<W> {
    inner: W,
    bytes: u64,
    hash: Sha256,
}

impl<W: Write> Write for Measured<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(content)?;
        self.hash.update(content.get(..written).unwrap_or_default());
        self.bytes += u64::try_from(written).unwrap_or_default();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Copies content, and measures it under a name.
pub(super) fn copied(name: &str, from: &mut impl Read, to: impl Write) -> io::Result<Stored> {
    let mut to = Measured {
        inner: to,
        bytes: 0,
        hash: Sha256::new(),
    };
    io::copy(from, &mut to)?;
    to.flush()?;
    Ok(Stored {
        name: name.to_owned(),
        bytes: to.bytes,
        sha256: hex::encode(to.hash.finalize()),
    })
}

/// Makes a folder that only its owner may enter, and those above it.
pub(super) fn private_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes the names in a folder durable, and in all folders below it.
pub(super) fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    sync_folder(folder)
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    // An empty path is the folder that the command was started in.
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Says what could not be done with a file or folder.
pub(super) fn cannot(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.display().to_string();
    move |error| CliError::Failed(format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_of_their_folder() {
        let below = |name: &str| {
            let stored = Stored {
                name: name.to_owned(),
                bytes: 0,
                sha256: String::new(),
            };
            stored.below(Path::new("/restored"))
        };
        assert_eq!(below("data/a"), Some("/restored/data/a".into()));
        for name in [
            "",
            "../a",
            "data/../../a",
            "/etc/passwd",
            "data//etc/passwd",
            "a/",
        ] {
            assert_eq!(below(name), None, "{name}");
        }
    }

    #[test]
    fn content_is_measured_on_its_way() {
        let mut copy = Vec::new();
        let stored = copied("a", &mut "abc".as_bytes(), &mut copy).unwrap();
        assert_eq!(copy, b"abc");
        assert_eq!(stored.bytes, 3);
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(stored.sha256, digest);
    }
}
