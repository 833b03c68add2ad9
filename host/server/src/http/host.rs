//! The header `Host`, as RFC 9112 asks for it (section 3.2): once in a request of HTTP/1.1.

use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderValue, Version,
        header::{CONNECTION, HOST},
        uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use dermaga_shop::{Code, Error};

use super::Refusal;

/// Mark of a request that came over a connection without a proper `Host`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unaddressed;

/// Returns true for headers whose `Host` is missing in HTTP/1.1, is there twice, or is the name of no host.
pub(super) fn is_unaddressed(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        // Earlier ones do not have it, and later ones have the authority in its place.
        (None, _) => version == Version::HTTP_11,
        (Some(host), None) => !is_host(host),
        (Some(_), Some(_)) => true,
    }
}

/// A request for an address without a host has an empty one.
fn is_host(value: &HeaderValue) -> bool {
    let read = Authority::try_from(value.as_bytes());
    value.is_empty() || read.is_ok_and(|host| !host.as_str().contains('@'))
}

/// Refuses a request without a proper `Host`. Its connection ends, as its next bytes may be meant for another
/// server.
pub async fn refuse_unaddressed(request: Request, next: Next) -> Response {
    if request.extensions().get::<Unaddressed>().is_none() {
        return next.run(request).await;
    }
    let message = "Send the header `Host` once, with the name of this server.";
    let mut response = Refusal(Error::new(Code::MalformedRequest, message)).into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_one_host() {
        let is_refused = |version, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            is_unaddressed(version, &headers)
        };
        for good in [
            "toko.example",
            "toko.example:3000",
            "127.0.0.1",
            "[::1]:3000",
            "my_shop",
            "",
        ] {
            assert!(!is_refused(Version::HTTP_11, &[good]), "{good}");
        }
        for wrong in ["a b", "toko@host", "a/b", "http://a"] {
            assert!(is_refused(Version::HTTP_11, &[wrong]), "{wrong}");
        }
        assert!(is_refused(Version::HTTP_11, &[]));
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            assert!(is_refused(version, &["a", "a"]), "{version:?}");
        }
        assert!(!is_refused(Version::HTTP_10, &[]));
        assert!(!is_refused(Version::HTTP_2, &[]));
    }
}
