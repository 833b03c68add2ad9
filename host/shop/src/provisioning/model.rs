//! Instances: desired state, status, and the findings of one pass.

mod pass;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use chrono::{DateTime, Utc};
use dermaga_runtime::{contract, gate::Exception};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

pub(super) use self::pass::{Failure, GivenUp, NewStatus, RolloutTime};
use super::{finality::Refusal, health::CheckSource, recipe::Undone};
use crate::{
    Error, Result,
    catalog::{Sizes, Tier},
    cluster::{ClaimRef, ObjectRef},
    crypto::Secret,
    ids::{DecisionId, InstanceId, PlanId, SubscriptionId, UserId},
    money::Rupiah,
    text_enum,
};

text_enum! {
    /// Desired state of an instance.
    pub enum Desired {
        Running = "RUNNING",
        /// Scaled to zero, its data kept.
        Stopped = "STOPPED",
        /// Removed, its data too.
        Terminated = "TERMINATED",
    }
}

text_enum! {
    /// Party that keeps an instance stopped.
    pub enum Halt {
        Owner = "OWNER",
        /// The subscription is suspended.
        Unpaid = "UNPAID",
        OwnerAndUnpaid = "OWNER_AND_UNPAID",
        /// The subscription is frozen, as its customer asked.
        Frozen = "FROZEN",
        OwnerAndFrozen = "OWNER_AND_FROZEN",
    }
}

text_enum! {
    /// Cause of a failed attempt.
    pub enum Cause {
        /// The cluster does not answer.
        Away = "AWAY",
        /// Something in the cluster is still under way.
        NotYet = "NOT_YET",
        /// The customer's quota in the cluster is used up.
        NoRoom = "NO_ROOM",
        /// The plugin, the gate or the cluster refuses it.
        Refused = "REFUSED",
        /// A volume claim that held its data is gone, or is another one.
        DataLost = "DATA_LOST",
        /// The host failed, or has not the plugin version.
        Host = "HOST",
    }
}

text_enum! {
    /// Status of an instance.
    pub enum Status {
        /// Waits for its first attempt, or for the cluster.
        Pending = "PENDING",
        /// Applied, and not ready yet.
        Provisioning = "PROVISIONING",
        Running = "RUNNING",
        /// Its manifests are in a folder; their further state is unknown.
        Written = "WRITTEN",
        /// Works in part, or ran and waits for its new desired state.
        Degraded = "DEGRADED",
        Failed = "FAILED",
        Stopped = "STOPPED",
        Terminating = "TERMINATING",
        /// Proven to be gone.
        Terminated = "TERMINATED",
    }
}

/// Instance that a purchase asks for.
#[derive(Debug, Clone)]
pub struct NewInstance {
    pub subscription_id: SubscriptionId,
    pub user_id: UserId,
    pub plan_id: PlanId,
    /// Slug of the service; begins the instance's name.
    pub service: String,
    /// Plugin version that it is created with, and keeps until it is moved.
    pub plugin_digest: String,
    /// Settings that the service's template passes to that version.
    pub settings: contract::Settings,
    /// Images that the service's template names.
    pub images: BTreeMap<String, String>,
    /// Size of the plan.
    pub sizes: Sizes,
    /// Valid against the schema and accepted by `check`.
    pub config: Value,
    /// Secrets that the host generates for it.
    pub secrets: Vec<contract::SecretSpec>,
    /// Values that the customer gave for some of them, by name.
    pub given: BTreeMap<String, Secret>,
    /// Domain under which it gets a host name of its own; `None` when no endpoint is public.
    pub base_domain: Option<String>,
}

/// An instance as the database has it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Instance {
    pub id: InstanceId,
    pub subscription_id: SubscriptionId,
    pub user_id: UserId,
    pub plan_id: PlanId,
    pub plugin_digest: String,
    /// Settings that the service's template passed to that version; they move with it.
    pub settings: Json<contract::Settings>,
    /// The only images that it may run, by the plugin's name for them; they move with the settings.
    pub images: Json<BTreeMap<String, String>>,
    /// Size of its plan when it came to it; later ones of the plan reach it with the settings.
    #[sqlx(flatten)]
    pub sizes: Sizes,
    /// Prefix of its objects' names, unique in the cluster.
    pub name: String,
    pub namespace: String,
    pub hostname: Option<String>,
    pub config: Json<Value>,
    pub desired: Desired,
    /// Party that keeps it stopped.
    pub halt: Option<Halt>,
    pub status: Status,
    /// Reason of the status, in a sentence a customer understands.
    pub message: String,
    pub generation: i64,
    pub observed_generation: i64,
    pub applied: Json<Vec<ObjectRef>>,
    /// Claims that hold its data, as they were first seen.
    pub claims: Json<Vec<ClaimRef>>,
    pub manifests_decision_id: Option<DecisionId>,
    /// Attempts that failed since the last that did not.
    pub failures: i64,
    /// Cause of those failures.
    pub failure_cause: Option<Cause>,
    pub next_attempt_at: DateTime<Utc>,
    /// Time of the first delivery: seen to run, or written.
    pub delivered_at: Option<DateTime<Utc>>,
    /// Time at which it was first seen to run; what is only written never was.
    pub ready_at: Option<DateTime<Utc>>,
    /// The refusals in a row of its generation.
    pub refusal: Option<Json<Refusal>>,
    /// The generation that will never be set up.
    pub final_generation: Option<i64>,
    /// Time at which it was last seen to run, or to be written.
    pub last_ran_at: Option<DateTime<Utc>>,
    /// Times in a row that another controller's changes were taken back.
    pub corrections: i64,
    /// Time until which another controller's changes are left alone.
    pub quiet_until: Option<DateTime<Utc>>,
    /// Plugin version with which it was last seen to be well.
    pub good_digest: Option<String>,
    /// Template settings at that time.
    pub good_settings: Option<Json<contract::Settings>>,
    /// Images at that time.
    pub good_images: Option<Json<BTreeMap<String, String>>>,
    /// Size at that time.
    pub good_sizes: Option<Json<Sizes>>,
    /// Configuration at that time.
    pub good_config: Option<Json<Value>>,
    /// The generation of a change that is not proven to work yet.
    pub unproven_generation: Option<i64>,
    /// Time since which the cluster works on that change.
    pub rollout_since: Option<DateTime<Utc>>,
    /// Begin of the time that does not count for it, while that lasts.
    pub rollout_held_since: Option<DateTime<Utc>>,
    /// Time at which the cluster began to work on it.
    pub rollout_begun_at: Option<DateTime<Utc>>,
    /// The last change, when it did not work.
    pub undone: Option<Json<Undone>>,
    /// Fingerprint of the last recipe that it was moved to and that did not work, until the same works.
    pub failed_recipe: Option<String>,
    /// Time of the last restart that was asked for.
    pub restarted_at: Option<DateTime<Utc>>,
    /// Cause of the next check where it is not the time.
    pub due_by: Option<CheckSource>,
    /// Time at which all of its objects were asked to be applied again, until they are.
    pub reapply_asked_at: Option<DateTime<Utc>>,
    /// Time of the last check.
    pub checked_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Hash of a status, with the generation and the plugin version that it was decided from.
