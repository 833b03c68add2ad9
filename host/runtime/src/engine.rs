//! The wasmtime engine of the process.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    error::{LoadError, RuntimeError},
    limits::Limits,
    plugin::Plugin,
};

/// How the runtime is set up.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    pub limits: Limits,
    /// Where compiled components are kept between starts; `None` compiles at every load.
    pub cache_dir: Option<PathBuf>,
    /// Calls that may run at the same time.
    pub concurrency: usize,
    /// How long a call may wait for a free place before it fails with `PLUGIN_BUSY`.
    pub queue_wait: Duration,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            cache_dir: None,
            concurrency: 32,
            queue_wait: Duration::from_secs(2),
        }
    }
}

/// The plugin engine of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    config: Arc<RuntimeConfig>,
}

impl Runtime {
    /// Builds the engine and reserves its memory.
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// Validates, compiles (or takes from the cache) and describes a component.
    pub fn load(&self, _component: &[u8]) -> Result<Plugin, LoadError> {
        Err(LoadError::Unsupported(
            "the engine is not connected yet".to_owned(),
        ))
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.config.limits
    }
}
