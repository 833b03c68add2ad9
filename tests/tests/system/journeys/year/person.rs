//! A customer of the year, as the plain calculation has them.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use dermaga_tests::Client;

use super::plain::{Freeze, Subscription};

pub(super) struct Person {
    pub(super) client: Client,
    pub(super) id: String,
    pub(super) balance: i64,
    /// Charges and top-ups in their order.
    pub(super) account: Vec<i64>,
    pub(super) subscriptions: Vec<Subscription>,
}

/// Events of a night.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Night {
    pub(super) renewed: usize,
    pub(super) frozen: usize,
    pub(super) suspended: usize,
    pub(super) ended: usize,
}

impl Person {
    pub(super) fn book(&mut self, amount: i64) {
        self.balance += amount;
        if amount != 0 {
            self.account.push(amount);
        }
    }

    /// Pays the periods that have begun, the longest overdue first, one of each at a time; then suspends what
    /// has no grace left, and ends what was suspended for too long.
    pub(super) fn pass_night(&mut self, zone: Tz, now: DateTime<Utc>) -> Night {
        let mut night = Night::default();
        let order = |one: &Subscription| (one.end(zone), one.id.clone());
        loop {
            self.subscriptions.sort_by_key(order);
            let balance = self.balance;
            let payable = self
                .subscriptions
                .iter_mut()
                .find(|one| one.is_over(zone, now) && one.due(zone, now) <= balance);
            let Some(one) = payable else { break };
            night.renewed += 1;
            night.frozen += usize::from(matches!(one.freeze, Freeze::Pending(_)));
            let due = one.go_on(zone, now);
            self.book(-due);
        }
        let before = self.subscriptions.len();
        let is_kept = |one: &Subscription| one.kept_until(zone).is_none_or(|until| now < until);
        self.subscriptions.retain(is_kept);
        night.ended = before - self.subscriptions.len();
        let unpaid = self.subscriptions.iter_mut();
        for one in unpaid.filter(|one| one.is_over(zone, now)) {
            // It stops all the same.
            if let Freeze::Pending(storage) = one.freeze {
                one.freeze = Freeze::Frozen(storage);
                night.frozen += 1;
            }
            if one.suspended.is_none() && one.grace(zone) <= now {
                one.suspended = Some(now);
                night.suspended += 1;
            }
        }
        night
    }

    /// Returns the sum that it owes for periods that have begun.
    pub(super) fn owed(&self, zone: Tz, now: DateTime<Utc>) -> i64 {
        let unpaid = self
            .subscriptions
            .iter()
            .filter(|one| one.is_over(zone, now));
        unpaid.map(|one| one.due(zone, now)).sum()
    }
}
