//! Sample calls of a service plugin on one plan, with the gate's verdict on its objects.

use dermaga_runtime::{
    contract::{
        AccessValue, Answer, ConfigCheck, Function, Instance, Observation, Occasion, Plan,
        PlanChangeRequest, PriceAnswer, PriceRequest, Problem, Term, service,
    },
    gate::{self, Violation},
};
use serde_json::{Value, json};

use super::{count, finding::Finding, offers::Service, sample, session::Session};
use crate::template::{Spot, Template};

const ANSWER_FIX: &str = "answer every input that the schema and `check` let through";
const UNUSED_FIX: &str = "share out plan.resources.storage_gib in full: where volumes have shares, leave one out of a volume, which then gets the rest";

/// Trial of a plugin on one plan, collecting faults.
pub(super) struct Trial<'s, 'p> {
    pub(super) session: &'s mut Session<'p>,
    pub(super) found: &'s mut Vec<Finding>,
    pub(super) plan: &'s Plan,
}

impl Trial<'_, '_> {
    /// Makes every call and passes the rendered objects through the gate.
    pub(super) fn offer(&mut self, service: &Service<'_>) {
        let plan = self.plan;
        let name = service.name_of(plan);
        let Some(config) = self.accepted(service, &name) else {
            return;
        };
        self.prices(service, plan, config);
        for other in &service.plans {
            let call = format!("plan-change from {} to {name}", service.name_of(other));
            let change = PlanChangeRequest {
                settings: service.settings.clone(),
                from: other.clone(),
                to: plan.clone(),
                config: config.clone(),
            };
            self.ask::<service::PlanChange>(&call, &change);
        }
        let instance = sample::instance(service, plan, config);
        let objects = self.manifests(&name, &instance, service.template);
        for observed in [Vec::new(), objects] {
            let call = format!("health on {name}, {}", count(observed.len(), "object"));
            self.ask::<service::Health>(
                &call,
                &Observation {
                    instance: instance.clone(),
                    observed,
                },
            );
        }
        self.access(&name, &instance);
    }

    /// Returns the first sample that `check` accepts on the plan; reports a fault when there is
    /// none.
    fn accepted<'c>(&mut self, service: &'c Service<'_>, name: &str) -> Option<&'c Value> {
        let call = format!("check on {name}");
        let mut refused = None;
        for config in &service.configs.values {
            let check = ConfigCheck {
                settings: service.settings.clone(),
                plan: self.plan.clone(),
                config: config.clone(),
            };
            match self.ask::<service::Check>(&call, &check)? {
                Answer::Ok(()) => return Some(config),
                Answer::Problems(problems) => {
                    refused.get_or_insert((config, problems));
                }
            }
        }
        let (config, problems) = refused?;
        // An empty configuration is not made up: a refusal then is about the plan.
        let made_up = service.configs.made_up && *config != json!({});
        let (message, fix) = if made_up {
            let message = format!(
                "{call}: it refuses {config}, which is made up from the schema: {}",
                said(&problems)
            );
            (message, sample::CURE)
        } else {
            let message = format!("{call}: it refuses {config}: {}", said(&problems));
            (message, ANSWER_FIX)
        };
        self.report("calls", message, fix);
        None
    }

    fn prices(&mut self, service: &Service<'_>, plan: &Plan, config: &Value) {
        let name = service.name_of(plan);
        let request = |months, occasion| PriceRequest {
            settings: service.settings.clone(),
            plan: plan.clone(),
            term: Term { months },
            config: config.clone(),
            occasion,
            moment: sample::MOMENT,
        };
        for (months, occasion) in [
            (1, Occasion::First),
            (12, Occasion::First),
            (1, Occasion::Renewal),
        ] {
            let call = format!(
                "price on {name}, {}, {}",
                json!(occasion).as_str().unwrap_or_default(),
                count(months, "month")
            );
            let months = u32::try_from(months).unwrap_or(u32::MAX);
            self.answer::<service::Price, PriceAnswer>(&call, &request(months, occasion));
        }
        let lower = service.plans.iter().filter(|other| other.tier < plan.tier);
        for other in lower {
            let running = sample::half_over(other);
            let paid = running.paid;
            let call = format!("price on {name}, upgrade from {}", service.name_of(other));
            let price = self.answer::<service::Price, PriceAnswer>(
                &call,
                &request(1, Occasion::Upgrade(running)),
            );
            let credit: i64 = price
                .iter()
                .flat_map(|price| &price.lines)
                .map(|line| line.amount.min(0))
                .fold(0, i64::saturating_add);
            if credit < -paid {
                let message = format!(
                    "{call}: it credits {} rupiah and only {paid} was paid",
                    -credit
                );
                self.report("calls", message, ANSWER_FIX);
            }
        }
    }

