//! `doctor` and what settings name in a cluster, on a pretended API server, and once on a real one.

use std::path::PathBuf;

use axum::{
    Json, Router,
    body::Bytes,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use dermaga_tests::skip;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, UdpSocket};

use super::{Patient, Report};
use crate::site::free_address;

/// The only object of its kind that is there; others are not.
const THERE: &str = "pelanggan";
/// An object that the server may not read.
const FORBIDDEN: &str = "rahasia";
/// Label of the only node, as it is in a query.
const LABEL: &str = "pool%3Dpelanggan";

/// Writes a kubeconfig of an API server whose only node has so much processor, with all rights in it.
async fn pretended(folder: &TempDir, cpu: &'static str) -> PathBuf {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |method: Method, uri: Uri, body: Bytes| async move {
        answer(&method, &uri, &body, cpu)
    };
    let router: Router = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    let path = folder.path().join(format!("kubeconfig-{cpu}"));
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
        "users": [{ "name": "a", "user": { "token": "t" } }],
        "clusters": [{ "name": "a", "cluster": { "server": format!("http://{address}") } }],
    });
    std::fs::write(&path, text.to_string()).unwrap();
    path
}

fn answer(method: &Method, uri: &Uri, body: &[u8], cpu: &str) -> Response {
    if *method == Method::POST {
        let mut review: Value = serde_json::from_slice(body).unwrap();
        review["status"] = json!({ "allowed": true });
        return (StatusCode::CREATED, Json(review)).into_response();
    }
    let default = |key: &str| {
        let metadata = json!({ "name": THERE, "annotations": { key: "true" } });
        json!({ "metadata": metadata, "provisioner": "example.com/disk" })
    };
    match uri.path() {
        "/version" => Json(json!({
            "major": "1", "minor": "37", "gitVersion": "v1.37.2", "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "", "goVersion": "", "compiler": "gc", "platform": "linux/amd64",
        }))
        .into_response(),
        "/api/v1/pods" => list(&[]),
        "/api/v1/nodes" => {
            let asked = uri.query().unwrap_or_default();
            let is_meant = !asked.contains("labelSelector=") || asked.contains(LABEL);
            if is_meant { list(&[node(cpu)]) } else { list(&[]) }
        }
        "/apis/networking.k8s.io/v1/ingressclasses" => {
            list(&[default("ingressclass.kubernetes.io/is-default-class")])
        }
        "/apis/storage.k8s.io/v1/storageclasses" => {
            list(&[default("storageclass.kubernetes.io/is-default-class")])
        }
        path if path.ends_with(&format!("/{THERE}")) => {
            Json(json!({ "metadata": { "name": THERE } })).into_response()
        }
        path if path.ends_with(&format!("/{FORBIDDEN}")) => status(StatusCode::FORBIDDEN, "Forbidden"),
        _ => status(StatusCode::NOT_FOUND, "NotFound"),
    }
}

fn node(cpu: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "satu", "labels": { "pool": THERE } },
        "spec": {},
        "status": {
            "allocatable": { "cpu": cpu, "memory": "512Gi", "pods": "110" },
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

fn list(items: &[Value]) -> Response {
    let version = json!({ "resourceVersion": "1" });
    Json(json!({ "kind": "List", "apiVersion": "v1", "metadata": version, "items": items }))
        .into_response()
}

fn status(code: StatusCode, reason: &str) -> Response {
    let answer = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "no", "reason": reason, "code": code.as_u16(),
    });
    (code, Json(answer)).into_response()
}

