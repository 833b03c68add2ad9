//! Tests of signatures on components, uploaded and in the folder.

use dermaga_runtime::Digest;
use dermaga_shop::plugins::signatures::{PrivateKey, PublicKey};
use dermaga_tests::{Answer, Client, Engine};
use tempfile::TempDir;

use super::plugin_lifecycle::{activate, following, giving, open_alerts, running, version};

/// Required signatures are checked at the upload and again at the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_signed_components_are_taken_and_run() {
    let (ours, theirs) = (
        PrivateKey::generate("ours").unwrap(),
        PrivateKey::generate("theirs").unwrap(),
    );
    let database = TempDir::new().unwrap();
    let url = format!("sqlite://{}", database.path().join("dermaga.db").display());
    let open = async |keys: Vec<PublicKey>, required: bool| {
        let url = url.clone();
        let shop = following(Engine::Sqlite, 3_600, |config| {
            config.database_url = Some(dermaga_shop::crypto::Secret::new(url));
            config.plugins.trust.keys = keys;
            config.plugins.trust.required = required;
        });
        shop.await.unwrap()
    };
    let component = giving(1, "1.0.0");
    let digest = Digest::of(&component);
    let signed = async |admin: &Client, signature: String| {
        let fields = [("signature", signature.as_str())];
        admin.upload_with(giving(1, "1.0.0"), &fields).await
    };
    let shop = open(vec![ours.public()], true).await;
    let admin = shop.admin().await;
    let refused = |answer: &Answer, code: &str| {
        answer.fails(400, "COMPONENT_REFUSED");
        assert_eq!(answer.detail("code"), Some(code));
    };
    refused(&admin.upload(component.clone()).await, "SIGNATURE_MISSING");
    refused(
        &signed(&admin, "ours:?".to_owned()).await,
        "SIGNATURE_MALFORMED",
    );
    refused(
        &signed(&admin, theirs.sign(digest).to_string()).await,
        "SIGNATURE_KEY_UNKNOWN",
    );
    refused(
        &signed(&admin, ours.sign(Digest::of(b"x")).to_string()).await,
        "SIGNATURE_WRONG",
    );
    let staged = signed(&admin, ours.sign(digest).to_string())
        .await
        .data(201);
    assert_eq!(staged["signedBy"], "ours");
    activate(&admin, &digest.to_string()).await.data(200);
    admin.upload(component.clone()).await.data(201);
    drop(shop.close().await);

    let stranger = open(vec![theirs.public()], true).await;
    let admin = stranger.admin().await;
    let shown = admin.get(&version(&digest.to_string())).await.data(200);
    assert!(
        shown["failure"]
            .as_str()
            .unwrap()
            .contains("does not trust"),
        "{shown:#}"
    );
    assert_eq!(running(&stranger), None);
    assert_eq!(open_alerts(&admin, "PLUGIN_NOT_LOADED").await.len(), 1);
    signed(&admin, theirs.sign(digest).to_string())
        .await
        .data(201);
    assert_eq!(running(&stranger), Some(digest.to_string()));
    drop(stranger.close().await);

    let open_door = open(Vec::new(), false).await;
    assert_eq!(running(&open_door), Some(digest.to_string()));
    open_door
        .admin()
        .await
        .upload(giving(2, "2.0.0"))
        .await
        .data(201);
}

/// The signature of a component in the folder is the file beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_folder_is_signed_beside() {
    let key = PrivateKey::generate("operator").unwrap();
    let folder = TempDir::new().unwrap();
    let component = giving(1, "1.0.0");
    let path = folder.path().join("gift.wasm");
    std::fs::write(&path, &component).unwrap();
    let (plugins, public) = (folder.path().to_owned(), key.public());
    let shop = following(Engine::Sqlite, 3_600, |config| {
        config.templates_dir = Some(plugins.clone());
        config.plugins_dir = Some(plugins);
        config.plugins.trust.keys = vec![public];
        config.plugins.trust.required = true;
    });
    let shop = shop.await.unwrap();
    assert_eq!(running(&shop), None);
    let signature = key.sign(Digest::of(&component)).to_string();
    std::fs::write(folder.path().join("gift.wasm.sig"), signature).unwrap();
    let shop = shop.restart().await;
    assert_eq!(running(&shop), Some(Digest::of(&component).to_string()));
}
