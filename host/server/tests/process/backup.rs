//! Backups of a shop at work: a shop that is restored from one continues.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use dermaga_tests::{postgres, skip};
use serde_json::{Value, json};

use super::{
    attachments::form,
    site::{Patient, Server, Site},
    stderr, stdout,
};

const PASSWORD: &str = "kata sandi yang panjang";
/// Pays for months.
const RICH: i64 = 9_000_000;

/// A shop with a customer who has a service and asked a question.
pub(super) struct Shop {
    /// Password of the administrator.
    password: String,
    customer: Patient,
    /// Path of the subscription, and the end of its first period.
    subscription: String,
    period_end: Value,
    /// Picture of the ticket.
    picture: String,
}

impl Shop {
    /// Opens the shop of a site whose server runs.
    pub(super) async fn open(site: &Site) -> Self {
        let create = [
            "admin",
            "create",
            "--email",
            "a@example.com",
            "--name",
            "Admin",
        ];
        let made = stdout(&site.run(&create));
        let password = made.split_whitespace().last().unwrap().to_owned();
        let patient = Patient::new(site);
        let admin = sign_in(&patient, "a@example.com", &password).await;
        for (code, amount) in [("RICH", RICH), ("GIFT", 1_000)] {
            let parameters = json!({ "amount": amount });
            let coupon =
                json!({ "code": code, "plugin": "coupon-credit-topup", "parameters": parameters });
            admin.post("/api/admin/coupons", code, &coupon).await;
        }
        let body = json!({ "email": "c@example.com", "password": PASSWORD, "name": "Pelanggan" });
        let session = patient.post("/api/auth/register", "register", &body).await;
        let customer = patient.signed_in(&session);
        redeem(&customer, "RICH", "rich").await;
        let (subscription, period_end) = buy(&customer).await;
        let picture = ask(&customer).await;
        let seal = "/api/admin/jobs/ledger-seal/run";
        admin.post(seal, "seal", &json!({})).await;
        Self {
            password,
            customer,
            subscription,
            period_end,
            picture,
        }
    }

