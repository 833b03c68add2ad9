//! One attempt: the request, and what is kept of its answer.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{
    Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};

use super::{
    Settings,
    address::{Checking, Refused},
};
use crate::{bodies, tls};

/// Bytes that are read and kept of an answer.
const ANSWER_BYTES: usize = 1024;

/// Client that connects to checked addresses only.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    http: reqwest::Client,
    checking: Checking,
    timeout: Duration,
}

/// A signed event.
#[derive(Debug)]
pub(super) struct Signed<'a> {
    pub(super) url: &'a str,
    pub(super) id: &'a str,
    pub(super) timestamp: i64,
    pub(super) signature: String,
    pub(super) body: &'a str,
}

/// End of an attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Absent when there was no answer.
    pub(super) status: Option<StatusCode>,
    pub(super) duration: Duration,
    /// First bytes of the answer, or the reason why there was none.
    pub(super) answer: String,
    /// Time that the receiver asks to be left alone.
    pub(super) retry_after: Option<RetryAfter>,
}

/// Value of the header `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetryAfter {
    Seconds(u32),
    At(DateTime<Utc>),
}

impl RetryAfter {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Self::Seconds(seconds));
        }
        let date = DateTime::parse_from_rfc2822(text).ok()?;
        Some(Self::At(date.to_utc()))
    }

    /// Returns the moment that it names.
    pub(super) fn moment(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Seconds(seconds) => now + TimeDelta::seconds(i64::from(seconds)),
            Self::At(moment) => moment,
        }
    }
}

impl Attempt {
    /// Returns an attempt that sent nothing.
    pub(super) fn not_made(reason: impl Into<String>) -> Self {
        Self {
            status: None,
            duration: Duration::ZERO,
            answer: reason.into(),
            retry_after: None,
        }
    }

    pub(super) fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.is_success())
    }
}

impl Sender {
    pub(super) fn new(settings: &Settings, checking: Checking) -> reqwest::Result<Self> {
        let http = client(settings, &checking)?
            .timeout(settings.timeout)
            .https_only(!settings.allow_http)
            .user_agent(concat!("dermaga-webhooks/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            http,
            checking,
            timeout: settings.timeout,
        })
    }

    /// Sends an event once.
    pub(super) async fn send(&self, signed: Signed<'_>) -> Attempt {
        let began = Instant::now();
        // The client's own limit does not count while a body is read that never ends.
        let ended = tokio::time::timeout(self.timeout, self.exchange(signed)).await;
        let ended = ended.unwrap_or_else(|_| Ok(Attempt::not_made("no answer in time")));
        match ended {
            Ok(attempt) => Attempt {
                duration: began.elapsed(),
                ..attempt
            },
            // The time of a look-up would tell a name that is unknown from one that leads to a private address.
            Err(refused) => refused,
        }
    }

    /// Sends an event; fails with an attempt that sent nothing, as the address is refused.
    async fn exchange(&self, signed: Signed<'_>) -> Result<Attempt, Attempt> {
        let none = |_| Attempt::not_made("the address is none");
        let url = Url::parse(signed.url).map_err(none)?;
        let checked = self.checking.check_literal(&url);
        checked.map_err(|refused| not_sent(&refused))?;
        let request = self
            .http
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", signed.id)
            .header("webhook-timestamp", signed.timestamp)
            .header("webhook-signature", signed.signature)
            .body(signed.body.to_owned());
        match request.send().await {
            Ok(response) => Ok(Attempt {
                status: Some(response.status()),
                duration: Duration::ZERO,
                retry_after: RetryAfter::read(response.headers()),
                answer: beginning(response).await,
            }),
            Err(error) => match innermost(&error).downcast_ref::<Refused>() {
                Some(refused) => Err(not_sent(refused)),
                None => Ok(Attempt::not_made(cause(&error))),
            },
        }
    }
}

/// Returns a client, still to be built, that connects to checked addresses only.
pub(super) fn client(
    settings: &Settings,
    checking: &Checking,
) -> reqwest::Result<reqwest::ClientBuilder> {
    // One TLS provider for the process; a second installation changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authorities = settings.authorities.iter();
    let authorities = authorities.flat_map(|some| some.certificates());
    let authorities: reqwest::Result<Vec<_>> =
        authorities.map(reqwest::Certificate::from_der).collect();
    let client = reqwest::Client::builder()
        .tls_certs_merge(authorities?)
        .dns_resolver(checking.clone())
        // A proxy would look names up by itself.
        .no_proxy()
        // An answer could point to where nothing may be sent.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        // Each connection is for an address that was checked for it.
        .pool_max_idle_per_host(0)
        .referer(false);
    Ok(client)
}

