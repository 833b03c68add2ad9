//! The table `[settings]` of a template. Unknown keys are refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Number, Value};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Workloads; the first is the service that the customer knows.
    pub(crate) workloads: Vec<Workload>,
    /// Secrets that the host generates for each instance, by the name that variables refer to.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// Values that a customer may set, by the name that texts refer to.
    #[serde(default)]
    pub(crate) config: BTreeMap<String, Field>,
    #[serde(default)]
    pub(crate) access: Access,
}

/// One pod that is kept running.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workload {
    /// Part of its objects' names, and its host name for the other workloads.
    pub(crate) name: String,
    /// Name in the template's `[images]`; the workload's own name when left out.
    pub(crate) image: Option<String>,
    /// Numeric user and group that it runs as and that own its volumes. The gate refuses 0 of a service
    /// without the exception `run-as-root`.
    pub(crate) user: u32,
    /// Runs never two pods at a time, even when a node is lost: for databases.
    #[serde(default)]
    pub(crate) stateful: bool,
    /// Share of the plan's CPU and memory; one workload may leave it out and gets the rest.
    pub(crate) share_percent: Option<u8>,
    /// Command that runs to its end before each start, with the same image, variables and
    /// directories; none when empty.
    #[serde(default)]
    pub(crate) prepare: Vec<String>,
    /// Command instead of the image's entry point.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// Arguments for the image's entry point.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Variable>,
    #[serde(default)]
    pub(crate) ports: Vec<Port>,
    #[serde(default)]
    pub(crate) volumes: Vec<Volume>,
    #[serde(default)]
    pub(crate) scratch: Vec<Scratch>,
    /// Readiness probe.
    pub(crate) probe: Probe,
    /// Liveness probe; `probe` when left out.
    pub(crate) liveness: Option<Probe>,
    /// Most seconds that a start may take.
    #[serde(default = "five_minutes")]
    pub(crate) startup_seconds: u32,
    /// Most seconds that stopping may take.
    #[serde(default = "half_a_minute")]
    pub(crate) grace_seconds: u32,
}

/// Value of a variable: a text, or a secret that only the cluster sees.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a text or { secret = \"NAME\" }")]
pub(crate) enum Variable {
    Text(String),
    Secret(SecretReference),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretReference {
    pub(crate) secret: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Port {
    /// Name of the port, for example `http`.
    pub(crate) name: String,
    pub(crate) number: u16,
    #[serde(default)]
    pub(crate) reach: Reach,
}

/// Clients of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reach {
    /// The other workloads of the instance.
    #[default]
    Instance,
    /// The customer's other services too; the port is listed as an endpoint.
    Customer,
    /// Everyone, by HTTPS under the instance's public host name.
    Public,
}

/// A directory that is kept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Volume {
    pub(crate) name: String,
    pub(crate) path: String,
    /// Share of the plan's storage; one volume may leave it out and gets the rest.
    pub(crate) share_percent: Option<u8>,
}

/// A directory that is empty at every start.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scratch {
    pub(crate) path: String,
    pub(crate) mib: u32,
}

/// Health check of a workload: exactly one of `http`, `tcp` and `exec`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probe {
    /// GET of this path; needs `port` when the workload has several.
    pub(crate) http: Option<String>,
    /// A connection to the port of this name.
    pub(crate) tcp: Option<String>,
    /// A command inside the container; exit status 0 is a success.
    pub(crate) exec: Option<Vec<String>>,
    /// Name of the port for `http`.
    pub(crate) port: Option<String>,
    /// For software that insists on HTTPS, which ends at the ingress.
    #[serde(default)]
    pub(crate) as_https: bool,
    /// Failures in a row until it counts: 3 for readiness, 6 for liveness when left out.
    pub(crate) failures: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secret {
    #[serde(default)]
    pub(crate) kind: SecretKind,
    /// Characters of a password (16 to 128), bytes of `hex` (16 to 64).
    #[serde(default = "thirty_two")]
    pub(crate) length: u32,
    pub(crate) purpose: String,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SecretKind {
    #[default]
    Password,
    Hex,
}

/// One value that a customer may set: the part of its JSON Schema that forms need. Its default
/// applies when the customer sets nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Field {
    #[serde(rename = "type")]
    pub(crate) kind: FieldKind,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) default: Value,
    /// The host keeps the value as the secret of this name, with hyphens for underscores, and
    /// texts see a mark only.
    #[serde(default)]
    pub(crate) secret: bool,
    #[serde(rename = "enum")]
    pub(crate) choices: Option<Vec<Value>>,
    pub(crate) pattern: Option<String>,
    #[serde(alias = "min_length")]
    pub(crate) min_length: Option<u32>,
    #[serde(alias = "max_length")]
    pub(crate) max_length: Option<u32>,
    pub(crate) minimum: Option<Number>,
    pub(crate) maximum: Option<Number>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FieldKind {
    String,
    Integer,
    Boolean,
}

/// Details shown to the customer besides the public address.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Access {
    #[serde(default)]
    pub(crate) fields: Vec<AccessLine>,
    #[serde(default)]
    pub(crate) notes: String,
}

/// One detail: exactly one of `text` and `secret`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessLine {
    pub(crate) label: String,
    pub(crate) text: Option<String>,
    pub(crate) secret: Option<String>,
}

impl Workload {
    pub(crate) fn image(&self) -> &str {
        self.image.as_deref().unwrap_or(&self.name)
    }
}

impl Settings {
    /// Returns every port with its workload.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (&Workload, &Port)> {
        let of = |workload| move |port| (workload, port);
        self.workloads
            .iter()
            .flat_map(move |workload| workload.ports.iter().map(of(workload)))
    }

    pub(crate) fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.workloads.iter().flat_map(|workload| &workload.volumes)
    }
}

const fn five_minutes() -> u32 {
    300
}

const fn half_a_minute() -> u32 {
    30
}

const fn thirty_two() -> u32 {
    32
}
