//! What a service plugin is tried on.

use std::sync::Arc;

use dermaga_runtime::{
    Plugin,
    contract::{Answer, Plan, Problem, ServiceDescription, Settings},
};
use serde_json::Value;

use super::sample;
use crate::{case::Case, template::Template};

/// A service that the plugin makes of what one template says; without templates, of what golden
/// cases say.
#[derive(Debug)]
pub(crate) struct Service<'t> {
    pub(crate) template: Option<&'t Template>,
    pub(crate) settings: Settings,
    pub(crate) description: Arc<ServiceDescription>,
    pub(crate) plans: Vec<Plan>,
    /// Samples of the schema first, then those of the golden cases.
    pub(crate) configs: Vec<Value>,
}

/// The services of a plugin, and what it says of settings it makes nothing of.
#[derive(Debug, Default)]
pub(crate) struct Services<'t> {
    pub(crate) made: Vec<Service<'t>>,
    pub(crate) refused: Vec<String>,
}

impl Service<'_> {
    /// For example `n8n basic`.
    pub(crate) fn name_of(&self, plan: &Plan) -> String {
        match self.template {
            Some(template) => format!("{} {}", template.slug, plan.slug),
            None => plan.slug.clone(),
        }
    }
}

impl<'t> Services<'t> {
    /// The services that templates sell; when none does, those that golden cases name, or the one of
    /// no settings.
    pub(crate) fn of(plugin: &Plugin, templates: &[&'t Template], cases: &[Case]) -> Self {
        let mut services = Self::default();
        for template in templates {
            let plans = template.plans.iter().map(|plan| plan.for_plugins());
            let sold = (Some(*template), &template.settings, plans.collect());
            services.add(plugin, sold, cases);
        }
        if templates.is_empty() {
            let mut told: Vec<Settings> = cases.iter().filter_map(settings).collect();
            told.dedup();
            if told.is_empty() {
                told.push(Settings::new());
            }
            for settings in told {
                let plans = plans(cases, &settings);
                services.add(plugin, (None, &settings, plans), cases);
            }
        }
        services
    }

    fn add(
        &mut self,
        plugin: &Plugin,
        (template, settings, plans): (Option<&'t Template>, &Settings, Vec<Plan>),
        cases: &[Case],
    ) {
        match plugin.describe(settings) {
            Ok(Answer::Ok(description)) => self.made.push(Service {
                template,
                settings: settings.clone(),
                configs: configs(&description.config_schema, settings, cases),
                description,
                plans,
            }),
            Ok(Answer::Problems(problems)) => {
                self.refused.extend(refusals(template, &problems));
            }
            Err(error) => {
                let slug = template.map_or("", |template| &template.slug);
                let call = format!("describe {slug}");
                self.refused
                    .push(format!("{}: {}", call.trim_end(), error.failure));
            }
        }
    }
}

fn refusals(template: Option<&Template>, problems: &[Problem]) -> Vec<String> {
    match template {
        Some(template) => {
            let errors = template.refused_settings(problems);
            errors.iter().map(ToString::to_string).collect()
        }
        None => problems
            .iter()
            .map(|Problem { field, message }| format!("{field} {message}").trim().to_owned())
            .collect(),
    }
}

/// The settings a case is about, if it names a plan.
fn settings(case: &Case) -> Option<Settings> {
    ["/plan", "/instance/plan", "/from"]
        .iter()
        .find_map(|pointer| case.input.pointer(pointer))?;
    let told = ["/settings", "/instance/settings"]
        .iter()
        .find_map(|pointer| case.input.pointer(pointer));
    told.map_or_else(
        || Some(Settings::new()),
        |settings| settings.as_object().cloned(),
    )
}

/// The plans that cases of these settings name.
fn plans(cases: &[Case], of: &Settings) -> Vec<Plan> {
    let pointers = ["/plan", "/instance/plan", "/from", "/to"];
    let mut plans: Vec<Plan> = Vec::new();
    let alike = cases
        .iter()
        .filter(|case| settings(case).as_ref() == Some(of));
    let named = alike.flat_map(|case| {
        pointers
            .iter()
            .filter_map(|pointer| case.input.pointer(pointer))
    });
    for plan in named.filter_map(|plan| serde_json::from_value(plan.clone()).ok()) {
        if !plans.contains(&plan) {
            plans.push(plan);
        }
    }
    plans
}

fn configs(schema: &Value, of: &Settings, cases: &[Case]) -> Vec<Value> {
    let rendered = cases
        .iter()
        .filter(|case| case.function == "manifests" && settings(case).as_ref() == Some(of));
    let given = rendered
        .filter_map(|case| case.input.get("config"))
        .cloned();
    sample::of_schema(schema).into_iter().chain(given).collect()
}
