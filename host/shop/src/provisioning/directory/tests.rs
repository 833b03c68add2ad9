//! Manifests in a folder: the files, and passes that are cut off.

use std::os::unix::fs::MetadataExt as _;

use dermaga_runtime::contract::Resources;

use super::*;
use crate::{cluster::PodSecurity, ids::UserId};

fn tenant() -> Tenant {
    Tenant {
        namespace: "user-a".to_owned(),
        user_id: UserId::MIN,
        instances: vec!["n8n-a".to_owned()],
        budget: Resources {
            cpu_millis: 500,
            memory_mib: 512,
            storage_gib: 1,
            replicas: 1,
        },
        surge: Resources::default(),
        pod_security: PodSecurity::Restricted,
        ingress_namespace: "ingress-nginx".to_owned(),
    }
}

fn object(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": {"key": "c2VjcmV0"}})
}

fn write(directory: &Directory, objects: &[Value]) -> Result<PathBuf, DirectoryError> {
    directory.write(&tenant(), "n8n-a", objects, &CancellationToken::new())
}

fn remove(directory: &Directory, is_last: bool) {
    let cut_off = CancellationToken::new();
    let removed = directory.remove("user-a", "n8n-a", is_last, &cut_off);
    removed.unwrap();
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_claim_is_never_written_smaller() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path().to_owned(), None);
    let claim = |size: &str| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {"resources": {"requests": {"storage": size}}},
        })
    };
    for (written, expected) in [("1Gi", "1Gi"), ("5Gi", "5Gi"), ("1Gi", "5Gi")] {
        let folder = write(&directory, &[claim(written)]);
        let path = folder.unwrap().join("00-persistentvolumeclaim-data.yaml");
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("storage: {expected}")), "{text}");
    }
}

#[test]
fn files_follow_what_is_rendered_and_go_with_the_instance() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path().to_owned(), None);
    let first = [
        object("Secret", "n8n-a-secrets"),
        object("ConfigMap", "n8n-a"),
        object("Service", "n8n-a"),
    ];
    let folder = write(&directory, &first).unwrap();
    assert_eq!(
        files(&folder),
        [
            "00-secret-n8n-a-secrets.yaml",
            "01-configmap-n8n-a.yaml",
            "02-service-n8n-a.yaml"
        ]
    );
    write(&directory, &first[..2]).unwrap();
    assert_eq!(
        files(&folder),
        ["00-secret-n8n-a-secrets.yaml", "01-configmap-n8n-a.yaml"]
    );
    remove(&directory, false);
    assert!(
        !folder.exists()
            && folder
                .parent()
                .unwrap()
                .join("00-namespace-user-a.yaml")
                .exists()
    );
    remove(&directory, true);
    remove(&directory, true);
    assert!(files(root.path()).is_empty());
}

#[test]
fn a_secret_is_named_but_never_written() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path().to_owned(), None);
    let folder = write(&directory, &[object("Secret", "n8n-a-secrets")]).unwrap();
    let text = fs::read_to_string(folder.join("00-secret-n8n-a-secrets.yaml")).unwrap();
    assert!(
        text.contains("keys: key") && !text.contains("c2VjcmV0"),
        "{text}"
    );
    let parsed: Value = serde_norway::from_str(&text).unwrap();
    assert_eq!(parsed, Value::Null);
}

#[test]
fn with_a_store_the_secret_is_made_from_it() {
    let root = tempfile::tempdir().unwrap();
    let by_hand = Directory::new(root.path().to_owned(), None);
    let from_store = Directory::new(root.path().to_owned(), Some("vault".to_owned()));
    let mut empty = object("Secret", "n8n-a-more");
    empty["data"] = json!({});
    let objects = [
        object("Secret", "n8n-a-secrets"),
        empty,
        object("ConfigMap", "n8n-a"),
    ];
    write(&by_hand, &objects).unwrap();
    let folder = write(&from_store, &objects).unwrap();
    let name = "00-externalsecret-n8n-a-secrets.yaml";
    let written = [name, "01-secret-n8n-a-more.yaml", "02-configmap-n8n-a.yaml"];
    assert_eq!(files(&folder), written);
    let text = fs::read_to_string(folder.join(name)).unwrap();
    assert!(!text.contains("c2VjcmV0"), "{text}");
    let parsed: Value = serde_norway::from_str(&text).unwrap();
    let expected = json!({
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "n8n-a-secrets"},
        "spec": {
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": "vault"},
            "refreshInterval": "1h",
            "target": {"name": "n8n-a-secrets", "creationPolicy": "Owner"},
            "data": [{"secretKey": "key", "remoteRef": {"key": "n8n-a-secrets", "property": "key"}}],
        },
    });
    assert_eq!(parsed, expected);
}

