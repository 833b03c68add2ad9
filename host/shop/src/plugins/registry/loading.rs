//! Loads installed versions, and keeps those that were loaded at hand.

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard, PoisonError},
};

use dermaga_runtime::{Digest, GiveUp, LoadError, Plugin, SizeClass};

use super::{
    super::{decisions, store},
    Registry,
};
use crate::{Code, Error, Result, language};

impl Registry {
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
        self.check_signature(key).await?;
        let plugin = self
            .compile(bytes.into(), class.into())
            .await
            .map_err(|error| {
                decisions::busy(&error).unwrap_or_else(|| {
                    // The reason is for administrators: the log, and `failure` of the version.
                    let message = format!("The plugin version {digest} could not be loaded.");
                    let refused = Error::new(Code::PluginUnavailable, message);
                    refused.with("code", error.code()).caused_by(error)
                })
            })?;
        self.remember(&plugin);
        Ok(plugin)
    }

    /// Checks the version's signature if signatures are required: it runs only while that verifies.
    async fn check_signature(&self, digest: Digest) -> Result<()> {
        if !self.trust.required {
            return Ok(());
        }
        let text = digest.to_string();
        let stored = store::signature(&mut self.db.read().await?, &text).await?;
        self.trust
            .admit_stored(digest, stored.as_deref())
            .map_err(|distrust| {
                let message = format!("The plugin version {text} is not run: {distrust}.");
                Error::new(Code::PluginUnavailable, message).with("code", distrust.code())
            })
    }

    /// Compiles a component off the async threads, for as long as the answer is waited for.
    pub(in crate::plugins) async fn compile(
        &self,
        bytes: Arc<[u8]>,
        class: SizeClass,
    ) -> Result<Plugin, LoadError> {
        let (runtime, give_up) = (self.runtime.clone(), GiveUp::default());
        let _waiting = give_up.on_drop();
        let load = move || runtime.load_unless(&bytes, class, &give_up);
        let loaded = tokio::task::spawn_blocking(load).await;
        loaded.unwrap_or_else(|error| {
            Err(LoadError::Unsupported(format!("loading stopped: {error}")))
        })
    }

    /// Keeps an installed version at hand, and its sentences in the language of those who read them.
    pub(in crate::plugins) fn remember(&self, plugin: &Plugin) {
        let digest = plugin.digest();
        language::teach(&plugin.about().id, &digest.to_string(), plugin.texts());
        self.memory().insert(digest, plugin.clone());
    }

    fn remembered(&self, digest: Digest) -> Option<Plugin> {
        self.memory().get(&digest).cloned()
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, HashMap<Digest, Plugin>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
