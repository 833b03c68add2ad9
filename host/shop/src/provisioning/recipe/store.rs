//! SQL of recipes.

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use super::{Recipe, Undone};
use crate::{
    db::Conn,
    execute, fetch_optional,
    provisioning::{given, model::Instance},
};

/// Puts a recipe into an instance, if it is still as it was seen, its period is not over, and no change
/// of plan is under way. The one that worked last stays remembered, or else the present one. Its pods
/// restart when `restarts`, since a program reads the value of a secret when it starts.
pub(super) async fn put(
    conn: &mut Conn,
    seen: &Instance,
    recipe: &Recipe,
    (message, restarts): (&str, bool),
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Instance>> {
    let sql = "UPDATE instances SET \
               restarted_at = CASE WHEN $9 THEN $5 ELSE restarted_at END, \
               good_settings = CASE WHEN good_digest IS NULL THEN settings ELSE good_settings END, \
               good_images = CASE WHEN good_digest IS NULL THEN images ELSE good_images END, \
               good_sizes = CASE WHEN good_digest IS NULL THEN $11 ELSE good_sizes END, \
               good_config = CASE WHEN good_digest IS NULL THEN config ELSE good_config END, \
               good_decision_id = CASE WHEN good_digest IS NULL THEN manifests_decision_id ELSE good_decision_id END, \
               good_digest = coalesce(good_digest, plugin_digest), \
               plugin_digest = $1, settings = $2, images = $10, \
               kept_storage_gib = CASE WHEN storage_gib > kept_storage_gib THEN storage_gib ELSE kept_storage_gib END, \
               cpu_millis = $12, memory_mib = $13, storage_gib = $14, replicas = $15, config = $3, message = $4, failures = 0, \
               generation = generation + 1, unproven_generation = generation + 1, \
               rollout_since = NULL, rollout_held_since = NULL, rollout_begun_at = NULL, undone = NULL, \
               next_attempt_at = $5, updated_at = $5 \
               WHERE id = $6 AND generation = $7 AND plugin_digest = $8 AND desired <> 'TERMINATED' \
               AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.id = instances.subscription_id \
                 AND s.status = 'ACTIVE' AND s.period_end <= $5 AND s.held_since IS NULL) \
               AND NOT EXISTS (SELECT 1 FROM plan_changes c \
                 WHERE c.subscription_id = instances.subscription_id AND c.state = 'PENDING') RETURNING *";
    fetch_optional!(
        conn,
        Instance,
        sql,
        &recipe.plugin_digest,
        Json(&recipe.settings),
        Json(&recipe.config),
        message,
        now,
        seen.id,
        seen.generation,
        &seen.plugin_digest,
        restarts,
        Json(&recipe.images),
        Json(seen.sizes),
        recipe.sizes.cpu_millis,
        recipe.sizes.memory_mib,
        recipe.sizes.storage_gib,
        recipe.sizes.replicas,
    )
}

/// Lets a subscription be priced by the configuration that its instance has.
pub(super) async fn copy_config(conn: &mut Conn, instance: &Instance) -> sqlx::Result<u64> {
    let sql = "UPDATE subscriptions SET config = $1, updated_at = $2 WHERE id = $3";
    let (config, at, id) = (
        &instance.config,
        instance.updated_at,
        instance.subscription_id,
    );
    execute!(conn, sql, config, at, id)
}

/// Forgets that a change is not proven, where no change of plan waits for that: what runs is what ran
/// before. Returns false when one does.
pub(super) async fn forget_change(conn: &mut Conn, seen: &Instance) -> sqlx::Result<bool> {
    let sql = "UPDATE instances SET unproven_generation = NULL, rollout_since = NULL, rollout_held_since = NULL, \
               rollout_begun_at = NULL \
               WHERE id = $1 AND generation = $2 AND NOT EXISTS (SELECT 1 FROM plan_changes c \
                 WHERE c.subscription_id = instances.subscription_id AND c.state = 'PENDING')";
    Ok(execute!(conn, sql, seen.id, seen.generation)? == 1)
}

/// Restores the recipe of an instance that worked last, if it is still as it was seen, and keeps the fingerprint
/// of the one that failed. A change of plan under way is not undone here: its size goes back with the plan and the
/// money.
pub(super) async fn go_back(
    conn: &mut Conn,
    seen: &Instance,
    undone: &Undone,
    (message, failed): (&str, Option<&str>),
) -> sqlx::Result<Option<Instance>> {
    let sql = "UPDATE instances SET plugin_digest = good_digest, settings = good_settings, images = good_images, config = good_config, \
               cpu_millis = $7, memory_mib = $8, storage_gib = $9, replicas = $10, \
               kept_storage_gib = CASE WHEN storage_gib > kept_storage_gib THEN storage_gib ELSE kept_storage_gib END, \
               manifests_decision_id = coalesce(good_decision_id, manifests_decision_id), \
               unproven_generation = NULL, rollout_since = NULL, rollout_held_since = NULL, rollout_begun_at = NULL, undone = $1, \
               failed_recipe = coalesce($11, failed_recipe), \
               restarted_at = CASE WHEN $6 THEN $3 ELSE restarted_at END, message = $2, failures = 0, \
               generation = generation + 1, next_attempt_at = $3, updated_at = $3 \
               WHERE id = $4 AND generation = $5 AND unproven_generation IS NOT NULL AND good_digest IS NOT NULL \
               AND desired <> 'TERMINATED' AND NOT EXISTS (SELECT 1 FROM plan_changes c \
                 WHERE c.subscription_id = instances.subscription_id AND c.state = 'PENDING') RETURNING *";
    let (id, generation) = (seen.id, seen.generation);
    let at = undone.at;
    let sizes = seen.good_sizes.as_ref().map_or(seen.sizes, |good| good.0);
    // A program reads the value of a secret when it starts.
    let good = seen.good_config.as_ref();
    let restarts = good.is_some_and(|good| given::tags(&good.0) != given::tags(&seen.config.0));
    fetch_optional!(
        conn,
        Instance,
        sql,
        Json(undone),
        message,
        at,
        id,
        generation,
        restarts,
        sizes.cpu_millis,
        sizes.memory_mib,
        sizes.storage_gib,
        sizes.replicas,
        failed,
    )
}
