//! Headers that every answer has: what a browser may do with it, and who may keep it.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};

const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// Policy of what is no page: a browser that shows it all the same loads and runs nothing.
const CSP_OF_DATA: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Policy of the page that shows the API's document: its own scripts and requests, and the styles that these
/// write.
const CSP_OF_DOCS: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";
const DOCS: &str = "/api/docs";
const DOCUMENT: &str = "/api/openapi.json";
const CATALOGUE: &str = "/api/catalog/";
/// A year without the unencrypted address, for browsers that came by the encrypted one.
const STRICT_TRANSPORT: &str = "max-age=31536000";

/// Value of `Cache-Control` for what is the same for everybody: it may be kept, and is asked about each time.
pub(super) const FOR_ALL: &str = "public, no-cache";
/// Value for everything else, which may be personal.
pub(super) const FOR_ONE: &str = "no-store";

/// Headers of this shop's answers.
#[derive(Debug, Clone, Copy)]
pub struct AnswerHeaders {
    is_encrypted: bool,
}

impl AnswerHeaders {
    /// Returns the headers of a shop with this public address.
    pub fn of(shop_url: Option<&str>) -> Self {
        let is_encrypted = shop_url.is_some_and(|url| url.starts_with("https://"));
        Self { is_encrypted }
    }
}

/// Adds the headers, beside those that a handler chose.
pub async fn set_headers(
    State(shop): State<AnswerHeaders>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_docs = path.starts_with(DOCS);
    let is_for_all = is_read(request.method()) && is_public(path);
    let mut response = next.run(request).await;
    let is_good = matches!(response.status(), StatusCode::OK | StatusCode::NOT_MODIFIED);
    let headers = response.headers_mut();
    // Values are checked byte by byte where they are made: here by the compiler.
    let cache = if is_for_all && is_good {
        const { HeaderValue::from_static(FOR_ALL) }
    } else {
        const { HeaderValue::from_static(FOR_ONE) }
    };
    let policy = if is_docs {
        const { HeaderValue::from_static(CSP_OF_DOCS) }
    } else {
        const { HeaderValue::from_static(CSP_OF_DATA) }
    };
    let (no_sniffing, no_referrer, no_frames, same_origin) = const {
        (
            HeaderValue::from_static("nosniff"),
            HeaderValue::from_static("no-referrer"),
            HeaderValue::from_static("DENY"),
            HeaderValue::from_static("same-origin"),
        )
    };
    for (name, value) in [
        (header::CACHE_CONTROL, cache),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, no_sniffing),
        (header::REFERRER_POLICY, no_referrer),
        (header::X_FRAME_OPTIONS, no_frames),
        (CROSS_ORIGIN_RESOURCE_POLICY, same_origin),
    ] {
        headers.entry(name).or_insert(value);
    }
    if is_page(headers) {
        let alone = HeaderValue::from_static("same-origin");
        headers.entry(CROSS_ORIGIN_OPENER_POLICY).or_insert(alone);
    }
    if shop.is_encrypted {
        let strict = HeaderValue::from_static(STRICT_TRANSPORT);
        headers.insert(header::STRICT_TRANSPORT_SECURITY, strict);
    }
    response
}

/// Returns true for requests that change nothing and whose answers may be kept.
pub(super) fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Returns true for what is the same for everybody.
pub(super) fn is_public(path: &str) -> bool {
    path == DOCUMENT || path.starts_with(CATALOGUE) || path.starts_with(DOCS)
}

fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}
