//! Alerts about templates, after a plugin got another version.

use super::judged;
use crate::{
    Result,
    catalog::{Catalog, store},
};

/// Brings the alerts about templates of a plugin's services up to date, after another version of it became active.
///
/// # Errors
/// `VALIDATION_FAILED` when the folder cannot be read; or when the database does not answer.
pub async fn tell_of_plugin(catalog: &Catalog, plugin_id: &str) -> Result<()> {
    let (db, clock) = (&catalog.db, &catalog.clock);
    let loading = judged::judge(&catalog.templates, &catalog.plugins, db).await?;
    let mut conn = db.begin().await?;
    let mut services = store::loaded_from(&mut conn).await?;
    services.retain(|service| service.plugin_id == plugin_id);
    loading.tell_of_sold(&mut conn, clock, &services).await?;
    Ok(conn.commit().await?)
}
