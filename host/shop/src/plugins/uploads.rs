//! Uploads that are answered before they are compiled, since a large component takes a while.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_runtime::Digest;
use dermaga_toolkit::template::Template;
use serde::{Deserialize, Serialize, Serializer};
use sqlx::types::Json;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Registry, Upload, stage};
use crate::{
    Code, Error, Result,
    db::{Clock, Conn, Db, new_id},
    error::Detail,
    execute, fetch_optional,
    identity::Identity,
    ids::{UploadId, UserId},
    language, text_enum,
};

text_enum! {
    pub enum UploadState {
        /// The component is being compiled and checked.
        Compiling = "COMPILING",
        /// The component is a version now: staged, or installed before.
        Staged = "STAGED",
        Refused = "REFUSED",
    }
}

/// Lease of an upload that is being compiled, without a sign of life from its server.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// Interval between signs of life.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Age at which an upload without a lease, of a server of an earlier release, has lost its server.
const PRESUMED_DEAD_AFTER: TimeDelta = TimeDelta::minutes(15);

/// Reason why a component was refused.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UploadFailure {
    pub code: Code,
    /// A sentence for people.
    pub message: String,
    pub details: Vec<Detail>,
}

/// An upload that is compiled after its answer.
#[derive(Debug, Clone, sqlx::FromRow, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginUpload {
    pub id: UploadId,
    /// SHA-256 of the component.
    pub digest: String,
    pub size_bytes: i64,
    pub state: UploadState,
    /// Plugin id: with the digest, the address of the version; known when it is staged.
    pub plugin_id: Option<String>,
    #[schema(value_type = Option<UploadFailure>)]
    #[serde(serialize_with = "failure_in_words")]
    pub failure: Option<Json<UploadFailure>>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub finished_at: Option<DateTime<Utc>>,
}

/// Writes a failure in the current language; it is kept in English.
fn failure_in_words<S: Serializer>(
    failure: &Option<Json<UploadFailure>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let said = |Json(failure): &Json<UploadFailure>| UploadFailure {
        code: failure.code,
        message: language::spoken(&failure.message).into_owned(),
        details: failure.details.iter().map(Detail::in_words).collect(),
    };
    failure.as_ref().map(said).serialize(serializer)
}

/// Refuses the uploads that an earlier run of this server left: nothing of them is kept, and no server compiles them.
/// Call it before the first upload of this one.
///
/// # Errors
/// When the database refuses.
pub async fn release_left_behind(db: &Db, clock: &Clock, identity: &Identity) -> Result<()> {
    if !identity.is_alone() {
        return Ok(());
    }
    let mut conn = db.begin().await?;
    let sql = "UPDATE plugin_uploads SET state = 'REFUSED', failure = $2, finished_at = $3, lease_server = NULL,
                 lease_until = NULL
               WHERE state = 'COMPILING' AND lease_server = $1";
    let uploads = execute!(conn, sql, identity.id, Json(abandoned()), clock.now())?;
    conn.commit().await?;
    if uploads > 0 {
        tracing::warn!(uploads, "plugin.uploads_lost");
    }
    Ok(())
}

/// Begins to compile an upload on a server and returns its progress. If the same bytes are being compiled
/// already, returns that upload.
///
/// # Errors
/// When the database refuses.
pub async fn begin(
    registry: &Arc<Registry>,
    templates: Arc<Vec<Template>>,
    upload: Upload,
    (uploaded_by, server): (UserId, Uuid),
) -> Result<PluginUpload> {
    let now = registry.clock().now();
    let digest = Digest::of(&upload.component).to_string();
    let mut conn = registry.db().begin().await?;
    give_up(&mut conn, &digest, now).await?;
    let id = new_id(registry.clock());
    let size = i64::try_from(upload.component.len()).unwrap_or(i64::MAX);
    let sql = "INSERT INTO plugin_uploads (id, digest, size_bytes, state, uploaded_by, created_at, lease_server, lease_until)
               VALUES ($1, $2, $3, 'COMPILING', $4, $5, $6, $7)
               ON CONFLICT (digest) WHERE state = 'COMPILING' DO NOTHING";
    let until = now + LEASE;
    let inserted = execute!(
        conn,
        sql,
        id,
        &digest,
        size,
        uploaded_by,
        now,
        server,
        until
    )?;
    let is_new = inserted == 1;
    let sql = "SELECT id, digest, size_bytes, state, plugin_id, failure, created_at, finished_at
               FROM plugin_uploads WHERE digest = $1 AND state = 'COMPILING'";
    let found = fetch_optional!(conn, PluginUpload, sql, &digest)?;
    let found = found.ok_or_else(|| Error::not_found("upload"))?;
    conn.commit().await?;
    if is_new {
        tokio::spawn(compile(Arc::clone(registry), templates, id, upload));
    }
    Ok(found)
}

