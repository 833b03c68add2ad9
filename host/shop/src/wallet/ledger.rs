//! Double entry: postings that balance, chained by hash per wallet.

pub mod heads;
#[cfg(test)]
mod tests;
mod verify;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Account, LockedWallet, NewTransaction, Transaction, TransactionNumber, TransactionStatus,
    TransactionType, WalletRow,
    store::{self, EntryRow, PostingRow},
};
use crate::{
    Code, Error, Result,
    db::{self, Clock, Conn},
    ids::UserId,
    money::Rupiah,
};

pub use verify::{Verification, verify};

/// Effect of one entry: on the wallet, and on the accounts on the other side.
#[derive(Debug, Clone)]
pub struct Movement {
    pub paid: Rupiah,
    pub bonus: Rupiah,
    pub others: Vec<(Account, Rupiah)>,
}

impl Movement {
    fn postings(&self, user_id: UserId) -> Vec<PostingRow> {
        let own = [
            (Account::WalletPaid, self.paid, Some(user_id)),
            (Account::WalletBonus, self.bonus, Some(user_id)),
        ];
        let others = self
            .others
            .iter()
            .map(|(account, amount)| (*account, *amount, None));
        own.into_iter()
            .chain(others)
            // Before they are numbered, so that lines have no gaps.
            .filter(|(_, amount, _)| !amount.is_zero())
            .zip(1..)
            .map(|((account, amount, user_id), line)| PostingRow {
                line,
                account,
                user_id,
                amount,
            })
            .collect()
    }
}

/// The hash before the first entry of a wallet's chain.
pub fn genesis(user_id: UserId) -> String {
    hex::encode(Sha256::digest(format!("dermaga ledger 1 {user_id}")))
}

/// Posts a movement to the locked wallet: transaction row, postings, entry and balances, in the
/// caller's transaction. A movement of nothing (a free plan) leaves a transaction row and no entry.
///
/// # Errors
/// `INSUFFICIENT_CREDIT` when a balance would become negative, `CONFLICT`, at the commit, when the
/// idempotency key was posted before. The caller must not commit after an error.
pub async fn post(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &mut LockedWallet,
    movement: &Movement,
    idempotency_key: &str,
    new: NewTransaction,
) -> Result<Transaction> {
    wallet.row_mut().change(movement, new.kind)?;
    let draft = draft(clock, new);
    // Made and completed at one moment, so that sums by either agree.
    let at = draft.created_at;
    let mut transaction = draft.completed(at, movement, wallet)?;
    let entry = entry(conn, clock, wallet, &transaction, movement, idempotency_key).await?;
    transaction.number = store::insert_transaction(conn, &transaction).await?;
    append(conn, clock, wallet, entry).await?;
    Ok(transaction)
}

/// Writes down a transaction whose money has yet to come: a `PENDING` row with its number and no
/// entry.
///
/// # Errors
/// When the database does not answer.
pub async fn announce(
    conn: &mut Conn,
    clock: &Clock,
    amount: Rupiah,
    new: NewTransaction,
) -> Result<Transaction> {
    let mut transaction = Transaction {
        amount,
        ..draft(clock, new)
    };
    transaction.number = store::insert_transaction(conn, &transaction).await?;
    Ok(transaction)
}

/// Posts what was [announced](announce), as [`post`] does. A row that had been given up is
/// completed all the same: money that came is in the books.
///
/// # Errors
/// As [`post`]; `CONFLICT` also when the row is completed already.
pub async fn complete(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &mut LockedWallet,
    movement: &Movement,
    idempotency_key: &str,
    announced: Transaction,
) -> Result<Transaction> {
    wallet.row_mut().change(movement, announced.kind)?;
    let transaction = announced.completed(clock.now(), movement, wallet)?;
    let entry = entry(conn, clock, wallet, &transaction, movement, idempotency_key).await?;
    if !store::complete_transaction(conn, &transaction).await? {
        return Err(Error::booked_already());
    }
    append(conn, clock, wallet, entry).await?;
    Ok(transaction)
}

