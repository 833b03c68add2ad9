//! The checks of a service plugin.

use std::collections::{BTreeMap, BTreeSet};

use dermaga_runtime::{
    Plugin,
    contract::{DescribeRequest, service},
};

use super::{
    count,
    finding::{self, Finding},
    offers::{Service, Services},
    proposals,
    report::ReportBuilder,
    session::Session,
    trial::Trial,
};
use crate::{
    case::Case,
    given,
    template::{Spot, Template, fields_of},
};

const DESCRIBE_FIX: &str = "give the plugin the settings it asks for; write the schema as JSON Schema 2020-12, with proposals that it accepts, and one port an endpoint";

/// Runs every check on every service of the plugin.
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
    let Services {
        made,
        refused,
        busy,
        ..
    } = Services::of(plugin, &templates, cases);
    session.note_busy(busy);
    if templates.is_empty() && made.is_empty() {
        let why = format!(
            "it needs the settings of a template, and no template names it: {}",
            refused.join("; ")
        );
        for check in ["describe", "template", "calls", "gate"] {
            report.skip(check, &why);
        }
        return;
    }
    let mut found: Vec<Finding> = refused.into_iter().map(not_made).collect();
    for service in &made {
        examine(service, session, &mut found);
    }
    conclude(&made, found, report);
}

fn not_made(why: String) -> Finding {
    Finding {
        check: "describe",
        spot: Spot::Settings(String::new()),
        message: why,
        fix: DESCRIBE_FIX.to_owned(),
    }
}

/// Collects the faults of one service: its description, its images, and every call on every plan
/// with the gate's verdict. Used by reports and by the check before a sale.
pub(super) fn examine(service: &Service<'_>, session: &mut Session<'_>, found: &mut Vec<Finding>) {
    describe(service, session, found);
    images(service, found);
    for plan in &service.plans {
        let mut trial = Trial {
            session,
            found,
            plan,
        };
        trial.offer(service);
    }
}

fn describe(service: &Service<'_>, session: &mut Session<'_>, found: &mut Vec<Finding>) {
    let slug = service.template.map(|template| template.slug.as_str());
    let request = DescribeRequest {
        settings: service.settings.clone(),
    };
    let call = format!("describe {}", slug.unwrap_or_default());
    let mut wrong: Vec<(Spot, String)> = Vec::new();
    let whole = || Spot::Settings(String::new());
    if let Err(error) = session.ask::<service::Describe>(call.trim_end(), &request) {
        wrong.push((whole(), error));
    }
    wrong.extend(
        contradictions(service)
            .into_iter()
            .map(|message| (whole(), message)),
    );
    for bad in proposals::refused(&service.description.config_schema) {
        let pointer = format!("/config/{}/{}", bad.property, bad.keyword);
        wrong.push((Spot::Settings(pointer), bad.message));
    }
    found.extend(wrong.into_iter().map(|(spot, message)| Finding {
        check: "describe",
        spot,
        message,
        fix: DESCRIBE_FIX.to_owned(),
    }));
}

/// Returns the contradictions within one description.
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
    let mut kept = BTreeMap::new();
    let given = given::secret_fields(&description.config_schema);
    for (field, name) in &given {
        // The value of one would take the place of the other's.
        if let Some(other) = kept.insert(name, field) {
            wrong.push(format!(
                "the fields `{other}` and `{field}` are both kept as the secret `{name}`: rename one of them"
            ));
        }
    }
    wrong
}

/// Checks that the template lists exactly the images that the plugin asks for, by its names.
fn images(service: &Service<'_>, found: &mut Vec<Finding>) {
    let Some(Template { slug, images, .. }) = service.template else {
        return;
    };
    let asked = asked_images(service);
    let listed: BTreeSet<&str> = images.keys().map(String::as_str).collect();
    let missing = asked.difference(&listed).map(|name| {
        let message = format!("{slug}: [images] does not list `{name}`, which the plugin runs");
        (Spot::Images, message)
    });
    let unknown = listed.difference(&asked).map(|name| {
        let message = format!("{slug}: [images] lists `{name}`, which the plugin does not know");
        (Spot::Image((*name).to_owned()), message)
    });
    let names: Vec<&str> = asked.iter().copied().collect();
    found.extend(missing.chain(unknown).map(|(spot, message)| Finding {
        check: "template",
        spot,
        message,
        fix: format!("list exactly: {}", names.join(", ")),
    }));
}

/// Checks that the template translates only fields that the plugin's form has. An earlier version of the plugin may
/// lack some, and sells nevertheless.
pub(super) fn form(service: &Service<'_>, found: &mut Vec<Finding>) {
    let Some(Template { slug, texts, .. }) = service.template else {
        return;
    };
    let known = fields_of(&service.description.config_schema);
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let unknown = texts.form.keys().filter(|name| !known.contains(*name));
    found.extend(unknown.map(|name| Finding {
        check: "template",
        spot: Spot::Form(name.clone()),
        message: format!("{slug}: [texts.id.form] names `{name}`, which the form does not have"),
        fix: format!("name some of: {}", names.join(", ")),
    }));
}

fn asked_images<'s>(service: &'s Service<'_>) -> BTreeSet<&'s str> {
    let images = service.description.images.iter();
    images.map(|image| image.name.as_str()).collect()
}

/// Adds the verdicts on all services to the report.
fn conclude(services: &[Service<'_>], found: Vec<Finding>, report: &mut ReportBuilder) {
    let mut found = finding::by_check(found);
    let mut of = |check| found.remove(check).unwrap_or_default();
    finding::verdict(report, "describe", &described(services), of("describe"));
    if services.iter().all(|service| service.template.is_none()) {
        report.skip("template", "no template given that names this plugin");
    } else {
        let asked: Vec<String> = services
            .iter()
            .filter(|service| service.template.is_some())
            .map(|service| {
                asked_images(service)
                    .into_iter()
                    .collect::<Vec<_>>()
                    .join(", ")
            })
            .collect();
        let good = format!("it lists the plugin's images: {}", asked.join("; "));
        finding::verdict(report, "template", &good, of("template"));
    }
    let tried: Vec<&Service<'_>> = services
        .iter()
        .filter(|service| !service.configs.values.is_empty())
        .collect();
    let sold: usize = tried.iter().map(|service| service.plans.len()).sum();
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
    let plans = count(sold, "plan");
    let good = format!("every function answered on {plans}");
    finding::verdict(report, "calls", &good, of("calls"));
    finding::verdict(report, "gate", &admitted(&tried, &plans), of("gate"));
}

fn described(services: &[Service<'_>]) -> String {
    let one = |service: &Service<'_>| {
        let description = &service.description;
        let slug = match service.template {
            Some(template) if services.len() > 1 => format!("{}: ", template.slug),
            _ => String::new(),
        };
        format!(
            "{slug}the configuration schema is valid; {}, {}, {}",
            count(description.secrets.len(), "secret"),
            count(description.endpoints.len(), "endpoint"),
            count(description.images.len(), "image")
        )
    };
    let all: Vec<String> = services.iter().map(one).collect();
    all.join("; ")
}

fn admitted(tried: &[&Service<'_>], plans: &str) -> String {
    let slugs: Vec<&str> = tried
        .iter()
        .filter_map(|service| Some(service.template?.slug.as_str()))
        .collect();
    if slugs.is_empty() {
        format!(
            "no template given: checked with {plans} of the cases; within the plan and the rules"
        )
    } else {
        format!(
            "{plans} of {}: within what each buys, and within the rules",
            slugs.join(", ")
        )
    }
}
