//! Instances as customers see them.

use chrono::{DateTime, Utc};
use dermaga_runtime::{
    Texts,
    contract::{AccessCard, AccessValue, EndpointSpec, Protocol},
};
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    health::{InstanceHealth, State},
    model::{Desired, Event, Halt, Instance, Owned, Status},
    recipe::Undone,
    secrets::Secrets,
};
use crate::{
    Code, Error, Result,
    crypto::Hidden,
    db::Place,
    ids::{DecisionId, InstanceId, SubscriptionId},
    language,
};

/// An instance in a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceView {
    pub id: InstanceId,
    pub subscription_id: SubscriptionId,
    /// Unique in the cluster, for example `n8n-k3v9x2ab`.
    pub name: String,
    /// Slug of the service.
    pub service: String,
    /// Slug of the plan.
    pub plan: String,
    /// Public host name, when it has one.
    pub hostname: Option<String>,
    pub desired: Desired,
    /// Party that keeps it stopped; absent while it should run.
    pub halt: Option<Halt>,
    pub status: Status,
    /// Reason of the condition, in a sentence.
    #[serde(serialize_with = "crate::language::in_words")]
    pub message: String,
    /// Time at which it was ready for the first time. Absent where its manifests are written into a
    /// folder, since nothing tells what becomes of them.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub ready_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub updated_at: DateTime<Utc>,
}

impl InstanceView {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<InstanceId> {
        Place {
            at: self.created_at,
            tie: self.id,
        }
    }
}

impl From<&Owned> for InstanceView {
    fn from(Owned { instance, terms }: &Owned) -> Self {
        Self {
            id: instance.id,
            subscription_id: instance.subscription_id,
            name: instance.name.clone(),
            service: terms.service.clone(),
            plan: terms.plan.clone(),
            hostname: instance.hostname.clone(),
            desired: instance.desired,
            halt: instance.halt,
            status: instance.status,
            message: instance.message.clone(),
            ready_at: instance.ready_at,
            created_at: instance.created_at,
            updated_at: instance.updated_at,
        }
    }
}

/// An instance with all that is known of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceDetail {
    #[serde(flatten)]
    pub instance: InstanceView,
    pub health: Condition,
    /// Reason of its health, in a sentence; absent before its first check.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub health_reason: Option<String>,
    /// Time since which it has this health.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub health_since: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub last_checked_at: Option<DateTime<Utc>>,
    pub endpoints: Vec<EndpointView>,
    /// Current fault, in a sentence; absent when nothing is wrong.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub last_error: Option<String>,
    /// True while a change of it is not proven to work yet.
    pub changing: bool,
    /// The last change, when it did not work and was undone; absent once another is made.
    #[serde(serialize_with = "undone_in_words")]
    pub undone: Option<Undone>,
    /// Attempts that failed since the last that did not.
    pub failures: i64,
    /// Time of the next look at it.
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub next_attempt_at: DateTime<Utc>,
    /// Raised by every change of the desired state.
    pub generation: i64,
    /// The generation that was applied last.
    pub observed_generation: i64,
    pub namespace: String,
    /// The plugin version it was made with.
    pub plugin_digest: String,
    /// The recorded decision that its objects come from.
    pub manifests_decision_id: Option<DecisionId>,
    /// Newest events, newest first.
    pub events: Vec<EventView>,
}

impl InstanceDetail {
    pub fn of(
        owned: &Owned,
        health: Option<State>,
        endpoints: &[EndpointSpec],
        events: Vec<Event>,
    ) -> Self {
        let instance = &owned.instance;
        let is_here = !matches!(instance.status, Status::Terminating | Status::Terminated);
        let health = health.filter(|_| is_here);
        Self {
            instance: owned.into(),
            health: Condition::of(instance.status, health.as_ref()),
            health_since: health.as_ref().map(|state| state.since),
            health_reason: health.map(|state| state.reason),
            last_checked_at: instance.checked_at,
            endpoints: endpoints
                .iter()
                .map(|endpoint| EndpointView::of(endpoint, instance))
                .collect(),
            last_error: has_trouble(instance).then(|| instance.message.clone()),
            changing: is_here && instance.unproven_generation.is_some(),
            undone: instance.undone.clone().map(|undone| undone.0),
            failures: instance.failures,
            next_attempt_at: instance.next_attempt_at,
            generation: instance.generation,
            observed_generation: instance.observed_generation,
            namespace: instance.namespace.clone(),
            plugin_digest: instance.plugin_digest.clone(),
            manifests_decision_id: instance.manifests_decision_id,
            events: events.into_iter().map(EventView::of).collect(),
        }
    }
}

