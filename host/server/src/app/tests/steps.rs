//! Order of the steps around all routes, as the headers of answers show it.

use std::time::Duration;

use axum::routing::get;
use dermaga_shop::rates::{Rates, Settings};

use super::*;

/// Site whose pages may call.
const SITE: &str = "https://toko.example.com";
/// Requests that are admitted.
const ADMITTED: u32 = 5;

/// A shop with small limits, and two routes more that fail.
async fn strict() -> (tempfile::TempDir, Router) {
    let slow = async || {
        tokio::time::sleep(Duration::from_secs(3600)).await;
    };
    let panics = async || -> () { panic!("boom") };
    let (folder, app) = shop().await;
    let mut config = (*app.state.config).clone();
    config.http.request_timeout = Duration::from_secs(1);
    config.http.origins = SITE.parse().unwrap();
    let limits = Settings {
        catalogue: ADMITTED,
        ..Settings::default()
    };
    let state = app.state.with(|shared| {
        shared.config = config.into();
        shared.rates = Arc::new(Rates::new(shared.db.clone(), limits));
    });
    let extra = Router::new()
        .route("/slow", get(slow))
        .route("/panics", get(panics));
    let (routes, kinds) = routes(&state);
    (folder, surround(extra.merge(routes), kinds, state))
}

fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    });
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn an_answer_has_the_headers_of_the_steps_that_it_passed() {
    let (_folder, router) = strict().await;
    let read = "/api/catalog/categories";
    let packed = || {
        request(
            Method::POST,
            "/api/auth/login",
            &[("content-encoding", "gzip")],
        )
    };
    let asks = [("origin", SITE), ("access-control-request-method", "GET")];
    let allowed = "access-control-allow-origin";
    // A tag is compared with what a route answers, and with nothing else.
    let known = [("if-none-match", "*")];
    let unknown_site = [("origin", "https://other.example.com")];
    for (request, status, has, lacks) in [
        (
            request(Method::GET, read, &known),
            304,
            vec!["etag", "ratelimit"],
            vec!["content-type", allowed],
        ),
        (
            packed(),
            415,
            vec!["accept-encoding", "ratelimit"],
            vec!["etag", "retry-after"],
        ),
        // What ends the work of a handler is around the count of requests.
        (
            request(Method::GET, "/slow", &unknown_site),
            408,
            vec![],
            vec!["ratelimit", allowed],
        ),
        (
            request(Method::GET, "/panics", &asks),
            500,
            vec![allowed],
            vec!["ratelimit"],
        ),
        (
            request(Method::GET, "/nowhere", &known),
            404,
            vec!["ratelimit"],
            vec!["etag"],
        ),
        // The count is before a look at the request.
        (
            packed(),
            429,
            vec!["ratelimit", "retry-after"],
            vec!["accept-encoding"],
        ),
        (
            request(Method::GET, read, &known),
            429,
            vec!["ratelimit"],
            vec!["etag"],
        ),
        // Neither comes to the count.
        (
            request(Method::OPTIONS, read, &asks),
            200,
            vec![allowed],
            vec!["ratelimit"],
        ),
        (
            request(Method::OPTIONS, "*", &asks),
            204,
            vec!["allow"],
            vec!["ratelimit", allowed],
        ),
        (
            request(Method::GET, "/healthz", &known),
            200,
            vec![],
            vec!["ratelimit", "etag"],
        ),
    ] {
        let asked = format!("{} {} for {status}", request.method(), request.uri());
        let (answer, headers, body) = send(&router, request).await;
        assert_eq!(answer.as_u16(), status, "{asked}: {body}");
        for name in has {
            assert!(headers.contains_key(name), "{asked} lacks {name}");
        }
        for name in lacks {
            assert!(!headers.contains_key(name), "{asked} has {name}");
        }
        assert!(headers.contains_key("x-request-id"), "{asked}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{asked}");
        let is_kept = headers["cache-control"] != "no-store";
        assert_eq!(is_kept, status == 304, "{asked}");
    }
}
