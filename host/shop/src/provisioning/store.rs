//! The SQL of instances, their secrets, events and leases.

mod findings;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

pub(super) use findings::{finish, is_news};

use super::{
    Undone,
    model::{Event, Instance, Neighbour, Owned, Pinned, Recorded, Status, Terms},
};
use crate::{
    catalog::Sizes,
    cluster::ObjectRef,
    db::{Conn, Filter, LeasedQueue, List, Span, Walked, fetch_span},
    defer, execute, fetch_all, fetch_one, fetch_optional,
    ids::{DecisionId, InstanceId, PlanId, SubscriptionId, UserId},
};

macro_rules! terms {
    () => {
        "s.slug AS service, p.slug AS plan, p.tier, sub.monthly_price, i.cpu_millis, i.memory_mib, \
         i.storage_gib, i.replicas, s.pod_security_exceptions \
         FROM instances i JOIN service_plans p ON p.id = i.plan_id JOIN services s ON s.id = p.service_id \
         JOIN subscriptions sub ON sub.id = i.subscription_id"
    };
}

/// Inserts an instance, which waits, as all that refers to it does.
pub(super) async fn insert(conn: &mut Conn, instance: &Instance) -> sqlx::Result<()> {
    defer!(
        conn,
        "INSERT INTO instances (id, subscription_id, user_id, plan_id, plugin_digest, name, namespace, hostname, \
         config, desired, status, message, applied, next_attempt_at, created_at, updated_at, settings, images, \
         cpu_millis, memory_mib, storage_gib, replicas) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16, $17, $18, $19, $20, $21)",
        instance.id,
        instance.subscription_id,
        instance.user_id,
        instance.plan_id,
        &instance.plugin_digest,
        &instance.name,
        &instance.namespace,
        &instance.hostname,
        &instance.config,
        instance.desired,
        instance.status,
        &instance.message,
        &instance.applied,
        instance.next_attempt_at,
        instance.created_at,
        &instance.settings,
        &instance.images,
        instance.sizes.cpu_millis,
        instance.sizes.memory_mib,
        instance.sizes.storage_gib,
        instance.sizes.replicas,
    )
}

pub(super) async fn insert_secret(
    conn: &mut Conn,
    instance_id: InstanceId,
    name: &str,
    sealed: &[u8],
) -> sqlx::Result<()> {
    let sql = "INSERT INTO instance_secrets (instance_id, name, sealed) VALUES ($1, $2, $3)";
    defer!(conn, sql, instance_id, name, sealed)
}

pub(super) async fn secrets(
    conn: &mut Conn,
    instance_id: InstanceId,
) -> sqlx::Result<Vec<(String, Vec<u8>)>> {
    let sql = "SELECT name, sealed FROM instance_secrets WHERE instance_id = $1 ORDER BY name";
    fetch_all!(conn, (String, Vec<u8>), sql, instance_id)
}

/// Returns the sealed secrets of every instance that is still there.
pub(super) async fn secrets_in_use(
    conn: &mut Conn,
) -> sqlx::Result<Vec<(InstanceId, String, Vec<u8>)>> {
    let sql = "SELECT s.instance_id, s.name, s.sealed FROM instance_secrets s JOIN instances i ON i.id = s.instance_id
               WHERE i.status <> 'TERMINATED'";
    fetch_all!(conn, (InstanceId, String, Vec<u8>), sql)
}

/// Counts the instances that are there, by status.
pub(super) async fn count_by_status(conn: &mut Conn) -> sqlx::Result<Vec<(Status, i64)>> {
    let sql = "SELECT status, count(*) FROM instances WHERE status <> 'TERMINATED' GROUP BY status";
    fetch_all!(conn, (Status, i64), sql)
}

pub(super) async fn insert_event(
    conn: &mut Conn,
    id: Uuid,
    instance_id: InstanceId,
    kind: Status,
    message: &str,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO instance_events (id, instance_id, kind, message, created_at) VALUES ($1, $2, $3, $4, $5)";
    defer!(conn, sql, id, instance_id, kind.as_str(), message, now)
}

