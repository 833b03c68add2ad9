//! A month of a shop whose wallets are in partitions: what customers want happens in the order of its time.

use super::{
    books::{Account, Books, Movement, Wallet},
    costs::Act,
    ids::new_id,
    partition::{Partitions, Spread, by_remainder},
    population::{
        COUPONS, Customer, DAY_SECONDS, DAYS, Event, PLANS, Population, State, Subscription, What,
        busiest_renewals, price,
    },
    profile::Customers,
    random::Random,
    shared::{Shared, Taken},
    tally::Tally,
};

/// Bonus credit of a coupon in rupiah.
const GIFT: i64 = 10_000;
/// Number that draws the ids of plans and coupons, beside those of customers.
const CATALOGUE: u64 = u64::MAX;
/// Moment at which the catalogue was made, in milliseconds since 1970.
const CATALOGUE_MILLIS: u64 = 1_700_000_000_000;

/// A month after its end.
#[derive(Debug)]
pub(crate) struct Month {
    pub(crate) customers: u64,
    /// Instances that run at the end, and customers who have one.
    pub(crate) instances: u64,
    pub(crate) owners: u64,
    /// Subscriptions whose last period could not be paid.
    pub(crate) unpaid: u64,
    /// Periods that begin on the busiest day of a year.
    pub(crate) busiest_renewals: u64,
    pub(crate) tally: Tally,
    pub(crate) books: Books,
    pub(crate) refusals: Refusals,
    pub(crate) crossings: Crossings,
    pub(crate) wallets: Spread,
    pub(crate) entries: Spread,
    pub(crate) moved: Moved,
}

/// Wishes of customers that were refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    /// Renewals and purchases that the wallet did not hold enough for.
    pub(crate) short: u64,
    /// Purchases of a plan that is sold out.
    pub(crate) sold_out: u64,
    /// Redemptions of a coupon that is used up.
    pub(crate) used_up: u64,
}

/// Acts that need more than the partition of their wallet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Crossings {
    /// Acts that take from a limit over all customers, or give back to it.
    pub(crate) limited: u64,
    /// Those of them whose limit has its home in another partition.
    pub(crate) without_portions: u64,
    /// Those that had to ask it when partitions take portions.
    pub(crate) with_portions: u64,
    /// Uses of the campaign's coupon and places of the plan that is bought most, which lie in portions at the end.
    pub(crate) lying: u64,
}

/// Wallets that would be elsewhere with one partition more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) by_score: u64,
    pub(crate) by_remainder: u64,
}

/// A month under way.
struct Running<'a> {
    subscriptions: Vec<Subscription>,
    plans: Vec<Shared>,
    coupons: Vec<Shared>,
    partitions: &'a Partitions,
    tally: Tally,
    books: Books,
    refusals: Refusals,
    crossings: Crossings,
}

impl Month {
    /// Lets a month pass, and proves its books and limits.
    ///
    /// # Errors
    /// When they do not hold.
    pub(crate) fn pass(
        count: u32,
        seed: u64,
        behaviour: &Customers,
        partitions: &Partitions,
    ) -> Result<Self, String> {
        let population = Population::new(count, seed, behaviour, partitions);
        let busiest_renewals = busiest_renewals(
            population
                .subscriptions
                .iter()
                .filter(|one| one.state == State::Active),
        );
        let Population {
            mut customers,
            subscriptions,
            events,
            tally,
        } = population;
        let mut running = Running::new(count, seed, behaviour, partitions);
        (running.subscriptions, running.tally) = (subscriptions, tally);
        for customer in &mut customers {
            running.open(customer)?;
            running.hold(customer)?;
        }
        running.books.begin();
        for event in events {
            let customer = customers.get_mut(event.customer);
            running.happen(event, customer.ok_or("an event of no customer")?)?;
        }
        running.close(&customers, busiest_renewals)
    }
}

impl<'a> Running<'a> {
    fn new(count: u32, seed: u64, behaviour: &Customers, partitions: &'a Partitions) -> Self {
        let mut random = Random::of(seed, CATALOGUE);
        let count = u64::from(count);
        let mut limit = |of_a_thousand: Option<u64>| {
            let home = partitions.of(new_id(CATALOGUE_MILLIS, &mut random));
            let limit = of_a_thousand.map_or(count, |part| count * part / 1_000);
            Shared::new(limit, home, partitions.count())
        };
        let mut first = Some(behaviour.launch_places);
        let plans = PLANS.iter().map(|_| limit(first.take())).collect();
        let mut first = Some(behaviour.campaign_uses);
        let coupons = (0..COUPONS).map(|_| limit(first.take())).collect();
        Self {
            subscriptions: Vec::new(),
            plans,
            coupons,
            partitions,
            tally: Tally::default(),
            books: Books::new(partitions.count()),
            refusals: Refusals::default(),
            crossings: Crossings::default(),
        }
    }

