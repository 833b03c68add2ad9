//! Watch for changes of managed objects.

use dermaga_runtime::gate::INSTANCE_LABEL;
use futures::{Stream, StreamExt, stream};
use kube::{
    Api, ResourceExt,
    api::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};

use super::{
    Cluster, ClusterError,
    discovery::{DEPENDENT_KINDS, INSTANCE_KINDS},
};

/// The only watched kind of the cluster's own objects: pods say more than their owners' status.
const WATCHED_DEPENDENT: &str = "Pod";

impl Cluster {
    /// Streams the names of instances with an object that appeared, changed or went away. Starts
    /// with every instance that has any; reconnects by itself after the API server was away.
    ///
    /// # Errors
    /// When the cluster cannot say what it serves.
    pub async fn changes(
        &self,
    ) -> Result<impl Stream<Item = String> + Send + Unpin + use<>, ClusterError> {
        let served = self.served().await?;
        let dependents = DEPENDENT_KINDS
            .iter()
            .filter(|(_, kind)| *kind == WATCHED_DEPENDENT);
        let watches = INSTANCE_KINDS
            .iter()
            .chain(dependents)
            .filter_map(|(api_version, kind)| {
                let resource = served.resource(api_version, kind)?;
                let api: Api<Metadata> = Api::all_with(self.client.clone(), resource);
                // List, then watch: streamed lists came with 1.27 and answer 422 before.
                let config = watcher::Config::default().labels(INSTANCE_LABEL);
                Some(
                    watcher(api, config)
                        .default_backoff()
                        .filter_map(instance_of)
                        .boxed(),
                )
            });
        Ok(stream::select_all(watches.collect::<Vec<_>>()))
    }
}

type Metadata = kube::core::PartialObjectMeta<DynamicObject>;

async fn instance_of(event: Result<Event<Metadata>, watcher::Error>) -> Option<String> {
    match event {
        Ok(Event::Apply(object) | Event::Delete(object) | Event::InitApply(object)) => {
            object.labels().get(INSTANCE_LABEL).cloned()
        }
        Ok(Event::Init | Event::InitDone) => None,
        Err(error) => {
            tracing::debug!(%error, "cluster.watch_interrupted");
            None
        }
    }
}
