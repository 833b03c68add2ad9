//! SQL of plugin versions and decisions.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;

use super::{
    decisions::Decision,
    explain::ExplainedRow,
    model::{DecisionFilter, DecisionRow, Outcome, PluginClass, VersionRow, VersionState},
};
use crate::{
    db::{Conn, Filter, List, Span, Walked, fetch_span, fetch_where, find_where},
    defer, execute, fetch_all, fetch_one, fetch_optional,
    ids::{DecisionId, TransactionId, UserId},
};

/// Fields of a version to insert.
pub(super) struct NewVersion<'a> {
    pub(super) digest: &'a str,
    pub(super) plugin_id: &'a str,
    pub(super) kind: &'a str,
    pub(super) version: &'a str,
    pub(super) contract: &'a str,
    pub(super) title: &'a str,
    pub(super) component: &'a [u8],
    pub(super) report: Value,
    pub(super) uploaded_by: Option<UserId>,
    pub(super) signature: Option<&'a str>,
    /// `plugin@version` of an upload, which no other component may have.
    pub(super) release: Option<String>,
    pub(super) now: DateTime<Utc>,
}

/// Inserts a staged version; `false` when this digest is installed already.
pub(super) async fn insert_version(conn: &mut Conn, new: NewVersion<'_>) -> sqlx::Result<bool> {
    let size = i64::try_from(new.component.len()).unwrap_or(i64::MAX);
    let rows = execute!(
        conn,
        "INSERT INTO plugin_versions
           (digest, plugin_id, kind, version, contract, title, component, size_bytes, state, report, uploaded_by, signature,
            created_at, release)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'STAGED', $9, $10, $11, $12, $13)
         ON CONFLICT (digest) DO NOTHING",
        new.digest,
        new.plugin_id,
        new.kind,
        new.version,
        new.contract,
        new.title,
        new.component,
        size,
        Json(&new.report),
        new.uploaded_by,
        new.signature,
        new.now,
        new.release.as_deref(),
    )?;
    Ok(rows == 1)
}

const VERSION: &str =
    "SELECT digest, plugin_id, kind, version, contract, title, size_bytes, state, report,
    uploaded_by, created_at, activated_at, retired_at, signature FROM plugin_versions";

pub(super) async fn versions(conn: &mut Conn) -> sqlx::Result<Vec<VersionRow>> {
    let order = "ORDER BY plugin_id, created_at DESC, digest";
    fetch_where(conn, VERSION, &Filter::default(), order).await
}

pub(super) async fn versions_of(conn: &mut Conn, plugin_id: &str) -> sqlx::Result<Vec<VersionRow>> {
    let filter = Filter::of("plugin_id = ?", plugin_id);
    fetch_where(conn, VERSION, &filter, "ORDER BY created_at DESC, digest").await
}

/// States that versions of a plugin have.
pub(super) async fn states_of(conn: &mut Conn, plugin_id: &str) -> sqlx::Result<Vec<VersionState>> {
    let sql = "SELECT DISTINCT state FROM plugin_versions WHERE plugin_id = $1";
    let states = fetch_all!(conn, (VersionState,), sql, plugin_id)?;
    Ok(states.into_iter().map(|(state,)| state).collect())
}

pub(super) async fn version(conn: &mut Conn, digest: &str) -> sqlx::Result<Option<VersionRow>> {
    find_where(conn, VERSION, &Filter::of("digest = ?", digest)).await
}

/// The class of every plugin that was ever granted one.
pub(super) async fn classes(conn: &mut Conn) -> sqlx::Result<Vec<(String, PluginClass)>> {
    let sql = "SELECT plugin_id, class FROM plugin_classes ORDER BY plugin_id";
    fetch_all!(conn, (String, PluginClass), sql)
}

pub(super) async fn class_of(conn: &mut Conn, plugin_id: &str) -> sqlx::Result<PluginClass> {
    let sql = "SELECT class FROM plugin_classes WHERE plugin_id = $1";
    let row = fetch_optional!(conn, (PluginClass,), sql, plugin_id)?;
    Ok(row.map_or(PluginClass::Standard, |(class,)| class))
}

/// A class and who grants it to what, why.
#[derive(Debug)]
pub(super) struct Grant<'a> {
    pub(super) plugin_id: &'a str,
    pub(super) class: PluginClass,
    pub(super) reason: &'a str,
    pub(super) granted_by: UserId,
    pub(super) now: DateTime<Utc>,
}

pub(super) async fn grant_class(conn: &mut Conn, grant: &Grant<'_>) -> sqlx::Result<()> {
    execute!(
        conn,
        "INSERT INTO plugin_classes (plugin_id, class, reason, granted_by, granted_at)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (plugin_id) DO UPDATE SET
           class = excluded.class, reason = excluded.reason,
           granted_by = excluded.granted_by, granted_at = excluded.granted_at",
        grant.plugin_id,
        grant.class,
        grant.reason,
        grant.granted_by,
        grant.now,
    )
    .map(|_| ())
}

