//! Applying, stopping and reading the objects of one instance.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use dermaga_runtime::gate::INSTANCE_LABEL;
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    Cluster, ClusterError, FIELD_MANAGER, ObjectRef, additions,
    discovery::{DEPENDENT_KINDS, INSTANCE_KINDS},
    growth::{has_lasting_sizes, with_lasting_sizes},
    known::{Ownership, hash},
    object::{is_of_instance, to_json},
};

/// Concurrent lists per instance: enough to hide latency, few enough for API priority and fairness.
const PARALLEL_LISTS: usize = 6;
/// Owner of the fields that stop an instance whose objects cannot be rendered; apart from ours, so
/// that it owns nothing else.
const STOPPING_MANAGER: &str = "dermaga-stop";
/// Name under which additions of others are taken away; it owns nothing.
const REMOVING_MANAGER: &str = "dermaga-remove";

/// Outcome of applying one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    Yes,
    /// Another controller had changed its fields, and they were corrected.
    Corrected(Vec<Contested>),
    /// This cluster does not serve its kind.
    NotServed,
}

/// A field that another controller wants to be different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contested {
    pub object: ObjectRef,
    /// For example `.spec.replicas`.
    pub field: String,
    /// Name of the other field manager.
    pub manager: String,
}

/// Says who changes which field of which object.
impl fmt::Display for Contested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            object,
            field,
            manager,
        } = self;
        write!(f, "{manager} changes {field} of {object}")
    }
}

/// The live objects of one instance.
#[derive(Debug, Default)]
pub struct LiveObjects {
    /// Kinds that instances are made of, in the order in which they are removed.
    pub(super) objects: Vec<(ObjectRef, DynamicObject)>,
    /// Objects that the cluster derived from them: replica sets and pods.
    dependents: Vec<(ObjectRef, DynamicObject)>,
    /// Digest of the records that they were found by.
    digest: Option<u64>,
}

impl LiveObjects {
    /// Everything that is there, as `Kind/name`.
    pub fn names(&self) -> Vec<String> {
        self.objects
            .iter()
            .chain(&self.dependents)
            .map(|(object, _)| object.to_string())
            .collect()
    }

    /// Digest of the records that they were found by; `None` when they were listed.
    pub const fn digest(&self) -> Option<u64> {
        self.digest
    }

    pub fn has_pods(&self) -> bool {
        self.dependents
            .iter()
            .any(|(object, _)| object.kind == "Pod")
    }

    /// Objects of one kind.
    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &(ObjectRef, DynamicObject)> {
        let all = self.objects.iter().chain(&self.dependents);
        all.filter(move |(object, _)| object.kind == kind)
    }

    /// The objects with their status and the pods, as a plugin's `health` sees them: no Secret, and
    /// nothing of the bookkeeping of field managers.
    pub fn observed(self) -> Vec<Value> {
        let pods = self
            .dependents
            .into_iter()
            .filter(|(object, _)| object.kind == "Pod");
        let objects = self
            .objects
            .into_iter()
            .filter(|(object, _)| object.kind != "Secret");
        objects.chain(pods).map(|(_, live)| to_json(live)).collect()
    }
}

/// A manifest that may be applied.
struct Checked<'a> {
    manifest: Cow<'a, Value>,
    /// The object is known not to be there yet.
    is_new: bool,
}

impl Cluster {
    /// Server-side applies one object into its namespace, and takes over every field it names. A
    /// claim is never applied smaller than the live one.
    ///
    /// # Errors
    /// [`ClusterError::NotOurs`] when an object of that name has another owner; it is left alone.
    pub async fn apply(
        &self,
        namespace: &str,
        instance: &str,
        manifest: &Value,
    ) -> Result<Applied, ClusterError> {
        let object = ObjectRef::of(manifest);
        let wanted = hash(manifest);
        if self.known.agrees(namespace, instance, &object, wanted) {
            return Ok(Applied::Yes);
        }
        let served = self.served().await?;
        let Some(api) = self.api(&served, namespace, &object) else {
            return Ok(Applied::NotServed);
        };
        let seems_absent = self.seems_absent(namespace, instance, &object);
        if seems_absent && self.make(&api, (namespace, instance), manifest).await? {
            return Ok(Applied::Yes);
        }
        let whole = manifest;
        let checked = self.checked(&api, namespace, instance, whole);
        let Checked { manifest, is_new } = checked.await?;
        let patch = Patch::Apply(&*manifest);
        let ours = PatchParams::apply(FIELD_MANAGER);
        // Without force first: the answer names the fields that another controller changed.
        let gently = self.call(&object, async {
            Ok(api.patch(&object.name, &ours, &patch).await)
        });
        let mut contested = Vec::new();
        let answered = match gently.await? {
            Err(kube::Error::Api(status)) if status.code == 409 => {
                contested = conflicts(&status, &object);
                let forced = ours.force();
                let forced = api.patch(&object.name, &forced, &patch);
                self.call(&object, async { Ok(forced.await) }).await?
            }
            answered => answered,
        };
        let live = match answered {
            Ok(live) => live,
            Err(error) => match self.resolve_job(&api, &manifest, &error).await? {
                Some(kept) => kept,
                None => return Err(ClusterError::of(error, &object.to_string())),
            },
        };
        let live = self
            .without_additions(&api, &manifest, live, &mut contested)
            .await?;
        self.grow_claims((namespace, instance), whole, is_new)
            .await?;
        self.known.applied(&object, live, wanted);
        if seems_absent && is_new {
            self.creations.note_refused();
        }
        Ok(if contested.is_empty() {
            Applied::Yes
        } else {
            Applied::Corrected(contested)
        })
    }

