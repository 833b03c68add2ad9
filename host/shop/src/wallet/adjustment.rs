//! Credit that administrators add and take, each time with a reason that stays in the books.

use serde_json::json;

use super::Wallets;
use super::{
    Account, Balance, NewTransaction, Transaction, TransactionType, WalletRow, check_cap,
    ledger::{self, Movement},
    lock,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    db::{Conn, Uncommitted, new_id},
    ids::{TransactionId, UserId},
    money::Rupiah,
    text_enum,
};

text_enum! {
    /// The two kinds of credit.
    pub enum CreditKind {
        /// Money the customer paid; can be given back as cash.
        Paid = "PAID",
        /// A gift; spent first, never given back as cash.
        Bonus = "BONUS",
    }
}

text_enum! {
    pub enum Direction {
        Add = "ADD",
        Deduct = "DEDUCT",
    }
}

/// Change of one wallet by an administrator.
#[derive(Debug, Clone, Copy)]
pub struct Adjustment {
    pub user_id: UserId,
    pub direction: Direction,
    /// More than zero.
    pub amount: Rupiah,
    /// Absent: what is added is bonus credit; what is taken is bonus credit first, then paid.
    pub kind: Option<CreditKind>,
}

/// Adds or takes credit; the caller commits.
///
/// # Errors
/// `NOT_FOUND` for a customer without a wallet and for a deleted account, `INSUFFICIENT_CREDIT` when the
/// wallet holds less,
/// `BALANCE_CAP_EXCEEDED` when paid credit would be more than a customer may hold.
pub async fn adjust(
    wallets: &Wallets,
    actor: UserId,
    adjustment: Adjustment,
    reason: &str,
) -> Result<Uncommitted<Transaction>> {
    let mut conn = wallets.db.begin().await?;
    let transaction = book(&mut conn, wallets, actor, adjustment, reason).await?;
    Ok(Uncommitted::new(conn, transaction))
}

/// Makes all of the adjustments, in their order, or none; the caller commits.
///
/// # Errors
/// As [`adjust`], with the place of the one that cannot be made (`adjustments[3]`).
pub async fn adjust_all(
    wallets: &Wallets,
    actor: UserId,
    adjustments: &[Adjustment],
    reason: &str,
) -> Result<Uncommitted<Vec<Transaction>>> {
    let mut conn = wallets.db.begin().await?;
    lock_in_order(&mut conn, adjustments).await?;
    let mut made = Vec::with_capacity(adjustments.len());
    for (place, adjustment) in adjustments.iter().enumerate() {
        let transaction = book(&mut conn, wallets, actor, *adjustment, reason)
            .await
            .map_err(|error| at(place, error))?;
        made.push(transaction);
    }
    Ok(Uncommitted::new(conn, made))
}

/// Two runs that lock the same wallets in different orders would wait for each other.
async fn lock_in_order(conn: &mut Conn, adjustments: &[Adjustment]) -> Result<()> {
    let mut places: Vec<(UserId, usize)> = adjustments
        .iter()
        .zip(0..)
        .map(|(adjustment, place)| (adjustment.user_id, place))
        .collect();
    places.sort_unstable();
    for (user_id, place) in places {
        lock(conn, user_id)
            .await
            .map_err(|error| at(place, error))?;
    }
    Ok(())
}

fn at(place: usize, error: Error) -> Error {
    let message = error.message.clone();
    error.with(format!("adjustments[{place}]"), message)
}

async fn book(
    conn: &mut Conn,
    wallets: &Wallets,
    actor: UserId,
    adjustment: Adjustment,
    reason: &str,
) -> Result<Transaction> {
    // Read again where it is locked already: another of these adjustments may have changed it.
    let mut wallet = lock(conn, adjustment.user_id).await?;
    // Nothing could take it out of a deleted account again.
    wallet.check_open()?;
    let movement = movement(&wallet, adjustment)?;
    if movement.paid.is_positive() {
        check_cap(&wallets.settings, &wallet, movement.paid)?;
    }
    let id: TransactionId = new_id(&wallets.clock);
    let (act, description) = match adjustment.direction {
        Direction::Add => (AuditAct::CreditAdded, "Credit added by the shop"),
        Direction::Deduct => (AuditAct::CreditDeducted, "Credit taken by the shop"),
    };
    let details = json!({ "reason": reason, "paid": movement.paid, "bonus": movement.bonus });
    let new = NewTransaction {
        user_id: adjustment.user_id,
        kind: TransactionType::AdminAdjustment,
        description: description.to_owned(),
        details,
        subscription_id: None,
        coupon_id: None,
        price_decision_id: None,
        coupon_decision_id: None,
    };
    let key = format!("adjustment:{id}");
    let transaction = ledger::post(conn, &wallets.clock, &mut wallet, &movement, &key, new).await?;
    let details = json!({ "paid": movement.paid, "bonus": movement.bonus });
    let event = Event::new(act, Subject::Wallet(adjustment.user_id), details).because(reason);
    audit::record(conn, &wallets.clock, actor, event).await?;
    Ok(transaction)
}

