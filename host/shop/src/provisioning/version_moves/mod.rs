//! Instances stay on the plugin version, the template settings and the images they were made with until
//! an administrator moves them: with a preview of what that changes, one by one in a transaction each,
//! some of them first, and back in the same way. Those that fail halt the move of the others.

mod halt;
mod share;
mod store;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use dermaga_runtime::Plugin;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

pub use self::halt::HaltedBy;
use self::halt::Roll;
use super::{
    Instances,
    model::Instance,
    recipe::{self, Preview, Recipe, diff::ObjectChange},
    render::RenderError,
    store as instances_store,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, By, Event, Subject},
    db::Conn,
    ids::{InstanceId, SubscriptionId, UserId},
    plugins, text_enum,
    time_budget::TimeBudget,
};

/// Maximum of instances that one request moves; the next request continues after them.
pub const MOST_AT_ONCE: u16 = 100;

/// Target of a move.
#[derive(Debug, Clone)]
pub enum Target {
    /// Another version of a plugin, with the present settings, images and sizes of the template.
    Version {
        plugin_id: String,
        /// SHA-256 of the version.
        to: String,
        /// Only instances on this version.
        from: Option<String>,
    },
    /// The present settings, images and sizes of a service's template, with the version that each instance is on.
    Settings {
        /// Slug of the service.
        service: String,
    },
}

/// Selection of the instances to move, and their target.
#[derive(Debug, Clone)]
pub struct Order {
    pub target: Target,
    /// Only instances with these ids.
    pub instances: Option<Vec<InstanceId>>,
    /// Only instances after this one, in the order of their ids.
    pub after: Option<InstanceId>,
    /// Maximum number of instances.
    pub limit: u16,
    /// Only so many of a hundred, the same ones each time: a larger share contains a smaller one.
    pub share: Option<u8>,
    /// Only reports the changes.
    pub dry_run: bool,
    /// Moves instances although others failed with the same target.
    pub despite_failures: bool,
}

impl Order {
    /// Returns true when failures of others halt it.
    const fn can_be_halted(&self) -> bool {
        !self.dry_run && !self.despite_failures
    }
}

text_enum! {
    /// Outcome of the move of one instance.
    pub enum MoveOutcome {
        /// It can be moved.
        Ready = "READY",
        Moved = "MOVED",
        /// It stays on its version; the reason is given.
        Refused = "REFUSED",
    }
}

/// One instance: what a move changes of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    pub instance_id: InstanceId,
    pub name: String,
    pub user_id: UserId,
    /// SHA-256 of the version it was on.
    pub from: String,
    pub outcome: MoveOutcome,
    #[serde(serialize_with = "crate::language::in_words_if_any")]
    pub reason: Option<String>,
    /// Secrets that the version needs and the instance has not; they are generated with the move.
    pub new_secrets: Vec<String>,
    pub changes: Vec<ObjectChange>,
    /// The objects' unified diff as YAML, the values of secrets masked.
    pub diff: String,
    /// Its pods are replaced, or some of them go.
    pub restarts: bool,
}

/// Changes that a move made, or would make.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Moves {
    /// Plugin id; absent for a move to a template's settings.
    pub plugin_id: Option<String>,
    /// SHA-256 of the version; absent for a move to a template's settings.
    pub to: Option<String>,
    /// Slug of the service; absent for a move to a version.
    pub service: Option<String>,
    pub applied: bool,
    pub instances: Vec<Moved>,
    /// Ids in the request that are not moved: they are unknown, removed, of another plugin or service,
    /// or as wanted already, or not in the share.
    pub skipped: Vec<InstanceId>,
    /// Number of instances that this request did not reach: beyond `limit`, for lack of time, or after a halt.
    pub remaining: i64,
    /// Value of `after` for the next request; null when no instance is left.
    pub next: Option<InstanceId>,
    /// Instances that failed with this target, so that no other is moved without `despiteFailures`; empty when
    /// that was sent.
    pub halted_by: Vec<HaltedBy>,
}

