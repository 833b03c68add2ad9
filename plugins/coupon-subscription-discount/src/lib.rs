//! Takes a fixed amount or a percentage off the price of a subscription, never more than the price.

use dermaga_plugin_sdk::coupon::*;
use serde::Deserialize;

const MOST_OFF: Rupiah = 100_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Parameters {
    /// Whole percent, 1 to 100. Exactly one of `percent` and `amount` is set.
    percent: Option<u8>,
    /// Fixed discount of a month in rupiah.
    amount: Option<Rupiah>,
    /// Largest discount of a percentage on the price of a month, in rupiah.
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
        let rupiah = |title: &str, description: &str| json!({"type": "integer", "minimum": 1, "maximum": MOST_OFF, "title": title, "description": description});
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
                "amount": rupiah("Amount", "Rupiah off the price of a month, at most that price itself."),
                "maxDiscount": rupiah("Largest discount", "The most that a percentage takes off a month, in rupiah."),
                "minPrice": rupiah("Smallest price", "Lowest price of a purchase that the coupon takes, in rupiah."),
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
            .filter_map(|(field, amount)| Problem::unless_within(field, amount?, &(1..=MOST_OFF)));
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
            Ok(discount) => off(discount, purchase),
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

/// Decides for the whole term; the host takes the share of the months that the coupon lasts.
fn off(discount: Discount, purchase: &Purchase) -> Decision {
    let (price, months) = (purchase.total, purchase.term.months);
    let (wanted, reason) = match discount {
        Discount::Amount(amount) => fixed(price, amount, months),
        Discount::Percent { percent, cap } => percentage(price, percent, cap, months),
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

fn fixed(price: Rupiah, amount: Rupiah, months: u32) -> (Rupiah, String) {
    let whole = amount.saturating_mul(months.into());
    let each = each(months);
    let written = money::format(amount);
    if whole > price {
        return (price, format!("{written}{each} off, at most the price."));
    }
    (whole, format!("{written}{each} off."))
}

fn percentage(price: Rupiah, percent: u8, cap: Option<Rupiah>, months: u32) -> (Rupiah, String) {
    let exact = money::percent(price, percent);
    let off = format!("{percent}% off {}", money::format(price));
    match cap.map(|cap| (cap, cap.saturating_mul(months.into()))) {
        Some((cap, whole)) if exact > whole => {
            let each = each(months);
            (
                whole,
                format!("{off}, at most {}{each}.", money::format(cap)),
            )
        }
        _ => (exact, format!("{off}.")),
    }
}

/// Says that an amount is for each month, where there are more.
const fn each(months: u32) -> &'static str {
    if months == 1 { "" } else { " a month" }
}

export_coupon!(SubscriptionDiscount);
