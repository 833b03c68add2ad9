//! Edits of what a service runs that no template file names: its images, settings and exceptions.
//!
//! They are written into the template that the shop keeps of it, with its plans as they are now, so
//! that a reload, a reset and the check of a plugin find what is sold.

use chrono::{DateTime, Utc};
use dermaga_runtime::Plugin;
use dermaga_toolkit::template::{self, Draft, Template};
use serde_json::Value;

use super::{
    PlanRow, ServiceChanges, WRITTEN_HERE, creation,
    editing::{put, sizes},
    store,
};
use crate::{
    Code, Error, Result,
    catalog::{Catalog, FieldChange},
    db::Conn,
    ids::ServiceId,
    plugins,
};

/// Template with new values, which the plugin has accepted.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) template: Template,
    pub(super) changes: Vec<FieldChange>,
    /// Version that has accepted it.
    plugin: Plugin,
    /// Text of the template that the values were put into.
    before: Option<String>,
    /// Plans that the plugin has accepted with them.
    plans: Vec<(String, Value)>,
}

/// Puts new images, with their support, settings and exceptions into the template of a service, after its plugin has
/// accepted the service as it becomes; returns `None` where they change nothing.
pub(super) async fn rewritten(
    catalog: &Catalog,
    id: ServiceId,
    wanted: &mut ServiceChanges,
) -> Result<Option<Rewritten>> {
    if !is_of_template(wanted) {
        return Ok(None);
    }
    let mut conn = catalog.db.read().await?;
    let loaded = store::template(&mut conn, id).await?;
    let loaded = loaded.ok_or_else(|| Error::not_found("service"))?;
    let plans = store::plans(&mut conn, &[id]).await?;
    drop(conn);
    if catalog.templates.names(&loaded, None).await? {
        let message = "The images, settings and exceptions of this service are in its template file. \
                       Change them there and reload the templates.";
        return Err(Error::new(Code::InvalidState, message));
    }
    let mut draft = Draft::from(creation::read(&loaded)?);
    let changes = apply(&mut draft, wanted);
    if changes.is_empty() {
        return Ok(None);
    }
    draft.plans = present(&plans, draft.plans)?;
    let file = loaded.template_file;
    let file = file.unwrap_or_else(|| format!("{WRITTEN_HERE}{}", draft.slug));
    let (template, plugin) = creation::accepted(catalog, &draft, &file).await?;
    Ok(Some(Rewritten {
        template,
        changes,
        plugin,
        before: loaded.template,
        plans: offered(&plans),
    }))
}

/// Returns true when a value is wanted of what the template has.
const fn is_of_template(wanted: &ServiceChanges) -> bool {
    wanted.images.is_some()
        || wanted.image_support.is_some()
        || wanted.settings.is_some()
        || wanted.exceptions.is_some()
}

/// Moves the values that the template has into it.
fn apply(draft: &mut Draft, wanted: &mut ServiceChanges) -> Vec<FieldChange> {
    let (known, mut changes) = (draft.images.clone(), Vec::new());
    put(
        "images",
        &mut draft.images,
        wanted.images.take(),
        &mut changes,
    );
    let support = wanted.image_support.take();
    if support.is_none() {
        // The support of an image was looked up for its version.
        let images = &draft.images;
        let is_same = |name: &str| images.get(name) == known.get(name);
        draft.image_support.retain(|name, _| is_same(name));
    }
    put(
        "imageSupport",
        &mut draft.image_support,
        support,
        &mut changes,
    );
    put(
        "settings",
        &mut draft.settings,
        wanted.settings.take(),
        &mut changes,
    );
    let field = "podSecurityExceptions";
    put(
        field,
        &mut draft.exceptions,
        wanted.exceptions.take(),
        &mut changes,
    );
    changes
}

/// Returns what a plugin accepts of the plans that are not retired, by their slugs.
fn offered(rows: &[PlanRow]) -> Vec<(String, Value)> {
    let rows = rows.iter().filter(|row| row.retired_at.is_none());
    rows.map(|row| (row.plan.slug.clone(), sizes(row)))
        .collect()
}

/// Returns the plans of a service that are not retired, as they are now; those of its template when
/// there are none.
fn present(rows: &[PlanRow], written: Vec<template::Plan>) -> Result<Vec<template::Plan>> {
    let rows = rows.iter().filter(|row| row.retired_at.is_none());
    let plans: Result<Vec<template::Plan>> = rows
        .map(|row| {
            // Its texts in Indonesian are those of its features as they were written.
            let is_same = |plan: &&template::Plan| {
                plan.slug == row.plan.slug && plan.features == row.plan.features.0
            };
            let same = written.iter().find(is_same);
            let texts = same.map(|plan| plan.texts.clone()).unwrap_or_default();
            creation::written(&row.plan, texts)
        })
        .collect();
    let plans = plans?;
    Ok(if plans.is_empty() { written } else { plans })
}

/// Refuses when the template of a service, whose row is locked, has another text by now.
pub(super) async fn still_says(conn: &mut Conn, id: ServiceId, text: Option<&str>) -> Result<()> {
    let loaded = store::template(conn, id).await?;
    let now = loaded.and_then(|loaded| loaded.template);
    if now.as_deref() == text {
        return Ok(());
    }
    Err(changed_meanwhile())
}

fn changed_meanwhile() -> Error {
    let message = "The service was changed at the same time. Look at it and try again.";
    // A creation of a plan that is sent again with its key is judged again.
    Error::new(Code::Conflict, message).retry_after(1)
}

impl Rewritten {
    /// Keeps the version that has accepted the template from being replaced until the commit.
    pub(super) async fn keep_plugin(&self, conn: &mut Conn, catalog: &Catalog) -> Result<()> {
        if plugins::keep_asked(conn, &catalog.plugins, &self.plugin).await? {
            return Ok(());
        }
        Err(creation::not_active(&self.template.plugin))
    }

    /// Writes the template with its values into a service whose row is locked.
    pub(super) async fn write(
        &self,
        conn: &mut Conn,
        id: ServiceId,
        now: DateTime<Utc>,
    ) -> Result<()> {
        still_says(conn, id, self.before.as_deref()).await?;
        if offered(&store::plans(conn, &[id]).await?) != self.plans {
            return Err(changed_meanwhile());
        }
        Ok(store::rewrite_service(conn, id, &self.template, now).await?)
    }
}
