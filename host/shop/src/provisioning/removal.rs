//! Removal of everything of an instance.

use super::{
    model::{Desired, Instance, NewStatus, Status},
    plugin_calls::Services,
    provisioner::{ProvisionError, Provisioner},
    reconciler::Reconciler,
    status::StatusDecider,
    store,
};
use crate::{Result, cluster::NamespaceState};

impl<S: Services> Reconciler<S> {
    /// Removes everything of the instance, and the namespace when it was the last one in it.
    pub(super) async fn remove(
        &self,
        decider: &StatusDecider<'_>,
    ) -> Result<Result<NewStatus, ProvisionError>> {
        let Instance {
            namespace,
            name,
            user_id,
            ..
        } = decider.seen;
        let kubernetes = match &self.provisioner {
            Provisioner::Kubernetes(kubernetes) => kubernetes,
            Provisioner::Directory(directory) => {
                let is_last = self.is_last(decider.seen).await?;
                let (namespace, name) = (namespace.clone(), name.clone());
                let removal = directory.work(move |directory, cut_off| {
                    directory.remove(&namespace, &name, is_last, cut_off)
                });
                return Ok(match removal.await {
                    Ok(removed) => removed.map(|()| decider.gone()).map_err(Into::into),
                    Err(stopped) => Err(stopped.into()),
                });
            }
        };
        // Read the namespace first, then its instances: an instance that comes in between changes
        // the namespace, which is then not removed.
        let whole = [format!("Namespace/{namespace}")];
        let version = match kubernetes.namespace_state(namespace, *user_id).await {
            Ok(NamespaceState::Present(version)) => version,
            Ok(NamespaceState::Absent) => return Ok(Ok(decider.gone())),
            // Everything in it goes, our rights in it too.
            Ok(NamespaceState::Leaving) => return Ok(Ok(decider.leaving(&whole))),
            Err(error) => return Ok(Err(error.into())),
        };
        let remaining = match kubernetes.remove(decider.seen).await {
            Ok(remaining) => remaining,
            Err(error) => return Ok(Err(error.into())),
        };
        if !remaining.is_empty() {
            return Ok(Ok(decider.leaving(&remaining)));
        }
        if !self.is_last(decider.seen).await? {
            return Ok(Ok(decider.gone()));
        }
        let removed = kubernetes.remove_namespace(namespace, version).await;
        Ok(removed
            .map(|()| decider.leaving(&whole))
            .map_err(Into::into))
    }

    /// Lets another instance of the namespace bring it to its smaller size, once one is gone.
    pub(super) async fn leave_room(&self, seen: &Instance, new_status: &NewStatus) -> Result<()> {
        if new_status.status != Status::Terminated {
            return Ok(());
        }
        let mut conn = self.db.begin_together().await?;
        let namespace = seen.namespace.as_str();
        store::touch_namespace(&mut conn, namespace, self.clock.now()).await?;
        Ok(conn.commit().await?)
    }

    async fn is_last(&self, seen: &Instance) -> Result<bool> {
        let neighbours = store::neighbours(&mut self.db.read().await?, &seen.namespace).await?;
        Ok(neighbours
            .iter()
            .all(|neighbour| neighbour.desired == Desired::Terminated))
    }
}
