//! A wallet under its lock.

use std::ops::Deref;

use super::{WalletRow, store};
use crate::{Error, Result, db::Conn, ids::UserId, owners};

/// A customer's wallet, locked until the caller's transaction ends. Only [`lock`] makes one, so
/// that nothing is posted to a wallet which another transaction may change.
#[derive(Debug)]
pub struct LockedWallet(WalletRow);

impl LockedWallet {
    /// Returns the row to change. The change is written with the next entry.
    pub(super) const fn row_mut(&mut self) -> &mut WalletRow {
        &mut self.0
    }
}

impl LockedWallet {
    /// Refuses what a customer begins while the account is being deleted.
    ///
    /// # Errors
    /// `NOT_FOUND` when the wallet was closed with its account.
    pub fn check_open(&self) -> Result<()> {
        match self.0.closed_at {
            Some(_) => Err(Error::not_found("account")),
            None => Ok(()),
        }
    }

    /// Refuses what the owner begins while the account is being deleted or disabled. Renewals, and what
    /// administrators do to a disabled account, do not ask for this.
    ///
    /// # Errors
    /// `NOT_FOUND` when the wallet was closed with its account; `UNAUTHENTICATED` when the account is
    /// disabled.
    pub async fn check_owner(&self, conn: &mut Conn) -> Result<()> {
        self.check_open()?;
        owners::check_active(conn, self.0.user_id).await
    }
}

impl Deref for LockedWallet {
    type Target = WalletRow;

    fn deref(&self) -> &WalletRow {
        &self.0
    }
}

/// Locks the customer's wallet until the transaction ends, and reads it. Operations that must not
/// run twice at once for one customer (checkout, redeeming) begin with this, before any other lock.
///
/// # Errors
/// `NOT_FOUND` when the customer has no wallet.
pub async fn lock(conn: &mut Conn, user_id: UserId) -> Result<LockedWallet> {
    store::lock(conn, user_id)
        .await?
        .map(LockedWallet)
        .ok_or_else(|| Error::not_found("wallet"))
}
