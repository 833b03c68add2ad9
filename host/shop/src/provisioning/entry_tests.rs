//! Routes of a Gateway on a real cluster, where `DERMAGA_TEST_KUBECONFIG` names a disposable one.

use std::time::Duration;

use dermaga_runtime::{contract, gate::INSTANCE_LABEL};
use k8s_openapi::{
    api::networking::v1::Ingress,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Desired, Entry, EntryChoice, Gateway, Instance, Status,
    test_service::objects,
    test_shop::{GOOD_IMAGE, Shop, in_cluster},
};
use crate::{cluster::Scope, db::Part, test_cluster::named_by};

const GROUP: &str = "gateway.networking.k8s.io";

/// The part of the kind HTTPRoute that routes of instances have. A field besides these is refused.
fn definition() -> CustomResourceDefinition {
    let text = json!({"type": "string"});
    let list = |items: Value| json!({"type": "array", "items": items});
    let object = |required: &[&str], fields: Value| json!({"type": "object", "required": required, "properties": fields});
    let parent = object(
        &["name"],
        json!({"group": text, "kind": text, "namespace": text, "name": text, "sectionName": text}),
    );
    let path = json!({"type": {"type": "string", "enum": ["Exact", "PathPrefix"]}, "value": text});
    let backend = json!({"name": text, "port": {"type": "integer", "minimum": 1}});
    let rule = json!({
        "matches": list(object(&["path"], json!({"path": object(&["type", "value"], path)}))),
        "backendRefs": list(object(&["name", "port"], backend)),
        "timeouts": object(&["request"], json!({"request": {"type": "string", "pattern": "^[0-9]{1,5}s$"}})),
    });
    let spec = object(
        &["parentRefs", "hostnames", "rules"],
        json!({
            "parentRefs": list(parent),
            "hostnames": list(text),
            "rules": list(object(&["matches", "backendRefs"], rule)),
        }),
    );
    let schema = json!({"openAPIV3Schema": object(&["spec"], json!({"spec": spec}))});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("httproutes.{GROUP}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, a part of it for tests"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "plural": "httproutes", "singular": "httproute",
                "kind": "HTTPRoute", "listKind": "HTTPRouteList",
            },
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    });
    serde_json::from_value(definition).unwrap()
}

/// Makes the cluster serve routes, if it does not by itself.
async fn serve_routes(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = format!("httproutes.{GROUP}");
    if definitions.get_opt(&name).await.unwrap().is_none() {
        let (params, definition) = (PostParams::default(), definition());
        let created = definitions.create(&params, &definition);
        created.await.unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_served(client).await {
        assert!(Instant::now() < deadline, "routes are not served");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn is_served(client: &Client) -> bool {
    let groups = client.list_api_groups().await.unwrap();
    let has_group = groups.groups.iter().any(|group| group.name == GROUP);
    let version = format!("{GROUP}/v1");
    let kinds = client.list_api_group_resources(&version).await;
    let has_kind =
        kinds.is_ok_and(|kinds| kinds.resources.iter().any(|one| one.kind == "HTTPRoute"));
    has_group && has_kind
}

/// A service with a public host name.
pub(super) fn public(instance: &contract::Instance) -> Vec<Value> {
    let name = &instance.name;
    let mut all = objects(instance);
    all.push(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {
            "selector": {"app.kubernetes.io/name": name},
            "ports": [{"name": "http", "port": 8080}],
        },
    }));
    let backend = json!({"service": {"name": name, "port": {"name": "http"}}});
    all.push(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
        "spec": {"rules": [{
            "host": instance.hostname,
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
        }]},
    }));
    all
}

fn by_gateway() -> Entry {
    Entry {
        choice: EntryChoice::Gateway,
        gateway: Gateway {
            name: "gerbang".to_owned(),
            namespace: "pintu-masuk".to_owned(),
            section: Some("https".to_owned()),
            ..Gateway::default()
        },
        timeout: Some(Duration::from_secs(600)),
        ..Entry::default()
    }
}

fn routes_of(client: &Client, instance: &Instance) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(GROUP, "v1", "HTTPRoute");
    let resource = ApiResource::from_gvk_with_plural(&kind, "httproutes");
    Api::namespaced_with(client.clone(), &instance.namespace, &resource)
}

