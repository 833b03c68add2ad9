//! SQL over all wallets, for administrators.

use chrono::{DateTime, Utc};

use super::super::{
    Transaction, TransactionNumber, TransactionStatus, TransactionType, WalletOrder,
};
use crate::{
    db::{Conn, contains},
    fetch_all, fetch_built, fetch_one, fetch_optional,
    ids::UserId,
    money::Rupiah,
};

/// A wallet and whose it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OwnedWallet {
    pub user_id: UserId,
    pub email: String,
    pub name: String,
    pub paid_balance: Rupiah,
    pub bonus_balance: Rupiah,
    pub total_top_up: Rupiah,
    pub total_spent: Rupiah,
    pub entries: i64,
    pub head_hash: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A transaction and whose it is.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OwnedTransaction {
    pub email: String,
    #[sqlx(flatten)]
    pub transaction: Transaction,
}

impl WalletOrder {
    const fn sql(self) -> &'static str {
        match self {
            Self::Balance => " ORDER BY w.paid_balance + w.bonus_balance DESC, w.user_id",
            Self::Spent => " ORDER BY w.total_spent DESC, w.user_id",
            Self::TopUp => " ORDER BY w.total_top_up DESC, w.user_id",
            Self::Changed => " ORDER BY w.updated_at DESC, w.user_id",
        }
    }
}

#[derive(Debug, Clone)]
pub struct WalletFilter {
    /// Part of an e-mail address or a name.
    pub owner: Option<String>,
    pub min_balance: Option<Rupiah>,
    pub max_balance: Option<Rupiah>,
}

const WALLETS: &str = "SELECT w.user_id, u.email, u.name, w.paid_balance, w.bonus_balance, w.total_top_up, w.total_spent,
    w.entries, w.head_hash, w.created_at, w.updated_at FROM wallets w JOIN users u ON u.id = w.user_id";

macro_rules! filter_wallets {
    ($q:ident, $filter:expr) => {
        $q.push(" WHERE true");
        if let Some(owner) = &$filter.owner {
            let pattern = contains(owner);
            $q.push(" AND (lower(u.email) LIKE ")
                .push_bind(pattern.clone());
            $q.push(" ESCAPE '!' OR lower(u.name) LIKE ")
                .push_bind(pattern);
            $q.push(" ESCAPE '!')");
        }
        if let Some(least) = $filter.min_balance {
            $q.push(" AND w.paid_balance + w.bonus_balance >= ")
                .push_bind(least);
        }
        if let Some(most) = $filter.max_balance {
            $q.push(" AND w.paid_balance + w.bonus_balance <= ")
                .push_bind(most);
        }
    };
}

pub async fn wallets(
    conn: &mut Conn,
    filter: &WalletFilter,
    order: WalletOrder,
    limit: i64,
    offset: i64,
) -> sqlx::Result<Vec<OwnedWallet>> {
    fetch_built!(conn, OwnedWallet, WALLETS, |q| {
        filter_wallets!(q, filter);
        q.push(order.sql()).push(" LIMIT ").push_bind(limit);
        q.push(" OFFSET ").push_bind(offset);
    })
}

pub async fn count_wallets(conn: &mut Conn, filter: &WalletFilter) -> sqlx::Result<i64> {
    const COUNT: &str = "SELECT count(*) FROM wallets w JOIN users u ON u.id = w.user_id";
    let rows: Vec<(i64,)> = fetch_built!(conn, (i64,), COUNT, |q| {
        filter_wallets!(q, filter);
    })?;
    Ok(rows.first().map_or(0, |(count,)| *count))
}

pub async fn owned_wallet(conn: &mut Conn, user_id: UserId) -> sqlx::Result<Option<OwnedWallet>> {
    let sql = "SELECT w.user_id, u.email, u.name, w.paid_balance, w.bonus_balance, w.total_top_up, w.total_spent,
        w.entries, w.head_hash, w.created_at, w.updated_at FROM wallets w JOIN users u ON u.id = w.user_id WHERE w.user_id = $1";
    fetch_optional!(conn, OwnedWallet, sql, user_id)
}

/// Sums over all wallets.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct Totals {
    pub wallets: i64,
    pub with_credit: i64,
    pub paid: Rupiah,
    pub bonus: Rupiah,
    pub top_up: Rupiah,
    pub spent: Rupiah,
}

