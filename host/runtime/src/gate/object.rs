//! Identity of an object: kind, metadata, size and name.

use super::{
    kinds::{Kind, METADATA},
    node::{Node, Report},
    policy::{INSTANCE_LABEL, Policy},
    rule::Rule,
};

/// Maximum of bytes of one object as canonical JSON. ConfigMaps, the largest kind, hold at most 1
/// MiB in Kubernetes.
const MAX_BYTES: usize = 128 * 1024;

/// Prefix of the host's own labels and annotations.
const HOST_DOMAIN: &str = "dermaga.dev";

/// Finds the kind of an object, if it is allowed and in its right version.
pub(super) fn kind(object: &Node<'_>, report: &mut Report) -> Option<&'static Kind> {
    let Some(kind) = object.text_at(&["kind"]).and_then(Kind::named) else {
        report.refuse(object, Rule::KindNotAllowed);
        return None;
    };
    if object.text_at(&["apiVersion"]) != Some(kind.api_version) {
        let message = format!("the apiVersion of {} is {}", kind.name, kind.api_version);
        report.refuse_because(object, Rule::ApiVersionNotAllowed, message);
    }
    Some(kind)
}

/// Checks fields, size and metadata.
pub(super) fn check(kind: &Kind, object: &Node<'_>, policy: &Policy, report: &mut Report) {
    for (key, member) in object.members() {
        match kind.fields.iter().find(|(name, _)| *name == key) {
            Some((_, shape)) => shape.check(&member, report),
            None if key == "metadata" => METADATA.check(&member, report),
            None if key == "apiVersion" || key == "kind" => {}
            None => report.refuse(&member, Rule::FieldNotAllowed),
        }
    }
    let bytes = object.value().to_string().len();
    if bytes > MAX_BYTES {
        let message = format!("the object has {bytes} bytes and may have {MAX_BYTES}");
        report.refuse_because(object, Rule::ObjectTooLarge, message);
    }
    check_name(object, policy, report);
    if let Some(namespace) = object.at(&["metadata", "namespace"])
        && namespace.text() != Some(&policy.namespace)
    {
        report.refuse(&namespace, Rule::NamespaceForeign);
    }
    if kind.name == "Secret" && name(object) == policy.secret_object {
        report.refuse(object, Rule::SecretReserved);
    }
    check_marks(kind, object, policy, report);
}

/// Returns the object's name, or an empty text.
pub(super) fn name<'a>(object: &Node<'a>) -> &'a str {
    object.text_at(&["metadata", "name"]).unwrap_or_default()
}

