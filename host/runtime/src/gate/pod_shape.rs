//! The fields of pods that plugins may set.

use super::{
    rule::Rule,
    shape::Shape::{
        self, Any, Count, False, Fields, Flag, List, Never, OneOf, Same, Text, TextOrNumber, Texts,
        UpTo,
    },
};

/// Shape of `spec.template` of a workload.
pub(super) const TEMPLATE: Shape = Fields(&[
    (
        "metadata",
        Fields(&[("labels", Texts), ("annotations", Texts)]),
    ),
    ("spec", Same(&POD)),
]);

/// Maximum of seconds until a pod stops: a slow one delays the removal of its instance.
const MAX_GRACE_SECONDS: u64 = 600;

const POD: Shape = Fields(&[
    ("containers", List(&CONTAINER)),
    ("initContainers", List(&CONTAINER)),
    ("volumes", List(&VOLUME)),
    ("securityContext", Same(&POD_SECURITY)),
    ("restartPolicy", Text),
    ("terminationGracePeriodSeconds", UpTo(MAX_GRACE_SECONDS)),
    ("activeDeadlineSeconds", Count),
    ("serviceAccountName", Text),
    (
        "automountServiceAccountToken",
        False(Rule::ServiceAccountToken),
    ),
    ("enableServiceLinks", Flag),
    ("hostname", Text),
    ("subdomain", Text),
    ("hostNetwork", False(Rule::HostNamespace)),
    ("hostPID", False(Rule::HostNamespace)),
    ("hostIPC", False(Rule::HostNamespace)),
    ("hostUsers", False(Rule::HostNamespace)),
]);

const POD_SECURITY: Shape = Fields(&[
    ("runAsNonRoot", Flag),
    ("runAsUser", Count),
    ("runAsGroup", Count),
    ("fsGroup", Count),
    ("fsGroupChangePolicy", Text),
    ("supplementalGroups", List(&Count)),
    ("seccompProfile", Same(&SECCOMP)),
    (
        "sysctls",
        List(&Fields(&[
            ("name", OneOf(SAFE_SYSCTLS, Rule::Sysctl)),
            ("value", Text),
        ])),
    ),
]);

const SECCOMP: Shape = Fields(&[("type", OneOf(&["RuntimeDefault"], Rule::SeccompProfile))]);

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/>, as of 1.33.
const SAFE_SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

const CONTAINER: Shape = Fields(&[
    ("name", Text),
    ("image", Text),
    ("imagePullPolicy", Text),
    ("command", List(&Text)),
    ("args", List(&Text)),
    ("workingDir", Text),
    ("ports", List(&CONTAINER_PORT)),
    ("env", List(&VARIABLE)),
    ("envFrom", List(&VARIABLES)),
    (
        "resources",
        Fields(&[("requests", Same(&AMOUNTS)), ("limits", Same(&AMOUNTS))]),
    ),
    ("volumeMounts", List(&MOUNT)),
    ("livenessProbe", Same(&PROBE)),
    ("readinessProbe", Same(&PROBE)),
    ("startupProbe", Same(&PROBE)),
    (
        "lifecycle",
        Fields(&[("postStart", Same(&PROBE)), ("preStop", Same(&PROBE))]),
    ),
    ("securityContext", Same(&CONTAINER_SECURITY)),
    ("terminationMessagePath", Text),
    ("terminationMessagePolicy", Text),
    ("restartPolicy", OneOf(&["Always"], Rule::ValueNotAllowed)),
]);

const CONTAINER_PORT: Shape = Fields(&[
    ("name", Text),
    ("containerPort", Count),
    ("protocol", Text),
    ("hostPort", Never(Rule::HostPort)),
    ("hostIP", Never(Rule::HostPort)),
]);

const AMOUNTS: Shape = Fields(&[
    ("cpu", TextOrNumber),
    ("memory", TextOrNumber),
    ("ephemeral-storage", TextOrNumber),
]);

const VARIABLE: Shape = Fields(&[
    ("name", Text),
    ("value", Text),
    (
        "valueFrom",
        Fields(&[
            ("fieldRef", Any),
            ("resourceFieldRef", Any),
            ("configMapKeyRef", Same(&KEY)),
            ("secretKeyRef", Same(&KEY)),
        ]),
    ),
]);

