//! The server's rights: the whole of what `deploy/kubernetes/rbac.yaml` grants, and the question if it has them.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    rbac::v1::RoleBinding,
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::Value;

use super::{
    Cluster, ClusterError, FIELD_MANAGER, USER_LABEL, access::TENANT_ROLE, object::MANAGED_BY_LABEL,
};

/// Group, resource and verbs.
type Row = (&'static str, &'static str, &'static str);

/// Reads of what an instance is made of: `get` before an apply and a removal, the others for its watch.
const WATCHED: &str = "get list watch";
/// Changes of what an instance is made of. An apply that makes an object needs both of the first.
const CHANGED: &str = "create patch delete";

/// Rights across the cluster, of the role `dermaga`.
const ACROSS: &[Row] = &[
    ("", "namespaces", "get list watch create patch delete"),
    ("", "pods", WATCHED),
    ("", "services", WATCHED),
    ("", "serviceaccounts", WATCHED),
    ("", "configmaps", WATCHED),
    ("", "persistentvolumeclaims", WATCHED),
    // A new quota is read until it is in force.
    ("", "resourcequotas", WATCHED),
    ("", "limitranges", "list watch"),
    ("", "nodes", "list watch"),
    ("", "events", "list"),
    ("apps", "deployments", WATCHED),
    ("apps", "statefulsets", WATCHED),
    ("apps", "replicasets", "list"),
    ("batch", "jobs", WATCHED),
    ("batch", "cronjobs", WATCHED),
    ("networking.k8s.io", "ingresses", WATCHED),
    ("networking.k8s.io", "networkpolicies", WATCHED),
    ("networking.k8s.io", "ingressclasses", "list"),
    ("gateway.networking.k8s.io", "httproutes", WATCHED),
    ("gateway.networking.k8s.io", "gateways", "get"),
    ("policy", "poddisruptionbudgets", WATCHED),
    (
        "rbac.authorization.k8s.io",
        "rolebindings",
        "list watch create patch",
    ),
    // Of the tenants' role alone.
    ("rbac.authorization.k8s.io", CLUSTER_ROLES, "bind"),
    ("storage.k8s.io", "storageclasses", "get list"),
    ("discovery.k8s.io", "endpointslices", "list"),
    ("metrics.k8s.io", "nodes", "list"),
    ("metrics.k8s.io", "pods", "list"),
];

/// Rights in a customer's namespace, of the role `dermaga-tenant`.
const IN_NAMESPACES: &[Row] = &[
    // Nowhere else is a Secret read.
    ("", "secrets", "get list create patch delete"),
    ("", "services", CHANGED),
    ("", "serviceaccounts", CHANGED),
    ("", "configmaps", CHANGED),
    ("", "persistentvolumeclaims", CHANGED),
    ("", "resourcequotas", "create patch"),
    ("", "limitranges", "create patch"),
    ("", "pods", "delete"),
    ("", "pods/log", "get"),
    ("", "events", "create"),
    ("apps", "deployments", CHANGED),
    ("apps", "statefulsets", CHANGED),
    ("batch", "jobs", CHANGED),
    ("batch", "cronjobs", CHANGED),
    ("networking.k8s.io", "ingresses", CHANGED),
    ("networking.k8s.io", "networkpolicies", CHANGED),
    ("gateway.networking.k8s.io", "httproutes", CHANGED),
    ("policy", "poddisruptionbudgets", CHANGED),
];

const CLUSTER_ROLES: &str = "clusterroles";
/// Questions that are asked at the same time.
const PARALLEL_QUESTIONS: usize = 8;
/// Bindings that are read to find one of this server.
const BINDINGS_READ: u32 = 500;
/// Customers' namespaces in which rights are asked for, until one lacks none.
const NAMESPACES_TRIED: usize = 3;

/// Right to do one thing with one resource, which may have a subresource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
}

impl Right {
    fn of(rows: &[Row]) -> impl Iterator<Item = Self> {
        rows.iter().flat_map(|&(group, resource, verbs)| {
            verbs.split(' ').map(move |verb| Self {
                group,
                resource,
                verb,
            })
        })
    }

