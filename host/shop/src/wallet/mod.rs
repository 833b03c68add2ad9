//! The prepaid wallet: paid and bonus credit, and the ledger under them.
//!
//! Every change of money goes through [`ledger::post`]: one transaction row, one journal entry with
//! postings that sum to zero, and the wallet's materialised balances, in the caller's database
//! transaction. Bonus credit is kept apart, spent first, and never leaves as cash.

mod adjustment;
mod blocks;
mod books;
mod export;
pub mod float;
mod journal;
pub mod ledger;
mod locked;
mod model;
mod number;
mod reading;
pub mod receipt;
mod seal;
mod settings;
pub mod statement;
pub mod statistics;
mod store;
mod top_up;
mod typeface;

use std::sync::Arc;

use serde_json::json;

pub use adjustment::{Adjustment, CreditKind, Direction, adjust, adjust_all};
pub use blocks::close_blocks;
pub use books::watch_books;
pub use export::{ExportFormat, export};
pub use float::{Float, watch_float};
pub use locked::{LockedWallet, lock};
pub use model::{
    Account, AnyTransactionFilter, Balance, NewTransaction, OwnedTransaction, OwnedWallet, Payment,
    Totals, Transaction, TransactionFilter, TransactionStatus, TransactionType, TransactionView,
    TypeTotal, WalletFilter, WalletInfo, WalletOrder, WalletRow,
};
pub use number::{NotANumber, TransactionName, TransactionNumber};
pub use reading::{
    AllWallets, all_wallets, any_transactions, first_since, info, owned, totals_between,
    transaction_id, transaction_of, transactions, wallets,
};
pub use seal::{Seal, seal};
pub use settings::Settings;
pub use statistics::Statistics;
pub use top_up::{
    Reversal, TakenBack, TopUp, abandon, announce_top_up, collect_debt, credit, not_taken_back,
    refunded, take_back, transaction,
};
pub use typeface::Typeface;

use crate::{
    Code, Error, Result,
    db::{Clock, Conn, Db},
    ids::{TransactionId, UserId},
    money::Rupiah,
};

/// Wallets of all customers: the database, the clock and the settings.
#[derive(Debug, Clone)]
pub struct Wallets {
    pub db: Db,
    pub clock: Clock,
    pub(crate) settings: Arc<Settings>,
}

impl Wallets {
    /// Returns the wallets in this database.
    pub fn new(db: Db, clock: Clock, settings: Settings) -> Self {
        Self {
            db,
            clock,
            settings: Arc::new(settings),
        }
    }
}

/// Opens an empty wallet for a new customer.
///
/// # Errors
/// When the customer has one already.
pub async fn open(conn: &mut Conn, clock: &Clock, user_id: UserId) -> Result<()> {
    Ok(store::insert(conn, user_id, &ledger::genesis(user_id), clock.now()).await?)
}

/// Takes all credit from the locked wallet of an account that is deleted; nothing when it is empty.
///
/// # Errors
/// When the database refuses.
pub async fn give_up(conn: &mut Conn, clock: &Clock, wallet: &mut LockedWallet) -> Result<()> {
    let Balance { paid, bonus } = wallet.balance();
    let total = paid.plus(bonus)?;
    if !total.is_positive() {
        return Ok(());
    }
    let movement = ledger::Movement {
        paid: paid.negated(),
        bonus: bonus.negated(),
        others: vec![(Account::Adjustments, total)],
    };
    let user_id = wallet.user_id;
    let new = NewTransaction {
        user_id,
        kind: TransactionType::AdminAdjustment,
        description: "Credit given up with the account".to_owned(),
        details: json!({ "reason": "The account was deleted." }),
        subscription_id: None,
        coupon_id: None,
        price_decision_id: None,
        coupon_decision_id: None,
    };
    let key = format!("deletion:{user_id}");
    ledger::post(conn, clock, wallet, &movement, &key, new).await?;
    Ok(())
}

/// Closes the locked wallet of an account that is deleted.
///
/// # Errors
/// When the database refuses.
pub async fn close(conn: &mut Conn, clock: &Clock, wallet: &LockedWallet) -> Result<()> {
    store::close(conn, wallet.user_id, clock.now()).await?;
    Ok(())
}

/// Grants bonus credit out of promotions to the locked wallet.
///
/// # Errors
/// When the amount is not positive, or the idempotency key was posted before.
pub async fn grant_bonus(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &mut LockedWallet,
    amount: Rupiah,
    idempotency_key: &str,
    new: NewTransaction,
) -> Result<Transaction> {
    if !amount.is_positive() {
        return Err(Error::invalid("amount", "must be more than zero"));
    }
    let movement = ledger::Movement {
        paid: Rupiah::ZERO,
        bonus: amount,
        others: vec![(Account::Promotions, amount.negated())],
    };
    ledger::post(conn, clock, wallet, &movement, idempotency_key, new).await
}

/// Pays `price` less `discount` from the locked wallet, bonus credit first.
///
/// The discount is a cost of promotions, so that revenue shows the price and every rupiah of a
/// coupon is in the books.
///
/// # Errors
/// `INSUFFICIENT_CREDIT` with what is missing; nothing is written then.
pub async fn pay(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &mut LockedWallet,
    price: Rupiah,
    discount: Rupiah,
    idempotency_key: &str,
    new: NewTransaction,
) -> Result<Payment> {
    let due = price.minus(discount)?;
    let balance = wallet.balance();
    if balance.total()? < due {
        return Err(insufficient(due, balance)?);
    }
    let bonus = balance.bonus.min(due);
    let cash = due.minus(bonus)?;
    let movement = ledger::Movement {
        paid: cash.negated(),
        bonus: bonus.negated(),
        others: vec![
            (Account::Promotions, discount.negated()),
            (Account::Revenue, price),
        ],
    };
    let transaction = ledger::post(conn, clock, wallet, &movement, idempotency_key, new).await?;
    Ok(Payment {
        transaction,
        cash,
        bonus,
    })
}

