//! Values of secrets, generated or given by their customer: nowhere but in their Secret object and, where they are
//! for the customer, in the answer with credentials.

use std::collections::{BTreeMap, BTreeSet};

use dermaga_shop::fetch_all;
use dermaga_tests::{Client, Shop, checkout};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::ListParams, core::Request};
use serde_json::{Value, json};

use crate::api::provisioning::{client, kubeconfig, shop_on};

/// Kinds that a namespace of a customer has, without Secrets.
const KINDS: &[&str] = &[
    "/api/v1/{}/configmaps",
    "/api/v1/{}/pods",
    "/api/v1/{}/services",
    "/api/v1/{}/serviceaccounts",
    "/api/v1/{}/persistentvolumeclaims",
    "/api/v1/{}/events",
    "/apis/apps/v1/{}/controllerrevisions",
    "/apis/apps/v1/{}/deployments",
    "/apis/apps/v1/{}/replicasets",
    "/apis/apps/v1/{}/statefulsets",
    "/apis/networking.k8s.io/v1/{}/ingresses",
    "/apis/networking.k8s.io/v1/{}/networkpolicies",
    "/apis/policy/v1/{}/poddisruptionbudgets",
];

/// Answers about an instance in which no secret may be, for the customer.
const OF_CUSTOMER: &[&str] = &["", "/events", "/manifests", "/logs"];

/// Services of all templates.
const SERVICES: [&str; 6] = [
    "ghost",
    "n8n",
    "postgresql",
    "uptime-kuma",
    "valkey",
    "wordpress",
];

/// A place that was searched, and the text that it holds.
type Searched = (String, String);

/// An instance with the ids that its routes need.
struct Bought {
    service: &'static str,
    id: String,
    subscription: String,
    namespace: String,
}

fn mail_password(service: &str) -> String {
    format!("sandi-surel-{service}-4711")
}

/// Returns true for a service that sends mail by a server of its customer.
fn sends_mail(service: &str) -> bool {
    ["ghost", "n8n", "wordpress"].contains(&service)
}

/// Returns the configuration of a service, with the customer's own mail server where it takes one.
fn configuration(service: &str) -> Value {
    let (host, user, from) = ("mail.example", "surat", "surat@example.com");
    let password = mail_password(service);
    match service {
        "wordpress" => json!({
            "mail_host": host, "mail_port": 465, "mail_user": user, "mail_password": password, "mail_from": from,
        }),
        _ if sends_mail(service) => json!({ "mail": {
            "host": host, "port": 465, "user": user, "password": password, "from": from,
        } }),
        _ => json!({}),
    }
}

async fn buy(shop: &Shop, customer: &Client, service: &'static str) -> Bought {
    let plan = shop.plan(service, "basic").await;
    let order = json!({ "planId": plan, "config": configuration(service) });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let id = text(&bought["instanceId"]);
    let instance = shop.instance_becomes(customer, &id, "RUNNING").await;
    Bought {
        service,
        id,
        subscription: text(&bought["subscription"]["id"]),
        namespace: text(&instance["namespace"]),
    }
}

/// Returns the values of all Secrets of a namespace, plain and in Base64.
async fn forms_of_secrets(cluster: &kube::Client, namespace: &str) -> Vec<String> {
    let secrets: Api<Secret> = Api::namespaced(cluster.clone(), namespace);
    let secrets = secrets.list(&ListParams::default()).await.unwrap().items;
    let values = secrets.into_iter().filter_map(|secret| secret.data);
    let mut forms = Vec::new();
    for value in values.flat_map(BTreeMap::into_values) {
        // Kubernetes' own spelling of it is Base64.
        let encoded = serde_json::to_value(&value).unwrap();
        forms.push(encoded.as_str().unwrap().trim_end_matches('=').to_owned());
        forms.push(String::from_utf8(value.0).unwrap());
    }
    forms
}

async fn text(asking: &Client, path: &str) -> String {
    let answer = asking.get(path).await;
    assert!(answer.status < 500, "{path}: {}", answer.status);
    answer.text
}

async fn in_cluster(cluster: &kube::Client, namespace: &str) -> Vec<Searched> {
    let mut searched = Vec::new();
    for kind in KINDS {
        let kind = kind.replace("{}", &format!("namespaces/{namespace}"));
        let request = Request::new(kind.as_str()).list(&ListParams::default());
        let found = cluster.request_text(request.unwrap()).await.unwrap();
        searched.push((kind, found));
    }
    searched
}

