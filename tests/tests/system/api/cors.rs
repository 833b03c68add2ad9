//! Pages of other sites: those that are listed may call, and no others.

use dermaga::config::{self, Sources};
use dermaga_tests::{Answer, Shop};
use reqwest::Method;

use crate::settings::empty_shop;

const SITE: &str = "https://toko.example.com";
const READ: &str = "/api/catalog/categories";

/// Asks as a page of a site does.
async fn from(shop: &Shop, site: &str, method: Method, path: &str) -> Answer {
    let request = shop.client().request(method.clone(), path);
    let request = request.header("origin", site);
    let request = if method == Method::OPTIONS {
        request
            .header("access-control-request-method", "PUT")
            .header("access-control-request-headers", "authorization")
    } else {
        request
    };
    shop.client().send(request).await
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    let value = answer.headers.get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

fn says_nothing(answer: &Answer) {
    let names = answer.headers.keys();
    let said: Vec<&str> = names
        .map(|name| name.as_str())
        .filter(|name| name.starts_with("access-control-"))
        .collect();
    assert!(said.is_empty(), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_pages_of_sites_that_are_listed_may_call() {
    let sites = format!("{SITE}, http://localhost:5173");
    let shop = empty_shop(&[("DERMAGA_CORS_ORIGINS", &sites)]).await;
    for site in [SITE, "http://localhost:5173"] {
        for (path, status) in [
            (READ, 200),
            ("/api/wallet/info", 401),
            ("/api/nowhere", 404),
        ] {
            let answer = from(&shop, site, Method::GET, path).await;
            assert_eq!(answer.status, status);
            assert_eq!(header(&answer, "access-control-allow-origin"), site);
            let exposed = header(&answer, "access-control-expose-headers");
            assert!(exposed.contains("ratelimit") && exposed.contains("etag"));
            let vary = answer.headers.get_all("vary");
            let mut vary = vary.iter().map(|names| names.to_str().unwrap());
            assert!(vary.any(|names| names.contains("origin")));
            let credentials = answer.headers.get("access-control-allow-credentials");
            assert!(credentials.is_none());
        }
        let asked = from(&shop, site, Method::OPTIONS, "/api/wallet/info").await;
        assert_eq!(asked.status, 200);
        assert_eq!(header(&asked, "access-control-allow-origin"), site);
        assert!(header(&asked, "access-control-allow-methods").contains("PUT"));
        let headers = header(&asked, "access-control-allow-headers");
        assert!(headers.contains("authorization") && headers.contains("idempotency-key"));
        assert!(asked.headers.get("ratelimit").is_none(), "not counted");
    }
    for site in [
        "https://toko.example.com.jahat.example",
        "http://toko.example.com",
        "https://jahat.example",
        "null",
        "*",
    ] {
        says_nothing(&from(&shop, site, Method::GET, READ).await);
        says_nothing(&from(&shop, site, Method::OPTIONS, READ).await);
    }
    says_nothing(&shop.client().get(READ).await);
    let wrong = [("DERMAGA_CORS_ORIGINS".to_owned(), "*".to_owned())];
    let sources = Sources {
        environment: wrong.into(),
        ..Sources::default()
    };
    let refused = config::load(sources).unwrap_err().to_string();
    assert!(
        refused.contains("DERMAGA_CORS_ORIGINS must be"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_setting_no_page_may_call() {
    let shop = empty_shop(&[]).await;
    says_nothing(&from(&shop, SITE, Method::GET, READ).await);
    let asked = from(&shop, SITE, Method::OPTIONS, READ).await;
    says_nothing(&asked);
    asked.fails(405, "METHOD_NOT_ALLOWED");
}
