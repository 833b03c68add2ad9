//! From plugin crates to components.
//!
//! Cargo compiles the crates to core modules, one run for each workspace; `wit-component` wraps each
//! module into the component that its bindings describe. The same sources give the same bytes on
//! one toolchain, wherever the checkout lies: no path of the machine reaches the output.
//!
//! [`build`] always asks cargo, which knows best what is fresh. [`ensure_built`] is for programs that
//! need components to be there: it asks cargo only when sources have changed since.

mod cargo;
mod compile;
mod component;
mod crates;
mod error;
mod fresh;
mod output;
mod process;
mod progress;
mod toolchain;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub use crates::{PluginCrate, discover, find};
pub use error::BuildError;
pub use output::{BuildReport, Built, Change};
pub use progress::{Event, Progress, Silent};

use self::{cargo::Workspace, output::Output, toolchain::Toolchain};

/// Where a build puts things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Gets a `NAME.wasm` for each plugin.
    pub out: PathBuf,
    /// What cargo keeps between builds; `None` is `plugins` in the workspace's own target folder.
    pub target: Option<PathBuf>,
}

/// Builds these crates, each to `OUT/NAME.wasm`. An output that does not change is not touched.
///
/// # Errors
/// When no compiler here can build plugins, when one does not compile, or when what it compiles to
/// is no plugin.
pub fn build(
    crates: &[PluginCrate],
    options: &Options,
    progress: &dyn Progress,
) -> Result<BuildReport, BuildError> {
    let output = Output::open(&options.out, progress)?;
    compile(crates, options, &output, progress)
}

/// Makes sure that the crates of a folder are built as their sources are now, and builds those that
/// are not. Safe when several processes do it at once: one builds, the others wait and use it.
/// A folder without plugin crates is fine and gives an empty report.
///
/// A newer compiler alone does not make a component stale.
///
/// # Errors
/// As [`build`].
pub fn ensure_built(
    plugins: &Path,
    out: &Path,
    progress: &dyn Progress,
) -> Result<BuildReport, BuildError> {
    let crates = discover(plugins)?;
    if let Some(report) = all_fresh(&crates, out) {
        return Ok(report);
    }
    let output = Output::open(out, progress)?;
    // Somebody else may have built them while this process waited for the folder.
    let (fresh, stale): (Vec<_>, Vec<_>) = crates
        .into_iter()
        .map(|one| (fresh::check(&one, out), one))
        .partition(|(fresh, _)| fresh.is_some());
    let stale: Vec<_> = stale.into_iter().map(|(_, one)| one).collect();
    let mut report = BuildReport::default();
    if !stale.is_empty() {
        let options = Options {
            out: out.to_owned(),
            target: None,
        };
        report = compile(&stale, &options, &output, progress)?;
    }
    report
        .plugins
        .extend(fresh.into_iter().filter_map(|(fresh, _)| fresh));
    report.plugins.sort_by(|a, b| a.plugin.cmp(&b.plugin));
    Ok(report)
}

fn all_fresh(crates: &[PluginCrate], out: &Path) -> Option<BuildReport> {
    let plugins = crates
        .iter()
        .map(|one| fresh::check(one, out))
        .collect::<Option<Vec<_>>>()?;
    Some(BuildReport {
        toolchain: None,
        plugins,
    })
}

fn compile(
    crates: &[PluginCrate],
    options: &Options,
    output: &Output,
    progress: &dyn Progress,
) -> Result<BuildReport, BuildError> {
    let Some(first) = crates.first() else {
        return Ok(BuildReport::default());
    };
    let toolchain = Toolchain::find(&first.folder, progress)?;
    progress.report(&Event::Compiling {
        plugins: crates.len(),
        toolchain: &toolchain.to_string(),
    });
    let mut report = BuildReport {
        toolchain: Some(toolchain.to_string()),
        plugins: Vec::new(),
    };
    for (workspace, members) in by_workspace(&toolchain, crates)? {
        let modules = cargo::build(
            &toolchain,
            &workspace,
            &members,
            options.target.as_deref(),
            progress,
        )?;
        for (one, module) in members.iter().zip(modules) {
            let built = output.write(one, &workspace, &module)?;
            report.plugins.push(built);
            if let Some(built) = report.plugins.last() {
                progress.report(&Event::Built {
                    built,
                    done: report.plugins.len(),
                    total: crates.len(),
                });
            }
        }
    }
    Ok(report)
}

/// One run of cargo serves all the crates of a workspace.
fn by_workspace<'c>(
    toolchain: &Toolchain,
    crates: &'c [PluginCrate],
) -> Result<BTreeMap<Workspace, Vec<&'c PluginCrate>>, BuildError> {
    let mut workspaces: BTreeMap<Workspace, Vec<&PluginCrate>> = BTreeMap::new();
    for one in crates {
        let known = workspaces
            .iter_mut()
            .find(|(workspace, _)| workspace.has(one));
        match known {
            Some((_, members)) => members.push(one),
            None => {
                workspaces.insert(Workspace::of(toolchain, one)?, vec![one]);
            }
        }
    }
    Ok(workspaces)
}

#[cfg(test)]
mod tests;
