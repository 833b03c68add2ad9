//! Opens the plugin named on a command line: a component, or the folder of a plugin.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use dermaga_runtime::{LoadError, Plugin, Runtime, SizeClass};

use crate::build::{self, BuildError, PluginSource, Progress};

/// A loaded plugin.
#[derive(Debug)]
pub struct Opened {
    pub plugin: Plugin,
    /// Sources it was built from; `None` when a component was named.
    pub source: Option<PluginSource>,
    /// Time of compiling to machine code and asking for the plugin's identity.
    pub loading: Duration,
}

/// Reason for which no plugin could be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("{} cannot be read: {error}; name a component (*.wasm) or the folder of a plugin", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("{0} ({code})", code = .0.code())]
    Load(#[source] LoadError),
}

/// Loads a component with the limits of a class, by default the one its language needs. A folder is
/// built first, its component into `out`.
///
/// # Errors
/// When it does not build, cannot be read, or is not a plugin for this server.
pub fn open(
    runtime: &Runtime,
    class: Option<SizeClass>,
    target: &Path,
    out: &Path,
    progress: &dyn Progress,
) -> Result<Opened, OpenError> {
    let (bytes, source) = component(target, out, progress)?;
    let needed = source.as_ref().map(|source| source.language.class());
    let class = class.or(needed).unwrap_or_default();
    let started = Instant::now();
    let plugin = runtime.load_as(&bytes, class).map_err(OpenError::Load)?;
    Ok(Opened {
        plugin,
        source,
        loading: started.elapsed(),
    })
}

/// Returns the bytes of a component. A folder is built first, its component into `out`.
///
/// # Errors
/// When it does not build or cannot be read.
pub fn component(
    target: &Path,
    out: &Path,
    progress: &dyn Progress,
) -> Result<(Vec<u8>, Option<PluginSource>), OpenError> {
    let (path, source) = if target.is_dir() {
        let (path, source) = built(target, out, progress)?;
        (path, Some(source))
    } else {
        (target.to_owned(), None)
    };
    match fs::read(&path) {
        Ok(bytes) => Ok((bytes, source)),
        Err(error) => Err(OpenError::Read { path, error }),
    }
}

fn built(
    folder: &Path,
    out: &Path,
    progress: &dyn Progress,
) -> Result<(PathBuf, PluginSource), BuildError> {
    let source = PluginSource::at(folder)?;
    let into = build::Options {
        out: out.to_owned(),
        target: None,
    };
    let report = build::build(std::slice::from_ref(&source), &into, progress)?;
    let component = report.plugins.into_iter().next().map_or_else(
        || out.join(&source.name).with_extension("wasm"),
        |built| built.component,
    );
    Ok((component, source))
}
