//! Compiled components on disk: private to this host, verified before use, never required.

use std::{
    fs,
    hash::{Hash, Hasher},
    io::{self, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use crate::{digest::Digest, error::RuntimeError};

/// First bytes of every entry; the digit changes when the layout does.
const MAGIC: &[u8; 8] = b"DMGCWASM";
const CHECKSUM_BYTES: usize = 32;

/// A folder of machine code, one file for each component and engine configuration.
///
/// An entry is `MAGIC`, a SHA-256 over (engine, component, code), then the code. The checksum finds
/// damage and mix-ups. It is no defence against a process that may write to the folder, which could
/// make this one run any code; the folder therefore belongs to the server's user alone.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// Everything that decides whether machine code fits this process: wasmtime's version, its
    /// settings and the processor.
    engine: [u8; 32],
}

impl Cache {
    /// Creates the folder if it is missing, and closes it to other users.
    pub(crate) fn open(folder: PathBuf, engine: &Engine) -> Result<Self, RuntimeError> {
        let failed = |error| RuntimeError::Cache {
            folder: folder.clone(),
            error,
        };
        fs::create_dir_all(&folder).map_err(failed)?;
        restrict(&folder, 0o700).map_err(failed)?;
        let mut hasher = StableHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            folder,
            engine: hasher.0.finalize().into(),
        })
    }

    /// Returns the component of this digest if its machine code is present and intact. Removes a
    /// damaged entry.
    pub(crate) fn get(&self, engine: &Engine, digest: Digest) -> Option<Component> {
        let path = self.path(digest);
        let entry = fs::read(&path).ok()?;
        let component = self
            .verified(&entry, digest)
            .and_then(|code| read(engine, code).ok());
        if component.is_none() {
            tracing::warn!(path = %path.display(), "plugin.cache.damaged");
            let _ = fs::remove_file(&path);
        }
        component
    }

    /// Stores machine code for the next start. A failure is logged and otherwise harmless.
    pub(crate) fn put(&self, digest: Digest, code: &[u8]) {
        let path = self.path(digest);
        if let Err(error) = self.write(&path, digest, code) {
            tracing::warn!(path = %path.display(), %error, "plugin.cache.write_failed");
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        let engine: String = hex::encode(self.engine).chars().take(16).collect();
        self.folder.join(format!("{digest}-{engine}.cwasm"))
    }

    fn checksum(&self, digest: Digest, code: &[u8]) -> [u8; CHECKSUM_BYTES] {
        let mut hash = Sha256::new();
        hash.update(self.engine);
        hash.update(digest.as_bytes());
        hash.update(code);
        hash.finalize().into()
    }

    fn verified<'a>(&self, entry: &'a [u8], digest: Digest) -> Option<&'a [u8]> {
        let (checksum, code) = entry
            .strip_prefix(MAGIC)?
            .split_first_chunk::<CHECKSUM_BYTES>()?;
        (*checksum == self.checksum(digest, code)).then_some(code)
    }

    /// Writes beside the entry and renames, so that a reader sees the whole entry or none.
    fn write(&self, path: &Path, digest: Digest, code: &[u8]) -> io::Result<()> {
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        let mut file = fs::File::create(&draft)?;
        restrict(&draft, 0o600)?;
        file.write_all(MAGIC)?;
        file.write_all(&self.checksum(digest, code))?;
        file.write_all(code)?;
        drop(file);
        fs::rename(&draft, path)
    }
}

/// Copies a component to another engine of the same settings.
pub(crate) fn copy(component: &Component, engine: &Engine) -> wasmtime::Result<Component> {
    read(engine, &component.serialize()?)
}

/// Returns a component from its machine code.
#[expect(
    unsafe_code,
    reason = "machine code is only ever read from entries this host wrote into its own folder for \
              this very engine and component, after their checksum has been verified, from a \
              component that this process has loaded, or from its own compiler through a pipe that \
              no other process has; uploads that are machine code are refused before they come near"
)]
pub(crate) fn read(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: see the reason above.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(unix)]
fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn restrict(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// SHA-256 as a [`Hasher`], for names that must stay the same from one process to the next.
struct StableHasher(Sha256);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    // Required by the trait; the full hash is taken from the field.
    fn finish(&self) -> u64 {
        let hash: [u8; 32] = self.0.clone().finalize().into();
        hash.first_chunk()
            .map_or(0, |first| u64::from_le_bytes(*first))
    }
}