/// Plugin id and digest of every active version.
pub(super) async fn active(conn: &mut Conn) -> sqlx::Result<Vec<(String, String)>> {
    let sql =
        "SELECT plugin_id, digest FROM plugin_versions WHERE state = 'ACTIVE' ORDER BY plugin_id";
    fetch_all!(conn, (String, String), sql)
}

/// The bytes of a version, and the plugin they are of.
pub(super) async fn component(
    conn: &mut Conn,
    digest: &str,
) -> sqlx::Result<Option<(String, Vec<u8>)>> {
    let sql = "SELECT plugin_id, component FROM plugin_versions WHERE digest = $1";
    fetch_optional!(conn, (String, Vec<u8>), sql, digest)
}

/// Locks a plugin's versions until the transaction ends, by an update that changes nothing.
pub(super) async fn lock(conn: &mut Conn, plugin_id: &str) -> sqlx::Result<()> {
    // In one order, so that none who waits has a row that another one waits for. SQLite's writer has every row.
    let sql = if conn.is_postgres() {
        "UPDATE plugin_versions SET state = state WHERE digest = ANY(ARRAY(SELECT digest FROM plugin_versions
           WHERE plugin_id = $1 ORDER BY digest FOR NO KEY UPDATE))"
    } else {
        "UPDATE plugin_versions SET state = state WHERE plugin_id = $1"
    };
    execute!(conn, sql, plugin_id).map(|_| ())
}

/// Takes the lock of a version's row on both engines, which a retirement waits for.
pub(super) async fn hold(conn: &mut Conn, digest: &str) -> sqlx::Result<()> {
    let sql = "UPDATE plugin_versions SET state = state WHERE digest = $1";
    execute!(conn, sql, digest).map(|_| ())
}

pub(super) async fn active_of(conn: &mut Conn, plugin_id: &str) -> sqlx::Result<Option<String>> {
    let sql = "SELECT digest FROM plugin_versions WHERE plugin_id = $1 AND state = 'ACTIVE'";
    let row = fetch_optional!(conn, (String,), sql, plugin_id)?;
    Ok(row.map(|(digest,)| digest))
}

/// Changes a version's state, if it still is what the caller read.
pub(super) async fn set_state(
    conn: &mut Conn,
    digest: &str,
    (from, to): (VersionState, VersionState),
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = match to {
        VersionState::Active => {
            "UPDATE plugin_versions SET state = $3, activated_at = $4 WHERE digest = $1 AND state = $2"
        }
        VersionState::Retired => {
            "UPDATE plugin_versions SET state = $3, retired_at = $4 WHERE digest = $1 AND state = $2"
        }
        VersionState::Staged | VersionState::Superseded => {
            let sql = "UPDATE plugin_versions SET state = $3 WHERE digest = $1 AND state = $2";
            return Ok(execute!(conn, sql, digest, from, to)? == 1);
        }
    };
    Ok(execute!(conn, sql, digest, from, to, now)? == 1)
}

/// The version that was active before the one that is active now.
pub(super) async fn last_superseded(
    conn: &mut Conn,
    plugin_id: &str,
) -> sqlx::Result<Option<String>> {
    let sql = "SELECT digest FROM plugin_versions WHERE plugin_id = $1 AND state = 'SUPERSEDED'
               ORDER BY activated_at DESC LIMIT 1";
    let row = fetch_optional!(conn, (String,), sql, plugin_id)?;
    Ok(row.map(|(digest,)| digest))
}

/// Deletes a version, if it still is what the caller read.
pub(super) async fn delete(
    conn: &mut Conn,
    digest: &str,
    state: VersionState,
) -> sqlx::Result<bool> {
    let sql = "DELETE FROM plugin_versions WHERE digest = $1 AND state = $2";
    Ok(execute!(conn, sql, digest, state)? == 1)
}

/// The publisher's signature of a version, as it is written.
pub(super) async fn signature(conn: &mut Conn, digest: &str) -> sqlx::Result<Option<String>> {
    let sql = "SELECT signature FROM plugin_versions WHERE digest = $1";
    let row = fetch_optional!(conn, (Option<String>,), sql, digest)?;
    Ok(row.and_then(|(signature,)| signature))
}

pub(super) async fn set_signature(
    conn: &mut Conn,
    digest: &str,
    signature: &str,
) -> sqlx::Result<u64> {
    let sql = "UPDATE plugin_versions SET signature = $2 WHERE digest = $1";
    execute!(conn, sql, digest, signature)
}

