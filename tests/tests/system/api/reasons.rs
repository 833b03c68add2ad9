//! Tests of the reasons of administrators: every act takes one, and the trail keeps it.

use std::time::Duration;

use dermaga_tests::{Answer, Client, Shop, both_engines};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    alerts,
    authorisation::filled,
    plugin_lifecycle::{PLUGIN, giving, version},
    tickets,
    webhooks::{Hooked, OF_SHOP, deliveries},
};

const REASON: &str = "The bookkeeping asked for it.";
/// Sentence about a reason that says too little, or nothing.
const UNSEEN: &str = "must say why, in at least 10 characters that can be seen";

/// Operations of administrators without a reason: they change nothing.
const WITHOUT: [&str; 3] = [
    "POST /api/admin/coupon-types/{id}/backtest",
    "POST /api/admin/decisions/{id}/replay",
    "POST /api/admin/plugins/{id}/dry-run",
];

both_engines!(
    Shop,
    [
        every_act_takes_a_reason,
        no_act_takes_what_is_no_reason,
        a_reason_is_kept_without_the_blanks_around_it,
        a_run_of_a_job_keeps_its_reason,
        acts_on_coupons_keep_their_reasons,
        acts_on_plugins_keep_their_reasons,
        answers_to_tickets_keep_their_reasons,
        a_look_keeps_its_reason
    ]
);

both_engines!(Hooked, [what_is_sent_again_keeps_its_reason]);

/// Returns the fields of a body, however its schema is referred to.
fn fields<'a>(document: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    if let Some(name) = schema["$ref"].as_str() {
        return fields(document, document.pointer(name.trim_start_matches('#'))?);
    }
    match schema["oneOf"].as_array() {
        Some(parts) => parts.iter().find_map(|part| fields(document, part)),
        None => schema.get("properties"),
    }
}

/// An operation of administrators that is no read, and its body by content type.
struct Act {
    method: Method,
    path: String,
    body: Value,
}

impl Act {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn takes_reason(&self, document: &Value) -> bool {
        let contents = self.body["content"].as_object();
        let mut contents = contents.into_iter().flat_map(|kinds| kinds.values());
        contents.any(|content| {
            let fields = fields(document, &content["schema"]);
            fields.is_some_and(|fields| fields["reason"].is_object())
        })
    }
}

fn acts(document: &Value) -> Vec<Act> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/api/admin/") {
            continue;
        }
        for (method, operation) in item.as_object().unwrap() {
            let is_act = ["post", "put", "patch", "delete"].contains(&method.as_str());
            if is_act {
                found.push(Act {
                    method: method.to_uppercase().parse().unwrap(),
                    path: path.clone(),
                    body: operation["requestBody"].clone(),
                });
            }
        }
    }
    found
}

async fn every_act_takes_a_reason(shop: Shop) {
    let document = shop.client().get("/api/openapi.json").await.body;
    let acts = acts(&document);
    assert!(acts.len() > 80, "{}", acts.len());
    let without: Vec<String> = acts
        .iter()
        .filter(|act| !act.takes_reason(&document))
        .map(Act::name)
        .collect();
    assert_eq!(without, WITHOUT);
}

/// A reason of another type, one that is blank, too short or too long, and a field that is none, are named, where a
/// reason is free as where it is required.
async fn no_act_takes_what_is_no_reason(shop: Shop) {
    let document = shop.client().get("/api/openapi.json").await.body;
    let admin = shop.admin().await;
    let bodies = [
        ("reason", json!({ "reason": 5 }), None),
        ("reason", json!({ "reason": ["Because it is so."] }), None),
        ("reason", json!({ "reason": "Because" }), Some(UNSEEN)),
        ("reason", json!({ "reason": "  Because  " }), Some(UNSEEN)),
        ("reason", json!({ "reason": " " }), Some(UNSEEN)),
        ("reason", json!({ "reason": " ".repeat(10) }), Some(UNSEEN)),
        (
            "reason",
            json!({ "reason": "\u{a0}".repeat(12) }),
            Some(UNSEEN),
        ),
        ("reason", json!({ "reason": "x".repeat(501) }), None),
        ("raeson", json!({ "raeson": REASON }), None),
    ];
    for act in acts(&document) {
        let is_json = act.body["content"]["application/json"].is_object();
        if !is_json || !act.takes_reason(&document) {
            continue;
        }
        for (field, body, told) in &bodies {
            let request = admin.request(act.method.clone(), &filled(&act.path));
            let refused = admin.send(request.json(body)).await;
            let what = format!("{} {body}: {}", act.name(), refused.text);
            assert_eq!(refused.status, 400, "{what}");
            assert_eq!(refused.body["error"]["code"], "VALIDATION_FAILED", "{what}");
            let detail = refused.detail(field);
            assert!(detail.is_some(), "{what}");
            assert!(told.is_none() || detail == *told, "{what}");
        }
    }
}