/// Moves instances to another version of their plugin or to the present settings of their template,
/// each in a transaction of its own; the reconciler does the rest. Instances that cannot be moved keep
/// running as they are.
///
/// Ends between two instances when the time of the request is used up; the next one continues after them.
///
/// The reconciler proves or undoes each move by itself, long after the request. So failures of earlier
/// requests refuse this one, and those that are found while it is at work end it; what it has moved by
/// then is not taken back.
///
/// # Errors
/// `NOT_FOUND` for an unknown version, one of another plugin and an unknown service, `INVALID_STATE`
/// for a retired version, `PLUGIN_UNAVAILABLE` when it does not load, `ROLL_HALTED` when instances
/// failed with the same target. A fault of one instance is in its answer.
pub async fn carry_out(
    instances: &Instances,
    by: By<'_>,
    order: &Order,
    mut budget: TimeBudget,
) -> Result<Moves> {
    let version = check_target(instances, &order.target).await?;
    let mut conn = instances.db.read().await?;
    let roll = Roll::of(&mut conn, order).await?;
    let failures = roll.failures(&mut conn).await?;
    let found = store::candidates(&mut conn, order).await?;
    drop(conn);
    if order.can_be_halted() && !failures.is_empty() {
        return Err(halt::refusal(&failures));
    }
    let (despite, mut halted_by) = if order.despite_failures {
        (failures.len(), Vec::new())
    } else {
        (0, failures)
    };
    let chosen = share::chosen(found, order);
    let named = order.instances.iter().flatten().copied();
    let skipped =
        named.filter(|id| order.after.is_none_or(|after| *id > after) && !chosen.contains(id));
    let skipped = skipped.collect();
    let total = chosen.len();
    let mut moved = Vec::new();
    for id in chosen.into_iter().take(order.limit.into()) {
        if !budget.allows_another() {
            break;
        }
        // The reconciler may know by now that an earlier one of this request fails.
        if order.can_be_halted() && !moved.is_empty() {
            halted_by = roll.failures(&mut instances.db.read().await?).await?;
            if !halted_by.is_empty() {
                break;
            }
        }
        moved.push(one(instances, by, (order, version.as_ref(), despite), id).await?);
    }
    if !order.dry_run {
        instances.handle.wake();
    }
    let remaining = total.saturating_sub(moved.len());
    let last = moved.last().map(|moved| moved.instance_id);
    let (plugin_id, to, service) = match &order.target {
        Target::Version { plugin_id, to, .. } => (Some(plugin_id.clone()), Some(to.clone()), None),
        Target::Settings { service } => (None, None, Some(service.clone())),
    };
    Ok(Moves {
        plugin_id,
        to,
        service,
        applied: !order.dry_run,
        instances: moved,
        skipped,
        remaining: i64::try_from(remaining).unwrap_or(i64::MAX),
        next: last.filter(|_| remaining > 0),
        halted_by,
    })
}

/// Returns the version that instances go to, when it is another one.
async fn check_target(instances: &Instances, target: &Target) -> Result<Option<Plugin>> {
    match target {
        Target::Version { plugin_id, to, .. } => {
            let plugin = instances.plugins.version(to).await?;
            if plugin.about().id != *plugin_id {
                return Err(Error::not_found("version of this plugin"));
            }
            plugins::refuse_retired(&mut instances.db.read().await?, to).await?;
            Ok(Some(plugin))
        }
        Target::Settings { service } => {
            let mut conn = instances.db.read().await?;
            if store::has_service(&mut conn, service).await? {
                Ok(None)
            } else {
                Err(Error::not_found("service"))
            }
        }
    }
}

async fn one(
    instances: &Instances,
    by: By<'_>,
    (order, version, despite): (&Order, Option<&Plugin>, usize),
    id: InstanceId,
) -> Result<Moved> {
    let seen = instances_store::instance(&mut instances.db.read().await?, id).await?;
    let instance = seen.ok_or_else(|| Error::not_found("instance"))?;
    let refused = |reason: String| Moved {
        instance_id: instance.id,
        name: instance.name.clone(),
        user_id: instance.user_id,
        from: instance.plugin_digest.clone(),
        outcome: MoveOutcome::Refused,
        reason: Some(reason),
        new_secrets: Vec::new(),
        changes: Vec::new(),
        diff: String::new(),
        restarts: false,
    };
    let changed = || refused("It was changed by another request. Try again.".to_owned());
    // It was a candidate before others moved it; read after the instance, so that a move in between is seen by either.
    let alone = Order {
        instances: Some(vec![id]),
        after: None,
        ..order.clone()
    };
    let candidates = store::candidates(&mut instances.db.read().await?, &alone).await?;
    if candidates.is_empty() {
        return Ok(changed());
    }
    let (target, preview) = match prepare(instances, version, &instance).await {
        Ok(prepared) => prepared,
        Err(RenderError::Refused { detail, .. }) => return Ok(refused(detail)),
        // A database failure ends the request; all else is about this instance and this version.
        Err(RenderError::Host(error)) if error.code == Code::Unavailable => return Err(error),
        Err(RenderError::Host(error)) => return Ok(refused(in_words(&error))),
    };
    let mut outcome = MoveOutcome::Ready;
    if !order.dry_run {
        let how = (order, &target, despite);
        match apply(instances, by, how, &instance, &preview).await {
            Ok(true) => outcome = MoveOutcome::Moved,
            Ok(false) => return Ok(changed()),
            Err(error) if error.code == Code::InvalidState => return Ok(refused(in_words(&error))),
            Err(error) => return Err(error),
        }
    }
    let names = preview.new_secrets.into_iter().map(|spec| spec.name);
    Ok(Moved {
        outcome,
        reason: None,
        new_secrets: names.collect(),
        changes: preview.difference.changes,
        diff: preview.difference.text,
        restarts: preview.difference.restarts,
        ..refused(String::new())
    })
}

