//! `doctor`: a good shop, and one with each of its parts broken.

mod bucket;
mod cluster;
mod keys;
mod once;
mod paths;
mod several;

use std::fs;

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use chrono::TimeDelta;
use dermaga_shop::db::Db;
use dermaga_tests::{Engine, MailServer, Shop, checkout, plugins_folder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{
    dermaga,
    site::{KEY, free_address, gateway, lend_compiled},
    stderr, stdout,
};

/// Data folder of a shop that ran, and settings that are good.
struct Patient {
    data: TempDir,
    environment: Vec<(&'static str, String)>,
    /// Takes no mail.
    mails: MailServer,
}

/// Report of an examination, and its exit code.
struct Report {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl Patient {
    async fn new() -> Self {
        let shop = Shop::open(Engine::Sqlite).await.unwrap();
        Self::of(shop.close().await).await
    }

    async fn of(data: TempDir) -> Self {
        lend_compiled(data.path());
        let mails = MailServer::start().await;
        let folder = |path: &std::path::Path| path.display().to_string();
        let environment = vec![
            ("DERMAGA_DATA_DIR", folder(data.path())),
            ("DERMAGA_PLUGINS_DIR", folder(plugins_folder())),
            (
                "DERMAGA_TEMPLATES_DIR",
                folder(&checkout().join("service-templates")),
            ),
            ("DERMAGA_PROVISIONER", "directory".to_owned()),
            ("DERMAGA_PAYMENTS_SANDBOX", "true".to_owned()),
            ("SMTP_URL", mails.url()),
            ("MAIL_FROM", "Toko <toko@example.com>".to_owned()),
            ("SHOP_URL", "https://toko.example.com".to_owned()),
        ];
        Self {
            data,
            environment,
            mails,
        }
    }

    /// Examines the shop with other settings.
    async fn with(&self, changes: &[(&'static str, &str)], flags: &[&str]) -> Report {
        let mut environment = self.environment.clone();
        for (name, value) in changes {
            environment.retain(|(known, _)| known != name);
            environment.push((name, (*value).to_owned()));
        }
        let arguments = [&["doctor", "--json"], flags].concat();
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let folder = self.data.path().to_owned();
        let process = tokio::task::spawn_blocking(move || {
            let environment = environment
                .iter()
                .map(|(name, value)| (*name, value.as_str()));
            let environment: Vec<(&str, &str)> = environment.collect();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            dermaga(&folder, &arguments, &environment)
        });
        let output = process.await.unwrap();
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", stdout(&output), stderr(&output)));
        Report {
            code: output.status.code(),
            findings: report["findings"].as_array().unwrap().clone(),
        }
    }

    async fn sql(&self, sql: &'static str) {
        let url = format!("sqlite:{}", self.data.path().join("dermaga.db").display());
        let db = Db::connect(&url).await.unwrap();
        let mut conn = db.begin().await.unwrap();
        dermaga_shop::execute!(conn, sql).unwrap();
        conn.commit().await.unwrap();
        db.close().await;
    }
}

impl Report {
    /// Asserts that this part alone has this state, and that its text and advice have these words.
    fn blames(&self, part: &str, state: &str, words: &[&str]) {
        let all = format!("{:#}", Value::from(self.findings.clone()));
        let is_bad = |finding: &&Value| finding["state"] == "FAILED";
        for failed in self.findings.iter().filter(is_bad) {
            assert_eq!((&failed["part"], state), (&json!(part), "FAILED"), "{all}");
        }
        let found = self
            .findings
            .iter()
            .find(|finding| finding["part"] == part && finding["state"] == state);
        let found = found.unwrap_or_else(|| panic!("{part} is not {state}: {all}"));
        assert!(
            found["todo"].as_str().is_some_and(|todo| todo.len() > 10),
            "{all}"
        );
        for word in words {
            assert!(found.to_string().contains(word), "{word} is missing: {all}");
        }
        let code = if state == "FAILED" { 1 } else { 0 };
        assert_eq!(self.code, Some(code), "{all}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_shop_has_nothing_to_do() {
    let patient = Patient::new().await;
    let report = patient.with(&[], &[]).await;
    let findings = Value::from(report.findings.clone());
    assert_eq!(report.code, Some(0), "{findings:#}");
    let mut parts = Vec::new();
    for finding in &report.findings {
        assert_eq!(
            (&finding["state"], &finding["todo"]),
            (&json!("OK"), &Value::Null),
            "{findings:#}"
        );
        parts.push(finding["part"].as_str().unwrap());
    }
    assert_eq!(
        parts,
        [
            "configuration",
            "database",
            "keys",
            "clock",
            "plugins",
            "templates",
            "cluster",
            "gateway",
            "mail",
            "attachments"
        ]
    );
    assert_eq!(patient.mails.taken(), 0, "no mail is sent");
    let left = fs::read_dir(patient.data.path().join("attachments"));
    assert_eq!(left.unwrap().count(), 0, "the probe is deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_broken_part_is_named_with_what_to_do() {
    let patient = Patient::new().await;
    let nowhere = free_address();

    let smtp = format!("smtp://{nowhere}?tls=none");
    let report = patient.with(&[("SMTP_URL", &smtp)], &[]).await;
    report.blames("mail", "FAILED", &["127.0.0.1", "SMTP_URL", "refused"]);

    let collector = format!("http://{nowhere}");
    let setting = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let report = patient.with(&[(setting, &collector)], &[]).await;
    report.blames("traces", "WARNING", &[&collector, setting]);

    let file = patient.data.path().join("a-file");
    fs::write(&file, "").unwrap();
    let inside = format!("{}/attachments", file.display());
    let report = patient.with(&[("DERMAGA_ATTACHMENTS", &inside)], &[]).await;
    report.blames("attachments", "FAILED", &["DERMAGA_ATTACHMENTS", &inside]);

    let kubernetes = ("DERMAGA_PROVISIONER", "kubernetes");
    let config = patient.data.path().join("kubeconfig");
    let named = ("KUBECONFIG", config.to_str().unwrap());
    fs::write(&config, "clusters: 7").unwrap();
    let report = patient.with(&[kubernetes, named], &[]).await;
    report.blames("cluster", "FAILED", &["KUBECONFIG"]);
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: a, clusters: [{{name: a, cluster: {{server: 'https://{nowhere}'}}}}], \
         users: [{{name: a, user: {{token: x}}}}], contexts: [{{name: a, context: {{cluster: a, user: a}}}}]}}"
    );
    fs::write(&config, text).unwrap();
    let automatic = ("DERMAGA_PROVISIONER", "auto");
    let report = patient.with(&[automatic, named], &[]).await;
    report.blames("cluster", "FAILED", &[&nowhere, "refused"]);

    let empty = TempDir::new().unwrap();
    let templates = ("DERMAGA_TEMPLATES_DIR", empty.path().to_str().unwrap());
    let report = patient.with(&[templates], &[]).await;
    report.blames(
        "templates",
        "WARNING",
        &["no template is read", "stays as it is"],
    );

    let report = patient.with(&[("DERMAGA_LISTN", "127.0.0.1:1")], &[]).await;
    report.blames("configuration", "FAILED", &["did you mean DERMAGA_LISTEN?"]);
    assert_eq!(report.findings.len(), 1);
}

/// A collector that takes nothing without its key; what lets in is not in the report.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_is_asked_with_the_headers_of_exports() {
    let take = |headers: HeaderMap| async move {
        let has_key = headers.get("api-key").is_some_and(|key| key == "ra hasia");
        if has_key {
            StatusCode::OK
        } else {
            StatusCode::UNAUTHORIZED
        }
    };
    let router: Router = Router::new().route("/v1/traces", post(take));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let patient = Patient::new().await;
    let endpoint = format!("http://toko:gembok@{address}?kunci=gembok");
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str());
    let stranger = patient.with(&[endpoint], &[]).await;
    stranger.blames("traces", "WARNING", &["401", "OTEL_EXPORTER_OTLP_HEADERS"]);
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=ra%20hasia");
    let known = patient.with(&[endpoint, headers], &[]).await;
    let mut findings = known.findings.iter();
    let of_traces = findings.find(|finding| finding["part"] == "traces");
    assert_eq!(of_traces.unwrap()["state"], "OK", "{:#?}", known.findings);
    let said = format!("{:?}{:?}", stranger.findings, known.findings);
    assert!(said.contains(&address.to_string()), "{said}");
    assert!(!said.contains("gembok"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_asked_when_that_is_wanted() {
    let patient = Patient::new().await;
    let base = gateway().await;
    // A server with a key plays no gateway.
    let unplayed = ("DERMAGA_PAYMENTS_SANDBOX", "false");
    let good = [
        ("MIDTRANS_SERVER_KEY", KEY),
        ("MIDTRANS_BASE_URL", base.as_str()),
        unplayed,
    ];
    let report = patient.with(&good, &["--ask-gateway"]).await;
    assert_eq!(report.code, Some(0), "{:#?}", report.findings);
    let is_well = |one: &Value| one["part"] == "gateway" && one["state"] == "OK";
    assert!(
        report.findings.iter().any(is_well),
        "{:#?}",
        report.findings
    );
    let told = |report: &Report| {
        let mut findings = report.findings.iter();
        let found = findings.find(|finding| finding["part"] == "gateway");
        found.unwrap()["message"].as_str().unwrap().to_owned()
    };
    let said = told(&report);
    assert!(said.contains(base.trim_end_matches('/')), "{said}");
    assert!(!said.contains("Midtrans'"), "{said}");
    let of_midtrans = [good[0], unplayed];
    let unasked = patient.with(&of_midtrans, &[]).await;
    unasked.blames("gateway", "SKIPPED", &["not asked", "--ask-gateway"]);
    let said = told(&unasked);
    assert!(
        said.contains("Midtrans' sandbox, https://api.sandbox.midtrans.com"),
        "{said}"
    );
    let other = ("MIDTRANS_SERVER_KEY", "SB-Mid-server-other");
    let wrong = [other, good[1], unplayed];
    let report = patient.with(&wrong, &["--ask-gateway"]).await;
    report.blames("gateway", "FAILED", &["MIDTRANS_SERVER_KEY", "401"]);
    let nowhere = format!("http://{}?kunci=gembok", free_address());
    let away = [good[0], ("MIDTRANS_BASE_URL", nowhere.as_str()), unplayed];
    let report = patient.with(&away, &["--ask-gateway"]).await;
    report.blames("gateway", "FAILED", &["refused"]);
    let said = format!("{:?}", report.findings);
    assert!(!said.contains("gembok"), "{said}");
    let report = patient.with(&away, &[]).await;
    // Nothing is asked by itself, so that nothing is said to be well.
    report.blames("gateway", "SKIPPED", &["--ask-gateway"]);
    let none = [unplayed];
    let report = patient.with(&none, &[]).await;
    report.blames(
        "gateway",
        "WARNING",
        &["MIDTRANS_SERVER_KEY", "doctor --dev"],
    );
    let report = patient.with(&none, &["--dev"]).await;
    assert_eq!(report.code, Some(0), "{:#?}", report.findings);
    let of_gateway = |finding: &&Value| finding["part"] == "gateway";
    let found = report.findings.iter().find(of_gateway).unwrap();
    assert_eq!(found["state"], "OK", "it is examined as `serve --dev` runs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_looked_at_before_it_is_used() {
    let patient = Patient::new().await;
    let url = format!("postgres://toko@{}/toko", free_address());
    let report = patient.with(&[("DATABASE_URL", &url)], &[]).await;
    report.blames("database", "FAILED", &["DATABASE_URL"]);
    let not_checked = |part: &str| {
        let mut findings = report.findings.iter();
        findings.any(|finding| finding["part"] == part && finding["state"] == "WARNING")
    };
    for part in ["keys", "clock", "plugins", "templates"] {
        assert!(not_checked(part), "{part}: {:#?}", report.findings);
    }

    patient
        .sql("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)")
        .await;
    let report = patient.with(&[], &[]).await;
    report.blames("database", "WARNING", &["dermaga migrate"]);
    let report = patient.with(&[("DERMAGA_MIGRATE", "false")], &[]).await;
    report.blames("database", "FAILED", &["dermaga migrate"]);
    patient
        .sql("UPDATE _sqlx_migrations SET version = 9999 WHERE version = (SELECT max(version) FROM _sqlx_migrations)")
        .await;
    let report = patient.with(&[], &[]).await;
    report.blames("database", "FAILED", &["newer", "9999"]);

    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let data = [("DERMAGA_DATA_DIR", data.to_str().unwrap())];
    let report = patient.with(&data, &[]).await;
    report.blames("database", "WARNING", &["dermaga serve"]);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "nothing is made"
    );
}

/// A start makes the data folder and nothing else, so that what it could not make is a failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_start_could_not_make_is_a_failure() {
    let patient = Patient::new().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    let (file, missing) = (file.display(), folder.path().join("a%b/shop.db"));
    let missing = dermaga_shop::db::url_of(&missing);
    for (url, reason) in [
        (missing, "its folder is not there"),
        (format!("sqlite://{file}/shop.db"), "cannot be written"),
    ] {
        let changes = [("DATABASE_URL", url.as_str())];
        let report = patient.with(&changes, &[]).await;
        report.blames("database", "FAILED", &[reason, "DATABASE_URL"]);
        let mut environment = patient.environment.clone();
        environment.push(("DATABASE_URL", url));
        let environment = environment.iter();
        let environment = environment.map(|(name, value)| (*name, value.as_str()));
        let environment: Vec<(&str, &str)> = environment.collect();
        let ended = dermaga(folder.path(), &["serve"], &environment);
        assert_eq!(ended.status.code(), Some(1), "{}", stderr(&ended));
    }
    let data = format!("{file}/data");
    let report = patient.with(&[("DERMAGA_DATA_DIR", &data)], &[]).await;
    report.blames("configuration", "FAILED", &["cannot be made", &data]);

    let mark = patient.data.path().join("restore.partial");
    fs::write(&mark, "").unwrap();
    let report = patient.with(&[], &[]).await;
    report.blames("configuration", "FAILED", &["dermaga restore"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_and_templates_are_put_to_each_other() {
    let patient = Patient::new().await;
    let templates = TempDir::new().unwrap();
    let named = [("DERMAGA_TEMPLATES_DIR", templates.path().to_str().unwrap())];
    let n8n = fs::read_to_string(checkout().join("service-templates/n8n.toml")).unwrap();
    let nowhere = n8n.replace("service-n8n", "service-nowhere");
    fs::write(templates.path().join("n8n.toml"), nowhere).unwrap();
    let report = patient.with(&named, &[]).await;
    report.blames("templates", "FAILED", &["n8n.toml", "service-nowhere"]);
    fs::write(templates.path().join("n8n.toml"), "slug = \"bad slug\"\n").unwrap();
    let report = patient.with(&named, &[]).await;
    report.blames("templates", "FAILED", &["n8n.toml:1", "slug"]);
    let missing = [("DERMAGA_TEMPLATES_DIR", "/no/such/folder")];
    let report = patient.with(&missing, &[]).await;
    report.blames("templates", "FAILED", &["DERMAGA_TEMPLATES_DIR"]);

    patient
        .sql("UPDATE plugin_versions SET state = 'RETIRED' WHERE plugin_id = 'service-n8n'")
        .await;
    let report = patient.with(&[], &[]).await;
    let words = ["n8n.toml", "was retired", "a higher version number"];
    report.blames("templates", "FAILED", &words);
    patient
        .sql("UPDATE plugin_versions SET state = 'ACTIVE' WHERE plugin_id = 'service-n8n'")
        .await;

    patient
        .sql("UPDATE plugin_versions SET component = x'00' WHERE plugin_id = 'coupon-credit-topup'")
        .await;
    let report = patient.with(&[], &[]).await;
    report.blames("plugins", "FAILED", &["coupon-credit-topup", "rollback"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_behind_the_books_is_doubted() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    shop.clock().advance(TimeDelta::days(2));
    let coupon = json!({ "code": "BESOK", "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 } });
    let admin = shop.admin().await;
    admin.post("/api/admin/coupons", coupon).await.data(201);
    let patient = Patient::of(shop.close().await).await;
    let report = patient.with(&[], &[]).await;
    report.blames("clock", "WARNING", &["rehearsal"]);
    let report = patient
        .with(&[("DERMAGA_PAYMENTS_SANDBOX", "false")], &[])
        .await;
    report.blames("clock", "FAILED", &["still to come"]);
}

/// The lines for people, with a report that fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_get_a_line_for_each_part() {
    let folder = TempDir::new().unwrap();
    let templates = folder.path().join("empty");
    fs::create_dir(&templates).unwrap();
    let empty = templates.to_str().unwrap();
    let smtp = format!("smtp://{}?tls=none", free_address());
    let environment = [
        ("DERMAGA_PLUGINS_DIR", empty),
        ("DERMAGA_TEMPLATES_DIR", empty),
        ("DERMAGA_PROVISIONER", "directory"),
        ("SMTP_URL", &smtp),
        ("MAIL_FROM", "toko@example.com"),
    ];
    let output = dermaga(folder.path(), &["doctor"], &environment);
    assert_eq!(output.status.code(), Some(1));
    let said = stdout(&output);
    for line in [
        "OK       configuration  development, 5 settings given\n",
        "WARNING  configuration  SHOP_URL is not set beside SMTP_URL: ",
        "WARNING  database       there is none at ",
        "                        -> Run this again once the database is made.",
        "FAILED   mail           127.0.0.1: ",
        "                        -> Check host, port, user and password of SMTP_URL",
    ] {
        assert!(said.contains(line), "{line} is missing in\n{said}");
    }
    assert!(!said.contains("the database is well"), "{said}");
    assert_eq!(stderr(&output), "dermaga: 1 check failed\n");
}
