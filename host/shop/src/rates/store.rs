//! SQL of shared windows.

use crate::{db::Conn, execute, fetch_one};

/// Window of a party as the database has it after a portion was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Taken {
    /// Requests taken by all servers.
    pub(super) used: i64,
    /// Those of the window before.
    pub(super) used_before: i64,
    /// Requests taken by this statement in advance.
    pub(super) portion: i64,
    /// Milliseconds until the window ends.
    pub(super) left: i64,
}

/// Takes a quarter of the requests that are left in a window, after `owed` ones that were admitted already;
/// begins the next one where it has ended. Requests of the window before count for the part of it that the
/// running window does not yet cover.
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
    // From the inside out: the window that runs now, what is left of its limit, the portion of that.
    let sql = "INSERT INTO rate_windows AS held (class, party, used, used_before, portion, ends_at) \
               SELECT $1, $2, $3 + $4, 0, $4, now + $6 FROM rate_clock WHERE TRUE \
               ON CONFLICT (class, party) DO UPDATE SET (used, used_before, portion, ends_at) = \
                   (SELECT counted + portion, before, portion, ends FROM \
                   (SELECT counted, before, ends, CASE WHEN room > 0 THEN (room + 3) / 4 ELSE 0 END AS portion FROM \
                   (SELECT counted, before, ends, $5 - counted - before * (ends - now - 1) / $6 AS room FROM \
                   (SELECT excluded.ends_at - $6 AS now, \
                       CASE WHEN held.ends_at <= excluded.ends_at - $6 OR held.ends_at > excluded.ends_at + $6 THEN $3 \
                           ELSE held.used + $3 END AS counted, \
                       CASE WHEN held.ends_at <= excluded.ends_at - 2 * $6 OR held.ends_at > excluded.ends_at + $6 THEN 0 \
                           WHEN held.ends_at <= excluded.ends_at - $6 THEN held.used ELSE held.used_before END AS before, \
                       CASE WHEN held.ends_at <= excluded.ends_at - 2 * $6 OR held.ends_at > excluded.ends_at + $6 THEN excluded.ends_at \
                           WHEN held.ends_at <= excluded.ends_at - $6 THEN held.ends_at + $6 ELSE held.ends_at END AS ends \
                   ) AS moved) AS counts) AS portions) \
               RETURNING used, used_before, portion, ends_at - (SELECT now FROM rate_clock) AS \"left\"";
    fetch_one!(conn, Taken, sql, class, party, owed, first, limit, window)
}

/// Removes the windows that count no more; returns how many.
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
    async fn a_window_that_ended_long_ago_or_lies_too_far_ahead_begins_again() {
        let database = TestDatabase::open().await;
        let mut conn = database.db.begin().await.unwrap();
        for ends_in in ["- 60001", "+ 180000"] {
            take(&mut conn, PARTY, 60, 60, MINUTE).await.unwrap();
            let sql =
                format!("UPDATE rate_windows SET ends_at = (SELECT now FROM rate_clock) {ends_in}");
            execute!(conn, sqlx::AssertSqlSafe(sql)).unwrap();
            let taken = take(&mut conn, PARTY, 0, 60, MINUTE).await.unwrap();
            assert_eq!((taken.used, taken.portion), (15, 15), "{ends_in}");
            assert_eq!(taken.used_before, 0, "{ends_in}");
        }
    }

    #[tokio::test]
    async fn a_window_that_ended_just_now_counts_in_the_next_one() {
        let database = TestDatabase::open().await;
        let mut conn = database.db.begin().await.unwrap();
        for (ended, first, second) in [("0", 1, 0), ("30000", 8, 6)] {
            take(&mut conn, PARTY, 0, 60, MINUTE).await.unwrap();
            let sql = format!(
                "UPDATE rate_windows SET used = 60, ends_at = (SELECT now FROM rate_clock) - {ended}"
            );
            execute!(conn, sqlx::AssertSqlSafe(sql)).unwrap();
            let taken = take(&mut conn, PARTY, 0, 60, MINUTE).await.unwrap();
            assert_eq!((taken.used_before, taken.portion), (60, first), "{ended}");
            let taken = take(&mut conn, PARTY, 2, 60, MINUTE).await.unwrap();
            assert_eq!((taken.used_before, taken.portion), (60, second), "{ended}");
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
