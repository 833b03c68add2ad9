//! Installation of a version: staged with a conformance report, then activated.

use std::{path::Path, sync::Arc};

use dermaga_runtime::{Digest, Plugin};
use dermaga_toolkit::template::{Template, TemplateError};
use serde_json::{Value, json};

use super::{
    Registry, activate, lifecycle,
    model::{PluginClass, VersionRow, VersionState, VersionView},
    retirements::Retirements,
    signatures::{Distrust, Signature},
    size_class, store, sync, vetting,
};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, By, Event, GivenReason, Subject},
    db::{self, Conn},
    ids::UserId,
};

/// A component to install.
#[derive(Debug, Clone)]
pub struct Upload {
    pub component: Vec<u8>,
    /// The class that it is granted with the upload; `None` leaves what was granted before.
    pub class: Option<PluginClass>,
    /// Signature of the publisher.
    pub signature: Option<Signature>,
    /// The administrator; `None` for the folder of plugins.
    pub uploaded_by: Option<UserId>,
    /// Reason that the administrator gave.
    pub reason: Option<GivenReason>,
}

/// Loads, checks and stores a component as a staged version. The same bytes again are the same
/// version: nothing changes, but that a signature is kept if it had none.
///
/// # Errors
/// `COMPONENT_REFUSED` with the loader's code, the code of a signature that is missing or not good,
/// or the first failed check of the report; `PLUGIN_BUSY` when no call to it found a place; `CONFLICT` when the same
/// bytes are deleted at the same time.
pub async fn stage(
    registry: &Registry,
    upload: Upload,
    templates: &[Template],
) -> Result<VersionView> {
    let uploaded_by = upload.uploaded_by;
    let component: Arc<[u8]> = upload.component.into();
    let digest = Digest::of(&component).to_string();
    let known = store::version(&mut registry.db().read().await?, &digest).await?;
    check_signature(
        registry,
        &component,
        upload.signature.as_ref(),
        known.as_ref(),
    )?;
    let signature = upload.signature.map(|signature| signature.to_string());
    let plugin = size_class::load(registry, Arc::clone(&component), upload.class).await?;
    if let Some(known) = known {
        return again(registry, &plugin, known, signature, uploaded_by).await;
    }
    let is_upload = uploaded_by.is_some();
    let report = report(registry, &plugin, templates, is_upload).await?;
    let about = plugin.about();
    let mut conn = registry.db().begin().await?;
    refuse_taken(&mut conn, &plugin, is_upload).await?;
    let new = store::NewVersion {
        digest: &digest,
        plugin_id: &about.id,
        kind: plugin.kind().as_str(),
        version: &about.version,
        contract: plugin.contract(),
        title: &about.title,
        component: &component,
        release: uploaded_by.map(|_| format!("{}@{}", about.id, about.version)),
        report,
        uploaded_by,
        signature: signature.as_deref(),
        now: registry.clock().now(),
    };
    if let Err(error) = store::insert_version(&mut conn, new).await {
        conn.rollback().await?;
        let known = installed_meanwhile(registry, &plugin, &digest, error).await?;
        return again(registry, &plugin, known, signature, uploaded_by).await;
    }
    let granted = size_class::grant_with_upload(&mut conn, registry, &plugin, uploaded_by).await?;
    let by = uploaded_by.map(|actor_id| By::given(actor_id, upload.reason.as_ref()));
    note_upload(&mut conn, registry, &plugin, by).await?;
    let row = store::version(&mut conn, &digest)
        .await?
        .ok_or_else(|| Error::not_found("plugin version"))?;
    conn.commit().await?;
    registry.remember(&plugin);
    if granted {
        registry.refresh().await?;
    }
    tell(&row);
    Ok(VersionView::of(registry, row))
}

/// Returns the report on a component: an upload with all templates, one of the folder with those that pass, so that
/// one wrong template there keeps a plugin from no other service.
async fn report(
    registry: &Registry,
    plugin: &Plugin,
    templates: &[Template],
    is_upload: bool,
) -> Result<Value> {
    if is_upload {
        return Box::pin(vetting::conformance(registry, plugin, templates)).await;
    }
    let passing = vetting::passing(registry, plugin, templates).await?;
    Box::pin(vetting::conformance(registry, plugin, &passing)).await
}

