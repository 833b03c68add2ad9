//! The life of a version once it is staged: active, superseded, retired, gone.

use dermaga_runtime::Plugin;
use dermaga_toolkit::template::Template;
use serde_json::{Value, json};

use super::{
    Registry,
    keeping::inactivity,
    model::{Activation, Reset, Retirement, VersionState},
    retirements::WHOLE,
    sale::{self, Checked},
    store::{self, Uses},
    sync,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, By, Event, Subject},
    db::{self, Conn},
};

/// Step in the life of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Activate,
    /// Step taken when another version of the plugin becomes active.
    Supersede,
    Retire,
    Delete,
}

/// Result of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    State(VersionState),
    Gone,
}

impl VersionState {
    /// Returns the result of a step for a version in this state; `None` when the step cannot be
    /// taken. Every change of a state goes through here.
    pub(super) const fn after(self, step: Step) -> Option<Next> {
        match (self, step) {
            (Self::Staged | Self::Superseded, Step::Activate) => Some(Next::State(Self::Active)),
            (Self::Active, Step::Supersede) => Some(Next::State(Self::Superseded)),
            (Self::Staged | Self::Active | Self::Superseded, Step::Retire) => {
                Some(Next::State(Self::Retired))
            }
            (Self::Staged | Self::Retired, Step::Delete) => Some(Next::Gone),
            _ => None,
        }
    }
}

/// Takes a step from the state that was read under the plugin's lock.
async fn take(
    conn: &mut Conn,
    registry: &Registry,
    (digest, state): (&str, VersionState),
    step: Step,
) -> Result<()> {
    let taken = match state.after(step) {
        Some(Next::State(next)) => {
            store::set_state(conn, digest, (state, next), registry.clock().now()).await?
        }
        Some(Next::Gone) => store::delete(conn, digest, state)
            .await
            .or_else(still_used)?,
        None => return Err(illegal(state, step)),
    };
    if taken {
        Ok(())
    } else {
        Err(changed_meanwhile())
    }
}

pub(super) fn changed_meanwhile() -> Error {
    let message = "Another administrator has just changed this version. Look again.";
    Error::new(Code::Conflict, message)
}

fn illegal(state: VersionState, step: Step) -> Error {
    let why = match step {
        Step::Activate if state == VersionState::Retired => {
            "it is not activated again; upload the plugin with a higher version number"
        }
        Step::Activate => "only a staged or superseded version can be activated",
        Step::Supersede => "only an active version can be superseded",
        Step::Retire => "it was retired before",
        Step::Delete => "only a staged or retired version can be deleted; retire it first",
    };
    Error::new(
        Code::InvalidState,
        format!("This version is {state}: {why}."),
    )
}

/// A decision that was recorded since the uses were counted keeps its version.
fn still_used(error: sqlx::Error) -> Result<bool> {
    if db::broke_foreign_key(&error) {
        let message = "This version has just made a decision, which keeps it.";
        return Err(in_use(message));
    }
    Err(error.into())
}

fn in_use(message: impl Into<String>) -> Error {
    Error::new(Code::PluginInUse, message)
}

/// Locks a plugin and returns the state of one of its versions.
async fn locked(conn: &mut Conn, plugin_id: &str, digest: &str) -> Result<VersionState> {
    store::lock(conn, plugin_id).await?;
    match store::state_of(conn, digest).await? {
        Some((owner, state)) if owner == plugin_id => Ok(state),
        _ => Err(Error::not_found("version of this plugin")),
    }
}

/// Notes in the audit what an administrator did to a plugin.
async fn note(
    conn: &mut Conn,
    registry: &Registry,
    by: By<'_>,
    act: AuditAct,
    plugin_id: &str,
    details: Value,
) -> Result<()> {
    let event = Event::new(act, Subject::Plugin(plugin_id), details);
    audit::record_by(conn, registry.clock(), by, event).await
}

