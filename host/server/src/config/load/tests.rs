//! Merging of the sources, and every problem found on the way.

mod effects;
mod together;

use super::*;

/// A mail server and the sender that it needs.
const SMTP: [(&str, &str); 2] = [
    ("SMTP_URL", "smtps://mail.example"),
    ("MAIL_FROM", "toko@example.com"),
];

/// Address of the shop, which mails need in production.
const SHOP: [(&str, &str); 1] = [("SHOP_URL", "https://toko.example")];

const STRONG: &str = "5b1f4e0a93d26a8fbb0c3e5d7f917c1d06e2c47385b0f9d1a6e2c47384b0f9d1";

fn environment(pairs: &[(&str, &str)]) -> Sources {
    let environment = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Sources {
        environment,
        ..Sources::default()
    }
}

fn problems(sources: Sources) -> Vec<String> {
    load(sources)
        .unwrap_err()
        .0
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn later_sources_win_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dermaga.toml");
    std::fs::write(
        &file,
        "base_domain = \"file.example\"\nlog = \"warn\"\nresync_seconds = 60\n",
    )
    .unwrap();
    let mut sources = environment(&[
        ("DERMAGA_BASE_DOMAIN", "env.example"),
        ("DERMAGA_LOG", "debug"),
    ]);
    sources.file = Some(file.clone());
    sources.flags = vec![("log", "error".into())];
    let loaded = load(sources).unwrap();
    let config = &loaded.config;
    assert_eq!(
        (
            config.subscriptions.base_domain.as_str(),
            config.telemetry.log.as_str(),
            config.provisioning.resync.as_secs()
        ),
        ("env.example", "error", 60)
    );
    let source = |key: &str| {
        loaded
            .origins
            .iter()
            .find(|o| o.setting.key == key)
            .unwrap()
            .source
            .clone()
    };
    assert_eq!(source("log"), Source::Flag);
    assert_eq!(source("base_domain"), Source::Environment);
    assert_eq!(source("resync_seconds"), Source::File(file, 3));
    assert_eq!(source("listen"), Source::Default);
}

