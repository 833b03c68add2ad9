//! Provisioning: instances, and the reconciler that makes the cluster agree with the database.
//!
//! A purchase writes an instance ([`create`]) in its own transaction and wakes the worker after the
//! commit ([`Handle::wake`]). The worker works on due instances, each pass by a lease in the
//! database, until each has its desired state; a failure is visible on the instance and tried
//! again.

mod announcement;
mod attention;
pub mod capacity;
mod cluster_events;
mod cluster_watcher;
mod contest;
mod data_loss;
mod delivery;
mod directory;
pub mod domains;
pub mod drift;
mod entry;
mod evidence;
mod finality;
pub mod given;
pub mod health;
mod kubernetes;
pub mod lifecycle;
mod lost_lease;
mod marks;
pub mod model;
mod names;
mod passes;
mod plugin_calls;
mod pods;
mod provisioner;
mod reading;
mod recipe;
mod reconciler;
mod rehearsal;
mod removal;
pub mod render;
mod rest;
mod retry;
pub mod secrets;
mod status;
mod store;
mod tenancy;
mod updates;
pub mod version_moves;
pub mod view;
mod walls;
pub mod watching;
mod worker;

#[cfg(test)]
mod addition_tests;
#[cfg(test)]
mod cluster_events_tests;
#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod domain_tests;
#[cfg(test)]
mod entry_tests;
#[cfg(test)]
mod exclusion_tests;
#[cfg(test)]
mod frugality_tests;
#[cfg(test)]
mod healing_tests;
#[cfg(test)]
mod plain_words_tests;
#[cfg(test)]
mod rollout_tests;
#[cfg(test)]
mod rollout_time_tests;
#[cfg(test)]
mod test_service;
#[cfg(test)]
mod test_shop;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use sqlx::types::Json;

pub use capacity::{check_room, knows_room};
pub use data_loss::accept_data_loss;
pub use delivery::{
    Undeliverable, is_undeliverable, ran_since, try_again, undeliverable, was_delivered,
};
pub use entry::{Controller, Entry, EntryChoice, Gateway, GatewayController, Issuer};
pub use evidence::evidence;
pub use lifecycle::{Act, change, terminate};
pub use model::{Desired, Event, Halt, Instance, NewInstance, Pinned, Status};
pub use plugin_calls::Services;
pub use pods::{Mirror, Pods, Toleration};
pub use provisioner::{Choice, Provisioner};
pub use reading::{credentials, detail, detail_of_any, list, manifests, show, walk_events};
pub use recipe::{ChangeKind, Undone, diff::ObjectChange};
pub use rehearsal::{rehearse_change, rehearse_purchase};
pub use render::Classes;
pub use secrets::unreadable;
pub use updates::{Update, make_update, prepare_update};
pub use version_moves::{Moved, Moves, carry_out};
pub use worker::{Handle, ProvisionerStatus, Worker};

use self::names::{instance_name, namespace_of};
use crate::{
    Code, Error, Result,
    catalog::PlanRoom,
    cluster::ClusterError,
    crypto::Vault,
    db::{Clock, Conn, Db, new_id},
    identity::Identity,
    ids::{PlanId, SubscriptionId, UserId},
    plugins::Registry,
    throttle::Throttle,
};

/// Operator's settings for provisioning.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub provisioner: Choice,
    /// Path of the kubeconfig; `None` looks in the usual places.
    pub kubeconfig: Option<PathBuf>,
    /// Folder of the directory provisioner.
    pub folder: PathBuf,
    /// Name of the `ClusterSecretStore` that the Secrets of that folder are made from.
    pub secret_store: Option<String>,
    pub classes: Classes,
    /// Namespace of the ingress controller's or the gateway's pods, which may reach the customers';
    /// `None` follows the way in.
    pub ingress_namespace: Option<String>,
    /// Number of instances worked on at once.
    pub parallel: usize,
    /// Interval between comparisons of a settled instance with the cluster.
    pub resync: Duration,
    /// Time for which an instance must be at fault before it is restarted.
    pub patience: Duration,
    /// Time for which the history of health is kept.
    pub health_kept: TimeDelta,
    /// Longest time that a change may take to be rolled out; then it is undone.
    pub rollout: Duration,
    pub capacity: capacity::Settings,
    pub domains: domains::Settings,
}

/// Namespace of the ingress controller that most clusters have.
const INGRESS_NAMESPACE: &str = "ingress-nginx";

impl Settings {
    /// Returns the namespace whose pods lead requests to the customers'.
    pub fn entry_namespace(&self) -> &str {
        match (&self.ingress_namespace, &self.classes.entry) {
            (Some(namespace), _) => namespace,
            (None, entry) if entry.choice == EntryChoice::Gateway => &entry.gateway.namespace,
            (None, _) => INGRESS_NAMESPACE,
        }
    }
}

