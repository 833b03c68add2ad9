//! Outcomes of passes, which share a commit with the operations of customers before them.

use tokio::task::{JoinHandle, yield_now};
use uuid::Uuid;

use super::*;
use crate::{
    db::Term,
    execute,
    provisioning::test_shop::{GOOD_IMAGE, Shop},
};

/// A pass that found out what to write.
struct Found {
    lease: Lease,
    seen: Instance,
    new_status: NewStatus,
    plan: Plan,
}

impl Found {
    async fn open(shop: &Shop) -> Self {
        let instance = shop.buy().await;
        let now = shop.clock.now();
        let until = now + LEASE;
        let mut conn = shop.db.begin().await.unwrap();
        let leases = store::PASSES.claim_due(&mut conn, &shop.clock, Term { now, until }, 1);
        let lease = leases.await.unwrap().remove(0);
        conn.commit().await.unwrap();
        let seen = shop.now(&instance).await;
        let reconciler = shop.reconciler(shop.in_folder());
        let decider = StatusDecider {
            seen: &seen,
            now,
            resync: reconciler.resync,
        };
        let new_status = decider.written(&[], None);
        let plan = reconciler.plan(&seen, &new_status).await.unwrap();
        Self {
            lease,
            seen,
            new_status,
            plan,
        }
    }

    /// Begins to write the outcome, which waits for the operation in hand.
    async fn write(self, shop: &Shop) -> JoinHandle<Result<bool>> {
        let reconciler = shop.reconciler(shop.in_folder());
        let outcome = tokio::spawn(async move {
            let Self {
                lease,
                seen,
                new_status,
                plan,
            } = self;
            reconciler.write(&lease, &seen, &new_status, &plan).await
        });
        yield_now().await;
        outcome
    }
}

#[tokio::test]
async fn a_first_pass_looks_for_nothing_that_an_earlier_one_would_have_left() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let sent = shop.db.record();
    let found = Found::open(&shop).await;
    let passed = shop.reconciler(shop.in_folder()).pass(&found.lease).await;
    assert!(!passed.unwrap(), "nothing is due again");
    assert_eq!(shop.now(&found.seen).await.status, Status::Written);
    let spans = "SELECT count(*) FROM health_spans WHERE until IS NULL";
    assert_eq!(shop.count(spans).await, 1);
    let looks = |one: &crate::db::Statement| {
        let is_of_health = one.file.ends_with("health/store.rs");
        one.file.ends_with("alerts/store.rs") || is_of_health && one.sql.starts_with("SELECT")
    };
    let looked: Vec<_> = sent.statements().into_iter().filter(looks).collect();
    assert!(looked.is_empty(), "{looked:#?}");
}

#[tokio::test]
async fn an_outcome_is_written_only_if_the_commit_that_it_shares_is() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let found = Found::open(&shop).await;
    let (seen, id) = (found.seen.clone(), new_id::<Uuid>(&shop.clock));
    let mut before = shop.db.begin_together().await.unwrap();
    // There is no such instance, which is found out by the commit.
    execute!(before, "PRAGMA defer_foreign_keys = ON").unwrap();
    let sql = "INSERT INTO instance_events (id, instance_id, kind, message, created_at) \
               VALUES ($1, $1, 'PENDING', 'Lost.', $2)";
    execute!(before, sql, id, shop.clock.now()).unwrap();
    let outcome = found.write(&shop).await;
    let before = tokio::spawn(before.commit());
    outcome.await.unwrap().unwrap_err();
    before.await.unwrap().unwrap_err();
    let now = shop.now(&seen).await;
    assert_eq!((now.status, now.updated_at), (seen.status, seen.updated_at));
    let held = "SELECT count(*) FROM instances WHERE lease_holder IS NOT NULL";
    assert_eq!(shop.count(held).await, 1, "the lease ends by itself");
}

#[tokio::test]
async fn a_lease_that_is_taken_in_the_same_commit_is_lost() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let found = Found::open(&shop).await;
    let (seen, other) = (found.seen.clone(), new_id::<Uuid>(&shop.clock));
    let mut before = shop.db.begin_together().await.unwrap();
    let sql = "UPDATE instances SET lease_holder = $1 WHERE id = $2";
    execute!(before, sql, other, seen.id).unwrap();
    let outcome = found.write(&shop).await;
    let before = tokio::spawn(before.commit());
    assert!(!outcome.await.unwrap().unwrap());
    before.await.unwrap().unwrap();
    let now = shop.now(&seen).await;
    assert_eq!(now.status, seen.status);
    assert!(now.reapply_asked_at.is_some(), "made good once more");
}
