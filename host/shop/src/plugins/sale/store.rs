//! SQL of the services that a plugin makes.

use chrono::{DateTime, Utc};

use crate::{db::Conn, execute, fetch_all, fetch_one, ids::ServiceId};

/// Takes the services that a plugin makes off sale, until another version of it is active. One that is refused already
/// keeps its reason, unless a reload that has its row ends that first.
pub(in crate::plugins) async fn stop_selling(
    conn: &mut Conn,
    plugin_id: &str,
    why: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE services SET refused = coalesce(refused, $3), updated_at = $4 WHERE id = $1 AND plugin_id = $2";
    for id in services_in_order(conn, plugin_id).await? {
        execute!(conn, sql, id, plugin_id, why, now)?;
    }
    Ok(())
}

/// A retired version.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::plugins) struct RetiredVersion {
    pub(in crate::plugins) digest: String,
    pub(in crate::plugins) was_active: bool,
}

/// Returns the retired versions of a plugin.
pub(in crate::plugins) async fn retired_of(
    conn: &mut Conn,
    plugin_id: &str,
) -> sqlx::Result<Vec<RetiredVersion>> {
    let sql = "SELECT digest, activated_at IS NOT NULL AS was_active FROM plugin_versions
               WHERE plugin_id = $1 AND state = 'RETIRED'";
    fetch_all!(conn, RetiredVersion, sql, plugin_id)
}

/// Takes the locks of the active versions that make services, in the order of their plugins.
pub(in crate::plugins) async fn lock_active(conn: &mut Conn) -> sqlx::Result<()> {
    // SQLite's writer has every row. It reads these few all the same, in a reload, as the test of all statements needs one
    // of each place on both engines: it would explain the text with the lock, which SQLite does not know.
    let sql = if conn.is_postgres() {
        "SELECT digest FROM plugin_versions WHERE state = 'ACTIVE' AND kind = 'service'
         ORDER BY plugin_id FOR NO KEY UPDATE"
    } else {
        "SELECT digest FROM plugin_versions WHERE state = 'ACTIVE' AND kind = 'service'"
    };
    fetch_all!(conn, (String,), sql).map(|_| ())
}

/// Ends the refusal of the services that were taken off sale for one of these reasons, and that nothing else has
/// refused since; of those with a template only when the version was checked with it.
pub(in crate::plugins) async fn sell_again(
    conn: &mut Conn,
    (plugin_id, is_checked): (&str, bool),
    [one, other]: &[String; 2],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE services SET refused = NULL, updated_at = $5
               WHERE id = $1 AND plugin_id = $2 AND refused IN ($3, $4) AND (template IS NULL OR $6)";
    for id in services_in_order(conn, plugin_id).await? {
        execute!(conn, sql, id, plugin_id, one, other, now, is_checked)?;
    }
    Ok(())
}

/// Services of a plugin, to be changed one by one in the order in which a reload has their rows.
async fn services_in_order(conn: &mut Conn, plugin_id: &str) -> sqlx::Result<Vec<ServiceId>> {
    let sql = "SELECT id FROM services WHERE plugin_id = $1 ORDER BY id";
    let services = fetch_all!(conn, (ServiceId,), sql, plugin_id)?;
    Ok(services.into_iter().map(|(id,)| id).collect())
}

/// Template of a service that a plugin makes, as it was loaded last.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
pub(in crate::plugins) struct MadeService {
    pub(in crate::plugins) slug: String,
    /// Name of the file; absent, as the text, for one that was loaded before they were kept.
    pub(in crate::plugins) template_file: Option<String>,
    pub(in crate::plugins) template: Option<String>,
}

/// Templates of the services that a plugin makes, but for those that are refused for another reason than one of
/// these.
pub(in crate::plugins) async fn services_of(
    conn: &mut Conn,
    plugin_id: &str,
    [one, other]: &[String; 2],
) -> sqlx::Result<Vec<MadeService>> {
    let sql = "SELECT slug, template_file, template FROM services
               WHERE plugin_id = $1 AND (refused IS NULL OR refused IN ($2, $3)) ORDER BY slug";
    fetch_all!(conn, MadeService, sql, plugin_id, one, other)
}

/// Services on sale that a plugin makes, and live subscriptions of the plugin's services.
pub(in crate::plugins) async fn sold(conn: &mut Conn, plugin_id: &str) -> sqlx::Result<(i64, i64)> {
    let sql = "SELECT
        (SELECT count(*) FROM services s WHERE s.plugin_id = $1 AND s.active AND s.refused IS NULL
           AND EXISTS (SELECT 1 FROM service_plans p WHERE p.service_id = s.id AND p.active)),
        (SELECT count(*) FROM subscriptions b JOIN service_plans p ON p.id = b.plan_id
           JOIN services s ON s.id = p.service_id
           WHERE s.plugin_id = $1 AND b.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED'))";
    fetch_one!(conn, (i64, i64), sql, plugin_id)
}
