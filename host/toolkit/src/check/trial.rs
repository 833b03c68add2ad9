//! Sample calls of a service plugin on one plan, and the gate on what it renders.

use dermaga_runtime::{
    contract::{
        AccessValue, Answer, ConfigCheck, Function, Instance, Observation, Occasion, Plan,
        PlanChangeRequest, PriceAnswer, PriceRequest, Problem, Term, service,
    },
    gate::{self, Violation},
};
use serde_json::{Value, json};

use super::{count, offers::Service, sample, session::Session};
use crate::template::Template;

/// Trying a plugin, collecting what is wrong.
pub(super) struct Trial<'s, 'p> {
    pub(super) session: &'s mut Session<'p>,
    pub(super) wrong: Vec<String>,
    /// Each with its fix.
    pub(super) violations: Vec<(String, String)>,
}

impl Trial<'_, '_> {
    pub(super) fn offer(&mut self, service: &Service<'_>, plan: &Plan, config: &Value) {
        let name = service.name_of(plan);
        let check = ConfigCheck {
            settings: service.settings.clone(),
            plan: plan.clone(),
            config: config.clone(),
        };
        if self
            .answer::<service::Check, ()>(&format!("check on {name}"), &check)
            .is_none()
        {
            return;
        }
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
                self.wrong.push(format!(
                    "{call}: it credits {} rupiah and only {paid} was paid",
                    -credit
                ));
            }
        }
    }

    /// The objects that the gate admits.
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
            Ok(admitted) => admitted.objects,
            Err(violations) => {
                let broken = |violation: Violation| {
                    let Violation {
                        object,
                        path,
                        rule,
                        message,
                        fix,
                    } = violation;
                    let place = format!("{object} {path}");
                    let place = place.trim_end();
                    (
                        format!("{name}: {place}: {message} ({rule})"),
                        fix.to_string(),
                    )
                };
                self.violations.extend(violations.into_iter().map(broken));
                Vec::new()
            }
        }
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
                self.wrong.push(format!(
                    "{call}: `{}` shows the secret `{secret}`, which `describe` does not list",
                    field.label
                ));
            }
        }
    }

    fn ask<F: Function>(&mut self, call: &str, input: &F::Input) -> Option<F::Output> {
        self.session
            .ask::<F>(call, input)
            .map_err(|error| self.wrong.push(error))
            .ok()
    }

    /// A call that must not refuse: its input is what the schema and the plan allow.
    fn answer<F, T>(&mut self, call: &str, input: &F::Input) -> Option<T>
    where
        F: Function<Output = Answer<T>>,
    {
        match self.ask::<F>(call, input)? {
            Answer::Ok(value) => Some(value),
            Answer::Problems(problems) => {
                let said: Vec<_> = problems
                    .iter()
                    .map(|Problem { field, message }| format!("{field} {message}"))
                    .collect();
                self.wrong
                    .push(format!("{call}: it refuses: {}", said.join("; ").trim()));
                None
            }
        }
    }
}
