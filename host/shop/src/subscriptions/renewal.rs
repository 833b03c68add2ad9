//! The next period of a subscription: priced by the version its instance is pinned to, reduced by
//! the coupon it was bought with, and charged once.
//!
//! A charge is one database transaction that looks again at what it was decided on, with the
//! customer's wallet locked: two servers, or a server that dies anywhere, charge each period once.

mod overdue;
mod store;
#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use dermaga_runtime::contract::{self, Answer, Occasion, PriceLine, Purchase};
use serde_json::{Value, json};

pub(super) use overdue::{ahead, renew_first};

use super::{
    FreezeState, Subscriptions,
    model::{PeriodRow, PriceLineView, Subscription, SubscriptionRow, SubscriptionStatus},
    price_moves, pricing, store as subscriptions, upgrade,
};
use crate::{
    Error, Result,
    catalog::{self, Plan, SoldTerm},
    coupons::{self, Continued},
    db::{Clock, Conn},
    ids::{CouponId, TransactionId},
    money::Rupiah,
    outbox::{self, Topic},
    plugins::{self, Decision},
    provisioning::{self, Act},
    schema,
    wallet::{self, NewTransaction, Payment, TransactionType},
};

/// Attempts to renew a subscription that keeps changing meanwhile.
pub(crate) const ATTEMPTS: u32 = 3;

/// Message of an instance whose freeze begins.
pub(crate) const FROZEN: &str = "Frozen, as its customer asked. Its data is kept.";

/// Sort of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Service,
    /// It is frozen, and pays for a month of its storage.
    Storage(Rupiah),
    /// It is frozen no more, and its service begins now.
    Thaw,
}

impl Kind {
    fn of(seen: &Subscription) -> Self {
        match (seen.freeze_state, seen.storage_price) {
            (FreezeState::Pending | FreezeState::Frozen, Some(price)) => Self::Storage(price),
            _ => Self::Service,
        }
    }

    const fn is_frozen(self) -> bool {
        matches!(self, Self::Storage(_))
    }
}

/// The next period with its price decided, nothing booked yet.
pub(crate) struct Next {
    number: i64,
    anchor_at: DateTime<Utc>,
    starts_at: DateTime<Utc>,
    ends_at: DateTime<Utc>,
    lines: Vec<PriceLine>,
    kind: Kind,
    /// Term at the customer's price, before what the plugin makes of it.
    term: SoldTerm,
    /// Months that it is for.
    months: u32,
    /// Months from the anchor to its end.
    anchor_months: u32,
    price: Rupiah,
    price_decision: Decision,
    pub(crate) coupon: Option<Continued>,
    /// Another plan that comes with it.
    to: Option<Plan>,
}

impl Next {
    const fn freeze_state(&self) -> FreezeState {
        match self.kind {
            Kind::Storage(_) => FreezeState::Frozen,
            Kind::Service | Kind::Thaw => FreezeState::None,
        }
    }

    const fn storage_price(&self) -> Option<Rupiah> {
        match self.kind {
            Kind::Storage(price) => Some(price),
            Kind::Service | Kind::Thaw => None,
        }
    }

    /// Price less what the coupon takes off, as long as its budget lasts.
    pub(crate) fn due(&self) -> Result<Rupiah> {
        Ok(self.price.minus(self.discount())?)
    }

    fn discount(&self) -> Rupiah {
        match &self.coupon {
            Some(Continued::Reduces(reduced)) => reduced.amount,
            _ => Rupiah::ZERO,
        }
    }

    /// The price's lines and the coupon's; they add up to what is due.
    pub(crate) fn explained(&self) -> Vec<PriceLineView> {
        let mut lines: Vec<_> = self.lines.iter().cloned().map(Into::into).collect();
        if let Some(Continued::Reduces(reduced)) = &self.coupon {
            lines.push(PriceLineView::of_coupon(reduced));
        }
        lines
    }

