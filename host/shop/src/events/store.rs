//! SQL of events.

use chrono::{DateTime, Utc};

use super::model::{CustomerEvent, Place};
use crate::{db::Conn, delete_free, execute, fetch_all, fetch_one, ids::UserId};

/// Returns the place after which all further events come.
pub(super) async fn now(conn: &mut Conn) -> sqlx::Result<Place> {
    fetch_one!(conn, Place, "SELECT tx, seq FROM events_now")
}

/// Events of a customer after a place, the earliest first.
pub(super) async fn after(
    conn: &mut Conn,
    user_id: UserId,
    place: Place,
    limit: i64,
) -> sqlx::Result<Vec<CustomerEvent>> {
    let sql = "SELECT tx, seq, kind, subject_id, change, at FROM settled_changes \
               WHERE user_id = $1 AND (tx, seq) > ($2, $3) ORDER BY tx, seq LIMIT $4";
    fetch_all!(
        conn,
        CustomerEvent,
        sql,
        user_id,
        place.tx,
        place.seq,
        limit
    )
}

/// Places of all events after one, with their customers.
pub(super) async fn of_all_after(
    conn: &mut Conn,
    place: Place,
    limit: i64,
) -> sqlx::Result<Vec<(i64, i64, UserId)>> {
    let sql = "SELECT tx, seq, user_id FROM settled_changes WHERE (tx, seq) > ($1, $2) ORDER BY tx, seq LIMIT $3";
    fetch_all!(conn, (i64, i64, UserId), sql, place.tx, place.seq, limit)
}

/// Removes a number of events from before a moment; returns how many.
pub(super) async fn purge(conn: &mut Conn, before: DateTime<Utc>, limit: i64) -> sqlx::Result<u64> {
    let sql = delete_free!(
        conn,
        "customer_events",
        "seq",
        "at < $1 ORDER BY at LIMIT $2"
    );
    execute!(conn, sql, before, limit)
}

/// Removes all events of an account.
pub(super) async fn forget(conn: &mut Conn, user_id: UserId) -> sqlx::Result<u64> {
    let sql = "DELETE FROM customer_events WHERE user_id = $1";
    execute!(conn, sql, user_id)
}