/// The newest events, newest first.
pub(super) async fn events(
    conn: &mut Conn,
    instance_id: InstanceId,
    limit: i64,
) -> sqlx::Result<Vec<Event>> {
    let sql = "SELECT id, kind, message, created_at FROM instance_events WHERE instance_id = $1 \
               ORDER BY created_at DESC, id DESC LIMIT $2";
    fetch_all!(conn, Event, sql, instance_id, limit)
}

const EVENTS: List = List {
    rows: "SELECT id, kind, message, created_at FROM instance_events",
    from: "FROM instance_events",
    key: "id",
    order: "ORDER BY created_at DESC, id DESC",
};

/// A part of all events, newest first.
pub(super) async fn all_events(
    conn: &mut Conn,
    instance_id: InstanceId,
    span: Span<Uuid>,
) -> sqlx::Result<Walked<Event>> {
    let filter = Filter::of("instance_id = ?", instance_id);
    fetch_span(conn, EVENTS, "(created_at, id) < (?, ?)", filter, span).await
}

pub(super) async fn change_plan(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
    plan_id: PlanId,
    (message, undone): (&str, Option<&Undone>),
    now: DateTime<Utc>,
) -> sqlx::Result<Option<Instance>> {
    // Volumes may have grown for the plan that it leaves, and never shrink.
    let sql = "UPDATE instances SET plan_id = $1, message = $2, failures = 0, generation = generation + 1, \
               unproven_generation = CASE WHEN $5 AND delivered_at IS NOT NULL THEN generation + 1 \
                 WHEN $5 THEN unproven_generation END, \
               rollout_since = NULL, rollout_held_since = NULL, rollout_begun_at = NULL, undone = $6, \
               kept_storage_gib = CASE WHEN storage_gib > kept_storage_gib THEN storage_gib ELSE kept_storage_gib END, \
               (cpu_millis, memory_mib, storage_gib, replicas) = (SELECT p.cpu_millis, p.memory_mib, p.storage_gib, p.replicas \
                 FROM service_plans p WHERE p.id = $1), \
               next_attempt_at = $3, updated_at = $3 \
               WHERE subscription_id = $4 AND desired <> 'TERMINATED' \
               AND (NOT $5 OR unproven_generation IS NULL OR delivered_at IS NULL) RETURNING *";
    fetch_optional!(
        conn,
        Instance,
        sql,
        plan_id,
        message,
        now,
        subscription_id,
        undone.is_none(),
        undone.map(Json),
    )
}

/// Restores the size of an instance.
pub(super) async fn put_sizes(conn: &mut Conn, id: InstanceId, sizes: Sizes) -> sqlx::Result<u64> {
    let sql = "UPDATE instances SET cpu_millis = $2, memory_mib = $3, storage_gib = $4, replicas = $5 WHERE id = $1";
    let Sizes {
        cpu_millis,
        memory_mib,
        storage_gib,
        replicas,
    } = sizes;
    execute!(conn, sql, id, cpu_millis, memory_mib, storage_gib, replicas)
}

pub(super) async fn pinned(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
) -> sqlx::Result<Option<Pinned>> {
    let sql = "SELECT plugin_digest, settings, \
               CASE WHEN unproven_generation IS NOT NULL AND good_config IS NOT NULL THEN good_config ELSE config END AS config \
               FROM instances WHERE subscription_id = $1";
    fetch_optional!(conn, Pinned, sql, subscription_id)
}

pub(super) async fn of_subscription(
    conn: &mut Conn,
    subscription_id: SubscriptionId,
) -> sqlx::Result<Option<Instance>> {
    let sql = "SELECT * FROM instances WHERE subscription_id = $1";
    fetch_optional!(conn, Instance, sql, subscription_id)
}

pub(super) async fn instance(conn: &mut Conn, id: InstanceId) -> sqlx::Result<Option<Instance>> {
    fetch_optional!(conn, Instance, "SELECT * FROM instances WHERE id = $1", id)
}

/// An instance with its terms, for a pass.
pub(super) async fn with_terms(conn: &mut Conn, id: InstanceId) -> sqlx::Result<Option<Owned>> {
    let sql = concat!("SELECT i.*, ", terms!(), " WHERE i.id = $1");
    fetch_optional!(conn, Owned, sql, id)
}