const KEY: Shape = Fields(&[("name", Text), ("key", Text), ("optional", Flag)]);

const VARIABLES: Shape = Fields(&[
    ("prefix", Text),
    (
        "configMapRef",
        Fields(&[("name", Text), ("optional", Flag)]),
    ),
    ("secretRef", Fields(&[("name", Text), ("optional", Flag)])),
]);

const MOUNT: Shape = Fields(&[
    ("name", Text),
    ("mountPath", Text),
    ("subPath", Text),
    ("readOnly", Flag),
]);

/// Fields of probes and lifecycle hooks, which the kubelet runs in the same ways.
const PROBE: Shape = Fields(&[
    ("exec", Fields(&[("command", List(&Text))])),
    (
        "httpGet",
        Fields(&[
            ("path", Text),
            ("port", TextOrNumber),
            ("scheme", Text),
            ("httpHeaders", Any),
            ("host", Never(Rule::HostProbe)),
        ]),
    ),
    (
        "tcpSocket",
        Fields(&[("port", TextOrNumber), ("host", Never(Rule::HostProbe))]),
    ),
    ("grpc", Fields(&[("port", Count), ("service", Text)])),
    ("sleep", Fields(&[("seconds", Count)])),
    ("initialDelaySeconds", Count),
    ("periodSeconds", Count),
    ("timeoutSeconds", Count),
    ("successThreshold", Count),
    ("failureThreshold", Count),
    ("terminationGracePeriodSeconds", UpTo(MAX_GRACE_SECONDS)),
]);

const CONTAINER_SECURITY: Shape = Fields(&[
    ("runAsNonRoot", Flag),
    ("runAsUser", Count),
    ("runAsGroup", Count),
    ("readOnlyRootFilesystem", Flag),
    ("allowPrivilegeEscalation", Flag),
    ("privileged", False(Rule::Privileged)),
    (
        "capabilities",
        Fields(&[
            ("drop", List(&Text)),
            (
                "add",
                List(&OneOf(&["NET_BIND_SERVICE"], Rule::CapabilityAdded)),
            ),
        ]),
    ),
    ("seccompProfile", Same(&SECCOMP)),
    ("procMount", OneOf(&["Default"], Rule::ProcMount)),
]);

/// A volume of a type that is not here is reported by [`super::volumes`].
const VOLUME: Shape = Any;

/// The volume types of the restricted profile that plugins may use, and their fields.
pub(super) const VOLUME_TYPES: &[(&str, Shape)] = &[
    (
        "configMap",
        Fields(&[
            ("name", Text),
            ("items", Any),
            ("defaultMode", Count),
            ("optional", Flag),
        ]),
    ),
    (
        "secret",
        Fields(&[
            ("secretName", Text),
            ("items", Any),
            ("defaultMode", Count),
            ("optional", Flag),
        ]),
    ),
    (
        "emptyDir",
        Fields(&[
            ("medium", OneOf(&["", "Memory"], Rule::ValueNotAllowed)),
            ("sizeLimit", TextOrNumber),
        ]),
    ),
    (
        "persistentVolumeClaim",
        Fields(&[("claimName", Text), ("readOnly", Flag)]),
    ),
    (
        "downwardAPI",
        Fields(&[("items", Any), ("defaultMode", Count)]),
    ),
    (
        "projected",
        Fields(&[("sources", List(&PROJECTION)), ("defaultMode", Count)]),
    ),
];

const PROJECTION: Shape = Fields(&[
    (
        "secret",
        Fields(&[("name", Text), ("items", Any), ("optional", Flag)]),
    ),
    (
        "configMap",
        Fields(&[("name", Text), ("items", Any), ("optional", Flag)]),
    ),
    ("downwardAPI", Fields(&[("items", Any)])),
    ("serviceAccountToken", Never(Rule::ServiceAccountToken)),
    ("clusterTrustBundle", Never(Rule::VolumeType)),
    ("podCertificate", Never(Rule::VolumeType)),
]);
