//! Tests of terms: several months at one price, from the quote to the end.
//!
//! N8N Basic is 50,000 a month, 5 % less for 3 months, 10 % less for 6 and 15 % less for 12; Pro is 150,000 a month,
//! 420,000 for 3 and 1,500,000 for 12.

use chrono::{DateTime, Months};
use chrono_tz::Asia::Jakarta;
use dermaga_shop::billing::renew_due;
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use crate::journeys::{
    overdue,
    renewal::{becomes, give, id_of, moment, next_period},
    upgrade::customer_with_cash,
};

pub(super) const REASON: &str = "The price list of the new year.";

// The nightly job rests: what a test renews, nothing else has renewed before.
both_engines!(
    overdue,
    [
        a_year_is_quoted_bought_and_renewed_at_its_price,
        a_quarter_is_quoted_bought_and_renewed_at_its_price,
        a_renewal_keeps_the_term_and_its_price_over_the_plans,
        an_unpaid_term_is_owed_whole_and_renewed_whole,
        a_coupon_takes_off_months_of_a_term,
        a_share_of_a_percentage_is_said_to_be_rounded_down_again,
        a_coupon_of_more_months_than_the_term_goes_on_in_the_next,
        terms_are_refused_for_their_reason,
        administrators_edit_terms_over_the_template
    ]
);

/// Buys N8N for a term and waits for its delivery; returns the purchase.
pub(super) async fn buy(
    shop: &Shop,
    customer: &Client,
    (plan, months): (&str, u32),
    coupon: Option<&str>,
) -> Value {
    let plan = shop.plan("n8n", plan).await;
    let order = json!({ "planId": plan, "termMonths": months, "couponCode": coupon });
    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(customer, instance, "RUNNING").await;
    bought
}

pub(super) fn later(from: DateTime<chrono::Utc>, months: u32) -> DateTime<chrono::Utc> {
    let there = from.with_timezone(&Jakarta) + Months::new(months);
    there.to_utc()
}

pub(super) fn amounts(lines: &Value) -> Vec<i64> {
    let lines = lines.as_array().unwrap().iter();
    lines.map(|line| line["amount"].as_i64().unwrap()).collect()
}

pub(super) async fn balance(client: &Client) -> i64 {
    let info = client.get("/api/wallet/info").await.data(200);
    info["totalBalance"].as_i64().unwrap()
}

async fn basic_path(shop: &Shop) -> String {
    let service = shop
        .client()
        .get("/api/catalog/services/n8n")
        .await
        .data(200);
    let plan = shop.plan("n8n", "basic").await;
    format!(
        "/api/admin/services/{}/plans/{plan}",
        service["id"].as_str().unwrap()
    )
}

