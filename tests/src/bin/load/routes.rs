//! Single routes: one request, repeated on a connection that stays open.

use std::time::Instant;

use dermaga_tests::wire::{Request, Wire};
use serde_json::json;

use crate::{Outcome, floor::Exchange, setup::User, turn::Record};

/// A request that is measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Health,
    Catalogue,
    Wallet,
    Redeem,
    Subscribe,
}

impl Route {
    const fn method(self) -> &'static str {
        match self {
            Self::Health | Self::Catalogue | Self::Wallet => "GET",
            Self::Redeem | Self::Subscribe => "POST",
        }
    }

    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Health => "/healthz",
            Self::Catalogue => "/api/catalog/services",
            Self::Wallet => "/api/wallet/info",
            Self::Redeem => "/api/wallet/redeem-coupon",
            Self::Subscribe => "/api/subscriptions",
        }
    }

    const fn status(self) -> u16 {
        match self {
            Self::Health | Self::Catalogue | Self::Wallet => 200,
            Self::Redeem | Self::Subscribe => 201,
        }
    }

    const fn needs_token(self) -> bool {
        !matches!(self, Self::Health | Self::Catalogue)
    }

    pub(crate) const fn writes(self) -> bool {
        matches!(self, Self::Redeem | Self::Subscribe)
    }

    fn body(self, user: &User, plan: &str) -> Option<String> {
        match self {
            Self::Health | Self::Catalogue | Self::Wallet => None,
            Self::Redeem => Some(json!({ "couponCode": user.coupon }).to_string()),
            Self::Subscribe => Some(json!({ "planId": plan }).to_string()),
        }
    }
}

/// A user of one route, with a connection of their own.
#[derive(Debug)]
pub(crate) struct Caller {
    wire: Wire,
    host: String,
    route: Route,
    token: String,
    body: Option<String>,
    /// Beginning of this caller's idempotency keys.
    name: String,
    sent: u64,
}

impl Caller {
    pub(crate) async fn connect(
        host: &str,
        route: Route,
        user: &User,
        plan: &str,
        name: String,
    ) -> Outcome<Self> {
        Ok(Self {
            wire: Wire::connect(host).await?,
            host: host.to_owned(),
            route,
            token: user.token.clone(),
            body: route.body(user, plan),
            name,
            sent: 0,
        })
    }

    pub(crate) async fn act(&mut self, record: &mut Record) -> Outcome<()> {
        let request = self.next_request();
        let started = Instant::now();
        let answered = self.wire.ask(&request).await?;
        if answered.status != self.route.status() {
            return Err(crate::refusal(self.route.path(), answered).into());
        }
        record.take(0, started);
        Ok(())
    }

    /// Asks once, for the floor.
    pub(crate) async fn exchange(&mut self) -> Outcome<Exchange> {
        let request = self.next_request();
        let answered = self.wire.ask(&request).await?;
        if answered.status != self.route.status() {
            return Err(crate::refusal(self.route.path(), answered).into());
        }
        Ok(Exchange {
            method: self.route.method(),
            sent: self.body.clone(),
            status: answered.status,
            answer: String::from_utf8_lossy(answered.body).into_owned(),
        })
    }

    /// Idempotency key of the last request.
    pub(crate) fn key(&self) -> String {
        format!("{}-{}", self.name, self.sent)
    }

    fn next_request(&mut self) -> String {
        self.sent += 1;
        let key = self.key();
        let request = Request {
            method: self.route.method(),
            path: self.route.path(),
            token: self.route.needs_token().then_some(self.token.as_str()),
            idempotency_key: self.route.writes().then_some(key.as_str()),
            body: self.body.as_deref(),
        };
        request.to_text(&self.host)
    }
}