fn has(report: &Report, part: &str, state: &str, words: &str) -> bool {
    report.findings.iter().any(|one| {
        let is_its = one["part"] == part && one["state"] == state;
        is_its && one["message"].as_str().unwrap().contains(words)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn things_that_settings_name_are_looked_for_in_the_cluster() {
    let (patient, folder) = (Patient::new().await, TempDir::new().unwrap());
    let path = pretended(&folder, "256").await;
    let cluster = [
        ("DERMAGA_PROVISIONER", "kubernetes"),
        ("KUBECONFIG", path.to_str().unwrap()),
    ];
    let good = [
        ("DERMAGA_NODE_SELECTOR", "pool=pelanggan"),
        ("DERMAGA_PRIORITY_CLASS", THERE),
        ("DERMAGA_INGRESS_ISSUER", THERE),
    ];
    let report = patient.with(&[&cluster[..], &good].concat(), &[]).await;
    let all = format!("{:#?}", report.findings);
    assert!(
        report.findings.iter().all(|one| one["state"] == "OK"),
        "{all}"
    );
    for words in [
        "1 node has the labels pool=pelanggan",
        "PriorityClass pelanggan is there",
        "ClusterIssuer pelanggan is there",
        "the nodes have room for ",
    ] {
        assert!(has(&report, "cluster", "OK", words), "{words}: {all}");
    }
    for (setting, value, words) in [
        ("DERMAGA_NODE_SELECTOR", "pool=lain", "pool=lain"),
        ("DERMAGA_PRIORITY_CLASS", "lain", "no PriorityClass lain"),
        ("DERMAGA_INGRESS_ISSUER", "lain", "no ClusterIssuer lain"),
    ] {
        let mut settings = [&cluster[..], &good].concat();
        settings.push((setting, value));
        let report = patient.with(&settings, &[]).await;
        // Without such a node there is no room either, which is a warning.
        report.blames("cluster", "FAILED", &[setting, words]);
    }
    for (setting, kind) in [
        ("DERMAGA_PRIORITY_CLASS", "PriorityClass"),
        ("DERMAGA_INGRESS_ISSUER", "ClusterIssuer"),
    ] {
        let mut settings = cluster.to_vec();
        settings.push((setting, FORBIDDEN));
        let report = patient.with(&settings, &[]).await;
        let words = format!("{kind} {FORBIDDEN} could not be looked for");
        report.blames("cluster", "WARNING", &[&words, "rbac.yaml"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_room_for_any_plan_is_told_of() {
    let (patient, folder) = (Patient::new().await, TempDir::new().unwrap());
    let path = pretended(&folder, "1m").await;
    let cluster = [
        ("DERMAGA_PROVISIONER", "kubernetes"),
        ("KUBECONFIG", path.to_str().unwrap()),
    ];
    let report = patient.with(&cluster, &[]).await;
    let words = ["no node has room", "DERMAGA_CAPACITY_HEADROOM"];
    report.blames("cluster", "WARNING", &words);
    let mut unchecked = cluster.to_vec();
    unchecked.push(("DERMAGA_CAPACITY_CHECK", "false"));
    let report = patient.with(&unchecked, &[]).await;
    let all = format!("{:#?}", report.findings);
    assert!(
        report.findings.iter().all(|one| one["state"] == "OK"),
        "{all}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_of_secrets_is_looked_for_where_a_cluster_is_named() {
    let (patient, folder) = (Patient::new().await, TempDir::new().unwrap());
    let path = pretended(&folder, "1").await;
    let path = ("KUBECONFIG", path.to_str().unwrap());
    let store = |name| ("DERMAGA_SECRET_STORE", name);
    let report = patient.with(&[store(THERE)], &[]).await;
    let words = [
        "KUBECONFIG names no cluster",
        "kubectl get clustersecretstore",
    ];
    report.blames("cluster", "SKIPPED", &words);
    let report = patient.with(&[store(THERE), path], &[]).await;
    let found = "ClusterSecretStore pelanggan is there";
    assert!(
        has(&report, "cluster", "OK", found),
        "{:#?}",
        report.findings
    );
    let report = patient.with(&[store("lain"), path], &[]).await;
    report.blames("cluster", "FAILED", &["lain", "DERMAGA_SECRET_STORE"]);
    let report = patient.with(&[store(FORBIDDEN), path], &[]).await;
    report.blames("cluster", "SKIPPED", &["was not looked for", "denies"]);
}

/// The account of a server may read what the doctor looks for: a real API server denies it before it says that
/// something is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_lets_the_doctor_look() {
    let named = |name: &str| std::env::var(name).ok();
    let of_server = named("DERMAGA_TEST_SERVER_KUBECONFIG");
    let Some(config) = of_server.or_else(|| named("DERMAGA_TEST_KUBECONFIG")) else {
        return skip("Kubernetes", "DERMAGA_TEST_KUBECONFIG names no cluster");
    };
    let patient = Patient::new().await;
    let path = ("KUBECONFIG", config.as_str());
    let absent = "no-such-thing";
    let cluster = [
        ("DERMAGA_PROVISIONER", "kubernetes"),
        path,
        ("DERMAGA_NODE_SELECTOR", "no-such=label"),
        ("DERMAGA_PRIORITY_CLASS", absent),
        ("DERMAGA_INGRESS_ISSUER", absent),
    ];
    let report = patient.with(&cluster, &[]).await;
    let all = format!("{:#?}", report.findings);
    for words in [
        "no node has the labels no-such=label",
        "there is no PriorityClass no-such-thing",
        "there is no ClusterIssuer no-such-thing",
    ] {
        assert!(has(&report, "cluster", "FAILED", words), "{words}: {all}");
    }
    let store = ("DERMAGA_SECRET_STORE", absent);
    let report = patient.with(&[store, path], &[]).await;
    let words = "there is no ClusterSecretStore no-such-thing";
    assert!(
        has(&report, "cluster", "FAILED", words),
        "{:#?}",
        report.findings
    );
}

/// Answers every question of one name server: there is no such name.
async fn name_server() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut question = [0; 512];
        loop {
            let (_, from) = socket.recv_from(&mut question).await.unwrap();
            let mut at = 12;
            while question[at] > 0 {
                at += 1 + usize::from(question[at]);
            }
            // A response to a standard query, recursion available, with the question alone: its name's end, type, class.
            let mut answer = question[..2].to_vec();
            answer.extend([0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0]);
            answer.extend(&question[12..at + 5]);
            socket.send_to(&answer, from).await.unwrap();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_server_of_domains_is_asked() {
    let patient = Patient::new().await;
    let named = name_server().await;
    let report = patient.with(&[("DERMAGA_NAME_SERVER", &named)], &[]).await;
    let answers = format!("the name server {named} answers");
    assert!(
        has(&report, "domains", "OK", &answers),
        "{:#?}",
        report.findings
    );
    let nowhere = free_address();
    let setting = ("DERMAGA_NAME_SERVER", nowhere.as_str());
    let report = patient.with(&[setting], &[]).await;
    report.blames("domains", "WARNING", &[&nowhere, "DERMAGA_NAME_SERVER"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_asked_for_rights_and_classes() {
    let of_server = std::env::var("DERMAGA_TEST_SERVER_KUBECONFIG");
    let Ok(config) = of_server.or_else(|_| std::env::var("DERMAGA_TEST_KUBECONFIG")) else {
        skip("Kubernetes", "DERMAGA_TEST_KUBECONFIG names no cluster");
        return;
    };
    let patient = Patient::new().await;
    let cluster = [
        ("DERMAGA_PROVISIONER", "kubernetes"),
        ("KUBECONFIG", config.as_str()),
        ("DERMAGA_INGRESS_CLASS", "no-such-class"),
    ];
    let report = patient.with(&cluster, &[]).await;
    report.blames(
        "cluster",
        "FAILED",
        &["no-such-class", "DERMAGA_INGRESS_CLASS"],
    );
    let has = |text: &str| {
        let mut findings = report.findings.iter();
        findings.any(|one| one["message"].as_str().unwrap().contains(text))
    };
    assert!(has("answers, Kubernetes v") && has("every right it needs"));

    let routed = [
        ("DERMAGA_PROVISIONER", "kubernetes"),
        ("KUBECONFIG", config.as_str()),
        ("DERMAGA_ENTRY", "gateway"),
        ("DERMAGA_GATEWAY_NAME", "no-such-gateway"),
        ("DERMAGA_GATEWAY_NAMESPACE", "default"),
    ];
    let report = patient.with(&routed, &[]).await;
    report.blames(
        "cluster",
        "FAILED",
        &["default/no-such-gateway", "DERMAGA_GATEWAY_NAME"],
    );
}
