//! Debts of customers: money that the gateway took back after it had been spent.

use super::{DebtView, Payment, store};
use crate::{
    Error, Result,
    alerts::{self, AlertKind},
    db::{Clock, Conn, new_id},
    ids::UserId,
    money::Rupiah,
    wallet::{self, LockedWallet, Reversal},
};

/// Subject of an alert about a customer's debts.
fn subject(user_id: UserId) -> String {
    format!("user:{user_id}")
}

/// Pays debts with cash that came to the locked wallet, at most `arrived`, the oldest debt first.
/// Each payment's idempotency key begins with `key`.
///
/// # Errors
/// `CONFLICT` when the key was used before.
pub async fn collect(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &mut LockedWallet,
    arrived: Rupiah,
    key: &str,
) -> Result<()> {
    let (user_id, mut left, mut has_paid) = (wallet.user_id, arrived, false);
    for debt in store::open_debts(conn, user_id).await? {
        let part = debt.amount.minus(debt.paid)?.min(left);
        if part.is_zero() {
            break;
        }
        left = left.minus(part)?;
        let key = format!("{key}:debt:{}", debt.id);
        let reason = "A top-up that had been spent was taken back.";
        wallet::collect_debt(conn, clock, wallet, part, reason, &key).await?;
        if !store::pay_debt(conn, debt.id, part, clock.now()).await? {
            return Err(Error::internal("a debt was paid by another transaction"));
        }
        has_paid = true;
    }
    if has_paid && store::open_debts(conn, user_id).await?.is_empty() {
        let (kind, subject) = (AlertKind::CustomerDebt, subject(user_id));
        alerts::resolve(conn, clock, kind, &subject).await?;
    }
    Ok(())
}

/// Writes down what a reversal took from a customer who had spent it.
pub(super) async fn owe(
    conn: &mut Conn,
    clock: &Clock,
    payment: &Payment,
    reversal: &Reversal,
) -> Result<()> {
    let amount = reversal.owed;
    let debt = DebtView {
        id: new_id(clock),
        user_id: payment.user_id,
        payment_id: payment.id,
        transaction_id: reversal.transaction.id,
        amount,
        paid: Rupiah::ZERO,
        created_at: clock.now(),
        settled_at: None,
    };
    store::insert_debt(conn, &debt).await?;
    let (kind, subject) = (AlertKind::CustomerDebt, subject(debt.user_id));
    let message = format!(
        "A customer owes {amount}: a top-up was taken back after it was spent. Their next top-ups and refunds pay it; see /admin/debts."
    );
    alerts::raise(conn, clock, kind, &subject, &message).await?;
    tracing::warn!(user.id = %debt.user_id, debt.id = %debt.id, debt.amount = amount.get(), "payment.debt");
    Ok(())
}
