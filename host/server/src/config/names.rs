//! Names of settings: which of a source's names are meant for this program, and which are misspelt.

use super::{error::Problem, load::Source, setting::Setting, settings::all_settings};

/// Names that begin so are this program's: an unknown one is a misspelt setting.
const FAMILIES: &[&str] = &[
    "DERMAGA_",
    "AUTO_RENEWAL_",
    "BONUS_",
    "BILLING_",
    "CRON_",
    "GRACE_PERIOD_",
    "JWT_",
    "LOW_CREDIT_",
    "MIDTRANS_",
    "SMTP_",
    "SUSPENSION_",
    "TICKETS_",
    "WAITLIST_",
    "WALLET_",
];

/// Beginning of most names, which a slip of one letter leaves recognisable.
const OWN: &str = "DERMAGA";
/// Beginning of names that are for the project's own tests.
const OF_TESTS: &str = "DERMAGA_TEST_";
/// Beginning of names that are looked at beside the others of OpenTelemetry.
const OF_TRACES: &str = "OTEL_";
/// Words that many programs have for themselves, and that are settings' names without the beginning.
const COMMON: &[&str] = &["ENV", "ENVIRONMENT", "LOG"];
/// Likeness from which a name is proposed.
const ALIKE: f64 = 0.8;

/// Environment variables that begin like settings and are not in the table.
const OTHER_VARIABLES: &[&str] = &["DERMAGA_CONFIG", "DERMAGA_SERVER", "DERMAGA_API_TOKEN"];

/// The setting of this name in the environment.
pub(super) fn by_variable(name: &str) -> Option<&'static Setting> {
    all_settings().find(|setting| setting.env == name)
}

/// The setting of this key in the file.
pub(super) fn by_key(key: &str) -> Option<&'static Setting> {
    all_settings().find(|setting| setting.key == key)
}

/// True for a variable that was meant as a setting and is none.
pub(super) fn is_misspelt(name: &str, value: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let is_ours = FAMILIES.iter().any(|family| upper.starts_with(family))
        || upper
            .split_once('_')
            .is_some_and(|(beginning, _)| is_own(beginning));
    is_ours
        // Variables for the project's own tests are in the same environment.
        && !upper.starts_with(OF_TESTS)
        && by_variable(name).is_none()
        && !OTHER_VARIABLES.contains(&name)
        && !is_service_link(name, value)
}

/// True for the beginning of this program's names, and for one that is a slip away from it.
fn is_own(beginning: &str) -> bool {
    beginning.len().abs_diff(OWN.len()) <= 1 && strsim::osa_distance(beginning, OWN) <= 1
}

/// True for a variable that Kubernetes sets in every pod for a Service whose name begins like a
/// family.
fn is_service_link(name: &str, value: &str) -> bool {
    let address = ["tcp://", "udp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    let parts = ["_SERVICE_HOST", "_SERVICE_PORT", "_TCP_", "_UDP_"];
    address || parts.iter().any(|part| name.contains(part))
}

/// Returns a note about a variable that may be another program's, and is hardly another name than a setting's: it
/// lacks the beginning, has the shop's, or slips.
pub(super) fn doubt(name: &str, value: &str, source: &Source) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let is_of_others = COMMON.contains(&upper.as_str()) || OTHER_VARIABLES.contains(&name);
    let is_apart = [OF_TESTS, OF_TRACES].iter().any(|it| upper.starts_with(it));
    if is_of_others || is_apart || is_service_link(name, value) {
        return None;
    }
    let of_shop = upper.strip_prefix("SHOP_");
    let is_meant = |setting: &&Setting| {
        let in_file = in_file(setting);
        let mut forms = [setting.env, plain(setting), in_file.as_str()].into_iter();
        forms.any(|form| is_slip(&upper, form) || of_shop == Some(form))
    };
    let setting = all_settings().find(is_meant)?;
    Some(format!(
        "{name}: is not read by this server; did you mean {}? ({source})",
        setting.env
    ))
}

/// Returns the name of a setting in the environment without the beginning that most have.
fn plain(setting: &Setting) -> &'static str {
    let rest = setting.env.strip_prefix("DERMAGA_");
    rest.unwrap_or(setting.env)
}

/// Returns the name that a setting would have in the environment by its key in the file.
fn in_file(setting: &Setting) -> String {
    setting.key.replace('.', "_").to_ascii_uppercase()
}

/// True for a name that is another one but for a slip, or two in a long one.
fn is_slip(name: &str, known: &str) -> bool {
    let most = match known.len() {
        0..8 => 0,
        8..12 => 1,
        _ => 2,
    };
    // To compare them letter by letter takes long, and the environment has many names.
    let is_like = name.get(..3) == known.get(..3) || end(name) == end(known);
    is_like && name.len().abs_diff(known.len()) <= most && strsim::osa_distance(name, known) <= most
}

