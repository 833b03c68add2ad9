//! Customers, with their possessions when a month begins and their wishes in it.
//!
//! Each customer is drawn alone, so that the first ten thousand of a million are those of ten thousand.

use std::ops::Range;

use super::{
    books::Wallet, costs::Act, ids::new_id, partition::Partitions, profile::Customers,
    random::Random, tally::Tally,
};

/// Days of the month, whose first is the first.
pub(crate) const DAYS: u64 = 30;
pub(crate) const DAY_SECONDS: u64 = 86_400;
const HOUR_SECONDS: u64 = 3_600;
/// Hour of the job `daily-renewals`.
const RENEWALS_AT: u64 = 2;
/// Moment at which the month begins, in milliseconds since 1970.
const BEGIN_MILLIS: u64 = 1_780_272_000_000;
/// Time over which customers have signed up, in milliseconds.
const PAST_MILLIS: u64 = 3 * 365 * 86_400_000;
/// Visits of an hour of the day beside those of other hours.
const HOURS: [u64; 24] = [
    2, 1, 1, 1, 1, 2, 4, 6, 8, 9, 10, 9, 9, 8, 8, 8, 8, 9, 11, 13, 14, 12, 8, 4,
];
/// The same of a day: wages come near the end of a month.
const DAY_WEIGHTS: [u64; 30] = [
    2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 1, 1,
];
/// Plans, the one that is bought most first, and how often each is.
pub(crate) const PLANS: [u64; 24] = [
    40, 20, 14, 10, 8, 7, 6, 5, 5, 4, 4, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1,
];
/// Coupons, the one of the campaign first.
pub(crate) const COUPONS: u64 = 200;
const TOP_UPS: [i64; 5] = [50_000, 100_000, 150_000, 200_000, 500_000];

/// A customer with a wallet.
#[derive(Debug, Clone)]
pub(crate) struct Customer {
    pub(crate) id: u128,
    pub(crate) partition: usize,
    pub(crate) wallet: Wallet,
    /// Places of the own subscriptions.
    pub(crate) subscriptions: Range<usize>,
}

/// State of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// To be bought in this month.
    Wanted,
    Active,
    /// The last period could not be paid.
    Unpaid,
    Ended,
}

/// A subscription of one plan.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) plan: usize,
    /// Day of the month on which its periods begin, from 1; later days than a month has are its last.
    pub(crate) anchor: u64,
    pub(crate) state: State,
    /// Rupiah of paid credit that its period took.
    pub(crate) paid: i64,
}

/// Something that a customer wants, or that happens to a wallet, at a second of the month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) second: u64,
    pub(crate) customer: usize,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    TopUp(i64),
    /// The bank takes a top-up back.
    Reversal(i64),
    /// Number of the coupon.
    Redeem(usize),
    /// Places of subscriptions.
    Buy(usize),
    Renew(usize),
    Cancel(usize),
}

/// All customers when the month begins.
#[derive(Debug, Default)]
pub(crate) struct Population {
    pub(crate) customers: Vec<Customer>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// In the order of their time.
    pub(crate) events: Vec<Event>,
    /// Acts that move no money.
    pub(crate) tally: Tally,
}

/// Monthly price of a plan in rupiah.
pub(crate) fn price(plan: usize) -> i64 {
    let steps = i64::try_from(plan % 6).unwrap_or_default();
    25_000 * (1 + steps)
}

impl Population {
    pub(crate) fn new(
        count: u32,
        seed: u64,
        behaviour: &Customers,
        partitions: &Partitions,
    ) -> Self {
        let mut all = Self::default();
        for number in 0..u64::from(count) {
            let mut random = Random::of(seed, number);
            all.add(&mut random, behaviour, partitions);
        }
        all.events.sort_unstable();
        all
    }

