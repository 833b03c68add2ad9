//! The commands for administrators, each a process, against a shop that serves: tables, JSON, refusals.

mod edits;
mod subscriptions;

use std::{fs, process::Output};

use dermaga_tests::{Client, Engine, MailServer, Shop};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{dermaga, stderr, stdout};

const WHY: &str = "As its owner asked for by phone.";

/// A shop that serves, and an administrator with an API token.
struct Desk {
    shop: Shop,
    _mails: MailServer,
    folder: TempDir,
    admin: Client,
    server: String,
    token: String,
}

impl Desk {
    async fn open() -> Self {
        let mails = MailServer::start().await;
        let shop = Shop::open_with(Engine::Sqlite, |config| mails.receive_from(config));
        let shop = shop.await.unwrap();
        let admin = shop.admin().await;
        let token = api_token(&admin, "WRITE").await;
        let server = format!("http://{}", admin.address_and_token().0);
        Self {
            shop,
            _mails: mails,
            folder: TempDir::new().unwrap(),
            admin,
            server,
            token,
        }
    }

    async fn run_as(&self, token: &str, arguments: &[&str]) -> Output {
        run(&self.folder, &self.server, token, arguments).await
    }

    /// Runs a command that succeeds, and returns its stdout.
    async fn told(&self, arguments: &[&str]) -> String {
        let output = self.run_as(&self.token, arguments).await;
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
        stdout(&output)
    }

    /// Runs a command that succeeds with `--json`, and returns the data of its envelope.
    async fn data(&self, arguments: &[&str]) -> Value {
        let text = self.told(&[arguments, &["--json"]].concat()).await;
        let envelope: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(envelope["success"], true, "{arguments:?}: {text}");
        assert!(envelope["message"].is_string());
        envelope["data"].clone()
    }

    /// Runs a command that ends with this code, and returns its stderr.
    async fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run_as(&self.token, arguments).await;
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            stderr(&output)
        );
        stderr(&output)
    }

    async fn close(self) {
        self.shop.close().await;
    }
}

async fn api_token(client: &Client, scope: &str) -> String {
    let body = json!({ "name": "cli", "scope": scope });
    let made = client.post("/api/user/api-tokens", body).await.data(201);
    made["token"].as_str().unwrap().to_owned()
}

async fn run(folder: &TempDir, server: &str, token: &str, arguments: &[&str]) -> Output {
    let (folder, server, token) = (
        folder.path().to_owned(),
        server.to_owned(),
        token.to_owned(),
    );
    let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
    let process = tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let environment = [
            ("DERMAGA_SERVER", server.as_str()),
            ("DERMAGA_API_TOKEN", token.as_str()),
        ];
        dermaga(&folder, &arguments, &environment)
    });
    process.await.unwrap()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("{pointer} is missing in {value:#}"))
}

