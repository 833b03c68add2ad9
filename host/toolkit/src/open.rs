//! The plugin a person means: a component, or the folder that makes one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use dermaga_runtime::{LoadError, Plugin, Runtime, SizeClass};

use crate::build::{self, BuildError, PluginSource, Progress};

/// A plugin that can be called.
#[derive(Debug)]
pub struct Opened {
    pub plugin: Plugin,
    /// Where it was built from; `None` when a component was named.
    pub source: Option<PluginSource>,
    /// How long compiling and asking it what it is took.
    pub loading: Duration,
}

/// Why there is nothing to call.
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

/// Loads a component with the limits of a class, by default the one its language needs; a folder is
/// a plugin's and is built first, its component into `out`.
///
/// # Errors
/// When it does not build, cannot be read, or is no plugin of this server.
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

/// The bytes of a component; a folder is a plugin's and is built first, its component into
/// `out`.
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
