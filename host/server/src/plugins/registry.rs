//! This process's picture of the installed plugins.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use dermaga_runtime::{Digest, LoadError, Plugin, Runtime, SizeClass, contract::Kind};
use tokio_util::sync::CancellationToken;

use super::{model::PluginClass, store};
use crate::{
    Code, Error, Result,
    db::{Clock, Db},
};

/// How soon a server notices what another one activated.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(2);

/// The active version of every plugin, and every other version that was asked for.
#[derive(Debug)]
pub struct Registry {
    runtime: Runtime,
    db: Db,
    clock: Clock,
    active: ArcSwap<Active>,
    /// Any version by digest; an instance stays on the version it was made with.
    loaded: Mutex<HashMap<Digest, Plugin>>,
}

/// Swapped whole: a reader sees the state before or after a change, never between.
#[derive(Debug, Default)]
struct Active {
    plugins: BTreeMap<String, Plugin>,
    /// What administrators granted; a plugin that is not there is standard.
    classes: BTreeMap<String, PluginClass>,
    /// Active versions this process could not load, with the reason.
    failed: BTreeMap<String, Failed>,
}

#[derive(Debug, Clone)]
struct Failed {
    digest: String,
    reason: String,
}

impl Active {
    fn class_of(&self, plugin_id: &str) -> PluginClass {
        self.classes
            .get(plugin_id)
            .copied()
            .unwrap_or(PluginClass::Standard)
    }
}

impl Registry {
    /// An empty picture; [`Registry::refresh`] fills it.
    pub fn new(runtime: Runtime, db: Db, clock: Clock) -> Self {
        Self {
            runtime,
            db,
            clock,
            active: ArcSwap::default(),
            loaded: Mutex::default(),
        }
    }

    pub const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub const fn db(&self) -> &Db {
        &self.db
    }

    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Makes the picture agree with the database. A version that does not load is shown as failed;
    /// everything else serves.
    ///
    /// # Errors
    /// When the database does not answer; the picture stays as it was.
    pub async fn refresh(&self) -> Result<()> {
        let (wanted, classes) = {
            let mut conn = self.db.read().await?;
            (
                store::active(&mut conn).await?,
                store::classes(&mut conn).await?,
            )
        };
        let current = self.active.load();
        let mut next = Active {
            classes: classes.into_iter().collect(),
            ..Active::default()
        };
        for (plugin_id, digest) in wanted {
            if let Some(plugin) = current
                .plugins
                .get(&plugin_id)
                .filter(|plugin| plugin.digest().to_string() == digest)
            {
                let plugin = plugin.as_class(next.class_of(&plugin_id).into());
                next.plugins.insert(plugin_id, plugin);
                continue;
            }
            match self.version(&digest).await {
                Ok(plugin) => {
                    tracing::info!(
                        plugin.id = plugin_id,
                        plugin.digest = digest,
                        "plugin.active"
                    );
                    let plugin = plugin.as_class(next.class_of(&plugin_id).into());
                    next.plugins.insert(plugin_id, plugin);
                }
                Err(error) => {
                    let known = current
                        .failed
                        .get(&plugin_id)
                        .is_some_and(|failed| failed.digest == digest);
                    if !known {
                        tracing::error!(plugin.id = plugin_id, plugin.digest = digest, %error, "plugin.load_failed");
                    }
                    next.failed.insert(
                        plugin_id,
                        Failed {
                            digest,
                            reason: error.message,
                        },
                    );
                }
            }
        }
        self.active.store(Arc::new(next));
        Ok(())
    }