/// Makes a staged or superseded version the active one. Calls in flight end on the version they
/// began with; none fails. A suspension of the version ends, and services that the retirement of the
/// plugin took off sale are sold again. `templates` are those that are sold. An administrator's
/// activation is audited with what it superseded; one at start has no actor.
///
/// # Errors
/// `NOT_FOUND` when this plugin has no such version, `INVALID_STATE` when it is retired or would
/// make nothing of a template, `PLUGIN_UNAVAILABLE` when it does not load here: a broken version
/// never replaces a working one. `CONFLICT` when services of the plugin change at the same time.
pub async fn activate(
    registry: &Registry,
    templates: &[Template],
    plugin_id: &str,
    digest: &str,
    by: Option<By<'_>>,
) -> Result<Activation> {
    switch(registry, templates, (plugin_id, digest), by, To::Any).await
}

/// Version that an activation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Any,
    /// The one that was active before the present one.
    Previous,
}

async fn switch(
    registry: &Registry,
    templates: &[Template],
    (plugin_id, digest): (&str, &str),
    by: Option<By<'_>>,
    to: To,
) -> Result<Activation> {
    let plugin = registry.version(digest).await?;
    // The active version has been checked, and activating it again ends a suspension. The database is asked: this
    // server may run another one that was replaced since. A start looks at all services afterwards.
    let active = store::active_of(&mut registry.db().read().await?, plugin_id).await?;
    let is_unchecked = active.as_deref() != Some(digest);
    let checked = if is_unchecked && plugin.about().id == plugin_id && by.is_some() {
        Some(Checked::with(registry, &plugin, templates).await?)
    } else {
        None
    };
    let mut conn = registry.db().begin().await?;
    // Two administrators, or two servers that start together, change a plugin one after the other.
    let state = locked(&mut conn, plugin_id, digest).await?;
    registry.resume(&mut conn, &plugin).await?;
    if state == VersionState::Active {
        conn.commit().await?;
        return Ok(activation(&plugin, digest, None));
    }
    // Another one may have become active since, and this one is the previous one no more.
    if to == To::Previous
        && store::last_superseded(&mut conn, plugin_id)
            .await?
            .as_deref()
            != Some(digest)
    {
        return Err(changed_meanwhile());
    }
    match &checked {
        Some(checked) => checked.still_holds(&mut conn, plugin_id).await?,
        // It was active when it was looked at, and is not any more.
        None if by.is_some() => return Err(changed_meanwhile()),
        None => {}
    }
    let superseded = store::active_of(&mut conn, plugin_id).await?;
    if let Some(active) = &superseded {
        let version = (active.as_str(), VersionState::Active);
        take(&mut conn, registry, version, Step::Supersede).await?;
    }
    take(&mut conn, registry, (digest, state), Step::Activate).await?;
    // A start decides over the services that have a template when it reads all of them; no later step looks at others.
    let (of_plugin, why) = ((plugin_id, checked.is_some()), inactivity(plugin_id));
    sale::store::sell_again(&mut conn, of_plugin, &why, registry.clock().now()).await?;
    if let Some(by) = by {
        let details = json!({ "digest": digest, "superseded": superseded });
        let act = AuditAct::PluginActivated;
        note(&mut conn, registry, by, act, plugin_id, details).await?;
    }
    sync::announce(&mut conn).await?;
    conn.commit().await?;
    registry.refresh().await?;
    Ok(activation(&plugin, digest, superseded))
}

fn activation(plugin: &Plugin, digest: &str, superseded: Option<String>) -> Activation {
    Activation {
        plugin_id: plugin.about().id.clone(),
        digest: digest.to_owned(),
        version: plugin.about().version.clone(),
        superseded,
    }
}

/// Activates the version that was active before the present one.
///
/// # Errors
/// `NOT_FOUND` for an unknown plugin, `INVALID_STATE` when there is none, `CONFLICT` when another version becomes
/// active at the same time; and as [`activate`].
pub async fn roll_back(
    registry: &Registry,
    templates: &[Template],
    plugin_id: &str,
    by: By<'_>,
) -> Result<Activation> {
    let mut conn = registry.db().read().await?;
    if store::versions_of(&mut conn, plugin_id).await?.is_empty() {
        return Err(Error::not_found("plugin"));
    }
    let previous = store::last_superseded(&mut conn, plugin_id).await?;
    let Some(previous) = previous else {
        return Err(nothing_before(&mut conn, plugin_id).await?);
    };
    drop(conn);
    let version = (plugin_id, previous.as_str());
    switch(registry, templates, version, Some(by), To::Previous).await
}

