//! Watching an instance in its cluster: logs, events and usage.

mod merging;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use chrono::{DateTime, SubsecRound as _, Utc};
use futures::{Stream, StreamExt as _};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use self::merging::Merging;
use super::{
    Instances,
    model::{Desired, Event, Instance, Owned, Status},
    reading::owned,
    secrets::{self, Secrets},
    store,
};
use crate::{
    Code, Error, Result,
    cluster::{ClusterEvent, Following, Load, LogLine, PodUsage},
    crypto::Hidden,
    db::{Place, Span, Walked},
    ids::{InstanceId, SubscriptionId, UserId},
};

/// Shortest secret that is looked for in logs; a shorter one would mask ordinary words.
const SHORTEST_MASKED: usize = 6;
const MASK: &str = "******";

/// A line that an instance's application wrote.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogLineView {
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub at: Option<DateTime<Utc>>,
    /// Name of the pod.
    pub pod: String,
    pub container: String,
    /// The generated secrets of the instance are masked; `…` ends a line that was too long.
    pub text: String,
}

/// Masks the generated secrets of an instance, plain and in Base64.
#[derive(Debug)]
pub(super) struct Masking(Vec<Hidden>);

impl Masking {
    pub(super) fn of(secrets: Secrets) -> Self {
        let long = |value: &Hidden| value.len() >= SHORTEST_MASKED;
        let plain = secrets.into_values().filter(long);
        let forms = plain.flat_map(|value| {
            let encoded = encoded(&value).into_iter().map(Hidden::from);
            encoded.chain([value]).collect::<Vec<_>>()
        });
        let mut values: Vec<_> = forms.filter(long).collect();
        // A secret may begin with another one.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self(values)
    }

    pub(super) fn masked(&self, text: String) -> String {
        let mask = |text: String, secret: &Hidden| text.replace(&**secret, MASK);
        self.0.iter().fold(text, mask)
    }

    fn view(&self, line: LogLine) -> LogLineView {
        let mut text = self.masked(line.text);
        if line.is_cut {
            // The end may be the beginning of a secret.
            let longest = self.0.first().map_or(0, |secret| secret.len());
            text.truncate(text.floor_char_boundary(text.len().saturating_sub(longest)));
            text.push('…');
        }
        LogLineView {
            at: line.at,
            pod: line.pod,
            container: line.container,
            text,
        }
    }
}

/// Returns the letters that a secret always has in Base64, in both alphabets, also inside of a longer
/// text such as `user:password`: a letter is of six bits, so that there are three ways to begin.
fn encoded(secret: &str) -> Vec<String> {
    let cores = [(0, 0), (1, 2), (2, 3)]
        .into_iter()
        .flat_map(|(before, skip)| {
            let bytes: Vec<u8> = std::iter::repeat_n(0, before)
                .chain(secret.bytes())
                .collect();
            let whole = bytes.len().saturating_mul(8) / 6;
            let core = move |text: String| text.get(skip..whole).unwrap_or_default().to_owned();
            [STANDARD.encode(&bytes), URL_SAFE.encode(&bytes)].map(core)
        });
    cores.collect()
}

/// Returns the newest lines of a customer's instance, oldest first.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` once it is removed; `NO_CLUSTER`; `CLUSTER_UNAVAILABLE`.
pub async fn logs(
    instances: &Instances,
    user_id: UserId,
    id: InstanceId,
    lines: u32,
) -> Result<Vec<LogLineView>> {
    let (instance, masking) = logged(instances, user_id, id).await?;
    let cluster = instances.handle.cluster()?;
    let found = cluster.logs(&instance.namespace, &instance.name, lines);
    let found = found.await?.into_iter();
    Ok(found.map(|line| masking.view(line)).collect())
}

/// Follows the lines of a customer's instance, as long as its pods last.
///
/// # Errors
/// As [`logs`].
pub async fn follow_logs(
    instances: &Instances,
    user_id: UserId,
    id: InstanceId,
    following: Following,
) -> Result<impl Stream<Item = LogLineView> + Send + use<>> {
    let (instance, masking) = logged(instances, user_id, id).await?;
    let cluster = instances.handle.cluster()?;
    let lines = cluster.follow_logs(&instance.namespace, &instance.name, following);
    Ok(lines.await?.map(move |line| masking.view(line)))
}