/// Instances of the shop: the database, the clock, the vault, the plugins and the worker.
#[derive(Debug, Clone)]
pub struct Instances {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub vault: Arc<Vault>,
    pub(crate) plugins: Arc<Registry>,
    pub handle: Handle,
    /// Reads of credentials by customer: each is recorded for good.
    looks: Arc<Throttle<UserId>>,
    room: capacity::Room,
    /// Offers whose alert was looked for a moment ago.
    reassured: Arc<rehearsal::Reassured>,
}

impl Instances {
    /// Returns the room of the cluster for further instances, for the catalogue.
    pub fn plan_room(&self) -> PlanRoom {
        self.room.plans.clone()
    }
}

/// Reads of credentials that a customer has in an hour, on one server.
const LOOKS: u32 = 60;

/// Chooses the provisioner and prepares the worker; [`Worker::run`] starts it.
///
/// # Errors
/// When Kubernetes is wanted and no configuration for it is found.
pub async fn prepare(
    settings: Settings,
    db: Db,
    clock: Clock,
    vault: Arc<Vault>,
    registry: Arc<Registry>,
    identity: Arc<Identity>,
) -> Result<(Instances, Worker<Arc<Registry>>), ClusterError> {
    let ingress_namespace = settings.entry_namespace().to_owned();
    let Settings {
        provisioner: choice,
        kubeconfig,
        folder,
        secret_store,
        ..
    } = settings;
    let lives_in_cluster = lives_in_cluster(&db, &folder).await;
    let directory = directory::Directory::new(folder, secret_store);
    let provisioner = Provisioner::select(choice, kubeconfig, directory, lives_in_cluster).await?;
    tracing::info!(
        provisioner = provisioner.name(),
        place = provisioner.place(),
        "provisioner.selected"
    );
    let reconciler = reconciler::Reconciler {
        db: db.clone(),
        clock: clock.clone(),
        vault: Arc::clone(&vault),
        services: Arc::clone(&registry),
        provisioner,
        classes: settings.classes,
        ingress_namespace,
        resync: settings.resync,
        patience: settings.patience,
        rollout: settings.rollout,
        turns: tenancy::Turns::default(),
        looks: rest::FullLooks::default(),
    };
    let (handle, worker) = Worker::new(reconciler, settings.parallel, identity);
    let looks = Throttle::new(LOOKS, TimeDelta::hours(1), "reads of credentials");
    let instances = Instances {
        looks: Arc::new(looks),
        room: capacity::Room::new(settings.capacity, &handle.classes().pods),
        reassured: Arc::default(),
        db,
        clock,
        vault,
        plugins: registry,
        handle,
    };
    Ok((instances, worker))
}

/// Returns true when an instance was applied and has no folder: then it was applied to a cluster.
/// Returns true as well when the database does not answer, because that loses nothing.
async fn lives_in_cluster(db: &Db, folder: &Path) -> bool {
    let applied = async { store::applied(&mut db.read().await?).await };
    match applied.await {
        Ok(applied) => applied
            .iter()
            .any(|(namespace, name)| !folder.join(namespace).join(name).is_dir()),
        Err(_) => true,
    }
}

/// Writes a new instance, its secrets and the request to provision it, in the caller's transaction.
///
/// # Errors
/// When the database refuses; nothing of it stays then.
pub async fn create(
    conn: &mut Conn,
    clock: &Clock,
    vault: &Vault,
    new: NewInstance,
) -> Result<Instance> {
    let (secrets, given) = (new.secrets.clone(), new.given.clone());
    let instance = draft(clock, new);
    store::insert(conn, &instance).await?;
    for spec in &secrets {
        match given.get(&spec.name) {
            Some(value) => {
                let named = (instance.id, spec.name.as_str());
                secrets::keep(conn, vault, named, value.reveal()).await?;
            }
            None => secrets::generate(conn, vault, instance.id, spec).await?,
        }
    }
    record_event(conn, clock, &instance).await?;
    Ok(instance)
}

/// Message of an instance that no pass has looked at.
const WAITING: &str = "Waiting to be set up.";

/// Returns true for an instance as it was bought: no pass has written anything about it, in its row or elsewhere.
fn is_untouched(instance: &Instance) -> bool {
    instance.generation == 1 && instance.status == Status::Pending && instance.message == WAITING
}

