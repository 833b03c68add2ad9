//! The shape of every failure, and how an [`Error`] becomes one.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use dermaga_shop::{Code, Error, error::Detail, language};
use serde::Serialize;
use utoipa::ToSchema;

use super::context;

/// A failed request.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failure {
    /// Always false.
    #[schema(example = false)]
    pub success: bool,
    /// A sentence for people.
    pub message: String,
    pub error: FailureBody,
    #[serde(serialize_with = "dermaga_shop::calendar::in_json")]
    pub timestamp: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct FailureBody {
    pub code: Code,
    /// Details, one for each field or circumstance that the message is about.
    pub details: Vec<Detail>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            success: false,
            message: language::spoken(&error.message).into_owned(),
            error: FailureBody {
                code: error.code,
                details: error.details.iter().map(Detail::in_words).collect(),
            },
            timestamp: context::now(),
        }
    }
}

/// Returns the body of a failure that is written without a request.
pub(super) fn failure_text(error: Error) -> String {
    serde_json::to_string(&Failure::from(error)).unwrap_or_default()
}

/// An [`Error`] on its way out.
#[derive(Debug)]
pub struct Refusal(pub Error);

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(error) = self;
        log(&error);
        let status =
            StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = error.retry_after;
        let mut response = (status, Json(Failure::from(error))).into_response();
        context::note_language(response.headers_mut());
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Longest part of a message or cause that is logged.
const LOGGED_CHARACTERS: usize = 2_000;

/// Causes are for the log alone; the request's span adds its id.
fn log(error: &Error) {
    let Some(cause) = &error.source else { return };
    let cause = shortened(&chain(cause.as_ref()));
    let message = shortened(&error.message);
    if error.code.status() >= 500 {
        tracing::error!(error.code = %error.code, error.message = message, error.cause = cause, "request.failed");
    } else {
        tracing::debug!(error.code = %error.code, error.message = message, error.cause = cause, "request.refused");
    }
}

/// Returns at most [`LOGGED_CHARACTERS`] of a text that may repeat what a client sent.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(LOGGED_CHARACTERS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}

/// An error and what caused it, joined by colons.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_tells_its_code_and_hides_its_cause() {
        let error = Error::new(Code::TooManyRequests, "Too many attempts.")
            .with("email", "wait a little")
            .retry_after(30)
            .caused_by("secret cause");
        let response = Refusal(error).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "30");
        let bytes = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body["success"], false);
        assert_eq!(body["error"]["code"], "TOO_MANY_REQUESTS");
        assert_eq!(body["error"]["details"][0]["field"], "email");
        assert!(!body.to_string().contains("secret cause"));
    }

    #[test]
    fn what_a_client_repeats_is_logged_in_part() {
        assert_eq!(shortened("short"), "short");
        let logged = shortened(&"é".repeat(300_000));
        assert_eq!(logged, "é".repeat(LOGGED_CHARACTERS) + "...");
    }
}
