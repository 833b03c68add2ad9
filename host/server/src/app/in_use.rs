//! Databases that are being copied, and folders that are being restored: no server starts on them.

use std::{io, path::Path};

use dermaga_shop::db::{Db, Held, NotHeld};

use super::StartError;

/// File in a data folder that is there as long as a restore into it has not copied everything.
pub const PART_RESTORED: &str = "restore.partial";

/// Refuses a data folder that has a part of a backup only, and would become another shop.
///
/// # Errors
/// When a restore was interrupted.
pub fn refuse_part_restored(folder: &Path) -> Result<(), StartError> {
    let mark = folder.join(PART_RESTORED);
    if mark.exists() {
        return Err(StartError::PartRestored { mark });
    }
    Ok(())
}

/// Holds the file of a database for a server, as long as the returned value lives.
pub(super) fn hold(url: &str) -> Result<Option<Held>, StartError> {
    match Held::by_server(url) {
        Ok(held) => Ok(held),
        Err(NotHeld::Taken) => Err(StartError::BeingCopied),
        Err(NotHeld::NoLocks(error)) => {
            tracing::warn!(%error, "database.not_held");
            Ok(None)
        }
        // Of a folder that is missing; opening the database fails, too, and says more.
        Err(NotHeld::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(NotHeld::Io { path, source }) => Err(StartError::NotHeld { path, source }),
    }
}

/// Refuses a database that has a part of a shop only.
///
/// # Errors
/// When a copy was interrupted, and when the database does not answer.
pub async fn refuse_half_filled(db: &Db) -> Result<(), StartError> {
    let is_half_filled = db.is_half_filled().await;
    if is_half_filled.map_err(StartError::database(db.engine_name()))? {
        return Err(StartError::HalfFilled);
    }
    Ok(())
}
