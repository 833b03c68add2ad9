//! Instances stay on the plugin version they were made with until an administrator moves them: with
//! a preview of what that changes, one by one in a transaction each, and back in the same way.

mod diff;

use std::collections::BTreeSet;

use dermaga_runtime::{
    Plugin,
    contract::{Answer, ConfigCheck, SecretSpec, Settings, service},
};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::types::Json;
use utoipa::ToSchema;

use super::{
    Instances,
    model::{Instance, Terms},
    record_event,
    render::{RenderError, RenderInputs, render},
    secrets,
    secrets::Secrets,
    store,
};
use crate::{
    Code, Error, Result,
    audit::{self, Act, Event, Subject},
    cluster::masked,
    ids::{InstanceId, UserId},
    plugins::{self, Registry},
    schema, text_enum,
};

pub use diff::ObjectChange;

/// Maximum of instances that one request moves; the next request continues after them.
pub const MOST_AT_ONCE: u16 = 100;

/// Selection of the instances to move, and the target version.
#[derive(Debug, Clone)]
pub struct Order {
    pub plugin_id: String,
    /// SHA-256 of the target version.
    pub to: String,
    /// Only instances on this version.
    pub from: Option<String>,
    /// Only instances with these ids.
    pub instances: Option<Vec<InstanceId>>,
    /// Only instances after this one, in the order of their ids.
    pub after: Option<InstanceId>,
    /// Maximum number of instances.
    pub limit: u16,
    /// Only reports the changes.
    pub dry_run: bool,
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
    pub plugin_id: String,
    pub to: String,
    pub applied: bool,
    pub instances: Vec<Moved>,
    /// Number of instances that this request did not reach.
    pub remaining: i64,
    /// Value of `after` for the next request; null when no instance is left.
    pub next: Option<InstanceId>,
}

/// Moves instances of a service plugin to another of its versions, each in a transaction of its
/// own; the reconciler does the rest. Instances that cannot be moved keep running as they are.
///
/// # Errors
/// `NOT_FOUND` for an unknown version or one of another plugin, `INVALID_STATE` for a retired one,
/// `PLUGIN_UNAVAILABLE` when it does not load. A fault of one instance is in its answer.
pub async fn carry_out(instances: &Instances, actor_id: UserId, order: &Order) -> Result<Moves> {
    let target = instances.plugins.version(&order.to).await?;
    if target.about().id != order.plugin_id {
        return Err(Error::not_found("version of this plugin"));
    }
    let mut conn = instances.db.read().await?;
    plugins::refuse_retired(&mut conn, &order.to).await?;
    let seen = store::pinned_elsewhere(&mut conn, order).await?;
    let total = store::count_pinned_elsewhere(&mut conn, order).await?;
    drop(conn);
    let mut moved = Vec::with_capacity(seen.len());
    for instance in seen {
        moved.push(one(instances, actor_id, &target, instance, order.dry_run).await?);
    }
    if !order.dry_run {
        instances.handle.wake();
    }
    let shown = i64::try_from(moved.len()).unwrap_or(i64::MAX);
    let remaining = total.saturating_sub(shown);
    let last = moved.last().map(|moved| moved.instance_id);
    Ok(Moves {
        plugin_id: order.plugin_id.clone(),
        to: order.to.clone(),
        applied: !order.dry_run,
        instances: moved,
        remaining,
        next: last.filter(|_| remaining > 0),
    })
}

/// Rendering of an instance by a version.
struct Preview {
    settings: Settings,
    /// Secrets that the instance does not have yet.
    new_secrets: Vec<SecretSpec>,
    difference: diff::Difference,
}

