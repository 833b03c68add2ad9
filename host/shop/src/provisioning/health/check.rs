//! Checks that an administrator asks for.

use serde_json::json;

use super::store;
use crate::{
    Result,
    audit::{self, AuditAct, By, Event, Subject},
    ids::InstanceId,
    provisioning::Instances,
};

/// Largest number of instances that are named in one request.
pub const MOST_AT_ONCE: usize = 100;

/// Checks that are under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// Number of instances that are being checked.
    pub due: u64,
    /// Those of the named ones that are unknown or removed.
    pub unknown: Vec<InstanceId>,
}

/// Makes a pass over these instances due now, or over all; audited.
///
/// # Errors
/// When the database refuses.
pub async fn check(
    instances: &Instances,
    by: By<'_>,
    named: Option<&[InstanceId]>,
) -> Result<Requested> {
    let Instances {
        db, clock, handle, ..
    } = instances;
    let now = clock.now();
    let mut conn = db.begin().await?;
    let requested = match named {
        None => Requested {
            due: store::make_all_due(&mut conn, now).await?,
            unknown: Vec::new(),
        },
        Some(ids) => {
            let known = store::known(&mut conn, ids).await?;
            let mut due = 0;
            // In the order of their ids, so that two requests do not lock each other out.
            for (id,) in &known {
                due += store::make_due(&mut conn, *id, now).await?;
            }
            let mut unknown = ids.to_vec();
            unknown.retain(|id| !known.contains(&(*id,)));
            unknown.sort_unstable();
            unknown.dedup();
            Requested { due, unknown }
        }
    };
    let details = json!({ "instanceIds": named, "due": requested.due });
    let event = Event::new(AuditAct::HealthCheckRequested, Subject::Instances, details);
    audit::record_by(&mut conn, clock, by, event).await?;
    conn.commit().await?;
    handle.wake();
    Ok(requested)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        execute,
        provisioning::test_shop::{GOOD_IMAGE, Shop},
    };

    /// One that is due already keeps its time, and a quiet look may not put it off any more.
    #[tokio::test]
    async fn an_instance_that_is_to_be_checked_rests_no_more() {
        let shop = Shop::open(GOOD_IMAGE).await;
        let instance = shop.buy().await;
        let now = shop.clock.now();
        for (is_named, since) in [(true, 1), (true, -1), (false, 1), (false, -1)] {
            let due = now - TimeDelta::seconds(since);
            let mut conn = shop.db.begin().await.unwrap();
            let sql = "UPDATE instances SET next_attempt_at = $1, rests_until = $1";
            execute!(conn, sql, due).unwrap();
            let asked = if is_named {
                store::make_due(&mut conn, instance.id, now).await
            } else {
                store::make_all_due(&mut conn, now).await
            };
            assert_eq!(asked.unwrap(), 1);
            conn.commit().await.unwrap();
            assert_eq!(shop.now(&instance).await.next_attempt_at, due.min(now));
            let resting = "SELECT count(*) FROM instances WHERE rests_until IS NOT NULL";
            assert_eq!(shop.count(resting).await, 0);
        }
    }
}
