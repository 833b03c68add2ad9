//! Settings that have no effect beside others, and bounds that do not fit each other.

use super::*;

const POSTGRES: (&str, &str) = ("DATABASE_URL", "postgres://toko@db.example/toko");
const DIRECTORY: (&str, &str) = ("DERMAGA_PROVISIONER", "directory");
const SANDBOX: (&str, &str) = ("DERMAGA_PAYMENTS_SANDBOX", "true");
const KEY: (&str, &str) = ("MIDTRANS_SERVER_KEY", "SB-Mid-server-1");

#[test]
fn what_is_for_something_that_is_off_is_refused() {
    let none: &[(&str, &str)] = &[];
    for (given, (name, value), rule) in [
        (
            none,
            ("DERMAGA_DATABASE_CONNECTIONS", "5"),
            "needs PostgreSQL in DATABASE_URL",
        ),
        (
            &[("DATABASE_URL", "sqlite://a.db")],
            ("DERMAGA_DATABASE_POOLER", "none"),
            "needs PostgreSQL in DATABASE_URL",
        ),
        (
            &[],
            ("DERMAGA_DATABASE_TLS", "verify-full"),
            "needs PostgreSQL in DATABASE_URL",
        ),
        (
            &[POSTGRES],
            ("CRON_DATABASE_STATISTICS", "off"),
            "has no effect with PostgreSQL in DATABASE_URL",
        ),
        (
            &[DIRECTORY],
            ("DERMAGA_CAPACITY_HEADROOM", "5"),
            "has no effect with DERMAGA_PROVISIONER=directory",
        ),
        (
            &[DIRECTORY],
            ("DERMAGA_CAPACITY_CHECK", "false"),
            "has no effect with DERMAGA_PROVISIONER=directory",
        ),
        (
            &[DIRECTORY],
            ("DERMAGA_HEALING_PATIENCE", "1m"),
            "has no effect with DERMAGA_PROVISIONER=directory",
        ),
        (
            &[("DERMAGA_CAPACITY_CHECK", "false")],
            ("DERMAGA_CAPACITY_HEADROOM", "5"),
            "has no effect with DERMAGA_CAPACITY_CHECK=false",
        ),
        (
            &[("DERMAGA_PLUGIN_BREAKER_FAILURES", "0")],
            ("DERMAGA_PLUGIN_BREAKER_PAUSE", "2m"),
            "has no effect with DERMAGA_PLUGIN_BREAKER_FAILURES=0",
        ),
        (
            &[("GRACE_PERIOD_ENABLED", "false")],
            ("GRACE_PERIOD_DAYS", "45"),
            "has no effect with GRACE_PERIOD_ENABLED=false",
        ),
        (
            &[("AUTO_RENEWAL_ENABLED", "false")],
            ("GRACE_PERIOD_DAYS", "5"),
            "has no effect with AUTO_RENEWAL_ENABLED=false",
        ),
        (
            &[("LOW_CREDIT_WARNING_ENABLED", "false")],
            ("CRON_LOW_CREDIT_NOTIFICATIONS", "0 8 * * *"),
            "has no effect with LOW_CREDIT_WARNING_ENABLED=false",
        ),
        (
            &[("BILLING_RETRY_ATTEMPTS", "0")],
            ("BILLING_RETRY_DELAY_MINUTES", "5"),
            "has no effect with BILLING_RETRY_ATTEMPTS=0",
        ),
        (
            &[("TICKETS_SILENCE_DAYS", "0")],
            ("CRON_TICKET_SILENCE", "off"),
            "has no effect with TICKETS_SILENCE_DAYS=0",
        ),
        (
            &[],
            ("MIDTRANS_CLIENT_KEY", "SB-Mid-client-1"),
            "needs MIDTRANS_SERVER_KEY, or DERMAGA_PAYMENTS_SANDBOX=true",
        ),
        (
            &[],
            ("WALLET_OPEN_TOP_UPS", "3"),
            "needs MIDTRANS_SERVER_KEY, or DERMAGA_PAYMENTS_SANDBOX=true",
        ),
        (
            &[SANDBOX],
            ("MIDTRANS_BASE_URL", "https://pay.example"),
            "needs MIDTRANS_SERVER_KEY",
        ),
        (
            &[KEY],
            SANDBOX,
            "plays no gateway beside MIDTRANS_SERVER_KEY, to which payments go; leave one of them out",
        ),
        (
            &[("DERMAGA_TRUSTED_PROXIES", "1")],
            ("DERMAGA_MAX_CONNECTIONS_PER_ADDRESS", "100"),
            "has no effect with DERMAGA_TRUSTED_PROXIES: the connections of all are theirs",
        ),
        (
            &[],
            ("TICKETS_REPLY_ADDRESS", "balas@example.com"),
            "needs TICKETS_MAIL_SECRET or TICKETS_MAIL_PATH, by which its mails come in",
        ),
        (
            &SMTP,
            ("TICKETS_MAIL_PATH", STRONG),
            "needs TICKETS_REPLY_ADDRESS",
        ),
        (
            &[],
            ("DERMAGA_PASSWORD_RESET_EXPIRES_IN", "2h"),
            "needs SMTP_URL",
        ),
        (
            &[],
            ("BONUS_REQUIRES_VERIFIED_EMAIL", "true"),
            "needs SMTP_URL: without mails no address can be confirmed",
        ),
    ] {
        let mut all = given.to_vec();
        all.push((name, value));
        let found = problems(environment(&all));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("{name} {rule}")), "{found:?}");
    }
    for good in [
        &[POSTGRES, ("DERMAGA_DATABASE_CONNECTIONS", "5")][..],
        &[SANDBOX, ("BONUS_REQUIRES_VERIFIED_EMAIL", "true")],
        &[SANDBOX, ("DERMAGA_PASSWORD_RESET_EXPIRES_IN", "2h")],
        &[SANDBOX, ("MIDTRANS_FINISH_URL", "https://toko.example")],
        &[KEY, ("MIDTRANS_TIMEOUT", "5s")],
        &[("BONUS_REQUIRES_VERIFIED_EMAIL", "false")],
        &[
            ("LOW_CREDIT_WARNING_ENABLED", "false"),
            ("LOW_CREDIT_WARNING_DAYS", "5"),
        ],
        &[
            ("GRACE_PERIOD_ENABLED", "false"),
            ("GRACE_PERIOD_MIN_DAYS", "9"),
        ],
        &[DIRECTORY, ("DERMAGA_CAPACITY_CHECK", "true")],
        &[DIRECTORY, ("DERMAGA_CAPACITY_HEADROOM", "10")],
    ] {
        assert!(load(environment(good)).is_ok(), "{good:?}");
    }
}

