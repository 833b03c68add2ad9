//! Plugins, versions and decisions as administrators read them.

use std::collections::BTreeMap;

use super::{
    Registry,
    model::{DecisionFilter, DecisionView, PluginView, VersionRow, VersionState, VersionView},
    store,
};
use crate::{
    Error, Result,
    db::{Db, Span, Walked},
    ids::DecisionId,
};

/// Lists all plugins by id, with their versions, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(registry: &Registry) -> Result<Vec<PluginView>> {
    let rows = store::versions(&mut registry.db().read().await?).await?;
    Ok(grouped(registry, rows))
}

/// Returns a plugin with its versions, newest first.
///
/// # Errors
/// `NOT_FOUND` for an unknown one.
pub async fn with_versions(registry: &Registry, id: &str) -> Result<PluginView> {
    let rows = store::versions_of(&mut registry.db().read().await?, id).await?;
    let plugin = grouped(registry, rows).pop();
    plugin.ok_or_else(|| Error::not_found("plugin"))
}

fn grouped(registry: &Registry, rows: Vec<VersionRow>) -> Vec<PluginView> {
    let mut plugins: BTreeMap<String, PluginView> = BTreeMap::new();
    for row in rows {
        let view = VersionView::of(registry, row);
        let plugin = plugins
            .entry(view.plugin_id.clone())
            .or_insert_with(|| PluginView {
                id: view.plugin_id.clone(),
                kind: view.kind.clone(),
                title: view.title.clone(),
                class: registry.class_of(&view.plugin_id),
                active: None,
                running: registry
                    .running(&view.plugin_id)
                    .map(|digest| digest.to_string()),
                versions: Vec::new(),
            });
        if view.state == VersionState::Active {
            plugin.active = Some(view.digest.clone());
            plugin.title.clone_from(&view.title);
        }
        plugin.versions.push(view);
    }
    plugins.into_values().collect()
}

/// Returns a version of a plugin.
///
/// # Errors
/// `NOT_FOUND` when the plugin has no such version.
pub async fn version(registry: &Registry, plugin_id: &str, digest: &str) -> Result<VersionView> {
    let row = store::version(&mut registry.db().read().await?, digest).await?;
    let row = row
        .filter(|row| row.plugin_id == plugin_id)
        .ok_or_else(|| Error::not_found("plugin version"))?;
    Ok(VersionView::of(registry, row))
}

/// Lists recorded decisions, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn recorded(
    db: &Db,
    filter: &DecisionFilter<'_>,
    span: Span<DecisionId>,
) -> Result<Walked<DecisionView>> {
    let found = store::decisions(&mut db.read().await?, filter, span).await?;
    found.try_map(DecisionView::try_from)
}

/// Returns a recorded decision.
///
/// # Errors
/// `NOT_FOUND` for an unknown one.
pub async fn decision(db: &Db, id: DecisionId) -> Result<DecisionView> {
    let found = store::decision(&mut db.read().await?, id).await?;
    found
        .ok_or_else(|| Error::not_found("decision"))?
        .try_into()
}