#[test]
fn proposes_the_nearest_name() {
    assert_eq!(
        problems(environment(&[("DERMAGA_LISTN", "x")])),
        ["DERMAGA_LISTN is not a setting; did you mean DERMAGA_LISTEN? (environment)"]
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dermaga.toml");
    std::fs::write(&file, "\n[plugins]\nquick_feul = 1\n").unwrap();
    let found = problems(Sources {
        file: Some(file.clone()),
        ..Sources::default()
    });
    let expected = format!(
        "plugins.quick_feul is not a setting; did you mean plugins.quick_fuel? ({}:3)",
        file.display()
    );
    assert_eq!(found, [expected]);
}

#[test]
fn wrong_values_name_setting_source_and_rule() {
    assert_eq!(
        problems(environment(&[
            ("DERMAGA_MIGRATE", "yes"),
            ("JWT_SECRET", "short")
        ])),
        [
            "DERMAGA_MIGRATE must be true or false (environment)",
            "JWT_SECRET must be at least 32 bytes (each, when several are listed); `openssl rand -hex 32` makes one (environment)",
        ]
    );
}

#[test]
fn production_requires_keys() {
    let found = problems(environment(&[("DERMAGA_ENV", "production")]));
    assert!(
        found.len() == 2
            && found[0].starts_with("JWT_SECRET")
            && found[1].starts_with("DERMAGA_MASTER_KEY"),
        "{found:?}"
    );
    let (jwt, master) = (STRONG, STRONG);
    let given = [
        ("DERMAGA_ENV", "production"),
        ("JWT_SECRET", jwt),
        ("DERMAGA_MASTER_KEY", master),
    ];
    assert!(load(environment(&given)).is_ok());
}

/// A bonus waits for a confirmed address in production alone, unless the setting says otherwise.
#[test]
fn a_bonus_requires_a_confirmed_address_in_production() {
    let name = "BONUS_REQUIRES_VERIFIED_EMAIL";
    let nothing: [(&str, &str); 0] = [];
    let production = [
        ("DERMAGA_ENV", "production"),
        ("JWT_SECRET", STRONG),
        ("DERMAGA_MASTER_KEY", STRONG),
    ];
    for (value, elsewhere, in_production) in [
        (None, false, true),
        (Some("auto"), false, true),
        (Some("true"), true, true),
        (Some("false"), false, false),
    ] {
        let given: Vec<_> = value.map(|value| (name, value)).into_iter().collect();
        for (more, expected) in [(&nothing[..], elsewhere), (&production[..], in_production)] {
            let all = [more, &given[..], &SMTP[..], &SHOP[..]].concat();
            let loaded = load(environment(&all)).unwrap();
            let coupons = &loaded.config.coupons;
            assert_eq!(coupons.bonus_requires_verified_email, expected, "{value:?}");
        }
    }
}

#[test]
fn play_money_and_real_money_are_kept_apart() {
    let (jwt, master) = (STRONG, STRONG);
    let production = [
        ("DERMAGA_ENV", "production"),
        ("JWT_SECRET", jwt),
        ("DERMAGA_MASTER_KEY", master),
    ];
    let with = |more: &[(&str, &str)]| environment(&[&production, more].concat());
    let real = [
        ("MIDTRANS_SERVER_KEY", "Mid-server-1"),
        ("MIDTRANS_IS_PRODUCTION", "true"),
    ];
    assert!(load(with(&real)).is_ok());
    for (more, name) in [
        (
            &[("DERMAGA_PAYMENTS_SANDBOX", "true")][..],
            "DERMAGA_PAYMENTS_SANDBOX",
        ),
        (
            &[
                ("MIDTRANS_IS_PRODUCTION", "true"),
                ("MIDTRANS_SERVER_KEY", "SB-Mid-server-1"),
            ],
            "MIDTRANS_SERVER_KEY",
        ),
        (&[("MIDTRANS_IS_PRODUCTION", "true")], "MIDTRANS_SERVER_KEY"),
        (&[("DERMAGA_CLOCK", "+31d")], "DERMAGA_CLOCK"),
        (
            &[("DERMAGA_WEBHOOK_ALLOW_HTTP", "true")],
            "DERMAGA_WEBHOOK_ALLOW_HTTP",
        ),
        (
            &[("DERMAGA_WEBHOOK_PERMIT_LOOPBACK", "true")],
            "DERMAGA_WEBHOOK_PERMIT_LOOPBACK",
        ),
    ] {
        let found = problems(with(more));
        assert!(found.len() == 1 && found[0].starts_with(name), "{found:?}");
        let is_given = more.iter().any(|(given, _)| *given == name);
        let source = if is_given {
            "(environment)"
        } else {
            "(not set)"
        };
        assert!(found[0].ends_with(source), "{found:?}");
    }
}

#[test]
fn an_administrator_needs_both_halves() {
    assert_eq!(
        problems(environment(&[("DERMAGA_ADMIN_EMAIL", "a@example.com")])).len(),
        1
    );
    assert_eq!(
        problems(environment(&[(
            "DERMAGA_ADMIN_PASSWORD",
            "long enough secret"
        )]))
        .len(),
        1
    );
}

#[test]
fn a_kubernetes_service_named_dermaga_is_no_setting() {
    let links = [
        ("DERMAGA_SERVICE_HOST", "10.0.0.7"),
        ("DERMAGA_SERVICE_PORT_HTTP", "80"),
        ("DERMAGA_PORT", "tcp://10.0.0.7:80"),
        ("DERMAGA_DB_PORT_80_TCP_ADDR", "10.0.0.7"),
    ];
    assert!(load(environment(&links)).is_ok());
    assert_eq!(problems(environment(&[("DERMAGA_PORT", "3000")])).len(), 1);
}

#[test]
fn a_weak_secret_is_refused_in_production_only() {
    let weak = "secretsecretsecretsecretsecretsecret";
    let given = |environment_name| {
        environment(&[
            ("DERMAGA_ENV", environment_name),
            ("JWT_SECRET", weak),
            ("DERMAGA_MASTER_KEY", STRONG),
        ])
    };
    assert!(load(given("development")).is_ok());
    assert_eq!(
        problems(given("production")),
        [
            "JWT_SECRET must be random in production, not one word repeated; `openssl rand -hex 32` makes one (environment)"
        ]
    );
    let (zeros, password) = ("00".repeat(32), "passwordpassword");
    let found = problems(environment(&[
        ("DERMAGA_ENV", "production"),
        ("JWT_SECRET", STRONG),
        ("DERMAGA_MASTER_KEY", &zeros),
        ("DERMAGA_ADMIN_EMAIL", "admin@example.com"),
        ("DERMAGA_ADMIN_PASSWORD", password),
    ]));
    assert!(
        found.len() == 2
            && found[0].starts_with("DERMAGA_MASTER_KEY")
            && found[1].starts_with("DERMAGA_ADMIN_PASSWORD"),
        "{found:?}"
    );
}

#[test]
fn grace_has_bounds_that_fit_each_other() {
    for (given, name) in [
        (
            &[("GRACE_PERIOD_MAX_DAYS", "5")][..],
            "GRACE_PERIOD_DAYS must be",
        ),
        (
            &[("GRACE_PERIOD_MIN_DAYS", "8")],
            "GRACE_PERIOD_DAYS must be",
        ),
        (
            &[
                ("GRACE_PERIOD_MIN_DAYS", "9"),
                ("GRACE_PERIOD_MAX_DAYS", "8"),
            ],
            "GRACE_PERIOD_MIN_DAYS must not",
        ),
    ] {
        let found = problems(environment(given));
        assert!(found.len() == 1 && found[0].starts_with(name), "{found:?}");
    }
    let wide = [("GRACE_PERIOD_MAX_DAYS", "60"), ("GRACE_PERIOD_DAYS", "45")];
    assert!(load(environment(&wide)).is_ok());
}

#[test]
fn a_file_of_variables_is_below_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let (file, dotenv) = (
        folder.path().join("dermaga.toml"),
        folder.path().join(".env"),
    );
    std::fs::write(&file, "log = \"warn\"\nresync_seconds = 60\n").unwrap();
    std::fs::write(
        &dotenv,
        "DERMAGA_LOG=error\nDERMAGA_BASE_DOMAIN=dotenv.example\nDATABASE_URL=sqlite://kept.db\nPATH=/nowhere\n",
    )
    .unwrap();
    let mut sources = environment(&[("DERMAGA_BASE_DOMAIN", "env.example"), ("DATABASE_URL", "")]);
    sources.file = Some(file);
    sources.dotenv = Some(dotenv.clone());
    let loaded = load(sources).unwrap();
    let config = &loaded.config;
    assert_eq!(
        (
            config.telemetry.log.as_str(),
            config.subscriptions.base_domain.as_str()
        ),
        ("error", "env.example")
    );
    assert_eq!(config.database_url(), "sqlite://kept.db");
    assert_eq!(config.provisioning.resync.as_secs(), 60);
    let shown = format!("[{}:1]", dotenv.display());
    assert!(loaded.describe().contains(&shown), "{}", loaded.describe());

    std::fs::write(&dotenv, "\nJWT_SECERT=x\nDERMAGA_CONFIG=other.toml\n").unwrap();
    let found = problems(Sources {
        dotenv: Some(dotenv.clone()),
        ..Sources::default()
    });
    let at = dotenv.display();
    assert_eq!(
        found,
        [
            format!("JWT_SECERT is not a setting; did you mean JWT_SECRET? ({at}:2)"),
            format!(
                "DERMAGA_CONFIG must be in the environment: it says where this file is looked for ({at}:3)"
            ),
        ]
    );
}

