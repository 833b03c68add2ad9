//! Settings of instances: where they go, how they are reached, and what their pods are given.

use chrono::TimeDelta;
use dermaga_shop::provisioning::{Controller, EntryChoice, GatewayController};

use super::super::{
    addresses, cluster, parse,
    setting::{DAY, Setting, seconds, settings},
};

/// Instances, in the order they are documented.
pub(super) const OF_INSTANCES: &[Setting] = settings! {
    "DERMAGA_PROVISIONER" "provisioner" (Some("auto")):
        "Provisioner of instances: `kubernetes`, `directory` (manifests as YAML), or `auto`: Kubernetes when a cluster answers at start, else the folder."
        => |c, text| c.provisioning.provisioner = text.parse().map_err(|_| "must be one of: auto, kubernetes, directory".to_owned())?;
    "KUBECONFIG" "kubeconfig" (None):
        "The file that says how to reach the cluster. Without it, `~/.kube/config` or the pod's own account. Several in the environment, separated by colons, are merged."
        => |c, text| c.provisioning.kubeconfig = Some(addresses::path(text)?).filter(|path| !path.contains(':')).map(Into::into);
    "DERMAGA_BASE_DOMAIN" "base_domain" (Some("apps.localhost")):
        "Domain below which instances with a public endpoint get a host name; no IP address."
        => |c, text| c.subscriptions.base_domain = parse::domain(text)?;
    "DERMAGA_MANIFESTS_DIR" "manifests_dir" (None):
        "Folder that the `directory` provisioner writes to. Without it, `manifests` in the data folder."
        => |c, text| c.manifests_dir = Some(addresses::path(text)?.into());
    "DERMAGA_SECRET_STORE" "secret_store" (None):
        "Name of the ClusterSecretStore (External Secrets Operator) from which the cluster that applies that folder makes instances' Secrets. Without it, they are made by hand."
        => |c, text| c.provisioning.secret_store = Some(parse::object_name(text)?);
    "DERMAGA_RESYNC_SECONDS" "resync_seconds" (Some("300")):
        "Seconds between two comparisons of a settled instance with the cluster, from 5 to 86400."
        => |c, text| c.provisioning.resync = seconds(parse::number(text, &(5..=DAY))?);
    "DERMAGA_HEALING_PATIENCE" "healing_patience" (Some("3m")):
        "Time that an instance that ran must be at fault before it is restarted, from 1s to 1d, and the pause after each attempt. At most three restarts and one recreation an hour are tried."
        => |c, text| c.provisioning.patience = parse::duration(text, &(seconds(1)..=seconds(DAY)))?;
    "DERMAGA_HEALTH_HISTORY_DAYS" "health_history_days" (Some("30")):
        "Days that the history of instances' health is kept, from 8 to 3650."
        => |c, text| c.provisioning.health_kept = TimeDelta::days(parse::number(text, &(8..=3650))?);
    "DERMAGA_ROLLOUT_MINUTES" "rollout_minutes" (Some("10")):
        "Minutes that a change of an instance may take until its pods are ready, from 1 to 240; then it is undone."
        => |c, text| c.provisioning.rollout = seconds(parse::number::<u64>(text, &(1..=240))? * 60);
    "DERMAGA_PROVISIONING_CONCURRENCY" "provisioning_concurrency" (Some("8")):
        "Instances worked on at the same time, from 1 to 64."
        => |c, text| c.provisioning.parallel = parse::number(text, &(1..=64))?;
    "DERMAGA_INGRESS_CLASS" "ingress_class" (None):
        "Ingress class of instances' host names. Without it, the cluster's default."
        => |c, text| c.provisioning.classes.ingress = Some(parse::object_name(text)?);
    "DERMAGA_INGRESS_NAMESPACE" "ingress_namespace" (None):
        "Namespace of the pods of the ingress controller or the gateway, which may reach customers' instances. Without it, `ingress-nginx`, or the namespace of the Gateway."
        => |c, text| c.provisioning.ingress_namespace = Some(parse::namespace(text)?);
    "DERMAGA_INGRESS_CONTROLLER" "ingress_controller" (Some("nginx")):
        "Software that carries out Ingresses, whose annotations the server writes: `nginx` (ingress-nginx), `traefik`, `cilium` or `other`."
        => |c, text| c.provisioning.classes.entry.controller = parse::word(text, &[("nginx", Controller::Nginx), ("traefik", Controller::Traefik), ("cilium", Controller::Cilium), ("other", Controller::Other)])?;
    "DERMAGA_INGRESS_ISSUER" "ingress_issuer" (None):
        "ClusterIssuer of cert-manager that issues a certificate for each Ingress, or `issuer/NAME` for an Issuer in each customer's namespace. Without it, the controller's default certificate."
        => |c, text| c.provisioning.classes.entry.issuer = Some(cluster::issuer(text)?);
    "DERMAGA_INGRESS_TLS_SECRET" "ingress_tls_secret" (None):
        "Secret of type `kubernetes.io/tls` with a wildcard certificate for `*.DERMAGA_BASE_DOMAIN`; you keep one of this name in each customer's namespace. Not beside an issuer."
        => |c, text| c.provisioning.classes.entry.tls_secret = Some(parse::object_name(text)?);
    "DERMAGA_ENTRY" "entry" (Some("ingress")):
        "Way in to instances' host names: `ingress`, or `gateway` for an HTTPRoute of the Gateway API."
        => |c, text| c.provisioning.classes.entry.choice = parse::word(text, &[("ingress", EntryChoice::Ingress), ("gateway", EntryChoice::Gateway)])?;
    "DERMAGA_ENTRY_ANNOTATIONS" "entry_annotations" (None):
        "Annotations of every Ingress or HTTPRoute, as `KEY=VALUE`, separated by semicolons; they replace the server's own and those of plugins."
        => |c, text| c.provisioning.classes.entry.annotations = cluster::annotations(text)?;
    "DERMAGA_ENTRY_TIMEOUT" "entry_timeout" (None):
        "Time that an instance may take to answer, from 1s to 1d: for nginx between two pieces of an answer, for Cilium and a Gateway in all; not for Traefik. Without it, as its plugin asks; with Ingresses of Cilium as that is set."
        => |c, text| c.provisioning.classes.entry.timeout = Some(parse::duration(text, &(seconds(1)..=seconds(DAY)))?);
    "DERMAGA_ENTRY_BODY_MIB" "entry_body_mib" (None):
        "Largest body of a request to an instance, in MiB, from 1 to 100000. For nginx alone; without it, as its plugin asks."
        => |c, text| c.provisioning.classes.entry.body_mib = Some(parse::number(text, &(1..=100_000))?);
    "DERMAGA_GATEWAY_NAME" "gateway_name" (None):
        "Gateway that HTTPRoutes belong to. Required with DERMAGA_ENTRY=gateway."
        => |c, text| c.provisioning.classes.entry.gateway.name = parse::object_name(text)?;
    "DERMAGA_GATEWAY_NAMESPACE" "gateway_namespace" (None):
        "Namespace of that Gateway. Required with DERMAGA_ENTRY=gateway."
        => |c, text| c.provisioning.classes.entry.gateway.namespace = parse::namespace(text)?;
    "DERMAGA_GATEWAY_SECTION" "gateway_section" (None):
        "Listener of that Gateway, such as `https`. Without it, all of them."
        => |c, text| c.provisioning.classes.entry.gateway.section = Some(parse::object_name(text)?);
    "DERMAGA_GATEWAY_CONTROLLER" "gateway_controller" (Some("other")):
        "Software that carries out routes of that Gateway: `envoy` (Envoy Gateway), `traefik`, `cilium` or `other`."
        => |c, text| c.provisioning.classes.entry.gateway.controller = parse::word(text, &[("envoy", GatewayController::Envoy), ("traefik", GatewayController::Traefik), ("cilium", GatewayController::Cilium), ("other", GatewayController::Other)])?;
    "DERMAGA_DOMAINS_PER_INSTANCE" "domains.per_instance" (Some("5")):
        "Domains of its customer that one instance may have, up to 50: proven by a TXT record or a file, then led to it. 0 takes none: those that are proven stay, and claims end without a proof."
        => |c, text| c.provisioning.domains.per_instance = parse::number(text, &(0..=50))?;
    "DERMAGA_NAME_SERVER" "domains.name_server" (None):
        "Name server that is asked for the TXT records of customers' domains, as an IP address or `IP:PORT`. Without it, those of the system."
        => |c, text| c.provisioning.domains.name_server = Some(parse::name_server(text)?);
    "DERMAGA_STORAGE_CLASS" "storage_class" (None):
        "Storage class of instances' volumes. Without it, the cluster's default."
        => |c, text| c.provisioning.classes.storage = Some(parse::object_name(text)?);
    "DERMAGA_NODE_SELECTOR" "node_selector" (None):
        "Labels of the nodes that instances may run on, as `KEY=VALUE`, separated by commas."
        => |c, text| c.provisioning.classes.pods.node_selector = cluster::labels(text)?;
    "DERMAGA_TOLERATIONS" "tolerations" (None):
        "Taints that instances' pods tolerate, as `KEY=VALUE:EFFECT`, separated by commas; value and effect may be left out for all."
        => |c, text| c.provisioning.classes.pods.tolerations = cluster::tolerations(text)?;
    "DERMAGA_PRIORITY_CLASS" "priority_class" (None):
        "Priority class of instances' pods."
        => |c, text| c.provisioning.classes.pods.priority_class = Some(parse::object_name(text)?);
    "DERMAGA_IMAGE_MIRRORS" "image_mirrors" (None):
        "Places from which images are taken instead of their own, as `docker.io=mirror.example.com/hub`, separated by commas; the longest one that fits counts."
        => |c, text| c.provisioning.classes.pods.mirrors = cluster::mirrors(text)?;
    "DERMAGA_IMAGE_PULL_SECRET" "image_pull_secret" (None):
        "Secret with which nodes fetch images; you keep one of this name in each customer's namespace."
        => |c, text| c.provisioning.classes.pods.pull_secret = Some(parse::object_name(text)?);
    "DERMAGA_REQUEST_PERCENT" "request_percent" (None):
        "Processor time and memory that containers request, in hundredths of their limits, from 1 to 100: less than 100 sells nodes more than once. Without it, as their plugins ask."
        => |c, text| c.provisioning.classes.pods.request_percent = Some(parse::number(text, &(1..=100))?);
    "DERMAGA_CAPACITY_CHECK" "capacity.check" (Some("true")):
        "Sell plans only while a node of the cluster has room for their pods, by requests. Turn it off where nodes are added as pods wait for them."
        => |c, text| c.provisioning.capacity.check = parse::boolean(text)?;
    "DERMAGA_CAPACITY_HEADROOM" "capacity.headroom" (Some("10")):
        "Percent of each node's allocatable processor and memory that is not sold, from 0 to 90: for updates, and for instances that their owners stopped. Needs DERMAGA_CAPACITY_CHECK."
        => |c, text| c.provisioning.capacity.headroom = parse::number(text, &(0..=90))?;
};
