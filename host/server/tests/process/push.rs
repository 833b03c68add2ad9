//! `plugin push`: from an author's folder into a running shop.

use std::{path::Path, process::Command};

use dermaga::{
    app::{App, Running},
    config::Config,
};
use dermaga_runtime::Compiler;
use dermaga_shop::{crypto::Secret, db::Clock, provisioning::Choice};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{dermaga, stderr, stdout};

const EMAIL: &str = "admin@example.com";
const PASSWORD: &str = "kata sandi yang panjang";
const REASON: &str = "The bonus begins on Monday.";

/// A shop with no plugin at all, and the program that compiles those it gets.
pub(super) async fn shop(folder: &Path, compiler: Option<Compiler>) -> Running {
    let _ = rustls::crypto::ring::default_provider().install_default();
    std::fs::create_dir(folder.join("empty")).unwrap();
    let mut config = Config::in_folder(folder.join("data")).unwrap();
    config.http.listen = ([127, 0, 0, 1], 0).into();
    config.provisioning.provisioner = Choice::Directory;
    config.plugins_dir = Some(folder.join("empty"));
    config.templates_dir = Some(folder.join("empty"));
    config.runtime.compiler = compiler;
    config.admin_email = Some(EMAIL.into());
    config.admin_password = Some(Secret::new(PASSWORD));
    App::start(config, Clock::system()).await.unwrap()
}

pub(super) async fn api_token(server: &str, scope: &str) -> String {
    let http = reqwest::Client::new();
    let login = json!({ "email": EMAIL, "password": PASSWORD });
    let login = http
        .post(format!("{server}/api/auth/login"))
        .json(&login)
        .send();
    let session: Value = login.await.unwrap().json().await.unwrap();
    let access = session["data"]["accessToken"].as_str().unwrap();
    let made = http
        .post(format!("{server}/api/user/api-tokens"))
        .bearer_auth(access)
        .json(&json!({ "name": "pipeline", "scope": scope }))
        .send();
    let made: Value = made.await.unwrap().json().await.unwrap();
    made["data"]["token"].as_str().unwrap().to_owned()
}

/// Returns the reason of the newest act of a kind, as the audit trail has it.
async fn reason_of(server: &str, token: &str, act: &str) -> Value {
    let path = format!("{server}/api/admin/audit?act={act}");
    let read = reqwest::Client::new().get(path).bearer_auth(token).send();
    let acts: Value = read.await.unwrap().json().await.unwrap();
    acts["data"][0]["reason"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_becomes_an_active_plugin() {
    let folder = TempDir::new().unwrap();
    let running = Box::pin(shop(folder.path(), None)).await;
    let server = format!("http://{}", running.address);
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let source = checkout.join("plugins/coupon-welcome-bonus");
    let out = checkout.join("target/components");
    let push = |token: String, more: &'static [&'static str]| {
        let (folder, server) = (folder.path().to_owned(), server.clone());
        let (source, out) = (source.display().to_string(), out.display().to_string());
        tokio::task::spawn_blocking(move || {
            let arguments = ["plugin", "push", &source, "--out", &out];
            let environment = [
                ("DERMAGA_SERVER", server.as_str()),
                ("DERMAGA_API_TOKEN", token.as_str()),
            ];
            dermaga(&folder, &[&arguments, more].concat(), &environment)
        })
    };

    let reader = api_token(&server, "READ").await;
    let refused = push(reader.clone(), &[]).await.unwrap();
    assert_eq!(refused.status.code(), Some(4));
    let said = stderr(&refused);
    assert!(said.contains("(FORBIDDEN)"), "{said}");

    let token = api_token(&server, "PLUGINS").await;
    let because = &["--stage", "--reason", REASON];
    let staged = push(token.clone(), because).await.unwrap();
    assert!(staged.status.success(), "{}", stderr(&staged));
    assert_eq!(reason_of(&server, &reader, "plugin.staged").await, REASON);
    let said = stdout(&staged);
    assert!(said.contains("STAGED"), "{said}");
    let cases = std::fs::read_dir(checkout.join("plugins/coupon-welcome-bonus/cases"));
    let golden = format!("  golden cases: {} passed\n", cases.unwrap().count());
    assert!(said.contains(&golden), "{said}");
    assert!(said.contains("  checks: 4 passed, 1 skipped\n"), "{said}");
    assert!(
        running
            .state
            .plugins
            .active("coupon-welcome-bonus")
            .is_err()
    );

    let because = &["--json", "--reason", REASON];
    let pushed = push(token.clone(), because).await.unwrap();
    assert!(pushed.status.success(), "{}", stderr(&pushed));
    let kept = reason_of(&server, &reader, "plugin.activated").await;
    assert_eq!(kept, REASON);
    let answer: Value = serde_json::from_slice(&pushed.stdout).unwrap();
    assert_eq!(answer["activation"]["pluginId"], "coupon-welcome-bonus");
    assert!(running.state.plugins.active("coupon-welcome-bonus").is_ok());

    let again = push(token.clone(), &[]).await.unwrap();
    let said = stdout(&again);
    assert!(said.contains("was active"), "{said}{}", stderr(&again));

    a_red_case_stops_the_push(folder.path(), checkout, &server, token).await;
    assert!(running.state.plugins.active("coupon-c").is_err());
    running.stop().await;
}

/// A folder whose golden case answers otherwise reaches no server.
async fn a_red_case_stops_the_push(folder: &Path, checkout: &Path, server: &str, token: String) {
    if Command::new("clang").arg("--version").output().is_err() {
        eprintln!("skipped: no clang");
        return;
    }
    let (source, example) = (
        folder.join("red"),
        checkout.join("plugins/examples/coupon-c"),
    );
    std::fs::create_dir_all(source.join("cases")).unwrap();
    for file in ["plugin.toml", "plugin.c", "cases/check-accepts.json"] {
        let text = std::fs::read_to_string(example.join(file)).unwrap();
        let red = text.replace("\"ok\": null", "\"problems\": []");
        std::fs::write(source.join(file), red).unwrap();
    }
    let (folder, server) = (folder.to_owned(), server.to_owned());
    let refused = tokio::task::spawn_blocking(move || {
        let arguments = ["plugin", "push", "red", "--out", "out"];
        let environment = [
            ("DERMAGA_SERVER", server.as_str()),
            ("DERMAGA_API_TOKEN", token.as_str()),
        ];
        dermaga(&folder, &arguments, &environment)
    });
    let refused = refused.await.unwrap();
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("nothing is pushed: golden cases that answer otherwise: 1;"),
        "{said}"
    );
}