#[test]
fn values_are_cleaned_whatever_their_source() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dermaga.toml");
    std::fs::write(&file, "data_dir = \" /srv/shop \"\n").unwrap();
    let mut sources = environment(&[("DERMAGA_PLUGINS_DIR", "\"/srv/plugins\"")]);
    sources.file = Some(file.clone());
    let loaded = load(sources).unwrap();
    assert_eq!(loaded.config.data_dir, PathBuf::from("/srv/shop"));
    assert_eq!(loaded.config.plugins_dir, Some("/srv/plugins".into()));
    assert_eq!(
        loaded.notes(),
        [
            format!("data_dir: outer blanks were trimmed ({}:1)", file.display()),
            "DERMAGA_PLUGINS_DIR: surrounding quotes were taken off (environment)".to_owned(),
        ]
    );

    std::fs::write(&file, "data_dir = \"/srv/shop\\r\"\n").unwrap();
    let mut sources = environment(&[("MIDTRANS_FINISH_URL", "https://shop.example\r\n")]);
    sources.file = Some(file.clone());
    sources.flags = vec![
        ("templates_dir", "/srv\n".to_owned()),
        ("log", String::new()),
    ];
    let at = file.display();
    assert_eq!(
        problems(sources),
        [
            format!("data_dir must not contain a carriage return (character 10) ({at}:1)"),
            "MIDTRANS_FINISH_URL must not contain a carriage return (character 21) (environment)"
                .to_owned(),
            "templates_dir must not contain a line feed (character 5) (flag)".to_owned(),
            "log must not be empty (flag)".to_owned(),
        ]
    );
}

#[test]
fn settings_of_warnings_are_checked() {
    for (name, wrong) in [
        ("LOW_CREDIT_WARNING_ENABLED", "yes"),
        ("LOW_CREDIT_WARNING_DAYS", "0"),
        ("CRON_LOW_CREDIT_NOTIFICATIONS", "daily"),
        ("CRON_GRACE_PERIOD_REMINDERS", "25 * * * *x"),
        ("CRON_BILLING_STATS", "nightly"),
    ] {
        let found = problems(environment(&[(name, wrong)]));
        assert!(
            found.len() == 1 && found[0].starts_with(&format!("{name} must be")),
            "{found:?}"
        );
    }
}

#[test]
fn an_empty_variable_is_not_set() {
    assert!(load(environment(&[("DATABASE_URL", ""), ("DERMAGA_LISTEN", "")])).is_ok());
}
