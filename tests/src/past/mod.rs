//! A shop with a past, for whatever is to be measured at full size: a year of customers, subscriptions, decisions
//! and the rest by SQL, and transactions that the ledger itself posts, so that the books hold.
//!
//! The database is one that a server has started on once: services, plans and plugins are its own.

mod money;
mod rows;
mod words;

use std::time::Instant;

use dermaga_shop::{db::Db, ids::UserId};
use sqlx::{Connection as _, PgConnection};

/// Days over which everything is spread.
const DAYS: u32 = 360;
/// Seconds of a day.
const DAY: u32 = 86_400;

/// Tables that have tens of thousands of rows at full size.
pub const LARGE: &[&str] = &[
    "audit_events",
    "coupon_customer_uses",
    "coupon_redemptions",
    "decisions",
    "health_spans",
    "instance_events",
    "instances",
    "journal_entries",
    "notification_deliveries",
    "notifications",
    "payments",
    "postings",
    "sessions",
    "subscription_periods",
    "subscriptions",
    "ticket_messages",
    "tickets",
    "transactions",
    "users",
    "wallets",
    "webhook_deliveries",
];

/// E-mail address of the customer with the most transactions. All customers have the administrator's password.
pub const BIGGEST: &str = "pelanggan-1@example.com";
/// E-mail address of a customer like the others.
pub const ORDINARY: &str = "pelanggan-2@example.com";

/// Numbers of rows. The others follow from these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub customers: u32,
    pub transactions: u32,
    /// Transactions of the one customer who has the most.
    pub of_biggest: u32,
    pub decisions: u32,
    pub subscriptions: u32,
}

impl Size {
    /// The size at which lists and statistics have their goal.
    pub const FULL: Self = Self {
        customers: 50_000,
        transactions: 1_000_000,
        of_biggest: 100_000,
        decisions: 300_000,
        subscriptions: 100_000,
    };

    /// Returns so many hundredths of the full size.
    pub const fn percent(percent: u32) -> Self {
        Self {
            customers: Self::FULL.customers / 100 * percent,
            transactions: Self::FULL.transactions / 100 * percent,
            of_biggest: Self::FULL.of_biggest / 100 * percent,
            decisions: Self::FULL.decisions / 100 * percent,
            subscriptions: Self::FULL.subscriptions / 100 * percent,
        }
    }
}

/// Kinds of ids, so that those of a kind are in a row, as ids that begin with their time are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    User = 1,
    Decision,
    Subscription,
    Instance,
    InstanceEvent,
    Span,
    Coupon,
    Notification,
    Message,
    Delivery,
    Audit,
    Ticket,
    Session,
    Alert,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
    Domain,
}

impl Kind {
    /// Returns the id with a number, from 1.
    pub const fn id(self, number: u32) -> u128 {
        ((self as u128) << 96) | (number as u128)
    }
}

const fn user(number: u32) -> UserId {
    UserId::from_u128(Kind::User.id(number))
}

/// Fills the database of a stopped server, and prints each step with the seconds that it took.
///
/// # Panics
/// When the database refuses, or no server has started on it.
pub async fn fill(url: &str, size: Size) {
    let db = Db::connect(url).await.unwrap();
    let begun = Instant::now();
    let mut last = begun;
    let mut done = |what: &str| {
        println!("  {what}: {:.1} s", last.elapsed().as_secs_f64());
        last = Instant::now();
    };
    rows::people(&db, size).await;
    done("customers and their wallets");
    rows::before_money(&db, size).await;
    done("decisions, coupons, subscriptions, instances");
    Box::pin(money::post(&db, size)).await;
    done("transactions, entries and postings");
    rows::after_money(&db, size).await;
    done("payments, redemptions, notifications and the rest");
    db.optimize().await.unwrap();
    db.close().await;
    if !url.starts_with("sqlite:") {
        // As its own worker does in time: without it, PostgreSQL reads rows beside each index.
        let mut conn = PgConnection::connect(url).await.unwrap();
        sqlx::query("VACUUM ANALYZE")
            .execute(&mut conn)
            .await
            .unwrap();
        conn.close().await.unwrap();
    }
    done("statistics of the database");
    println!("  filled in {} s", begun.elapsed().as_secs());
}

/// Fills the database of a shop that has just begun with so many customers, each with credit and a subscription that
/// is paid for ten days more. That of a customer has the same number.
///
/// # Panics
/// When the database refuses, or no administrator is there.
pub async fn subscribers(db: &Db, number: u32) {
    let size = Size {
        customers: number,
        transactions: number,
        of_biggest: 1,
        decisions: 1,
        subscriptions: number,
    };
    rows::people(db, size).await;
    Box::pin(money::credit(db, number)).await;
    rows::running(db, size).await;
    db.optimize().await.unwrap();
    if words::is_postgres(db) {
        words::run(db, "ANALYZE".to_owned()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_kind_are_in_a_row_and_of_no_other() {
        let last = Kind::User.id(u32::MAX);
        assert_eq!(Kind::User.id(u32::MAX - 1) + 1, last);
        assert!(last < Kind::Decision.id(1));
    }

    #[test]
    fn a_hundred_percent_is_the_full_size() {
        assert_eq!(Size::percent(100), Size::FULL);
        assert_eq!(Size::percent(1).transactions, 10_000);
    }
}