/// Returns the attempt to send to a refused address.
fn not_sent(refused: &Refused) -> Attempt {
    Attempt::not_made(format!("the address {refused}"))
}

/// Reads the first bytes of an answer; the rest stays unread.
pub(super) async fn beginning(response: Response) -> String {
    // The status and the first bytes say more than the failure that ended the body.
    let read = bodies::first_bytes(response, ANSWER_BYTES).await;
    printable(&String::from_utf8_lossy(&read.bytes))
}

/// Replaces what a database or a terminal would not take.
fn printable(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\n' => '\n',
        letter if letter.is_control() => ' ',
        letter => letter,
    };
    text.chars().map(shown).collect()
}

/// Returns the innermost reason, which says more than those around it.
pub(super) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    if let Some(refused) = tls::refusal(error) {
        return printable(&told(refused));
    }
    printable(&innermost(error).to_string())
}

/// Returns the error at the end of the chain of sources.
pub(super) fn innermost(error: &reqwest::Error) -> &(dyn std::error::Error + 'static) {
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

/// Says in plain words why a receiver's certificate is refused.
fn told(refused: &rustls::Error) -> String {
    match (tls::plain(refused), refused) {
        (Some(reason), _) => reason.to_owned(),
        (None, rustls::Error::InvalidCertificate(other)) => {
            format!("the certificate is refused: {other}")
        }
        (None, _) => format!("no encrypted connection: {refused}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{io, net::IpAddr};

    use rustls::CertificateError;

    use super::*;
    use crate::webhooks::Lookup;

    /// Names that only this machine finds are not told from unknown ones by how long it looked for them.
    #[tokio::test]
    async fn an_attempt_that_sends_nothing_takes_no_time() {
        let private: Vec<IpAddr> = vec![[10, 0, 0, 1].into()];
        for (url, found) in [
            ("https://di-dalam.example/", Vec::new()),
            ("https://di-dalam.example/", private),
            ("https://10.0.0.1/", Vec::new()),
        ] {
            let lookup = Lookup::new(move |_| {
                let found = found.clone();
                Box::pin(async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Ok(found)
                })
            });
            let settings = Settings {
                lookup,
                timeout: Duration::from_secs(5),
                ..Settings::default()
            };
            let sender = Sender::new(&settings, Checking::new(&settings)).unwrap();
            let signed = Signed {
                url,
                id: "msg_1",
                timestamp: 0,
                signature: "v1,".to_owned(),
                body: "{}",
            };
            let attempt = sender.send(signed).await;
            assert_eq!(attempt.status, None);
            assert!(attempt.answer.contains("public address"), "{attempt:?}");
            assert_eq!(attempt.duration, Duration::ZERO, "{attempt:?}");
        }
    }

    #[test]
    fn the_reason_of_a_refused_certificate_is_found_within_what_wraps_it() {
        let wrapped = |reason| {
            let inner = io::Error::other(rustls::Error::InvalidCertificate(reason));
            io::Error::other(inner)
        };
        for (reason, expected) in [
            (CertificateError::UnknownIssuer, "not trusted"),
            (CertificateError::NotValidForName, "another name"),
            (CertificateError::Expired, "has expired"),
            (CertificateError::NotValidYet, "not valid yet"),
            (CertificateError::Revoked, "is refused: "),
        ] {
            let error = wrapped(reason);
            let said = told(tls::refusal(&error).unwrap());
            assert!(said.contains(expected), "{said}");
        }
        assert!(tls::refusal(&io::Error::other("nothing of the kind")).is_none());
    }

    #[test]
    fn receivers_ask_for_time_in_seconds_or_by_a_date() {
        let now = "2026-11-06T08:49:00Z".parse().unwrap();
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            RetryAfter::read(&headers).map(|asked| (asked.moment(now) - now).num_seconds())
        };
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Fri, 06 Nov 2026 08:49:37 GMT"), Some(37));
        for nothing in ["", "soon", "-5", "1.5", "99999999999"] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }
}
