//! Repair of differences, as an administrator chooses them.

mod acts;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use self::acts::{act, in_words};
use super::{
    find,
    findings::Finding,
    view::{DriftKind, RepairAction},
};
use crate::{
    Result,
    audit::{self, AuditAct, Event, Subject},
    cluster::{Cluster, ClusterError, NAMESPACE, ObjectRef, Sighting, Survey},
    ids::UserId,
    provisioning::Instances,
    text_enum,
    time_budget::TimeBudget,
};

/// Objects that one request repairs at most.
const MAX_REPAIRED: usize = 100;
const CLUSTER_AWAY: &str = "The cluster does not answer. Repeat it when it is back.";
const DATABASE_AWAY: &str = "The database does not answer. Repeat it.";

/// One object, named by an administrator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Kubernetes' kind.
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// Kubernetes' id of the object that was looked at; none for a missing one.
    pub uid: Option<String>,
}

/// Choice of what to repair.
#[derive(Debug, Clone)]
pub enum Chosen {
    Items(Vec<Item>),
    /// All differences of these kinds, of one namespace or of all, that need not be named.
    Kinds(Vec<DriftKind>, Option<String>),
}

/// Order of an administrator.
#[derive(Debug, Clone)]
pub struct Order {
    pub action: RepairAction,
    pub chosen: Chosen,
    pub reason: String,
}

text_enum! {
    /// Outcome of the repair of one object.
    pub enum RepairOutcome {
        /// It is as asked, also when it was before.
        Done = "DONE",
        Refused = "REFUSED",
    }
}

/// Outcome of the repair of one object, with its reason.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RepairedView {
    /// Kubernetes' kind.
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: Option<String>,
    pub outcome: RepairOutcome,
    /// The outcome in a sentence.
    #[serde(serialize_with = "crate::language::in_words")]
    pub message: String,
}

impl Item {
    fn of(found: &Finding) -> Self {
        Self {
            kind: found.object.kind.clone(),
            namespace: found.namespace.clone(),
            name: found.object.name.clone(),
            uid: found.seen.as_ref().map(|seen| seen.uid.clone()),
        }
    }

    fn is(&self, namespace: &str, object: &ObjectRef) -> bool {
        self.namespace == namespace && self.kind == object.kind && self.name == object.name
    }

    fn answer(self, (outcome, message): Answer) -> RepairedView {
        RepairedView {
            kind: self.kind,
            namespace: self.namespace,
            name: self.name,
            uid: self.uid,
            outcome,
            message,
        }
    }
}

type Answer = (RepairOutcome, String);

fn done(message: &str) -> Answer {
    (RepairOutcome::Done, message.to_owned())
}

fn refused(message: impl Into<String>) -> Answer {
    (RepairOutcome::Refused, message.into())
}

/// Repair that an administrator asks for, with the reason.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    actor_id: UserId,
    action: RepairAction,
    reason: &'a str,
}

/// An item and its answer, or the difference to repair.
type Decided = (Item, Result<Box<Finding>, Answer>);

/// Repairs differences, one after the other, and answers for each; each decision is audited before it is carried out.
/// Doing it twice, or at the same moment, does no more than once. What the time is not enough for is refused.
///
/// # Errors
/// `NO_CLUSTER`; `CLUSTER_UNAVAILABLE` before anything was done.
pub async fn repair(
    instances: &Instances,
    actor_id: UserId,
    order: Order,
    budget: TimeBudget,
) -> Result<Vec<RepairedView>> {
    let cluster = instances.handle.cluster()?;
    let (action, reason) = (order.action, order.reason);
    let mut decided = match order.chosen {
        Chosen::Items(items) => decide_items(instances, cluster, action, items).await?,
        Chosen::Kinds(kinds, namespace) => {
            decide_kinds(instances, cluster, action, &kinds, namespace.as_deref()).await?
        }
    };
    // Namespaces come last: they go only when nothing is left in them.
    decided.sort_by_key(|(item, _)| item.kind == NAMESPACE);
    let asked = Asked {
        actor_id,
        action,
        reason: &reason,
    };
    let answers = carry_out_all(instances, cluster, asked, decided, budget).await;
    instances.handle.wake();
    Ok(answers)
}

/// Repairs differences that were decided about, as far as the time is enough for.
async fn carry_out_all(
    instances: &Instances,
    cluster: &Cluster,
    asked: Asked<'_>,
    decided: Vec<Decided>,
    mut budget: TimeBudget,
) -> Vec<RepairedView> {
    let mut answers = Vec::new();
    let mut is_away = false;
    for (item, decision) in decided {
        let answer = match decision {
            Err(answer) => answer,
            // The others would wait just as long.
            Ok(_) if is_away => refused(CLUSTER_AWAY),
            Ok(_) if !budget.allows_another() => {
                refused("This request had no time left for it. Repeat it.")
            }
            Ok(found) => match carry_out(instances, cluster, asked, &item, &found).await {
                Ok(answer) => answer,
                Err(ClusterError::Unreachable(_)) => {
                    is_away = true;
                    refused(CLUSTER_AWAY)
                }
                Err(error) => refused(in_words(&error)),
            },
        };
        answers.push(item.answer(answer));
    }
    answers
}

