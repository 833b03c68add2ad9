//! The rest of a request's body that its handler did not read.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{Version, header},
};
use futures::StreamExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::time::timeout;

/// Most of a rest that is read for its connection to be kept.
const ARRIVING_BYTES: u64 = 256 * 1024;
/// Longest wait for it. Most clients send a small body right after its head.
const ARRIVAL_TIME: Duration = Duration::from_millis(100);

/// A body that is shared between its handler and what looks after the rest of it.
#[derive(Debug, Clone)]
pub(super) struct BodyRest(Arc<Held>);

#[derive(Debug)]
struct Held {
    body: Mutex<Body>,
    /// True for a client that waits for `100 Continue`. It receives that when the body is first read.
    is_expected: bool,
    is_begun: AtomicBool,
    is_whole: AtomicBool,
}

impl BodyRest {
    /// Splits off the rest of a request's body. There is none of a request without a body, and in HTTP/2, where a
    /// body ends without its connection.
    pub(super) fn split(request: Request) -> (Request, Option<Self>) {
        let ends_alone = request.version() == Version::HTTP_2;
        if ends_alone || request.body().is_end_stream() {
            return (request, None);
        }
        let (parts, body) = request.into_parts();
        let rest = Self(Arc::new(Held {
            body: Mutex::new(body),
            is_expected: parts.headers.contains_key(header::EXPECT),
            is_begun: AtomicBool::new(false),
            is_whole: AtomicBool::new(false),
        }));
        let body = Body::new(rest.clone());
        (Request::from_parts(parts, body), Some(rest))
    }

    /// Reads the rest if it is small and on its way; returns true when all of the body has come. Otherwise the next
    /// bytes of the connection are no request, and it must end.
    pub(super) async fn arrives(self) -> bool {
        let is_begun = self.0.is_begun.load(Ordering::Relaxed);
        // The answer takes the place of `100 Continue`, and the client keeps its body.
        let is_kept_back = self.0.is_expected && !is_begun;
        let is_large = self.size_hint().lower() > ARRIVING_BYTES;
        if !self.is_whole() && !is_kept_back && !is_large {
            // Clients that are slower than this have their answer all the same.
            let _ = timeout(ARRIVAL_TIME, self.discard()).await;
        }
        self.is_whole()
    }

    async fn discard(&self) {
        let mut rest = Body::new(self.clone()).into_data_stream();
        let mut left = ARRIVING_BYTES;
        while let Some(Ok(chunk)) = rest.next().await {
            left = left.saturating_sub(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
            if left == 0 {
                return;
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.0.is_whole.load(Ordering::Relaxed)
    }

    fn body(&self) -> MutexGuard<'_, Body> {
        self.0.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for BodyRest {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.0.is_begun.store(true, Ordering::Relaxed);
        let mut body = self.body();
        let frame = ready!(Pin::new(&mut *body).poll_frame(context));
        if frame.is_none() || body.is_end_stream() {
            self.0.is_whole.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::{Stream, stream};

    use super::*;

    fn split(
        head: &[(&'static str, &'static str)],
        parts: impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static,
    ) -> (Request, Option<BodyRest>) {
        let builder = head
            .iter()
            .fold(Request::post("/"), |builder, (name, value)| {
                builder.header(*name, *value)
            });
        BodyRest::split(builder.body(Body::from_stream(parts)).unwrap())
    }

    fn part(length: usize) -> Result<Bytes, io::Error> {
        Ok(Bytes::from(vec![b' '; length]))
    }

    #[tokio::test]
    async fn a_rest_that_is_on_its_way_is_read() {
        for read in 0..=2 {
            let (request, rest) = split(&[], stream::iter([part(10), part(10)]));
            let mut body = request.into_body().into_data_stream();
            for _ in 0..read {
                body.next().await.unwrap().unwrap();
            }
            drop(body);
            assert!(rest.unwrap().arrives().await, "{read} parts were read");
        }
    }

    #[tokio::test]
    async fn a_rest_that_does_not_come_or_is_large_is_left() {
        let silent = || stream::iter([part(10)]).chain(stream::pending());
        let (request, rest) = split(&[], silent());
        drop(request);
        assert!(!rest.unwrap().arrives().await, "it never comes");
        let large = std::iter::repeat_with(|| part(1024)).take(1024);
        let (request, rest) = split(&[], stream::iter(large));
        drop(request);
        assert!(!rest.unwrap().arrives().await, "it is large");
        let broken = stream::iter([part(10), Err(io::ErrorKind::ConnectionReset.into())]);
        let (request, rest) = split(&[], broken);
        drop(request);
        assert!(!rest.unwrap().arrives().await, "it breaks off");
    }

    #[tokio::test]
    async fn a_client_that_expects_is_not_asked_for_its_body() {
        let expects = [("expect", "100-continue")];
        let (request, rest) = split(&expects, stream::iter([part(10)]));
        drop(request);
        assert!(!rest.unwrap().arrives().await, "it was told to wait");
        let (request, rest) = split(&expects, stream::iter([part(10), part(10)]));
        let mut body = request.into_body().into_data_stream();
        body.next().await.unwrap().unwrap();
        drop(body);
        assert!(rest.unwrap().arrives().await, "it was told to send");
    }

    #[test]
    fn a_request_without_a_body_has_no_rest() {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let (request, rest) = BodyRest::split(request);
        assert!(rest.is_none() && request.body().is_end_stream());
    }
}
