//! SQL over all wallets, for administrators.

use chrono::{DateTime, Utc};

use super::super::{
    AnyTransactionFilter, OwnedTransaction, OwnedWallet, Totals, TransactionNumber, TypeTotal,
    WalletFilter, WalletOrder,
};
use crate::{
    db::{Conn, Filter, List, Page, Part, Span, Walked, fetch_page, fetch_span, find_where},
    fetch_all, fetch_one,
    ids::UserId,
    money::Rupiah,
};

impl WalletOrder {
    const fn sql(self) -> &'static str {
        match self {
            Self::Balance => "ORDER BY w.paid_balance + w.bonus_balance DESC, w.user_id",
            Self::Spent => "ORDER BY w.total_spent DESC, w.user_id",
            Self::TopUp => "ORDER BY w.total_top_up DESC, w.user_id",
            Self::Changed => "ORDER BY w.updated_at DESC, w.user_id",
        }
    }
}

const WALLETS: &str = "SELECT w.user_id, u.email, u.name, w.paid_balance, w.bonus_balance, w.total_top_up, w.total_spent,
    w.entries, w.head_hash, w.created_at, w.updated_at FROM wallets w JOIN users u ON u.id = w.user_id";

pub(in crate::wallet) async fn wallets(
    conn: &mut Conn,
    wanted: &WalletFilter,
    order: WalletOrder,
    part: Part,
) -> sqlx::Result<Page<OwnedWallet>> {
    let list = List {
        rows: WALLETS,
        count: "SELECT count(*) FROM wallets w JOIN users u ON u.id = w.user_id",
        order: order.sql(),
    };
    let filter = Filter::default()
        .containing(&["u.email", "u.name"], wanted.owner.as_deref())
        .with_some("w.paid_balance + w.bonus_balance >= ?", wanted.min_balance)
        .with_some("w.paid_balance + w.bonus_balance <= ?", wanted.max_balance);
    fetch_page(conn, list, &filter, part).await
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

pub(in crate::wallet) async fn totals_by_type(
    conn: &mut Conn,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<TypeTotal>> {
    let sql =
        "SELECT type, status, count(*) AS count, CAST(coalesce(sum(amount), 0) AS BIGINT) AS amount
        FROM transactions WHERE created_at >= $1 GROUP BY type, status ORDER BY type, status";
    fetch_all!(conn, TypeTotal, sql, since)
}

const TRANSACTIONS: List = List {
    rows: "SELECT u.email, t.id, t.number, t.user_id, t.type, t.status, t.amount, t.balance_before, t.balance_after,
        t.description, t.details, t.subscription_id, t.coupon_id, t.price_decision_id, t.coupon_decision_id, t.created_at,
        t.completed_at FROM transactions t JOIN users u ON u.id = t.user_id",
    count: "SELECT count(*) FROM transactions t",
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
        .with_some("t.created_at >= ?", wanted.from)
        .with_some("t.created_at < ?", wanted.to)
        .with_some("abs(t.amount) >= ?", wanted.min_amount);
    let place = "(t.created_at, t.number) < (?, ?)";
    fetch_span(conn, TRANSACTIONS, place, filter, span).await
}
