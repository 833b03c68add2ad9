//! The clock and the language of the request being answered, wherever in its task one asks.

use std::future::Future;

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::{DateTime, Utc};
use dermaga_shop::{
    Error,
    db::Clock,
    language::{self, Language},
};
use tracing::Instrument as _;

tokio::task_local! {
    static CLOCK: Clock;
}

/// Runs `work` by this clock, and in the language that the request names.
pub(crate) fn within<F: Future>(
    clock: Clock,
    named: Option<Language>,
    work: F,
) -> impl Future<Output = F::Output> {
    CLOCK.scope(clock, language::within(named, work))
}

/// Runs the work of a request to its end, in a task of its own: a client that hangs up, or a request
/// whose time is over, does not cut it off.
///
/// # Errors
/// `INTERNAL` when the work panics.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Error> {
    let clock = CLOCK.try_with(Clock::clone);
    let clock = clock.unwrap_or_else(|_| Clock::system());
    let work = within(clock, Some(language::current()), work);
    let ended = tokio::spawn(work.in_current_span()).await;
    ended.map_err(Error::internal)
}

/// Returns the language that a request names by `Accept-Language`, which may come in several lines.
pub(crate) fn named(headers: &HeaderMap) -> Option<Language> {
    let mut lines = headers
        .get_all(header::ACCEPT_LANGUAGE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let first = lines.next()?;
    match lines.next() {
        None => language::accepted(first),
        Some(second) => {
            let all: Vec<&str> = [first, second].into_iter().chain(lines).collect();
            language::accepted(&all.join(","))
        }
    }
}

/// Moment written on an answer: by the application's clock, which tests move.
pub(super) fn now() -> DateTime<Utc> {
    CLOCK
        .try_with(Clock::now)
        .unwrap_or_else(|_| Clock::system().now())
}

/// Says on an answer that it has sentences in the current language.
pub(crate) fn note_language(headers: &mut HeaderMap) {
    let language = HeaderValue::from_static(language::current().as_str());
    headers.insert(header::CONTENT_LANGUAGE, language);
    note_choice(headers);
}

/// Says on an answer that its language was chosen by the request.
pub(crate) fn note_choice(headers: &mut HeaderMap) {
    let name = HeaderValue::from_static("accept-language");
    headers.append(header::VARY, name);
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_ends_in_the_language_of_a_request_that_was_given_up() {
        let (begin, begun) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let work = async move {
            let _ = begun.await;
            let _ = end.send(language::current());
        };
        let language = Language::Indonesian;
        let request = within(Clock::system(), Some(language), to_the_end(work));
        let request = tokio::spawn(request);
        tokio::task::yield_now().await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        begin.send(()).unwrap();
        assert_eq!(ended.await.unwrap(), language);
    }

    #[test]
    fn a_language_is_named_in_one_line_or_in_several() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT_LANGUAGE, HeaderValue::from_static(line));
            }
            named(&headers)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["id"]), Some(Language::Indonesian));
        assert_eq!(of(&["de", "id;q=0.4", "en;q=0.5"]), Some(Language::English));
        assert_eq!(of(&["de", ""]), None);
    }
}
