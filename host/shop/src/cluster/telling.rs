//! Events that Dermaga itself writes about an instance, for those who look at the cluster.

use kube::{api::PostParams, core::Request};
use serde_json::{Value, json};

use super::{
    Cluster, ClusterError, FIELD_MANAGER, NAMESPACE, ObjectRef, reading::Scope, reading::text,
};
use crate::db::Clock;

/// Longest message that Kubernetes takes.
const LONGEST: usize = 1_000;

/// Something that Dermaga did, or could not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// A word such as `Applied`.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    pub is_warning: bool,
}

/// Returns true for an event that Dermaga wrote itself.
pub(super) fn is_our_own(event: &Value) -> bool {
    text(event, "/source/component").as_deref() == Some(FIELD_MANAGER)
}

impl Cluster {
    /// Writes an event about the workload of an instance; about its namespace where none is known.
    ///
    /// # Errors
    /// When the cluster is away or refuses.
    pub async fn tell(
        &self,
        namespace: &str,
        instance: &str,
        told: &Told,
    ) -> Result<(), ClusterError> {
        let of_namespace = || (ObjectRef::new("v1", NAMESPACE, namespace), String::new());
        let (object, uid) = self
            .known
            .workload(namespace, instance)
            .unwrap_or_else(of_namespace);
        let event = event(namespace, instance, (&object, &uid), told);
        let path = Scope::of_namespace(namespace).path("/api/v1", "events");
        let request = Request::new(path)
            .create(&PostParams::default(), event.to_string().into_bytes())
            .map_err(|error| ClusterError::of(kube::Error::BuildRequest(error), "Event"))?;
        self.call("Event", self.client.request::<Value>(request))
            .await?;
        Ok(())
    }
}

fn event(namespace: &str, instance: &str, about: (&ObjectRef, &str), told: &Told) -> Value {
    let (object, uid) = about;
    // Events are of the cluster, and so are their times.
    let now = Clock::system().now();
    let at = now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let mut message = told.message.clone();
    message.truncate(message.floor_char_boundary(LONGEST));
    let mut regarding = json!({
        "apiVersion": object.api_version, "kind": object.kind, "name": object.name,
        "namespace": namespace,
    });
    if let Some(fields) = regarding.as_object_mut().filter(|_| !uid.is_empty()) {
        fields.insert("uid".to_owned(), json!(uid));
    }
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {
            "name": format!("{instance}.{:x}", now.timestamp_micros()), "namespace": namespace,
        },
        "involvedObject": regarding,
        "reason": told.reason,
        "message": message,
        "type": if told.is_warning { "Warning" } else { "Normal" },
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": at, "lastTimestamp": at, "count": 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_recognized_and_bounded() {
        let told = Told {
            reason: "Failed",
            message: "é".repeat(LONGEST),
            is_warning: true,
        };
        let object = ObjectRef::new("apps/v1", "Deployment", "a");
        let event = event("user-1", "a", (&object, "u"), &told);
        assert!(is_our_own(&event));
        assert_eq!(event["type"], "Warning");
        assert_eq!(event["involvedObject"]["uid"], "u");
        assert_eq!(event["message"].as_str().unwrap().len(), LONGEST);
        assert!(!is_our_own(&json!({"source": {"component": "kubelet"}})));
    }
}
