//! Answers to heads that no route has to see.

use axum::{extract::Request, response::Response};

use super::{head::refuse_oversized, host::refuse_unaddressed, methods::answer_for_server};

/// Refuses a head that has no proper host or is too large, and answers for the server as a whole.
pub fn answer_early(request: &Request) -> Option<Response> {
    refuse_unaddressed(request)
        .or_else(|| refuse_oversized(request))
        .or_else(|| answer_for_server(request))
}
