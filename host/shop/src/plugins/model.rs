//! Rows and views of plugin versions and decisions.

use chrono::{DateTime, Utc};
use dermaga_runtime::SizeClass;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::Registry;

use crate::{
    db::Place,
    ids::{DecisionId, SubscriptionId, UserId},
    language::{self, Language},
};

crate::text_enum! {
    /// State of a version in its life.
    pub enum VersionState {
        /// Uploaded and checked; it serves no customer yet.
        Staged = "STAGED",
        /// New decisions are made by it.
        Active = "ACTIVE",
        /// Was active; what was provisioned with it stays on it.
        Superseded = "SUPERSEDED",
        /// Cannot be activated any more; what was provisioned with it still stays on it.
        Retired = "RETIRED",
    }
}

crate::text_enum! {
    /// Size class of a plugin, its memory included; administrators grant it.
    pub enum PluginClass {
        Standard = "standard",
        Large = "large",
    }
}

impl From<PluginClass> for SizeClass {
    fn from(class: PluginClass) -> Self {
        match class {
            PluginClass::Standard => Self::Standard,
            PluginClass::Large => Self::Large,
        }
    }
}

impl From<SizeClass> for PluginClass {
    fn from(class: SizeClass) -> Self {
        match class {
            SizeClass::Standard => Self::Standard,
            SizeClass::Large => Self::Large,
        }
    }
}

/// A version without its bytes.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct VersionRow {
    pub(super) digest: String,
    pub plugin_id: String,
    pub(super) kind: String,
    pub(super) version: String,
    pub(super) contract: String,
    pub(super) title: String,
    pub(super) size_bytes: i64,
    pub(super) state: VersionState,
    pub(super) report: Json<Value>,
    pub(super) uploaded_by: Option<UserId>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) activated_at: Option<DateTime<Utc>>,
    pub(super) retired_at: Option<DateTime<Utc>>,
    pub(super) signature: Option<String>,
}

/// Version of a plugin.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionView {
    /// SHA-256 of the component, lower-case hexadecimal.
    pub digest: String,
    pub plugin_id: String,
    /// `service` or `coupon`.
    pub kind: String,
    pub version: String,
    /// Contract version it was built against.
    pub contract: String,
    pub title: String,
    pub size_bytes: i64,
    pub state: VersionState,
    /// The conformance report of its upload.
    #[schema(value_type = Object)]
    #[serde(serialize_with = "report_in_words")]
    pub report: Value,
    pub uploaded_by: Option<UserId>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub activated_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub retired_at: Option<DateTime<Utc>>,
    /// Name of the key whose signature it carries.
    pub signed_by: Option<String>,
    /// End of the suspension of one of its functions on this server, after repeated failures.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub suspended_until: Option<DateTime<Utc>>,
    /// Reason why this server cannot run it, when it cannot.
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub failure: Option<String>,
}

/// Writes a report with its sentences in the current language; it is kept in English.
fn report_in_words<S: Serializer>(report: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    if language::current() == Language::English {
        return report.serialize(serializer);
    }
    let say = |text: Option<&mut Value>| {
        if let Some(Value::String(text)) = text {
            *text = language::spoken(text).into_owned();
        }
    };
    let mut said = report.clone();
    say(said.pointer_mut("/subject/about/summary"));
    let checks = said.get_mut("checks").and_then(Value::as_array_mut);
    for check in checks.into_iter().flatten() {
        say(check.get_mut("message"));
    }
    said.serialize(serializer)
}

impl VersionView {
    pub fn of(registry: &Registry, row: VersionRow) -> Self {
        let failure = registry.failure_of(&row.digest);
        let suspended_until = registry.suspended_until(&row.digest);
        let signed_by = row
            .signature
            .and_then(|signature| Some(signature.split_once(':')?.0.to_owned()));
        Self {
            digest: row.digest,
            plugin_id: row.plugin_id,
            kind: row.kind,
            version: row.version,
            contract: row.contract,
            title: row.title,
            size_bytes: row.size_bytes,
            state: row.state,
            report: row.report.0,
            uploaded_by: row.uploaded_by,
            created_at: row.created_at,
            activated_at: row.activated_at,
            retired_at: row.retired_at,
            signed_by,
            suspended_until,
            failure,
        }
    }
}

/// A plugin and all its versions, newest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginView {
    pub id: String,
    pub kind: String,
    pub title: String,
    /// Size class granted by administrators.
    pub class: PluginClass,
    /// Digest of the active version, if one is active.
    pub active: Option<String>,
    /// Digest of the version that decides on this server: another than `active` while that one does
    /// not load here.
    pub running: Option<String>,
    pub versions: Vec<VersionView>,
}

