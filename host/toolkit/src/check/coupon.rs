//! Sample calls of a coupon plugin.

use dermaga_runtime::contract::{
    Answer, CouponDescription, Decision, Effect, Evaluation, Fact, Facts, ParametersCheck, Place,
    PriceLine, Purchase, Rupiah, Term, coupon,
};
use serde_json::Value;

use super::{
    count, proposals,
    report::ReportBuilder,
    sample::{self, Samples},
    session::Session,
};
use crate::case::Case;

/// Prices in rupiah that a coupon is tried on: nothing, the smallest, a usual one, a very high one.
const PRICES: [Rupiah; 4] = [0, 1, 75_000, 1_000_000_000];

const ANSWER_FIX: &str = "answer every input that the schema and `check` let through";

pub(super) fn run(
    description: &CouponDescription,
    cases: &[Case],
    session: &mut Session<'_>,
    report: &mut ReportBuilder,
) {
    let schema = &description.parameters_schema;
    let compiled = jsonschema::draft202012::options()
        .build(schema)
        .err()
        .map(|error| format!("the parameter schema: {error}"));
    let good = format!(
        "the parameter schema is valid; for {}",
        places(description).join(", ")
    );
    let proposed = proposals::refused(schema)
        .into_iter()
        .map(|bad| bad.message);
    let wrong = compiled.into_iter().chain(proposed).collect();
    report.verdict("describe", &good, wrong, || {
        "write the schema as JSON Schema 2020-12, with proposals that it accepts".to_owned()
    });
    let Samples {
        values: parameters,
        made_up,
    } = parameters(schema, cases);
    if parameters.is_empty() {
        report.skip("calls", "no parameters to call with: give the schema `examples`, or add a golden case of `evaluate`");
        return;
    }
    let mut wrong = Vec::new();
    let mut fix = ANSWER_FIX;
    for (number, parameters) in parameters.iter().enumerate() {
        if let Err(refused) = accepted(number, parameters, session) {
            wrong.push(refused);
            if made_up {
                fix = sample::CURE;
            }
        }
        for evaluation in evaluations(description, parameters) {
            wrong.extend(decide(number, &evaluation, session).err());
        }
    }
    let good = format!(
        "every place answered with {}",
        count(parameters.len(), "parameter set")
    );
    report.verdict("calls", &good, wrong, || fix.to_owned());
}

fn places(description: &CouponDescription) -> Vec<String> {
    description
        .places
        .iter()
        .map(|place| name(*place).to_owned())
        .collect()
}

const fn name(place: Place) -> &'static str {
    match place {
        Place::Wallet => "wallet",
        Place::Checkout => "checkout",
        Place::Registration => "registration",
    }
}

/// Returns samples of the schema, and the parameters of the golden cases.
fn parameters(schema: &Value, cases: &[Case]) -> Samples {
    let mut all = sample::of_schema(schema);
    let evaluated = cases.iter().filter(|case| case.function == "evaluate");
    for parameters in evaluated.filter_map(|case| case.input.get("parameters")) {
        if !all.values.contains(parameters) {
            all.values.push(parameters.clone());
        }
    }
    all
}

fn accepted(number: usize, parameters: &Value, session: &mut Session<'_>) -> Result<(), String> {
    let call = format!("check of parameters {}", number + 1);
    match session.ask::<coupon::Check>(
        &call,
        &ParametersCheck {
            parameters: parameters.clone(),
        },
    )? {
        Answer::Ok(()) => Ok(()),
        Answer::Problems(problems) => {
            let first = problems
                .first()
                .map(|problem| format!("{} {}", problem.field, problem.message));
            Err(format!(
                "{call}: the schema accepts {parameters} and `check` refuses it: {}",
                first.unwrap_or_default().trim()
            ))
        }
    }
}

fn evaluations(description: &CouponDescription, parameters: &Value) -> Vec<Evaluation> {
    let purchases = |place| match place {
        Place::Checkout => PRICES.iter().map(|price| Some(purchase(*price))).collect(),
        Place::Wallet | Place::Registration => vec![None],
    };
    let mut all = Vec::new();
    for place in &description.places {
        for purchase in purchases(*place) {
            for new_customer in [true, false] {
                all.push(Evaluation {
                    parameters: parameters.clone(),
                    moment: sample::MOMENT,
                    place: *place,
                    purchase: purchase.clone(),
                    facts: facts(&description.facts, new_customer),
                });
            }
        }
    }
    all
}

/// Returns the declared facts only, as the host does.
fn facts(declared: &[Fact], new_customer: bool) -> Facts {
    let declares = |fact| declared.contains(&fact);
    Facts {
        past_redemptions: declares(Fact::PastRedemptions).then_some(if new_customer {
            0
        } else {
            3
        }),
        first_purchase: declares(Fact::FirstPurchase).then_some(new_customer),
        account_age_days: declares(Fact::AccountAge).then_some(if new_customer { 0 } else { 400 }),
    }
}

fn purchase(price: Rupiah) -> Purchase {
    let line = PriceLine {
        code: "plan".to_owned(),
        label: "Basic, 1 month".to_owned(),
        amount: price,
        reason: "One month of the plan.".to_owned(),
    };
    Purchase {
        service: "n8n".to_owned(),
        plan: sample::plan(price),
        term: Term { months: 1 },
        lines: vec![line],
        total: price,
    }
}

fn decide(number: usize, evaluation: &Evaluation, session: &mut Session<'_>) -> Result<(), String> {
    let place = name(evaluation.place);
    let price = evaluation
        .purchase
        .as_ref()
        .map(|purchase| format!(" of {} rupiah", purchase.total));
    let call = format!(
        "evaluate at {place}{} with parameters {}",
        price.unwrap_or_default(),
        number + 1
    );
    let Decision::Grant(grant) = session.ask::<coupon::Evaluate>(&call, evaluation)? else {
        return Ok(());
    };
    let fits = match grant.effect {
        Effect::Credit(_) => evaluation.place != Place::Checkout,
        Effect::Discount(_) | Effect::FreePeriods(_) => evaluation.place == Place::Checkout,
    };
    if fits {
        return Ok(());
    }
    Err(format!(
        "{call}: it grants {:?}, which cannot be given there",
        grant.effect
    ))
}
