//! Renders settings and a plan to Kubernetes objects.

use dermaga_plugin_sdk::service::*;
use serde_json::Map;

use crate::{
    settings::{Probe as ProbeSettings, Reach, Settings, Variable, Workload},
    text::Facts,
};

/// Lowest port that a user other than root can listen on without a sysctl.
const FIRST_FREE_PORT: u16 = 1024;
/// Seconds between two startup probes.
const STARTUP_PERIOD: u32 = 5;
/// Failures in a row until a workload is restarted.
const LIVENESS_FAILURES: u32 = 6;
/// Least MiB of memory that a container can run with.
const LEAST_MEMORY_MIB: u32 = 16;

/// Checks that a plan is enough for every workload and volume.
///
/// # Errors
/// The problems of the plan.
pub(crate) fn fit(settings: &Settings, plan: &Plan) -> Result<(), Vec<Problem>> {
    let has = plan.resources;
    let pods = u32::try_from(settings.workloads.len()).unwrap_or(u32::MAX);
    let short = (has.replicas < pods).then(|| {
        Problem::new(
            "",
            format!(
                "This service runs {pods} pods; this plan has {}.",
                has.replicas
            ),
        )
    });
    let storage = storage(settings, has.storage_gib);
    let flat = storage.contains(&0).then(|| {
        let message = format!(
            "Every volume needs at least 1 GiB; the plan's {} GiB are not enough for {}.",
            has.storage_gib,
            storage.len()
        );
        Problem::new("", message)
    });
    let starved = compute(settings, has)
        .into_iter()
        .any(|share| share.memory_mib < LEAST_MEMORY_MIB || share.cpu_millis == 0)
        .then(|| {
            let message = format!(
                "Every workload needs at least {LEAST_MEMORY_MIB} MiB of memory and some CPU."
            );
            Problem::new("", message)
        });
    Problem::none_of([short, flat, starved].into_iter().flatten())
}

/// Renders every object of an instance: volumes, Services and workloads, dependencies first.
///
/// # Errors
/// The values that the instance lacks.
pub(crate) fn render(
    settings: &Settings,
    instance: &Instance,
    config: &Map<String, Value>,
) -> Result<Vec<Value>, Vec<Problem>> {
    let resources = instance.plan.resources;
    let mut gib = storage(settings, resources.storage_gib).into_iter();
    let mut parts = Vec::new();
    for (workload, compute) in settings.workloads.iter().zip(compute(settings, resources)) {
        let gib: Vec<u32> = gib.by_ref().take(workload.volumes.len()).collect();
        let facts = Facts {
            settings,
            instance,
            config,
            compute,
        };
        parts.push(objects(workload, &gib, &facts)?);
    }
    // The first workload is the service itself, which uses the others.
    parts.reverse();
    Ok(parts.into_iter().flatten().collect())
}

/// Returns CPU and memory of each workload.
fn compute(settings: &Settings, resources: Resources) -> Vec<Compute> {
    let all = Compute::of(resources);
    let fixed = |workload: &Workload| workload.share_percent.map(|percent| all.split(percent).0);
    let taken: Vec<Compute> = settings.workloads.iter().filter_map(fixed).collect();
    let cpu: u32 = taken.iter().map(|share| share.cpu_millis).sum();
    let memory: u32 = taken.iter().map(|share| share.memory_mib).sum();
    let rest = Compute {
        cpu_millis: all.cpu_millis.saturating_sub(cpu),
        memory_mib: all.memory_mib.saturating_sub(memory),
    };
    let workloads = settings.workloads.iter();
    workloads
        .map(|workload| fixed(workload).unwrap_or(rest))
        .collect()
}

/// Returns the GiB of each volume, in the order of workloads and their volumes.
fn storage(settings: &Settings, gib: u32) -> Vec<u32> {
    let part = |percent: u8| {
        let part = u64::from(gib) * u64::from(percent) / 100;
        u32::try_from(part).unwrap_or(gib)
    };
    let shares: Vec<Option<u32>> = settings
        .volumes()
        .map(|volume| volume.share_percent.map(part))
        .collect();
    let rest = gib.saturating_sub(shares.iter().flatten().sum());
    shares
        .into_iter()
        .map(|share| share.unwrap_or(rest))
        .collect()
}

