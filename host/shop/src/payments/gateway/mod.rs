//! The client of Midtrans: payment pages, status, cancelling, expiring and refunding.
//!
//! Every question can be asked twice without harm (an order is named by us, a refund by its key),
//! so one that got no answer is repeated a few times, and a gateway that stays away is left alone
//! by a breaker.

mod addresses;
mod breaker;
mod text;
mod wire;

use std::{
    ops::RangeInclusive,
    sync::OnceLock,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Method, Response, StatusCode, header::RETRY_AFTER};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::Instrument as _;

pub(super) use self::addresses::Addresses;
use self::breaker::Breaker;
pub(super) use self::wire::{Callbacks, PAGE_MINUTES, Status};
use super::Payment;
use crate::{
    Code, Error, bodies,
    crypto::{self, Hidden, Secret},
    db::Clock,
    money::Rupiah,
    text::{counted, without_secrets},
    traces::TARGET,
};

/// Times one question is asked at the most.
const ATTEMPTS: u32 = 3;
/// Pause before the second attempt; doubled before the third, and spread.
const FIRST_WAIT_MS: u64 = 150;
/// Longer than the pause before any attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Longer than any question, by the longest timeout that the settings allow.
const LONGEST_QUESTION: TimeDelta = TimeDelta::minutes(4);
/// Answers are small; anything longer is not from a gateway.
const ANSWER_BYTES: usize = 256 * 1024;
/// The pause after a 429 that names none, and the bounds within which it may name one.
const PAUSE_SECONDS: u64 = 60;
const PAUSE_BOUNDS: RangeInclusive<u64> = 5..=600;

/// The gateway as this server reaches it.
#[derive(Debug)]
pub struct Gateway {
    http: reqwest::Client,
    clock: Clock,
    server_key: Secret,
    callbacks: Callbacks,
    /// Known once the sandbox's server listens; from the start for Midtrans.
    addresses: OnceLock<Addresses>,
    /// Address for notices, when not the one in the gateway's own settings.
    notify: OnceLock<String>,
    /// Timeout of one attempt.
    timeout: Duration,
    breaker: Breaker,
}

/// A payment page that was made.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Page {
    pub(super) token: Hidden,
    pub(super) redirect_url: String,
}

/// Returns true for an address of the web.
fn is_web(address: &str) -> bool {
    let scheme = reqwest::Url::parse(address).map(|url| url.scheme().to_owned());
    scheme.is_ok_and(|scheme| matches!(scheme.as_str(), "http" | "https"))
}

/// Reason why a question to the gateway was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum GatewayError {
    #[error("the gateway is left alone after failures in a row, until {0}")]
    LeftAlone(DateTime<Utc>),
    #[error("the gateway does not answer: {0}")]
    Unreachable(#[from] reqwest::Error),
    #[error("the gateway failed with {0}")]
    Failed(u16),
    /// The shop asks too often. That is no outage: the asker waits, and nothing else.
    #[error("the gateway wants a pause of {0} s")]
    Throttled(u64),
    #[error("the gateway's answer makes no sense: {0}")]
    Garbage(String),
    #[error("the gateway refused with {code}: {message}")]
    Refused { code: u16, message: String },
}

impl GatewayError {
    /// Returns true when the same question may be answered the next time.
    const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Failed(_))
    }

    /// Returns true when the gateway itself is at fault.
    const fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_) | Self::Failed(_) | Self::Garbage(_)
        )
    }

    /// Returns true when an order is refused because there was one with its id, in the words of
    /// Snap: its language is that of the shop's account there.
    pub(super) fn is_order_used(&self) -> bool {
        let Self::Refused { code, message } = self else {
            return false;
        };
        let is_used = message.contains("sudah digunakan") || message.contains("already");
        matches!(*code, 400 | 406 | 409) && message.contains("order_id") && is_used
    }
}

impl From<GatewayError> for Error {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Refused { code, message } => {
                let sentence = "The payment gateway refused this.";
                Self::new(Code::GatewayRefused, sentence)
                    .with("gateway", format!("{code}: {message}"))
            }
            GatewayError::Throttled(seconds) => {
                let pause = counted(seconds, "second");
                let sentence = format!("The payment gateway is busy. Try again in {pause}.");
                Self::new(Code::GatewayUnavailable, sentence)
                    .retry_after(seconds)
                    .caused_by(error)
            }
            away => {
                let sentence = "The payment gateway does not answer. Try again in a moment.";
                Self::new(Code::GatewayUnavailable, sentence)
                    .retry_after(30)
                    .caused_by(away)
            }
        }
    }
}

