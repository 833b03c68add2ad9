//! Payments and debts as customers and administrators read them.

use super::{DebtFilter, DebtView, NoticeView, Payment, PaymentFilter, store};
use crate::{
    Error, Result,
    db::{Db, Span, Walked},
    ids::{DebtId, PaymentId, UserId},
    wallet::{self, TransactionName},
};

/// Returns a customer's payment, by the id or number of its transaction.
///
/// # Errors
/// `NOT_FOUND` when there is none or it is another customer's.
pub async fn of_customer(db: &Db, user_id: UserId, name: TransactionName) -> Result<Payment> {
    let mut conn = db.read().await?;
    let found = match wallet::transaction_id(&mut conn, user_id, name).await? {
        Some(transaction) => store::by_transaction(&mut conn, transaction).await?,
        None => None,
    };
    found.ok_or_else(|| Error::not_found("top-up"))
}

/// Lists payments, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    db: &Db,
    filter: PaymentFilter,
    span: Span<PaymentId>,
) -> Result<Walked<Payment>> {
    Ok(store::list(&mut db.read().await?, filter, span).await?)
}

/// Returns a payment and its notices, in the order they came.
///
/// # Errors
/// `NOT_FOUND` for an unknown one.
pub async fn with_notices(db: &Db, id: PaymentId) -> Result<(Payment, Vec<NoticeView>)> {
    let mut conn = db.read().await?;
    let payment = store::by_id(&mut conn, id)
        .await?
        .ok_or_else(|| Error::not_found("payment"))?;
    let notices = store::notices(&mut conn, id).await?;
    Ok((payment, notices))
}

/// Lists debts, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn debts(db: &Db, filter: DebtFilter, span: Span<DebtId>) -> Result<Walked<DebtView>> {
    Ok(store::debts(&mut db.read().await?, filter, span).await?)
}
