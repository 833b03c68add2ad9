//! Passes under way in this server: one at a time for each instance.

use std::{collections::HashMap, panic::AssertUnwindSafe};

use futures::FutureExt as _;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::db::Lease;

/// Passes under way, with the leases that wait for them.
///
/// A pass gives its lease back before its end is noted here. An instance that is claimed in between
/// waits for that note; without it the claim would be held by a pass that never runs.
#[derive(Debug, Default)]
pub(super) struct Passes {
    tasks: JoinSet<Uuid>,
    /// For each instance under way, the lease that was claimed meanwhile.
    under_way: HashMap<Uuid, Option<Lease>>,
}

impl Passes {
    /// Number of instances under way.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Begins a pass, or keeps its lease until the pass under way has ended.
    pub(super) fn start<F, R>(&mut self, lease: Lease, pass: F)
    where
        F: FnOnce(Lease) -> R,
        R: Future<Output = ()> + Send + 'static,
    {
        let id = lease.id;
        if let Some(waiting) = self.under_way.get_mut(&id) {
            *waiting = Some(lease);
            return;
        }
        self.under_way.insert(id, None);
        let pass = AssertUnwindSafe(pass(lease));
        self.tasks.spawn(async move {
            if pass.catch_unwind().await.is_err() {
                tracing::error!(instance.id = %id, "instance.pass_panicked");
            }
            id
        });
    }

    /// Waits for the end of a pass; returns the lease that waited for it, if one did, and nothing
    /// when no pass is under way.
    pub(super) async fn next_end(&mut self) -> Option<Option<Lease>> {
        let ended = self.tasks.join_next().await?;
        Some(ended.ok().and_then(|id| self.note_end(id)))
    }

    /// The same, for a pass that has ended already.
    pub(super) fn try_next_end(&mut self) -> Option<Option<Lease>> {
        let ended = self.tasks.try_join_next()?;
        Some(ended.ok().and_then(|id| self.note_end(id)))
    }

    fn note_end(&mut self, id: Uuid) -> Option<Lease> {
        self.under_way.remove(&id).flatten()
    }

    /// Ends every pass where it is; none runs any more afterwards.
    pub(super) async fn cut_off(&mut self) {
        self.tasks.shutdown().await;
        self.under_way.clear();
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    fn lease(second: i64) -> Lease {
        Lease {
            id: Uuid::from_u128(1),
            holder: Uuid::from_u128(2),
            until: DateTime::<Utc>::UNIX_EPOCH + chrono::TimeDelta::seconds(second),
        }
    }

    #[tokio::test]
    async fn a_claim_between_the_end_of_a_pass_and_its_note_is_run() {
        let mut passes = Passes::default();
        let (gave_back, given_back) = tokio::sync::oneshot::channel();
        passes.start(lease(1), async move |_| {
            let _ = gave_back.send(());
        });
        given_back.await.unwrap();
        passes.start(lease(2), async move |_| unreachable!("one at a time"));
        assert_eq!(passes.len(), 1);

        let waiting = passes.next_end().await.unwrap().unwrap();
        assert_eq!(waiting.until, lease(2).until);
        let (began, begun) = tokio::sync::oneshot::channel();
        passes.start(waiting, async move |lease: Lease| {
            let _ = began.send(lease.until);
        });
        assert_eq!(begun.await.unwrap(), lease(2).until);
        assert!(passes.next_end().await.unwrap().is_none());
        assert!(passes.next_end().await.is_none());
        assert_eq!(passes.len(), 0);
    }

    #[tokio::test]
    async fn a_pass_that_panics_leaves_its_place() {
        let mut passes = Passes::default();
        passes.start(lease(1), async |_| panic!("as a test does"));
        assert!(passes.next_end().await.unwrap().is_none());
        assert_eq!(passes.len(), 0);
    }
}
