//! Uptime kuma: its objects, and the card that its customer sees.
//!
//! Change, in this order: the constants, `about`, `Config` with its schema, `describe`, `container`.
//! Prices, health and plan changes have defaults; implement `price`, `health` or `plan_change` of
//! `ServicePlugin` only to change them.

use dermaga_plugin_sdk::service::*;
use serde::Deserialize;

/// A tag other than `latest`, or a digest. The template may name another.
const IMAGE: &str = "docker.io/louislam/uptime-kuma:2.0.2-slim-rootless";
const PORT: u16 = 3001;
/// Number of the image's user; never 0.
const USER: u32 = 1000;

/// Configuration that a customer sets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default = "default_timezone")]
    timezone: String,
}

fn default_timezone() -> String {
    "Asia/Jakarta".to_owned()
}

struct Plugin;

impl ServicePlugin for Plugin {
    type Config = Config;

    fn about() -> About {
        about!(
            "Uptime Kuma",
            "Monitoring with its data on a volume of its own."
        )
    }

    fn describe() -> ServiceDescription {
        ServiceDescription {
            endpoints: vec![EndpointSpec {
                name: "web".to_owned(),
                protocol: Protocol::Http,
                port: PORT,
                public: true,
            }],
            images: vec![ImageSpec::pinned("app", IMAGE)],
            ..ServiceDescription::new(&config_schema())
        }
    }

    /// Renders the Kubernetes objects, in the order to apply them. The host adds namespace, owner labels
    /// and the Secret object; its gate refuses more than the plan has.
    fn manifests(instance: &Instance, config: &Config) -> Result<Vec<Value>, Vec<Problem>> {
        let hostname = instance.public_hostname()?;
        let app = Component::new(instance, "uptime-kuma", "app");
        let data = VolumeClaim::new(&app, instance.plan.resources.storage_gib);
        let pod = Pod::as_user(USER, container(instance, config, &data)?);
        Ok(vec![
            data.render(),
            Deployment::new(&app, pod).render(),
            Service::new(&app, "http", PORT).render(),
            Ingress::new(&app, hostname, "http").render(),
        ])
    }

    /// Returns the card shown to the customer when the instance is ready.
    fn access(instance: &Instance, _config: &Config) -> AccessCard {
        AccessCard {
            url: instance.public_url(),
            fields: Vec::new(),
            notes:
                "The first visit asks you to create the owner's account. Do it soon: until then \
                    everyone who knows the address can."
                    .to_owned(),
        }
    }
}

/// JSON Schema of `Config`; the host checks a configuration against it before any call.
fn config_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "timezone": {
                "type": "string",
                "pattern": "^(UTC|[A-Z][A-Za-z]+(/[A-Z][A-Za-z0-9_+-]+){1,2})$",
                "maxLength": 40,
                "default": default_timezone(),
                "title": "Time zone",
                "description": "IANA name of the time zone in which outages are shown.",
            },
        },
        "additionalProperties": false,
    })
}

/// Assigns all of the plan to one container. Its root file system is read-only: directories that the
/// image writes to need a `volume` (kept) or a `scratch` directory (empty at every start).
fn container(
    instance: &Instance,
    config: &Config,
    data: &VolumeClaim<'_>,
) -> Result<Container, Problem> {
    let alive = Probe::http("http", "/");
    let compute = Compute::of(instance.plan.resources);
    let container = Container::new("app", instance.image("app")?, compute)
        .port("http", PORT)
        .env("TZ", config.timezone.as_str())
        .env("UPTIME_KUMA_DB_TYPE", "sqlite")
        .volume("data", "/app/data", data)
        .scratch("tmp", "/tmp", 256)
        .startup(&alive.clone().every(5).failures(60))
        .readiness(&alive.clone().every(5))
        .liveness(&alive.every(20));
    Ok(container)
}

export_service!(Plugin);