/// Writes a change that was undone with its reason in the current language; it is kept in English.
fn undone_in_words<S: Serializer>(
    undone: &Option<Undone>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let said = |undone: &Undone| Undone {
        reason: language::spoken(&undone.reason).into_owned(),
        ..undone.clone()
    };
    undone.as_ref().map(said).serialize(serializer)
}

const fn has_trouble(instance: &Instance) -> bool {
    instance.failures > 0 || matches!(instance.status, Status::Failed | Status::Degraded)
}

/// Condition of an instance, for its customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Condition {
    Starting,
    Ready,
    /// Written into a folder; its further state is unknown.
    Written,
    Degraded,
    Failed,
    Stopped,
    Gone,
}

impl Condition {
    /// A fault that the status does not tell, such as a crash loop while an instance is set up, is in
    /// the health that was found.
    fn of(status: Status, health: Option<&State>) -> Self {
        let is_failed = health.is_some_and(|state| state.health == InstanceHealth::Failed);
        match status {
            Status::Provisioning | Status::Degraded if is_failed => Self::Failed,
            Status::Pending | Status::Provisioning => Self::Starting,
            Status::Running => Self::Ready,
            Status::Written => Self::Written,
            Status::Degraded => Self::Degraded,
            Status::Failed => Self::Failed,
            Status::Stopped => Self::Stopped,
            Status::Terminating | Status::Terminated => Self::Gone,
        }
    }
}

/// Address at which the service can be reached.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// For example `web`.
    pub name: String,
    /// `http` or `tcp`.
    pub protocol: &'static str,
    /// Port of the Kubernetes Service.
    pub port: u16,
    /// Public host name; absent when it is reached inside the customer's namespace only.
    pub hostname: Option<String>,
}

impl EndpointView {
    fn of(spec: &EndpointSpec, instance: &Instance) -> Self {
        let protocol = match spec.protocol {
            Protocol::Http => "http",
            Protocol::Tcp => "tcp",
        };
        let hostname = instance.hostname.clone().filter(|_| spec.public);
        Self {
            name: spec.name.clone(),
            protocol,
            port: spec.port,
            hostname,
        }
    }
}

/// Something that happened to an instance.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// The status it had from then on.
    pub status: String,
    #[serde(serialize_with = "crate::language::in_words")]
    pub message: String,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub at: DateTime<Utc>,
}

impl EventView {
    pub(crate) fn of(event: Event) -> Self {
        Self {
            status: event.kind,
            message: event.message,
            at: event.created_at,
        }
    }
}

/// Data that the customer needs to use an instance.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsView {
    /// First address to open, when there is one.
    pub url: Option<String>,
    pub fields: Vec<CredentialView>,
    /// Notes to read before the first use; may be empty.
    #[serde(serialize_with = "crate::language::in_words")]
    pub notes: String,
}

/// One field to know or to type.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialView {
    /// For example `Password`.
    #[serde(serialize_with = "crate::language::in_words")]
    pub label: String,
    #[schema(value_type = String)]
    pub value: Hidden,
    /// True for a value to hide on a screen, such as a password.
    pub is_secret: bool,
}

impl CredentialsView {
    /// Fills the secrets into a plugin's answer, and says what the template has in another language; also returns the
    /// names of the secrets it shows.
    ///
    /// # Errors
    /// `PLUGIN_FAILED` when the plugin asks for a secret that this instance does not have.
    pub fn of(card: AccessCard, secrets: &Secrets, texts: &Texts) -> Result<(Self, Vec<String>)> {
        let said = |text: &str| language::said_by(texts, text).unwrap_or_else(|| text.to_owned());
        let mut shown = Vec::new();
        let mut fields = Vec::new();
        for field in card.fields {
            let (value, is_secret) = match field.value {
                AccessValue::Text(text) => (text.into(), false),
                AccessValue::Secret(name) => {
                    let value = secrets
                        .get(&name)
                        .cloned()
                        .ok_or_else(|| unknown_secret(&name))?;
                    shown.push(name);
                    (value, true)
                }
            };
            fields.push(CredentialView {
                label: said(&field.label),
                value,
                is_secret,
            });
        }
        Ok((
            Self {
                url: card.url,
                fields,
                notes: said(&card.notes),
            },
            shown,
        ))
    }
}

fn unknown_secret(name: &str) -> Error {
    Error::new(
        Code::PluginFailed,
        format!("The plugin shows a secret `{name}`, which this instance does not have."),
    )
}

/// The Kubernetes objects of an instance, as they were applied last.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManifestsView {
    /// The recorded decision that they come from.
    pub decision_id: DecisionId,
    pub plugin_id: String,
    pub plugin_version: String,
    pub namespace: String,
    /// In the order of applying; the values of secrets are masked.
    #[schema(value_type = Vec<Object>)]
    pub objects: Vec<Value>,
}