/// Namespace and name of every instance that was applied and is not proven to be gone.
pub(super) async fn applied(conn: &mut Conn) -> sqlx::Result<Vec<(String, String)>> {
    let sql = "SELECT namespace, name FROM instances WHERE observed_generation > 0 AND status <> 'TERMINATED'";
    fetch_all!(conn, (String, String), sql)
}

pub(super) async fn live_instance(conn: &mut Conn, name: &str) -> sqlx::Result<Option<Instance>> {
    let sql = "SELECT * FROM instances WHERE name = $1 AND status <> 'TERMINATED'";
    fetch_optional!(conn, Instance, sql, name)
}

/// One of this customer's instances.
pub(super) async fn owned(
    conn: &mut Conn,
    user_id: UserId,
    id: InstanceId,
) -> sqlx::Result<Option<Owned>> {
    let sql = concat!(
        "SELECT i.*, ",
        terms!(),
        " WHERE i.id = $1 AND i.user_id = $2"
    );
    fetch_optional!(conn, Owned, sql, id, user_id)
}

const INSTANCES: List = List {
    rows: concat!("SELECT i.*, ", terms!()),
    from: "FROM instances i",
    key: "i.id",
    order: "ORDER BY i.created_at DESC, i.id DESC",
};

/// A customer's instances, newest first.
pub(super) async fn list(
    conn: &mut Conn,
    user_id: UserId,
    status: Option<Status>,
    span: Span<InstanceId>,
) -> sqlx::Result<Walked<Owned>> {
    let filter = Filter::of("i.user_id = ?", user_id).with_some("i.status = ?", status);
    let place = "(i.created_at, i.id) < (?, ?)";
    fetch_span(conn, INSTANCES, place, filter, span).await
}

pub(super) async fn terms(conn: &mut Conn, instance_id: InstanceId) -> sqlx::Result<Terms> {
    fetch_one!(
        conn,
        Terms,
        concat!("SELECT ", terms!(), " WHERE i.id = $1"),
        instance_id
    )
}

/// Returns the names of a plan's service and of the plan.
pub(super) async fn names(conn: &mut Conn, plan_id: PlanId) -> sqlx::Result<(String, String)> {
    let sql = "SELECT s.name, p.name FROM service_plans p JOIN services s ON s.id = p.service_id WHERE p.id = $1";
    fetch_one!(conn, (String, String), sql, plan_id)
}

/// Returns the instances of a namespace that are not proven to be gone.
pub(super) async fn neighbours(conn: &mut Conn, namespace: &str) -> sqlx::Result<Vec<Neighbour>> {
    let sql = "SELECT i.name, i.desired, i.kept_storage_gib, i.cpu_millis, i.memory_mib, i.storage_gib, i.replicas, \
               s.pod_security_exceptions FROM instances i JOIN service_plans p ON p.id = i.plan_id \
               JOIN services s ON s.id = p.service_id \
               WHERE i.namespace = $1 AND i.status <> 'TERMINATED' ORDER BY i.name";
    fetch_all!(conn, Neighbour, sql, namespace)
}

/// The rendering recorded last.
pub(super) async fn recorded(
    conn: &mut Conn,
    decision_id: DecisionId,
) -> sqlx::Result<Option<Recorded>> {
    let sql = "SELECT digest, plugin_id, plugin_version, input, output FROM decisions \
               WHERE id = $1 AND output IS NOT NULL";
    fetch_optional!(conn, Recorded, sql, decision_id)
}

/// Instances, each worked on by one server at a time.
pub(super) const PASSES: LeasedQueue = LeasedQueue {
    table: "instances",
    due: "next_attempt_at",
    open: "status <> 'TERMINATED'",
};

/// Ends the leases of a server that is no more, under whose identity another one starts.
pub(super) async fn drop_leases(
    conn: &mut Conn,
    server: Uuid,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE instances SET lease_holder = NULL, lease_until = NULL, \
               next_attempt_at = CASE WHEN next_attempt_at > $2 THEN $2 ELSE next_attempt_at END \
               WHERE lease_server = $1 AND lease_until IS NOT NULL";
    execute!(conn, sql, server, now)
}

