//! Heads of requests over HTTP/2: as large as over HTTP/1.1, and refused with a reason beyond that.

use axum::{
    extract::Request,
    http::{self, Version, uri::PathAndQuery},
    response::{IntoResponse as _, Response},
};
use dermaga_shop::{Code, Error};

use super::Refusal;

/// Largest head of a request, method, address and headers together. A larger one over HTTP/1.1 is answered 431 by
/// hyper, as is one of more than 100 headers. An address is too long for hyper (414) only beyond this bound.
pub(super) const HEAD_BYTES: usize = 64 * 1024;
/// Largest head that is read over HTTP/2. It is more than is taken, so that what is too large can be answered:
/// beyond this bound hyper sends a bare 431 and resets the request, or ends the connection.
pub(super) const MOST_READ: u32 = 128 * 1024;
/// Bytes that each header counts beside its name and value (RFC 9113, section 6.5.2).
const FIELD_BYTES: usize = 32;

/// Mark of a request over HTTP/2 whose head is too large.
#[derive(Debug, Clone, Copy)]
pub(super) struct Oversized;

/// Returns true for a request over HTTP/2 whose head is too large.
pub(super) fn is_oversized<B>(request: &http::Request<B>) -> bool {
    request.version() == Version::HTTP_2 && size(request) > HEAD_BYTES
}

fn size<B>(request: &http::Request<B>) -> usize {
    let target = request
        .uri()
        .path_and_query()
        .map_or("", PathAndQuery::as_str);
    let headers = request.headers().iter();
    let fields = headers.map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
    fields.sum::<usize>() + target.len() + request.method().as_str().len()
}

/// Returns the refusal of a request whose head is too large.
pub(super) fn refuse_oversized(request: &Request) -> Option<Response> {
    request.extensions().get::<Oversized>()?;
    let message = "The head of the request, its address and its headers, has more than 64 KiB.";
    Some(Refusal(Error::new(Code::HeadTooLarge, message)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_counted_whole() {
        let request = |bytes: usize, version| {
            let path = format!("/{}", "a".repeat(bytes / 2));
            let value = "b".repeat(bytes / 2);
            let builder = http::Request::get(path).version(version);
            builder.header("x-long", value).body(()).unwrap()
        };
        assert!(!is_oversized(&request(60_000, Version::HTTP_2)));
        assert!(is_oversized(&request(66_000, Version::HTTP_2)));
        // Over HTTP/1.1 hyper answers.
        assert!(!is_oversized(&request(66_000, Version::HTTP_11)));
    }
}
