//! The table of statuses against the one that the database keeps.

use crate::{
    db::new_id, execute, ids::TicketId, test_database::TestDatabase, tickets::TicketStatus,
};

/// The database refuses exactly the pairs that the table refuses.
#[tokio::test]
async fn the_database_keeps_the_same_table() {
    let database = TestDatabase::open().await;
    let now = database.clock.now();
    let mut number = 0_i64;
    for &from in TicketStatus::ALL {
        for &to in TicketStatus::ALL {
            number += 1;
            let id: TicketId = new_id(&database.clock);
            let closed = |status| (status == TicketStatus::Closed).then_some((now, "CUSTOMER"));
            let mut conn = database.db.begin().await.unwrap();
            let sql = "INSERT INTO tickets (id, number, user_id, subject, status, priority, closed_at, closed_by,
                         created_at, updated_at, touched_at)
                       VALUES ($1, $2, $3, 'Subject', $4, 'NORMAL', $5, $6, $7, $7, $7)";
            let (at, by) = closed(from).unzip();
            execute!(conn, sql, id, number, database.user_id, from, at, by, now).unwrap();
            let sql =
                "UPDATE tickets SET status = $2, closed_at = $3, closed_by = $4 WHERE id = $1";
            let (at, by) = closed(to).unzip();
            let changed = execute!(conn, sql, id, to, at, by).is_ok();
            assert_eq!(changed, from.may_become(to), "{from} {to}");
            conn.rollback().await.unwrap();
        }
    }
}
