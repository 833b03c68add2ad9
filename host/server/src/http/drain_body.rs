//! An answer before the whole body was read must still reach its client.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream, Bytes, HttpBody as _},
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use futures::{Stream, StreamExt as _};

/// Most that is read and thrown away after an early answer.
const DISCARD_BYTES: usize = 32 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// The request's body, shared between the handler and what reads the rest of it.
#[derive(Debug, Clone)]
struct Shared(Arc<Held>);

#[derive(Debug)]
struct Held {
    stream: Mutex<BodyDataStream>,
    /// True once something reads. A client that expects `100 Continue` received it then.
    is_begun: AtomicBool,
}

impl Shared {
    fn new(stream: BodyDataStream) -> Self {
        Self(Arc::new(Held {
            stream: Mutex::new(stream),
            is_begun: AtomicBool::new(false),
        }))
    }
}

impl Stream for Shared {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.is_begun.store(true, Ordering::Relaxed);
        self.0
            .stream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .poll_next_unpin(context)
    }
}

/// Reads the rest of a refused request's body, within bounds.
///
/// Closing a connection with unread data resets it, and the client would see "connection reset"
/// instead of the sentence that says what was wrong. A client that waits for `100 Continue` has
/// sent nothing yet: the refusal is its answer, and it keeps the body. A body that was refused by its
/// announced length may come late or never: the answer goes out first, and the connection ends with it.
pub async fn drain_body(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        // A wrapped body would not say any more that there is none.
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let waits = parts.headers.contains_key(header::EXPECT);
    let rest = Shared::new(body.into_data_stream());
    let request = Request::from_parts(parts, Body::from_stream(rest.clone()));
    let mut response = next.run(request).await;
    let close = HeaderValue::from_static("close");
    let is_begun = rest.0.is_begun.load(Ordering::Relaxed);
    let is_too_large = response.status() == StatusCode::PAYLOAD_TOO_LARGE;
    if waits && !is_begun {
        response.headers_mut().insert(header::CONNECTION, close);
    } else if is_too_large && !is_begun {
        response.headers_mut().insert(header::CONNECTION, close);
        tokio::spawn(discard(rest));
    } else if !response.status().is_success() && (!discard(rest).await || is_too_large) {
        // The next bytes on this connection may be the rest of the body, so no request may follow.
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Reads a body and throws it away; returns true when all of it came. A client that is slow is cut off.
async fn discard(mut rest: Shared) -> bool {
    let read = async {
        let mut left = DISCARD_BYTES;
        while let Some(Ok(chunk)) = rest.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(DISCARD_TIME, read).await == Ok(true)
}
