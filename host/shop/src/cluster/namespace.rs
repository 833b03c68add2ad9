//! A customer's namespace: prepared before anything is put into it, removed with its last instance.

use std::{collections::BTreeMap, time::Duration};

use dermaga_runtime::{
    contract::Resources,
    gate::{POD_SCRATCH_MIB, addresses},
};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
    discovery::ApiResource,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Cluster, ClusterError, FIELD_MANAGER, NAMESPACE, ObjectRef, USER_LABEL,
    access::ROLE_BINDING,
    discovery::Served,
    known::hash,
    object::{MANAGED_BY_LABEL, label, owner_labels},
};

use crate::ids::UserId;

/// Name of the quota, limit range and network policies in a customer's namespace.
pub(super) const NAME: &str = "dermaga";
/// Network policies of every customer's namespace; each name begins with [`NAME`] and a hyphen.
pub(super) const POLICIES: [&str; 5] = [
    "default-deny",
    "allow-own-namespace",
    "allow-dns",
    "allow-internet",
    "allow-ingress",
];
const QUOTA: &str = "ResourceQuota";
/// Parts of one namespace that are applied side by side.
const PARALLEL_WALLS: usize = 4;
/// Longest wait for a new quota: pods made before the controller has seen it slip past it.
const QUOTA_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for new rights to be known to the API server.
const BINDING_TIMEOUT: Duration = Duration::from_secs(5);
const BINDING_POLL: Duration = Duration::from_millis(50);
const QUOTA_POLL: Duration = Duration::from_millis(100);
/// Time for the watch to show the same, before the API server is asked.
const QUOTA_WATCHED: Duration = Duration::from_secs(2);
const QUOTA_WATCH_POLL: Duration = Duration::from_millis(20);
/// Address of the NodeLocal DNSCache add-on, which runs outside of any pod.
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";

/// The Pod Security level a namespace enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodSecurity {
    Restricted,
    /// When a service in it has a template's exception, such as running as root.
    Baseline,
}

impl PodSecurity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Baseline => "baseline",
        }
    }
}

/// Desired state of a customer's namespace.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub namespace: String,
    pub user_id: UserId,
    /// Names of the instances that live in it.
    pub instances: Vec<String>,
    /// Sum of the resources that its instances bought.
    pub budget: Resources,
    /// The largest of them, which the quota allows once more for pods that overlap in an update.
    pub surge: Resources,
    pub pod_security: PodSecurity,
    /// The namespace whose pods and the customer's may reach one another.
    pub ingress_namespace: String,
}

/// A customer's namespace at one moment.
#[derive(Debug, Clone)]
pub enum NamespaceState {
    Absent,
    /// Its removal is under way.
    Leaving,
    Present(NamespaceVersion),
}

/// Version of a namespace that was read; the namespace is deleted only if it has not changed since.
#[derive(Debug, Clone)]
pub struct NamespaceVersion(Preconditions);

/// Returns true for the kind and name of an object that every customer's namespace has. Labels prove nothing: a foreign
/// policy may have any.
pub fn is_wall(kind: &str, name: &str) -> bool {
    match kind {
        "NetworkPolicy" => {
            let policy = name.strip_prefix(NAME);
            let policy = policy.and_then(|rest| rest.strip_prefix('-'));
            policy.is_some_and(|policy| POLICIES.contains(&policy))
        }
        QUOTA | "LimitRange" | "RoleBinding" => name == NAME,
        _ => false,
    }
}

impl Tenant {
    /// Namespace, quota, limits and network policies, in the order to apply them.
    pub fn manifests(&self) -> Vec<Value> {
        vec![
            self.namespace_object(),
            self.object("v1", QUOTA, NAME, &json!({"hard": self.hard()})),
            self.object("v1", "LimitRange", NAME, &limits()),
            self.policy(
                "default-deny",
                // Lists that are named, if empty, are ours, so that a rule added by another goes again.
                &json!({
                    "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": [],
                }),
            ),
            self.policy("allow-own-namespace", &own_namespace()),
            self.policy("allow-dns", &dns()),
            self.policy("allow-internet", &internet()),
            self.policy("allow-ingress", &ingress(&self.ingress_namespace)),
        ]
    }

