//! Changes that work and changes that do not: proven by the conditions of their workloads, or undone.
//! With a disposable cluster that `DERMAGA_TEST_KUBECONFIG` names, where they need one.

use chrono::TimeDelta;
use dermaga_runtime::contract;
use k8s_openapi::api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    model::{Cause, Desired, Instance, Status},
    recipe::{ChangeKind, Recipe},
    test_service::objects,
    test_shop::{GOOD_IMAGE, Server, Shop, in_cluster},
};
use crate::{execute, fetch_one, test_cluster::named_by};

/// A shop whose server works on the test cluster, with an image that cannot be fetched besides.
async fn shop(render: fn(&contract::Instance) -> Vec<Value>) -> Option<(Shop, Client)> {
    let kubeconfig = named_by("DERMAGA_TEST_KUBECONFIG")?;
    let (_, client) = in_cluster(&kubeconfig).await;
    let shop = Shop::open(GOOD_IMAGE).await;
    let mut conn = shop.db.begin().await.unwrap();
    let images = json!({"app": GOOD_IMAGE, "bad": "docker.io/library/does-not-exist:1.0"});
    let sql = "UPDATE services SET images = $1";
    execute!(conn, sql, images.to_string()).unwrap();
    let end = shop.clock.now() + TimeDelta::days(30);
    let sql = "UPDATE subscriptions SET period_end = $1";
    execute!(conn, sql, end).unwrap();
    conn.commit().await.unwrap();
    shop.services.script().render = Some(render);
    Some((shop, client))
}

async fn serve(shop: &Shop) -> Server {
    let kubeconfig = named_by("DERMAGA_TEST_KUBECONFIG").unwrap();
    shop.server(in_cluster(&kubeconfig).await.0)
}

/// Buys an instance that is paid for a month, and waits until it runs.
async fn bought(shop: &Shop, server: &Server) -> Instance {
    let instance = shop.buy().await;
    let mut conn = shop.db.begin().await.unwrap();
    let sql = "UPDATE subscriptions SET period_end = $1";
    let end = shop.clock.now() + TimeDelta::days(30);
    execute!(conn, sql, end).unwrap();
    conn.commit().await.unwrap();
    server.handle.wake();
    shop.until(&instance, |now| now.good_digest.is_some()).await
}

/// Changes the configuration of an instance, as its owner does.
async fn configure(shop: &Shop, server: &Server, instance: &Instance, config: Value) {
    let seen = shop.now(instance).await;
    let recipe = Recipe {
        config,
        ..Recipe::of(&seen)
    };
    let mut conn = shop.db.begin().await.unwrap();
    shop.change(&mut conn, &seen, recipe).await;
    conn.commit().await.unwrap();
    server.handle.wake();
}

async fn priced_by(shop: &Shop, instance: &Instance) -> Value {
    let sql = "SELECT config FROM subscriptions WHERE id = $1";
    let mut conn = shop.db.read().await.unwrap();
    let (config,) = fetch_one!(conn, (String,), sql, instance.subscription_id).unwrap();
    serde_json::from_str(&config).unwrap()
}

async fn leave(shop: Shop, server: Server, instance: &Instance) {
    shop.cancel(instance).await;
    server.handle.wake();
    shop.is(instance, Status::Terminated).await;
    server.stop().await;
}

/// Runs the image that cannot be fetched where the configuration says so, and tells its greeting.
fn by_config(instance: &contract::Instance) -> Vec<Value> {
    let mut objects = objects(instance);
    let pod = &mut objects[2]["spec"]["template"];
    if instance.config["bad"] == true {
        pod["spec"]["containers"][0]["image"] = json!("docker.io/library/does-not-exist:1.0");
    }
    let greeting = instance.config["greeting"].as_str().unwrap_or("hello");
    pod["metadata"]["annotations"] = json!({ "greeting": greeting });
    objects
}

const UNDONE: &str =
    "SELECT count(*) FROM instance_events WHERE message LIKE 'The new configuration could not%'";

