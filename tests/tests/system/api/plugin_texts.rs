//! Tests of what plugins say, in the language of those who read it.

use dermaga_runtime::{
    Texts,
    contract::{Decision, Effect, Grant},
    fixtures::CouponFixture,
};
use dermaga_tests::{Client, Shop, both_engines};
use serde_json::{Value, json};

use super::{bought::Bought, plugins::install};

both_engines!(
    Shop,
    [
        coupons_are_told_in_the_language,
        access_and_forms_are_told_in_the_language,
        texts_come_with_a_component_and_change_no_decision
    ]
);

fn in_indonesian(client: &Client) -> Client {
    client.in_language(Some("id"))
}

fn type_of<'t>(types: &'t Value, plugin: &str) -> &'t Value {
    let mut types = types.as_array().unwrap().iter();
    types.find(|one| one["plugin"] == plugin).unwrap()
}

async fn coupons_are_told_in_the_language(shop: Shop) {
    let admin = shop.admin().await;
    let types = "/api/admin/coupon-types";
    let english = admin.get(types).await.data(200);
    let indonesian = in_indonesian(&admin).get(types).await.data(200);
    for one in english.as_array().unwrap() {
        let other = type_of(&indonesian, one["plugin"].as_str().unwrap());
        assert_ne!(one["summary"], other["summary"], "{other:#}");
        let places = ["/title", "/places", "/parametersSchema/required"];
        for place in places {
            assert_eq!(one.pointer(place), other.pointer(place), "{other:#}");
        }
    }
    let top_up = type_of(&indonesian, "coupon-credit-topup");
    assert_eq!(
        top_up["summary"],
        "Memberi saldo dalam jumlah tetap di halaman dompet."
    );
    let amount = &top_up["parametersSchema"]["properties"]["amount"];
    assert_eq!(amount["title"], "Jumlah");
    assert_eq!(amount["description"], "Saldo bonus dalam rupiah.");

    let coupons = "/api/admin/coupons";
    let new = json!({ "code": "BAHASA", "plugin": "coupon-credit-topup", "parameters": { "amount": 5_000 } });
    admin.post(coupons, new).await.data(201);
    let wrong = json!({
        "code": "SALAH", "plugin": "coupon-subscription-discount",
        "parameters": { "amount": 5_000, "maxDiscount": 1_000 },
    });
    let refused = in_indonesian(&admin).post(coupons, wrong).await;
    assert_eq!(
        refused.detail("parameters/maxDiscount"),
        Some("Jumlah tetap tidak memiliki potongan terbesar: hapus salah satunya."),
        "{}",
        refused.text
    );

    let customer = shop.customer("kupon-bahasa@example.com").await;
    let code = json!({ "couponCode": "BAHASA" });
    let preview = "/api/wallet/validate-coupon";
    for (client, reason) in [
        (customer.clone(), "Rp5.000 of bonus credit."),
        (in_indonesian(&customer), "Saldo bonus Rp5.000."),
    ] {
        let told = client.post(preview, code.clone()).await.data(200);
        assert_eq!(told["reason"], reason);
    }
    let order = json!({ "planId": shop.plan("n8n", "basic").await, "couponCode": "BAHASA" });
    let refused = in_indonesian(&customer)
        .post("/api/subscriptions/quote", order)
        .await;
    let place = "Kupon ini hanya untuk: dompet; bukan untuk pembelian.";
    assert!(refused.text.contains(place), "{}", refused.text);
}

