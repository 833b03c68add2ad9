//! Tests of rolls that halt: an instance that was moved fails, and the others are not moved to the same.

use chrono::TimeDelta;
use dermaga_tests::{Client, Engine, both_engines};
use serde_json::{Value, json};

use super::{
    services::acts,
    settings_moves::{Edited, PATH, applied, outcomes},
};

both_engines!(Edited, [a_failed_one_of_a_share_halts_the_roll]);

const OWN_USER: &str = "exceptions = []

[[settings.workloads]]
name = \"valkey\"
# The user `valkey` of the image.
user = 999";
const ROOT: &str = "exceptions = [\"run-as-root\"]

[[settings.workloads]]
name = \"valkey\"
user = 0";

/// Keeps servers from all instances.
const HOLD: &str = "UPDATE instances SET lease_holder = id, lease_until = \
    (SELECT s.period_end FROM subscriptions s WHERE s.id = instances.subscription_id)";

/// Moves one instance of a share to a template that runs as root, which the gate refuses once the exception is
/// taken away; returns its answer after the move is undone.
async fn moved_in_vain(edited: &Edited, admin: &Client, owned: &[(Client, String)]) -> Value {
    let shop = &edited.shop;
    // Half of the instances, or more where chance puts none of them into it.
    let mut share = 50;
    loop {
        let body = json!({ "share": share, "dryRun": true });
        let preview = admin.post(PATH, body).await.data(200);
        assert_eq!(preview["haltedBy"], json!([]));
        if !outcomes(&preview).is_empty() {
            break;
        }
        share += 10;
    }
    // No server makes a pass between the move and the end of the exception.
    shop.sql(HOLD).await.unwrap();
    let body = json!({ "share": share, "limit": 1 });
    let moves = admin.post(PATH, body).await.data(200);
    let moved = moves["instances"][0].clone();
    assert_eq!(moved["outcome"], "MOVED");
    let sql = "UPDATE services SET pod_security_exceptions = '[]' WHERE slug = 'valkey'";
    shop.sql(sql).await.unwrap();
    let sql = "UPDATE instances SET lease_holder = NULL, lease_until = NULL";
    shop.sql(sql).await.unwrap();
    shop.state().instances.handle.wake();

    let (owner, id) = owner_of(owned, &moved);
    shop.instance_becomes(owner, id, "FAILED").await;
    shop.clock().advance(TimeDelta::minutes(1));
    shop.state().instances.handle.wake();
    let back = shop.instance_becomes(owner, id, "RUNNING").await;
    assert_eq!(back["undone"]["change"], "TEMPLATE_SETTINGS", "{back:#}");
    let sql =
        r#"UPDATE services SET pod_security_exceptions = '["run-as-root"]' WHERE slug = 'valkey'"#;
    shop.sql(sql).await.unwrap();
    moved
}

fn owner_of<'o>(owned: &'o [(Client, String)], moved: &Value) -> &'o (Client, String) {
    let mut owned = owned.iter();
    owned.find(|(_, id)| moved["instanceId"] == **id).unwrap()
}

