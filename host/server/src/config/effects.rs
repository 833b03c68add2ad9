//! Settings that have an effect only beside others: without those they would be believed and do nothing.

mod idle;

use dermaga_shop::provisioning::{Choice, EntryChoice};

use super::{
    Config,
    load::{Loaded, Origin, Source},
};

/// Domain below which controllers of Ingresses have their annotations.
const OF_INGRESSES: &str = "ingress.kubernetes.io";
/// Reason why the server plays no gateway.
const NOT_PLAYED: &str =
    "plays no gateway beside MIDTRANS_SERVER_KEY, to which payments go; leave one of them out";
/// Reason why no cluster is reached.
const NOT_REACHED: &str = "has no effect with DERMAGA_PROVISIONER=directory";

/// Reports every setting that was given and has no effect.
pub(super) fn check(loaded: &Loaded, problem: &mut impl FnMut(&str, &str)) {
    let config = &loaded.config;
    let idle = idle::settings(config).into_iter();
    // A shop under `serve --dev` has its gateway by a flag, which other commands have not.
    let kept = idle.filter(|(_, rule)| !(loaded.without_payments && *rule == idle::NO_PAYMENTS));
    for (names, message) in kept {
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
    for (origin, message) in apart(loaded) {
        if !is_excused(origin) {
            problem(origin.setting.env, message);
        }
    }
}

/// Returns remarks about settings without an effect that were not given for this shop alone.
pub(super) fn notes(loaded: &Loaded) -> impl Iterator<Item = String> {
    let excused = apart(loaded).filter(|(origin, _)| is_excused(origin));
    excused.map(|(origin, message)| {
        let name = origin.source.name_of(origin.setting);
        format!("{name}: {message} ({})", origin.source)
    })
}

/// Returns the settings without an effect of which a source may have another use.
fn apart(loaded: &Loaded) -> impl Iterator<Item = (&Origin, &'static str)> {
    let Config {
        payments,
        provisioning,
        ..
    } = &loaded.config;
    let has_key = payments.midtrans.server_key.is_some();
    let in_folder = provisioning.provisioner == Choice::Directory;
    let all = [
        (
            payments.sandbox && has_key,
            "DERMAGA_PAYMENTS_SANDBOX",
            NOT_PLAYED,
        ),
        (in_folder, "KUBECONFIG", NOT_REACHED),
    ];
    let idle = all.into_iter().filter(|(is_idle, ..)| *is_idle);
    idle.filter_map(move |(_, name, message)| Some((given(loaded, name)?, message)))
}

/// Returns true for what `--dev` turns on besides, and for a variable that `kubectl` reads, too.
fn is_excused(origin: &Origin) -> bool {
    origin.source == Source::Flag
        || (origin.setting.env == "KUBECONFIG" && origin.source == Source::Environment)
}

/// Returns true for a setting that has another value than its default.
pub(super) fn is_given(loaded: &Loaded, name: &str) -> bool {
    given(loaded, name).is_some()
}

/// Returns the origin of a setting that has another value than its default.
fn given<'l>(loaded: &'l Loaded, name: &str) -> Option<&'l Origin> {
    let mut origins = loaded.origins.iter();
    origins.find(|origin| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_of_ingresses_are_known_by_their_domain() {
        for (key, is_so) in [
            ("nginx.ingress.kubernetes.io/ssl-redirect", true),
            ("ingress.kubernetes.io/timeout", true),
            ("kubernetes.io/ingress.class", true),
            ("notingress.kubernetes.io/timeout", false),
            ("ingress.kubernetes.io.example.com/a", false),
            ("example.com/ingress.kubernetes.io", false),
            ("ingress.kubernetes.io", false),
            ("kubernetes.io/ingress.class2", false),
            ("", false),
        ] {
            assert_eq!(is_of_ingresses(key), is_so, "{key}");
        }
    }
}
