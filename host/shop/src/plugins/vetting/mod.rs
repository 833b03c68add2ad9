//! The check that `plugin check` makes of a template, asked before the template is sold. A template
//! that passed with a plugin version is not checked again, so that a start is quick.

mod store;

use std::{sync::OnceLock, time::UNIX_EPOCH};

use chrono::TimeDelta;
use dermaga_runtime::{Digest, Plugin};
use dermaga_toolkit::{
    check,
    template::{Template, TemplateError},
};

use super::{Registry, decisions};
use crate::{Code, Error, Result};

/// Time for which a passed template is remembered.
const REMEMBERED: TimeDelta = TimeDelta::days(90);

/// Returns the faults of a template that this version of its plugin would make, with file, line and
/// key; none when it can be sold.
///
/// # Errors
/// `PLUGIN_BUSY` when a call found no place, or when the database does not answer.
pub(super) async fn faults(
    registry: &Registry,
    plugin: &Plugin,
    template: &Template,
) -> Result<Vec<TemplateError>> {
    let key = key(plugin, template);
    if store::has_passed(&mut registry.db().read().await?, &key).await? {
        return Ok(Vec::new());
    }
    let (checked, asked) = (plugin.clone(), template.clone());
    let faults = tokio::task::spawn_blocking(move || check::faults(&checked, &asked))
        .await
        .map_err(Error::internal)?
        .map_err(|check::Busy| decisions::no_place())?;
    if faults.is_empty() {
        let now = registry.clock().now();
        let mut conn = registry.db().begin().await?;
        store::note_passed(&mut conn, &key, now).await?;
        store::forget_before(&mut conn, now - REMEMBERED).await?;
        conn.commit().await?;
    }
    Ok(faults)
}

/// The same by the active version of the template's plugin. Without one nothing is known, and
/// nothing can be bought.
///
/// # Errors
/// As `faults`.
pub async fn faults_now(registry: &Registry, template: &Template) -> Result<Vec<TemplateError>> {
    match registry.active(&template.plugin) {
        Ok(plugin) => faults(registry, &plugin, template).await,
        Err(_) => Ok(Vec::new()),
    }
}

/// The templates that a plugin version can make.
///
/// # Errors
/// As [`faults`].
pub(super) async fn passing(
    registry: &Registry,
    plugin: &Plugin,
    templates: &[Template],
) -> Result<Vec<Template>> {
    let mut passing = Vec::new();
    for template in of(plugin, templates) {
        if faults(registry, plugin, template).await?.is_empty() {
            passing.push(template.clone());
        }
    }
    Ok(passing)
}

/// Refuses a version that would make nothing of a template that is sold.
///
/// # Errors
/// `INVALID_STATE` with file, line and key of everything that is wrong; and as [`faults`].
pub(super) async fn refuse_faulty(
    registry: &Registry,
    plugin: &Plugin,
    templates: &[Template],
) -> Result<()> {
    let mut wrong = Vec::new();
    for template in of(plugin, templates) {
        wrong.extend(faults(registry, plugin, template).await?);
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} {} is not activated: what the service templates sell would fail with it.",
        plugin.about().id,
        plugin.about().version
    );
    let refused = Error::new(Code::InvalidState, message);
    Err(wrong.iter().fold(refused, |error, wrong| {
        error.with(place(wrong), said(wrong))
    }))
}

/// Place of a problem in a template.
fn place(wrong: &TemplateError) -> String {
    format!("{}:{}:{}", wrong.file, wrong.line, wrong.column)
}

/// The problem, with its key.
fn said(wrong: &TemplateError) -> String {
    format!("{} {}", wrong.key, wrong.message).trim().to_owned()
}

fn of<'t>(plugin: &Plugin, templates: &'t [Template]) -> impl Iterator<Item = &'t Template> {
    let id = plugin.about().id.clone();
    templates
        .iter()
        .filter(move |template| template.plugin == id)
}

/// Everything that decides how a check ends: this program, the component with its limits, the text.
fn key(plugin: &Plugin, template: &Template) -> String {
    let source = template.source();
    let parts = [
        program().to_owned(),
        plugin.digest().to_string(),
        format!("{} {:?}", plugin.size_class(), plugin.limits()),
        source.text.clone(),
    ];
    let text = serde_json::json!(parts).to_string();
    Digest::of(text.as_bytes()).to_string()
}

/// Identity of this build: another one may check more.
fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let file = std::env::current_exe().and_then(std::fs::metadata).ok();
        let length = file.as_ref().map(std::fs::Metadata::len);
        let changed = file
            .and_then(|file| file.modified().ok())
            .and_then(|moment| moment.duration_since(UNIX_EPOCH).ok());
        format!("{} {length:?} {changed:?}", env!("CARGO_PKG_VERSION"))
    })
}
