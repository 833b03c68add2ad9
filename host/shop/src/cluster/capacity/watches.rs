//! Watches of the nodes and pods of the whole cluster.
//!
//! Watches of instances are paced by what the database does with each change, and see labelled objects
//! alone; these see every pod at once. The watcher of kube's runtime is not used here: it shows neither that a
//! broken watch works again, nor that one hangs before it begins, and orders would be judged by what was true
//! long ago.

use std::time::Duration;

use chrono::TimeDelta;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams},
};
use tokio::time::{sleep, timeout};

use super::{Capacity, Kind};
use crate::cluster::{Cluster, ClusterError};

/// Longest time for which changes may be unseen while the room counts as known: one watch, its silent end,
/// and the failure of the next one.
pub const ROOM_LAG: TimeDelta = TimeDelta::seconds(120);
/// Seconds after which the API server ends a watch, which is then resumed. Short, because a connection
/// that was lost in silence is noticed by it.
const WATCH_SECONDS: u32 = 60;
/// Time without a word after which a watch has ended in silence.
const SILENCE: Duration = Duration::from_secs(65);
/// Time for a watch to begin.
const BEGIN: Duration = Duration::from_secs(10);
/// Delay before a watch is resumed or tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Objects that are read at a time, so that memory does not grow with the cluster.
const PAGE: u32 = 100;
/// Status of the API server when changes since a version are not kept any more.
const GONE: u16 = 410;

/// End of a watch that is no regular one.
enum Break {
    /// Everything must be listed again.
    TooOld,
    Failed(ClusterError),
}

impl Cluster {
    /// Keeps the room of the cluster up to date, as long as it is polled.
    pub async fn follow_room(&self, capacity: &Capacity) {
        let [nodes, pods] = self.followers(capacity);
        tokio::join!(Box::pin(nodes.follow()), Box::pin(pods.follow()));
    }

    /// Reads the room of the cluster once.
    ///
    /// # Errors
    /// When the cluster is away or does not let the server read nodes and pods.
    pub async fn list_room(&self, capacity: &Capacity) -> Result<(), ClusterError> {
        for follower in self.followers(capacity) {
            Box::pin(follower.list()).await?;
        }
        Ok(())
    }

    fn followers<'a>(&'a self, capacity: &'a Capacity) -> [Follower<'a>; 2] {
        let nodes = ApiResource::erase::<v1::Node>(&());
        let pods = ApiResource::erase::<v1::Pod>(&());
        [(Kind::Node, nodes), (Kind::Pod, pods)].map(|(kind, resource)| Follower {
            cluster: self,
            capacity,
            kind,
            api: Api::all_with(self.client.clone(), &resource),
            plural: resource.plural,
        })
    }
}

/// The list and the watch of one kind.
struct Follower<'a> {
    cluster: &'a Cluster,
    capacity: &'a Capacity,
    kind: Kind,
    plural: String,
    api: Api<DynamicObject>,
}

impl Follower<'_> {
    /// Follows all objects of the kind, for good.
    async fn follow(&self) {
        loop {
            match self.list().await {
                Ok(version) => self.watch(version).await,
                Err(error) => {
                    self.breaks(&error);
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Reads all objects; returns the version after which changes are watched.
    async fn list(&self) -> Result<String, ClusterError> {
        self.capacity.list_begins(self.kind);
        let mut page = None;
        loop {
            let params = ListParams {
                limit: Some(PAGE),
                continue_token: page,
                ..ListParams::default()
            };
            let list = self.cluster.call(&self.plural, self.api.list(&params));
            let list = list.await?;
            for object in &list.items {
                self.capacity.seen(self.kind, object);
            }
            page = list.metadata.continue_.filter(|token| !token.is_empty());
            if page.is_none() {
                self.capacity.list_ends(self.kind);
                return Ok(list.metadata.resource_version.unwrap_or_default());
            }
        }
    }

    /// Notes changes since a version, one watch after the other, until all must be listed again.
    async fn watch(&self, mut version: String) {
        loop {
            match self.changes(&mut version).await {
                Ok(()) => {}
                Err(Break::TooOld) => return,
                Err(Break::Failed(error)) => {
                    if !self.breaks(&error) {
                        return;
                    }
                }
            }
            sleep(RETRY).await;
        }
    }

    /// Notes changes since a version until the watch ends, as each does after a time.
    async fn changes(&self, version: &mut String) -> Result<(), Break> {
        let params = WatchParams::default().timeout(WATCH_SECONDS);
        let begun = timeout(BEGIN, self.api.watch(&params, version)).await;
        let events = begun.map_err(|_| {
            let limit = BEGIN.as_secs();
            Break::Failed(ClusterError::Unreachable(format!(
                "it was silent for {limit} s"
            )))
        })?;
        let mut events = events.map_err(|error| self.broken(error))?.boxed();
        self.capacity.works(self.kind);
        while let Ok(Some(event)) = timeout(SILENCE, events.next()).await {
            let seen = match event.map_err(|error| self.broken(error))? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    self.capacity.seen(self.kind, &object);
                    object.metadata.resource_version
                }
                WatchEvent::Deleted(object) => {
                    self.capacity.gone(self.kind, &object);
                    object.metadata.resource_version
                }
                WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
                WatchEvent::Error(status) => return Err(self.broken(kube::Error::Api(status))),
            };
            if let Some(seen) = seen {
                *version = seen;
            }
        }
        Ok(())
    }

    fn broken(&self, error: kube::Error) -> Break {
        match error {
            kube::Error::Api(status) if status.code == GONE => Break::TooOld,
            other => Break::Failed(ClusterError::of(other, &self.plural)),
        }
    }

    /// Notes a failure. Returns false when all must be listed again.
    fn breaks(&self, error: &ClusterError) -> bool {
        tracing::debug!(%error, kind = self.plural, "cluster.watch_interrupted");
        self.capacity.breaks(self.kind, error.to_string())
    }
}
