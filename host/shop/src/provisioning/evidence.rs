//! Evidence of an instance at a moment, for those who help its customer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    Instances, reading, secrets, store,
    view::InstanceDetail,
    watching::{self, InstanceEventView, LogLineView, Masking},
};
use crate::{
    Code, Error, Result,
    db::{Part, Span},
    ids::{DecisionId, InstanceId, UserId},
    language, plugins,
};

/// Longest time that the cluster has for its events, and for its logs.
const CLUSTER_TIMEOUT: Duration = Duration::from_secs(3);
/// Newest lines of the logs.
const LINES: u32 = 100;
/// Newest events.
const EVENTS: i64 = 50;

/// Evidence of one moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Evidence {
    #[serde(serialize_with = "crate::calendar::in_json")]
    taken_at: DateTime<Utc>,
    instance: InstanceDetail,
    events: Vec<InstanceEventView>,
    /// Absent where the cluster was not reached.
    logs: Option<Vec<LogLineView>>,
    /// Reason why there are no logs.
    logs_missing: Option<String>,
    last_decision: Option<LastDecision>,
}

/// The decision that the instance's objects come from, without its input and output.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LastDecision {
    id: DecisionId,
    plugin_id: String,
    plugin_version: String,
    function: String,
    failure: Option<String>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    created_at: DateTime<Utc>,
}

/// Returns what is known of a customer's instance as JSON, its secrets masked wherever they are. A cluster
/// that does not answer in time leaves its parts out.
///
/// # Errors
/// `NOT_FOUND` when there is none or it is another customer's.
pub async fn evidence(instances: &Instances, user_id: UserId, id: InstanceId) -> Result<Value> {
    let instance = reading::detail(instances, user_id, id).await?;
    let newest = Span::Page(Part {
        offset: 0,
        limit: EVENTS,
    });
    let (events, logs) = tokio::join!(
        in_time(watching::events_in_full(instances, id, newest)),
        in_time(watching::logs(instances, user_id, id, LINES)),
    );
    let (logs, logs_missing) = match logs {
        Ok(logs) => (Some(logs), None),
        Err(error) => (None, Some(error.message)),
    };
    let last_decision = match instance.manifests_decision_id {
        Some(id) => decision(instances, id).await?,
        None => None,
    };
    let evidence = Evidence {
        taken_at: instances.clock.now(),
        instance,
        events: events.map(|found| found.walked.items).unwrap_or_default(),
        logs,
        logs_missing,
        last_decision,
    };
    let masking = masking(instances, id).await?;
    // It is kept for administrators, whatever the customer speaks.
    let evidence = language::as_kept(|| serde_json::to_value(evidence))?;
    Ok(masked(&masking, evidence))
}

async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| {
        let message = "The cluster did not answer in time.";
        Error::new(Code::ClusterUnavailable, message)
    };
    timeout(CLUSTER_TIMEOUT, work).await.map_err(late)?
}

async fn decision(instances: &Instances, id: DecisionId) -> Result<Option<LastDecision>> {
    let found = match plugins::decision(&instances.db, id).await {
        Ok(found) => found,
        Err(error) if error.code == Code::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(LastDecision {
        id: found.id,
        plugin_id: found.plugin_id,
        plugin_version: found.plugin_version,
        function: found.function,
        failure: found.failure,
        created_at: found.created_at,
    }))
}

async fn masking(instances: &Instances, id: InstanceId) -> Result<Masking> {
    let mut conn = instances.db.read().await?;
    let found = store::instance(&mut conn, id).await?;
    let instance = found.ok_or_else(|| Error::not_found("instance"))?;
    let secrets = secrets::open(&mut conn, &instances.vault, &instance).await?;
    Ok(Masking::of(secrets))
}

/// Masks secrets in all texts, and removes the character that PostgreSQL does not keep.
fn masked(masking: &Masking, value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(masking.masked(text.replace('\0', ""))),
        Value::Array(values) => {
            let values = values.into_iter().map(|value| masked(masking, value));
            Value::Array(values.collect())
        }
        Value::Object(fields) => {
            let fields = fields.into_iter();
            Value::Object(
                fields
                    .map(|(name, value)| (name, masked(masking, value)))
                    .collect(),
            )
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_in_every_text() {
        let secrets = [("password".to_owned(), "sangat-rahasia".to_owned().into())];
        let masking = Masking::of(secrets.into());
        let found =
            json!({ "logs": [{ "text": "DB sangat-rahasia\0 c2FuZ2F0LXJhaGFzaWE=" }], "count": 3 });
        let text = masked(&masking, found).to_string();
        assert!(
            !text.contains("sangat-rahasia") && !text.contains("c2FuZ2F0LXJhaGFzaW"),
            "{text}"
        );
        assert!(
            text.contains("******") && !text.contains("\\u0000"),
            "{text}"
        );
    }
}