/// A class that has been granted.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantedClass {
    pub plugin_id: String,
    pub class: PluginClass,
    /// Reason in the administrator's words.
    pub reason: String,
    /// The class before.
    pub before: PluginClass,
}

/// Changes made by an activation.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activation {
    pub plugin_id: String,
    pub digest: String,
    pub version: String,
    /// The version that was active before.
    pub superseded: Option<String>,
}

/// The retired versions.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retirement {
    pub plugin_id: String,
    /// Digests of the versions.
    pub retired: Vec<String>,
}

/// A version whose failures are forgotten.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reset {
    pub plugin_id: String,
    pub digest: String,
    pub was_suspended: bool,
}

/// A recorded call, whole.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct DecisionRow {
    pub id: DecisionId,
    pub digest: String,
    pub plugin_id: String,
    pub plugin_version: String,
    pub contract: String,
    pub function: String,
    pub user_id: Option<UserId>,
    pub input: String,
    pub output: Option<String>,
    pub failure: Option<String>,
    pub logs: String,
    pub fuel: i64,
    pub duration_us: i64,
    pub created_at: DateTime<Utc>,
    pub erased_at: Option<DateTime<Utc>>,
    pub input_digest: Option<String>,
    pub output_digest: Option<String>,
}

/// Outcome of a recorded call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The plugin answered, refusals included.
    Answered,
    /// It trapped, met a limit or returned a malformed answer.
    Failed,
}

/// A recorded decision of a plugin: what it knew, what it answered, what that took.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionView {
    pub id: DecisionId,
    pub digest: String,
    pub plugin_id: String,
    pub plugin_version: String,
    pub contract: String,
    pub function: String,
    pub user_id: Option<UserId>,
    /// Null once it is erased.
    #[schema(value_type = Option<Object>)]
    pub input: Value,
    /// Null when the call was not answered, and once it is erased.
    #[schema(value_type = Option<Object>)]
    pub output: Option<Value>,
    /// Code of the failure, when the call was not answered.
    pub failure: Option<String>,
    /// Empty once they are erased.
    #[schema(value_type = Vec<Object>)]
    pub logs: Value,
    pub fuel: i64,
    pub duration_us: i64,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    /// Moment at which input, output and logs were erased, since the account that they were about is deleted; null
    /// while they are there.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub erased_at: Option<DateTime<Utc>>,
    /// Keyed digest of the input that was erased.
    pub input_digest: Option<String>,
    /// Keyed digest of the output that was erased.
    pub output_digest: Option<String>,
}

impl DecisionView {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<DecisionId> {
        Place {
            at: self.created_at,
            tie: self.id,
        }
    }
}

impl TryFrom<DecisionRow> for DecisionView {
    type Error = crate::Error;

    fn try_from(row: DecisionRow) -> crate::Result<Self> {
        Ok(Self {
            id: row.id,
            digest: row.digest,
            plugin_id: row.plugin_id,
            plugin_version: row.plugin_version,
            contract: row.contract,
            function: row.function,
            user_id: row.user_id,
            input: serde_json::from_str(&row.input)?,
            output: row
                .output
                .map(|text| serde_json::from_str(&text))
                .transpose()?,
            failure: row.failure,
            logs: serde_json::from_str(&row.logs)?,
            fuel: row.fuel,
            duration_us: row.duration_us,
            created_at: row.created_at,
            erased_at: row.erased_at,
            input_digest: row.input_digest,
            output_digest: row.output_digest,
        })
    }
}

/// The outcome of running a recorded decision again.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    pub decision_id: DecisionId,
    pub plugin_id: String,
    pub plugin_version: String,
    pub digest: String,
    pub function: String,
    /// True when the output is the same, byte for byte.
    pub identical: bool,
    pub recorded: Option<String>,
    pub replayed: Option<String>,
    /// Position of the first byte that differs.
    pub first_difference: Option<usize>,
    /// JSON pointer (RFC 6901) to the first value that differs; empty when the whole output does,
    /// null when there is no difference or only one of the calls answered.
    pub first_difference_pointer: Option<String>,
    pub recorded_fuel: i64,
    pub replayed_fuel: Option<u64>,
}

/// Filter of a list of decisions.
#[derive(Debug, Default)]
pub struct DecisionFilter<'a> {
    pub plugin_id: Option<&'a str>,
    pub function: Option<&'a str>,
    pub user_id: Option<UserId>,
    pub digest: Option<&'a str>,
    pub version: Option<&'a str>,
    pub outcome: Option<Outcome>,
    /// Made at or after this moment.
    pub since: Option<DateTime<Utc>>,
    /// Made before this moment.
    pub until: Option<DateTime<Utc>>,
    pub subscription_id: Option<SubscriptionId>,
    /// A coupon's code, upper-cased.
    pub coupon: Option<&'a str>,
    /// The number of a transaction.
    pub transaction: Option<i64>,
}