/// The refusal names the instance that failed, and all others stay as they are. An override moves them, and so
/// does another target.
async fn a_failed_one_of_a_share_halts_the_roll(edited: Edited) {
    let admin = edited.shop.admin().await;
    let mut owned = Vec::new();
    for number in 0..4 {
        let email = format!("gulung-{number}@example.com");
        owned.push(edited.bought(&email).await);
    }
    edited.edit(&admin, OWN_USER, ROOT).await;
    let failed = moved_in_vain(&edited, &admin, &owned).await;

    let name = failed["name"].as_str().unwrap();
    let refused = admin.post(PATH, json!({})).await;
    refused.fails(409, "ROLL_HALTED");
    let told = format!("1 instance failed with this target ({name}), so nothing is moved.");
    assert!(refused.text.contains(&told), "{}", refused.text);
    let reason = refused.detail(name).unwrap();
    assert!(reason.contains("not allowed"), "{reason}");
    let refused = admin.in_language(Some("id")).post(PATH, json!({})).await;
    let told = format!("1 instans gagal dengan tujuan ini ({name})");
    assert!(refused.text.contains(&told), "{}", refused.text);
    let preview = admin.post(PATH, json!({ "dryRun": true })).await.data(200);
    assert_eq!(preview["haltedBy"][0]["instanceId"], failed["instanceId"]);
    assert_eq!(preview["haltedBy"].as_array().unwrap().len(), 1);
    assert_eq!(outcomes(&preview).len(), owned.len());
    let moves = acts(&admin, "instance.settings_moved").await;
    assert_eq!(moves.as_array().unwrap().len(), 1, "{moves:#}");
    let others = owned.iter().filter(|(_, id)| failed["instanceId"] != **id);
    let others: Vec<_> = others.collect();
    for (owner, id) in &others {
        let detail = owner.get(&format!("/api/instances/{id}")).await.data(200);
        assert_eq!(detail["generation"], 1, "{detail:#}");
    }

    let (owner, id) = others[0];
    let unsaid = json!({ "instances": [id], "despiteFailures": true });
    let refused = admin.post(PATH, unsaid).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert_eq!(refused.detail("reason"), Some("is missing"));
    let because = "It failed for its missing exception.";
    let body = json!({ "instances": [id], "despiteFailures": true, "reason": because });
    let moved = admin.post(PATH, body).await.data(200);
    assert_eq!(outcomes(&moved), [(id.as_str(), "MOVED")]);
    assert_eq!(moved["haltedBy"], json!([]));
    assert!(applied(owner, id).await.contains("\"runAsUser\":0"));
    let moves = acts(&admin, "instance.settings_moved").await;
    assert_eq!(
        (&moves[0]["details"]["despiteFailures"], &moves[0]["reason"]),
        (&json!(1), &json!(because))
    );
    admin.post(PATH, json!({})).await.fails(409, "ROLL_HALTED");

    edited
        .edit(&admin, "grace_seconds = 120", "grace_seconds = 90")
        .await;
    let moved = admin.post(PATH, json!({})).await.data(200);
    assert_eq!(outcomes(&moved).len(), owned.len());
    assert!(
        outcomes(&moved)
            .iter()
            .all(|(_, outcome)| *outcome == "MOVED")
    );
}

/// A failure that is found while a request moves one instance after another ends it. What it has moved stays so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_meanwhile_ends_a_request() {
    let edited = Edited::open(Engine::Sqlite).await.unwrap();
    let admin = edited.shop.admin().await;
    for number in 0..3 {
        let email = format!("sementara-{number}@example.com");
        edited.bought(&email).await;
    }
    edited
        .edit(&admin, "grace_seconds = 120", "grace_seconds = 90")
        .await;
    edited.shop.sql(HOLD).await.unwrap();
    // Each instance fails as soon as it is moved.
    let fails = "CREATE TRIGGER moved_ones_fail AFTER UPDATE OF settings ON instances \
        BEGIN UPDATE instances SET failures = 1, failure_cause = 'REFUSED', refusal = json_object('generation', new.generation, \
        'by', json_object('rendering', 'x'), 'times', 1, 'since', '2026-07-01T00:00:00.000Z') WHERE id = new.id; END";
    edited.shop.sql(fails).await.unwrap();
    let moves = admin.post(PATH, json!({})).await.data(200);
    assert_eq!(outcomes(&moves).len(), 1, "{moves:#}");
    assert_eq!(
        (
            &moves["remaining"],
            &moves["next"],
            &moves["haltedBy"][0]["instanceId"]
        ),
        (
            &json!(2),
            &moves["instances"][0]["instanceId"],
            &moves["instances"][0]["instanceId"]
        )
    );
    admin.post(PATH, json!({})).await.fails(409, "ROLL_HALTED");
}
