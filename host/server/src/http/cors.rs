//! Pages of other sites that may call the API from a browser.

use std::{str::FromStr, time::Duration};

use axum::{
    http::{HeaderName, HeaderValue, Method, Uri, header},
    response::Response,
};
use tower_http::cors::CorsLayer;

/// Time for which a browser remembers what it may send.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Headers of the shop that a page may send.
const SENT: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::ACCEPT_LANGUAGE,
    header::IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("prefer"),
    HeaderName::from_static("x-request-id"),
];
/// Headers of answers that a page may read.
const READ: [HeaderName; 8] = [
    header::CONTENT_DISPOSITION,
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    HeaderName::from_static("idempotency-replayed"),
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
    HeaderName::from_static("x-request-id"),
];
const PREFIX: &str = "access-control-";

/// Addresses of sites, as browsers write them into `Origin`.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<HeaderValue>);

impl FromStr for Origins {
    type Err = String;

    /// Names a wrong address by its place: it may have a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut sites: Vec<HeaderValue> = Vec::new();
        for (at, one) in text.split(',').enumerate() {
            let number = at + 1;
            let site = origin(one.trim()).ok_or_else(|| {
                format!(
                    "must be addresses such as https://toko.example.com, without user and path, separated by commas; \
                     number {number} is none"
                )
            })?;
            if let Some(first) = sites.iter().position(|other| *other == site) {
                return Err(format!(
                    "must have each address once: number {number} is number {} again",
                    first + 1
                ));
            }
            sites.push(site);
        }
        Ok(Self(sites))
    }
}

/// Returns an address of a site; `None` for anything else.
fn origin(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().unwrap_or_default();
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let is_written_so = text == format!("{scheme}://{authority}").to_ascii_lowercase();
    let is_site = matches!(scheme, "http" | "https") && !authority.contains(['@', '*']);
    if authority.is_empty() || !is_site || !is_written_so {
        return None;
    }
    HeaderValue::from_str(text).ok()
}

/// Returns the layer that lets pages of these sites call; none without sites.
///
/// Callers are known by a header that a page sets itself, so no browser is asked to send what it knows of them.
pub fn cors(origins: &Origins) -> Option<CorsLayer> {
    let Origins(sites) = origins;
    if sites.is_empty() {
        return None;
    }
    let methods = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    let layer = CorsLayer::new()
        .allow_origin(sites.clone())
        .allow_methods(methods)
        .allow_headers(SENT)
        .expose_headers(READ)
        .max_age(MAX_AGE);
    Some(layer)
}

/// Removes what the layer says to pages of sites that are not listed.
pub fn hide_from_others(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return response;
    }
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(PREFIX))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_do() {
        let origins = "https://toko.example.com, http://localhost:5173";
        let Origins(sites) = origins.parse().unwrap();
        assert_eq!(sites, ["https://toko.example.com", "http://localhost:5173"]);
        for wrong in [
            "*",
            "https://*.example.com",
            "null",
            "toko.example.com",
            "https://toko.example.com/",
            "https://toko.example.com/page",
            "https://Toko.example.com",
            "https://ani@toko.example.com",
            "ftp://toko.example.com",
            "https://toko.example.com,",
            "https://",
        ] {
            let message = wrong.parse::<Origins>().unwrap_err();
            assert!(message.starts_with("must be addresses"), "{message}");
        }
    }

    #[test]
    fn a_site_is_listed_once_and_a_wrong_one_is_not_repeated() {
        let wrong = "https://toko.example.com,https://toko:s3cret@toko.example.com";
        let message = wrong.parse::<Origins>().unwrap_err();
        assert!(message.ends_with("number 2 is none"), "{message}");
        let twice = "https://toko.example.com, http://a.example,https://toko.example.com";
        let message = twice.parse::<Origins>().unwrap_err();
        let refused = "must have each address once: number 3 is number 1 again";
        assert_eq!(message, refused);
    }
}
