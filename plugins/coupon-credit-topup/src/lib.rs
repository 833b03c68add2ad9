//! Grants a fixed amount of bonus credit when its code is redeemed on the wallet page.

use dermaga_plugin_sdk::coupon::*;
use serde::Deserialize;

const MOST_CREDIT: Rupiah = 100_000_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// Credit in rupiah.
    amount: Rupiah,
}

struct CreditTopup;

impl CouponPlugin for CreditTopup {
    type Parameters = Parameters;
    const PLACES: &'static [Place] = &[Place::Wallet];

    fn about() -> About {
        about!(
            "Credit top-up",
            "Adds a fixed amount of credit on the wallet page."
        )
    }

    fn parameters_schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "amount": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST_CREDIT,
                    "title": "Amount",
                    "description": "Bonus credit in rupiah.",
                },
            },
            "required": ["amount"],
            "additionalProperties": false,
        })
    }

    fn check(parameters: &Parameters) -> Result<(), Vec<Problem>> {
        Problem::none_of(Problem::unless_within(
            "/amount",
            parameters.amount,
            &(1..=MOST_CREDIT),
        ))
    }

    fn evaluate(parameters: &Parameters, _: &Evaluation) -> Decision {
        let amount = parameters.amount;
        grant(
            Effect::Credit(amount),
            format!("{} of bonus credit.", money::format(amount)),
        )
    }
}

export_coupon!(CreditTopup);
