//! The rules of the gate and the report of a broken one.

use std::fmt;

use serde::{Serialize, Serializer};

/// One broken rule: object, place, reason and advice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// Kind and name, for example `Deployment/shop-web`.
    pub object: String,
    /// JSON pointer into the object; empty for the whole.
    pub path: String,
    pub rule: Rule,
    pub message: String,
    /// Advice for the plugin's author.
    pub fix: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            object,
            path,
            rule,
            message,
            fix,
        } = self;
        write!(f, "{object} {path}: {message} ({rule}); {fix}")
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $code:literal: $message:literal, $fix:literal;)*) => {
        /// The closed list of rules.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// All rules.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the stable, machine-readable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Returns the reason, for a violation without a more exact one.
            pub(super) const fn message(self) -> &'static str {
                match self { $(Self::$name => $message,)* }
            }

            /// Returns advice for the plugin's author.
            pub const fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)* }
            }
        }
    };
}

rules! {
    // what an object is
    KindNotAllowed = "GATE_KIND_NOT_ALLOWED":
        "objects of this kind are not allowed",
        "use Deployment, StatefulSet, Job, CronJob, Service, Ingress, NetworkPolicy, ConfigMap, Secret, \
         PersistentVolumeClaim, PodDisruptionBudget or ServiceAccount";
    ApiVersionNotAllowed = "GATE_API_VERSION_NOT_ALLOWED":
        "this kind has another apiVersion",
        "use the stable version of the kind's API group";
    MalformedObject = "GATE_MALFORMED_OBJECT":
        "the value has the wrong type or is missing",
        "write it as the Kubernetes API documents it";
    FieldNotAllowed = "GATE_FIELD_NOT_ALLOWED":
        "the field is not among those a plugin may set",
        "remove it";
    ValueNotAllowed = "GATE_VALUE_NOT_ALLOWED":
        "the value is not among those a plugin may set",
        "use one of the values named";
    TooManyObjects = "GATE_TOO_MANY_OBJECTS":
        "an instance has too many objects",
        "put what belongs together into fewer objects";
    ObjectTooLarge = "GATE_OBJECT_TOO_LARGE":
        "the object is too large",
        "keep large data in the image or on a volume";
    DuplicateObject = "GATE_DUPLICATE_OBJECT":
        "another object of this kind has the same name",
        "give each object of a kind its own name";
    DuplicateKey = "GATE_DUPLICATE_KEY":
        "another entry of the list has the same key, which no cluster applies",
        "give each container, variable, port, mount and volume its own name, number or path";

    // whose it is
    NameOutsideInstance = "GATE_NAME_OUTSIDE_INSTANCE":
        "the name does not begin with the instance's",
        "name objects `<instance>` or `<instance>-<part>`";
    NamespaceForeign = "GATE_NAMESPACE_FOREIGN":
        "the object asks for another namespace",
        "leave the namespace out: the host sets it";
    MetadataForbidden = "GATE_METADATA_FORBIDDEN":
        "only name, labels and annotations of the metadata are a plugin's to set",
        "remove the field";
    LabelReserved = "GATE_LABEL_RESERVED":
        "labels of dermaga.dev are the host's",
        "leave the label out: the host sets it";
    AnnotationNotAllowed = "GATE_ANNOTATION_NOT_ALLOWED":
        "annotations that steer other software are not allowed",
        "use an annotation without a domain, or one of those the documentation lists";
    LabelNotAllowed = "GATE_LABEL_NOT_ALLOWED":
        "labels that steer other software are not allowed",
        "use a label that the documentation lists";
    SelectorForeign = "GATE_SELECTOR_FOREIGN":
        "the selector does not select this instance's own pods",
        "select by the labels of the instance's own pod templates, with matchLabels";
    ReferenceForeign = "GATE_REFERENCE_FOREIGN":
        "the object referred to is not one of this instance",
        "refer to an object that is rendered here, or to the instance's secret object";
    SecretReserved = "GATE_SECRET_RESERVED":
        "the host writes the Secret object of this name",
        "only refer to it; give your own Secret another name";
    SecretType = "GATE_SECRET_TYPE":
        "only Opaque secrets are allowed",
        "leave the type out";

    // what it runs
    ImageUnpinned = "GATE_IMAGE_UNPINNED":
        "the image is not pinned",
        "name a tag other than latest, or a digest";
    ImageNotListed = "GATE_IMAGE_NOT_LISTED":
        "the image is not among those in force for this service",
        "use the references in `instance.images`";

    // how much it asks for
    ResourcesMissing = "GATE_RESOURCES_MISSING":
        "every container states requests and limits of cpu and memory",
        "add what is missing under resources";
    QuantityMalformed = "GATE_QUANTITY_MALFORMED":
        "this is not a quantity",
        "write it as Kubernetes does, for example 250m, 512Mi or 5Gi";
    RequestOverLimit = "GATE_REQUEST_OVER_LIMIT":
        "the request is larger than the limit",
        "ask for at most the limit";
    CpuOverBudget = "GATE_CPU_OVER_BUDGET":
        "the workloads ask for more CPU than the plan bought",
        "share out plan.resources over all containers and replicas";
    MemoryOverBudget = "GATE_MEMORY_OVER_BUDGET":
        "the workloads ask for more memory than the plan bought",
        "share out plan.resources over all containers and replicas";
    StorageOverBudget = "GATE_STORAGE_OVER_BUDGET":
        "the volumes ask for more storage than the plan bought",
        "share out plan.resources over all claims and replicas";
    ReplicasOverBudget = "GATE_REPLICAS_OVER_BUDGET":
        "the workloads run more pods than the plan bought",
        "run fewer replicas or jobs";
    EphemeralStorage = "GATE_EPHEMERAL_STORAGE":
        "scratch space has no sensible bound",
        "give every emptyDir a sizeLimit, and a pod at most 2Gi of emptyDirs and of limits of ephemeral-storage together";
    ConcurrencyUnbounded = "GATE_CONCURRENCY_UNBOUNDED":
        "runs of a CronJob could pile up",
        "set concurrencyPolicy to Forbid or Replace";

    DrainBlocked = "GATE_DRAIN_BLOCKED":
        "the budget lets no pod be moved, so that no node can be emptied",
        "set either maxUnavailable to at least 1 or minAvailable to less than the replicas";

    // Pod Security, restricted
    HostNamespace = "GATE_HOST_NAMESPACE":
        "pods may not share the node's network, processes or users",
        "remove the field";
    HostPort = "GATE_HOST_PORT":
        "ports of the node are not available",
        "use containerPort and a Service";
    HostProbe = "GATE_HOST_PROBE":
        "probes and hooks may only reach their own pod",
        "remove host";
    VolumeType = "GATE_VOLUME_TYPE":
        "volumes of this type are not allowed",
        "use configMap, secret, emptyDir, persistentVolumeClaim, projected or downwardAPI";
    ServiceAccountToken = "GATE_SERVICE_ACCOUNT_TOKEN":
        "pods of plugins get no token for the Kubernetes API",
        "remove the token, or set automountServiceAccountToken to false";
    Privileged = "GATE_PRIVILEGED":
        "privileged containers are not allowed",
        "remove privileged";
    PrivilegeEscalation = "GATE_PRIVILEGE_ESCALATION":
        "privilege escalation must be off",
        "set securityContext.allowPrivilegeEscalation to false on the container";
    CapabilitiesNotDropped = "GATE_CAPABILITIES_NOT_DROPPED":
        "all capabilities must be dropped",
        "set securityContext.capabilities.drop to [\"ALL\"] on the container";
    CapabilityAdded = "GATE_CAPABILITY_ADDED":
        "only NET_BIND_SERVICE may be added",
        "remove the capability";
    RunAsRoot = "GATE_RUN_AS_ROOT":
        "containers must not run as root",
        "set securityContext.runAsNonRoot to true and runAsUser, if set, to another user than 0; a service whose image needs root has the exception `run-as-root`";
    SeccompProfile = "GATE_SECCOMP_PROFILE":
        "the seccomp profile must be RuntimeDefault",
        "set securityContext.seccompProfile.type to RuntimeDefault on the pod";
    ProcMount = "GATE_PROC_MOUNT":
        "only the default proc mount is allowed",
        "remove procMount";
    Sysctl = "GATE_SYSCTL":
        "the sysctl is not among the safe ones",
        "remove it";

    // how it is reached
    ServiceExposed = "GATE_SERVICE_EXPOSED":
        "Services are reachable from inside the cluster only",
        "use type ClusterIP; public endpoints go through an Ingress";
    IngressHost = "GATE_INGRESS_HOST":
        "the host name is not this instance's",
        "use `instance.hostname`";
    IngressBackend = "GATE_INGRESS_BACKEND":
        "the backend is not a Service of this instance",
        "name a Service that is rendered here";
    IngressDefaultBackend = "GATE_INGRESS_DEFAULT_BACKEND":
        "a default backend would answer for hosts of others",
        "give a rule with a host";
    IngressPath = "GATE_INGRESS_PATH":
        "the path could be read as more than a path",
        "set pathType to Prefix or Exact, and path to `/` and letters, digits, `-`, `.`, `_`, `~` or `%` and two hexadecimal digits";
    IngressClass = "GATE_INGRESS_CLASS":
        "the ingress class is the host's to choose",
        "leave ingressClassName out";
    NetworkTooOpen = "GATE_NETWORK_TOO_OPEN":
        "the network rule opens too much",
        "leave the rule out: the host lets the ingress controller in and the instance out to the internet; else name this instance's pods, or ports and an ipBlock without private and metadata addresses";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.code())
    }
}
