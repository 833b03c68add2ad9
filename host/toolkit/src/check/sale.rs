//! Check of a plugin on one template, before a shop sells the service.

use dermaga_runtime::{Plugin, contract::Kind};

use super::{offers::Services, service, session::Session};
use crate::template::{Spot, Template, TemplateError};

/// A call found no free slot to run in, so that nothing is known of the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no slot to run a plugin was free")]
pub struct Busy;

/// Returns every fault that [`conformance`](super::conformance) finds in the service of one
/// template, each with file, line and key; an empty list when it can be sold.
///
/// # Errors
/// [`Busy`] when a call could not be made.
pub fn faults(plugin: &Plugin, template: &Template) -> Result<Vec<TemplateError>, Busy> {
    let at_settings = || Spot::Settings(String::new());
    if plugin.kind() != Kind::Service {
        let message = format!("`{}` is a plugin that makes no service", template.plugin);
        return Ok(vec![template.problem_at(&at_settings(), &message)]);
    }
    let services = Services::of(plugin, &[template], &[]);
    let mut session = Session::new(plugin);
    session.note_busy(services.busy);
    let mut found = Vec::new();
    for service in &services.made {
        service::examine(service, &mut session, &mut found);
    }
    let (unstable, busy) = session.into_doubts();
    if busy {
        return Err(Busy);
    }
    let mut faults = services.refused_in_template;
    faults.extend(found.iter().map(|finding| finding.in_template(template)));
    faults.extend(
        unstable
            .iter()
            .map(|call| template.problem_at(&at_settings(), call)),
    );
    Ok(faults)
}

/// Returns the texts of templates for fields that the plugin's form does not have, which are mistakes of an author.
pub(super) fn unused_texts(plugin: &Plugin, templates: &[Template]) -> Vec<TemplateError> {
    let mut errors = Vec::new();
    if plugin.kind() != Kind::Service {
        return errors;
    }
    let id = &plugin.about().id;
    for template in templates.iter().filter(|one| one.plugin == *id) {
        let mut found = Vec::new();
        for service in &Services::of(plugin, &[template], &[]).made {
            service::form(service, &mut found);
        }
        errors.extend(found.iter().map(|finding| finding.in_template(template)));
    }
    errors
}

#[cfg(test)]
mod tests {
    use dermaga_runtime::{
        Runtime, RuntimeConfig,
        contract::Problem,
        fixtures::{CouponFixture, Misdeed, ServiceFixture},
    };
    use serde_json::json;

    use super::*;
    use crate::check::{self, tests::TEMPLATE};

    fn load(component: &[u8]) -> Plugin {
        let config = RuntimeConfig {
            concurrency: 1,
            ..RuntimeConfig::default()
        };
        Runtime::new(config).unwrap().load(component).unwrap()
    }

    fn selling(template: &str) -> Template {
        Template::parse("shop/fixture.toml", template).unwrap()
    }

    fn told(fixture: &ServiceFixture, template: &str) -> Vec<String> {
        let template = selling(template);
        let plugin = load(&fixture.component());
        let told = faults(&plugin, &template).unwrap();
        let report = check::conformance(&plugin, std::slice::from_ref(&template), &[]);
        assert_eq!(told.is_empty(), report.passed(), "{report}");
        told.iter().map(ToString::to_string).collect()
    }

    fn free() -> ServiceFixture {
        let mut fixture = ServiceFixture::default();
        fixture.price.lines.clear();
        fixture.price.total = 0;
        fixture
    }

