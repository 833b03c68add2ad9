//! Reads for people who wait: every one bounded, so that an absent cluster is known within seconds.

use std::{future::Future, time::Duration};

use chrono::{DateTime, Utc};
use kube::{api::ListParams, core::Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::timeout;
use utoipa::ToSchema;

use dermaga_runtime::gate::INSTANCE_LABEL;

use super::{Cluster, ClusterError, object::USER_LABEL};
use crate::{
    Code, Error, Result,
    db::{Clock, Page, Part},
    ids::UserId,
};

/// Time for all reads of one request, beyond which the cluster counts as away.
const PROMPT: Duration = Duration::from_millis(2_500);

/// Part of a cluster to look at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub namespace: Option<String>,
    pub owner: Option<UserId>,
}

impl Scope {
    /// Returns the scope of one namespace.
    pub fn of_namespace(namespace: &str) -> Self {
        Self {
            namespace: Some(namespace.to_owned()),
            owner: None,
        }
    }

    pub(super) fn selector(&self) -> ListParams {
        let params = ListParams::default();
        match self.owner {
            Some(owner) => params.labels(&format!("{USER_LABEL}={owner}")),
            None => params,
        }
    }

    /// The path of a kind in this scope, below its API version.
    pub(super) fn path(&self, api: &str, kind: &str) -> String {
        match &self.namespace {
            Some(namespace) => format!("{api}/namespaces/{namespace}/{kind}"),
            None => format!("{api}/{kind}"),
        }
    }
}

#[derive(Debug, Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Value>,
}

impl Cluster {
    /// Lists objects as JSON; `None` when the cluster does not serve their kind.
    pub(super) async fn items(
        &self,
        path: &str,
        params: &ListParams,
    ) -> Result<Option<Vec<Value>>, ClusterError> {
        let request = Request::new(path)
            .list(params)
            .map_err(|error| ClusterError::of(kube::Error::BuildRequest(error), path))?;
        match self.client.request::<List>(request).await {
            Ok(list) => Ok(Some(list.items)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(ClusterError::of(error, path)),
        }
    }

    /// Lists objects of a kind that every cluster serves.
    pub(super) async fn known(
        &self,
        path: &str,
        params: &ListParams,
    ) -> Result<Vec<Value>, ClusterError> {
        Ok(self.items(path, params).await?.unwrap_or_default())
    }
}

/// Bounds the reads of one request, and words their failure for the person who waits.
pub(super) async fn promptly<T>(reads: impl Future<Output = Result<T, ClusterError>>) -> Result<T> {
    let silent = || {
        let limit = PROMPT.as_secs_f32();
        ClusterError::Unreachable(format!("it was silent for {limit} s"))
    };
    let read = timeout(PROMPT, reads)
        .await
        .unwrap_or_else(|_| Err(silent()));
    read.map_err(|error| match error {
        ClusterError::Denied(_) => {
            let message =
                "The cluster does not let this server read that. Its role lacks the right.";
            Error::new(Code::ClusterUnavailable, message).caused_by(error)
        }
        other => other.into(),
    })
}

/// Name, owner and age of an object.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Whereabouts {
    /// Absent for objects outside of namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
    /// Id of the customer that it belongs to.
    pub owner: Option<String>,
    /// Name of the instance that it belongs to.
    pub instance: Option<String>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub created_at: Option<DateTime<Utc>>,
    pub age_seconds: i64,
}

impl Whereabouts {
    pub(super) fn of(object: &Value) -> Self {
        let label = |key: &str| {
            let labels = object.pointer("/metadata/labels");
            let value = labels.and_then(|labels| labels.get(key));
            value.and_then(Value::as_str).map(str::to_owned)
        };
        let created_at = moment(object, "/metadata/creationTimestamp");
        // The cluster's times have nothing to do with a shop's clock that is moved.
        let age = created_at.map(|at| (Clock::system().now() - at).num_seconds());
        Self {
            namespace: text(object, "/metadata/namespace"),
            name: text(object, "/metadata/name").unwrap_or_default(),
            owner: label(USER_LABEL),
            instance: label(INSTANCE_LABEL),
            created_at,
            age_seconds: age.unwrap_or_default().max(0),
        }
    }
}

pub(super) fn text(object: &Value, pointer: &str) -> Option<String> {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned)
}

pub(super) fn moment(object: &Value, pointer: &str) -> Option<DateTime<Utc>> {
    object.pointer(pointer)?.as_str()?.parse().ok()
}

pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    let number = object.pointer(pointer).and_then(Value::as_i64);
    number.unwrap_or_default()
}

/// The items of an array; none when it is not there.
pub(super) fn all<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    let items = object.pointer(pointer).and_then(Value::as_array);
    items.into_iter().flatten()
}

/// Sorts objects by namespace and name, and returns one part of them.
pub(super) fn part_of(mut objects: Vec<Value>, part: Part) -> Page<Value> {
    let key = |object: &Value| {
        (
            text(object, "/metadata/namespace"),
            text(object, "/metadata/name"),
        )
    };
    objects.sort_by_cached_key(key);
    Page::of(objects, part)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_in_order_and_counted_whole() {
        let object = |namespace: &str, name: &str| json!({"metadata": {"namespace": namespace, "name": name}});
        let objects = vec![object("b", "a"), object("a", "b"), object("a", "a")];
        let (offset, limit) = (1, 1);
        let page = part_of(objects.clone(), Part { offset, limit });
        assert_eq!((page.items, page.total), (vec![object("a", "b")], 3));
        let (offset, limit) = (9, 1);
        assert!(part_of(objects, Part { offset, limit }).items.is_empty());
    }

    #[tokio::test]
    async fn a_silent_cluster_is_away_within_three_seconds() {
        let began = tokio::time::Instant::now();
        let error = promptly(std::future::pending::<Result<(), ClusterError>>())
            .await
            .unwrap_err();
        assert_eq!(error.code, Code::ClusterUnavailable);
        assert!(began.elapsed() < Duration::from_secs(3));
        let denied = promptly(async { Err::<(), _>(ClusterError::Denied("no".to_owned())) });
        assert_eq!(denied.await.unwrap_err().code, Code::ClusterUnavailable);
    }
}
