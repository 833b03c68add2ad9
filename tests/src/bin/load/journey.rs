//! The whole way of a new customer, from signing up to cancelling, each time with a new account.

use std::time::{Duration, Instant};

use dermaga_tests::{
    unique,
    wire::{Request, Wire},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{Outcome, floor::Exchange, setup, text_at, turn::Record};

/// Pause before a full queue of sign-ups is asked again. It is shorter than the `Retry-After` of the refusal, so
/// that the queue never runs empty.
const BUSY_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_BUSY: Duration = Duration::from_secs(120);
/// Pause between two looks for the money of a top-up.
const POLL: Duration = Duration::from_millis(5);
const LONGEST_PAYMENT: Duration = Duration::from_secs(60);
/// Rupiah; pays for the plan.
const TOP_UP: i64 = 100_000;

/// A part of the journey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Register,
    TopUp,
    /// Pressing Pay on the page of the sandbox.
    Pay,
    /// The time until the gateway's signed notice has arrived and the money is there.
    Paid,
    Coupon,
    Quote,
    Subscribe,
    Read,
    Cancel,
}

impl Step {
    pub(crate) const ALL: [Self; 9] = [
        Self::Register,
        Self::TopUp,
        Self::Pay,
        Self::Paid,
        Self::Coupon,
        Self::Quote,
        Self::Subscribe,
        Self::Read,
        Self::Cancel,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::TopUp => "top-up",
            Self::Pay => "pay",
            Self::Paid => "paid",
            Self::Coupon => "coupon",
            Self::Quote => "quote",
            Self::Subscribe => "subscribe",
            Self::Read => "read",
            Self::Cancel => "cancel",
        }
    }

    const fn method(self) -> &'static str {
        match self {
            Self::Paid | Self::Read => "GET",
            Self::Cancel => "DELETE",
            _ => "POST",
        }
    }

    const fn status(self) -> u16 {
        match self {
            Self::Register | Self::TopUp | Self::Coupon | Self::Subscribe => 201,
            // The page again, by an address that does nothing when it is reloaded.
            Self::Pay => 303,
            Self::Paid | Self::Quote | Self::Read | Self::Cancel => 200,
        }
    }

    /// True for requests that carry an idempotency key.
    const fn has_key(self) -> bool {
        matches!(self, Self::TopUp | Self::Coupon | Self::Subscribe)
    }

    /// Place among the steps of a record, after the whole.
    fn number(self) -> usize {
        1 + Self::ALL
            .iter()
            .position(|step| *step == self)
            .unwrap_or_default()
    }
}

/// A user who makes the journey again and again on one connection.
#[derive(Debug)]
pub(crate) struct Journey {
    wire: Wire,
    host: String,
    coupon: String,
    plan: String,
    /// Access token of the customer of the present journey.
    token: Option<String>,
    /// Exchanges of a journey that is kept for the floor.
    kept: Option<Vec<Exchange>>,
}

impl Journey {
    pub(crate) async fn connect(host: &str, coupon: &str, plan: &str) -> Outcome<Self> {
        Ok(Self {
            wire: Wire::connect(host).await?,
            host: host.to_owned(),
            coupon: coupon.to_owned(),
            plan: plan.to_owned(),
            token: None,
            kept: None,
        })
    }

    /// Makes the journey once, for the floor.
    pub(crate) async fn exchanges(&mut self) -> Outcome<Vec<Exchange>> {
        self.kept = Some(Vec::new());
        self.act(&mut Record::default()).await?;
        Ok(self.kept.take().unwrap_or_default())
    }

    pub(crate) async fn act(&mut self, record: &mut Record) -> Outcome<()> {
        let started = Instant::now();
        self.register(record).await?;
        self.top_up(record).await?;
        let code = json!({ "couponCode": self.coupon });
        let path = "/api/wallet/redeem-coupon";
        self.step(record, Step::Coupon, path, Some(code)).await?;
        let order = json!({ "planId": self.plan });
        let path = "/api/subscriptions/quote";
        let quote = self.step(record, Step::Quote, path, Some(order)).await?;
        let order = json!({ "planId": self.plan, "quoteId": text_at(&quote, "/data/id")? });
        let path = "/api/subscriptions";
        let bought = self
            .step(record, Step::Subscribe, path, Some(order))
            .await?;
        let id = text_at(&bought, "/data/subscription/id")?;
        let path = format!("/api/subscriptions/{id}");
        self.step(record, Step::Read, &path, None).await?;
        let reason = json!({ "reason": "The end of a measured journey" });
        self.step(record, Step::Cancel, &path, Some(reason)).await?;
        record.take(0, started);
        Ok(())
    }

