//! In-memory registry of installed plugin versions.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use dermaga_runtime::{Digest, GiveUp, LoadError, Plugin, Runtime, SizeClass, contract::Kind};

use super::{
    breaker::{BreakerRules, Breakers, Permit},
    decisions,
    findings::Findings,
    keeping::{none_active, not_loaded},
    model::PluginClass,
    signatures::Trust,
    store, sync,
};
use crate::{
    Code, Error, Result,
    alerts::{self, AlertKind},
    db::{Clock, Conn, Db},
    language,
};

/// Polls between two attempts to load a version that did not load.
const POLLS_BETWEEN_ATTEMPTS: u32 = 30;

/// Operator's policy for plugins, beside their limits.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub trust: Trust,
    pub breaker: BreakerRules,
    /// Passed checks that servers of this process share.
    pub findings: Findings,
}

/// The active version of every plugin, and every other version that was asked for.
#[derive(Debug)]
pub struct Registry {
    runtime: Runtime,
    db: Db,
    clock: Clock,
    trust: Trust,
    breakers: Breakers,
    findings: Findings,
    active: ArcSwap<Active>,
    /// Any version by digest; an instance stays on the version it was made with.
    loaded: Mutex<HashMap<Digest, Plugin>>,
    /// Held while the picture is redrawn, so that an older one never replaces a newer one.
    redrawing: tokio::sync::Mutex<()>,
}

/// Swapped whole: a reader sees the state before or after a change, never between.
#[derive(Debug, Default)]
struct Active {
    plugins: BTreeMap<String, Plugin>,
    /// Classes granted by administrators; a plugin that is not there is standard.
    classes: BTreeMap<String, PluginClass>,
    /// Active versions this process could not load, with the reason. The version that ran before,
    /// if there was one, is among `plugins` still.
    failed: BTreeMap<String, Failed>,
}

#[derive(Debug, Clone)]
struct Failed {
    digest: String,
    reason: String,
    /// Polls to let pass before the next attempt.
    rest: u32,
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

/// Time to try a version again that did not load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempts {
    Now,
    AfterARest,
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
    pub fn new(runtime: Runtime, db: Db, clock: Clock, policy: Policy) -> Self {
        Self {
            runtime,
            db,
            clock,
            trust: policy.trust,
            breakers: Breakers::new(policy.breaker),
            findings: policy.findings,
            active: ArcSwap::default(),
            loaded: Mutex::default(),
            redrawing: tokio::sync::Mutex::default(),
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

    pub(super) const fn findings(&self) -> &Findings {
        &self.findings
    }

    pub(super) const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Makes the picture agree with the database. A version that does not load is shown as failed,
    /// and never takes the place of one that works; everything else serves.
    ///
    /// # Errors
    /// When the database does not answer; the picture stays as it was.
    pub async fn refresh(&self) -> Result<()> {
        self.redraw(Attempts::Now).await
    }

    /// The same, without trying at every call what did not load.
    pub(super) async fn refresh_patiently(&self) -> Result<()> {
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

    /// The active version of a plugin, as far as this server has followed; [`active`](super::active) asks the database
    /// where it has none.
    ///
    /// # Errors
    /// `PLUGIN_UNAVAILABLE` when none is active here, or the active one failed to load here.
    pub fn active(&self, plugin_id: &str) -> Result<Plugin> {
        let active = self.active.load();
        if let Some(plugin) = active.plugins.get(plugin_id) {
            return Ok(plugin.clone());
        }
        // The reason is for administrators: `failure` of the version, and an alert.
        if active.failed.contains_key(plugin_id) {
            return Err(not_loaded(plugin_id));
        }
        Err(none_active(plugin_id))
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
    pub fn class_of(&self, plugin_id: &str) -> PluginClass {
        self.active.load().class_of(plugin_id)
    }

    /// The version of a plugin that makes decisions here: not the active one, when that does not
    /// load and another ran before.
    pub fn running(&self, plugin_id: &str) -> Option<Digest> {
        let active = self.active.load();
        active.plugins.get(plugin_id).map(Plugin::digest)
    }

    /// Asks the circuit breaker for permission to call a function of a version.
    ///
    /// # Errors
    /// `PLUGIN_SUSPENDED` when that function failed too often in a row.
    pub(super) fn permit(&self, plugin: &Plugin, function: &'static str) -> Result<Permit> {
        let now = self.clock.now();
        let suspended = match self.breakers.admit(plugin.digest(), function, now) {
            Ok(permit) => return Ok(permit),
            Err(suspended) => suspended,
        };
        let (id, version) = (&plugin.about().id, &plugin.about().version);
        let seconds = (suspended.until - now).num_seconds().max(0);
        let message = format!(
            "The plugin {id} {version} is suspended, because its {function} failed again and again. It is tried again after {}.",
            self.clock.written(suspended.until)
        );
        Err(Error::new(Code::PluginSuspended, message)
            .with("plugin", id.clone())
            .with("version", version.clone())
            .with("function", function)
            .with("code", Code::PluginSuspended.as_str())
            .retry_after(u64::try_from(seconds).unwrap_or_default() + 1))
    }

    /// The moment until which a function of a version is not called here, when one is suspended.
    pub fn suspended_until(&self, digest: &str) -> Option<DateTime<Utc>> {
        self.breakers
            .suspended_until(digest.parse().ok()?, self.clock.now())
    }

    /// Ends the suspension of a version, here and, once the transaction is committed, on other
    /// servers; returns true when it was suspended here.
    pub(super) async fn resume(&self, conn: &mut Conn, plugin: &Plugin) -> Result<bool> {
        let digest = plugin.digest();
        let was_suspended = self.breakers.reset(digest);
        sync::announce_reset(conn, &digest.to_string()).await?;
        let (kind, subject) = (AlertKind::PluginSuspended, suspension_subject(plugin));
        let was_told = alerts::resolve(conn, &self.clock, kind, &subject).await?;
        Ok(was_suspended || was_told)
    }

    /// Forgets the failures of a version.
    pub(super) fn forget_failures(&self, digest: &str) {
        if let Ok(digest) = digest.parse() {
            self.breakers.reset(digest);
        }
    }

    /// Forgets a version that was deleted.
    pub(super) fn forget(&self, digest: &str) {
        language::forget(digest);
        if let Ok(digest) = digest.parse() {
            self.memory().remove(&digest);
            self.breakers.reset(digest);
        }
    }

    /// Returns the reason why the active version with this digest is not running here, if it is
    /// not.
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
    pub(super) async fn compile(
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
    pub(super) fn remember(&self, plugin: &Plugin) {
        let digest = plugin.digest();
        language::teach(&plugin.about().id, &digest.to_string(), plugin.texts());
        self.memory().insert(digest, plugin.clone());
    }

    fn remembered(&self, digest: Digest) -> Option<Plugin> {
        self.memory().get(&digest).cloned()
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Plugin>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Subject of the alert about a suspended version.
pub(super) fn suspension_subject(plugin: &Plugin) -> String {
    format!("{}@{:.12}", plugin.about().id, plugin.digest())
}
