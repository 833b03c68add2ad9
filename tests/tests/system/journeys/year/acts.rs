//! Operations of the customers and the administrator of the year, in the shop and in the calculation.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    STEP, World,
    plain::{Coupon, Freeze, Plan, Subscription},
};
use crate::journeys::renewal::moment;

/// Days until customers who have a plan pay its new price.
pub(super) const NOTICE: i64 = 35;
const REASON: &str = "The price list of the year.";

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl World {
    pub(super) async fn act(&mut self, who: usize) {
        if self.draws.happens(50) {
            let amount = i64::try_from(50_000 + self.draws.below(600_000)).unwrap();
            self.top_up(who, amount).await;
        }
        if self.draws.happens(25) {
            self.buy(who).await;
        }
        if self.draws.happens(12) {
            self.upgrade(who).await;
        }
        if self.draws.happens(12) {
            self.freeze(who).await;
        }
        if self.draws.happens(20) {
            self.thaw(who).await;
        }
        if self.draws.happens(4) {
            self.cancel(who).await;
        }
    }

    /// Draws one of a customer's subscriptions that were not changed on this day.
    fn one_of(&mut self, who: usize, wanted: impl Fn(&Subscription) -> bool) -> Option<usize> {
        let all = self.people[who].subscriptions.iter().enumerate();
        let found: Vec<_> = all
            .filter(|(_, one)| one.changed_on < self.day && wanted(one))
            .map(|(at, _)| at)
            .collect();
        (!found.is_empty()).then(|| self.draws.one_of(&found))
    }

    pub(super) async fn top_up(&mut self, who: usize, amount: i64) {
        let kind = self.draws.one_of(&["PAID", "PAID", "BONUS"]);
        let body = json!({ "amount": amount, "kind": kind, "reason": REASON });
        let path = format!("/api/admin/wallets/{}/add-credit", self.people[who].id);
        self.admin.post(&path, body).await.data(201);
        self.people[who].book(amount);
        self.count("top-ups", 1);
    }

    async fn buy(&mut self, who: usize) {
        let plan = self
            .draws
            .one_of(&[Plan::Database, Plan::Basic, Plan::Basic, Plan::Pro]);
        let months = match plan {
            Plan::Database => 1,
            Plan::Basic => self.draws.one_of(&[1, 1, 3, 6, 12]),
            Plan::Pro => self.draws.one_of(&[1, 3, 12]),
        };
        let coupon = self
            .draws
            .one_of(&[None, None, Some(Coupon::Seventh), Some(Coupon::Free)]);
        let price = self.prices.term(plan, months);
        let off = coupon.map_or(0, |coupon| coupon.discount(price, months, coupon.months()));
        let due = price - off;
        let order = json!({ "planId": self.plan(plan), "termMonths": months, "couponCode": coupon.map(Coupon::code) });
        let person = &mut self.people[who];
        let answer = person.client.post("/api/subscriptions", order).await;
        if person.balance < due {
            answer.fails(402, "INSUFFICIENT_CREDIT");
            self.count("purchases without money", 1);
            return;
        }
        let bought = answer.data(201);
        assert_eq!(bought["charged"], due, "{bought:#}");
        person.book(-due);
        let begun = moment(&bought["subscription"]["periodStart"]);
        person.subscriptions.push(Subscription {
            id: text(&bought["subscription"]["id"]),
            plan,
            months,
            price,
            next: None,
            coupon: coupon.map(|coupon| (coupon, coupon.months().saturating_sub(months))),
            freeze: Freeze::None,
            suspended: None,
            anchor: begun,
            passed: months,
            begun,
            paid: due,
            changed_on: self.day,
        });
        self.check_now(begun);
        self.count("purchases", 1);
    }

    async fn upgrade(&mut self, who: usize) {
        let can_be = |one: &Subscription| {
            one.plan == Plan::Basic && one.months != 6 && one.freeze == Freeze::None
        };
        let Some(at) = self.one_of(who, can_be) else {
            return;
        };
        let (zone, now) = (self.zone, self.shop.clock().now());
        let pro = json!({ "planId": self.plan(Plan::Pro) });
        let mut one = self.people[who].subscriptions[at].clone();
        let price = self.prices.term(Plan::Pro, one.months);
        let full = self.prices.month(Plan::Pro) * i64::from(one.months);
        let path = format!("/api/subscriptions/{}/upgrade", one.id);
        let answer = self.people[who].client.put(&path, pro).await;
        if answer.status == 402 {
            answer.fails(402, "INSUFFICIENT_CREDIT");
            // It is cheaper with every second.
            let most = one.upgrade((full, price), now, zone);
            assert!(self.people[who].balance < most, "{one:#?}");
            self.count("upgrades without money", 1);
            return;
        }
        let made = answer.data(200);
        let moment = self.moment_of_upgrade(&one.id).await;
        self.check_now(moment);
        let due = one.upgrade((full, price), moment, zone);
        assert_eq!(made["charged"], due, "at {moment} {one:#?}: {made:#}");
        // A coupon lasts, and a price that was to come is of the earlier plan.
        (one.plan, one.price, one.next) = (Plan::Pro, price, None);
        one.changed_on = self.day;
        let person = &mut self.people[who];
        person.subscriptions[at] = one;
        person.book(-due);
        self.count("upgrades", 1);
    }

    /// Returns the moment that an upgrade was priced at.
    async fn moment_of_upgrade(&self, id: &str) -> DateTime<Utc> {
        let id: Uuid = id.parse().unwrap();
        let mut conn = self.shop.state().db.read().await.unwrap();
        let sql = "SELECT covers_from FROM plan_changes WHERE subscription_id = $1";
        let (moment,) = dermaga_shop::fetch_one!(conn, (DateTime<Utc>,), sql, id).unwrap();
        moment
    }

    async fn freeze(&mut self, who: usize) {
        let can_be =
            |one: &Subscription| one.plan.storage().is_some() && one.freeze == Freeze::None;
        let Some(at) = self.one_of(who, can_be) else {
            return;
        };
        let person = &mut self.people[who];
        let one = &mut person.subscriptions[at];
        let storage = one.plan.storage().unwrap();
        let path = format!("/api/subscriptions/{}/freeze", one.id);
        let asked = person.client.post(&path, json!({})).await.data(200);
        assert_eq!(asked["storagePrice"], storage, "{asked:#}");
        one.freeze = Freeze::Pending(storage);
        one.changed_on = self.day;
        self.count("freezes", 1);
    }

    /// Thaws what is frozen, or takes back a freeze that waits.
    async fn thaw(&mut self, who: usize) {
        let Some(at) = self.one_of(who, |one| one.freeze != Freeze::None) else {
            return;
        };
        let now = self.shop.clock().now();
        let person = &mut self.people[who];
        let one = &mut person.subscriptions[at];
        let due = match one.freeze {
            Freeze::Frozen(_) => one.thaw_price(now),
            _ => 0,
        };
        let path = format!("/api/subscriptions/{}/thaw", one.id);
        let answer = person.client.post(&path, json!({})).await;
        if person.balance < due {
            answer.fails(402, "INSUFFICIENT_CREDIT");
            self.count("thaws without money", 1);
            return;
        }
        let thawed = answer.data(200);
        assert_eq!(thawed["charged"], due, "{one:#?}: {thawed:#}");
        one.changed_on = self.day;
        if !matches!(one.freeze, Freeze::Frozen(_)) {
            one.freeze = Freeze::None;
            self.count("freezes taken back", 1);
            return;
        }
        let begins = moment(&thawed["subscription"]["periodStart"]);
        assert_eq!(one.thaw(begins), due, "{one:#?}");
        person.book(-due);
        self.check_now(begins);
        self.count("thaws", 1);
    }

    async fn cancel(&mut self, who: usize) {
        let Some(at) = self.one_of(who, |_| true) else {
            return;
        };
        let person = &mut self.people[who];
        let gone = person.subscriptions.swap_remove(at);
        let path = format!("/api/subscriptions/{}", gone.id);
        person.client.delete(&path).await.data(200);
        self.count("cancellations", 1);
    }

    /// Takes over what the shop has charged for periods that were owed, and the seconds of those that were
    /// switched off.
    pub(super) async fn resume(&mut self, who: usize) {
        let (zone, now) = (self.zone, self.shop.clock().now());
        let seen = self.seen().await;
        let mut resumed = 0;
        let person = &mut self.people[who];
        let mut charges = Vec::new();
        for one in &mut person.subscriptions {
            if !one.is_over(zone, now) {
                continue;
            }
            let seen = &seen[&one.id];
            let was_off = one.suspended.is_some();
            resumed += usize::from(was_off);
            charges.push(one.go_on(zone, now));
            let late = seen.start - one.begun;
            let most = if was_off { STEP } else { TimeDelta::zero() };
            assert!(late.abs() <= most, "{late}: {seen:?} {one:#?}");
            one.anchor += late;
            one.begun = seen.start;
            assert_eq!(seen.end, one.end(zone), "{seen:?} {one:#?}");
        }
        for due in charges {
            person.book(-due);
        }
        self.count("paid late", 1);
        self.count("resumed", resumed);
    }

    /// Makes a plan dearer, for those who have it after a notice.
    pub(super) async fn make_dearer(&mut self, plan: Plan, by: i64) {
        match plan {
            Plan::Database => self.prices.database += by,
            Plan::Basic => self.prices.basic += by,
            Plan::Pro => panic!("its price stays"),
        }
        let (_, slug, id) = self.plans.iter().find(|(one, ..)| *one == plan).unwrap();
        let found = format!("/api/admin/services?q={slug}");
        let found = self.admin.get(&found).await.data(200);
        let path = format!("/api/admin/services/{}/plans/{id}", text(&found[0]["id"]));
        let body = json!({ "monthlyPrice": self.prices.month(plan), "reason": REASON });
        self.admin.put(&path, body).await.data(200);
        // At night, when no period begins.
        let from = self.at(NOTICE, (3, 0));
        let mut ids = Vec::new();
        for one in self
            .people
            .iter_mut()
            .flat_map(|person| &mut person.subscriptions)
            .filter(|one| one.plan == plan)
        {
            one.next = Some((self.prices.term(plan, one.months), from));
            ids.push(one.id.clone());
        }
        for ids in ids.chunks(50) {
            let body = json!({ "subscriptionIds": ids, "effectiveAt": from, "reason": REASON });
            let path = format!("{path}/price-moves");
            self.admin.post(&path, body).await.data(201);
        }
        let moved = ids.len();
        self.count("price moves", moved);
    }

    /// Asserts that the shop did something now.
    fn check_now(&self, moment: DateTime<Utc>) {
        let ago = self.shop.clock().now() - moment;
        assert!(ago >= TimeDelta::zero() && ago < STEP, "{ago} ago");
    }
}
