//! SQL of the waitlist.

use chrono::{DateTime, Utc};

use super::{Entry, QueueEntry, WaitView};
use crate::{
    db::{Conn, Filter, List, Span, Walked, fetch_span, find_where},
    execute, fetch_all, fetch_one, fetch_optional,
    ids::{PlanId, ServiceId, UserId, WaitId},
};

const OWN: List = List {
    rows: "SELECT w.id, w.plan_id, s.slug AS service, s.name AS service_name, p.slug AS plan, p.name AS plan_name,
        CASE WHEN w.held_until IS NULL THEN (SELECT count(*) FROM waitlist o
          WHERE o.plan_id = w.plan_id AND o.number <= w.number AND o.held_until IS NULL) END AS position,
        w.held_until, w.created_at
        FROM waitlist w JOIN service_plans p ON p.id = w.plan_id JOIN services s ON s.id = p.service_id",
    from: "FROM waitlist w",
    key: "w.id",
    order: "ORDER BY w.created_at, w.id",
};

const QUEUE: List = List {
    rows: "SELECT w.id, w.user_id, u.email,
        CASE WHEN w.held_until IS NULL THEN (SELECT count(*) FROM waitlist o
          WHERE o.plan_id = w.plan_id AND o.number <= w.number AND o.held_until IS NULL) END AS position,
        w.held_until, w.created_at, w.number
        FROM waitlist w JOIN users u ON u.id = w.user_id",
    from: "FROM waitlist w",
    key: "w.id",
    // An entry with a held place came before all that wait.
    order: "ORDER BY w.number",
};

/// Entries of a customer.
pub(super) async fn list(
    conn: &mut Conn,
    user_id: UserId,
    span: Span<WaitId>,
) -> sqlx::Result<Walked<WaitView>> {
    let filter = Filter::of("w.user_id = ?", user_id);
    // This list begins with the oldest.
    let place = "(w.created_at, w.id) > (?, ?)";
    fetch_span(conn, OWN, place, filter, span).await
}

pub(super) async fn own(
    conn: &mut Conn,
    user_id: UserId,
    id: WaitId,
) -> sqlx::Result<Option<WaitView>> {
    let filter = Filter::of("w.id = ?", id).with("w.user_id = ?", user_id);
    find_where(conn, OWN.rows, &filter).await
}

/// Entries of a plan, in their order.
pub(super) async fn queue(
    conn: &mut Conn,
    plan_id: PlanId,
    span: Span<WaitId, i64>,
) -> sqlx::Result<Walked<QueueEntry>> {
    let filter = Filter::of("w.plan_id = ?", plan_id);
    // This list begins with the first who came.
    let place = "(w.number, w.id) > (?, ?)";
    fetch_span(conn, QUEUE, place, filter, span).await
}

/// Entry of a customer.
pub(super) async fn entry(
    conn: &mut Conn,
    user_id: UserId,
    id: WaitId,
) -> sqlx::Result<Option<Entry>> {
    let sql = "SELECT id, plan_id, user_id, held_until IS NOT NULL AS is_held FROM waitlist WHERE id = $1 AND user_id = $2";
    fetch_optional!(conn, Entry, sql, id, user_id)
}

/// Entries of a customer, in the order in which the rows of plans are locked.
pub(super) async fn entries(conn: &mut Conn, user_id: UserId) -> sqlx::Result<Vec<Entry>> {
    let sql = "SELECT id, plan_id, user_id, held_until IS NOT NULL AS is_held FROM waitlist WHERE user_id = $1 ORDER BY plan_id";
    fetch_all!(conn, Entry, sql, user_id)
}

/// Returns true when the customer is in the queue, waiting or with a held place.
pub(super) async fn waits_for(
    conn: &mut Conn,
    plan_id: PlanId,
    user_id: UserId,
) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM waitlist WHERE plan_id = $1 AND user_id = $2)";
    let (found,) = fetch_one!(conn, (bool,), sql, plan_id, user_id)?;
    Ok(found)
}

