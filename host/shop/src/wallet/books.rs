//! The nightly proof of the books, and the alert while they are broken.

use super::{
    Wallets,
    ledger::{self, Verification},
};
use crate::{
    Result,
    alerts::{self, AlertKind},
};

/// Subject of the alert: the ledger as a whole.
const SUBJECT: &str = "ledger";

/// Proves the whole ledger, and alerts administrators when that fails, and when it is over.
///
/// # Errors
/// When the database does not answer; faults in the books are in the answer.
pub async fn watch_books(wallets: &Wallets) -> Result<Verification> {
    let found = ledger::verify(&wallets.db, &wallets.clock).await?;
    let (clock, kind) = (&wallets.clock, AlertKind::BooksBroken);
    let mut conn = wallets.db.begin().await?;
    if found.holds() {
        alerts::resolve(&mut conn, clock, kind, SUBJECT).await?;
    } else {
        let message = format!(
            "Faults in the books: {}. Run `dermaga ledger verify` for the list, keep a backup of now, and find out who wrote to the database.",
            found.faults.len()
        );
        alerts::raise(&mut conn, clock, kind, SUBJECT, &message).await?;
    }
    conn.commit().await?;
    Ok(found)
}
