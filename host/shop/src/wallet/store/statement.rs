//! SQL of statements and receipts: what is read of the journal.

use chrono::{DateTime, Utc};

use super::super::{blocks::Positions, statement::StatementLine};
use crate::{
    db::Conn,
    fetch_all, fetch_one, fetch_optional,
    ids::{TransactionId, UserId},
    money::Rupiah,
};

/// Sums those of a part of a wallet's entries that were posted before a moment: paid and bonus.
pub(in crate::wallet) async fn balance_within(
    conn: &mut Conn,
    user_id: UserId,
    (after, until): Positions,
    before: DateTime<Utc>,
) -> sqlx::Result<(Rupiah, Rupiah)> {
    let sql = "SELECT CAST(coalesce(sum(CASE WHEN p.account = 'WALLET_PAID' THEN p.amount END), 0) AS BIGINT),
                 CAST(coalesce(sum(CASE WHEN p.account = 'WALLET_BONUS' THEN p.amount END), 0) AS BIGINT)
               FROM journal_entries e JOIN postings p ON p.entry_id = e.id AND p.user_id = $1
               WHERE e.wallet_id = $1 AND e.position > $2 AND e.position <= $3 AND e.posted_at < $4";
    fetch_one!(conn, (Rupiah, Rupiah), sql, user_id, after, until, before)
}

/// Those of a part of a wallet's entries that are of a stretch of time, in the order of its chain.
pub(in crate::wallet) async fn statement(
    conn: &mut Conn,
    user_id: UserId,
    (after, until): Positions,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<Vec<StatementLine>> {
    let sql = "SELECT e.posted_at, t.number, t.type AS kind, t.description,
                 CAST(coalesce(sum(CASE WHEN p.account = 'WALLET_PAID' THEN p.amount END), 0) AS BIGINT) AS paid,
                 CAST(coalesce(sum(CASE WHEN p.account = 'WALLET_BONUS' THEN p.amount END), 0) AS BIGINT) AS bonus
               FROM journal_entries e JOIN transactions t ON t.id = e.transaction_id
               LEFT JOIN postings p ON p.entry_id = e.id AND p.user_id = $1
               WHERE e.wallet_id = $1 AND e.position > $2 AND e.position <= $3
                 AND e.posted_at >= $4 AND e.posted_at < $5
               GROUP BY e.position, e.posted_at, t.number, t.type, t.description ORDER BY e.position";
    fetch_all!(conn, StatementLine, sql, user_id, after, until, from, to)
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