/// Returns true when the customer has as many of a plan as one may.
pub(super) async fn is_at_limit(
    conn: &mut Conn,
    plan_id: PlanId,
    user_id: UserId,
) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM service_plans p WHERE p.id = $1 AND p.max_instances_per_user <=
                 (SELECT count(*) FROM subscriptions s WHERE s.plan_id = $1 AND s.user_id = $2
                   AND s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')))";
    let (found,) = fetch_one!(conn, (bool,), sql, plan_id, user_id)?;
    Ok(found)
}

/// Returns true when a customer who can take a place waits without one.
pub(super) async fn has_waiting(conn: &mut Conn, plan_id: PlanId) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM waitlist w JOIN service_plans p ON p.id = w.plan_id
                 WHERE w.plan_id = $1 AND w.held_until IS NULL AND p.max_instances_per_user >
                   (SELECT count(*) FROM subscriptions s WHERE s.plan_id = w.plan_id AND s.user_id = w.user_id
                     AND s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED')))";
    let (found,) = fetch_one!(conn, (bool,), sql, plan_id)?;
    Ok(found)
}

/// Adds an entry at the end of the queue.
pub(super) async fn insert(
    conn: &mut Conn,
    id: WaitId,
    plan_id: PlanId,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO waitlist (id, plan_id, user_id, number, created_at)
               VALUES ($1, $2, $3, (SELECT coalesce(max(number), 0) + 1 FROM waitlist WHERE plan_id = $2), $4)";
    execute!(conn, sql, id, plan_id, user_id, now)
}

pub(super) async fn delete(conn: &mut Conn, id: WaitId) -> sqlx::Result<u64> {
    execute!(conn, "DELETE FROM waitlist WHERE id = $1", id)
}

pub(super) async fn is_held(
    conn: &mut Conn,
    plan_id: PlanId,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM waitlist WHERE plan_id = $1 AND user_id = $2 AND held_until > $3)";
    let (found,) = fetch_one!(conn, (bool,), sql, plan_id, user_id, now)?;
    Ok(found)
}

