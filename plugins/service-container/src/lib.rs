//! Services without code: containers that a template's table `[settings]` describes.

mod manifests;
mod rules;
mod settings;
mod text;

use dermaga_plugin_sdk::{service::*, templated::TemplatedService};
use serde_json::Map;

use crate::{
    settings::{Field, FieldKind, Reach, Settings},
    text::Facts,
};

struct ContainerService;

impl TemplatedService for ContainerService {
    type Settings = Settings;
    type Config = Map<String, Value>;

    fn about() -> About {
        about!(
            "Container service",
            "Runs the containers that a service template describes."
        )
    }

    fn describe(settings: &Settings) -> Result<ServiceDescription, Vec<Problem>> {
        Problem::none_of(rules::check(settings))?;
        let secrets = settings.secrets.iter().map(|(name, secret)| SecretSpec {
            name: name.clone(),
            kind: match secret.kind {
                settings::SecretKind::Password => SecretKind::Password(secret.length),
                settings::SecretKind::Hex => SecretKind::HexBytes(secret.length),
            },
            purpose: secret.purpose.clone(),
        });
        let told = settings
            .ports()
            .filter(|(_, port)| port.reach != Reach::Instance);
        let endpoints = told.map(|(_, port)| EndpointSpec {
            name: port.name.clone(),
            protocol: match port.reach {
                Reach::Public => Protocol::Http,
                Reach::Instance | Reach::Customer => Protocol::Tcp,
            },
            port: port.number,
            public: port.reach == Reach::Public,
        });
        let mut images: Vec<ImageSpec> = Vec::new();
        for workload in &settings.workloads {
            if images.iter().all(|image| image.name != workload.image()) {
                images.push(ImageSpec::chosen_by_template(workload.image()));
            }
        }
        Ok(ServiceDescription {
            secrets: secrets.collect(),
            endpoints: endpoints.collect(),
            images,
            ..ServiceDescription::new(&config_schema(settings))
        })
    }

    fn check(
        settings: &Settings,
        plan: &Plan,
        _config: &Map<String, Value>,
    ) -> Result<(), Vec<Problem>> {
        manifests::fit(settings, plan)
    }

    fn manifests(
        settings: &Settings,
        instance: &Instance,
        config: &Map<String, Value>,
    ) -> Result<Vec<Value>, Vec<Problem>> {
        manifests::render(settings, instance, config)
    }

    fn access(settings: &Settings, instance: &Instance, config: &Map<String, Value>) -> AccessCard {
        let facts = Facts {
            settings,
            instance,
            config,
            compute: Compute::of(instance.plan.resources),
        };
        // `describe` has checked every placeholder.
        let fill = |text: &str| facts.fill(text).unwrap_or_default();
        let fields = settings.access.fields.iter();
        AccessCard {
            url: instance.public_url(),
            fields: fields
                .map(|line| match (&line.secret, &line.text) {
                    (Some(secret), _) => AccessField::secret(&line.label, secret),
                    (None, text) => {
                        AccessField::text(&line.label, fill(text.as_deref().unwrap_or_default()))
                    }
                })
                .collect(),
            notes: fill(&settings.access.notes),
        }
    }
}

/// Returns the JSON Schema of the customer's configuration.
fn config_schema(settings: &Settings) -> Value {
    let properties: Map<String, Value> = settings
        .config
        .iter()
        .map(|(name, field)| (name.clone(), property(field)))
        .collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn property(field: &Field) -> Value {
    let kind = match field.kind {
        FieldKind::String => "string",
        FieldKind::Integer => "integer",
        FieldKind::Boolean => "boolean",
    };
    let given = [
        ("writeOnly", field.secret.then_some(json!(true))),
        ("enum", field.choices.as_ref().map(|choices| json!(choices))),
        (
            "pattern",
            field.pattern.as_ref().map(|pattern| json!(pattern)),
        ),
        ("minLength", field.min_length.map(|length| json!(length))),
        ("maxLength", field.max_length.map(|length| json!(length))),
        ("minimum", field.minimum.as_ref().map(|bound| json!(bound))),
        ("maximum", field.maximum.as_ref().map(|bound| json!(bound))),
    ];
    let mut property = Map::from_iter([
        ("type".to_owned(), json!(kind)),
        ("title".to_owned(), json!(field.title)),
        ("description".to_owned(), json!(field.description)),
        ("default".to_owned(), field.default.clone()),
    ]);
    let given = given
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    property.extend(given);
    Value::Object(property)
}

export_service!(ContainerService);
