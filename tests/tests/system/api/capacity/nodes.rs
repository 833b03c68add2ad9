//! A pretended API server whose one node and one pod a test decides.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use futures::stream;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::api::provisioning::kubeconfig_of;

#[derive(Debug, Default)]
pub(super) struct Objects {
    /// One node, and one pod of others.
    node: Value,
    pod: Value,
    /// Version of both, which a change raises.
    version: u64,
    pub(super) is_away: bool,
    /// Number of lists of nodes that were asked for.
    pub(super) asked: usize,
    /// Number of lists of pods that were asked for.
    pub(super) asked_for_pods: usize,
}

impl Objects {
    fn of(&self, path: &str) -> Option<&Value> {
        match path {
            "/api/v1/nodes" => Some(&self.node),
            "/api/v1/pods" => Some(&self.pod),
            _ => None,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
        self.version += 1;
        let version = Value::from(self.version.to_string());
        for object in [&mut self.node, &mut self.pod] {
            object["metadata"]["resourceVersion"] = version.clone();
        }
    }
}

/// An API server that lists and watches nodes and pods, and is away for everything else.
pub(super) struct Nodes {
    address: SocketAddr,
    objects: Arc<Mutex<Objects>>,
    serving: JoinHandle<()>,
    folder: TempDir,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(objects): State<Arc<Mutex<Objects>>>, uri: Uri) -> Response {
    if is_watch(&uri) {
        return watch(objects, &uri);
    }
    let mut objects = objects.lock().unwrap();
    match uri.path() {
        "/api/v1/nodes" => objects.asked += 1,
        "/api/v1/pods" => objects.asked_for_pods += 1,
        _ => {}
    }
    let object = objects.of(uri.path()).filter(|_| !objects.is_away);
    let Some(object) = object else { return away() };
    let version = objects.version.to_string();
    Json(json!({
        "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": version }, "items": [object],
    }))
    .into_response()
}

fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let mut pairs = uri
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn is_watch(uri: &Uri) -> bool {
    parameter(uri, "watch") == Some("true")
}

/// Streams changes after the version that is asked for, until the API server is away.
fn watch(objects: Arc<Mutex<Objects>>, uri: &Uri) -> Response {
    let path = uri.path().to_owned();
    let known = objects.lock().unwrap();
    if known.is_away || known.of(&path).is_none() {
        return away();
    }
    drop(known);
    let since: u64 = parameter(uri, "resourceVersion").unwrap().parse().unwrap();
    let events = stream::unfold(since, move |seen| {
        let (objects, path) = (Arc::clone(&objects), path.clone());
        async move {
            loop {
                let news = news(&objects.lock().unwrap(), &path, seen)?;
                if let Some((line, version)) = news {
                    return Some((Ok::<_, Infallible>(line), version));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    Body::from_stream(events).into_response()
}

/// Returns the change after a version, if there is one; `None` at the end of all watches.
fn news(objects: &Objects, path: &str, seen: u64) -> Option<Option<(String, u64)>> {
    let object = objects.of(path).filter(|_| !objects.is_away)?;
    let line = || format!("{}\n", json!({ "type": "MODIFIED", "object": object }));
    Some((objects.version > seen).then(|| (line(), objects.version)))
}

fn away() -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the server is not ready", "reason": "ServiceUnavailable", "code": 503,
    });
    (StatusCode::SERVICE_UNAVAILABLE, Json(status)).into_response()
}

impl Nodes {
    /// Starts with one node of so much processor, and a pod of others that takes all of it.
    pub(super) async fn full(cpu_millis: u32) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let objects = Arc::new(Mutex::new(Objects::default()));
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&objects));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let nodes = Self {
            address,
            objects,
            serving,
            folder: TempDir::new().unwrap(),
        };
        nodes.resize(cpu_millis);
        nodes.take(cpu_millis);
        nodes
    }

    pub(super) fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap()
    }

    fn resize(&self, cpu_millis: u32) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": { "name": "satu" },
            "spec": {},
            "status": {
                "allocatable": { "cpu": format!("{cpu_millis}m"), "memory": "64Gi", "pods": "110" },
                "conditions": [{ "type": "Ready", "status": "True" }],
            },
        });
        self.objects().change(|objects| objects.node = node);
    }

    /// Sets what the pods of others ask for.
    pub(super) fn take(&self, cpu_millis: u32) {
        let amounts = json!({ "cpu": format!("{cpu_millis}m"), "memory": "1Mi" });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "namespace": "lain", "name": "lain" },
            "spec": { "nodeName": "satu", "containers": [{ "resources": { "requests": amounts } }] },
            "status": { "phase": "Running" },
        });
        self.objects().change(|objects| objects.pod = pod);
    }

    /// Gives the node a label and a taint.
    pub(super) fn set_apart(&self, labels: &Value, taints: &Value) {
        self.objects().change(|objects| {
            objects.node["metadata"]["labels"] = labels.clone();
            objects.node["spec"]["taints"] = taints.clone();
        });
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        kubeconfig_of(self.folder.path(), &self.address.to_string())
    }
}
