//! SQL over all wallets, for administrators.

use chrono::{DateTime, Utc};

use super::super::{
    AnyTransactionFilter, OwnedTransaction, OwnedWallet, Totals, TransactionNumber,
    TransactionStatus, TransactionType, TypeTotal, WalletFilter, WalletOrder,
};
use crate::{
    db::{Conn, Filter, List, Span, Walked, fetch_first, fetch_span, fetch_where, find_where},
    fetch_one, fetch_optional,
    ids::UserId,
    money::Rupiah,
};

/// Transactions that a smallest amount names one by one; more of them are met soon in the list itself.
const MOST_NAMED: usize = 500;

impl WalletOrder {
    const fn sql(self) -> &'static str {
        match self {
            Self::Balance => "ORDER BY w.paid_balance + w.bonus_balance DESC, w.user_id DESC",
            Self::Spent => "ORDER BY w.total_spent DESC, w.user_id DESC",
            Self::TopUp => "ORDER BY w.total_top_up DESC, w.user_id DESC",
            Self::Changed => "ORDER BY w.updated_at DESC, w.user_id DESC",
        }
    }
}

const WALLETS: &str = "SELECT w.user_id, u.email, u.name, w.paid_balance, w.bonus_balance, w.total_top_up, w.total_spent,
    w.entries, w.head_hash, w.created_at, w.updated_at FROM wallets w JOIN users u ON u.id = w.user_id";

/// Places are those of the order by balance.
pub(in crate::wallet) async fn wallets(
    conn: &mut Conn,
    wanted: &WalletFilter,
    order: WalletOrder,
    span: Span<UserId, Rupiah>,
) -> sqlx::Result<Walked<OwnedWallet>> {
    let list = List {
        rows: WALLETS,
        from: if wanted.owner.is_some() {
            "FROM wallets w JOIN users u ON u.id = w.user_id"
        } else {
            "FROM wallets w"
        },
        key: "w.user_id",
        order: order.sql(),
    };
    let filter = Filter::default()
        .containing(&["u.email", "u.name"], wanted.owner.as_deref())
        .with_some("w.paid_balance + w.bonus_balance >= ?", wanted.min_balance)
        .with_some("w.paid_balance + w.bonus_balance <= ?", wanted.max_balance);
    let place = "(w.paid_balance + w.bonus_balance, w.user_id) < (?, ?)";
    fetch_span(conn, list, place, filter, span).await
}

pub(in crate::wallet) async fn owned_wallet(
    conn: &mut Conn,
    user_id: UserId,
) -> sqlx::Result<Option<OwnedWallet>> {
    find_where(conn, WALLETS, &Filter::of("w.user_id = ?", user_id)).await
}

pub(in crate::wallet) async fn totals(conn: &mut Conn) -> sqlx::Result<Totals> {
    let sql = "SELECT count(*) AS wallets,
        CAST(coalesce(sum(CASE WHEN paid_balance + bonus_balance > 0 THEN 1 ELSE 0 END), 0) AS BIGINT) AS with_credit,
        CAST(coalesce(sum(paid_balance), 0) AS BIGINT) AS paid,
        CAST(coalesce(sum(bonus_balance), 0) AS BIGINT) AS bonus,
        CAST(coalesce(sum(total_top_up), 0) AS BIGINT) AS top_up,
        CAST(coalesce(sum(total_spent), 0) AS BIGINT) AS spent FROM wallets";
    fetch_one!(conn, Totals, sql)
}

/// Sums of all wallets that are shown as metrics.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(in crate::wallet) struct Books {
    pub(in crate::wallet) paid: Rupiah,
    pub(in crate::wallet) bonus: Rupiah,
    pub(in crate::wallet) entries: i64,
    pub(in crate::wallet) last_entry: Option<DateTime<Utc>>,
}

pub(in crate::wallet) async fn books(conn: &mut Conn) -> sqlx::Result<Books> {
    let sql = "SELECT CAST(coalesce(sum(paid_balance), 0) AS BIGINT) AS paid,
        CAST(coalesce(sum(bonus_balance), 0) AS BIGINT) AS bonus,
        CAST(coalesce(sum(entries), 0) AS BIGINT) AS entries,
        max(CASE WHEN entries > 0 AND closed_at IS NULL THEN updated_at END) AS last_entry FROM wallets";
    fetch_one!(conn, Books, sql)
}

const TYPE_TOTALS: &str = "SELECT type, status, count(*) AS count,
    CAST(coalesce(sum(amount), 0) AS BIGINT) AS amount FROM transactions";

