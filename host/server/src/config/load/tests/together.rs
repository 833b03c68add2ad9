//! Settings beside each other: what follows from a mistake, and what has no effect.

use super::*;

/// A wrong value is unknown, not missing, and what follows from it is no further mistake.
#[test]
fn one_mistake_is_one_problem() {
    let production = ("DERMAGA_ENV", "production");
    let keys = [
        production,
        ("JWT_SECRET", STRONG),
        ("DERMAGA_MASTER_KEY", STRONG),
    ];
    let gateway = [
        ("DERMAGA_GATEWAY_NAME", "gerbang"),
        ("DERMAGA_GATEWAY_NAMESPACE", "pintu"),
    ];
    let invisible = format!("{STRONG}\u{200b}");
    for (given, more, named) in [
        (&keys[..], &[("JWT_SECRET", "short")][..], "JWT_SECRET must"),
        (
            &keys[..],
            &[("DERMAGA_MASTER_KEY", "zz")],
            "DERMAGA_MASTER_KEY must",
        ),
        (
            &keys[..],
            &[("JWT_SECRET", &*invisible)],
            "JWT_SECRET must not contain",
        ),
        (
            &[production, keys[2]],
            &[("JWT_SECERT", STRONG)],
            "JWT_SECERT is not a setting",
        ),
        (
            &[],
            &[
                ("SMTP_URL", "smtp://mail.example?tls=none"),
                ("MAIL_FROM", "toko"),
            ],
            "MAIL_FROM must",
        ),
        (
            &[],
            &[("SMTP_URL", "nowhere"), ("MAIL_FROM", "a@example.com")],
            "SMTP_URL must",
        ),
        (
            &[("DERMAGA_ENTRY", "gatewy")],
            &gateway,
            "DERMAGA_ENTRY must",
        ),
        (
            &[],
            &[("GRACE_PERIOD_MAX_DAYS", "many")],
            "GRACE_PERIOD_MAX_DAYS must",
        ),
        (
            &[],
            &[("GRACE_PERIOD_MIN_DAYS", "many")],
            "GRACE_PERIOD_MIN_DAYS must",
        ),
        (
            &[("DERMAGA_ADMIN_EMAIL", "a@example.com")],
            &[("DERMAGA_ADMIN_PASSWORD", "short")],
            "DERMAGA_ADMIN_PASSWORD must",
        ),
        (
            &[("DERMAGA_PLUGIN_REQUIRE_SIGNATURE", "true")],
            &[("DERMAGA_PLUGIN_TRUSTED_KEYS", "none")],
            "DERMAGA_PLUGIN_TRUSTED_KEYS must",
        ),
        (
            &[
                SMTP[0],
                SMTP[1],
                ("TICKETS_REPLY_ADDRESS", "balas@example.com"),
            ],
            &[("TICKETS_MAIL_SECRET", "short")],
            "TICKETS_MAIL_SECRET must",
        ),
        (
            &[("DERMAGA_ATTACHMENTS", "gs://toko")],
            &[
                ("DERMAGA_S3_ACCESS_KEY", "a"),
                ("DERMAGA_S3_SECRET_KEY", "b"),
            ],
            "DERMAGA_ATTACHMENTS must",
        ),
        (
            &[("DERMAGA_ATTACHMENTS", "s3://toko")],
            &[("DERMAGA_S3_SECRET_KEY", "b")],
            "DERMAGA_S3_ACCESS_KEY and",
        ),
    ] {
        let found = problems(environment(&[given, more].concat()));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(named), "{found:?}");
    }
}

/// Mails without an end stop the start of production, and are a note elsewhere.
#[test]
fn mails_need_an_address_that_ends_them() {
    let production = [
        ("DERMAGA_ENV", "production"),
        ("JWT_SECRET", STRONG),
        ("DERMAGA_MASTER_KEY", STRONG),
    ];
    assert_eq!(
        problems(environment(&[&production[..], &SMTP[..]].concat())),
        [
            "SHOP_URL is required together with SMTP_URL in production: without it, mails have no link and no header by which their readers end further ones (not set)"
        ]
    );
    for given in [
        production.to_vec(),
        [&production[..], &SMTP[..], &SHOP[..]].concat(),
        [&SMTP[..], &SHOP[..]].concat(),
    ] {
        let notes = load(environment(&given)).unwrap().notes();
        assert!(notes.is_empty(), "{notes:?}");
    }
    let notes = load(environment(&SMTP)).unwrap().notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("SHOP_URL is not set"), "{notes:?}");
}

