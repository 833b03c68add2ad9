//! Versions and plugins that others count on: which are active in the database, and kept from being retired or
//! replaced until a transaction ends.

use dermaga_runtime::Plugin;

use super::{
    Registry, lifecycle::Step, model::VersionState, retirements::Retirements, sale, store,
};
use crate::{Code, Error, Result, db::Conn};

/// Step that gives a plugin without an active version one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Activate one of its versions.
    Activate,
    /// Upload it with a higher version number: all its versions are retired, and none of them is activated again.
    UploadHigher,
    /// Upload a version: it has none.
    Upload,
}

impl Remedy {
    /// Returns the step for a plugin whose versions have these states, none of them active.
    fn of(states: &[VersionState]) -> Self {
        let can_be_activated = |state: &VersionState| state.after(Step::Activate).is_some();
        if states.is_empty() {
            Self::Upload
        } else if states.iter().any(can_be_activated) {
            Self::Activate
        } else {
            Self::UploadHigher
        }
    }

    /// Returns the advice where an active version is needed.
    const fn advice(self) -> &'static str {
        match self {
            Self::Activate => "Activate a version of it first.",
            Self::UploadHigher => "Upload it with a higher version number and activate that first.",
            Self::Upload => "Upload a version of it and activate that first.",
        }
    }
}

/// Refuses a retired version: it keeps serving its instances, and nothing moves to it.
///
/// # Errors
/// `INVALID_STATE` when the version is retired.
pub async fn refuse_retired(conn: &mut Conn, digest: &str) -> Result<()> {
    match store::state_of(conn, digest).await? {
        Some((_, VersionState::Retired)) => {
            let message = "This version is retired: nothing is moved to it. Choose another one.";
            Err(Error::new(Code::InvalidState, message).with("to", digest))
        }
        _ => Ok(()),
    }
}

/// Keeps a version from being retired until the caller's transaction ends.
///
/// # Errors
/// As [`refuse_retired`].
pub async fn keep_unretired(conn: &mut Conn, digest: &str) -> Result<()> {
    store::hold(conn, digest).await?;
    refuse_retired(conn, digest).await
}

/// Keeps a plugin from being retired until the caller's transaction ends; returns false when none of its versions is
/// active (any more).
///
/// # Errors
/// When the database does not answer.
pub async fn keep_active(conn: &mut Conn, plugin_id: &str) -> Result<bool> {
    store::lock(conn, plugin_id).await?;
    Ok(store::active_of(conn, plugin_id).await?.is_some())
}

/// Keeps all plugins that services are made by from being retired until the caller's transaction ends. The caller has
/// the locks of categories, if any, and takes those of services afterwards.
///
/// # Errors
/// When the database does not answer.
pub async fn keep_all_active(conn: &mut Conn) -> Result<()> {
    Ok(sale::store::lock_active(conn).await?)
}

/// Returns the reasons for which the services of a plugin are off sale until a version of it is active.
pub(super) fn inactivity(plugin_id: &str) -> [String; 2] {
    [
        format!("The plugin `{plugin_id}` was retired."),
        format!("No version of the plugin `{plugin_id}` is active."),
    ]
}

/// Reason why nothing of a plugin is sold: none of its versions is active.
#[derive(Debug, Clone)]
pub struct Inactive {
    /// Sentence that says so.
    pub why: String,
    /// True when an administrator retired it: its file in the folder of plugins does not bring it back.
    pub was_retired: bool,
    /// Step that gives it an active version.
    pub remedy: Remedy,
}

impl Inactive {
    /// Returns the reason for a plugin of which no version is active.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn of(conn: &mut Conn, plugin_id: &str) -> Result<Self> {
        let was_retired = Retirements::of(conn, plugin_id).await?.is_of_plugin();
        let [retired, absent] = inactivity(plugin_id);
        let why = if was_retired { retired } else { absent };
        let remedy = Remedy::of(&store::states_of(conn, plugin_id).await?);
        Ok(Self {
            why,
            was_retired,
            remedy,
        })
    }

    /// Returns the reason, unless a version of the plugin is active in the database.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find(conn: &mut Conn, plugin_id: &str) -> Result<Option<Self>> {
        if store::active_of(conn, plugin_id).await?.is_some() {
            return Ok(None);
        }
        Self::of(conn, plugin_id).await.map(Some)
    }

    /// Returns the reason and the advice, a sentence each.
    #[must_use]
    pub fn told(&self) -> String {
        format!("{} {}", self.why, self.remedy.advice())
    }

    /// Returns the refusal of a request that needs an active version.
    pub(super) fn refusal(&self) -> Error {
        Error::new(Code::InvalidState, self.told())
    }
}

