//! SQL of the daily seals.

use chrono::{DateTime, Utc};

use super::super::seal::BrokenSeal;
use crate::{
    db::Conn,
    execute, fetch_all, fetch_optional,
    ids::{SealId, UserId},
};

#[derive(Debug, Clone, sqlx::FromRow)]
pub(in crate::wallet) struct SealRow {
    pub(in crate::wallet) id: SealId,
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
