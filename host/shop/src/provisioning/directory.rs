//! The provisioner without a cluster: gated manifests as files, one YAML document each.
//!
//! `ROOT/<namespace>/NN-kind-name.yaml` prepares the customer's namespace,
//! `ROOT/<namespace>/<instance>/NN-kind-name.yaml` is the instance, and `NN` is the order to apply.
//! Values of Secret objects are never written: see docs/decisions/0004-secrets-in-a-directory.md. Where the
//! operator names a secret store, an `ExternalSecret` is written in the place of each.

use std::{
    collections::BTreeSet,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};

use crate::cluster::{CLAIMED, ObjectRef, Tenant, VOLUME_CLAIM, as_large};

/// Folder of manifests, to be applied by hand or committed for a GitOps tool.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
    /// Name of the `ClusterSecretStore` that Secrets are made from.
    secret_store: Option<String>,
    /// Passes of one customer's instances write the same files of their namespace.
    turn: Arc<Mutex<()>>,
}

/// A file or folder that could not be read, written or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct DirectoryError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError {
        action,
        path,
        source,
    }
}

impl Directory {
    pub fn new(root: PathBuf, secret_store: Option<String>) -> Self {
        let turn = Arc::default();
        Self {
            root,
            secret_store,
            turn,
        }
    }

    pub fn secret_store(&self) -> Option<&str> {
        self.secret_store.as_deref()
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes the namespace and the instance, each file whole or not at all, and removes the files
    /// of objects no longer rendered. Returns the instance's folder. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk refuses; what was there before stays readable.
    pub fn write(
        &self,
        tenant: &Tenant,
        instance: &str,
        objects: &[Value],
    ) -> Result<PathBuf, DirectoryError> {
        let namespace = self.root.join(&tenant.namespace);
        let turn = self.turn();
        write_all(&namespace, &tenant.manifests())?;
        drop(turn);
        let folder = namespace.join(instance);
        let objects: Vec<Value> = objects
            .iter()
            .map(|object| self.external(object).unwrap_or_else(|| object.clone()))
            .collect();
        write_all(&folder, &objects)?;
        Ok(folder)
    }

    /// Returns the object from which the External Secrets Operator makes a Secret, with the values that the
    /// store has under the Secret's name; nothing for other objects, for one without keys, and without a
    /// store.
    fn external(&self, object: &Value) -> Option<Value> {
        let store = self.secret_store()?;
        if object.get("kind")? != "Secret" {
            return None;
        }
        let metadata = object.get("metadata")?;
        let name = metadata.get("name")?;
        let keys = object.get("data")?.as_object()?.keys();
        let data: Vec<Value> = keys
            .map(|key| json!({"secretKey": key, "remoteRef": {"key": name, "property": key}}))
            .collect();
        let spec = json!({
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": store},
            "refreshInterval": "1h",
            "target": {"name": name, "creationPolicy": "Owner"},
            "data": data,
        });
        (!data.is_empty()).then(|| {
            json!({
                "apiVersion": "external-secrets.io/v1",
                "kind": "ExternalSecret",
                "metadata": metadata,
                "spec": spec,
            })
        })
    }

    /// Removes an instance's folder, and the namespace's when no instance lives there any more.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// When the disk refuses; a retry continues at that point.
    pub fn remove(
        &self,
        namespace: &str,
        instance: &str,
        is_last: bool,
    ) -> Result<(), DirectoryError> {
        let namespace = self.root.join(namespace);
        let folder = if is_last {
            namespace
        } else {
            namespace.join(instance)
        };
        let _turn = self.turn();
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &folder)(error))
            }
            _ => Ok(()),
        }
    }
}