/// The blanks around a reason are no part of it, where it is free, where it is required, and in a form.
async fn a_reason_is_kept_without_the_blanks_around_it(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop.customer("tepi@example.com").await;
    let profile = customer.get("/api/auth/profile").await.data(200);
    let padded = format!(" \u{a0}\n{REASON}  ");
    let newest = async |act: &str| {
        let path = format!("/api/admin/audit?act={act}");
        admin.get(&path).await.data(200)[0]["reason"].clone()
    };
    let check = "/api/admin/health/check";
    let body = json!({ "reason": padded });
    admin.post(check, body).await.data(202);
    assert_eq!(newest("health.check_requested").await, REASON);
    let path = format!(
        "/api/admin/users/{}/sign-out",
        profile["id"].as_str().unwrap()
    );
    let body = json!({ "reason": padded });
    admin.post(&path, body).await.data(200);
    assert_eq!(newest("user.signed_out").await, REASON);
    for (path, act) in [
        ("/api/admin/catalog/reload", "catalog.reloaded"),
        (
            "/api/admin/notifications/templates/reload",
            "notification_templates.loaded",
        ),
    ] {
        let body = json!({ "reason": padded });
        admin.post(path, body).await.data(200);
        assert_eq!(newest(act).await, REASON);
    }
    let component = giving(4_000, "4.0.0");
    let texts = [("reason", padded.as_str())];
    admin.upload_with(component, &texts).await.data(201);
    assert_eq!(newest("plugin.staged").await, REASON);
}

/// Does an act with a reason, then without one, and looks for both in the trail.
async fn with_and_without(admin: &Client, act: &str, mut done: impl AsyncFnMut(Value) -> Answer) {
    let mut last = Value::Null;
    for body in [json!({ "reason": REASON }), json!({})] {
        let answer = done(body.clone()).await;
        assert!(answer.status < 300, "{act} {body}: {}", answer.text);
        let path = format!("/api/admin/audit?act={act}");
        let newest = admin.get(&path).await.data(200)[0].clone();
        assert_ne!(newest["id"], last, "{act} {body}: {newest:#}");
        assert_eq!(newest["reason"], body["reason"], "{act}: {newest:#}");
        last = newest["id"].clone();
    }
}

/// Returns a body with the fields of another one.
fn joined(mut body: Value, other: &Value) -> Value {
    let own = body.as_object_mut().unwrap();
    own.extend(other.as_object().unwrap().clone());
    body
}

