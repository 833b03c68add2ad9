//! The price of the next period, decided before anything is charged.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use dermaga_runtime::contract::{self, Occasion, PriceLine, Purchase};
use serde_json::Value;

use super::{Kind, Next};
use crate::{
    Error, Result,
    catalog::{self, Plan, SoldTerm},
    coupons::{self, Continued},
    db::Conn,
    money::Rupiah,
    plugins::Decision,
    provisioning,
    subscriptions::{
        Subscription, SubscriptionRow, SubscriptionStatus, Subscriptions, pricing, upgrade,
    },
};

/// Decides what the next period costs: at the price the customer bought at or was told of, by the
/// plugin version that the instance is pinned to. Writes nothing.
pub(crate) async fn price(shop: &Subscriptions, row: &SubscriptionRow) -> Result<Next> {
    price_at(shop, row, shop.clock.now()).await
}

/// Decides what it costs if it is paid at a moment, until which the subscription stays as it is. Writes nothing.
pub(crate) async fn price_at(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    at: DateTime<Utc>,
) -> Result<Next> {
    price_of(shop, row, (Kind::of(&row.subscription), None, at)).await
}

/// Decides what a new period costs that begins now, of a subscription that is frozen. Writes nothing.
pub(in crate::subscriptions) async fn price_of_thaw(
    shop: &Subscriptions,
    row: &SubscriptionRow,
) -> Result<Next> {
    let (current, now) = (&row.subscription, shop.clock.now());
    let storage = match current.storage_price {
        Some(storage) if current.period_end < now => {
            let frozen = price_of(shop, row, (Kind::Storage(storage), None, now)).await?;
            frozen.price
        }
        _ => Rupiah::ZERO,
    };
    price_of(shop, row, (Kind::Thaw(storage), None, now)).await
}

/// Returns the price of the next period of its service before a coupon, also while it is to be frozen;
/// by another configuration than its own where one is named.
pub(in crate::subscriptions) async fn plan_price(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    config: Option<&Value>,
) -> Result<Rupiah> {
    let asked = (Kind::Service, config, shop.clock.now());
    let priced = price_of(shop, row, asked).await?;
    Ok(priced.price)
}

async fn price_of(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    (kind, config, now): (Kind, Option<&Value>, DateTime<Utc>),
) -> Result<Next> {
    let current = &row.subscription;
    let mut conn = shop.db.read().await?;
    let off = switched_off(current, now);
    // Forecast and charge ask about the same moment, so that their prices agree.
    let starts_at = match kind {
        Kind::Service | Kind::Storage(_) => current.period_end + off,
        Kind::Thaw(_) => now,
    };
    let priced_at = (!kind.is_frozen()).then_some(starts_at);
    let (plan, term, to) = plans(&mut conn, current, priced_at).await?;
    if upgrade::pending(&mut conn, current.id).await?.is_some() {
        return Err(upgrade::changing());
    }
    drop(conn);
    let months = if kind.is_frozen() { 1 } else { term.months };
    let asked = (plan.clone(), contract::Term { months }, starts_at);
    let (mut lines, total, price_decision) = ask(shop, current, asked, config).await?;
    let mut price = match kind {
        Kind::Service | Kind::Thaw(_) => term.reduce(&mut lines, total)?,
        Kind::Storage(storage) => storage_only(&mut lines, total, storage)?,
    };
    let mut coupon = None;
    if price.is_positive() && !kind.is_frozen() && current.has_coupon_left() {
        let reduced = reduction(shop, row, (plan, term), (&lines, price), starts_at);
        coupon = Some(reduced.await?);
    }
    let mut before = Rupiah::ZERO;
    if let Kind::Thaw(month) = kind
        && let Some(unpaid) = unpaid_storage(current, month, (shop.clock.zone(), now))?
    {
        before = Rupiah::new(unpaid.amount);
        price = price.plus(before)?;
        lines.push(unpaid);
    }
    let (anchor_at, anchor_months) = anchor(current, kind, (off, months), now)?;
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
        storage: before,
        price_decision,
        coupon,
        to,
    };
    next.keep_to_budget(Rupiah::ZERO);
    Ok(next)
}

