//! Play money and real money, as the command distinguishes them.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{command, dermaga, stderr};

/// A development server prints how Midtrans' own clients reach its sandbox, and that is right.
#[tokio::test]
async fn a_development_server_names_the_key_of_its_sandbox() {
    let folder = TempDir::new().unwrap();
    let mut process = command(folder.path())
        .args(["serve", "--dev", "--provisioner", "directory"])
        .args(["--listen", "127.0.0.1:0", "--plugins-dir", "."])
        .args(["--templates-dir", "."])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let (ready, payments) = (lines.next(), lines.next());
    assert!(ready.unwrap().unwrap().contains("ready at http://"));
    let told = payments.unwrap().unwrap();
    let word = |start: &str| {
        told.split(' ')
            .find(|word| word.starts_with(start))
            .unwrap()
    };
    let (base, key) = (word("http://"), word("SB-Mid-server-"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ask = async |key: &str| {
        let url = format!("{base}/v2/TXMP-1/status");
        let request = reqwest::Client::new().get(url).basic_auth(key, Some(""));
        let answer = request.send().await.unwrap();
        answer.json::<Value>().await.unwrap()["status_code"].clone()
    };
    let (known, unknown) = (ask(key).await, ask("SB-Mid-server-1").await);
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!((known, unknown), ("404".into(), "401".into()));
}

#[test]
fn a_real_key_beside_the_sandbox_is_noticed() {
    let folder = TempDir::new().unwrap();
    let said = |key: &str| {
        let output = dermaga(folder.path(), &["config"], &[("MIDTRANS_SERVER_KEY", key)]);
        assert!(output.status.success());
        stderr(&output)
    };
    let told = said("Mid-server-1");
    assert!(told.contains("MIDTRANS_IS_PRODUCTION is false"), "{told}");
    assert!(!told.contains("Mid-server-1"), "{told}");
    assert!(!said("SB-Mid-server-1").contains("MIDTRANS_IS_PRODUCTION"));
}