/// Asks the server that makes the next pass to apply all objects of an instance, whatever it
/// remembers of them, and makes that pass due now, also after failures.
pub(super) async fn ask_to_reapply(
    conn: &mut Conn,
    id: InstanceId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE instances SET reapply_asked_at = $2, rests_until = NULL, \
               next_attempt_at = CASE WHEN next_attempt_at > $2 THEN $2 ELSE next_attempt_at END \
               WHERE id = $1 AND status <> 'TERMINATED'";
    execute!(conn, sql, id, now)
}

/// Makes an instance due soon, because it changed in the cluster. A failing instance keeps its
/// back-off, unless it waits for the cluster, which evidently answers; so does one that another
/// controller changes again and again. One that is due by then rests no more, or a quiet look would
/// put it off.
pub(super) async fn touch(conn: &mut Conn, name: &str, soon: DateTime<Utc>) -> sqlx::Result<u64> {
    let sql = "UPDATE instances SET due_by = 'EVENT', rests_until = NULL, \
               next_attempt_at = CASE WHEN next_attempt_at > $1 THEN $1 ELSE next_attempt_at END \
               WHERE name = $2 AND (next_attempt_at > $1 OR rests_until IS NOT NULL) \
               AND (failures = 0 OR failure_cause = 'AWAY') \
               AND status <> 'TERMINATED' AND (quiet_until IS NULL OR quiet_until <= $1)";
    execute!(conn, sql, soon, name)
}

/// Makes one instance of a namespace due soon, since the next pass over any of them brings the
/// namespace back; as [`touch`].
pub(super) async fn touch_namespace(
    conn: &mut Conn,
    namespace: &str,
    soon: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE instances SET rests_until = NULL, \
               next_attempt_at = CASE WHEN next_attempt_at > $1 THEN $1 ELSE next_attempt_at END \
               WHERE (next_attempt_at > $1 OR rests_until IS NOT NULL) AND id = (SELECT id FROM instances \
                 WHERE namespace = $2 AND status <> 'TERMINATED' AND desired <> 'TERMINATED' \
                 ORDER BY failures, next_attempt_at LIMIT 1)";
    execute!(conn, sql, soon, namespace)
}

/// An instance that is not proven to be gone, with the objects that may have been applied for it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Living {
    pub(super) name: String,
    pub(super) applied: Json<Vec<ObjectRef>>,
    /// True when all of them were.
    pub(super) is_applied: bool,
}

/// Returns the instances of a namespace that are not proven to be gone, with their objects.
pub(super) async fn living(conn: &mut Conn, namespace: &str) -> sqlx::Result<Vec<Living>> {
    let sql = "SELECT name, applied, (observed_generation = generation AND failure_cause IS NULL) AS is_applied \
               FROM instances WHERE namespace = $1 AND status <> 'TERMINATED'";
    fetch_all!(conn, Living, sql, namespace)
}

/// Forgets the claims of an instance whose data is lost, so that it starts on empty volumes.
pub(super) async fn forget_claims(
    conn: &mut Conn,
    id: InstanceId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE instances SET claims = '[]', failures = 0, failure_cause = NULL, next_attempt_at = $2 \
               WHERE id = $1 AND failure_cause = 'DATA_LOST' AND desired <> 'TERMINATED'";
    execute!(conn, sql, id, now).map(|rows| rows == 1)
}

/// Makes instances due that the cluster failed by being away, and forgets those failures, because
/// it is back.
pub(super) async fn touch_failed(conn: &mut Conn, soon: DateTime<Utc>) -> sqlx::Result<u64> {
    let sql = "UPDATE instances SET next_attempt_at = $1, failures = 0 \
               WHERE next_attempt_at > $1 AND failures > 0 AND failure_cause IN ('AWAY', 'NOT_YET') \
               AND status <> 'TERMINATED'";
    execute!(conn, sql, soon)
}

/// Makes instances due whose manifests were written into a folder, because they are to live in a cluster now.
/// Those that are stopped are known by their message alone.
pub(super) async fn touch_written(
    conn: &mut Conn,
    soon: DateTime<Utc>,
    stopped: &str,
) -> sqlx::Result<u64> {
    let sql = "UPDATE instances SET next_attempt_at = $1 \
               WHERE next_attempt_at > $1 AND (status = 'WRITTEN' OR (status = 'STOPPED' AND message = $2))";
    execute!(conn, sql, soon, stopped)
}
