//! New objects, applied on the condition that they are not there, so that no look comes before.
//! See `docs/decisions/0048-a-new-object-needs-no-look.md`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Cluster, ClusterError, FIELD_MANAGER, ObjectRef, known::hash};

/// Version that no object has: an apply that names it leaves an object that is there as it is.
const NO_VERSION: &str = "1";

/// Refusals without a success after which a cluster is taken for one that refuses all.
const MOST_REFUSED: u32 = 3;

/// Experience with such applies: a cluster may refuse to make an object by a manifest that names a version.
#[derive(Debug, Default, Clone)]
pub(super) struct Creations(Arc<Experience>);

#[derive(Debug, Default)]
struct Experience {
    has_worked: AtomicBool,
    refused: AtomicU32,
}

impl Creations {
    /// Notes that an object was made by an apply without condition, after one with it had been refused. A
    /// quota refuses some, which says nothing.
    pub(super) fn note_refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn have_worked(&self) -> bool {
        self.0.has_worked.load(Ordering::Relaxed)
    }

    fn are_worth_a_try(&self) -> bool {
        let Experience {
            has_worked,
            refused,
        } = &*self.0;
        has_worked.load(Ordering::Relaxed) || refused.load(Ordering::Relaxed) < MOST_REFUSED
    }
}

impl Cluster {
    /// Returns true for an object that the watches do not show, and that may be made without a look. A
    /// Secret is shown by none: the condition finds out if it is there.
    pub(super) fn seems_absent(&self, namespace: &str, instance: &str, object: &ObjectRef) -> bool {
        let place = (object.kind.as_str(), object.name.as_str());
        self.creations.are_worth_a_try() && self.known.lacks(namespace, instance, place)
    }

    /// Makes an object; returns false when it exists already, whoever owns it, or when the API server refuses it. An
    /// apply after a look tells why then.
    ///
    /// # Errors
    /// When the cluster is away or busy.
    pub(super) async fn make(
        &self,
        api: &Api<DynamicObject>,
        (namespace, instance): (&str, &str),
        manifest: &Value,
    ) -> Result<bool, ClusterError> {
        let object = ObjectRef::of(manifest);
        let mut conditional = manifest.clone();
        let metadata = conditional.get_mut("metadata");
        let Some(metadata) = metadata.and_then(Value::as_object_mut) else {
            return Ok(false);
        };
        metadata.insert("resourceVersion".to_owned(), json!(NO_VERSION));
        let (params, patch) = (
            PatchParams::apply(FIELD_MANAGER),
            Patch::Apply(&conditional),
        );
        let made = self.call(&object, async {
            Ok(api.patch(&object.name, &params, &patch).await)
        });
        let live = match made.await? {
            Ok(live) => live,
            Err(error) => return refused(error, &object),
        };
        self.creations.0.has_worked.store(true, Ordering::Relaxed);
        self.grow_claims((namespace, instance), manifest, true)
            .await?;
        self.known.applied(&object, live, hash(manifest));
        Ok(true)
    }
}

/// Returns false for an object that is refused, about which a look tells more. A cluster that is away or busy is asked
/// nothing more.
fn refused(error: kube::Error, object: &ObjectRef) -> Result<bool, ClusterError> {
    let is_answer = matches!(error, kube::Error::Api(_));
    let error = ClusterError::of(error, &object.to_string());
    if is_answer && error.is_about_object() {
        Ok(false)
    } else {
        Err(error)
    }
}
