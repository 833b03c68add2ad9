//! SQL of wallets, transactions and the journal.

pub(super) mod admin;
mod blocks;
mod proof;
mod seal;
mod statement;

use chrono::{DateTime, Utc};

use super::{
    Account, Transaction, TransactionFilter, TransactionName, TransactionNumber, TransactionStatus,
    WalletRow, statistics::Settled,
};
use crate::{
    db::{Conn, Filter, List, Span, Walked, fetch_first, fetch_span, find_where},
    defer, execute, fetch_all, fetch_one, fetch_optional,
    ids::{EntryId, TransactionId, UserId},
    money::Rupiah,
    write_returning,
};

pub(super) use blocks::*;
pub(super) use proof::*;
pub(super) use seal::*;
pub(super) use statement::*;

#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct EntryRow {
    pub(super) id: EntryId,
    pub(super) transaction_id: TransactionId,
    pub(super) wallet_id: UserId,
    pub(super) position: i64,
    pub(super) posted_at: DateTime<Utc>,
    pub(super) previous_hash: String,
    pub(super) hash: String,
    pub(super) idempotency_key: String,
}

#[derive(Debug, Clone)]
pub(super) struct PostingRow {
    pub(super) line: i64,
    pub(super) account: Account,
    pub(super) user_id: Option<UserId>,
    pub(super) amount: Rupiah,
}

pub(super) async fn insert(
    conn: &mut Conn,
    user_id: UserId,
    genesis: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql =
        "INSERT INTO wallets (user_id, head_hash, created_at, updated_at) VALUES ($1, $2, $3, $3)";
    execute!(conn, sql, user_id, genesis, now).map(|_| ())
}

macro_rules! select_wallet {
    () => {
        "SELECT user_id, paid_balance, bonus_balance, total_top_up, total_spent, entries, head_hash, closed_at
         FROM wallets WHERE user_id = $1"
    };
}

pub(super) async fn wallet(conn: &mut Conn, user_id: UserId) -> sqlx::Result<Option<WalletRow>> {
    fetch_optional!(conn, WalletRow, select_wallet!(), user_id)
}

/// Closes the wallet of an account that is deleted.
pub(super) async fn close(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE wallets SET closed_at = $2, updated_at = $2 WHERE user_id = $1";
    execute!(conn, sql, user_id, now)
}

/// Takes the row's lock, too. SQLite's writer has it already.
pub(super) async fn lock(conn: &mut Conn, user_id: UserId) -> sqlx::Result<Option<WalletRow>> {
    let sql = if conn.is_postgres() {
        concat!(select_wallet!(), " FOR NO KEY UPDATE")
    } else {
        select_wallet!()
    };
    fetch_optional!(conn, WalletRow, sql, user_id)
}

/// Writes what a locked wallet has become. It waits as inserts do: each posting sends what the one
/// before it left, so that never two of these wait together.
pub(super) async fn update(
    conn: &mut Conn,
    wallet: &WalletRow,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE wallets SET paid_balance = $2, bonus_balance = $3, total_top_up = $4, total_spent = $5, entries = $6,
                 head_hash = $7, updated_at = $8 WHERE user_id = $1";
    defer!(
        conn,
        sql,
        wallet.user_id,
        wallet.paid_balance,
        wallet.bonus_balance,
        wallet.total_top_up,
        wallet.total_spent,
        wallet.entries,
        &wallet.head_hash,
        now,
    )
}

macro_rules! insert_transaction {
    ($number:literal) => {
        concat!(
            "INSERT INTO transactions (number, id, user_id, type, status, amount, balance_before, balance_after, description,
               details, subscription_id, coupon_id, price_decision_id, coupon_decision_id, created_at, completed_at)
             VALUES (",
            $number,
            ", $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) RETURNING number"
        )
    };
}

/// Inserts the row with the next number, which it returns. The engines differ: a PostgreSQL
/// sequence never makes writers wait, SQLite has one writer anyway, and no row is ever deleted.
pub(super) async fn insert_transaction(
    conn: &mut Conn,
    new: &Transaction,
) -> sqlx::Result<TransactionNumber> {
    let sql = if conn.is_postgres() {
        insert_transaction!("nextval('transaction_numbers')")
    } else {
        insert_transaction!("(SELECT coalesce(max(number), 100) + 1 FROM transactions)")
    };
    let row = write_returning!(
        conn,
        (TransactionNumber,),
        sql,
        new.id,
        new.user_id,
        new.kind,
        new.status,
        new.amount,
        new.balance_before,
        new.balance_after,
        &new.description,
        &new.details,
        new.subscription_id,
        new.coupon_id,
        new.price_decision_id,
        new.coupon_decision_id,
        new.created_at,
        new.completed_at,
    )?;
    row.map(|(number,)| number).ok_or(sqlx::Error::RowNotFound)
}