/// Asks the coupon of a subscription for its reduction of a further period at this price.
async fn reduction(
    shop: &Subscriptions,
    row: &SubscriptionRow,
    (plan, term): (contract::Plan, SoldTerm),
    (lines, price): (&[PriceLine], Rupiah),
    starts_at: DateTime<Utc>,
) -> Result<Continued> {
    let current = &row.subscription;
    let purchase = Purchase {
        service: row.service_slug.clone(),
        plan,
        term: term.for_plugins(),
        lines: lines.to_vec(),
        total: price.get(),
    };
    let whose = (current.user_id, current.id);
    let asked = (purchase, current.coupon_periods_left);
    coupons::continue_for(&shop.coupons, whose, asked, starts_at).await
}

/// Returns the moment that the end of the next period is counted from, and the months from there. Time in which
/// the service was switched off moves it; a thaw begins to count.
fn anchor(
    current: &Subscription,
    kind: Kind,
    (off, months): (TimeDelta, u32),
    now: DateTime<Utc>,
) -> Result<(DateTime<Utc>, u32)> {
    if matches!(kind, Kind::Thaw(_)) {
        // Its service begins now, so that its months are counted from here.
        return Ok((now, months));
    }
    let passed = u32::try_from(current.anchor_months).map_err(Error::internal)?;
    Ok((current.anchor_at + off, passed.saturating_add(months)))
}

/// Asks the plugin that the instance is pinned to for the price of a further period.
async fn ask(
    shop: &Subscriptions,
    current: &Subscription,
    (plan, term, starts_at): (contract::Plan, contract::Term, DateTime<Utc>),
    config: Option<&Value>,
) -> Result<(Vec<PriceLine>, Rupiah, Decision)> {
    let pinned = provisioning::pinned(&mut shop.db.read().await?, current.id).await?;
    let plugin = shop.plugins.version(&pinned.plugin_digest).await?;
    let request = contract::PriceRequest {
        settings: pinned.settings.0,
        plan,
        term,
        config: config.cloned().unwrap_or(pinned.config.0),
        occasion: Occasion::Renewal,
        moment: starts_at.timestamp(),
    };
    let asked = pricing::ask(shop, &plugin, request, current.user_id, "config");
    let (answer, decision) = asked.await?;
    Ok((answer.lines, Rupiah::new(answer.total), decision))
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
    let term = starts_at.map_or_else(|| current.term(), |at| current.term_from(at))?;
    Ok((plan.for_plugins_at(term.monthly_price)?, term, None))
}

