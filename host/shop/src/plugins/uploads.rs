//! Uploads that are answered before they are compiled, since a large component takes a while.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use dermaga_runtime::Digest;
use dermaga_toolkit::template::Template;
use serde::{Deserialize, Serialize, Serializer};
use sqlx::types::Json;
use utoipa::ToSchema;

use super::{Registry, Upload, stage};
use crate::{
    Code, Error, Result,
    db::{Conn, new_id},
    error::Detail,
    execute, fetch_optional,
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

/// A server that has not ended by then has died.
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

/// Begins to compile an upload and returns its progress. If the same bytes are being compiled
/// already, returns that upload.
///
/// # Errors
/// When the database refuses.
pub async fn begin(
    registry: &Arc<Registry>,
    templates: Arc<Vec<Template>>,
    upload: Upload,
    uploaded_by: UserId,
) -> Result<PluginUpload> {
    let now = registry.clock().now();
    let digest = Digest::of(&upload.component).to_string();
    let mut conn = registry.db().begin().await?;
    give_up(&mut conn, &digest, now).await?;
    let id = new_id(registry.clock());
    let size = i64::try_from(upload.component.len()).unwrap_or(i64::MAX);
    let sql = "INSERT INTO plugin_uploads (id, digest, size_bytes, state, uploaded_by, created_at)
               VALUES ($1, $2, $3, 'COMPILING', $4, $5)
               ON CONFLICT (digest) WHERE state = 'COMPILING' DO NOTHING";
    let is_new = execute!(conn, sql, id, &digest, size, uploaded_by, now)? == 1;
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
    let staged = stage(&registry, upload, &templates).await;
    if let Err(error) = &staged {
        tracing::warn!(upload.id = %id, %error, "plugin.upload_refused");
    }
    let (to, plugin_id, failure) = match staged {
        Ok(version) => (UploadState::Staged, Some(version.plugin_id), None),
        Err(error) => (UploadState::Refused, None, Some(failure(error))),
    };
    let ended = async {
        let mut conn = registry.db().begin().await?;
        let sql = "UPDATE plugin_uploads SET state = $2, plugin_id = $3, failure = $4, finished_at = $5 WHERE id = $1";
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

fn failure(error: Error) -> UploadFailure {
    UploadFailure {
        code: error.code,
        message: error.message,
        details: error.details,
    }
}

/// Refuses an upload that began so long ago that its server must have died.
async fn give_up(conn: &mut Conn, digest: &str, now: DateTime<Utc>) -> Result<()> {
    let message = "The server that compiled it has stopped. Upload it again.";
    let failure = failure(Error::new(Code::Unavailable, message));
    let sql = "UPDATE plugin_uploads SET state = 'REFUSED', failure = $3, finished_at = $4
               WHERE digest = $1 AND state = 'COMPILING' AND created_at < $2";
    execute!(
        conn,
        sql,
        digest,
        now - PRESUMED_DEAD_AFTER,
        Json(failure),
        now
    )?;
    Ok(())
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
    if found.state != UploadState::Compiling || found.created_at >= now - PRESUMED_DEAD_AFTER {
        return Ok(found);
    }
    give_up(&mut conn, &found.digest, now).await?;
    let found = fetch_optional!(conn, PluginUpload, sql, id)?;
    conn.commit().await?;
    found.ok_or_else(|| Error::not_found("upload"))
}