async fn compile(
    registry: Arc<Registry>,
    templates: Arc<Vec<Template>>,
    id: UploadId,
    upload: Upload,
) {
    // A task of its own: this one may be waiting for the connection that the other one has.
    let alive = AbortOnDropHandle::new(tokio::spawn(stay_alive(Arc::clone(&registry), id)));
    let staged = stage(&registry, upload, &templates).await;
    drop(alive);
    if let Err(error) = &staged {
        tracing::warn!(upload.id = %id, %error, "plugin.upload_refused");
    }
    let (to, plugin_id, failure) = match staged {
        Ok(version) => (UploadState::Staged, Some(version.plugin_id), None),
        Err(error) => (UploadState::Refused, None, Some(failure(error))),
    };
    let ended = async {
        let mut conn = registry.db().begin().await?;
        let sql = "UPDATE plugin_uploads SET state = $2, plugin_id = $3, failure = $4, finished_at = $5, lease_server = NULL,
                     lease_until = NULL WHERE id = $1";
        let now = registry.clock().now();
        execute!(
            conn,
            sql,
            id,
            to,
            plugin_id.as_deref(),
            failure.map(Json),
            now
        )?;
        Ok::<(), Error>(conn.commit().await?)
    };
    if let Err(error) = ended.await {
        tracing::error!(upload.id = %id, %error, "plugin.upload_not_recorded");
    }
}

/// Extends the lease of an upload until it is compiled.
async fn stay_alive(registry: Arc<Registry>, id: UploadId) {
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat.tick().await;
    loop {
        heartbeat.tick().await;
        if let Err(error) = renew(&registry, id).await {
            tracing::warn!(upload.id = %id, %error, "plugin.upload_not_renewed");
        }
    }
}

async fn renew(registry: &Registry, id: UploadId) -> Result<()> {
    let until = registry.clock().now() + LEASE;
    let mut conn = registry.db().begin().await?;
    let sql = "UPDATE plugin_uploads SET lease_until = $2 WHERE id = $1 AND state = 'COMPILING'";
    execute!(conn, sql, id, until)?;
    Ok(conn.commit().await?)
}

fn failure(error: Error) -> UploadFailure {
    UploadFailure {
        code: error.code,
        message: error.message,
        details: error.details,
    }
}

fn abandoned() -> UploadFailure {
    let message = "The server that compiled it has stopped. Upload it again.";
    failure(Error::new(Code::Unavailable, message))
}

/// Refuses an upload whose server has died; returns the number of those that were.
async fn give_up(conn: &mut Conn, digest: &str, now: DateTime<Utc>) -> Result<u64> {
    let sql = "UPDATE plugin_uploads SET state = 'REFUSED', failure = $3, finished_at = $4, lease_server = NULL,
                 lease_until = NULL
               WHERE digest = $1 AND state = 'COMPILING'
                 AND (lease_until <= $4 OR (lease_until IS NULL AND created_at < $2))";
    let refused = execute!(
        conn,
        sql,
        digest,
        now - PRESUMED_DEAD_AFTER,
        Json(abandoned()),
        now
    )?;
    Ok(refused)
}

/// An upload as it is now.
///
/// # Errors
/// `NOT_FOUND` for an unknown one.
pub async fn find(registry: &Registry, id: UploadId) -> Result<PluginUpload> {
    let now = registry.clock().now();
    let mut conn = registry.db().begin().await?;
    let sql = "SELECT id, digest, size_bytes, state, plugin_id, failure, created_at, finished_at
               FROM plugin_uploads WHERE id = $1";
    let found = fetch_optional!(conn, PluginUpload, sql, id)?;
    let found = found.ok_or_else(|| Error::not_found("upload"))?;
    let is_compiling = found.state == UploadState::Compiling;
    if !is_compiling || give_up(&mut conn, &found.digest, now).await? == 0 {
        return Ok(found);
    }
    let found = fetch_optional!(conn, PluginUpload, sql, id)?;
    conn.commit().await?;
    found.ok_or_else(|| Error::not_found("upload"))
}
