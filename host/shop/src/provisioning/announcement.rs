//! Announcement of an instance to its customer: it runs for the first time.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{model::Instance, store};
use crate::{
    Result,
    db::{Clock, Conn},
    outbox::{self, Topic},
};

/// Tells a customer that an instance is ready, in the transaction that notes the first moment at which it is
/// seen to run, however long ago it was delivered.
///
/// # Errors
/// When the database refuses.
pub(super) async fn announce(
    conn: &mut Conn,
    clock: &Clock,
    seen: &Instance,
    ready_at: Option<DateTime<Utc>>,
) -> Result<()> {
    if seen.ready_at.is_some() || ready_at.is_none() {
        return Ok(());
    }
    let (service, plan) = store::names(conn, seen.plan_id).await?;
    let payload = json!({
        "subscriptionId": seen.subscription_id,
        "instanceId": seen.id,
        "service": service,
        "plan": plan,
    });
    let what = (Topic::InstanceReady, seen.user_id.into());
    let key = seen.subscription_id.to_string();
    outbox::put_once(conn, clock, what, &key, payload).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;
    use dermaga_runtime::contract::{Health, HealthState};
    use serde_json::Value;
    use sqlx::types::Json;

    use super::*;
    use crate::{
        db::Term,
        execute, fetch_one,
        provisioning::{
            health,
            model::NewStatus,
            reconciler::LEASE,
            status::StatusDecider,
            test_shop::{GOOD_IMAGE, Shop},
        },
    };

    type Found = fn(&StatusDecider<'_>) -> NewStatus;

    fn written(decider: &StatusDecider<'_>) -> NewStatus {
        decider.written(&[], None)
    }

    fn running(decider: &StatusDecider<'_>) -> NewStatus {
        let health = Health {
            state: HealthState::Ready,
            message: "Ready.".to_owned(),
        };
        decider.healthy(&health, &[], (&[], &[]))
    }

    /// Writes the findings of a pass.
    async fn pass(shop: &Shop, instance: &Instance, found: Found) -> Instance {
        let now = shop.clock.now();
        let mut conn = shop.db.begin().await.unwrap();
        let sql = "UPDATE instances SET next_attempt_at = $1 WHERE id = $2";
        execute!(conn, sql, now, instance.id).unwrap();
        let until = now + LEASE;
        let leases = store::PASSES.claim_due(&mut conn, &shop.clock, Term { now, until }, 1);
        let lease = leases.await.unwrap().remove(0);
        conn.commit().await.unwrap();
        let seen = shop.now(instance).await;
        let new_status = found(&StatusDecider {
            seen: &seen,
            now,
            resync: Duration::from_secs(300),
        });
        let mut conn = shop.db.read().await.unwrap();
        let plan = health::load(&mut conn, &seen, &new_status, TimeDelta::minutes(3), now).await;
        let plan = plan.unwrap();
        drop(conn);
        let reconciler = shop.reconciler(shop.in_folder());
        let wrote = reconciler.write(&lease, &seen, &new_status, &plan).await;
        assert!(wrote.unwrap());
        shop.now(instance).await
    }

    #[tokio::test]
    async fn what_moves_from_a_folder_to_a_cluster_is_called_ready_once() {
        let shop = Shop::open(GOOD_IMAGE).await;
        let instance = shop.buy().await;
        let told = "SELECT count(*) FROM outbox WHERE topic = 'INSTANCE_READY'";
        let delivered = pass(&shop, &instance, written).await;
        assert!(delivered.delivered_at.is_some() && delivered.ready_at.is_none());
        assert_eq!(shop.count(told).await, 0, "nothing tells whether it runs");
        let ready = pass(&shop, &instance, running).await;
        assert!(ready.ready_at.is_some());
        assert_eq!(shop.count(told).await, 1);
        let again = pass(&shop, &instance, running).await;
        assert_eq!(again.ready_at, ready.ready_at);
        assert_eq!(shop.count(told).await, 1);
        let payload = "SELECT payload FROM outbox WHERE topic = 'INSTANCE_READY'";
        let conn = shop.db.read().await;
        let (payload,) = fetch_one!(conn.unwrap(), (Json<Value>,), payload).unwrap();
        assert_eq!(payload["instanceId"], json!(instance.id));
        assert!(payload["service"].is_string() && payload["plan"].is_string());
    }
}
