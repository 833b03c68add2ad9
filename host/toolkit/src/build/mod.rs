//! Builds components from the folders of plugins.
//!
//! Rust: cargo compiles crates to core modules, one run for each workspace. C: clang compiles the
//! sources with generated bindings. For both, `wit-component` wraps each module into the component
//! that its bindings describe; one toolchain makes the same bytes of the same sources in any
//! folder, as no path of the machine reaches the output. JavaScript: `componentize-js` makes the
//! component, with other bytes each time. The plugin's texts in other languages go behind it.
//!
//! [`build`] always runs cargo and clang. [`ensure_built`] compiles only what has changed, for
//! programs that need the components.

mod apt;
mod c;
mod cargo;
mod compile;
mod component;
mod contract;
mod error;
mod fresh;
mod javascript;
mod manifest;
mod output;
mod process;
mod progress;
mod sources;
mod toolchain;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

pub use error::BuildError;
pub use output::{BuildReport, Built, Change};
pub use progress::{Event, Leave, Progress, Silent};
pub use sources::{Language, PluginSource, discover, find};

use self::{cargo::Workspace, output::Output, toolchain::Toolchain};

/// Output folders of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Folder that receives a `NAME.wasm` for each plugin.
    pub out: PathBuf,
    /// Cargo's target folder; `None` is `plugins` in the workspace's own one.
    pub target: Option<PathBuf>,
}

/// Builds these crates, each to `OUT/NAME.wasm`. An output that does not change is not touched.
///
/// # Errors
/// When no compiler here can build plugins, when one does not compile, or when what it compiles to
/// is no plugin.
pub fn build(
    crates: &[PluginSource],
    options: &Options,
    progress: &dyn Progress,
) -> Result<BuildReport, BuildError> {
    let output = Output::open(&options.out, progress)?;
    compile(crates, options, &output, progress)
}

/// Builds those plugins of a folder whose sources have changed. Safe in several processes at once:
/// one builds, the others wait and use the result. Returns an empty report for a folder without
/// plugins.
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
    // Another process may have built them while this one waited for the folder.
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

fn all_fresh(crates: &[PluginSource], out: &Path) -> Option<BuildReport> {
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
    plugins: &[PluginSource],
    options: &Options,
    output: &Output,
    progress: &dyn Progress,
) -> Result<BuildReport, BuildError> {
    let mut work = Work {
        output,
        progress,
        total: plugins.len(),
        toolchains: Vec::new(),
        built: Vec::new(),
    };
    let of = |wanted: fn(&Language) -> bool| -> Vec<&PluginSource> {
        let written = plugins.iter().filter(|one| wanted(&one.language));
        written.collect()
    };
    work.rust(
        &of(|language| matches!(language, Language::Rust)),
        options.target.as_deref(),
    )?;
    work.javascript(&of(|language| {
        matches!(language, Language::JavaScript { .. })
    }))?;
    work.c(&of(|language| matches!(language, Language::C { .. })))?;
    work.built.sort_by(|a, b| a.plugin.cmp(&b.plugin));
    Ok(BuildReport {
        toolchain: (!work.toolchains.is_empty()).then(|| work.toolchains.join(", ")),
        plugins: work.built,
    })
}

/// A build under way. Files generated beside the sources are locked while a plugin is built, as
/// another process may build the same one into another folder.
struct Work<'a> {
    output: &'a Output,
    progress: &'a dyn Progress,
    total: usize,
    toolchains: Vec<String>,
    built: Vec<Built>,
}

impl Work<'_> {
    fn rust(&mut self, crates: &[&PluginSource], target: Option<&Path>) -> Result<(), BuildError> {
        let Some(first) = crates.first() else {
            return Ok(());
        };
        let toolchain = Toolchain::find(&first.folder, self.progress)?;
        self.starts(crates.len(), toolchain.to_string());
        for (workspace, members) in by_workspace(&toolchain, crates)? {
            let modules = cargo::build(&toolchain, &workspace, &members, target, self.progress)?;
            for (one, module) in members.into_iter().zip(modules) {
                let core = std::fs::read(&module).map_err(BuildError::reading(&module))?;
                let files = fresh::read_by_cargo(one, &workspace.root, &module)?;
                self.put(one, &component_of(one, &core)?, files)?;
            }
        }
        Ok(())
    }

    /// Builds the JavaScript plugins that are stale. Fresh ones stay: a snapshot of the engine
    /// never has the same bytes twice.
    fn javascript(&mut self, plugins: &[&PluginSource]) -> Result<(), BuildError> {
        let (fresh, stale): (Vec<_>, Vec<_>) = plugins
            .iter()
            .map(|one| (fresh::check(one, &self.output.folder), *one))
            .partition(|(fresh, _)| fresh.is_some());
        for built in fresh.into_iter().filter_map(|(fresh, _)| fresh) {
            self.done(built);
        }
        if stale.is_empty() {
            return Ok(());
        }
        let toolchain = javascript::toolchain(self.progress)?;
        self.starts(stale.len(), toolchain);
        for (_, one) in stale {
            if let Language::JavaScript { kind, entry } = &one.language {
                let _held = Output::open(&one.folder.join("target/contract"), self.progress)?;
                let component = javascript::build(one, *kind, entry, self.progress)?;
                self.put(one, &component, javascript::files(one)?)?;
            }
        }
        Ok(())
    }

    fn c(&mut self, plugins: &[&PluginSource]) -> Result<(), BuildError> {
        if plugins.is_empty() {
            return Ok(());
        }
        let toolchain = c::toolchain(self.progress)?;
        self.starts(plugins.len(), toolchain);
        for one in plugins {
            if let Language::C { kind } = one.language {
                let _held = Output::open(&one.folder.join("target/bindings"), self.progress)?;
                let module = c::build(one, kind)?;
                self.put(one, &component_of(one, &module)?, c::files(one)?)?;
            }
        }
        Ok(())
    }

    fn starts(&mut self, plugins: usize, toolchain: String) {
        self.progress.report(&Event::Compiling {
            plugins,
            toolchain: &toolchain,
        });
        self.toolchains.push(toolchain);
    }

    fn put(
        &mut self,
        one: &PluginSource,
        component: &[u8],
        files: BTreeSet<PathBuf>,
    ) -> Result<(), BuildError> {
        let mut component = component.to_vec();
        manifest::texts(one)?.append_to(&mut component);
        let built = self.output.put(one, &component, files)?;
        self.done(built);
        Ok(())
    }

    fn done(&mut self, built: Built) {
        self.progress.report(&Event::Built {
            built: &built,
            done: self.built.len() + 1,
            total: self.total,
        });
        self.built.push(built);
    }
}

fn component_of(one: &PluginSource, module: &[u8]) -> Result<Vec<u8>, BuildError> {
    component::component(module).map_err(|why| BuildError::NoComponent {
        plugin: one.name.clone(),
        why,
    })
}

/// Groups crates by workspace: one run of cargo builds all the crates of one.
fn by_workspace<'c>(
    toolchain: &Toolchain,
    crates: &[&'c PluginSource],
) -> Result<BTreeMap<Workspace, Vec<&'c PluginSource>>, BuildError> {
    let mut workspaces: BTreeMap<Workspace, Vec<&PluginSource>> = BTreeMap::new();
    for &one in crates {
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