async fn a_year_is_quoted_bought_and_renewed_at_its_price(shop: Shop) {
    let view = shop.plan_view("n8n", "basic").await;
    let terms = json!([
        { "months": 1, "price": 50_000, "fullPrice": 50_000 },
        { "months": 3, "price": 142_500, "fullPrice": 150_000 },
        { "months": 6, "price": 270_000, "fullPrice": 300_000 },
        { "months": 12, "price": 510_000, "fullPrice": 600_000 },
    ]);
    assert_eq!(view["terms"], terms);
    let customer = customer_with_cash(&shop, "tahun@example.com", 510_000 * 2).await;
    let mut order = json!({ "planId": view["id"], "termMonths": 12 });
    let quote = customer
        .post("/api/subscriptions/quote", order.clone())
        .await
        .data(200);
    assert_eq!(
        (&quote["termMonths"], &quote["due"]),
        (&json!(12), &json!(510_000))
    );
    assert_eq!(amounts(&quote["lines"]), [600_000, -90_000], "{quote:#}");
    let reason = "The plan costs Rp510.000 for 12 months, in place of Rp600.000.";
    assert_eq!(quote["lines"][1]["reason"], reason);
    let days = quote["days"].as_i64().unwrap();
    assert!((365..=366).contains(&days), "{days}");
    order["quoteId"] = quote["id"].clone();
    let mut other = order.clone();
    other["termMonths"] = json!(6);
    let refused = customer.post("/api/subscriptions", other).await;
    assert!(
        refused
            .fails(400, "VALIDATION_FAILED")
            .detail("quoteId")
            .is_some()
    );

    let bought = customer.post("/api/subscriptions", order).await.data(201);
    let instance = bought["instanceId"].as_str().unwrap();
    shop.instance_becomes(&customer, instance, "RUNNING").await;
    assert_eq!(bought["charged"], 510_000);
    let seen = &bought["subscription"];
    let kept = (
        &seen["termMonths"],
        &seen["termPrice"],
        &seen["monthlyPrice"],
    );
    assert_eq!(kept, (&json!(12), &json!(510_000), &json!(50_000)));
    let begun = moment(&seen["periodStart"]);
    assert_eq!(moment(&seen["periodEnd"]), later(begun, 12));
    let id = id_of(&bought);
    let info = customer
        .get(&format!("/api/subscriptions/{id}/billing-info"))
        .await
        .data(200);
    assert_eq!(
        (&info["termMonths"], &info["due"]),
        (&json!(12), &json!(510_000))
    );

    let renewed = next_period(&shop, id).await;
    assert_eq!(moment(&renewed["periodEnd"]), later(begun, 24));
    let period = &renewed["periods"][0];
    let charged = (&period["months"], &period["price"], &period["paidCash"]);
    assert_eq!(charged, (&json!(12), &json!(510_000), &json!(510_000)));
    assert_eq!(
        renew_due(&shop.state().subscriptions).await.unwrap().items,
        0,
        "charged twice"
    );
    let customer = shop.sign_in("tahun@example.com").await;
    assert_eq!(balance(&customer).await, 0);
    let newest = &customer.get("/api/wallet/transactions").await.data(200)[0];
    let description = newest["description"].as_str().unwrap();
    assert!(
        description.ends_with("period 2, 12 months"),
        "{description}"
    );
    shop.books_balance().await;
}

/// A discount of the months' price, and a price of the term's own.
async fn a_quarter_is_quoted_bought_and_renewed_at_its_price(shop: Shop) {
    for (plan, price, full) in [("basic", 142_500, 150_000), ("pro", 420_000, 450_000)] {
        let email = format!("{plan}@example.com");
        let customer = customer_with_cash(&shop, &email, price * 2).await;
        let order = json!({ "planId": shop.plan("n8n", plan).await, "termMonths": 3 });
        let quote = customer
            .post("/api/subscriptions/quote", order)
            .await
            .data(200);
        assert_eq!(
            (&quote["termMonths"], &quote["due"]),
            (&json!(3), &json!(price))
        );
        assert_eq!(amounts(&quote["lines"]), [full, price - full], "{quote:#}");
        let days = quote["days"].as_i64().unwrap();
        assert!((89..=92).contains(&days), "{days}");
        let bought = buy(&shop, &customer, (plan, 3), None).await;
        assert_eq!(bought["charged"], price);
        let begun = moment(&bought["subscription"]["periodStart"]);
        let end = &bought["subscription"]["periodEnd"];
        assert_eq!(moment(end), later(begun, 3));

        let renewed = next_period(&shop, id_of(&bought)).await;
        assert_eq!(moment(&renewed["periodEnd"]), later(begun, 6));
        let period = &renewed["periods"][0];
        let charged = (&period["months"], &period["price"], &period["paidCash"]);
        assert_eq!(charged, (&json!(3), &json!(price), &json!(price)));
        let customer = shop.sign_in(&email).await;
        assert_eq!(balance(&customer).await, 0);
    }
    shop.books_balance().await;
}

