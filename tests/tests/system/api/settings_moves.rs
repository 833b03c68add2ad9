//! Tests of moving instances to the present settings of their template.

use std::fs;

use dermaga_tests::{Client, Engine, Shop, both_engines, checkout};
use serde_json::{Value, json};
use tempfile::TempDir;

both_engines!(
    Edited,
    [
        an_edited_template_reaches_an_instance_by_a_move_only,
        an_image_rolls_over_instances_by_a_move_only,
        the_size_of_a_plan_reaches_instances_by_a_move_only,
        a_share_is_moved_first
    ]
);

pub(super) const PATH: &str = "/api/admin/catalog/services/valkey/moves";

/// A shop that sells Valkey by a template that can be edited.
pub(super) struct Edited {
    pub(super) shop: Shop,
    folder: TempDir,
}

impl Edited {
    pub(super) async fn open(engine: Engine) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let template = checkout().join("service-templates/valkey.toml");
        fs::copy(template, folder.path().join("valkey.toml")).unwrap();
        let path = folder.path().to_owned();
        let shop = Shop::open_with(engine, |config| config.templates_dir = Some(path)).await?;
        Some(Self { shop, folder })
    }

    /// Edits the template and lets the shop read it again.
    pub(super) async fn edit(&self, admin: &Client, old: &str, new: &str) {
        let file = self.folder.path().join("valkey.toml");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(old), "{text}");
        fs::write(&file, text.replace(old, new)).unwrap();
        let told = admin
            .post(
                "/api/admin/catalog/reload",
                json!({ "reason": "The templates were edited." }),
            )
            .await
            .data(200);
        assert_eq!(told["refused"], json!([]), "{told:#}");
    }

    /// Buys a free Valkey and waits until it runs.
    pub(super) async fn bought(&self, email: &str) -> (Client, String) {
        let customer = self.shop.customer(email).await;
        let plan = self.shop.plan("valkey", "free").await;
        let order = json!({ "planId": plan });
        let bought = customer.post("/api/subscriptions", order).await.data(201);
        let id = bought["instanceId"].as_str().unwrap().to_owned();
        self.shop.instance_becomes(&customer, &id, "RUNNING").await;
        (customer, id)
    }
}

