//! The plugin engine of a process, which loads components and takes plugins of other engines.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{
    cache::Cache,
    compiler::{Compiler, GiveUp, Workshop},
    engine::{self, Core},
    error::{LoadError, RuntimeError},
    limits::{Limits, SizeClass},
    load,
    per_core::PerCore,
    plugin::Plugin,
};

/// Settings of the runtime.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    pub limits: Limits,
    /// Folder for compiled components, kept between starts; `None` compiles at every load.
    pub cache_dir: Option<PathBuf>,
    /// Program that compiles; `None` compiles in this process.
    pub compiler: Option<Compiler>,
    /// Maximum of concurrent calls.
    pub concurrency: usize,
    /// Longest wait of a call for a permit; after it the call fails with `PLUGIN_BUSY`.
    pub queue_wait: Duration,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            cache_dir: None,
            compiler: None,
            concurrency: 32,
            queue_wait: Duration::from_secs(2),
        }
    }
}

/// The plugin engine of a process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    cores: Arc<PerCore<Arc<Core>>>,
    cache: Option<Arc<Cache>>,
    workshop: Arc<Workshop>,
}

impl Runtime {
    /// Builds the engines, reserves address space for their pools and starts their clock.
    pub fn new(config: RuntimeConfig) -> Result<Self, RuntimeError> {
        let RuntimeConfig {
            limits,
            cache_dir,
            compiler,
            concurrency,
            queue_wait,
        } = config;
        let cores = engine::cores(limits, concurrency, queue_wait)?;
        let cache = cache_dir
            .map(|folder| Cache::open(folder, &cores.first().engine))
            .transpose()?;
        Ok(Self {
            cores: Arc::new(cores),
            cache: cache.map(Arc::new),
            workshop: Arc::new(Workshop::new(compiler)),
        })
    }

    /// Validates, compiles (or takes from the cache) and describes a component of the standard
    /// class. Compiling takes from tens of milliseconds to seconds and blocks.
    pub fn load(&self, component: &[u8]) -> Result<Plugin, LoadError> {
        self.load_as(component, SizeClass::Standard)
    }

    /// Loads a component as [`Runtime::load`] does, with the size and memory of this class.
    pub fn load_as(&self, component: &[u8], class: SizeClass) -> Result<Plugin, LoadError> {
        self.load_unless(component, class, &GiveUp::default())
    }

    /// Loads a component as [`Runtime::load_as`] does, until `give_up` ends it. Components are
    /// compiled one at a time, so a load may wait for others.
    pub fn load_unless(
        &self,
        component: &[u8],
        class: SizeClass,
        give_up: &GiveUp,
    ) -> Result<Plugin, LoadError> {
        let means = load::Means {
            cores: &self.cores,
            cache: self.cache.as_deref(),
            workshop: &self.workshop,
            give_up,
        };
        load::load(&means, component, class)
    }

    /// Returns the limits in force.
    pub fn limits(&self) -> &Limits {
        &self.cores.first().limits
    }
}

impl Plugin {
    /// Returns the same plugin on another runtime, under its limits.
    ///
    /// # Errors
    /// When the machine code does not fit that runtime.
    pub fn on(&self, runtime: &Runtime) -> Result<Self, LoadError> {
        let lane = load::copy(self.guest(), runtime.cores.first(), self.world())?;
        Ok(self.on_lane(lane))
    }
}