/// `false` when the row is completed already.
pub(super) async fn complete_transaction(
    conn: &mut Conn,
    done: &Transaction,
) -> sqlx::Result<bool> {
    execute!(
        conn,
        "UPDATE transactions SET status = $2, amount = $3, balance_before = $4, balance_after = $5, completed_at = $6
         WHERE id = $1 AND status IN ('PENDING', 'FAILED', 'CANCELLED')",
        done.id,
        done.status,
        done.amount,
        done.balance_before,
        done.balance_after,
        done.completed_at,
    )
    .map(|rows| rows == 1)
}

/// `false` when the row is not in the status `from`.
pub(super) async fn change_status(
    conn: &mut Conn,
    id: TransactionId,
    from: TransactionStatus,
    to: TransactionStatus,
) -> sqlx::Result<bool> {
    let sql = "UPDATE transactions SET status = $3 WHERE id = $1 AND status = $2";
    execute!(conn, sql, id, from, to).map(|rows| rows == 1)
}

pub(super) async fn transaction_by_id(
    conn: &mut Conn,
    id: TransactionId,
) -> sqlx::Result<Option<Transaction>> {
    find_where(conn, TRANSACTIONS.rows, &Filter::of("id = ?", id)).await
}

pub(super) async fn insert_posting(
    conn: &mut Conn,
    entry_id: EntryId,
    posting: &PostingRow,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO postings (entry_id, line, account, user_id, amount) VALUES ($1, $2, $3, $4, $5)";
    defer!(
        conn,
        sql,
        entry_id,
        posting.line,
        posting.account,
        posting.user_id,
        posting.amount
    )
}

/// Inserts an entry, after its postings have been sent: their sum is checked when it arrives.
pub(super) async fn insert_entry(conn: &mut Conn, entry: &EntryRow) -> sqlx::Result<()> {
    defer!(
        conn,
        "INSERT INTO journal_entries (id, transaction_id, wallet_id, position, posted_at, previous_hash, hash, idempotency_key)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        entry.id,
        entry.transaction_id,
        entry.wallet_id,
        entry.position,
        entry.posted_at,
        &entry.previous_hash,
        &entry.hash,
        &entry.idempotency_key,
    )
}

const TRANSACTIONS: List = List {
    rows: "SELECT id, number, user_id, type, status, amount, balance_before, balance_after, description, details,
        subscription_id, coupon_id, price_decision_id, coupon_decision_id, created_at, completed_at FROM transactions",
    from: "FROM transactions",
    key: "number",
    order: "ORDER BY created_at DESC, number DESC",
};

pub(super) async fn transactions(
    conn: &mut Conn,
    user_id: UserId,
    wanted: TransactionFilter,
    span: Span<TransactionNumber>,
) -> sqlx::Result<Walked<Transaction>> {
    let filter = Filter::of("user_id = ?", user_id)
        .with_some("type = ?", wanted.kind)
        .with_some("status = ?", wanted.status)
        .with_some("created_at >= ?", wanted.from)
        .with_some("created_at < ?", wanted.to);
    let place = "(created_at, number) < (?, ?)";
    fetch_span(conn, TRANSACTIONS, place, filter, span).await
}

/// A customer's last transactions, newest first.
pub(super) async fn last_transactions(
    conn: &mut Conn,
    user_id: UserId,
    limit: i64,
) -> sqlx::Result<Vec<Transaction>> {
    let filter = Filter::of("user_id = ?", user_id);
    let List { rows, order, .. } = TRANSACTIONS;
    fetch_first(conn, rows, &filter, order, limit).await
}

/// A customer's transaction.
pub(super) async fn transaction(
    conn: &mut Conn,
    user_id: UserId,
    name: TransactionName,
) -> sqlx::Result<Option<Transaction>> {
    let filter = Filter::of("user_id = ?", user_id);
    let filter = match (name.id, name.number) {
        (Some(id), _) => filter.with("id = ?", id),
        (None, Some(number)) => filter.with("number = ?", number),
        (None, None) => return Ok(None),
    };
    find_where(conn, TRANSACTIONS.rows, &filter).await
}