/// Returns the last letters of a name.
fn end(name: &str) -> Option<&str> {
    name.get(name.len().saturating_sub(3)..)
}

/// Returns a name in capitals without the beginning that most have.
fn bare(name: &str) -> &str {
    match name.split_once('_') {
        Some((beginning, rest)) if is_own(beginning) => rest,
        _ => name,
    }
}

/// The problem of a misspelt variable, with the nearest name.
pub(super) fn unknown_variable(name: &str, source: &Source) -> Problem {
    unknown(name, source, nearest_variable(name))
}

/// The problem of a misspelt key of the file, with the nearest one.
pub(super) fn unknown_key(key: &str, source: &Source) -> Problem {
    unknown(key, source, nearest_key(key).map(|setting| setting.key))
}

/// The setting that is proposed for a misspelt variable, as it is named in the environment.
pub(super) fn meant_variable(name: &str) -> Option<&'static str> {
    let setting = nearest_variable(name).and_then(by_variable)?;
    Some(setting.env)
}

/// The setting that is proposed for a misspelt key of the file, as it is named in the environment.
pub(super) fn meant_key(key: &str) -> Option<&'static str> {
    nearest_key(key).map(|setting| setting.env)
}

/// Returns the variable that is most like another. The beginning that most have makes none alike.
fn nearest_variable(name: &str) -> Option<&'static str> {
    let upper = name.to_ascii_uppercase();
    let wanted = bare(&upper);
    let of_settings = all_settings().map(|setting| {
        let by_key = likeness(wanted, &in_file(setting));
        (likeness(wanted, plain(setting)).max(by_key), setting.env)
    });
    let others = OTHER_VARIABLES.iter();
    let others = others.map(|other| (likeness(wanted, bare(other)), *other));
    most_alike(of_settings.chain(others), ALIKE)
}

/// Returns the setting whose key is most like another: also one that is named as in the environment, or that is in
/// another table.
fn nearest_key(key: &str) -> Option<&'static Setting> {
    let name = within_table(key);
    let variable = name.to_ascii_uppercase();
    let mut same = all_settings().filter(|setting| within_table(setting.key) == name);
    let named = by_variable(&variable).or(match (same.next(), same.next()) {
        (Some(setting), None) => Some(setting),
        _ => None,
    });
    named.or_else(|| {
        let all = all_settings().map(|setting| {
            let as_variable = likeness(bare(&variable), plain(setting));
            (likeness(key, setting.key).max(as_variable), setting)
        });
        most_alike(all, ALIKE)
    })
}

/// Returns the name of a key within its table.
fn within_table(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, name)| name)
}

fn likeness(name: &str, known: &str) -> f64 {
    strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase())
}

/// Returns the one with the greatest likeness, when it is greater than this.
fn most_alike<T>(all: impl Iterator<Item = (f64, T)>, least: f64) -> Option<T> {
    let most = all.max_by(|(one, _), (other, _)| one.total_cmp(other));
    most.filter(|(alike, _)| *alike > least)
        .map(|(_, found)| found)
}

/// Returns the known name that is most like another, in any case, when they are more alike than this.
pub(super) fn nearest(
    name: &str,
    known: impl Iterator<Item = &'static str>,
    least: f64,
) -> Option<&'static str> {
    most_alike(known.map(|known| (likeness(name, known), known)), least)
}

