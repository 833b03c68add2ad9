//! SQL of the ledger's proof and export: everything that was posted, a page at a time.

use super::{
    super::{Account, TransactionNumber, WalletRow},
    EntryRow, PostingRow,
};
use crate::{
    db::{Conn, Filter, fetch_where},
    fetch_all, fetch_one,
    ids::{EntryId, UserId},
    money::Rupiah,
};

/// The next wallets, in the order of their ids.
pub(in crate::wallet) async fn wallets_after(
    conn: &mut Conn,
    user_id: UserId,
    limit: i64,
) -> sqlx::Result<Vec<WalletRow>> {
    let sql = "SELECT user_id, paid_balance, bonus_balance, total_top_up, total_spent, entries, head_hash, closed_at
               FROM wallets WHERE user_id > $1 ORDER BY user_id LIMIT $2";
    fetch_all!(conn, WalletRow, sql, user_id, limit)
}

/// The next entries, by wallet and position.
pub(in crate::wallet) async fn entries_after(
    conn: &mut Conn,
    wallet_id: UserId,
    position: i64,
    limit: i64,
) -> sqlx::Result<Vec<EntryRow>> {
    let sql = "SELECT id, transaction_id, wallet_id, position, posted_at, previous_hash, hash, idempotency_key
               FROM journal_entries WHERE (wallet_id, position) > ($1, $2) ORDER BY wallet_id, position LIMIT $3";
    fetch_all!(conn, EntryRow, sql, wallet_id, position, limit)
}

/// The postings of these entries, and which of them each belongs to. The entries are named one by
/// one: joined to a page whose length it does not know, PostgreSQL would rather read all postings.
pub(in crate::wallet) async fn postings_of(
    conn: &mut Conn,
    entries: &[EntryRow],
) -> sqlx::Result<Vec<(EntryId, PostingRow)>> {
    type Row = (EntryId, i64, Account, Option<UserId>, Rupiah);
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let select = "SELECT entry_id, line, account, user_id, amount FROM postings";
    let filter = Filter::default().with_any("entry_id", entries.iter().map(|entry| entry.id));
    let rows: Vec<Row> = fetch_where(conn, select, &filter, "ORDER BY entry_id, line").await?;
    let posting = |(entry_id, line, account, user_id, amount)| {
        let row = PostingRow {
            line,
            account,
            user_id,
            amount,
        };
        (entry_id, row)
    };
    Ok(rows.into_iter().map(posting).collect())
}

/// Counts postings whose entry is not there.
pub(in crate::wallet) async fn stray_postings(conn: &mut Conn) -> sqlx::Result<i64> {
    let sql = "SELECT count(*) FROM postings p WHERE NOT EXISTS (SELECT 1 FROM journal_entries e WHERE e.id = p.entry_id)";
    let (count,) = fetch_one!(conn, (i64,), sql)?;
    Ok(count)
}

/// The first completed transactions whose amount is not what their entries did to the wallet.
/// Postings are summed entry by entry: as a join, PostgreSQL without statistics (after a restore,
/// say) would read all of them for each transaction, and so would SQLite with the accounts as a
/// condition.
pub(in crate::wallet) async fn unposted(
    conn: &mut Conn,
    limit: i64,
) -> sqlx::Result<Vec<(TransactionNumber, Rupiah)>> {
    let sql = "SELECT t.number, t.amount FROM transactions t WHERE t.status IN ('COMPLETED', 'REFUNDED')
               AND t.amount <> (SELECT CAST(coalesce(sum(
                   (SELECT sum(CASE WHEN p.account IN ('WALLET_PAID', 'WALLET_BONUS') THEN p.amount END) FROM postings p WHERE p.entry_id = e.id)
                 ), 0) AS BIGINT) FROM journal_entries e WHERE e.transaction_id = t.id)
               ORDER BY t.number LIMIT $1";
    fetch_all!(conn, (TransactionNumber, Rupiah), sql, limit)
}