/// A shop under `serve --dev` has settings of payments and its gateway by a flag, which other commands have not.
#[test]
fn a_command_without_payments_needs_no_gateway() {
    let without_payments = |given: &[(&str, &str)]| Sources {
        without_payments: true,
        ..environment(given)
    };
    let top_ups = ("WALLET_OPEN_TOP_UPS", "3");
    assert_eq!(problems(environment(&[top_ups])).len(), 1);
    assert!(load(without_payments(&[top_ups])).is_ok());
    let found = problems(without_payments(&[top_ups, ("SMTP_CONNECTIONS", "3")]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("SMTP_CONNECTIONS "), "{found:?}");
}

/// Values of another program, or of a flag, are no reason not to start.
#[test]
fn what_may_have_another_use_is_noted() {
    let cluster = ("KUBECONFIG", "/etc/a");
    let notes = load(environment(&[DIRECTORY, cluster])).unwrap().notes();
    let refused = "has no effect with DERMAGA_PROVISIONER=directory";
    assert_eq!(notes, [format!("KUBECONFIG: {refused} (environment)")]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dermaga.toml");
    std::fs::write(&file, "kubeconfig = \"/etc/a\"\n").unwrap();
    let mut sources = environment(&[DIRECTORY]);
    sources.file = Some(file.clone());
    let expected = format!("KUBECONFIG {refused} ({}:1)", file.display());
    assert_eq!(problems(sources), [expected]);

    let mut sources = environment(&[KEY]);
    sources.flags = vec![("payments.sandbox", "true".to_owned())];
    let notes = load(sources).unwrap().notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("payments.sandbox: plays no gateway beside MIDTRANS_SERVER_KEY"));
}

/// A protection that is asked for is not left out without a word.
#[test]
fn a_protection_of_the_database_is_asked_for_once_and_whole() {
    let tls = |word| ("DERMAGA_DATABASE_TLS", word);
    let url = |query: &str| format!("{}?{query}", POSTGRES.1);
    for (query, more, refused) in [
        (
            "sslmod=verify-full",
            None,
            "DATABASE_URL must have no unknown parameter",
        ),
        (
            "sslmode=verify-full&sslmode=disable",
            None,
            "DATABASE_URL must have its `sslmode` once",
        ),
        (
            "sslmode=verify-full",
            Some(tls("disable")),
            "DERMAGA_DATABASE_TLS is another protection than `sslmode`",
        ),
        (
            "sslrootcert=ca.pem",
            None,
            "DATABASE_URL has `sslrootcert`, which needs",
        ),
        (
            "sslmode=disable&sslrootcert=ca.pem",
            None,
            "DATABASE_URL has `sslrootcert`, which needs",
        ),
        (
            "sslrootcert=ca.pem",
            Some(tls("require")),
            "DATABASE_URL has `sslrootcert`, which needs",
        ),
        (
            "sslmode=disable&sslcert=own.pem&sslkey=own.key",
            None,
            "DATABASE_URL has `sslcert` or `sslkey`",
        ),
    ] {
        let url = url(query);
        let given: Vec<_> = [("DATABASE_URL", url.as_str())]
            .into_iter()
            .chain(more)
            .collect();
        let found = problems(environment(&given));
        assert_eq!(found.len(), 1, "{query}: {found:?}");
        assert!(found[0].starts_with(refused), "{query}: {found:?}");
        assert!(!found[0].contains("ca.pem") && !found[0].contains("db.example"));
    }
    for (query, more) in [
        ("sslmode=verify-full", Some(tls("verify-full"))),
        ("sslmode=verify-ca&sslrootcert=ca.pem", None),
        ("sslrootcert=ca.pem", Some(tls("verify-full"))),
        ("sslmode=require", None),
    ] {
        let url = url(query);
        let given: Vec<_> = [("DATABASE_URL", url.as_str())]
            .into_iter()
            .chain(more)
            .collect();
        assert!(load(environment(&given)).is_ok(), "{query}");
    }
}

#[test]
fn bounds_fit_each_other() {
    for (given, refused) in [
        (
            &[("JWT_EXPIRES_IN", "8d")][..],
            "JWT_EXPIRES_IN must not be more than JWT_REFRESH_EXPIRES_IN",
        ),
        (
            &[("JWT_REFRESH_EXPIRES_IN", "1h")],
            "JWT_EXPIRES_IN must not be more than JWT_REFRESH_EXPIRES_IN",
        ),
        (
            &[
                ("DERMAGA_MAX_CONNECTIONS", "100"),
                ("DERMAGA_MAX_CONNECTIONS_PER_ADDRESS", "101"),
            ],
            "DERMAGA_MAX_CONNECTIONS_PER_ADDRESS must not be more than DERMAGA_MAX_CONNECTIONS",
        ),
    ] {
        let found = problems(environment(given));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(refused), "{found:?}");
    }
    for good in [
        &[("JWT_EXPIRES_IN", "7d")][..],
        &[("DERMAGA_MAX_CONNECTIONS", "100")],
        &[
            ("DERMAGA_MAX_CONNECTIONS", "100"),
            ("DERMAGA_MAX_CONNECTIONS_PER_ADDRESS", "100"),
        ],
    ] {
        assert!(load(environment(good)).is_ok(), "{good:?}");
    }
}