/// Returns the refusal to roll back a plugin that has no superseded version.
async fn nothing_before(conn: &mut Conn, plugin_id: &str) -> Result<Error> {
    let retired = sale::store::retired_of(conn, plugin_id).await?;
    let message = if retired.iter().any(|version| version.was_active) {
        "The earlier versions of this plugin are retired and are not activated again. Upload the plugin with a higher version number."
    } else {
        "No earlier version of this plugin has been active."
    };
    Ok(Error::new(Code::InvalidState, message))
}

/// Retires a version that is not active: it cannot be activated any more. Instances provisioned
/// with it stay on it and work on.
///
/// # Errors
/// `NOT_FOUND`, or `INVALID_STATE` when it is active or retired.
pub async fn retire(
    registry: &Registry,
    plugin_id: &str,
    digest: &str,
    by: By<'_>,
) -> Result<Retirement> {
    let mut conn = registry.db().begin().await?;
    let state = locked(&mut conn, plugin_id, digest).await?;
    if state == VersionState::Active {
        let message =
            "This version is ACTIVE: activate another one first, or retire the whole plugin.";
        return Err(Error::new(Code::InvalidState, message));
    }
    take(&mut conn, registry, (digest, state), Step::Retire).await?;
    let of_plugin = (plugin_id, false);
    retired(registry, conn, of_plugin, vec![digest.to_owned()], by).await
}

/// Retires every version of a plugin: nothing new is sold or granted with it. Live subscriptions
/// stay on their versions and work on. Services on sale are taken off it with `stop_selling` only; those
/// that are off sale are refused in any case.
///
/// # Errors
/// `NOT_FOUND`, `INVALID_STATE` when all are retired, `PLUGIN_IN_USE` while coupons of it can still
/// be used: a coupon is decided by the active version, and would decide nothing without one; and
/// while services on sale need an active version, unless their sale is to end.
pub async fn retire_plugin(
    registry: &Registry,
    plugin_id: &str,
    by: By<'_>,
    stop_selling: bool,
) -> Result<Retirement> {
    let mut conn = registry.db().begin().await?;
    store::lock(&mut conn, plugin_id).await?;
    let versions = store::versions_of(&mut conn, plugin_id).await?;
    if versions.is_empty() {
        return Err(Error::not_found("plugin"));
    }
    let coupons = store::live_coupons(&mut conn, plugin_id, registry.clock().now()).await?;
    if coupons > 0 {
        let message = format!(
            "Coupons that can still be used are decided by this plugin: {coupons}. Disable them, and let the subscriptions they reduce run out, first."
        );
        return Err(in_use(message).with("coupons", coupons.to_string()));
    }
    if !stop_selling {
        refuse_sold(&mut conn, plugin_id).await?;
    }
    let mut digests = Vec::new();
    for version in versions {
        if version.state.after(Step::Retire).is_some() {
            let current = (version.digest.as_str(), version.state);
            take(&mut conn, registry, current, Step::Retire).await?;
            digests.push(version.digest);
        }
    }
    if digests.is_empty() {
        let message = "Every version of this plugin is already retired.";
        return Err(Error::new(Code::InvalidState, message));
    }
    // Also those that are off sale: one that is switched on would be sold by nothing.
    let ([why, _], now) = (inactivity(plugin_id), registry.clock().now());
    sale::store::stop_selling(&mut conn, plugin_id, &why, now).await?;
    retired(registry, conn, (plugin_id, true), digests, by).await
}

