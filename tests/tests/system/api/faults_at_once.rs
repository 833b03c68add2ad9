//! Tests of inputs with several faults: one answer names all of them, in plain words.

use dermaga_tests::{Answer, Shop, both_engines};
use serde_json::json;
use uuid::Uuid;

use super::pasted::{PASSWORD, coupon, told};

both_engines!(Shop, [every_fault_of_a_coupon_is_told_at_once]);

/// Names all faults of a coupon in one answer, of every kind: its type, the catalogue,
/// the calendar or what it was used for.
async fn every_fault_of_a_coupon_is_told_at_once(shop: Shop) {
    let admin = shop.admin().await;
    let fields = |answer: &Answer| {
        answer.fails(400, "VALIDATION_FAILED");
        told(answer)
            .iter()
            .map(|(field, _)| (*field).to_owned())
            .collect::<Vec<_>>()
    };
    let wrong = json!({
        "code": "SALAH", "plugin": "coupon-credit-topup", "parameters": { "amount": -5 },
        "endsAt": "2001-01-01T00:00:00Z", "services": ["nothing", "n8n", "void"],
    });
    let refused = admin.post("/api/admin/coupons", wrong.clone()).await;
    assert_eq!(
        fields(&refused),
        ["endsAt", "parameters/amount", "services[0]", "services[2]"]
    );
    let mut unknown = wrong.clone();
    unknown["plugin"] = json!("coupon-nothing");
    let refused = admin.post("/api/admin/coupons", unknown).await;
    assert_eq!(
        fields(&refused),
        ["endsAt", "plugin", "services[0]", "services[2]"]
    );
    let mut backwards = wrong.clone();
    backwards["startsAt"] = json!("2001-01-02T00:00:00Z");
    backwards["maxUses"] = json!(0);
    let refused = admin.post("/api/admin/coupons", backwards).await;
    assert_eq!(fields(&refused), ["endsAt", "maxUses"]);

    let at = format!("/api/admin/coupons/{}", coupon(&shop).await);
    for name in ["satu", "dua"] {
        let customer = shop.customer(&format!("{name}@example.com")).await;
        customer
            .post(
                "/api/wallet/redeem-coupon",
                json!({ "couponCode": "HEMAT-10" }),
            )
            .await
            .data(201);
    }
    let mut tight = wrong;
    tight["maxUses"] = json!(1);
    tight["budget"] = json!(1_999);
    let refused = admin.put(&at, tight).await;
    let expected = [
        "maxUses",
        "budget",
        "endsAt",
        "parameters/amount",
        "services[0]",
        "services[2]",
    ];
    assert_eq!(fields(&refused), expected);
}

