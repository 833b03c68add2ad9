//! Conditional reads of what is the same for everybody: a client that has it already is answered 304.

use axum::{
    body::{Body, Bytes, HttpBody as _, to_bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use dermaga_shop::Error;
use sha2::{Digest as _, Sha256};

use super::{Refusal, answer_headers::is_public_read};

/// Largest answer that is compared; the largest here is the script of the documentation.
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of the hash in a tag.
const TAG_BYTES: usize = 16;
/// Last field of an envelope, which differs in each answer.
const TIMESTAMP: &[u8] = b",\"timestamp\":\"";

/// Returns the tags that a client names in a public read; `None` for other requests, whose answers have none.
pub fn known_tags(request: &Request) -> Option<Vec<HeaderValue>> {
    let known = request.headers().get_all(header::IF_NONE_MATCH).iter();
    is_public_read(request).then(|| known.cloned().collect())
}

/// Tags the answer to a public read, and leaves out what the client has.
pub async fn answer_conditionally(known: &[HeaderValue], response: Response) -> Response {
    let size = response.body().size_hint().exact();
    let is_tagged = response.headers().contains_key(header::ETAG);
    if response.status() != StatusCode::OK || is_tagged || size.is_none_or(|size| size > MOST_BYTES)
    {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Its size is known, so that this cannot take more memory than it has.
    let bytes = match to_bytes(body, usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return Refusal(Error::internal(error)).into_response(),
    };
    let tag = tag(&bytes);
    let has_it = known.iter().any(|list| names(list, &tag));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, tag);
    }
    if has_it {
        parts.status = StatusCode::NOT_MODIFIED;
        forget_body(&mut parts.headers);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Returns the tag of a body. A weak one: the moment of the answer is no part of it, and answers of one tag
/// may be compressed or not.
pub(super) fn tag(body: &Bytes) -> String {
    let without_moment = body
        .windows(TIMESTAMP.len())
        .rposition(|part| part == TIMESTAMP)
        .and_then(|at| body.get(..at));
    let hash = Sha256::digest(without_moment.unwrap_or(body));
    let hash = hash.get(..TAG_BYTES).unwrap_or_default();
    format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(hash))
}

/// Returns true when a list of tags contains this one, by the weak comparison.
pub(super) fn names(list: &HeaderValue, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let tag = opaque(tag);
    let list = list.to_str().unwrap_or_default();
    list.split(',')
        .any(|one| one.trim() == "*" || opaque(one) == tag)
}

/// Removes what describes a body that is not sent.
pub(super) fn forget_body(headers: &mut HeaderMap) {
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag_of(body: &'static str) -> String {
        tag(&Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn a_tag_follows_the_content_and_not_its_moment() {
        let first = tag_of(r#"{"data":[1],"timestamp":"2026-01-01T00:00:00Z"}"#);
        let later = tag_of(r#"{"data":[1],"timestamp":"2026-01-01T00:00:01Z"}"#);
        let other = tag_of(r#"{"data":[2],"timestamp":"2026-01-01T00:00:00Z"}"#);
        assert_eq!(first, later);
        assert_ne!(first, other);
        assert_ne!(tag_of("a"), tag_of("b"));
    }

    #[test]
    fn lists_of_tags_are_compared_weakly() {
        let tag = "W/\"abc\"";
        for (list, expected) in [
            ("W/\"abc\"", true),
            ("\"abc\"", true),
            ("\"x\", W/\"abc\" , \"y\"", true),
            ("*", true),
            ("\"ab\"", false),
            ("abc", false),
            ("", false),
        ] {
            let list = HeaderValue::from_static(list);
            assert_eq!(names(&list, tag), expected, "{list:?}");
        }
    }
}