/// Waits until a route is there again after `gone`.
async fn comes_back(routes: &Api<DynamicObject>, name: &str, gone: &DynamicObject) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let live = routes.get_opt(name).await.unwrap();
        if live.is_some_and(|live| live.metadata.uid != gone.metadata.uid) {
            return;
        }
        assert!(Instant::now() < deadline, "the route did not come back");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_route_leads_to_an_instance_in_the_place_of_its_ingress() {
    let Some(kubeconfig) = named_by("DERMAGA_TEST_KUBECONFIG") else {
        return;
    };
    let (provisioner, client) = in_cluster(&kubeconfig).await;
    serve_routes(&client).await;
    let mut shop = Shop::open(GOOD_IMAGE).await;
    shop.services.script().render = Some(public);
    shop.classes.entry = by_gateway();
    let server = shop.server(provisioner);
    let instance = shop.buy().await;
    server.handle.wake();
    shop.is(&instance, Status::Running).await;

    let routes = routes_of(&client, &instance);
    let ingresses: Api<Ingress> = Api::namespaced(client.clone(), &instance.namespace);
    let route = routes.get(&instance.name).await.unwrap();
    let spec = &route.data["spec"];
    assert_eq!(spec["hostnames"], json!([instance.hostname]));
    assert_eq!(spec["parentRefs"][0]["name"], "gerbang");
    assert_eq!(spec["parentRefs"][0]["namespace"], "pintu-masuk");
    assert_eq!(spec["parentRefs"][0]["sectionName"], "https");
    assert_eq!(spec["rules"][0]["backendRefs"][0]["port"], 8080);
    assert_eq!(spec["rules"][0]["timeouts"]["request"], "600s");
    let labels = route.metadata.labels.clone().unwrap();
    assert_eq!(labels[INSTANCE_LABEL], instance.name);
    assert!(ingresses.get_opt(&instance.name).await.unwrap().is_none());
    let cluster = server.handle.cluster().unwrap();
    let scope = Scope::of_namespace(&instance.namespace);
    let (offset, limit) = (0, 10);
    let entry = by_gateway();
    let listed = entry.ways_in(cluster, &scope, Part { offset, limit });
    let listed = listed.await.unwrap();
    assert_eq!(listed.total, 1);
    assert_eq!(listed.items[0].class.as_deref(), Some("gerbang"));
    assert_eq!(listed.items[0].paths[0].port.as_deref(), Some("8080"));

    // By now nothing is under way that would look at it anyway.
    sleep(Duration::from_secs(2)).await;
    let params = DeleteParams::default();
    routes.delete(&instance.name, &params).await.unwrap();
    comes_back(&routes, &instance.name, &route).await;
    server.stop().await;

    // Another decision reaches an instance that is there, and the other way in is taken away.
    shop.classes.entry = Entry::default();
    let (provisioner, _) = in_cluster(&kubeconfig).await;
    let server = shop.server(provisioner);
    shop.set_desired(&instance, Desired::Running).await;
    server.handle.wake();
    shop.until(&instance, |now| now.observed_generation == 2)
        .await;
    assert!(ingresses.get_opt(&instance.name).await.unwrap().is_some());
    assert!(routes.get_opt(&instance.name).await.unwrap().is_none());
    server.stop().await;

    shop.classes.entry = by_gateway();
    let (provisioner, _) = in_cluster(&kubeconfig).await;
    let server = shop.server(provisioner);
    shop.set_desired(&instance, Desired::Running).await;
    server.handle.wake();
    shop.until(&instance, |now| now.observed_generation == 3)
        .await;
    assert!(routes.get_opt(&instance.name).await.unwrap().is_some());
    shop.cancel(&instance).await;
    server.handle.wake();
    shop.is(&instance, Status::Terminated).await;
    let left = routes.get_opt(&instance.name).await.unwrap();
    assert!(left.is_none());
    server.stop().await;
}

/// A folder holds the same objects as a cluster.
#[tokio::test]
async fn a_folder_has_the_route_and_no_ingress() {
    let mut shop = Shop::open(GOOD_IMAGE).await;
    shop.services.script().render = Some(public);
    shop.classes.entry = by_gateway();
    let server = shop.server(shop.in_folder());
    let instance = shop.buy().await;
    server.handle.wake();
    shop.is(&instance, Status::Written).await;
    let folder = shop.files().join(&instance.namespace).join(&instance.name);
    let names = std::fs::read_dir(folder).unwrap().map(|entry| {
        let name = entry.unwrap().file_name();
        name.to_string_lossy().into_owned()
    });
    let names: Vec<_> = names.collect();
    assert!(
        names.iter().any(|name| name.contains("-httproute-")),
        "{names:?}"
    );
    assert!(
        !names.iter().any(|name| name.contains("-ingress-")),
        "{names:?}"
    );
    server.stop().await;
}
