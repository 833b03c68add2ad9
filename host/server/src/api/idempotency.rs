//! `Idempotency-Key`: a client that does not know whether its request arrived sends it again.

use std::time::Duration;

use axum::{
    body::to_bytes,
    extract::{FromRequest, MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use dermaga_runtime::canonical_json;
use dermaga_shop::{
    Code, Error, crypto,
    db::Uncommitted,
    idempotency::{self, Answer, Begun, Claim, Key, Terms},
    ids::UserId,
};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use utoipa::{
    IntoParams, PartialSchema as _,
    openapi::{
        RefOr, Required, Response as DocumentedResponse,
        header::HeaderBuilder,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::{ObjectBuilder, Type},
    },
};

use crate::api::AppState;
use crate::http::{Refusal, Success, body, context};

const KEY_HEADER: &str = "Idempotency-Key";
const REPLAYED_HEADER: &str = "Idempotency-Replayed";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// A request ends after `DERMAGA_REQUEST_TIMEOUT`; its key is held a little longer than that, at most, unless it is
/// carried through.
const MARGIN: Duration = Duration::from_secs(5);
/// Longest wait of a failure for the release of its key, which is awaited so that a corrected request finds it free.
const RELEASED_WITHIN: Duration = Duration::from_secs(3);

/// A JSON body, as [`crate::http::Body`] takes it, of a request that may carry an
/// `Idempotency-Key`.
#[derive(Debug)]
pub struct Keyed<T>(pub T, pub Once);

/// Acts and answers once for each key. Without a key, each request acts.
#[derive(Debug)]
pub struct Once {
    key: Option<Key>,
    route: String,
    fingerprint: String,
}

impl<T: body::Input> FromRequest<AppState> for Keyed<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Refusal> {
        let key = key(request.headers())?;
        let template = request.extensions().get::<MatchedPath>();
        let template = template.map_or_else(|| request.uri().path(), MatchedPath::as_str);
        let route = format!("{} {template}", request.method());
        let path = request.uri().path().to_owned();
        let (value, bytes) = body::read(request, state).await?;
        let sent: Value = serde_json::from_slice(&bytes)?;
        let fingerprint = crypto::sha256_hex(format!("{path}\n{}", canonical_json(&sent)));
        Ok(Self(
            value,
            Once {
                key,
                route,
                fingerprint,
            },
        ))
    }
}

fn key(headers: &HeaderMap) -> Result<Option<Key>, Error> {
    let mut sent = headers.get_all(KEY_HEADER).iter();
    let Some(value) = sent.next() else {
        return Ok(None);
    };
    if sent.next().is_some() {
        return Err(Error::invalid(KEY_HEADER, "must be sent once"));
    }
    let key = value.to_str().unwrap_or_default().parse();
    key.map(Some)
        .map_err(|fault: String| Error::invalid(KEY_HEADER, fault))
}

impl Once {
    /// Returns the name of this request among those of a user, for what is written down before it is
    /// answered; nothing without a key.
    pub fn intent(&self, user_id: UserId) -> Option<String> {
        let Self {
            key,
            route,
            fingerprint,
        } = self;
        let key = key.as_ref()?.as_str();
        Some(crypto::sha256_hex(format!(
            "{user_id}\n{route}\n{key}\n{fingerprint}"
        )))
    }

    /// Runs `act` and answers with its result, or repeats the answer kept under the key. The act
    /// and its answer are committed together; `act` is never polled when there is an answer.
    ///
    /// Refusals that last are answers too (see `is_final`); after any other the key is free again.
    ///
    /// # Errors
    /// What `act` fails with; `IDEMPOTENCY_MISMATCH`, `IN_PROGRESS`.
    pub fn answer<T: Serialize>(
        self,
        state: &AppState,
        user_id: UserId,
        act: impl Future<Output = Result<Uncommitted<Success<T>>, Error>>,
    ) -> impl Future<Output = Result<Response, Refusal>> {
        // Checkouts are large futures; this keeps them out of the handlers' own.
        self.run(state, user_id, terms(state), Box::pin(act))
    }

    /// Answers as [`answer`](Self::answer) does, and carries `act` through when its client hangs up or
    /// its time is over: the key is held until it has ended, and has its answer then.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub async fn answer_to_the_end<T: Serialize + Send + 'static>(
        self,
        state: &AppState,
        user_id: UserId,
        act: impl Future<Output = Result<Uncommitted<Success<T>>, Error>> + Send + 'static,
    ) -> Result<Response, Refusal> {
        let (state, act) = (state.clone(), Box::pin(act));
        let terms = Terms {
            longest: None,
            ..terms(&state)
        };
        let work = async move { self.run(&state, user_id, terms, act).await };
        context::to_the_end(work).await?
    }

    async fn run<T: Serialize>(
        self,
        state: &AppState,
        user_id: UserId,
        terms: Terms,
        act: impl Future<Output = Result<Uncommitted<Success<T>>, Error>>,
    ) -> Result<Response, Refusal> {
        let Self {
            key: Some(key),
            route,
            fingerprint,
        } = self
        else {
            return Ok(act.await?.commit().await?.into_response());
        };
        let request = idempotency::Request {
            user_id,
            route,
            key,
            fingerprint,
        };
        let claim = match idempotency::begin(&state.db, &state.clock, request, terms).await? {
            Begun::Answered(answer) => return Ok(replay(answer)),
            Begun::Run(claim) => claim,
        };
        let answer = match claim.hold(act).await {
            Ok(act) => {
                let (act, success) = act.take();
                let answer = rendered(success).await?;
                claim.commit(act, &answer).await?;
                answer
            }
            Err(error) if is_final(&error) && may_be_kept(state, user_id) => {
                let answer = rendered(Refusal(error)).await?;
                claim.refuse(&answer).await?;
                answer
            }
            Err(error) => {
                release(claim, error.code).await;
                return Err(error.into());
            }
        };
        let mut response = response(answer);
        context::note_language(response.headers_mut());
        Ok(response)
    }
}

