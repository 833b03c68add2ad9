//! Bodies that were packed on the way out: refused by name, since nothing here unpacks them.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use dermaga_shop::{Code, Error};

use crate::http::Refusal;

/// Refuses a request with a `Content-Encoding`. Its body would be refused as broken JSON otherwise,
/// which helps to find nothing.
pub fn refuse_encoded(request: &Request) -> Option<Response> {
    if !is_encoded(request.headers()) {
        return None;
    }
    let message = "Send the body as it is, without Content-Encoding.";
    let mut response = Refusal(Error::new(Code::UnsupportedMediaType, message)).into_response();
    let plain = HeaderValue::from_static("identity");
    response
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, plain);
    Some(response)
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|value| {
            let text = value.to_str().unwrap_or("?").trim();
            !text.is_empty() && !text.eq_ignore_ascii_case("identity")
        })
}
