//! Server-sent events: streams that end with their client, with the server, and after a while.

use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    http::{HeaderMap, HeaderValue, header::CACHE_CONTROL},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use dermaga_shop::{Code, Error, Result, ids::UserId};
use futures::{Stream, StreamExt as _, stream};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::answer_headers::FOR_ONE;

/// Streams that a customer may have open on this server.
const MOST_STREAMS: usize = 5;
/// Duration after which a client asks again, and shows again that it may.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Interval between comments in a silent stream, which find out that its client is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The open streams of this server, by customer.
#[derive(Debug, Clone, Default)]
pub struct Streams {
    open: Arc<Mutex<HashMap<UserId, usize>>>,
    end: CancellationToken,
}

impl Streams {
    /// Takes a place for one more stream of a customer.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` when the customer has as many as are allowed.
    pub fn enter(&self, user_id: UserId) -> Result<StreamPlace> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(user_id).or_default();
        if *count >= MOST_STREAMS {
            let message = format!("You have {MOST_STREAMS} streams open already. Close one first.");
            return Err(Error::new(Code::TooManyRequests, message).retry_after(5));
        }
        *count += 1;
        Ok(StreamPlace {
            streams: self.clone(),
            user_id,
        })
    }

    /// Ends every stream, because the server stops.
    pub fn end(&self) {
        self.end.cancel();
    }
}

/// Place of one stream, given back when it is dropped.
#[derive(Debug)]
pub struct StreamPlace {
    streams: Streams,
    user_id: UserId,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let open = self.streams.open.lock();
        let mut open = open.unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = open.entry(self.user_id) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// An event on its way to a client.
#[derive(Debug, Clone, Serialize)]
pub struct Sent<T> {
    /// Place in the stream; a client that comes back sends the last one that it saw.
    pub id: Option<String>,
    /// Kind of the event.
    pub name: &'static str,
    pub data: T,
}

impl<T: Serialize> Sent<T> {
    fn event(self) -> Event {
        let event = Event::default().event(self.name);
        let event = match self.id {
            Some(id) => event.id(id),
            None => event,
        };
        // Data that is no JSON is a fault of the code, and leaves the event without any.
        event.json_data(self.data).unwrap_or_default()
    }
}

/// Answers with a stream of events. The last one is `end`, unless the client leaves before.
pub fn events<T: Serialize + Send + 'static>(
    place: StreamPlace,
    events: impl Stream<Item = Sent<T>> + Send + 'static,
) -> Response {
    events_for(LONGEST, place, events)
}

fn events_for<T: Serialize + Send + 'static>(
    longest: Duration,
    place: StreamPlace,
    events: impl Stream<Item = Sent<T>> + Send + 'static,
) -> Response {
    let end = place.streams.end.clone();
    let over = async move {
        let _ = tokio::time::timeout(longest, end.cancelled()).await;
    };
    let last = || Event::default().event("end").data("{}");
    let events = events
        .map(Sent::event)
        .take_until(Box::pin(over))
        .chain(stream::once(async move { last() }))
        .map(move |event| {
            // The place lasts as long as the stream that holds it.
            let _place = &place;
            Ok::<_, Infallible>(event)
        });
    let stream = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    let mut response = stream.into_response();
    // axum says `no-cache`, which lets others keep it.
    let private = HeaderValue::from_static(FOR_ONE);
    response.headers_mut().insert(CACHE_CONTROL, private);
    response
}

/// Returns the id of the last event that a returning client saw; empty when it is no text, which is no id.
pub fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("last-event-id")?;
    Some(id.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(number: u32) -> Sent<u32> {
        Sent {
            id: Some(number.to_string()),
            name: "number",
            data: number,
        }
    }

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20);
        String::from_utf8(bytes.await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_customer_has_a_bounded_number_of_streams() {
        let streams = Streams::default();
        let (one, other) = (UserId::from_u128(1), UserId::from_u128(2));
        let mut places: Vec<_> = (0..MOST_STREAMS)
            .map(|_| streams.enter(one).unwrap())
            .collect();
        let refused = streams.enter(one).unwrap_err();
        assert_eq!(refused.code, Code::TooManyRequests);
        drop(streams.enter(other).unwrap());
        let response = events(places.pop().unwrap(), stream::iter([sent(7)]));
        assert!(streams.enter(one).is_err(), "the stream keeps its place");
        let told = text(response).await;
        assert_eq!(
            told,
            "event: number\nid: 7\ndata: 7\n\nevent: end\ndata: {}\n\n"
        );
        places.push(streams.enter(one).unwrap());
        drop(places);
        assert!(streams.open.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_its_stream() {
        let streams = Streams::default();
        let place = streams.enter(UserId::from_u128(1)).unwrap();
        drop(events(place, stream::pending::<Sent<u32>>()));
        assert!(streams.open.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn streams_end_with_the_server_and_after_a_while() {
        let streams = Streams::default();
        let user_id = UserId::from_u128(1);
        let began = tokio::time::Instant::now();
        let place = streams.enter(user_id).unwrap();
        let long = events_for(
            Duration::from_millis(50),
            place,
            stream::pending::<Sent<u32>>(),
        );
        assert!(text(long).await.ends_with("event: end\ndata: {}\n\n"));
        assert!(began.elapsed() >= Duration::from_millis(50));
        let stopped = events(
            streams.enter(user_id).unwrap(),
            stream::pending::<Sent<u32>>(),
        );
        streams.end();
        assert_eq!(text(stopped).await, "event: end\ndata: {}\n\n");
    }
}
