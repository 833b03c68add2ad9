//! Sample calls of a service plugin, and the gate on what it renders.

use std::collections::{BTreeMap, BTreeSet};

use dermaga_runtime::{
    contract::{
        AccessValue, Answer, ConfigCheck, Function, Instance, Observation, Occasion, Plan,
        PlanChangeRequest, PriceAnswer, PriceRequest, Problem, ServiceDescription, Term, service,
    },
    gate::{self, Violation},
};
use serde_json::{Value, json};

use super::{count, report::ReportBuilder, sample, session::Session};
use crate::{case::Case, template::Template};

pub(super) fn run(
    description: &ServiceDescription,
    templates: &[Template],
    cases: &[Case],
    session: &mut Session<'_>,
    report: &mut ReportBuilder,
) {
    describe(description, report);
    let id = session.plugin_id().to_owned();
    let templates: Vec<&Template> = templates
        .iter()
        .filter(|template| template.plugin == id)
        .collect();
    images(description, &templates, report);
    let offers = offers(&templates, cases);
    let configs = configs(&description.config_schema, cases);
    let (Some(config), false) = (configs.first(), offers.is_empty()) else {
        let why = if offers.is_empty() {
            "no template sells this plugin and no golden case names a plan"
        } else {
            "no configuration to call with: give the schema `default`s or `examples`"
        };
        report.skip("calls", why);
        report.skip("gate", why);
        return;
    };
    let mut trial = Trial {
        description,
        session,
        wrong: Vec::new(),
        violations: Vec::new(),
    };
    for offer in &offers {
        trial.offer(offer, config, &offers);
    }
    let Trial {
        wrong, violations, ..
    } = trial;
    let sold = count(offers.len(), "plan");
    report.verdict(
        "calls",
        &format!("every function answered on {sold}"),
        wrong,
        || "answer every input that the schema and `check` let through".to_owned(),
    );
    let good = if templates.is_empty() {
        format!(
            "no template given: checked with {sold} of the cases; within the plan and the rules"
        )
    } else {
        let named: Vec<_> = templates
            .iter()
            .map(|template| template.slug.as_str())
            .collect();
        format!(
            "{sold} of {}: within what each buys, and within the rules",
            named.join(", ")
        )
    };
    let fix = violations.first().map(|(_, fix)| fix.clone());
    let violations = violations
        .into_iter()
        .map(|(violation, _)| violation)
        .collect();
    report.verdict("gate", &good, violations, || fix.unwrap_or_default());
}

fn describe(description: &ServiceDescription, report: &mut ReportBuilder) {
    let mut wrong = Vec::new();
    if let Err(error) = jsonschema::draft202012::options().build(&description.config_schema) {
        wrong.push(format!("the configuration schema: {error}"));
    }
    let mut ports = BTreeMap::new();
    for endpoint in &description.endpoints {
        if let Some(other) = ports.insert(endpoint.port, &endpoint.name) {
            wrong.push(format!(
                "the endpoints `{other}` and `{}` have the same port {}",
                endpoint.name, endpoint.port
            ));
        }
    }
    let good = format!(
        "the configuration schema is valid; {}, {}, {}",
        count(description.secrets.len(), "secret"),
        count(description.endpoints.len(), "endpoint"),
        count(description.images.len(), "image")
    );
    report.verdict("describe", &good, wrong, || {
        "write the schema as JSON Schema 2020-12, and one port an endpoint".to_owned()
    });
}

