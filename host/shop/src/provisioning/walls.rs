//! Isolation between customers in the cluster: mended when it changes, reported when it is opened.

use std::collections::HashMap;

use chrono::TimeDelta;
use tokio::time::{Duration, Instant};

use super::{cluster_watcher::SETTLE, store};
use crate::{
    Result,
    alerts::{self, AlertKind},
    cluster::{PolicyRef, WallChange},
    db::{Clock, Db},
};

const KIND: AlertKind = AlertKind::ForeignNetworkPolicy;
/// Delay while a namespace is changed again and again.
const QUIET: TimeDelta = TimeDelta::seconds(60);
/// Changes within [`RECENT`] of one another that are mended at once.
const AT_ONCE: u32 = 10;
const RECENT: Duration = Duration::from_secs(60);

/// Recent changes of each namespace. Another controller that insists on its own walls would
/// otherwise keep this server busy.
#[derive(Debug, Default)]
pub(super) struct Corrections(HashMap<String, (Instant, u32)>);

impl Corrections {
    /// Returns the time to wait before a namespace is mended that has changed now.
    fn delay(&mut self, namespace: &str, now: Instant) -> TimeDelta {
        self.0
            .retain(|_, (last, _)| now.duration_since(*last) < RECENT);
        let (last, count) = self.0.entry(namespace.to_owned()).or_insert((now, 0));
        *last = now;
        *count = count.saturating_add(1);
        if *count <= AT_ONCE { SETTLE } else { QUIET }
    }
}

/// Makes an instance due that brings its namespace back, or notes a foreign network policy in a
/// customer's namespace. Returns true when an instance is due.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn attend(
    db: &Db,
    clock: &Clock,
    corrections: &mut Corrections,
    change: WallChange,
) -> Result<bool> {
    let is_touched = match change {
        WallChange::Ours { namespace } => {
            let mut conn = db.begin().await?;
            let soon = clock.now() + corrections.delay(&namespace, Instant::now());
            let touched = store::touch_namespace(&mut conn, &namespace, soon).await?;
            conn.commit().await?;
            touched > 0
        }
        WallChange::Foreign(policy) => {
            report(db, clock, &policy).await?;
            false
        }
        WallChange::ForeignGone(policy) => {
            let mut conn = db.begin().await?;
            alerts::resolve(&mut conn, clock, KIND, &subject(&policy)).await?;
            conn.commit().await?;
            false
        }
        WallChange::AllForeign(policies) => {
            resolve_others(db, clock, &policies).await?;
            false
        }
    };
    Ok(is_touched)
}

/// Subject of the alert about a policy.
fn subject(policy: &PolicyRef) -> String {
    format!("{}/{}", policy.namespace, policy.name)
}

async fn report(db: &Db, clock: &Clock, policy: &PolicyRef) -> Result<()> {
    let PolicyRef { namespace, name } = policy;
    if !store::is_in_use(&mut db.read().await?, namespace).await? {
        return Ok(());
    }
    let message = format!(
        "The network policy {name} in the customer's namespace {namespace} was not made by Dermaga, and may open \
         what Dermaga's policies close. Delete it unless you mean it."
    );
    let mut conn = db.begin().await?;
    alerts::raise(&mut conn, clock, KIND, &subject(policy), &message).await?;
    Ok(conn.commit().await?)
}

/// Ends the alerts about policies that went away while this server did not look.
async fn resolve_others(db: &Db, clock: &Clock, present: &[PolicyRef]) -> Result<()> {
    let open = alerts::open_subjects(&mut db.read().await?, KIND).await?;
    let present: Vec<String> = present.iter().map(subject).collect();
    for gone in open.iter().filter(|one| !present.contains(one)) {
        let mut conn = db.begin().await?;
        alerts::resolve(&mut conn, clock, KIND, gone).await?;
        conn.commit().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_changes_again_and_again_waits() {
        let (mut corrections, start) = (Corrections::default(), Instant::now());
        for _ in 0..AT_ONCE {
            assert_eq!(corrections.delay("user-1", start), SETTLE);
        }
        assert_eq!(corrections.delay("user-1", start), QUIET);
        assert_eq!(corrections.delay("user-2", start), SETTLE);
        let still = start + RECENT / 2;
        assert_eq!(corrections.delay("user-1", still), QUIET);
        assert_eq!(corrections.delay("user-1", still + RECENT), SETTLE);
    }
}
