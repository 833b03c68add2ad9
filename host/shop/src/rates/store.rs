//! SQL of shared windows.

use crate::{db::Conn, execute, fetch_one};

/// Window of a party as the database has it after a portion was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Taken {
    /// Requests taken by all servers.
    pub(super) used: i64,
    /// Requests taken by this statement in advance.
    pub(super) portion: i64,
    /// Milliseconds until the window ends.
    pub(super) left: i64,
}

/// Takes a quarter of the requests that are left in a window, after `owed` ones that were admitted already;
/// begins a new window where the last one has ended.
///
/// An end that lies further ahead than two windows was written by a clock that was wrong.
pub(super) async fn take(
    conn: &mut Conn,
    (class, party): (&str, &str),
    owed: i64,
    limit: i64,
    window: i64,
) -> sqlx::Result<Taken> {
    let first = (limit - owed + 3) / 4;
    let sql = "INSERT INTO rate_windows AS held (class, party, used, portion, ends_at) \
               SELECT $1, $2, $3 + $4, $4, now + $6 FROM rate_clock WHERE TRUE \
               ON CONFLICT (class, party) DO UPDATE SET \
                   used = CASE WHEN held.ends_at <= excluded.ends_at - $6 OR held.ends_at > excluded.ends_at + $6 THEN excluded.used \
                       WHEN held.used + $3 < $5 THEN held.used + $3 + ($5 - held.used - $3 + 3) / 4 \
                       ELSE held.used + $3 END, \
                   portion = CASE WHEN held.ends_at <= excluded.ends_at - $6 OR held.ends_at > excluded.ends_at + $6 THEN excluded.portion \
                       WHEN held.used + $3 < $5 THEN ($5 - held.used - $3 + 3) / 4 ELSE 0 END, \
                   ends_at = CASE WHEN held.ends_at <= excluded.ends_at - $6 OR held.ends_at > excluded.ends_at + $6 THEN excluded.ends_at \
                       ELSE held.ends_at END \
               RETURNING used, portion, ends_at - (SELECT now FROM rate_clock) AS \"left\"";
    fetch_one!(conn, Taken, sql, class, party, owed, first, limit, window)
}

/// Removes the windows that ended a while ago; returns how many.
pub(super) async fn purge(conn: &mut Conn, window: i64) -> sqlx::Result<u64> {
    let sql = "DELETE FROM rate_windows WHERE ends_at < (SELECT now FROM rate_clock) - $1";
    execute!(conn, sql, window)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_database::TestDatabase;

    const PARTY: (&str, &str) = ("customers", "somebody");
    const MINUTE: i64 = 60_000;

    #[tokio::test]
    async fn portions_shrink_and_never_exceed_the_limit() {
        let database = TestDatabase::open().await;
        let mut conn = database.db.begin().await.unwrap();
        let mut portions = Vec::new();
        loop {
            let taken = take(&mut conn, PARTY, 0, 60, MINUTE).await.unwrap();
            assert!((1..=MINUTE).contains(&taken.left), "{taken:?}");
            if taken.portion == 0 {
                assert_eq!(taken.used, 60);
                break;
            }
            portions.push(taken.portion);
        }
        assert_eq!(portions.iter().sum::<i64>(), 60);
        assert!(portions.is_sorted_by(|left, right| left >= right));
        assert_eq!(portions[0], 15);
    }

    #[tokio::test]
    async fn what_was_admitted_before_is_counted_even_beyond_the_limit() {
        let database = TestDatabase::open().await;
        let mut conn = database.db.begin().await.unwrap();
        let first = take(&mut conn, PARTY, 2, 6, MINUTE).await.unwrap();
        assert_eq!((first.used, first.portion), (3, 1));
        let second = take(&mut conn, PARTY, 5, 6, MINUTE).await.unwrap();
        assert_eq!((second.used, second.portion), (8, 0));
    }

    #[tokio::test]
    async fn a_window_that_ended_or_lies_too_far_ahead_begins_again() {
        let database = TestDatabase::open().await;
        let mut conn = database.db.begin().await.unwrap();
        for ends_in in ["- 1", "+ 180000"] {
            take(&mut conn, PARTY, 60, 60, MINUTE).await.unwrap();
            let sql =
                format!("UPDATE rate_windows SET ends_at = (SELECT now FROM rate_clock) {ends_in}");
            execute!(conn, sqlx::AssertSqlSafe(sql)).unwrap();
            let taken = take(&mut conn, PARTY, 0, 60, MINUTE).await.unwrap();
            assert_eq!((taken.used, taken.portion), (15, 15), "{ends_in}");
        }
    }

    #[tokio::test]
    async fn only_windows_that_ended_a_while_ago_are_removed() {
        let database = TestDatabase::open().await;
        let mut conn = database.db.begin().await.unwrap();
        take(&mut conn, PARTY, 0, 60, MINUTE).await.unwrap();
        assert_eq!(purge(&mut conn, MINUTE).await.unwrap(), 0);
        assert_eq!(purge(&mut conn, -2 * MINUTE).await.unwrap(), 1);
    }
}