/// Returns the version that another upload of the same bytes installed in between, or refuses one whose version other
/// bytes took in between.
async fn installed_meanwhile(
    registry: &Registry,
    plugin: &Plugin,
    digest: &str,
    error: sqlx::Error,
) -> Result<VersionRow> {
    match store::version(&mut registry.db().read().await?, digest).await? {
        Some(known) => Ok(known),
        None if is_taken(&error) => Err(version_taken(plugin, None)),
        None => Err(error.into()),
    }
}

fn tell(staged: &VersionRow) {
    tracing::info!(
        plugin.id = staged.plugin_id,
        plugin.version = staged.version,
        plugin.digest = staged.digest,
        plugin.key = staged
            .signature
            .as_deref()
            .and_then(|line| line.split(':').next()),
        "plugin.staged"
    );
}

async fn note_upload(
    conn: &mut Conn,
    registry: &Registry,
    plugin: &Plugin,
    by: Option<By<'_>>,
) -> Result<()> {
    let Some(by) = by else {
        return Ok(());
    };
    let about = plugin.about();
    let details = json!({ "digest": plugin.digest().to_string(), "version": about.version });
    let event = Event::new(AuditAct::PluginStaged, Subject::Plugin(&about.id), details);
    audit::record_by(conn, registry.clock(), by, event).await
}

/// Checks the signature before anything is compiled: a component without one may have brought one
/// before.
fn check_signature(
    registry: &Registry,
    component: &[u8],
    signature: Option<&Signature>,
    known: Option<&VersionRow>,
) -> Result<()> {
    let (trust, digest) = (registry.trust(), Digest::of(component));
    let checked = match (signature, known) {
        (None, Some(known)) => trust.admit_stored(digest, known.signature.as_deref()),
        _ => trust.admit(digest, signature),
    };
    checked.map_err(|distrust| distrust.refusal())
}

/// Bytes that are installed already: what came with them is kept.
async fn again(
    registry: &Registry,
    plugin: &Plugin,
    known: VersionRow,
    signature: Option<String>,
    uploaded_by: Option<UserId>,
) -> Result<VersionView> {
    let mut conn = registry.db().begin().await?;
    // It may have been deleted since it was found.
    store::hold(&mut conn, &known.digest).await?;
    if store::state_of(&mut conn, &known.digest).await?.is_none() {
        return Err(lifecycle::changed_meanwhile());
    }
    let granted = size_class::grant_with_upload(&mut conn, registry, plugin, uploaded_by).await?;
    let signature = signature.filter(|new| known.signature.as_ref() != Some(new));
    if let Some(signature) = &signature {
        store::set_signature(&mut conn, &known.digest, signature).await?;
    }
    if !granted && signature.is_none() {
        conn.rollback().await?;
        return Ok(VersionView::of(registry, known));
    }
    sync::announce(&mut conn).await?;
    conn.commit().await?;
    // A signature may be what an active version lacked to be run.
    registry.refresh().await?;
    let signature = signature.or(known.signature);
    Ok(VersionView::of(registry, VersionRow { signature, ..known }))
}

/// Refuses an id that is of another kind, and the version of an upload that has other bytes.
async fn refuse_taken(conn: &mut Conn, plugin: &Plugin, is_upload: bool) -> Result<()> {
    refuse_other_kind(conn, plugin).await?;
    if is_upload {
        refuse_same_version(conn, plugin).await?;
    }
    Ok(())
}

/// A plugin id means the same kind of thing for ever.
async fn refuse_other_kind(conn: &mut Conn, plugin: &Plugin) -> Result<()> {
    let others = store::versions_of(conn, &plugin.about().id).await?;
    match others.iter().find(|row| row.kind != plugin.kind().as_str()) {
        None => Ok(()),
        Some(row) => {
            let message = format!(
                "`{}` is a {} plugin already; give this one another id.",
                row.plugin_id, row.kind
            );
            Err(Error::new(Code::ComponentRefused, message).with("code", "COMPONENT_ID_TAKEN"))
        }
    }
}

/// A version of a plugin means the same bytes for ever: decisions and customers' questions name it.
/// A component from the folder of plugins may be rebuilt by another compiler; only its digest tells
/// it apart.
async fn refuse_same_version(conn: &mut Conn, plugin: &Plugin) -> Result<()> {
    let about = plugin.about();
    let versions = store::versions_of(conn, &about.id).await?;
    let digest = plugin.digest().to_string();
    let other = versions
        .iter()
        .find(|row| row.version == about.version && row.digest != digest);
    match other {
        None => Ok(()),
        Some(row) => Err(version_taken(plugin, Some(row))),
    }
}

