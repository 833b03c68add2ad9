//! Requests and answers of an HTTP/2 connection, many at a time, with an end to waiting for its client.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::{sync::watch, time::timeout};

/// State of a connection's exchanges.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Exchanges in which the server is at work, and not its client.
    busy: usize,
    /// True once a request came.
    is_used: bool,
}

/// Exchanges of one connection. Each step of one is noted, so that a silence can be told.
#[derive(Debug, Clone)]
pub(super) struct Exchanges(watch::Sender<State>);

impl Exchanges {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(State::default()))
    }

    /// Notes a request.
    pub(super) fn begin(&self) -> Exchange {
        self.0.send_modify(|state| state.is_used = true);
        let mut exchange = Exchange {
            exchanges: self.clone(),
            is_busy: false,
        };
        exchange.note(true);
        exchange
    }

    /// Waits until nothing was asked, and no part of an answer was taken, for a time in which the server was not
    /// at work. Never returns for a connection without exchanges, which is HTTP/1.1.
    pub(super) async fn stall(&self, limit: Duration) {
        let mut steps = self.0.subscribe();
        // The sender is this object's own, so that this cannot fail.
        let _ = steps.wait_for(|state| state.is_used).await;
        loop {
            let state = *steps.borrow_and_update();
            let has_changed = timeout(limit, steps.changed()).await.is_ok();
            if !has_changed && state.busy == 0 {
                return;
            }
        }
    }
}

/// One request and its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    exchanges: Exchanges,
    /// True while a handler is at work, or an answer has nothing to send yet.
    is_busy: bool,
}

impl Exchange {
    /// Notes that the answer begins, and returns its body with each part noted.
    pub(super) fn send(mut self, body: Body) -> Body {
        self.note(false);
        Body::new(Noted {
            body,
            exchange: self,
        })
    }

    fn note(&mut self, is_busy: bool) {
        let was_busy = std::mem::replace(&mut self.is_busy, is_busy);
        self.exchanges.0.send_modify(|state| {
            state.busy += usize::from(is_busy);
            state.busy -= usize::from(was_busy);
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.note(false);
    }
}

/// Body of an answer.
struct Noted {
    body: Body,
    exchange: Exchange,
}

impl hyper::body::Body for Noted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let part = Pin::new(&mut self.body).poll_frame(context);
        self.exchange.note(part.is_pending());
        part
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(80);

    async fn is_stalled(exchanges: &Exchanges, within: Duration) -> bool {
        timeout(within, exchanges.stall(LIMIT)).await.is_ok()
    }

    #[tokio::test]
    async fn a_connection_stalls_when_its_client_is_silent_and_no_handler_works() {
        let exchanges = Exchanges::new();
        assert!(!is_stalled(&exchanges, LIMIT * 3).await, "no HTTP/2 yet");
        let exchange = exchanges.begin();
        assert!(!is_stalled(&exchanges, LIMIT * 3).await, "a handler works");
        let body = exchange.send(Body::from("answer"));
        assert!(
            is_stalled(&exchanges, LIMIT * 3).await,
            "its client does not read"
        );
        drop(body);
        assert!(is_stalled(&exchanges, LIMIT * 3).await, "nothing is asked");
    }

    #[tokio::test]
    async fn an_answer_that_waits_for_the_server_keeps_its_connection() {
        let exchanges = Exchanges::new();
        let parts = futures::stream::unfold((), |()| async {
            tokio::time::sleep(LIMIT * 3).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        let body = exchanges.begin().send(Body::from_stream(parts));
        let reading = tokio::spawn(axum::body::to_bytes(body, 1_000_000));
        assert!(!is_stalled(&exchanges, LIMIT * 4).await);
        reading.abort();
    }
}
