//! Tests of the reasons of administrators: every act takes one, and the trail keeps it.

use std::{collections::BTreeSet, time::Duration};

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

/// Acts whose schema leaves their reason free, by the decision about reasons. A reload of the service templates is among
/// them, since it needs one unless it is a dry run.
const FREE: [&str; 28] = [
    "DELETE /api/admin/coupons/{id}",
    "DELETE /api/admin/plugins/{id}/versions/{digest}",
    "POST /api/admin/alerts/{id}/acknowledge",
    "POST /api/admin/billing/process-grace-period",
    "POST /api/admin/billing/process-renewals",
    "POST /api/admin/billing/run-job/{name}",
    "POST /api/admin/billing/send-low-credit-notifications",
    RELOAD,
    "POST /api/admin/catalog/services/{slug}/moves",
    "POST /api/admin/coupons",
    "POST /api/admin/health/check",
    "POST /api/admin/jobs/{name}/run",
    "POST /api/admin/notifications/deliveries/{id}/resend",
    "POST /api/admin/notifications/templates/reload",
    "POST /api/admin/plugins",
    "POST /api/admin/plugins/{id}/activate",
    "POST /api/admin/plugins/{id}/moves",
    "POST /api/admin/plugins/{id}/retire",
    "POST /api/admin/plugins/{id}/rollback",
    "POST /api/admin/plugins/{id}/versions/{digest}/reset",
    "POST /api/admin/plugins/{id}/versions/{digest}/retire",
    "POST /api/admin/tickets/{id}/messages",
    "POST /api/admin/tickets/{id}/notes",
    "POST /api/admin/webhooks/{id}/deliveries/{deliveryId}/resend",
    "POST /api/admin/webhooks/{id}/test",
    "PUT /api/admin/clock",
    "PUT /api/admin/coupons/bulk-status",
    "PUT /api/admin/coupons/{id}",
];
const RELOAD: &str = "POST /api/admin/catalog/reload";

both_engines!(
    Shop,
    [
        every_act_takes_a_reason,
        no_other_act_leaves_its_reason_free,
        a_reload_needs_a_reason_unless_it_is_a_dry_run,
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

/// Returns the schema of a body with fields, however it is referred to.
fn object<'a>(document: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    if let Some(name) = schema["$ref"].as_str() {
        return object(document, document.pointer(name.trim_start_matches('#'))?);
    }
    match schema["oneOf"].as_array() {
        Some(parts) => parts.iter().find_map(|part| object(document, part)),
        None => schema["properties"].is_object().then_some(schema),
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

    /// Returns the schemas of its bodies with fields.
    fn objects<'a>(&'a self, document: &'a Value) -> impl Iterator<Item = &'a Value> {
        let contents = self.body["content"].as_object();
        let contents = contents.into_iter().flat_map(|kinds| kinds.values());
        contents.filter_map(move |content| object(document, &content["schema"]))
    }

    fn takes_reason(&self, document: &Value) -> bool {
        let mut objects = self.objects(document);
        objects.any(|object| object["properties"]["reason"].is_object())
    }

    fn needs_reason(&self, document: &Value) -> bool {
        let required = self
            .objects(document)
            .filter_map(|object| object["required"].as_array());
        required.flatten().any(|field| field == "reason")
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

async fn no_other_act_leaves_its_reason_free(shop: Shop) {
    let document = shop.client().get("/api/openapi.json").await.body;
    let is_free = |act: &Act| act.takes_reason(&document) && !act.needs_reason(&document);
    let acts = acts(&document).into_iter();
    let free: BTreeSet<String> = acts.filter(is_free).map(|act| act.name()).collect();
    let expected: BTreeSet<String> = FREE.map(str::to_owned).into();
    assert_eq!(free, expected);
}

/// It changes what is sold and its prices. A dry run changes nothing.
async fn a_reload_needs_a_reason_unless_it_is_a_dry_run(shop: Shop) {
    let admin = shop.admin().await;
    let (_, path) = RELOAD.split_once(' ').unwrap();
    let without = admin.send(admin.request(Method::POST, path)).await;
    let mut refused = vec![without];
    for body in [
        json!({}),
        json!({ "dryRun": false }),
        json!({ "dryRun": false, "reason": null }),
    ] {
        refused.push(admin.post(path, body).await);
    }
    for refused in refused {
        refused.fails(400, "VALIDATION_FAILED");
        let told = refused.detail("reason");
        assert_eq!(told, Some("must say why, unless `dryRun` is true"));
    }
    let acts = "/api/admin/audit?act=catalog.reloaded";
    assert_eq!(admin.get(acts).await.data(200), json!([]));
    let looked = admin.post(path, json!({ "dryRun": true })).await.data(200);
    assert_eq!(looked["applied"], false);
    let made = admin
        .post(path, json!({ "reason": REASON }))
        .await
        .data(200);
    assert_eq!(made["applied"], true);
    assert_eq!(admin.get(acts).await.data(200)[0]["reason"], REASON);
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
