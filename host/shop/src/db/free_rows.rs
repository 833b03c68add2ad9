//! Deletions that wait for no other transaction.

/// Makes the text of a deletion for the engine of a connection, of the rows that a condition finds, each by its key:
/// `delete_free!(conn, "quotes", "id", "expires_at < $1 ORDER BY expires_at LIMIT $2")`. A pair of keys is that of
/// PostgreSQL and that of SQLite.
///
/// On PostgreSQL rows that another transaction has locked are left for a later call. The deletion of an account, or of a
/// plan, locks them in another order, and what waited for it could hold what it waits for. SQLite's writer has every row.
#[macro_export]
macro_rules! delete_free {
    ($conn:expr, $table:literal, ($postgres:literal, $sqlite:literal), $rows:literal) => {
        if $conn.is_postgres() {
            concat!(
                "DELETE FROM ",
                $table,
                " WHERE ",
                $postgres,
                " = ANY(ARRAY(SELECT ",
                $postgres,
                " FROM ",
                $table,
                " WHERE ",
                $rows,
                " FOR UPDATE SKIP LOCKED))"
            )
        } else {
            concat!(
                "DELETE FROM ",
                $table,
                " WHERE ",
                $sqlite,
                " IN (SELECT ",
                $sqlite,
                " FROM ",
                $table,
                " WHERE ",
                $rows,
                ")"
            )
        }
    };
    ($conn:expr, $table:literal, $key:literal, $rows:literal) => {
        $crate::delete_free!($conn, $table, ($key, $key), $rows)
    };
}
