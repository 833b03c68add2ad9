//! The check as an author runs it, on a component or on the crate that makes one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use dermaga_runtime::Runtime;

use super::{conformance, report::Report};
use crate::{
    build::{self, BuildError, Event, PluginCrate, Progress},
    case::{self, Case, CaseError},
    template::{Template, TemplateError},
};

/// What to check, against what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A component, or the folder of a plugin crate, which is built first.
    pub target: PathBuf,
    /// Folder of service templates; services are checked on the plans of those that sell them.
    pub templates: Option<PathBuf>,
    /// Folder of golden cases; `None` takes those of the crate.
    pub cases: Option<PathBuf>,
    /// Where a crate's component goes.
    pub out: PathBuf,
    /// Write what the plugin answers now into the cases.
    pub bless: bool,
}

/// What keeps a check from being made. A component that is refused or fails is a report instead.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error("the templates have errors:\n{}", lines(.0))]
    Templates(Vec<TemplateError>),
    #[error("{} cannot be read: {error}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
}

fn lines(errors: &[TemplateError]) -> String {
    errors
        .iter()
        .map(|error| format!("  {error}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Builds if need be, blesses if asked, and checks.
///
/// # Errors
/// When there is nothing to check: it does not build, or cases or templates are not readable.
pub fn check(
    runtime: &Runtime,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, CheckError> {
    let templates = match &options.templates {
        Some(folder) => Template::load_dir(folder).map_err(CheckError::Templates)?,
        None => Vec::new(),
    };
    let (component, cases) = component(options, progress)?;
    let bytes = fs::read(&component).map_err(|error| CheckError::Read {
        path: component,
        error,
    })?;
    let plugin = match runtime.load(&bytes) {
        Ok(plugin) => plugin,
        Err(error) => return Ok(Report::refused(&error)),
    };
    if options.bless
        && let Some(folder) = &cases
    {
        let changed = case::bless(folder, &plugin)?;
        progress.report(&Event::Note(&blessed(&changed)));
    }
    let cases = cases
        .as_deref()
        .map(Case::load_dir)
        .transpose()?
        .unwrap_or_default();
    Ok(conformance(&plugin, &templates, &cases))
}

fn blessed(changed: &[String]) -> String {
    if changed.is_empty() {
        "blessed: every case had this answer already".to_owned()
    } else {
        format!("blessed: {}", changed.join(", "))
    }
}

/// The component to check and the folder of its cases.
fn component(
    options: &Options,
    progress: &dyn Progress,
) -> Result<(PathBuf, Option<PathBuf>), CheckError> {
    let Options {
        target, cases, out, ..
    } = options;
    if !target.is_dir() {
        return Ok((target.clone(), cases.clone()));
    }
    let plugin = PluginCrate::at(target)?;
    let cases = cases.clone().unwrap_or_else(|| plugin.cases());
    let into = build::Options {
        out: out.clone(),
        target: None,
    };
    let report = build::build(std::slice::from_ref(&plugin), &into, progress)?;
    let built = report
        .plugins
        .into_iter()
        .next()
        .map(|built| built.component);
    Ok((
        built.unwrap_or_else(|| Path::new(out).join(&plugin.name)),
        Some(cases),
    ))
}