/// Decides about named objects, one survey for each of their namespaces.
async fn decide_items(
    instances: &Instances,
    cluster: &Cluster,
    action: RepairAction,
    items: Vec<Item>,
) -> Result<Vec<Decided>> {
    let namespaces: BTreeSet<_> = items.iter().map(|item| item.namespace.clone()).collect();
    let mut decided = Vec::new();
    for namespace in namespaces {
        let (survey, found) = find(instances, cluster, Some(&namespace)).await?;
        for item in items.iter().filter(|item| item.namespace == namespace) {
            let is_it = |one: &&Finding| item.is(&one.namespace, &one.object);
            let decision = match found.iter().find(is_it) {
                Some(found) => decide(action, item, found),
                None => Err(not_found(action, item, &survey)),
            };
            decided.push((item.clone(), decision.map(Box::new)));
        }
    }
    Ok(decided)
}

async fn decide_kinds(
    instances: &Instances,
    cluster: &Cluster,
    action: RepairAction,
    kinds: &[DriftKind],
    namespace: Option<&str>,
) -> Result<Vec<Decided>> {
    let (_, mut found) = find(instances, cluster, namespace).await?;
    found.retain(|one| kinds.contains(&one.drift));
    found.sort_by(|one, other| one.place().cmp(&other.place()));
    let decided = found.into_iter().take(MAX_REPAIRED).map(|found| {
        let item = Item::of(&found);
        let decision = if found.remedy.action != Some(action) {
            Err(unfit(&found))
        } else if found.remedy.by_name_only {
            Err(refused(format!("Name it to repair it. {}", found.reason)))
        } else {
            Ok(Box::new(found))
        };
        (item, decision)
    });
    Ok(decided.collect())
}

/// Checks that a repair fits a named object, and that it is the one that was looked at.
fn decide(action: RepairAction, item: &Item, found: &Finding) -> Result<Finding, Answer> {
    if found.remedy.action != Some(action) {
        return Err(unfit(found));
    }
    let Some(seen) = &found.seen else {
        return Ok(found.clone());
    };
    match &item.uid {
        None => Err(refused(
            "Name its uid too, so that no other object in its place is meant.",
        )),
        Some(uid) if *uid != seen.uid => Err(another()),
        Some(_) => Ok(found.clone()),
    }
}

/// Answers for a difference that another repair fits, or none.
fn unfit(found: &Finding) -> Answer {
    let reason = &found.reason;
    match found.remedy.action {
        Some(other) => refused(format!("{reason} The repair that fits is {other}.")),
        None => refused(found.remedy.words.clone()),
    }
}

fn another() -> Answer {
    refused("Another object has that name now. Look at it first.")
}

/// Answers for a named object that is no difference, or not any more.
fn not_found(action: RepairAction, item: &Item, survey: &Survey) -> Answer {
    if !survey.has_looked_for(&item.kind) {
        return refused("Objects of this kind are not compared.");
    }
    let is_it = |one: &&Sighting| item.is(&one.namespace, &one.object);
    let seen = survey.found.iter().find(is_it);
    let is_same = |seen: &Sighting| item.uid.as_ref().is_none_or(|uid| *uid == seen.uid);
    match (action, seen) {
        (RepairAction::Delete, None) => done("It is gone."),
        (RepairAction::Delete, Some(seen)) if !is_same(seen) => another(),
        (RepairAction::Delete, Some(_)) => {
            refused("It is as the database has it, or no part of any instance, and stays.")
        }
        (RepairAction::Adopt, None) => refused("It is not in the cluster."),
        (RepairAction::Adopt, Some(seen)) if !is_same(seen) => another(),
        (RepairAction::Adopt | RepairAction::Reapply, Some(_)) => done("It is as it should be."),
        (RepairAction::Reapply, None) => refused("No instance that runs needs it."),
    }
}

/// Audits the repair of one difference, and makes it. One by one: what the request does not reach was not decided.
async fn carry_out(
    instances: &Instances,
    cluster: &Cluster,
    asked: Asked<'_>,
    item: &Item,
    found: &Finding,
) -> Result<Answer, ClusterError> {
    if let Err(error) = record(instances, asked, item, found).await {
        tracing::warn!(%error, "drift.not_audited");
        return Ok(refused(DATABASE_AWAY));
    }
    act(instances, cluster, asked.action, found).await
}

/// Audits a repair that is about to be made.
async fn record(
    instances: &Instances,
    asked: Asked<'_>,
    item: &Item,
    found: &Finding,
) -> Result<()> {
    let object = json!({
        "drift": found.drift, "kind": item.kind, "namespace": item.namespace, "name": item.name,
        "uid": item.uid, "instance": found.instance,
    });
    let details = json!({ "action": asked.action, "objects": [object] });
    let event = Event::new(AuditAct::DriftRepaired, Subject::Cluster, details);
    let event = event.because(asked.reason);
    let mut conn = instances.db.begin().await?;
    audit::record(&mut conn, &instances.clock, asked.actor_id, event).await?;
    Ok(conn.commit().await?)
}

#[cfg(test)]
mod tests;