/// Reports that a name is the instance's, or begins with it and a dash.
pub(super) fn belongs(name: &str, policy: &Policy) -> bool {
    name.strip_prefix(policy.instance.as_str())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn check_name(object: &Node<'_>, policy: &Policy, report: &mut Report) {
    let name = name(object);
    if !is_dns_label(name) {
        let message = format!("metadata.name `{name}` is not a DNS label of at most 63 characters");
        report.refuse_because(object, Rule::MalformedObject, message);
    } else if !belongs(name, policy) {
        let message = format!(
            "`{name}` is neither `{0}` nor begins with `{0}-`",
            policy.instance
        );
        report.refuse_because(object, Rule::NameOutsideInstance, message);
    }
}

pub(super) fn is_dns_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Checks labels and annotations in all places of an object.
fn check_marks(kind: &Kind, object: &Node<'_>, policy: &Policy, report: &mut Report) {
    let mut places = vec![object.clone()];
    places.extend(kind.runs.and_then(|runs| object.at(runs.template)));
    places.extend(object.at(&["spec", "jobTemplate"]));
    places.extend(object.elements_at(&["spec", "volumeClaimTemplates"]));
    for place in places {
        for (key, label) in place
            .at(&["metadata", "labels"])
            .iter()
            .flat_map(Node::members)
        {
            check_label(key, &label, policy, report);
            if !is_known_label(key) && !policy.labels.contains_key(key) {
                report.refuse(&label, Rule::LabelNotAllowed);
            }
        }
        for (key, value) in place
            .at(&["metadata", "annotations"])
            .iter()
            .flat_map(Node::members)
        {
            if !is_allowed_annotation(kind, key, value.text().unwrap_or_default()) {
                report.refuse(&value, Rule::AnnotationNotAllowed);
            }
        }
    }
}

/// Checks the host's labels, which may be repeated and never changed.
pub(super) fn check_label(key: &str, label: &Node<'_>, policy: &Policy, report: &mut Report) {
    let forced = match key {
        INSTANCE_LABEL => Some(policy.instance.as_str()),
        _ => policy.labels.get(key).map(String::as_str),
    };
    let is_hosts = domain(key).is_some_and(|domain| domain == HOST_DOMAIN);
    if is_hosts && label.text() != forced {
        report.refuse(label, Rule::LabelReserved);
    }
}

/// Checks that labels are known. Other software selects by them: service meshes, workload identity,
/// the policies of the cluster, some by words without a domain (`k8s-app`). Only labels that
/// describe an application are known here.
fn is_known_label(key: &str) -> bool {
    const WORDS: &[&str] = &[
        "app",
        "component",
        "instance",
        "name",
        "part",
        "part-of",
        "role",
        "service",
        "shard",
        "tier",
        "track",
        "version",
    ];
    const RECOMMENDED: &[&str] = &[
        "component",
        "instance",
        "managed-by",
        "name",
        "part-of",
        "version",
    ];
    match key.split_once('/') {
        None => WORDS.contains(&key),
        Some(("app.kubernetes.io", name)) => RECOMMENDED.contains(&name),
        // The values of the host's own are checked elsewhere.
        Some((domain, _)) => domain == HOST_DOMAIN,
    }
}

/// Checks that annotations are known. Those under a domain address the software that owns it:
/// admission webhooks, DNS and ingress controllers, network plugins. Only harmless ones are known
/// here, and their values must be plain words, because ingress controllers have pasted values into
/// their configuration before.
fn is_allowed_annotation(kind: &Kind, key: &str, value: &str) -> bool {
    const INGRESS: &[&str] = &[
        "nginx.ingress.kubernetes.io/backend-protocol",
        "nginx.ingress.kubernetes.io/force-ssl-redirect",
        "nginx.ingress.kubernetes.io/proxy-body-size",
        "nginx.ingress.kubernetes.io/proxy-buffering",
        "nginx.ingress.kubernetes.io/proxy-read-timeout",
        "nginx.ingress.kubernetes.io/proxy-send-timeout",
        "nginx.ingress.kubernetes.io/ssl-redirect",
    ];
    match domain(key) {
        None => true,
        Some(_) if key == "kubectl.kubernetes.io/default-container" => true,
        Some(_) => {
            let is_word = value.bytes().all(|byte| byte.is_ascii_alphanumeric());
            kind.name == "Ingress" && INGRESS.contains(&key) && is_word
        }
    }
}

/// Returns the part of a key before the slash, if it is a domain.
fn domain(key: &str) -> Option<&str> {
    key.split_once('/')
        .map(|(domain, _)| domain)
        .filter(|domain| domain.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels of other domains are read by controllers, which would act on them.
    #[test]
    fn only_words_of_no_controller_are_labels() {
        for known in [
            "app",
            "part-of",
            "app.kubernetes.io/name",
            "dermaga.dev/anything",
        ] {
            assert!(is_known_label(known), "{known}");
        }
        for unknown in [
            "",
            "App",
            "istio-injection",
            "app.kubernetes.io/unknown",
            "app.kubernetes.io/",
            "kubernetes.io/name",
            "sub.dermaga.dev/instance",
            "dermaga.dev.example.com/instance",
        ] {
            assert!(!is_known_label(unknown), "{unknown}");
        }
    }

    #[test]
    fn a_domain_is_before_the_slash_and_has_a_dot() {
        for (key, found) in [
            ("name", None),
            ("plugin/name", None),
            ("example.com/name", Some("example.com")),
            ("example.com/a/b", Some("example.com")),
            ("/name", None),
            (".", None),
            ("./name", Some(".")),
        ] {
            assert_eq!(domain(key), found, "{key}");
        }
    }
}