    /// Returns the explanation of the price that is kept in the transaction.
    fn details(&self) -> Value {
        let (code, without) = match &self.coupon {
            None => (None, None),
            Some(Continued::Reduces(reduced)) => (Some(&reduced.coupon.code), None),
            Some(Continued::Nothing { code, reason, .. }) => (Some(code), Some(reason)),
        };
        json!({
            "period": self.number,
            "lines": self.explained(),
            "price": self.price,
            "discount": self.discount(),
            "couponCode": code,
            "couponGaveNothing": without,
        })
    }

    /// Writes its place among the periods: `month 2`, or `period 2, 12 months`.
    fn in_words(&self) -> String {
        match self.months {
            _ if self.kind.is_frozen() => format!("period {}, storage only", self.number),
            1 => format!("month {}", self.number),
            _ => format!("period {}, {}", self.number, self.term.in_words()),
        }
    }

    /// Leaves the coupon out when its budget does not hold this period, after so much for others.
    pub(crate) fn keep_to_budget(&mut self, before: Rupiah) {
        if let Some(Continued::Reduces(reduced)) = &self.coupon
            && !reduced.is_within_budget(before)
        {
            self.over_budget();
        }
    }

    /// Returns the coupon that it takes a discount from, and the discount.
    pub(crate) fn taken_from(&self) -> Option<(CouponId, Rupiah)> {
        match &self.coupon {
            Some(Continued::Reduces(reduced)) => Some((reduced.coupon.id, reduced.amount)),
            _ => None,
        }
    }

    /// Without the coupon, whose budget does not hold this period.
    fn over_budget(&mut self) {
        if let Some(Continued::Reduces(reduced)) = self.coupon.take() {
            self.coupon = Some(Continued::Nothing {
                code: reduced.coupon.code.clone(),
                reason: reduced.coupon.budget_in_words(),
                decision: Some(Box::new(reduced.decision)),
            });
        }
    }
}

/// Decides what the next period costs: at the price the customer bought at or was told of, by the
/// plugin version that the instance is pinned to. Writes nothing.
pub(crate) async fn price(shop: &Subscriptions, row: &SubscriptionRow) -> Result<Next> {
    price_of(shop, row, Kind::of(&row.subscription)).await
}

/// Decides what a new period costs that begins now, of a subscription that is frozen. Writes nothing.
pub(super) async fn price_of_thaw(shop: &Subscriptions, row: &SubscriptionRow) -> Result<Next> {
    price_of(shop, row, Kind::Thaw).await
}

/// Returns the price of the next period of its service before a coupon, also while it is to be frozen.
pub(super) async fn plan_price(shop: &Subscriptions, row: &SubscriptionRow) -> Result<Rupiah> {
    Ok(price_of(shop, row, Kind::Service).await?.price)
}

async fn price_of(shop: &Subscriptions, row: &SubscriptionRow, kind: Kind) -> Result<Next> {
    let current = &row.subscription;
    let mut conn = shop.db.read().await?;
    let now = shop.clock.now();
    let off = switched_off(current, now);
    // Forecast and charge ask about the same moment, so that their prices agree.
    let starts_at = match kind {
        Kind::Service | Kind::Storage(_) => current.period_end + off,
        Kind::Thaw => now,
    };
    let priced_at = (!kind.is_frozen()).then_some(starts_at);
    let (plan, term, to) = plans(&mut conn, current, priced_at).await?;
    if upgrade::pending(&mut conn, current.id).await?.is_some() {
        return Err(super::upgrade::changing());
    }
    drop(conn);
    let months = if kind.is_frozen() { 1 } else { term.months };
    let asked = (plan.clone(), contract::Term { months }, starts_at);
    let (mut lines, total, price_decision) = ask(shop, current, asked).await?;
    let mut price = match kind {
        Kind::Service | Kind::Thaw => term.reduce(&mut lines, total)?,
        Kind::Storage(storage) => storage_only(&mut lines, total, storage)?,
    };
    let mut coupon = None;
    if price.is_positive() && !kind.is_frozen() && current.has_coupon_left() {
        let purchase = Purchase {
            service: row.service_slug.clone(),
            plan,
            term: term.for_plugins(),
            lines: lines.clone(),
            total: price.get(),
        };
        let whose = (current.user_id, current.id);
        let asked = (purchase, current.coupon_periods_left);
        coupon = Some(coupons::continue_for(&shop.coupons, whose, asked, starts_at).await?);
    }
    if kind == Kind::Thaw
        && let Some(unpaid) = unpaid_storage(current, (shop.clock.zone(), now))?
    {
        price = price.plus(Rupiah::new(unpaid.amount))?;
        lines.push(unpaid);
    }
    let passed = u32::try_from(current.anchor_months).map_err(Error::internal)?;
    let (anchor_at, anchor_months) = match kind {
        Kind::Service | Kind::Storage(_) => {
            (current.anchor_at + off, passed.saturating_add(months))
        }
        Kind::Thaw => (now, months),
    };
    let mut next = Next {
        number: current.period_number.saturating_add(1),
        anchor_at,
        // Without a gap to the period before, though the zone may be another since.
        starts_at,
        ends_at: pricing::period_end(shop.clock.zone(), anchor_at, anchor_months)?,
        lines,
        kind,
        term,
        months,
        anchor_months,
        price,
        price_decision,
        coupon,
        to,
    };
    next.keep_to_budget(Rupiah::ZERO);
    Ok(next)
}

