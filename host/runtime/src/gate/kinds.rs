//! The kinds of objects that plugins may render.

use super::{
    pod_shape::TEMPLATE,
    rule::Rule,
    shape::Shape::{
        self, Any, Count, False, Fields, Flag, List, Never, OneOf, Same, Text, TextOrNumber, Texts,
        UpTo,
    },
};

/// One allowed kind.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) api_version: &'static str,
    /// All fields but `apiVersion`, `kind` and `metadata`.
    pub(super) fields: &'static [(&'static str, Shape)],
    /// Set for kinds that run pods.
    pub(super) runs: Option<Runs>,
}

/// Places of a workload's pod template and pod count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runs {
    pub(super) template: &'static [&'static str],
    /// Number of pods at once; one when it is absent.
    pub(super) copies: &'static [&'static str],
}

impl Kind {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.name == name)
    }
}

static KINDS: &[Kind] = &[
    Kind {
        name: "Deployment",
        api_version: "apps/v1",
        fields: &[("spec", DEPLOYMENT)],
        runs: Some(Runs {
            template: &["spec", "template"],
            copies: &["spec", "replicas"],
        }),
    },
    Kind {
        name: "StatefulSet",
        api_version: "apps/v1",
        fields: &[("spec", STATEFUL_SET)],
        runs: Some(Runs {
            template: &["spec", "template"],
            copies: &["spec", "replicas"],
        }),
    },
    Kind {
        name: "Job",
        api_version: "batch/v1",
        fields: &[("spec", JOB)],
        runs: Some(Runs {
            template: &["spec", "template"],
            copies: &["spec", "parallelism"],
        }),
    },
    Kind {
        name: "CronJob",
        api_version: "batch/v1",
        fields: &[("spec", CRON_JOB)],
        runs: Some(Runs {
            template: &["spec", "jobTemplate", "spec", "template"],
            copies: &["spec", "jobTemplate", "spec", "parallelism"],
        }),
    },
    Kind {
        name: "Service",
        api_version: "v1",
        fields: &[("spec", SERVICE)],
        runs: None,
    },
    Kind {
        name: "Ingress",
        api_version: "networking.k8s.io/v1",
        fields: &[("spec", INGRESS)],
        runs: None,
    },
    Kind {
        name: "NetworkPolicy",
        api_version: "networking.k8s.io/v1",
        fields: &[("spec", NETWORK_POLICY)],
        runs: None,
    },
    Kind {
        name: "ConfigMap",
        api_version: "v1",
        fields: &[("data", Texts), ("binaryData", Texts), ("immutable", Flag)],
        runs: None,
    },
    Kind {
        name: "Secret",
        api_version: "v1",
        fields: &[
            ("data", Texts),
            ("stringData", Texts),
            ("immutable", Flag),
            // A Secret of another type can, for example, make the cluster issue a token of a
            // service account.
            ("type", OneOf(&["Opaque"], Rule::SecretType)),
        ],
        runs: None,
    },
    Kind {
        name: "PersistentVolumeClaim",
        api_version: "v1",
        fields: &[("spec", CLAIM)],
        runs: None,
    },
    Kind {
        name: "PodDisruptionBudget",
        api_version: "policy/v1",
        fields: &[("spec", DISRUPTION_BUDGET)],
        runs: None,
    },
    Kind {
        name: "ServiceAccount",
        api_version: "v1",
        fields: &[(
            "automountServiceAccountToken",
            False(Rule::ServiceAccountToken),
        )],
        runs: None,
    },
];

/// Maximum of old revisions and finished Jobs that the cluster keeps; Kubernetes keeps ten
/// revisions by itself.
const MAX_HISTORY: u64 = 10;
/// Maximum of pods that a Job runs in sequence; each remains as an object.
const MAX_COMPLETIONS: u64 = 20;
/// Maximum of failed pods of a Job, which remain too; Kubernetes allows six by itself.
const MAX_RETRIES: u64 = 10;

const SELECTOR: Shape = Fields(&[
    ("matchLabels", Texts),
    ("matchExpressions", Never(Rule::SelectorForeign)),
]);

const DEPLOYMENT: Shape = Fields(&[
    ("replicas", Count),
    ("selector", SELECTOR),
    ("template", TEMPLATE),
    ("strategy", Any),
    ("minReadySeconds", Count),
    ("revisionHistoryLimit", UpTo(MAX_HISTORY)),
    ("progressDeadlineSeconds", Count),
]);

const STATEFUL_SET: Shape = Fields(&[
    ("replicas", Count),
    ("selector", SELECTOR),
    ("template", TEMPLATE),
    ("serviceName", Text),
    ("volumeClaimTemplates", List(&CLAIM_TEMPLATE)),
    ("updateStrategy", Any),
    ("podManagementPolicy", Text),
    ("minReadySeconds", Count),
    ("revisionHistoryLimit", UpTo(MAX_HISTORY)),
    ("persistentVolumeClaimRetentionPolicy", CLAIM_RETENTION),
]);

/// The host stops an instance by scaling it to nothing, which must not cost data.
const CLAIM_RETENTION: Shape = Fields(&[
    ("whenDeleted", Text),
    ("whenScaled", OneOf(&["Retain"], Rule::ValueNotAllowed)),
]);

const CLAIM_TEMPLATE: Shape = Fields(&[
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", Fields(&[("name", Text), ("labels", Texts)])),
    ("spec", CLAIM),
]);

