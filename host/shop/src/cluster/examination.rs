//! Examination of a cluster by an operator: classes, nodes and other things that settings name.

use std::collections::BTreeMap;

use k8s_openapi::api::{core::v1::Node, networking::v1::IngressClass, storage::v1::StorageClass};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde::de::DeserializeOwned;

use super::{Cluster, ClusterError};

/// Annotations by which a cluster marks its default class of each kind.
const DEFAULT_INGRESS: &str = "ingressclass.kubernetes.io/is-default-class";
const DEFAULT_STORAGE: &str = "storageclass.kubernetes.io/is-default-class";

/// Kind of class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClassKind {
    Ingress,
    Storage,
}

/// Kind of an object of the whole cluster that a setting names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedKind {
    PriorityClass,
    /// Of cert-manager.
    ClusterIssuer,
    /// Of the External Secrets Operator.
    ClusterSecretStore,
}

impl NamedKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PriorityClass => "PriorityClass",
            Self::ClusterIssuer => "ClusterIssuer",
            Self::ClusterSecretStore => "ClusterSecretStore",
        }
    }

    /// Group, versions that a cluster may serve, and plural.
    const fn place(self) -> (&'static str, &'static [&'static str], &'static str) {
        match self {
            Self::PriorityClass => ("scheduling.k8s.io", &["v1"], "priorityclasses"),
            Self::ClusterIssuer => ("cert-manager.io", &["v1"], "clusterissuers"),
            Self::ClusterSecretStore => (
                "external-secrets.io",
                &["v1", "v1beta1"],
                "clustersecretstores",
            ),
        }
    }
}

/// Class that objects without a name of their own get, or that a setting names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundClass {
    /// The one that is used, by its name.
    Used(String),
    /// The named one is not there; these are.
    Missing(Vec<String>),
    /// The cluster has no default; these are there.
    NoDefault(Vec<String>),
}

impl Cluster {
    /// Finds the class that instances get: the named one, or the cluster's default.
    ///
    /// # Errors
    /// When the cluster is away or does not let the server read classes.
    pub async fn class(
        &self,
        kind: ClassKind,
        named: Option<&str>,
    ) -> Result<FoundClass, ClusterError> {
        let classes = match kind {
            ClassKind::Ingress => self.classes::<IngressClass>(DEFAULT_INGRESS).await?,
            ClassKind::Storage => self.classes::<StorageClass>(DEFAULT_STORAGE).await?,
        };
        Ok(chosen(classes, named))
    }

    /// Returns the controller of an Ingress class; `None` when the class is not there or names none.
    ///
    /// # Errors
    /// When the cluster is away or does not let the server read classes.
    pub async fn ingress_controller(&self, class: &str) -> Result<Option<String>, ClusterError> {
        let api: Api<IngressClass> = Api::all(self.client.clone());
        let found = self
            .call("classes", api.list(&ListParams::default()))
            .await?;
        let mut classes = found.items.into_iter();
        let class = classes.find(|found| found.name_any() == class);
        Ok(class.and_then(|class| class.spec?.controller))
    }

    /// Returns true when an object that a setting names is there; false also where the cluster does not know its kind.
    ///
    /// # Errors
    /// When the cluster is away or does not let the server read it.
    pub async fn has(&self, kind: NamedKind, name: &str) -> Result<bool, ClusterError> {
        let (group, versions, plural) = kind.place();
        for version in versions {
            let kind = GroupVersionKind::gvk(group, version, kind.as_str());
            let resource = ApiResource::from_gvk_with_plural(&kind, plural);
            let objects: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
            let found = async {
                match objects.get(name).await {
                    Ok(_) => Ok(true),
                    // A cluster that does not know the kind answers 404 without a reason.
                    Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
                    Err(error) => Err(error),
                }
            };
            if self.call(format!("{}/{name}", kind.kind), found).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counts the nodes that have all of these labels.
    ///
    /// # Errors
    /// When the cluster is away or does not let the server list nodes.
    pub async fn nodes_with(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<usize, ClusterError> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let wanted = labels.iter().map(|(key, value)| format!("{key}={value}"));
        let wanted: Vec<String> = wanted.collect();
        let params = ListParams::default().labels(&wanted.join(","));
        let found = self.call("Node objects", nodes.list_metadata(&params));
        Ok(found.await?.items.len())
    }

    /// Returns the names of the classes, and for each if it is the default.
    async fn classes<K>(&self, default: &str) -> Result<Vec<(String, bool)>, ClusterError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let found = self
            .call("classes", api.list(&ListParams::default()))
            .await?;
        let is_default = |class: &K| {
            let mark = class.annotations().get(default);
            mark.is_some_and(|mark| mark == "true")
        };
        let found = found.items.iter();
        Ok(found
            .map(|class| (class.name_any(), is_default(class)))
            .collect())
    }
}

fn chosen(classes: Vec<(String, bool)>, named: Option<&str>) -> FoundClass {
    let used = classes.iter().find(|(name, is_default)| match named {
        Some(named) => name == named,
        None => *is_default,
    });
    if let Some((name, _)) = used {
        return FoundClass::Used(name.clone());
    }
    let names = classes.into_iter().map(|(name, _)| name).collect();
    match named {
        Some(_) => FoundClass::Missing(names),
        None => FoundClass::NoDefault(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_the_named_one_or_the_default() {
        let classes = || vec![("nginx".to_owned(), false), ("traefik".to_owned(), true)];
        let used = |name: &str| FoundClass::Used(name.to_owned());
        assert_eq!(chosen(classes(), None), used("traefik"));
        assert_eq!(chosen(classes(), Some("nginx")), used("nginx"));
        let names = vec!["nginx".to_owned(), "traefik".to_owned()];
        assert_eq!(
            chosen(classes(), Some("haproxy")),
            FoundClass::Missing(names)
        );
        assert_eq!(chosen(Vec::new(), None), FoundClass::NoDefault(Vec::new()));
    }
}
