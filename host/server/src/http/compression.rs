//! Compression of large answers that are the same for everybody.
//!
//! Answers for one person are sent as they are: the size of a compressed answer that has a secret and repeats
//! what was sent tells the secret to who watches the sizes (BREACH). That also leaves out streams of events.

use axum::http::{Extensions, HeaderMap, StatusCode, Version, header};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{And, Predicate, SizeAbove},
    },
};

use super::answer_headers::FOR_ALL;

/// Smallest answer that is compressed: less fits into one packet as it is.
pub(super) const LEAST_BYTES: u64 = 1_024;

type IsForAll = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// Returns the layer that compresses with gzip for clients that take it.
pub fn compression() -> CompressionLayer<And<SizeAbove, IsForAll>> {
    let is_worth_it = SizeAbove::new(LEAST_BYTES).and(is_for_all as IsForAll);
    CompressionLayer::new()
        // Answers are made for each request, so that speed counts more than the last bytes.
        .quality(CompressionLevel::Fastest)
        .compress_when(is_worth_it)
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
