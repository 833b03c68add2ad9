//! Tests of pasted and incomplete inputs: read as they were meant, or refused. Those with several
//! faults are in `faults_at_once.rs`.

use dermaga_tests::{Answer, Shop, both_engines};
use serde_json::{Value, json};
use uuid::Uuid;

/// Field and sentence of every detail, in order.
pub(super) fn told(answer: &Answer) -> Vec<(&str, &str)> {
    let details = answer.body["error"]["details"].as_array().unwrap();
    details
        .iter()
        .map(|detail| {
            let text = |key: &str| detail[key].as_str().unwrap();
            (text("field"), text("message"))
        })
        .collect()
}

pub(super) const PASSWORD: &str = "kata sandi yang panjang";

/// The coupon `HEMAT-10`, of Rp1.000.
pub(super) async fn coupon(shop: &Shop) -> String {
    let new = json!({
        "code": " hemat\u{2011}10\u{200b}", "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 },
        "description": "", "endsAt": null, "maxUses": 5,
    });
    let made = shop
        .admin()
        .await
        .post("/api/admin/coupons", new)
        .await
        .data(201);
    assert_eq!(
        (&made["code"], &made["endsAt"]),
        (&json!("HEMAT-10"), &Value::Null)
    );
    made["id"].as_str().unwrap().to_owned()
}

both_engines!(
    Shop,
    [
        pasted_texts_are_the_typed_ones,
        what_identifies_is_refused_with_what_cannot_be_seen,
        filters_take_dates_and_moments,
        a_blank_is_no_value_of_what_has_a_form,
        no_text_holds_the_nul_character,
        every_date_is_within_the_calendar
    ]
);

/// Hyphens of every kind, full-width letters, and what comes along with a copied text are what they look like.
async fn pasted_texts_are_the_typed_ones(shop: Shop) {
    let new = json!({
        "email": "\u{202a}Tempel@Example.com\u{feff}\u{a0}", "password": PASSWORD,
        "name": " Sari\u{a0}\u{200b} Dewi ", "phone": "\u{ff0b}62\u{a0}812\u{2011}3456\u{2013}7890",
        "avatar": "",
    });
    let user = shop
        .client()
        .post("/api/auth/register", new)
        .await
        .data(201)["user"]
        .clone();
    assert_eq!(
        (
            &user["email"],
            &user["name"],
            &user["phone"],
            &user["avatar"]
        ),
        (
            &json!("tempel@example.com"),
            &json!("Sari Dewi"),
            &json!("+6281234567890"),
            &Value::Null
        )
    );
    let again = json!({ "email": "ｔｅｍｐｅｌ@example.com", "password": PASSWORD });
    shop.client().post("/api/auth/login", again).await.data(200);

    let id = coupon(&shop).await;
    let customer = shop.customer("kupon@example.com").await;
    let pasted = json!({ "couponCode": "\u{200e}Ｈemat\u{2013}10 " });
    let preview = customer
        .post("/api/wallet/validate-coupon", pasted.clone())
        .await
        .data(200);
    assert_eq!(preview["couponCode"], "HEMAT-10");
    let redeemed = customer
        .post("/api/wallet/redeem-coupon", pasted)
        .await
        .data(201);
    assert_eq!(redeemed["coupon"]["couponCode"], "HEMAT-10");
    let history = customer.get("/api/wallet/coupon-history").await.data(200);
    assert_eq!(history[0]["couponCode"], "HEMAT-10");
    let admin = shop.admin().await;
    let decided = admin
        .get("/api/admin/decisions?couponCode=hemat%E2%80%9110")
        .await
        .data(200);
    assert_eq!(decided.as_array().unwrap().len(), 1, "{decided:#}");
    let costly = admin.get("/api/admin/coupons/statistics").await.data(200);
    assert_eq!(
        costly["costliest"][0]["couponCode"], "HEMAT-10",
        "{costly:#}"
    );
    let view = admin
        .get(&format!("/api/admin/coupons/{id}"))
        .await
        .data(200);
    assert_eq!(view["code"], "HEMAT-10");
}