/// Shape of a volume claim, without `volumeName`, `selector` and `dataSource`, which reach for data
/// of others.
const CLAIM: Shape = Fields(&[
    (
        "accessModes",
        List(&OneOf(
            &["ReadWriteOnce", "ReadWriteOncePod"],
            Rule::ValueNotAllowed,
        )),
    ),
    (
        "resources",
        Fields(&[("requests", Fields(&[("storage", TextOrNumber)]))]),
    ),
    ("volumeMode", OneOf(&["Filesystem"], Rule::ValueNotAllowed)),
]);

const JOB: Shape = Fields(&[
    ("template", TEMPLATE),
    ("parallelism", Count),
    ("completions", UpTo(MAX_COMPLETIONS)),
    ("backoffLimit", UpTo(MAX_RETRIES)),
    ("activeDeadlineSeconds", Count),
    ("ttlSecondsAfterFinished", Count),
]);

const CRON_JOB: Shape = Fields(&[
    ("schedule", Text),
    ("timeZone", Text),
    (
        "concurrencyPolicy",
        OneOf(&["Forbid", "Replace"], Rule::ConcurrencyUnbounded),
    ),
    ("suspend", Flag),
    ("startingDeadlineSeconds", Count),
    ("successfulJobsHistoryLimit", UpTo(MAX_HISTORY)),
    ("failedJobsHistoryLimit", UpTo(MAX_HISTORY)),
    (
        "jobTemplate",
        Fields(&[
            (
                "metadata",
                Fields(&[("labels", Texts), ("annotations", Texts)]),
            ),
            ("spec", JOB),
        ]),
    ),
]);

const SERVICE: Shape = Fields(&[
    ("type", OneOf(&["ClusterIP"], Rule::ServiceExposed)),
    ("clusterIP", OneOf(&["None"], Rule::ServiceExposed)),
    ("selector", Texts),
    (
        "ports",
        List(&Fields(&[
            ("name", Text),
            ("port", Count),
            ("targetPort", TextOrNumber),
            ("protocol", Text),
            ("appProtocol", Text),
            ("nodePort", Never(Rule::ServiceExposed)),
        ])),
    ),
    ("publishNotReadyAddresses", Flag),
    ("sessionAffinity", Text),
    ("externalIPs", Never(Rule::ServiceExposed)),
    ("externalName", Never(Rule::ServiceExposed)),
    ("loadBalancerIP", Never(Rule::ServiceExposed)),
    ("loadBalancerClass", Never(Rule::ServiceExposed)),
]);

const INGRESS: Shape = Fields(&[
    ("ingressClassName", Text),
    ("defaultBackend", Never(Rule::IngressDefaultBackend)),
    (
        "rules",
        List(&Fields(&[
            ("host", Text),
            (
                "http",
                Fields(&[(
                    "paths",
                    List(&Fields(&[
                        ("path", Text),
                        ("pathType", OneOf(&["Prefix", "Exact"], Rule::IngressPath)),
                        ("backend", BACKEND),
                    ])),
                )]),
            ),
        ])),
    ),
    (
        "tls",
        List(&Fields(&[("hosts", List(&Text)), ("secretName", Text)])),
    ),
]);

const BACKEND: Shape = Fields(&[
    (
        "service",
        Fields(&[
            ("name", Text),
            ("port", Fields(&[("name", Text), ("number", Count)])),
        ]),
    ),
    ("resource", Never(Rule::IngressBackend)),
]);

const NETWORK_POLICY: Shape = Fields(&[
    ("podSelector", SELECTOR),
    (
        "policyTypes",
        List(&OneOf(&["Ingress", "Egress"], Rule::ValueNotAllowed)),
    ),
    (
        "ingress",
        List(&Fields(&[
            ("from", List(&PEER)),
            ("ports", List(&POLICY_PORT)),
        ])),
    ),
    (
        "egress",
        List(&Fields(&[
            ("to", List(&PEER)),
            ("ports", List(&POLICY_PORT)),
        ])),
    ),
]);

const PEER: Shape = Fields(&[
    ("podSelector", SELECTOR),
    // All of them belong to others: customers, the operator, the cluster.
    ("namespaceSelector", Never(Rule::NetworkTooOpen)),
    (
        "ipBlock",
        Fields(&[("cidr", Text), ("except", List(&Text))]),
    ),
]);

const POLICY_PORT: Shape = Fields(&[
    (
        "protocol",
        OneOf(&["TCP", "UDP", "SCTP"], Rule::ValueNotAllowed),
    ),
    ("port", TextOrNumber),
    ("endPort", Count),
]);

const DISRUPTION_BUDGET: Shape = Fields(&[
    ("selector", SELECTOR),
    ("minAvailable", TextOrNumber),
    ("maxUnavailable", TextOrNumber),
    ("unhealthyPodEvictionPolicy", Text),
]);

/// Fields of the metadata, the same for every kind.
pub(super) const METADATA: Shape = Same(&Fields(&[
    ("name", Text),
    ("namespace", Text),
    ("labels", Texts),
    ("annotations", Texts),
    ("generateName", Never(Rule::MetadataForbidden)),
    ("ownerReferences", Never(Rule::MetadataForbidden)),
    ("finalizers", Never(Rule::MetadataForbidden)),
    ("managedFields", Never(Rule::MetadataForbidden)),
    ("uid", Never(Rule::MetadataForbidden)),
    ("resourceVersion", Never(Rule::MetadataForbidden)),
    ("generation", Never(Rule::MetadataForbidden)),
    ("creationTimestamp", Never(Rule::MetadataForbidden)),
    ("deletionTimestamp", Never(Rule::MetadataForbidden)),
    ("deletionGracePeriodSeconds", Never(Rule::MetadataForbidden)),
    ("selfLink", Never(Rule::MetadataForbidden)),
]));