#[tokio::test]
async fn a_configuration_whose_pods_do_not_start_is_undone_once() {
    let Some((shop, client)) = shop(by_config).await else {
        return;
    };
    let server = serve(&shop).await;
    let instance = bought(&shop, &server).await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client, &instance.namespace);
    let claim = async || {
        let live = claims
            .get(&format!("{}-data", instance.name))
            .await
            .unwrap();
        live.metadata.uid.unwrap()
    };
    let volume = claim().await;
    configure(&shop, &server, &instance, json!({"bad": true})).await;
    let stuck = shop
        .until(&instance, |now| now.message.contains("cannot be fetched"))
        .await;
    assert!(stuck.unproven_generation.is_some() && stuck.rollout_since.is_some());
    assert_eq!(priced_by(&shop, &instance).await, json!({"bad": true}));
    shop.clock.advance(TimeDelta::minutes(9));
    server.handle.wake();
    shop.until(&instance, |now| now.next_attempt_at > shop.clock.now())
        .await;
    assert_eq!(shop.count(UNDONE).await, 0, "its time is not over");

    shop.clock.advance(TimeDelta::minutes(2));
    server.handle.wake();
    let back = shop
        .until(&instance, |now| {
            now.undone.is_some() && now.status == Status::Running
        })
        .await;
    assert_eq!(
        (&back.config.0, back.unproven_generation),
        (&json!({}), None)
    );
    assert_eq!(back.failures, 0);
    let undone = back.undone.unwrap().0;
    assert_eq!(undone.change, ChangeKind::Configuration);
    assert!(
        undone.reason.contains("within 10 minutes") && undone.reason.contains("cannot be fetched"),
        "{}",
        undone.reason
    );
    assert_eq!(priced_by(&shop, &instance).await, json!({}));
    assert_eq!(claim().await, volume);
    let alert = shop.alert(&instance).await;
    assert!(alert.contains("(CONFIGURATION) was undone"), "{alert}");
    assert_eq!(shop.count(UNDONE).await, 1);

    configure(&shop, &server, &instance, json!({"greeting": "hai"})).await;
    let proven = shop
        .until(&instance, |now| {
            now.generation == now.observed_generation && now.unproven_generation.is_none()
        })
        .await;
    assert_eq!(proven.good_config.unwrap().0, json!({"greeting": "hai"}));
    assert!(proven.undone.is_none());
    assert_eq!(shop.alert(&instance).await, "");
    leave(shop, server, &instance).await;
}

/// While the cluster is away or the instance is stopped, the time of a change does not run.
#[tokio::test]
async fn the_time_of_a_change_does_not_run_while_it_is_stopped() {
    let Some((shop, _)) = shop(by_config).await else {
        return;
    };
    let server = serve(&shop).await;
    let instance = bought(&shop, &server).await;
    configure(&shop, &server, &instance, json!({"bad": true})).await;
    shop.until(&instance, |now| now.rollout_since.is_some())
        .await;
    shop.set_desired(&instance, Desired::Stopped).await;
    server.handle.wake();
    let stopped = shop.is(&instance, Status::Stopped).await;
    assert!(stopped.unproven_generation.is_some() && stopped.rollout_since.is_none());
    shop.clock.advance(TimeDelta::hours(2));
    shop.set_desired(&instance, Desired::Running).await;
    server.handle.wake();
    shop.until(&instance, |now| now.rollout_since.is_some())
        .await;
    assert_eq!(shop.count(UNDONE).await, 0);
    leave(shop, server, &instance).await;
}

#[tokio::test]
async fn a_refused_configuration_is_undone_with_its_price() {
    let shop = Shop::open(GOOD_IMAGE).await;
    let server = shop.server(shop.in_folder());
    let instance = bought(&shop, &server).await;
    shop.services.script().problem = Some("No more.".to_owned());
    configure(&shop, &server, &instance, json!({"greeting": "hai"})).await;
    shop.is(&instance, Status::Failed).await;
    assert_eq!(
        priced_by(&shop, &instance).await,
        json!({"greeting": "hai"})
    );
    // The manifests that worked are applied as they were recorded, whatever the plugin says now.
    shop.clock.advance(TimeDelta::minutes(1));
    server.handle.wake();
    let back = shop
        .until(&instance, |now| {
            now.undone.is_some() && now.status == Status::Written
        })
        .await;
    assert_eq!(back.config.0, json!({}));
    assert_eq!(priced_by(&shop, &instance).await, json!({}));
    assert_eq!(shop.count(UNDONE).await, 1);
    leave(shop, server, &instance).await;
}

