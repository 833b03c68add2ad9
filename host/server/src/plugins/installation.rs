//! How a version comes in and takes over: staged with a conformance report, then activated.

use std::{path::Path, sync::Arc};

use dermaga_runtime::Plugin;
use dermaga_toolkit::{check::conformance, template::Template};
use uuid::Uuid;

use super::{
    Registry, classes,
    model::{Activation, PluginClass, VersionRow, VersionState, VersionView},
    store,
};
use crate::{Code, Error, Result, db::Conn};

/// A component that somebody brings.
#[derive(Debug, Clone)]
pub struct Upload {
    pub component: Vec<u8>,
    /// The class that it is granted with the upload; `None` leaves what was granted before.
    pub class: Option<PluginClass>,
    /// The administrator; `None` for the folder of plugins.
    pub uploaded_by: Option<Uuid>,
}

/// Loads, checks and stores a component as a staged version. The same bytes again are the same
/// version: nothing changes.
///
/// # Errors
/// `COMPONENT_REFUSED` with the loader's code, or with the first failed check of the report.
pub async fn stage(
    registry: &Registry,
    upload: Upload,
    templates: &[Template],
) -> Result<VersionView> {
    let Upload {
        component,
        class,
        uploaded_by,
    } = upload;
    let component: Arc<[u8]> = component.into();
    let plugin = classes::load(registry, Arc::clone(&component), class).await?;
    let digest = plugin.digest().to_string();
    if let Some(known) = store::version(&mut registry.db().read().await?, &digest).await? {
        let mut conn = registry.db().begin().await?;
        if classes::grant_with_upload(&mut conn, registry, &plugin, uploaded_by).await? {
            conn.commit().await?;
            registry.refresh().await?;
        }
        return Ok(VersionView::of(known, registry.failure_of(&digest)));
    }
    let report = check(&plugin, templates).await?;
    let about = plugin.about();
    let mut conn = registry.db().begin().await?;
    refuse_other_kind(&mut conn, &plugin).await?;
    let new = store::NewVersion {
        digest: &digest,
        plugin_id: &about.id,
        kind: plugin.kind().as_str(),
        version: &about.version,
        contract: plugin.contract(),
        title: &about.title,
        component: &component,
        report,
        uploaded_by,
        now: registry.clock().now(),
    };
    store::insert_version(&mut conn, new).await?;
    let granted = classes::grant_with_upload(&mut conn, registry, &plugin, uploaded_by).await?;
    let row = store::version(&mut conn, &digest)
        .await?
        .ok_or_else(|| Error::not_found("plugin version"))?;
    conn.commit().await?;
    registry.remember(&plugin);
    if granted {
        registry.refresh().await?;
    }
    tracing::info!(
        plugin.id = about.id,
        plugin.version = about.version,
        plugin.digest = digest,
        "plugin.staged"
    );
    Ok(VersionView::of(row, None))
}

/// The conformance report as JSON; a failed check refuses the component.
async fn check(plugin: &Plugin, templates: &[Template]) -> Result<serde_json::Value> {
    let (checked, templates) = (plugin.clone(), templates.to_vec());
    let report = tokio::task::spawn_blocking(move || conformance(&checked, &templates, &[]))
        .await
        .map_err(Error::internal)?;
    if let Some(failed) = report.first_failure() {
        let message = format!(
            "The component does not conform: {}, {}.",
            failed.name, failed.message
        );
        let error = Error::new(Code::ComponentRefused, message)
            .with("code", "COMPONENT_DOES_NOT_CONFORM")
            .with("check", failed.name.clone());
        return Err(failed
            .details
            .iter()
            .fold(error, |error, detail| error.with("detail", detail.clone())));
    }
    Ok(serde_json::to_value(&report)?)
}

/// A plugin id means the same kind of thing for ever.
async fn refuse_other_kind(conn: &mut Conn, plugin: &Plugin) -> Result<()> {
    let others = store::versions_of(conn, &plugin.about().id).await?;
    match others.iter().find(|row| row.kind != plugin.kind().as_str()) {
        None => Ok(()),
        Some(row) => {
            let message = format!(
                "`{}` is a {} plugin already; give this one another id.",
                row.plugin_id, row.kind
            );
            Err(Error::new(Code::ComponentRefused, message).with("code", "COMPONENT_ID_TAKEN"))
        }
    }
}