pub(super) fn status_digest(
    (generation, plugin_digest): (i64, &str),
    (status, message): (Status, &str),
) -> u64 {
    let mut hasher = DefaultHasher::new();
    (generation, plugin_digest).hash(&mut hasher);
    (status.as_str(), message).hash(&mut hasher);
    hasher.finish()
}

impl Status {
    /// Returns true for an instance that its customer has: it runs, in whole or in part, or its
    /// manifests are written.
    pub const fn is_delivered(self) -> bool {
        self.is_seen_to_run() || matches!(self, Self::Written)
    }

    /// Returns true for an instance that is seen to run, in whole or in part. Nothing is known of
    /// what is written into a folder.
    pub const fn is_seen_to_run(self) -> bool {
        matches!(self, Self::Running | Self::Degraded)
    }
}

impl Instance {
    /// Hash of a status, with all that it was decided from but the objects in the cluster.
    pub(super) fn status_digest(&self, status: Status, message: &str) -> u64 {
        status_digest((self.generation, &self.plugin_digest), (status, message))
    }

    /// Name of the Secret object in which the host keeps the generated secrets.
    pub fn secret_object(&self) -> String {
        format!("{}-secrets", self.name)
    }
}

/// Plugin version and template settings that a subscription keeps.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Pinned {
    pub plugin_digest: String,
    pub settings: Json<contract::Settings>,
    /// Configuration that is paid for: one that is not proven to work is not priced by.
    pub config: Json<Value>,
}

/// Terms of an instance, from its plan and its service.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Terms {
    pub service: String,
    pub plan: String,
    pub tier: Tier,
    /// Price at purchase, which later changes of the catalogue do not change.
    pub monthly_price: Rupiah,
    #[sqlx(flatten)]
    pub sizes: Sizes,
    pub pod_security_exceptions: Json<Vec<Exception>>,
}

impl Terms {
    /// # Errors
    /// When a size in the database is beyond what the contract can say.
    pub(super) fn resources(&self) -> Result<contract::Resources> {
        resources(&self.sizes)
    }

    /// # Errors
    /// As [`Terms::resources`].
    pub(super) fn plan_for_plugins(&self) -> Result<contract::Plan> {
        Ok(contract::Plan {
            slug: self.plan.clone(),
            tier: self.tier.into(),
            monthly_price: self.monthly_price.get(),
            resources: self.resources()?,
        })
    }
}

fn resources(sizes: &Sizes) -> Result<contract::Resources> {
    let size = |value: i64| u32::try_from(value).map_err(Error::internal);
    Ok(contract::Resources {
        cpu_millis: size(sizes.cpu_millis)?,
        memory_mib: size(sizes.memory_mib)?,
        storage_gib: size(sizes.storage_gib)?,
        replicas: size(sizes.replicas)?,
    })
}

/// A customer's instance with the terms of its plan and service.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Owned {
    #[sqlx(flatten)]
    pub instance: Instance,
    #[sqlx(flatten)]
    pub terms: Terms,
}

/// An instance in a customer's namespace, with its share of the namespace's limits.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Neighbour {
    pub name: String,
    pub desired: Desired,
    /// The largest volumes it may still have from a larger plan.
    pub kept_storage_gib: i64,
    #[sqlx(flatten)]
    pub sizes: Sizes,
    pub pod_security_exceptions: Json<Vec<Exception>>,
}

impl Neighbour {
    /// # Errors
    /// As [`Terms::resources`].
    pub(super) fn resources(&self) -> Result<contract::Resources> {
        resources(&self.sizes)
    }
}

/// One event in the life of an instance.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Event {
    pub id: Uuid,
    /// The status it had from then on.
    pub kind: String,
    pub message: String,
    pub created_at: DateTime<Utc>,
}

/// A rendering that was recorded as a decision.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Recorded {
    pub digest: String,
    pub plugin_id: String,
    pub plugin_version: String,
    /// Canonical JSON.
    pub input: String,
    /// Canonical JSON.
    pub output: String,
}