#[test]
fn instances_of_one_customer_are_written_at_once() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path().to_owned(), None);
    std::thread::scope(|scope| {
        for pass in 0..8 {
            let directory = &directory;
            scope.spawn(move || {
                for round in 0..20 {
                    let mut tenant = tenant();
                    tenant.budget.memory_mib = 512 + pass * 100 + round;
                    let (instance, cut_off) = (format!("n8n-{pass}"), CancellationToken::new());
                    directory.write(&tenant, &instance, &[], &cut_off).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("user-a"), "in the way").unwrap();
    let directory = Directory::new(root.path().to_owned(), None);
    let error = write(&directory, &[]).unwrap_err();
    assert!(error.to_string().contains("user-a"), "{error}");
}

#[test]
fn a_pass_that_is_cut_off_writes_nothing_when_its_turn_comes() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path().to_owned(), None);
    let mut one_thread = tokio::runtime::Builder::new_current_thread();
    let runtime = one_thread.max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (release, held) = std::sync::mpsc::channel();
        let busy = tokio::task::spawn_blocking(move || held.recv());
        let writer = directory.clone();
        let pass = tokio::spawn(async move {
            let work = writer.work(|directory, cut_off| {
                let objects = [object("ConfigMap", "n8n-a")];
                directory.write(&tenant(), "n8n-a", &objects, cut_off)
            });
            work.await.unwrap().unwrap()
        });
        while directory.works.is_empty() {
            tokio::task::yield_now().await;
        }
        pass.abort();
        assert!(pass.await.unwrap_err().is_cancelled());
        release.send(()).unwrap();
        directory.idle().await;
        busy.await.unwrap().unwrap();
    });
    assert_eq!(files(root.path()), Vec::<String>::new());
}

#[test]
fn a_pass_waits_for_those_of_its_own_customer_alone() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path().to_owned(), None);
    let other = directory.turn("user-b");
    let held = taken(&other);
    write(&directory, &[object("ConfigMap", "n8n-a")]).unwrap();
    assert!(directory.turn("user-b").try_lock().is_err(), "it is held");
    drop(held);
    drop(other);
    assert!(directory.turn("user-a").try_lock().is_ok());
    assert_eq!(
        directory.turns.lock().unwrap().len(),
        1,
        "others are forgotten"
    );
}

#[test]
fn a_pass_that_is_cut_off_changes_nothing_more() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path().to_owned(), None);
    let objects = [object("ConfigMap", "n8n-a"), object("Service", "n8n-a")];
    let folder = write(&directory, &objects).unwrap();
    let names = files(&folder);
    let path = folder.join("00-configmap-n8n-a.yaml");
    let before = fs::read_to_string(&path).unwrap();
    let cut_off = CancellationToken::new();
    cut_off.cancel();
    let mut drafts = Drafts::default();
    drafts.add(path.clone(), "changed").unwrap();
    drafts.put_in_place(&cut_off).unwrap_err();
    remove_files(&folder, |_| true, &cut_off).unwrap_err();
    for is_last in [false, true] {
        let removed = directory.remove("user-a", "n8n-a", is_last, &cut_off);
        removed.unwrap_err();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert_eq!(files(&folder), names);
}

#[test]
fn the_draft_of_a_server_that_died_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path().to_owned(), None);
    let objects = [object("ConfigMap", "n8n-a")];
    let folder = write(&directory, &objects).unwrap();
    let draft = folder.join("00-configmap-n8n-a.yaml.00c0ffee.draft");
    fs::write(draft, "half").unwrap();
    write(&directory, &objects).unwrap();
    assert_eq!(files(&folder), ["00-configmap-n8n-a.yaml"]);
}

#[test]
fn a_file_that_stays_the_same_is_not_written_again() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path().to_owned(), None);
    let mut objects = [object("ConfigMap", "n8n-a"), object("Service", "n8n-a")];
    let folder = write(&directory, &objects).unwrap();
    // Removed and written again, it would be another file of the same name.
    let number = |name| fs::metadata(folder.join(name)).unwrap().ino();
    let names = ["00-configmap-n8n-a.yaml", "01-service-n8n-a.yaml"];
    let before = names.map(number);
    objects[1]["data"]["key"] = json!("changed");
    write(&directory, &objects).unwrap();
    let after = names.map(number);
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1]);
}

#[test]
fn no_file_is_replaced_while_another_cannot_be_written() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path().to_owned(), None);
    let mut changed = object("ConfigMap", "n8n-a");
    let folder = write(&directory, std::slice::from_ref(&changed)).unwrap();
    let path = folder.join("00-configmap-n8n-a.yaml");
    let before = fs::read_to_string(&path).unwrap();
    changed["data"]["key"] = json!("changed");
    // No name of a file is that long.
    let objects = [changed, object("Service", &"a".repeat(300))];
    write(&directory, &objects).unwrap_err();
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert_eq!(files(&folder), ["00-configmap-n8n-a.yaml"], "no draft");
}

#[test]
fn drafts_that_cannot_take_their_places_are_removed() {
    let root = tempfile::tempdir().unwrap();
    let directory = Directory::new(root.path().to_owned(), None);
    let folder = root.path().join("user-a").join("n8n-a");
    fs::create_dir_all(folder.join("01-service-n8n-a.yaml")).unwrap();
    let objects = ["ConfigMap", "Service", "Deployment"].map(|kind| object(kind, "n8n-a"));
    let error = write(&directory, &objects).unwrap_err();
    assert!(
        error.to_string().contains("01-service-n8n-a.yaml"),
        "{error}"
    );
    let names = ["00-configmap-n8n-a.yaml", "01-service-n8n-a.yaml"];
    assert_eq!(files(&folder), names);
}
