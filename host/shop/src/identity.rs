//! Identity of a server among those that share the work.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
};

use uuid::Uuid;

use crate::db::{Clock, new_id};

/// File in the data folder with the id, locked while its server lives.
const FILE: &str = "server.id";

/// Identity of a server, the same after each of its restarts.
#[derive(Debug)]
pub struct Identity {
    pub id: Uuid,
    /// Kept open for its lock, which ends with the process, however that ends.
    lock: Option<File>,
}

impl Identity {
    /// Takes the identity of a data folder; a new one while another server that lives has it, or
    /// when the folder cannot be written.
    pub fn of_folder(folder: &Path, clock: &Clock) -> Self {
        Self::locked(&folder.join(FILE), clock).unwrap_or_else(|error| {
            tracing::warn!(%error, "server.identity_not_kept");
            Self::passing(clock)
        })
    }

    /// An identity for this run only.
    pub fn passing(clock: &Clock) -> Self {
        Self {
            id: new_id(clock),
            lock: None,
        }
    }

    /// Returns true when no other server has this identity: leases under it are of an earlier run.
    pub const fn is_alone(&self) -> bool {
        self.lock.is_some()
    }

    fn locked(path: &Path, clock: &Clock) -> std::io::Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path)?;
        file.try_lock()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let id = if let Ok(id) = text.trim().parse() {
            id
        } else {
            let id = new_id(clock);
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{id}")?;
            id
        };
        Ok(Self {
            id,
            lock: Some(file),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_outlives_its_server_and_is_never_shared() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let first = Identity::of_folder(folder.path(), &clock);
        let second = Identity::of_folder(folder.path(), &clock);
        assert!(first.is_alone() && !second.is_alone());
        assert_ne!(first.id, second.id);
        let id = first.id;
        drop(first);
        let again = Identity::of_folder(folder.path(), &clock);
        assert!(again.is_alone());
        assert_eq!(again.id, id);
        let nowhere = Identity::of_folder(&folder.path().join("none"), &clock);
        assert!(!nowhere.is_alone());
    }
}
