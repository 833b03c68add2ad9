//! The provisioner without a cluster: gated manifests as files, one YAML document each.
//!
//! `ROOT/<namespace>/NN-kind-name.yaml` prepares the customer's namespace,
//! `ROOT/<namespace>/<instance>/NN-kind-name.yaml` is the instance, and `NN` is the order to apply.
//! Values of Secret objects are never written: see docs/decisions/0004-secrets-in-a-directory.md. Where the
//! operator names a secret store, an `ExternalSecret` is written in the place of each.

mod drafts;
#[cfg(test)]
mod tests;

use std::{
    borrow::{Borrow, Cow},
    collections::{BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::{Value, json};
use tokio::task::JoinError;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::drafts::{DRAFT, Drafts, sync_folder};
use crate::cluster::{CLAIMED, ObjectRef, Tenant, VOLUME_CLAIM, as_large};

/// Turn of the passes that write the files of one namespace.
type Turn = Arc<Mutex<()>>;

/// Folder of manifests, to be applied by hand or committed for a GitOps tool.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
    /// Name of the `ClusterSecretStore` that Secrets are made from.
    secret_store: Option<String>,
    /// Passes of one customer's instances write the same files of their namespace; those of others do not wait for
    /// them.
    turns: Arc<Mutex<HashMap<String, Turn>>>,
    /// Work on the disk that is under way.
    works: TaskTracker,
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
        Self {
            root,
            secret_store,
            turns: Arc::default(),
            works: TaskTracker::new(),
        }
    }

    pub fn secret_store(&self) -> Option<&str> {
        self.secret_store.as_deref()
    }

    fn turn(&self, namespace: &str) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are not held by a pass.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(namespace.to_owned()).or_default())
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Runs work of a pass that blocks on the disk. When the pass is cut off, the work changes nothing more:
    /// another server may have the instance by then.
    ///
    /// # Errors
    /// When the work panicked.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self, &CancellationToken) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let (directory, cut_off) = (self.clone(), CancellationToken::new());
        let _left = cut_off.clone().drop_guard();
        let task = self
            .works
            .spawn_blocking(move || work(&directory, &cut_off));
        task.await
    }

    /// Waits for the end of all work, also of passes that were cut off.
    pub async fn idle(&self) {
        self.works.close();
        self.works.wait().await;
    }

    /// Writes the namespace and the instance, each file whole or not at all, and removes the files
    /// of objects no longer rendered. Returns the instance's folder. Blocks on the disk.
    ///
    /// # Errors
    /// When the disk refuses, or the pass is cut off; what was there before stays readable.
    pub fn write(
        &self,
        tenant: &Tenant,
        instance: &str,
        objects: &[Value],
        cut_off: &CancellationToken,
    ) -> Result<PathBuf, DirectoryError> {
        let namespace = self.root.join(&tenant.namespace);
        let folder = namespace.join(instance);
        let turn = self.turn(&tenant.namespace);
        let held = taken(&turn);
        let (is_first, is_new) = (!namespace.is_dir(), !folder.is_dir());
        // Made before the files beside it, so that one sync makes all of their names durable.
        may_change(cut_off)
            .and_then(|()| fs::create_dir_all(&folder))
            .map_err(failed("make", &folder))?;
        let is_synced = write_all(&namespace, &tenant.manifests(), is_first, cut_off)?;
        if is_new && !is_synced {
            sync_folder(&namespace)?;
        }
        if is_first {
            sync_folder(&self.root)?;
        }
        drop(held);
        let objects: Vec<Cow<'_, Value>> = objects
            .iter()
            .map(|object| {
                let external = self.external(object);
                external.map_or(Cow::Borrowed(object), Cow::Owned)
            })
            .collect();
        write_all(&folder, &objects, is_new, cut_off)?;
        // Left by a server that died. The namespace's may be those of another one's pass.
        remove_files(&folder, |name| name.ends_with(DRAFT), cut_off)?;
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
    /// When the disk refuses, or the pass is cut off; a retry continues at that point.
    pub fn remove(
        &self,
        namespace: &str,
        instance: &str,
        is_last: bool,
        cut_off: &CancellationToken,
    ) -> Result<(), DirectoryError> {
        let turn = self.turn(namespace);
        let namespace = self.root.join(namespace);
        let folder = if is_last {
            namespace
        } else {
            namespace.join(instance)
        };
        let _held = taken(&turn);
        match may_change(cut_off).and_then(|()| fs::remove_dir_all(&folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &folder)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses the next change of a pass that was cut off.
fn may_change(cut_off: &CancellationToken) -> io::Result<()> {
    if cut_off.is_cancelled() {
        return Err(io::Error::other("the pass was cut off"));
    }
    Ok(())
}

fn taken(turn: &Turn) -> MutexGuard<'_, ()> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes the files of a folder, and removes those that are not written any more; returns true when the names in the
/// folder changed, and are durable.
fn write_all<M: Borrow<Value>>(
    folder: &Path,
    manifests: &[M],
    is_new: bool,
    cut_off: &CancellationToken,
) -> Result<bool, DirectoryError> {
    let (mut drafts, mut written) = (Drafts::default(), BTreeSet::new());
    for (position, manifest) in manifests.iter().enumerate() {
        let manifest = Borrow::<Value>::borrow(manifest);
        let object = ObjectRef::of(manifest);
        let name = format!(
            "{position:02}-{}-{}.yaml",
            object.kind.to_lowercase(),
            object.name
        );
        let path = folder.join(&name);
        // Nothing is looked for in a folder that was made for this.
        let old = if is_new {
            None
        } else {
            fs::read_to_string(&path).ok()
        };
        let claim = old.as_deref().and_then(|old| written_claim(old, &object));
        let grown = claim.and_then(|has| as_large(manifest, &has));
        let content = document(grown.as_ref().unwrap_or(manifest), &object);
        if old.as_ref() != Some(&content) {
            drafts.add(path, &content)?;
        }
        written.insert(name);
    }
    let has_changed = drafts.put_in_place(cut_off)?;
    let is_old = |name: &str| name.ends_with(".yaml") && !written.contains(name);
    remove_files(folder, is_old, cut_off)?;
    // Once for all that was replaced and removed.
    if has_changed {
        sync_folder(folder)?;
    }
    Ok(has_changed)
}

/// Removes the files of a folder whose names are chosen.
fn remove_files(
    folder: &Path,
    is_chosen: impl Fn(&str) -> bool,
    cut_off: &CancellationToken,
) -> Result<(), DirectoryError> {
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        let path = entry.map_err(failed("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !is_chosen(&name) {
            continue;
        }
        match may_change(cut_off).and_then(|()| fs::remove_file(&path)) {
            // Another server has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.map_err(failed("remove", &path))?,
        }
    }
    Ok(())
}

/// The size of a claim that was written before, and may be in a cluster by now.
fn written_claim(text: &str, object: &ObjectRef) -> Option<Value> {
    if object.kind != VOLUME_CLAIM {
        return None;
    }
    let written: Value = serde_norway::from_str(text).ok()?;
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
