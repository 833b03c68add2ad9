//! Answers to heads that no route has to see.

use axum::{extract::Request, middleware::Next, response::Response};

use super::{head::refuse_oversized, host::refuse_unaddressed, methods::answer_for_server};

/// Refuses a head that has no proper host or is too large, and answers for the server as a whole. One layer for all of
/// them: each boxes its request's future, and a copy of every layer below it.
pub async fn answer_early(request: Request, next: Next) -> Response {
    let early = refuse_unaddressed(&request)
        .or_else(|| refuse_oversized(&request))
        .or_else(|| answer_for_server(&request));
    match early {
        Some(answer) => answer,
        None => next.run(request).await,
    }
}
