//! What a service plugin is tried on.

use dermaga_runtime::contract::Plan;
use serde_json::Value;

use super::sample;
use crate::{case::Case, template::Template};

/// A plan to try the plugin on.
#[derive(Debug)]
pub(crate) struct Offer<'t> {
    pub(crate) template: Option<&'t Template>,
    pub(crate) plan: Plan,
}

impl Offer<'_> {
    pub(crate) fn name(&self) -> String {
        match self.template {
            Some(template) => format!("{} {}", template.slug, self.plan.slug),
            None => self.plan.slug.clone(),
        }
    }
}

/// The plans that templates sell; without templates, those of the golden cases.
pub(crate) fn offers<'t>(templates: &[&'t Template], cases: &[Case]) -> Vec<Offer<'t>> {
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
pub(crate) fn configs(schema: &Value, cases: &[Case]) -> Vec<Value> {
    let rendered = cases.iter().filter(|case| case.function == "manifests");
    let given = rendered
        .filter_map(|case| case.input.get("config"))
        .cloned();
    sample::of_schema(schema).into_iter().chain(given).collect()
}
