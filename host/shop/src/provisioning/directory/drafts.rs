//! Drafts of files: several are replaced together, each in one step, once all are whole and durable.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use tokio_util::sync::CancellationToken;

use super::{DirectoryError, failed, may_change};
use crate::crypto::random_hex;

/// End of the names of files that are not whole yet.
pub(super) const DRAFT: &str = ".draft";

/// Files of a folder that wait to take their places. Those that did not are removed when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    waiting: VecDeque<Draft>,
}

#[derive(Debug)]
struct Draft {
    file: File,
    path: PathBuf,
    /// File that it replaces.
    place: PathBuf,
}

impl Drafts {
    /// Writes a draft of a file, which stays as it is until then.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn add(&mut self, place: PathBuf, content: &str) -> Result<(), DirectoryError> {
        // Never the draft of another pass, which may be about to take its place.
        let path = place.with_extension(format!("yaml.{}{DRAFT}", random_hex(4)));
        let mut file = File::create(&path).map_err(failed("write", &place))?;
        let written = file.write_all(content.as_bytes());
        let written = written.map_err(failed("write", &place));
        self.waiting.push_back(Draft { file, path, place });
        written
    }

    /// Makes all drafts durable, and then lets each take its place, in the order in which they came.
    /// Returns true when there was one; their names are durable once the folder is [synced](sync_folder).
    ///
    /// # Errors
    /// When the disk refuses, or the pass is cut off; every file is the old or the new one, and whole.
    pub(super) fn put_in_place(
        mut self,
        cut_off: &CancellationToken,
    ) -> Result<bool, DirectoryError> {
        let is_any = !self.waiting.is_empty();
        // All of them before the first rename: the writing of one overlaps with the waiting for another, and a
        // disk that is full is met while nothing has changed.
        for draft in &self.waiting {
            draft
                .file
                .sync_all()
                .map_err(failed("write", &draft.place))?;
        }
        while let Some(draft) = self.waiting.front() {
            may_change(cut_off)
                .and_then(|()| fs::rename(&draft.path, &draft.place))
                .map_err(failed("write", &draft.place))?;
            self.waiting.pop_front();
        }
        Ok(is_any)
    }
}

impl Drop for Drafts {
    fn drop(&mut self) {
        for draft in &self.waiting {
            // Best effort: the next pass of the instance removes it.
            let _ = fs::remove_file(&draft.path);
        }
    }
}

/// Makes the names in a folder durable.
///
/// # Errors
/// When the disk refuses.
pub(super) fn sync_folder(folder: &Path) -> Result<(), DirectoryError> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        // Some file systems know no sync of folders; their names are as durable as they are.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced.map_err(failed("write", folder)),
    }
}
