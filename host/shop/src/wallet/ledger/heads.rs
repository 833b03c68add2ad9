//! Heads of all chains, by which two copies of the books are compared.

use std::{fmt, str::FromStr};

use super::super::{WalletRow, journal::PAGE, store};
use crate::{Result, db::Conn, ids::UserId};

/// Head of a wallet's chain, written as a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub wallet_id: UserId,
    /// Number of its entries, which is the position of the last one.
    pub entries: i64,
    pub hash: String,
}

impl Head {
    pub(super) fn of(wallet: &WalletRow) -> Self {
        Self {
            wallet_id: wallet.user_id,
            entries: wallet.entries,
            hash: wallet.head_hash.clone(),
        }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            wallet_id,
            entries,
            hash,
        } = self;
        writeln!(f, "{wallet_id} {entries} {hash}")
    }
}

/// A line that is no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no wallet with its entries and a hash")]
pub struct NotAHead;

impl FromStr for Head {
    type Err = NotAHead;

    fn from_str(line: &str) -> Result<Self, NotAHead> {
        let mut parts = line.split_ascii_whitespace();
        let (Some(wallet), Some(entries), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAHead);
        };
        Ok(Self {
            wallet_id: wallet.parse().map_err(|_| NotAHead)?,
            entries: entries.parse().map_err(|_| NotAHead)?,
            hash: hash.to_owned(),
        })
    }
}

/// Returns the heads of the next wallets behind one, in the order of their ids; none after the last.
///
/// # Errors
/// When the database does not answer.
pub async fn after(conn: &mut Conn, wallet_id: UserId) -> Result<Vec<Head>> {
    let wallets = store::wallets_after(conn, wallet_id, PAGE).await?;
    Ok(wallets.iter().map(Head::of).collect())
}

/// Returns true when the chain of a head's wallet goes through it: nothing before it is lost.
///
/// # Errors
/// When the database does not answer.
pub async fn has(conn: &mut Conn, head: &Head) -> Result<bool> {
    if head.entries == 0 {
        return Ok(true);
    }
    let found = store::entries_after(conn, head.wallet_id, head.entries - 1, 1).await?;
    Ok(found.first().is_some_and(|entry| {
        entry.wallet_id == head.wallet_id
            && entry.position == head.entries
            && entry.hash == head.hash
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let head = Head {
            wallet_id: UserId::from_u128(7),
            entries: 3,
            hash: "ab".repeat(32),
        };
        assert_eq!(head.to_string().parse(), Ok(head));
        for wrong in ["", "7 3", "x 3 ab", "one two three four"] {
            assert_eq!(wrong.parse::<Head>(), Err(NotAHead), "{wrong}");
        }
    }
}
