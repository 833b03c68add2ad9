//! Wallets and transactions as customers and administrators read them.

use chrono::{DateTime, Utc};

use super::{
    AnyTransactionFilter, Float, OwnedTransaction, OwnedWallet, Totals, Transaction,
    TransactionFilter, TransactionName, TransactionNumber, TransactionView, TypeTotal,
    WalletFilter, WalletInfo, WalletOrder, Wallets, float, store,
};
use crate::{
    Error, Result, calendar,
    db::{Conn, Db, Span, Walked},
    ids::{TransactionId, UserId},
    money::Rupiah,
};

/// Transactions that are shown beside a wallet.
const RECENT: i64 = 10;

/// Returns a customer's wallet at a glance.
///
/// # Errors
/// `NOT_FOUND` when the customer has no wallet.
pub async fn info(wallets: &Wallets, user_id: UserId) -> Result<WalletInfo> {
    let clock = &wallets.clock;
    let month = calendar::start_of_month(clock.zone(), clock.now());
    let found = store::at_a_glance(&mut wallets.db.read().await?, user_id, month).await?;
    let (sums, recent) = found.ok_or_else(|| Error::not_found("wallet"))?;
    Ok(WalletInfo {
        paid_balance: sums.paid_balance,
        bonus_balance: sums.bonus_balance,
        total_balance: sums.paid_balance.plus(sums.bonus_balance)?,
        total_top_up: sums.total_top_up,
        total_spent: sums.total_spent,
        spent_this_month: sums.spent,
        recent_transactions: recent.into_iter().map(TransactionView::from).collect(),
    })
}

/// Lists a customer's transactions, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn transactions(
    db: &Db,
    user_id: UserId,
    filter: TransactionFilter,
    span: Span<TransactionNumber>,
) -> Result<Walked<Transaction>> {
    Ok(store::transactions(&mut db.read().await?, user_id, filter, span).await?)
}

/// Returns a customer's transaction by its id or number.
///
/// # Errors
/// `NOT_FOUND` when there is none or it is another customer's.
pub async fn transaction_of(
    conn: &mut Conn,
    user_id: UserId,
    name: TransactionName,
) -> Result<Transaction> {
    let found = store::transaction(conn, user_id, name).await?;
    found.ok_or_else(|| Error::not_found("transaction"))
}

/// Returns the id of a customer's transaction, `None` when there is none or it is another
/// customer's.
///
/// # Errors
/// When the database does not answer.
pub async fn transaction_id(
    conn: &mut Conn,
    user_id: UserId,
    name: TransactionName,
) -> Result<Option<TransactionId>> {
    Ok(store::transaction_id(conn, user_id, name).await?)
}

/// Lists all wallets.
///
/// # Errors
/// `VALIDATION_FAILED` for a place in another order than that of balances.
pub async fn wallets(
    db: &Db,
    filter: &WalletFilter,
    order: WalletOrder,
    span: Span<UserId, Rupiah>,
) -> Result<Walked<OwnedWallet>> {
    if order != WalletOrder::Balance && matches!(span, Span::After(..)) {
        return Err(Error::invalid(
            "cursor",
            "cannot be combined with this order; leave out one of them",
        ));
    }
    Ok(store::admin::wallets(&mut db.read().await?, filter, order, span).await?)
}

/// Returns a customer's wallet and its last transactions.
///
/// # Errors
/// `NOT_FOUND` when the customer has no wallet.
pub async fn owned(db: &Db, user_id: UserId) -> Result<(OwnedWallet, Vec<Transaction>)> {
    let mut conn = db.read().await?;
    let found = store::admin::owned_wallet(&mut conn, user_id).await?;
    let wallet = found.ok_or_else(|| Error::not_found("wallet"))?;
    let recent = store::last_transactions(&mut conn, user_id, RECENT).await?;
    Ok((wallet, recent))
}

/// Lists the transactions of all customers, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn any_transactions(
    db: &Db,
    filter: AnyTransactionFilter,
    span: Span<TransactionNumber>,
) -> Result<Walked<OwnedTransaction>> {
    Ok(store::admin::any_transactions(&mut db.read().await?, filter, span).await?)
}

/// Sums of all wallets, read at one moment.
#[derive(Debug)]
pub struct AllWallets {
    pub totals: Totals,
    pub float: Float,
    /// Start of this month where the shop is.
    pub month_start: DateTime<Utc>,
    /// Transactions that took effect since then, and others that were begun since.
    pub this_month: Vec<TypeTotal>,
}

/// Adds up the transactions of all wallets from one moment until before another, by type and status. One that took
/// effect counts at that moment, and not when it was begun.
///
/// # Errors
/// When the database does not answer.
pub async fn totals_between(
    conn: &mut Conn,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<TypeTotal>> {
    Ok(store::admin::totals_by_type(conn, since, Some(until)).await?)
}

/// Returns the moment at which the first transaction of all wallets was begun, of those at a moment or after it.
///
/// # Errors
/// When the database does not answer.
pub async fn first_since(conn: &mut Conn, since: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    Ok(store::admin::first_since(conn, since).await?)
}

/// Adds up all wallets, now and for this month.
///
/// # Errors
/// When the database does not answer.
pub async fn all_wallets(wallets: &Wallets) -> Result<AllWallets> {
    let clock = &wallets.clock;
    let month_start = calendar::start_of_month(clock.zone(), clock.now());
    let mut conn = wallets.db.snapshot().await?;
    let totals = store::admin::totals(&mut conn).await?;
    Ok(AllWallets {
        float: float::shown(wallets, totals.paid),
        totals,
        this_month: store::admin::totals_by_type(&mut conn, month_start, None).await?,
        month_start,
    })
}
