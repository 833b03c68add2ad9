//! Grants bonus credit to a new account, once.

use dermaga_plugin_sdk::coupon::*;
use serde::Deserialize;

const MOST_BONUS: Rupiah = 10_000_000;
const MOST_DAYS: u32 = 365;
const DEFAULT_DAYS: u32 = 7;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Parameters {
    /// Bonus in rupiah.
    amount: Rupiah,
    /// Whole days for which an account counts as new.
    #[serde(default = "default_days")]
    max_account_age_days: u32,
}

const fn default_days() -> u32 {
    DEFAULT_DAYS
}

struct WelcomeBonus;

impl CouponPlugin for WelcomeBonus {
    type Parameters = Parameters;
    const PLACES: &'static [Place] = &[Place::Registration];
    const FACTS: &'static [Fact] = &[Fact::PastRedemptions, Fact::AccountAge];

    fn about() -> About {
        about!(
            "Welcome bonus",
            "Adds bonus credit to a new account, once, at sign-up."
        )
    }

    fn parameters_schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "amount": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST_BONUS,
                    "title": "Amount",
                    "description": "Bonus credit in rupiah.",
                },
                "maxAccountAgeDays": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": MOST_DAYS,
                    "default": DEFAULT_DAYS,
                    "title": "New for so many days",
                    "description": "Older accounts receive nothing.",
                },
            },
            "required": ["amount"],
            "additionalProperties": false,
        })
    }

    fn check(parameters: &Parameters) -> Result<(), Vec<Problem>> {
        let too_old = (parameters.max_account_age_days > MOST_DAYS).then(|| {
            Problem::new(
                "/maxAccountAgeDays",
                format!("Choose from 0 to {MOST_DAYS} days."),
            )
        });
        let amount = Problem::unless_within("/amount", parameters.amount, &(1..=MOST_BONUS));
        Problem::none_of(amount.into_iter().chain(too_old))
    }

    fn evaluate(parameters: &Parameters, request: &Evaluation) -> Decision {
        let Facts {
            past_redemptions: Some(past),
            account_age_days: Some(age),
            ..
        } = request.facts
        else {
            return refuse(
                "FACTS_MISSING",
                "It could not be found out whether this account is new.",
            );
        };
        if past > 0 {
            return refuse(
                "ALREADY_RECEIVED",
                "This account has received its welcome bonus.",
            );
        }
        let newest = parameters.max_account_age_days;
        if age > newest {
            return refuse(
                "ACCOUNT_NOT_NEW",
                format!("The welcome bonus is for accounts of at most {newest} days."),
            );
        }
        let amount = parameters.amount;
        grant(
            Effect::Credit(amount),
            format!("Welcome! {} of bonus credit.", money::format(amount)),
        )
    }
}

export_coupon!(WelcomeBonus);