/// Those that took effect count at that moment, which may be days after they were begun, from an index alone; the
/// others, which are few, at the moment when they were begun, from the rows.
pub(in crate::wallet) async fn totals_by_type(
    conn: &mut Conn,
    since: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
) -> sqlx::Result<Vec<TypeTotal>> {
    let settled = Filter::default()
        .with_any("type", TransactionType::ALL.iter().copied())
        .and("status IN ('COMPLETED', 'REFUNDED')")
        .with("completed_at >= ?", since)
        .with_some("completed_at < ?", until);
    let tail = "GROUP BY type, status";
    let mut totals: Vec<TypeTotal> = fetch_where(conn, TYPE_TOTALS, &settled, tail).await?;
    let others = TransactionStatus::ALL.iter().copied();
    let others = Filter::default()
        .with_any("status", others.filter(|status| !status.took_effect()))
        .and("status <> 'COMPLETED'")
        .with("created_at >= ?", since)
        .with_some("created_at < ?", until);
    let others: Vec<TypeTotal> = fetch_where(conn, TYPE_TOTALS, &others, tail).await?;
    totals.extend(others);
    totals.sort_by_key(|total| (total.kind.as_str(), total.status.as_str()));
    Ok(totals)
}

/// Moment of the first transaction that was begun at a moment or after it.
pub(in crate::wallet) async fn first_since(
    conn: &mut Conn,
    since: DateTime<Utc>,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let sql =
        "SELECT created_at FROM transactions WHERE created_at >= $1 ORDER BY created_at LIMIT 1";
    let row = fetch_optional!(conn, (DateTime<Utc>,), sql, since)?;
    Ok(row.map(|(at,)| at))
}

/// Returns true for every status but that of nearly all transactions.
const fn is_rare(status: TransactionStatus) -> bool {
    !matches!(status, TransactionStatus::Completed)
}

const TRANSACTIONS: List = List {
    rows: "SELECT u.email, t.id, t.number, t.user_id, t.type, t.status, t.amount, t.balance_before, t.balance_after,
        t.description, t.details, t.subscription_id, t.coupon_id, t.price_decision_id, t.coupon_decision_id, t.created_at,
        t.completed_at FROM transactions t JOIN users u ON u.id = t.user_id",
    from: "FROM transactions t",
    key: "t.number",
    order: "ORDER BY t.created_at DESC, t.number DESC",
};

pub(in crate::wallet) async fn any_transactions(
    conn: &mut Conn,
    wanted: AnyTransactionFilter,
    span: Span<TransactionNumber>,
) -> sqlx::Result<Walked<OwnedTransaction>> {
    let filter = Filter::default()
        .with_some("t.user_id = ?", wanted.user_id)
        .with_some("t.number = ?", wanted.number)
        .with_some("t.type = ?", wanted.kind)
        .with_some("t.status = ?", wanted.status)
        .and_some(
            wanted
                .status
                .filter(|status| is_rare(*status))
                .map(|_| "t.status <> 'COMPLETED'"),
        )
        .with_some("t.created_at >= ?", wanted.from)
        .with_some("t.created_at < ?", wanted.to);
    let filter = match wanted.min_amount {
        None => filter,
        Some(least) => with_least(conn, filter, least).await?,
    };
    let place = "(t.created_at, t.number) < (?, ?)";
    fetch_span(conn, TRANSACTIONS, place, filter, span).await
}

/// Adds a smallest amount, by the index of amounts where only few transactions have it.
async fn with_least<'v>(
    conn: &mut Conn,
    filter: Filter<'v>,
    least: Rupiah,
) -> sqlx::Result<Filter<'v>> {
    let found = largest(conn, least).await?;
    if found.len() <= MOST_NAMED {
        return Ok(filter.with_any("t.number", found));
    }
    // SQLite would use the index here, too, and sort all that it finds; the sign keeps it from that.
    let condition = if conn.is_postgres() {
        "abs(t.amount) >= ?"
    } else {
        "+abs(t.amount) >= ?"
    };
    Ok(filter.with(condition, least))
}

/// The largest transactions of a smallest amount, one more than are [named](MOST_NAMED).
async fn largest(conn: &mut Conn, least: Rupiah) -> sqlx::Result<Vec<TransactionNumber>> {
    let filter = Filter::of("abs(t.amount) >= ?", least);
    let (select, tail) = (
        "SELECT t.number FROM transactions t",
        "ORDER BY abs(t.amount) DESC",
    );
    let limit = i64::try_from(MOST_NAMED).unwrap_or(i64::MAX);
    let rows = fetch_first(conn, select, &filter, tail, limit.saturating_add(1));
    let rows: Vec<(TransactionNumber,)> = rows.await?;
    Ok(rows.into_iter().map(|(number,)| number).collect())
}
