//! Headers of answers: what browsers may do with them, and who may keep them.

use dermaga_tests::{Answer, Engine, Shop, both_engines};
use reqwest::Method;
use serde_json::json;

use crate::settings::empty_shop;

both_engines!(
    Shop,
    [
        every_answer_has_the_headers_of_security,
        only_what_is_the_same_for_all_may_be_kept,
    ]
);

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let value = answer.headers.get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

async fn every_answer_has_the_headers_of_security(shop: Shop) {
    let customer = shop.customer("kepala@example.com").await;
    let login = json!({ "email": "kepala@example.com", "password": "salah sekali" });
    for answer in [
        shop.client().get("/api/catalog/services").await,
        shop.client().get("/api/nowhere").await,
        shop.client().get("/healthz").await,
        shop.client().get("/api/openapi.json").await,
        shop.client().get("/api/docs/").await,
        shop.client().get("/api/docs/swagger-ui.css").await,
        shop.client().get("/api/wallet/info").await,
        shop.client().post("/api/auth/login", login).await,
        shop.client().delete("/api/auth/login").await,
        customer.get("/api/wallet/info").await,
    ] {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(header(&answer, name), value, "{}", answer.text);
        }
        let policy = header(&answer, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!header(&answer, "cache-control").is_empty());
        assert!(!header(&answer, "x-request-id").is_empty());
        // The shop has no address that begins with https://.
        assert_eq!(header(&answer, "strict-transport-security"), "");
    }
}

async fn only_what_is_the_same_for_all_may_be_kept(shop: Shop) {
    let customer = shop.customer("simpan@example.com").await;
    for (answer, status, kept) in [
        (
            shop.client().get("/api/catalog/services").await,
            200,
            "public, no-cache",
        ),
        (
            customer.get("/api/catalog/featured").await,
            200,
            "public, no-cache",
        ),
        (
            shop.client().get("/api/openapi.json").await,
            200,
            "public, no-cache",
        ),
        (
            shop.client().get("/api/docs/swagger-ui.css").await,
            200,
            "public, no-cache",
        ),
        (
            shop.client().get("/api/catalog/services/nothing").await,
            404,
            "no-store",
        ),
        (
            shop.client().delete("/api/catalog/services").await,
            405,
            "no-store",
        ),
        (customer.get("/api/wallet/info").await, 200, "no-store"),
        (customer.get("/api/auth/profile").await, 200, "no-store"),
        (shop.client().get("/readyz").await, 200, "no-store"),
        (shop.client().get("/metrics").await, 200, "no-store"),
    ] {
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(header(&answer, "cache-control"), kept, "{}", answer.text);
    }
}

/// Pages run only their own scripts: neither has one in its text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_says_what_it_may_load() {
    let shop = empty_shop(&[("DERMAGA_PAYMENTS_SANDBOX", "true")]).await;
    let docs = shop.client().get("/api/docs/").await;
    let policy = header(&docs, "content-security-policy");
    assert!(policy.contains("script-src 'self';"), "{policy}");
    assert!(policy.contains("connect-src 'self';"), "{policy}");
    assert!(!docs.text.contains("<script>"), "{}", docs.text);
    let missing = shop.client().get("/api/docs/nope").await;
    missing.fails(404, "ROUTE_NOT_FOUND");
    let page = "/sandbox/midtrans/snap/v2/vtweb/unknown";
    let page = shop.client().get(page).await;
    let policy = header(&page, "content-security-policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains("script-src"), "{policy}");
    assert!(!page.text.contains("<script"), "{}", page.text);
    // Its button is a form, which no browser sends where the policy forbids all forms.
    let address = format!("/api/notifications/unsubscribe/{}", "0".repeat(40));
    let unsubscribe = shop.client().get(&address).await;
    assert_eq!(unsubscribe.status, 200, "{}", unsubscribe.text);
    let policy = header(&unsubscribe, "content-security-policy");
    assert_eq!(
        policy,
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    assert!(unsubscribe.text.contains("<form method=\"post\">"));
    for page in [docs, page, unsubscribe] {
        assert!(header(&page, "content-type").starts_with("text/html"));
        assert_eq!(header(&page, "cross-origin-opener-policy"), "same-origin");
    }
}

/// Browsers are told to stay with https only where the shop is reached by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_transport_follows_the_address_of_the_shop() {
    for (url, expected) in [
        ("https://toko.example.com", "max-age=31536000"),
        ("http://toko.example.com", ""),
    ] {
        let shop = empty_shop(&[("SHOP_URL", url)]).await;
        let answer = shop.client().get("/api/catalog/services").await;
        assert_eq!(header(&answer, "strict-transport-security"), expected);
    }
}

const LIST: &str = "/api/catalog/categories";

/// Asks for a list that may be known already.
async fn known(shop: &Shop, method: Method, path: &str, tag: &str) -> Answer {
    let request = shop.client().request(method, path);
    shop.client()
        .send(request.header("if-none-match", tag))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_not_sent_again() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    for path in [LIST, "/api/openapi.json", "/api/docs/swagger-ui.css"] {
        let first = shop.client().get(path).await;
        let tag = header(&first, "etag").to_owned();
        assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");
        let again = shop.client().get(path).await;
        assert_eq!(header(&again, "etag"), tag, "the moment is no part of it");
        for claim in [
            tag.clone(),
            tag.trim_start_matches("W/").to_owned(),
            format!("\"other\", {tag}"),
            "*".to_owned(),
        ] {
            let same = known(&shop, Method::GET, path, &claim).await;
            assert_eq!((same.status, same.text.as_str()), (304, ""), "{claim}");
            assert_eq!(header(&same, "etag"), tag);
            assert_eq!(header(&same, "cache-control"), "public, no-cache");
            assert_eq!(header(&same, "content-type"), "");
        }
        let head = known(&shop, Method::HEAD, path, &tag).await;
        assert_eq!(head.status, 304);
        for claim in ["\"other\"", "W/\"\"", "x"] {
            let sent = known(&shop, Method::GET, path, claim).await;
            assert_eq!((sent.status, sent.text.is_empty()), (200, false), "{claim}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_changed_is_sent_and_what_is_personal_always() {
    let shop = Shop::open(Engine::Sqlite).await.unwrap();
    let tag = header(&shop.client().get(LIST).await, "etag").to_owned();
    let category = json!({ "slug": "baru", "name": "Baru", "description": "Yang baru.", "reason": "A test of tags." });
    shop.admin()
        .await
        .post("/api/admin/categories", category)
        .await
        .data(201);
    let changed = known(&shop, Method::GET, LIST, &tag).await;
    assert_eq!(changed.status, 200);
    assert_ne!(header(&changed, "etag"), tag);
    let missing = known(&shop, Method::GET, "/api/catalog/services/nothing", "*").await;
    missing.fails(404, "NOT_FOUND");
    let customer = shop.customer("pribadi@example.com").await;
    let request = customer.request(Method::GET, "/api/wallet/info");
    let personal = customer.send(request.header("if-none-match", "*")).await;
    assert_eq!((personal.status, header(&personal, "etag")), (200, ""));
}