/// Its size is its plan's.
fn by_plan(instance: &contract::Instance) -> Vec<Value> {
    let mut objects = objects(instance);
    let size = format!("{}Gi", instance.plan.resources.storage_gib);
    objects[1]["spec"]["resources"]["requests"]["storage"] = json!(size);
    objects
}

/// The same with a StatefulSet, whose pods have claims of their own.
fn stateful_by_plan(instance: &contract::Instance) -> Vec<Value> {
    stateful(by_plan(instance), &instance.name)
}

/// Its replicas are those of its configuration, each with a claim of its own.
fn stateful_by_config(instance: &contract::Instance) -> Vec<Value> {
    let mut objects = objects(instance);
    let replicas = instance.config["replicas"].as_u64();
    objects[2]["spec"]["replicas"] = json!(replicas.unwrap_or(1));
    stateful(objects, &instance.name)
}

/// Puts a StatefulSet in the place of the Deployment and its claim.
fn stateful(mut objects: Vec<Value>, name: &str) -> Vec<Value> {
    let template = json!({
        "metadata": {"name": "data"},
        "spec": objects[1]["spec"].clone(),
    });
    let mut set = objects[2].clone();
    set["kind"] = json!("StatefulSet");
    let spec = set["spec"].as_object_mut().unwrap();
    spec.remove("strategy");
    spec.insert("serviceName".to_owned(), json!(name));
    spec.insert("volumeClaimTemplates".to_owned(), json!([template]));
    spec["template"]["spec"]
        .as_object_mut()
        .unwrap()
        .remove("volumes");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": set["spec"]["selector"]["matchLabels"], "ports": [{"name": "app", "port": 8080}]},
    });
    vec![objects.swap_remove(0), service, set]
}

/// A storage class of its own, which lets volumes grow or not.
async fn class(client: &Client, grows: bool) -> String {
    let name = format!("kelas-{}", uuid::Uuid::new_v4().simple());
    let class: StorageClass = serde_json::from_value(json!({
        "metadata": {"name": name}, "provisioner": "kubernetes.io/host-path", "allowVolumeExpansion": grows,
    }))
    .unwrap();
    let classes: Api<StorageClass> = Api::all(client.clone());
    classes
        .create(&PostParams::default(), &class)
        .await
        .unwrap();
    name
}

async fn remove_class(client: Client, name: &str) {
    let classes: Api<StorageClass> = Api::all(client);
    classes
        .delete(name, &DeleteParams::default())
        .await
        .unwrap();
}

/// Doubles the storage of the plan, as an upgrade does.
async fn double(shop: &Shop, instance: &Instance) {
    let mut conn = shop.db.begin().await.unwrap();
    let sql = "UPDATE service_plans SET storage_gib = storage_gib * 2";
    execute!(conn, sql).unwrap();
    conn.commit().await.unwrap();
    shop.upgrade(instance).await;
}

#[tokio::test]
async fn volumes_grow_with_the_plan() {
    for (render, claim) in [
        (by_plan as fn(&contract::Instance) -> Vec<Value>, "{}-data"),
        (stateful_by_plan, "data-{}-0"),
    ] {
        let Some((mut shop, client)) = shop(render).await else {
            return;
        };
        let name = class(&client, true).await;
        shop.classes.storage = Some(name.clone());
        let server = serve(&shop).await;
        let instance = bought(&shop, &server).await;
        let claims: Api<PersistentVolumeClaim> =
            Api::namespaced(client.clone(), &instance.namespace);
        let claim = claim.replace("{}", &instance.name);
        let capacity = async || {
            let live = claims.get(&claim).await.unwrap();
            let status = live.status.and_then(|status| status.capacity);
            status
                .and_then(|mut sizes| sizes.remove("storage"))
                .map(|size| size.0)
        };
        let before = capacity().await;
        let hold = json!({"metadata": {"annotations": {"lab.test/no-growth": "true"}}});
        let params = PatchParams::default();
        claims
            .patch(&claim, &params, &Patch::Merge(&hold))
            .await
            .unwrap();

        double(&shop, &instance).await;
        server.handle.wake();
        let waiting = shop
            .until(&instance, |now| now.message.contains("growing"))
            .await;
        assert!(waiting.unproven_generation.is_some());
        let free = json!({"metadata": {"annotations": {"lab.test/no-growth": null}}});
        claims
            .patch(&claim, &params, &Patch::Merge(&free))
            .await
            .unwrap();
        shop.until(&instance, |now| now.unproven_generation.is_none())
            .await;
        let after = capacity().await;
        assert_ne!(after, before, "{after:?}");
        leave(shop, server, &instance).await;
        remove_class(client, &name).await;
    }
}