impl WalletRow {
    /// The balances after a movement, and the lifetime totals by what kind of act it is.
    fn change(&mut self, movement: &Movement, kind: TransactionType) -> Result<()> {
        let (paid, bonus) = (movement.paid, movement.bonus);
        self.paid_balance = self.paid_balance.plus(paid)?;
        self.bonus_balance = self.bonus_balance.plus(bonus)?;
        if self.paid_balance.is_negative() || self.bonus_balance.is_negative() {
            let message = "The wallet does not hold enough credit.";
            return Err(Error::new(Code::InsufficientCredit, message));
        }
        match kind {
            // A top-up that is taken back later stays among those that were received.
            TransactionType::TopUp => self.total_top_up = self.total_top_up.plus(paid)?,
            TransactionType::Subscription | TransactionType::Upgrade => {
                self.total_spent = self.total_spent.minus(paid.plus(bonus)?)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Makes a transaction; its number is assigned by the database.
fn draft(clock: &Clock, new: NewTransaction) -> Transaction {
    Transaction {
        id: db::new_id(clock),
        number: TransactionNumber::UNASSIGNED,
        user_id: new.user_id,
        kind: new.kind,
        status: TransactionStatus::Pending,
        amount: Rupiah::ZERO,
        balance_before: None,
        balance_after: None,
        description: new.description,
        details: sqlx::types::Json(new.details),
        subscription_id: new.subscription_id,
        coupon_id: new.coupon_id,
        price_decision_id: new.price_decision_id,
        coupon_decision_id: new.coupon_decision_id,
        created_at: clock.now(),
        completed_at: None,
    }
}

impl Transaction {
    /// The row after its movement led to this wallet.
    fn completed(self, at: DateTime<Utc>, movement: &Movement, wallet: &WalletRow) -> Result<Self> {
        let amount = movement.paid.plus(movement.bonus)?;
        let after = wallet.balance().total()?;
        Ok(Self {
            status: TransactionStatus::Completed,
            amount,
            balance_before: Some(after.minus(amount)?),
            balance_after: Some(after),
            completed_at: Some(at),
            ..self
        })
    }
}

/// The next entry of a wallet's chain, its postings sent before it. `None` when nothing moves.
async fn entry(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &WalletRow,
    transaction: &Transaction,
    movement: &Movement,
    idempotency_key: &str,
) -> Result<Option<EntryRow>> {
    let postings = movement.postings(transaction.user_id);
    if postings.is_empty() {
        return Ok(None);
    }
    let mut entry = EntryRow {
        id: db::new_id(clock),
        transaction_id: transaction.id,
        wallet_id: wallet.user_id,
        position: wallet.entries.saturating_add(1),
        posted_at: clock.now(),
        previous_hash: wallet.head_hash.clone(),
        hash: String::new(),
        idempotency_key: idempotency_key.to_owned(),
    };
    entry.hash = hash(&entry, &postings);
    for posting in &postings {
        store::insert_posting(conn, entry.id, posting).await?;
    }
    Ok(Some(entry))
}

async fn append(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &mut LockedWallet,
    entry: Option<EntryRow>,
) -> Result<()> {
    // Nothing moved, so that the row of the wallet is as it was.
    let Some(entry) = entry else {
        return Ok(());
    };
    store::insert_entry(conn, &entry).await?;
    let row = wallet.row_mut();
    row.entries = entry.position;
    row.head_hash = entry.hash;
    Ok(store::update(conn, wallet, clock.now()).await?)
}

/// SHA-256 over the canonical JSON of an entry, its postings and the hash before it.
fn hash(entry: &EntryRow, postings: &[PostingRow]) -> String {
    let content = content(entry, postings);
    hex::encode(Sha256::digest(dermaga_runtime::canonical_json(&content)))
}

/// Content that an entry's hash is made of.
pub(super) fn content(entry: &EntryRow, postings: &[PostingRow]) -> Value {
    let lines: Vec<_> = postings
        .iter()
        .map(|posting| json!([posting.account, posting.user_id, posting.amount]))
        .collect();
    json!({
        "entry": entry.id,
        "idempotencyKey": entry.idempotency_key,
        "position": entry.position,
        "postedAt": entry.posted_at.timestamp_millis(),
        "postings": lines,
        "previous": entry.previous_hash,
        "transaction": entry.transaction_id,
        "wallet": entry.wallet_id,
    })
}
