//! Checks of what a server reaches: cluster, payment gateway, mail server, place of attachments.

use std::path::Path;

use dermaga_shop::{
    catalog::Sizes,
    cluster::{ClassKind, Cluster, ClusterError, FoundClass, FoundGateway},
    db::{Address, Clock},
    files::{Files, Place},
    payments::Payments,
    provisioning::{Choice, EntryChoice, Gateway},
    text::without_secrets,
};

use super::{
    folders,
    local::told,
    named,
    report::{Finding, Part},
    software,
};
use crate::{config::Config, telemetry::traces};

pub(super) const APPLY_ROLES: &str =
    "`kubectl apply -f deploy/kubernetes/rbac.yaml` makes an account with all of them.";

pub(super) async fn cluster(config: &Config, plans: &[Sizes]) -> Vec<Finding> {
    let (part, settings) = (Part::Cluster, &config.provisioning);
    if settings.provisioner == Choice::Directory {
        return folder(config).await;
    }
    // With `auto`, a server falls back to a folder, which is no failure unless a cluster was named.
    let is_wanted = settings.provisioner == Choice::Kubernetes || settings.kubeconfig.is_some();
    let cluster = match Cluster::connect(settings.kubeconfig.as_deref()).await {
        Ok(cluster) => cluster,
        Err(error) if is_wanted => {
            let todo = "Correct KUBECONFIG, or set DERMAGA_PROVISIONER to directory.";
            return vec![part.failed(error.to_string(), todo)];
        }
        Err(_) => return folder(config).await,
    };
    match cluster.probe().await {
        Ok(version) => {
            let message = format!("{} answers, Kubernetes {version}", cluster.url());
            let mut findings = vec![part.ok(message)];
            findings.extend(inside(config, &cluster).await);
            let named = named::in_cluster(config, &cluster, plans);
            findings.extend(Box::pin(named).await);
            findings
        }
        Err(error) if is_wanted => {
            let message = format!("{}: {error}", cluster.url());
            let todo = "Check that it runs and that KUBECONFIG has its address and an account that is let in.";
            vec![part.failed(message, todo)]
        }
        Err(error) => {
            let message = format!("{}: {error}; manifests go into a folder", cluster.url());
            let todo = "Set DERMAGA_PROVISIONER to kubernetes or directory, so that a start depends on no chance.";
            let away = part.warning(message, todo);
            let folder = folders::manifests(config);
            [Some(away), folder].into_iter().flatten().collect()
        }
    }
}

/// Checks a shop without a cluster.
async fn folder(config: &Config) -> Vec<Finding> {
    let store = Box::pin(named::secret_store(config)).await;
    let here = folders::manifests(config).unwrap_or_else(|| in_a_folder(config));
    [here].into_iter().chain(store).collect()
}

fn in_a_folder(config: &Config) -> Finding {
    let folder = config.manifests_dir();
    let message = format!("none: manifests are written into {}", folder.display());
    if config.is_production() {
        let todo = "Give KUBECONFIG, or apply the folder by yourself.";
        return Part::Cluster.warning(message, todo);
    }
    Part::Cluster.ok(message)
}

/// Checks the rights in a cluster that answers, its way in, and its classes.
async fn inside(config: &Config, cluster: &Cluster) -> Vec<Finding> {
    let part = Part::Cluster;
    let rights = match cluster.missing_rights().await {
        Ok(missing) if missing.is_empty() => part.ok("the account has every right it needs"),
        Ok(missing) => part.failed(
            format!("the account lacks rights: {}", missing.join(", ")),
            APPLY_ROLES,
        ),
        Err(error) => part.failed(format!("the rights are not known: {error}"), APPLY_ROLES),
    };
    let classes = &config.provisioning.classes;
    let (entry, software) = match classes.entry.choice {
        EntryChoice::Ingress => {
            let wanted = classes.ingress.as_deref();
            let found = cluster.class(ClassKind::Ingress, wanted).await;
            let chosen = classes.entry.controller;
            let software = match &found {
                Ok(FoundClass::Used(name)) => software::of_ingresses(cluster, name, chosen).await,
                _ => None,
            };
            let setting = ("DERMAGA_INGRESS_CLASS", wanted);
            (class("ingress", setting, found), software)
        }
        EntryChoice::Gateway => {
            let Gateway {
                name,
                namespace,
                section,
                ..
            } = &classes.entry.gateway;
            let found = cluster.gateway(namespace, name, section.as_deref()).await;
            let software = match found {
                Ok(FoundGateway::Absent) | Err(_) => None,
                Ok(_) => software::of_gateway(cluster, &classes.entry.gateway).await,
            };
            (way_in(&classes.entry.gateway, found), software)
        }
    };
    let wanted = classes.storage.as_deref();
    let found = cluster.class(ClassKind::Storage, wanted).await;
    let storage = class("storage", ("DERMAGA_STORAGE_CLASS", wanted), found);
    let all = [Some(rights), Some(entry), software, Some(storage)];
    all.into_iter().flatten().collect()
}

