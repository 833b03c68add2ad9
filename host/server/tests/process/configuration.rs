//! The configuration as an operator writes it and as `dermaga config` shows it.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

use tempfile::TempDir;

use super::{command, dermaga, stderr, stdout};

#[test]
fn a_misspelt_name_of_any_family_stops_the_start() {
    let folder = TempDir::new().unwrap();
    let given = [
        ("GRACE_PERIOD_DAY", "7"),
        ("CRON_RENEWALS", "0 2 * * *"),
        ("MIDTRANS_SERVERKEY", "SB-Mid-server-1"),
        ("JWT_EXPIRESIN", "1h"),
        ("BILLING_TIMEZON", "Asia/Jakarta"),
        ("LOW_CREDIT_WARNING_DAY", "3"),
        ("AUTO_RENEWAL_ENABLE", "true"),
        ("SUSPENSION_RETENTION_DAY", "14"),
        ("WALLET_BALANCE_CAPS", "50000"),
    ];
    let output = dermaga(folder.path(), &["serve"], &given);
    assert_eq!(output.status.code(), Some(2));
    let told = stderr(&output);
    for nearest in [
        "GRACE_PERIOD_DAYS",
        "CRON_DAILY_RENEWALS",
        "MIDTRANS_SERVER_KEY",
        "JWT_EXPIRES_IN",
        "BILLING_TIMEZONE",
        "LOW_CREDIT_WARNING_DAYS",
        "AUTO_RENEWAL_ENABLED",
        "SUSPENSION_RETENTION_DAYS",
        "WALLET_BALANCE_CAP",
    ] {
        let proposal = format!("did you mean {nearest}?");
        assert!(told.contains(&proposal), "{proposal} in {told}");
    }
    assert!(!folder.path().join("data").exists());
}

#[test]
fn a_file_of_variables_beside_the_configuration_is_read() {
    let folder = TempDir::new().unwrap();
    let line = |output: &std::process::Output, name: &str| {
        let text = stdout(output);
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{text}{}", stderr(output)))
            .to_owned()
    };
    let variables =
        "# of the shop\r\nSHOP_NAME=\"Toko Pelabuhan\"\r\nDERMAGA_LISTEN=127.0.0.1:1\r\n";
    fs::write(folder.path().join(".env"), variables).unwrap();
    let shown = dermaga(
        folder.path(),
        &["config"],
        &[("DERMAGA_LISTEN", "127.0.0.1:2")],
    );
    assert!(line(&shown, "SHOP_NAME ").ends_with("Toko Pelabuhan  [.env:2]"));
    assert!(line(&shown, "DERMAGA_LISTEN ").ends_with("127.0.0.1:2  [environment]"));
    assert!(line(&shown, "CRON_BILLING_STATS ").ends_with("0 23 * * *  [default]"));

    let elsewhere = folder.path().join("shop");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("dermaga.toml"), "shop_name = \"Toko\"\n").unwrap();
    fs::write(elsewhere.join(".env"), "SHOP_NAME=Toko Laut\n").unwrap();
    let shown = dermaga(
        folder.path(),
        &["config", "--config", "shop/dermaga.toml"],
        &[],
    );
    assert!(line(&shown, "SHOP_NAME ").ends_with("Toko Laut  [shop/.env:1]"));

    fs::write(folder.path().join(".env"), "MIDTRANS_CLIENTKEY=x\n").unwrap();
    let refused = dermaga(folder.path(), &["serve"], &[]);
    assert_eq!(refused.status.code(), Some(2));
    let proposal = "did you mean MIDTRANS_CLIENT_KEY? (.env:1)";
    assert!(stderr(&refused).contains(proposal), "{}", stderr(&refused));
}

#[test]
fn a_path_ends_where_it_seems_to_end() {
    let folder = TempDir::new().unwrap();
    let refused = |value: &OsStr, name: &str| {
        let output = command(folder.path())
            .arg("migrate")
            .env("DERMAGA_DATA_DIR", value)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let expected = format!("DERMAGA_DATA_DIR must not contain {name}");
        assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    };
    refused(OsStr::new("shop\r"), "a carriage return (character 5)");
    refused(OsStr::new("shop\n"), "a line feed (character 5)");
    refused(OsStr::from_bytes(b"sh\xffop"), "bytes that are not UTF-8");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let made = dermaga(
        folder.path(),
        &["migrate"],
        &[("DERMAGA_DATA_DIR", "\"shop\" ")],
    );
    assert!(made.status.success(), "{}", stderr(&made));
    let note = "DERMAGA_DATA_DIR: outer blanks and surrounding quotes were taken off (environment)";
    assert!(stderr(&made).contains(note), "{}", stderr(&made));
    let made = fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> = made.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["shop"]);
}

