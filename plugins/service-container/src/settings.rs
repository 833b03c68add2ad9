//! What a template says in its table `[settings]`. Every key that is not here is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Number, Value};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The first one is what the customer thinks of as the service.
    pub(crate) workloads: Vec<Workload>,
    /// What the host generates for each instance, by the name that variables refer to.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, Secret>,
    /// What a customer may set, by the name that texts refer to.
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
    /// Numeric user and group it runs as, who owns its volumes. Never 0.
    pub(crate) user: u32,
    /// Never two at a time, even when a node is lost: for databases.
    #[serde(default)]
    pub(crate) stateful: bool,
    /// Of the plan's CPU and memory; one workload may leave it out and gets the rest.
    pub(crate) share_percent: Option<u8>,
    /// Instead of the image's entry point.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    /// For the image's entry point.
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
    /// Is it ready for use?
    pub(crate) probe: Probe,
    /// Must it be restarted? As `probe` when left out.
    pub(crate) liveness: Option<Probe>,
    /// How long its first start may take.
    #[serde(default = "five_minutes")]
    pub(crate) startup_seconds: u32,
    /// How long it may take to stop.
    #[serde(default = "half_a_minute")]
    pub(crate) grace_seconds: u32,
}

/// A variable's value: a text, or a secret that only the cluster sees.
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
    /// For example `http`.
    pub(crate) name: String,
    pub(crate) number: u16,
    #[serde(default)]
    pub(crate) reach: Reach,
}

/// Who may use a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reach {
    /// The other workloads of the instance.
    #[default]
    Instance,
    /// The customer's other services too, who are told of it.
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
    /// Of the plan's storage; one volume may leave it out and gets the rest.
    pub(crate) share_percent: Option<u8>,
}

/// A directory that is empty at every start.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scratch {
    pub(crate) path: String,
    pub(crate) mib: u32,
}

/// How to ask whether a workload is well: exactly one of `http`, `tcp` and `exec`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probe {
    /// GET of this path; needs `port` when the workload has several.
    pub(crate) http: Option<String>,
    /// A connection to the port of this name.
    pub(crate) tcp: Option<String>,
    /// A command inside the container; exit status 0 is well.
    pub(crate) exec: Option<Vec<String>>,
    /// Name of the port that `http` asks.
    pub(crate) port: Option<String>,
    /// For software that insists on HTTPS, which ends at the ingress.
    #[serde(default)]
    pub(crate) as_https: bool,
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

/// One value that a customer may set: the JSON Schema of it, as far as forms need it. Its default
/// says what it is when the customer says nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Field {
    #[serde(rename = "type")]
    pub(crate) kind: FieldKind,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) default: Value,
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

/// What the customer is shown besides the public address.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Access {
    #[serde(default)]
    pub(crate) fields: Vec<AccessLine>,
    #[serde(default)]
    pub(crate) notes: String,
}

/// Exactly one of `text` and `secret`.
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
    /// Every port with its workload.
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