/// Judges the Gateway that routes of instances belong to.
fn way_in(gateway: &Gateway, found: Result<FoundGateway, ClusterError>) -> Finding {
    let part = Part::Cluster;
    let named = format!("Gateway {}/{}", gateway.namespace, gateway.name);
    match found {
        Ok(FoundGateway::Open) => part.ok(format!("{named} takes routes of customers")),
        Ok(FoundGateway::Absent) => part.failed(
            format!("there is no {named}"),
            "Make it, or correct DERMAGA_GATEWAY_NAME and DERMAGA_GATEWAY_NAMESPACE.",
        ),
        Ok(FoundGateway::NoSection(names)) => part.failed(
            format!(
                "{named} has no listener {}; it has: {}",
                gateway.section.as_deref().unwrap_or("at all"),
                names.join(", ")
            ),
            "Set DERMAGA_GATEWAY_SECTION to one that is there.",
        ),
        Ok(FoundGateway::Closed) => part.failed(
            format!("{named} takes no routes of other namespaces"),
            "Set allowedRoutes.namespaces.from of its listener to All, or to Selector for app.kubernetes.io/managed-by: dermaga.",
        ),
        Err(error) => part.warning(format!("{named} is not known: {error}"), APPLY_ROLES),
    }
}

fn class(
    noun: &str,
    (setting, wanted): (&str, Option<&str>),
    found: Result<FoundClass, ClusterError>,
) -> Finding {
    let part = Part::Cluster;
    let there = |names: &[String]| match names {
        [] => "the cluster has none".to_owned(),
        names => format!("there are: {}", names.join(", ")),
    };
    match found {
        Ok(FoundClass::Used(name)) => part.ok(format!("{noun} class {name}")),
        Ok(FoundClass::Missing(names)) => part.failed(
            format!(
                "the {noun} class {} of {setting} is not there; {}",
                wanted.unwrap_or_default(),
                there(&names)
            ),
            format!("Set {setting} to one that is there."),
        ),
        Ok(FoundClass::NoDefault(names)) => part.warning(
            format!("no {noun} class is the default; {}", there(&names)),
            format!("Set {setting}, or mark one as the default."),
        ),
        Err(error) => part.warning(
            format!("the {noun} classes are not known: {error}"),
            APPLY_ROLES,
        ),
    }
}

/// Checks the keys, which the configuration has held to their kind already, and asks the gateway
/// when that is wanted.
pub(super) async fn gateway(config: &Config, is_asked: bool) -> Finding {
    let (part, settings) = (Part::Gateway, &config.payments);
    if settings.midtrans.server_key.is_none() {
        if settings.sandbox {
            return part.ok("a sandbox that the server plays itself");
        }
        let todo = if config.is_production() {
            "Set MIDTRANS_SERVER_KEY and MIDTRANS_CLIENT_KEY; customers cannot top up before."
        } else {
            "Set MIDTRANS_SERVER_KEY and MIDTRANS_CLIENT_KEY; customers cannot top up before. `serve --dev` has a \
             sandbox in their place, and `doctor --dev` examines a shop that runs so."
        };
        return part.warning("no keys: the shop takes no payments", todo);
    }
    let address = Payments::gateway_address(settings);
    let (kind, decisive) = match (&settings.midtrans.base_url, settings.midtrans.is_production) {
        (Some(_), _) => ("the gateway of MIDTRANS_BASE_URL", "MIDTRANS_BASE_URL"),
        (None, true) => ("Midtrans' production", "MIDTRANS_IS_PRODUCTION"),
        (None, false) => ("Midtrans' sandbox", "MIDTRANS_IS_PRODUCTION"),
    };
    let asked = if is_asked {
        Payments::probe(settings, Clock::system()).await
    } else {
        None
    };
    match asked {
        None => part.skipped(
            format!("keys for {kind}, {address}, which was not asked"),
            "Add --ask-gateway to ask if it answers and takes the server key.",
        ),
        Some(Ok(())) => part.ok(format!("{kind}, {address}, answers and takes the server key")),
        Some(Err(error)) => part.failed(
            format!("{kind}, {address}: {}", told(&error)),
            format!("Compare MIDTRANS_SERVER_KEY and {decisive} with the dashboard, and check the way out of this machine."),
        ),
    }
}

