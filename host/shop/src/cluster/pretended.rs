//! A cluster that a test pretends: its watches show what the test says, and its requests are counted.

pub(super) mod api;

use std::sync::{Arc, Mutex, MutexGuard};

use api::{Answer, ApiServer, cluster_of, failure};
use dermaga_runtime::gate::INSTANCE_LABEL;
use http::Method;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{
    Cluster, FIELD_MANAGER, ObjectRef,
    known::{SECRET, watched_kinds},
    object::MANAGED_BY_LABEL,
};

const WORKLOAD: (&str, &str) = ("apps/v1", "Deployment");
const WALL: &str = "Namespace";

/// A pretended API server, which knows Secrets and nothing else.
#[derive(Debug, Default)]
struct Secrets {
    secrets: Vec<DynamicObject>,
    /// Paths that were asked for.
    asked: Vec<String>,
    is_away: bool,
}

impl ApiServer for Secrets {
    fn answer(&mut self, _method: &Method, path: &str, _body: Value) -> Answer {
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
            _ => failure(503, "ServiceUnavailable"),
        }
    }
}

/// A pretended cluster.
pub(crate) struct Pretended {
    pub(crate) cluster: Cluster,
    server: Arc<Mutex<Secrets>>,
}

impl Pretended {
    /// Returns a cluster whose watches have listed that there is nothing.
    pub(crate) fn new() -> Self {
        let server = Arc::<Mutex<Secrets>>::default();
        let pretended = Self {
            cluster: cluster_of(&server),
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

    fn server(&self) -> MutexGuard<'_, Secrets> {
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
