//! A customer who redeems over HTTP, again and again on one connection.

use dermaga_tests::wire::{Request, Wire};
use serde_json::json;

#[derive(Debug)]
pub(crate) struct Caller {
    wire: Wire,
    host: String,
    token: String,
    code: String,
    body: String,
    sent: u64,
}

impl Caller {
    pub(crate) async fn connect(host: &str, token: &str, code: &str) -> Self {
        Self {
            wire: Wire::connect(host).await.unwrap(),
            host: host.to_owned(),
            token: token.to_owned(),
            code: code.to_owned(),
            body: json!({ "couponCode": code }).to_string(),
            sent: 0,
        }
    }

    pub(crate) async fn redeem(&mut self) {
        self.sent += 1;
        let key = format!("{}-{}", self.code, self.sent);
        let request = Request {
            method: "POST",
            path: "/api/wallet/redeem-coupon",
            token: Some(&self.token),
            idempotency_key: Some(&key),
            body: Some(&self.body),
        };
        let request = request.to_text(&self.host);
        let answered = self.wire.ask(&request).await.unwrap();
        assert_eq!(
            answered.status,
            201,
            "{}",
            String::from_utf8_lossy(answered.body)
        );
    }
}