/// Uploads that are no form, or half of one, are refused in the shop's own words.
#[tokio::test]
async fn an_upload_is_a_whole_form() {
    let Some(shop) = Shop::open(dermaga_tests::Engine::Sqlite).await else {
        return;
    };
    let admin = shop.admin().await;
    let upload = async |content_type: &str, body: &'static str| {
        let request = admin.request(reqwest::Method::POST, "/api/admin/plugins");
        let request = request.header("content-type", content_type).body(body);
        admin.send(request).await
    };
    for content_type in [
        "application/json",
        "application/octet-stream",
        "multipart/form-data",
    ] {
        upload(content_type, "{}")
            .await
            .fails(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let part = |head: &str, content: &str| {
        format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    };
    let twice = async |head: &str, contents: [&str; 2]| {
        let parts = contents.map(|content| part(head, content)).concat();
        let form = parts + "--x--\r\n";
        upload("multipart/form-data; boundary=x", form.leak()).await
    };
    // An empty part was given, too.
    for contents in [["large", "large"], ["", "large"], ["large", ""], ["", ""]] {
        let refused = twice("name=\"class\"", contents).await;
        assert_eq!(
            told(&refused),
            [("class", "is given twice")],
            "{contents:?}"
        );
    }
    // A browser's input for a file that was not chosen is no part, so that only the component is missing.
    let refused = twice("name=\"signature\"; filename=\"\"", ["", ""]).await;
    let fields = told(&refused).into_iter().map(|(field, _)| field);
    assert_eq!(fields.collect::<Vec<_>>(), ["component"]);
    let half = "--x\r\nContent-Disposition: form-data; name=\"component\"\r\n\r\nabc";
    for body in [half, "abc", ""] {
        let refused = upload("multipart/form-data; boundary=x", body).await;
        refused.fails(400, "MALFORMED_REQUEST");
        assert!(
            !refused.text.contains("multipart stream"),
            "{}",
            refused.text
        );
    }
}

/// Two fields of one name in one object are refused at every depth: the last one would win.
#[tokio::test]
async fn no_body_names_a_field_twice() {
    let Some(shop) = Shop::open(dermaga_tests::Engine::Sqlite).await else {
        return;
    };
    let customer = shop.customer("dua@example.com").await;
    let admin = shop.admin().await;
    let coupon = r#"{ "code": "DUA", "plugin": "coupon-credit-topup", "parameters": { "amount": 1000, "amount": 2000 } }"#;
    let order = format!(
        r#"{{ "planId": "{}", "couponCode": "", "config": {{ "a": [{{ "b": 1, "\u0062": 1 }}] }} }}"#,
        Uuid::nil()
    );
    for (client, path, body, field) in [
        (&admin, "/api/admin/coupons", coupon, "parameters.amount"),
        (&customer, "/api/subscriptions", &order, "config.a[0].b"),
        (
            &customer,
            "/api/subscriptions/quote",
            &order,
            "config.a[0].b",
        ),
    ] {
        let request = client.request(reqwest::Method::POST, path);
        let request = request.header("content-type", "application/json");
        let refused = client.send(request.body(body.to_owned())).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert_eq!(told(&refused), [(field, "is given twice")], "{path}");
    }
    let made = admin.get("/api/admin/coupons").await.data(200);
    assert_eq!(made, json!([]));
}

/// JSON that does not fit is no broken JSON, and all its faults come at once.
#[tokio::test]
async fn a_wrong_type_is_a_fault_of_its_field() {
    let Some(shop) = Shop::open(dermaga_tests::Engine::Sqlite).await else {
        return;
    };
    let customer = shop.customer("jenis@example.com").await;
    for method in [json!(0), json!({}), json!([1]), json!(null), json!("CASH")] {
        let body = json!({ "amount": 1, "paymentMethod": method });
        let refused = customer.post("/api/wallet/topup", body).await;
        refused.fails(400, "VALIDATION_FAILED");
        let told = told(&refused);
        let fields: Vec<&str> = told.iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, ["amount", "paymentMethod"], "{method}: {told:?}");
        assert!(told[1].1.starts_with("must be one of: "), "{told:?}");
    }
    let admin = shop.admin().await;
    let new = json!({
        "code": "JENIS", "plugin": "coupon-credit-topup", "parameters": {}, "tiers": [1], "maxUses": "x",
    });
    let refused = admin.post("/api/admin/coupons", new).await;
    refused.fails(400, "VALIDATION_FAILED");
    let fields: Vec<&str> = told(&refused).iter().map(|(field, _)| *field).collect();
    assert_eq!(fields, ["maxUses", "tiers[0]"], "{:#}", refused.body);
    let refused = customer
        .post(
            "/api/user/api-tokens",
            json!({ "name": "robot", "scope": {} }),
        )
        .await;
    refused.fails(400, "VALIDATION_FAILED");
    assert_eq!(told(&refused)[0].0, "scope", "{:#}", refused.body);
}

