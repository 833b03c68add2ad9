//! Conformance check as a command, on a component or on the folder of a plugin.

use std::path::PathBuf;

use dermaga_runtime::{Runtime, SizeClass};

use super::{conformance, report::Report, sale::unused_texts};
use crate::{
    build::{Event, PluginSource, Progress},
    case::{self, Case, CaseError},
    open::{OpenError, Opened, open},
    template::{Template, TemplateError},
};

/// Options of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// A component, or the folder of a plugin, which is built first.
    pub target: PathBuf,
    /// Class whose limits apply; `None` is the one that the plugin's language needs.
    pub class: Option<SizeClass>,
    /// Folder of service templates; services are checked on the plans of those that sell them.
    pub templates: Option<PathBuf>,
    /// Folder of golden cases; `None` takes the plugin's own.
    pub cases: Option<PathBuf>,
    /// Output folder of the component.
    pub out: PathBuf,
    /// Writes the plugin's present answers into the cases.
    pub bless: bool,
}

/// Error before the check. A component that is refused or fails results in a report instead.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error("the templates have errors:\n{}", lines(.0))]
    Templates(Vec<TemplateError>),
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
/// When the plugin does not build, or cases or templates cannot be read.
pub fn check(
    runtime: &Runtime,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report, CheckError> {
    let templates = match &options.templates {
        Some(folder) => Template::load_dir(folder).map_err(CheckError::Templates)?,
        None => Vec::new(),
    };
    let opened = open(
        runtime,
        options.class,
        &options.target,
        &options.out,
        progress,
    );
    let Opened {
        plugin,
        source,
        loading,
    } = match opened {
        Err(OpenError::Load(error)) => return Ok(Report::refused(&error)),
        opened => opened?,
    };
    let of_crate = || source.as_ref().map(PluginSource::cases);
    let cases = options.cases.clone().or_else(of_crate);
    if options.bless
        && let Some(folder) = &cases
    {
        let changed = case::bless(folder, &plugin)?;
        progress.report(&Event::Note(&case::blessed(&changed)));
    }
    let cases = cases
        .as_deref()
        .map(Case::load_dir)
        .transpose()?
        .unwrap_or_default();
    let unused = unused_texts(&plugin, &templates);
    if !unused.is_empty() {
        return Err(CheckError::Templates(unused));
    }
    let mut report = conformance(&plugin, &templates, &cases);
    if let Some(timing) = &mut report.timing {
        timing.load_micros = u64::try_from(loading.as_micros()).ok();
    }
    Ok(report)
}