async fn one(
    instances: &Instances,
    actor_id: UserId,
    target: &Plugin,
    instance: Instance,
    dry_run: bool,
) -> Result<Moved> {
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
    let preview = match preview(instances, target, &instance).await {
        Ok(preview) => preview,
        Err(RenderError::Refused { detail, .. }) => return Ok(refused(detail)),
        // A database failure ends the request; all else is about this instance and this version.
        Err(RenderError::Host(error)) if error.code == Code::Unavailable => return Err(error),
        Err(RenderError::Host(error)) => return Ok(refused(in_words(&error))),
    };
    let mut outcome = MoveOutcome::Ready;
    if !dry_run {
        if !apply(instances, actor_id, target, &instance, &preview).await? {
            let reason = "It was changed by another request. Try again.";
            return Ok(refused(reason.to_owned()));
        }
        outcome = MoveOutcome::Moved;
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

async fn preview(
    instances: &Instances,
    target: &Plugin,
    instance: &Instance,
) -> Result<Preview, RenderError> {
    let mut conn = instances.db.read().await?;
    if store::is_overdue(&mut conn, instance.subscription_id, instances.clock.now()).await? {
        let message = "Its period is over and the next one is not charged yet. Renew it first.";
        return Err(RenderError::Refused {
            message: message.to_owned(),
            detail: message.to_owned(),
            decision: None,
        });
    }
    let terms = store::terms(&mut conn, instance.id).await?;
    let secrets = secrets::open(&mut conn, &instances.vault, instance.id).await?;
    let settings = store::template_settings(&mut conn, instance.id).await?.0;
    drop(conn);
    let description = plugins::describe(target, &settings).await?;
    check_config(
        instances,
        target,
        &settings,
        &terms,
        instance,
        &description.config_schema,
    )
    .await?;
    let missing = description.secrets.iter();
    let new_secrets: Vec<_> = missing
        .filter(|spec| !secrets.contains_key(&spec.name))
        .cloned()
        .collect();
    let mut all = secrets.clone();
    all.extend(
        new_secrets
            .iter()
            .map(|spec| (spec.name.clone(), String::new())),
    );
    let moved = Instance {
        plugin_digest: target.digest().to_string(),
        settings: Json(settings.clone()),
        ..instance.clone()
    };
    let before = rendered(instances, instance, &terms, &secrets).await;
    let after = rendered(instances, &moved, &terms, &all).await?;
    // A version that cannot render any more is a reason to move away from it.
    let before = match before {
        Ok(objects) => objects,
        Err(RenderError::Refused { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(Preview {
        settings,
        new_secrets,
        difference: diff::compare(&before, &after)?,
    })
}

async fn rendered(
    instances: &Instances,
    instance: &Instance,
    terms: &Terms,
    secrets: &Secrets,
) -> Result<Vec<Value>, RenderError> {
    let inputs = RenderInputs {
        instance,
        terms,
        secrets,
        classes: instances.handle.classes(),
        recorded: None,
    };
    let rendering = render(&instances.plugins, inputs).await?;
    Ok(rendering.objects.into_iter().map(masked).collect())
}

async fn check_config(
    instances: &Instances,
    target: &Plugin,
    settings: &Settings,
    terms: &Terms,
    instance: &Instance,
    config_schema: &Value,
) -> Result<()> {
    let mut config = instance.config.0.clone();
    schema::validate(config_schema, &mut config, "config")?;
    let input = ConfigCheck {
        settings: settings.clone(),
        plan: terms.plan_for_plugins()?,
        config,
    };
    let registry: &Registry = &instances.plugins;
    match plugins::decide::<service::Check>(registry, target, input, instance.user_id.into())
        .await?
        .value
    {
        Answer::Ok(()) => Ok(()),
        Answer::Problems(problems) => Err(schema::refused(problems, "config")),
    }
}

/// Pins the instance to the version and asks the reconciler for it; returns false when the instance
/// has changed since it was read.
async fn apply(
    instances: &Instances,
    actor_id: UserId,
    target: &Plugin,
    seen: &Instance,
    preview: &Preview,
) -> Result<bool> {
    let (clock, about) = (&instances.clock, target.about());
    let to = target.digest().to_string();
    let message = format!("Being moved to {} {}.", about.id, about.version);
    let mut conn = instances.db.begin().await?;
    let settings = Json(&preview.settings);
    let moved = store::pin(&mut conn, seen, &to, settings, &message, clock.now()).await?;
    let Some(moved) = moved else {
        return Ok(false);
    };
    let known: BTreeSet<String> = store::secrets(&mut conn, seen.id)
        .await?
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for spec in &preview.new_secrets {
        if !known.contains(&spec.name) {
            secrets::generate(&mut conn, &instances.vault, seen.id, spec).await?;
        }
    }
    record_event(&mut conn, clock, &moved).await?;
    let details = json!({ "plugin": about.id, "from": seen.plugin_digest, "to": to });
    let event = Event::new(Act::InstanceMoved, Subject::Instance(seen.id), details);
    audit::record(&mut conn, clock, actor_id, event).await?;
    conn.commit().await?;
    tracing::info!(instance.id = %seen.id, plugin.digest = to, "instance.moved");
    Ok(true)
}