/// Without its invisible characters an address is another one, and so are a code, a number and a host.
async fn what_identifies_is_refused_with_what_cannot_be_seen(shop: Shop) {
    let hidden = "must not have characters that print nothing";
    let new = json!({
        "email": "moc.elpmaxe@\u{202e}sari@example.com", "password": PASSWORD, "name": "Sari\u{202e}",
        "phone": "0812\u{200b}34567890", "avatar": "https://cdn.example.com/a\u{202e}gpj.png",
    });
    let refused = shop.client().post("/api/auth/register", new).await;
    refused.fails(400, "VALIDATION_FAILED");
    let expected = [("avatar", hidden), ("email", hidden), ("phone", hidden)];
    assert_eq!(told(&refused), expected);
    for email in ["sari\u{202e}@example.com", "sa\u{feff}ri@example.com"] {
        let login = json!({ "email": email, "password": PASSWORD });
        let refused = shop.client().post("/api/auth/login", login).await;
        assert_eq!(told(&refused), [("email", hidden)]);
    }

    coupon(&shop).await;
    let customer = shop.customer("tersembunyi@example.com").await;
    let code = json!({ "couponCode": "HE\u{200b}MAT-10" });
    let refused = customer.post("/api/wallet/redeem-coupon", code).await;
    assert_eq!(told(&refused), [("couponCode", hidden)]);
    let admin = shop.admin().await;
    let new = json!({
        "code": "HE\u{202e}MAT-20", "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 },
    });
    let refused = admin.post("/api/admin/coupons", new).await;
    assert_eq!(told(&refused), [("code", hidden)]);

    // Names are texts: what cannot be seen is left out, and what a script needs stays.
    let chillu = "\u{d05}\u{d35}\u{d28}\u{d4d}\u{200d}";
    for (name, kept) in [("Sa\u{202e}ri\u{e000}", "Sari"), (chillu, chillu)] {
        let changed = customer
            .put("/api/user/profile", json!({ "name": name }))
            .await;
        assert_eq!(changed.data(200)["name"], kept);
    }
    let marks = "\u{301}".repeat(20);
    let refused = customer
        .put("/api/user/profile", json!({ "name": marks }))
        .await;
    refused.fails(400, "VALIDATION_FAILED");
    let texts = [
        ("subject", "A question of mine"),
        ("description", marks.as_str()),
    ];
    let refused = customer.post_form("/api/tickets", &texts, &[]).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("description").is_some(), "{}", refused.text);
}

/// A date is a whole day where the shop is, a moment is a moment, in every filter.
async fn filters_take_dates_and_moments(shop: Shop) {
    let customer = shop.customer_with_credit("saring@example.com", 5_000).await;
    let admin = shop.admin().await;
    let now = shop.clock().now();
    let today = now.with_timezone(&chrono_tz::Asia::Jakarta).date_naive();
    let (before, after) = (today.pred_opt().unwrap(), today.succ_opt().unwrap());
    let count = async |client: &dermaga_tests::Client, path: &str, query: &str| {
        let found = client.get(&format!("{path}?{query}")).await;
        found.body["pagination"]["totalItems"]
            .as_i64()
            .unwrap_or_else(|| panic!("{path}?{query}: {:#}", found.body))
    };
    for (client, path) in [
        (&customer, "/api/wallet/transactions"),
        (&admin, "/api/admin/transactions"),
    ] {
        for (query, expected) in [
            (format!("from={today}&to={today}"), 1),
            (format!("to={before}"), 0),
            (format!("from={after}"), 0),
            (
                format!(
                    "from={}&to={after}T00:00:00%2B07:00",
                    now.format("%Y-%m-%dT00:00:00Z")
                ),
                1,
            ),
            (format!("from={today}T00:00:00+07:00"), 1),
        ] {
            assert_eq!(
                count(client, path, &query).await,
                expected,
                "{path}?{query}"
            );
        }
    }
    let decisions = "/api/admin/decisions";
    let all = count(&admin, decisions, "").await;
    assert!(all > 0);
    assert_eq!(
        count(&admin, decisions, &format!("since={today}&until={today}")).await,
        all
    );
    assert_eq!(count(&admin, decisions, &format!("since={after}")).await, 0);
    for path in [
        format!("/api/admin/coupons/statistics?from={today}&to={after}T00:00:00Z"),
        format!("/api/admin/billing/preview?date={today}T00:00:00Z"),
    ] {
        admin.get(&path).await.data(200);
    }
    for from in [today.to_string(), format!("{today}T00:00:00Z")] {
        let statement = customer
            .get(&format!("/api/wallet/statement?from={from}&to={today}"))
            .await;
        assert_eq!(statement.status, 200, "{}", statement.text);
    }
    let refused = admin.get("/api/admin/transactions?from=besok&to=31-12-2026&type=GIFT&minAmount=x&page=0&colour=red").await;
    refused.fails(400, "VALIDATION_FAILED");
    let moment = "must be a date such as 2026-12-31, or a moment such as 2026-12-31T17:00:00Z";
    let told = told(&refused);
    let fields: Vec<&str> = told.iter().map(|(field, _)| *field).collect();
    assert_eq!(
        fields,
        ["colour", "from", "minAmount", "page", "to", "type"],
        "{told:?}"
    );
    assert_eq!(
        (told[1].1, told[2].1),
        (moment, "must be a whole number, not \"x\"")
    );
    assert!(
        told[3].1 == "must be at least 1, not 0"
            && told[5].1.starts_with("must be one of: TOP_UP, "),
        "{told:?}"
    );
}

