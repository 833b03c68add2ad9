//! __TITLE__: what this coupon gives, and to whom.
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
}

struct Plugin;

impl CouponPlugin for Plugin {
    type Parameters = Parameters;

    /// Where it can be presented: `Place::Wallet`, `Place::Checkout`, `Place::Registration`.
    const PLACES: &'static [Place] = &[Place::Checkout];

    /// What the rule needs to know of the customer: `Fact::PastRedemptions`, `Fact::FirstPurchase`,
    /// `Fact::AccountAge`. The host tells what is listed here and nothing else.
    const FACTS: &'static [Fact] = &[];

    fn about() -> About {
        about!(
            "__TITLE__",
            "Takes a share off the price of a purchase."
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
        let percent = parameters.percent;
        let discount = money::percent(purchase.total, percent);
        if discount == 0 {
            return refuse(
                "NOTHING_TO_DISCOUNT",
                "The price is too low to take anything off.",
            );
        }
        let reason = format!("{percent}% off {}.", money::format(purchase.total));
        grant(Effect::Discount(discount), reason)
    }
}

export_coupon!(Plugin);
