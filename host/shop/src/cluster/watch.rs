//! Watch for changes of managed objects.

use dermaga_runtime::gate::INSTANCE_LABEL;
use futures::{Stream, StreamExt, stream};
use kube::{
    Api,
    api::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};

use super::{
    Cluster, ClusterError,
    known::{Known, watched_kinds},
};

impl Cluster {
    /// Streams the names of instances with an object that appeared, changed or went away, other than
    /// by an apply of this server. Starts with every instance that has any; reconnects by itself after
    /// the API server was away.
    ///
    /// # Errors
    /// When the cluster cannot say what it serves.
    pub async fn changes(
        &self,
    ) -> Result<impl Stream<Item = String> + Send + Unpin + use<>, ClusterError> {
        let served = self.served().await?;
        let kinds: Vec<_> = watched_kinds()
            .filter_map(|(api_version, kind)| {
                let resource = served.resource(api_version, kind)?;
                Some(((api_version, kind), resource))
            })
            .collect();
        self.known.begin(kinds.iter().map(|((_, kind), _)| *kind));
        let watches = kinds.into_iter().map(|(kind, resource)| {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), resource);
            // List, then watch: streamed lists came with 1.27 and answer 422 before.
            let config = watcher::Config::default().labels(INSTANCE_LABEL);
            let known = self.known.clone();
            watcher(api, config)
                .default_backoff()
                .map(move |event| stream::iter(changed(&known, kind, event)))
                .flatten()
                .boxed()
        });
        Ok(stream::select_all(watches.collect::<Vec<_>>()))
    }
}

/// Notes an event, and returns the instances that it concerns.
fn changed(
    known: &Known,
    kind: (&'static str, &'static str),
    event: Result<Event<DynamicObject>, watcher::Error>,
) -> Vec<String> {
    match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => {
            known.seen(kind, object).into_iter().collect()
        }
        Ok(Event::Delete(object)) => known.gone(kind, &object).into_iter().collect(),
        Ok(Event::Init) => {
            known.list_begins(kind.1);
            Vec::new()
        }
        Ok(Event::InitDone) => known.list_ends(kind.1),
        Err(error) => {
            tracing::debug!(%error, "cluster.watch_interrupted");
            Vec::new()
        }
    }
}
