//! Tests of the audit trail.

use dermaga_tests::{Shop, both_engines};
use serde_json::{Value, json};

both_engines!(Shop, [an_act_is_found_by_who_what_and_why]);

fn acts(page: &Value) -> Vec<&str> {
    let items = page.as_array().unwrap().iter();
    items.map(|event| event["act"].as_str().unwrap()).collect()
}

/// Acts of administrators are listed with reason and actor, found by each filter, and shown to
/// administrators only.
async fn an_act_is_found_by_who_what_and_why(shop: Shop) {
    let admin = shop.admin().await;
    let registered = shop.register("jejak@example.com").await;
    let user_id = registered["user"]["id"].as_str().unwrap();
    let reason = "Sorry for the 10% outage of Monday.";
    let body = json!({ "amount": 5_000, "kind": "BONUS", "reason": reason });
    let path = format!("/api/admin/wallets/{user_id}/add-credit");
    let credit = admin.post(&path, body).await;
    assert!(credit.status < 300, "{:#}", credit.body);
    admin
        .post(
            "/api/admin/catalog/reload",
            json!({ "reason": "The templates were edited." }),
        )
        .await
        .data(200);

    let all = admin.get("/api/admin/audit").await.data(200);
    assert_eq!(acts(&all), ["catalog.reloaded", "wallet.credit_added"]);
    let credited = &all[1];
    assert_eq!(credited["subject"], format!("wallet:{user_id}"));
    assert_eq!(credited["reason"], reason);
    assert_eq!(credited["details"]["bonus"], 5_000);
    let (actor, email) = (&credited["actorId"], &credited["actorEmail"]);
    assert!(email.as_str().unwrap().contains('@'), "{credited:#}");

    let found = async |query: String| {
        let page = admin.get(&format!("/api/admin/audit?{query}")).await;
        page.data(200).as_array().unwrap().len()
    };
    assert_eq!(found(format!("subject=wallet:{user_id}")).await, 1);
    assert_eq!(found("reason=10%25+OUTAGE".to_owned()).await, 1);
    assert_eq!(found("reason=10_+outage".to_owned()).await, 0);
    assert_eq!(found("act=catalog.reloaded".to_owned()).await, 1);
    let actor = actor.as_str().unwrap();
    assert_eq!(found(format!("actor={actor}&limit=1&page=2")).await, 1);
    assert_eq!(found(format!("actor={user_id}")).await, 0);
    assert_eq!(found("to=2001-01-01".to_owned()).await, 0);
    for wrong in ["act=wallet.emptied", "actor=me", "from=yesterday"] {
        let refused = admin.get(&format!("/api/admin/audit?{wrong}")).await;
        refused.fails(400, "VALIDATION_FAILED");
    }
    let customer = shop
        .client()
        .with_token(registered["accessToken"].as_str().unwrap());
    customer
        .get("/api/admin/audit")
        .await
        .fails(403, "FORBIDDEN");
    let unknown = shop.client().get("/api/admin/audit").await;
    unknown.fails(401, "UNAUTHENTICATED");
}
