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
    "WALLET_",
];

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
    // Variables for the project's own tests are in the same environment.
    let is_ours = FAMILIES.iter().any(|family| upper.starts_with(family))
        && !upper.starts_with("DERMAGA_TEST_");
    is_ours
        && by_variable(name).is_none()
        && !OTHER_VARIABLES.contains(&name)
        && !is_service_link(name, value)
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

/// The problem of a misspelt variable, with the nearest name.
pub(super) fn unknown_variable(name: &str, source: &Source) -> Problem {
    unknown(name, source, nearest_variable(name))
}

/// The problem of a misspelt key of the file, with the nearest one.
pub(super) fn unknown_key(key: &str, source: &Source) -> Problem {
    unknown(key, source, nearest_key(key))
}

/// The setting that is proposed for a misspelt variable, as it is named in the environment.
pub(super) fn meant_variable(name: &str) -> Option<&'static str> {
    let setting = nearest_variable(name).and_then(by_variable)?;
    Some(setting.env)
}

/// The setting that is proposed for a misspelt key of the file, as it is named in the environment.
pub(super) fn meant_key(key: &str) -> Option<&'static str> {
    let setting = nearest_key(key).and_then(by_key)?;
    Some(setting.env)
}

fn nearest_variable(name: &str) -> Option<&'static str> {
    let others = OTHER_VARIABLES.iter().copied();
    nearest(name, all_settings().map(|s| s.env).chain(others), 0.8)
}

fn nearest_key(key: &str) -> Option<&'static str> {
    nearest(key, all_settings().map(|setting| setting.key), 0.8)
}

/// Returns the known name that is most like another, in any case, when they are more alike than this.
pub(super) fn nearest(
    name: &str,
    known: impl Iterator<Item = &'static str>,
    least: f64,
) -> Option<&'static str> {
    let likeness =
        |candidate: &str| strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase());
    let nearest = known.max_by(|left, right| likeness(left).total_cmp(&likeness(right)));
    nearest.filter(|nearest| likeness(nearest) > least)
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
            ("WALLET_BALANCECAP", "WALLET_BALANCE_CAP"),
            ("jwt_secret", "JWT_SECRET"),
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
            ("PATH", "/bin"),
        ] {
            assert!(!is_misspelt(name, value), "{name}");
        }
    }
}
