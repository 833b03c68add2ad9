//! Judgement of the templates, and the transaction in which it is written while it holds.

use dermaga_toolkit::template::TemplateError;

use super::Templates;
use crate::{
    Code, Error, Result,
    catalog::{
        RefusedTemplate,
        administration::lock_categories,
        loading::Loading,
        store::{self, KnownPlan, LoadedFrom},
    },
    db::{Conn, Db},
    plugins::{self, Registry},
};

/// Judgements of a catalogue that others change all the time.
const ATTEMPTS: usize = 5;

/// Services and plans that the templates are judged beside, and the versions of plugins that judge them.
#[derive(Debug, PartialEq, Eq)]
struct Beside {
    loaded: Vec<LoadedFrom>,
    known: Vec<KnownPlan>,
    /// Ids of plugins with the digests of their active versions.
    active: Vec<(String, String)>,
}

impl Beside {
    async fn read(conn: &mut Conn) -> Result<Self> {
        Ok(Self {
            loaded: store::loaded_from(conn).await?,
            known: store::known_plans(conn).await?,
            active: plugins::active_versions(conn).await?,
        })
    }
}

/// Reads the templates and decides which services can be sold.
///
/// # Errors
/// `VALIDATION_FAILED` when the folder cannot be read; or when the database does not answer.
pub(super) async fn judge(templates: &Templates, registry: &Registry, db: &Db) -> Result<Loading> {
    let (loading, _) = Box::pin(judged(templates, registry, db)).await?;
    Ok(loading)
}

/// Outcome of a check of the templates.
#[derive(Debug)]
pub struct Examined {
    /// Services that can be sold as their files say.
    pub sold: usize,
    /// Templates that are not loaded, with all their problems.
    pub refused: Vec<RefusedTemplate>,
}

/// Checks the templates with the plugins that are active, and changes nothing of what is sold.
///
/// # Errors
/// When the folder cannot be read, or the database does not answer.
pub async fn examine(templates: &Templates, registry: &Registry, db: &Db) -> Result<Examined> {
    let loading = judge(templates, registry, db).await?;
    Ok(Examined {
        sold: loading.fresh.len(),
        refused: loading.refused,
    })
}

/// Judges as [`judge`] does, and opens the transaction to write it in. Plugins take their time: what administrators
/// changed meanwhile is judged again, and they wait for the commit from then on.
///
/// # Errors
/// As [`judge`]; `CONFLICT` when the catalogue changes all the time.
pub(super) async fn begin(
    templates: &Templates,
    registry: &Registry,
    db: &Db,
) -> Result<(Loading, Conn)> {
    for _ in 0..ATTEMPTS {
        let (loading, beside) = Box::pin(judged(templates, registry, db)).await?;
        let mut conn = db.begin().await?;
        lock_categories(&mut conn).await?;
        // A retirement would not see a service that is new. It has the lock of its plugin, and waits for services.
        plugins::keep_all_active(&mut conn).await?;
        store::lock_services(&mut conn).await?;
        if Beside::read(&mut conn).await? == beside {
            return Ok((loading, conn));
        }
        conn.rollback().await?;
    }
    let message = "The catalogue is changing right now. Try again in a moment.";
    Err(Error::new(Code::Conflict, message).retry_after(1))
}

async fn judged(templates: &Templates, registry: &Registry, db: &Db) -> Result<(Loading, Beside)> {
    let folder = templates
        .read()
        .await?
        .map_err(|wrong| unreadable(&wrong))?;
    let beside = Beside::read(&mut db.read().await?).await?;
    let known = (beside.loaded.as_slice(), beside.known.as_slice());
    let loading = Loading::judge(registry, folder, known).await?;
    Ok((loading, beside))
}

fn unreadable(wrong: &TemplateError) -> Error {
    let TemplateError { file, message, .. } = wrong;
    let message = format!("The service templates cannot be read: {file}: {message}.");
    Error::new(Code::ValidationFailed, message)
}
