//! `interface coupon`.

use super::{
    convert::{answer, text},
    wit::coupon as wit,
    wit::types,
};
use crate::{
    check_output::{self, Malformed},
    contract::{
        Answer, CouponDescription, Decision, Effect, Evaluation, Fact, Facts, Grant,
        ParametersCheck, Place, Purchase, Refusal, coupon,
    },
    error::LoadError,
    exports::Binder,
};

/// Binds the interface of this name; all versions so far have the same functions.
pub(crate) fn bind(binder: &mut Binder<'_>, name: &str) -> Result<(), LoadError> {
    let interface = binder.interface(name)?;
    binder.bind::<coupon::Describe, _, _>(&interface, |()| (), description)?;
    binder.bind::<coupon::Check, _, _>(&interface, parameters, checked)?;
    binder.bind::<coupon::Evaluate, _, _>(&interface, |input| (evaluation(input),), decision)
}

fn description(
    (wit::CouponDescription {
        parameters_schema,
        places,
        facts,
    },): (wit::CouponDescription,),
) -> Result<CouponDescription, Malformed> {
    Ok(CouponDescription {
        parameters_schema: check_output::object(&parameters_schema, "parametersSchema")?,
        places: places.into_iter().map(Place::from).collect(),
        facts: facts.into_iter().map(Fact::from).collect(),
    })
}

fn parameters(input: &ParametersCheck) -> (String,) {
    (text(&input.parameters),)
}

fn checked((result,): (Result<(), Vec<types::Problem>>,)) -> Result<Answer<()>, Malformed> {
    answer(result, Ok)
}

fn evaluation(input: &Evaluation) -> wit::Evaluation {
    let Facts {
        past_redemptions,
        first_purchase,
        account_age_days,
    } = input.facts;
    wit::Evaluation {
        parameters: text(&input.parameters),
        moment: input.moment,
        place: input.place.into(),
        purchase: input.purchase.as_ref().map(wit::Purchase::from),
        facts: wit::Facts {
            past_redemptions,
            first_purchase,
            account_age_days,
        },
    }
}

fn decision((decision,): (wit::Decision,)) -> Result<Decision, Malformed> {
    check_output::decision(match decision {
        wit::Decision::Grant(wit::Grant { effect, reason }) => Decision::Grant(Grant {
            effect: effect.into(),
            reason,
        }),
        wit::Decision::Refuse(wit::Refusal { code, message }) => {
            Decision::Refuse(Refusal { code, message })
        }
    })
}

impl From<&Purchase> for wit::Purchase {
    fn from(
        Purchase {
            service,
            plan,
            term,
            lines,
            total,
        }: &Purchase,
    ) -> Self {
        Self {
            service: service.clone(),
            plan: plan.into(),
            term: (*term).into(),
            lines: lines.iter().map(types::PriceLine::from).collect(),
            total: *total,
        }
    }
}

impl From<wit::Effect> for Effect {
    fn from(effect: wit::Effect) -> Self {
        match effect {
            wit::Effect::Credit(rupiah) => Self::Credit(rupiah),
            wit::Effect::Discount(rupiah) => Self::Discount(rupiah),
            wit::Effect::FreePeriods(periods) => Self::FreePeriods(periods),
        }
    }
}

impl From<wit::Place> for Place {
    fn from(place: wit::Place) -> Self {
        match place {
            wit::Place::Wallet => Self::Wallet,
            wit::Place::Checkout => Self::Checkout,
            wit::Place::Registration => Self::Registration,
        }
    }
}

impl From<Place> for wit::Place {
    fn from(place: Place) -> Self {
        match place {
            Place::Wallet => Self::Wallet,
            Place::Checkout => Self::Checkout,
            Place::Registration => Self::Registration,
        }
    }
}

impl From<wit::Fact> for Fact {
    fn from(fact: wit::Fact) -> Self {
        match fact {
            wit::Fact::PastRedemptions => Self::PastRedemptions,
            wit::Fact::FirstPurchase => Self::FirstPurchase,
            wit::Fact::AccountAge => Self::AccountAge,
        }
    }
}