#[tokio::test]
async fn a_class_that_does_not_let_volumes_grow_is_known_before() {
    for (render, grows) in [
        (by_plan as fn(&contract::Instance) -> Vec<Value>, false),
        (stateful_by_plan, false),
        (by_plan, true),
    ] {
        let Some((mut shop, client)) = shop(render).await else {
            return;
        };
        let name = class(&client, grows).await;
        shop.classes.storage = Some(name.clone());
        let server = serve(&shop).await;
        let instance = bought(&shop, &server).await;
        let cluster = server.handle.cluster().unwrap();
        let larger = shop.rendered(&instance, 4).await;
        let refused = cluster
            .cannot_grow(&instance.namespace, &larger)
            .await
            .unwrap();
        assert_eq!(refused.is_some(), !grows, "{refused:?}");
        let same = shop.rendered(&instance, 1).await;
        assert_eq!(
            cluster
                .cannot_grow(&instance.namespace, &same)
                .await
                .unwrap(),
            None
        );
        leave(shop, server, &instance).await;
        remove_class(client, &name).await;
    }
}

/// Waits until a change is proven, and as many claims with a volume are known.
async fn scaled(shop: &Shop, instance: &Instance, claims: usize) -> Instance {
    shop.until(instance, |now| {
        now.unproven_generation.is_none()
            && now.generation == now.observed_generation
            && now.claims.len() == claims
            && now.claims.iter().all(|claim| claim.volume.is_some())
    })
    .await
}

/// Claims of added replicas are watched as the first one is, and those of replicas that were taken
/// away are forgotten once they are removed.
#[tokio::test]
async fn claims_follow_the_replicas() {
    let Some((shop, client)) = shop(stateful_by_config).await else {
        return;
    };
    let mut conn = shop.db.begin().await.unwrap();
    let sql = "UPDATE service_plans SET replicas = 2, storage_gib = 2";
    execute!(conn, sql).unwrap();
    conn.commit().await.unwrap();
    let server = serve(&shop).await;
    let instance = bought(&shop, &server).await;
    let first = scaled(&shop, &instance, 1).await.claims.0;

    configure(&shop, &server, &instance, json!({"replicas": 2})).await;
    let both = scaled(&shop, &instance, 2).await.claims.0;
    assert_eq!(both.first(), first.first());
    configure(&shop, &server, &instance, json!({"replicas": 1})).await;
    let kept = scaled(&shop, &instance, 2).await.claims.0;
    assert_eq!(kept, both, "the cluster keeps the claim of the second");

    // Its pod is gone before its claim can be.
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client, &instance.namespace);
    let second = format!("data-{}-1", instance.name);
    let params = DeleteParams::default();
    claims.delete(&second, &params).await.unwrap();
    let forgotten = shop.until(&instance, |now| now.claims.len() == 1).await;
    assert_eq!(forgotten.claims.0, first);
    assert_eq!(forgotten.status, Status::Running, "{}", forgotten.message);

    configure(&shop, &server, &instance, json!({"replicas": 2})).await;
    let other = scaled(&shop, &instance, 2).await.claims.0;
    assert_ne!(other.last(), both.last());
    let failed = "SELECT count(*) FROM instance_events WHERE kind = 'FAILED'";
    assert_eq!(shop.count(failed).await, 0);
    assert_eq!(shop.alert(&instance).await, "");

    claims.delete(&second, &params).await.unwrap();
    let lost = shop
        .until(&instance, |now| now.failure_cause == Some(Cause::DataLost))
        .await;
    assert_eq!(lost.status, Status::Failed);
    leave(shop, server, &instance).await;
}
