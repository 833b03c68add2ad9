//! Lists that grow and are read on by cursors, each with the name that its cursors carry.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use dermaga_shop::{
    ids::{
        AlertId, AuditEventId, CouponId, DebtId, DecisionId, DeliveryId, DomainId, HealthSpanId,
        InstanceId, NotificationId, PaymentId, RedemptionId, RunId, SubscriptionId, TicketId,
        UserId, WaitId, WebhookDeliveryId,
    },
    input,
    money::Rupiah,
    wallet::TransactionNumber,
};
use uuid::Uuid;

/// A list that is read on by [cursors](super::Cursor).
pub trait Listed {
    /// Name in its cursors, by which other lists refuse them.
    const NAME: &'static str;
    /// Value that orders the items.
    type Rank: Rank;
    /// Value that orders the items of one rank.
    type Key: fmt::Display + FromStr;
}

/// Value that orders a list, which is a number in its cursors.
pub trait Rank: Copy {
    /// Returns the number of the value.
    fn number(self) -> i64;

    /// Returns the value of a number, unless no item can have it.
    fn of_number(number: i64) -> Option<Self>;
}

impl Rank for DateTime<Utc> {
    fn number(self) -> i64 {
        self.timestamp_millis()
    }

    fn of_number(number: i64) -> Option<Self> {
        let storable = Self::UNIX_EPOCH..=input::last_moment();
        Self::from_timestamp_millis(number).filter(|at| storable.contains(at))
    }
}

impl Rank for Rupiah {
    fn number(self) -> i64 {
        self.get()
    }

    fn of_number(number: i64) -> Option<Self> {
        Some(Self::new(number)).filter(|amount| !amount.is_negative())
    }
}

/// Number that the shop counts up.
impl Rank for i64 {
    fn number(self) -> i64 {
        self
    }

    fn of_number(number: i64) -> Option<Self> {
        Some(number).filter(|number| !number.is_negative())
    }
}

macro_rules! rank {
    () => { DateTime<Utc> };
    ($rank:ty) => { $rank };
}

macro_rules! lists {
    ($($(#[$doc:meta])* $list:ident, $name:literal, $key:ty $(, by $rank:ty)?;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum $list {}

            impl Listed for $list {
                const NAME: &'static str = $name;
                type Rank = rank!($($rank)?);
                type Key = $key;
            }
        )+

        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),+];
    };
}

lists! {
    /// Accounts of all people.
    Accounts, "accounts", UserId;
    /// Acts of administrators, and reads of passwords.
    Acts, "acts", AuditEventId;
    /// Alerts for administrators.
    Alerts, "alerts", AlertId;
    /// All coupons.
    Coupons, "coupons", CouponId;
    /// Debts of all customers.
    Debts, "debts", DebtId;
    /// Decisions of plugins.
    Decisions, "decisions", DecisionId;
    /// Deliveries to one webhook.
    Deliveries, "deliveries", WebhookDeliveryId;
    /// Domains of all customers.
    Domains, "domains", DomainId;
    /// Health of one instance.
    HealthSpans, "health", HealthSpanId;
    /// Events of one instance.
    InstanceEvents, "events", Uuid;
    /// Mails to all accounts.
    Mails, "mails", DeliveryId;
    /// Notifications of one account.
    Notifications, "inbox", NotificationId;
    /// Debts of one customer.
    OwnDebts, "own-debts", DebtId;
    /// Instances of one customer.
    OwnInstances, "own-instances", InstanceId;
    /// Coupons that one customer has used.
    OwnRedemptions, "own-redemptions", RedemptionId;
    /// Subscriptions of one customer.
    OwnSubscriptions, "own-subscriptions", SubscriptionId;
    /// Tickets of one customer, as that customer sees them.
    OwnTickets, "own-tickets", TicketId;
    /// Payments of all customers.
    Payments, "payments", PaymentId;
    /// Customers who wait for one plan, in their order.
    Queue, "queue", WaitId, by i64;
    /// Uses of one coupon.
    Redemptions, "redemptions", RedemptionId;
    /// Runs of one job.
    Runs, "runs", RunId;
    /// Security events of one account.
    SecurityEvents, "security", NotificationId;
    /// Subscriptions of all customers.
    Subscriptions, "subscriptions", SubscriptionId;
    /// Tickets of all customers.
    Tickets, "tickets", TicketId;
    /// Tickets of one customer, as administrators see them.
    TicketsOfCustomer, "tickets-of", TicketId;
    /// Transactions of one wallet.
    OwnTransactions, "own", TransactionNumber;
    /// Transactions of all wallets.
    Transactions, "transactions", TransactionNumber;
    /// All wallets, the largest balance first.
    Wallets, "wallets", UserId, by Rupiah;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_lists_have_one_name() {
        let names: BTreeSet<&str> = NAMES.iter().copied().collect();
        assert_eq!(names.len(), NAMES.len());
        // A name ends at the first dot of a cursor.
        assert!(names.iter().all(|name| !name.contains('.')));
    }

    #[test]
    fn ranks_are_those_that_can_be_stored() {
        let moment = DateTime::from_timestamp_millis(1_790_000_000_123).unwrap();
        assert_eq!(moment.number(), 1_790_000_000_123);
        let read = <DateTime<Utc> as Rank>::of_number(moment.number());
        assert_eq!(read, Some(moment));
        for number in [i64::MIN, -1, 253_402_300_800_000, i64::MAX] {
            assert_eq!(<DateTime<Utc> as Rank>::of_number(number), None, "{number}");
        }
        for amount in [0, 1, i64::MAX] {
            let amount = Rupiah::new(amount);
            let read = <Rupiah as Rank>::of_number(amount.number());
            assert_eq!(read, Some(amount));
        }
        assert_eq!(<Rupiah as Rank>::of_number(-1), None);
        assert_eq!(<i64 as Rank>::of_number(7), Some(7));
        assert_eq!(<i64 as Rank>::of_number(-1), None);
    }
}
