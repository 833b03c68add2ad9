//! Price of a purchase: the plan's price by its service plugin, then the coupon by its own.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use dermaga_runtime::{
    Plugin,
    contract::{
        self, Answer, Occasion, Place, PriceAnswer, PriceLine, Purchase, ServiceDescription,
    },
};
use serde_json::{Value, json};

use super::{Subscriptions, quote::PriceLineView, rounding::Rounding};
use crate::{
    Error, Result, calendar,
    catalog::{self, Offer, Service, SoldTerm, form_in_language},
    coupons::{self, CouponCode, Evaluated},
    crypto::Secret,
    ids::{PlanId, UserId},
    money::Rupiah,
    plugins::{self, Asking, Decision},
    provisioning::given,
    schema,
};

/// Order of a customer.
#[derive(Debug, Clone)]
pub struct Order {
    pub user_id: UserId,
    pub plan_id: PlanId,
    /// Months that one payment is for.
    pub term_months: u32,
    pub coupon: Option<CouponCode>,
    /// The customer's configuration; an empty object when there is none.
    pub config: Value,
    /// The first period is a gift of the shop: nothing is charged for it.
    pub is_gift: bool,
}

/// An order with its price decided, nothing booked yet.
#[derive(Debug, Clone)]
pub struct Priced {
    pub offer: Offer,
    pub term: SoldTerm,
    pub plugin: Plugin,
    /// Description that the plugin makes of the offer.
    pub description: Arc<ServiceDescription>,
    pub config: Value,
    /// Secret values of the configuration, by the names of the instance's secrets.
    pub given: BTreeMap<String, Secret>,
    pub lines: Vec<PriceLine>,
    pub price: Rupiah,
    /// The term took its share off amounts that were rounded already.
    pub(super) is_term_of_rounded: bool,
    pub price_decision: Decision,
    pub coupon: Option<Evaluated>,
    /// The shop waives the whole price.
    pub is_gift: bool,
    pub moment: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
}

impl Priced {
    pub fn discount(&self) -> Rupiah {
        if self.is_gift {
            return self.price;
        }
        self.coupon
            .as_ref()
            .map_or(Rupiah::ZERO, |coupon| coupon.amount)
    }

    /// # Errors
    /// When the difference does not fit, which the clamped discount rules out.
    pub fn due(&self) -> Result<Rupiah> {
        Ok(self.price.minus(self.discount())?)
    }

    /// The price's lines and the coupon's; they add up to what is due.
    pub fn explained(&self) -> Vec<PriceLineView> {
        let coupon = self.coupon.as_ref().map(PriceLineView::of_coupon);
        let gift = self.is_gift.then(|| PriceLineView::of_gift(self.price));
        self.lines
            .iter()
            .cloned()
            .map(PriceLineView::from)
            .chain(coupon)
            .chain(gift)
            .collect()
    }

    /// Returns the sentence about how its lines became whole rupiah.
    pub(super) fn rounding(&self) -> &'static str {
        let coupon = self.coupon.as_ref();
        let rounding = Rounding {
            of_term: self.is_term_of_rounded,
            of_coupon: coupon.is_some_and(Evaluated::is_rounded_twice),
        };
        rounding.in_words()
    }

    /// Returns the explanation of the price that is kept in the transaction.
    pub fn details(&self) -> Value {
        json!({
            "lines": self.explained(),
            "price": self.price,
            "discount": self.discount(),
            "couponCode": self.coupon.as_ref().map(|coupon| &coupon.coupon.code),
        })
    }
}

/// Decides the price of an order. Writes nothing but a refusal of a coupon that was to be redeemed.
///
/// # Errors
/// Unknown or unavailable plans, configurations that do not fit, coupons that do not apply, and
/// plugins that fail: the checkout fails closed.
pub(super) async fn price(shop: &Subscriptions, order: &Order, asking: Asking) -> Result<Priced> {
    let offer = catalog::offer(&mut shop.db.read().await?, order.plan_id).await?;
    let plugin = plugins::active(&shop.plugins, &offer.service.plugin_id).await?;
    let term = offer.plan.term(order.term_months)?;
    let plan = offer.plan.for_plugins()?;
    let settings = &offer.service.settings.0;
    let check = contract::ConfigCheck {
        settings: settings.clone(),
        plan: plan.clone(),
        config: order.config.clone(),
    };
    let Checked {
        description,
        config,
        given,
    } = check_config(shop, &plugin, (check, &offer.service), order.user_id).await?;
    let moment = shop.clock.now();
    let request = contract::PriceRequest {
        settings: settings.clone(),
        plan: plan.clone(),
        term: term.for_plugins(),
        config: config.clone(),
        occasion: Occasion::First,
        moment: moment.timestamp(),
    };
    let (answer, price_decision) = ask(shop, &plugin, request, order.user_id, "config").await?;
    let mut lines = answer.lines;
    let asked = Rupiah::new(answer.total);
    let price = term.reduce(&mut lines, asked)?;
    let purchase = Purchase {
        service: offer.service.slug.clone(),
        plan,
        term: term.for_plugins(),
        lines: lines.clone(),
        total: price.get(),
    };
    let coupon = evaluated(shop, order, purchase, asking).await?;
    Ok(Priced {
        offer,
        term,
        plugin,
        description,
        config,
        given,
        lines,
        price,
        is_term_of_rounded: term.reduces_rounded(asked)?,
        price_decision,
        coupon,
        is_gift: order.is_gift,
        moment,
        period_end: period_end(shop.clock.zone(), moment, term.months)?,
    })
}

