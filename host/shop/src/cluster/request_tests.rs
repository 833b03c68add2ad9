//! Requests by which something is put into a cluster, counted by an API server that a test pretends.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use dermaga_runtime::gate::INSTANCE_LABEL;
use http::Method;
use serde_json::{Value, json};

use super::{
    Applied, Cluster, ClusterError, FIELD_MANAGER, NAMESPACE, Tenant, VOLUME_CLAIM,
    known::watched_kinds,
    namespace_tests::tenant,
    object::MANAGED_BY_LABEL,
    pretended::api::{Answer, ApiServer, cluster_of, discovered, failure},
};
use crate::ids::UserId;

const LEAVING: &str = "/metadata/deletionTimestamp";

/// An API server that keeps what is applied.
#[derive(Debug, Default)]
struct Objects {
    /// By path.
    objects: BTreeMap<String, Value>,
    /// Requests about objects, such as `PATCH statefulsets/db`.
    asked: Vec<String>,
    /// Number of requests under way, and the most there were.
    under_way: (usize, usize),
    /// Makes nothing by a manifest that names a version.
    refuses_versions: bool,
    /// Asks to come back later.
    is_busy: bool,
}

impl ApiServer for Objects {
    // Long enough that requests side by side are seen to be.
    const DURATION: Duration = Duration::from_millis(20);

    fn begin(&mut self) {
        let (now, most) = self.under_way;
        self.under_way = (now + 1, most.max(now + 1));
    }

    fn answer(&mut self, method: &Method, path: &str, mut body: Value) -> Answer {
        self.under_way.0 -= 1;
        if path.ends_with("/selfsubjectaccessreviews") {
            body["status"] = json!({"allowed": true});
            return (201, body);
        }
        if let Some(found) = discovered(path) {
            return (200, found);
        }
        let mut parts = path.rsplit('/');
        let (name, kind) = (parts.next().unwrap(), parts.next().unwrap());
        self.asked.push(format!("{method} {kind}/{name}"));
        if self.is_busy {
            return failure(429, "TooManyRequests");
        }
        if *method == Method::PATCH {
            let metadata = body["metadata"].as_object_mut().unwrap();
            let names_version = metadata.remove("resourceVersion").is_some();
            if names_version && (self.refuses_versions || self.objects.contains_key(path)) {
                return failure(409, "Conflict");
            }
            // An apply keeps nothing from being removed.
            let leaving = self.objects.get(path);
            if let Some(since) = leaving.and_then(|object| object.pointer(LEAVING)) {
                body["metadata"]["deletionTimestamp"] = since.clone();
            }
            // As its controller does for a quota.
            body["status"] = json!({"hard": body["spec"]["hard"]});
            self.objects.insert(path.to_owned(), body);
        }
        match self.objects.get(path) {
            Some(object) => (200, object.clone()),
            None => failure(404, "NotFound"),
        }
    }
}

/// A cluster whose watches have listed that there is nothing.
struct Pretended {
    cluster: Cluster,
    server: Arc<Mutex<Objects>>,
}

impl Pretended {
    fn new() -> Self {
        let server = Arc::<Mutex<Objects>>::default();
        let cluster = cluster_of(&server);
        cluster.known.begin(watched_kinds().map(|(_, kind)| kind));
        for (_, kind) in watched_kinds() {
            cluster.known.list_begins(kind);
            cluster.known.list_ends(kind);
        }
        Self { cluster, server }
    }

    fn server(&self) -> MutexGuard<'_, Objects> {
        self.server.lock().unwrap()
    }

    /// Lets the watch of namespaces be current.
    fn sees_namespaces(&self) {
        let walls = &self.cluster.walls;
        walls.begin([NAMESPACE].into_iter());
        walls.list_begins(NAMESPACE);
        walls.list_ends(NAMESPACE);
    }
}

fn object(api_version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind,
        "metadata": {
            "name": name, "namespace": "user-a",
            "labels": {MANAGED_BY_LABEL: FIELD_MANAGER, INSTANCE_LABEL: "a"},
        },
        "spec": spec,
    })
}

fn set() -> Value {
    let claim = json!({"resources": {"requests": {"storage": "1Gi"}}});
    let templates = json!([{"metadata": {"name": "data"}, "spec": claim}]);
    let spec = json!({"replicas": 1, "volumeClaimTemplates": templates});
    object("apps/v1", "StatefulSet", "db", &spec)
}

const PATH: &str = "/apis/apps/v1/namespaces/user-a/statefulsets/db";
const LOOK: &str = "GET statefulsets/db";
const APPLY: &str = "PATCH statefulsets/db";
const CLAIM: &str = "GET persistentvolumeclaims/data-db-0";

/// Applies the set, and returns the requests that it took.
async fn asked_by_apply(pretended: &Pretended) -> Vec<String> {
    pretended.server().asked.clear();
    let applied = pretended.cluster.apply("user-a", "a", &set()).await;
    assert_eq!(applied, Ok(Applied::Yes));
    pretended.server().asked.clone()
}

#[tokio::test]
async fn a_new_object_costs_one_request() {
    let pretended = Pretended::new();
    assert_eq!(asked_by_apply(&pretended).await, [APPLY]);
}