    fn add(&mut self, random: &mut Random, behaviour: &Customers, partitions: &Partitions) {
        let id = new_id(BEGIN_MILLIS - random.below(PAST_MILLIS), random);
        let first = self.subscriptions.len();
        for _ in 0..random.count(behaviour.subscriptions) {
            self.hold(random, behaviour);
        }
        for _ in 0..random.count(behaviour.purchases) {
            self.want(random);
        }
        for _ in 0..random.count(behaviour.top_ups) {
            let amount = one_of(random, &TOP_UPS);
            self.event(moment(random), What::TopUp(amount));
        }
        if random.happens(behaviour.reversals) {
            let amount = one_of(random, &TOP_UPS);
            self.event(moment(random), What::Reversal(amount));
        }
        for _ in 0..random.count(behaviour.redemptions) {
            let is_campaign = random.happens(behaviour.campaign);
            let other = 1 + random.below(COUPONS - 1);
            let coupon = if is_campaign { 0 } else { other };
            let coupon = usize::try_from(coupon).unwrap_or_default();
            self.event(moment(random), What::Redeem(coupon));
        }
        self.visit(random, behaviour);
        let own = first..self.subscriptions.len();
        let paid = self.opening(random, own.clone());
        self.customers.push(Customer {
            id,
            partition: partitions.of(id),
            wallet: Wallet {
                paid,
                ..Wallet::default()
            },
            subscriptions: own,
        });
    }

    /// A subscription that the customer has: it is renewed on its day, and may be cancelled.
    fn hold(&mut self, random: &mut Random, behaviour: &Customers) {
        let plan = random.choose(&PLANS);
        let anchor = 1 + day_of_month(random.below(365));
        let place = self.subscriptions.len();
        self.subscriptions.push(Subscription {
            plan,
            anchor,
            state: State::Active,
            paid: price(plan),
        });
        let day = anchor.min(DAYS) - 1;
        let at = day * DAY_SECONDS + RENEWALS_AT * HOUR_SECONDS;
        self.event(at, What::Renew(place));
        if random.happens(behaviour.cancellations) {
            self.event(moment(random), What::Cancel(place));
        }
    }

    fn want(&mut self, random: &mut Random) {
        let plan = random.choose(&PLANS);
        let at = moment(random);
        let place = self.subscriptions.len();
        self.subscriptions.push(Subscription {
            plan,
            anchor: at / DAY_SECONDS + 1,
            state: State::Wanted,
            paid: 0,
        });
        self.event(at, What::Buy(place));
    }

    /// Counts what customers read, sign-ins and sign-ups, and tickets.
    fn visit(&mut self, random: &mut Random, behaviour: &Customers) {
        for _ in 0..random.count(behaviour.visits) {
            let at = moment(random);
            self.tally.add(at, Act::WalletRead, behaviour.wallet_reads);
            self.tally
                .add(at, Act::CatalogueRead, behaviour.catalogue_reads);
            let is_new = random.happens(behaviour.sign_ins);
            self.tally.add(at, Act::SignIn, u64::from(is_new));
        }
        for (act, often) in [
            (Act::SignUp, behaviour.sign_ups),
            (Act::Ticket, behaviour.tickets),
        ] {
            let times = random.count(often);
            let at = moment(random);
            self.tally.add(at, act, times);
            self.tally.add(at, Act::Mail, times);
        }
    }

    /// Credit at the beginning: most have enough for some months, and some for none.
    fn opening(&self, random: &mut Random, own: Range<usize>) -> i64 {
        let own = self.subscriptions.get(own).unwrap_or_default();
        let month: i64 = own.iter().map(|one| price(one.plan)).sum();
        month * i64::try_from(random.below(10).min(3)).unwrap_or_default()
    }

    fn event(&mut self, second: u64, what: What) {
        self.events.push(Event {
            second,
            customer: self.customers.len(),
            what,
        });
    }
}

fn one_of(random: &mut Random, amounts: &[i64]) -> i64 {
    let count = u64::try_from(amounts.len()).unwrap_or_default();
    let place = usize::try_from(random.below(count)).unwrap_or_default();
    amounts.get(place).copied().unwrap_or_default()
}

