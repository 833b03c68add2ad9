//! The Kubernetes client: everything that the rest of the server may do to a cluster.
//!
//! Objects travel as JSON, since plugins render them; ownership is by label, and whatever does not
//! carry our labels is never changed or removed. This module knows no SQL and no plugins.

mod access;
mod additions;
mod capacity;
mod claims;
mod client;
mod creation;
mod diagnosis;
mod discovery;
mod error;
mod events;
mod examination;
mod gateway;
mod growth;
mod inventory;
mod jobs;
mod known;
mod logs;
mod measured;
mod namespace;
mod network;
mod object;
mod objects;
mod reading;
mod recreation;
mod removal;
mod rights;
mod rollout;
mod routes;
mod secrets;
mod stuck_pods;
mod survey;
mod telling;
mod toleration;
mod usage;
mod walls;
mod watch;

#[cfg(test)]
mod contest_tests;
#[cfg(test)]
mod namespace_tests;
#[cfg(test)]
pub(crate) mod pretended;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod tests;

pub use capacity::{Capacity, Layout, NodeRule, ROOM_LAG, pods_of};
pub use claims::ClaimRef;
pub use client::{Cluster, PROBE_TIMEOUT};
pub use diagnosis::{Obstacle, ObstacleKind, diagnose};
pub use error::ClusterError;
pub use events::ClusterEvent;
pub use examination::{ClassKind, FoundClass, NamedKind};
pub use gateway::FoundGateway;
pub use inventory::{Loads, NamespaceView, NodeView, PodView, WorkloadView};
pub use logs::{Following, LogLine};
pub use namespace::{NamespaceState, NamespaceVersion, PodSecurity, Tenant, is_wall};
pub use network::{
    ClusterServiceView, IngressPathView, IngressTlsView, IngressView, ServicePortView,
};
pub use object::{
    CLAIMED, FIELD_MANAGER, ObjectRef, USER_LABEL, VOLUME_CLAIM, as_large, masked, owner_labels,
};
pub use objects::{Applied, Contested, LiveObjects};
pub use reading::{Scope, Whereabouts};
pub use recreation::{SilentWorkload, hangs};
pub use rollout::Rollout;
pub use survey::{NAMESPACE, Sighting, Survey};
pub use telling::Told;
pub use toleration::Toleration;
pub use usage::{Load, PodUsage};
pub use walls::{PolicyRef, WallChange};