fn in_words(error: &Error) -> String {
    let details = error.details.iter();
    let details = details.map(|detail| format!(" {}: {}", detail.field, detail.message));
    format!("{}{}", error.message, details.collect::<String>())
}

/// Refuses an instance whose period is over: the next one is priced by the version that it has then.
async fn refuse_overdue(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
    now: DateTime<Utc>,
) -> Result<()> {
    if store::is_overdue(conn, subscription_id, now).await? {
        let message = "Its period is over and the next one is not charged yet. Renew it first.";
        return Err(Error::new(Code::InvalidState, message));
    }
    Ok(())
}

/// Renders an instance as it would be after the move.
async fn prepare(
    instances: &Instances,
    version: Option<&Plugin>,
    instance: &Instance,
) -> Result<(Plugin, Preview), RenderError> {
    let mut conn = instances.db.read().await?;
    let (subscription_id, now) = (instance.subscription_id, instances.clock.now());
    refuse_overdue(&mut conn, subscription_id, now).await?;
    let present = store::present(&mut conn, instance.id).await?;
    drop(conn);
    let target = match version {
        Some(version) => version.clone(),
        None => instances.plugins.version(&instance.plugin_digest).await?,
    };
    let recipe = Recipe {
        plugin_digest: target.digest().to_string(),
        settings: present.settings.0,
        images: present.images.0,
        sizes: present.sizes,
        ..Recipe::of(instance)
    };
    let preview = recipe::preview(instances, &target, instance, recipe).await?;
    Ok((target, preview))
}

/// Puts the new recipe into the instance and asks the reconciler for it; returns false when the instance
/// has changed since it was read.
///
/// # Errors
/// `INVALID_STATE` when the version was retired since, or the instance's period is over.
async fn apply(
    instances: &Instances,
    by: By<'_>,
    (order, target, despite): (&Order, &Plugin, usize),
    seen: &Instance,
    preview: &Preview,
) -> Result<bool> {
    let about = target.about();
    let (message, act, mut details) = match &order.target {
        Target::Version { to, .. } => (
            format!("Being moved to {} {}.", about.id, about.version),
            AuditAct::InstanceMoved,
            json!({ "plugin": about.id, "from": seen.plugin_digest, "to": to }),
        ),
        Target::Settings { service } => (
            "Being moved to new settings of its template.".to_owned(),
            AuditAct::SettingsMoved,
            json!({ "service": service }),
        ),
    };
    // Their number alone: customers read the acts upon what is theirs.
    if let (true, Some(details)) = (despite > 0, details.as_object_mut()) {
        details.insert("despiteFailures".to_owned(), json!(despite));
    }
    let mut conn = instances.db.begin().await?;
    // A roll of many takes a while, in which its version may be retired and periods end.
    if let Target::Version { to, .. } = &order.target {
        plugins::keep_unretired(&mut conn, to).await?;
    }
    refuse_overdue(&mut conn, seen.subscription_id, instances.clock.now()).await?;
    if !recipe::change(
        &mut conn,
        (&instances.clock, &instances.vault),
        seen,
        preview,
        &message,
    )
    .await?
    {
        return Ok(false);
    }
    record(&mut conn, instances, (by, act), seen, details).await?;
    conn.commit().await?;
    tracing::info!(instance.id = %seen.id, %act, "instance.moving");
    Ok(true)
}

async fn record(
    conn: &mut Conn,
    instances: &Instances,
    (by, act): (By<'_>, AuditAct),
    seen: &Instance,
    details: Value,
) -> Result<()> {
    let event = Event::new(act, Subject::Instance(seen.id), details);
    audit::record_by(conn, &instances.clock, by, event).await
}