/// Asks the plugin that the instance is pinned to for the price of a further period.
async fn ask(
    shop: &Subscriptions,
    current: &Subscription,
    (plan, term, starts_at): (contract::Plan, contract::Term, DateTime<Utc>),
) -> Result<(Vec<PriceLine>, Rupiah, Decision)> {
    let pinned = provisioning::pinned(&mut shop.db.read().await?, current.id).await?;
    let plugin = shop.plugins.version(&pinned.plugin_digest).await?;
    let request = contract::PriceRequest {
        settings: pinned.settings.0,
        plan,
        term,
        config: pinned.config.0,
        occasion: Occasion::Renewal,
        moment: starts_at.timestamp(),
    };
    let subject = current.user_id.into();
    let decided =
        plugins::decide::<contract::service::Price>(&shop.plugins, &plugin, request, subject)
            .await?;
    match decided.value {
        Answer::Ok(answer) => Ok((answer.lines, Rupiah::new(answer.total), decided.decision)),
        Answer::Problems(problems) => Err(schema::refused(problems, "config")),
    }
}

/// Returns the plan of the next period as plugins see it, its term at the customer's price, and the plan
/// itself where it is another one. Without a moment, which is a frozen period's, the price is the one of now.
async fn plans(
    conn: &mut Conn,
    current: &Subscription,
    starts_at: Option<DateTime<Utc>>,
) -> Result<(contract::Plan, SoldTerm, Option<Plan>)> {
    if let Some(id) = current.next_plan_id {
        let to = catalog::plan(conn, id).await?;
        let term = to.term_or_months(current.term()?.months)?;
        return Ok((to.for_plugins()?, term, Some(to)));
    }
    let plan = catalog::plan(conn, current.plan_id).await?;
    let price = starts_at.map_or(current.monthly_price, |at| current.price_from(at));
    Ok((
        plan.for_plugins_at(price)?,
        current.term()?.at(price)?,
        None,
    ))
}

/// Takes a price down to that of the storage, with a line that says so.
fn storage_only(lines: &mut Vec<PriceLine>, price: Rupiah, storage: Rupiah) -> Result<Rupiah> {
    let off = price.minus(storage)?;
    if !off.is_positive() {
        return Ok(price);
    }
    lines.push(PriceLine {
        code: "frozen".to_owned(),
        label: "Frozen".to_owned(),
        amount: off.negated().get(),
        reason: format!("While it is frozen, only its storage is charged: {storage} a month."),
    });
    Ok(storage)
}

