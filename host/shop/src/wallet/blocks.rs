//! Blocks of a wallet's chain: what each full thousand of its entries did to the balance, and when.
//!
//! Entries never change, so a block is added up once, and a statement reads blocks in place of entries. A wallet
//! with fewer entries has none.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use super::{
    Account, Balance, WalletRow, Wallets,
    journal::PAGE,
    store::{self, Block, PostingRow},
};
use crate::{Result, db::Conn, ids::UserId, money::Rupiah};

/// Entries of a block.
pub(super) const ENTRIES: i64 = 1_000;

/// Positions of a chain: those after the first, up to the second.
pub(super) type Positions = (i64, i64);

/// Positions of the block with a number.
const fn positions(number: i64) -> Positions {
    let last = number.saturating_mul(ENTRIES);
    (last.saturating_sub(ENTRIES), last)
}

/// A chain as blocks, and the entries after them.
#[derive(Debug)]
pub(super) struct Blocks {
    user_id: UserId,
    blocks: Vec<Block>,
    /// Position of the last entry.
    last: i64,
}

impl Blocks {
    /// Reads the blocks of a wallet's chain.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn of(conn: &mut Conn, wallet: &WalletRow) -> Result<Self> {
        let blocks = if wallet.entries < ENTRIES {
            Vec::new()
        } else {
            store::blocks(conn, wallet.user_id).await?
        };
        Ok(Self {
            user_id: wallet.user_id,
            blocks,
            last: wallet.entries,
        })
    }

    /// Positions that are in no block.
    fn rest(&self) -> Positions {
        let after = self
            .blocks
            .last()
            .map_or(0, |block| positions(block.number).1);
        (after, self.last)
    }

    /// Adds up the entries before a moment.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn balance_before(
        &self,
        conn: &mut Conn,
        before: DateTime<Utc>,
    ) -> Result<Balance> {
        let mut sum = Balance {
            paid: Rupiah::ZERO,
            bonus: Rupiah::ZERO,
        };
        let mut parts = Vec::new();
        for block in &self.blocks {
            if block.last_at < before {
                sum = plus(sum, block.paid, block.bonus)?;
            } else if block.first_at < before {
                parts.push(positions(block.number));
            }
        }
        parts.push(self.rest());
        for part in parts {
            let (paid, bonus) = store::balance_within(conn, self.user_id, part, before).await?;
            sum = plus(sum, paid, bonus)?;
        }
        Ok(sum)
    }

    /// Lists the positions among which the entries of a stretch of time are, a block at a time.
    pub(super) fn parts(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> VecDeque<Positions> {
        let within = |block: &&Block| block.last_at >= from && block.first_at < to;
        let blocks = self.blocks.iter().filter(within);
        let mut parts: VecDeque<Positions> = blocks.map(|block| positions(block.number)).collect();
        let (mut after, last) = self.rest();
        while after < last {
            let until = after.saturating_add(ENTRIES).min(last);
            parts.push_back((after, until));
            after = until;
        }
        parts
    }
}

fn plus(sum: Balance, paid: Rupiah, bonus: Rupiah) -> Result<Balance> {
    Ok(Balance {
        paid: sum.paid.plus(paid)?,
        bonus: sum.bonus.plus(bonus)?,
    })
}

/// Adds up every full thousand of entries that is in no block yet; returns the number of blocks. Each is a
/// transaction of its own, so that no customer waits for them.
///
/// # Errors
/// When the database refuses; the blocks before are kept.
pub async fn close_blocks(wallets: &Wallets) -> Result<u64> {
    let (mut closed, mut after) = (0, UserId::MIN);
    loop {
        let found = store::without_blocks(&mut wallets.db.read().await?, after, PAGE).await?;
        let Some((last, ..)) = found.last() else {
            return Ok(closed);
        };
        after = *last;
        for (user_id, blocks, entries) in found {
            let full = entries.div_euclid(ENTRIES);
            for number in blocks.saturating_add(1)..=full {
                let mut conn = wallets.db.begin().await?;
                let part = positions(number);
                closed += store::close_block(&mut conn, user_id, number, part).await?;
                conn.commit().await?;
            }
        }
    }
}

/// The block that a proof is in, as its entries add it up.
#[derive(Debug, Default)]
pub(super) struct Sum {
    paid: Rupiah,
    bonus: Rupiah,
    times: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Sum {
    /// Adds an entry.
    ///
    /// # Errors
    /// When the sum does not fit.
    pub(super) fn add(
        &mut self,
        owner: UserId,
        at: DateTime<Utc>,
        lines: &[PostingRow],
    ) -> Result<()> {
        for line in lines.iter().filter(|line| line.user_id == Some(owner)) {
            match line.account {
                Account::WalletPaid => self.paid = self.paid.plus(line.amount)?,
                Account::WalletBonus => self.bonus = self.bonus.plus(line.amount)?,
                _ => {}
            }
        }
        let (first, last) = self.times.unwrap_or((at, at));
        self.times = Some((first.min(at), last.max(at)));
        Ok(())
    }

    /// Returns true when nothing was added.
    pub(super) const fn is_empty(&self) -> bool {
        self.times.is_none()
    }

    /// Returns true when a block says the same.
    pub(super) fn is_same(&self, block: &Block) -> bool {
        (self.paid, self.bonus) == (block.paid, block.bonus)
            && self.times == Some((block.first_at, block.last_at))
    }
}