/// The plan becomes dearer and sells no terms any more; the customer renews as bought. A lower price of a month
/// keeps the share of the term.
async fn a_renewal_keeps_the_term_and_its_price_over_the_plans(shop: Shop) {
    let customer = customer_with_cash(&shop, "tetap@example.com", 1_000_000).await;
    let bought = buy(&shop, &customer, ("basic", 6), None).await;
    let id = id_of(&bought);
    assert_eq!(bought["charged"], 270_000);
    let edit = json!({ "monthlyPrice": 80_000, "terms": [], "reason": REASON });
    shop.admin()
        .await
        .put(&basic_path(&shop).await, edit)
        .await
        .data(200);
    let renewed = next_period(&shop, id).await;
    assert_eq!(renewed["periods"][0]["price"], 270_000);
    let path = format!("/api/admin/subscriptions/{id}");
    let cheaper = json!({ "monthlyPrice": 40_000, "reason": REASON });
    let edited = shop.admin().await.put(&path, cheaper).await.data(200);
    assert_eq!(edited["termPrice"], 216_000);
    let renewed = next_period(&shop, id).await;
    assert_eq!(
        (
            &renewed["periods"][0]["price"],
            &renewed["periods"][0]["months"]
        ),
        (&json!(216_000), &json!(6))
    );
    shop.books_balance().await;
}

async fn an_unpaid_term_is_owed_whole_and_renewed_whole(shop: Shop) {
    let customer = customer_with_cash(&shop, "kurang@example.com", 510_000 + 50_000).await;
    let bought = buy(&shop, &customer, ("basic", 12), None).await;
    let (id, user) = (
        id_of(&bought),
        bought["subscription"]["periodStart"].clone(),
    );
    let unpaid = next_period(&shop, id).await;
    assert_eq!(
        (&unpaid["status"], &unpaid["unpaid"]),
        (&json!("PAST_DUE"), &json!(510_000))
    );
    let customer = shop.sign_in("kurang@example.com").await;
    let profile = customer.get("/api/auth/profile").await.data(200);
    give(&shop, profile["id"].as_str().unwrap(), 460_000).await;
    let paid = becomes(&shop, id, "ACTIVE").await;
    assert_eq!(moment(&paid["periodEnd"]), later(moment(&user), 24));
    assert_eq!(
        (&paid["periods"][0]["price"], balance(&customer).await),
        (&json!(510_000), 0)
    );
    shop.books_balance().await;
}

async fn coupon(shop: &Shop, body: Value) {
    let admin = shop.admin().await;
    admin.post("/api/admin/coupons", body).await.data(201);
}

/// One free month of twelve, half of three months of twelve, and a fixed amount for each month.
async fn a_coupon_takes_off_months_of_a_term(shop: Shop) {
    let free = json!({ "code": "SEBULAN", "plugin": "coupon-free-service", "parameters": { "periods": 1 } });
    let half = json!({ "code": "SETENGAH", "plugin": "coupon-subscription-discount", "lasts": 3,
        "parameters": { "percent": 50 } });
    let once = json!({ "code": "SEKALI", "plugin": "coupon-subscription-discount",
        "parameters": { "amount": 5_000 } });
    let ever = json!({ "code": "SELALU", "plugin": "coupon-subscription-discount", "lasts": "forever",
        "parameters": { "amount": 5_000 } });
    for (body, discount, left, renewal) in [
        (free, 42_500, json!(0), 510_000),
        (half, 63_750, json!(0), 510_000),
        (once, 5_000, json!(0), 510_000),
        (ever, 60_000, Value::Null, 450_000),
    ] {
        let code = body["code"].as_str().unwrap().to_owned();
        coupon(&shop, body).await;
        let email = format!("{}@example.com", code.to_lowercase());
        let customer = customer_with_cash(&shop, &email, 510_000).await;
        let plan = shop.plan("n8n", "basic").await;
        let order = json!({ "planId": plan, "termMonths": 12, "couponCode": code });
        let quote = customer
            .post("/api/subscriptions/quote", order)
            .await
            .data(200);
        assert_eq!(
            (&quote["discount"], &quote["coupon"]["amount"]),
            (&json!(discount), &json!(discount)),
            "{code}"
        );
        let bought = buy(&shop, &customer, ("basic", 12), Some(&code)).await;
        assert_eq!(bought["charged"], 510_000 - discount, "{code}");
        assert_eq!(bought["subscription"]["couponPeriodsLeft"], left, "{code}");
        let reason = bought["lines"][2]["reason"].as_str().unwrap();
        let is_explained = reason.ends_with("of the 12 months.");
        assert_eq!(is_explained, left == 0, "{reason}");
        let path = format!("/api/subscriptions/{}/billing-info", id_of(&bought));
        assert_eq!(
            customer.get(&path).await.data(200)["due"],
            renewal,
            "{code}"
        );
    }
    shop.books_balance().await;
}

