//! Tests that every setting has an effect: each test sets it by its environment variable and checks
//! the change in a server.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use dermaga::{
    app::{App, StartError},
    config::{self, Config, SETTINGS, Sources},
    sandbox::{Action, Fault},
};
use dermaga_runtime::{
    Failure, SizeClass,
    contract::{Decision, Effect, Grant},
    fixtures::{CouponFixture, Misdeed, ServiceFixture},
};
use dermaga_shop::{crypto::Secret, db::Clock};
use dermaga_tests::{Client, Engine, Shop, checkout, plugins_folder};
use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use crate::api::payments;

/// File, test, and the settings whose effect it shows.
const SHOWN_BY: &[(&str, &str, &[&str])] = &[
    (
        CLI,
        "a_production_start_without_keys_is_refused",
        &["DERMAGA_ENV"],
    ),
    (
        HERE,
        "a_server_starts_as_it_is_told",
        &["DERMAGA_LISTEN", "DERMAGA_MIGRATE"],
    ),
    (
        HERE,
        "what_a_server_keeps_lies_in_its_data_folder",
        &["DERMAGA_DATA_DIR", "DATABASE_URL"],
    ),
    (
        HERE,
        "a_token_is_good_where_its_secret_is_known",
        &["JWT_SECRET"],
    ),
    (
        HERE,
        "tokens_live_as_long_as_they_are_given",
        &["JWT_EXPIRES_IN", "JWT_REFRESH_EXPIRES_IN"],
    ),
    (
        HERE,
        "credentials_open_where_their_key_is_known",
        &["DERMAGA_MASTER_KEY"],
    ),
    (
        HERE,
        "the_first_administrator_is_the_one_named",
        &["DERMAGA_ADMIN_EMAIL", "DERMAGA_ADMIN_PASSWORD"],
    ),
    (
        HERE,
        "what_is_sold_comes_from_the_folders_named",
        &["DERMAGA_PLUGINS_DIR", "DERMAGA_TEMPLATES_DIR"],
    ),
    (
        LIFE,
        "only_signed_components_are_taken_and_run",
        &[
            "DERMAGA_PLUGIN_TRUSTED_KEYS",
            "DERMAGA_PLUGIN_REQUIRE_SIGNATURE",
        ],
    ),
    (
        LIFE,
        "suspensions_are_as_an_operator_decides",
        &[
            "DERMAGA_PLUGIN_BREAKER_FAILURES",
            "DERMAGA_PLUGIN_BREAKER_PAUSE",
        ],
    ),
    (
        LIFE,
        "the_poll_finds_what_nobody_told",
        &["DERMAGA_PLUGIN_POLL"],
    ),
    (
        HERE,
        "a_call_without_a_place_waits_and_then_answers_busy",
        &["DERMAGA_PLUGIN_CONCURRENCY", "DERMAGA_PLUGIN_QUEUE_WAIT"],
    ),
    (
        HERE,
        "every_limit_of_a_call_is_the_one_that_was_set",
        &[
            "DERMAGA_PLUGIN_QUICK_FUEL",
            "DERMAGA_PLUGIN_QUICK_MEMORY_MIB",
            "DERMAGA_PLUGIN_QUICK_OUTPUT_BYTES",
            "DERMAGA_PLUGIN_HEAVY_FUEL",
            "DERMAGA_PLUGIN_HEAVY_MEMORY_MIB",
            "DERMAGA_PLUGIN_HEAVY_OUTPUT_BYTES",
            "DERMAGA_PLUGIN_STACK_KIB",
        ],
    ),
    (
        HERE,
        "a_deadline_is_the_one_of_its_kind_of_call",
        &[
            "DERMAGA_PLUGIN_QUICK_DEADLINE_MS",
            "DERMAGA_PLUGIN_HEAVY_DEADLINE_MS",
        ],
    ),
    (
        HERE,
        "a_component_may_be_as_large_as_was_set",
        &[
            "DERMAGA_PLUGIN_COMPONENT_MIB",
            "DERMAGA_PLUGIN_LARGE_COMPONENT_MIB",
        ],
    ),
    (
        HERE,
        "a_large_plugin_has_the_memory_that_was_set",
        &["DERMAGA_PLUGIN_LARGE_MEMORY_MIB"],
    ),
    (
        HERE,
        "so_many_lines_of_a_call_are_kept_so_long",
        &["DERMAGA_PLUGIN_LOG_LINES", "DERMAGA_PLUGIN_LOG_LINE_BYTES"],
    ),
    (
        HERE,
        "instances_go_where_the_provisioner_says",
        &["DERMAGA_PROVISIONER", "KUBECONFIG"],
    ),
    (
        HERE,
        "manifests_carry_what_the_operator_decided",
        &[
            "DERMAGA_BASE_DOMAIN",
            "DERMAGA_MANIFESTS_DIR",
            "DERMAGA_INGRESS_CLASS",
            "DERMAGA_INGRESS_NAMESPACE",
            "DERMAGA_STORAGE_CLASS",
        ],
    ),
    (
        HERE,
        "drift_is_repaired_at_the_next_resync",
        &["DERMAGA_RESYNC_SECONDS"],
    ),
    (
        HERE,
        "so_many_instances_are_worked_on_at_once",
        &["DERMAGA_PROVISIONING_CONCURRENCY"],
    ),
    (
        HERE,
        "payments_go_where_the_settings_say",
        &[
            "MIDTRANS_SERVER_KEY",
            "MIDTRANS_BASE_URL",
            "MIDTRANS_CLIENT_KEY",
            "MIDTRANS_NOTIFICATION_URL",
            "MIDTRANS_FINISH_URL",
            "MIDTRANS_UNFINISH_URL",
            "MIDTRANS_ERROR_URL",
        ],
    ),
    (
        HERE,
        "real_money_needs_a_real_key",
        &["MIDTRANS_IS_PRODUCTION"],
    ),
    (
        HERE,
        "a_silent_gateway_is_waited_for_so_long",
        &["MIDTRANS_TIMEOUT"],
    ),
    (
        HERE,
        "a_sandbox_is_played_where_it_was_asked_for",
        &["DERMAGA_PAYMENTS_SANDBOX"],
    ),
    (
        HERE,
        "the_clock_starts_where_it_was_put",
        &["DERMAGA_CLOCK"],
    ),
    (
        HERE,
        "a_wallet_holds_so_much_at_the_most",
        &["WALLET_BALANCE_CAP"],
    ),
    (
        RENEWALS,
        "the_settings_decide",
        &[
            "AUTO_RENEWAL_ENABLED",
            "GRACE_PERIOD_ENABLED",
            "GRACE_PERIOD_DAYS",
            "SUSPENSION_RETENTION_DAYS",
        ],
    ),
    (
        HERE,
        "a_grace_is_as_long_as_its_bounds_allow",
        &["GRACE_PERIOD_MIN_DAYS", "GRACE_PERIOD_MAX_DAYS"],
    ),
    (
        RENEWALS,
        "a_failed_renewal_is_tried_again_when_the_settings_say",
        &["BILLING_RETRY_ATTEMPTS", "BILLING_RETRY_DELAY_MINUTES"],
    ),
    (
        HERE,
        "jobs_run_when_the_settings_say",
        &[
            "CRON_DAILY_RENEWALS",
            "CRON_GRACE_PERIOD",
            "CRON_COUPON_STATUSES",
            "CRON_WALLET_FLOAT",
            "CRON_LEDGER_SEAL",
            "CRON_DATABASE_STATISTICS",
        ],
    ),
    (
        METRICS,
        "the_pool_of_postgresql_is_as_large_as_set",
        &["DERMAGA_DATABASE_CONNECTIONS"],
    ),
    (
        HERE,
        "a_request_that_takes_too_long_is_answered",
        &["DERMAGA_REQUEST_TIMEOUT"],
    ),
    (
        HERE,
        "a_receipt_bears_the_shops_name",
        &["SHOP_NAME", "RECEIPT_FONT"],
    ),
    (
        HERE,
        "a_month_begins_where_the_shop_is",
        &["BILLING_TIMEZONE"],
    ),
    (
        HERE,
        "paid_credit_is_capped_and_the_float_is_watched",
        &["WALLET_FLOAT_WARNING"],
    ),
    (
        HERE,
        "guesses_are_counted_against_whom_the_proxies_saw",
        &["DERMAGA_TRUSTED_PROXIES"],
    ),
    (
        STRANGERS,
        "half_sent_requests_do_not_stop_the_shop",
        &[
            "DERMAGA_HEADER_TIMEOUT",
            "DERMAGA_MAX_CONNECTIONS_PER_ADDRESS",
        ],
    ),
    (
        STRANGERS,
        "connections_are_limited_in_all",
        &["DERMAGA_IDLE_TIMEOUT", "DERMAGA_MAX_CONNECTIONS"],
    ),
    (
        STRANGERS,
        "accounts_and_top_ups_are_limited",
        &[
            "BONUS_REQUIRES_VERIFIED_EMAIL",
            "DERMAGA_REGISTRATIONS_PER_HOUR",
            "WALLET_OPEN_TOP_UPS",
        ],
    ),
    (
        CLI,
        "logs_are_as_loud_and_as_formatted_as_asked",
        &["DERMAGA_LOG", "DERMAGA_LOG_FORMAT"],
    ),
];