    /// Renders the objects and returns those that the gate admits; reports its violations.
    fn manifests(
        &mut self,
        name: &str,
        instance: &Instance,
        template: Option<&Template>,
    ) -> Vec<Value> {
        let call = format!("manifests on {name}");
        let Some(objects) = self.answer::<service::Manifests, Vec<Value>>(&call, instance) else {
            return Vec::new();
        };
        match gate::admit(&objects, &sample::policy(instance, template)) {
            Ok(admitted) => {
                self.unused_storage(name, admitted.totals.storage_gib);
                admitted.objects
            }
            Err(violations) => {
                for violation in violations {
                    let Violation {
                        object,
                        path,
                        rule,
                        message,
                        fix,
                    } = violation;
                    let place = format!("{object} {path}");
                    let place = place.trim_end();
                    let message = format!("{name}: {place}: {message} ({rule})");
                    self.report("gate", message, fix);
                }
                Vec::new()
            }
        }
    }

    /// Reports storage that the plan sells and no volume has. A service without volumes passes.
    fn unused_storage(&mut self, name: &str, taken_gib: u32) {
        let sold_gib = self.plan.resources.storage_gib;
        if taken_gib == 0 || taken_gib >= sold_gib {
            return;
        }
        self.found.push(Finding {
            check: "gate",
            spot: Spot::Storage(self.plan.slug.clone()),
            message: format!(
                "{name}: the volumes take {taken_gib} GiB of the {sold_gib} GiB that the plan sells"
            ),
            fix: UNUSED_FIX.to_owned(),
        });
    }

    fn access(&mut self, name: &str, instance: &Instance) {
        let call = format!("access on {name}");
        let Some(card) = self.ask::<service::Access>(&call, instance) else {
            return;
        };
        for field in card.fields {
            if let AccessValue::Secret(secret) = field.value
                && !instance.secrets.contains(&secret)
            {
                let message = format!(
                    "{call}: `{}` shows the secret `{secret}`, which `describe` does not list",
                    field.label
                );
                self.report("calls", message, ANSWER_FIX);
            }
        }
    }

    fn ask<F: Function>(&mut self, call: &str, input: &F::Input) -> Option<F::Output> {
        self.session
            .ask::<F>(call, input)
            .map_err(|error| self.report("calls", error, ANSWER_FIX))
            .ok()
    }

    /// Calls a function that must not refuse: schema and plan allow its input.
    fn answer<F, T>(&mut self, call: &str, input: &F::Input) -> Option<T>
    where
        F: Function<Output = Answer<T>>,
    {
        match self.ask::<F>(call, input)? {
            Answer::Ok(value) => Some(value),
            Answer::Problems(problems) => {
                let message = format!("{call}: it refuses: {}", said(&problems));
                self.report("calls", message, ANSWER_FIX);
                None
            }
        }
    }

    fn report(&mut self, check: &'static str, message: String, fix: &str) {
        self.found.push(Finding {
            check,
            spot: Spot::Plan(self.plan.slug.clone()),
            message,
            fix: fix.to_owned(),
        });
    }
}

fn said(problems: &[Problem]) -> String {
    let each: Vec<_> = problems
        .iter()
        .map(|Problem { field, message }| format!("{field} {message}").trim().to_owned())
        .collect();
    each.join("; ")
}
