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

/// Returns true for a plugin that was retired with the version that was active, and has no other active one.
pub(in crate::plugins) async fn was_retired(
    conn: &mut Conn,
    plugin_id: &str,
) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM plugin_versions
                 WHERE plugin_id = $1 AND state = 'RETIRED' AND activated_at IS NOT NULL)
               AND NOT EXISTS (SELECT 1 FROM plugin_versions WHERE plugin_id = $1 AND state = 'ACTIVE')";
    let (was_retired,) = fetch_one!(conn, (bool,), sql, plugin_id)?;
    Ok(was_retired)
}

/// Ends the refusal of the services that were taken off sale for this reason, and that nothing else has refused since.
pub(in crate::plugins) async fn sell_again(
    conn: &mut Conn,
    plugin_id: &str,
    why: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "UPDATE services SET refused = NULL, updated_at = $4 WHERE id = $1 AND plugin_id = $2 AND refused = $3";
    for id in services_in_order(conn, plugin_id).await? {
        execute!(conn, sql, id, plugin_id, why, now)?;
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

/// Templates of the services that a plugin makes, but for those that are refused for another reason than this
/// one.
pub(in crate::plugins) async fn services_of(
    conn: &mut Conn,
    plugin_id: &str,
    why: &str,
) -> sqlx::Result<Vec<MadeService>> {
    let sql = "SELECT slug, template_file, template FROM services
               WHERE plugin_id = $1 AND (refused IS NULL OR refused = $2) ORDER BY slug";
    fetch_all!(conn, MadeService, sql, plugin_id, why)
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