/// Returns the cells of the row of a table that has a text.
fn row(table: &str, with: &str) -> Vec<String> {
    let line = table.lines().find(|line| line.contains(with));
    let line = line.unwrap_or_else(|| panic!("{with} is missing in\n{table}"));
    let cells = line.split("  ").map(str::trim);
    cells
        .filter(|cell| !cell.is_empty())
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_are_looked_after() {
    let desk = Desk::open().await;
    desk.shop
        .customer_with_credit("sari@example.com", 1_250_000)
        .await;
    let made = desk
        .told(&[
            "user",
            "create",
            "--email",
            "budi@example.com",
            "--name",
            "Budi",
            "--role",
            "user",
            "--reason",
            WHY,
        ])
        .await;
    assert!(
        made.starts_with("The account is made. A mail to choose a password is on its way.\n"),
        "{made}"
    );

    let list = desk.told(&["user", "list", "--role", "USER"]).await;
    let sari = row(&list, "sari@example.com");
    let found = desk.data(&["user", "list", "--q", "sari"]).await;
    let id = text(&found, "/0/id");
    assert_eq!(sari[0], id, "ids are whole");
    assert_eq!(&sari[5..7], ["Rp0", "Rp1.250.000"]);
    assert!(sari.last().unwrap().ends_with(" WIB"), "{sari:?}");
    let first = desk.told(&["user", "list", "--limit", "1"]).await;
    // The customers, the administrator, and the one who made the customer's coupon.
    assert!(
        first.ends_with("Page 1 of 4; 4 in all. --page 2 shows the next.\n"),
        "{first}"
    );

    let shown = desk.told(&["user", "show", "SARI@example.com"]).await;
    assert_eq!(row(&shown, "ID "), ["ID", id]);
    assert_eq!(row(&shown, "BONUS CREDIT"), ["BONUS CREDIT", "Rp1.250.000"]);
    assert_eq!(desk.data(&["user", "show", id]).await, found[0]);

    let disabled = desk
        .told(&["user", "disable", "sari@example.com", "--reason", WHY])
        .await;
    let sentence = "The account is disabled. Its sessions and API tokens have ended.\n";
    assert!(disabled.starts_with(sentence), "{disabled}");
    let disable = ["user", "disable", id, "--reason", WHY];
    assert_eq!(
        desk.refused(&disable, 1).await,
        "dermaga: This account is DISABLED already. (INVALID_STATE)\n"
    );
    let enabled = ["user", "enable", id, "--reason", WHY];
    assert_eq!(desk.data(&enabled).await["state"], "ACTIVE");
    let role = [
        "user",
        "role",
        id,
        "--role",
        "ADMINISTRATOR",
        "--reason",
        WHY,
    ];
    assert_eq!(
        desk.refused(&role, 4).await,
        "dermaga: No API token makes administrators, or acts on them. Log in, and send the access token. (FORBIDDEN)\n"
    );
    let (_, access) = desk.admin.address_and_token();
    let unconfirmed = desk.run_as(access, &role).await;
    assert_eq!(
        unconfirmed.status.code(),
        Some(1),
        "{}",
        stderr(&unconfirmed)
    );
    let confirm = "UPDATE users SET email_verified_at = created_at";
    desk.shop.sql(confirm).await.unwrap();
    let changed = desk.run_as(access, &role).await;
    assert!(changed.status.success(), "{}", stderr(&changed));
    let shown = desk.data(&["user", "show", id]).await;
    assert_eq!(shown["role"], "ADMINISTRATOR");

    let session = desk.shop.sign_in("sari@example.com").await;
    session.get("/api/user/profile").await.data(200);
    let sign_out = ["user", "sign-out", id, "--reason", WHY];
    desk.refused(&sign_out, 4).await;
    let out = desk.run_as(access, &sign_out).await;
    assert_eq!(
        stdout(&out),
        "The account's sessions and API tokens have ended.\n"
    );
    session
        .get("/api/user/profile")
        .await
        .fails(401, "UNAUTHENTICATED");
    let audit = format!("/api/admin/audit?subject=user:{id}");
    let acts = desk.admin.get(&audit).await.data(200);
    assert_eq!(
        (&acts[0]["act"], &acts[0]["reason"]),
        (&json!("user.signed_out"), &json!(WHY))
    );
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coupons_are_looked_after() {
    let desk = Desk::open().await;
    let create = [
        "coupon",
        "create",
        "--code",
        "hemat",
        "--type",
        "coupon-credit-topup",
        "--parameters",
        "{\"amount\": 25000}",
        "--max-uses",
        "3",
        "--budget",
        "Rp75.000",
    ];
    let made = desk.told(&create).await;
    assert_eq!(row(&made, "BUDGET"), ["BUDGET", "Rp75.000"]);
    let taken = desk.refused(&create, 1).await;
    assert!(taken.contains("(CONFLICT)"), "{taken}");
    let wrong = [
        "coupon",
        "create",
        "--code",
        "salah",
        "--type",
        "coupon-credit-topup",
        "--parameters",
        "{\"amount\": \"much\"}",
    ];
    let wrong = desk.refused(&wrong, 1).await;
    assert!(
        wrong.contains("(VALIDATION_FAILED)\n  parameters/amount "),
        "details are printed: {wrong}"
    );

    let coupon = desk.data(&["coupon", "show", "hemat"]).await;
    let id = text(&coupon, "/id");
    assert_eq!(desk.data(&["coupon", "list"]).await, json!([coupon]));
    let off = desk.told(&["coupon", "disable", "HEMAT"]).await;
    assert_eq!(
        row(&off, id)[..4],
        [id, "HEMAT", "coupon-credit-topup", "DISABLED"]
    );
    let on = desk.data(&["coupon", "enable", id]).await;
    assert_eq!(on[0]["status"], "ACTIVE");
    let customer = desk.shop.customer("sari@example.com").await;
    let redeem = json!({ "couponCode": "HEMAT" });
    customer
        .post("/api/wallet/redeem-coupon", redeem)
        .await
        .data(201);
    let statistics = desk.told(&["coupon", "statistics"]).await;
    assert_eq!(row(&statistics, "COST"), ["COST", "Rp25.000"]);
    assert_eq!(
        row(&statistics, "coupon-credit-topup"),
        ["coupon-credit-topup", "1", "1", "Rp25.000", "Rp0"]
    );
    let uses = desk.told(&["coupon", "redemptions", "hemat"]).await;
    assert!(row(&uses, "sari@example.com").contains(&"Rp25.000".to_owned()));
    let types = desk.data(&["coupon", "types"]).await;
    assert!(types.as_array().unwrap().len() >= 3);
    let missing = desk.refused(&["coupon", "show", "NONE"], 1).await;
    assert_eq!(missing, "dermaga: There is no coupon with the code NONE.\n");
    let kept = desk.refused(&["coupon", "delete", "HEMAT"], 1).await;
    assert!(kept.contains("(CONFLICT)"), "{kept}");
    desk.close().await;
}

/// A picture of one pixel.
const PNG: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde\x00\x00\x00\x0cIDATx\x9cc\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00\x00IEND\xaeB`\x82";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_are_answered() {
    let desk = Desk::open().await;
    let customer = desk.shop.customer("sari@example.com").await;
    let texts = [
        ("subject", "It is slow"),
        ("description", "Since this morning it is slow."),
    ];
    let opened = customer.post_form("/api/tickets", &texts, &[]).await;
    let id = text(&opened.data(201), "/id").to_owned();
    let list = desk.told(&["ticket", "list", "--status", "open"]).await;
    assert_eq!(
        row(&list, &id)[..5],
        ["#001", &id, "OPEN", "NORMAL", "sari@example.com"]
    );
    let shown = desk.told(&["ticket", "show", "1"]).await;
    assert!(
        shown.contains("\n    Since this morning it is slow.\n"),
        "{shown}"
    );

    fs::write(desk.folder.path().join("graph.png"), PNG).unwrap();
    let answer = [
        "ticket",
        "answer",
        "#001",
        "--message",
        "We look into it.",
        "--attach",
        "graph.png",
    ];
    let answered = desk.data(&answer).await;
    assert_eq!(answered["status"], "IN_PROGRESS");
    assert_eq!(
        answered["messages"][1]["attachments"][0]["name"],
        "graph.png"
    );
    let noted = ["ticket", "note", &id, "--message", "The disk is full."];
    assert_eq!(desk.data(&noted).await["messages"][2]["internal"], true);
    let shown = desk.told(&["ticket", "show", &id]).await;
    let heads: Vec<&str> = shown
        .lines()
        .filter(|line| line.contains("  ADMINISTRATOR") || line.contains("  CUSTOMER"))
        .collect();
    let ends = ["CUSTOMER", "PICTURES graph.png", "NOTE"];
    assert_eq!(heads.len(), ends.len(), "{shown}");
    for (head, end) in heads.iter().zip(ends) {
        assert!(head.ends_with(end), "{head}");
    }
    let me = desk.admin.get("/api/user/profile").await.data(200);
    let me = text(&me, "/email");
    let assign = ["ticket", "assign", &id, "--to", me, "--reason", WHY];
    let assigned = desk.told(&assign).await;
    assert_eq!(row(&assigned, "ASSIGNED TO"), ["ASSIGNED TO", me]);
    let priority = [
        "ticket",
        "priority",
        &id,
        "--priority",
        "URGENT",
        "--reason",
        WHY,
    ];
    assert_eq!(desk.data(&priority).await["priority"], "URGENT");
    let statistics = desk.told(&["ticket", "statistics"]).await;
    assert_eq!(row(&statistics, "IN PROGRESS"), ["IN PROGRESS", "1"]);
    let close = ["ticket", "close", &id, "--reason", WHY];
    assert!(
        desk.told(&close)
            .await
            .starts_with("The ticket is closed.\n")
    );
    let again = desk.refused(&close, 1).await;
    assert!(again.contains("(INVALID_STATE)"), "{again}");
    let reopen = ["ticket", "reopen", "1", "--reason", WHY];
    assert_eq!(desk.data(&reopen).await["status"], "OPEN");
    let lost = [
        "ticket",
        "answer",
        &id,
        "--message",
        "x",
        "--attach",
        "none.png",
    ];
    assert!(desk.refused(&lost, 2).await.contains("none.png"));
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_say_why_and_end_with_their_code() {
    let desk = Desk::open().await;
    let wrong = desk.run_as("dmg_wrong", &["user", "list"]).await;
    assert_eq!(wrong.status.code(), Some(4));
    let said = stderr(&wrong);
    for part in [
        "(UNAUTHENTICATED)",
        "POST /api/user/api-tokens",
        "DERMAGA_API_TOKEN",
    ] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
    let customer = desk.shop.customer("sari@example.com").await;
    let token = api_token(&customer, "WRITE").await;
    let customers = desk.run_as(&token, &["coupon", "list", "--json"]).await;
    assert_eq!(customers.status.code(), Some(4));
    assert_eq!(
        stderr(&customers),
        "dermaga: This is for administrators. (FORBIDDEN)\n"
    );
    let envelope: Value = serde_json::from_str(&stdout(&customers)).unwrap();
    assert_eq!(envelope["error"]["code"], "FORBIDDEN");
    let reader = api_token(&desk.admin, "READ").await;
    assert!(
        desk.run_as(&reader, &["ticket", "list"])
            .await
            .status
            .success()
    );
    let close = ["user", "disable", "sari@example.com", "--reason", WHY];
    let denied = desk.run_as(&reader, &close).await;
    assert_eq!(denied.status.code(), Some(4), "{}", stderr(&denied));

    let nowhere = format!("http://{}", super::site::free_address());
    let away = run(&desk.folder, &nowhere, &desk.token, &["billing", "stats"]).await;
    assert_eq!(away.status.code(), Some(3));
    let said = stderr(&away);
    assert!(
        said.contains("--server") && said.contains("onnection refused"),
        "{said}"
    );
    for (server, token) in [("shop", desk.token.as_str()), (desk.server.as_str(), "")] {
        let wrong = run(&desk.folder, server, token, &["billing", "stats"]).await;
        assert_eq!(wrong.status.code(), Some(2), "{}", stderr(&wrong));
    }

    let no_reason = desk.refused(&close[..3], 2).await;
    assert!(no_reason.contains("--reason"), "{no_reason}");
    let short = desk
        .refused(
            &["user", "disable", "sari@example.com", "--reason", "short"],
            1,
        )
        .await;
    assert!(short.contains("(VALIDATION_FAILED)\n  reason "), "{short}");
    let not_found = [
        "subscription",
        "show",
        "00000000-0000-0000-0000-000000000009",
    ];
    let not_found = desk.refused(&not_found, 1).await;
    assert!(not_found.contains("(NOT_FOUND)"), "{not_found}");
    for usage in [
        vec!["subscription", "show", "7"],
        vec!["subscription", "list", "--status", "GONE"],
        vec!["user"],
    ] {
        desk.refused(&usage, 2).await;
    }
    desk.close().await;
}

#[test]
fn a_shell_is_told_every_command() {
    let folder = TempDir::new().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&dermaga(folder.path(), &["completions", shell], &[]));
        assert!(script.contains("force-cancel"), "{shell}");
    }
    let bash = stdout(&dermaga(folder.path(), &["completions", "bash"], &[]));
    fs::write(folder.path().join("completions"), bash).unwrap();
    let read = std::process::Command::new("bash")
        .args(["-n", "completions"])
        .current_dir(folder.path())
        .status();
    assert!(read.unwrap().success(), "bash reads its completions");
}