/// All faults of a body come at once, whatever their kind, and none in the words of a library.
#[tokio::test]
async fn every_fault_is_told_at_once_in_plain_words() {
    let Some(shop) = Shop::open(dermaga_tests::Engine::Sqlite).await else {
        return;
    };
    let register = json!({
        "email": "sari", "password": "password123", "phone": "12", "avatar": "http://a.id/", "role": "ADMINISTRATOR",
    });
    let refused = shop.client().post("/api/auth/register", register).await;
    refused.fails(400, "VALIDATION_FAILED");
    let told_once = told(&refused);
    let fields: Vec<&str> = told_once.iter().map(|(field, _)| *field).collect();
    assert_eq!(
        fields,
        ["avatar", "email", "name", "password", "phone", "role"],
        "{told_once:?}"
    );
    assert_eq!(told_once[2].1, "is missing");

    for name in ["\u{200b}", "\u{3164}", " \u{a0}", ""] {
        let body = json!({ "email": "kosong@example.com", "password": PASSWORD, "name": name });
        let refused = shop.client().post("/api/auth/register", body).await;
        let expected = [("name", "must have at least one character that can be seen")];
        assert_eq!(told(&refused), expected, "{name:?}");
    }
    for name in ["A".to_owned(), "é".repeat(100)] {
        let email = format!("{}@example.com", name.len());
        let body = json!({ "email": email, "password": PASSWORD, "name": name });
        shop.client()
            .post("/api/auth/register", body)
            .await
            .data(201);
    }

    let admin = shop.admin().await;
    let bulk = json!({
        "adjustments": [
            { "userId": "x", "direction": "UP", "amount": 0 },
            { "userId": Uuid::nil(), "direction": "ADD", "amount": "5", "kind": "" },
        ],
        "reason": "\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}",
        "note": 1,
    });
    let refused = admin.post("/api/admin/wallets/bulk-adjustment", bulk).await;
    let expected = [
        ("adjustments[0].amount", "must be at least 1, not 0"),
        (
            "adjustments[0].direction",
            "must be one of: ADD, DEDUCT, not \"UP\"",
        ),
        (
            "adjustments[0].userId",
            "must be a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057",
        ),
        (
            "adjustments[1].amount",
            "must be a whole number, not the text \"5\"",
        ),
        (
            "adjustments[1].kind",
            "must be one of: PAID, BONUS, not \"\"",
        ),
        ("note", "is not known here; there are: adjustments, reason"),
        (
            "reason",
            "must say why, in at least 10 characters that can be seen",
        ),
    ];
    assert_eq!(told(&refused), expected);
    let reason = json!({ "amount": 5_000, "reason": "\u{200b}".repeat(12) });
    let nobody = format!("/api/admin/wallets/{}/add-credit", Uuid::nil());
    let refused = admin.post(&nobody, reason).await;
    assert_eq!(
        told(&refused),
        [(
            "reason",
            "must say why, in at least 10 characters that can be seen"
        )]
    );

    let customer = shop.customer("bentuk@example.com").await;
    let plan = shop.plan("n8n", "basic").await;
    let order = json!({ "planId": plan, "quoteId": "", "couponCode": " " });
    let refused = customer.post("/api/subscriptions", order).await;
    let uuid = "must be a UUID, such as 01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(told(&refused), [("quoteId", uuid)]);
    let order = json!({ "planId": plan, "couponCode": " ", "config": { "nonsense": true } });
    let refused = customer.post("/api/subscriptions", order).await;
    assert_eq!(told(&refused)[0].0, "config/nonsense", "{:#}", refused.body);
    assert_eq!(told(&refused)[0].1, "is not known here");

    // Words of serde, garde, chrono, uuid and the standard library.
    let words = [
        "expected",
        "invalid type",
        "premature",
        "invalid digit",
        "lower than",
        "variant",
        "missing field",
        "i64",
        "struct",
    ];
    for (path, body) in [
        (
            "/api/wallet/topup",
            json!({ "amount": 1.5, "paymentMethod": "CASH" }),
        ),
        ("/api/wallet/topup", json!([1])),
        (
            "/api/wallet/topup",
            json!({ "amount": 1e300, "paymentMethod": 5 }),
        ),
        ("/api/wallet/redeem-coupon", json!({ "couponCode": "!" })),
        (
            "/api/subscriptions",
            json!({ "planId": "basic", "config": [] }),
        ),
        ("/api/subscriptions", json!({})),
    ] {
        let refused = customer.post(path, body.clone()).await;
        refused.fails(400, "VALIDATION_FAILED");
        for (field, message) in told(&refused) {
            assert!(
                !words.iter().any(|word| message.contains(word)),
                "{path} {body}: {field} {message}"
            );
            assert!(
                ["must ", "is "]
                    .iter()
                    .any(|start| message.starts_with(start)),
                "{field} {message}"
            );
        }
    }
}