/// Makes a staged or superseded version the active one. Calls in flight end on the version they
/// began with; none fails.
///
/// # Errors
/// `NOT_FOUND` when this plugin has no such version, `PLUGIN_UNAVAILABLE` when it does not load
/// here: a broken version never replaces a working one.
pub async fn activate(registry: &Registry, plugin_id: &str, digest: &str) -> Result<Activation> {
    let plugin = registry.version(digest).await?;
    if plugin.about().id != plugin_id {
        return Err(Error::not_found("version of this plugin"));
    }
    let mut conn = registry.db().begin().await?;
    // Two administrators, or two servers that start together, change a plugin one after the other.
    store::lock(&mut conn, plugin_id).await?;
    let state = store::state_of(&mut conn, digest).await?;
    match state {
        Some((_, VersionState::Active)) => {
            conn.rollback().await?;
            return Ok(activation(&plugin, digest, None));
        }
        Some((_, VersionState::Staged | VersionState::Superseded)) => {}
        Some((_, VersionState::Retired)) => {
            return Err(Error::new(
                Code::InvalidState,
                "This version is retired and cannot be activated.",
            ));
        }
        None => return Err(Error::not_found("plugin version")),
    }
    let superseded = store::supersede_active(&mut conn, plugin_id).await?;
    if !store::mark_active(&mut conn, digest, registry.clock().now()).await? {
        return Err(Error::new(
            Code::Conflict,
            "Another administrator has just changed this version. Look again.",
        ));
    }
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
/// `INVALID_STATE` when there is none; and as [`activate`].
pub async fn roll_back(registry: &Registry, plugin_id: &str) -> Result<Activation> {
    let previous = store::last_superseded(&mut registry.db().read().await?, plugin_id).await?;
    let previous = previous.ok_or_else(|| {
        Error::new(
            Code::InvalidState,
            "No earlier version of this plugin has been active.",
        )
    })?;
    activate(registry, plugin_id, &previous).await
}

/// Deletes a staged version that nothing refers to.
///
/// # Errors
/// `NOT_FOUND`, or `INVALID_STATE` when it is active, was active, or is referred to.
pub async fn delete(registry: &Registry, digest: &str) -> Result<()> {
    let mut conn = registry.db().begin().await?;
    let Some((_, state)) = store::state_of(&mut conn, digest).await? else {
        return Err(Error::not_found("plugin version"));
    };
    if state != VersionState::Staged || store::references(&mut conn, digest).await? > 0 {
        let message = format!(
            "This version is {state} or has made decisions; only unused staged versions are deleted."
        );
        return Err(Error::new(Code::InvalidState, message));
    }
    store::delete_staged(&mut conn, digest).await?;
    Ok(conn.commit().await?)
}

/// Installs every `*.wasm` of a folder at start. A plugin that has no active version gets this one;
/// one that came from the folder before is replaced; one that an administrator uploaded stays.
///
/// # Errors
/// When the folder cannot be read or the database does not answer. A component that is refused is
/// logged and left out; everything else serves.
pub async fn install_folder(
    registry: &Registry,
    folder: &Path,
    templates: &[Template],
) -> Result<()> {
    for path in components(folder)? {
        let bytes = std::fs::read(&path).map_err(Error::internal)?;
        let upload = Upload {
            component: bytes,
            class: None,
            uploaded_by: None,
        };
        match stage(registry, upload, templates).await {
            Ok(version) => take_over(registry, &version).await?,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "plugin.not_installed");
            }
        }
    }
    registry.refresh().await
}

async fn take_over(registry: &Registry, staged: &VersionView) -> Result<()> {
    let versions = store::versions_of(&mut registry.db().read().await?, &staged.plugin_id).await?;
    let active = versions
        .iter()
        .find(|row| row.state == VersionState::Active);
    let replaces = |row: &VersionRow| row.uploaded_by.is_none() && row.digest != staged.digest;
    if staged.state == VersionState::Staged && active.is_none_or(replaces) {
        activate(registry, &staged.plugin_id, &staged.digest).await?;
    }
    Ok(())
}

fn components(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let unreadable = |error: std::io::Error| {
        Error::new(
            Code::Unavailable,
            format!(
                "The plugin folder {} cannot be read: {error}.",
                folder.display()
            ),
        )
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
