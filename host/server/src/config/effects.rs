//! Settings that have an effect only beside others: without those they would be believed and do nothing.

use dermaga_shop::{
    files::Place,
    provisioning::{Choice, EntryChoice},
};

use super::{Config, load::Loaded};

/// Domain below which controllers of Ingresses have their annotations.
const OF_INGRESSES: &str = "ingress.kubernetes.io";

/// Settings that are without an effect, and the rule about them.
type Idle = (&'static [&'static str], &'static str);

/// Reports every setting that was given and has no effect.
pub(super) fn check(loaded: &Loaded, problem: &mut impl FnMut(&str, &str)) {
    let config = &loaded.config;
    for (names, message) in idle(config) {
        for name in names.iter().filter(|name| is_given(loaded, name)) {
            problem(name, message);
        }
    }
    let entry = &config.provisioning.classes.entry;
    let mut keys = entry.annotations.keys();
    if entry.choice == EntryChoice::Gateway
        && let Some(key) = keys.find(|key| is_of_ingresses(key))
    {
        let message =
            format!("has `{key}`, which has no effect on the routes of DERMAGA_ENTRY=gateway");
        problem("DERMAGA_ENTRY_ANNOTATIONS", &message);
    }
}

/// Returns the settings that do nothing beside the others.
fn idle(config: &Config) -> Vec<Idle> {
    let provisioning = &config.provisioning;
    let is_gateway = provisioning.classes.entry.choice == EntryChoice::Gateway;
    let is_bucket = matches!(config.files.place, Some(Place::Bucket { .. }));
    let all: [(bool, Idle); 5] = [
        (
            !is_gateway,
            (
                &[
                    "DERMAGA_GATEWAY_NAME",
                    "DERMAGA_GATEWAY_NAMESPACE",
                    "DERMAGA_GATEWAY_SECTION",
                ],
                "needs DERMAGA_ENTRY=gateway",
            ),
        ),
        (
            is_gateway,
            (
                &["DERMAGA_INGRESS_CLASS", "DERMAGA_INGRESS_CONTROLLER"],
                "has no effect with DERMAGA_ENTRY=gateway",
            ),
        ),
        (
            provisioning.provisioner == Choice::Kubernetes,
            (
                &["DERMAGA_MANIFESTS_DIR", "DERMAGA_SECRET_STORE"],
                "has no effect with DERMAGA_PROVISIONER=kubernetes",
            ),
        ),
        (
            config.notifications.smtp.is_none(),
            (
                &[
                    "MAIL_FROM",
                    "SMTP_CONNECTIONS",
                    "SMTP_CA_FILE",
                    "SMTP_RETRY_HOURS",
                ],
                "needs SMTP_URL",
            ),
        ),
        (
            !is_bucket,
            (
                &[
                    "DERMAGA_S3_ENDPOINT",
                    "DERMAGA_S3_REGION",
                    "DERMAGA_S3_ACCESS_KEY",
                    "DERMAGA_S3_SECRET_KEY",
                ],
                "needs a bucket in DERMAGA_ATTACHMENTS, as s3://bucket/prefix",
            ),
        ),
    ];
    let idle = all.into_iter().filter(|(is_idle, _)| *is_idle);
    idle.map(|(_, settings)| settings).collect()
}

/// Returns true for a setting that has another value than its default.
fn is_given(loaded: &Loaded, name: &str) -> bool {
    let mut origins = loaded.origins.iter();
    origins.any(|origin| {
        origin.setting.env == name && origin.value.as_deref() != origin.setting.default
    })
}

fn is_of_ingresses(key: &str) -> bool {
    let domain = key.split_once('/').map(|(domain, _)| domain);
    let is_below = domain.is_some_and(|domain| {
        let before = domain.strip_suffix(OF_INGRESSES);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    });
    is_below || key == "kubernetes.io/ingress.class"
}
