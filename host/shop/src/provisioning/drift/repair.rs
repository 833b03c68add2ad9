//! Repair of differences, as an administrator chooses them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dermaga_runtime::gate::INSTANCE_LABEL;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use super::{
    compare::{SECRET, is_left},
    find,
    findings::Finding,
    store,
    view::{DriftKind, RepairAction},
};
use crate::{
    Result,
    audit::{self, AuditAct, Event, Subject},
    cluster::{Cluster, ClusterError, NAMESPACE, ObjectRef, Sighting, Survey, owner_labels},
    ids::UserId,
    provisioning::{Instances, status::sentence, store as instances_store},
    text_enum,
    time_budget::TimeBudget,
};

/// Longest wait for new rights to be known to the API server.
const BINDING_TIMEOUT: Duration = Duration::from_secs(3);
const BINDING_POLL: Duration = Duration::from_millis(100);
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

async fn act(
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
fn not_empty(count: usize, first: &ObjectRef) -> Answer {
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

fn in_words(error: &ClusterError) -> String {
    match error {
        ClusterError::NotYet(_) => {
            "It was changed or replaced meanwhile. Look at it first.".to_owned()
        }
        ClusterError::Denied(_) => "The cluster does not let this server do that.".to_owned(),
        other => sentence(&other.to_string()),
    }
}

#[cfg(test)]
mod tests;