/// A blank text is as good as none where a text is wanted; a filter that is lost would show everything, and a
/// list that is lost would move everything.
async fn a_blank_is_no_value_of_what_has_a_form(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop.customer("kosong@example.com").await;
    for (client, path, field) in [
        (&customer, "/api/wallet/transactions?from=", "from"),
        (
            &customer,
            "/api/wallet/transactions?type=&status=COMPLETED",
            "type",
        ),
        (&customer, "/api/wallet/transactions?cursor=", "cursor"),
        (&customer, "/api/subscriptions?limit=", "limit"),
        (&admin, "/api/admin/transactions?minAmount=%20", "minAmount"),
        (&admin, "/api/admin/audit?actor=", "actor"),
        (&admin, "/api/admin/decisions?digest=", "digest"),
        (&admin, "/api/admin/instances/drift?drift=", "drift"),
        (&admin, "/api/admin/k8s/pods?namespace=", "namespace"),
        (&admin, "/api/admin/alerts?acknowledged=", "acknowledged"),
    ] {
        let refused = client.get(path).await;
        refused.fails(400, "VALIDATION_FAILED");
        assert!(refused.detail(field).is_some(), "{path}: {}", refused.text);
    }
    for (client, path) in [
        (&customer, "/api/catalog/search?q=%20"),
        (&admin, "/api/admin/alerts?subject="),
    ] {
        client.get(path).await.data(200);
    }
    let moves = "/api/admin/catalog/services/n8n/moves";
    let refused = admin.post(moves, json!({ "instances": "" })).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("instances").is_some(), "{}", refused.text);
    let texts = [
        ("subject", "A question of mine"),
        ("description", "How do I move my domain?"),
        ("instanceId", " "),
    ];
    let refused = customer.post_form("/api/tickets", &texts, &[]).await;
    refused.fails(400, "VALIDATION_FAILED");
    assert!(refused.detail("instanceId").is_some(), "{}", refused.text);
}

/// U+0000, which PostgreSQL cannot hold, is refused wherever a text is read.
async fn no_text_holds_the_nul_character(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop.customer("nul@example.com").await;
    let nul = "must not contain the character U+0000";
    for (path, fields) in [
        ("/api/catalog/search?q=%00", &["q"][..]),
        (
            "/api/catalog/search?category=a%00b&limit=5&q=%00",
            &["category", "q"],
        ),
        (
            "/api/admin/decisions?plugin=%00&version=%00",
            &["plugin", "version"],
        ),
        ("/api/admin/alerts?subject=%00", &["subject"]),
    ] {
        let refused = admin.get(path).await;
        refused.fails(400, "VALIDATION_FAILED");
        let expected: Vec<_> = fields.iter().map(|field| (*field, nul)).collect();
        assert_eq!(told(&refused), expected, "{path}");
    }
    for path in [
        "/api/catalog/services/%00",
        "/api/catalog/services/n8n%00/plans",
        "/api/admin/plugins/%00",
        "/api/admin/plugins/a%00b/versions/0",
        "/api/wallet/transactions/%00",
    ] {
        assert_eq!(admin.get(path).await.status, 404, "{path}");
    }
    customer
        .get("/api/wallet/transactions/%00")
        .await
        .fails(404, "NOT_FOUND");
    admin
        .post("/api/admin/plugins/%00/retire", json!({}))
        .await
        .fails(404, "NOT_FOUND");

    let refused = customer
        .put("/api/user/profile", json!({ "name": "ab\u{0}" }))
        .await;
    assert_eq!(told(&refused), [("name", nul)]);
    let nobody = format!("/api/admin/wallets/{}/add-credit", Uuid::nil());
    let refused = admin
        .post(
            &nobody,
            json!({ "amount": 5_000, "reason": "a good reason\u{0}" }),
        )
        .await;
    assert_eq!(told(&refused), [("reason", nul)]);
    let new = json!({
        "code": "NUL", "plugin": "coupon-credit-topup", "description": "\u{0}", "maxUses": 0,
        "parameters": { "amount": 1_000, "deep": ["a", { "b": "\u{0}" }], "x\u{0}": 1 },
    });
    let refused = admin.post("/api/admin/coupons", new).await;
    let expected = [
        ("description", nul),
        ("maxUses", "must be at least 1, not 0"),
        ("parameters", nul),
        ("parameters.deep[1].b", nul),
    ];
    assert_eq!(told(&refused), expected);
}