/// Runs a job once no other run of it is under way.
async fn run(admin: &Client, path: &str, body: Value) -> Answer {
    for _ in 0..400 {
        let answer = admin.post(path, body.clone()).await;
        if answer.status != 409 {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{path}: a run never ends");
}

async fn a_run_of_a_job_keeps_its_reason(shop: Shop) {
    let admin = shop.admin().await;
    for path in [
        "/api/admin/jobs/coupon-statuses/run",
        "/api/admin/billing/run-job/grace-period-reminders",
        "/api/admin/billing/process-renewals",
        "/api/admin/billing/process-grace-period",
        "/api/admin/billing/send-low-credit-notifications",
    ] {
        let ran = async |body: Value| run(&admin, path, body).await;
        with_and_without(&admin, "job.run", ran).await;
    }
    // Without a body, as clients before it.
    let path = "/api/admin/jobs/coupon-statuses/run";
    for request in [
        admin.request(Method::POST, path),
        admin.request(Method::POST, path).json(&Value::Null),
    ] {
        admin.send(request).await.data(200);
    }
}

async fn acts_on_coupons_keep_their_reasons(shop: Shop) {
    const PATH: &str = "/api/admin/coupons";
    let admin = shop.admin().await;
    let coupon = |code: &str| json!({ "code": code, "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 } });
    let codes = ["WITH", "WITHOUT"];
    let mut left = codes.iter();
    let mut made = Vec::new();
    let create = async |body: Value| {
        let new = joined(coupon(left.next().unwrap()), &body);
        let answer = admin.post(PATH, new).await;
        made.push(answer.body["data"]["id"].as_str().unwrap().to_owned());
        answer
    };
    with_and_without(&admin, "coupon.created", create).await;
    let path = format!("{PATH}/{}", made[0]);
    let change = async |body: Value| admin.put(&path, joined(coupon("WITH"), &body)).await;
    with_and_without(&admin, "coupon.changed", change).await;
    let seen = admin.get(&path).await.data(200);
    assert_eq!(seen["reason"], Value::Null, "a coupon has none: {seen:#}");
    let mut statuses = ["DISABLED", "ACTIVE"].iter();
    let switch = async |body: Value| {
        let new = json!({ "ids": [made[0]], "status": statuses.next().unwrap() });
        admin
            .put(&format!("{PATH}/bulk-status"), joined(new, &body))
            .await
    };
    with_and_without(&admin, "coupon.switched", switch).await;
    let mut left = made.iter();
    let delete = async |body: Value| {
        let path = format!("{PATH}/{}", left.next().unwrap());
        admin.delete_with(&path, body).await
    };
    with_and_without(&admin, "coupon.deleted", delete).await;
}

async fn acts_on_plugins_keep_their_reasons(shop: Shop) {
    let admin = shop.admin().await;
    let numbers = ["1.0.0", "2.0.0"];
    let mut left = numbers.iter().zip([1_000, 2_000]);
    let mut staged = Vec::new();
    let stage = async |body: Value| {
        let (number, amount) = left.next().unwrap();
        let reason = body["reason"].as_str().map(|reason| ("reason", reason));
        let texts: Vec<_> = reason.into_iter().collect();
        let answer = admin.upload_with(giving(amount, number), &texts).await;
        staged.push(answer.body["data"]["digest"].as_str().unwrap().to_owned());
        answer
    };
    with_and_without(&admin, "plugin.staged", stage).await;
    let mut left = staged.iter();
    let activate = async |body: Value| {
        let new = json!({ "digest": left.next().unwrap() });
        admin
            .post(&format!("{PLUGIN}/activate"), joined(new, &body))
            .await
    };
    with_and_without(&admin, "plugin.activated", activate).await;
    let back = async |body: Value| admin.post(&format!("{PLUGIN}/rollback"), body).await;
    with_and_without(&admin, "plugin.activated", back).await;
    // The second version is active again: the first one is retired by itself, the second with the plugin.
    let mut left = [
        format!("{}/retire", version(&staged[0])),
        format!("{PLUGIN}/retire"),
    ]
    .into_iter();
    let retire = async |body: Value| admin.post(&left.next().unwrap(), body).await;
    with_and_without(&admin, "plugin.retired", retire).await;
    let mut left = staged.iter();
    let delete = async |body: Value| {
        let path = version(left.next().unwrap());
        admin.delete_with(&path, body).await
    };
    with_and_without(&admin, "plugin.version_deleted", delete).await;

    for wrong in ["Because", &"x".repeat(501)] {
        let component = giving(3_000, "3.0.0");
        let refused = admin.upload_with(component, &[("reason", wrong)]).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail("reason").is_some(), "{}", refused.text);
    }
}

async fn answers_to_tickets_keep_their_reasons(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop.customer("alasan@example.com").await;
    let path = format!("/api/admin/tickets/{}", tickets::opened(&customer).await);
    let answer = async |body: Value| {
        let mut texts = vec![("message", "It works again.")];
        texts.extend(body["reason"].as_str().map(|reason| ("reason", reason)));
        admin
            .post_form(&format!("{path}/messages"), &texts, &[])
            .await
    };
    with_and_without(&admin, "ticket.answered", answer).await;
    let note = async |body: Value| {
        let new = json!({ "message": "The disk was full." });
        admin
            .post(&format!("{path}/notes"), joined(new, &body))
            .await
    };
    with_and_without(&admin, "ticket.noted", note).await;

    for (part, text) in [("reason", "Because"), ("raeson", REASON)] {
        let texts = [("message", "It works again."), (part, text)];
        let refused = admin
            .post_form(&format!("{path}/messages"), &texts, &[])
            .await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail(part).is_some(), "{}", refused.text);
    }
    // The reason is for administrators: customers' forms have no such part.
    let own = path.replace("/admin", "");
    let texts = [("message", "Thank you."), ("reason", REASON)];
    let refused = customer
        .post_form(&format!("{own}/messages"), &texts, &[])
        .await;
    refused.fails(400, "VALIDATION_FAILED");
}

async fn a_look_keeps_its_reason(shop: Shop) {
    let admin = shop.admin().await;
    let check = async |body: Value| admin.post("/api/admin/health/check", body).await;
    with_and_without(&admin, "health.check_requested", check).await;
    alerts::raise(&shop, "coupon-a", "First.").await;
    alerts::raise(&shop, "coupon-b", "Second.").await;
    let open = admin
        .get("/api/admin/alerts?acknowledged=false")
        .await
        .data(200);
    let mut open = open.as_array().unwrap().iter();
    let acknowledge = async |body: Value| {
        let id = open.next().unwrap()["id"].as_str().unwrap();
        let path = format!("/api/admin/alerts/{id}/acknowledge");
        admin.post(&path, body).await
    };
    with_and_without(&admin, "alert.acknowledged", acknowledge).await;
}

async fn what_is_sent_again_keeps_its_reason(hooked: Hooked) {
    let (admin, receiver) = (&hooked.admin, &hooked.receiver);
    let new =
        json!({ "url": receiver.url("/shop"), "events": ["TICKET_ANSWERED"], "reason": REASON });
    let made = admin.post(OF_SHOP, new).await.data(201);
    let hook = format!("{OF_SHOP}/{}", made["id"].as_str().unwrap());
    let mut sent = 0;
    let test = async |body: Value| {
        let answer = admin.post(&format!("{hook}/test"), body).await;
        sent += 1;
        deliveries(admin, &hook, "DELIVERED", sent).await;
        answer
    };
    with_and_without(admin, "webhook.tested", test).await;
    let delivered = deliveries(admin, &hook, "DELIVERED", 2).await;
    let mut left = delivered.iter();
    let resend = async |body: Value| {
        let id = left.next().unwrap()["id"].as_str().unwrap();
        let path = format!("{hook}/deliveries/{id}/resend");
        admin.post(&path, body).await
    };
    with_and_without(admin, "webhook.resent", resend).await;
}