fn is_taken(error: &sqlx::Error) -> bool {
    db::broken_unique(error).as_deref() == Some("plugin_versions_release_key")
}

fn version_taken(plugin: &Plugin, other: Option<&VersionRow>) -> Error {
    let about = plugin.about();
    let digest = other.map(|row| format!(" (sha256 {:.12})", row.digest));
    let cure = match other.map(|row| row.state) {
        Some(VersionState::Staged) => "Raise its version, or delete the staged one",
        _ => "Raise its version",
    };
    let message = format!(
        "{} {} is installed already with other bytes{}. {cure}.",
        about.id,
        about.version,
        digest.unwrap_or_default()
    );
    Error::new(Code::ComponentRefused, message).with("code", "COMPONENT_VERSION_TAKEN")
}

/// Installs every `*.wasm` of a folder at start. A plugin that has no active version gets this one;
/// one that came from the folder before is replaced, unless a service that could be sold could not
/// be sold any more; one that an administrator uploaded stays. What administrators retired stays so, also after its
/// versions were deleted: a version that was retired is staged at most, and so is every version of a plugin that was
/// retired and has no active one; the log says so. The signature of `NAME.wasm` is `NAME.wasm.sig` beside it.
///
/// # Errors
/// When the folder cannot be read or the database does not answer. A component that is refused is
/// logged and left out; everything else serves.
pub async fn install_folder(
    registry: &Registry,
    folder: &Path,
    templates: &[Template],
) -> Result<()> {
    for path in components(folder)? {
        let staged = match from_folder(&path) {
            Ok(upload) => stage(registry, upload, templates).await,
            Err(error) => Err(error),
        };
        match staged {
            Ok(version) => take_over(registry, &version, templates).await?,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "plugin.not_installed");
            }
        }
    }
    registry.refresh().await
}

fn from_folder(path: &Path) -> Result<Upload> {
    let component = std::fs::read(path).map_err(Error::internal)?;
    let beside = path.with_added_extension("sig");
    let signature = match std::fs::read_to_string(&beside) {
        Ok(text) => Some(
            text.parse()
                .map_err(|why| Distrust::Malformed(why).refusal())?,
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::internal(error)),
    };
    Ok(Upload {
        component,
        class: None,
        signature,
        uploaded_by: None,
        reason: None,
    })
}

async fn take_over(
    registry: &Registry,
    staged: &VersionView,
    templates: &[Template],
) -> Result<()> {
    if staged.state != VersionState::Staged {
        return Ok(());
    }
    let mut conn = registry.db().read().await?;
    let versions = store::versions_of(&mut conn, &staged.plugin_id).await?;
    let active = versions
        .iter()
        .find(|row| row.state == VersionState::Active);
    let stays = |row: &VersionRow| row.uploaded_by.is_some() || row.digest == staged.digest;
    if active.is_some_and(stays) {
        return Ok(());
    }
    let retirements = Retirements::of(&mut conn, &staged.plugin_id).await?;
    drop(conn);
    if let Some(reason) = retirements.keep_out(&staged.digest, active.is_some()) {
        tracing::warn!(
            plugin.id = staged.plugin_id,
            plugin.digest = staged.digest,
            reason,
            "plugin.not_activated"
        );
        return Ok(());
    }
    if let Some(active) = active
        && let Some(lost) = lost(registry, (&active.digest, &staged.digest), templates).await?
    {
        tracing::error!(
            plugin.id = staged.plugin_id,
            plugin.digest = staged.digest,
            template = %lost,
            "plugin.not_activated"
        );
        return Ok(());
    }
    // The templates are looked at one by one afterwards.
    activate(registry, &[], &staged.plugin_id, &staged.digest, None).await?;
    Ok(())
}

/// The first problem of a template that the active version makes and the next one does not.
async fn lost(
    registry: &Registry,
    (active, next): (&str, &str),
    templates: &[Template],
) -> Result<Option<TemplateError>> {
    let Ok(active) = registry.version(active).await else {
        return Ok(None);
    };
    let next = registry.version(next).await?;
    for template in &vetting::passing(registry, &active, templates).await? {
        if let Some(first) = vetting::faults(registry, &next, template)
            .await?
            .into_iter()
            .next()
        {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

fn components(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let unreadable = |error: std::io::Error| {
        Error::new(
            Code::Unavailable,
            format!(
                "The plugin folder {} cannot be read: {error}.",
                folder.display()
            ),
        )
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
