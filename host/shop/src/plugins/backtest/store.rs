//! SQL of backtests: recorded decisions in the order they were made, page by page.

use chrono::{DateTime, Utc};

use crate::{
    db::Conn,
    fetch_all, fetch_one,
    ids::{DecisionId, UserId},
};

/// Recorded question to a coupon rule, with its answer.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Recorded {
    pub(super) id: DecisionId,
    pub(super) user_id: Option<UserId>,
    pub(super) contract: String,
    pub(super) input: String,
    pub(super) output: String,
    pub(super) fuel: i64,
    pub(super) duration_us: i64,
    pub(super) created_at: DateTime<Utc>,
}

/// The decisions of a coupon type after `(from, after)` and before `until`, oldest first.
pub(super) async fn page(
    conn: &mut Conn,
    plugin_id: &str,
    (from, after): (DateTime<Utc>, DecisionId),
    until: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<Recorded>> {
    let sql = "SELECT id, user_id, contract, input, output, fuel, duration_us, created_at FROM decisions
               WHERE plugin_id = $1 AND function = 'evaluate' AND output IS NOT NULL AND created_at < $2
                 AND (created_at > $3 OR (created_at = $3 AND id > $4))
               ORDER BY created_at, id LIMIT $5";
    fetch_all!(conn, Recorded, sql, plugin_id, until, from, after, limit)
}

pub(super) async fn count(
    conn: &mut Conn,
    plugin_id: &str,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<i64> {
    let sql = "SELECT count(*) FROM decisions WHERE plugin_id = $1 AND function = 'evaluate' AND output IS NOT NULL
               AND created_at >= $2 AND created_at < $3";
    let (count,) = fetch_one!(conn, (i64,), sql, plugin_id, since, until)?;
    Ok(count)
}