/// 33 % of 500,103 are 165,033 whole rupiah, and eleven twelfths of these 151,280.
async fn a_share_of_a_percentage_is_said_to_be_rounded_down_again(shop: Shop) {
    let terms = json!([{ "months": 12, "price": 500_103 }]);
    let edit = json!({ "terms": terms, "reason": REASON });
    let path = basic_path(&shop).await;
    shop.admin().await.put(&path, edit).await.data(200);
    let third = json!({ "code": "SEPERTIGA", "plugin": "coupon-subscription-discount", "lasts": 11,
        "parameters": { "percent": 33 } });
    coupon(&shop, third).await;
    let customer = customer_with_cash(&shop, "bulat@example.com", 500_103).await;
    let plan = shop.plan("n8n", "basic").await;
    for (language, months, off, again) in [
        ("en", 12, 151_280, Some("a second time for its share")),
        ("id", 12, 151_280, Some("sekali lagi untuk bagian bulannya")),
        ("en", 1, 16_500, None),
    ] {
        let order = json!({ "planId": plan, "termMonths": months, "couponCode": "SEPERTIGA" });
        let customer = customer.in_language(Some(language));
        let quote = customer
            .post("/api/subscriptions/quote", order)
            .await
            .data(200);
        assert_eq!(amounts(&quote["lines"]).last(), Some(&-off), "{quote:#}");
        let rounding = quote["rounding"].as_str().unwrap();
        let is_told = again.is_some_and(|again| rounding.contains(again));
        assert_eq!(is_told, again.is_some(), "{rounding}");
        let once = "rounded down once to whole rupiah; the lines";
        assert_eq!(rounding.contains(once), again.is_none(), "{rounding}");
    }
}

/// Eight free months: six of the first term, two of the second, none of the third.
async fn a_coupon_of_more_months_than_the_term_goes_on_in_the_next(shop: Shop) {
    let free = json!({ "code": "DELAPAN", "plugin": "coupon-free-service", "parameters": { "periods": 8 } });
    coupon(&shop, free).await;
    let customer = customer_with_cash(&shop, "delapan@example.com", 450_000).await;
    let bought = buy(&shop, &customer, ("basic", 6), Some("DELAPAN")).await;
    let id = id_of(&bought);
    assert_eq!(
        (
            &bought["charged"],
            &bought["subscription"]["couponPeriodsLeft"]
        ),
        (&json!(0), &json!(2))
    );
    let renewed = next_period(&shop, id).await;
    assert_eq!(
        (
            &renewed["periods"][0]["discount"],
            &renewed["couponPeriodsLeft"]
        ),
        (&json!(90_000), &json!(0))
    );
    let renewed = next_period(&shop, id).await;
    assert_eq!(
        (&renewed["periods"][0]["discount"], &renewed["status"]),
        (&json!(0), &json!("ACTIVE"))
    );
    shop.books_balance().await;
}