#[test]
fn what_has_no_effect_is_refused() {
    let gateway = [
        ("DERMAGA_ENTRY", "gateway"),
        ("DERMAGA_GATEWAY_NAME", "gerbang"),
        ("DERMAGA_GATEWAY_NAMESPACE", "pintu"),
    ];
    let of_gateway = "has no effect with DERMAGA_ENTRY=gateway (environment)";
    let none: &[(&str, &str)] = &[];
    let annotation = "nginx.ingress.kubernetes.io/proxy-body-size=8m";
    for (given, (name, value), rule) in [
        (
            none,
            gateway[1],
            "needs DERMAGA_ENTRY=gateway (environment)",
        ),
        (&[], gateway[2], "needs DERMAGA_ENTRY=gateway (environment)"),
        (
            &[],
            ("DERMAGA_GATEWAY_SECTION", "https"),
            "needs DERMAGA_ENTRY=gateway (environment)",
        ),
        (
            &[],
            ("DERMAGA_GATEWAY_CONTROLLER", "envoy"),
            "needs DERMAGA_ENTRY=gateway (environment)",
        ),
        (&gateway, ("DERMAGA_INGRESS_CLASS", "nginx"), of_gateway),
        (
            &gateway,
            ("DERMAGA_INGRESS_CONTROLLER", "traefik"),
            of_gateway,
        ),
        (
            &gateway,
            ("DERMAGA_ENTRY_ANNOTATIONS", annotation),
            "has `nginx.ingress.kubernetes.io/proxy-body-size`, which has no effect on the routes of DERMAGA_ENTRY=gateway (environment)",
        ),
        (
            &[("DERMAGA_PROVISIONER", "kubernetes")],
            ("DERMAGA_SECRET_STORE", "brankas"),
            "has no effect with DERMAGA_PROVISIONER=kubernetes (environment)",
        ),
        (
            &[],
            ("MAIL_FROM", "a@example.com"),
            "needs SMTP_URL (environment)",
        ),
        (
            &[],
            ("SMTP_RETRY_HOURS", "5"),
            "needs SMTP_URL (environment)",
        ),
        (
            &[],
            ("DERMAGA_S3_ENDPOINT", "https://s3.example"),
            "needs a bucket in DERMAGA_ATTACHMENTS, as s3://bucket/prefix (environment)",
        ),
    ] {
        let mut all = given.to_vec();
        all.push((name, value));
        assert_eq!(problems(environment(&all)), [format!("{name} {rule}")]);
    }
    // Defaults may be written down, and annotations that routes have.
    for given in [
        &[("DERMAGA_INGRESS_CONTROLLER", "nginx")][..],
        &[(
            "DERMAGA_ENTRY_ANNOTATIONS",
            "external-dns.alpha.kubernetes.io/ttl=60",
        )],
    ] {
        assert!(
            load(environment(&[&gateway[..], given].concat())).is_ok(),
            "{given:?}"
        );
    }
    assert!(load(environment(&[("SMTP_CONNECTIONS", "8")])).is_ok());
}

#[test]
fn a_name_without_its_beginning_is_a_note() {
    let loaded = load(environment(&[
        ("MASTER_KEY", STRONG),
        ("DATABASE_URI", "postgres://toko:rahasia@db.example/toko"),
        ("LOG", "debug"),
        ("SMPT_URL", ""),
    ]));
    let notes = loaded.unwrap().notes();
    let doubt = |name: &str, meant: &str| {
        format!("{name}: is not read by this server; did you mean {meant}? (environment)")
    };
    assert_eq!(
        notes,
        [
            doubt("DATABASE_URI", "DATABASE_URL"),
            doubt("MASTER_KEY", "DERMAGA_MASTER_KEY"),
        ]
    );
}

#[test]
fn a_variable_in_the_file_is_proposed_as_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dermaga.toml");
    std::fs::write(&file, "DERMAGA_LISTEN = \"127.0.0.1:1\"\n").unwrap();
    let found = problems(Sources {
        file: Some(file.clone()),
        ..Sources::default()
    });
    let at = file.display();
    let expected = format!("DERMAGA_LISTEN is not a setting; did you mean listen? ({at}:1)");
    assert_eq!(found, [expected]);
}

#[test]
fn a_misspelt_variable_of_others_is_a_note() {
    let loaded = load(environment(&[
        ("OTEL_EXPORTER_OTLP_ENDPIONT", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADER", ""),
        ("OTEL_METRICS_EXPORTER", "none"),
    ]));
    assert_eq!(
        loaded.unwrap().notes(),
        [
            "OTEL_EXPORTER_OTLP_ENDPIONT: is not read by this server; did you mean OTEL_EXPORTER_OTLP_ENDPOINT? (environment)"
        ]
    );
}

#[test]
fn a_file_of_variables_has_each_name_once() {
    let folder = tempfile::tempdir().unwrap();
    let dotenv = folder.path().join(".env");
    std::fs::write(
        &dotenv,
        "SHOP_NAME=Toko\nPATH=/a\nPATH=/b\nSHOP_NAME=Laut\n",
    )
    .unwrap();
    let found = problems(Sources {
        dotenv: Some(dotenv.clone()),
        ..Sources::default()
    });
    let at = dotenv.display();
    let expected = format!("SHOP_NAME is given twice: line 1 has it, too ({at}:4)");
    assert_eq!(found, [expected]);
}