    fn namespace_object(&self) -> Value {
        let mut labels = owner_labels(self.user_id);
        let level = |key: &str| format!("pod-security.kubernetes.io/{key}");
        labels.insert(level("enforce"), self.pod_security.as_str().to_owned());
        labels.insert(level("warn"), PodSecurity::Restricted.as_str().to_owned());
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": self.namespace,
                "labels": labels,
                // A new instance changes this, and with it the version that a deletion insists on.
                "annotations": {"dermaga.dev/instances": self.instances.join(",")},
            },
        })
    }

    fn hard(&self) -> BTreeMap<&'static str, String> {
        let Resources {
            cpu_millis,
            memory_mib,
            storage_gib,
            replicas,
        } = self.budget;
        let cpu = format!("{}m", cpu_millis.saturating_add(self.surge.cpu_millis));
        let memory = format!("{}Mi", memory_mib.saturating_add(self.surge.memory_mib));
        let pods = replicas.saturating_add(self.surge.replicas);
        let scratch = format!("{}Mi", u64::from(pods) * u64::from(POD_SCRATCH_MIB));
        BTreeMap::from([
            ("requests.cpu", cpu.clone()),
            ("limits.cpu", cpu),
            ("requests.memory", memory.clone()),
            ("limits.memory", memory),
            ("requests.storage", format!("{storage_gib}Gi")),
            ("requests.ephemeral-storage", scratch.clone()),
            ("limits.ephemeral-storage", scratch),
            ("pods", pods.to_string()),
            ("services.nodeports", "0".to_owned()),
            ("services.loadbalancers", "0".to_owned()),
        ])
    }

    fn policy(&self, name: &str, spec: &Value) -> Value {
        self.object(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            &format!("{NAME}-{name}"),
            spec,
        )
    }

    fn object(&self, api_version: &str, kind: &str, name: &str, spec: &Value) -> Value {
        json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace, "labels": owner_labels(self.user_id)},
            "spec": spec,
        })
    }
}

/// Limits of containers whose manifest names none; the gate asks plugins for them, or forces them.
fn limits() -> Value {
    json!({"limits": [
        {
            "type": "Container",
            "default": {"cpu": "250m", "memory": "256Mi", "ephemeral-storage": "256Mi"},
            "defaultRequest": {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "64Mi"},
        },
        {"type": "Pod", "max": {"ephemeral-storage": format!("{POD_SCRATCH_MIB}Mi")}},
    ]})
}

/// Returns true for the namespace and the rights in it, without which the rest is refused, and for the
/// quota, which its controller needs a moment for.
fn is_before_others(manifest: &Value) -> bool {
    let kind = ObjectRef::of(manifest).kind;
    [NAMESPACE, ROLE_BINDING.1, QUOTA].contains(&kind.as_str())
}

/// Returns the refusal of work in a namespace that goes, with all that would be put into it.
fn leaving(namespace: &str) -> ClusterError {
    ClusterError::NotYet(format!("Namespace {namespace} is still being removed"))
}

/// Policy for traffic between the services of one customer.
fn own_namespace() -> Value {
    let anybody = json!([{"podSelector": {}}]);
    json!({
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": anybody}],
        "egress": [{"to": anybody}],
    })
}

fn dns() -> Value {
    let port = |protocol: &str| json!({"protocol": protocol, "port": 53});
    json!({
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [{
            "to": [
                // Namespaces carry their name as a label only since 1.21: find DNS by its pods.
                {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}},
                {"ipBlock": {"cidr": NODE_LOCAL_DNS}},
            ],
            "ports": [port("UDP"), port("TCP")],
        }],
    })
}

/// Egress policy: allows calls to other services and mail, and nothing inside the cluster.
fn internet() -> Value {
    json!({
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [{"to": [
            {"ipBlock": {"cidr": "0.0.0.0/0", "except": addresses::closed_v4()}},
            {"ipBlock": {"cidr": "::/0", "except": addresses::closed_v6()}},
        ]}],
    })
}

/// Policy for the ingress controller, both ways: a service that asks its own public address comes
/// out at the controller's pods, whose addresses are closed otherwise.
fn ingress(namespace: &str) -> Value {
    let labels = json!({"kubernetes.io/metadata.name": namespace});
    let pods = json!([{"namespaceSelector": {"matchLabels": labels}}]);
    json!({
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": pods}],
        "egress": [{"to": pods}],
    })
}

impl Cluster {
    /// Brings the customer's namespace to its desired state and waits until its quota is in force.
    ///
    /// # Errors
    /// [`ClusterError::NotOurs`] when a namespace of that name belongs to another owner,
    /// [`ClusterError::NotYet`] while it is being removed or the quota is not in force.
    pub async fn prepare_namespace(&self, tenant: &Tenant) -> Result<(), ClusterError> {
        let mut manifests = tenant.manifests();
        // The rights come after the namespace, and before what they are for.
        let binding = self.binding(&tenant.namespace, tenant.user_id).await?;
        manifests.splice(1..1, binding);
        manifests.retain(|manifest| {
            let object = ObjectRef::of(manifest);
            let wanted = hash(manifest);
            !self.walls.agrees(&tenant.namespace, &object, wanted)
        });
        if manifests.is_empty() {
            return Ok(());
        }
        if !self.walls.has_namespace(&tenant.namespace, tenant.user_id)
            && let Some(live) = self.namespace_of(&tenant.namespace, tenant.user_id).await?
            && live.metadata.deletion_timestamp.is_some()
        {
            return Err(leaving(&tenant.namespace));
        }
        let served = self.served().await?;
        let (ground, walls): (Vec<Value>, Vec<Value>) =
            manifests.into_iter().partition(is_before_others);
        let mut is_bound = false;
        for manifest in &ground {
            self.put_part(&served, &tenant.namespace, manifest, is_bound)
                .await?;
            is_bound |= ObjectRef::of(manifest).kind == ROLE_BINDING.1;
        }
        let put: Vec<_> = walls
            .iter()
            .map(|manifest| self.put_part(&served, &tenant.namespace, manifest, is_bound))
            .collect();
        stream::iter(put)
            .buffer_unordered(PARALLEL_WALLS)
            .try_collect::<()>()
            .await?;
        self.quota_in_force(&tenant.namespace).await
    }

