//! Expected possessions of a customer, by the plainest rules: nothing of the shop is asked.

use std::mem;

use chrono::{DateTime, Months, Utc};
use dermaga_tests::Client;

use super::{Bought, Plans};
use crate::api::payments::TopUp;

/// Expected possessions of a customer.
pub(super) struct Person {
    pub(super) client: Client,
    pub(super) email: String,
    pub(super) id: String,
    pub(super) paid: i64,
    pub(super) bonus: i64,
    pub(super) debts: i64,
    pub(super) top_ups: Vec<(TopUp, i64)>,
    pub(super) subscriptions: Vec<Subscription>,
}

pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) instance: String,
    pub(super) plan: Bought,
    /// Payments for the current period less refunds, the oldest first.
    pub(super) paid: Vec<Paid>,
    pub(super) begun: DateTime<Utc>,
    /// Number of periods paid.
    pub(super) periods: u32,
}

/// A payment covers the time from a moment to the period's end.
pub(super) struct Paid {
    pub(super) cash: i64,
    pub(super) bonus: i64,
    pub(super) from: DateTime<Utc>,
}

impl Subscription {
    /// Returns the cash that can be refunded.
    pub(super) fn cash(&self) -> i64 {
        self.paid.iter().map(|paid| paid.cash).sum()
    }

    /// Refunds an amount, from the newest payment first.
    pub(super) fn refund(&mut self, amount: i64) {
        let mut rest = amount;
        for paid in self.paid.iter_mut().rev() {
            let part = paid.cash.min(rest);
            paid.cash -= part;
            rest -= part;
        }
    }

    /// Returns the price of the rest of the period in a plan, less the part of it that payments
    /// still cover.
    pub(super) fn upgrade_price(&self, price: i64, now: DateTime<Utc>) -> i64 {
        let end = self.end_of(self.periods);
        let share = |amount: i64, from: DateTime<Utc>| {
            amount * (end - now).num_seconds() / (end - from).num_seconds()
        };
        let start = self.end_of(self.periods - 1);
        let credits = self.paid.iter();
        let credit: i64 = credits
            .map(|paid| share(paid.cash + paid.bonus, paid.from))
            .sum();
        (share(price, start) - credit).max(0)
    }

    pub(super) fn period_end(&self) -> DateTime<Utc> {
        self.end_of(self.periods)
    }

    /// Returns the end of a period, by the months of the shop's calendar: where the shop is, it may be
    /// another day than in UTC.
    fn end_of(&self, period: u32) -> DateTime<Utc> {
        let jakarta = self.begun.with_timezone(&chrono_tz::Asia::Jakarta);
        (jakarta + Months::new(period)).to_utc()
    }
}

impl Person {
    /// Takes in cash, of which open debts are paid first.
    pub(super) fn receive(&mut self, cash: i64) {
        let owed = self.debts.min(cash);
        self.debts -= owed;
        self.paid += cash - owed;
    }

    /// Spends credit, bonus first; returns the cash spent, or `None` when it is too much.
    pub(super) fn spend(&mut self, due: i64) -> Option<i64> {
        if self.paid + self.bonus < due {
            return None;
        }
        let bonus = self.bonus.min(due);
        self.bonus -= bonus;
        self.paid -= due - bonus;
        Some(due - bonus)
    }

    /// Pays every period that has begun, one of each subscription at a time, the longest overdue
    /// first. Returns the subscriptions that the wallet could not pay.
    pub(super) fn renew(&mut self, plans: &Plans, now: DateTime<Utc>) -> Vec<Subscription> {
        let mut unpaid = Vec::new();
        let mut is_paid = true;
        while mem::take(&mut is_paid) {
            let mut subscriptions = mem::take(&mut self.subscriptions);
            subscriptions.sort_by_key(|one| (one.period_end(), one.id.clone()));
            for mut one in subscriptions {
                if one.period_end() <= now {
                    let price = plans.price(one.plan);
                    let Some(cash) = self.spend(price) else {
                        unpaid.push(one);
                        continue;
                    };
                    let from = one.period_end();
                    one.paid = vec![Paid {
                        cash,
                        bonus: price - cash,
                        from,
                    }];
                    one.periods += 1;
                    is_paid = true;
                }
                self.subscriptions.push(one);
            }
        }
        unpaid
    }

    pub(super) fn live(&self, plan: Bought) -> usize {
        let same = self.subscriptions.iter().filter(|one| one.plan == plan);
        same.count()
    }
}