async fn in_answers(customer: &Client, admin: &Client, bought: &Bought) -> Vec<Searched> {
    let Bought {
        id,
        subscription,
        namespace,
        ..
    } = bought;
    let mut own = vec![
        format!("/api/subscriptions/{subscription}"),
        "/api/subscriptions".to_owned(),
        "/api/instances".to_owned(),
    ];
    own.extend(
        OF_CUSTOMER
            .iter()
            .map(|rest| format!("/api/instances/{id}{rest}")),
    );
    let of_admin = [
        format!("/api/admin/instances/{id}/events"),
        format!("/api/admin/instances/drift?namespace={namespace}"),
        format!("/api/admin/k8s/pods?namespace={namespace}"),
        format!("/api/admin/k8s/deployments?namespace={namespace}"),
        "/api/admin/decisions?limit=100".to_owned(),
        "/api/admin/alerts".to_owned(),
    ];
    let mut searched = Vec::new();
    for path in own {
        let found = text(customer, &path).await;
        searched.push((path, found));
    }
    for path in of_admin {
        let found = text(admin, &path).await;
        searched.push((path, found));
    }
    searched
}

async fn in_tables(shop: &Shop) -> Vec<Searched> {
    let mut conn = shop.state().db.read().await.unwrap();
    let mut searched = Vec::new();
    for (table, sql) in [
        (
            "audit",
            "SELECT CAST(details AS TEXT) || coalesce(reason, '') FROM audit_events",
        ),
        (
            "decisions",
            "SELECT input || coalesce(output, '') || logs FROM decisions",
        ),
        ("events", "SELECT message FROM instance_events"),
        (
            "configurations",
            "SELECT CAST(config AS TEXT) FROM instances",
        ),
    ] {
        let rows = fetch_all!(conn, (String,), sql).unwrap();
        let rows: Vec<_> = rows.into_iter().map(|(text,)| text).collect();
        searched.push((table.to_owned(), rows.join("\n")));
    }
    searched
}

#[test]
fn every_shipped_service_is_searched() {
    let files = std::fs::read_dir(checkout().join("service-templates")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let templates = paths.filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let names = templates.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    let names: BTreeSet<String> = names.collect();
    assert!(names.iter().eq(SERVICES), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_a_secret_is_anywhere_but_in_its_object_and_the_credentials() {
    let Some(path) = kubeconfig() else { return };
    let shop = shop_on(&path).await.unwrap();
    let (admin, cluster) = (shop.admin().await, client(&path).await);
    let customer = shop
        .customer_with_credit("rahasia@example.com", 500_000)
        .await;
    let mut all = Vec::new();
    for service in SERVICES {
        all.push(buy(&shop, &customer, service).await);
    }
    let namespace = &all[0].namespace;
    let forms = forms_of_secrets(&cluster, namespace).await;
    assert!(forms.len() >= 2 && forms.iter().all(|form| form.len() >= 8));

    let mut searched = in_cluster(&cluster, namespace).await;
    let mut shown = BTreeMap::new();
    for bought in &all {
        searched.extend(in_answers(&customer, &admin, bought).await);
        let path = format!("/api/instances/{}/credentials", bought.id);
        shown.insert(bought.service, text(&customer, &path).await);
    }
    searched.extend(in_tables(&shop).await);
    for (place, found) in &searched {
        assert!(!found.is_empty(), "{place} was not read");
        let told = forms.iter().any(|form| found.contains(form.as_str()));
        assert!(!told, "a secret is in {place}");
    }
    for service in SERVICES.into_iter().filter(|service| sends_mail(service)) {
        let password = mail_password(service);
        assert!(forms.contains(&password), "{service} has no mail password");
        assert!(!shown[service].contains(&password), "{service} shows it");
    }
    let of_database = &shown["postgresql"];
    let is_shown = forms.iter().any(|form| of_database.contains(form.as_str()));
    assert!(is_shown, "the search finds what is there");
    for bought in &all {
        let path = format!("/api/subscriptions/{}", bought.subscription);
        customer.delete(&path).await.data(200);
    }
    for bought in &all {
        shop.instance_becomes(&customer, &bought.id, "TERMINATED")
            .await;
    }
}
