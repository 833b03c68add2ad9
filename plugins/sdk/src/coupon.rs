//! Everything a coupon plugin needs: `use dermaga_plugin_sdk::coupon::*`.

use serde::de::DeserializeOwned;
pub use serde_json::{Value, json};

pub use crate::{
    about,
    bindings::{
        coupon::exports::dermaga::plugin::coupon::{
            Decision, Effect, Evaluation, Fact, Facts, Grant, Place, Purchase, Refusal,
        },
        metadata::dermaga::plugin::types::{Identity as About, Plan, Problem, Term, Tier},
    },
    export_coupon,
    money::{self, Rupiah},
};
use crate::{
    bindings::coupon::exports::dermaga::plugin::coupon::{CouponDescription, Guest},
    log, problem,
};

/// One coupon rule. The host keeps every limit that must hold under races; a rule only decides the
/// effect of this coupon for this customer, now, here.
pub trait CouponPlugin {
    /// Parameters that an administrator sets; unknown fields should be refused.
    type Parameters: DeserializeOwned;

    /// Places to present the coupon. Anywhere else it is refused before the rule is called.
    const PLACES: &'static [Place];

    /// Facts about the customer that the rule needs.
    const FACTS: &'static [Fact] = &[];

    /// Identity of the plugin, usually [`about!`].
    fn about() -> About;

    /// JSON Schema (2020-12) of the parameters.
    fn parameters_schema() -> Value;

    /// Checks rules on the parameters that the schema cannot express.
    ///
    /// # Errors
    /// The problems found.
    fn check(_parameters: &Self::Parameters) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// Decides the effect of the coupon.
    fn evaluate(parameters: &Self::Parameters, request: &Evaluation) -> Decision;
}

/// Builds a grant, with the sentence the customer reads beside the amount.
pub fn grant(effect: Effect, reason: impl Into<String>) -> Decision {
    Decision::Grant(Grant {
        effect,
        reason: reason.into(),
    })
}

/// Builds a refusal; `code` is like `MINIMUM_NOT_REACHED`, `message` a sentence for the customer.
pub fn refuse(code: &str, message: impl Into<String>) -> Decision {
    Decision::Refuse(Refusal {
        code: code.to_owned(),
        message: message.into(),
    })
}

impl<P: CouponPlugin> Guest for P {
    fn describe() -> CouponDescription {
        log::report_panics();
        CouponDescription {
            parameters_schema: P::parameters_schema().to_string(),
            places: P::PLACES.to_vec(),
            facts: P::FACTS.to_vec(),
        }
    }

    fn check(parameters: String) -> Result<(), Vec<Problem>> {
        log::report_panics();
        P::check(&problem::parse("parameters", &parameters)?)
    }

    fn evaluate(request: Evaluation) -> Decision {
        log::report_panics();
        if !P::PLACES.contains(&request.place) {
            return refuse(
                "WRONG_PLACE",
                format!("This coupon is used {}.", usable_at(P::PLACES)),
            );
        }
        match problem::parse("parameters", &request.parameters) {
            Ok(parameters) => P::evaluate(&parameters, &request),
            Err(Problem { message, .. }) => {
                log::line(log::Level::Error, &message);
                refuse(
                    "PARAMETERS_UNREADABLE",
                    "This coupon is not set up correctly. Please tell us about it.",
                )
            }
        }
    }
}

/// Returns places as words, for example `on the wallet page or at sign-up`.
fn usable_at(places: &[Place]) -> String {
    let names: Vec<_> = places
        .iter()
        .map(|place| match place {
            Place::Wallet => "on the wallet page",
            Place::Checkout => "when a plan is bought",
            Place::Registration => "at sign-up",
        })
        .collect();
    names.join(" or ")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Parameters {
        amount: Rupiah,
    }

    struct Gift;

    impl CouponPlugin for Gift {
        type Parameters = Parameters;
        const PLACES: &'static [Place] = &[Place::Wallet, Place::Registration];

        fn about() -> About {
            about!("Gift", "A gift.")
        }

        fn parameters_schema() -> Value {
            json!({"type": "object"})
        }

        fn evaluate(parameters: &Parameters, _: &Evaluation) -> Decision {
            grant(Effect::Credit(parameters.amount), "A gift.")
        }
    }

    fn evaluate(place: Place, parameters: &str) -> Decision {
        let facts = Facts {
            past_redemptions: None,
            first_purchase: None,
            account_age_days: None,
        };
        let parameters = parameters.to_owned();
        <Gift as Guest>::evaluate(Evaluation {
            parameters,
            moment: 0,
            place,
            purchase: None,
            facts,
        })
    }

    #[test]
    fn the_rule_decides_where_the_coupon_belongs() {
        assert_eq!(
            evaluate(Place::Wallet, r#"{"amount":5}"#),
            grant(Effect::Credit(5), "A gift.")
        );
    }

    #[test]
    fn elsewhere_it_is_refused_without_asking_the_rule() {
        let refusal = refuse(
            "WRONG_PLACE",
            "This coupon is used on the wallet page or at sign-up.",
        );
        assert_eq!(evaluate(Place::Checkout, "not even JSON"), refusal);
    }

    #[test]
    fn unreadable_parameters_give_nothing() {
        for parameters in ["", "{}", r#"{"amount":5,"more":1}"#, r#"{"amount":"5"}"#] {
            assert!(matches!(
                evaluate(Place::Wallet, parameters),
                Decision::Refuse(Refusal { code, .. }) if code == "PARAMETERS_UNREADABLE"
            ));
        }
        assert!(<Gift as Guest>::check("{}".to_owned()).is_err());
    }
}