pub async fn totals(conn: &mut Conn) -> sqlx::Result<Totals> {
    let sql = "SELECT count(*) AS wallets,
        CAST(coalesce(sum(CASE WHEN paid_balance + bonus_balance > 0 THEN 1 ELSE 0 END), 0) AS BIGINT) AS with_credit,
        CAST(coalesce(sum(paid_balance), 0) AS BIGINT) AS paid,
        CAST(coalesce(sum(bonus_balance), 0) AS BIGINT) AS bonus,
        CAST(coalesce(sum(total_top_up), 0) AS BIGINT) AS top_up,
        CAST(coalesce(sum(total_spent), 0) AS BIGINT) AS spent FROM wallets";
    fetch_one!(conn, Totals, sql)
}

/// Transactions of one type and status: how many, over how much.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub struct TypeTotal {
    #[sqlx(rename = "type")]
    pub kind: TransactionType,
    pub status: TransactionStatus,
    pub count: i64,
    pub amount: Rupiah,
}

pub async fn totals_by_type(conn: &mut Conn, since: DateTime<Utc>) -> sqlx::Result<Vec<TypeTotal>> {
    let sql =
        "SELECT type, status, count(*) AS count, CAST(coalesce(sum(amount), 0) AS BIGINT) AS amount
        FROM transactions WHERE created_at >= $1 GROUP BY type, status ORDER BY type, status";
    fetch_all!(conn, TypeTotal, sql, since)
}

/// Filter of a list of all transactions.
#[derive(Debug, Clone, Copy)]
pub struct AnyTransactionFilter {
    pub user_id: Option<UserId>,
    pub number: Option<TransactionNumber>,
    pub kind: Option<TransactionType>,
    pub status: Option<TransactionStatus>,
    pub from: Option<DateTime<Utc>>,
    pub to: Option<DateTime<Utc>>,
    /// Of the amount without its sign.
    pub min_amount: Option<Rupiah>,
}

macro_rules! filter_any {
    ($q:ident, $filter:expr) => {
        $q.push(" WHERE true");
        if let Some(user_id) = $filter.user_id {
            $q.push(" AND t.user_id = ").push_bind(user_id);
        }
        if let Some(number) = $filter.number {
            $q.push(" AND t.number = ").push_bind(number);
        }
        if let Some(kind) = $filter.kind {
            $q.push(" AND t.type = ").push_bind(kind);
        }
        if let Some(status) = $filter.status {
            $q.push(" AND t.status = ").push_bind(status);
        }
        if let Some(from) = $filter.from {
            $q.push(" AND t.created_at >= ").push_bind(from);
        }
        if let Some(to) = $filter.to {
            $q.push(" AND t.created_at < ").push_bind(to);
        }
        if let Some(least) = $filter.min_amount {
            $q.push(" AND abs(t.amount) >= ").push_bind(least);
        }
    };
}

const TRANSACTIONS: &str = "SELECT u.email, t.id, t.number, t.user_id, t.type, t.status, t.amount, t.balance_before, t.balance_after,
    t.description, t.details, t.subscription_id, t.coupon_id, t.price_decision_id, t.coupon_decision_id, t.created_at, t.completed_at
    FROM transactions t JOIN users u ON u.id = t.user_id";

pub async fn any_transactions(
    conn: &mut Conn,
    filter: AnyTransactionFilter,
    limit: i64,
    offset: i64,
) -> sqlx::Result<Vec<OwnedTransaction>> {
    fetch_built!(conn, OwnedTransaction, TRANSACTIONS, |q| {
        filter_any!(q, filter);
        q.push(" ORDER BY t.created_at DESC, t.number DESC LIMIT ")
            .push_bind(limit);
        q.push(" OFFSET ").push_bind(offset);
    })
}

pub async fn count_any_transactions(
    conn: &mut Conn,
    filter: AnyTransactionFilter,
) -> sqlx::Result<i64> {
    const COUNT: &str = "SELECT count(*) FROM transactions t";
    let rows: Vec<(i64,)> = fetch_built!(conn, (i64,), COUNT, |q| {
        filter_any!(q, filter);
    })?;
    Ok(rows.first().map_or(0, |(count,)| *count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_means_its_characters() {
        assert_eq!(contains("Sari"), "%sari%");
        assert_eq!(contains("50%_!"), "%50!%!_!!%");
    }
}
