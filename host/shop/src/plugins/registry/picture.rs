//! Makes the registry's picture agree with the database.

use std::sync::Arc;

use dermaga_runtime::Plugin;

use super::{super::store, Active, Failed, Registry};
use crate::{
    Code, Error, Result,
    alerts::{self, AlertKind},
};

/// Polls between two attempts to load a version that did not load.
const POLLS_BETWEEN_ATTEMPTS: u32 = 30;

/// Time to try a version again that did not load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempts {
    Now,
    AfterARest,
}

impl Failed {
    fn new(digest: String, error: &Error, rest: u32) -> Self {
        Self {
            digest,
            reason: error.message.clone(),
            rest,
        }
    }
}

impl Registry {
    /// Makes the picture agree with the database. A version that does not load is shown as failed,
    /// and never takes the place of one that works; everything else serves.
    ///
    /// # Errors
    /// When the database does not answer; the picture stays as it was.
    pub async fn refresh(&self) -> Result<()> {
        self.redraw(Attempts::Now).await
    }

    /// The same, without trying at every call what did not load.
    pub(in crate::plugins) async fn refresh_patiently(&self) -> Result<()> {
        self.redraw(Attempts::AfterARest).await
    }

    /// Loads every active version and raises no alert, for a check beside the servers. Returns, by
    /// plugin, the version or the reason why it does not load.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn load_all(&self) -> Result<Vec<(String, Result<Plugin>)>> {
        let mut conn = self.db.read().await?;
        let wanted = store::active(&mut conn).await?;
        let classes = store::classes(&mut conn).await?;
        drop(conn);
        let mut next = Active {
            classes: classes.into_iter().collect(),
            ..Active::default()
        };
        let mut found = Vec::with_capacity(wanted.len());
        for (plugin_id, digest) in wanted {
            let class = next.class_of(&plugin_id).into();
            let loaded = self.version(&digest).await;
            let id = plugin_id.clone();
            match &loaded {
                Ok(plugin) => drop(next.plugins.insert(id, plugin.clone().as_class(class))),
                Err(error) => {
                    // It is not tried again at once, which would raise an alert.
                    let failed = Failed::new(digest, error, POLLS_BETWEEN_ATTEMPTS);
                    next.failed.insert(id, failed);
                }
            }
            found.push((plugin_id, loaded));
        }
        self.show(next);
        Ok(found)
    }

    async fn redraw(&self, attempts: Attempts) -> Result<()> {
        let _alone = self.redrawing.lock().await;
        let (wanted, classes) = {
            let mut conn = self.db.read().await?;
            (
                store::active(&mut conn).await?,
                store::classes(&mut conn).await?,
            )
        };
        let current = self.active.load_full();
        let mut next = Active {
            classes: classes.into_iter().collect(),
            ..Active::default()
        };
        let mut recovered = Vec::new();
        for (plugin_id, digest) in wanted {
            let class = next.class_of(&plugin_id).into();
            let running = current.plugins.get(&plugin_id);
            let attempt = match (running, current.failed.get(&plugin_id)) {
                (Some(plugin), _) if plugin.digest().to_string() == digest => Ok(plugin.clone()),
                (_, Some(failed))
                    if failed.digest == digest
                        && failed.rest > 0
                        && attempts == Attempts::AfterARest =>
                {
                    let rest = failed.rest - 1;
                    Err(Failed {
                        rest,
                        ..failed.clone()
                    })
                }
                _ => {
                    let loaded = self.load_active(&plugin_id, &digest).await;
                    recovered.extend(loaded.is_ok().then(|| plugin_id.clone()));
                    loaded
                }
            };
            match attempt {
                Ok(plugin) => drop(next.plugins.insert(plugin_id, plugin.as_class(class))),
                Err(failed) => {
                    if let Some(plugin) = running {
                        next.plugins
                            .insert(plugin_id.clone(), plugin.as_class(class));
                    }
                    next.failed.insert(plugin_id, failed);
                }
            }
        }
        self.show(next);
        self.resolve_loaded(&recovered).await
    }

    /// Swaps the picture. The catalogue says which versions run.
    fn show(&self, next: Active) {
        self.active.store(Arc::new(next));
        self.db.catalogue().raise();
    }

    /// Loads a version that became active; a failure raises an alert for administrators.
    async fn load_active(&self, plugin_id: &str, digest: &str) -> Result<Plugin, Failed> {
        let error = match self.version(digest).await {
            Ok(plugin) => {
                tracing::info!(
                    plugin.id = plugin_id,
                    plugin.digest = digest,
                    "plugin.active"
                );
                return Ok(plugin);
            }
            Err(error) => error,
        };
        tracing::error!(plugin.id = plugin_id, plugin.digest = digest, %error, "plugin.load_failed");
        let message = format!(
            "The active version of {plugin_id} does not load on a server: {} Until it does, that server keeps the version it had, or sells nothing of this plugin. Activate a version that loads everywhere.",
            error.message
        );
        if let Err(error) = self
            .raise(AlertKind::PluginNotLoaded, plugin_id, &message)
            .await
        {
            tracing::error!(plugin.id = plugin_id, %error, "alert.not_raised");
        }
        // A server that is merely busy or cut off from its database tries at the next poll.
        let rest = match error.code {
            Code::PluginBusy | Code::Unavailable => 0,
            _ => POLLS_BETWEEN_ATTEMPTS,
        };
        Err(Failed::new(digest.to_owned(), &error, rest))
    }

    async fn raise(&self, kind: AlertKind, subject: &str, message: &str) -> Result<()> {
        let mut conn = self.db.begin().await?;
        alerts::raise(&mut conn, &self.clock, kind, subject, message).await?;
        Ok(conn.commit().await?)
    }

    /// Ends the alerts about plugins that load now. A server that still fails raises its alert
    /// again at its next attempt.
    async fn resolve_loaded(&self, plugin_ids: &[String]) -> Result<()> {
        let kind = AlertKind::PluginNotLoaded;
        let open = alerts::open_subjects(&mut self.db.read().await?, kind).await?;
        for plugin_id in plugin_ids.iter().filter(|id| open.contains(id)) {
            let mut conn = self.db.begin().await?;
            alerts::resolve(&mut conn, &self.clock, kind, plugin_id).await?;
            conn.commit().await?;
        }
        Ok(())
    }
}
