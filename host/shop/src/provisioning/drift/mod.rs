//! Drift: differences between the database and the cluster, and their repair by an administrator.
//!
//! The reconciler mends by itself what it may: objects that carry its labels. Left over are those it
//! must not touch or does not look for: objects of instances that have ended, objects of others in a
//! customer's namespace, and its own whose labels were removed.

mod compare;
mod findings;
mod repair;
mod store;
mod view;

#[cfg(test)]
mod compare_tests;

use std::collections::{BTreeMap, BTreeSet};

use super::Instances;
use crate::{
    Result,
    cluster::{Cluster, Survey},
    db::{Page, Part},
};

use self::{compare::Book, findings::Finding};
pub use self::{
    repair::{Chosen, Item, Order, RepairOutcome, RepairedView, repair},
    view::{DriftKind, DriftView, RepairAction},
};

/// Names that are asked for in one comparison, to tell ended instances from unknown ones.
const MAX_ASKED: usize = 200;

/// Lists the differences between the database and the cluster, in one namespace or in all of them.
///
/// # Errors
/// `NO_CLUSTER` where manifests are written into a folder; `CLUSTER_UNAVAILABLE`, within seconds.
pub async fn list(
    instances: &Instances,
    namespace: Option<&str>,
    kind: Option<DriftKind>,
    part: Part,
) -> Result<Page<DriftView>> {
    let (_, mut found) = find(instances, instances.handle.cluster()?, namespace).await?;
    found.retain(|one| kind.is_none_or(|kind| one.drift == kind));
    found.sort_by(|one, other| one.place().cmp(&other.place()));
    Ok(Page::of(found, part).map(DriftView::from))
}

/// Compares the cluster with the database. The database is read before and after the cluster, so
/// that what is bought or removed meanwhile is no difference.
async fn find(
    instances: &Instances,
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<(Survey, Vec<Finding>)> {
    let before = store::live(&mut instances.db.read().await?).await?;
    let survey = cluster.survey(namespace).await?;
    let after = store::live(&mut instances.db.read().await?).await?;
    let mut book = Book::new(before, after, namespace);
    book.certificate
        .clone_from(&instances.handle.classes().entry.tls_secret);
    ask_for_ended(instances, &survey, &mut book).await?;
    let found = compare::compare(&survey, &book);
    Ok((survey, found))
}

/// Asks the database for the instances and customers that only the cluster names.
async fn ask_for_ended(instances: &Instances, survey: &Survey, book: &mut Book) -> Result<()> {
    let mut names = BTreeSet::new();
    let mut owners = BTreeMap::new();
    for seen in &survey.found {
        match (&seen.instance, seen.owner) {
            (Some(name), _) if !book.lives(&seen.namespace, name) => {
                names.insert(name.as_str());
            }
            (None, Some(owner)) if !book.is_lived_in(&seen.namespace) => {
                owners.insert(owner, seen.namespace.as_str());
            }
            _ => {}
        }
    }
    let mut conn = instances.db.read().await?;
    for name in names.into_iter().take(MAX_ASKED) {
        book.ended.extend(store::ended(&mut conn, name).await?);
    }
    for (owner, namespace) in owners.into_iter().take(MAX_ASKED) {
        if store::had_instances(&mut conn, owner, namespace).await? {
            book.left.insert(namespace.to_owned());
        }
    }
    Ok(())
}
