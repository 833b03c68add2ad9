//! Size classes of plugins: standard, or as granted by an administrator.

use std::sync::Arc;

use dermaga_runtime::{LoadError, Plugin, SizeClass};
use serde_json::json;

use super::{
    Registry, decisions,
    model::{GrantedClass, PluginClass},
    store::{self, Grant},
    sync,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    db::Conn,
    ids::UserId,
};

/// Loads an upload with the larger of the class that it is given and the one its plugin has been
/// granted. Whose upload it is only the component itself can say, so one that does not fit the
/// standard class is loaded with a larger one only when some plugin has been granted that.
///
/// # Errors
/// `COMPONENT_REFUSED` with the loader's code; `COMPONENT_ABOVE_CLASS` names the class that would
/// do.
pub(super) async fn load(
    registry: &Registry,
    component: Arc<[u8]>,
    given: Option<PluginClass>,
) -> Result<Plugin> {
    let classes = store::classes(&mut registry.db().read().await?).await?;
    let granted = |plugin: &Plugin| {
        let found = classes.iter().find(|(id, _)| *id == plugin.about().id);
        found.map_or(SizeClass::Standard, |(_, class)| (*class).into())
    };
    let given = given.map_or(SizeClass::Standard, SizeClass::from);
    let error = match registry.compile(Arc::clone(&component), given).await {
        Ok(plugin) => {
            let class = granted(&plugin).max(given);
            return Ok(plugin.as_class(class));
        }
        Err(error) => error,
    };
    let (LoadError::AboveClass { sufficient, .. } | LoadError::MemoryAboveClass { sufficient, .. }) =
        error
    else {
        return Err(refused(&error));
    };
    if !classes
        .iter()
        .any(|(_, class)| SizeClass::from(*class) >= sufficient)
    {
        return Err(refused(&error));
    }
    match registry.compile(component, sufficient).await {
        Ok(plugin) if granted(&plugin) >= sufficient => Ok(plugin),
        // The larger class was granted to another plugin than this one turned out to be.
        Ok(_) => Err(refused(&error)),
        Err(other) => Err(refused(&other)),
    }
}

/// The loader's refusal, with what an administrator can do about it.
fn refused(error: &LoadError) -> Error {
    if let Some(busy) = decisions::busy(error) {
        return busy;
    }
    let refusal = Error::new(
        Code::ComponentRefused,
        format!("The component was refused: {error}."),
    )
    .with("code", error.code());
    match error {
        LoadError::Malformed { reason, .. } => {
            tracing::info!(%reason, "plugin.malformed");
            refusal.caused_by(reason.clone())
        }
        LoadError::AboveClass { sufficient, .. }
        | LoadError::MemoryAboveClass { sufficient, .. } => {
            let how = format!(
                "send `class={sufficient}` with the upload, or grant it with PUT /api/admin/plugins/ID/class"
            );
            refusal
                .with("class", sufficient.as_str())
                .with("grant", how)
        }
        _ => refusal,
    }
}

/// Keeps the class that a version was uploaded with, when it is more than its plugin had. Call it
/// in the transaction that stores the version; whether it granted something.
///
/// # Errors
/// When the database refuses.
pub(super) async fn grant_with_upload(
    conn: &mut Conn,
    registry: &Registry,
    plugin: &Plugin,
    uploaded_by: Option<UserId>,
) -> Result<bool> {
    let about = plugin.about();
    let before = store::class_of(conn, &about.id).await?;
    let Some(granted_by) = uploaded_by.filter(|_| plugin.size_class() > before.into()) else {
        return Ok(false);
    };
    let reason = format!("Granted with the upload of version {}.", about.version);
    let grant = Grant {
        plugin_id: &about.id,
        class: plugin.size_class().into(),
        reason: &reason,
        granted_by,
        now: registry.clock().now(),
    };
    record(conn, registry, &grant, before).await?;
    Ok(true)
}

async fn record(
    conn: &mut Conn,
    registry: &Registry,
    grant: &Grant<'_>,
    before: PluginClass,
) -> Result<()> {
    store::grant_class(conn, grant).await?;
    let details = json!({ "class": grant.class, "before": before });
    let subject = Subject::Plugin(grant.plugin_id);
    let event = Event::new(AuditAct::PluginClassGranted, subject, details).because(grant.reason);
    audit::record(conn, registry.clock(), grant.granted_by, event).await?;
    tracing::info!(plugin.id = grant.plugin_id, plugin.class = %grant.class, "plugin.class_granted");
    Ok(())
}

/// Grants a plugin a class, larger or smaller than it had. It holds for every version, on every
/// server, from the next call.
///
/// # Errors
/// `NOT_FOUND` for an unknown plugin, `INVALID_STATE` when a version of it would not fit.
pub async fn grant_class(
    registry: &Registry,
    plugin_id: &str,
    class: PluginClass,
    reason: &str,
    administrator: UserId,
) -> Result<GrantedClass> {
    let mut conn = registry.db().begin().await?;
    store::lock(&mut conn, plugin_id).await?;
    let versions = store::versions_of(&mut conn, plugin_id).await?;
    if versions.is_empty() {
        return Err(Error::not_found("plugin"));
    }
    let limit = registry.runtime().limits().component_bytes_of(class.into());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    if let Some(larger) = versions.iter().find(|version| version.size_bytes > limit) {
        let message = format!(
            "Version {} has {} bytes and the {class} class allows {limit}. Delete it first, or leave the plugin its class.",
            larger.version, larger.size_bytes
        );
        return Err(Error::new(Code::InvalidState, message).with("digest", &larger.digest));
    }
    let before = store::class_of(&mut conn, plugin_id).await?;
    let grant = Grant {
        plugin_id,
        class,
        reason,
        granted_by: administrator,
        now: registry.clock().now(),
    };
    record(&mut conn, registry, &grant, before).await?;
    sync::announce(&mut conn).await?;
    conn.commit().await?;
    registry.refresh().await?;
    Ok(GrantedClass {
        plugin_id: plugin_id.to_owned(),
        class,
        reason: reason.to_owned(),
        before,
    })
}
