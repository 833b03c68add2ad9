//! Passes whose lease was lost while they worked, as those of a server that was frozen.
//!
//! The database refuses what they found, and the cluster or the folder may have taken what they sent
//! after the pass of another server.

use super::{
    model::Instance, plugin_calls::Services, reconciler::Reconciler, status::StatusDecider, store,
};
use crate::Result;

impl<S: Services> Reconciler<S> {
    /// Makes good what a pass may have sent too late: everything is applied once more by whichever
    /// server has the next pass, and an instance that is gone is removed once more.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn make_good(&self, seen: &Instance) -> Result<()> {
        tracing::warn!(instance.id = %seen.id, "instance.lease_lost");
        let now = self.clock.now();
        let mut conn = self.db.begin().await?;
        let asked = store::ask_to_reapply(&mut conn, seen.id, now).await?;
        conn.commit().await?;
        if asked > 0 {
            return Ok(());
        }
        let found = store::instance(&mut self.db.read().await?, seen.id).await?;
        let Some(gone) = found else {
            return Ok(());
        };
        let decider = StatusDecider {
            seen: &gone,
            now,
            resync: self.resync,
        };
        if let Err(error) = self.remove(&decider).await? {
            tracing::warn!(instance.id = %gone.id, %error, "instance.not_removed_again");
        }
        Ok(())
    }
}
