//! In-memory registry of installed plugin versions.

mod loading;
mod picture;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use dermaga_runtime::{Digest, Plugin, Runtime, contract::Kind};

use super::{
    breaker::{BreakerRules, Breakers, Permit},
    findings::Findings,
    keeping::{none_active, not_loaded},
    model::PluginClass,
    signatures::Trust,
    sync,
};
use crate::{
    Code, Error, Result,
    alerts::{self, AlertKind},
    db::{Clock, Conn, Db},
    language,
};

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
}

/// Subject of the alert about a suspended version.
pub(super) fn suspension_subject(plugin: &Plugin) -> String {
    format!("{}@{:.12}", plugin.about().id, plugin.digest())
}