/// Returns a new instance under a name of its own, written nowhere yet.
fn draft(clock: &Clock, new: NewInstance) -> Instance {
    let now = clock.now();
    let name = instance_name(&new.service);
    Instance {
        id: new_id(clock),
        subscription_id: new.subscription_id,
        user_id: new.user_id,
        plan_id: new.plan_id,
        plugin_digest: new.plugin_digest,
        hostname: new.base_domain.map(|domain| format!("{name}.{domain}")),
        name,
        namespace: namespace_of(new.user_id),
        settings: Json(new.settings),
        images: Json(new.images),
        sizes: new.sizes,
        config: Json(new.config),
        desired: Desired::Running,
        halt: None,
        status: Status::Pending,
        message: WAITING.to_owned(),
        generation: 1,
        observed_generation: 0,
        applied: Json(Vec::new()),
        manifests_decision_id: None,
        failures: 0,
        failure_cause: None,
        next_attempt_at: now,
        delivered_at: None,
        ready_at: None,
        refusal: None,
        final_generation: None,
        last_ran_at: None,
        corrections: 0,
        quiet_until: None,
        good_digest: None,
        good_settings: None,
        good_images: None,
        good_sizes: None,
        good_config: None,
        unproven_generation: None,
        rollout_since: None,
        rollout_held_since: None,
        rollout_begun_at: None,
        undone: None,
        failed_recipe: None,
        restarted_at: None,
        due_by: None,
        reapply_asked_at: None,
        checked_at: None,
        claims: Json(Vec::new()),
        created_at: now,
        updated_at: now,
    }
}

/// Changes the plan of a subscription's instance in the caller's transaction, and returns the new
/// generation.
///
/// # Errors
/// `INVALID_STATE` when there is no instance, it is on its way out, or another change of it is not
/// proven to work yet.
pub async fn change_plan(
    conn: &mut Conn,
    clock: &Clock,
    subscription_id: SubscriptionId,
    plan_id: PlanId,
    message: &str,
) -> Result<i64> {
    move_to_plan(conn, clock, subscription_id, plan_id, (message, None)).await
}

/// Puts a subscription's instance back into the plan that it had, in the caller's transaction; the
/// reason is for its owner.
///
/// # Errors
/// As [`change_plan`].
pub async fn restore_plan(
    conn: &mut Conn,
    clock: &Clock,
    subscription_id: SubscriptionId,
    plan_id: PlanId,
    reason: &str,
) -> Result<i64> {
    let undone = Undone {
        at: clock.now(),
        change: ChangeKind::Plan,
        reason: reason.to_owned(),
    };
    let message = undone.message();
    let how = (message.as_str(), Some(&undone));
    move_to_plan(conn, clock, subscription_id, plan_id, how).await
}

async fn move_to_plan(
    conn: &mut Conn,
    clock: &Clock,
    subscription_id: SubscriptionId,
    plan_id: PlanId,
    how: (&str, Option<&Undone>),
) -> Result<i64> {
    let changed = store::change_plan(conn, subscription_id, plan_id, how, clock.now()).await?;
    let Some(instance) = changed else {
        let seen = store::of_subscription(conn, subscription_id).await?;
        seen.as_ref().map_or(Ok(()), lifecycle::check_is_proven)?;
        let message = "This subscription has no instance that could change.";
        return Err(Error::new(Code::InvalidState, message));
    };
    // The size when the instance was last well, and not the one that the plan has now.
    let (_, undone) = how;
    if let Some(good) = instance.good_sizes.filter(|_| undone.is_some()) {
        store::put_sizes(conn, instance.id, good.0).await?;
    }
    record_event(conn, clock, &instance).await?;
    Ok(instance.generation)
}

/// Returns the plugin version that a subscription's instance is pinned to.
///
/// # Errors
/// `INVALID_STATE` when there is no instance.
pub async fn pinned(conn: &mut Conn, subscription_id: SubscriptionId) -> Result<Pinned> {
    store::pinned(conn, subscription_id)
        .await?
        .ok_or_else(no_instance)
}

fn no_instance() -> Error {
    Error::new(Code::InvalidState, "This subscription has no instance.")
}

/// Returns the Secret object of an instance with its values, for manifests applied by hand.
///
/// # Errors
/// `NOT_FOUND` for an unknown name, or one that is gone; as [`Vault::open`].
pub async fn secret_manifest(
    conn: &mut Conn,
    vault: &Vault,
    name: &str,
) -> Result<serde_json::Value> {
    let instance = store::live_instance(conn, name).await?;
    let instance = instance.ok_or_else(|| Error::not_found("instance"))?;
    let secrets = secrets::open(conn, vault, &instance).await?;
    Ok(secrets::manifest(&instance, &secrets))
}

/// Records the new status of an instance among its events.
async fn record_event(conn: &mut Conn, clock: &Clock, instance: &Instance) -> Result<()> {
    store::insert_event(
        conn,
        new_id(clock),
        instance.id,
        instance.status,
        &instance.message,
        instance.updated_at,
    )
    .await?;
    Ok(())
}