    /// Books the credit that a customer begins with as the top-ups that it came by.
    fn open(&mut self, customer: &mut Customer) -> Result<(), String> {
        let paid = customer.wallet.paid;
        customer.wallet = Wallet::default();
        if paid == 0 {
            return Ok(());
        }
        self.post(customer, Movement::with(Account::Gateway, paid, 0))
    }

    /// Counts the places that a customer's plans have had before.
    fn hold(&mut self, customer: &Customer) -> Result<(), String> {
        let own = self.subscriptions.get(customer.subscriptions.clone());
        for one in own.unwrap_or_default() {
            if one.state == State::Active {
                let plan = self.plans.get_mut(one.plan).ok_or("no such plan")?;
                plan.hold();
            }
        }
        Ok(())
    }

    fn post(&mut self, customer: &mut Customer, movement: Movement) -> Result<(), String> {
        self.books
            .post(customer.partition, &mut customer.wallet, movement)
    }

    fn happen(&mut self, event: Event, customer: &mut Customer) -> Result<(), String> {
        let at = event.second;
        match event.what {
            What::TopUp(amount) => self.top_up(at, customer, amount),
            What::Reversal(amount) => self.take_back(customer, amount),
            What::Redeem(coupon) => self.redeem(at, customer, coupon),
            What::Buy(place) => self.buy(at, customer, place),
            What::Renew(place) => self.renew(at, customer, place),
            What::Cancel(place) => self.cancel(at, customer, place),
        }
    }

    /// Money comes; it pays debts first, and then what could not be renewed.
    fn top_up(&mut self, at: u64, customer: &mut Customer, amount: i64) -> Result<(), String> {
        self.tally.add(at, Act::TopUp, 1);
        self.tally.add(at, Act::Mail, 1);
        self.post(customer, Movement::with(Account::Gateway, amount, 0))?;
        let owed = customer.wallet.debt.min(customer.wallet.paid);
        if owed > 0 {
            self.post(customer, Movement::with(Account::Receivables, -owed, 0))?;
            customer.wallet.debt -= owed;
        }
        for place in customer.subscriptions.clone() {
            if self.state(place) == Some(State::Unpaid) {
                self.renew(at, customer, place)?;
            }
        }
        Ok(())
    }

    fn take_back(&mut self, customer: &mut Customer, amount: i64) -> Result<(), String> {
        let held = customer.wallet.paid.min(amount);
        let owed = amount - held;
        let movement = Movement {
            paid: -held,
            bonus: 0,
            others: [(Account::Receivables, -owed), (Account::Gateway, amount)],
        };
        self.post(customer, movement)?;
        customer.wallet.debt += owed;
        Ok(())
    }

    fn redeem(&mut self, at: u64, customer: &mut Customer, coupon: usize) -> Result<(), String> {
        let partition = customer.partition;
        let shared = self.coupons.get_mut(coupon).ok_or("no such coupon")?;
        if self.crossings.take(shared, partition) {
            self.tally.add(at, Act::Redeem, 1);
            return self.post(customer, Movement::with(Account::Promotions, 0, GIFT));
        }
        self.refusals.used_up += 1;
        Ok(())
    }

    fn buy(&mut self, at: u64, customer: &mut Customer, place: usize) -> Result<(), String> {
        let partition = customer.partition;
        let wanted = self.subscriptions.get_mut(place).ok_or("no such order")?;
        if customer.wallet.total() < price(wanted.plan) {
            self.refusals.short += 1;
            return Ok(());
        }
        let plan = self.plans.get_mut(wanted.plan).ok_or("no such plan")?;
        if !self.crossings.take(plan, partition) {
            self.refusals.sold_out += 1;
            return Ok(());
        }
        self.tally.add(at, Act::Buy, 1);
        self.tally.add(at, Act::Mail, 1);
        self.pay(customer, place)
    }

    /// Charges the next period, or notes that it is unpaid.
    fn renew(&mut self, at: u64, customer: &mut Customer, place: usize) -> Result<(), String> {
        let one = self.subscriptions.get_mut(place).ok_or("no subscription")?;
        if !matches!(one.state, State::Active | State::Unpaid) {
            return Ok(());
        }
        if customer.wallet.total() < price(one.plan) {
            // Only the night tells its customer.
            if one.state == State::Active {
                self.tally.add(at, Act::Mail, 1);
            }
            one.state = State::Unpaid;
            self.refusals.short += 1;
            return Ok(());
        }
        self.tally.add(at, Act::Renew, 1);
        self.tally.add(at, Act::Mail, 1);
        self.pay(customer, place)
    }