    /// Applies one part of a customer's namespace. Rights that were bound just now may be unknown to the
    /// API server for a moment.
    async fn put_part(
        &self,
        served: &Served,
        namespace: &str,
        manifest: &Value,
        is_bound: bool,
    ) -> Result<(), ClusterError> {
        let object = ObjectRef::of(manifest);
        let Some(resource) = served.resource(&object.api_version, &object.kind) else {
            return Ok(());
        };
        let api = self.namespace_part(namespace, resource);
        let (params, patch) = (
            PatchParams::apply(FIELD_MANAGER).force(),
            Patch::Apply(manifest),
        );
        let deadline = Instant::now() + BINDING_TIMEOUT;
        let applied = loop {
            let applied = api.patch(&object.name, &params, &patch);
            match self.call(&object, applied).await {
                Err(ClusterError::Denied(_)) if is_bound && Instant::now() < deadline => {
                    sleep(BINDING_POLL).await;
                }
                applied => break applied?,
            }
        };
        // The watch may have shown it as it was before. A removal that comes after this apply is refused.
        if object.kind == NAMESPACE && applied.metadata.deletion_timestamp.is_some() {
            return Err(leaving(namespace));
        }
        self.walls.applied(&object.kind, &applied, hash(manifest));
        Ok(())
    }

    fn namespace_part(&self, namespace: &str, resource: &ApiResource) -> Api<DynamicObject> {
        if resource.kind == NAMESPACE {
            Api::all_with(self.client.clone(), resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, resource)
        }
    }

    async fn quota_in_force(&self, namespace: &str) -> Result<(), ClusterError> {
        if self.is_shown_in_force(namespace).await {
            return Ok(());
        }
        let quotas: Api<ResourceQuota> = Api::namespaced(self.client.clone(), namespace);
        let deadline = Instant::now() + QUOTA_TIMEOUT;
        loop {
            let quota = self.call("ResourceQuota/dermaga", quotas.get(NAME)).await?;
            let wanted = quota.spec.and_then(|spec| spec.hard);
            if wanted.is_some() && quota.status.and_then(|status| status.hard) == wanted {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let message = format!("the quota of namespace {namespace} is not in force yet");
                return Err(ClusterError::NotYet(message));
            }
            sleep(QUOTA_POLL).await;
        }
    }

    /// Waits a moment for the watch to show that the quota is in force, which costs no request.
    async fn is_shown_in_force(&self, namespace: &str) -> bool {
        let deadline = Instant::now() + QUOTA_WATCHED;
        loop {
            if self.walls.is_in_force(namespace) {
                return true;
            }
            if Instant::now() >= deadline || !self.walls.is_current() {
                return false;
            }
            sleep(QUOTA_WATCH_POLL).await;
        }
    }

    /// The customer's namespace, if it is there.
    async fn namespace_of(
        &self,
        name: &str,
        user_id: UserId,
    ) -> Result<Option<Namespace>, ClusterError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let object = format!("Namespace/{name}");
        let live = self.call(&object, namespaces.get_opt(name)).await?;
        let is_ours = |live: &Namespace| {
            let labels = live.metadata.labels.as_ref();
            label(labels, MANAGED_BY_LABEL) == Some(FIELD_MANAGER)
                && label(labels, USER_LABEL) == Some(user_id.to_string().as_str())
        };
        if live.as_ref().is_some_and(|live| !is_ours(live)) {
            return Err(ClusterError::NotOurs {
                namespace: name.to_owned(),
                object,
            });
        }
        Ok(live)
    }

    /// Returns the current state of the customer's namespace.
    ///
    /// # Errors
    /// [`ClusterError::NotOurs`] when a namespace of that name belongs to another owner.
    pub async fn namespace_state(
        &self,
        name: &str,
        user_id: UserId,
    ) -> Result<NamespaceState, ClusterError> {
        let Some(Namespace { metadata, .. }) = self.namespace_of(name, user_id).await? else {
            return Ok(NamespaceState::Absent);
        };
        if metadata.deletion_timestamp.is_some() {
            return Ok(NamespaceState::Leaving);
        }
        let version = Preconditions {
            uid: metadata.uid,
            resource_version: metadata.resource_version,
        };
        Ok(NamespaceState::Present(NamespaceVersion(version)))
    }

    /// Asks for the removal of a namespace, provided that it has not changed since `version`.
    ///
    /// # Errors
    /// [`ClusterError::NotYet`] when it has changed: an instance may have moved in.
    pub async fn delete_namespace(
        &self,
        name: &str,
        version: NamespaceVersion,
    ) -> Result<(), ClusterError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let params = DeleteParams::background().preconditions(version.0);
        let deleted = self
            .call(format!("Namespace/{name}"), async {
                Ok(namespaces.delete(name, &params).await)
            })
            .await?;
        match deleted {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(ClusterError::of(error, &format!("Namespace/{name}"))),
        }
    }
}
