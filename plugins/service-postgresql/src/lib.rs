//! PostgreSQL: one server with its data on a volume, for the customer's own services.

mod first_start;

use dermaga_plugin_sdk::service::*;
use serde::Deserialize;

const PASSWORD: &str = "password";
const PORT: u16 = 5432;
/// The user `postgres` of the Debian image.
const USER: u32 = 999;
/// Least MiB of memory for the server and a few connections.
const LEAST_MEMORY_MIB: u32 = 256;

/// Logs in as the customer's user into their database, which asks more than a process that answers.
/// A server without a free connection works, so that is no failure. The password is for data that
/// older versions made; the socket asks for none otherwise, so that a customer can change it.
const LOG_IN: &str = r#"
said=$(PGPASSWORD="$POSTGRES_PASSWORD" PGCONNECT_TIMEOUT=4 psql --host=/var/run/postgresql \
  --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --no-password --command='SELECT 1' 2>&1) && exit 0
case $said in
  *"too many clients"* | *"remaining connection slots"*) exit 0 ;;
esac
printf '%s\n' "$said" >&2
exit 1
"#;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Database, created empty on the first start.
    database: String,
    /// Administrator of the server and owner of the database.
    user: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            database: "app".to_owned(),
            user: "app".to_owned(),
        }
    }
}

struct Postgresql;

impl ServicePlugin for Postgresql {
    type Config = Config;

    fn about() -> About {
        about!(
            "PostgreSQL",
            "A relational database with its data on a volume of its own."
        )
    }

    fn describe() -> ServiceDescription {
        ServiceDescription {
            secrets: vec![SecretSpec {
                name: PASSWORD.to_owned(),
                kind: SecretKind::Password(32),
                purpose: "Password of the server's administrator.".to_owned(),
            }],
            endpoints: vec![EndpointSpec {
                name: "database".to_owned(),
                protocol: Protocol::Tcp,
                port: PORT,
                public: false,
            }],
            // The Debian release is pinned too, because its locales decide the order of indexes.
            images: vec![ImageSpec::pinned(
                "database",
                "docker.io/library/postgres:17.12-bookworm",
            )],
            ..ServiceDescription::new(&config_schema())
        }
    }

    fn check(plan: &Plan, config: &Config) -> Result<(), Vec<Problem>> {
        let reserved = |field: &str, name: &str, names: &[&str]| {
            let taken = names.contains(&name) || name.starts_with("pg_");
            taken.then(|| {
                Problem::new(
                    field,
                    format!("`{name}` is reserved by PostgreSQL; choose another name."),
                )
            })
        };
        let memory = plan.resources.memory_mib;
        let small = (memory < LEAST_MEMORY_MIB).then(|| {
            Problem::new(
                "",
                format!(
                    "PostgreSQL needs {LEAST_MEMORY_MIB} MiB of memory; this plan has {memory}."
                ),
            )
        });
        let database = reserved(
            "/database",
            &config.database,
            &["postgres", "template0", "template1"],
        );
        let user = reserved("/user", &config.user, &["postgres", "public", "none"]);
        Problem::none_of([small, database, user].into_iter().flatten())
    }

    fn manifests(instance: &Instance, config: &Config) -> Result<Vec<Value>, Vec<Problem>> {
        let database = Component::new(instance, "postgresql", "database");
        let data = VolumeClaim::new(&database, instance.plan.resources.storage_gib);
        // A fast shutdown writes a checkpoint, which takes time on a slow disk.
        let pod = Pod::as_user(USER, container(instance, config, &data)?)
            .init(first_start::container(instance, config, &data)?)
            .grace_seconds(120);
        Ok(vec![
            data.render(),
            Service::new(&database, "postgresql", PORT).render(),
            StatefulSet::new(&database, pod).render(),
        ])
    }

    fn access(instance: &Instance, config: &Config) -> AccessCard {
        let host = Component::new(instance, "postgresql", "database").object_name();
        AccessCard {
            url: None,
            fields: vec![
                AccessField::text("Host", host),
                AccessField::text("Port", PORT.to_string()),
                AccessField::text("Database", config.database.as_str()),
                AccessField::text("User", config.user.as_str()),
                AccessField::secret("Password", PASSWORD),
            ],
            notes: "The database has no public address: your other services here reach it by this host name."
                .to_owned(),
        }
    }
}

fn config_schema() -> Value {
    let name = |title: &str, description: &str| {
        json!({
            "type": "string",
            "pattern": "^[a-z][a-z0-9_]{0,62}$",
            "default": "app",
            "title": title,
            "description": description,
            "x-fixed": "is made at the first start, and keeps its name: buy another one for another name",
        })
    };
    json!({
        "type": "object",
        "properties": {
            "database": name("Database", "Name of the database that is made for you; fixed from the first start on."),
            "user": name("User", "Name of the server's administrator, who owns the database; fixed from the first start on."),
        },
        "additionalProperties": false,
    })
}

fn container(
    instance: &Instance,
    config: &Config,
    data: &VolumeClaim<'_>,
) -> Result<Container, Problem> {
    let answers = Probe::command(&["sh", "-c", LOG_IN.trim()]);
    let alive = Probe::command(&["pg_isready", "--host=127.0.0.1", "--quiet", "--timeout=4"]);
    let container = base("postgresql", instance, config, data)?
        .args(settings(compute(instance).0.memory_mib))
        .port("postgresql", PORT)
        // Recovery after a crash reads back what was written since the last checkpoint.
        .startup(&answers.clone().every(5).failures(120))
        .readiness(&answers)
        .liveness(&alive.failures(6));
    Ok(container)
}

/// Returns the container's share of the plan, and the MiB of its shared memory.
fn compute(instance: &Instance) -> (Compute, u32) {
    let all = Compute::of(instance.plan.resources);
    let shared = (all.memory_mib / 8).clamp(32, 256);
    (all.less_memory(shared), shared)
}

/// Builds a container with the server's image, names and directories.
fn base(
    name: &str,
    instance: &Instance,
    config: &Config,
    data: &VolumeClaim<'_>,
) -> Result<Container, Problem> {
    let (compute, shared) = compute(instance);
    let container = Container::new(name, instance.image("database")?, compute)
        .env("POSTGRES_DB", config.database.as_str())
        .env("POSTGRES_USER", config.user.as_str())
        .secret_env("POSTGRES_PASSWORD", &instance.secret(PASSWORD)?)
        // A subfolder, because the volume's root may hold `lost+found`.
        .env("PGDATA", "/var/lib/postgresql/data/pgdata")
        .volume("data", "/var/lib/postgresql/data", data)
        .scratch("run", "/var/run/postgresql", 16)
        .scratch("tmp", "/tmp", 64)
        .memory("shm", "/dev/shm", shared);
    Ok(container)
}

/// Returns the server's settings for a container with this much memory.
fn settings(memory_mib: u32) -> Vec<String> {
    let buffers = memory_mib / 4;
    let connections = (memory_mib / 8).clamp(25, 200);
    let settings = [
        // Of all addresses of the pod, as the image's own sample says too.
        "listen_addresses=*".to_owned(),
        format!("shared_buffers={buffers}MB"),
        format!("effective_cache_size={}MB", buffers.saturating_mul(2)),
        format!(
            "maintenance_work_mem={}MB",
            (memory_mib / 16).clamp(16, 256)
        ),
        format!("max_connections={connections}"),
        // The write-ahead log shares the volume with the data.
        "max_wal_size=512MB".to_owned(),
    ];
    settings
        .into_iter()
        .flat_map(|setting| ["-c".to_owned(), setting])
        .collect()
}

export_service!(Postgresql);
