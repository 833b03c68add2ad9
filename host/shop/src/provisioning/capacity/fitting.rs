//! Room of a cluster at one moment, for an operator.

use std::collections::HashSet;

use super::{Room, needs};
use crate::{
    catalog::Sizes,
    cluster::{Cluster, ClusterError},
    provisioning,
};

/// Counts the plans of which the nodes have room for one instance more, if its pods request the whole of the plan, or the
/// percentage of it that the operator lets them request.
///
/// # Errors
/// When the cluster is away or does not let the server read nodes and pods.
pub async fn fitting(
    cluster: &Cluster,
    settings: &provisioning::Settings,
    plans: &[Sizes],
) -> Result<usize, ClusterError> {
    let pods = &settings.classes.pods;
    let capacity = Room::new(settings.capacity, pods).capacity;
    cluster.list_room(&capacity).await?;
    // A cluster without a node.
    let Some(layout) = capacity.without(&HashSet::new()) else {
        return Ok(0);
    };
    let fits = |sizes: &&Sizes| {
        let whole = needs::whole(**sizes, pods.request_percent);
        layout.clone().place(&whole)
    };
    Ok(plans.iter().filter(fits).count())
}
