//! First purchase: what this coupon gives, and to whom.
//!
//! Change, in this order: `about`, `Parameters` with their schema, `PLACES` and `FACTS`, `evaluate`.
//! How often and how long a coupon can be used is the host's business, never a rule's.

use dermaga_plugin_sdk::coupon::*;
use serde::Deserialize;

/// What an administrator sets for each coupon of this type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// How much of the price is taken off: 1 to 100.
    percent: u8,
    /// The most that is taken off, in rupiah.
    #[serde(rename = "maxDiscount")]
    max_discount: Option<Rupiah>,
}

struct Plugin;

impl CouponPlugin for Plugin {
    type Parameters = Parameters;

    /// Where it can be presented: `Place::Wallet`, `Place::Checkout`, `Place::Registration`.
    const PLACES: &'static [Place] = &[Place::Checkout];

    /// What the rule needs to know of the customer: `Fact::PastRedemptions`, `Fact::FirstPurchase`,
    /// `Fact::AccountAge`. The host tells what is listed here and nothing else.
    const FACTS: &'static [Fact] = &[Fact::FirstPurchase];

    fn about() -> About {
        about!(
            "First purchase",
            "Takes a share off the price of a first purchase."
        )
    }

    /// JSON Schema of `Parameters`; the host checks parameters against it before any call.
    fn parameters_schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "percent": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 100,
                    "title": "Percent",
                    "description": "How much of the price is taken off.",
                },
                "maxDiscount": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 100_000_000,
                    "title": "Largest discount",
                    "description": "The most that is taken off, in rupiah.",
                },
            },
            "required": ["percent"],
            "additionalProperties": false,
        })
    }

    /// The rule. It may use its arguments and nothing else, and answers with `grant` or `refuse`.
    /// Effects: `Discount` and `FreePeriods` at checkout, `Credit` elsewhere.
    fn evaluate(parameters: &Parameters, request: &Evaluation) -> Decision {
        let Some(purchase) = &request.purchase else {
            return refuse("NO_PURCHASE", "This coupon needs a purchase.");
        };
        if request.facts.first_purchase != Some(true) {
            return refuse("NOT_FIRST_PURCHASE", "This coupon is for a first purchase.");
        }
        let percent = parameters.percent;
        let most = parameters.max_discount.unwrap_or(Rupiah::MAX);
        let discount = money::percent(purchase.total, percent).min(most);
        if discount == 0 {
            return refuse(
                "NOTHING_TO_DISCOUNT",
                "The price is too low to take anything off.",
            );
        }
        let price = money::format(purchase.total);
        let reason = if discount == most {
            format!("{percent}% off {price}, at most {}.", money::format(most))
        } else {
            format!("{percent}% off {price}.")
        };
        grant(Effect::Discount(discount), reason)
    }
}

export_coupon!(Plugin);
