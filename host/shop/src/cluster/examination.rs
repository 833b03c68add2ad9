//! Examination of a cluster by an operator: the server's rights, and the classes that instances use.

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    networking::v1::IngressClass,
    storage::v1::StorageClass,
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{ListParams, PostParams},
};
use serde::de::DeserializeOwned;

use super::{Cluster, ClusterError};

/// Rights across the cluster without which no instance can be made and watched: verb, group and
/// resource. `deploy/kubernetes/rbac.yaml` has all of them.
const RIGHTS: &[(&str, &str, &str)] = &[
    ("create", "", "namespaces"),
    ("patch", "", "namespaces"),
    ("delete", "", "namespaces"),
    ("list", "", "pods"),
    ("watch", "", "pods"),
    ("list", "", "services"),
    ("list", "", "persistentvolumeclaims"),
    ("list", "apps", "deployments"),
    ("watch", "apps", "deployments"),
    ("list", "apps", "statefulsets"),
    ("watch", "apps", "statefulsets"),
    ("list", "networking.k8s.io", "ingresses"),
    ("list", "networking.k8s.io", "networkpolicies"),
    ("list", "gateway.networking.k8s.io", "httproutes"),
    ("create", "rbac.authorization.k8s.io", "rolebindings"),
    ("list", "", "nodes"),
    ("watch", "", "nodes"),
];

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
    /// Returns the rights that this server lacks, such as `create namespaces`.
    ///
    /// # Errors
    /// When the cluster is away or does not say.
    pub async fn missing_rights(&self) -> Result<Vec<String>, ClusterError> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let mut missing = Vec::new();
        for (verb, group, resource) in RIGHTS {
            let review = review(verb, group, resource);
            let params = PostParams::default();
            let answer = self.call("its own rights", reviews.create(&params, &review));
            if !answer.await?.status.is_some_and(|status| status.allowed) {
                missing.push(format!("{verb} {resource}"));
            }
        }
        Ok(missing)
    }

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

fn review(verb: &str, group: &str, resource: &str) -> SelfSubjectAccessReview {
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
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

    /// An operator who applies the roles of `deploy/kubernetes` lacks no right.
    #[test]
    fn the_role_in_deploy_has_every_right() {
        let roles = include_str!("../../../../deploy/kubernetes/rbac.yaml");
        let (cluster, _) = roles.split_once("name: dermaga-tenant").unwrap();
        for (verb, group, resource) in RIGHTS {
            let group = if group.is_empty() { "\"\"" } else { group };
            let has = cluster.split("- apiGroups: ").any(|rule| {
                let verbs = rule.split_once("verbs: ").map_or("", |(_, verbs)| verbs);
                let verbs = verbs.lines().next().unwrap_or_default();
                rule.starts_with(&format!("[{group}]"))
                    && rule.contains(resource)
                    && verbs.contains(verb)
            });
            assert!(has, "{verb} {resource}");
        }
    }
}
