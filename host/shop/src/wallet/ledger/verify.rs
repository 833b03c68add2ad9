//! The proof of the whole ledger.

use std::{cmp::Ordering, collections::BTreeMap, mem};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::{
    super::{
        Account, Seal, WalletRow,
        blocks::{self, Sum},
        journal::{Journal, PAGE},
        seal,
        store::{self, EntryRow, PostingRow},
    },
    genesis, hash,
    heads::Head,
};
use crate::{
    Result,
    db::{Clock, Conn, Db},
    ids::UserId,
    money::Rupiah,
};

/// Faults of books that are broken throughout would fill the memory.
const MOST_FAULTS: usize = 1_000;

/// Findings of `dermaga ledger verify`.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    pub wallets: u64,
    pub entries: u64,
    pub postings: u64,
    /// Sum of every account's postings; all together they are zero.
    pub accounts: BTreeMap<String, Rupiah>,
    /// SHA-256 over the heads of all chains: the same for two databases with the same entries.
    pub heads: String,
    /// The newest daily seal; absent before the first.
    pub seal: Option<Seal>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub checked_at: DateTime<Utc>,
    /// Sentences, one a fault, of at most a thousand faults; empty when the books balance.
    pub faults: Vec<String>,
}

impl Verification {
    fn new(clock: &Clock) -> Self {
        Self {
            wallets: 0,
            entries: 0,
            postings: 0,
            accounts: BTreeMap::new(),
            heads: String::new(),
            seal: None,
            checked_at: clock.now(),
            faults: Vec::new(),
        }
    }

    pub fn holds(&self) -> bool {
        self.faults.is_empty()
    }

    fn fault(&mut self, sentence: String) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(sentence);
        }
    }
}

/// Proves the whole ledger: every entry balances, every chain is unbroken, every balance and every block is the
/// sum of its postings, every completed transaction is posted with its amount, every sealed entry is there still,
/// and all accounts together are zero. Reads one snapshot, a page at a time, and
/// writes nothing.
///
/// # Errors
/// When the database does not answer; faults in the books are in the answer.
pub async fn verify(db: &Db, clock: &Clock) -> Result<Verification> {
    let mut found = Verification::new(clock);
    let mut conn = db.snapshot().await?;
    verify_chains(&mut conn, &mut found).await?;
    verify_blocks(&mut conn, &mut found).await?;
    verify_transactions(&mut conn, &mut found).await?;
    let (newest, broken) = seal::check(&mut conn).await?;
    found.seal = newest;
    for sentence in broken {
        found.fault(sentence);
    }
    let sum = Rupiah::total(found.accounts.values().copied())?;
    if !sum.is_zero() {
        found.fault(format!("All accounts together are {sum} and must be zero."));
    }
    Ok(found)
}

/// Wallets and entries come in the same order, so each is read once.
async fn verify_chains(conn: &mut Conn, found: &mut Verification) -> Result<()> {
    let mut journal = Journal::default();
    let mut next = journal.next(conn).await?;
    let mut after = UserId::MIN;
    let mut heads = Sha256::new();
    loop {
        let wallets = store::wallets_after(conn, after, PAGE).await?;
        let Some(last) = wallets.last() else { break };
        after = last.user_id;
        for wallet in wallets {
            let mut chain = Chain::of(wallet);
            while let Some((entry, lines)) =
                next.take_if(|(entry, _)| entry.wallet_id <= chain.wallet.user_id)
            {
                chain.take(&entry, &lines, found)?;
                check_block(conn, &mut chain, found).await?;
                next = journal.next(conn).await?;
            }
            heads.update(Head::of(&chain.wallet).to_string());
            chain.end(found);
        }
    }
    found.heads = hex::encode(heads.finalize());
    while let Some((entry, _)) = next {
        found.fault(ownerless(&entry));
        next = journal.next(conn).await?;
    }
    let strays = store::stray_postings(conn).await?;
    if strays > 0 {
        found.fault(format!("Postings that belong to no entry: {strays}."));
    }
    Ok(())
}

/// Compares a full thousand of entries with its block, if there is one yet.
async fn check_block(conn: &mut Conn, chain: &mut Chain, found: &mut Verification) -> Result<()> {
    if chain.block.is_empty() || chain.entries % blocks::ENTRIES != 0 {
        return Ok(());
    }
    let (sum, user_id) = (mem::take(&mut chain.block), chain.wallet.user_id);
    let number = chain.entries / blocks::ENTRIES;
    let kept = store::block(conn, user_id, number).await?;
    if kept.is_some_and(|block| !sum.is_same(&block)) {
        found.fault(format!(
            "Block {number} of wallet {user_id} is not what its entries add up to."
        ));
    }
    Ok(())
}

