//! Jobs that exist, whose pods no cluster changes.

use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Preconditions},
};
use serde_json::Value;

use super::{
    Cluster, ClusterError, ObjectRef,
    diagnosis::condition,
    reading::{all, text},
};

const JOB: &str = "Job";
/// End of the message about a field that a cluster never changes.
const IMMUTABLE: &str = "field is immutable";
/// Fields of a container that say what it does, beside its image. The operator's are none of them.
const WORK: [&str; 6] = ["name", "command", "args", "env", "envFrom", "workingDir"];

impl Cluster {
    /// Returns the Job that stays as it is where the cluster refused to change its pods: it has succeeded, and
    /// the same would be done, at another place or by an image from another. One that has not succeeded is
    /// removed, so that a later pass makes it again. Returns nothing for any other refusal.
    ///
    /// # Errors
    /// [`ClusterError::NotYet`] while a Job is being made again; when the cluster is away.
    pub(super) async fn resolve_job(
        &self,
        api: &Api<DynamicObject>,
        manifest: &Value,
        refusal: &kube::Error,
    ) -> Result<Option<DynamicObject>, ClusterError> {
        let object = ObjectRef::of(manifest);
        if object.kind != JOB || !is_about_immutable(refusal) {
            return Ok(None);
        }
        let again = ClusterError::NotYet(format!(
            "{object} is made again, since its pods cannot be changed"
        ));
        let live = self.call(&object, api.get_opt(&object.name)).await?;
        let Some(live) = live.filter(|live| live.metadata.deletion_timestamp.is_none()) else {
            return Err(again);
        };
        if condition(&live.data, "Complete", "True").is_some() {
            return Ok(does_the_same(manifest, &live.data).then_some(live));
        }
        let same = Preconditions {
            uid: live.metadata.uid,
            resource_version: None,
        };
        // In the foreground, so that its pods have ended before those of the next one begin.
        let params = DeleteParams::foreground().preconditions(same);
        self.delete_by(api, &object, &params).await?;
        Err(again)
    }
}

fn is_about_immutable(refusal: &kube::Error) -> bool {
    let kube::Error::Api(status) = refusal else {
        return false;
    };
    let mut causes = status.details.iter().flat_map(|details| &details.causes);
    let is_first = causes.next().is_some_and(is_immutable);
    status.code == 422 && is_first && causes.all(is_immutable)
}

fn is_immutable(cause: &kube::core::response::StatusCause) -> bool {
    cause.message.ends_with(IMMUTABLE)
}

/// Returns true when the pods of a manifest would do what those of a live Job did.
fn does_the_same(manifest: &Value, live: &Value) -> bool {
    let completions = |job: &Value| {
        let completions = job.pointer("/spec/completions").and_then(Value::as_i64);
        completions.unwrap_or(1)
    };
    let are_the_same = |list: &str| {
        let pointer = format!("/spec/template/spec/{list}");
        let wanted: Vec<_> = all(manifest, &pointer).collect();
        let live: Vec<_> = all(live, &pointer).collect();
        let mut pairs = wanted.iter().zip(&live);
        wanted.len() == live.len() && pairs.all(|(wanted, live)| is_the_same(wanted, live))
    };
    completions(manifest) == completions(live)
        && ["initContainers", "containers"]
            .into_iter()
            .all(are_the_same)
}

fn is_the_same(wanted: &Value, live: &Value) -> bool {
    let given = |container: &Value, field: &str| {
        let value = container.get(field).cloned();
        value.filter(|value| value.as_array().is_none_or(|items| !items.is_empty()))
    };
    let is_kept = |field: &&str| match (given(wanted, field), given(live, field)) {
        (Some(wanted), Some(live)) => holds(&live, &wanted),
        (wanted, live) => wanted.is_none() && live.is_none(),
    };
    image(wanted) == image(live) && WORK.iter().all(is_kept)
}

/// Returns the last part of an image's reference, which is the same in each mirror.
fn image(container: &Value) -> Option<String> {
    let image = text(container, "/image")?;
    image.rsplit('/').next().map(str::to_owned)
}

