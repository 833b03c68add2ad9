//! The Ghost server.

use dermaga_plugin_sdk::{mail::Outgoing, service::*};

use crate::{Shares, database};

pub(crate) const PORT: u16 = 2368;
/// The user `node` of the image.
const USER: u32 = 1000;
/// Share of the memory for Node's heap; the rest is for resizing pictures.
const HEAP_PERCENT: u8 = 70;
/// Script that waits for MySQL, because Ghost exits when its database is unreachable.
const WAIT_FOR_DATABASE: &str = "
const [host, port] = process.argv.slice(1);
const attempt = () => {
  const socket = require('net').connect(Number(port), host);
  socket.setTimeout(2000, () => socket.destroy(new Error('no answer')));
  socket.on('connect', () => process.exit(0));
  socket.on('error', () => setTimeout(attempt, 2000));
};
process.on('SIGTERM', () => process.exit(1));
attempt();
";

/// Renders volume, Deployment, Service and Ingress.
pub(crate) fn manifests(
    instance: &Instance,
    shares: &Shares,
    outgoing: Option<Outgoing>,
) -> Result<Vec<Value>, Problem> {
    let hostname = instance.public_hostname()?;
    let app = Component::new(instance, "ghost", "app");
    let content = VolumeClaim::new(&app, shares.content_gib);
    let container = container(instance, hostname, shares.app, &content)?;
    let pod = Pod::as_user(USER, with_mail(container, outgoing))
        .init(wait_for_database(instance, shares.app)?)
        .grace_seconds(60);
    Ok(vec![
        content.render(),
        Deployment::new(&app, pod).render(),
        Service::new(&app, "http", PORT).render(),
        Ingress::new(&app, hostname, "http").render(),
    ])
}

fn wait_for_database(instance: &Instance, compute: Compute) -> Result<Container, Problem> {
    let host = database::component(instance).object_name();
    let command = [
        "node",
        "-e",
        WAIT_FOR_DATABASE.trim(),
        &host,
        &database::PORT.to_string(),
    ]
    .map(str::to_owned);
    Ok(Container::new("wait-for-database", instance.image("app")?, compute).command(command))
}

fn container(
    instance: &Instance,
    hostname: &str,
    compute: Compute,
    content: &VolumeClaim<'_>,
) -> Result<Container, Problem> {
    let (heap, _) = compute.split(HEAP_PERCENT);
    // Over plain HTTP, Ghost redirects to its public address.
    let probe = Probe::http_as_https("http", "/ghost/api/admin/site/");
    let container = Container::new("ghost", instance.image("app")?, compute)
        .port("http", PORT)
        .env("NODE_ENV", "production")
        .env(
            "NODE_OPTIONS",
            format!("--max-old-space-size={}", heap.memory_mib),
        )
        .env("url", format!("https://{hostname}"))
        // Without it, a code is mailed at each sign-in from another browser, which needs mail.
        .env("security__staffDeviceVerification", "false")
        // It asks its makers for nothing: versions are the shop's to move.
        .env("privacy__useUpdateCheck", "false")
        .env("database__client", "mysql")
        .env(
            "database__connection__host",
            database::component(instance).object_name(),
        )
        .env("database__connection__port", database::PORT.to_string())
        .env("database__connection__user", database::NAME)
        .secret_env(
            "database__connection__password",
            &instance.secret(database::PASSWORD)?,
        )
        .env("database__connection__database", database::NAME)
        .volume("content", "/var/lib/ghost/content", content)
        .scratch("home", "/home/node", 64)
        .scratch("tmp", "/tmp", 256)
        // The first start creates some sixty tables.
        .startup(&probe.clone().every(5).failures(120))
        .readiness(&probe.clone())
        // One thread does everything, and is silent while it resizes pictures.
        .liveness(&probe.every(20).failures(10));
    Ok(container)
}

/// Adds the variables by which Ghost finds its mail server.
fn with_mail(container: Container, outgoing: Option<Outgoing>) -> Container {
    let Some(outgoing) = outgoing else {
        return container;
    };
    let secure = outgoing.has_implicit_tls().to_string();
    let container = container
        .env("mail__transport", "SMTP")
        .env("mail__from", outgoing.from.as_str())
        .env("mail__options__host", outgoing.host.as_str())
        .env("mail__options__port", outgoing.port.to_string())
        .env("mail__options__secure", secure);
    match outgoing.login {
        Some((user, password)) => container
            .env("mail__options__auth__user", user)
            .secret_env("mail__options__auth__pass", &password),
        None => container,
    }
}