async fn access_and_forms_are_told_in_the_language(shop: Shop) {
    let bought = Bought::by(&shop, "akses@example.com", ("postgresql", 100_000)).await;
    let path = format!("/api/instances/{}/credentials", bought.instance);
    let labels = |access: &Value| -> Vec<String> {
        let fields = access["fields"].as_array().unwrap().iter();
        let labels = fields.map(|field| field["label"].as_str().unwrap().to_owned());
        labels.collect()
    };
    let english = bought.customer.get(&path).await.data(200);
    let indonesian = in_indonesian(&bought.customer).get(&path).await.data(200);
    assert_eq!(
        labels(&english),
        ["Host", "Port", "Database", "User", "Password"]
    );
    assert_eq!(
        labels(&indonesian),
        ["Host", "Port", "Basis data", "Pengguna", "Kata sandi"]
    );
    assert_eq!(
        indonesian["notes"],
        "Basis data ini tidak memiliki alamat umum: layanan Anda yang lain di sini mencapainya melalui nama host ini."
    );

    let update = format!("/api/instances/{}/update", bought.instance);
    let other = json!({ "config": { "database": "toko" } });
    let refused = in_indonesian(&bought.customer).put(&update, other).await;
    assert_eq!(
        refused.detail("config/database"),
        Some(
            "dibuat saat pertama kali dijalankan, dan namanya tetap: beli yang lain untuk nama lain"
        )
    );
    let form = "/plugin/configSchema/properties/database";
    let service = in_indonesian(shop.client())
        .get("/api/catalog/services/postgresql")
        .await
        .data(200);
    let fixed = service.pointer(form).unwrap()["x-fixed"].as_str().unwrap();
    assert!(fixed.starts_with("dibuat saat pertama"), "{fixed}");

    // Texts that a template adds to a plugin are in the template.
    let bought = Bought::by(&shop, "akses-templat@example.com", ("valkey", 100_000)).await;
    let path = format!("/api/instances/{}/credentials", bought.instance);
    let indonesian = in_indonesian(&bought.customer).get(&path).await.data(200);
    assert_eq!(
        indonesian["notes"],
        "Tidak ada alamat umum: layanan Anda yang lain di sini mencapainya melalui nama host ini."
    );
}

/// Sentences are said where they are read; what is recorded and replayed stays as the plugin said it.
async fn texts_come_with_a_component_and_change_no_decision(shop: Shop) {
    let admin = shop.admin().await;
    let texts = |english: &str, indonesian: &str| {
        let texts = [(english.to_owned(), indonesian.to_owned())];
        texts.into_iter().collect::<Texts>()
    };
    let component = |version: &str, texts: &Texts| {
        let mut fixture = CouponFixture::deciding(Decision::Grant(Grant {
            effect: Effect::Credit(1_000),
            reason: "A parcel of Rp1.000 for you.".to_owned(),
        }));
        fixture.about.id = "coupon-gift".to_owned();
        fixture.about.version = version.to_owned();
        let mut component = fixture.component();
        texts.append_to(&mut component);
        component
    };
    let wrong = texts("A parcel of {} for you.", "Bingkisan untuk Anda.");
    let refused = in_indonesian(&admin)
        .upload(component("0.9.0", &wrong))
        .await;
    let refused = refused.fails(400, "COMPONENT_REFUSED");
    assert_eq!(refused.detail("code"), Some("COMPONENT_BAD_METADATA"));
    let told = "kedua kalimat memerlukan celah yang sama, masing-masing satu kali";
    assert!(refused.text.contains(told), "{}", refused.text);

    // Those of earlier authors have no texts.
    install(&admin, component("1.0.0", &Texts::default())).await;
    let new = json!({ "code": "BINGKISAN", "plugin": "coupon-gift", "parameters": {} });
    admin.post("/api/admin/coupons", new).await.data(201);
    let first = shop.customer("satu-bingkisan@example.com").await;
    let redeem = "/api/wallet/redeem-coupon";
    let code = json!({ "couponCode": "BINGKISAN" });
    let redeemed = first.post(redeem, code.clone()).await.data(201);
    assert_eq!(redeemed["coupon"]["reason"], "A parcel of Rp1.000 for you.");

    let good = texts("A parcel of {} for you.", "Bingkisan {0} untuk Anda.");
    install(&admin, component("1.1.0", &good)).await;
    let said = "Bingkisan Rp1.000 untuk Anda.";
    let second = shop.customer("dua-bingkisan@example.com").await;
    let redeemed = in_indonesian(&second).post(redeem, code).await.data(201);
    assert_eq!(redeemed["coupon"]["reason"], said);
    let path = "/api/wallet/coupon-history";
    let english = second.get(path).await.data(200);
    assert_eq!(english[0]["reason"], "A parcel of Rp1.000 for you.");
    // Sentences that were kept before are recognised, too.
    let earlier = in_indonesian(&first).get(path).await.data(200);
    assert_eq!(earlier[0]["reason"], said);

    let id = redeemed["decisionId"].as_str().unwrap();
    let path = format!("/api/admin/decisions/{id}");
    let recorded = in_indonesian(&admin).get(&path).await.data(200);
    assert_eq!(recorded, admin.get(&path).await.data(200));
    assert_eq!(
        recorded["output"]["grant"]["reason"],
        "A parcel of Rp1.000 for you."
    );
    let replay = admin.post(&format!("{path}/replay"), json!(null)).await;
    assert_eq!(replay.data(200)["identical"], true);
}