/// Returns the line of the storage that is not paid, of a frozen subscription whose period is over: the share
/// of a month until now, or until it was suspended.
fn unpaid_storage(
    current: &Subscription,
    (zone, now): (Tz, DateTime<Utc>),
) -> Result<Option<PriceLine>> {
    let until = current.suspended_at.unwrap_or(now).min(now);
    let storage = current.storage_price.unwrap_or(Rupiah::ZERO);
    let month = pricing::period_end(zone, current.period_end, 1)? - current.period_end;
    let unpaid = (until - current.period_end).clamp(TimeDelta::zero(), month);
    let amount = storage.share(unpaid.num_seconds(), month.num_seconds())?;
    Ok(amount.is_positive().then(|| PriceLine {
        code: "storage".to_owned(),
        label: "Storage that is not paid".to_owned(),
        amount: amount.get(),
        reason: format!("{storage} a month, since the period that was paid for is over."),
    }))
}

/// Returns how long it has been switched off or never ran. That is not charged: its periods move on
/// by as much.
fn switched_off(current: &Subscription, now: DateTime<Utc>) -> TimeDelta {
    let since = current.suspended_at.or(current.held_since);
    let off = since.map(|since| now - since);
    // A moment that a wrong clock wrote down may lie ahead.
    off.unwrap_or_default().max(TimeDelta::zero())
}

/// Result of a charge.
pub(crate) enum Charge {
    Paid,
    /// Price that the wallet does not hold.
    Short(Rupiah),
    /// The subscription changed meanwhile.
    Overtaken,
}

/// A charge in a transaction that is still open.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, which its maker hands on at once"
)]
pub(super) enum Booking {
    Paid(Conn, Box<Booked>),
    /// Price that the wallet does not hold.
    Short(Rupiah),
    /// The subscription changed meanwhile.
    Overtaken,
}

/// The period as it was charged.
pub(super) struct Booked {
    pub(super) next: Next,
    pub(super) transaction_id: TransactionId,
}

/// Charges the next period.
pub(crate) async fn charge(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    next: Next,
) -> Result<Charge> {
    let (conn, booked) = match book(shop, row, next).await? {
        Booking::Paid(conn, booked) => (conn, booked),
        Booking::Short(due) => return Ok(Charge::Short(due)),
        Booking::Overtaken => return Ok(Charge::Overtaken),
    };
    conn.commit().await?;
    shop.instances.handle.wake();
    let (id, next) = (row.subscription.id, &booked.next);
    tracing::info!(subscription.id = %id, period = next.number, paid = %next.due()?, "subscription.renewed");
    Ok(Charge::Paid)
}