    /// Takes away what others added to lists of ours in an object that was applied just now.
    async fn without_additions(
        &self,
        api: &Api<DynamicObject>,
        manifest: &Value,
        live: DynamicObject,
        contested: &mut Vec<Contested>,
    ) -> Result<DynamicObject, ClusterError> {
        let object = ObjectRef::of(manifest);
        let other = additions::others(&object.kind, &live.metadata)
            .next()
            .map(|(manager, _)| manager.to_owned());
        let Some(manager) = other else {
            return Ok(live);
        };
        let Some((patch, lists)) = additions::without(&object.kind, manifest, &live) else {
            return Ok(live);
        };
        contested.extend(lists.into_iter().map(|list| Contested {
            object: object.clone(),
            field: format!(".{list}"),
            manager: manager.clone(),
        }));
        let params = PatchParams {
            field_manager: Some(REMOVING_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&patch);
        let removed = api.patch(&object.name, &params, &patch);
        self.call(&object, removed).await
    }

    /// Returns the manifest to apply after a look at the live object, if there is one: it must be
    /// ours, and a claim keeps its size, as the claims in a StatefulSet's templates do.
    async fn checked<'a>(
        &self,
        api: &Api<DynamicObject>,
        namespace: &str,
        instance: &str,
        manifest: &'a Value,
    ) -> Result<Checked<'a>, ClusterError> {
        let object = ObjectRef::of(manifest);
        let owner_by = |labels: Option<&BTreeMap<String, String>>| {
            if is_of_instance(labels, instance) {
                Ownership::Ours
            } else {
                Ownership::Foreign
            }
        };
        let mut checked = Checked {
            manifest: Cow::Borrowed(manifest),
            is_new: false,
        };
        let mut ownership = Ownership::Ours;
        if has_lasting_sizes(manifest) {
            let live = self.call(&object, api.get_opt(&object.name)).await?;
            checked.is_new = live.is_none();
            if let Some(live) = live {
                checked.manifest = with_lasting_sizes(manifest, &live);
                ownership = owner_by(live.metadata.labels.as_ref());
            }
        } else {
            ownership = self.known.ownership(namespace, instance, &object);
            if ownership == Ownership::Unknown {
                let live = api.get_metadata_opt(&object.name);
                let live = self.call(&object, live).await?;
                checked.is_new = live.is_none();
                ownership = live.map_or(Ownership::Ours, |live| {
                    owner_by(live.metadata.labels.as_ref())
                });
            }
        }
        if ownership == Ownership::Ours {
            return Ok(checked);
        }
        Err(ClusterError::NotOurs {
            namespace: namespace.to_owned(),
            object: object.to_string(),
        })
    }

    /// Stops every workload of the instance as it is, without rendering it.
    ///
    /// # Errors
    /// When the cluster is away or refuses.
    pub async fn scale_to_zero(&self, namespace: &str, instance: &str) -> Result<(), ClusterError> {
        let sweep = self.sweep(namespace, instance).await?;
        let served = self.served().await?;
        let params = PatchParams::apply(STOPPING_MANAGER).force();
        for (object, live) in sweep.objects {
            let Some(stopped) = stopped(&object, &live) else {
                continue;
            };
            if let Some(api) = self.api(&served, namespace, &object) {
                let patch = Patch::Apply(&stopped);
                self.call(&object, api.patch(&object.name, &params, &patch))
                    .await?;
            }
        }
        Ok(())
    }

    /// Everything in the namespace that carries the instance's label.
    ///
    /// # Errors
    /// When the cluster is away or denies reading.
    pub async fn sweep(
        &self,
        namespace: &str,
        instance: &str,
    ) -> Result<LiveObjects, ClusterError> {
        Ok(LiveObjects {
            objects: self.list(namespace, instance, &INSTANCE_KINDS).await?,
            dependents: self.list(namespace, instance, &DEPENDENT_KINDS).await?,
            digest: None,
        })
    }

    /// Finds the objects of an instance, and its pods: from what the watches showed where that is
    /// enough, else by reading them. Of Secrets it tells the names only.
    ///
    /// # Errors
    /// When the cluster is away or denies reading.
    pub async fn look(&self, namespace: &str, instance: &str) -> Result<LiveObjects, ClusterError> {
        let Some(look) = self.known.look(namespace, instance) else {
            return self.sweep(namespace, instance).await;
        };
        let served = self.served().await?;
        let reads = look.found.into_iter().filter_map(|(object, known)| {
            let api = self.api(&served, namespace, &object)?;
            Some(self.read(api, object, known))
        });
        let found: Vec<_> = stream::iter(reads)
            .buffered(PARALLEL_LISTS)
            .try_collect()
            .await?;
        let place = |object: &ObjectRef| {
            INSTANCE_KINDS
                .iter()
                .position(|(_, kind)| *kind == object.kind)
        };
        let (mut objects, dependents): (Vec<_>, Vec<_>) = found
            .into_iter()
            .flatten()
            .partition(|(object, _)| place(object).is_some());
        objects.sort_by(|(one, _), (other, _)| {
            (place(one), &one.name).cmp(&(place(other), &other.name))
        });
        Ok(LiveObjects {
            objects,
            dependents,
            digest: Some(look.digest),
        })
    }

    /// Reads an object, unless it is known; nothing when it is gone.
    async fn read(
        &self,
        api: Api<DynamicObject>,
        object: ObjectRef,
        known: Option<Arc<DynamicObject>>,
    ) -> Result<Option<(ObjectRef, DynamicObject)>, ClusterError> {
        if let Some(known) = known {
            return Ok(Some((object, DynamicObject::clone(&known))));
        }
        let Some(mut live) = self.call(&object, api.get_opt(&object.name)).await? else {
            return Ok(None);
        };
        self.known.read(&object, live.clone());
        live.metadata.managed_fields = None;
        Ok(Some((object, live)))
    }

    /// Remembers that nothing of an instance is under way: its objects of this digest lead to this
    /// status.
    pub fn settle(&self, namespace: &str, instance: &str, digest: u64, status: u64) {
        self.known.settle(namespace, instance, digest, status);
    }

    /// Returns true when nothing of an instance changed since it had this status.
    pub fn is_settled(&self, namespace: &str, instance: &str, status: u64) -> bool {
        self.known.is_settled(namespace, instance, status)
    }

    /// Returns true when every object of an instance is as it was applied by these manifests.
    pub fn agrees(&self, namespace: &str, instance: &str, manifests: &[Value]) -> bool {
        manifests.iter().all(|manifest| {
            let object = ObjectRef::of(manifest);
            let wanted = hash(manifest);
            self.known.agrees(namespace, instance, &object, wanted)
        })
    }

    async fn list(
        &self,
        namespace: &str,
        instance: &str,
        kinds: &[(&'static str, &'static str)],
    ) -> Result<Vec<(ObjectRef, DynamicObject)>, ClusterError> {
        let served = self.served().await?;
        let selector = ListParams::default().labels(&format!("{INSTANCE_LABEL}={instance}"));
        let lists: Vec<_> = kinds
            .iter()
            .filter_map(|(api_version, kind)| {
                let wanted = ObjectRef::new(api_version, kind, "");
                self.api(&served, namespace, &wanted)
                    .map(|api| (wanted, api))
            })
            .collect();
        let found: Vec<Vec<_>> = stream::iter(lists)
            .map(|(wanted, api)| {
                let selector = selector.clone();
                async move {
                    let list = self
                        .call(format!("{} objects", wanted.kind), api.list(&selector))
                        .await?;
                    let kind = kube::core::TypeMeta {
                        api_version: wanted.api_version,
                        kind: wanted.kind,
                    };
                    Ok(list.into_iter().map(|live| named(&kind, live)).collect())
                }
            })
            .buffered(PARALLEL_LISTS)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }
}

