//! Volume claims as they were first seen, so that another one in their place is noticed.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Cluster, ClusterError, LiveObjects, VOLUME_CLAIM, growth::is_left_over};

/// A volume claim that holds data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimRef {
    pub name: String,
    pub uid: String,
    /// Name of the volume, once the claim is bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
}

impl LiveObjects {
    /// Returns the known claims with their volumes, and those that are new. Those of replicas that the
    /// manifests do not have any more are left out once they are gone.
    pub fn claims(&self, known: &[ClaimRef], manifests: &[Value]) -> Vec<ClaimRef> {
        let live = self.of_kind(VOLUME_CLAIM).filter_map(|(object, live)| {
            let volume = live.data.pointer("/spec/volumeName");
            Some(ClaimRef {
                name: object.name.clone(),
                uid: live.metadata.uid.clone()?,
                volume: volume.and_then(|name| name.as_str()).map(str::to_owned),
            })
        });
        let live: Vec<_> = live.collect();
        merged(&without_gone(known, &live, manifests), live.into_iter())
    }
}

/// Returns the known claims but for those of replicas that were taken away, when they are gone as well.
fn without_gone(known: &[ClaimRef], live: &[ClaimRef], manifests: &[Value]) -> Vec<ClaimRef> {
    let is_there = |claim: &ClaimRef| live.iter().any(|one| one.uid == claim.uid);
    let kept = known
        .iter()
        .filter(|claim| is_there(claim) || !is_left_over(manifests, &claim.name));
    kept.cloned().collect()
}

/// A claim that is known stays as it is, but for a volume that it had not yet.
fn merged(known: &[ClaimRef], live: impl Iterator<Item = ClaimRef>) -> Vec<ClaimRef> {
    let mut all = known.to_vec();
    for claim in live {
        match all.iter_mut().find(|one| one.name == claim.name) {
            Some(one) if one.uid == claim.uid && one.volume.is_none() => one.volume = claim.volume,
            Some(_) => {}
            None => all.push(claim),
        }
    }
    all
}

/// Says why a live claim does not hold the data of the known one; `None` when it does.
fn loss(known: &ClaimRef, live: Option<&PersistentVolumeClaim>) -> Option<&'static str> {
    let Some(live) = live else {
        return Some("is gone");
    };
    let volume = live
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_name.as_deref());
    let has_another = |known: &str| volume.is_some_and(|volume| volume != known);
    if live.metadata.uid.as_deref() != Some(known.uid.as_str()) {
        Some("was replaced by another one")
    } else if live.metadata.deletion_timestamp.is_some() {
        Some("is being deleted")
    } else if known.volume.as_deref().is_some_and(has_another) {
        Some("has another volume")
    } else {
        None
    }
}

impl Cluster {
    /// Checks that the claims with an instance's data are still there, but for those of replicas that
    /// the manifests do not have any more: nothing starts on them.
    ///
    /// # Errors
    /// [`ClusterError::DataLost`] when one is gone, leaving, or another one.
    pub async fn check_claims(
        &self,
        namespace: &str,
        instance: &str,
        known: &[ClaimRef],
        manifests: &[Value],
    ) -> Result<(), ClusterError> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        for claim in known {
            // The volume of a claim never changes once it has one.
            let ClaimRef { name, uid, .. } = claim;
            let is_still = self
                .known
                .is_still(namespace, instance, (VOLUME_CLAIM, name), uid);
            if is_still || is_left_over(manifests, name) {
                continue;
            }
            let object = format!("{VOLUME_CLAIM}/{}", claim.name);
            let live = self.call(&object, claims.get_opt(&claim.name)).await?;
            if let Some(how) = loss(claim, live.as_ref()) {
                let volume = claim.volume.clone();
                return Err(ClusterError::DataLost {
                    object,
                    how,
                    volume: volume.unwrap_or_else(|| "none".to_owned()),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known(volume: Option<&str>) -> ClaimRef {
        ClaimRef {
            name: "data".to_owned(),
            uid: "1".to_owned(),
            volume: volume.map(str::to_owned),
        }
    }

    #[test]
    fn another_claim_or_volume_is_a_loss() {
        let live = |uid: &str, volume: Option<&str>| {
            let claim =
                json!({"metadata": {"name": "data", "uid": uid}, "spec": {"volumeName": volume}});
            serde_json::from_value::<PersistentVolumeClaim>(claim).unwrap()
        };
        let bound = known(Some("pv-1"));
        assert_eq!(loss(&bound, None), Some("is gone"));
        assert_eq!(loss(&bound, Some(&live("1", Some("pv-1")))), None);
        assert_eq!(
            loss(&bound, Some(&live("2", Some("pv-1")))),
            Some("was replaced by another one")
        );
        assert_eq!(
            loss(&bound, Some(&live("1", Some("pv-2")))),
            Some("has another volume")
        );
        assert_eq!(loss(&known(None), Some(&live("1", Some("pv-2")))), None);
        let mut leaving = live("1", Some("pv-1"));
        let now = json!("2026-01-01T00:00:00Z");
        leaving.metadata.deletion_timestamp = Some(serde_json::from_value(now).unwrap());
        assert_eq!(loss(&bound, Some(&leaving)), Some("is being deleted"));
    }

    #[test]
    fn a_known_claim_learns_its_volume_and_nothing_else() {
        let another = ClaimRef {
            uid: "2".to_owned(),
            ..known(Some("pv-2"))
        };
        let learned = merged(&[known(None)], [known(Some("pv-1"))].into_iter());
        assert_eq!(learned, [known(Some("pv-1"))]);
        assert_eq!(merged(&learned, [another].into_iter()), learned);
        assert_eq!(merged(&learned, [].into_iter()), learned);
    }

    #[test]
    fn a_claim_without_its_replica_is_known_until_it_is_gone() {
        let claim = |ordinal: u32, uid: &str| ClaimRef {
            name: format!("data-db-{ordinal}"),
            uid: uid.to_owned(),
            volume: None,
        };
        let set = |replicas: u32| {
            [
                json!({"kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {
                    "replicas": replicas, "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
                }}),
            ]
        };
        let (both, first) = ([claim(0, "1"), claim(1, "2")], [claim(0, "1")]);
        assert_eq!(without_gone(&both, &both, &set(1)), both);
        assert_eq!(without_gone(&both, &first, &set(1)), first);
        assert_eq!(without_gone(&both, &[], &set(1)), first);
        assert_eq!(without_gone(&both, &[], &set(2)), both);
        // A stopped instance has no manifests that say which replicas it has.
        assert_eq!(without_gone(&both, &[], &[]), both);
    }
}
