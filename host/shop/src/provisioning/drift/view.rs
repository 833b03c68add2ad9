//! Drift as administrators read it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::findings::Finding;
use crate::{
    db::Clock,
    ids::{InstanceId, SubscriptionId, UserId},
    text_enum,
};

text_enum! {
    /// Kind of a difference between the database and the cluster.
    #[derive(PartialOrd, Ord)]
    pub enum DriftKind {
        /// In the cluster with Dermaga's labels, of an instance that has ended or that this database
        /// does not know.
        Orphan = "ORPHAN",
        /// Applied by the database's account, and missing in the cluster.
        Ghost = "GHOST",
        /// In a customer's namespace, and made by another party.
        Foreign = "FOREIGN",
        /// Applied by Dermaga, and without its labels now.
        Unlabelled = "UNLABELLED",
    }
}

text_enum! {
    /// Repair of a difference.
    pub enum RepairAction {
        /// Puts Dermaga's labels back.
        Adopt = "ADOPT",
        /// Removes the object from the cluster.
        Delete = "DELETE",
        /// Applies the instance again.
        Reapply = "REAPPLY",
    }
}

/// A difference between the database and the cluster.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftView {
    pub drift: DriftKind,
    pub api_version: String,
    /// Kubernetes' kind, such as `ConfigMap`.
    pub kind: String,
    /// For a namespace, its own name.
    pub namespace: String,
    pub name: String,
    /// Kubernetes' id of this very object; absent for one that is missing.
    pub uid: Option<String>,
    /// Name of the instance that it belongs or belonged to, where known.
    pub instance: Option<String>,
    pub instance_id: Option<InstanceId>,
    pub subscription_id: Option<SubscriptionId>,
    /// Id of the customer.
    pub owner: Option<UserId>,
    /// Time at which it was made; for a missing one, at which its instance changed last.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub since: Option<DateTime<Utc>>,
    pub age_seconds: i64,
    /// True while its removal is under way.
    pub is_leaving: bool,
    /// Reason that it is listed, in a sentence.
    #[serde(serialize_with = "crate::language::in_words")]
    pub reason: String,
    /// Effect of its repair, in a sentence; the way to mend it by hand where there is none.
    #[serde(serialize_with = "crate::language::in_words")]
    pub repair: String,
    /// The one repair that fits; absent where none does.
    pub action: Option<RepairAction>,
    /// True when it is repaired only if it is named, never with all others of its kind.
    pub by_name_only: bool,
}

impl From<Finding> for DriftView {
    fn from(found: Finding) -> Self {
        let seen = found.seen.as_ref();
        // Times of the cluster have nothing to do with a shop's clock that is moved.
        let age = found
            .since
            .map(|at| (Clock::system().now() - at).num_seconds());
        Self {
            drift: found.drift,
            api_version: found.object.api_version,
            kind: found.object.kind,
            namespace: found.namespace,
            name: found.object.name,
            uid: seen.map(|seen| seen.uid.clone()),
            is_leaving: seen.is_some_and(|seen| seen.is_leaving),
            instance: found.instance,
            instance_id: found.of.as_ref().map(|of| of.id),
            subscription_id: found.of.as_ref().map(|of| of.subscription_id),
            owner: found.owner,
            since: found.since,
            age_seconds: age.unwrap_or_default().max(0),
            reason: found.reason,
            repair: found.remedy.words,
            action: found.remedy.action,
            by_name_only: found.remedy.by_name_only,
        }
    }
}
