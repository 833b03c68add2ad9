//! Examination of a cluster by an operator: the classes that instances use.

use k8s_openapi::api::{networking::v1::IngressClass, storage::v1::StorageClass};
use kube::{Api, Resource, ResourceExt as _, api::ListParams};
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
