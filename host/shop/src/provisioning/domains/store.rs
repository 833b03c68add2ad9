//! SQL of customers' domains.

use chrono::{DateTime, Utc};

use super::model::{Domain, DomainFilter, DomainState, Holder, Led, OwnedDomain, ProvenBy};
use crate::{
    db::{Conn, Filter, LeasedQueue, List, Span, Walked, fetch_span},
    execute, fetch_all, fetch_one, fetch_optional,
    ids::{DomainId, InstanceId, UserId},
    provisioning::model::Instance,
};

/// Claims that wait for their proof.
pub(super) const QUEUE: LeasedQueue = LeasedQueue {
    table: "custom_domains",
    due: "next_check_at",
    open: "state = 'PENDING'",
};

/// Selects domains with the host names of their instances.
macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT d.id, d.instance_id, d.user_id, d.name, d.token, d.state, d.proven_by, d.proven_at, d.problem, \
             d.checked_at, d.expires_at, d.created_at, i.hostname \
             FROM custom_domains d JOIN instances i ON i.id = d.instance_id WHERE ",
            $condition
        )
    };
}

pub(super) async fn insert(
    conn: &mut Conn,
    new: &Domain,
    next_check_at: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "INSERT INTO custom_domains (id, instance_id, user_id, name, token, state, next_check_at, expires_at, \
               created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)";
    execute!(
        conn,
        sql,
        new.id,
        new.instance_id,
        new.user_id,
        &new.name,
        &new.token,
        new.state,
        next_check_at,
        new.expires_at,
        new.created_at
    )
}

/// Domains of an instance, the oldest first.
pub(super) async fn of_instance(
    conn: &mut Conn,
    instance_id: InstanceId,
) -> sqlx::Result<Vec<Domain>> {
    let sql = select!("d.instance_id = $1 ORDER BY d.created_at, d.id");
    fetch_all!(conn, Domain, sql, instance_id)
}

/// Domains of a customer, the oldest first.
pub(super) async fn of_customer(conn: &mut Conn, user_id: UserId) -> sqlx::Result<Vec<Domain>> {
    // Written out, since it is read in the code where no journey of the tests comes by.
    let sql = "SELECT d.id, d.instance_id, d.user_id, d.name, d.token, d.state, d.proven_by, d.proven_at, d.problem, \
               d.checked_at, d.expires_at, d.created_at, i.hostname \
               FROM custom_domains d JOIN instances i ON i.id = d.instance_id \
               WHERE d.user_id = $1 ORDER BY d.created_at, d.id";
    fetch_all!(conn, Domain, sql, user_id)
}

pub(super) async fn by_id(conn: &mut Conn, id: DomainId) -> sqlx::Result<Option<Domain>> {
    let sql = select!("d.id = $1");
    fetch_optional!(conn, Domain, sql, id)
}

const DOMAINS: List = List {
    rows: "SELECT d.id, d.name, d.state, d.user_id, u.email, d.instance_id, i.name AS instance_name, d.proven_by, \
           d.proven_at, d.problem, d.checked_at, d.created_at \
           FROM custom_domains d JOIN users u ON u.id = d.user_id JOIN instances i ON i.id = d.instance_id",
    from: "FROM custom_domains d JOIN users u ON u.id = d.user_id",
    key: "d.id",
    order: "ORDER BY d.created_at DESC, d.id DESC",
};

/// Domains of all customers, newest first.
pub(super) async fn list(
    conn: &mut Conn,
    wanted: &DomainFilter<'_>,
    span: Span<DomainId>,
) -> sqlx::Result<Walked<OwnedDomain>> {
    let filter = Filter::default()
        .with_some("d.state = ?", wanted.state)
        .with_some("d.user_id = ?", wanted.user_id)
        .with_some("d.instance_id = ?", wanted.instance_id)
        .containing(&["d.name", "u.email"], wanted.q);
    let place = "(d.created_at, d.id) < (?, ?)";
    fetch_span(conn, DOMAINS, place, filter, span).await
}

/// Domains that lead to an instance, and those that are being taken back, in the order of their names.
pub(super) async fn led(conn: &mut Conn, instance_id: InstanceId) -> sqlx::Result<Vec<Led>> {
    let sql = "SELECT id, name, state, next_check_at, updated_at FROM custom_domains \
               WHERE instance_id = $1 AND state IN ('ACTIVE', 'REMOVING') ORDER BY name";
    fetch_all!(conn, Led, sql, instance_id)
}

/// The domain of this name that was proven.
pub(super) async fn holder(conn: &mut Conn, name: &str) -> sqlx::Result<Option<Holder>> {
    let sql = "SELECT d.id, d.user_id, d.state, i.name AS instance, i.status \
               FROM custom_domains d JOIN instances i ON i.id = d.instance_id \
               WHERE d.name = $1 AND d.state IN ('ACTIVE', 'REMOVING')";
    fetch_optional!(conn, Holder, sql, name)
}