pub(super) async fn state_of(
    conn: &mut Conn,
    digest: &str,
) -> sqlx::Result<Option<(String, VersionState)>> {
    let sql = "SELECT plugin_id, state FROM plugin_versions WHERE digest = $1";
    fetch_optional!(conn, (String, VersionState), sql, digest)
}

pub(super) async fn insert_decision(conn: &mut Conn, decision: &Decision) -> sqlx::Result<()> {
    defer!(
        conn,
        "INSERT INTO decisions (id, digest, plugin_id, plugin_version, contract, function, user_id, input, output,
           failure, logs, fuel, duration_us, created_at, coupon_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        decision.id,
        &decision.digest,
        &decision.plugin_id,
        &decision.plugin_version,
        decision.contract,
        decision.function,
        decision.subject.user_id,
        &decision.input,
        decision.output.as_deref(),
        decision.failure,
        &decision.logs,
        decision.fuel,
        decision.duration_us,
        decision.at,
        decision.subject.coupon_id,
    )
}

const DECISIONS: List = List {
    rows: "SELECT id, digest, plugin_id, plugin_version, contract, function, user_id, input, output, failure, logs, fuel,
        duration_us, created_at, erased_at, input_digest, output_digest FROM decisions",
    from: "FROM decisions",
    key: "id",
    order: "ORDER BY created_at DESC, id DESC",
};

pub(super) async fn decision(conn: &mut Conn, id: DecisionId) -> sqlx::Result<Option<DecisionRow>> {
    find_where(conn, DECISIONS.rows, &Filter::of("id = ?", id)).await
}

pub(super) async fn decisions(
    conn: &mut Conn,
    wanted: &DecisionFilter<'_>,
    span: Span<DecisionId>,
) -> sqlx::Result<Walked<DecisionRow>> {
    const OF_SUBSCRIPTION: &str =
        "id IN (SELECT price_decision_id FROM transactions WHERE subscription_id = ?
        UNION SELECT coupon_decision_id FROM transactions WHERE subscription_id = ?
        UNION SELECT decision_id FROM coupon_redemptions WHERE subscription_id = ?
        UNION SELECT manifests_decision_id FROM instances WHERE subscription_id = ?)";
    const OF_COUPON: &str = "coupon_id = (SELECT id FROM coupons WHERE code = ?)";
    const OF_TRANSACTION: &str =
        "id IN (SELECT price_decision_id FROM transactions WHERE number = ?
        UNION SELECT coupon_decision_id FROM transactions WHERE number = ?)";
    let outcome = wanted.outcome.map(|outcome| match outcome {
        Outcome::Answered => "failure IS NULL",
        Outcome::Failed => "failure IS NOT NULL",
    });
    let filter = Filter::default()
        .with_some("plugin_id = ?", wanted.plugin_id)
        .with_some("function = ?", wanted.function)
        .with_some("user_id = ?", wanted.user_id)
        .with_some("digest = ?", wanted.digest)
        .with_some("plugin_version = ?", wanted.version)
        .and_some(outcome)
        .with_some("created_at >= ?", wanted.since)
        .with_some("created_at < ?", wanted.until)
        .with_some(OF_SUBSCRIPTION, wanted.subscription_id)
        .with_some(OF_COUPON, wanted.coupon)
        .with_some(OF_TRANSACTION, wanted.transaction);
    let place = "(created_at, id) < (?, ?)";
    fetch_span(conn, DECISIONS, place, filter, span).await
}

/// Counts the coupon decisions about a customer that were recorded since a moment.
pub(super) async fn decisions_since(
    conn: &mut Conn,
    user_id: UserId,
    function: &str,
    since: DateTime<Utc>,
) -> sqlx::Result<i64> {
    let sql =
        "SELECT count(*) FROM decisions WHERE user_id = $1 AND created_at >= $2 AND function = $3";
    let (count,) = fetch_one!(conn, (i64,), sql, user_id, since, function)?;
    Ok(count)
}

/// Texts of a decision that are still there.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Written {
    pub(super) id: DecisionId,
    pub(super) input: String,
    pub(super) output: Option<String>,
}

/// Decisions about a customer that are not erased, the oldest first.
pub(super) async fn written(
    conn: &mut Conn,
    user_id: UserId,
    limit: i64,
) -> sqlx::Result<Vec<Written>> {
    let sql = "SELECT id, input, output FROM decisions WHERE user_id = $1 AND erased_at IS NULL
               ORDER BY created_at, id LIMIT $2";
    fetch_all!(conn, Written, sql, user_id, limit)
}

/// A failed look at the health of an instance that was recorded without an account.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct UnownedLook {
    pub(super) id: DecisionId,
    pub(super) input: String,
    pub(super) created_at: DateTime<Utc>,
}

