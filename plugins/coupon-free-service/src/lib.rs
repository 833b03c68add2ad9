//! Makes the first periods of a new subscription free.

use dermaga_plugin_sdk::coupon::*;
use serde::Deserialize;

const MOST_PERIODS: u32 = 24;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// Number of free periods, from the first on.
    periods: u32,
}

struct FreeService;

impl CouponPlugin for FreeService {
    type Parameters = Parameters;
    const PLACES: &'static [Place] = &[Place::Checkout];

    fn about() -> About {
        about!(
            "Free service",
            "Makes the first periods of a new subscription free."
        )
    }

    fn parameters_schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "periods": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST_PERIODS,
                    "title": "Free periods",
                    "description": "Number of free periods, from the first on.",
                },
            },
            "required": ["periods"],
            "additionalProperties": false,
        })
    }

    fn check(parameters: &Parameters) -> Result<(), Vec<Problem>> {
        if (1..=MOST_PERIODS).contains(&parameters.periods) {
            return Ok(());
        }
        Err(Problem::new(
            "/periods",
            format!("Choose from 1 to {MOST_PERIODS} periods."),
        )
        .into())
    }

    fn evaluate(parameters: &Parameters, request: &Evaluation) -> Decision {
        let Some(purchase) = &request.purchase else {
            return refuse("NO_PURCHASE", "This coupon needs a purchase.");
        };
        if purchase.total <= 0 {
            return refuse(
                "ALREADY_FREE",
                "This plan costs nothing; keep the coupon for another one.",
            );
        }
        let reason = match parameters.periods {
            1 => "The first period is free.".to_owned(),
            periods => format!("The first {periods} periods are free."),
        };
        grant(Effect::FreePeriods(parameters.periods), reason)
    }
}

export_coupon!(FreeService);
