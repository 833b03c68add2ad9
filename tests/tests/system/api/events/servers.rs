//! Tests of streams that several servers and writers share, on PostgreSQL.

use std::time::Duration;

use dermaga_shop::{
    db::{Clock, new_id},
    execute,
};
use dermaga_tests::{Engine, Shop};
use uuid::Uuid;

use super::{Stream, put};
use crate::api::webhooks::user_id;

/// Writes an event as the triggers do.
async fn write(conn: &mut dermaga_shop::db::Conn, clock: &Clock, reader: Uuid, change: &str) {
    let sql = "INSERT INTO customer_events (user_id, kind, subject_id, change, at) VALUES ($1, 'wallet', $2, $3, $4)";
    let id: Uuid = new_id(clock);
    execute!(conn, sql, reader, id, change, clock.now()).unwrap();
}

/// A stream continues at another server where the first one ended it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_at_another_server() {
    let Some(one) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let two = one.second_server().await;
    let customer = one.customer("pindah@example.com").await;
    let reader = user_id(&customer).await;
    let there = customer.moved_to(two.client());
    let mut at_two = Stream::open(&there, None).await;
    at_two.next().await.unwrap();
    put(&one, reader, "1").await;
    let first = at_two.next().await.unwrap();
    assert_eq!(first.data["change"], "QUOTA_FREE");
    drop(at_two);
    put(&two, reader, "2").await;
    let mut at_one = Stream::open(&customer, Some(&first.id)).await;
    let second = at_one.next().await.unwrap();
    assert_eq!(second.data["change"], "QUOTA_FREE");
    assert_ne!(second.data["subjectId"], first.data["subjectId"]);
    assert!(at_one.is_silent().await);
}

/// A number that is taken first may become visible last: the stream waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_late_is_not_skipped() {
    let Some(shop) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let customer = shop.customer("telat@example.com").await;
    let reader = user_id(&customer).await;
    let (db, clock) = (&shop.state().db, shop.clock());
    let mut stream = Stream::open(&customer, None).await;
    stream.next().await.unwrap();
    let mut slow = db.begin().await.unwrap();
    write(&mut slow, clock, reader, "FIRST").await;
    let mut quick = db.begin().await.unwrap();
    write(&mut quick, clock, reader, "SECOND").await;
    quick.commit().await.unwrap();
    assert!(stream.is_silent().await, "one before it may come");
    slow.commit().await.unwrap();
    let changes = [stream.next().await.unwrap(), stream.next().await.unwrap()];
    let changes = changes.map(|event| event.data["change"].as_str().unwrap().to_owned());
    assert_eq!(changes, ["FIRST", "SECOND"]);
    // An undone change is waited for no longer.
    let mut undone = db.begin().await.unwrap();
    write(&mut undone, clock, reader, "NEVER").await;
    let mut quick = db.begin().await.unwrap();
    write(&mut quick, clock, reader, "THIRD").await;
    quick.commit().await.unwrap();
    undone.rollback().await.unwrap();
    assert_eq!(stream.next().await.unwrap().data["change"], "THIRD");
}

/// Many write at the same time, while streams of two servers begin and end: each event once, in one order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_and_no_event_is_lost() {
    let Some(one) = Shop::open(Engine::Postgres).await else {
        return;
    };
    let two = one.second_server().await;
    let customer = one.customer("ramai@example.com").await;
    let reader = user_id(&customer).await;
    let there = customer.moved_to(two.client());
    let mut stream = Stream::open(&customer, None).await;
    let mut last = stream.next().await.unwrap().id;
    let writers = async {
        let each = (0..10).map(|writer| {
            let (db, clock) = (one.state().db.clone(), one.clock().clone());
            tokio::spawn(async move {
                for number in 0..20 {
                    let mut conn = db.begin().await.unwrap();
                    write(&mut conn, &clock, reader, &format!("{writer}-{number}")).await;
                    let pause = u64::try_from((writer * 7 + number * 3) % 23).unwrap();
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    conn.commit().await.unwrap();
                }
            })
        });
        futures::future::join_all(each).await;
    };
    let mut changes = Vec::new();
    let readers = async {
        let mut is_here = true;
        while changes.len() < 200 {
            for _ in 0..17.min(200 - changes.len()) {
                let event = stream.next().await.unwrap();
                changes.push(event.data["change"].as_str().unwrap().to_owned());
                last = event.id;
            }
            is_here = !is_here;
            let client = if is_here { &customer } else { &there };
            stream = Stream::open(client, Some(&last)).await;
        }
    };
    tokio::join!(writers, readers);
    assert!(stream.is_silent().await);
    changes.sort_unstable();
    changes.dedup();
    assert_eq!(changes.len(), 200);
}
