//! Headers that every answer has: what a browser may do with it, and who may keep it.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
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

    /// Returns the headers of the answer to a request.
    pub fn for_request(self, request: &Request) -> ChosenHeaders {
        let path = request.uri().path();
        ChosenHeaders {
            is_encrypted: self.is_encrypted,
            is_docs: path.starts_with(DOCS),
            is_for_all: is_public_read(request),
        }
    }
}

/// Headers of one answer, as far as its request decides.
#[derive(Debug, Clone, Copy)]
pub struct ChosenHeaders {
    is_encrypted: bool,
    is_docs: bool,
    is_for_all: bool,
}

/// Adds the headers, beside those that a handler chose.
pub fn set_headers(chosen: ChosenHeaders, response: &mut Response) {
    let is_good = matches!(response.status(), StatusCode::OK | StatusCode::NOT_MODIFIED);
    let headers = response.headers_mut();
    // Values are checked byte by byte where they are made: here by the compiler.
    let cache = if chosen.is_for_all && is_good {
        const { HeaderValue::from_static(FOR_ALL) }
    } else {
        const { HeaderValue::from_static(FOR_ONE) }
    };
    let policy = if chosen.is_docs {
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
    if chosen.is_encrypted {
        let strict = HeaderValue::from_static(STRICT_TRANSPORT);
        headers.insert(header::STRICT_TRANSPORT_SECURITY, strict);
    }
}

/// Returns true for requests that change nothing, and read what is the same for everybody.
pub(super) fn is_public_read(request: &Request) -> bool {
    let path = request.uri().path();
    let is_public = path == DOCUMENT || path.starts_with(CATALOGUE) || path.starts_with(DOCS);
    is_public && matches!(*request.method(), Method::GET | Method::HEAD)
}

fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}