async fn logged(
    instances: &Instances,
    user_id: UserId,
    id: InstanceId,
) -> Result<(Instance, Masking)> {
    let Owned { instance, .. } = owned(&instances.db, user_id, id).await?;
    if instance.status == Status::Terminated {
        let message = "This instance has been removed, and its logs with it.";
        return Err(Error::new(Code::InvalidState, message));
    }
    let mut conn = instances.db.read().await?;
    let secrets = secrets::open(&mut conn, &instances.vault, &instance).await?;
    Ok((instance, Masking::of(secrets)))
}

/// Origin of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Origin {
    /// The shop: a change of the instance's status.
    Shop,
    /// The cluster: something happened to one of its parts.
    Cluster,
}

/// Something that happened to an instance.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceEventView {
    /// Orders events of one moment. Those of the shop and of the cluster have ids of one kind.
    #[serde(skip)]
    id: Uuid,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub at: Option<DateTime<Utc>>,
    pub origin: Origin,
    /// The status it had from then on; absent for events of the cluster.
    pub status: Option<String>,
    #[serde(serialize_with = "crate::language::in_words")]
    pub message: String,
    /// Times that it happened.
    pub count: i64,
    /// Kubernetes' own words, for administrators only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl InstanceEventView {
    fn of_shop(event: Event) -> Self {
        Self {
            id: event.id,
            at: Some(event.created_at),
            origin: Origin::Shop,
            status: Some(event.kind),
            message: event.message,
            count: 1,
            detail: None,
        }
    }

    /// An event for a customer, in plain words; `None` when it says nothing to one.
    fn plain(event: &ClusterEvent) -> Option<Self> {
        Some(Self {
            id: event.id,
            at: event.at,
            origin: Origin::Cluster,
            status: None,
            message: event.plain_words()?.to_owned(),
            count: event.count,
            detail: None,
        })
    }

    /// An event for an administrator, with Kubernetes' own words.
    fn in_full(event: &ClusterEvent) -> Self {
        let ClusterEvent {
            object,
            reason,
            message,
            ..
        } = event;
        Self {
            id: event.id,
            at: event.at,
            origin: Origin::Cluster,
            status: None,
            message: event.plain_words().unwrap_or(reason).to_owned(),
            count: event.count,
            detail: Some(format!("{object} {reason}: {message}")),
        }
    }

    /// Returns its place in a list that begins with the newest; one without a time is among the oldest.
    pub fn place(&self) -> Place<Uuid> {
        let at = self.at.unwrap_or_default();
        Place {
            // Stored moments and cursors have milliseconds.
            at: at.trunc_subsecs(3).max(DateTime::UNIX_EPOCH),
            tie: self.id,
        }
    }
}

/// Events of an instance, and if the cluster's are among them.
#[derive(Debug)]
pub struct InstanceEvents {
    pub walked: Walked<InstanceEventView>,
    pub has_cluster: bool,
}

/// Lists what happened to a customer's instance in plain words, newest first. The shop's own events
/// remain while the cluster is away, and without one.
///
/// # Errors
/// `NOT_FOUND` when there is none or it is another customer's.
pub async fn events(
    instances: &Instances,
    user_id: UserId,
    id: InstanceId,
    span: Span<Uuid>,
) -> Result<InstanceEvents> {
    let Owned { instance, .. } = owned(&instances.db, user_id, id).await?;
    happened(instances, &instance, span, InstanceEventView::plain).await
}

/// Lists what happened to any instance, with Kubernetes' own words.
///
/// # Errors
/// `NOT_FOUND` when there is none.
pub async fn events_in_full(
    instances: &Instances,
    id: InstanceId,
    span: Span<Uuid>,
) -> Result<InstanceEvents> {
    let instance = store::instance(&mut instances.db.read().await?, id).await?;
    let instance = instance.ok_or_else(|| Error::not_found("instance"))?;
    let in_full = |event: &ClusterEvent| Some(InstanceEventView::in_full(event));
    happened(instances, &instance, span, in_full).await
}