    /// Signs both people in to another server, and renews the subscription there.
    pub(super) async fn renews_at(&self, site: &Site) {
        let patient = Patient::new(site);
        let admin = sign_in(&patient, "a@example.com", &self.password).await;
        let customer = sign_in(&patient, "c@example.com", PASSWORD).await;
        for number in 0..150 {
            // The night's job may have been first.
            if customer.get(&self.subscription).await["periodEnd"] != self.period_end {
                return;
            }
            let path = "/api/admin/billing/process-renewals";
            let key = format!("renew-{number}");
            admin.post(path, &key, &json!({})).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("it is never renewed after {}", self.period_end);
    }
}

/// Cuts no request off that takes its time on a busy machine: a sign-in would count as a failed one.
fn unhurried(site: Site) -> Site {
    site.with("DERMAGA_REQUEST_TIMEOUT", "30s".to_owned())
}

async fn sign_in(patient: &Patient, email: &str, password: &str) -> Patient {
    let login = json!({ "email": email, "password": password });
    let key = format!("login-{email}");
    let session = patient.post("/api/auth/login", &key, &login).await;
    patient.signed_in(&session)
}

async fn redeem(customer: &Patient, code: &str, key: &str) {
    let body = json!({ "couponCode": code });
    customer.post("/api/wallet/redeem-coupon", key, &body).await;
}

/// Buys a plan and waits for its delivery; returns the path of the subscription, and the end of its period.
async fn buy(customer: &Patient) -> (String, Value) {
    let plans = customer.get("/api/catalog/services/postgresql/plans").await;
    let mut plans = plans.as_array().unwrap().iter();
    let plan = plans.find(|plan| plan["slug"] == "basic").unwrap();
    let order = json!({ "planId": plan["id"] });
    let bought = customer.post("/api/subscriptions", "buy", &order).await;
    let path = format!(
        "/api/subscriptions/{}",
        bought["subscription"]["id"].as_str().unwrap()
    );
    for _ in 0..600 {
        let seen = customer.get(&path).await;
        if seen["deliveredAt"].is_string() {
            return (path, seen["periodEnd"].clone());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{path} is never delivered");
}

/// Opens a ticket with a picture; returns the id of the picture.
async fn ask(customer: &Patient) -> String {
    let sent = customer.form("/api/tickets", form(1)).await.unwrap();
    assert_eq!(sent.status(), 201);
    let answer: Value = sent.json().await.unwrap();
    let picture = &answer["data"]["messages"][0]["attachments"][0]["id"];
    picture.as_str().unwrap().to_owned()
}

/// Redeems gifts, one after another, until `stop` is set; counts them.
async fn redeem_until(customer: Patient, stop: Arc<AtomicBool>, count: Arc<AtomicUsize>) {
    for number in 0.. {
        redeem(&customer, "GIFT", &format!("gift-{number}")).await;
        count.fetch_add(1, Ordering::SeqCst);
        if stop.load(Ordering::SeqCst) {
            break;
        }
    }
}

async fn more_than(count: &AtomicUsize, before: usize) {
    for _ in 0..600 {
        if count.load(Ordering::SeqCst) > before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the requests stopped at {before}");
}

fn manifest(backup: &Path) -> Value {
    serde_json::from_slice(&fs::read(backup.join("manifest.json")).unwrap()).unwrap()
}

/// Checks that only its owner reads a folder and what is in it; returns its files.
fn private_files(folder: &Path) -> usize {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700, "{}", folder.display());
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let count = paths.map(|path| {
        if path.is_dir() {
            return private_files(&path);
        }
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        1
    });
    count.sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_shop_at_work_is_a_shop_that_renews() {
    let site = unhurried(Site::new(false).await.unwrap());
    let server = Server::start(&site);
    let shop = Shop::open(&site).await;
    let (stop, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let busy = redeem_until(shop.customer.clone(), Arc::clone(&stop), Arc::clone(&count));
    let busy = tokio::spawn(busy);
    more_than(&count, 2).await;
    let backup = site.path().join("backup");
    let name = backup.to_str().unwrap();
    let made = site.run(&["backup", name]);
    assert!(made.status.success(), "{}", stderr(&made));
    more_than(&count, count.load(Ordering::SeqCst)).await;
    stop.store(true, Ordering::SeqCst);
    busy.await.unwrap();
    let again = site.run(&["backup", name]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("is there already"),
        "{}",
        stderr(&again)
    );
    drop(server);

    let listed = manifest(&backup);
    let files = listed["files"].as_array().unwrap().len();
    assert_eq!(private_files(&backup), files + 1, "the list itself");
    let entries = listed["entries"].as_u64().unwrap();
    assert!(entries >= 5, "{listed:#}");
    assert!(site.books()["entries"].as_u64().unwrap() > entries);

    let mut restored = site.elsewhere();
    let restore = ["restore", name, "--into", "data"];
    let done = restored.run(&restore);
    assert!(done.status.success(), "{}{}", stdout(&done), stderr(&done));
    for said in [stdout(&made), stdout(&done)] {
        let number = said.split(" file").next().unwrap().parse::<usize>();
        assert_eq!(number, Ok(files - 1), "all but the heads: {said}");
    }
    let again = restored.run(&restore);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("is not empty"),
        "{}",
        stderr(&again)
    );
    let books = restored.books();
    assert_eq!(
        (&books["heads"], &books["entries"]),
        (&listed["heads"], &listed["entries"])
    );
    let picture = format!("data/attachments/tickets/{}", shop.picture);
    let kept = |site: &Site| fs::read(site.path().join(&picture)).unwrap();
    assert_eq!(kept(&restored), kept(&site));

    restored.lend_compiled();
    restored.set("DERMAGA_CLOCK", "+32d");
    let server = Server::start(&restored);
    shop.renews_at(&restored).await;
    drop(server);
    assert!(restored.books()["entries"].as_u64().unwrap() > entries);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_is_not_restored() {
    let site = Site::new(false).await.unwrap();
    drop(Server::start(&site));
    let backup = site.path().join("backup");
    let name = backup.to_str().unwrap();
    let made = site.run(&["backup", name]);
    assert!(made.status.success(), "{}", stderr(&made));
    let key = backup.join("data/master.key");
    let mut content = fs::read(&key).unwrap();
    content[0] ^= 1;
    fs::write(&key, content).unwrap();
    let restored = site.elsewhere();
    let refused = restored.run(&["restore", name, "--into", "data"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("is damaged"),
        "{}",
        stderr(&refused)
    );
    assert!(!restored.path().join("data").exists());
    fs::remove_file(&key).unwrap();
    let refused = restored.run(&["restore", name, "--into", "data"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("master.key"),
        "{}",
        stderr(&refused)
    );
    assert!(!restored.path().join("data").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_restore_does_not_become_another_shop() {
    let site = Site::new(false).await.unwrap();
    let data = site.path().join("data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("restore.partial"), "").unwrap();
    let refused = site.run(&["migrate"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("restore.partial is there"),
        "{}",
        stderr(&refused)
    );
    assert!(!data.join("dermaga.db").exists());
}

/// Runs a command of the shell.
fn shell(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_postgresql_is_compared_with_its_backup() {
    let Some(site) = Site::new(true).await.map(unhurried) else {
        return;
    };
    for tool in ["pg_dump", "pg_restore"] {
        if Command::new(tool).arg("--version").output().is_err() {
            return skip(tool, "it is not installed");
        }
    }
    let server = Server::start(&site);
    let shop = Shop::open(&site).await;
    let backup = site.path().join("backup");
    let name = backup.to_str().unwrap();
    let made = site.run(&["backup", name]);
    assert!(made.status.success(), "{}", stderr(&made));
    // Transactions after the list are in the dump, too.
    redeem(&shop.customer, "GIFT", "gift").await;
    let said = stdout(&made);
    let dump = said.lines().find(|line| line.starts_with("  pg_dump "));
    shell(dump.unwrap());
    drop(server);

    let postgres = postgres::shared().unwrap();
    let url = postgres.empty_database().await;
    let file = backup.join("dermaga.dump");
    shell(&format!(
        "pg_restore --no-owner --no-privileges --exit-on-error --dbname='{url}' '{}'",
        file.display()
    ));
    let check = |url: &str| {
        let mut command = site.command(&["restore", name, "--check"]);
        command.env("DATABASE_URL", url).output().unwrap()
    };
    let whole = check(&url);
    assert!(
        whole.status.success(),
        "{}{}",
        stdout(&whole),
        stderr(&whole)
    );
    let other = check(&postgres.new_database().await);
    assert_eq!(other.status.code(), Some(1));
    assert!(
        stdout(&other).contains("FAULT  Wallet"),
        "{}",
        stdout(&other)
    );

    let mut restored = site.elsewhere();
    let done = restored.run(&["restore", name, "--into", "data"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert!(stdout(&done).contains("pg_restore"), "{}", stdout(&done));
    restored.lend_compiled();
    restored.set("DATABASE_URL", &url);
    restored.set("DERMAGA_CLOCK", "+32d");
    let server = Server::start(&restored);
    shop.renews_at(&restored).await;
    drop(server);
    restored.books();
}

/// The key of the secrets is in the data folder and nowhere in the database: without it a backup says what it lacks,
/// and so does a command that opens a secret.
async fn said_without_the_master_key(on_postgres: bool) {
    let Some(site) = Site::new(on_postgres).await.map(unhurried) else {
        return;
    };
    let server = Server::start(&site);
    Shop::open(&site).await;
    drop(server);
    fs::remove_file(site.path().join("data/master.key")).unwrap();
    let backup = site.path().join("backup");
    let made = site.run(&["backup", backup.to_str().unwrap()]);
    let said = stderr(&made);
    assert_eq!(made.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the backup is made, without a key")
            && said.contains("master.key is missing"),
        "{said}"
    );
    assert!(manifest(&backup)["entries"].as_u64().unwrap() > 0);
    let secret = site.run(&["instances", "secret", "postgresql-k3v9x2ab"]);
    let said = stderr(&secret);
    assert_eq!(secret.status.code(), Some(1), "{said}");
    assert!(
        said.contains("master.key is missing") && said.contains("DERMAGA_MASTER_KEY"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_master_key_of_a_shop_on_sqlite_it_is_said() {
    Box::pin(said_without_the_master_key(false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_master_key_of_a_shop_on_postgresql_it_is_said() {
    Box::pin(said_without_the_master_key(true)).await;
}
