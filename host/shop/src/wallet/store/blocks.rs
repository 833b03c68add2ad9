//! SQL of blocks of a chain.

use chrono::{DateTime, Utc};

use super::super::blocks::{ENTRIES, Positions};
use crate::{db::Conn, execute, fetch_all, fetch_optional, ids::UserId, money::Rupiah};

/// Effect of a thousand entries on their wallet, and their times.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(in crate::wallet) struct Block {
    pub(in crate::wallet) number: i64,
    pub(in crate::wallet) paid: Rupiah,
    pub(in crate::wallet) bonus: Rupiah,
    pub(in crate::wallet) first_at: DateTime<Utc>,
    pub(in crate::wallet) last_at: DateTime<Utc>,
}

/// Blocks of a wallet, in the order of its chain.
pub(in crate::wallet) async fn blocks(
    conn: &mut Conn,
    wallet_id: UserId,
) -> sqlx::Result<Vec<Block>> {
    let sql = "SELECT number, paid, bonus, first_at, last_at FROM ledger_blocks WHERE wallet_id = $1 ORDER BY number";
    fetch_all!(conn, Block, sql, wallet_id)
}

/// A block of a wallet.
pub(in crate::wallet) async fn block(
    conn: &mut Conn,
    wallet_id: UserId,
    number: i64,
) -> sqlx::Result<Option<Block>> {
    let sql = "SELECT number, paid, bonus, first_at, last_at FROM ledger_blocks WHERE wallet_id = $1 AND number = $2";
    fetch_optional!(conn, Block, sql, wallet_id, number)
}

/// The next wallets with full thousands of entries that are in no block: their blocks and their entries.
pub(in crate::wallet) async fn without_blocks(
    conn: &mut Conn,
    after: UserId,
    limit: i64,
) -> sqlx::Result<Vec<(UserId, i64, i64)>> {
    let sql = "SELECT w.user_id, (SELECT count(*) FROM ledger_blocks b WHERE b.wallet_id = w.user_id), w.entries
               FROM wallets w WHERE w.user_id > $1 AND w.entries >= $2
                 AND w.entries / $2 > (SELECT count(*) FROM ledger_blocks b WHERE b.wallet_id = w.user_id)
               ORDER BY w.user_id LIMIT $3";
    fetch_all!(conn, (UserId, i64, i64), sql, after, ENTRIES, limit)
}

/// The first wallets with blocks that are not those of their first full thousands of entries: one before the last is
/// missing, or one is of entries that are not there.
pub(in crate::wallet) async fn misplaced_blocks(
    conn: &mut Conn,
    limit: i64,
) -> sqlx::Result<Vec<(UserId,)>> {
    let sql = "SELECT b.wallet_id FROM ledger_blocks b JOIN wallets w ON w.user_id = b.wallet_id
               GROUP BY b.wallet_id, w.entries
               HAVING min(b.number) <> 1 OR max(b.number) <> count(*) OR max(b.number) > w.entries / $1
               ORDER BY b.wallet_id LIMIT $2";
    fetch_all!(conn, (UserId,), sql, ENTRIES, limit)
}

/// Adds up a block, unless another server has.
pub(in crate::wallet) async fn close_block(
    conn: &mut Conn,
    wallet_id: UserId,
    number: i64,
    (after, until): Positions,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO ledger_blocks (wallet_id, number, paid, bonus, first_at, last_at)
               SELECT e.wallet_id, $2,
                 CAST(coalesce(sum(CASE WHEN p.account = 'WALLET_PAID' THEN p.amount END), 0) AS BIGINT),
                 CAST(coalesce(sum(CASE WHEN p.account = 'WALLET_BONUS' THEN p.amount END), 0) AS BIGINT),
                 min(e.posted_at), max(e.posted_at)
               FROM journal_entries e LEFT JOIN postings p ON p.entry_id = e.id AND p.user_id = $1
               WHERE e.wallet_id = $1 AND e.position > $3 AND e.position <= $4
               GROUP BY e.wallet_id ON CONFLICT (wallet_id, number) DO NOTHING";
    execute!(conn, sql, wallet_id, number, after, until)
}