    fn pay(&mut self, customer: &mut Customer, place: usize) -> Result<(), String> {
        let one = self.subscriptions.get_mut(place).ok_or("no subscription")?;
        let movement = customer.wallet.payment(price(one.plan));
        (one.state, one.paid) = (State::Active, -movement.paid);
        self.post(customer, movement)
    }

    /// Ends a subscription: paid credit for the days that are left comes back, and the place is free.
    fn cancel(&mut self, at: u64, customer: &mut Customer, place: usize) -> Result<(), String> {
        let one = self.subscriptions.get_mut(place).ok_or("no subscription")?;
        let was = one.state;
        if !matches!(was, State::Active | State::Unpaid) {
            return Ok(());
        }
        one.state = State::Ended;
        let plan = self.plans.get_mut(one.plan).ok_or("no such plan")?;
        self.crossings.give_back(plan, customer.partition);
        self.tally.add(at, Act::Cancel, 1);
        let days = DAYS - at / DAY_SECONDS;
        let (days, month) = (days.cast_signed(), DAYS.cast_signed());
        let back = if was == State::Active {
            one.paid * days / month
        } else {
            0
        };
        if back == 0 {
            return Ok(());
        }
        self.post(customer, Movement::with(Account::Refunds, back, 0))
    }

    fn state(&self, place: usize) -> Option<State> {
        self.subscriptions.get(place).map(|one| one.state)
    }

    /// Proves books and limits, and adds up what the month was.
    fn close(mut self, customers: &[Customer], busiest_renewals: u64) -> Result<Month, String> {
        self.books
            .check(customers.iter().map(|one| (one.partition, one.wallet)))?;
        for shared in self.plans.iter().chain(&self.coupons) {
            shared.check()?;
        }
        let debts: i64 = customers.iter().map(|one| one.wallet.debt).sum();
        if debts != -self.books.whole().of(Account::Receivables) {
            return Err(format!(
                "customers owe {debts}, and the books have another sum"
            ));
        }
        let scarce = self.plans.first().into_iter().chain(self.coupons.first());
        self.crossings.lying = scarce.map(Shared::lying).sum();
        let mut wallets = vec![0_u64; self.partitions.count()];
        let (mut owners, mut moved) = (0, Moved::default());
        let more = Partitions::new(self.partitions.count() + 1);
        for customer in customers {
            let size = wallets.get_mut(customer.partition);
            *size.ok_or("a customer in no partition")? += 1;
            moved.count(customer.id, self.partitions, &more);
            let own = customer.subscriptions.clone();
            let own = self.subscriptions.get(own).unwrap_or_default();
            owners += u64::from(own.iter().any(Subscription::has_instance));
        }
        let count = |is_wanted: fn(&Subscription) -> bool| {
            let found = self.subscriptions.iter().filter(|one| is_wanted(one));
            u64::try_from(found.count()).unwrap_or_default()
        };
        let (instances, unpaid) = (
            count(Subscription::has_instance),
            count(|one| one.state == State::Unpaid),
        );
        let sheets = self.books.sheets().iter();
        let entries: Vec<u64> = sheets.map(|sheet| sheet.entries).collect();
        Ok(Month {
            customers: wallets.iter().sum(),
            instances,
            owners,
            unpaid,
            busiest_renewals,
            tally: self.tally,
            books: self.books,
            refusals: self.refusals,
            crossings: self.crossings,
            wallets: Spread::of(&wallets),
            entries: Spread::of(&entries),
            moved,
        })
    }
}

impl Subscription {
    const fn has_instance(&self) -> bool {
        matches!(self.state, State::Active | State::Unpaid)
    }
}

impl Crossings {
    /// Takes one of a limit for a customer of this partition; false when there is none.
    fn take(&mut self, shared: &mut Shared, partition: usize) -> bool {
        self.limited += 1;
        let is_elsewhere = u64::from(shared.home() != partition);
        self.without_portions += is_elsewhere;
        let taken = shared.take(partition);
        if taken != Taken::Portion {
            self.with_portions += is_elsewhere;
        }
        taken != Taken::Refused
    }

    fn give_back(&mut self, shared: &mut Shared, partition: usize) {
        self.limited += 1;
        self.without_portions += u64::from(shared.home() != partition);
        shared.give_back(partition);
    }
}

impl Moved {
    fn count(&mut self, id: u128, now: &Partitions, more: &Partitions) {
        self.by_score += u64::from(now.of(id) != more.of(id));
        let remainders = (
            by_remainder(id, now.count()),
            by_remainder(id, more.count()),
        );
        self.by_remainder += u64::from(remainders.0 != remainders.1);
    }
}
