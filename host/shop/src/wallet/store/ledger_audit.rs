//! SQL of statements, receipts and seals: what is read of the journal and never changed.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::{seal::BrokenSeal, statement::StatementLine};
use crate::{
    db::Conn,
    execute, fetch_all, fetch_one, fetch_optional,
    ids::{TransactionId, UserId},
    money::Rupiah,
};

/// Sums a wallet's entries until a moment: paid and bonus.
pub(in crate::wallet) async fn balance_before(
    conn: &mut Conn,
    user_id: UserId,
    before: DateTime<Utc>,
) -> sqlx::Result<(Rupiah, Rupiah)> {
    let sql = "SELECT CAST(coalesce(sum(CASE WHEN p.account = 'WALLET_PAID' THEN p.amount END), 0) AS BIGINT),
                 CAST(coalesce(sum(CASE WHEN p.account = 'WALLET_BONUS' THEN p.amount END), 0) AS BIGINT)
               FROM journal_entries e JOIN postings p ON p.entry_id = e.id AND p.user_id = $1
               WHERE e.wallet_id = $1 AND e.posted_at < $2";
    fetch_one!(conn, (Rupiah, Rupiah), sql, user_id, before)
}

/// A wallet's entries in a stretch of time, in the order of its chain.
pub(in crate::wallet) async fn statement(
    conn: &mut Conn,
    user_id: UserId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<StatementLine>> {
    let sql = "SELECT e.posted_at, t.number, t.type AS kind, t.description,
                 CAST(coalesce(sum(CASE WHEN p.account = 'WALLET_PAID' THEN p.amount END), 0) AS BIGINT) AS paid,
                 CAST(coalesce(sum(CASE WHEN p.account = 'WALLET_BONUS' THEN p.amount END), 0) AS BIGINT) AS bonus
               FROM journal_entries e JOIN transactions t ON t.id = e.transaction_id
               LEFT JOIN postings p ON p.entry_id = e.id AND p.user_id = $1
               WHERE e.wallet_id = $1 AND e.posted_at >= $2 AND e.posted_at < $3
               GROUP BY e.position, e.posted_at, t.number, t.type, t.description ORDER BY e.position";
    fetch_all!(conn, StatementLine, sql, user_id, from, to)
}

/// Returns a transaction's effect on its wallet: paid and bonus.
pub(in crate::wallet) async fn movement_of(
    conn: &mut Conn,
    transaction_id: TransactionId,
) -> sqlx::Result<(Rupiah, Rupiah)> {
    let sql = "SELECT CAST(coalesce(sum(CASE WHEN p.account = 'WALLET_PAID' THEN p.amount END), 0) AS BIGINT),
                 CAST(coalesce(sum(CASE WHEN p.account = 'WALLET_BONUS' THEN p.amount END), 0) AS BIGINT)
               FROM journal_entries e JOIN postings p ON p.entry_id = e.id AND p.user_id = e.wallet_id
               WHERE e.transaction_id = $1";
    fetch_one!(conn, (Rupiah, Rupiah), sql, transaction_id)
}

/// A customer's name and e-mail address.
pub(in crate::wallet) async fn owner(
    conn: &mut Conn,
    user_id: UserId,
) -> sqlx::Result<Option<(String, String)>> {
    let sql = "SELECT name, email FROM users WHERE id = $1";
    fetch_optional!(conn, (String, String), sql, user_id)
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(in crate::wallet) struct SealRow {
    pub(in crate::wallet) id: Uuid,
    pub(in crate::wallet) number: i64,
    pub(in crate::wallet) sealed_at: DateTime<Utc>,
    pub(in crate::wallet) digest: String,
}

/// Last entry of a chain when it was sealed.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(in crate::wallet) struct SealedHead {
    pub(in crate::wallet) wallet_id: UserId,
    pub(in crate::wallet) position: i64,
    pub(in crate::wallet) hash: String,
}

pub(in crate::wallet) async fn last_seal(conn: &mut Conn) -> sqlx::Result<Option<SealRow>> {
    let sql = "SELECT id, number, sealed_at, digest FROM ledger_seals ORDER BY number DESC LIMIT 1";
    fetch_optional!(conn, SealRow, sql)
}

pub(in crate::wallet) async fn seals(conn: &mut Conn) -> sqlx::Result<Vec<SealRow>> {
    let sql = "SELECT id, number, sealed_at, digest FROM ledger_seals ORDER BY number";
    fetch_all!(conn, SealRow, sql)
}

pub(in crate::wallet) async fn insert_seal(conn: &mut Conn, row: &SealRow) -> sqlx::Result<()> {
    let sql = "INSERT INTO ledger_seals (id, number, sealed_at, digest) VALUES ($1, $2, $3, $4)";
    execute!(conn, sql, row.id, row.number, row.sealed_at, &row.digest).map(|_| ())
}

/// Inserts the heads in one statement, so that it sees all of them at one moment; no wallet is
/// locked.
pub(in crate::wallet) async fn insert_sealed_heads(
    conn: &mut Conn,
    number: i64,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO ledger_seal_heads (seal_number, wallet_id, position, hash)
               SELECT $1, w.user_id, w.entries, w.head_hash FROM wallets w
               WHERE w.entries > coalesce((SELECT max(h.position) FROM ledger_seal_heads h WHERE h.wallet_id = w.user_id), 0)";
    execute!(conn, sql, number)
}

/// The next heads of a seal, in the order of their wallets.
pub(in crate::wallet) async fn sealed_heads(
    conn: &mut Conn,
    number: i64,
    after: UserId,
    limit: i64,
) -> sqlx::Result<Vec<SealedHead>> {
    let sql = "SELECT wallet_id, position, hash FROM ledger_seal_heads WHERE seal_number = $1 AND wallet_id > $2
               ORDER BY wallet_id LIMIT $3";
    fetch_all!(conn, SealedHead, sql, number, after, limit)
}

/// The first sealed heads whose entry is gone or another one.
pub(in crate::wallet) async fn broken_seals(
    conn: &mut Conn,
    limit: i64,
) -> sqlx::Result<Vec<BrokenSeal>> {
    let sql = "SELECT h.wallet_id, h.seal_number, h.position FROM ledger_seal_heads h
               LEFT JOIN journal_entries e ON e.wallet_id = h.wallet_id AND e.position = h.position
               WHERE e.hash IS NULL OR e.hash <> h.hash ORDER BY h.seal_number, h.wallet_id LIMIT $1";
    fetch_all!(conn, BrokenSeal, sql, limit)
}
