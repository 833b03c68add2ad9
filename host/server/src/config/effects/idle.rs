//! The table of what does nothing beside what.

use dermaga_shop::{
    db::Address,
    files::Place,
    provisioning::{Choice, EntryChoice},
};

use super::super::Config;

/// Settings that are without an effect, and the rule about them.
type Idle = (&'static [&'static str], &'static str);

/// Rule about settings of payments, which a command that takes none does not keep.
pub(super) const NO_PAYMENTS: &str = "needs MIDTRANS_SERVER_KEY, or DERMAGA_PAYMENTS_SANDBOX=true";

/// Returns the settings that do nothing beside the others.
pub(super) fn settings(config: &Config) -> Vec<Idle> {
    let all = entry(config).into_iter().chain(instances(config));
    let all = all.chain(server(config)).chain(mails(config));
    let all = all.chain(payments(config)).chain(billing(config));
    let idle = all.filter(|(is_idle, _)| *is_idle);
    idle.map(|(_, settings)| settings).collect()
}

/// The way in to instances.
fn entry(config: &Config) -> [(bool, Idle); 2] {
    let is_gateway = config.provisioning.classes.entry.choice == EntryChoice::Gateway;
    [
        (
            !is_gateway,
            (
                &[
                    "DERMAGA_GATEWAY_NAME",
                    "DERMAGA_GATEWAY_NAMESPACE",
                    "DERMAGA_GATEWAY_SECTION",
                    "DERMAGA_GATEWAY_CONTROLLER",
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
    ]
}

/// Instances, their cluster, and their plugins.
fn instances(config: &Config) -> [(bool, Idle); 5] {
    let provisioning = &config.provisioning;
    [
        (
            provisioning.provisioner == Choice::Kubernetes,
            (
                &["DERMAGA_MANIFESTS_DIR", "DERMAGA_SECRET_STORE"],
                "has no effect with DERMAGA_PROVISIONER=kubernetes",
            ),
        ),
        (
            provisioning.provisioner == Choice::Directory,
            (
                &[
                    "DERMAGA_CAPACITY_CHECK",
                    "DERMAGA_CAPACITY_HEADROOM",
                    "DERMAGA_HEALING_PATIENCE",
                ],
                super::NOT_REACHED,
            ),
        ),
        (
            !provisioning.capacity.check,
            (
                &["DERMAGA_CAPACITY_HEADROOM"],
                "has no effect with DERMAGA_CAPACITY_CHECK=false",
            ),
        ),
        (
            provisioning.domains.per_instance == 0,
            (
                &["DERMAGA_NAME_SERVER"],
                "has no effect with DERMAGA_DOMAINS_PER_INSTANCE=0",
            ),
        ),
        (
            config.plugins.breaker.failures == 0,
            (
                &["DERMAGA_PLUGIN_BREAKER_PAUSE"],
                "has no effect with DERMAGA_PLUGIN_BREAKER_FAILURES=0",
            ),
        ),
    ]
}

/// The database, connections of clients, and files.
fn server(config: &Config) -> [(bool, Idle); 4] {
    let address = Address::parse(&config.database_url());
    let is_server = address.is_ok_and(|address| address.is_server());
    let is_bucket = matches!(config.files.place, Some(Place::Bucket { .. }));
    [
        (
            !is_server,
            (
                &[
                    "DERMAGA_DATABASE_CONNECTIONS",
                    "DERMAGA_DATABASE_ACQUIRE_TIMEOUT",
                    "DERMAGA_DATABASE_IDLE_TIMEOUT",
                    "DERMAGA_DATABASE_STATEMENT_TIMEOUT",
                    "DERMAGA_DATABASE_TLS",
                    "DERMAGA_DATABASE_CA_FILE",
                    "DERMAGA_DATABASE_POOLER",
                ],
                "needs PostgreSQL in DATABASE_URL",
            ),
        ),
        (
            is_server,
            (
                &["CRON_DATABASE_STATISTICS"],
                "has no effect with PostgreSQL in DATABASE_URL",
            ),
        ),
        (
            config.http.trusted_proxies > 0,
            (
                &["DERMAGA_MAX_CONNECTIONS_PER_ADDRESS"],
                "has no effect with DERMAGA_TRUSTED_PROXIES: the connections of all are theirs",
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
    ]
}

/// Mails and tickets. A sandbox writes its mails into the log.
fn mails(config: &Config) -> [(bool, Idle); 5] {
    let smtp = config.notifications.smtp.as_ref();
    let tickets = &config.tickets;
    [
        (
            smtp.is_none(),
            (
                &[
                    "MAIL_FROM",
                    "SMTP_CONNECTIONS",
                    "SMTP_CA_FILE",
                    "SMTP_RETRY_HOURS",
                    "TICKETS_REPLY_ADDRESS",
                ],
                "needs SMTP_URL",
            ),
        ),
        (
            smtp.is_none() && !config.payments.sandbox,
            (&["DERMAGA_PASSWORD_RESET_EXPIRES_IN"], "needs SMTP_URL"),
        ),
        (
            smtp.is_some_and(|url| !url.is_encrypted()),
            (
                &["SMTP_CA_FILE"],
                "has no effect with `?tls=none` in SMTP_URL",
            ),
        ),
        (
            tickets.reply_address.is_none(),
            (
                &["TICKETS_MAIL_SECRET", "TICKETS_MAIL_PATH"],
                "needs TICKETS_REPLY_ADDRESS",
            ),
        ),
        (
            tickets.silence.is_none(),
            (
                &["CRON_TICKET_SILENCE"],
                "has no effect with TICKETS_SILENCE_DAYS=0",
            ),
        ),
    ]
}

fn payments(config: &Config) -> [(bool, Idle); 2] {
    let payments = &config.payments;
    let has_key = payments.midtrans.server_key.is_some();
    [
        (
            !has_key,
            (&["MIDTRANS_BASE_URL"], "needs MIDTRANS_SERVER_KEY"),
        ),
        (
            !has_key && !payments.sandbox,
            (
                &[
                    "MIDTRANS_CLIENT_KEY",
                    "MIDTRANS_NOTIFICATION_URL",
                    "MIDTRANS_FINISH_URL",
                    "MIDTRANS_UNFINISH_URL",
                    "MIDTRANS_ERROR_URL",
                    "MIDTRANS_TIMEOUT",
                    "WALLET_OPEN_TOP_UPS",
                ],
                NO_PAYMENTS,
            ),
        ),
    ]
}

/// Features that are switched off. Bounds of a grace are those of graces that have begun, too, and the days of
/// warnings those of lists for administrators.
fn billing(config: &Config) -> [(bool, Idle); 4] {
    let billing = &config.subscriptions;
    [
        (
            !billing.auto_renewal,
            (
                &["GRACE_PERIOD_ENABLED", "GRACE_PERIOD_DAYS"],
                "has no effect with AUTO_RENEWAL_ENABLED=false",
            ),
        ),
        (
            !billing.grace_period,
            (
                &["GRACE_PERIOD_DAYS"],
                "has no effect with GRACE_PERIOD_ENABLED=false",
            ),
        ),
        (
            !billing.low_credit_warning,
            (
                &["CRON_LOW_CREDIT_NOTIFICATIONS"],
                "has no effect with LOW_CREDIT_WARNING_ENABLED=false",
            ),
        ),
        (
            billing.retries == 0,
            (
                &["BILLING_RETRY_DELAY_MINUTES"],
                "has no effect with BILLING_RETRY_ATTEMPTS=0",
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use dermaga_shop::notifications::SmtpUrl;

    use super::*;

    #[test]
    fn authorities_are_for_connections_with_tls() {
        let has_use = |url| {
            let mut config = Config::default();
            config.notifications.smtp = Some(SmtpUrl::parse(url).unwrap());
            let mut idle = settings(&config).into_iter();
            !idle.any(|(names, _)| names.contains(&"SMTP_CA_FILE"))
        };
        assert!(has_use("smtp://mail.example") && has_use("smtps://mail.example"));
        assert!(!has_use("smtp://mail.example?tls=none"));
    }
}
