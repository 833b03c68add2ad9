//! Health of instances as it is stored and shown.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{db::Place, ids::HealthSpanId, text_enum};

text_enum! {
    /// Health of an instance.
    pub enum InstanceHealth {
        Healthy = "HEALTHY",
        /// Not ready yet, or not ready again.
        Starting = "STARTING",
        /// Works in part.
        Degraded = "DEGRADED",
        Failed = "FAILED",
        Stopped = "STOPPED",
        /// The cluster does not answer, or its manifests are written into a folder.
        Unknown = "UNKNOWN",
    }
}

text_enum! {
    /// Cause of a check.
    pub enum CheckSource {
        /// Its time had come.
        Periodic = "PERIODIC",
        /// Something of the instance changed in the cluster.
        Event = "EVENT",
        /// An administrator asked for it.
        Request = "REQUEST",
    }
}

/// Time during which an instance had one health, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(in crate::provisioning) struct Span {
    pub id: HealthSpanId,
    pub state: InstanceHealth,
    /// Reason in a sentence a customer understands.
    pub reason: String,
    /// Reason for administrators.
    pub detail: String,
    pub source: CheckSource,
    pub since: DateTime<Utc>,
    /// Absent while it lasts.
    pub until: Option<DateTime<Utc>>,
    /// Begin of the time without health that lasts, or that this healthy span ended.
    pub unwell_since: Option<DateTime<Utc>>,
    /// Begin of a fault that a restart may mend.
    pub ailing_since: Option<DateTime<Utc>>,
    /// Time at which restarts had not helped, until it is well again.
    pub given_up_at: Option<DateTime<Utc>>,
}

/// Time during which an instance had one health.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthSpanView {
    pub id: HealthSpanId,
    pub state: InstanceHealth,
    /// Reason in a sentence a customer understands.
    #[serde(serialize_with = "crate::language::in_words")]
    pub reason: String,
    /// Reason for administrators.
    #[serde(serialize_with = "crate::language::in_words")]
    pub detail: String,
    /// Cause of the check that found it.
    pub source: CheckSource,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub since: DateTime<Utc>,
    /// Absent while it lasts.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub until: Option<DateTime<Utc>>,
    /// Last check that found it so.
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub last_seen_at: DateTime<Utc>,
    /// Time at which restarts had not helped.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub given_up_at: Option<DateTime<Utc>>,
}

impl HealthSpanView {
    /// Returns the place in the history of its instance.
    pub const fn place(&self) -> Place<HealthSpanId> {
        Place {
            at: self.since,
            tie: self.id,
        }
    }
}

/// Health of an instance now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub health: InstanceHealth,
    pub reason: String,
    pub since: DateTime<Utc>,
}