fn objects(workload: &Workload, gib: &[u32], facts: &Facts<'_>) -> Result<Vec<Value>, Problem> {
    let component = Component::new(facts.instance, &workload.name, &workload.name);
    let claims: Vec<VolumeClaim<'_>> = workload
        .volumes
        .iter()
        .zip(gib)
        .map(|(volume, gib)| VolumeClaim::named(&component, &volume.name, *gib))
        .collect();
    let mut objects: Vec<Value> = claims.iter().map(VolumeClaim::render).collect();
    if let [first, others @ ..] = workload.ports.as_slice() {
        let service = Service::new(&component, &first.name, first.number);
        let service = others.iter().fold(service, |service, port| {
            service.port(&port.name, port.number)
        });
        objects.push(service.render());
    }
    let pod = Pod::as_user(workload.user, container(workload, &claims, facts)?)
        .grace_seconds(workload.grace_seconds);
    let pod = match preparation(workload, &claims, facts)? {
        Some(container) => pod.init(container),
        None => pod,
    };
    let low = workload
        .ports
        .iter()
        .any(|port| port.number < FIRST_FREE_PORT);
    let pod = if low { pod.low_ports() } else { pod };
    objects.push(if workload.stateful {
        StatefulSet::new(&component, pod).render()
    } else {
        Deployment::new(&component, pod).render()
    });
    if let Some(port) = workload
        .ports
        .iter()
        .find(|port| port.reach == Reach::Public)
    {
        let hostname = facts.instance.public_hostname()?;
        objects.push(Ingress::new(&component, hostname, &port.name).render());
    }
    Ok(objects)
}

fn container(
    workload: &Workload,
    claims: &[VolumeClaim<'_>],
    facts: &Facts<'_>,
) -> Result<Container, Problem> {
    let mut container = base(&workload.name, workload, claims, facts)?
        .command(words(&workload.command, facts)?)
        .args(words(&workload.args, facts)?);
    for port in &workload.ports {
        container = container.port(&port.name, port.number);
    }
    let ready = probe(&workload.probe, workload);
    let liveness = workload.liveness.as_ref().unwrap_or(&workload.probe);
    let patience = workload.startup_seconds.div_ceil(STARTUP_PERIOD);
    let alive = probe(liveness, workload)
        .every(20)
        .failures(liveness.failures.unwrap_or(LIVENESS_FAILURES));
    Ok(container
        .startup(&ready.clone().every(STARTUP_PERIOD).failures(patience))
        .readiness(&ready)
        .liveness(&alive))
}

/// Builds the container that prepares each start, if there is one.
fn preparation(
    workload: &Workload,
    claims: &[VolumeClaim<'_>],
    facts: &Facts<'_>,
) -> Result<Option<Container>, Problem> {
    if workload.prepare.is_empty() {
        return Ok(None);
    }
    let name = format!("{}-prepare", workload.name);
    let container = base(&name, workload, claims, facts)?;
    Ok(Some(container.command(words(&workload.prepare, facts)?)))
}

/// Builds a container with the workload's image, variables and directories.
fn base(
    name: &str,
    workload: &Workload,
    claims: &[VolumeClaim<'_>],
    facts: &Facts<'_>,
) -> Result<Container, Problem> {
    let image = facts.instance.image(workload.image())?;
    let mut container = Container::new(name, image, facts.compute);
    for (name, variable) in &workload.env {
        container = match variable {
            Variable::Text(text) => container.env(name, facts.fill(text)?),
            Variable::Secret(reference) => {
                container.secret_env(name, &facts.instance.secret(&reference.secret)?)
            }
        };
    }
    for (volume, claim) in workload.volumes.iter().zip(claims) {
        container = container.volume(&volume.name, &volume.path, claim);
    }
    for (position, scratch) in workload.scratch.iter().enumerate() {
        container = container.scratch(&format!("scratch-{position}"), &scratch.path, scratch.mib);
    }
    Ok(container)
}

fn words(words: &[String], facts: &Facts<'_>) -> Result<Vec<String>, Problem> {
    words.iter().map(|word| facts.fill(word)).collect()
}

fn probe(probe: &ProbeSettings, workload: &Workload) -> Probe {
    let asked = action(probe, workload);
    match probe.failures {
        Some(count) => asked.failures(count),
        None => asked,
    }
}

fn action(probe: &ProbeSettings, workload: &Workload) -> Probe {
    if let Some(command) = &probe.exec {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        return Probe::command(&words);
    }
    let only = workload.ports.first().map(|port| port.name.as_str());
    let port = probe.port.as_deref().or(only).unwrap_or_default();
    match (&probe.http, &probe.tcp) {
        (Some(path), _) if probe.as_https => Probe::http_as_https(port, path),
        (Some(path), _) => Probe::http(port, path),
        (None, tcp) => Probe::tcp(tcp.as_deref().unwrap_or(port)),
    }
}