    fn claim(gib: u32) -> ServiceFixture {
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "sample-01-data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": format!("{gib}Gi")}}},
        });
        ServiceFixture {
            manifests: vec![claim],
            ..free()
        }
    }

    #[test]
    fn what_can_be_sold_has_no_faults() {
        assert_eq!(told(&free(), TEMPLATE), Vec::<String>::new());
    }

    #[test]
    fn images_are_shown_where_they_are_listed() {
        let listed = TEMPLATE.replace("app = ", "apq = ");
        assert_eq!(
            told(&free(), &listed),
            [
                "shop/fixture.toml:10:1: images: fixture: [images] does not list `app`, which the plugin runs; list exactly: app",
                "shop/fixture.toml:11:7: images.apq: fixture: [images] lists `apq`, which the plugin does not know; list exactly: app",
            ]
        );
    }

    /// Texts that nothing shows are reported to authors; a shop with an earlier version of the plugin sells.
    #[test]
    fn texts_of_fields_that_the_form_lacks_are_shown_where_they_are() {
        let mut fixture = free();
        fixture.description.config_schema = json!({
            "type": "object", "properties": {"zone": {"type": "string", "default": "UTC"}},
        });
        let plugin = load(&fixture.component());
        let naming =
            |field: &str| format!("{TEMPLATE}[texts.id.form.{field}]\ntitle = \"Zona waktu\"\n");
        let unused = |field: &str| {
            let errors = unused_texts(&plugin, &[selling(&naming(field))]);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(unused("zone"), Vec::<String>::new());
        assert_eq!(
            unused("zoon"),
            [
                "shop/fixture.toml:30:1: texts.id.form.zoon: fixture: [texts.id.form] names `zoon`, which the form does not have; name some of: zone",
            ]
        );
        assert_eq!(told(&fixture, &naming("zoon")), Vec::<String>::new());
    }

    #[test]
    fn every_plan_goes_through_the_gate() {
        let mut fixture = free();
        fixture.manifests =
            vec![json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})];
        let told = told(&fixture, TEMPLATE);
        assert_eq!(told.len(), 2, "{told:?}");
        for (line, told) in [
            "12:1: plans[0]: fixture free: ",
            "21:1: plans[1]: fixture basic: ",
        ]
        .iter()
        .zip(&told)
        {
            assert!(
                told.starts_with(&format!("shop/fixture.toml:{line}"))
                    && told.contains("GATE_KIND_NOT_ALLOWED"),
                "{told}"
            );
        }
    }

    #[test]
    fn storage_that_no_volume_has_is_not_sold() {
        assert_eq!(
            told(&claim(1), TEMPLATE),
            [format!(
                "shop/fixture.toml:29:65: plans[1].resources.storage_gib: fixture basic: the volumes take 1 GiB of the 2 GiB that the plan sells; {}",
                "share out plan.resources.storage_gib in full: where volumes have shares, leave one out of a volume, which then gets the rest"
            )]
        );
    }

    #[test]
    fn a_default_that_its_own_pattern_refuses_is_shown_where_it_stands() {
        let mut fixture = free();
        fixture.description.config_schema = json!({
            "type": "object", "properties": {"zone": {"type": "string", "pattern": "^[A-Z]+$", "default": "utc"}},
        });
        let template = format!("{TEMPLATE}[settings.config.zone]\ndefault = \"utc\"\n");
        let found = told(&fixture, &template);
        assert!(
            found[0].starts_with("shop/fixture.toml:31:11: settings.config.zone.default: the default of `zone`, \"utc\", is refused"),
            "{found:?}"
        );
        // Faults of the plugin's own schema are shown at the settings as a whole.
        let found = told(&fixture, TEMPLATE);
        assert!(
            found[0].starts_with("shop/fixture.toml:5:10: settings: the default of `zone`"),
            "{found:?}"
        );
    }

    #[test]
    fn two_secret_fields_of_a_form_have_secrets_of_their_own() {
        let hidden = || json!({"type": "string", "writeOnly": true});
        let form = |mut properties: serde_json::Value| {
            properties["other"] = hidden();
            let mut fixture = free();
            fixture.description.config_schema = json!({"type": "object", "properties": properties});
            told(&fixture, TEMPLATE).join("\n")
        };
        let nested = json!({"type": "object", "properties": {"password": hidden()}});
        for (properties, refusal) in [
            (
                json!({"apiKey": hidden(), "api_key": hidden()}),
                "the fields `apiKey` and `api_key` are both kept as the secret `api-key`: rename one of them",
            ),
            (
                json!({"mail": nested, "mailPassword": hidden()}),
                "the fields `mail.password` and `mailPassword` are both kept as the secret `mail-password`: rename one of them",
            ),
        ] {
            let found = form(properties);
            assert!(
                found.starts_with("shop/fixture.toml:5:10: settings: ") && found.contains(refusal),
                "{found}"
            );
        }
        // One that is not secret is kept in the configuration.
        let open = json!({"apiKey": hidden(), "api_key": {"type": "string"}});
        assert_eq!(form(open), "");
    }

    #[test]
    fn calls_that_fail_and_plugins_of_another_kind_are_faults() {
        let trapping = ServiceFixture {
            misdeed: Some(("price".to_owned(), Misdeed::Trap)),
            ..free()
        };
        let found = told(&trapping, TEMPLATE);
        assert!(
            found
                .iter()
                .all(|told| told.contains("price on") && told.contains("PLUGIN_TRAPPED")),
            "{found:?}"
        );
        let coupon = load(&CouponFixture::default().component());
        let found = faults(&coupon, &selling(TEMPLATE)).unwrap();
        assert_eq!(
            found[0].to_string(),
            "shop/fixture.toml:5:10: settings: `service-fixture` is a plugin that makes no service"
        );
    }

    #[test]
    fn a_rule_across_fields_is_cured_by_examples() {
        let refusing = |examples: serde_json::Value| {
            let mut fixture = CouponFixture::default();
            fixture.description.parameters_schema = json!({
                "type": "object", "required": ["from", "to"],
                "properties": {"from": {"type": "integer", "minimum": 5}, "to": {"type": "integer"}},
            });
            if !examples.is_null() {
                fixture.description.parameters_schema["examples"] = examples;
            }
            fixture.problems = vec![Problem {
                field: "/to".to_owned(),
                message: "It is less than from.".to_owned(),
            }];
            check::conformance(&load(&fixture.component()), &[], &[])
        };
        let report = refusing(serde_json::Value::Null);
        let failure = report.first_failure().unwrap();
        assert!(
            failure
                .fix
                .as_deref()
                .unwrap()
                .contains("`\"examples\": [...]` into the schema"),
            "{report}"
        );
        let report = refusing(json!([{"from": 5, "to": 6}]));
        let failure = report.first_failure().unwrap();
        assert_eq!(failure.details.len(), 1, "{report}");
        assert!(
            failure.details[0].contains("{\"from\":5,\"to\":6}"),
            "{report}"
        );
    }
}
