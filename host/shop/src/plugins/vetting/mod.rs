//! The check that `plugin check` makes of a template, asked before the template is sold. A template
//! that passed with a plugin version is not checked again, so that a start is quick.

mod store;

use std::{collections::HashMap, sync::OnceLock, time::UNIX_EPOCH};

use chrono::TimeDelta;
use dermaga_runtime::{Digest, Plugin};
use dermaga_toolkit::{
    check,
    template::{Template, TemplateError},
};

use serde_json::{Value, json};

use super::{
    Registry, decisions,
    keeping::{Inactive, active_itself, active_now},
};
use crate::{Code, Error, Result};

/// Time for which a passed template is remembered.
const REMEMBERED: TimeDelta = TimeDelta::days(90);

/// Returns the faults of a template that this version of its plugin would make, with file, line and
/// key; none when it can be sold.
///
/// # Errors
/// `PLUGIN_BUSY` when a call found no place, or when the database does not answer.
pub async fn faults(
    registry: &Registry,
    plugin: &Plugin,
    template: &Template,
) -> Result<Vec<TemplateError>> {
    let key = key(plugin, template);
    if store::has_passed(&mut registry.db().read().await?, &key).await? {
        return Ok(Vec::new());
    }
    let faults = if registry.findings().report(&key).is_some() {
        Vec::new()
    } else {
        let (checked, asked) = (plugin.clone(), template.clone());
        tokio::task::spawn_blocking(move || check::faults(&checked, &asked))
            .await
            .map_err(Error::internal)?
            .map_err(|check::Busy| decisions::no_place())?
    };
    if faults.is_empty() {
        registry.findings().note(key.clone(), Value::Null);
        let now = registry.clock().now();
        let mut conn = registry.db().begin().await?;
        store::note_passed(&mut conn, &key, now).await?;
        store::forget_before(&mut conn, now - REMEMBERED).await?;
        conn.commit().await?;
    }
    Ok(faults)
}

/// The same by the version of the template's plugin that is active in the database.
///
/// # Errors
/// `INVALID_STATE` when none is active, `PLUGIN_UNAVAILABLE` when it does not load here; and as [`faults`].
pub async fn faults_now(registry: &Registry, template: &Template) -> Result<Vec<TemplateError>> {
    let Some(plugin) = active_now(registry, &template.plugin).await? else {
        let mut conn = registry.db().read().await?;
        return Err(Inactive::of(&mut conn, &template.plugin).await?.refusal());
    };
    faults(registry, &plugin, template).await
}

/// Outcome of the check of a template by the active version of its plugin.
#[derive(Debug)]
pub enum Verdict {
    /// Its faults; none when it can be sold.
    Checked(Vec<TemplateError>),
    /// No version of the plugin is active: nothing of it is sold.
    Inactive(Inactive),
    /// The active version does not load on this server, which knows nothing of the template then. Has the sentence
    /// that says so.
    NotLoaded(String),
}

/// Puts templates to the active versions of their plugins, and remembers why a plugin has none.
#[derive(Debug)]
pub struct TemplateChecks<'r> {
    registry: &'r Registry,
    /// Plugins without an active version, by id.
    inactive: HashMap<String, Inactive>,
}

impl<'r> TemplateChecks<'r> {
    /// Returns one that remembers nothing yet.
    pub fn new(registry: &'r Registry) -> Self {
        Self {
            registry,
            inactive: HashMap::new(),
        }
    }

    /// Puts a template to the version of its plugin that is active in the database.
    ///
    /// # Errors
    /// `PLUGIN_BUSY` when a call found no place, or when the database does not answer.
    pub async fn verdict(&mut self, template: &Template) -> Result<Verdict> {
        match active_itself(self.registry, &template.plugin).await {
            Ok(Some(plugin)) => {
                let faults = faults(self.registry, &plugin, template).await?;
                Ok(Verdict::Checked(faults))
            }
            Ok(None) => {
                let inactive = self.inactive(&template.plugin).await?;
                Ok(Verdict::Inactive(inactive))
            }
            Err(error) if error.code == Code::PluginUnavailable => {
                Ok(Verdict::NotLoaded(error.message))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the reason why no version of a plugin is active, unless one is.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn inactivity(&self, plugin_id: &str) -> Result<Option<Inactive>> {
        if let Some(known) = self.inactive.get(plugin_id) {
            return Ok(Some(known.clone()));
        }
        let mut conn = self.registry.db().read().await?;
        Inactive::find(&mut conn, plugin_id).await
    }

    async fn inactive(&mut self, plugin_id: &str) -> Result<Inactive> {
        if let Some(known) = self.inactive.get(plugin_id) {
            return Ok(known.clone());
        }
        let mut conn = self.registry.db().read().await?;
        let inactive = Inactive::of(&mut conn, plugin_id).await?;
        self.inactive.insert(plugin_id.to_owned(), inactive.clone());
        Ok(inactive)
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

/// Returns the conformance report of a component with all these templates.
///
/// # Errors
/// `COMPONENT_REFUSED` with the first failed check, and `PLUGIN_BUSY` when a call found no place.
pub(super) async fn conformance(
    registry: &Registry,
    plugin: &Plugin,
    templates: &[Template],
) -> Result<Value> {
    let key = key_of("conformance", plugin, templates);
    if let Some(report) = registry.findings().report(&key) {
        return Ok(report);
    }
    let (checked, templates) = (plugin.clone(), templates.to_vec());
    let report = tokio::task::spawn_blocking(move || check::conformance(&checked, &templates, &[]))
        .await
        .map_err(Error::internal)?;
    if let Some(failed) = report.first_failure() {
        if report.busy {
            return Err(decisions::no_place());
        }
        let message = format!(
            "The component does not conform: {}, {}.",
            failed.name, failed.message
        );
        let error = Error::new(Code::ComponentRefused, message)
            .with("code", "COMPONENT_DOES_NOT_CONFORM")
            .with("check", failed.name.clone());
        let fix = failed.fix.iter().map(|fix| ("fix", fix));
        let details = failed.details.iter().map(|detail| ("detail", detail));
        return Err(details
            .chain(fix)
            .fold(error, |error, (name, text)| error.with(name, text.clone())));
    }
    let report = serde_json::to_value(&report)?;
    registry.findings().note(key, report.clone());
    Ok(report)
}

/// Everything that decides how the check of a template ends.
fn key(plugin: &Plugin, template: &Template) -> String {
    key_of("template", plugin, std::slice::from_ref(template))
}

/// Everything that decides how a check ends: which one it is, this program, the component with its
/// limits, the texts.
fn key_of(check: &str, plugin: &Plugin, templates: &[Template]) -> String {
    let limits = format!("{} {:?}", plugin.size_class(), plugin.limits());
    let texts = templates.iter().map(|template| &template.source().text);
    let parts = json!([
        check,
        program(),
        plugin.digest().to_string(),
        limits,
        texts.collect::<Vec<_>>()
    ]);
    Digest::of(parts.to_string().as_bytes()).to_string()
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
