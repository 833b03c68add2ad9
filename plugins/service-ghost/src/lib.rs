//! Ghost, the publishing platform, with a MySQL 8 server of its own.

mod app;
mod database;

use dermaga_plugin_sdk::{
    mail::{self, MailServer, Outgoing, Relay},
    service::*,
    templated::TemplatedService,
};
use serde::Deserialize;

/// Configuration of a customer: a site's title and language are set in Ghost, where they can be
/// changed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Mail server of the customer.
    mail: Option<MailServer>,
}

/// Settings of the template.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    relay: Option<Relay>,
}

/// Least resources for one Ghost and one MySQL 8 to start and stay up.
const LEAST: Resources = Resources {
    cpu_millis: 250,
    memory_mib: 1024,
    storage_gib: 3,
    replicas: 2,
};
/// The database's share of CPU and memory.
const DATABASE_PERCENT: u8 = 50;

struct Ghost;

/// Division of a plan between the two workloads.
struct Shares {
    app: Compute,
    database: Compute,
    content_gib: u32,
    database_gib: u32,
}

impl Shares {
    fn of(plan: &Plan) -> Self {
        let (database, app) = Compute::of(plan.resources).split(DATABASE_PERCENT);
        // Pictures and themes take more room than text. Both parts grow when the whole grows.
        let database_gib = plan.resources.storage_gib / 3;
        let content_gib = plan.resources.storage_gib.saturating_sub(database_gib);
        Self {
            app,
            database,
            content_gib,
            database_gib,
        }
    }
}

impl TemplatedService for Ghost {
    type Settings = Settings;
    type Config = Config;

    fn about() -> About {
        about!(
            "Ghost",
            "A publishing platform with its own MySQL 8 database."
        )
    }

    fn describe(_: &Settings) -> Result<ServiceDescription, Vec<Problem>> {
        let password = |name: &str, purpose: &str| SecretSpec {
            name: name.to_owned(),
            kind: SecretKind::Password(32),
            purpose: purpose.to_owned(),
        };
        Ok(ServiceDescription {
            secrets: vec![
                mail::secret(),
                password(database::PASSWORD, "Ghost's password for its database."),
                password(
                    database::ROOT_PASSWORD,
                    "Password of the database's administrator.",
                ),
            ],
            endpoints: vec![EndpointSpec {
                name: "web".to_owned(),
                protocol: Protocol::Http,
                port: app::PORT,
                public: true,
            }],
            images: vec![
                ImageSpec::pinned("app", "docker.io/library/ghost:6.65.0-alpine"),
                ImageSpec::pinned("database", "docker.io/library/mysql:8.4.11"),
            ],
            ..ServiceDescription::new(&json!({
                "type": "object",
                "properties": {"mail": mail::schema()},
                "additionalProperties": false,
            }))
        })
    }

    fn check(_: &Settings, plan: &Plan, _config: &Config) -> Result<(), Vec<Problem>> {
        let has = plan.resources;
        let needs = [
            (
                LEAST.cpu_millis,
                has.cpu_millis,
                "thousandths of a CPU core",
            ),
            (LEAST.memory_mib, has.memory_mib, "MiB of memory"),
            (LEAST.storage_gib, has.storage_gib, "GiB of storage"),
            (LEAST.replicas, has.replicas, "pods"),
        ];
        let short =
            needs
                .into_iter()
                .filter(|(least, has, _)| has < least)
                .map(|(least, has, what)| {
                    Problem::new(
                        "",
                        format!("Ghost and its database need {least} {what}; this plan has {has}."),
                    )
                });
        Problem::none_of(short)
    }

    fn manifests(
        settings: &Settings,
        instance: &Instance,
        config: &Config,
    ) -> Result<Vec<Value>, Vec<Problem>> {
        let shares = Shares::of(&instance.plan);
        let mut objects = database::manifests(instance, &shares)?;
        let outgoing = Outgoing::of(config.mail.as_ref(), settings.relay.as_ref(), instance)?;
        objects.extend(app::manifests(instance, &shares, outgoing)?);
        Ok(objects)
    }

    fn access(settings: &Settings, instance: &Instance, config: &Config) -> AccessCard {
        let mail = mail::note(config.mail.as_ref(), settings.relay.as_ref());
        let admin = instance
            .public_url()
            .map(|url| AccessField::text("Administration", format!("{url}/ghost/")));
        AccessCard {
            url: instance.public_url(),
            fields: admin.into_iter().collect(),
            notes: format!(
                "Create the owner's account on the administration page. Do it soon: until then everyone \
                 who knows the address can. {mail}"
            ),
        }
    }
}

export_service!(Ghost);