    /// Keeps this server in step with others on the same database, until cancelled.
    pub async fn follow(&self, cancel: CancellationToken) {
        while cancel
            .run_until_cancelled(tokio::time::sleep(FOLLOW_INTERVAL))
            .await
            .is_some()
        {
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "plugins.refresh_failed");
            }
        }
    }

    /// The active version of a plugin.
    ///
    /// # Errors
    /// `PLUGIN_UNAVAILABLE` when none is active, or the active one failed to load here.
    pub fn active(&self, plugin_id: &str) -> Result<Plugin> {
        let active = self.active.load();
        if let Some(plugin) = active.plugins.get(plugin_id) {
            return Ok(plugin.clone());
        }
        let message = match active.failed.get(plugin_id) {
            Some(failed) => format!(
                "The plugin `{plugin_id}` could not be loaded: {}",
                failed.reason
            ),
            None => format!("No version of the plugin `{plugin_id}` is active."),
        };
        Err(Error::new(Code::PluginUnavailable, message).with("plugin", plugin_id))
    }

    /// Every active plugin of a kind, by id.
    pub fn all_active(&self, kind: Kind) -> Vec<Plugin> {
        self.active
            .load()
            .plugins
            .values()
            .filter(|plugin| plugin.kind() == kind)
            .cloned()
            .collect()
    }

    /// The class of size and memory that administrators granted this plugin.
    pub(super) fn class_of(&self, plugin_id: &str) -> PluginClass {
        self.active.load().class_of(plugin_id)
    }

    /// Why the active version with this digest is not running here, when it is not.
    pub fn failure_of(&self, digest: &str) -> Option<String> {
        let active = self.active.load();
        active
            .failed
            .values()
            .find(|failed| failed.digest == digest)
            .map(|failed| failed.reason.clone())
    }

    /// Plugin ids whose active version failed to load, with the reason.
    pub fn failures(&self) -> Vec<(String, String)> {
        let active = self.active.load();
        active
            .failed
            .iter()
            .map(|(id, failed)| (id.clone(), failed.reason.clone()))
            .collect()
    }

    /// Any installed version, whatever its state.
    ///
    /// # Errors
    /// `NOT_FOUND` for an unknown digest, `PLUGIN_UNAVAILABLE` when it does not load.
    pub async fn version(&self, digest: &str) -> Result<Plugin> {
        let key: Digest = digest
            .parse()
            .map_err(|_| Error::not_found("plugin version"))?;
        if let Some(plugin) = self.remembered(key) {
            let class = self.active.load().class_of(&plugin.about().id);
            return Ok(plugin.as_class(class.into()));
        }
        let (bytes, class) = {
            let mut conn = self.db.read().await?;
            let (plugin_id, bytes) = store::component(&mut conn, digest)
                .await?
                .ok_or_else(|| Error::not_found("plugin version"))?;
            (bytes, store::class_of(&mut conn, &plugin_id).await?)
        };
        if Digest::of(&bytes) != key {
            let message =
                format!("The stored component {digest} is damaged: its bytes have another digest.");
            return Err(Error::new(Code::PluginUnavailable, message));
        }
        let plugin = self
            .compile(bytes.into(), class.into())
            .await
            .map_err(|error| {
                Error::new(
                    Code::PluginUnavailable,
                    format!("The plugin version {digest} does not load: {error}"),
                )
                .with("code", error.code())
            })?;
        self.remember(&plugin);
        Ok(plugin)
    }

    /// Compiles a component off the async threads.
    pub(super) async fn compile(
        &self,
        bytes: Arc<[u8]>,
        class: SizeClass,
    ) -> Result<Plugin, LoadError> {
        let runtime = self.runtime.clone();
        let loaded = tokio::task::spawn_blocking(move || runtime.load_as(&bytes, class)).await;
        loaded.unwrap_or_else(|error| {
            Err(LoadError::Unsupported(format!("loading stopped: {error}")))
        })
    }

    /// Keeps an installed version at hand.
    pub(super) fn remember(&self, plugin: &Plugin) {
        self.memory().insert(plugin.digest(), plugin.clone());
    }

    fn remembered(&self, digest: Digest) -> Option<Plugin> {
        self.memory().get(&digest).cloned()
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Plugin>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