/// User, password, keys in a query and fragments are in no line of `config`, and in none of the log.
#[test]
fn what_lets_in_is_not_shown() {
    let folder = TempDir::new().unwrap();
    let address = "https://toko:rahasia@host.example/a?kunci=gembok";
    let page = format!("{address}#kancing");
    let given = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address),
        ("MIDTRANS_SERVER_KEY", "SB-Mid-server-selot"),
        ("MIDTRANS_BASE_URL", address),
        ("MIDTRANS_NOTIFICATION_URL", address),
        ("MIDTRANS_FINISH_URL", &page),
        ("SHOP_URL", &page),
        ("DERMAGA_ATTACHMENTS", "s3://toko"),
        ("DERMAGA_S3_ENDPOINT", "https://s3.example"),
        ("DERMAGA_S3_ACCESS_KEY", "toko"),
        ("DERMAGA_S3_SECRET_KEY", "palang"),
        ("DERMAGA_LOG", "debug"),
    ];
    let shown = dermaga(folder.path(), &["config"], &given);
    assert!(shown.status.success(), "{}", stderr(&shown));
    let said = stdout(&shown) + &stderr(&shown);
    let hidden = "https://***@host.example/a?kunci=***";
    assert_eq!(said.matches(hidden).count(), 5);
    assert_eq!(said.matches(&format!("{hidden}#***")).count(), 2);
    for secret in ["rahasia", "gembok", "kancing", "selot", "palang"] {
        assert!(!said.contains(secret), "{said}");
    }
}

/// A fault names the setting and repeats nothing that may let in, wherever it was written by mistake.
#[test]
fn what_lets_in_is_not_shown_by_a_fault() {
    let folder = TempDir::new().unwrap();
    let address = "https://toko:rahasia@host.example/a?kunci=rahasia#rahasia";
    let bucket = [
        ("DERMAGA_ATTACHMENTS", "s3://toko"),
        ("DERMAGA_S3_ACCESS_KEY", "toko"),
        ("DERMAGA_S3_SECRET_KEY", "palang"),
    ];
    for (name, value) in [
        (
            "DATABASE_URL",
            "postgres://toko@host.example/toko?rahasia=rahasia",
        ),
        (
            "DATABASE_URL",
            "postgres://toko:1#rahasia@host.example/toko",
        ),
        ("DATABASE_URL", "sqlite://toko.db?mode=rahasia"),
        ("DERMAGA_S3_ENDPOINT", address),
        ("DERMAGA_S3_ENDPOINT", "https://host.example/?rahasia"),
        ("DERMAGA_CORS_ORIGINS", address),
        ("DERMAGA_CORS_ORIGINS", "https://toko:rahasia@host.example"),
        ("DERMAGA_DATA_DIR", address),
        ("KUBECONFIG", address),
        ("SMTP_CA_FILE", address),
        ("RECEIPT_FONT", address),
        ("DERMAGA_CONFIG", address),
    ] {
        let given = [&bucket[..], &[(name, value)]].concat();
        for command in ["config", "doctor"] {
            let refused = dermaga(folder.path(), &[command], &given);
            assert!(!refused.status.success(), "{name}");
            let said = stdout(&refused) + &stderr(&refused);
            let is_named = said.contains(name) || said.contains("the configuration file must be");
            assert!(is_named, "{name}: {said}");
            assert!(!said.contains("rahasia"), "{name}: {said}");
        }
    }
    let flag = ["config", "--config", address];
    let said = stderr(&dermaga(folder.path(), &flag, &[]));
    assert!(said.contains("must be a path on this machine"), "{said}");
    assert!(!said.contains("rahasia"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The client of PostgreSQL leaves out what it does not know, and would log it with its value.
#[test]
fn a_misspelt_parameter_of_a_target_is_refused_and_not_shown() {
    let folder = TempDir::new().unwrap();
    let made = dermaga(folder.path(), &["migrate"], &[]);
    assert!(made.status.success(), "{}", stderr(&made));
    let to = "postgres://toko@127.0.0.1:1/toko?sslmod=rahasia";
    let arguments = ["migrate", "--from", "sqlite", "--to", to];
    let refused = dermaga(folder.path(), &arguments, &[]);
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(
        said.contains("--to must have no unknown parameter"),
        "{said}"
    );
    assert!(!said.contains("rahasia"), "{said}");
}

#[test]
fn a_setting_without_effect_stops_the_start_and_one_of_others_is_noted() {
    let folder = TempDir::new().unwrap();
    let given = [
        ("DERMAGA_GATEWAY_NAME", "gerbang"),
        ("DERMAGA_NODE_SELECTOR", "pool=a,pool=b"),
    ];
    let refused = dermaga(folder.path(), &["serve"], &given);
    assert_eq!(refused.status.code(), Some(2));
    let told = stderr(&refused);
    for rule in [
        "DERMAGA_GATEWAY_NAME needs DERMAGA_ENTRY=gateway (environment)",
        "DERMAGA_NODE_SELECTOR must have `pool` once, not twice (environment)",
    ] {
        assert!(told.contains(rule), "{told}");
    }
    let misspelt = [
        ("OTEL_EXPORTER_OTLP_ENDPIONT", "http://127.0.0.1:4318"),
        ("DATA_DIR", "elsewhere"),
        ("DERMAGA_PROVISIONER", "directory"),
        ("KUBECONFIG", "/etc/kubeconfig"),
    ];
    let shown = dermaga(folder.path(), &["config"], &misspelt);
    assert!(shown.status.success(), "{}", stderr(&shown));
    for note in [
        "did you mean OTEL_EXPORTER_OTLP_ENDPOINT?",
        "DATA_DIR: is not read by this server; did you mean DERMAGA_DATA_DIR?",
        "KUBECONFIG: has no effect with DERMAGA_PROVISIONER=directory (environment)",
    ] {
        assert!(stderr(&shown).contains(note), "{}", stderr(&shown));
    }
}
