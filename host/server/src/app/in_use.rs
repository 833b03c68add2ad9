//! Databases that are being copied: no server starts on them.

use dermaga_shop::db::{Db, Held, NotHeld};

use super::StartError;

/// Holds the file of a database for a server, as long as the returned value lives.
pub(super) fn hold(url: &str) -> Result<Option<Held>, StartError> {
    match Held::by_server(url) {
        Ok(held) => Ok(held),
        Err(NotHeld::Taken) => Err(StartError::BeingCopied),
        // Opening the database says more, where that fails, too; some file systems have no locks.
        Err(NotHeld::Io(error)) => {
            tracing::warn!(%error, "database.not_held");
            Ok(None)
        }
    }
}

/// Refuses a database that has a part of a shop only.
pub(super) async fn refuse_half_filled(db: &Db) -> Result<(), StartError> {
    let is_half_filled = db.is_half_filled().await;
    if is_half_filled.map_err(StartError::database(db.engine_name()))? {
        return Err(StartError::HalfFilled);
    }
    Ok(())
}