/// Tries the mail server; no mail is sent.
pub(super) async fn mail(config: &Config) -> Finding {
    let (part, settings) = (Part::Mail, &config.notifications);
    let host = settings.smtp.as_ref().map(|url| url.host().to_owned());
    match (settings.probe().await, host) {
        (None, _) | (_, None) => {
            let todo = "Set SMTP_URL and MAIL_FROM; without them there are inboxes only, and no password can be reset.";
            part.warning("no mail server is set", todo)
        }
        (Some(Ok(())), Some(host)) => {
            part.ok(format!("{host} answers and lets the shop in; no mail was sent"))
        }
        (Some(Err(why)), Some(host)) => part.failed(
            format!("{host}: {why}"),
            "Check host, port, user and password of SMTP_URL; SMTP_CA_FILE names a certificate authority of your own.",
        ),
    }
}

/// Writes, reads and deletes a file where attachments are kept.
pub(super) async fn attachments(config: &Config) -> Finding {
    let part = Part::Attachments;
    let folder = config.data_dir.join("attachments");
    let place = match &config.files.place {
        Some(Place::Bucket { name, .. }) => format!("s3://{name}"),
        Some(Place::Folder(folder)) => folder.display().to_string(),
        None if !config.data_dir.exists() => return not_made_yet(config, &folder),
        None => folder.display().to_string(),
    };
    let todo = match &config.files.place {
        Some(Place::Bucket { .. }) => {
            "Check that the bucket of DERMAGA_ATTACHMENTS is there, DERMAGA_S3_ENDPOINT and DERMAGA_S3_REGION, and that the key of DERMAGA_S3_ACCESS_KEY may put, get and delete."
        }
        _ => {
            "Check the rights and the room of the folder, or name another with DERMAGA_ATTACHMENTS."
        }
    };
    let own = match &config.files.place {
        Some(Place::Bucket { .. }) => None,
        Some(Place::Folder(named)) => folders::trouble(named),
        None => folders::trouble(&folder),
    };
    if let Some(trouble) = own {
        return part.failed(format!("{place} {trouble}"), todo);
    }
    let tried = async { Files::open(&config.files, folder)?.probe().await };
    match tried.await {
        Ok(()) => part.ok(format!("{place} takes, returns and deletes a file")),
        Err(error) => part.failed(of_place(&place, told(&error)), todo),
    }
}

/// Names a place before what is wrong with it, unless that begins with it.
fn of_place(place: &str, wrong: String) -> String {
    if wrong.starts_with(place) {
        wrong
    } else {
        format!("{place}: {wrong}")
    }
}

/// Warns of a folder of one machine, where the database may have several servers.
pub(super) fn attachments_apart(config: &Config) -> Option<Finding> {
    let address = Address::parse(&config.database_url());
    let is_server = address.is_ok_and(|address| address.is_server());
    let folder = match &config.files.place {
        Some(Place::Bucket { .. }) => return None,
        Some(Place::Folder(folder)) => folder.clone(),
        None => config.data_dir.join("attachments"),
    };
    is_server.then(|| {
        let folder = folder.display();
        Part::Attachments.warning(
            format!("{folder} is a folder: other servers on this PostgreSQL do not have its files, unless they share it"),
            "With several servers, set DERMAGA_ATTACHMENTS to s3://BUCKET/PREFIX or to a folder that all of them have.",
        )
    })
}

/// Sends an export without a span to the collector, if there is one.
pub(super) async fn traces(config: &Config) -> Option<Finding> {
    let (part, endpoint) = (Part::Traces, config.telemetry.otlp_endpoint.as_deref()?);
    let address = traces::address(endpoint);
    let shown = without_secrets(&address);
    let failure = match traces::probe(&address).await {
        Ok(status) if status.is_success() => {
            return Some(part.ok(format!("{shown} takes traces")));
        }
        Ok(status) => format!("{shown} answers {status}"),
        Err(error) => format!("{shown}: {}", error.without_url()),
    };
    // The shop sells without its traces.
    let todo = "Check OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS, and that the collector takes OTLP over HTTP there.";
    Some(part.warning(failure, todo))
}

fn not_made_yet(config: &Config, folder: &Path) -> Finding {
    let message = format!("{} is not made yet", folder.display());
    let todo = folders::made_in_data(config, "The first start makes it.");
    Part::Attachments.warning(message, todo)
}
