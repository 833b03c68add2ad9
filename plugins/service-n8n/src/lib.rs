//! N8N, the workflow automation tool: one pod with its SQLite database on a volume.

use dermaga_plugin_sdk::{
    mail::{self, MailServer, Outgoing, Relay},
    service::*,
    templated::TemplatedService,
};
use serde::Deserialize;

/// Secret that encrypts all credentials a customer stores in N8N, so that it must never change.
const ENCRYPTION_KEY: &str = "encryption-key";
const PORT: u16 = 5678;
/// The user `node` of the image.
const USER: u32 = 1000;
/// Least MiB of memory that N8N starts with, and passes 10 MB of items on.
const LEAST_MEMORY_MIB: u32 = 640;
/// Share of the memory for Node's heap; the rest is for code, buffers and SQLite. A smaller share lets
/// no larger workflow through.
const HEAP_PERCENT: u8 = 60;
/// Share of the memory for the heap of the process beside it that runs code of workflows from N8N 2 on.
/// Without a bound Node takes half of the container's memory for it. N8N 1 runs code itself.
const RUNNER_HEAP_PERCENT: u8 = 15;
/// Hours for which executions are kept, and the most of them, so that they do not fill the volume.
const EXECUTION_HOURS: u32 = 168;
const MOST_EXECUTIONS: u32 = 2_500;
const DEFAULT_TIMEZONE: &str = "Asia/Jakarta";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// IANA name of the time zone in which workflows are scheduled.
    #[serde(default = "default_timezone")]
    timezone: String,
    /// Mail server of the customer.
    mail: Option<MailServer>,
}

/// Settings of the template.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    relay: Option<Relay>,
}

fn default_timezone() -> String {
    DEFAULT_TIMEZONE.to_owned()
}

struct N8n;

impl TemplatedService for N8n {
    type Settings = Settings;
    type Config = Config;

    fn about() -> About {
        about!(
            "N8N",
            "Workflow automation with its data on a volume of its own."
        )
    }

    fn describe(_: &Settings) -> Result<ServiceDescription, Vec<Problem>> {
        let key = SecretSpec {
            name: ENCRYPTION_KEY.to_owned(),
            kind: SecretKind::HexBytes(32),
            purpose: "Encrypts the credentials that are stored in N8N.".to_owned(),
        };
        Ok(ServiceDescription {
            secrets: vec![key, mail::secret()],
            endpoints: vec![EndpointSpec {
                name: "web".to_owned(),
                protocol: Protocol::Http,
                port: PORT,
                public: true,
            }],
            images: vec![ImageSpec::pinned("app", "docker.io/n8nio/n8n:1.123.81")],
            ..ServiceDescription::new(&config_schema())
        })
    }

    fn check(_: &Settings, plan: &Plan, _config: &Config) -> Result<(), Vec<Problem>> {
        let memory = plan.resources.memory_mib;
        Problem::none_of((memory < LEAST_MEMORY_MIB).then(|| {
            Problem::new(
                "",
                format!("N8N needs {LEAST_MEMORY_MIB} MiB of memory; this plan has {memory}."),
            )
        }))
    }

    fn manifests(
        settings: &Settings,
        instance: &Instance,
        config: &Config,
    ) -> Result<Vec<Value>, Vec<Problem>> {
        let hostname = instance.public_hostname()?;
        let app = Component::new(instance, "n8n", "app");
        let data = VolumeClaim::new(&app, instance.plan.resources.storage_gib);
        let container = container(instance, config, hostname, &data)?;
        let outgoing = Outgoing::of(config.mail.as_ref(), settings.relay.as_ref(), instance)?;
        let pod = Pod::as_user(USER, with_mail(container, outgoing)).grace_seconds(60);
        Ok(vec![
            data.render(),
            Deployment::new(&app, pod).render(),
            Service::new(&app, "http", PORT).render(),
            Ingress::new(&app, hostname, "http").render(),
        ])
    }

    fn access(settings: &Settings, instance: &Instance, config: &Config) -> AccessCard {
        let mail = mail::note(config.mail.as_ref(), settings.relay.as_ref());
        AccessCard {
            url: instance.public_url(),
            fields: Vec::new(),
            notes: format!(
                "The first visit asks you to create the owner's account. Do it soon: until then \
                 everyone who knows the address can. {mail}"
            ),
        }
    }
}

fn config_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "timezone": {
                "type": "string",
                "pattern": "^(UTC|[A-Z][A-Za-z]+(/[A-Z][A-Za-z0-9_+-]+){1,2})$",
                "maxLength": 40,
                "default": DEFAULT_TIMEZONE,
                "title": "Time zone",
                "description": "IANA name of the time zone by which scheduled workflows run.",
            },
            "mail": mail::schema(),
        },
        "additionalProperties": false,
    })
}

