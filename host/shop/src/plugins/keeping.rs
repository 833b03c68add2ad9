//! Versions and plugins that others count on: kept from being retired or replaced until a transaction ends.

use dermaga_runtime::Plugin;

use super::{Registry, model::VersionState, sale, store};
use crate::{Code, Error, Result, db::Conn};

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

/// Returns the reason for which the services of a plugin are off sale after its retirement.
pub fn retirement(plugin_id: &str) -> String {
    format!("The plugin `{plugin_id}` was retired.")
}

/// Returns true for a plugin that was retired and has no active version since: nothing of it is sold.
///
/// # Errors
/// When the database does not answer.
pub async fn was_retired(conn: &mut Conn, plugin_id: &str) -> Result<bool> {
    Ok(sale::store::was_retired(conn, plugin_id).await?)
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