/// Takes a price down to that of the storage, with a line that says so.
fn storage_only(lines: &mut Vec<PriceLine>, price: Rupiah, storage: Rupiah) -> Result<Rupiah> {
    let off = price.minus(storage)?;
    // A frozen service never costs more than one that runs.
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

/// Returns the line of the storage that is not paid, of a frozen subscription whose period is over, by the price
/// of a frozen month: the share of a month until now, or the whole month once it could not be renewed.
fn unpaid_storage(
    current: &Subscription,
    storage: Rupiah,
    (zone, now): (Tz, DateTime<Utc>),
) -> Result<Option<PriceLine>> {
    if matches!(
        current.status,
        SubscriptionStatus::PastDue | SubscriptionStatus::Suspended
    ) {
        // The renewal takes it as soon as money comes, and none of it is given back: with a share of it, the
        // money that a thaw asks for would not suffice a moment later.
        return Ok(storage.is_positive().then(|| PriceLine {
            code: "storage".to_owned(),
            label: "Storage that is not paid".to_owned(),
            amount: storage.get(),
            reason: format!("{storage} for the frozen month that could not be renewed."),
        }));
    }
    let month = pricing::period_end(zone, current.period_end, 1)? - current.period_end;
    // No less by a clock that was set back, and no more than the month by a job that came late.
    let unpaid = (now - current.period_end).clamp(TimeDelta::zero(), month);
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
pub(super) fn switched_off(current: &Subscription, now: DateTime<Utc>) -> TimeDelta {
    let since = current.suspended_at.or(current.held_since);
    let off = since.map(|since| now - since);
    // A moment that a wrong clock wrote down may lie ahead.
    off.unwrap_or_default().max(TimeDelta::zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_database::ended;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// A subscription whose period ended then.
    fn over(status: SubscriptionStatus, end: &str) -> Subscription {
        Subscription {
            period_end: at(end),
            ..ended(status)
        }
    }

    fn unpaid(seen: &Subscription, storage: i64, now: &str) -> Option<i64> {
        let line = unpaid_storage(seen, Rupiah::new(storage), (Tz::UTC, at(now))).unwrap();
        line.map(|line| line.amount)
    }

    #[test]
    fn a_frozen_month_costs_its_storage_and_never_more_than_the_service() {
        for (price, storage, due) in [
            (50_000, 10_000, 10_000),
            (50_000, 0, 0),
            (50_000, 49_999, 49_999),
            (50_000, 50_000, 50_000),
            (5_000, 10_000, 5_000),
            (0, 10_000, 0),
        ] {
            let mut lines = Vec::new();
            let charged = storage_only(&mut lines, Rupiah::new(price), Rupiah::new(storage));
            assert_eq!(charged.unwrap(), Rupiah::new(due), "{price} {storage}");
            let off: i64 = lines.iter().map(|line| line.amount).sum();
            assert_eq!(price + off, due, "the lines explain the price");
            assert_eq!(lines.len(), usize::from(storage < price));
        }
    }

    #[test]
    fn storage_is_owed_for_the_time_since_the_period_rounded_down() {
        let seen = over(SubscriptionStatus::Active, "2028-01-10T12:00:00Z");
        for (storage, now, owed) in [
            (31_000, "2028-01-09T12:00:00Z", None),
            (31_000, "2028-01-10T12:00:00Z", None),
            (31_000, "2028-01-10T12:00:01Z", None),
            (31_000, "2028-01-11T12:00:00Z", Some(1_000)),
            (100, "2028-01-11T12:00:00Z", Some(3)),
            (31_000, "2028-02-10T11:59:59Z", Some(30_999)),
            (31_000, "2028-02-10T12:00:00Z", Some(31_000)),
            (31_000, "2029-02-10T12:00:00Z", Some(31_000)),
        ] {
            assert_eq!(unpaid(&seen, storage, now), owed, "{storage} {now}");
        }
    }

    /// The month after the 31st of January is one of 29 days in a leap year, and of 28 in another.
    #[test]
    fn a_day_of_storage_is_a_share_of_its_own_month() {
        for (end, now, owed) in [
            ("2028-01-31T00:00:00Z", "2028-02-01T00:00:00Z", 28_000),
            ("2027-01-31T00:00:00Z", "2027-02-01T00:00:00Z", 29_000),
        ] {
            let seen = over(SubscriptionStatus::Active, end);
            assert_eq!(unpaid(&seen, 29 * 28_000, now), Some(owed), "{end}");
        }
    }

    #[test]
    fn a_frozen_month_that_could_not_be_renewed_is_owed_whole() {
        for status in [SubscriptionStatus::PastDue, SubscriptionStatus::Suspended] {
            let seen = over(status, "2028-01-10T12:00:00Z");
            let now = "2028-01-10T12:00:00Z";
            assert_eq!(unpaid(&seen, 31_000, now), Some(31_000), "{status}");
            assert_eq!(unpaid(&seen, 0, now), None, "{status}");
        }
    }

    /// Only a thaw has a new anchor; all other periods are counted from the anchor, so that a subscription of the
    /// 31st comes back to the 31st.
    #[test]
    fn a_period_is_counted_from_the_anchor_except_after_a_thaw() {
        let now = at("2028-03-01T00:00:00Z");
        let current = Subscription {
            anchor_months: 12,
            ..ended(SubscriptionStatus::Active)
        };
        let off = TimeDelta::days(3);
        let renewed = anchor(&current, Kind::Service, (off, 3), now).unwrap();
        assert_eq!(renewed, (current.anchor_at + off, 15));
        let thawed = anchor(&current, Kind::Thaw(Rupiah::ZERO), (off, 3), now).unwrap();
        assert_eq!(thawed, (now, 3));
        let wrong = Subscription {
            anchor_months: -1,
            ..current
        };
        assert!(anchor(&wrong, Kind::Service, (off, 1), now).is_err());
    }
}
