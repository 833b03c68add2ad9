//! Tests that every setting has an effect: each test sets it by its environment variable and checks
//! the change in a server.

mod entry;
mod images;
mod instances;
mod keys;
mod money;
mod plugins;
mod shown_by;

use std::{collections::BTreeMap, net::TcpListener, path::Path};

use dermaga::{
    app::App,
    config::{self, Config, Sources},
};
use dermaga_shop::db::Clock;
use dermaga_tests::{Client, Engine, Shop, checkout, plugins_folder};
use futures::{StreamExt, stream};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

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
    // Tests that run at the same time share the nodes of a cluster.
    let is_elsewhere =
        |(name, place): &(&str, &str)| *name == "DERMAGA_PROVISIONER" && *place != "directory";
    if settings.iter().any(is_elsewhere) {
        let check = "DERMAGA_CAPACITY_CHECK".to_owned();
        environment.insert(check, "false".to_owned());
    }
    // All callers of a test have the same address.
    for class in ["CATALOGUE", "CUSTOMER", "ADMIN", "WEBHOOK"] {
        let name = format!("DERMAGA_{class}_REQUESTS_PER_MINUTE");
        environment.insert(name, "1000000".to_owned());
    }
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
        ("CRON_LOW_CREDIT_NOTIFICATIONS", "35 9 * * *"),
        ("CRON_GRACE_PERIOD_REMINDERS", "40 18 * * *"),
        ("CRON_BILLING_STATS", "55 22 * * *"),
        ("CRON_COUPON_STATUSES", "30 4 * * *"),
        ("CRON_WALLET_FLOAT", "45 5 * * *"),
        ("CRON_LEDGER_SEAL", "15 6 * * *"),
        ("CRON_LEDGER_VERIFY", "25 6 * * *"),
        ("CRON_DATABASE_STATISTICS", "50 6 * * *"),
        ("CRON_IMAGE_AGES", "55 7 * * *"),
        ("CRON_HEALTH_HISTORY", "55 6 * * *"),
        ("CRON_TICKET_SILENCE", "5 8 * * *"),
        ("CRON_ATTACHMENT_ORPHANS", "10 8 * * *"),
    ])
    .await;
    let jobs = shop.admin().await.get("/api/admin/jobs").await.data(200);
    let jobs = jobs.as_array().unwrap();
    // Jayapura is nine hours east of Greenwich.
    for (name, instant) in [
        ("daily-renewals", "T17:20:00.000Z"),
        ("grace-period", "T18:25:00.000Z"),
        ("low-credit-notifications", "T00:35:00.000Z"),
        ("grace-period-reminders", "T09:40:00.000Z"),
        ("billing-stats", "T13:55:00.000Z"),
        ("coupon-statuses", "T19:30:00.000Z"),
        ("wallet-float", "T20:45:00.000Z"),
        ("ledger-seal", "T21:15:00.000Z"),
        ("ledger-verify", "T21:25:00.000Z"),
        ("database-statistics", "T21:50:00.000Z"),
        ("image-ages", "T22:55:00.000Z"),
        ("health-history", "T21:55:00.000Z"),
        ("ticket-silence", "T23:05:00.000Z"),
        ("attachment-orphans", "T23:10:00.000Z"),
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
        ("CRON_LEDGER_VERIFY", "sometimes"),
        ("CRON_DATABASE_STATISTICS", "weekly"),
        ("CRON_IMAGE_AGES", "yearly"),
        ("DERMAGA_IMAGE_CHECK_DAYS", "0"),
        ("CRON_HEALTH_HISTORY", "rarely"),
        ("DERMAGA_HEALING_PATIENCE", "0s"),
        ("DERMAGA_HEALTH_HISTORY_DAYS", "7"),
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
            let reason = "Their bank is closed for the holidays.";
            let body = json!({ "graceDays": days, "reason": reason });
            admin.post(&path, body).await
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

/// Buys a plan; returns the id of the instance.
async fn buy(shop: &Shop, customer: &Client, service: &str, plan: &str) -> String {
    let plan = shop.plan(service, plan).await;
    let bought = customer
        .post("/api/subscriptions", json!({ "planId": plan }))
        .await
        .data(201);
    bought["instanceId"].as_str().unwrap().to_owned()
}

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
