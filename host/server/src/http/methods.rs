//! Requests that are about the server, or whose method no address has.

use axum::{
    extract::Request,
    http::{HeaderValue, Method, StatusCode, Uri, header::ALLOW},
    response::{IntoResponse as _, Response},
};
use dermaga_shop::{Code, Error};

use super::{Refusal, echo};

/// Methods that addresses of this server have, and `OPTIONS *`.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Returns the answer to `OPTIONS *`, which asks what the server as a whole is able to do (RFC 9110, section 9.3.7).
pub(super) fn answer_for_server(request: &Request) -> Option<Response> {
    let is_asked = request.method() == Method::OPTIONS && request.uri().path() == "*";
    is_asked.then(|| allowing(StatusCode::NO_CONTENT.into_response()))
}

/// Answer for an unknown address. A method that no address has is refused as such.
pub async fn route_not_found(method: Method, uri: Uri) -> Response {
    if matches!(method, Method::CONNECT | Method::TRACE) {
        return allowing(method_not_allowed(method, uri).await.into_response());
    }
    let message = format!(
        "There is no route {} {}. See /api/docs.",
        echo::cut(method.as_str(), 20),
        echo::cut(uri.path(), 200)
    );
    Refusal(Error::new(Code::RouteNotFound, message)).into_response()
}

/// Answer of a known address to a method it does not have.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Refusal {
    let asked = match uri.authority() {
        // `CONNECT` names a host in place of a path.
        Some(host) if uri.path().is_empty() => host.as_str(),
        _ => uri.path(),
    };
    let message = format!(
        "{} does not answer to {}. See /api/docs.",
        echo::cut(asked, 200),
        echo::cut(method.as_str(), 20)
    );
    Error::new(Code::MethodNotAllowed, message).into()
}

fn allowing(mut response: Response) -> Response {
    let methods = HeaderValue::from_static(METHODS);
    response.headers_mut().insert(ALLOW, methods);
    response
}
