//! Keys, tokens and folders.

use std::fs;

use chrono::TimeDelta;
use dermaga::{
    app::{App, StartError},
    config::Config,
};
use dermaga_shop::crypto::Secret;
use dermaga_tests::{checkout, plugins_folder};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{buy, empty_shop, shop};

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

/// The next start would take a new key for the one that is missing, and say that it is another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_the_key_of_secrets_makes_none() {
    let first = shop(&[]).await;
    let customer = first
        .customer_with_credit("hilang@example.com", 100_000)
        .await;
    let id = buy(&first, &customer, "postgresql", "basic").await;
    first.instance_becomes(&customer, &id, "RUNNING").await;
    let (config, clock) = (Config::clone(&first.state().config), first.clock().clone());
    let data = first.close().await;
    let file = data.path().join("master.key");
    let key = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    for start in ["first", "second"] {
        let refused = App::start(Config::clone(&config), clock.clone()).await;
        let why = refused.expect_err("no secret opens").to_string();
        let told = format!("the key file {} is missing", file.display());
        assert!(why.starts_with(&told), "{start}: {why}");
        assert!(!file.exists(), "{start}: a key is made");
    }
    fs::write(&file, key).unwrap();
    let again = App::start(config, clock).await.unwrap();
    again.stop().await;
}
