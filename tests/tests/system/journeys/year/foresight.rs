//! Comparison of a night's preview with what its jobs do.
//!
//! The preview reaches to the end of the date, and the jobs run in the evening: what the calculation expects in the hours
//! between is left alone by the jobs. A subscription that was changed at noon may still wait for it, of which the preview
//! says that nothing is known; the jobs settle it first, and its customer's wallet is another one by then. Apart from
//! these, both agree: prices that move on that day, freezes that begin, free months, and several charges of one wallet in
//! their order are told as they are made.
//!
//! The preview asks all in the order of their ends, and the jobs come to those whose grace is over after the others. That
//! is the same here: their wallet was short for a week, and the shop renews within a second what a wallet can pay.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike as _, Utc};
use dermaga_shop::{
    billing::{Forecast, ForecastLine, forecast},
    db::Part,
    ids::SubscriptionId,
    subscriptions::SubscriptionStatus as Status,
};

use super::{DEARER, World, acts::NOTICE, plain::Subscription};

/// Lines of a page: few, so that a preview has several.
const LINES: i64 = 25;
/// Customers of whom each suspension and each end is compared; of more, those of some nights.
const FEW: usize = 100;
/// Courses that a year of enough customers has.
pub(super) const COURSES: [&str; 5] = ["RENEWS", "FAILS", "WAITS", "SUSPENDS", "ENDS"];

/// State of a subscription, and the payment of its last period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    status: Status,
    period: i64,
    paid: i64,
}

/// Preview of a night, and what it was made of.
pub(super) struct Foreseen {
    at: DateTime<Utc>,
    before: BTreeMap<SubscriptionId, State>,
    lines: Vec<ForecastLine>,
}

impl World {
    /// Returns the preview of today, where this night is one that is compared.
    pub(super) async fn preview(&self) -> Option<Foreseen> {
        let at = self.shop.clock().now();
        if !self.is_compared(at) {
            return None;
        }
        let before = self.states().await;
        let today = at.with_timezone(&self.zone).date_naive();
        let mut lines = Vec::new();
        for page in 0.. {
            let part = Part {
                offset: page * LINES,
                limit: LINES,
            };
            let found = forecast(&self.shop.state().subscriptions, today, part);
            let found = Box::pin(found).await.unwrap();
            lines.extend(found.items);
            if part.offset + LINES >= found.total {
                assert_eq!(i64::try_from(lines.len()).unwrap(), found.total);
                break;
            }
        }
        Some(Foreseen { at, before, lines })
    }

    /// Returns true for one night of a week, the last of a month and the first with another price; of few customers,
    /// also for those in which a subscription is suspended or ends. A preview takes about as long as the jobs.
    fn is_compared(&self, now: DateTime<Utc>) -> bool {
        let today = now.with_timezone(&self.zone).date_naive();
        let is_last = today.succ_opt().is_some_and(|next| next.day() == 1);
        let notice = usize::try_from(NOTICE).unwrap();
        let is_moved = DEARER.iter().any(|(day, ..)| day + notice == self.day);
        let mut all = self.people.iter().flat_map(|person| &person.subscriptions);
        let owes_now =
            |one: &Subscription| one.is_over(self.zone, self.night) && self.next_step(one) <= now;
        self.day.is_multiple_of(7)
            || is_last
            || is_moved
            || self.people.len() <= FEW && all.any(owes_now)
    }

    /// Asserts that the jobs have made of each subscription what was foreseen, and have left all others alone.
    pub(super) async fn came_true(&mut self, foreseen: &Foreseen) {
        let after = self.states().await;
        let is_unknown = |line: &&ForecastLine| line.forecast == Forecast::Unknown;
        let unknown = foreseen.lines.iter().filter(is_unknown);
        let unsure: BTreeSet<_> = unknown.map(|line| line.user_id).collect();
        let mut told = BTreeSet::new();
        for line in &foreseen.lines {
            let id = line.subscription_id;
            assert!(told.insert(id), "told twice: {line:#?}");
            let one = self.planned(id);
            if unsure.contains(&line.user_id) {
                let is_known = line.forecast != Forecast::Unknown;
                assert!(is_known || one.changed_on == self.day, "{line:#?}");
                continue;
            }
            let title = format!("day {}, {line:#?} {one:#?}", self.day);
            let expected = self.expected(line, foreseen.before[&id], foreseen.at);
            assert_eq!(after[&id], expected, "{title}");
            self.count(line.forecast.as_str(), 1);
        }
        for (id, before) in &foreseen.before {
            if !told.contains(id) {
                assert_eq!(after[id], *before, "day {}: {id} was not told", self.day);
            }
        }
        self.count("previews", 1);
    }

    /// Returns the state after the jobs by a line of the preview.
    fn expected(&self, line: &ForecastLine, before: State, now: DateTime<Utc>) -> State {
        let one = self.planned(line.subscription_id);
        let comes = self.next_step(one) <= now;
        // One that is to be suspended tonight may be by now: the shop tries each second what is not paid.
        let shown = line.status.as_str().parse().unwrap_or(Status::Active);
        let status = match line.forecast {
            Forecast::Renews if one.is_over(self.zone, now) => {
                assert_eq!(line.renewals, 1, "{line:#?}");
                return State {
                    status: Status::Active,
                    period: before.period + 1,
                    paid: line.due.expect("a renewal has a price").get(),
                };
            }
            Forecast::Fails if comes => Status::PastDue,
            Forecast::Suspends if comes => Status::Suspended,
            Forecast::Ends if comes => Status::Expired,
            _ => shown,
        };
        State { status, ..before }
    }

    /// Returns the moment by which it is suspended, ends, or is charged for the first time, unless it is paid.
    fn next_step(&self, one: &Subscription) -> DateTime<Utc> {
        match one.kept_until(self.zone) {
            Some(kept) => kept,
            None if one.is_over(self.zone, self.night) => one.grace(self.zone),
            None => one.end(self.zone),
        }
    }

    /// Returns a live subscription as the calculation has it before the night.
    fn planned(&self, id: SubscriptionId) -> &Subscription {
        let id = id.to_string();
        let mut all = self.people.iter().flat_map(|person| &person.subscriptions);
        let found = all.find(|one| one.id == id);
        found.unwrap_or_else(|| panic!("day {}: {id} is not live", self.day))
    }

    /// Returns all subscriptions, those that have ended, too.
    async fn states(&self) -> BTreeMap<SubscriptionId, State> {
        let mut conn = self.shop.state().db.read().await.unwrap();
        let sql = "SELECT s.id, s.status, s.period_number, p.paid_cash + p.paid_bonus
                   FROM subscriptions s JOIN subscription_periods p
                     ON p.subscription_id = s.id AND p.number = s.period_number";
        let rows = dermaga_shop::fetch_all!(conn, (SubscriptionId, Status, i64, i64), sql).unwrap();
        let states = rows.into_iter().map(|(id, status, period, paid)| {
            let state = State {
                status,
                period,
                paid,
            };
            (id, state)
        });
        states.collect()
    }
}