/// Refuses to sell what a plugin without an active version makes.
///
/// # Errors
/// `INVALID_STATE` with the reason.
pub async fn refuse_inactive(conn: &mut Conn, plugin_id: &str) -> Result<()> {
    match Inactive::find(conn, plugin_id).await? {
        None => Ok(()),
        Some(inactive) => Err(inactive.refusal()),
    }
}

/// Returns the version of a plugin that decides on this server. One that another server activated a moment ago is
/// loaded first where none decides here yet; else the database is not asked.
///
/// The caller has no connection: one is taken to look for the version.
///
/// # Errors
/// `PLUGIN_UNAVAILABLE` when none is active, or the active one does not load here.
pub async fn active(registry: &Registry, plugin_id: &str) -> Result<Plugin> {
    if let Ok(plugin) = registry.active(plugin_id) {
        return Ok(plugin);
    }
    let found = Box::pin(active_now(registry, plugin_id)).await?;
    found.ok_or_else(|| none_active(plugin_id))
}

/// Returns the active version of a plugin, as the database has it: this server loads it first where it has not
/// followed yet. Returns `None` when none is active, and the one that ran before where the active one does not load.
///
/// # Errors
/// `PLUGIN_UNAVAILABLE` when it does not load here, and none ran before.
pub async fn active_now(registry: &Registry, plugin_id: &str) -> Result<Option<Plugin>> {
    match followed(registry, plugin_id).await? {
        Some(_) => registry.active(plugin_id).map(Some),
        None => Ok(None),
    }
}

/// Returns the active version of a plugin as [`active_now`] does, and none that ran before in its place.
///
/// # Errors
/// `PLUGIN_UNAVAILABLE` when it does not load here.
pub(super) async fn active_itself(registry: &Registry, plugin_id: &str) -> Result<Option<Plugin>> {
    let Some(active) = followed(registry, plugin_id).await? else {
        return Ok(None);
    };
    let plugin = registry.active(plugin_id)?;
    if plugin.digest().to_string() == active {
        Ok(Some(plugin))
    } else {
        Err(not_loaded(plugin_id))
    }
}

/// Returns the refusal for a plugin without an active version.
pub(super) fn none_active(plugin_id: &str) -> Error {
    let [_, message] = inactivity(plugin_id);
    Error::new(Code::PluginUnavailable, message).with("plugin", plugin_id)
}

/// Returns the refusal for a plugin whose active version does not load here.
pub(super) fn not_loaded(plugin_id: &str) -> Error {
    let message = format!("The plugin `{plugin_id}` could not be loaded.");
    Error::new(Code::PluginUnavailable, message).with("plugin", plugin_id)
}

/// Returns the digest of the active version in the database, after this server has tried to load it.
async fn followed(registry: &Registry, plugin_id: &str) -> Result<Option<String>> {
    let active = store::active_of(&mut registry.db().read().await?, plugin_id).await?;
    let Some(active) = active else {
        return Ok(None);
    };
    let running = registry.running(plugin_id).map(|digest| digest.to_string());
    let is_followed = running.as_ref() == Some(&active) || registry.failure_of(&active).is_some();
    if !is_followed {
        Box::pin(registry.refresh_patiently()).await?;
    }
    Ok(Some(active))
}

/// Returns the ids of the plugins that have an active version, each with its digest.
///
/// # Errors
/// When the database does not answer.
pub async fn active_versions(conn: &mut Conn) -> Result<Vec<(String, String)>> {
    Ok(store::active(conn).await?)
}

/// Keeps the version that was asked from being replaced until the caller's transaction ends, as [`keep_active`] keeps
/// the plugin; returns false when none of its versions is active (any more).
///
/// # Errors
/// `CONFLICT` when another version is active by now.
pub async fn keep_asked(conn: &mut Conn, registry: &Registry, asked: &Plugin) -> Result<bool> {
    let plugin_id = &asked.about().id;
    store::lock(conn, plugin_id).await?;
    let Some(active) = store::active_of(conn, plugin_id).await? else {
        return Ok(false);
    };
    // The one before decides everything as long as the active version does not load.
    if active == asked.digest().to_string() || registry.failure_of(&active).is_some() {
        return Ok(true);
    }
    let message = "Another version of this plugin has just become active. Try again.";
    Err(Error::new(Code::Conflict, message).retry_after(1))
}