/// Refuses a plugin with an active version that services on sale are made by.
async fn refuse_sold(conn: &mut Conn, plugin_id: &str) -> Result<()> {
    if store::active_of(conn, plugin_id).await?.is_none() {
        return Ok(());
    }
    let (services, subscriptions) = sale::store::sold(conn, plugin_id).await?;
    if services == 0 {
        return Ok(());
    }
    let message = format!(
        "Services on sale are made by this plugin: {services}. They cannot be bought once it is retired; live subscriptions ({subscriptions}) keep their versions. Repeat with ?stopSelling=true to end the sale."
    );
    Err(in_use(message)
        .with("services", services.to_string())
        .with("subscriptions", subscriptions.to_string()))
}

async fn retired(
    registry: &Registry,
    mut conn: Conn,
    (plugin_id, is_whole): (&str, bool),
    digests: Vec<String>,
    by: By<'_>,
) -> Result<Retirement> {
    let details = json!({ "digests": &digests, WHOLE: is_whole });
    let act = AuditAct::PluginRetired;
    note(&mut conn, registry, by, act, plugin_id, details).await?;
    sync::announce(&mut conn).await?;
    conn.commit().await?;
    registry.refresh().await?;
    tracing::info!(
        plugin.id = plugin_id,
        plugin.versions = digests.len(),
        "plugin.retired"
    );
    Ok(Retirement {
        plugin_id: plugin_id.to_owned(),
        retired: digests,
    })
}

/// Deletes a staged or retired version that nothing refers to.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` when it is active or superseded; `PLUGIN_IN_USE` when it has made
/// decisions or instances, or is the last version of a plugin that has coupons.
pub async fn delete(registry: &Registry, plugin_id: &str, digest: &str, by: By<'_>) -> Result<()> {
    let mut conn = registry.db().begin().await?;
    let state = locked(&mut conn, plugin_id, digest).await?;
    if state.after(Step::Delete).is_none() {
        return Err(illegal(state, Step::Delete));
    }
    let uses = store::uses(&mut conn, plugin_id, digest).await?;
    refuse_used(&uses)?;
    take(&mut conn, registry, (digest, state), Step::Delete).await?;
    let details = json!({ "digest": digest });
    let act = AuditAct::PluginVersionDeleted;
    note(&mut conn, registry, by, act, plugin_id, details).await?;
    conn.commit().await?;
    registry.forget(digest);
    Ok(())
}

fn refuse_used(uses: &Uses) -> Result<()> {
    let Uses {
        decided,
        instances,
        coupons,
    } = *uses;
    if instances > 0 {
        let message =
            format!("Instances were made with this version: {instances}. It is kept for them.");
        return Err(in_use(message).with("instances", instances.to_string()));
    }
    if decided {
        let message = "This version has made decisions, which can only be replayed with it. It is kept for them.";
        return Err(in_use(message));
    }
    if coupons > 0 {
        let message = format!(
            "This is the last version of the plugin, and there are coupons of it: {coupons}. It is kept for them."
        );
        return Err(in_use(message).with("coupons", coupons.to_string()));
    }
    Ok(())
}

/// Ends the suspension of a version, here and on other servers; audited when there was one.
///
/// # Errors
/// `NOT_FOUND` when this plugin has no such version, `PLUGIN_UNAVAILABLE` when it does not load.
pub async fn reset(
    registry: &Registry,
    plugin_id: &str,
    digest: &str,
    by: By<'_>,
) -> Result<Reset> {
    let plugin = registry.version(digest).await?;
    if plugin.about().id != plugin_id {
        return Err(Error::not_found("version of this plugin"));
    }
    let mut conn = registry.db().begin().await?;
    let was_suspended = registry.resume(&mut conn, &plugin).await?;
    if was_suspended {
        let details = json!({ "digest": digest });
        let act = AuditAct::PluginResumed;
        note(&mut conn, registry, by, act, plugin_id, details).await?;
    }
    conn.commit().await?;
    Ok(Reset {
        plugin_id: plugin_id.to_owned(),
        digest: digest.to_owned(),
        was_suspended,
    })
}

#[cfg(test)]
mod tests;