async fn happened(
    instances: &Instances,
    instance: &Instance,
    span: Span<Uuid>,
    worded: impl Fn(&ClusterEvent) -> Option<InstanceEventView>,
) -> Result<InstanceEvents> {
    let of_cluster = match instances.handle.cluster() {
        Ok(cluster) => {
            cluster
                .instance_events(&instance.namespace, &instance.name)
                .await
        }
        Err(none) => Err(none),
    };
    let has_cluster = of_cluster.is_ok();
    let of_cluster = of_cluster.unwrap_or_default();
    let of_cluster: Vec<_> = of_cluster.iter().filter_map(worded).collect();
    let merging = Merging::of(span, of_cluster.len());
    let mut conn = instances.db.read().await?;
    let own = store::all_events(&mut conn, instance.id, merging.own).await?;
    Ok(InstanceEvents {
        walked: merging.merged(own.map(InstanceEventView::of_shop), of_cluster),
        has_cluster,
    })
}

/// Usage of a subscription's instance against the limits of its plan.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageView {
    pub instance_id: InstanceId,
    pub status: Status,
    /// Absent until it is measured, and where the cluster measures nothing.
    pub usage: Option<Load>,
    /// Processor and memory of the plan.
    pub limits: Load,
    /// Storage of the plan.
    pub storage_gib: i64,
    pub pods: Vec<PodUsage>,
}

/// Returns the usage of a customer's subscription.
///
/// # Errors
/// `NOT_FOUND`; `INVALID_STATE` once it has ended; `NO_CLUSTER`; `CLUSTER_UNAVAILABLE`.
pub async fn usage(
    instances: &Instances,
    user_id: UserId,
    subscription_id: SubscriptionId,
) -> Result<UsageView> {
    let mut conn = instances.db.read().await?;
    let found = store::of_subscription(&mut conn, subscription_id).await?;
    let found = found.filter(|instance| instance.user_id == user_id);
    let instance = found.ok_or_else(|| Error::not_found("subscription"))?;
    if instance.desired == Desired::Terminated {
        let message = "This subscription has ended, and nothing of it is measured any more.";
        return Err(Error::new(Code::InvalidState, message));
    }
    let terms = store::terms(&mut conn, instance.id).await?;
    drop(conn);
    let cluster = instances.handle.cluster()?;
    let pods = cluster.instance_usage(&instance.namespace, &instance.name);
    let pods = pods.await?;
    let count = |amount: i64| u64::try_from(amount).unwrap_or_default();
    Ok(UsageView {
        instance_id: instance.id,
        status: instance.status,
        usage: pods
            .iter()
            .filter_map(|pod| pod.usage)
            .reduce(|sum, one| sum + one),
        limits: Load {
            cpu_millis: count(terms.sizes.cpu_millis),
            memory_bytes: count(terms.sizes.memory_mib).saturating_mul(1 << 20),
        },
        storage_gib: terms.sizes.storage_gib,
        pods,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_in_base64_too_wherever_it_begins() {
        let secret = "s3cr3t~value?of>all";
        let masking = Masking::of([("a".to_owned(), secret.to_owned().into())].into());
        for before in ["", "u", "us", "usr:", "user:"] {
            for text in [
                format!("{before}{secret}"),
                format!("{before}{secret}:after"),
            ] {
                for encoded in [STANDARD.encode(&text), URL_SAFE.encode(&text)] {
                    let shown = masking.masked(format!("token {encoded} end"));
                    assert!(shown.contains(MASK), "{text}: {shown}");
                    // Two letters at each end may belong to the secret in part.
                    let left = shown.replace(MASK, "").replace("token ", "");
                    let left = left.replace(" end", "");
                    let others = STANDARD.encode(format!("{before}:after"));
                    assert!(left.len() <= others.len() + 8, "{shown}");
                }
            }
        }
    }

    #[test]
    fn a_secret_in_a_log_is_masked_whole() {
        let secrets = [("a", "hunter2"), ("b", "hunter2-and-more"), ("c", "no")];
        let secrets = secrets.map(|(key, value)| (key.to_owned(), value.to_owned().into()));
        let line = LogLine {
            at: None,
            pod: "a-0".to_owned(),
            container: "app".to_owned(),
            text: "no hunter2, no hunter2-and-more".to_owned(),
            is_cut: false,
        };
        let masking = Masking::of(secrets.into());
        assert_eq!(masking.view(line.clone()).text, "no ******, no ******");
        // Cut within the longest secret.
        let cut = LogLine {
            text: "a long line that ends in hunter2-and-mo".to_owned(),
            is_cut: true,
            ..line
        };
        let shown = masking.view(cut).text;
        assert!(
            shown.ends_with('…') && !shown.contains("******-"),
            "{shown}"
        );
    }
}
