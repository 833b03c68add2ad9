//! The checks of a service plugin.

use std::collections::{BTreeMap, BTreeSet};

use dermaga_runtime::{
    Plugin,
    contract::{DescribeRequest, service},
};

use super::{
    count,
    offers::{Service, Services},
    report::ReportBuilder,
    session::Session,
    trial::Trial,
};
use crate::{case::Case, template::Template};

pub(super) fn run(
    plugin: &Plugin,
    templates: &[Template],
    cases: &[Case],
    session: &mut Session<'_>,
    report: &mut ReportBuilder,
) {
    let id = &plugin.about().id;
    let templates: Vec<&Template> = templates
        .iter()
        .filter(|template| template.plugin == *id)
        .collect();
    let Services { made, refused } = Services::of(plugin, &templates, cases);
    if templates.is_empty() && made.is_empty() {
        let why = format!(
            "it makes nothing without the settings of a template, and no template names it: {}",
            refused.join("; ")
        );
        for check in ["describe", "template", "calls", "gate"] {
            report.skip(check, &why);
        }
        return;
    }
    describe(&made, refused, session, report);
    images(&made, report);
    calls(&made, session, report);
}

fn describe(
    services: &[Service<'_>],
    refused: Vec<String>,
    session: &mut Session<'_>,
    report: &mut ReportBuilder,
) {
    let mut wrong = refused;
    let mut good = Vec::new();
    for service in services {
        let slug = service.template.map(|template| template.slug.as_str());
        let request = DescribeRequest {
            settings: service.settings.clone(),
        };
        let call = format!("describe {}", slug.unwrap_or_default());
        if let Err(error) = session.ask::<service::Describe>(call.trim_end(), &request) {
            wrong.push(error);
        }
        wrong.extend(contradictions(service));
        let description = &service.description;
        good.push(format!(
            "{}the configuration schema is valid; {}, {}, {}",
            match slug {
                Some(slug) if services.len() > 1 => format!("{slug}: "),
                _ => String::new(),
            },
            count(description.secrets.len(), "secret"),
            count(description.endpoints.len(), "endpoint"),
            count(description.images.len(), "image")
        ));
    }
    report.verdict("describe", &good.join("; "), wrong, || {
        "give the plugin the settings it asks for; write the schema as JSON Schema 2020-12, and one port an endpoint".to_owned()
    });
}

/// What is wrong within one description.
fn contradictions(service: &Service<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let description = &service.description;
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
    wrong
}

/// A template lists exactly the images the plugin asks for, by its names for them.
fn images(services: &[Service<'_>], report: &mut ReportBuilder) {
    let mut wrong = Vec::new();
    let mut good = Vec::new();
    for service in services {
        let Some(Template { slug, images, .. }) = service.template else {
            continue;
        };
        let asked = service.description.images.iter();
        let asked: BTreeSet<&str> = asked.map(|image| image.name.as_str()).collect();
        let listed: BTreeSet<&str> = images.keys().map(String::as_str).collect();
        wrong.extend(
            asked.difference(&listed).map(|name| {
                format!("{slug}: [images] does not list `{name}`, which the plugin runs")
            }),
        );
        wrong.extend(listed.difference(&asked).map(|name| {
            format!("{slug}: [images] lists `{name}`, which the plugin does not know")
        }));
        let asked: Vec<_> = asked.into_iter().collect();
        good.push(asked.join(", "));
    }
    if services.iter().all(|service| service.template.is_none()) {
        report.skip("template", "no template given that names this plugin");
        return;
    }
    let asked = good.join("; ");
    report.verdict(
        "template",
        &format!("it lists the plugin's images: {asked}"),
        wrong,
        || format!("list exactly: {asked}"),
    );
}

/// Every function on every plan, and the gate on what is rendered.
fn calls(services: &[Service<'_>], session: &mut Session<'_>, report: &mut ReportBuilder) {
    let mut trial = Trial {
        session,
        wrong: Vec::new(),
        violations: Vec::new(),
    };
    let mut tried = Vec::new();
    let mut sold = 0;
    for service in services {
        let Some(config) = service.configs.first() else {
            continue;
        };
        for plan in &service.plans {
            trial.offer(service, plan, config);
            sold += 1;
        }
        tried.extend(service.template.map(|template| template.slug.as_str()));
    }
    let Trial {
        wrong, violations, ..
    } = trial;
    if sold == 0 {
        let why = if services.iter().all(|service| service.plans.is_empty()) {
            "no template sells this plugin and no golden case names a plan"
        } else {
            "no configuration to call with: give the schema `default`s or `examples`"
        };
        report.skip("calls", why);
        report.skip("gate", why);
        return;
    }
    let sold = count(sold, "plan");
    report.verdict(
        "calls",
        &format!("every function answered on {sold}"),
        wrong,
        || "answer every input that the schema and `check` let through".to_owned(),
    );
    let good = if tried.is_empty() {
        format!(
            "no template given: checked with {sold} of the cases; within the plan and the rules"
        )
    } else {
        format!(
            "{sold} of {}: within what each buys, and within the rules",
            tried.join(", ")
        )
    };
    let fix = violations.first().map(|(_, fix)| fix.clone());
    let violations = violations
        .into_iter()
        .map(|(violation, _)| violation)
        .collect();
    report.verdict("gate", &good, violations, || fix.unwrap_or_default());
}