fn write_all(folder: &Path, manifests: &[Value]) -> Result<(), DirectoryError> {
    fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let mut written = BTreeSet::new();
    for (position, manifest) in manifests.iter().enumerate() {
        let object = ObjectRef::of(manifest);
        let name = format!(
            "{position:02}-{}-{}.yaml",
            object.kind.to_lowercase(),
            object.name
        );
        let path = folder.join(&name);
        let grown = written_claim(&path, &object).and_then(|has| as_large(manifest, &has));
        let manifest = grown.as_ref().unwrap_or(manifest);
        replace(&path, &document(manifest, &object))?;
        written.insert(name);
    }
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let entry = entry.map_err(failed("read", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".yaml") && !written.contains(&name) {
            fs::remove_file(entry.path()).map_err(failed("remove", &entry.path()))?;
        }
    }
    Ok(())
}

/// The size of a claim that was written before, and may be in a cluster by now.
fn written_claim(path: &Path, object: &ObjectRef) -> Option<Value> {
    if object.kind != VOLUME_CLAIM {
        return None;
    }
    let written: Value = serde_norway::from_str(&fs::read_to_string(path).ok()?).ok()?;
    written.pointer(CLAIMED).cloned()
}

fn document(manifest: &Value, object: &ObjectRef) -> String {
    if object.kind == "Secret" {
        return placeholder(manifest, object);
    }
    // JSON is YAML, should the printer ever refuse a value.
    serde_norway::to_string(manifest).unwrap_or_else(|_| manifest.to_string())
}

/// Returns a placeholder that names the keys and says where the values come from. It is no
/// Kubernetes object, so that a Secret without values is never applied over the real one.
fn placeholder(manifest: &Value, object: &ObjectRef) -> String {
    let keys = manifest
        .get("data")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|data| data.keys());
    let keys: Vec<_> = keys.map(String::as_str).collect();
    format!(
        "# Secret {} with the keys: {}.\n\
         # Its values stay encrypted in Dermaga's database and are never written to files.\n\
         # `dermaga instances secret {} | kubectl apply -f -` puts it into the cluster.\n",
        object.name,
        keys.join(", "),
        object.name.trim_end_matches("-secrets"),
    )
}

/// Replaces a file in one step, and only when its content changes.
fn replace(path: &Path, content: &str) -> Result<(), DirectoryError> {
    if fs::read_to_string(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let draft = path.with_extension("yaml.draft");
    let write = || -> io::Result<()> {
        let mut file = fs::File::create(&draft)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(failed("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cluster::PodSecurity, ids::UserId};
    use dermaga_runtime::contract::Resources;
    use serde_json::json;
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
            let folder = directory.write(&tenant(), "n8n-a", &[claim(written)]);
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
        let folder = directory.write(&tenant(), "n8n-a", &first).unwrap();
        assert_eq!(
            files(&folder),
            [
                "00-secret-n8n-a-secrets.yaml",
                "01-configmap-n8n-a.yaml",
                "02-service-n8n-a.yaml"
            ]
        );
        directory.write(&tenant(), "n8n-a", &first[..2]).unwrap();
        assert_eq!(
            files(&folder),
            ["00-secret-n8n-a-secrets.yaml", "01-configmap-n8n-a.yaml"]
        );
        directory.remove("user-a", "n8n-a", false).unwrap();
        assert!(
            !folder.exists()
                && folder
                    .parent()
                    .unwrap()
                    .join("00-namespace-user-a.yaml")
                    .exists()
        );
        directory.remove("user-a", "n8n-a", true).unwrap();
        directory.remove("user-a", "n8n-a", true).unwrap();
        assert!(files(root.path()).is_empty());
    }

    #[test]
    fn a_secret_is_named_but_never_written() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path().to_owned(), None);
        let folder = directory
            .write(&tenant(), "n8n-a", &[object("Secret", "n8n-a-secrets")])
            .unwrap();
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
        by_hand.write(&tenant(), "n8n-a", &objects).unwrap();
        let folder = from_store.write(&tenant(), "n8n-a", &objects).unwrap();
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
                        directory
                            .write(&tenant, &format!("n8n-{pass}"), &[])
                            .unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("user-a"), "in the way").unwrap();
        let error = Directory::new(root.path().to_owned(), None)
            .write(&tenant(), "n8n-a", &[])
            .unwrap_err();
        assert!(error.to_string().contains("user-a"), "{error}");
    }
}
