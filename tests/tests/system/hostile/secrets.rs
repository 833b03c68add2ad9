//! Values of generated secrets: nowhere but in their Secret object and in the answer with credentials.

use dermaga_shop::fetch_all;
use dermaga_tests::Client;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::ListParams, core::Request};
use serde_json::json;

use crate::api::provisioning::{client, kubeconfig, shop_on};

/// Kinds that a namespace of a customer has, without Secrets.
const KINDS: &[&str] = &[
    "/api/v1/{}/configmaps",
    "/api/v1/{}/pods",
    "/api/v1/{}/services",
    "/api/v1/{}/serviceaccounts",
    "/api/v1/{}/persistentvolumeclaims",
    "/api/v1/{}/events",
    "/apis/apps/v1/{}/deployments",
    "/apis/apps/v1/{}/replicasets",
    "/apis/apps/v1/{}/statefulsets",
    "/apis/networking.k8s.io/v1/{}/ingresses",
];

/// Answers in which no secret may be, for the customer.
const OF_CUSTOMER: &[&str] = &["", "/events", "/manifests", "/logs"];

async fn text(asking: &Client, path: &str) -> String {
    let answer = asking.get(path).await;
    assert!(answer.status < 500, "{path}: {}", answer.status);
    answer.text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_value_of_a_secret_is_anywhere_but_in_its_object_and_the_credentials() {
    let Some(path) = kubeconfig() else { return };
    let shop = shop_on(&path).await.unwrap();
    let (admin, cluster) = (shop.admin().await, client(&path).await);
    let customer = shop
        .customer_with_credit("rahasia@example.com", 300_000)
        .await;
    let order = json!({ "planId": shop.plan("postgresql", "basic").await });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let id = bought["instanceId"].as_str().unwrap();
    let instance = shop.instance_becomes(&customer, id, "RUNNING").await;
    let namespace = instance["namespace"].as_str().unwrap();

    let secrets: Api<Secret> = Api::namespaced(cluster.clone(), namespace);
    let secrets = secrets.list(&ListParams::default()).await.unwrap().items;
    let values = secrets.into_iter().filter_map(|secret| secret.data);
    let mut forms = Vec::new();
    for value in values.flat_map(std::collections::BTreeMap::into_values) {
        // Kubernetes' own spelling of it is Base64.
        let encoded = serde_json::to_value(&value).unwrap();
        forms.push(encoded.as_str().unwrap().trim_end_matches('=').to_owned());
        forms.push(String::from_utf8(value.0).unwrap());
    }
    assert!(forms.len() >= 2 && forms.iter().all(|form| form.len() >= 8));

    let mut searched = Vec::new();
    for kind in KINDS {
        let kind = kind.replace("{}", &format!("namespaces/{namespace}"));
        let request = Request::new(kind.as_str()).list(&ListParams::default());
        let found = cluster.request_text(request.unwrap()).await.unwrap();
        searched.push((kind, found));
    }
    for rest in OF_CUSTOMER {
        let path = format!("/api/instances/{id}{rest}");
        let found = text(&customer, &path).await;
        searched.push((path, found));
    }
    let subscription = bought["subscription"]["id"].as_str().unwrap();
    for path in [
        format!("/api/subscriptions/{subscription}"),
        "/api/instances".to_owned(),
    ] {
        let found = text(&customer, &path).await;
        searched.push((path, found));
    }
    for path in [
        format!("/api/admin/instances/{id}/events"),
        format!("/api/admin/instances/drift?namespace={namespace}"),
        format!("/api/admin/k8s/pods?namespace={namespace}"),
        format!("/api/admin/k8s/deployments?namespace={namespace}"),
        "/api/admin/decisions?limit=100".to_owned(),
        "/api/admin/alerts".to_owned(),
    ] {
        let found = text(&admin, &path).await;
        searched.push((path, found));
    }
    let credentials = format!("/api/instances/{id}/credentials");
    let shown = text(&customer, &credentials).await;
    let mut conn = shop.state().db.read().await.unwrap();
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
    ] {
        let rows = fetch_all!(conn, (String,), sql).unwrap();
        let rows: Vec<_> = rows.into_iter().map(|(text,)| text).collect();
        searched.push((table.to_owned(), rows.join("\n")));
    }
    drop(conn);
    for (place, found) in &searched {
        assert!(!found.is_empty(), "{place} was not read");
        let told = forms.iter().any(|form| found.contains(form.as_str()));
        assert!(!told, "a secret is in {place}");
    }
    let is_shown = forms.iter().any(|form| shown.contains(form.as_str()));
    assert!(is_shown, "the search finds what is there");
    customer
        .delete(&format!("/api/subscriptions/{subscription}"))
        .await
        .data(200);
    shop.instance_becomes(&customer, id, "TERMINATED").await;
}
