//! Money that comes in from outside, and that can be taken back.

use serde_json::json;

use super::{
    Account, NewTransaction, Transaction, TransactionStatus, TransactionType,
    ledger::{self, Movement},
    locked::LockedWallet,
    store,
};
use crate::{
    Error, Result,
    db::{Clock, Conn},
    ids::{TransactionId, UserId},
    money::Rupiah,
};

/// A top-up that a customer asks for.
#[derive(Debug, Clone)]
pub struct TopUp {
    pub user_id: UserId,
    pub amount: Rupiah,
    /// Means of payment, for the reader of the transaction.
    pub method: String,
}

/// Part of a top-up that the gateway took back.
#[derive(Debug, Clone, Copy)]
pub struct TakenBack<'t> {
    pub top_up: &'t Transaction,
    pub amount: Rupiah,
    /// True when nothing of the top-up is left after it.
    pub is_last: bool,
    /// `TOP_UP_REFUND` or `CHARGEBACK`.
    pub kind: TransactionType,
}

/// Parts of a reversal: taken from the wallet, and no longer held by it.
#[derive(Debug, Clone)]
pub struct Reversal {
    pub transaction: Transaction,
    /// Debt of the customer now.
    pub owed: Rupiah,
}

/// Writes a top-up down as `PENDING`, with its number; no money has moved.
///
/// # Errors
/// When the database does not answer.
pub async fn announce_top_up(conn: &mut Conn, clock: &Clock, new: &TopUp) -> Result<Transaction> {
    let details = json!({ "paymentMethod": new.method });
    let description = format!("Top-up of {}", new.amount);
    let draft = record(new.user_id, TransactionType::TopUp, description, details);
    ledger::announce(conn, clock, new.amount, draft).await
}

/// The transaction with this id.
///
/// # Errors
/// `NOT_FOUND` when there is none.
pub async fn transaction(conn: &mut Conn, id: TransactionId) -> Result<Transaction> {
    store::transaction_by_id(conn, id)
        .await?
        .ok_or_else(|| Error::not_found("transaction"))
}

/// Ends an announced top-up without money, as `FAILED` or `CANCELLED`. `false` when it is not
/// `PENDING` any more.
///
/// # Errors
/// When the database does not answer.
pub async fn abandon(
    conn: &mut Conn,
    id: TransactionId,
    status: TransactionStatus,
) -> Result<bool> {
    Ok(store::change_status(conn, id, TransactionStatus::Pending, status).await?)
}

/// The money of an announced top-up has come to the locked wallet.
///
/// # Errors
/// `CONFLICT` when it was credited before.
pub async fn credit(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &mut LockedWallet,
    announced: Transaction,
    idempotency_key: &str,
) -> Result<Transaction> {
    let amount = announced.amount;
    let movement = Movement {
        paid: amount,
        bonus: Rupiah::ZERO,
        others: vec![(Account::Gateway, amount.negated())],
    };
    ledger::complete(conn, clock, wallet, &movement, idempotency_key, announced).await
}

/// The gateway took money back. Paid credit of the locked wallet pays it as far as it goes; the
/// rest is owed. With the last rupiah the top-up itself becomes `REFUNDED`.
///
/// # Errors
/// `CONFLICT` when the key was posted before.
pub async fn take_back(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &mut LockedWallet,
    taken: &TakenBack<'_>,
    idempotency_key: &str,
) -> Result<Reversal> {
    let (top_up, amount) = (taken.top_up, taken.amount);
    let held = wallet.paid_balance.min(amount);
    let owed = amount.minus(held)?;
    let movement = Movement {
        paid: held.negated(),
        bonus: Rupiah::ZERO,
        others: vec![
            (Account::Receivables, owed.negated()),
            (Account::Gateway, amount),
        ],
    };
    let description = format!("{amount} of top-up {} taken back", top_up.number);
    let details = json!({ "topUp": top_up.number, "amount": amount, "owed": owed });
    let new = record(wallet.user_id, taken.kind, description, details);
    let transaction = ledger::post(conn, clock, wallet, &movement, idempotency_key, new).await?;
    if taken.is_last {
        let (from, to) = (TransactionStatus::Completed, TransactionStatus::Refunded);
        store::change_status(conn, top_up.id, from, to).await?;
    }
    Ok(Reversal { transaction, owed })
}

/// Puts what [`take_back`] took back into the locked wallet: the gateway did not pay it out.
///
/// # Errors
/// `CONFLICT` when the key was posted before.
pub async fn not_taken_back(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &mut LockedWallet,
    top_up: &Transaction,
    amount: Rupiah,
    idempotency_key: &str,
) -> Result<Transaction> {
    let movement = Movement {
        paid: amount,
        bonus: Rupiah::ZERO,
        others: vec![(Account::Gateway, amount.negated())],
    };
    let description = format!("Refund of top-up {} undone", top_up.number);
    let details = json!({ "topUp": top_up.number, "amount": amount });
    let kind = TransactionType::TopUpRefund;
    let new = record(wallet.user_id, kind, description, details);
    ledger::post(conn, clock, wallet, &movement, idempotency_key, new).await
}

/// Marks a top-up as refunded.
///
/// # Errors
/// When the database does not answer.
pub async fn refunded(conn: &mut Conn, top_up: TransactionId) -> Result<bool> {
    let (from, to) = (TransactionStatus::Completed, TransactionStatus::Refunded);
    Ok(store::change_status(conn, top_up, from, to).await?)
}

/// Paid credit of the locked wallet pays `amount` of a debt.
///
/// # Errors
/// `INSUFFICIENT_CREDIT` when there is not so much, `CONFLICT` when the key was posted before.
pub async fn collect_debt(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &mut LockedWallet,
    amount: Rupiah,
    reason: &str,
    idempotency_key: &str,
) -> Result<Transaction> {
    let movement = Movement {
        paid: amount.negated(),
        bonus: Rupiah::ZERO,
        others: vec![(Account::Receivables, amount)],
    };
    let details = json!({ "reason": reason });
    let description = format!("{amount} of a debt paid");
    let new = record(
        wallet.user_id,
        TransactionType::DebtPayment,
        description,
        details,
    );
    ledger::post(conn, clock, wallet, &movement, idempotency_key, new).await
}

const fn record(
    user_id: UserId,
    kind: TransactionType,
    description: String,
    details: serde_json::Value,
) -> NewTransaction {
    NewTransaction {
        user_id,
        kind,
        description,
        details,
        subscription_id: None,
        coupon_id: None,
        price_decision_id: None,
        coupon_decision_id: None,
    }
}
