//! Kept answers: one that is made for all, their age and outdating, and the bounds of their memory.

use std::{io::Read as _, sync::atomic::AtomicUsize};

use axum::{
    Router, extract,
    http::Request,
    middleware::{self, Next},
    routing::{MethodRouter, get},
};
use dermaga_shop::db::Clock;
use flate2::read::GzDecoder;
use futures::{FutureExt as _, future::join_all};
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::http::{
    AnswerHeaders, Success, accept_plain, answer_conditionally, compress, known_tags, set_headers,
    taken_codings,
};

/// Kept answers, and how often one was made.
#[derive(Default)]
struct Counter {
    kept: KeptAnswers,
    generation: Generation,
    made: AtomicUsize,
}

impl Counter {
    async fn ask(&self, address: &str, make: impl Fn() -> Response + Send + Sync) -> Response {
        let request = Request::builder().uri(address).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        let Ok(asked) = Asked::from_request_parts(&mut parts, &()).await;
        let make = || {
            async {
                self.made.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                make()
            }
            .boxed()
        };
        self.kept.answer(&asked, &self.generation, make).await
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Places, and the bytes of what is kept in them.
    fn size(&self) -> (usize, usize) {
        let shelf = self.kept.shelf();
        let kept = shelf
            .places
            .iter()
            .filter_map(|(_, place)| place.kept.as_ref());
        let bytes: usize = kept.map(|kept| kept.weight()).sum();
        assert_eq!(shelf.bytes, bytes, "the sum agrees with what is kept");
        (shelf.places.len(), bytes)
    }
}

fn bytes(size: usize) -> Response {
    Response::new(Body::from(vec![b'a'; size]))
}

fn missing() -> Response {
    let mut response = bytes(10);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

#[tokio::test]
async fn one_makes_the_answer_for_all_that_wait() {
    let counter = Counter::default();
    for made in 1..=3 {
        let all = (0..1_000).map(|_| counter.ask("/a", || bytes(10)));
        let answers = join_all(all).await;
        assert!(answers.iter().all(|one| one.status() == StatusCode::OK));
        assert_eq!(counter.made(), made);
        counter.generation.raise();
    }
}

#[tokio::test]
async fn a_change_while_an_answer_is_made_outdates_it() {
    let counter = Counter::default();
    let change = || {
        counter.generation.raise();
        bytes(10)
    };
    for made in 1..=3 {
        counter.ask("/a", change).await;
        assert_eq!(counter.made(), made);
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_made_for_each_and_takes_no_place() {
    let counter = Counter::default();
    let all = (0..100).map(|_| counter.ask("/a", missing));
    let answers = join_all(all).await;
    assert!(
        answers
            .iter()
            .all(|one| one.status() == StatusCode::NOT_FOUND)
    );
    assert_eq!(counter.made(), 100);
    counter.ask("/b", missing).await;
    counter.ask("/c", || bytes(2 << 20)).await;
    counter.ask("/c", || bytes(2 << 20)).await;
    let (places, bytes) = counter.size();
    // Those that were made alone may leave the place of their address.
    assert!(places <= 1 && bytes == 0, "{places} places, {bytes} bytes");
    assert_eq!(counter.made(), 103);
}

#[tokio::test]
async fn strangers_neither_grow_the_memory_nor_displace_what_is_read() {
    let counter = Counter::default();
    let hot = Key {
        language: language::current(),
        address: "/hot".to_owned(),
    };
    for number in 0..2 * MOST_ANSWERS {
        let address = format!("/search?q={number}");
        counter.ask(&address, || bytes(10)).await;
        counter.ask("/hot", || bytes(10)).await;
        assert!(counter.kept.shelf().places.contains(&hot), "{number}");
    }
    assert_eq!(counter.size().0, MOST_ANSWERS);
    for number in 0..40 {
        counter
            .ask(&format!("/large?{number}"), || bytes(900_000))
            .await;
    }
    let (places, kept) = counter.size();
    assert!(
        places < 40 && kept <= MOST_BYTES,
        "{places} places, {kept} bytes"
    );
    let long = format!("/{}", "a".repeat(LONGEST_ADDRESS));
    let before = counter.made();
    for _ in 0..2 {
        counter.ask(&long, || bytes(10)).await;
    }
    assert_eq!(counter.made(), before + 2);
}

#[tokio::test]
async fn an_answer_is_kept_for_a_second_of_either_clock() {
    let (counter, clock) = (Counter::default(), Clock::movable());
    let asking = async {
        counter.ask("/a", || bytes(10)).await;
        for by in [2, -3] {
            clock.advance(TimeDelta::seconds(by));
            let before = counter.made();
            counter.ask("/a", || bytes(10)).await;
            assert_eq!(counter.made(), before + 1, "{by}");
        }
        tokio::time::sleep(LONGEST + Duration::from_millis(50)).await;
        counter.ask("/a", || bytes(10)).await;
        assert_eq!(counter.made(), 4);
    };
    context::within(clock.clone(), None, asking).await;
}

#[tokio::test]
async fn each_language_has_its_answer() {
    let counter = Counter::default();
    for (language, made) in [
        (Language::English, 1),
        (Language::Indonesian, 2),
        (Language::English, 2),
        (Language::Indonesian, 2),
    ] {
        let asking = counter.ask("/a", || bytes(10));
        context::within(Clock::system(), Some(language), asking).await;
        assert_eq!(counter.made(), made, "{language}");
    }
}

const PATH: &str = "/api/catalog/services";

fn page(items: usize) -> Response {
    Success::ok("The services.", vec!["n8n"; items]).into_response()
}

/// The steps that shape a public answer, around one.
fn layered(route: MethodRouter) -> Router {
    Router::new()
        .route(PATH, route)
        .layer(middleware::from_fn(shaped))
}

async fn shaped(request: extract::Request, next: Next) -> Response {
    let request = accept_plain(request);
    let headers = AnswerHeaders::of(Some("https://toko.example.com"));
    let chosen = headers.for_request(&request);
    let (taken, known) = (taken_codings(&request), known_tags(&request));
    let answer = next.run(request).await;
    let mut answer = answer_conditionally(&known.unwrap(), answer).await;
    set_headers(chosen, &mut answer);
    compress(taken.unwrap(), answer).await
}

fn made(items: usize) -> Router {
    layered(get(move || async move { page(items) }))
}

fn kept(items: usize) -> Router {
    let counter = Arc::new(Counter::default());
    let answer = move |asked: Asked| {
        let counter = Arc::clone(&counter);
        async move {
            let make = || async { page(items) }.boxed();
            counter.kept.answer(&asked, &counter.generation, make).await
        }
    };
    layered(get(answer))
}

/// Status, headers in their order by name, and the body without its moment.
type Said = (StatusCode, Vec<(String, String)>, Value);

async fn said(router: &Router, accept: Option<&str>, known: Option<&str>) -> Said {
    let mut request = Request::builder().uri(PATH);
    for (name, value) in [
        (header::ACCEPT_ENCODING, accept),
        (header::IF_NONE_MATCH, known),
    ] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let is_packed = parts.headers.contains_key(header::CONTENT_ENCODING);
    let mut text = String::new();
    if is_packed {
        GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    } else {
        text.push_str(std::str::from_utf8(&body).unwrap());
    }
    let mut body: Value = serde_json::from_str(&text).unwrap_or_default();
    if let Some(body) = body.as_object_mut() {
        assert!(body.remove("timestamp").is_some());
    }
    let headers = parts.headers.iter();
    let mut headers: Vec<_> = headers
        // The size of what is compressed is known only where it was compressed before.
        .filter(|(name, _)| name.as_str() != "content-length")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (parts.status, headers, body)
}

#[tokio::test]
async fn kept_answers_say_what_made_ones_say() {
    for items in [1, 500] {
        let (made, kept) = (made(items), kept(items));
        let (_, headers, _) = said(&made, None, None).await;
        let tag = headers.iter().find(|(name, _)| name == "etag").unwrap();
        let tag = tag.1.as_str();
        for accept in [
            None,
            Some("gzip"),
            Some("GZIP"),
            Some("x-gzip"),
            Some("gzip, deflate, br, zstd"),
            Some("br"),
            Some("identity"),
            Some("deflate,,gzip"),
            Some("gzip;q=0"),
            Some("gzip;q=0.5, identity;q=0.9"),
            Some("gzip, identity;q=0"),
            Some("identity;q=0"),
            Some("*"),
            Some("*;q=0"),
            Some("gzip;q=0, identity;q=0"),
            Some(""),
        ] {
            for known in [None, Some(tag), Some("*"), Some("\"x\""), Some("")] {
                let expected = said(&made, accept, known).await;
                assert_ne!(expected.0, StatusCode::NOT_ACCEPTABLE, "{accept:?}");
                for _ in 0..2 {
                    assert_eq!(
                        said(&kept, accept, known).await,
                        expected,
                        "{accept:?} {known:?}"
                    );
                }
            }
        }
    }
}
