//! Output folder of components.

use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use dermaga_runtime::Digest;
use serde::{Deserialize, Serialize};

use super::{
    error::BuildError,
    fresh::Stamp,
    progress::{Event, Progress},
    sources::PluginSource,
};

/// Result of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildReport {
    /// Names of the compilers used; `None` when nothing had to be compiled.
    pub toolchain: Option<String>,
    pub plugins: Vec<Built>,
}

/// A component in the output folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Built {
    pub plugin: String,
    pub component: PathBuf,
    pub bytes: usize,
    pub digest: Digest,
    pub change: Change,
}

/// Effect of a build on a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    New,
    Changed,
    Unchanged,
}

impl Change {
    const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            plugin,
            component,
            bytes,
            change,
            ..
        } = self;
        write!(
            f,
            "{plugin}: {} ({} kB, {change})",
            component.display(),
            bytes.div_ceil(1000)
        )
    }
}

impl fmt::Display for BuildReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self
            .plugins
            .iter()
            .map(|one| one.plugin.len())
            .max()
            .unwrap_or(0);
        for Built {
            plugin,
            component,
            bytes,
            digest,
            change,
        } in &self.plugins
        {
            let change = change.as_str();
            let digest: String = digest.to_string().chars().take(12).collect();
            let kilobytes = bytes.div_ceil(1000);
            writeln!(
                f,
                "{plugin:widest$}  {change:9}  {kilobytes:4} kB  sha256 {digest}  {}",
                component.display()
            )?;
        }
        Ok(())
    }
}

/// The output folder, locked by this process until dropped.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) folder: PathBuf,
    _lock: File,
}

impl Output {
    /// Creates the folder if it is missing and waits until no other process builds into it.
    pub(super) fn open(folder: &Path, progress: &dyn Progress) -> Result<Self, BuildError> {
        fs::create_dir_all(folder).map_err(BuildError::writing(folder))?;
        let folder = fs::canonicalize(folder).map_err(BuildError::reading(folder))?;
        let path = folder.join(".build.lock");
        let lock = File::create(&path).map_err(BuildError::writing(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!(
                    "waiting for another process that builds into {}",
                    folder.display()
                );
                progress.report(&Event::Note(&text));
                lock.lock().map_err(BuildError::writing(&path))?;
            }
            Err(TryLockError::Error(error)) => return Err(BuildError::writing(&path)(error)),
        }
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// Writes a component, unless it is there already, and its record. `files` are its sources.
    pub(super) fn put(
        &self,
        one: &PluginSource,
        bytes: &[u8],
        files: BTreeSet<PathBuf>,
    ) -> Result<Built, BuildError> {
        let path = component_path(&self.folder, &one.name);
        let change = match fs::read(&path) {
            Ok(old) if old == bytes => Change::Unchanged,
            Ok(_) => Change::Changed,
            Err(_) => Change::New,
        };
        if change != Change::Unchanged {
            replace(&path, bytes)?;
        }
        let digest = Digest::of(bytes);
        // After the component: a build that was cut off in between is not taken for a fresh one.
        let stamp = Stamp::of(one, files, digest)?;
        replace(&stamp_path(&self.folder, &one.name), &stamp.to_json())?;
        Ok(Built {
            plugin: one.name.clone(),
            component: path,
            bytes: bytes.len(),
            digest,
            change,
        })
    }
}

pub(super) fn component_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.wasm"))
}

/// Path of the record of a component's inputs, beside the component.
pub(super) fn stamp_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.sources.json"))
}

/// Replaces a file atomically: a reader sees the old or the new contents, whole.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let failed = BuildError::writing(path);
    let write = || {
        let mut draft = tempfile::Builder::new();
        draft.prefix(".draft-");
        // Temporary files are private, but the server's user must be able to read components.
        #[cfg(unix)]
        draft.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut draft = draft.tempfile_in(folder)?;
        draft.write_all(bytes)?;
        draft.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(failed)
}