const CLI: &str = "host/server/tests/process/cli.rs";
const LIFE: &str = "tests/tests/system/api/plugin_life.rs";
const METRICS: &str = "tests/tests/system/api/metrics.rs";
const RENEWALS: &str = "tests/tests/system/journeys/renewals.rs";
const STRANGERS: &str = "tests/tests/system/hostile/strangers.rs";
const HERE: &str = "tests/tests/system/settings.rs";

/// Every setting in force has a test in [`SHOWN_BY`], and every test there exists.
#[test]
fn every_setting_has_a_test_that_shows_its_effect() {
    // Pending settings have no effect yet, and are shown as such.
    let in_force = SETTINGS.iter().filter(|setting| !setting.pending);
    let mut promised: Vec<&str> = in_force.map(|setting| setting.env).collect();
    let mut shown: Vec<&str> = SHOWN_BY
        .iter()
        .flat_map(|(.., names)| *names)
        .copied()
        .collect();
    promised.sort_unstable();
    shown.sort_unstable();
    assert_eq!(shown, promised, "each setting stands in the table, once");
    for (file, test, settings) in SHOWN_BY {
        let source = fs::read_to_string(checkout().join(file)).unwrap();
        let signature = format!("fn {test}()");
        let before = source
            .split_once(&signature)
            .unwrap_or_else(|| panic!("{settings:?}: {file} has no `{signature}`"))
            .0;
        let attribute = before
            .trim_end_matches("async ")
            .lines()
            .last()
            .unwrap_or_default();
        assert!(
            attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test"),
            "{settings:?}: {test} in {file} does not run"
        );
    }
}

