//! The checks of a service plugin.

use std::collections::{BTreeMap, BTreeSet};

use dermaga_runtime::contract::ServiceDescription;

use super::{
    count,
    offers::{configs, offers},
    report::ReportBuilder,
    session::Session,
    trial::Trial,
};
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
