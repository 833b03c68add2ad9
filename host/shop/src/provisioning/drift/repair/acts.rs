//! Repairs of single differences, as they are made in the cluster.

use std::{collections::BTreeMap, time::Duration};

use dermaga_runtime::gate::INSTANCE_LABEL;
use tokio::time::{Instant, sleep};

use super::{Answer, DATABASE_AWAY, done, refused};
use crate::{
    Result,
    cluster::{Cluster, ClusterError, NAMESPACE, ObjectRef, Sighting, owner_labels},
    ids::UserId,
    provisioning::{
        Instances,
        drift::{
            compare::{SECRET, is_left},
            findings::Finding,
            store,
            view::RepairAction,
        },
        status::sentence,
        store as instances_store,
    },
};

/// Longest wait for new rights to be known to the API server.
const BINDING_TIMEOUT: Duration = Duration::from_secs(3);
const BINDING_POLL: Duration = Duration::from_millis(100);

/// Makes one repair in the cluster.
pub(super) async fn act(
    instances: &Instances,
    cluster: &Cluster,
    action: RepairAction,
    found: &Finding,
) -> Result<Answer, ClusterError> {
    match (action, &found.seen) {
        (RepairAction::Delete, Some(seen)) => delete(instances, cluster, seen, found.owner).await,
        (RepairAction::Adopt, Some(seen)) => {
            let Some(owner) = found.owner else {
                return Ok(refused("Its customer is not known."));
            };
            let mut labels = owner_labels(owner);
            if let Some(of) = &found.of {
                labels.insert(INSTANCE_LABEL.to_owned(), of.name.clone());
            }
            change(cluster, seen, found.owner, Change::Labels(&labels)).await?;
            let is_due = look_again(instances, found).await;
            Ok(match is_due {
                Ok(()) => done("It has Dermaga's labels again."),
                Err(error) => {
                    tracing::warn!(%error, "drift.instance_not_due");
                    done("It has Dermaga's labels again, and is applied with the next pass.")
                }
            })
        }
        (RepairAction::Reapply, _) => Ok(match look_again(instances, found).await {
            Ok(()) => done("Its instance is applied again at once."),
            Err(error) => {
                tracing::warn!(%error, "drift.instance_not_due");
                refused(DATABASE_AWAY)
            }
        }),
        (_, None) => Ok(refused("It is not in the cluster.")),
    }
}

/// Asks for all objects of the instances of a difference to be applied, by whichever server has them
/// next.
async fn look_again(instances: &Instances, found: &Finding) -> Result<()> {
    let mut conn = instances.db.begin().await?;
    let now = instances.clock.now();
    let entries = store::live(&mut conn).await?;
    for entry in entries {
        let is_meant = match &found.of {
            // A namespace holds up all instances in it.
            Some(of) if found.object.kind != NAMESPACE => of.id == entry.id,
            _ => entry.namespace == found.namespace,
        };
        if is_meant {
            instances_store::ask_to_reapply(&mut conn, entry.id, now).await?;
        }
    }
    Ok(conn.commit().await?)
}

async fn delete(
    instances: &Instances,
    cluster: &Cluster,
    seen: &Sighting,
    owner: Option<UserId>,
) -> Result<Answer, ClusterError> {
    if seen.object.kind != NAMESPACE {
        change(cluster, seen, owner, Change::Removal).await?;
        return Ok(done("It is deleted."));
    }
    // Our rights in it come first: without them its Secrets are not seen.
    if let Some(owner) = owner {
        cluster.bind(&seen.namespace, owner).await?;
    }
    let read = async {
        let deadline = Instant::now() + BINDING_TIMEOUT;
        let mut survey = cluster.survey(Some(&seen.namespace)).await?;
        while !survey.has_looked_for(SECRET) && Instant::now() < deadline {
            sleep(BINDING_POLL).await;
            survey = cluster.survey(Some(&seen.namespace)).await?;
        }
        let entries = store::live(&mut instances.db.read().await?).await?;
        Ok::<_, crate::Error>((survey, entries))
    };
    let (survey, entries) = match read.await {
        Ok(read) => read,
        Err(error) => return Ok(refused(error.message)),
    };
    if entries.iter().any(|one| one.namespace == seen.namespace) {
        return Ok(refused("An instance lives in it again."));
    }
    if !survey.has_looked_for(SECRET) {
        return Ok(refused(
            "Dermaga may not see the Secrets in it. Delete it by hand.",
        ));
    }
    let certificate = instances.handle.classes().entry.tls_secret.as_deref();
    let found = survey.found.iter();
    let left: Vec<_> = found.filter(|one| is_left(one, certificate)).collect();
    if let Some(first) = left.first() {
        return Ok(not_empty(left.len(), &first.object));
    }
    let same = survey.found.iter().find(|one| one.uid == seen.uid);
    if let Some(same) = same {
        cluster.discard(same).await?;
    }
    Ok(done("It is deleted."))
}

/// Answers for a namespace with so many objects in it.
pub(super) fn not_empty(count: usize, first: &ObjectRef) -> Answer {
    refused(match count {
        1 => format!("1 object is still in it, {first}. Delete it first, then repeat this."),
        many => format!(
            "{many} objects are still in it, such as {first}. Delete them first, then repeat this."
        ),
    })
}

/// Change of one object.
#[derive(Clone, Copy)]
enum Change<'a> {
    Labels(&'a BTreeMap<String, String>),
    Removal,
}

/// Changes an object, and tries once more after this server has bound itself in the customer's
/// namespace, in case that its rights there were removed.
async fn change(
    cluster: &Cluster,
    seen: &Sighting,
    owner: Option<UserId>,
    change: Change<'_>,
) -> Result<(), ClusterError> {
    match (change_once(cluster, seen, change).await, owner) {
        (Err(ClusterError::Denied(_)), Some(owner)) if seen.object.kind != NAMESPACE => {
            cluster.bind(&seen.namespace, owner).await?;
        }
        (changed, _) => return changed,
    }
    // For a moment the API server does not know the new rights.
    let deadline = Instant::now() + BINDING_TIMEOUT;
    loop {
        match change_once(cluster, seen, change).await {
            Err(ClusterError::Denied(_)) if Instant::now() < deadline => sleep(BINDING_POLL).await,
            changed => return changed,
        }
    }
}

async fn change_once(
    cluster: &Cluster,
    seen: &Sighting,
    change: Change<'_>,
) -> Result<(), ClusterError> {
    match change {
        Change::Labels(labels) => cluster.put_labels(seen, labels).await,
        Change::Removal => cluster.discard(seen).await,
    }
}

/// Says why the cluster refused a repair.
pub(super) fn in_words(error: &ClusterError) -> String {
    match error {
        ClusterError::NotYet(_) => {
            "It was changed or replaced meanwhile. Look at it first.".to_owned()
        }
        ClusterError::Denied(_) => "The cluster does not let this server do that.".to_owned(),
        other => sentence(&other.to_string()),
    }
}