/// Dates and moments are those that both databases hold, and the clock's are those of tokens.
async fn every_date_is_within_the_calendar(shop: Shop) {
    let admin = shop.admin().await;
    let customer = shop.customer("tahun@example.com").await;
    let bounds = "must be between 1970-01-01 and 9999-12-31 (UTC)";
    for (client, path, field) in [
        (&customer, "/api/wallet/transactions", "from"),
        (&customer, "/api/wallet/transactions", "to"),
        (&customer, "/api/wallet/statement", "from"),
        (&admin, "/api/admin/transactions", "to"),
        (&admin, "/api/admin/decisions", "since"),
        (&admin, "/api/admin/coupons/statistics", "from"),
        (&admin, "/api/admin/billing/preview", "date"),
        (&admin, "/api/admin/audit", "from"),
        (&admin, "/api/admin/audit", "to"),
        (&admin, "/api/admin/subscriptions", "from"),
        (&admin, "/api/admin/subscriptions", "to"),
        (&admin, "/api/admin/subscriptions", "endsBy"),
    ] {
        for date in [
            "-9999-12-31",
            "-4713-01-01",
            "1969-12-31",
            "%2B10000-01-01",
            "-4800-01-01T00:00:00Z",
            "9999-12-31T23:59:59-23:59",
        ] {
            let refused = client.get(&format!("{path}?{field}={date}")).await;
            refused.fails(400, "VALIDATION_FAILED");
            assert_eq!(told(&refused), [(field, bounds)], "{path}?{field}={date}");
        }
    }
    for path in [
        "/api/admin/transactions?from=1970-01-01&to=9999-12-31",
        "/api/admin/decisions?since=1970-01-01T00:00:00Z&until=9999-12-31T23:59:59Z",
    ] {
        admin.get(path).await.data(200);
    }
    // A forecast says nothing of the far future and of the past.
    for date in ["9999-12-31", "9999-12-31T23:59:59Z", "1970-01-01"] {
        let path = format!("/api/admin/billing/preview?date={date}");
        let refused = admin.get(&path).await;
        refused.fails(400, "VALIDATION_FAILED");
        let said = refused.detail("date").unwrap();
        assert!(said.starts_with("must be between 2"), "{said}");
    }
    for moment in [
        "-4800-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "1969-12-31T23:59:59Z",
    ] {
        let new = json!({
            "code": "TAHUN", "plugin": "coupon-credit-topup", "parameters": { "amount": 1_000 },
            "startsAt": moment, "endsAt": moment,
        });
        let refused = admin.post("/api/admin/coupons", new).await;
        assert_eq!(
            told(&refused),
            [("endsAt", bounds), ("startsAt", bounds)],
            "{moment}"
        );
    }
}

/// A range that ends before it begins is refused by every list, and not answered with nothing.
#[tokio::test]
async fn no_range_ends_before_it_begins() {
    let Some(shop) = Shop::open(dermaga_tests::Engine::Sqlite).await else {
        return;
    };
    let (admin, customer) = (
        shop.admin().await,
        shop.customer("rentang@example.com").await,
    );
    for (client, path, first, last) in [
        (&customer, "/api/wallet/transactions", "from", "to"),
        (&customer, "/api/wallet/statement", "from", "to"),
        (&admin, "/api/admin/transactions", "from", "to"),
        (&admin, "/api/admin/coupons/statistics", "from", "to"),
        (&admin, "/api/admin/decisions", "since", "until"),
        (&admin, "/api/admin/audit", "from", "to"),
        (&admin, "/api/admin/subscriptions", "from", "to"),
    ] {
        let refused = client
            .get(&format!("{path}?{first}=2026-02-02&{last}=2026-02-01"))
            .await;
        refused.fails(400, "VALIDATION_FAILED");
        let expected = format!("must not be after `{last}`");
        assert_eq!(told(&refused), [(first, expected.as_str())], "{path}");
    }
    let body = json!({ "digest": "0".repeat(64), "since": "2026-11-01", "until": "x" });
    let refused = admin
        .post("/api/admin/coupon-types/coupon-credit-topup/backtest", body)
        .await;
    let fields: Vec<&str> = told(&refused).iter().map(|(field, _)| *field).collect();
    assert_eq!(fields, ["until"], "{:#}", refused.body);
    let refused = customer.get("/api/wallet/transactions?nope=1").await;
    let known = "is not known here; there are: cursor, from, limit, page, status, to, type";
    assert_eq!(told(&refused), [("nope", known)]);
}