async fn terms_are_refused_for_their_reason(shop: Shop) {
    let customer = customer_with_cash(&shop, "tolak@example.com", 2_000_000).await;
    let basic = shop.plan("n8n", "basic").await;
    let pro = shop.plan("n8n", "pro").await;
    let monthly = shop.plan("postgresql", "basic").await;
    for (plan, months, why) in [
        (
            &pro,
            6,
            "must be one of 1, 3, 12: the terms that Pro is sold for, in months",
        ),
        (&monthly, 12, "must be 1: Basic is sold by the month"),
    ] {
        for path in ["/quote", "/validate", ""] {
            let order = json!({ "planId": plan, "termMonths": months });
            let refused = customer
                .post(&format!("/api/subscriptions{path}"), order)
                .await;
            let detail = refused.fails(400, "VALIDATION_FAILED").detail("termMonths");
            assert_eq!(detail, Some(why));
        }
    }
    for months in [json!(0), json!(-1), json!(13), json!("12"), json!(1.5)] {
        let order = json!({ "planId": basic, "termMonths": months });
        let refused = customer.post("/api/subscriptions", order).await;
        assert!(
            refused.status == 400 || refused.status == 422,
            "{months}: {}",
            refused.status
        );
    }
    assert_eq!(balance(&customer).await, 2_000_000);
    // Pro is not sold for 6 months.
    let bought = buy(&shop, &customer, ("basic", 6), None).await;
    let id = id_of(&bought);
    let wanted = json!({ "planId": pro });
    let why = "must be a plan that is sold for 6 months, as the present one is";
    let refused = customer
        .put(&format!("/api/subscriptions/{id}/upgrade"), wanted)
        .await;
    assert_eq!(
        refused.fails(400, "VALIDATION_FAILED").detail("planId"),
        Some(why)
    );
    for at in ["now", "period_end"] {
        let wanted = json!({ "planId": pro, "at": at, "reason": REASON });
        let path = format!("/api/admin/subscriptions/{id}/upgrade");
        let refused = shop.admin().await.put(&path, wanted).await;
        assert_eq!(
            refused.fails(400, "VALIDATION_FAILED").detail("planId"),
            Some(why)
        );
    }
}

async fn administrators_edit_terms_over_the_template(shop: Shop) {
    let admin = shop.admin().await;
    let path = basic_path(&shop).await;
    let edit = |terms: Value| admin.put(&path, json!({ "terms": terms, "reason": REASON }));
    for wrong in [
        json!([{ "months": 12, "price": 600_001 }]),
        json!([{ "months": 12, "price": 1, "discountPercent": 5 }]),
        json!([{ "months": 12 }]),
        json!([{ "months": 4, "price": 1 }]),
        json!([{ "months": 3, "price": 1 }, { "months": 3, "price": 2 }]),
        json!([{ "months": 3, "discountPercent": 0 }]),
        json!([{ "months": 3, "price": 1, "colour": "red" }]),
    ] {
        edit(wrong).await.fails(400, "VALIDATION_FAILED");
    }
    // A month that is cheaper than a term of it has to be.
    let cheap = json!({ "monthlyPrice": 10_000, "terms": [{ "months": 3, "price": 40_000 }], "reason": REASON });
    admin
        .put(&path, cheap)
        .await
        .fails(400, "VALIDATION_FAILED");
    let edited =
        edit(json!([{ "months": 12, "discountPercent": 50 }, { "months": 3, "price": 120_000 }]))
            .await;
    let edited = edited.data(200);
    assert_eq!(edited["edited"], json!(["terms"]));
    let months: Vec<_> = edited["terms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|term| term["months"].clone())
        .collect();
    assert_eq!(months, [3, 12]);
    let reload = admin
        .post(
            "/api/admin/catalog/reload",
            json!({ "reason": "The templates were edited." }),
        )
        .await
        .data(200);
    assert_eq!(
        (&reload["changes"], &reload["kept"][0]["field"]),
        (&json!([]), &json!("terms"))
    );
    let sold = shop.plan_view("n8n", "basic").await;
    assert_eq!(sold["terms"][1]["price"], 120_000);
    assert_eq!(sold["terms"][2]["price"], 300_000);
    let service = path.split("/plans/").next().unwrap();
    let reset = json!({ "reason": REASON });
    admin
        .post(&format!("{service}/reset"), reset)
        .await
        .data(200);
    assert_eq!(
        shop.plan_view("n8n", "basic").await["terms"][3]["price"],
        510_000
    );
    let changed = admin
        .get("/api/admin/audit?act=plan.changed")
        .await
        .data(200);
    assert_eq!(changed[0]["details"]["fields"][0]["field"], "terms");
}
