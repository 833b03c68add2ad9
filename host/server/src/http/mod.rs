//! Parts shared by every route: envelopes, extractors, the request's context and the OpenAPI
//! document.

pub(crate) mod address;
pub(crate) mod announced;
mod answer_headers;
pub(crate) mod body;
mod compression;
mod conditional;
pub(crate) mod context;
mod cors;
mod cursor;
mod departure;
mod drain_body;
pub(crate) mod echo;
mod encoding;
mod envelope;
mod exchanges;
mod failure;
mod faults;
mod file;
pub(crate) mod form;
mod host;
pub(crate) mod ids;
mod kept;
mod open_connections;
mod page;
mod path;
mod query;
mod repeats;
mod responses;
mod routes;
mod serve;
mod settings;
mod share;
mod sse;
mod watched;
mod when;

pub use answer_headers::{AnswerHeaders, set_headers};
pub use body::{Body, Input};
pub use compression::compression;
pub use conditional::answer_conditionally;
pub use cors::{Origins, cors, hide_from_others};
pub use cursor::Cursor;
pub use departure::Departure;
pub use drain_body::drain_body;
pub use encoding::refuse_encoded;
pub use envelope::{Envelope, Nothing, Reply, Success};
pub use failure::{Failure, FailureBody, Refusal};
pub use file::Attachment;
pub use form::{FORM_OVERHEAD, Form};
pub use host::refuse_unaddressed;
pub use kept::{Asked, KeptAnswers};
pub use open_connections::ConnectionLimits;
pub use page::{NoFilter, PageQuery, Pagination};
pub use path::{Id, Segment};
pub use query::{Paged, Params, Query};
pub use responses::{failure_responses, failures};
pub(crate) use routes::routes;
pub use routes::{Erased, erased};
pub use serve::serve;
pub use settings::Settings;
pub use share::{Share, Shared};
pub use sse::{Sent, StreamPlace, Streams, events, last_event_id};
pub use when::{When, range};

use dermaga_shop::{Code, Error};

/// Largest request body, unless a route sets its own `DefaultBodyLimit`.
pub const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// Answer for an unknown address.
pub async fn route_not_found(method: axum::http::Method, uri: axum::http::Uri) -> Refusal {
    let message = format!(
        "There is no route {} {}. See /api/docs.",
        echo::cut(method.as_str(), 20),
        echo::cut(uri.path(), 200)
    );
    Error::new(Code::RouteNotFound, message).into()
}

/// Answer of a known address to a method it does not have.
pub async fn method_not_allowed(method: axum::http::Method, uri: axum::http::Uri) -> Refusal {
    let message = format!(
        "{} does not answer to {}. See /api/docs.",
        echo::cut(uri.path(), 200),
        echo::cut(method.as_str(), 20)
    );
    Error::new(Code::MethodNotAllowed, message).into()
}