#[tokio::test]
async fn a_claim_that_an_earlier_set_left_is_looked_at() {
    let pretended = Pretended::new();
    let claim = object("v1", VOLUME_CLAIM, "data-db-0", &json!({}));
    let claim = serde_json::from_value(claim).unwrap();
    pretended.cluster.known.seen(("v1", VOLUME_CLAIM), claim);
    assert_eq!(asked_by_apply(&pretended).await, [APPLY, CLAIM]);
}

#[tokio::test]
async fn an_object_that_no_watch_shows_is_looked_at_once_it_turns_out_to_be_there() {
    let pretended = Pretended::new();
    let mut earlier = set();
    earlier["spec"]["replicas"] = json!(0);
    pretended.server().objects.insert(PATH.to_owned(), earlier);
    let asked = asked_by_apply(&pretended).await;
    assert_eq!(asked, [APPLY, LOOK, APPLY, CLAIM]);

    let mut foreign = set();
    foreign["metadata"]["labels"] = json!({});
    let pretended = Pretended::new();
    let there = foreign.clone();
    pretended.server().objects.insert(PATH.to_owned(), there);
    let refused = pretended.cluster.apply("user-a", "a", &set()).await;
    assert!(
        matches!(refused, Err(ClusterError::NotOurs { .. })),
        "{refused:?}"
    );
    assert_eq!(pretended.server().objects[PATH], foreign);
}

#[tokio::test]
async fn without_watches_an_object_is_looked_at_before_its_apply() {
    let pretended = Pretended::new();
    pretended.cluster.known.begin([VOLUME_CLAIM].into_iter());
    assert_eq!(asked_by_apply(&pretended).await, [LOOK, APPLY, CLAIM]);
}

#[tokio::test]
async fn a_cluster_that_refuses_versions_is_not_asked_again_and_again() {
    let pretended = Pretended::new();
    pretended.server().refuses_versions = true;
    let mut asked = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let mut other = set();
        other["metadata"]["name"] = json!(name);
        pretended.server().asked.clear();
        let applied = pretended.cluster.apply("user-a", "a", &other).await;
        assert_eq!(applied, Ok(Applied::Yes));
        asked.push(pretended.server().asked.len());
    }
    // With the condition, a look, without it; then no more than the last two.
    assert_eq!(asked, [3, 3, 3, 2]);
}

#[tokio::test]
async fn a_cluster_that_is_busy_is_asked_once() {
    let pretended = Pretended::new();
    pretended.server().is_busy = true;
    let applied = pretended.cluster.apply("user-a", "a", &set()).await;
    assert!(
        matches!(applied, Err(ClusterError::Unreachable(_))),
        "{applied:?}"
    );
    assert_eq!(pretended.server().asked, [APPLY]);
}

#[tokio::test]
async fn walls_come_side_by_side_once_their_namespace_and_its_quota_are_there() {
    let pretended = Pretended::new();
    let tenant = tenant();
    pretended.cluster.prepare_namespace(&tenant).await.unwrap();
    let server = pretended.server();
    let first = [
        "GET namespaces/user-a",
        "PATCH namespaces/user-a",
        "PATCH resourcequotas/dermaga",
    ];
    assert_eq!(server.asked[..3], first);
    assert_eq!(server.asked[9..], ["GET resourcequotas/dermaga"]);
    let rest = server.asked[3..9].iter();
    assert!(
        rest.clone().all(|one| one.starts_with("PATCH ")),
        "{rest:?}"
    );
    assert!(server.under_way.1 > 1, "one after another");
}

#[tokio::test]
async fn a_namespace_that_the_watch_shows_is_not_looked_for_again() {
    let pretended = Pretended::new();
    pretended.sees_namespaces();
    let mut tenant = tenant();
    pretended.cluster.prepare_namespace(&tenant).await.unwrap();
    pretended.server().asked.clear();
    tenant.instances.push("b".to_owned());
    pretended.cluster.prepare_namespace(&tenant).await.unwrap();
    assert_eq!(pretended.server().asked, ["PATCH namespaces/user-a"]);

    let intruder = Tenant {
        user_id: UserId::from_u128(1),
        ..tenant
    };
    let refused = pretended.cluster.prepare_namespace(&intruder).await;
    assert!(
        matches!(refused, Err(ClusterError::NotOurs { .. })),
        "{refused:?}"
    );
}

/// Objects that came into it until the watch shows that would go with it, and its volumes would be missed.
#[tokio::test]
async fn a_namespace_that_began_to_leave_unseen_is_waited_for() {
    let pretended = Pretended::new();
    pretended.sees_namespaces();
    let mut tenant = tenant();
    pretended.cluster.prepare_namespace(&tenant).await.unwrap();
    let path = "/api/v1/namespaces/user-a";
    pretended.server().objects.get_mut(path).unwrap()["metadata"]["deletionTimestamp"] =
        json!("2026-01-01T00:00:00Z");
    pretended.server().asked.clear();
    tenant.instances.push("b".to_owned());
    let prepared = pretended.cluster.prepare_namespace(&tenant).await;
    assert!(
        matches!(prepared, Err(ClusterError::NotYet(_))),
        "{prepared:?}"
    );
    assert_eq!(pretended.server().asked, ["PATCH namespaces/user-a"]);
}
