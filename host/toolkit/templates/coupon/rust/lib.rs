//! __TITLE__: a coupon rule.
//!
//! Change, in this order: `about`, `Parameters` with their schema, `PLACES` and `FACTS`, `evaluate`.
//! The host limits uses and the period of validity; a rule never does.

use dermaga_plugin_sdk::coupon::*;
use serde::Deserialize;

/// Parameters that an administrator sets for each coupon of this type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// Percentage taken off the price: 1 to 100.
    percent: u8,
}

struct Plugin;

impl CouponPlugin for Plugin {
    type Parameters = Parameters;

    /// Places to present it: `Place::Wallet`, `Place::Checkout`, `Place::Registration`.
    const PLACES: &'static [Place] = &[Place::Checkout];

    /// Facts that the rule needs of the customer: `Fact::PastRedemptions`, `Fact::FirstPurchase`,
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
                    "description": "Share of the price that is taken off.",
                },
            },
            "required": ["percent"],
            "additionalProperties": false,
        })
    }

    /// Decides from its arguments alone, and answers with `grant` or `refuse`.
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
