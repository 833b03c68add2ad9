//! Comparison of the shop with the calculation.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use dermaga_shop::{
    ids::{SubscriptionId, UserId},
    subscriptions::{FreezeState, SubscriptionStatus as Status},
};

use super::{
    World,
    foresight::COURSES,
    person::Person,
    plain::{Freeze, Subscription},
};

/// Events that a year of so many customers has.
const EVENTS: [&str; 15] = [
    "cancellations",
    "ended unpaid",
    "freezes",
    "freezes taken back",
    "frozen",
    "paid late",
    "price moves",
    "purchases",
    "purchases without money",
    "renewals",
    "resumed",
    "suspended",
    "thaws",
    "top-ups",
    "upgrades",
];
const ENOUGH: usize = 30;

/// A live subscription in the shop.
#[derive(Debug)]
pub(super) struct Seen {
    status: Status,
    freeze: FreezeState,
    pub(super) start: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
}

type Row = (
    SubscriptionId,
    Status,
    FreezeState,
    DateTime<Utc>,
    DateTime<Utc>,
);

impl World {
    /// Returns the live subscriptions of all customers.
    pub(super) async fn seen(&self) -> BTreeMap<String, Seen> {
        let mut conn = self.shop.state().db.read().await.unwrap();
        let sql = "SELECT id, status, freeze_state, period_start, period_end FROM subscriptions
                   WHERE status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')";
        let rows = dermaga_shop::fetch_all!(conn, Row, sql).unwrap();
        rows.into_iter()
            .map(|(id, status, freeze, start, end)| {
                let seen = Seen {
                    status,
                    freeze,
                    start,
                    end,
                };
                (id.to_string(), seen)
            })
            .collect()
    }

    /// Asserts that every customer has the rupiah and the subscriptions of the calculation.
    pub(super) async fn agree(&self) {
        let mut conn = self.shop.state().db.read().await.unwrap();
        let sql = "SELECT user_id, paid_balance + bonus_balance FROM wallets";
        let rows = dermaga_shop::fetch_all!(conn, (UserId, i64), sql).unwrap();
        drop(conn);
        let balances: BTreeMap<_, _> = rows
            .into_iter()
            .map(|(id, balance)| (id.to_string(), balance))
            .collect();
        let seen = self.seen().await;
        let mut live = 0;
        for (who, person) in self.people.iter().enumerate() {
            let title = format!("customer {who} on day {}", self.day);
            if balances[&person.id] != person.balance {
                self.disagree(&title, person).await;
            }
            for one in &person.subscriptions {
                let Some(seen) = seen.get(&one.id) else {
                    panic!("{title}: it has ended, {one:#?}");
                };
                let (state, expected) = ((seen.status, seen.freeze), self.state_of(one));
                assert_eq!(state, expected, "{title}: {one:#?}");
                let end = one.end(self.zone);
                assert_eq!(
                    (seen.start, seen.end),
                    (one.begun, end),
                    "{title}: {one:#?}"
                );
            }
            live += person.subscriptions.len();
        }
        assert_eq!(seen.len(), live, "live subscriptions on day {}", self.day);
    }

    fn state_of(&self, one: &Subscription) -> (Status, FreezeState) {
        let status = match one.suspended {
            Some(_) => Status::Suspended,
            None if one.is_over(self.zone, self.night) => Status::PastDue,
            None => Status::Active,
        };
        let freeze = match one.freeze {
            Freeze::None => FreezeState::None,
            Freeze::Pending(_) => FreezeState::Pending,
            Freeze::Frozen(_) => FreezeState::Frozen,
        };
        (status, freeze)
    }

    async fn disagree(&self, title: &str, person: &Person) -> ! {
        let seen = person.client.get("/api/wallet/transactions?limit=10").await;
        let seen = seen.data(200);
        let rows = seen.as_array().unwrap().iter();
        let seen: Vec<_> = rows
            .map(|one| (&one["amount"], &one["description"], &one["createdAt"]))
            .collect();
        panic!(
            "{title}: newest first {seen:#?}\nby the calculation {:?}, {}: {:#?}",
            person.account, person.balance, person.subscriptions
        );
    }

    /// Compares every charge and every top-up of the year, and verifies the books.
    pub(super) async fn compare(&self) {
        let mut charges = 0;
        for (who, person) in self.people.iter().enumerate() {
            let mut amounts = Vec::new();
            for page in 1.. {
                let path = format!("/api/wallet/transactions?limit=100&page={page}");
                let found = person.client.get(&path).await.data(200);
                let found = found.as_array().unwrap();
                amounts.extend(found.iter().map(|one| one["amount"].as_i64().unwrap()));
                if found.len() < 100 {
                    break;
                }
            }
            amounts.retain(|amount| *amount != 0);
            let mut account = person.account.clone();
            // Several of one instant have no order.
            amounts.sort_unstable();
            account.sort_unstable();
            assert_eq!(amounts, account, "customer {who}");
            charges += account.iter().filter(|amount| **amount < 0).count();
        }
        let people = self.people.len();
        assert!(charges > people, "nothing happened");
        println!(
            "{charges} charges of {people} customers agree: {:?}",
            self.events
        );
        for event in EVENTS.into_iter().chain(COURSES) {
            let is_missing =
                people >= ENOUGH && self.events.get(event).is_none_or(|times| *times == 0);
            assert!(!is_missing, "no {event} in this year: {:?}", self.events);
        }
        self.shop.books_balance().await;
    }
}