/// Failed looks without an account after a place, the oldest first.
pub(super) async fn unowned_looks(
    conn: &mut Conn,
    (created_at, id): (DateTime<Utc>, DecisionId),
    limit: i64,
) -> sqlx::Result<Vec<UnownedLook>> {
    let sql = "SELECT id, input, created_at FROM decisions WHERE user_id IS NULL AND function = 'health'
                 AND erased_at IS NULL AND (created_at, id) > ($1, $2) ORDER BY created_at, id LIMIT $3";
    fetch_all!(conn, UnownedLook, sql, created_at, id, limit)
}

/// Assigns such a look to its account. The database refuses every other one than that of the instance.
pub(super) async fn assign_look(
    conn: &mut Conn,
    id: DecisionId,
    user_id: UserId,
) -> sqlx::Result<u64> {
    let sql = "UPDATE decisions SET user_id = $2 WHERE id = $1 AND user_id IS NULL";
    execute!(conn, sql, id, user_id)
}

/// Takes the texts out of a decision, with digests in their place. The database refuses it while the account is there.
pub(super) async fn erase(
    conn: &mut Conn,
    id: DecisionId,
    (input, output): (&str, Option<&str>),
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE decisions SET input = 'null', output = NULL, logs = '[]', input_digest = $2, output_digest = $3,
                 erased_at = $4 WHERE id = $1 AND erased_at IS NULL";
    execute!(conn, sql, id, input, output, now)
}

/// The decisions behind a transaction: its price, then its coupon.
pub(super) async fn explained(
    conn: &mut Conn,
    transaction_id: TransactionId,
) -> sqlx::Result<Vec<ExplainedRow>> {
    let sql = "SELECT d.id, d.plugin_id, v.title, d.plugin_version, d.digest, d.function, d.output, d.created_at,
                 CASE WHEN t.type = 'UPGRADE' AND d.id = t.price_decision_id THEN t.details END AS charged
               FROM transactions t JOIN decisions d ON d.id IN (t.price_decision_id, t.coupon_decision_id)
               JOIN plugin_versions v ON v.digest = d.digest
               WHERE t.id = $1 ORDER BY CASE WHEN d.id = t.price_decision_id THEN 0 ELSE 1 END";
    fetch_all!(conn, ExplainedRow, sql, transaction_id)
}

const EXPLAINED: List = List {
    rows: "SELECT d.id, d.plugin_id, v.title, d.plugin_version, d.digest, d.function, d.output, d.created_at
        FROM decisions d JOIN plugin_versions v ON v.digest = d.digest",
    from: "FROM decisions d",
    key: "d.id",
    order: "ORDER BY d.created_at DESC, d.id DESC",
};

/// Prices and coupons that were decided about a customer, newest first.
pub(super) async fn explained_to(
    conn: &mut Conn,
    user_id: UserId,
    span: Span<DecisionId>,
) -> sqlx::Result<Walked<ExplainedRow>> {
    let filter = Filter::of("d.user_id = ?", user_id).and("d.function IN ('price', 'evaluate')");
    let place = "(d.created_at, d.id) < (?, ?)";
    fetch_span(conn, EXPLAINED, place, filter, span).await
}

/// References to a version.
#[derive(Debug)]
pub(super) struct Uses {
    /// True when it has made decisions.
    pub(super) decided: bool,
    /// Instances, those that are gone included.
    pub(super) instances: i64,
    /// Coupons of its plugin, when the plugin has no other version.
    pub(super) coupons: i64,
}

pub(super) async fn uses(conn: &mut Conn, plugin_id: &str, digest: &str) -> sqlx::Result<Uses> {
    let sql = "SELECT
        EXISTS (SELECT 1 FROM decisions WHERE plugin_id = $1 AND digest = $2),
        (SELECT count(*) FROM instances WHERE plugin_digest = $2 OR good_digest = $2),
        (SELECT count(*) FROM coupons WHERE plugin_id = $1 AND NOT EXISTS
            (SELECT 1 FROM plugin_versions WHERE plugin_id = $1 AND digest <> $2))";
    let (decided, instances, coupons) = fetch_one!(conn, (bool, i64, i64), sql, plugin_id, digest)?;
    Ok(Uses {
        decided,
        instances,
        coupons,
    })
}

/// Coupons of a plugin that can be redeemed, or still reduce a live subscription.
pub(super) async fn live_coupons(
    conn: &mut Conn,
    plugin_id: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    // For an EXISTS, PostgreSQL would gather the coupons of all that live.
    let sql = "SELECT count(*) FROM coupons WHERE plugin_id = $1
        AND ((status = 'ACTIVE' AND (ends_at IS NULL OR ends_at > $2))
          OR (SELECT 1 FROM subscriptions WHERE coupon_id = coupons.id
               AND status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')
               AND (coupon_periods_left IS NULL OR coupon_periods_left > 0) LIMIT 1) IS NOT NULL)";
    let (count,) = fetch_one!(conn, (i64,), sql, plugin_id, now)?;
    Ok(count)
}