/// Asks a service's plugin for a price.
///
/// # Errors
/// The problems that the plugin finds, which are about this field; as [`plugins::decide`].
pub(super) async fn ask(
    shop: &Subscriptions,
    plugin: &Plugin,
    request: contract::PriceRequest,
    user_id: UserId,
    field: &str,
) -> Result<(PriceAnswer, Decision)> {
    let subject = user_id.into();
    let decided =
        plugins::decide::<contract::service::Price>(&shop.plugins, plugin, request, subject)
            .await?;
    match decided.value {
        Answer::Ok(answer) => Ok((answer, decided.decision)),
        Answer::Problems(problems) => Err(schema::refused(problems, field)),
    }
}

/// Decides what the order's coupon gives for the purchase.
async fn evaluated(
    shop: &Subscriptions,
    order: &Order,
    purchase: Purchase,
    asking: Asking,
) -> Result<Option<Evaluated>> {
    let Some(code) = &order.coupon else {
        return Ok(None);
    };
    let context = (&shop.db, &shop.clock, &*shop.plugins);
    let place = (Place::Checkout, asking);
    let evaluated = coupons::evaluate(context, code, order.user_id, place, Some(purchase));
    let evaluated = coupons::limit_guesses(&shop.coupons, order.user_id, evaluated).await?;
    Ok(Some(evaluated))
}

/// A configuration that was accepted.
pub(super) struct Checked {
    pub(super) description: Arc<ServiceDescription>,
    /// The configuration with whole numbers written as such and without its secret values.
    pub(super) config: Value,
    /// Secret values, by the names of the instance's secrets.
    pub(super) given: BTreeMap<String, Secret>,
}

/// Checks a configuration of a service against the plugin's description of the settings, and the plan. The
/// plugin does not see secret values.
pub(super) async fn check_config(
    shop: &Subscriptions,
    plugin: &Plugin,
    (mut input, service): (contract::ConfigCheck, &Service),
    user_id: UserId,
) -> Result<Checked> {
    let description = plugins::describe(plugin, &input.settings).await?;
    let (form, texts) = (&description.config_schema, &service.indonesian_form);
    schema::validate(&form_in_language(form, texts), &mut input.config, "config")?;
    let given = given::take(&description.config_schema, &mut input.config, given::MARK);
    let config = input.config.clone();
    match plugins::decide::<contract::service::Check>(&shop.plugins, plugin, input, user_id.into())
        .await?
        .value
    {
        Answer::Ok(()) => Ok(Checked {
            description,
            config,
            given,
        }),
        Answer::Problems(problems) => Err(schema::refused(problems, "config")),
    }
}

/// The end of a period: so many calendar months after the anchor, on its day or the month's last, at its
/// time of day where the shop is.
///
/// # Errors
/// When the date is beyond what the calendar can say.
pub fn period_end(zone: Tz, anchor: DateTime<Utc>, months: u32) -> Result<DateTime<Utc>> {
    calendar::add_months(zone, anchor, months)
        .ok_or_else(|| Error::internal("a period ends beyond the calendar"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_keep_the_day_they_began_on() {
        let jakarta = chrono_tz::Asia::Jakarta;
        for (anchor, expected) in [
            (
                "2027-01-31T10:00:00+07:00",
                ["02-28 10:00", "03-31 10:00", "04-30 10:00"],
            ),
            // Still the day before in Greenwich.
            (
                "2027-10-01T05:00:00+07:00",
                ["11-01 05:00", "12-01 05:00", "01-01 05:00"],
            ),
            (
                "2027-03-31T02:00:00+07:00",
                ["04-30 02:00", "05-31 02:00", "06-30 02:00"],
            ),
        ] {
            let anchor: DateTime<Utc> = anchor.parse().unwrap();
            let ends = [1, 2, 3].map(|n| {
                let end = period_end(jakarta, anchor, n).unwrap();
                end.with_timezone(&jakarta)
                    .format("%m-%d %H:%M")
                    .to_string()
            });
            assert_eq!(ends, expected);
        }
    }

    #[test]
    fn a_leap_day_ends_on_the_last_of_february() {
        let leap: DateTime<Utc> = "2028-02-29T09:00:00Z".parse().unwrap();
        for (periods, expected) in [
            (1, "2028-03-29"),
            (12, "2029-02-28"),
            (24, "2030-02-28"),
            (48, "2032-02-29"),
        ] {
            let end = period_end(Tz::UTC, leap, periods).unwrap();
            assert_eq!(end.date_naive().to_string(), expected);
        }
    }

    #[test]
    fn a_period_ends_at_the_wall_time_it_began_though_clocks_change() {
        let berlin = chrono_tz::Europe::Berlin;
        for (anchor, expected) in [
            ("2027-03-15T10:00:00+01:00", "2027-04-15T10:00:00+02:00"),
            ("2027-10-15T10:00:00+02:00", "2027-11-15T10:00:00+01:00"),
            // Half past two is skipped on the 28th of March.
            ("2027-02-28T02:30:00+01:00", "2027-03-28T03:00:00+02:00"),
        ] {
            let anchor: DateTime<Utc> = anchor.parse().unwrap();
            let expected: DateTime<Utc> = expected.parse().unwrap();
            assert_eq!(period_end(berlin, anchor, 1).unwrap(), expected);
        }
    }

    #[test]
    fn a_period_beyond_the_calendar_is_an_error() {
        let late = DateTime::<Utc>::MAX_UTC;
        let end = period_end(Tz::UTC, late, 1);
        assert_eq!(end.unwrap_err().code, crate::Code::Internal);
    }
}
