//! Tests of repairs without a cluster: what is audited, and said.

use std::time::Duration;

use serde_json::Value;
use sqlx::types::Json;

use super::{acts::not_empty, *};
use crate::{
    cluster::pretended::Pretended, fetch_all, provisioning::drift::findings::Remedy,
    subscriptions::Settings, test_database::TestDatabase,
};

#[test]
fn one_object_that_is_left_is_told_as_one() {
    let first = ObjectRef::new("v1", "ConfigMap", "a");
    for (count, told) in [
        (1, "1 object is still in it, ConfigMap/a. Delete it first,"),
        (
            2,
            "2 objects are still in it, such as ConfigMap/a. Delete them",
        ),
    ] {
        let (_, message) = not_empty(count, &first);
        assert!(message.starts_with(told), "{message}");
    }
}

/// An object that the cluster does not have any more.
fn missing(name: &str) -> Decided {
    let found = Finding {
        drift: DriftKind::Ghost,
        object: ObjectRef::new("v1", "ConfigMap", name),
        namespace: "user-1".to_owned(),
        seen: None,
        instance: None,
        of: None,
        owner: None,
        since: None,
        reason: "It is missing.".to_owned(),
        remedy: Remedy {
            action: Some(RepairAction::Reapply),
            by_name_only: false,
            words: "Applies it again.".to_owned(),
        },
    };
    (Item::of(&found), Ok(Box::new(found)))
}

/// A request that is repeated decides about the rest, which was not decided before.
#[tokio::test]
async fn what_a_request_does_not_reach_is_not_audited() {
    let database = TestDatabase::open().await;
    let shop = database.subscriptions(Settings::default()).await;
    let pretended = Pretended::new();
    let asked = Asked {
        actor_id: database.account("admin@example.com", "ADMINISTRATOR").await,
        action: RepairAction::Reapply,
        reason: "Found by the weekly look at the cluster.",
    };
    let decided = ["first", "second"].map(missing).into();
    let budget = TimeBudget::begin(Duration::ZERO);
    let answers = carry_out_all(&shop.instances, &pretended.cluster, asked, decided, budget).await;
    let outcomes: Vec<_> = answers.iter().map(|one| one.outcome).collect();
    assert_eq!(outcomes, [RepairOutcome::Done, RepairOutcome::Refused]);
    let mut conn = database.db.read().await.unwrap();
    let sql = "SELECT details FROM audit_events WHERE act = 'cluster.drift_repaired'";
    let audited = fetch_all!(conn, (Json<Value>,), sql).unwrap();
    let names: Vec<_> = audited
        .iter()
        .flat_map(|(details,)| details["objects"].as_array().unwrap())
        .map(|object| &object["name"])
        .collect();
    assert_eq!(names, ["first"]);
}
