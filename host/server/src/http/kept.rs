//! Answers that are the same for everybody, kept as bytes until what they say has changed.
//!
//! See `docs/decisions/0033-public-answers-are-kept.md`.

use std::{
    convert::Infallible,
    io::{self, Write as _},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes, HttpBody as _, to_bytes},
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, TimeDelta, Utc};
use dermaga_shop::{
    Error,
    db::{Edition, Generation},
    language::{self, Language},
};
use flate2::{Compression, write::GzEncoder};
use futures::future::BoxFuture;
use lru::LruCache;

use super::{
    Refusal,
    compression::{LEAST_BYTES, reads_gzip},
    conditional::{forget_body, names, tag},
    context,
};

/// Time for which an answer is kept at most, so that changes by other servers show, and that the moment
/// written on it is nearly right.
const LONGEST: Duration = Duration::from_secs(1);
const LONGEST_BY_CLOCK: TimeDelta = TimeDelta::seconds(1);
/// Maximum of answers kept. Strangers choose what is asked for; what was not for the longest goes first.
const MOST_ANSWERS: usize = 256;
/// Maximum of bytes of all of them.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Largest answer that is kept.
const LARGEST: u64 = 1024 * 1024;
/// Headers that are added to a copy of a kept answer on its way out.
const ADDED_HEADERS: usize = 12;
/// Longest address whose answer is kept.
const LONGEST_ADDRESS: usize = 512;

/// The kept answers of a server.
#[derive(Debug, Default)]
pub struct KeptAnswers(Mutex<Shelf>);

#[derive(Debug)]
struct Shelf {
    places: LruCache<Key, Place>,
    /// Bytes of all kept answers.
    bytes: usize,
}

/// Address within the API, with its query, and the language of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    language: Language,
    address: String,
}

#[derive(Debug, Default)]
struct Place {
    kept: Option<Arc<Kept>>,
    flight: Arc<Flight>,
}

/// Making of one answer, which others wait for.
#[derive(Debug, Default)]
struct Flight {
    turn: tokio::sync::Mutex<()>,
    /// Number of answers that were made and could not be kept.
    unkept: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    began: Beginning,
    /// Moment before it was made, by the clock that writes on it.
    moment: DateTime<Utc>,
    headers: HeaderMap,
    tag: String,
    plain: Bytes,
    /// Compressed by the first request that reads it; `None` where that is not worth it.
    packed: OnceLock<Option<Bytes>>,
}

/// Beginning of a request, or of the making of an answer.
#[derive(Debug, Clone, Copy)]
struct Beginning {
    at: Instant,
    edition: Edition,
}

/// Parts of a request that decide which answer it gets, and in which form.
#[derive(Debug)]
pub struct Asked {
    /// Absent for requests whose address is too long to keep their answers.
    key: Option<Key>,
    /// Tags that the client has.
    known: Vec<HeaderValue>,
    reads_gzip: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts.uri.path_and_query().map_or("/", |all| all.as_str());
        // An answer to HEAD is the one to GET, whose body is left out by the server around all layers.
        let key = (address.len() <= LONGEST_ADDRESS).then(|| Key {
            language: language::current(),
            address: address.to_owned(),
        });
        let known = parts.headers.get_all(header::IF_NONE_MATCH);
        Ok(Self {
            key,
            known: known.iter().cloned().collect(),
            reads_gzip: reads_gzip(&parts.headers),
        })
    }
}

impl KeptAnswers {
    /// Returns the answer that is kept, or makes it: once for all that wait for it.
    pub async fn answer<'a>(
        &self,
        asked: &Asked,
        generation: &Generation,
        make: impl FnOnce() -> BoxFuture<'a, Response> + Send,
    ) -> Response {
        let Some(key) = &asked.key else {
            return make().await;
        };
        let began = Beginning::now(generation);
        let flight = match self.find(key, began) {
            Ok(kept) => return kept.answer(asked),
            Err(flight) => flight,
        };
        let unkept = flight.unkept.load(Ordering::SeqCst);
        let turn = flight.turn.lock().await;
        if let Ok(kept) = self.find(key, began) {
            return kept.answer(asked);
        }
        if flight.unkept.load(Ordering::SeqCst) != unkept {
            // Waiting for one after the other would make what fails slow as well.
            drop(turn);
            return make().await;
        }
        let (began, moment) = (Beginning::now(generation), context::now());
        match Kept::of(make().await, began, moment).await {
            Ok(kept) => {
                let kept = Arc::new(kept);
                self.keep(key, &kept);
                kept.answer(asked)
            }
            Err(response) => {
                flight.unkept.fetch_add(1, Ordering::SeqCst);
                self.shelf().remove(key);
                *response
            }
        }
    }

    /// Returns the kept answer that is good for a request, or the place where it is made.
    fn find(&self, key: &Key, asked: Beginning) -> Result<Arc<Kept>, Arc<Flight>> {
        let mut shelf = self.shelf();
        if let Some(place) = shelf.places.get(key) {
            return match &place.kept {
                Some(kept) if kept.is_good_for(asked) => Ok(Arc::clone(kept)),
                _ => Err(Arc::clone(&place.flight)),
            };
        }
        let place = Place::default();
        let flight = Arc::clone(&place.flight);
        shelf.places.put(key.clone(), place);
        shelf.shrink();
        Err(flight)
    }

    fn keep(&self, key: &Key, kept: &Arc<Kept>) {
        let mut shelf = self.shelf();
        shelf.bytes += kept.weight();
        let place = shelf.places.get_or_insert_mut(key.clone(), Place::default);
        if let Some(old) = place.kept.replace(Arc::clone(kept)) {
            shelf.bytes = shelf.bytes.saturating_sub(old.weight());
        }
        shelf.shrink();
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            places: LruCache::unbounded(),
            bytes: 0,
        }
    }
}