    /// Name of the only object that it is for.
    fn name(self) -> Option<&'static str> {
        (self.resource == CLUSTER_ROLES).then_some(TENANT_ROLE)
    }

    /// Says it as `create namespaces`, or `create secrets in user-1`.
    fn told(self, namespace: Option<&str>) -> String {
        let Self { verb, resource, .. } = self;
        match namespace {
            Some(namespace) => format!("{verb} {resource} in {namespace}"),
            None => format!("{verb} {resource}"),
        }
    }

    fn review(self, namespace: Option<String>) -> SelfSubjectAccessReview {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (self.resource, None),
        };
        SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace,
                    verb: Some(self.verb.to_owned()),
                    group: Some(self.group.to_owned()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    name: self.name().map(str::to_owned),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        }
    }
}

impl Cluster {
    /// Returns the rights that this server lacks, such as `create namespaces`. Those in customers' namespaces are asked
    /// for in one of them, if there is one: the server gets them with each that it makes.
    ///
    /// # Errors
    /// When the cluster is away or does not say.
    pub async fn missing_rights(&self) -> Result<Vec<String>, ClusterError> {
        let mut missing = self.missing_of(ACROSS, None).await?;
        let Some(subject) = self.subject().await? else {
            missing.extend(self.missing_of(IN_NAMESPACES, None).await?);
            return Ok(missing);
        };
        let mut missing_there = Vec::new();
        // A namespace may go with its binding meanwhile.
        for _ in 0..NAMESPACES_TRIED {
            missing_there = match self.bound_namespace(subject).await? {
                Some(namespace) => self.missing_of(IN_NAMESPACES, Some(&namespace)).await?,
                None => Vec::new(),
            };
            if missing_there.is_empty() {
                break;
            }
        }
        missing.extend(missing_there);
        Ok(missing)
    }

    async fn missing_of(
        &self,
        rows: &[Row],
        namespace: Option<&str>,
    ) -> Result<Vec<String>, ClusterError> {
        let questions: Vec<_> = Right::of(rows)
            .map(|right| (right, namespace.map(str::to_owned)))
            .collect();
        let missing: Vec<Option<String>> = stream::iter(questions)
            .map(|(right, namespace)| async move {
                let has = self.has_right(right, namespace.clone()).await?;
                Ok::<_, ClusterError>((!has).then(|| right.told(namespace.as_deref())))
            })
            .buffered(PARALLEL_QUESTIONS)
            .try_collect()
            .await?;
        Ok(missing.into_iter().flatten().collect())
    }

