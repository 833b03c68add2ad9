//! The audit trail on a database.

use serde_json::json;

use super::*;
use crate::{db::Part, ids::CouponId, test_database::TestDatabase};

/// Recorded acts are found by each filter, with the reason and the actor's address.
#[tokio::test]
async fn acts_are_found_by_what_is_known_of_them() {
    let database = TestDatabase::open().await;
    let (db, clock) = (&database.db, &database.clock);
    let actor = database.account("admin@example.com", "ADMINISTRATOR").await;
    let coupon = Subject::Coupon(CouponId::from_u128(7));
    let events = [
        Event::new(AuditAct::CouponCreated, coupon, json!({ "code": "A" })),
        Event::new(AuditAct::CouponDeleted, coupon, json!({}))
            .because("Printed with 100% by mistake."),
        Event::new(AuditAct::ClockSet, Subject::Clock, json!({})),
    ];
    let mut conn = db.begin().await.unwrap();
    for event in events {
        record(&mut conn, clock, actor, event).await.unwrap();
        clock.advance(chrono::TimeDelta::seconds(1));
    }
    conn.commit().await.unwrap();

    let subject = coupon.to_string();
    let of = async |filter: AuditFilter<'_>| {
        let part = Span::Page(Part {
            offset: 0,
            limit: 10,
        });
        let page = list(db, &filter, part).await.unwrap();
        let acts = page.items.iter().map(|event| event.act);
        (page.total.unwrap(), acts.collect::<Vec<_>>())
    };
    let all = of(AuditFilter::default()).await;
    assert_eq!(
        all,
        (
            3,
            vec![
                AuditAct::ClockSet,
                AuditAct::CouponDeleted,
                AuditAct::CouponCreated
            ]
        )
    );
    let of_coupon = AuditFilter {
        subject: Some(&subject),
        ..AuditFilter::default()
    };
    assert_eq!(of(of_coupon).await.0, 2);
    let because = AuditFilter {
        reason: Some("100% BY"),
        actor_id: Some(actor),
        ..AuditFilter::default()
    };
    assert_eq!(of(because).await, (1, vec![AuditAct::CouponDeleted]));
    let later = AuditFilter {
        from: Some(clock.now() + chrono::TimeDelta::seconds(1)),
        ..AuditFilter::default()
    };
    assert_eq!(of(later).await.0, 0);
    let one = AuditFilter {
        act: Some(AuditAct::ClockSet),
        until: Some(clock.now() + chrono::TimeDelta::seconds(1)),
        ..AuditFilter::default()
    };
    assert_eq!(of(one).await.0, 1);
}

/// The database refuses to change or delete what was recorded.
#[tokio::test]
async fn what_was_recorded_stays() {
    let database = TestDatabase::open().await;
    let actor = database.account("admin@example.com", "ADMINISTRATOR").await;
    let mut conn = database.db.begin().await.unwrap();
    let event = Event::new(AuditAct::ClockSet, Subject::Clock, json!({}));
    record(&mut conn, &database.clock, actor, event)
        .await
        .unwrap();
    conn.commit().await.unwrap();
    for sql in [
        "UPDATE audit_events SET reason = 'another'",
        "DELETE FROM audit_events",
    ] {
        let mut conn = database.db.begin().await.unwrap();
        let refused = crate::execute!(conn, sql).unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
}

#[test]
fn acts_are_named_after_their_subject() {
    for act in AuditAct::ALL {
        let (kind, verb) = act.as_str().split_once('.').unwrap();
        assert!(!kind.is_empty() && !verb.is_empty(), "{act}");
    }
}
