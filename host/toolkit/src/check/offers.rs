//! Services that a service plugin is tried on.

use std::sync::Arc;

use dermaga_runtime::{
    Failure, Plugin,
    contract::{Answer, Plan, Problem, ServiceDescription, Settings},
};
use serde_json::Value;

use super::sample::{self, Samples};
use crate::{
    case::Case,
    template::{Spot, Template, TemplateError},
};

/// A service that the plugin makes from one template, or from golden cases without templates.
#[derive(Debug)]
pub(crate) struct Service<'t> {
    pub(crate) template: Option<&'t Template>,
    pub(crate) settings: Settings,
    pub(crate) description: Arc<ServiceDescription>,
    pub(crate) plans: Vec<Plan>,
    /// Configurations to try: samples of the schema, or those of the golden cases when it has none.
    pub(crate) configs: Samples,
}

/// The services of a plugin, and its complaints about settings that it refuses.
#[derive(Debug, Default)]
pub(crate) struct Services<'t> {
    pub(crate) made: Vec<Service<'t>>,
    pub(crate) refused: Vec<String>,
    /// The same complaints, each with its place in the template.
    pub(crate) refused_in_template: Vec<TemplateError>,
    /// True when a call found no free slot to run in.
    pub(crate) busy: bool,
}

impl Service<'_> {
    /// Returns the name of an offer, for example `n8n basic`.
    pub(crate) fn name_of(&self, plan: &Plan) -> String {
        match self.template {
            Some(template) => format!("{} {}", template.slug, plan.slug),
            None => plan.slug.clone(),
        }
    }
}

impl<'t> Services<'t> {
    /// Asks the plugin for the services that templates sell; without templates, for those of the
    /// golden cases' settings, or else for the one of empty settings.
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
            Ok(Answer::Problems(problems)) => self.refuse(template, &problems),
            Err(error) => {
                self.busy |= matches!(error.failure, Failure::Busy { .. });
                let slug = template.map_or("", |template| &template.slug);
                let call = format!("describe {slug}");
                let message = format!("{}: {} ({})", call.trim_end(), error.failure, error.code());
                let whole = Spot::Settings(String::new());
                self.refused_in_template
                    .extend(template.map(|template| template.problem_at(&whole, &message)));
                self.refused.push(message);
            }
        }
    }

    fn refuse(&mut self, template: Option<&Template>, problems: &[Problem]) {
        let Some(template) = template else {
            let said = problems
                .iter()
                .map(|Problem { field, message }| format!("{field} {message}").trim().to_owned());
            return self.refused.extend(said);
        };
        let errors = template.refused_settings(problems);
        self.refused.extend(errors.iter().map(ToString::to_string));
        self.refused_in_template.extend(errors);
    }
}

/// Returns the settings of a case that names a plan.
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

/// Returns the plans named by cases of these settings.
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

fn configs(schema: &Value, of: &Settings, cases: &[Case]) -> Samples {
    let samples = sample::of_schema(schema);
    if !samples.values.is_empty() {
        return samples;
    }
    let rendered = cases
        .iter()
        .filter(|case| case.function == "manifests" && settings(case).as_ref() == Some(of));
    let given = rendered
        .filter_map(|case| case.input.get("config"))
        .cloned();
    Samples {
        values: given.collect(),
        ..samples
    }
}
