//! Compression of large answers that are the same for everybody.
//!
//! Answers for one person are sent as they are: the size of a compressed answer that has a secret and repeats
//! what was sent tells the secret to who watches the sizes (BREACH). That also leaves out streams of events.

use std::{convert::Infallible, future::ready, mem};

use axum::{
    body::Body,
    extract::Request,
    http::{self, Extensions, HeaderMap, HeaderValue, StatusCode, Version, header},
    response::Response,
};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{And, Predicate, SizeAbove},
    },
};

use super::answer_headers::{FOR_ALL, is_public_read};

/// Smallest answer that is compressed: less fits into one packet as it is.
pub(super) const LEAST_BYTES: u64 = 1_024;
/// Value of `Vary` on an answer that is compressed for some.
const CHOICE: &str = "accept-encoding";

type IsForAll = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// Answers that are compressed: large, and the same for everybody.
fn worth_it() -> And<SizeAbove, IsForAll> {
    SizeAbove::new(LEAST_BYTES).and(is_for_all as IsForAll)
}

/// Returns the codings that the client of a public read takes; `None` for other requests, whose answers are sent
/// as they are.
pub fn taken_codings(request: &Request) -> Option<Vec<HeaderValue>> {
    let lines = request.headers().get_all(header::ACCEPT_ENCODING).iter();
    is_public_read(request).then(|| lines.cloned().collect())
}

/// Compresses the answer to a public read with gzip, for a client that takes it.
pub async fn compress(taken: Vec<HeaderValue>, mut response: Response) -> Response {
    if response.status() == StatusCode::NOT_MODIFIED {
        // It says of the kept answer what that one says (RFC 9110, section 15.4.5).
        name_choice(response.headers_mut());
        return response;
    }
    let is_packed = response.headers().contains_key(header::CONTENT_ENCODING);
    if is_packed || !worth_it().should_compress(&response) {
        return response;
    }
    if taken.is_empty() {
        // The layer does no more either, but puts the body into a box.
        name_choice(response.headers_mut());
        return response;
    }
    // Its state is large, and most answers return above.
    Box::pin(compressed(taken, response)).await
}

/// Says that the coding of an answer was chosen by the request, unless it says so already.
fn name_choice(headers: &mut HeaderMap) {
    if !names_choice(headers) {
        headers.append(header::VARY, HeaderValue::from_static(CHOICE));
    }
}

/// Returns true for an answer that says already that its coding was chosen by the request.
fn names_choice(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::VARY).iter();
    let mut names = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    names.any(|name| name.trim().eq_ignore_ascii_case(CHOICE))
}

/// Compresses by the layer, which knows how clients rank codings.
async fn compressed(taken: Vec<HeaderValue>, mut response: Response) -> Response {
    let mut request = http::Request::new(());
    for line in taken {
        request.headers_mut().append(header::ACCEPT_ENCODING, line);
    }
    let answer = move |_: http::Request<()>| {
        let response = mem::take(&mut response);
        ready(Ok::<_, Infallible>(response))
    };
    let layer = CompressionLayer::new()
        // Answers are made for each request, so that speed counts more than the last bytes.
        .quality(CompressionLevel::Fastest)
        .compress_when(worth_it());
    let Ok(response) = layer.layer(service_fn(answer)).oneshot(request).await;
    response.map(Body::new)
}

/// Returns true for a request whose answer the layer compresses for certain: its header names gzip, and neither
/// ranks nor refuses anything.
pub(super) fn reads_gzip(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::ACCEPT_ENCODING).iter();
    let only = lines.next().and_then(|line| line.to_str().ok());
    let Some(line) = only.filter(|_| lines.next().is_none()) else {
        return false;
    };
    let is_gzip = |name: &str| name.trim().eq_ignore_ascii_case("gzip");
    !line.contains([';', '*']) && line.split(',').any(is_gzip)
}

/// Takes out of a request what refuses an answer as it is: `identity;q=0`, and `*;q=0`.
///
/// Most answers have no other form. The layer would write 406 on one that was made already, after the act that it
/// is about; RFC 9110, section 12.4.1, lets a server disregard a header that nothing satisfies.
pub fn accept_plain(mut request: Request) -> Request {
    let lines = request.headers().get_all(header::ACCEPT_ENCODING);
    let has_refusal = |line: &HeaderValue| {
        let line = line.to_str().unwrap_or_default();
        line.split(',').any(refuses_plain)
    };
    if !lines.iter().any(has_refusal) {
        return request;
    }
    let kept: Vec<HeaderValue> = lines.iter().filter_map(without_refusals).collect();
    let headers = request.headers_mut();
    headers.remove(header::ACCEPT_ENCODING);
    for line in kept {
        headers.append(header::ACCEPT_ENCODING, line);
    }
    request
}

fn without_refusals(line: &HeaderValue) -> Option<HeaderValue> {
    let codings = line.to_str().ok()?.split(',');
    let kept: Vec<&str> = codings.filter(|coding| !refuses_plain(coding)).collect();
    HeaderValue::from_str(&kept.join(",")).ok()
}

/// Returns true for a coding of the header that rules out the plain form, by its name or with all others.
fn refuses_plain(coding: &str) -> bool {
    let Some((name, weight)) = coding.split_once(';') else {
        return false;
    };
    let is_plain = matches!(name.trim().to_ascii_lowercase().as_str(), "identity" | "*");
    let weight = weight.trim().to_ascii_lowercase();
    let is_nothing = |digits: &str| digits.bytes().all(|digit| matches!(digit, b'0' | b'.'));
    is_plain && weight.strip_prefix("q=").is_some_and(is_nothing)
}

/// Returns true for texts that everybody may keep.
fn is_for_all(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    let is_public = headers
        .get(header::CACHE_CONTROL)
        .is_some_and(|value| value == FOR_ALL);
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_text = kind.starts_with("text/")
        || ["application/json", "application/javascript"]
            .iter()
            .any(|text| kind.starts_with(text));
    is_public && is_text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_as_it_is_cannot_be_refused() {
        for (sent, read) in [
            (&["gzip, br;q=0.5"][..], &["gzip, br;q=0.5"][..]),
            (&[], &[]),
            (&["gzip;q=0, identity;q=0"], &["gzip;q=0"]),
            (&["Identity ; Q=0.000,gzip"], &["gzip"]),
            (&["*;q=0"], &[""]),
            (&["identity;q=0", "gzip"], &["", "gzip"]),
            (&["identity, *;q=0"], &["identity"]),
            (
                &["identity;q=0.001, *;q=0.1"],
                &["identity;q=0.001, *;q=0.1"],
            ),
        ] {
            let mut request = Request::new(Body::empty());
            for line in sent {
                let line = HeaderValue::from_static(line);
                request.headers_mut().append(header::ACCEPT_ENCODING, line);
            }
            let request = accept_plain(request);
            let lines = request.headers().get_all(header::ACCEPT_ENCODING).iter();
            let lines: Vec<&str> = lines.map(|line| line.to_str().unwrap()).collect();
            assert_eq!(lines, read, "{sent:?}");
        }
    }
}