/// Returns the manifests of an instance once nothing is under way.
pub(super) async fn applied(customer: &Client, id: &str) -> String {
    for _ in 0..400 {
        let detail = customer
            .get(&format!("/api/instances/{id}"))
            .await
            .data(200);
        if detail["changing"] == false && detail["generation"] == detail["observedGeneration"] {
            let path = format!("/api/instances/{id}/manifests");
            return customer.get(&path).await.data(200)["objects"].to_string();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it never settles");
}

pub(super) fn outcomes(moves: &Value) -> Vec<(&str, &str)> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
    let moved = moves["instances"].as_array().unwrap().iter();
    moved
        .map(|one| {
            assert!(!text(one, "name").is_empty());
            (
                one["instanceId"].as_str().unwrap(),
                one["outcome"].as_str().unwrap(),
            )
        })
        .collect()
}

async fn an_edited_template_reaches_an_instance_by_a_move_only(edited: Edited) {
    let admin = edited.shop.admin().await;
    let (customer, id) = edited.bought("setelan@example.com").await;
    let before = applied(&customer, &id).await;
    assert!(outcomes(&admin.post(PATH, json!({})).await.data(200)).is_empty());

    edited
        .edit(&admin, "grace_seconds = 120", "grace_seconds = 90")
        .await;
    // A pass over the instance changes nothing.
    let sql = "UPDATE instances SET next_attempt_at = created_at";
    edited.shop.sql(sql).await.unwrap();
    edited.shop.state().instances.handle.wake();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(applied(&customer, &id).await, before);

    // An instance that is none of the service's is named, and holds up nothing.
    let stranger = "018f0000-0000-7000-8000-000000000000";
    let body = json!({ "dryRun": true, "instances": [id, stranger] });
    let preview = admin.post(PATH, body).await.data(200);
    assert_eq!(outcomes(&preview), [(id.as_str(), "READY")]);
    assert_eq!(preview["skipped"], json!([stranger]));

    let preview = admin.post(PATH, json!({ "dryRun": true })).await.data(200);
    assert_eq!(outcomes(&preview), [(id.as_str(), "READY")]);
    assert_eq!(
        (&preview["service"], &preview["to"]),
        (&json!("valkey"), &Value::Null)
    );
    let diff = preview["instances"][0]["diff"].as_str().unwrap();
    assert!(
        diff.contains("-      terminationGracePeriodSeconds: 120\n"),
        "{diff}"
    );
    assert!(
        diff.contains("+      terminationGracePeriodSeconds: 90\n"),
        "{diff}"
    );
    assert!(
        !diff.contains("password: ") || diff.contains("***"),
        "{diff}"
    );
    assert_eq!(applied(&customer, &id).await, before);

    let because = "Customers wait too long for a stop.";
    let moved = admin
        .post(PATH, json!({ "instances": [id], "reason": because }))
        .await
        .data(200);
    assert_eq!(outcomes(&moved), [(id.as_str(), "MOVED")]);
    let path = "/api/admin/audit?act=instance.settings_moved";
    let acts = admin.get(path).await.data(200);
    assert_eq!(acts[0]["reason"], because, "{acts:#}");
    assert!(
        applied(&customer, &id)
            .await
            .contains("\"terminationGracePeriodSeconds\":90")
    );
    assert!(outcomes(&admin.post(PATH, json!({})).await.data(200)).is_empty());

    // Later purchases have them already.
    let (other, other_id) = edited.bought("setelan-baru@example.com").await;
    assert!(
        applied(&other, &other_id)
            .await
            .contains("\"terminationGracePeriodSeconds\":90")
    );
    customer.post(PATH, json!({})).await.fails(403, "FORBIDDEN");
    let unknown = "/api/admin/catalog/services/hantu/moves";
    admin.post(unknown, json!({})).await.fails(404, "NOT_FOUND");
    for share in [0, 101] {
        let body = json!({ "share": share });
        admin.post(PATH, body).await.fails(400, "VALIDATION_FAILED");
    }
}

async fn an_image_rolls_over_instances_by_a_move_only(edited: Edited) {
    let admin = edited.shop.admin().await;
    let (customer, id) = edited.bought("citra@example.com").await;
    let before = applied(&customer, &id).await;
    assert!(before.contains("valkey:8.1.6-alpine"), "{before}");
    edited
        .edit(&admin, "valkey:8.1.6-alpine", "valkey:8.1.7-alpine")
        .await;
    let sql = "UPDATE instances SET next_attempt_at = created_at";
    edited.shop.sql(sql).await.unwrap();
    edited.shop.state().instances.handle.wake();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(applied(&customer, &id).await, before);

    let preview = admin.post(PATH, json!({ "dryRun": true })).await.data(200);
    assert_eq!(outcomes(&preview), [(id.as_str(), "READY")]);
    let one = &preview["instances"][0];
    assert_eq!(one["restarts"], true);
    let diff = one["diff"].as_str().unwrap();
    assert!(diff.contains("valkey:8.1.7-alpine"), "{diff}");
    let moved = admin.post(PATH, json!({})).await.data(200);
    assert_eq!(outcomes(&moved), [(id.as_str(), "MOVED")]);
    let after = applied(&customer, &id).await;
    assert!(
        after.contains("valkey:8.1.7-alpine") && !after.contains("valkey:8.1.6-alpine"),
        "{after}"
    );
    assert!(outcomes(&admin.post(PATH, json!({})).await.data(200)).is_empty());
}

async fn the_size_of_a_plan_reaches_instances_by_a_move_only(edited: Edited) {
    let admin = edited.shop.admin().await;
    let (customer, id) = edited.bought("ukuran@example.com").await;
    let before = applied(&customer, &id).await;
    assert!(before.contains("\"memory\":\"128Mi\""), "{before}");
    edited
        .edit(&admin, "memory_mib = 128", "memory_mib = 192")
        .await;
    let sql = "UPDATE instances SET next_attempt_at = created_at";
    edited.shop.sql(sql).await.unwrap();
    edited.shop.state().instances.handle.wake();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(applied(&customer, &id).await, before);

    let preview = admin.post(PATH, json!({ "dryRun": true })).await.data(200);
    assert_eq!(outcomes(&preview), [(id.as_str(), "READY")]);
    let one = &preview["instances"][0];
    assert_eq!(one["restarts"], true);
    let diff = one["diff"].as_str().unwrap();
    assert!(diff.contains("192Mi"), "{diff}");
    let moved = admin.post(PATH, json!({})).await.data(200);
    assert_eq!(outcomes(&moved), [(id.as_str(), "MOVED")]);
    let after = applied(&customer, &id).await;
    assert!(after.contains("\"memory\":\"192Mi\""), "{after}");
    assert!(!after.contains("\"memory\":\"128Mi\""), "{after}");
    assert!(outcomes(&admin.post(PATH, json!({})).await.data(200)).is_empty());
}

async fn a_share_is_moved_first(edited: Edited) {
    let admin = edited.shop.admin().await;
    for number in 0..6 {
        edited.bought(&format!("bagian-{number}@example.com")).await;
    }
    edited
        .edit(&admin, "grace_seconds = 120", "grace_seconds = 90")
        .await;
    let seen = async |share: i64| {
        let body = json!({ "dryRun": true, "share": share });
        let moves = admin.post(PATH, body).await.data(200);
        let ids: Vec<String> = outcomes(&moves)
            .iter()
            .map(|(id, _)| (*id).to_owned())
            .collect();
        ids
    };
    let (half, all) = (seen(50).await, seen(100).await);
    assert_eq!(all.len(), 6);
    assert!(half.iter().all(|id| all.contains(id)));
    let moved = admin.post(PATH, json!({ "share": 50 })).await.data(200);
    assert_eq!(outcomes(&moved).len(), half.len());
    assert!(
        outcomes(&moved)
            .iter()
            .all(|(id, outcome)| half.contains(&(*id).to_owned()) && *outcome == "MOVED")
    );
    assert!(seen(50).await.is_empty());
    assert_eq!(seen(100).await.len(), 6 - half.len());
}