/// The one transaction: money, coupon, period, subscription and instance.
pub(super) async fn book(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    mut next: Next,
) -> Result<Booking> {
    let (clock, seen) = (&shop.clock, &row.subscription);
    let mut conn = shop.db.begin().await?;
    let mut wallet = wallet::lock(&mut conn, seen.user_id).await?;
    if !is_as_seen(&mut conn, seen).await? {
        conn.rollback().await?;
        return Ok(Booking::Overtaken);
    }
    if let Some(Continued::Reduces(reduced)) = &next.coupon
        && !coupons::take_cost(&mut conn, clock, reduced).await?
    {
        next.over_budget();
    }
    let due = next.due()?;
    if wallet.balance().total()? < due {
        conn.rollback().await?;
        return Ok(Booking::Short(due));
    }
    next.price_decision.record(&mut conn).await?;
    let asked = next.coupon.as_ref().and_then(Continued::decision);
    if let Some(decision) = asked {
        decision.record(&mut conn).await?;
    }
    let new = NewTransaction {
        user_id: seen.user_id,
        kind: TransactionType::Subscription,
        description: format!(
            "{} {}, {}",
            row.service_name,
            row.plan_name,
            next.in_words()
        ),
        details: next.details(),
        subscription_id: Some(seen.id),
        coupon_id: next.coupon.as_ref().and(seen.coupon_id),
        price_decision_id: Some(next.price_decision.id),
        coupon_decision_id: asked.map(|decision| decision.id),
    };
    let key = format!("subscription:{}:period:{}", seen.id, next.number);
    let (price, discount) = (next.price, next.discount());
    let paid = wallet::pay(&mut conn, clock, &mut wallet, price, discount, &key, new).await?;
    let now = clock.now();
    let period = PeriodRow {
        number: next.number,
        starts_at: next.starts_at,
        ends_at: next.ends_at,
        months: next.months.into(),
        frozen: next.kind.is_frozen(),
        paid_until: None,
        price,
        discount,
        paid_cash: paid.cash,
        paid_bonus: paid.bonus,
        refunded_cash: Rupiah::ZERO,
        transaction_id: Some(paid.transaction.id),
        price_decision_id: next.price_decision.id,
    };
    subscriptions::insert_period(&mut conn, seen.id, &period, now).await?;
    let left = seen
        .coupon_periods_left
        .filter(|_| !next.kind.is_frozen())
        .map(|left| left.saturating_sub(next.term.months.into()).max(0))
        .or(seen.coupon_periods_left);
    if !store::advance(&mut conn, seen, &next, left, now).await? {
        return Err(Error::internal("a locked subscription changed"));
    }
    begin_plan(shop, &mut conn, seen, (&next, &paid)).await?;
    if next.to.is_none() && next.term.monthly_price != seen.monthly_price {
        price_moves::apply(&mut conn, seen, next.number).await?;
    }
    if let Some(Continued::Reduces(reduced)) = &next.coupon {
        let (transaction, subscription) = (Some(paid.transaction.id), Some((seen.id, next.number)));
        let user_id = seen.user_id;
        coupons::record_redemption(
            &mut conn,
            clock,
            reduced,
            user_id,
            transaction,
            subscription,
        )
        .await?;
    }
    tell(&mut conn, clock, row, &next).await?;
    if let Some((act, message)) = effect(seen, next.kind) {
        provisioning::change(&mut conn, clock, seen.id, act, message).await?;
    }
    let transaction_id = paid.transaction.id;
    let booked = Booked {
        next,
        transaction_id,
    };
    Ok(Booking::Paid(conn, Box::new(booked)))
}

/// Effect of a paid period on the instance, and its message.
const fn effect(seen: &Subscription, kind: Kind) -> Option<(Act, &'static str)> {
    match (kind, seen.freeze_state, seen.status) {
        (Kind::Thaw, ..) => Some((Act::Thaw, "Frozen no more; being started.")),
        (Kind::Storage(_), FreezeState::Pending, _) => Some((Act::Freeze, FROZEN)),
        (_, _, SubscriptionStatus::Suspended) => {
            Some((Act::Resume, "Paid for again; being started."))
        }
        _ => None,
    }
}

async fn tell(conn: &mut Conn, clock: &Clock, row: &SubscriptionRow, next: &Next) -> Result<()> {
    let seen = &row.subscription;
    let what = (Topic::RenewalSuccess, seen.user_id.into());
    let payload = json!({
        "subscriptionId": seen.id,
        "service": row.service_name,
        "plan": row.plan_name,
        "period": next.number,
        "paid": next.due()?,
        "periodEnd": next.ends_at,
    });
    let key = format!("{}:{}", seen.id, next.number);
    outbox::put_once(conn, clock, what, &key, payload).await?;
    Ok(())
}

/// Moves it into the plan that comes with the period.
async fn begin_plan(
    shop: &Subscriptions,
    conn: &mut Conn,
    seen: &Subscription,
    (next, payment): (&Next, &Payment),
) -> Result<()> {
    let Some(to) = &next.to else {
        return Ok(());
    };
    let beginning = upgrade::Beginning {
        number: next.number,
        covers: next.starts_at..next.ends_at,
        payment,
    };
    upgrade::begin(conn, &shop.clock, seen, to, beginning).await
}

/// Looks again, in the caller's transaction, after [`wallet::lock`]; no other writer changes the
/// subscription before its end.
pub(crate) async fn is_as_seen(conn: &mut Conn, seen: &Subscription) -> Result<bool> {
    store::lock(conn, seen.id).await?;
    let now = subscriptions::any(conn, seen.id).await?;
    Ok(now.is_some_and(|row| row.subscription.is_as_seen(seen)))
}