fn container(
    instance: &Instance,
    config: &Config,
    hostname: &str,
    data: &VolumeClaim<'_>,
) -> Result<Container, Problem> {
    let compute = Compute::of(instance.plan.resources);
    let (heap, _) = compute.split(HEAP_PERCENT);
    let (runner_heap, _) = compute.split(RUNNER_HEAP_PERCENT);
    let alive = Probe::http("http", "/healthz");
    // While the database is made, every other path answers 200 with a page that asks to wait; this
    // one answers 200 from then on, but seconds before webhooks and the editor do.
    let migrated = Probe::http("http", "/healthz/readiness");
    let answers = Probe::http("http", "/rest/settings");
    let container = Container::new("n8n", instance.image("app")?, compute).port("http", PORT);
    let container = with_addresses(container, hostname)
        .secret_env("N8N_ENCRYPTION_KEY", &instance.secret(ENCRYPTION_KEY)?)
        // It asks its makers for nothing: versions are the shop's to move.
        .env("N8N_DIAGNOSTICS_ENABLED", "false")
        .env("N8N_VERSION_NOTIFICATIONS_ENABLED", "false")
        // Files on the volume are open to the pod's group, which N8N would refuse.
        .env("N8N_ENFORCE_SETTINGS_FILE_PERMISSIONS", "false")
        // Code in a workflow neither reads the server's own variables nor runs a repository's hooks.
        .env("N8N_BLOCK_ENV_ACCESS_IN_NODE", "true")
        .env("N8N_GIT_NODE_DISABLE_BARE_REPOS", "true")
        .env("EXECUTIONS_DATA_PRUNE", "true")
        .env("EXECUTIONS_DATA_MAX_AGE", EXECUTION_HOURS.to_string())
        .env(
            "EXECUTIONS_DATA_PRUNE_MAX_COUNT",
            MOST_EXECUTIONS.to_string(),
        )
        .env("DB_TYPE", "sqlite")
        // Readers beside the writer, in a log of its own.
        .env("DB_SQLITE_POOL_SIZE", "2")
        .env("GENERIC_TIMEZONE", config.timezone.as_str())
        .env("TZ", config.timezone.as_str())
        .env(
            "NODE_OPTIONS",
            format!("--max-old-space-size={}", heap.memory_mib),
        )
        .env(
            "N8N_RUNNERS_MAX_OLD_SPACE_SIZE",
            runner_heap.memory_mib.to_string(),
        )
        // Caches of N8N and npm, beside the data.
        .scratch("home", "/home/node", 512)
        .volume("data", "/home/node/.n8n", data)
        .scratch("tmp", "/tmp", 256)
        .startup(&migrated.every(5).failures(120))
        // One thread does everything, and is silent while it works through a large workflow: callers
        // then wait, which is better than a refusal.
        .readiness(&answers.every(5).failures(12))
        .liveness(&alive.every(20).failures(10));
    Ok(container)
}

/// Adds the variables by which N8N knows its own address, behind the ingress.
fn with_addresses(container: Container, hostname: &str) -> Container {
    let url = format!("https://{hostname}/");
    container
        .env("N8N_HOST", hostname)
        .env("N8N_PORT", PORT.to_string())
        .env("N8N_PROTOCOL", "https")
        .env("N8N_PROXY_HOPS", "1")
        .env("N8N_EDITOR_BASE_URL", url.as_str())
        // N8N 1 knows the first name alone, N8N 2 prefers the second.
        .env("WEBHOOK_URL", url.as_str())
        .env("N8N_WEBHOOK_URL", url)
}

/// Adds the variables by which N8N finds its mail server.
fn with_mail(container: Container, outgoing: Option<Outgoing>) -> Container {
    let Some(outgoing) = outgoing else {
        return container;
    };
    let container = container
        .env("N8N_EMAIL_MODE", "smtp")
        .env("N8N_SMTP_HOST", outgoing.host.as_str())
        .env("N8N_SMTP_PORT", outgoing.port.to_string())
        .env("N8N_SMTP_SSL", outgoing.has_implicit_tls().to_string())
        .env("N8N_SMTP_SENDER", outgoing.from.as_str());
    match outgoing.login {
        Some((user, password)) => container
            .env("N8N_SMTP_USER", user)
            .secret_env("N8N_SMTP_PASS", &password),
        None => container,
    }
}

export_service!(N8n);
