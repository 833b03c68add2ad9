//! The command as a person meets it: what it says, and how it ends.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use dermaga_shop::{db::Db, fetch_all};
use dermaga_tests::skip;
use tempfile::TempDir;

use super::{dermaga, stderr, stdout};

#[test]
fn help_tells_a_stranger_where_to_begin() {
    let folder = TempDir::new().unwrap();
    let help = stdout(&dermaga(folder.path(), &["--help"], &[]));
    for word in [
        "demo",
        "serve",
        "migrate",
        "admin",
        "ledger",
        "replay",
        "plugin",
        "config",
        "Examples:",
    ] {
        assert!(help.contains(word), "{word} is missing:\n{help}");
    }
}

#[test]
fn a_setting_nobody_knows_stops_the_start() {
    let folder = TempDir::new().unwrap();
    let output = dermaga(
        folder.path(),
        &["migrate"],
        &[("DERMAGA_LISTN", "127.0.0.1:1")],
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("did you mean DERMAGA_LISTEN?"),
        "{}",
        stderr(&output)
    );

    fs::write(
        folder.path().join("dermaga.toml"),
        "lissten = \"127.0.0.1:1\"\n",
    )
    .unwrap();
    let output = dermaga(folder.path(), &["migrate"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("dermaga.toml:1"),
        "{}",
        stderr(&output)
    );
    assert!(
        !folder.path().join("data").exists(),
        "nothing is made before the configuration is good"
    );
}

#[test]
fn a_template_with_errors_names_file_line_and_key() {
    let folder = TempDir::new().unwrap();
    let templates = folder.path().join("service-templates");
    fs::create_dir(&templates).unwrap();
    let text = "slug = \"bad slug\"\nname = \"Bad\"\ncolour = \"blue\"\n";
    fs::write(templates.join("bad.toml"), text).unwrap();
    let check = [
        "plugin",
        "check",
        "any.wasm",
        "--templates",
        "service-templates",
    ];
    let output = dermaga(folder.path(), &check, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    for part in ["bad.toml:1", "slug", "bad.toml:3", "colour"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}

#[test]
fn an_administrator_is_made_once_and_the_empty_books_hold() {
    let folder = TempDir::new().unwrap();
    let migrated = dermaga(folder.path(), &["migrate"], &[]);
    assert!(migrated.status.success(), "{}", stderr(&migrated));
    let create = [
        "admin",
        "create",
        "--email",
        "sari@example.com",
        "--name",
        "Sari",
    ];
    let made = dermaga(folder.path(), &create, &[]);
    assert!(
        made.status.success() && stdout(&made).contains("Password, shown this once"),
        "{}",
        stderr(&made)
    );
    let again = dermaga(folder.path(), &create, &[]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("dermaga: An account with this e-mail already exists."),
        "{}",
        stderr(&again)
    );
    // A setting of payments, as beside `serve --dev`: no gateway is needed to count.
    let top_ups = [("WALLET_OPEN_TOP_UPS", "3")];
    let verified = dermaga(folder.path(), &["ledger", "verify", "--json"], &top_ups);
    assert!(verified.status.success(), "{}", stderr(&verified));
    let report: serde_json::Value = serde_json::from_str(&stdout(&verified)).unwrap();
    assert_eq!(
        (&report["wallets"], &report["faults"]),
        (&serde_json::json!(1), &serde_json::json!([]))
    );
    let exported = folder.path().join("books.csv");
    let path = exported.to_str().unwrap();
    let export = dermaga(folder.path(), &["ledger", "export", "--output", path], &[]);
    assert!(export.status.success(), "{}", stderr(&export));
    assert!(
        stdout(&export).contains("0 entries written to"),
        "{}",
        stdout(&export)
    );
    let header = std::fs::read_to_string(&exported).unwrap();
    assert!(header.starts_with("wallet,position,entry,"), "{header}");
    let again = dermaga(folder.path(), &["ledger", "export", "--output", path], &[]);
    assert_eq!(again.status.code(), Some(1), "no file is replaced");
    assert!(
        stderr(&again).contains("is there already"),
        "{}",
        stderr(&again)
    );
    let nowhere = folder.path().join("no/such/folder/books.jsonl");
    let nowhere = dermaga(
        folder.path(),
        &["ledger", "export", "--output", nowhere.to_str().unwrap()],
        &[],
    );
    assert_eq!(nowhere.status.code(), Some(1));
    let replayed = dermaga(
        folder.path(),
        &["replay", "00000000-0000-7000-8000-000000000000"],
        &[],
    );
    assert_eq!(replayed.status.code(), Some(1));
    assert!(
        stderr(&replayed).contains("no such decision"),
        "{}",
        stderr(&replayed)
    );
    // A transaction's number is at hand, and a decision's id is wanted.
    let by_number = dermaga(folder.path(), &["replay", "TXMP-103"], &[]);
    assert_eq!(by_number.status.code(), Some(2));
    let said = stderr(&by_number);
    for part in [
        "id of a decision",
        "couponDecisionId",
        "/api/wallet/transactions/",
        "/api/admin/decisions",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}

#[tokio::test]
async fn an_administrator_has_the_language_that_was_asked_for() {
    let folder = TempDir::new().unwrap();
    let migrated = dermaga(folder.path(), &["migrate"], &[]);
    assert!(migrated.status.success(), "{}", stderr(&migrated));
    for (email, language) in [
        ("sari@example.com", None),
        ("mary@example.com", Some("en")),
        ("putu@example.com", Some("id")),
    ] {
        let mut create = vec!["admin", "create", "--email", email, "--name", "Pengurus"];
        create.extend(language.iter().flat_map(|named| ["--language", *named]));
        let made = dermaga(folder.path(), &create, &[]);
        assert!(made.status.success(), "{}", stderr(&made));
    }
    let file = format!("sqlite://{}/data/dermaga.db", folder.path().display());
    let db = Db::connect(&file).await.unwrap();
    let sql = "SELECT email, language FROM users ORDER BY email";
    let found = fetch_all!(db.read().await.unwrap(), (String, String), sql).unwrap();
    let expected = [
        ("mary@example.com", "en"),
        ("putu@example.com", "id"),
        ("sari@example.com", "id"),
    ];
    let expected = expected.map(|(email, language)| (email.to_owned(), language.to_owned()));
    assert_eq!(found, expected);
    let mut unknown = vec![
        "admin",
        "create",
        "--email",
        "ana@example.com",
        "--name",
        "Ana",
    ];
    unknown.extend(["--language", "de"]);
    let refused = dermaga(folder.path(), &unknown, &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("`de` is none of: id, en"),
        "{}",
        stderr(&refused)
    );
}

/// A shop that can sell nothing says so when it starts, and what to do.
#[test]
fn a_start_without_templates_warns_once() {
    let folder = TempDir::new().unwrap();
    let (plugins, templates) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let named = |folder: &TempDir| folder.path().to_str().unwrap().to_owned();
    let (plugins, templates) = (named(&plugins), named(&templates));
    let environment = [
        ("DERMAGA_PLUGINS_DIR", plugins.as_str()),
        ("DERMAGA_TEMPLATES_DIR", templates.as_str()),
        ("DERMAGA_PROVISIONER", "directory"),
    ];
    let demo = ["demo", "--exit", "--listen", "127.0.0.1:0"];
    // Without plugins its story cannot be told.
    let output = dermaga(folder.path(), &demo, &environment);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let given = format!("Its plugins are given in {plugins}.");
    let story = stdout(&output);
    assert!(
        story.contains(&given) && !story.contains("builds"),
        "{story}"
    );
    let said = stderr(&output);
    assert_eq!(said.matches("catalog.empty").count(), 1, "{said}");
    for part in [
        templates.as_str(),
        "DERMAGA_TEMPLATES_DIR",
        "dermaga doctor",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}

/// Installs nothing unasked where no terminal is. Stand-ins play root and its `apt-get`.
#[test]
fn packages_are_installed_without_a_terminal_only_when_told() {
    let is_debian = ["/etc/debian_version", "/usr/bin/apt-get"]
        .iter()
        .all(|path| Path::new(path).exists());
    if !is_debian {
        skip("packages of the system", "this is not Debian");
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_str().unwrap();
    for (name, script) in [("id", "echo 0"), ("apt-get", "echo \"$@\" >>\"$0.called\"")] {
        let file = folder.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let new = ["plugin", "new", "--coupon", "sample", "--language", "c"];
    let made = dermaga(folder.path(), &new, &[]);
    assert!(made.status.success(), "{}", stderr(&made));
    let build = |more: &[&str]| {
        let arguments = [&["plugin", "build", "coupon-sample"][..], more].concat();
        let output = dermaga(folder.path(), &arguments, &[("PATH", path)]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output)
    };
    let called = || fs::read_to_string(folder.path().join("apt-get.called")).unwrap_or_default();

    let said = build(&[]);
    for part in [
        "clang is not on the PATH",
        "There is no terminal to ask on",
        "--yes",
        "apt-get install -y --no-install-recommends clang lld",
    ] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
    assert_eq!(called(), "");

    build(&["--yes"]);
    let called = called();
    assert!(
        called.contains("install -y --no-install-recommends clang lld"),
        "{called}"
    );
}

#[test]
fn a_production_start_without_keys_is_refused() {
    let folder = TempDir::new().unwrap();
    let output = dermaga(folder.path(), &["serve"], &[("DERMAGA_ENV", "production")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("JWT_SECRET") && stderr(&output).contains("DERMAGA_MASTER_KEY"),
        "{}",
        stderr(&output)
    );
}

/// A server that finds its port taken ends by itself, and has logged the keys it made before.
#[test]
fn logs_are_as_loud_and_as_formatted_as_asked() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let logged = |environment: &[(&str, &str)]| {
        let folder = TempDir::new().unwrap();
        let arguments = [
            ["serve", "--listen", &address],
            ["--provisioner", "directory", "--plugins-dir"],
            [".", "--templates-dir", "."],
        ];
        let output = dermaga(folder.path(), arguments.as_flattened(), environment);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output)
    };
    let told = logged(&[]);
    assert!(
        told.contains(" INFO ") && told.contains("key.made"),
        "{told}"
    );
    let quiet = logged(&[("DERMAGA_LOG", "warn")]);
    assert!(!quiet.contains("key.made"), "{quiet}");

    let told = logged(&[("DERMAGA_LOG_FORMAT", "json")]);
    let event = told.lines().find(|line| line.contains("key.made")).unwrap();
    let event: serde_json::Value = serde_json::from_str(event).unwrap();
    assert_eq!(
        (&event["level"], &event["message"]),
        (&"INFO".into(), &"key.made".into())
    );
}
