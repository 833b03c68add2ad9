//! An API server that a test pretends: the client whose requests reach it, and the kinds that it serves.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::service_fn;

use crate::cluster::{Cluster, VOLUME_CLAIM};

/// Status and body of an answer.
pub(in crate::cluster) type Answer = (u16, Value);

/// A pretended API server.
pub(in crate::cluster) trait ApiServer: Send + 'static {
    /// Time that a request takes.
    const DURATION: Duration = Duration::ZERO;

    /// Notes that a request has come, which is answered when its time is over.
    fn begin(&mut self) {}

    fn answer(&mut self, method: &Method, path: &str, body: Value) -> Answer;
}

/// Returns a cluster whose requests reach this server.
pub(in crate::cluster) fn cluster_of<S: ApiServer>(server: &Arc<Mutex<S>>) -> Cluster {
    let server = Arc::clone(server);
    let service = service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&server);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            server.lock().unwrap().begin();
            if !S::DURATION.is_zero() {
                sleep(S::DURATION).await;
            }
            let answered = server
                .lock()
                .unwrap()
                .answer(&head.method, head.uri.path(), body);
            let text = answered.1.to_string().into_bytes();
            let response = Response::builder().status(answered.0);
            Ok::<_, kube::Error>(response.body(Body::from(text)).unwrap())
        }
    });
    Cluster::of(Client::new(service, "default"), "http://pretended".into())
}

/// Returns the answer of a request that fails.
pub(in crate::cluster) fn failure(code: u16, reason: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code,
    });
    (code, status)
}

/// Returns what the API server serves, as far as a path asks for that.
pub(in crate::cluster) fn discovered(path: &str) -> Option<Value> {
    let resource = |kind: &str, is_namespaced: bool| {
        let singular = kind.to_lowercase();
        json!({
            "name": format!("{singular}s"), "singularName": singular, "namespaced": is_namespaced,
            "kind": kind, "verbs": ["get", "list", "patch", "delete"],
        })
    };
    let resources = |group_version: &str, resources: Vec<Value>| {
        json!({
            "kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": group_version, "resources": resources,
        })
    };
    let group = |name: &str| {
        let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    Some(match path {
        "/api" => {
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        }
        "/apis" => json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": [group("apps"), group("batch"), group("networking.k8s.io")],
        }),
        "/api/v1" => {
            let namespaced = [VOLUME_CLAIM, "ResourceQuota", "LimitRange"];
            let namespaced = namespaced.map(|kind| resource(kind, true));
            let all = [resource("Namespace", false)].into_iter().chain(namespaced);
            resources("v1", all.collect())
        }
        "/apis/networking.k8s.io/v1" => {
            let mut policy = resource("NetworkPolicy", true);
            policy["name"] = json!("networkpolicies");
            resources("networking.k8s.io/v1", vec![policy])
        }
        "/apis/apps/v1" => resources("apps/v1", vec![resource("StatefulSet", true)]),
        "/apis/batch/v1" => resources("batch/v1", vec![resource("Job", true)]),
        _ => return None,
    })
}