/// Returns to the locked wallet the credit that [`pay`] took, each kind as it was.
///
/// # Errors
/// When the idempotency key was posted before.
pub async fn give_back(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &mut LockedWallet,
    (cash, bonus): (Rupiah, Rupiah),
    idempotency_key: &str,
    new: NewTransaction,
) -> Result<Transaction> {
    let movement = ledger::Movement {
        paid: cash,
        bonus,
        others: vec![(Account::Refunds, cash.plus(bonus)?.negated())],
    };
    ledger::post(conn, clock, wallet, &movement, idempotency_key, new).await
}

/// Undoes a purchase: what [`pay`] took comes back to the locked wallet, each kind of credit as it
/// was, and the purchase counts as none, also in what the customer has spent.
///
/// # Errors
/// When the idempotency key was posted before.
pub async fn undo_purchase(
    conn: &mut Conn,
    clock: &Clock,
    wallet: &mut LockedWallet,
    purchase: Option<TransactionId>,
    (cash, bonus): (Rupiah, Rupiah),
    idempotency_key: &str,
    new: NewTransaction,
) -> Result<()> {
    if let Some(id) = purchase {
        let (from, to) = (TransactionStatus::Completed, TransactionStatus::Refunded);
        store::change_status(conn, id, from, to).await?;
    }
    let total = cash.plus(bonus)?;
    if total.is_positive() {
        let back = (cash, bonus);
        let row = wallet.row_mut();
        // Written with the entry that follows.
        row.total_spent = row.total_spent.minus(total)?;
        give_back(conn, clock, wallet, back, idempotency_key, new).await?;
    }
    Ok(())
}

/// The refusal that a price is more than the wallet holds.
///
/// # Errors
/// When an amount does not fit.
pub fn insufficient(due: Rupiah, balance: Balance) -> Result<Error> {
    let missing = due.minus(balance.total()?)?;
    let message = format!(
        "This costs {due} and your wallet holds {}. You need {missing} more.",
        balance.total()?
    );
    Ok(Error::new(Code::InsufficientCredit, message).with("missing", missing.get().to_string()))
}

/// Refuses to add paid credit to a wallet that would then hold more than `WALLET_BALANCE_CAP`.
///
/// # Errors
/// `BALANCE_CAP_EXCEEDED`, with what can still be added.
pub fn check_cap(settings: &Settings, wallet: &WalletRow, amount: Rupiah) -> Result<()> {
    let Some(cap) = settings.balance_cap else {
        return Ok(());
    };
    if wallet.paid_balance.plus(amount)? <= cap {
        return Ok(());
    }
    let room = cap.minus(wallet.paid_balance)?.max(Rupiah::ZERO);
    let message =
        format!("A wallet can hold at most {cap} of paid credit; {room} can still be added.");
    Err(Error::new(Code::BalanceCapExceeded, message).with("amount", room.get().to_string()))
}

/// Reads the balance of the wallet.
///
/// # Errors
/// `NOT_FOUND` when the customer has no wallet.
pub async fn balance(conn: &mut Conn, user_id: UserId) -> Result<Balance> {
    let wallet = store::wallet(conn, user_id)
        .await?
        .ok_or_else(|| Error::not_found("wallet"))?;
    Ok(wallet.balance())
}

/// True when this customer has never completed a purchase that cost money before coupons.
///
/// # Errors
/// When the database does not answer.
pub async fn is_first_purchase(conn: &mut Conn, user_id: UserId) -> Result<bool> {
    Ok(store::purchases(conn, user_id).await? == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(paid: i64, bonus: i64) -> Balance {
        Balance {
            paid: Rupiah::new(paid),
            bonus: Rupiah::new(bonus),
        }
    }

    fn holding(paid: i64) -> WalletRow {
        WalletRow {
            user_id: UserId::from_u128(1),
            paid_balance: Rupiah::new(paid),
            bonus_balance: Rupiah::new(1_000_000),
            total_top_up: Rupiah::ZERO,
            total_spent: Rupiah::ZERO,
            entries: 0,
            head_hash: String::new(),
            closed_at: None,
        }
    }

    #[test]
    fn what_is_missing_is_told_to_the_rupiah() {
        let refused = insufficient(Rupiah::new(50_000), balance(20_000, 5_000)).unwrap();
        assert_eq!(
            refused.message,
            "This costs Rp50.000 and your wallet holds Rp25.000. You need Rp25.000 more."
        );
        assert_eq!(refused.details[0].message, "25000");
        assert!(insufficient(Rupiah::ZERO, balance(i64::MAX, 1)).is_err());
    }

    /// Bonus credit is no money of the customer, and counts for nothing here.
    #[test]
    fn a_cap_is_of_paid_credit_and_may_be_reached() {
        let capped = Settings {
            balance_cap: Some(Rupiah::new(100)),
            ..Settings::default()
        };
        for (held, amount, room) in [
            (0, 100, None),
            (60, 40, None),
            (60, 41, Some("40")),
            (100, 1, Some("0")),
            (250, 1, Some("0")),
        ] {
            let checked = check_cap(&capped, &holding(held), Rupiah::new(amount));
            let told = checked.err().map(|error| error.details[0].message.clone());
            assert_eq!(told.as_deref(), room, "{held} {amount}");
        }
        let huge = Rupiah::new(i64::MAX);
        check_cap(&Settings::default(), &holding(1), huge).unwrap();
        let overflow = check_cap(&capped, &holding(1), huge).unwrap_err();
        assert_eq!(overflow.code, Code::ValidationFailed);
    }
}