fn movement(wallet: &WalletRow, adjustment: Adjustment) -> Result<Movement> {
    let Adjustment {
        direction,
        amount,
        kind,
        ..
    } = adjustment;
    if !amount.is_positive() {
        return Err(Error::invalid("amount", "must be more than zero"));
    }
    let (paid, bonus) = match direction {
        Direction::Add => added(amount, kind),
        Direction::Deduct => {
            let (paid, bonus) = taken(wallet.balance(), amount, kind)?;
            (paid.negated(), bonus.negated())
        }
    };
    Ok(Movement {
        paid,
        bonus,
        others: vec![(Account::Adjustments, paid.plus(bonus)?.negated())],
    })
}

const fn added(amount: Rupiah, kind: Option<CreditKind>) -> (Rupiah, Rupiah) {
    match kind {
        Some(CreditKind::Paid) => (amount, Rupiah::ZERO),
        // No payment is recorded behind this credit, so none can be asked back.
        Some(CreditKind::Bonus) | None => (Rupiah::ZERO, amount),
    }
}

/// Splits the amount to take into paid and bonus credit.
fn taken(balance: Balance, amount: Rupiah, kind: Option<CreditKind>) -> Result<(Rupiah, Rupiah)> {
    let reachable = match kind {
        None => balance,
        Some(CreditKind::Paid) => Balance {
            bonus: Rupiah::ZERO,
            ..balance
        },
        Some(CreditKind::Bonus) => Balance {
            paid: Rupiah::ZERO,
            ..balance
        },
    };
    if reachable.total()? < amount {
        let message = format!(
            "The wallet holds {} of that credit, and {amount} cannot be taken from it.",
            reachable.total()?
        );
        return Err(Error::new(Code::InsufficientCredit, message));
    }
    let bonus = reachable.bonus.min(amount);
    Ok((amount.minus(bonus)?, bonus))
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

    fn moved(direction: Direction, amount: i64, kind: Option<CreditKind>) -> Result<(i64, i64)> {
        let wallet = WalletRow {
            user_id: UserId::from_u128(1),
            paid_balance: Rupiah::new(300),
            bonus_balance: Rupiah::new(100),
            total_top_up: Rupiah::ZERO,
            total_spent: Rupiah::ZERO,
            entries: 0,
            head_hash: String::new(),
            closed_at: None,
        };
        let adjustment = Adjustment {
            user_id: wallet.user_id,
            direction,
            amount: Rupiah::new(amount),
            kind,
        };
        let Movement {
            paid,
            bonus,
            others,
        } = movement(&wallet, adjustment)?;
        let all = others.iter().map(|(_, other)| *other).chain([paid, bonus]);
        assert!(Rupiah::total(all)?.is_zero(), "postings balance");
        Ok((paid.get(), bonus.get()))
    }

    #[test]
    fn what_is_added_is_a_gift_unless_it_is_called_paid() {
        for (direction, amount, kind, expected) in [
            (Direction::Add, 50, None, (0, 50)),
            (Direction::Add, 50, Some(CreditKind::Bonus), (0, 50)),
            (Direction::Add, 50, Some(CreditKind::Paid), (50, 0)),
            (Direction::Deduct, 150, None, (-50, -100)),
            (Direction::Deduct, 50, Some(CreditKind::Paid), (-50, 0)),
        ] {
            let got = moved(direction, amount, kind).unwrap();
            assert_eq!(got, expected, "{direction} {amount} {kind:?}");
        }
    }

    #[test]
    fn an_adjustment_moves_at_least_a_rupiah() {
        for direction in [Direction::Add, Direction::Deduct] {
            for amount in [0, -1, i64::MIN] {
                let refused = moved(direction, amount, None).unwrap_err();
                assert_eq!(refused.details[0].field, "amount", "{direction} {amount}");
            }
        }
    }

    #[test]
    fn what_is_taken_is_there() {
        let wallet = balance(300, 100);
        for (amount, kind, expected) in [
            (100, None, Some((0, 100))),
            (150, None, Some((50, 100))),
            (400, None, Some((300, 100))),
            (401, None, None),
            (300, Some(CreditKind::Paid), Some((300, 0))),
            (301, Some(CreditKind::Paid), None),
            (100, Some(CreditKind::Bonus), Some((0, 100))),
            (101, Some(CreditKind::Bonus), None),
        ] {
            let taken = taken(wallet, Rupiah::new(amount), kind).ok();
            let expected = expected.map(|(paid, bonus)| (Rupiah::new(paid), Rupiah::new(bonus)));
            assert_eq!(taken, expected, "{amount} {kind:?}");
        }
    }
}
