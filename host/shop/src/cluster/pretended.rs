//! A cluster that a test pretends: its watches show what the test says, and its requests are counted.

use std::sync::{Arc, Mutex, MutexGuard};

use dermaga_runtime::gate::INSTANCE_LABEL;
use http::{Request, Response};
use kube::{Client, api::DynamicObject, client::Body};
use serde_json::{Value, json};
use tower::service_fn;

use super::{
    Cluster, FIELD_MANAGER, ObjectRef,
    known::{SECRET, watched_kinds},
    object::MANAGED_BY_LABEL,
};

const WORKLOAD: (&str, &str) = ("apps/v1", "Deployment");
const WALL: &str = "Namespace";

/// A pretended API server, which knows Secrets and nothing else.
#[derive(Debug, Default)]
struct ApiServer {
    secrets: Vec<DynamicObject>,
    /// Paths that were asked for.
    asked: Vec<String>,
    is_away: bool,
}

impl ApiServer {
    fn answer(&mut self, path: &str) -> (u16, Value) {
        self.asked.push(path.to_owned());
        let namespace = path
            .strip_prefix("/api/v1/namespaces/")
            .and_then(|rest| rest.strip_suffix("/secrets"));
        match namespace {
            Some(namespace) if !self.is_away => {
                let is_in_it =
                    |one: &&DynamicObject| one.metadata.namespace.as_deref() == Some(namespace);
                let items = self.secrets.iter().filter(is_in_it);
                let items: Vec<_> = items.map(|one| json!({"metadata": one.metadata})).collect();
                let list = json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": {}, "items": items,
                });
                (200, list)
            }
            _ => {
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": "away", "reason": "ServiceUnavailable", "code": 503,
                });
                (503, status)
            }
        }
    }
}

/// A pretended cluster.
pub(crate) struct Pretended {
    pub(crate) cluster: Cluster,
    server: Arc<Mutex<ApiServer>>,
}

impl Pretended {
    /// Returns a cluster whose watches have listed that there is nothing.
    pub(crate) fn new() -> Self {
        let server = Arc::new(Mutex::new(ApiServer::default()));
        let answering = Arc::clone(&server);
        let service = service_fn(move |request: Request<Body>| {
            let (status, answer) = answering.lock().unwrap().answer(request.uri().path());
            let response = Response::builder().status(status);
            let response = response.body(Body::from(answer.to_string().into_bytes()));
            async move { Ok::<_, kube::Error>(response.unwrap()) }
        });
        let client = Client::new(service, "default");
        let pretended = Self {
            cluster: Cluster::of(client, "http://pretended".into()),
            server,
        };
        pretended.begin_objects();
        for (_, kind) in watched_kinds() {
            pretended.cluster.known.list_begins(kind);
            pretended.cluster.known.list_ends(kind);
        }
        pretended.begin_walls();
        pretended.list_walls();
        pretended
    }

    fn server(&self) -> MutexGuard<'_, ApiServer> {
        self.server.lock().unwrap()
    }

    /// Begins the watches of objects again, which have listed nothing then.
    pub(crate) fn begin_objects(&self) {
        let kinds = watched_kinds().map(|(_, kind)| kind);
        self.cluster.known.begin(kinds);
    }

    /// Begins the watch of walls again, which has listed nothing then.
    pub(crate) fn begin_walls(&self) {
        self.cluster.walls.begin([WALL].into_iter());
    }

    /// Lets the watch of walls list that there is none.
    pub(crate) fn list_walls(&self) {
        self.cluster.walls.list_begins(WALL);
        self.cluster.walls.list_ends(WALL);
    }

    /// Lets an instance have a workload and a Secret, and settles it with a status.
    pub(crate) fn settle(&self, namespace: &str, instance: &str, status: u64) {
        self.show(namespace, instance, 1);
        let secret = object(namespace, instance, &secret_of(instance), 1);
        let place = ObjectRef::new("v1", SECRET, &secret_of(instance));
        self.cluster.known.read(&place, secret.clone());
        self.server().secrets.push(secret);
        let look = self.cluster.known.look(namespace, instance).unwrap();
        self.cluster
            .settle(namespace, instance, look.digest, status);
    }

    /// Lets the watch show a version of an instance's workload.
    pub(crate) fn show(&self, namespace: &str, instance: &str, version: u32) {
        let workload = object(namespace, instance, instance, version);
        self.cluster.known.seen(WORKLOAD, workload);
    }

    /// Changes the Secret of an instance, which no watch shows.
    pub(crate) fn edit_secret(&self, namespace: &str, instance: &str) {
        let mut server = self.server();
        let name = secret_of(instance);
        let is_it = |one: &DynamicObject| one.metadata.name.as_deref() == Some(name.as_str());
        server.secrets.retain(|one| !is_it(one));
        server.secrets.push(object(namespace, instance, &name, 2));
    }

    /// Lets the API server refuse everything from here on.
    pub(crate) fn go_away(&self) {
        self.server().is_away = true;
    }

    /// Returns the number of requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.server().asked.len()
    }
}

fn secret_of(instance: &str) -> String {
    format!("{instance}-secrets")
}

fn object(namespace: &str, instance: &str, name: &str, version: u32) -> DynamicObject {
    let object = json!({"metadata": {
        "name": name, "namespace": namespace, "uid": name, "resourceVersion": version.to_string(),
        "labels": {MANAGED_BY_LABEL: FIELD_MANAGER, INSTANCE_LABEL: instance},
    }});
    serde_json::from_value(object).unwrap()
}