/// Draws a second of the month, by the habits of days and hours.
fn moment(random: &mut Random) -> u64 {
    let day = u64::try_from(random.choose(&DAY_WEIGHTS)).unwrap_or_default();
    let hour = u64::try_from(random.choose(&HOURS)).unwrap_or_default();
    day * DAY_SECONDS + hour * HOUR_SECONDS + random.below(HOUR_SECONDS)
}

/// Days of the months of a year.
const YEAR: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Returns the day of the month, from 0, of a day of the year.
fn day_of_month(day: u64) -> u64 {
    let mut left = day;
    for days in YEAR {
        if left < days {
            return left;
        }
        left -= days;
    }
    0
}

/// Returns how many periods begin on the busiest day of a year: subscriptions of days that a month does not have
/// are renewed on its last.
pub(crate) fn busiest_renewals<'a>(subscriptions: impl Iterator<Item = &'a Subscription>) -> u64 {
    let mut anchors = [0_u64; 32];
    for one in subscriptions {
        let place = usize::try_from(one.anchor).unwrap_or_default();
        if let Some(count) = anchors.get_mut(place) {
            *count += 1;
        }
    }
    let last_days = YEAR.map(|days| {
        let late = anchors.iter().zip(0..).filter(|(_, day)| *day >= days);
        late.map(|(count, _)| *count).sum::<u64>()
    });
    let others = anchors.iter().copied().max().unwrap_or_default();
    last_days.into_iter().max().unwrap_or_default().max(others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::profile::Profile;

    fn population(count: u32, partitions: usize) -> Population {
        let behaviour = Profile::default().customers;
        Population::new(count, 1, &behaviour, &Partitions::new(partitions))
    }

    #[test]
    fn the_first_customers_are_the_same_however_many_there_are() {
        let (few, many) = (population(100, 4), population(300, 4));
        for (one, same) in few.customers.iter().zip(&many.customers) {
            assert_eq!((one.id, one.wallet), (same.id, same.wallet));
            assert_eq!(one.subscriptions, same.subscriptions);
        }
        let own: Vec<&Event> = many.events.iter().filter(|it| it.customer < 100).collect();
        assert_eq!(few.events.iter().collect::<Vec<_>>(), own);
        assert!(few.events.is_sorted_by_key(|event| event.second));
        assert!(
            many.events
                .iter()
                .all(|event| event.second < DAYS * DAY_SECONDS)
        );
    }

    #[test]
    fn customers_are_where_their_ids_are() {
        let (all, partitions) = (population(500, 8), Partitions::new(8));
        assert!(
            all.customers
                .iter()
                .all(|one| one.partition == partitions.of(one.id))
        );
    }

    #[test]
    fn periods_of_missing_days_begin_on_the_last() {
        let of = |anchors: &[u64]| {
            let all: Vec<Subscription> = anchors
                .iter()
                .map(|anchor| Subscription {
                    plan: 0,
                    anchor: *anchor,
                    state: State::Active,
                    paid: 0,
                })
                .collect();
            busiest_renewals(all.iter())
        };
        assert_eq!(of(&[28, 29, 30, 31, 5, 5]), 4);
        assert_eq!(of(&[5, 5, 5, 31]), 3);
        assert_eq!(of(&[]), 0);
        assert_eq!(
            (
                day_of_month(0),
                day_of_month(30),
                day_of_month(31),
                day_of_month(364)
            ),
            (0, 30, 0, 30)
        );
    }

    #[test]
    fn evenings_are_busier_than_nights() {
        let mut random = Random::of(1, 1);
        let hours: Vec<u64> = (0..5_000)
            .map(|_| moment(&mut random) % DAY_SECONDS / HOUR_SECONDS)
            .collect();
        let at = |hour| hours.iter().filter(|it| **it == hour).count();
        assert!(at(20) > 3 * at(3), "{} {}", at(20), at(3));
    }
}