    async fn has_right(
        &self,
        right: Right,
        namespace: Option<String>,
    ) -> Result<bool, ClusterError> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client.clone());
        let (params, review) = (PostParams::default(), right.review(namespace));
        let answer = self.call("its own rights", reviews.create(&params, &review));
        Ok(answer.await?.status.is_some_and(|status| status.allowed))
    }

    /// Finds a customer's namespace in which this server is bound to its role; none where it may not list bindings.
    async fn bound_namespace(&self, subject: &Value) -> Result<Option<String>, ClusterError> {
        let bindings: Api<RoleBinding> = Api::all(self.client.clone());
        let ours = format!("{MANAGED_BY_LABEL}={FIELD_MANAGER},{USER_LABEL}");
        let params = ListParams::default().labels(&ours).limit(BINDINGS_READ);
        let listed = self.call("RoleBinding objects", bindings.list(&params));
        let listed = match listed.await {
            Ok(listed) => listed.items,
            Err(ClusterError::Denied(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let bound = listed.into_iter().find(|one| binds(one, subject));
        Ok(bound.and_then(|one| one.metadata.namespace))
    }
}

/// Returns true for a binding of the tenants' role to this subject that stays.
fn binds(binding: &RoleBinding, subject: &Value) -> bool {
    let is = |key: &str, word: Option<&str>| subject.get(key).and_then(Value::as_str) == word;
    let mut subjects = binding.subjects.iter().flatten();
    let is_its = subjects.any(|one| {
        is("kind", Some(one.kind.as_str()))
            && is("name", Some(one.name.as_str()))
            && is("namespace", one.namespace.as_deref())
    });
    is_its && binding.role_ref.name == TENANT_ROLE && binding.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;

    /// Rights of `dermaga doctor` alone, which says by itself what it may not read.
    const OF_DOCTOR: &[Row] = &[
        ("gateway.networking.k8s.io", "gatewayclasses", "get"),
        ("scheduling.k8s.io", "priorityclasses", "get"),
        ("cert-manager.io", "clusterissuers", "get"),
        ("external-secrets.io", "clustersecretstores", "get"),
    ];

    /// Says a right as the test compares it: group, resource, verb and names.
    fn written(rows: &[Row]) -> BTreeSet<String> {
        let said = |right: Right| {
            let Right {
                group,
                resource,
                verb,
            } = right;
            let names: Vec<_> = right.name().into_iter().collect();
            format!("{group} {resource} {verb} {names:?}")
        };
        Right::of(rows).map(said).collect()
    }

    fn texts<'a>(rule: &'a Value, key: &str) -> Vec<&'a str> {
        let texts = rule[key].as_array().into_iter().flatten();
        texts.map(|text| text.as_str().unwrap()).collect()
    }

    /// Returns what a role of the file grants. A right that it grants twice is counted.
    fn granted(role: &str) -> Vec<String> {
        let file = include_str!("../../../../deploy/kubernetes/rbac.yaml");
        let documents = serde_norway::Deserializer::from_str(file);
        let mut documents = documents.map(|one| Value::deserialize(one).unwrap());
        let role = documents.find(|one| {
            one["kind"] == json!("ClusterRole") && one["metadata"]["name"] == json!(role)
        });
        let role = role.unwrap();
        let mut granted = Vec::new();
        for rule in role["rules"].as_array().unwrap() {
            let names = texts(rule, "resourceNames");
            for group in texts(rule, "apiGroups") {
                for resource in texts(rule, "resources") {
                    for verb in texts(rule, "verbs") {
                        granted.push(format!("{group} {resource} {verb} {names:?}"));
                    }
                }
            }
        }
        granted
    }

    /// An operator who applies the roles of `deploy/kubernetes` lacks no right and grants none in vain.
    #[test]
    fn the_roles_in_deploy_are_exact() {
        let across = [ACROSS, OF_DOCTOR].concat();
        for (role, rows) in [("dermaga", across.as_slice()), (TENANT_ROLE, IN_NAMESPACES)] {
            let (wanted, granted) = (written(rows), granted(role));
            let found: BTreeSet<_> = granted.iter().cloned().collect();
            let lacking: Vec<_> = wanted.difference(&found).collect();
            let in_vain: Vec<_> = found.difference(&wanted).collect();
            assert!(lacking.is_empty(), "{role} lacks {lacking:?}");
            assert!(in_vain.is_empty(), "{role} grants in vain {in_vain:?}");
            assert_eq!(granted.len(), found.len(), "{role} grants one twice");
        }
    }

    /// The role in a customer's namespace adds to the one across the cluster.
    #[test]
    fn no_right_is_in_both_roles() {
        let across = written(ACROSS);
        let both: Vec<_> = written(IN_NAMESPACES)
            .into_iter()
            .filter(|right| across.contains(right))
            .collect();
        assert!(both.is_empty(), "{both:?}");
        let secrets = |right: &String| right.contains("secrets ");
        assert!(
            !across.iter().any(secrets),
            "no Secret is read across the cluster"
        );
    }

    #[test]
    fn a_namespace_is_one_in_which_this_server_is_bound() {
        let binding = |role: &str, name: &str| {
            let subject = json!({"kind": "ServiceAccount", "namespace": "dermaga", "name": name});
            let binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": "dermaga", "namespace": "user-1"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [subject],
            });
            serde_json::from_value::<RoleBinding>(binding).unwrap()
        };
        let own = json!({"kind": "ServiceAccount", "namespace": "dermaga", "name": "dermaga"});
        assert!(binds(&binding(TENANT_ROLE, "dermaga"), &own));
        assert!(!binds(&binding(TENANT_ROLE, "other"), &own));
        assert!(!binds(&binding("view", "dermaga"), &own));
        let user = json!({"kind": "User", "name": "dermaga"});
        assert!(!binds(&binding(TENANT_ROLE, "dermaga"), &user));
    }

    #[test]
    fn a_question_names_what_it_is_about() {
        let log = Right {
            group: "",
            resource: "pods/log",
            verb: "get",
        };
        let asked = log.review(Some("user-1".to_owned()));
        let asked = serde_json::to_value(asked.spec.resource_attributes).unwrap();
        let expected = json!({
            "group": "", "namespace": "user-1", "resource": "pods", "subresource": "log", "verb": "get",
        });
        assert_eq!(asked, expected);
        assert_eq!(log.told(Some("user-1")), "get pods/log in user-1");
        let bind = Right::of(ACROSS)
            .find(|right| right.verb == "bind")
            .unwrap();
        assert_eq!(bind.name(), Some("dermaga-tenant"));
        assert_eq!(bind.told(None), "bind clusterroles");
    }
}