/// A template lists exactly the images the plugin asks for, by its names for them.
fn images(description: &ServiceDescription, templates: &[&Template], report: &mut ReportBuilder) {
    if templates.is_empty() {
        report.skip("template", "no template given that names this plugin");
        return;
    }
    let asked: BTreeSet<&str> = description
        .images
        .iter()
        .map(|image| image.name.as_str())
        .collect();
    let mut wrong = Vec::new();
    for Template { slug, images, .. } in templates {
        let listed: BTreeSet<&str> = images.keys().map(String::as_str).collect();
        wrong.extend(
            asked.difference(&listed).map(|name| {
                format!("{slug}: [images] does not list `{name}`, which the plugin runs")
            }),
        );
        wrong.extend(listed.difference(&asked).map(|name| {
            format!("{slug}: [images] lists `{name}`, which the plugin does not know")
        }));
    }
    let asked: Vec<_> = asked.into_iter().collect();
    report.verdict(
        "template",
        &format!("it lists the plugin's images: {}", asked.join(", ")),
        wrong,
        || format!("list exactly: {}", asked.join(", ")),
    );
}

/// A plan to try the plugin on.
#[derive(Debug)]
struct Offer<'t> {
    template: Option<&'t Template>,
    plan: Plan,
}

impl Offer<'_> {
    fn name(&self) -> String {
        match self.template {
            Some(template) => format!("{} {}", template.slug, self.plan.slug),
            None => self.plan.slug.clone(),
        }
    }
}

/// The plans that templates sell; without templates, those of the golden cases.
fn offers<'t>(templates: &[&'t Template], cases: &[Case]) -> Vec<Offer<'t>> {
    let mut offers: Vec<Offer<'_>> = Vec::new();
    for template in templates {
        let sold = template.plans.iter().map(|plan| Offer {
            template: Some(template),
            plan: plan.for_plugins(),
        });
        offers.extend(sold);
    }
    if templates.is_empty() {
        let pointers = ["/plan", "/instance/plan", "/from", "/to"];
        let named = cases.iter().flat_map(|case| {
            pointers
                .iter()
                .filter_map(|pointer| case.input.pointer(pointer))
        });
        for plan in named.filter_map(|plan| serde_json::from_value::<Plan>(plan.clone()).ok()) {
            if !offers.iter().any(|offer| offer.plan == plan) {
                offers.push(Offer {
                    template: None,
                    plan,
                });
            }
        }
    }
    offers
}

/// Samples of the schema first, then those of the golden cases.
fn configs(schema: &Value, cases: &[Case]) -> Vec<Value> {
    let rendered = cases.iter().filter(|case| case.function == "manifests");
    let given = rendered
        .filter_map(|case| case.input.get("config"))
        .cloned();
    sample::of_schema(schema).into_iter().chain(given).collect()
}

/// Trying a plugin, collecting what is wrong.
struct Trial<'d, 's, 'p> {
    description: &'d ServiceDescription,
    session: &'s mut Session<'p>,
    wrong: Vec<String>,
    /// Each with its fix.
    violations: Vec<(String, String)>,
}

impl Trial<'_, '_, '_> {
    fn offer(&mut self, offer: &Offer<'_>, config: &Value, all: &[Offer<'_>]) {
        let name = offer.name();
        let Offer { template, plan } = offer;
        let check = ConfigCheck {
            plan: plan.clone(),
            config: config.clone(),
        };
        if self
            .answer::<service::Check, ()>(&format!("check on {name}"), &check)
            .is_none()
        {
            return;
        }
        self.prices(&name, plan, config, all);
        for other in all {
            let call = format!("plan-change from {} to {name}", other.name());
            let change = PlanChangeRequest {
                from: other.plan.clone(),
                to: plan.clone(),
                config: config.clone(),
            };
            self.ask::<service::PlanChange>(&call, &change);
        }
        let instance = sample::instance(self.description, *template, plan, config);
        let objects = self.manifests(&name, &instance, *template);
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

    fn prices(&mut self, name: &str, plan: &Plan, config: &Value, all: &[Offer<'_>]) {
        let request = |months, occasion| PriceRequest {
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
        for other in all.iter().filter(|other| other.plan.tier < plan.tier) {
            let running = sample::half_over(&other.plan);
            let paid = running.paid;
            let call = format!("price on {name}, upgrade from {}", other.name());
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
                    (
                        format!("{name}: {object} {path}: {message} ({rule})"),
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