impl Shelf {
    fn shrink(&mut self) {
        while self.places.len() > MOST_ANSWERS || self.bytes > MOST_BYTES {
            let Some((_, place)) = self.places.pop_lru() else {
                return;
            };
            self.forget(&place);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(place) = self.places.pop(key) {
            self.forget(&place);
        }
    }

    fn forget(&mut self, place: &Place) {
        let weight = place.kept.as_ref().map_or(0, |kept| kept.weight());
        self.bytes = self.bytes.saturating_sub(weight);
    }
}

impl Beginning {
    fn now(generation: &Generation) -> Self {
        Self {
            at: Instant::now(),
            edition: generation.edition(),
        }
    }
}

impl Kept {
    /// Takes an answer apart; returns it when it cannot be kept.
    async fn of(
        response: Response,
        began: Beginning,
        moment: DateTime<Utc>,
    ) -> Result<Self, Box<Response>> {
        let size = response.body().size_hint().exact();
        if response.status() != StatusCode::OK || size.is_none_or(|size| size > LARGEST) {
            return Err(Box::new(response));
        }
        let (mut parts, body) = response.into_parts();
        // Its size is known, so that this cannot take more memory than it has.
        let plain = to_bytes(body, usize::MAX)
            .await
            .map_err(|error| Box::new(Refusal(Error::internal(error)).into_response()))?;
        let tag = tag(&plain);
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            parts.headers.insert(header::ETAG, tag);
        }
        // Copies have the same room, and are not hashed once more when those of each answer are added.
        parts.headers.reserve(ADDED_HEADERS);
        Ok(Self {
            began,
            moment,
            headers: parts.headers,
            tag,
            plain,
            packed: OnceLock::new(),
        })
    }

    /// Returns true when it was made after the request came, or is young and nothing has changed since.
    fn is_good_for(&self, asked: Beginning) -> bool {
        self.began.at >= asked.at || (self.is_young() && self.began.edition.serves(asked.edition))
    }

    fn is_young(&self) -> bool {
        // A clock that is moved on purpose changes the moment that is written on an answer.
        let by_clock = (context::now() - self.moment).abs();
        self.began.at.elapsed() < LONGEST && by_clock < LONGEST_BY_CLOCK
    }

    /// Bytes that it may take: of its own, and compressed, which is less.
    fn weight(&self) -> usize {
        2 * self.plain.len() + LONGEST_ADDRESS
    }

    fn answer(&self, asked: &Asked) -> Response {
        let mut response = Response::new(Body::empty());
        self.headers.clone_into(response.headers_mut());
        if asked.known.iter().any(|list| names(list, &self.tag)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            forget_body(response.headers_mut());
            return response;
        }
        let packed = asked.reads_gzip.then(|| self.packed()).flatten();
        if packed.is_some() {
            // As the layer of compression says it, which leaves alone what is compressed already.
            let headers = response.headers_mut();
            let gzip = HeaderValue::from_static("gzip");
            headers.insert(header::CONTENT_ENCODING, gzip);
            let choice = HeaderValue::from_static("accept-encoding");
            headers.append(header::VARY, choice);
        }
        *response.body_mut() = Body::from(packed.unwrap_or(&self.plain).clone());
        response
    }

    fn packed(&self) -> Option<&Bytes> {
        let packed = self.packed.get_or_init(|| {
            let is_large = u64::try_from(self.plain.len()).is_ok_and(|size| size >= LEAST_BYTES);
            let packed = is_large.then(|| compressed(&self.plain))?;
            packed.ok().map(Bytes::from)
        });
        packed.as_ref()
    }
}

/// Compresses as the layer of compression does.
fn compressed(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(plain)?;
    packer.finish()
}

#[cfg(test)]
mod tests;
