//! Tests of how long the outbox keeps messages that were read, and of those that stay.

use chrono::TimeDelta;
use dermaga_shop::{
    db::{Conn, new_id},
    outbox::{self, ADMINISTRATORS, Topic},
    scheduler::Schedule,
};
use dermaga_tests::{Engine, Shop, both_engines};
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;

use super::notifications::{put, run, told, told_times, user_id};

/// A shop that keeps its history for 40 days.
struct Kept;

impl Kept {
    async fn open(engine: Engine) -> Option<Shop> {
        keeping(engine, 40).await
    }
}

/// The same for as short a time as may be set.
struct Brief;

impl Brief {
    async fn open(engine: Engine) -> Option<Shop> {
        keeping(engine, 8).await
    }
}

/// Opens a shop whose jobs remove its history when they are called.
async fn keeping(engine: Engine, days: i64) -> Option<Shop> {
    Shop::open_with(engine, |config| {
        config.provisioning.health_kept = TimeDelta::days(days);
        config.schedules.health_history = Schedule::Off;
    })
    .await
}

both_engines!(
    Kept,
    [
        messages_are_kept_as_long_as_the_history_of_health,
        what_was_read_long_ago_goes_and_the_rest_stays
    ]
);

both_engines!(Brief, [messages_are_kept_as_long_as_any_warning_is_early]);

async fn messages_are_kept_as_long_as_the_history_of_health(shop: Shop) {
    are_kept(&shop, 40).await;
}

async fn messages_are_kept_as_long_as_any_warning_is_early(shop: Shop) {
    are_kept(&shop, 31).await;
}

/// Expects that a message goes after so many days, and its key with it. What was told stays in the inbox.
async fn are_kept(shop: &Shop, days: i64) {
    let reader = shop.customer("simpan@example.com").await;
    let what = (Topic::TopUpReceived, user_id(&reader).await);
    assert!(put(shop, what, "1").await);
    told(&reader, "TOP_UP_RECEIVED").await;
    for (later, is_gone) in [(days - 1, false), (2, true)] {
        shop.clock().advance(TimeDelta::days(later));
        run(&shop.admin().await, "health-history").await;
        assert_eq!(put(shop, what, "1").await, is_gone, "{later}");
    }
    let reader = shop.sign_in("simpan@example.com").await;
    told_times(&reader, "TOP_UP_RECEIVED", 2).await;
}

/// Nothing of it is committed, so that the server reads none of it meanwhile.
async fn what_was_read_long_ago_goes_and_the_rest_stays(shop: Shop) {
    let answer = (Topic::TicketAnswered, Uuid::from_u128(1));
    let summary = (Topic::AdminBillingSummary, ADMINISTRATORS);
    let old_image = (Topic::ImageOld, ADMINISTRATORS);
    let mut conn = shop.state().db.begin().await.unwrap();
    let mut kept = Vec::new();
    for (what, days, is_read, stays) in [
        // It is on sale still.
        (old_image, 130, true, true),
        (summary, 120, true, false),
        (answer, 110, true, false),
        (answer, 100, false, true),
        (summary, 90, false, true),
        // The next one begins where it ends.
        (summary, 80, true, true),
        (answer, 41, true, false),
        (answer, 39, true, true),
    ] {
        let id = write(&mut conn, &shop, what, (days, is_read)).await;
        if stays {
            kept.push(id);
        }
    }
    let before = shop.clock().now() - TimeDelta::days(40);
    for removed in [2, 1, 0] {
        let now = outbox::purge(&mut conn, before, 2).await.unwrap();
        assert_eq!(now, removed);
    }
    let sql = "SELECT id FROM outbox WHERE created_at < $1 ORDER BY created_at";
    let week_ago = shop.clock().now() - TimeDelta::days(7);
    let left = dermaga_shop::fetch_all!(conn, (Uuid,), sql, week_ago).unwrap();
    let left: Vec<Uuid> = left.into_iter().map(|(id,)| id).collect();
    assert_eq!(left, kept);
}

/// Writes a message that is so many days old, and was read then or never.
async fn write(
    conn: &mut Conn,
    shop: &Shop,
    (topic, subject): (Topic, Uuid),
    (days, is_read): (i64, bool),
) -> Uuid {
    let id: Uuid = new_id(shop.clock());
    let at = shop.clock().now() - TimeDelta::days(days);
    let sql = "INSERT INTO outbox (id, topic, subject_id, payload, created_at, handled_at) VALUES ($1, $2, $3, $4, $5, $6)";
    let (payload, read_at) = (Json(json!({})), is_read.then_some(at));
    dermaga_shop::execute!(conn, sql, id, topic, subject, payload, at, read_at).unwrap();
    id
}