/// Finds blocks that a statement would read in the place of other entries than theirs.
async fn verify_blocks(conn: &mut Conn, found: &mut Verification) -> Result<()> {
    for (user_id,) in store::misplaced_blocks(conn, PAGE).await? {
        found.fault(format!(
            "The blocks of wallet {user_id} have a gap, or are of entries that it does not have."
        ));
    }
    Ok(())
}

async fn verify_transactions(conn: &mut Conn, found: &mut Verification) -> Result<()> {
    for (number, amount) in store::unposted(conn, PAGE).await? {
        found.fault(format!(
            "{number} is completed over {amount} and has no matching entry."
        ));
    }
    Ok(())
}

fn ownerless(entry: &EntryRow) -> String {
    format!("Entry {} belongs to no wallet.", entry.id)
}

/// A wallet and what its entries add up to so far.
struct Chain {
    wallet: WalletRow,
    entries: i64,
    previous: String,
    paid: Rupiah,
    bonus: Rupiah,
    /// Entries since the last full thousand.
    block: Sum,
}

impl Chain {
    fn of(wallet: WalletRow) -> Self {
        Self {
            entries: 0,
            previous: genesis(wallet.user_id),
            paid: Rupiah::ZERO,
            bonus: Rupiah::ZERO,
            block: Sum::default(),
            wallet,
        }
    }

    fn take(
        &mut self,
        entry: &EntryRow,
        lines: &[PostingRow],
        found: &mut Verification,
    ) -> Result<()> {
        if entry.wallet_id.cmp(&self.wallet.user_id) == Ordering::Less {
            found.fault(ownerless(entry));
            return Ok(());
        }
        self.entries += 1;
        check_entry(entry, lines, self.entries, &self.previous, found)?;
        for line in lines {
            self.post(entry, line, found)?;
        }
        self.block
            .add(self.wallet.user_id, entry.posted_at, lines)?;
        self.previous.clone_from(&entry.hash);
        Ok(())
    }

    fn post(
        &mut self,
        entry: &EntryRow,
        line: &PostingRow,
        found: &mut Verification,
    ) -> Result<()> {
        let user_id = self.wallet.user_id;
        let total = found.accounts.entry(line.account.to_string()).or_default();
        *total = total.plus(line.amount)?;
        match line.account {
            Account::WalletPaid if line.user_id == Some(user_id) => {
                self.paid = self.paid.plus(line.amount)?;
            }
            Account::WalletBonus if line.user_id == Some(user_id) => {
                self.bonus = self.bonus.plus(line.amount)?;
            }
            Account::WalletPaid | Account::WalletBonus => {
                found.fault(format!(
                    "Entry {} of wallet {user_id} posts to another wallet.",
                    entry.id
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn end(self, found: &mut Verification) {
        let Self {
            wallet,
            entries,
            previous,
            paid,
            bonus,
            ..
        } = self;
        let user_id = wallet.user_id;
        found.wallets += 1;
        if previous != wallet.head_hash || entries != wallet.entries {
            found.fault(format!(
                "Wallet {user_id} has lost entries at the end of its chain."
            ));
        }
        if (paid, bonus) != (wallet.paid_balance, wallet.bonus_balance) {
            found.fault(format!(
                "Wallet {user_id} shows {} paid and {} bonus; its entries say {paid} and {bonus}.",
                wallet.paid_balance, wallet.bonus_balance
            ));
        }
    }
}

fn check_entry(
    entry: &EntryRow,
    lines: &[PostingRow],
    expected: i64,
    previous: &str,
    found: &mut Verification,
) -> Result<()> {
    found.entries += 1;
    found.postings += u64::try_from(lines.len()).unwrap_or_default();
    let sum = Rupiah::total(lines.iter().map(|line| line.amount))?;
    if !sum.is_zero() {
        found.fault(format!(
            "Entry {} does not balance: its postings sum to {sum}.",
            entry.id
        ));
    }
    if entry.position != expected {
        found.fault(format!(
            "Wallet {} misses entry {expected} of its chain.",
            entry.wallet_id
        ));
    }
    if entry.previous_hash != previous {
        found.fault(format!(
            "Entry {} does not continue the chain of wallet {}.",
            entry.id, entry.wallet_id
        ));
    }
    if hash(entry, lines) != entry.hash {
        found.fault(format!(
            "Entry {} has been changed: its hash does not match.",
            entry.id
        ));
    }
    Ok(())
}