/// Id of a customer's transaction.
pub(super) async fn transaction_id(
    conn: &mut Conn,
    user_id: UserId,
    name: TransactionName,
) -> sqlx::Result<Option<TransactionId>> {
    let sql = "SELECT id FROM transactions WHERE user_id = $1 AND (id = $2 OR number = $3)";
    let row = fetch_optional!(conn, (TransactionId,), sql, user_id, name.id, name.number)?;
    Ok(row.map(|(id,)| id))
}

/// Sums of a wallet, and what was spent of it since a moment.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(super) struct Sums {
    pub(super) paid_balance: Rupiah,
    pub(super) bonus_balance: Rupiah,
    pub(super) total_top_up: Rupiah,
    pub(super) total_spent: Rupiah,
    pub(super) spent: Rupiah,
}

/// Sums of a wallet, with what was spent of it since a moment, and its last ten transactions, newest first: in
/// one statement, as nothing is asked for more often. Each row repeats the sums, and nothing else of the wallet.
pub(super) async fn at_a_glance(
    conn: &mut Conn,
    user_id: UserId,
    since: DateTime<Utc>,
) -> sqlx::Result<Option<(Sums, Vec<Transaction>)>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        transaction: Transaction,
        #[sqlx(flatten)]
        sums: Sums,
    }
    let sql = "SELECT t.id, t.number, t.user_id, t.type, t.status, t.amount, t.balance_before, t.balance_after, t.description,
                 t.details, t.subscription_id, t.coupon_id, t.price_decision_id, t.coupon_decision_id, t.created_at, t.completed_at,
                 w.paid_balance, w.bonus_balance, w.total_top_up, w.total_spent,
                 (SELECT CAST(coalesce(-sum(s.amount), 0) AS BIGINT) FROM transactions s
                  WHERE s.user_id = $1 AND s.created_at >= $2 AND s.type IN ('SUBSCRIPTION', 'UPGRADE')
                    AND s.status = 'COMPLETED') AS spent
               FROM wallets w JOIN transactions t ON t.user_id = w.user_id
               WHERE w.user_id = $1 ORDER BY t.created_at DESC, t.number DESC LIMIT 10";
    let rows = fetch_all!(conn, Row, sql, user_id, since)?;
    let Some(first) = rows.first() else {
        // A wallet without transactions has no row above.
        let wallet = wallet(conn, user_id).await?;
        return Ok(wallet.map(|wallet| (Sums::of_unused(&wallet), Vec::new())));
    };
    let sums = first.sums;
    let recent = rows.into_iter().map(|row| row.transaction).collect();
    Ok(Some((sums, recent)))
}

impl Sums {
    /// Returns the sums of a wallet without transactions.
    const fn of_unused(wallet: &WalletRow) -> Self {
        Self {
            paid_balance: wallet.paid_balance,
            bonus_balance: wallet.bonus_balance,
            total_top_up: wallet.total_top_up,
            total_spent: wallet.total_spent,
            spent: Rupiah::ZERO,
        }
    }
}

/// Sums of the transactions that took effect in a stretch of time, by type, and those that put in apart from those
/// that took out; from an index alone.
pub(super) async fn settled(
    conn: &mut Conn,
    user_id: UserId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<Settled>> {
    let sql = "SELECT type AS kind, count(*) AS number, CAST(sum(amount) AS BIGINT) AS amount FROM transactions
               WHERE user_id = $1 AND completed_at >= $2 AND completed_at < $3 AND status IN ('COMPLETED', 'REFUNDED')
               GROUP BY type, amount < 0";
    fetch_all!(conn, Settled, sql, user_id, from, to)
}

/// Purchases whose price, before coupons, was more than zero.
pub(super) async fn purchases(conn: &mut Conn, user_id: UserId) -> sqlx::Result<i64> {
    let sql = "SELECT count(*) FROM transactions t WHERE t.user_id = $1 AND t.type = 'SUBSCRIPTION' AND t.status = 'COMPLETED'
               AND EXISTS (SELECT 1 FROM journal_entries e WHERE e.transaction_id = t.id)";
    let (count,) = fetch_one!(conn, (i64,), sql, user_id)?;
    Ok(count)
}