/// Returns the part of a workload that stops it; `None` for other kinds, for a stopped workload,
/// and for one with an owner that decides.
fn stopped(object: &ObjectRef, live: &DynamicObject) -> Option<Value> {
    let (field, value) = match object.kind.as_str() {
        "Deployment" | "StatefulSet" => ("replicas", json!(0)),
        "CronJob" | "Job" => ("suspend", json!(true)),
        _ => return None,
    };
    let is_so = live.data.pointer(&format!("/spec/{field}")) == Some(&value);
    if is_so || !live.owner_references().is_empty() {
        return None;
    }
    Some(json!({
        "apiVersion": object.api_version,
        "kind": object.kind,
        "metadata": {"name": object.name},
        "spec": {field: value},
    }))
}

/// The fields that other controllers own by now. Our own stopping is none of them.
fn conflicts(status: &kube::core::Status, object: &ObjectRef) -> Vec<Contested> {
    let causes = status.details.as_ref().map(|details| &details.causes);
    causes
        .into_iter()
        .flatten()
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .filter_map(|cause| {
            // `conflict with "kubectl-scale" with subresource "scale" using apps/v1`
            let manager = cause.message.split('"').nth(1)?;
            (manager != STOPPING_MANAGER).then(|| Contested {
                object: object.clone(),
                field: cause.field.clone(),
                manager: manager.to_owned(),
            })
        })
        .collect()
}

/// Restores the kind of an item, which lists leave out and a plugin needs.
fn named(kind: &kube::core::TypeMeta, mut live: DynamicObject) -> (ObjectRef, DynamicObject) {
    let object = ObjectRef::new(&kind.api_version, &kind.kind, &live.name_any());
    live.types = Some(kind.clone());
    (object, live)
}
