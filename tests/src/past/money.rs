//! Transactions of a year, posted by the ledger.

use std::collections::{HashMap, hash_map::Entry};

use chrono::TimeDelta;
use dermaga_shop::{
    db::{Clock, Db},
    ids::{CouponId, DecisionId, SubscriptionId},
    money::Rupiah,
    wallet::{
        self, Account, LockedWallet, NewTransaction, TopUp, TransactionType,
        ledger::{self, Movement},
    },
};
use serde_json::json;

use super::{DAYS, Kind, Size, rows, user};

/// Transactions of one commit.
const TOGETHER: u32 = 1_000;
/// Transactions of a customer after which the same ones come again: what is topped up pays for what is bought.
const CYCLE: u32 = 16;
const TOPPED_UP: i64 = 450_000;
const GRANTED: i64 = 5_000;
const PRICE: i64 = 30_000;
const REFUNDED: i64 = 10_000;
/// One of so many transactions comes with a top-up that is never paid.
const UNPAID: u32 = 49;

/// A transaction before it is posted.
struct Act {
    customer: u32,
    /// Number among all.
    number: u32,
    /// Number among the customer's.
    place: u32,
}

/// Returns the customer of a transaction: the biggest one in turn, the others spread over the year.
fn customer(number: u32, size: Size) -> u32 {
    let every = size.transactions / size.of_biggest.max(1);
    if number.is_multiple_of(every.max(1)) || size.customers < 2 {
        return 1;
    }
    let spread = u64::from(number) * 7_919 % u64::from(size.customers - 1);
    2 + u32::try_from(spread).unwrap()
}

/// Posts them in the order of their time.
pub(super) async fn post(db: &Db, size: Size) {
    let clock = Clock::movable();
    let year = TimeDelta::days(DAYS.into()).num_milliseconds();
    let mut places = vec![0_u32; size.customers as usize + 1];
    let mut first = 0;
    while first < size.transactions {
        let end = size.transactions.min(first + TOGETHER);
        let mut conn = db.begin().await.unwrap();
        let mut wallets: HashMap<u32, LockedWallet> = HashMap::new();
        for number in first..end {
            let passed = year * i64::from(number) / i64::from(size.transactions);
            clock.set_offset(TimeDelta::milliseconds(passed - year));
            let customer = customer(number, size);
            let wallet = match wallets.entry(customer) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(empty) => {
                    empty.insert(wallet::lock(&mut conn, user(customer)).await.unwrap())
                }
            };
            let place = places[customer as usize];
            places[customer as usize] += 1;
            let act = Act {
                customer,
                number,
                place,
            };
            let (movement, new) = act.draft(size);
            let key = format!("past-{number}");
            ledger::post(&mut conn, &clock, wallet, &movement, &key, new)
                .await
                .unwrap();
            if number % UNPAID == 0 {
                let asked = TopUp {
                    user_id: user(customer),
                    amount: Rupiah::new(TOPPED_UP),
                    method: "QRIS".to_owned(),
                };
                wallet::announce_top_up(&mut conn, &clock, &asked)
                    .await
                    .unwrap();
            }
        }
        conn.commit().await.unwrap();
        first = end;
    }
}

/// Tops up the wallet of each customer once.
pub(super) async fn credit(db: &Db, customers: u32) {
    let clock = Clock::system();
    for first in (1..=customers).step_by(TOGETHER as usize) {
        let mut conn = db.begin().await.unwrap();
        for customer in first..=customers.min(first + TOGETHER - 1) {
            let (movement, new) = Act {
                customer,
                number: customer,
                place: 0,
            }
            .top_up();
            let mut wallet = wallet::lock(&mut conn, user(customer)).await.unwrap();
            let key = format!("credit-{customer}");
            ledger::post(&mut conn, &clock, &mut wallet, &movement, &key, new)
                .await
                .unwrap();
        }
        conn.commit().await.unwrap();
    }
}

impl Act {
    fn draft(&self, size: Size) -> (Movement, NewTransaction) {
        match self.place % CYCLE {
            0 => self.top_up(),
            1 => self.redemption(size),
            place if place == CYCLE - 1 => {
                let (movement, new) = self.purchase(size);
                let refund = Movement {
                    paid: Rupiah::new(REFUNDED),
                    others: vec![(Account::Refunds, Rupiah::new(-REFUNDED))],
                    ..movement
                };
                let new = NewTransaction {
                    kind: TransactionType::Refund,
                    description: "Refund".to_owned(),
                    price_decision_id: None,
                    ..new
                };
                (refund, new)
            }
            _ => self.purchase(size),
        }
    }

    fn transaction(&self, kind: TransactionType, description: &str) -> NewTransaction {
        NewTransaction {
            user_id: user(self.customer),
            kind,
            description: description.to_owned(),
            details: json!({ "lines": [{ "code": "plan", "label": "Plan", "amount": PRICE, "reason": "A month." }] }),
            subscription_id: None,
            coupon_id: None,
            price_decision_id: None,
            coupon_decision_id: None,
        }
    }

    /// A decision, of all of them in turn.
    fn decision(&self, size: Size) -> Option<DecisionId> {
        let number = 1 + self.number % size.decisions.max(1);
        Some(DecisionId::from_u128(Kind::Decision.id(number)))
    }

    fn top_up(&self) -> (Movement, NewTransaction) {
        let movement = Movement {
            paid: Rupiah::new(TOPPED_UP),
            bonus: Rupiah::ZERO,
            others: vec![(Account::Gateway, Rupiah::new(-TOPPED_UP))],
        };
        (movement, self.transaction(TransactionType::TopUp, "Top-up"))
    }

    fn redemption(&self, size: Size) -> (Movement, NewTransaction) {
        let movement = Movement {
            paid: Rupiah::ZERO,
            bonus: Rupiah::new(GRANTED),
            others: vec![(Account::Promotions, Rupiah::new(-GRANTED))],
        };
        let coupon = 1 + self.number % rows::coupons(size);
        let new = NewTransaction {
            coupon_id: Some(CouponId::from_u128(Kind::Coupon.id(coupon))),
            coupon_decision_id: self.decision(size),
            ..self.transaction(TransactionType::CouponRedemption, "Coupon")
        };
        (movement, new)
    }

    fn purchase(&self, size: Size) -> (Movement, NewTransaction) {
        let movement = Movement {
            paid: Rupiah::new(-PRICE),
            bonus: Rupiah::ZERO,
            others: vec![(Account::Revenue, Rupiah::new(PRICE))],
        };
        // As customers have subscriptions in turn.
        let subscription = match self.customer {
            1 => size.customers,
            other => other - 1,
        };
        let new = NewTransaction {
            subscription_id: Some(SubscriptionId::from_u128(
                Kind::Subscription.id(subscription),
            )),
            price_decision_id: self.decision(size),
            ..self.transaction(TransactionType::Subscription, "N8N Basic, month 2")
        };
        (movement, new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_customer_has_as_many_as_was_asked_for() {
        let size = Size::percent(1);
        let of = |wanted| {
            let all = 0..size.transactions;
            all.filter(|number| customer(*number, size) == wanted)
                .count()
        };
        assert_eq!(of(1), size.of_biggest as usize);
        assert!((1..100).contains(&of(2)), "{}", of(2));
        let most = (0..size.transactions)
            .map(|number| customer(number, size))
            .max();
        assert_eq!(most, Some(size.customers));
    }

    #[test]
    fn what_is_topped_up_pays_for_a_cycle() {
        let bought = PRICE * i64::from(CYCLE - 3);
        assert!(bought <= TOPPED_UP);
    }
}