/// Notes that a look found no proof, and ends the lease of that look.
pub(super) async fn note(
    conn: &mut Conn,
    id: DomainId,
    problem: &str,
    now: DateTime<Utc>,
    next: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE custom_domains SET problem = $2, checked_at = $3, next_check_at = $4, lease_holder = NULL, \
               lease_until = NULL, updated_at = $3 WHERE id = $1 AND state = 'PENDING'";
    execute!(conn, sql, id, problem, now, next)
}

/// Lets a claim become the domain of its instance; false when it is none any more.
pub(super) async fn activate(
    conn: &mut Conn,
    id: DomainId,
    by: ProvenBy,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "UPDATE custom_domains SET state = 'ACTIVE', proven_by = $2, proven_at = $3, checked_at = $3, \
               problem = NULL, lease_holder = NULL, lease_until = NULL, updated_at = $3 \
               WHERE id = $1 AND state = 'PENDING'";
    Ok(execute!(conn, sql, id, by, now)? == 1)
}

/// Begins to take a domain back, unless it does not lead anywhere any more.
pub(super) async fn leave(
    conn: &mut Conn,
    id: DomainId,
    gone_with: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE custom_domains SET state = 'REMOVING', gone_with = $2, next_check_at = $3, updated_at = $3 \
               WHERE id = $1 AND state = 'ACTIVE'";
    execute!(conn, sql, id, gone_with, now)
}

/// Lets a domain whose rule is gone wait until a moment. `updated_at` stays, so that the two differ from then on.
pub(super) async fn wait(conn: &mut Conn, id: DomainId, until: DateTime<Utc>) -> sqlx::Result<u64> {
    let sql = "UPDATE custom_domains SET next_check_at = $2 WHERE id = $1 AND state = 'REMOVING'";
    execute!(conn, sql, id, until)
}

/// Begins to take all domains of an instance back.
pub(super) async fn leave_all(
    conn: &mut Conn,
    instance_id: InstanceId,
    gone_with: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE custom_domains SET state = 'REMOVING', gone_with = $2, next_check_at = $3, updated_at = $3 \
               WHERE instance_id = $1 AND state = 'ACTIVE'";
    execute!(conn, sql, instance_id, gone_with, now)
}

/// Removes the claims of an instance.
pub(super) async fn delete_claims(conn: &mut Conn, instance_id: InstanceId) -> sqlx::Result<u64> {
    let sql = "DELETE FROM custom_domains WHERE instance_id = $1 AND state = 'PENDING'";
    execute!(conn, sql, instance_id)
}

/// Removes the claims of an instance whose time is over.
pub(super) async fn delete_expired(
    conn: &mut Conn,
    instance_id: InstanceId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "DELETE FROM custom_domains WHERE instance_id = $1 AND proven_at IS NULL AND expires_at <= $2";
    execute!(conn, sql, instance_id, now)
}

/// Removes a domain that is in this state.
pub(super) async fn delete(conn: &mut Conn, id: DomainId, state: DomainState) -> sqlx::Result<u64> {
    let sql = "DELETE FROM custom_domains WHERE id = $1 AND state = $2";
    execute!(conn, sql, id, state)
}

/// Removes all domains of a customer.
pub(super) async fn delete_of(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    let sql = "DELETE FROM custom_domains WHERE user_id = $1";
    execute!(conn, sql, user_id)
}

/// Domains that are being taken back from instances which are gone.
pub(super) async fn ended(conn: &mut Conn, limit: i64) -> sqlx::Result<Vec<(DomainId,)>> {
    let sql = "SELECT d.id FROM custom_domains d WHERE d.state = 'REMOVING' \
               AND (SELECT i.status FROM instances i WHERE i.id = d.instance_id) = 'TERMINATED' \
               ORDER BY d.updated_at, d.id LIMIT $1";
    fetch_all!(conn, (DomainId,), sql, limit)
}

/// Reads an instance. An update that changes nothing takes the row's lock on both engines.
pub(super) async fn lock(
    conn: &mut Conn,
    instance_id: InstanceId,
) -> sqlx::Result<Option<Instance>> {
    let sql = "UPDATE instances SET updated_at = updated_at WHERE id = $1 RETURNING *";
    fetch_optional!(conn, Instance, sql, instance_id)
}

/// Makes a pass over an instance that is locked due; returns the generation that it begins.
pub(super) async fn raise(
    conn: &mut Conn,
    instance_id: InstanceId,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    let sql = "UPDATE instances SET generation = generation + 1, failures = 0, next_attempt_at = $2 \
               WHERE id = $1 RETURNING generation";
    let (generation,) = fetch_one!(conn, (i64,), sql, instance_id, now)?;
    Ok(generation)
}

/// Makes the next pass over an instance due at a moment, unless it is due before.
pub(super) async fn touch(
    conn: &mut Conn,
    instance_id: InstanceId,
    at: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let sql = "UPDATE instances SET next_attempt_at = $2 WHERE id = $1 AND next_attempt_at > $2";
    execute!(conn, sql, instance_id, at)
}
