//! Addresses of deleted accounts that had a welcome bonus, as keyed hashes: each address has it once, and
//! the shop keeps no address for that.

use super::{Accounts, store};
use crate::{Result, db::Conn, ids::UserId};

/// Purpose of the tags of the vault.
const PURPOSE: &str = "welcomed-address";

impl Accounts {
    /// Keeps that the address of an account that is being deleted had a welcome bonus.
    pub(crate) async fn keep_welcomed(&self, conn: &mut Conn, email: &str) -> Result<()> {
        let hash = self.vault.tag(PURPOSE, email)?;
        store::deletion::keep_welcomed(conn, &hash, self.clock.now()).await?;
        Ok(())
    }

    /// Returns true for an account whose address had a welcome bonus in another one that was deleted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn was_welcomed_before(&self, id: UserId) -> Result<bool> {
        let mut conn = self.db.read().await?;
        let Some(user) = store::by_id(&mut conn, id).await? else {
            return Ok(false);
        };
        // By each key: the address may have been kept before the master key was changed.
        for hash in self.vault.tags(PURPOSE, &user.email) {
            if store::deletion::is_welcomed(&mut conn, &hash).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
