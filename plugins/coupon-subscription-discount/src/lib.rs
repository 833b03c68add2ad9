//! Takes a fixed amount or a percentage off the price of a subscription, never more than the price.

use dermaga_plugin_sdk::coupon::*;
use serde::Deserialize;

const MOST: Rupiah = 100_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Parameters {
    /// Whole percent, 1 to 100. Exactly one of `percent` and `amount` is set.
    percent: Option<u8>,
    /// Fixed discount in rupiah.
    amount: Option<Rupiah>,
    /// Largest discount of a percentage, in rupiah.
    max_discount: Option<Rupiah>,
    /// Lowest price of a purchase for the coupon to apply, in rupiah.
    min_price: Option<Rupiah>,
}

/// Discount in either form.
#[derive(Debug, Clone, Copy)]
enum Discount {
    Amount(Rupiah),
    Percent { percent: u8, cap: Option<Rupiah> },
}

struct SubscriptionDiscount;

impl CouponPlugin for SubscriptionDiscount {
    type Parameters = Parameters;
    const PLACES: &'static [Place] = &[Place::Checkout];

    fn about() -> About {
        about!(
            "Subscription discount",
            "Takes a fixed amount or a percentage off the price when a plan is bought."
        )
    }

    fn parameters_schema() -> Value {
        let rupiah = |title: &str, description: &str| json!({"type": "integer", "minimum": 1, "maximum": MOST, "title": title, "description": description});
        json!({
            "type": "object",
            "properties": {
                "percent": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 100,
                    "title": "Percent",
                    "description": "Share of the price, rounded down to a whole rupiah.",
                },
                "amount": rupiah("Amount", "Rupiah off the price, at most the price itself."),
                "maxDiscount": rupiah("Largest discount", "The most that a percentage gives, in rupiah."),
                "minPrice": rupiah("Smallest price", "What a purchase must cost at least, in rupiah."),
            },
            "examples": [{"percent": 20, "maxDiscount": 50_000}, {"amount": 25_000}],
            "oneOf": [{"required": ["percent"]}, {"required": ["amount"]}],
            "additionalProperties": false,
        })
    }

    fn check(parameters: &Parameters) -> Result<(), Vec<Problem>> {
        let amounts = [
            ("/amount", parameters.amount),
            ("/maxDiscount", parameters.max_discount),
            ("/minPrice", parameters.min_price),
        ];
        let out_of_range = amounts
            .into_iter()
            .filter_map(|(field, amount)| Problem::unless_within(field, amount?, &(1..=MOST)));
        Problem::none_of(out_of_range.chain(discount(parameters).err()))
    }

    fn evaluate(parameters: &Parameters, request: &Evaluation) -> Decision {
        let Some(purchase) = &request.purchase else {
            return refuse("NO_PURCHASE", "This coupon needs a purchase.");
        };
        if let Some(least) = parameters.min_price.filter(|least| purchase.total < *least) {
            let message = format!(
                "This coupon is for purchases of {} or more.",
                money::format(least)
            );
            return refuse("MINIMUM_NOT_REACHED", message);
        }
        match discount(parameters) {
            Ok(discount) => off(discount, purchase.total),
            Err(problem) => refuse("PARAMETERS_UNREADABLE", problem.message),
        }
    }
}

/// Returns the one discount that the parameters describe.
fn discount(parameters: &Parameters) -> Result<Discount, Problem> {
    match (parameters.percent, parameters.amount) {
        (Some(percent), None) if (1..=100).contains(&percent) => Ok(Discount::Percent {
            percent,
            cap: parameters.max_discount,
        }),
        (Some(_), None) => Err(Problem::new(
            "/percent",
            "Choose a percentage from 1 to 100.",
        )),
        (None, Some(amount)) if parameters.max_discount.is_none() => Ok(Discount::Amount(amount)),
        (None, Some(_)) => Err(Problem::new(
            "/maxDiscount",
            "A fixed amount has no largest discount: remove one of them.",
        )),
        (Some(_), Some(_)) => Err(Problem::new(
            "",
            "Choose either a percentage or an amount, not both.",
        )),
        (None, None) => Err(Problem::new("", "Choose a percentage or an amount.")),
    }
}

fn off(discount: Discount, price: Rupiah) -> Decision {
    let (wanted, reason) = match discount {
        Discount::Amount(amount) if amount > price => (
            price,
            format!("{} off, at most the price.", money::format(amount)),
        ),
        Discount::Amount(amount) => (amount, format!("{} off.", money::format(amount))),
        Discount::Percent { percent, cap } => percentage(price, percent, cap),
    };
    let discount = wanted.min(price);
    if discount <= 0 {
        return refuse(
            "NOTHING_TO_DISCOUNT",
            "The price is too low for this coupon to make a difference.",
        );
    }
    grant(Effect::Discount(discount), reason)
}

fn percentage(price: Rupiah, percent: u8, cap: Option<Rupiah>) -> (Rupiah, String) {
    let exact = money::percent(price, percent);
    match cap.filter(|cap| exact > *cap) {
        Some(cap) => (
            cap,
            format!(
                "{percent}% off {}, at most {}.",
                money::format(price),
                money::format(cap)
            ),
        ),
        None => (exact, format!("{percent}% off {}.", money::format(price))),
    }
}

export_coupon!(SubscriptionDiscount);