/// Plans of the places that are held for other customers.
pub(super) async fn held_for_others(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<PlanId>> {
    let sql = "SELECT plan_id FROM waitlist WHERE held_until > $1 AND user_id <> $2";
    let rows = fetch_all!(conn, (PlanId,), sql, now, user_id)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Ends the entry for which a place is held: the place is the customer's.
pub(super) async fn take_held(
    conn: &mut Conn,
    plan_id: PlanId,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "DELETE FROM waitlist WHERE plan_id = $1 AND user_id = $2 AND held_until > $3";
    Ok(execute!(conn, sql, plan_id, user_id, now)? == 1)
}

/// Entries that hold a place in a plan that is off sale.
pub(super) async fn held_off_sale(conn: &mut Conn, plan_id: PlanId) -> sqlx::Result<Vec<Entry>> {
    let sql = "SELECT w.id, w.plan_id, w.user_id, TRUE AS is_held FROM waitlist w
               JOIN service_plans p ON p.id = w.plan_id JOIN services s ON s.id = p.service_id
               WHERE w.plan_id = $1 AND w.held_until IS NOT NULL AND p.retired_at IS NULL AND s.retired_at IS NULL
                 AND NOT (p.active AND s.active AND s.refused IS NULL)
               ORDER BY w.number";
    fetch_all!(conn, Entry, sql, plan_id)
}

/// Lets a customer wait again, at the same number.
pub(super) async fn release(conn: &mut Conn, id: WaitId) -> sqlx::Result<u64> {
    let sql = "UPDATE waitlist SET held_until = NULL WHERE id = $1";
    execute!(conn, sql, id)
}

/// Entries whose hold is over, of closed accounts, or for what is retired.
pub(super) async fn over(
    conn: &mut Conn,
    plan_id: PlanId,
    now: DateTime<Utc>,
) -> sqlx::Result<Vec<Entry>> {
    let sql = "SELECT w.id, w.plan_id, w.user_id, w.held_until IS NOT NULL AS is_held
               FROM waitlist w JOIN users u ON u.id = w.user_id
               JOIN service_plans p ON p.id = w.plan_id JOIN services s ON s.id = p.service_id
               WHERE w.plan_id = $1 AND (w.held_until <= $2 OR u.status <> 'ACTIVE'
                 OR p.retired_at IS NOT NULL OR s.retired_at IS NOT NULL)
               ORDER BY w.number";
    fetch_all!(conn, Entry, sql, plan_id, now)
}

/// The first who waits and can take a place.
pub(super) async fn next(conn: &mut Conn, plan_id: PlanId) -> sqlx::Result<Option<Entry>> {
    let sql = "SELECT w.id, w.plan_id, w.user_id, w.held_until IS NOT NULL AS is_held
               FROM waitlist w JOIN service_plans p ON p.id = w.plan_id
               WHERE w.plan_id = $1 AND w.held_until IS NULL AND p.max_instances_per_user >
                 (SELECT count(*) FROM subscriptions s WHERE s.plan_id = w.plan_id AND s.user_id = w.user_id
                   AND s.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED'))
               ORDER BY w.number LIMIT 1";
    fetch_optional!(conn, Entry, sql, plan_id)
}

/// Takes a free place to be held; false when none is free, or the plan is not on sale.
pub(super) async fn take_place(
    conn: &mut Conn,
    plan_id: PlanId,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE service_plans SET used_quota = used_quota + 1, updated_at = $2
               WHERE id = $1 AND active AND used_quota < total_quota
                 AND EXISTS (SELECT 1 FROM services s WHERE s.id = service_id AND s.active AND s.refused IS NULL)";
    Ok(execute!(conn, sql, plan_id, now)? == 1)
}

pub(super) async fn hold(conn: &mut Conn, id: WaitId, until: DateTime<Utc>) -> sqlx::Result<u64> {
    let sql = "UPDATE waitlist SET held_until = $2 WHERE id = $1";
    execute!(conn, sql, id, until)
}

/// Plans of a service that are waited for.
pub(super) async fn waited_for(
    conn: &mut Conn,
    service_id: ServiceId,
) -> sqlx::Result<Vec<PlanId>> {
    let sql = "SELECT p.id FROM service_plans p
               WHERE p.service_id = $1 AND (SELECT min(w.number) FROM waitlist w WHERE w.plan_id = p.id) IS NOT NULL
               ORDER BY p.id";
    let rows = fetch_all!(conn, (PlanId,), sql, service_id)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Plans with a hold that is over or of a plan off sale, with a free place that a customer waits for who can
/// take it, or retired with a queue.
///
/// Numbers are compared in place of an EXISTS, so that each plan reads its own queue by the index.
pub(super) async fn due(conn: &mut Conn, now: DateTime<Utc>) -> sqlx::Result<Vec<PlanId>> {
    let sql = "SELECT p.id FROM service_plans p JOIN services s ON s.id = p.service_id
               WHERE (SELECT min(w.number) FROM waitlist w WHERE w.plan_id = p.id AND w.held_until <= $1) IS NOT NULL
                 OR (p.active AND s.active AND s.refused IS NULL AND p.used_quota < p.total_quota
                   AND (SELECT min(w.number) FROM waitlist w WHERE w.plan_id = p.id AND w.held_until IS NULL
                     AND p.max_instances_per_user > (SELECT count(*) FROM subscriptions o
                       WHERE o.plan_id = p.id AND o.user_id = w.user_id
                         AND o.status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED'))) IS NOT NULL)
                 OR (NOT (p.active AND s.active AND s.refused IS NULL)
                   AND (SELECT min(w.number) FROM waitlist w WHERE w.plan_id = p.id AND w.held_until IS NOT NULL) IS NOT NULL)
                 OR ((p.retired_at IS NOT NULL OR s.retired_at IS NOT NULL)
                   AND (SELECT min(w.number) FROM waitlist w WHERE w.plan_id = p.id) IS NOT NULL)
               ORDER BY p.id";
    let rows = fetch_all!(conn, (PlanId,), sql, now)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