fn unknown(name: &str, source: &Source, nearest: Option<&'static str>) -> Problem {
    let message = match nearest {
        Some(nearest) => format!("is not a setting; did you mean {nearest}?"),
        None => "is not a setting; `dermaga config --reference` lists them all".to_owned(),
    };
    Problem {
        source: source.to_string(),
        name: name.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that are one of a kind, or common to many programs.
    const SINGLE: &[&str] = &[
        "DATABASE_URL",
        "KUBECONFIG",
        "MAIL_FROM",
        "SHOP_NAME",
        "SHOP_URL",
        "RECEIPT_FONT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ];

    #[test]
    fn every_setting_is_of_a_family_or_single() {
        for Setting { env, .. } in all_settings() {
            let of_family = FAMILIES.iter().any(|family| env.starts_with(family));
            assert!(of_family || SINGLE.contains(env), "{env}");
        }
    }

    #[test]
    fn a_misspelt_name_of_each_family_is_found_with_its_nearest() {
        for (name, nearest) in [
            ("GRACE_PERIOD_DAY", "GRACE_PERIOD_DAYS"),
            ("CRON_DAILY_RENEWAL", "CRON_DAILY_RENEWALS"),
            ("MIDTRANS_SERVERKEY", "MIDTRANS_SERVER_KEY"),
            ("JWT_SECRETS", "JWT_SECRET"),
            ("BILLING_TIME_ZONE", "BILLING_TIMEZONE"),
            ("LOW_CREDIT_WARNING_DAY", "LOW_CREDIT_WARNING_DAYS"),
            ("AUTO_RENEWAL_ENABLE", "AUTO_RENEWAL_ENABLED"),
            ("SUSPENSION_RETENTION", "SUSPENSION_RETENTION_DAYS"),
            ("SMTP_CONNECTION", "SMTP_CONNECTIONS"),
            ("TICKETS_SILENCE_DAY", "TICKETS_SILENCE_DAYS"),
            ("WAITLIST_HOLD_HOUR", "WAITLIST_HOLD_HOURS"),
            ("WALLET_BALANCECAP", "WALLET_BALANCE_CAP"),
            ("jwt_secret", "JWT_SECRET"),
            ("DERMAGA_JWT_SECRET", "JWT_SECRET"),
            ("DERMAGA_JWT_SECERT", "JWT_SECRET"),
            ("DERMAGA_SHOP_URL", "SHOP_URL"),
            ("DERMAGA_DATABASE_URL", "DATABASE_URL"),
            ("DERMGA_LISTEN", "DERMAGA_LISTEN"),
            ("DEMRAGA_MASTER_KEY", "DERMAGA_MASTER_KEY"),
            ("DERMAGA_PLUGINS_QUICK_FUEL", "DERMAGA_PLUGIN_QUICK_FUEL"),
            ("BILLING_GRACE_PERIOD_DAYS", "GRACE_PERIOD_DAYS"),
        ] {
            assert!(is_misspelt(name, "x"), "{name}");
            let problem = unknown_variable(name, &Source::Environment);
            let expected = format!("is not a setting; did you mean {nearest}?");
            assert_eq!(problem.message, expected, "{name}");
        }
        for (name, value) in [
            ("WALLET_SERVICE_HOST", "10.0.0.7"),
            ("WALLET_PORT", "tcp://10.0.0.7:80"),
            ("DERMAGA_TEST_REQUIRE", "all"),
            ("JWT_SECRET", "x"),
            ("DERMAGA_CONFIG", "x"),
            ("DERMGA_SERVICE_HOST", "10.0.0.7"),
            ("PATH", "/bin"),
        ] {
            assert!(!is_misspelt(name, value), "{name}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_variable_and_in_another_table() {
        for (key, nearest) in [
            ("DERMAGA_LISTEN", "listen"),
            ("DERMAGA_LISTN", "listen"),
            ("JWT_SECRET", "jwt_secret"),
            ("midtrans.MIDTRANS_SERVER_KEY", "midtrans.server_key"),
            ("server_key", "midtrans.server_key"),
            ("plugin.quick_fuel", "plugins.quick_fuel"),
            ("plugins.quick_feul", "plugins.quick_fuel"),
            ("data-dir", "data_dir"),
        ] {
            let problem = unknown_key(key, &Source::Environment);
            let expected = format!("is not a setting; did you mean {nearest}?");
            assert_eq!(problem.message, expected, "{key}");
        }
        assert_eq!(meant_key("DERMAGA_LISTN"), Some("DERMAGA_LISTEN"));
        assert_eq!(meant_key("colour"), None);
    }

    #[test]
    fn a_name_that_is_hardly_another_is_doubted() {
        let doubted = |name: &str| doubt(name, "x", &Source::Environment);
        for (name, meant) in [
            ("MASTER_KEY", "DERMAGA_MASTER_KEY"),
            ("DATA_DIR", "DERMAGA_DATA_DIR"),
            ("LISTEN", "DERMAGA_LISTEN"),
            ("SHOP_MASTER_KEY", "DERMAGA_MASTER_KEY"),
            ("SHOP_SMTP_URL", "SMTP_URL"),
            ("MAIL_SMTP_URL", "SMTP_URL"),
            ("SMPT_URL", "SMTP_URL"),
            ("JTW_SECRET", "JWT_SECRET"),
            ("DATABASE_URI", "DATABASE_URL"),
            ("DATABSE_URL", "DATABASE_URL"),
            ("SHOPNAME", "SHOP_NAME"),
            ("KUBE_CONFIG", "KUBECONFIG"),
            ("DERMAGALISTEN", "DERMAGA_LISTEN"),
            ("database_url", "DATABASE_URL"),
        ] {
            let expected =
                format!("{name}: is not read by this server; did you mean {meant}? (environment)");
            assert_eq!(doubted(name), Some(expected));
        }
        for other in [
            "PATH",
            "HOME",
            "ENV",
            "LOG",
            "HOSTNAME",
            "DATABASE_HOST",
            "DATABASE_USER",
            "RAILS_MASTER_KEY",
            "KUBERNETES_SERVICE_HOST",
            "MAIL_SERVER",
            "SHELL",
            "DERMAGA_CONFIG",
            "DERMAGA_TEST_REQUIRE",
        ] {
            assert_eq!(doubted(other), None);
        }
    }
}
