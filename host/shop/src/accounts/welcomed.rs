//! Mailboxes that had a welcome bonus, as keyed hashes of their addresses: each has it once, in whatever account.
//!
//! The hash outlives the account, and the shop keeps no address for that.

use super::{Accounts, store};
use crate::{Result, db::Conn};

/// Purpose of the tags of the vault.
const PURPOSE: &str = "welcomed-address";

impl Accounts {
    /// Keeps that the mailbox of an address had a welcome bonus; false where that was kept before. Until the
    /// caller's transaction ends, accounts of the same mailbox wait here.
    pub(crate) async fn keep_welcomed(&self, conn: &mut Conn, email: &str) -> Result<bool> {
        let hash = self.vault.tag(PURPOSE, &mailbox(email))?;
        let kept = store::deletion::keep_welcomed(conn, &hash, self.clock.now()).await?;
        Ok(kept == 1)
    }

    /// Returns true for an address whose mailbox had a welcome bonus.
    pub(crate) async fn was_welcomed(&self, email: &str) -> Result<bool> {
        let mut conn = self.db.read().await?;
        // By each key: the address may have been kept before the master key was changed.
        for hash in self.vault.tags(PURPOSE, &mailbox(email)) {
            if store::deletion::is_welcomed(&mut conn, &hash).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Returns an address in lower case without its detail, which stands between `+` and `@` (RFC 5233). Dots stay:
/// with most providers they make another mailbox.
fn mailbox(email: &str) -> String {
    let (local, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    let user = local.split_once('+').map_or(local, |(user, _)| user);
    // Without a user, the plus sign separates nothing.
    let user = if user.is_empty() { local } else { user };
    format!("{user}@{domain}").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_makes_no_other_mailbox() {
        for (written, expected) in [
            ("sari@example.com", "sari@example.com"),
            ("Sari+Toko@Example.com", "sari@example.com"),
            ("sari+a+b@example.com", "sari@example.com"),
            ("sari+@example.com", "sari@example.com"),
            ("sa.ri+x@example.com", "sa.ri@example.com"),
            ("+sari@example.com", "+sari@example.com"),
            ("sari@a+b.example.com", "sari@a+b.example.com"),
        ] {
            assert_eq!(mailbox(written), expected, "{written}");
        }
    }
}