/// Returns true when a live value is as wanted; the cluster may have added fields.
fn holds(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| live.get(key).is_some_and(|live| holds(live, wanted))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(one, other)| holds(one, other))
        }
        (live, wanted) => live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use dermaga_runtime::gate::INSTANCE_LABEL;
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::cluster::{
        Applied, FIELD_MANAGER,
        object::MANAGED_BY_LABEL,
        pretended::api::{Answer, ApiServer, cluster_of, discovered, failure},
    };

    const NAMESPACE: &str = "user-1";

    /// A pretended API server that has one Job at most.
    #[derive(Debug, Default)]
    struct OneJob {
        job: Option<Value>,
        /// Message of each refusal to change the Job.
        refusal: String,
        /// Parameters of each deletion.
        deleted: Vec<Value>,
    }

    impl ApiServer for OneJob {
        fn answer(&mut self, method: &Method, path: &str, body: Value) -> Answer {
            if let Some(found) = discovered(path) {
                return (200, found);
            }
            let template = |job: &Value| job["spec"]["template"].clone();
            match (method, &self.job) {
                (&Method::PATCH, Some(job)) if template(job) != template(&body) => {
                    let cause = json!({"field": "spec.template", "message": self.refusal});
                    let (code, mut status) = failure(422, "Invalid");
                    status["details"] = json!({"causes": [cause]});
                    (code, status)
                }
                (&Method::PATCH, _) => {
                    self.job = Some(body.clone());
                    (200, body)
                }
                (&Method::GET, Some(job)) => (200, job.clone()),
                (&Method::DELETE, Some(_)) => {
                    self.deleted.push(body);
                    self.job = None;
                    let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
                    (200, done)
                }
                _ => failure(404, "NotFound"),
            }
        }
    }

    fn job(image: &str, pod: &Value) -> Value {
        let mut spec = json!({"containers": [
            {"name": "app", "image": image, "command": ["migrate"], "env": [{"name": "A", "value": "1"}]},
        ]});
        let more = pod.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(more);
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": "migrate", "namespace": NAMESPACE, "uid": "u",
                "labels": {MANAGED_BY_LABEL: FIELD_MANAGER, INSTANCE_LABEL: "a"},
            },
            "spec": {"template": {"spec": spec}},
        })
    }

    /// An API server with a Job that was applied before and came to this.
    fn with_job(kind: &str, refusal: &str) -> Arc<Mutex<OneJob>> {
        let mut live = job("busybox:1.37", &json!({}));
        live["status"] = json!({"conditions": [{"type": kind, "status": "True"}]});
        Arc::new(Mutex::new(OneJob {
            job: Some(live),
            refusal: refusal.to_owned(),
            deleted: Vec::new(),
        }))
    }

    /// The same Job where the operator decided about its pods.
    fn moved() -> Value {
        let pool = json!({"nodeSelector": {"pool": "customers"}});
        job("mirror.example/hub/library/busybox:1.37", &pool)
    }

    async fn apply(cluster: &Cluster, manifest: &Value) -> Result<Applied, ClusterError> {
        cluster.apply(NAMESPACE, "a", manifest).await
    }

    const NEVER: &str = "Invalid value: core.PodTemplateSpec{}: field is immutable";

    #[tokio::test]
    async fn a_job_that_has_succeeded_is_not_done_again_elsewhere() {
        let server = with_job("Complete", NEVER);
        let before = server.lock().unwrap().job.clone();
        assert_eq!(
            apply(&cluster_of(&server), &moved()).await,
            Ok(Applied::Yes)
        );
        let server = server.lock().unwrap();
        assert_eq!((&server.job, server.deleted.len()), (&before, 0));
    }

    #[tokio::test]
    async fn a_job_that_has_not_succeeded_is_made_again() {
        for kind in ["Failed", "Suspended"] {
            let server = with_job(kind, NEVER);
            let cluster = cluster_of(&server);
            let waits = apply(&cluster, &moved()).await;
            assert!(matches!(waits, Err(ClusterError::NotYet(_))), "{waits:?}");
            let deleted = server.lock().unwrap().deleted.clone();
            assert_eq!(deleted.len(), 1);
            assert_eq!(deleted[0]["propagationPolicy"], "Foreground");
            assert_eq!(deleted[0]["preconditions"], json!({"uid": "u"}));
            assert_eq!(apply(&cluster, &moved()).await, Ok(Applied::Yes));
            let server = server.lock().unwrap();
            assert_eq!(server.job.as_ref(), Some(&moved()));
        }
    }

    #[tokio::test]
    async fn other_work_is_refused_and_removes_nothing() {
        let other = job("busybox:1.38", &json!({}));
        let mut more = moved();
        more["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["--all"]);
        for manifest in [other, more] {
            let server = with_job("Complete", NEVER);
            let refused = apply(&cluster_of(&server), &manifest).await;
            assert!(
                matches!(refused, Err(ClusterError::Refused { .. })),
                "{refused:?}"
            );
            assert!(server.lock().unwrap().deleted.is_empty());
        }
    }

    #[tokio::test]
    async fn a_job_that_is_wrong_is_refused_and_removes_nothing() {
        let server = with_job("Failed", "Required value");
        let refused = apply(&cluster_of(&server), &moved()).await;
        assert!(
            matches!(refused, Err(ClusterError::Refused { .. })),
            "{refused:?}"
        );
        assert!(server.lock().unwrap().deleted.is_empty());
    }

    #[test]
    fn fields_that_the_cluster_adds_are_no_other_work() {
        let mut live = job("busybox:1.37", &json!({}));
        let container = &mut live["spec"]["template"]["spec"]["containers"][0];
        container["terminationMessagePath"] = json!("/dev/termination-log");
        container["env"][0]["valueFrom"] = Value::Null;
        live["spec"]["completions"] = json!(1);
        assert!(does_the_same(&moved(), &live));
        let mut twice = moved();
        twice["spec"]["completions"] = json!(2);
        assert!(!does_the_same(&twice, &live));
        let mut first = moved();
        first["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "first"}]);
        assert!(!does_the_same(&first, &live));
    }
}
