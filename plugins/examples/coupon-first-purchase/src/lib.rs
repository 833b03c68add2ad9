//! A percentage off a customer's first purchase, up to a largest discount.

use dermaga_plugin_sdk::coupon::*;
use serde::Deserialize;

const MOST: Rupiah = 100_000_000;

/// What an administrator sets for each coupon of this type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Parameters {
    /// Whole percent, 1 to 100.
    percent: u8,
    /// The most that the coupon gives, in rupiah.
    max_discount: Option<Rupiah>,
}

struct FirstPurchase;

impl CouponPlugin for FirstPurchase {
    type Parameters = Parameters;
    const PLACES: &'static [Place] = &[Place::Checkout];
    const FACTS: &'static [Fact] = &[Fact::FirstPurchase];

    fn about() -> About {
        about!(
            "First purchase",
            "Takes a percentage off a customer's first purchase, up to a largest discount."
        )
    }

    fn parameters_schema() -> Value {
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
                "maxDiscount": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST,
                    "title": "Largest discount",
                    "description": "The most that the coupon gives, in rupiah.",
                },
            },
            "required": ["percent"],
            "additionalProperties": false,
            "examples": [{"percent": 30, "maxDiscount": 50_000}],
        })
    }

    fn evaluate(parameters: &Parameters, request: &Evaluation) -> Decision {
        let Some(purchase) = &request.purchase else {
            return refuse("WRONG_PLACE", "This coupon is used when a plan is bought.");
        };
        if request.facts.first_purchase != Some(true) {
            return refuse("NOT_FIRST_PURCHASE", "This coupon is for a first purchase.");
        }
        let percent = parameters.percent;
        let exact = money::percent(purchase.total, percent);
        if exact == 0 {
            return refuse(
                "NOTHING_TO_DISCOUNT",
                "The price is too low for this coupon to make a difference.",
            );
        }
        let share = format!("{percent}% off {}", money::format(purchase.total));
        match parameters.max_discount.filter(|most| exact > *most) {
            Some(most) => grant(
                Effect::Discount(most),
                format!("{share}, at most {}.", money::format(most)),
            ),
            None => grant(Effect::Discount(exact), format!("{share}.")),
        }
    }
}

export_coupon!(FirstPurchase);