    /// Signs up, and asks again while the queue of sign-ups is full, which is meant to happen.
    async fn register(&mut self, record: &mut Record) -> Outcome<()> {
        self.token = None;
        let body = setup::registration(&format!("perjalanan-{}", unique())).to_string();
        let request = self.request(Step::Register, "/api/auth/register", Some(&body));
        let started = Instant::now();
        loop {
            let answered = self.wire.ask(&request).await?;
            if answered.status == 503 && started.elapsed() < LONGEST_BUSY {
                record.busy += 1;
                sleep(BUSY_PAUSE).await;
                continue;
            }
            if answered.status != Step::Register.status() {
                return Err(crate::refusal(Step::Register.name(), answered).into());
            }
            let answer = answered.body.to_vec();
            record.take(Step::Register.number(), started);
            let welcome: Value = serde_json::from_slice(&answer)?;
            self.token = Some(text_at(&welcome, "/data/accessToken")?.to_owned());
            self.keep(Step::Register, Some(body), &answer);
            return Ok(());
        }
    }

    /// Begins a top-up, presses Pay on its page, and waits for the gateway's notice.
    async fn top_up(&mut self, record: &mut Record) -> Outcome<()> {
        let wanted = json!({ "amount": TOP_UP, "paymentMethod": "QRIS" });
        let path = "/api/wallet/topup";
        let open = self.step(record, Step::TopUp, path, Some(wanted)).await?;
        let page = text_at(&open, "/data/redirectUrl")?;
        let path = page
            .strip_prefix("http://")
            .and_then(|rest| rest.strip_prefix(self.host.as_str()))
            .ok_or("the payment page is on another server")?
            .to_owned();
        self.press(record, &path).await?;
        let id = text_at(&open, "/data/transactionId")?;
        let request = self.request(Step::Paid, &format!("/api/wallet/transactions/{id}"), None);
        let started = Instant::now();
        loop {
            let answered = self.wire.ask(&request).await?;
            if answered.status != Step::Paid.status() {
                return Err(crate::refusal(Step::Paid.name(), answered).into());
            }
            let answer = answered.body.to_vec();
            let transaction: Value = serde_json::from_slice(&answer)?;
            if text_at(&transaction, "/data/status")? == "COMPLETED" {
                record.take(Step::Paid.number(), started);
                self.keep(Step::Paid, None, &answer);
                return Ok(());
            }
            if started.elapsed() > LONGEST_PAYMENT {
                return Err("the notice of a payment did not arrive".into());
            }
            sleep(POLL).await;
        }
    }

    /// Presses Pay; the answer is no JSON.
    async fn press(&mut self, record: &mut Record, path: &str) -> Outcome<()> {
        let body = "action=pay".to_owned();
        let request = self.request(Step::Pay, path, Some(&body));
        let started = Instant::now();
        let answered = self.wire.ask(&request).await?;
        if answered.status != Step::Pay.status() {
            return Err(crate::refusal(Step::Pay.name(), answered).into());
        }
        let answer = answered.body.to_vec();
        record.take(Step::Pay.number(), started);
        self.keep(Step::Pay, Some(body), &answer);
        Ok(())
    }

    async fn step(
        &mut self,
        record: &mut Record,
        step: Step,
        path: &str,
        body: Option<Value>,
    ) -> Outcome<Value> {
        let body = body.map(|body| body.to_string());
        let request = self.request(step, path, body.as_deref());
        let started = Instant::now();
        let answered = self.wire.ask(&request).await?;
        if answered.status != step.status() {
            return Err(crate::refusal(step.name(), answered).into());
        }
        let answer = answered.body.to_vec();
        record.take(step.number(), started);
        self.keep(step, body, &answer);
        Ok(serde_json::from_slice(&answer)?)
    }

    fn request(&self, step: Step, path: &str, body: Option<&str>) -> String {
        let request = Request {
            method: step.method(),
            path,
            token: self.token.as_deref(),
            // Every journey has a customer of its own, so that the step alone tells them apart.
            idempotency_key: step.has_key().then_some(step.name()),
            body,
        };
        request.to_text(&self.host)
    }

    fn keep(&mut self, step: Step, sent: Option<String>, answer: &[u8]) {
        if let Some(kept) = &mut self.kept {
            kept.push(Exchange {
                method: step.method(),
                sent,
                status: step.status(),
                answer: String::from_utf8_lossy(answer).into_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_step_has_a_place_of_its_own_after_the_whole() {
        let places: Vec<usize> = Step::ALL.iter().map(|step| step.number()).collect();
        assert_eq!(places, (1..=Step::ALL.len()).collect::<Vec<_>>());
        let names: BTreeSet<&str> = Step::ALL.iter().map(|step| step.name()).collect();
        assert_eq!(names.len(), Step::ALL.len());
    }
}