/// The pause that the gateway asked for, when that is what an error comes from.
pub(super) fn wanted_pause(error: &Error) -> Option<TimeDelta> {
    match error.source.as_ref()?.downcast_ref::<GatewayError>()? {
        GatewayError::Throttled(seconds) => Some(TimeDelta::seconds(i64::try_from(*seconds).ok()?)),
        _ => None,
    }
}

/// An answer about an order.
#[derive(Debug)]
pub(super) enum Known {
    /// The payer has not chosen how to pay.
    Nothing,
    Told(Box<Status>),
    /// Reason why it cannot be used, in a sentence.
    Unusable(String),
}

/// An answer of the gateway.
#[derive(Debug)]
struct Answer {
    /// As Midtrans writes it into the body; the HTTP status where it does not.
    code: u16,
    text: String,
    json: Value,
}

/// Parts of a gateway.
#[derive(Debug)]
pub(super) struct GatewaySettings {
    pub(super) server_key: Secret,
    pub(super) addresses: Option<Addresses>,
    pub(super) notify: Option<String>,
    pub(super) callbacks: Callbacks,
    /// Timeout of one attempt.
    pub(super) timeout: Duration,
}

impl Gateway {
    pub(super) fn new(settings: GatewaySettings, clock: Clock) -> Result<Self, reqwest::Error> {
        // One TLS provider for the process; a second installation changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(settings.timeout.min(Duration::from_secs(3)))
            .timeout(settings.timeout)
            // Money is not sent where an answer points to.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("dermaga/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self {
            http,
            clock,
            server_key: settings.server_key,
            callbacks: settings.callbacks,
            addresses: settings.addresses.map(OnceLock::from).unwrap_or_default(),
            notify: settings.notify.map(OnceLock::from).unwrap_or_default(),
            timeout: settings.timeout,
            breaker: Breaker::default(),
        })
    }

    /// Sets the addresses of the gateway and for its notices; those already set stay.
    pub(super) fn found_at(&self, addresses: Addresses, notify: String) {
        let _ = self.addresses.set(addresses);
        let _ = self.notify.set(notify);
    }

    pub(super) fn server_key(&self) -> &str {
        self.server_key.reveal()
    }

    /// Returns the longest time that one question may take, with all its attempts.
    pub(super) fn patience(&self) -> TimeDelta {
        let attempt = self.timeout.saturating_add(LONGEST_WAIT);
        let longest = TimeDelta::from_std(attempt.saturating_mul(ATTEMPTS));
        longest.map_or(LONGEST_QUESTION, |longest| longest.min(LONGEST_QUESTION))
    }

    /// Returns the moment until which no question is asked, while the breaker is open.
    pub fn left_alone_until(&self) -> Option<DateTime<Utc>> {
        self.breaker.open_until(self.clock.now())
    }

    /// Returns true when the gateway failed several times in a row and has not answered since.
    pub(super) fn is_away(&self) -> bool {
        self.breaker.is_open()
    }

    /// Makes the page on which `payment` is paid; `name` is the line its payer reads.
    pub(super) async fn create_page(
        &self,
        payment: &Payment,
        name: &str,
    ) -> Result<Page, GatewayError> {
        let body = wire::snap_request(payment, name, &self.callbacks);
        let url = format!("{}/snap/v1/transactions", self.addresses()?.snap);
        let answer = self.ask(Method::POST, &url, Some(&body)).await?;
        if answer.code >= 300 {
            return Err(refusal(&answer));
        }
        let page: Option<Page> = serde_json::from_value(answer.json).ok();
        // Customers are sent to addresses of the web alone, even by a gateway that is none.
        page.filter(|page| is_web(&page.redirect_url))
            .ok_or_else(|| GatewayError::Garbage("no token and redirect_url".into()))
    }

    /// Asks for the state of an order.
    pub(super) async fn status(&self, order_id: &str) -> Result<Known, GatewayError> {
        let url = format!("{}/v2/{order_id}/status", self.addresses()?.core);
        let answer = self.ask(Method::GET, &url, None).await?;
        Ok(match answer.code {
            404 => Known::Nothing,
            // 407 is how an expired order is answered.
            200..=299 | 407 => Status::read(&answer.text).map_or_else(
                |why| Known::Unusable(format!("It is not as Midtrans writes it: {why}.")),
                |status| Known::Told(Box::new(status)),
            ),
            _ => Known::Unusable(format!("Its status was refused: {}.", refusal(&answer))),
        })
    }

    /// Asks for an order that is none: the gateway answers, and takes the key.
    ///
    /// # Errors
    /// `GATEWAY_UNAVAILABLE` when it does not answer, `GATEWAY_REFUSED` when it does not take the
    /// key.
    pub(super) async fn probe(&self) -> Result<(), Error> {
        let order_id = format!("probe-{}", crypto::random_hex(8));
        match self.status(&order_id).await? {
            Known::Nothing => Ok(()),
            Known::Told(_) => Err(Error::new(
                Code::GatewayRefused,
                "It knows an order that was never made.",
            )),
            Known::Unusable(why) => Err(Error::new(Code::GatewayRefused, why)),
        }
    }

    /// Ends an unpaid order. `false` when the gateway will not: it is paid, or ended.
    pub(super) async fn cancel(&self, payment: &Payment) -> Result<bool, GatewayError> {
        let mut done = self.modify(&payment.order_id, "cancel").await?;
        // Nothing was chosen yet: it is the page that must be closed.
        if let (None, Some(token)) = (done, payment.token.as_deref()) {
            let snap = &self.addresses()?.snap;
            let url = format!("{snap}/snap/v1/transactions/{token}/cancel");
            let closed = self.ask(Method::POST, &url, Some(&json!({}))).await?;
            if closed.code >= 300 {
                // It is closed already, or its payer has chosen in the same moment.
                done = self.modify(&payment.order_id, "cancel").await?;
            }
        }
        Ok(done.unwrap_or(true))
    }

    /// Voids a card payment that has not settled; `false` when the gateway will not, or does not know it.
    pub(super) async fn void(&self, order_id: &str) -> Result<bool, GatewayError> {
        Ok(self.modify(order_id, "cancel").await? == Some(true))
    }

    /// Ends an order whose time is over.
    pub(super) async fn expire(&self, order_id: &str) -> Result<(), GatewayError> {
        self.modify(order_id, "expire").await.map(|_| ())
    }

    /// Pays `amount` back. The same key pays back once, however often it is sent.
    pub(super) async fn refund(
        &self,
        order_id: &str,
        key: &str,
        amount: Rupiah,
        reason: &str,
    ) -> Result<(), GatewayError> {
        let url = format!("{}/v2/{order_id}/refund", self.addresses()?.core);
        let body = json!({ "refund_key": key, "amount": amount, "reason": reason });
        let answer = self.ask(Method::POST, &url, Some(&body)).await?;
        // 406: a refund with this key was paid before.
        if answer.code < 300 || answer.code == 406 {
            Ok(())
        } else {
            Err(refusal(&answer))
        }
    }

    /// `None` for an order the gateway does not know, `false` when it will not change it any more.
    async fn modify(&self, order_id: &str, what: &str) -> Result<Option<bool>, GatewayError> {
        let url = format!("{}/v2/{order_id}/{what}", self.addresses()?.core);
        let answer = self.ask(Method::POST, &url, Some(&json!({}))).await?;
        match answer.code {
            404 => Ok(None),
            200..=299 | 407 => Ok(Some(true)),
            412 => Ok(Some(false)),
            _ => Err(refusal(&answer)),
        }
    }

    fn addresses(&self) -> Result<&Addresses, GatewayError> {
        let unknown = || GatewayError::Garbage("the sandbox is not open yet".into());
        self.addresses.get().ok_or_else(unknown)
    }

    /// Asks until there is an answer or the attempts are used up.
    async fn ask(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Answer, GatewayError> {
        let mut attempt = 1;
        loop {
            let now = self.clock.now();
            if !self.breaker.admits(now) {
                let until = self.breaker.open_until(now).unwrap_or(now);
                return Err(GatewayError::LeftAlone(until));
            }
            let started = Instant::now();
            let kind = "client";
            let span = tracing::info_span!(target: TARGET, "gateway", otel.kind = kind, attempt);
            let asked = self.ask_once(method.clone(), url, body);
            let answer = asked.instrument(span).await;
            measure(answer.as_ref().err(), started.elapsed());
            match &answer {
                Err(error) if error.is_outage() => {
                    let url = without_secrets(url);
                    tracing::warn!(%error, gateway.url = url, attempt, "gateway.failed");
                    if self.breaker.failed(self.clock.now()) {
                        tracing::error!("gateway.breaker_opened");
                    }
                }
                // One customer who asks too often must not shut the gateway for all.
                Err(GatewayError::Throttled(_)) => {}
                _ => self.breaker.succeeded(),
            }
            match answer {
                Err(error) if error.is_passing() && attempt < ATTEMPTS => {
                    tokio::time::sleep(wait(attempt)).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn ask_once(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Answer, GatewayError> {
        let mut request = self
            .http
            .request(method, url)
            .basic_auth(self.server_key.reveal(), Some(""))
            .header("accept", "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(notify) = self.notify.get() {
            request = request.header("x-override-notification", notify);
        }
        // Its address is logged beside an error, without the values of a query.
        let unreachable = reqwest::Error::without_url;
        let response = request.send().await.map_err(unreachable)?;
        let (status, pause) = (response.status(), pause(&response));
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(GatewayError::Throttled(pause));
        }
        if status.is_server_error() {
            return Err(GatewayError::Failed(status.as_u16()));
        }
        let read = bodies::whole(response, ANSWER_BYTES).await;
        let too_long = || GatewayError::Garbage("the answer is too long".into());
        let read = read.map_err(unreachable)?.ok_or_else(too_long)?;
        let text = String::from_utf8_lossy(&read).into_owned();
        let garbage = |error: serde_json::Error| GatewayError::Garbage(error.to_string());
        let json: Value = serde_json::from_str(&text).map_err(garbage)?;
        match code(&json).unwrap_or_else(|| status.as_u16()) {
            429 => Err(GatewayError::Throttled(pause)),
            code @ 500.. => Err(GatewayError::Failed(code)),
            code => Ok(Answer { code, text, json }),
        }
    }
}

/// Counts a request to the gateway. A refusal of what was asked is an answer.
fn measure(error: Option<&GatewayError>, took: Duration) {
    let result = match error {
        None => "ANSWERED",
        Some(GatewayError::Throttled(_)) => "THROTTLED",
        Some(_) => "FAILED",
    };
    metrics::histogram!("dermaga_gateway_call_seconds", "result" => result).record(took);
}

/// Seconds that a 429 asks to wait.
fn pause(response: &Response) -> u64 {
    let said = response.headers().get(RETRY_AFTER);
    let said = said.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let seconds: u64 = said.unwrap_or(PAUSE_SECONDS);
    seconds.clamp(*PAUSE_BOUNDS.start(), *PAUSE_BOUNDS.end())
}

/// The code in the body of an answer, a text or a number.
fn code(answer: &Value) -> Option<u16> {
    match answer.get("status_code")? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64()?.try_into().ok(),
        _ => None,
    }
}

/// Between half and all of the attempt's wait, so that those who failed together come back apart.
fn wait(attempt: u32) -> Duration {
    let longest = FIRST_WAIT_MS << attempt.min(6);
    let [spread] = crypto::random_bytes::<1>();
    // Between half of it and the whole, so that servers that failed together do not ask together.
    Duration::from_millis(longest / 2 + longest * u64::from(spread) / 512)
}

fn refusal(answer: &Answer) -> GatewayError {
    let (code, answer) = (answer.code, &answer.json);
    let listed = answer.get("error_messages").and_then(Value::as_array);
    let listed = listed.map(|messages| {
        let texts: Vec<&str> = messages.iter().filter_map(Value::as_str).collect();
        texts.join("; ")
    });
    let said = answer.get("status_message").and_then(Value::as_str);
    let message = listed
        .or_else(|| said.map(str::to_owned))
        .unwrap_or_default();
    GatewayError::Refused {
        code,
        message: message.chars().take(300).collect(),
    }
}

#[cfg(test)]
mod tests;