/// Builds the configuration of a server on a free port with these settings in its environment.
fn configuration(data_dir: &Path, settings: &[(&str, &str)]) -> Config {
    let display = |path: &Path| path.display().to_string();
    let mut environment = BTreeMap::from([
        ("DERMAGA_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
        ("DERMAGA_DATA_DIR".to_owned(), display(data_dir)),
        ("DERMAGA_PROVISIONER".to_owned(), "directory".to_owned()),
        ("DERMAGA_PLUGINS_DIR".to_owned(), display(plugins_folder())),
        (
            "DERMAGA_TEMPLATES_DIR".to_owned(),
            display(&checkout().join("service-templates")),
        ),
    ]);
    let given = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    environment.extend(given);
    let sources = Sources {
        environment,
        ..Sources::default()
    };
    config::load(sources).expect("the settings are good").config
}

/// Opens a shop with these settings.
pub(crate) async fn shop(settings: &[(&str, &str)]) -> Shop {
    let change = |config: &mut Config| *config = configuration(&config.data_dir.clone(), settings);
    Shop::open_with(Engine::Sqlite, change).await.unwrap()
}

/// Opens a shop without plugins and templates, which starts fast.
pub(crate) async fn empty_shop(settings: &[(&str, &str)]) -> Shop {
    let nothing = TempDir::new().unwrap();
    let folder = nothing.path().to_str().unwrap();
    let folders = [
        ("DERMAGA_PLUGINS_DIR", folder),
        ("DERMAGA_TEMPLATES_DIR", folder),
    ];
    shop(&[&folders[..], settings].concat()).await
}

// ---- starting ----

#[tokio::test]
async fn a_server_starts_as_it_is_told() {
    let folder = TempDir::new().unwrap();
    let nothing = folder.path().to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // An empty database is refused before the server binds its port.
    for (migrate, expected) in [("false", "`dermaga migrate`"), ("true", address.as_str())] {
        let config = configuration(
            &folder.path().join("data"),
            &[
                ("DERMAGA_LISTEN", &address),
                ("DERMAGA_MIGRATE", migrate),
                ("DERMAGA_PLUGINS_DIR", nothing),
                ("DERMAGA_TEMPLATES_DIR", nothing),
            ],
        );
        let error = App::start(config, Clock::movable()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{migrate}: {error}");
    }
}

#[tokio::test]
async fn the_first_administrator_is_the_one_named() {
    let shop = empty_shop(&[
        ("DERMAGA_ADMIN_EMAIL", "pemilik@example.com"),
        ("DERMAGA_ADMIN_PASSWORD", "kata sandi pemilik toko"),
    ])
    .await;
    let body = json!({ "email": "pemilik@example.com", "password": "kata sandi pemilik toko" });
    let session = shop.client().post("/api/auth/login", body).await.data(200);
    assert_eq!(session["user"]["role"], "ADMINISTRATOR");
}

#[tokio::test]
async fn a_receipt_bears_the_shops_name() {
    let font = checkout().join("host/shop/fonts/DejaVuSansMono-Bold.ttf");
    let settings = [
        ("SHOP_NAME", "Toko Pelabuhan"),
        ("RECEIPT_FONT", font.to_str().unwrap()),
    ];
    let shop = empty_shop(&settings).await;
    assert!(shop.state().config.wallet.receipt_font.is_some());
    let (admin, customer) = (
        shop.admin().await,
        shop.customer("kuitansi@example.com").await,
    );
    let profile = customer.get("/api/auth/profile").await.data(200);
    let path = format!(
        "/api/admin/wallets/{}/add-credit",
        profile["id"].as_str().unwrap()
    );
    let body = json!({ "amount": 10_000, "reason": "A gift to begin with." });
    let made = admin.post(&path, body).await.data(201);
    let number = made["transaction"]["number"].as_str().unwrap();
    let receipt = customer
        .get(&format!("/api/wallet/transactions/{number}/receipt"))
        .await;
    assert!(receipt.pdf_text().contains("Toko Pelabuhan"));
}

#[tokio::test]
async fn jobs_run_when_the_settings_say() {
    let shop = empty_shop(&[
        ("BILLING_TIMEZONE", "Asia/Jayapura"),
        ("CRON_DAILY_RENEWALS", "20 2 * * *"),
        ("CRON_GRACE_PERIOD", "25 3 * * *"),
        ("CRON_COUPON_STATUSES", "30 4 * * *"),
        ("CRON_WALLET_FLOAT", "45 5 * * *"),
        ("CRON_LEDGER_SEAL", "15 6 * * *"),
        ("CRON_DATABASE_STATISTICS", "50 6 * * *"),
    ])
    .await;
    let jobs = shop.admin().await.get("/api/admin/jobs").await.data(200);
    let jobs = jobs.as_array().unwrap();
    // Jayapura is nine hours east of Greenwich.
    for (name, instant) in [
        ("daily-renewals", "T17:20:00Z"),
        ("grace-period", "T18:25:00Z"),
        ("coupon-statuses", "T19:30:00Z"),
        ("wallet-float", "T20:45:00Z"),
        ("ledger-seal", "T21:15:00Z"),
        ("database-statistics", "T21:50:00Z"),
    ] {
        let job = jobs.iter().find(|job| job["name"] == name).unwrap();
        let next = job["nextRun"].as_str().unwrap();
        assert!(next.ends_with(instant), "{name}: {next}");
        assert_eq!(job["timezone"], "Asia/Jayapura");
    }

    for (name, wrong) in [
        ("BILLING_TIMEZONE", "Asia/Atlantis"),
        ("DERMAGA_CLOCK", "soon"),
        ("DERMAGA_CLOCK", "+40000d"),
        ("AUTO_RENEWAL_ENABLED", "sometimes"),
        ("GRACE_PERIOD_ENABLED", "7"),
        ("GRACE_PERIOD_DAYS", "31"),
        ("SUSPENSION_RETENTION_DAYS", "0"),
        ("BILLING_RETRY_ATTEMPTS", "21"),
        ("BILLING_RETRY_DELAY_MINUTES", "0"),
        ("CRON_DAILY_RENEWALS", "daily"),
        ("CRON_GRACE_PERIOD", "later"),
        ("CRON_COUPON_STATUSES", "nightly"),
        ("CRON_WALLET_FLOAT", "always"),
        ("CRON_LEDGER_SEAL", "midnight"),
        ("CRON_DATABASE_STATISTICS", "weekly"),
        ("DERMAGA_DATABASE_CONNECTIONS", "1"),
        ("SHOP_NAME", " "),
        ("RECEIPT_FONT", "/nowhere/font.ttf"),
        ("RECEIPT_FONT", "/proc/version"),
    ] {
        let sources = Sources {
            environment: BTreeMap::from([(name.to_owned(), wrong.to_owned())]),
            ..Sources::default()
        };
        let refused = config::load(sources).unwrap_err().to_string();
        assert!(refused.contains(&format!("{name} must be")), "{refused}");
    }
}

/// The bounds are checked before the subscription is read.
#[tokio::test]
async fn a_grace_is_as_long_as_its_bounds_allow() {
    for (settings, good, bad) in [
        (
            &[
                ("GRACE_PERIOD_MIN_DAYS", "3"),
                ("GRACE_PERIOD_MAX_DAYS", "8"),
            ][..],
            [3, 8],
            [2, 9],
        ),
        (&[("GRACE_PERIOD_MAX_DAYS", "60")], [1, 60], [0, 61]),
    ] {
        let shop = empty_shop(settings).await;
        let admin = shop.admin().await;
        let give = async |days: i64| {
            let path = format!("/api/admin/billing/set-grace-period/{}", uuid::Uuid::nil());
            admin.post(&path, json!({ "graceDays": days })).await
        };
        for days in good {
            give(days).await.fails(404, "NOT_FOUND");
        }
        for days in bad {
            let refused = give(days).await;
            refused.fails(400, "VALIDATION_FAILED");
            assert!(refused.detail("graceDays").is_some(), "{}", refused.text);
        }
        let most = good[1] + 1;
        let sources = Sources {
            environment: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .chain([("GRACE_PERIOD_DAYS".to_owned(), most.to_string())])
                .collect(),
            ..Sources::default()
        };
        let refused = config::load(sources).unwrap_err().to_string();
        assert!(refused.contains("GRACE_PERIOD_DAYS must be"), "{refused}");
    }
}

// ---- data folder ----

#[tokio::test]
async fn what_a_server_keeps_lies_in_its_data_folder() {
    let shop = empty_shop(&[]).await;
    for name in ["dermaga.db", "jwt.key", "master.key", "plugin-cache"] {
        assert!(shop.data_dir().join(name).exists(), "{name}");
    }

    let elsewhere = TempDir::new().unwrap();
    let file = elsewhere.path().join("books.db");
    let url = format!("sqlite://{}", file.display());
    let shop = empty_shop(&[("DATABASE_URL", &url)]).await;
    shop.register("di-tempat-lain@example.com").await;
    assert!(file.is_file());
    assert!(!shop.data_dir().join("dermaga.db").exists());
}

#[tokio::test]
async fn what_is_sold_comes_from_the_folders_named() {
    let folder = TempDir::new().unwrap();
    let (plugins, templates) = (
        folder.path().join("plugins"),
        folder.path().join("services"),
    );
    fs::create_dir(&plugins).unwrap();
    fs::create_dir(&templates).unwrap();
    for name in ["service-n8n.wasm", "coupon-credit-topup.wasm"] {
        fs::copy(plugins_folder().join(name), plugins.join(name)).unwrap();
    }
    let template = checkout().join("service-templates/n8n.toml");
    fs::copy(template, templates.join("n8n.toml")).unwrap();
    let shop = shop(&[
        ("DERMAGA_PLUGINS_DIR", plugins.to_str().unwrap()),
        ("DERMAGA_TEMPLATES_DIR", templates.to_str().unwrap()),
    ])
    .await;
    let every = |list: Value, key: &str| -> Vec<Value> {
        let entries = list.as_array().unwrap().iter();
        entries.map(|entry| entry[key].clone()).collect()
    };
    let installed = shop.admin().await.get("/api/admin/plugins").await.data(200);
    assert_eq!(
        every(installed, "id"),
        ["coupon-credit-topup", "service-n8n"]
    );
    let sold = shop.client().get("/api/catalog/services").await.data(200);
    assert_eq!(every(sold, "slug"), ["n8n"]);
}

// ---- keys and tokens ----

#[tokio::test]
async fn a_token_is_good_where_its_secret_is_known() {
    let (old, new) = ("o".repeat(32), "n".repeat(32));
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}", folder.path().join("dermaga.db").display());
    let first = empty_shop(&[("DATABASE_URL", &url), ("JWT_SECRET", &old)]).await;
    let customer = first.customer("kunci@example.com").await;
    let rotated = format!("{new},{old}");
    for (secrets, status) in [(&old, 200), (&rotated, 200), (&new, 401)] {
        let server = empty_shop(&[("DATABASE_URL", &url), ("JWT_SECRET", secrets)]).await;
        let answer = customer
            .moved_to(server.client())
            .get("/api/auth/profile")
            .await;
        assert_eq!(answer.status, status, "{secrets}: {:#}", answer.body);
    }
    let server = empty_shop(&[("DATABASE_URL", &url), ("JWT_SECRET", &rotated)]).await;
    let signed_in = server.sign_in("kunci@example.com").await;
    let answer = signed_in
        .moved_to(first.client())
        .get("/api/auth/profile")
        .await;
    answer.fails(401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn tokens_live_as_long_as_they_are_given() {
    let settings = [("JWT_EXPIRES_IN", "10m"), ("JWT_REFRESH_EXPIRES_IN", "30m")];
    let shop = empty_shop(&settings).await;
    let session = shop.register("umur@example.com").await;
    let customer = shop
        .client()
        .with_token(session["accessToken"].as_str().unwrap());
    let refresh = |session: &Value| {
        let body = json!({ "refreshToken": session["refreshToken"] });
        let client = shop.client().clone();
        async move { client.post("/api/auth/refresh-token", body).await }
    };
    shop.clock().advance(TimeDelta::minutes(9));
    customer.get("/api/auth/profile").await.data(200);
    shop.clock().advance(TimeDelta::minutes(1));
    customer
        .get("/api/auth/profile")
        .await
        .fails(401, "TOKEN_EXPIRED");
    shop.clock().advance(TimeDelta::minutes(19));
    let session = refresh(&session).await.data(200);
    shop.clock().advance(TimeDelta::minutes(30));
    assert_eq!(refresh(&session).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_open_where_their_key_is_known() {
    let (old, new) = ("0a".repeat(32), "0b".repeat(32));
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite://{}", folder.path().join("dermaga.db").display());
    let secret = "j".repeat(32);
    let with_key = |key: &str| {
        let settings = [
            ("DATABASE_URL", url.clone()),
            ("JWT_SECRET", secret.clone()),
            ("DERMAGA_MASTER_KEY", key.to_owned()),
        ];
        async move {
            let settings = settings
                .each_ref()
                .map(|(name, value)| (*name, value.as_str()));
            shop(&settings).await
        }
    };
    let first = with_key(&old).await;
    let customer = first
        .customer_with_credit("rahasia@example.com", 100_000)
        .await;
    let id = buy(&first, &customer, "postgresql", "basic").await;
    first.instance_becomes(&customer, &id, "RUNNING").await;
    let path = format!("/api/instances/{id}/credentials");
    let credentials = customer.get(&path).await.data(200);
    first.close().await;

    let rotated = with_key(&format!("{new},{old}")).await;
    let seen = customer.moved_to(rotated.client()).get(&path).await;
    assert_eq!(seen.data(200)["fields"], credentials["fields"]);
    let customer = customer.moved_to(rotated.client());
    let id = buy(&rotated, &customer, "postgresql", "basic").await;
    let new_path = format!("/api/instances/{id}/credentials");

    // A key that is dropped too early: its secrets cannot be shown, everything else works.
    let keys = |key: &str| vec![Secret::new(key)];
    let early = rotated.restart_with(|config| config.master_keys = keys(&new));
    let early = early.await.unwrap();
    let customer = customer.moved_to(early.client());
    customer.get(&path).await.fails(500, "INTERNAL");
    early.instance_becomes(&customer, &id, "RUNNING").await;
    customer.get(&new_path).await.data(200);

    let foreign = "0c".repeat(32);
    let refused = early.restart_with(|config| config.master_keys = keys(&foreign));
    let why = refused.await.expect_err("no secret opens");
    assert!(matches!(why, StartError::MasterKey { secrets: 2 }), "{why}");
}

/// Buys a plan; returns the id of the instance.
async fn buy(shop: &Shop, customer: &Client, service: &str, plan: &str) -> String {
    let plan = shop.plan(service, plan).await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    bought["instanceId"].as_str().unwrap().to_owned()
}

// ---- plugins ----

/// Calls this function of a component under this server's limits; returns its failure.
fn failure(shop: &Shop, component: &[u8], function: &str) -> Failure {
    let plugin = shop.state().plugins.runtime().load(component).unwrap();
    let input = match function {
        "evaluate" => evaluation(),
        "health" => json!({ "instance": instance(), "observed": [] }),
        _ => instance(),
    };
    plugin.call_json(function, &input).unwrap_err().failure
}

fn evaluation() -> Value {
    json!({ "parameters": {}, "moment": 0, "place": "wallet", "purchase": null, "facts": {} })
}

fn instance() -> Value {
    let resources = json!({ "cpuMillis": 500, "memoryMib": 512, "storageGib": 1, "replicas": 1 });
    let plan = json!({
        "slug": "basic", "tier": "BASIC", "monthlyPrice": 50_000, "resources": resources,
    });
    json!({
        "name": "shop", "plan": plan, "config": {}, "secretObject": "shop-secrets", "secrets": [],
        "images": [],
    })
}

fn bad_coupon(misdeed: Misdeed) -> Vec<u8> {
    CouponFixture::misbehaving("evaluate", misdeed).component()
}

fn bad_service(function: &str, misdeed: Misdeed) -> Vec<u8> {
    ServiceFixture::misbehaving(function, misdeed).component()
}

#[tokio::test]
async fn every_limit_of_a_call_is_the_one_that_was_set() {
    let shop = empty_shop(&[
        ("DERMAGA_PLUGIN_QUICK_FUEL", "123_456"),
        ("DERMAGA_PLUGIN_QUICK_MEMORY_MIB", "3"),
        ("DERMAGA_PLUGIN_QUICK_OUTPUT_BYTES", "4_321"),
        ("DERMAGA_PLUGIN_HEAVY_FUEL", "654_321"),
        ("DERMAGA_PLUGIN_HEAVY_MEMORY_MIB", "5"),
        ("DERMAGA_PLUGIN_HEAVY_OUTPUT_BYTES", "8_765"),
        ("DERMAGA_PLUGIN_STACK_KIB", "96"),
    ])
    .await;
    let talkative = CouponFixture::deciding(Decision::Grant(Grant {
        effect: Effect::Credit(1),
        reason: "x".repeat(5_000),
    }));
    let bulky = ServiceFixture::rendering(vec![json!({ "kind": "x".repeat(9_000) })]);
    for (component, function, expected) in [
        (
            bad_coupon(Misdeed::LoopForever),
            "evaluate",
            Failure::FuelExhausted { limit: 123_456 },
        ),
        (
            bad_coupon(Misdeed::GrowMemory),
            "evaluate",
            Failure::MemoryExceeded { limit: 3 << 20 },
        ),
        (
            talkative.component(),
            "evaluate",
            Failure::OutputTooLarge { limit: 4_321 },
        ),
        (
            bad_service("manifests", Misdeed::LoopForever),
            "manifests",
            Failure::FuelExhausted { limit: 654_321 },
        ),
        (
            bad_service("health", Misdeed::GrowMemory),
            "health",
            Failure::MemoryExceeded { limit: 5 << 20 },
        ),
        (
            bulky.component(),
            "manifests",
            Failure::OutputTooLarge { limit: 8_765 },
        ),
        (
            bad_coupon(Misdeed::Recurse),
            "evaluate",
            Failure::StackOverflow { limit: 96 << 10 },
        ),
    ] {
        assert_eq!(failure(&shop, &component, function), expected);
    }
}

#[tokio::test]
async fn a_deadline_is_the_one_of_its_kind_of_call() {
    let shop = empty_shop(&[
        ("DERMAGA_PLUGIN_QUICK_FUEL", "10_000_000_000"),
        ("DERMAGA_PLUGIN_QUICK_DEADLINE_MS", "40"),
        ("DERMAGA_PLUGIN_HEAVY_FUEL", "10_000_000_000"),
        ("DERMAGA_PLUGIN_HEAVY_DEADLINE_MS", "60"),
    ])
    .await;
    assert_eq!(
        failure(&shop, &bad_coupon(Misdeed::LoopForever), "evaluate"),
        Failure::DeadlineExceeded { limit_ms: 40 }
    );
    assert_eq!(
        failure(
            &shop,
            &bad_service("health", Misdeed::LoopForever),
            "health"
        ),
        Failure::DeadlineExceeded { limit_ms: 60 }
    );
}

#[tokio::test]
async fn a_component_may_be_as_large_as_was_set() {
    let beyond_one_mib = vec![0; (1 << 20) + 1];
    for (standard, large, code) in [
        ("1", "1", "COMPONENT_TOO_LARGE"),
        ("1", "2", "COMPONENT_ABOVE_CLASS"),
        ("2", "2", "COMPONENT_MALFORMED"),
    ] {
        let shop = empty_shop(&[
            ("DERMAGA_PLUGIN_COMPONENT_MIB", standard),
            ("DERMAGA_PLUGIN_LARGE_COMPONENT_MIB", large),
        ])
        .await;
        let answer = shop.admin().await.upload(beyond_one_mib.clone()).await;
        answer.fails(400, "COMPONENT_REFUSED");
        assert!(
            answer.body.to_string().contains(code),
            "{standard} and {large} MiB: {:#}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_large_plugin_has_the_memory_that_was_set() {
    let shop = empty_shop(&[("DERMAGA_PLUGIN_LARGE_MEMORY_MIB", "40")]).await;
    let hungry = bad_coupon(Misdeed::GrowMemory);
    let runtime = shop.state().plugins.runtime();
    let plugin = runtime.load_as(&hungry, SizeClass::Large).unwrap();
    assert_eq!(
        plugin
            .call_json("evaluate", &evaluation())
            .unwrap_err()
            .failure,
        Failure::MemoryExceeded { limit: 40 << 20 }
    );
}

#[tokio::test]
async fn so_many_lines_of_a_call_are_kept_so_long() {
    let shop = empty_shop(&[
        ("DERMAGA_PLUGIN_LOG_LINES", "3"),
        ("DERMAGA_PLUGIN_LOG_LINE_BYTES", "17"),
    ])
    .await;
    let said = |misdeed| {
        let plugin = shop.state().plugins.runtime().load(&bad_coupon(misdeed));
        plugin
            .unwrap()
            .call_json("evaluate", &evaluation())
            .unwrap()
            .logs
    };
    let lines = said(Misdeed::FloodLog(5));
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[3].message, "2 further lines were dropped");
    assert_eq!(said(Misdeed::LongLog(100))[0].message.len(), 17);
}

/// Starts a call of a coupon type that takes as long as this server allows.
fn occupy(shop: &Shop) -> tokio::task::JoinHandle<()> {
    let slow = bad_coupon(Misdeed::LoopForever);
    let slow = shop.state().plugins.runtime().load(&slow).unwrap();
    tokio::task::spawn_blocking(move || {
        let error = slow.call_json("evaluate", &evaluation()).unwrap_err();
        assert_eq!(error.code(), "PLUGIN_DEADLINE_EXCEEDED");
    })
}

/// Installs a good coupon type; returns the request that tries it.
async fn dry_run(admin: &Client) -> (&'static str, Value) {
    let component = CouponFixture::default().component();
    let staged = admin.upload(component).await.data(201);
    let body = json!({
        "function": "evaluate", "input": evaluation(), "digest": staged["digest"],
    });
    ("/api/admin/plugins/coupon-fixture/dry-run", body)
}

/// During one call, others have a slot, wait for one, or are answered that there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_a_place_waits_and_then_answers_busy() {
    for (places, wait, is_refused) in [("1", "0s", true), ("2", "0s", false), ("1", "30s", false)] {
        let shop = empty_shop(&[
            ("DERMAGA_PLUGIN_CONCURRENCY", places),
            ("DERMAGA_PLUGIN_QUEUE_WAIT", wait),
            ("DERMAGA_PLUGIN_QUICK_FUEL", "10_000_000_000"),
            ("DERMAGA_PLUGIN_QUICK_DEADLINE_MS", "400"),
        ])
        .await;
        let admin = shop.admin().await;
        let (path, body) = dry_run(&admin).await;
        let (mut answered, mut refused) = (0, 0);
        // On a busy machine the slot may become free before the request arrives.
        for _ in 0..20 {
            let occupied = occupy(&shop);
            loop {
                let answer = admin.post(path, body.clone()).await;
                if answer.status == 200 {
                    answered += 1;
                } else {
                    answer.fails(503, "PLUGIN_BUSY");
                    refused += 1;
                }
                if occupied.is_finished() {
                    break;
                }
            }
            occupied.await.unwrap();
            if !is_refused || refused > 0 {
                break;
            }
        }
        assert_eq!(
            refused > 0,
            is_refused,
            "{places} places, {wait}: {refused}"
        );
        assert!(is_refused || answered > 0, "{places} places, {wait}");
    }
}

/// An upload without a free slot is answered as busy, without a verdict on the component.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_without_a_place_is_not_refused_but_busy() {
    let shop = empty_shop(&[
        ("DERMAGA_PLUGIN_CONCURRENCY", "1"),
        ("DERMAGA_PLUGIN_QUEUE_WAIT", "0s"),
        ("DERMAGA_PLUGIN_QUICK_FUEL", "10_000_000_000"),
        ("DERMAGA_PLUGIN_QUICK_DEADLINE_MS", "1000"),
    ])
    .await;
    let admin = shop.admin().await;
    let (path, body) = dry_run(&admin).await;
    let mut busy = 0;
    while busy == 0 {
        let occupied = occupy(&shop);
        while admin.post(path, body.clone()).await.status == 200 && !occupied.is_finished() {}
        let mut number = 0;
        while !occupied.is_finished() {
            number += 1;
            let mut fixture = CouponFixture::default();
            fixture.about.version = format!("2.0.{number}");
            let answer = admin.upload(fixture.component()).await;
            if answer.status != 201 {
                answer.fails(503, "PLUGIN_BUSY");
                busy += 1;
            }
        }
        occupied.await.unwrap();
    }
}

/// The request waits for a slot of plugin calls here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_too_long_is_answered() {
    let shop = empty_shop(&[
        ("DERMAGA_REQUEST_TIMEOUT", "1s"),
        ("DERMAGA_PLUGIN_CONCURRENCY", "1"),
        ("DERMAGA_PLUGIN_QUEUE_WAIT", "30s"),
        ("DERMAGA_PLUGIN_QUICK_FUEL", "10_000_000_000"),
        ("DERMAGA_PLUGIN_QUICK_DEADLINE_MS", "1500"),
    ])
    .await;
    let admin = shop.admin().await;
    let (path, body) = dry_run(&admin).await;
    let occupied = occupy(&shop);
    let mut seen = Vec::new();
    while !occupied.is_finished() {
        seen.push(admin.post(path, body.clone()).await);
    }
    let late = seen.iter().find(|answer| answer.status != 200);
    late.expect("one had to wait").fails(408, "REQUEST_TIMEOUT");
}

// ---- instances ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_carry_what_the_operator_decided() {
    let folder = TempDir::new().unwrap();
    let manifests = folder.path().join("gitops");
    let shop = shop(&[
        ("DERMAGA_BASE_DOMAIN", "toko.example"),
        ("DERMAGA_MANIFESTS_DIR", manifests.to_str().unwrap()),
        ("DERMAGA_INGRESS_CLASS", "gerbang"),
        ("DERMAGA_INGRESS_NAMESPACE", "pintu-masuk"),
        ("DERMAGA_STORAGE_CLASS", "cepat"),
    ])
    .await;
    let customer = shop.customer("manifes@example.com").await;
    let id = buy(&shop, &customer, "n8n", "free").await;
    let instance = shop.instance_becomes(&customer, &id, "RUNNING").await;
    let (name, namespace) = (
        instance["name"].as_str().unwrap(),
        manifests.join(instance["namespace"].as_str().unwrap()),
    );
    let of_kind = |folder: &Path, kind: &str| {
        let file = files(folder)
            .into_iter()
            .find(|file| file.to_string_lossy().contains(kind))
            .unwrap_or_else(|| panic!("no {kind} in {}", folder.display()));
        let object: Value = serde_norway::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        object
    };
    let ingress = of_kind(&namespace.join(name), "-ingress-");
    assert_eq!(
        ingress["spec"]["rules"][0]["host"],
        format!("{name}.toko.example")
    );
    assert_eq!(ingress["spec"]["ingressClassName"], "gerbang");
    let claim = of_kind(&namespace.join(name), "-persistentvolumeclaim-");
    assert_eq!(claim["spec"]["storageClassName"], "cepat");
    let door = of_kind(&namespace, "allow-ingress");
    assert!(door.to_string().contains("pintu-masuk"), "{door:#}");
    assert!(!shop.data_dir().join("manifests").exists());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_repaired_at_the_next_resync() {
    let shop = shop(&[("DERMAGA_RESYNC_SECONDS", "3000")]).await;
    let customer = shop.customer("selaras@example.com").await;
    let id = buy(&shop, &customer, "n8n", "free").await;
    let instance = shop.instance_becomes(&customer, &id, "RUNNING").await;
    let folder = shop
        .data_dir()
        .join("manifests")
        .join(instance["namespace"].as_str().unwrap())
        .join(instance["name"].as_str().unwrap());
    let lost = files(&folder).pop().unwrap();
    fs::remove_file(&lost).unwrap();
    shop.clock().advance(TimeDelta::seconds(2000));
    shop.state().instances.handle.wake();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!lost.exists(), "it is not looked at before its time");
    shop.clock().advance(TimeDelta::seconds(2000));
    shop.state().instances.handle.wake();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !lost.exists() {
        assert!(Instant::now() < deadline, "{} stays away", lost.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes a kubeconfig with this address, where nothing answers.
fn kubeconfig(folder: &Path, address: &str) -> PathBuf {
    let path = folder.join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
        "users": [{ "name": "a", "user": { "token": "t" } }],
        "clusters": [{ "name": "a", "cluster": { "server": format!("http://{address}") } }],
    });
    fs::write(&path, text.to_string()).unwrap();
    path
}

#[tokio::test]
async fn instances_go_where_the_provisioner_says() {
    let folder = TempDir::new().unwrap();
    // A port that was just closed has no listener.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let path = kubeconfig(folder.path(), &closed.to_string());
    let path = path.to_str().unwrap();
    for (choice, provisioner) in [
        ("kubernetes", "kubernetes"),
        ("directory", "directory"),
        ("auto", "directory"),
    ] {
        let shop = empty_shop(&[("DERMAGA_PROVISIONER", choice), ("KUBECONFIG", path)]).await;
        let status = shop.state().instances.handle.status();
        assert_eq!(status.provisioner, provisioner, "{choice}: {status:?}");
    }
    let nowhere = folder.path().join("nowhere");
    let settings = [
        ("DERMAGA_PROVISIONER", "kubernetes"),
        ("KUBECONFIG", nowhere.to_str().unwrap()),
        ("DERMAGA_PLUGINS_DIR", folder.path().to_str().unwrap()),
        ("DERMAGA_TEMPLATES_DIR", folder.path().to_str().unwrap()),
    ];
    let config = configuration(&folder.path().join("data"), &settings);
    let error = App::from_config(config, Clock::movable())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(nowhere.to_str().unwrap()),
        "{error}"
    );
}

/// On a cluster that accepts requests and never answers, every started pass stays under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_instances_are_worked_on_at_once() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = TempDir::new().unwrap();
    let path = kubeconfig(folder.path(), &silent.local_addr().unwrap().to_string());
    for places in [2, 3] {
        let shop = shop(&[
            ("DERMAGA_PROVISIONER", "kubernetes"),
            ("KUBECONFIG", path.to_str().unwrap()),
            ("DERMAGA_PROVISIONING_CONCURRENCY", &places.to_string()),
        ])
        .await;
        for customer in shop.many_customers(5).await {
            buy(&shop, &customer, "n8n", "free").await;
        }
        let mut most = 0;
        for _ in 0..15 {
            most = most.max(under_way(&shop).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(most, places);
    }
}

/// Returns the number of leased instances.
async fn under_way(shop: &Shop) -> i64 {
    let sql = "SELECT COUNT(*) FROM instances WHERE lease_until > $1";
    let mut conn = shop.state().db.read().await.unwrap();
    let (count,) = dermaga_shop::fetch_one!(conn, (i64,), sql, shop.clock().now()).unwrap();
    count
}

// ---- payments ----

/// Builds a top-up by QRIS.
fn top_up(amount: i64) -> Value {
    json!({ "amount": amount, "paymentMethod": "QRIS" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_go_where_the_settings_say() {
    let (gateway, base) = payments::gateway(Clock::movable()).await;
    let ear = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let notices = format!("http://{}/notices", ear.local_addr().unwrap());
    let settings = |key: &'static str| {
        [
            ("MIDTRANS_SERVER_KEY", key),
            ("MIDTRANS_BASE_URL", &base),
            ("MIDTRANS_CLIENT_KEY", "SB-Mid-client-1"),
            ("MIDTRANS_NOTIFICATION_URL", &notices),
            ("MIDTRANS_FINISH_URL", "https://toko.example/selesai"),
            ("MIDTRANS_UNFINISH_URL", "https://toko.example/belum"),
            ("MIDTRANS_ERROR_URL", "https://toko.example/gagal"),
        ]
    };
    let stranger = empty_shop(&settings("SB-Mid-server-stranger")).await;
    let customer = stranger.customer("asing@example.com").await;
    let refused = customer.post("/api/wallet/topup", top_up(10_000)).await;
    refused.fails(502, "GATEWAY_REFUSED");
    let shop = empty_shop(&settings(payments::KEY)).await;
    let customer = shop.customer("arah@example.com").await;
    let open = customer
        .post("/api/wallet/topup", top_up(10_000))
        .await
        .data(201);
    assert_eq!(open["clientKey"], "SB-Mid-client-1");
    let url = open["redirectUrl"].as_str().unwrap();
    assert!(url.starts_with(&base), "{url}");
    let page = async || reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(page().await.contains("https://toko.example/belum"));
    let admin = shop.admin().await;
    let payments = admin.get("/api/admin/payments").await.data(200);
    let order = payments[0]["orderId"].as_str().unwrap();
    gateway.act(order, Action::Deny).unwrap();
    assert!(page().await.contains("https://toko.example/gagal"));
    let (mut connection, _) = ear.accept().await.unwrap();
    let mut begin = [0; 13];
    connection.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"POST /notices");
    gateway.act(order, Action::Pay).unwrap();
    assert!(page().await.contains("https://toko.example/selesai"));
}

#[test]
fn real_money_needs_a_real_key() {
    let load = |key: &str, is_production: &str| {
        let environment = [
            ("MIDTRANS_SERVER_KEY", key),
            ("MIDTRANS_IS_PRODUCTION", is_production),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        config::load(Sources {
            environment: environment.into(),
            ..Sources::default()
        })
    };
    assert!(load("SB-Mid-server-1", "false").is_ok());
    assert!(load("Mid-server-1", "true").is_ok());
    let refused = load("SB-Mid-server-1", "true").unwrap_err().to_string();
    assert!(refused.contains("MIDTRANS_SERVER_KEY"), "{refused}");
}

/// A request without an answer times out, is repeated and answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_gateway_is_waited_for_so_long() {
    for (timeout, status) in [("1s", 201), ("60s", 408)] {
        let (gateway, base) = payments::gateway(Clock::movable()).await;
        let shop = empty_shop(&[
            ("MIDTRANS_SERVER_KEY", payments::KEY),
            ("MIDTRANS_BASE_URL", &base),
            ("MIDTRANS_TIMEOUT", timeout),
            ("DERMAGA_REQUEST_TIMEOUT", "15s"),
        ])
        .await;
        let customer = shop.customer("sabar@example.com").await;
        gateway.fail_next([Fault::Silence]);
        let answer = customer.post("/api/wallet/topup", top_up(10_000)).await;
        assert_eq!(answer.status, status, "{timeout}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_is_played_where_it_was_asked_for() {
    for (sandbox, status) in [("true", 201), ("false", 503)] {
        let shop = empty_shop(&[("DERMAGA_PAYMENTS_SANDBOX", sandbox)]).await;
        let customer = shop.customer("main@example.com").await;
        let answer = customer.post("/api/wallet/topup", top_up(10_000)).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_starts_where_it_was_put() {
    for (clock, expected) in [
        ("+31d", Clock::system().now() + TimeDelta::days(31)),
        ("-90m", Clock::system().now() - TimeDelta::minutes(90)),
        (
            "2031-12-31T23:30:00+07:00",
            "2031-12-31T16:30:00Z".parse().unwrap(),
        ),
    ] {
        let shop = empty_shop(&[("DERMAGA_CLOCK", clock)]).await;
        let off = shop.clock().now() - expected;
        assert!(off.abs() < TimeDelta::minutes(1), "{clock}: {off}");
    }
}

/// Unpaid top-ups count too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_holds_so_much_at_the_most() {
    let shop = empty_shop(&[
        ("WALLET_BALANCE_CAP", "50_000"),
        ("DERMAGA_PAYMENTS_SANDBOX", "true"),
    ])
    .await;
    let customer = shop.customer("penuh@example.com").await;
    let ask = |amount| customer.post("/api/wallet/topup", top_up(amount));
    ask(50_001).await.fails(409, "BALANCE_CAP_EXCEEDED");
    ask(30_000).await.data(201);
    ask(20_001).await.fails(409, "BALANCE_CAP_EXCEEDED");
    ask(20_000).await.data(201);
}

// ---- money ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_begins_where_the_shop_is() {
    for (zone, hour) in [("Asia/Jakarta", "17:00"), ("Asia/Jayapura", "15:00")] {
        let shop = empty_shop(&[("BILLING_TIMEZONE", zone)]).await;
        let customer = shop.customer("waktu@example.com").await;
        let found = customer.get("/api/wallet/statistics").await.data(200);
        assert_eq!(found["timeZone"], zone);
        let start = found["from"].as_str().unwrap();
        assert!(start.contains(&format!("T{hour}:00")), "{start}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paid_credit_is_capped_and_the_float_is_watched() {
    let settings = [
        ("WALLET_BALANCE_CAP", "2_000_000"),
        ("WALLET_FLOAT_WARNING", "3_000_000"),
    ];
    let shop = empty_shop(&settings).await;
    let admin = shop.admin().await;
    let change = async |act: &str, name: &str, amount: i64, kind: &str| {
        let customer = shop.sign_in(name).await;
        let profile = customer.get("/api/auth/profile").await.data(200);
        let path = format!(
            "/api/admin/wallets/{}/{act}",
            profile["id"].as_str().unwrap()
        );
        let reason = "Paid at the counter, in cash.";
        let body = json!({ "amount": amount, "reason": reason, "kind": kind });
        admin.post(&path, body).await
    };
    let add =
        async |name: &str, amount: i64, kind: &str| change("add-credit", name, amount, kind).await;
    let alerts = async || {
        let run = "/api/admin/jobs/wallet-float/run";
        admin.post(run, json!({})).await.data(200);
        let found = admin.get("/api/admin/alerts?kind=FLOAT_HIGH").await;
        let found = found.data(200).as_array().unwrap().clone();
        let states = found.iter().map(|alert| alert["state"].as_str().unwrap());
        states.map(str::to_owned).collect::<Vec<_>>()
    };
    let float = async || {
        let all = admin.get("/api/admin/wallets/statistics").await.data(200);
        all["float"].clone()
    };
    shop.register("satu@example.com").await;
    shop.register("dua@example.com").await;

    add("satu@example.com", 1_500_000, "PAID").await.data(201);
    let over = add("satu@example.com", 500_001, "PAID").await;
    over.fails(409, "BALANCE_CAP_EXCEEDED");
    assert_eq!(over.detail("amount"), Some("500000"));
    // Bonus credit is not money held for customers.
    add("satu@example.com", 500_001, "BONUS").await.data(201);
    add("satu@example.com", 500_000, "PAID").await.data(201);

    assert_eq!(
        float().await,
        json!({ "paid": 2_000_000, "warningLevel": 3_000_000, "warning": false })
    );
    assert!(alerts().await.is_empty());
    add("dua@example.com", 1_000_000, "PAID").await.data(201);
    assert_eq!(float().await["warning"], true);
    assert_eq!(alerts().await, ["OPEN"]);
    assert_eq!(alerts().await, ["OPEN"], "one alert while it lasts");
    let deducted = change("deduct-credit", "dua@example.com", 1, "PAID").await;
    deducted.data(201);
    assert_eq!(alerts().await, ["RESOLVED"]);
}

// ---- requests ----

/// Failed logins of an address are bounded. Behind a proxy the address is the one the proxy saw;
/// without one it is the connection's, in spite of headers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_are_counted_against_whom_the_proxies_saw() {
    for (proxies, others) in [("1", 401), ("0", 429)] {
        let shop = empty_shop(&[("DERMAGA_TRUSTED_PROXIES", proxies)]).await;
        let guess = |number: usize, seen: &'static str| {
            let client = shop.client().clone();
            async move {
                let body = json!({ "email": format!("tebak-{number}@example.com"), "password": "salah sekali" });
                let request = client
                    .request(Method::POST, "/api/auth/login")
                    .header("x-forwarded-for", format!("192.0.2.{number}, {seen}"))
                    .json(&body);
                client.send(request).await.status
            }
        };
        let first: Vec<u16> = stream::iter(0..100)
            .map(|number| guess(number, "203.0.113.7"))
            .buffer_unordered(8)
            .collect()
            .await;
        assert!(first.iter().all(|status| *status == 401), "{first:?}");
        assert_eq!(guess(100, "203.0.113.7").await, 429, "{proxies} proxies");
        assert_eq!(
            guess(101, "198.51.100.9").await,
            others,
            "{proxies} proxies"
        );
    }
}