/// Returns the terms of a request that is cut off when its time is over.
fn terms(state: &AppState) -> Terms {
    Terms {
        longest: Some(state.config.http.request_timeout.saturating_add(MARGIN)),
        server: state.server,
    }
}

/// Releases the key of a request that failed, which is answered with that failure also where its key cannot be released.
async fn release(claim: Claim, code: Code) {
    // Without the database, its answer would be a second wait for it. A claim that is dropped releases its key
    // behind the answer, and tries several times.
    if code != Code::Unavailable {
        drop(timeout(RELEASED_WITHIN, claim.release()).await);
    }
}

fn may_be_kept(state: &AppState, user_id: UserId) -> bool {
    state
        .kept_refusals
        .admit(user_id, state.clock.now())
        .is_ok()
}

/// Returns true when a refusal is the request's answer for good: the obstacle is neither the
/// request's form, which the client may mend, nor a state that changes, as credit or a quota. A
/// refusal moved nothing, so that the same request may act later under the same key.
fn is_final(error: &Error) -> bool {
    error.code.lasts() && error.retry_after.is_none()
}

/// The answer as bytes, which are what is sent and what is kept.
async fn rendered(answer: impl IntoResponse) -> Result<Answer, Error> {
    let response = answer.into_response();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), usize::MAX)
        .await
        .map_err(Error::internal)?;
    let body = String::from_utf8(bytes.into()).map_err(Error::internal)?;
    if status >= 500 {
        return Err(Error::internal(format!(
            "an answer could not be written: {body}"
        )));
    }
    Ok(Answer { status, body })
}

fn response(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        answer.body,
    )
        .into_response()
}

fn replay(answer: Answer) -> Response {
    let mut response = response(answer);
    // The answer is in the language of the first request.
    context::note_choice(response.headers_mut());
    response
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// The header's place in the document: `params(IdempotencyKey)`. Its other consequences are added
/// by `document`.
#[derive(Debug, Clone, Copy)]
pub struct IdempotencyKey;

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(Key::MAX_LENGTH))
            .pattern(Some("^[!-~]+$"))
            .build();
        let description = "Names this intention, for example a UUID. The same request with the same key is answered as the \
            first one was, for 24 hours, and acts once; another request with the same key is refused. A refusal that can pass \
            (too little credit, sold out, another price) leaves the key free: send the same request with it again.";
        let parameter = ParameterBuilder::new()
            .name(KEY_HEADER)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(text))
            .build();
        vec![parameter]
    }
}

/// The failures of an operation that takes a key; and notes on its other answers that they may be
/// repetitions.
pub(crate) fn document(operation: &mut Operation) -> Vec<Code> {
    let mut parameters = operation.parameters.iter().flatten();
    let is_key =
        |parameter: &RefOr<Parameter>| matches!(parameter, RefOr::T(one) if one.name == KEY_HEADER);
    if !parameters.any(is_key) {
        return Vec::new();
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.starts_with('2')
        {
            note_repetition(response);
        }
    }
    vec![Code::InProgress, Code::IdempotencyMismatch]
}

fn note_repetition(response: &mut DocumentedResponse) {
    let header = HeaderBuilder::new()
        .schema(Some(bool::schema()))
        .description(Some(
            "`true` when this repeats the answer to an earlier request with the same key.",
        ))
        .build();
    response
        .headers
        .insert(REPLAYED_HEADER.to_owned(), RefOr::T(header));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_good_key_or_none() {
        let sent = |values: &[&str]| {
            let headers = values
                .iter()
                .map(|value| (KEY_HEADER.parse().unwrap(), value.parse().unwrap()));
            key(&headers.collect::<HeaderMap>())
        };
        assert_eq!(sent(&[]).unwrap(), None);
        assert_eq!(sent(&["abc-1"]).unwrap().unwrap().as_str(), "abc-1");
        for bad in [
            &["abc", "abc"][..],
            &[""],
            &["a b"],
            &["\u{e9}"],
            &["k".repeat(256).as_str()],
        ] {
            assert_eq!(
                sent(bad).unwrap_err().code,
                Code::ValidationFailed,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn keeps_refusals_that_last() {
        let kept = |code| is_final(&Error::new(code, "No."));
        for code in [
            Code::NotFound,
            Code::CouponNotFound,
            Code::Conflict,
            Code::QuoteUsed,
        ] {
            assert!(kept(code), "{code}");
        }
        for code in [
            Code::InsufficientCredit,
            Code::QuotaExhausted,
            Code::QuoteChanged,
            Code::CouponUsedUp,
            Code::InvalidState,
            Code::ValidationFailed,
            Code::PluginRefusedInput,
            Code::TooManyRequests,
            Code::PluginBusy,
            Code::PluginFailed,
            Code::Internal,
        ] {
            assert!(!kept(code), "{code}");
        }
        assert!(!is_final(
            &Error::new(Code::Conflict, "Busy.").retry_after(1)
        ));
    }
}
