//! Orders as Midtrans keeps them: their states, and their form in answers.

use chrono::{DateTime, FixedOffset, Utc};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};
use uuid::Uuid;

/// Action on an order by its payer, their bank, the shop, or time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The payer chooses how to pay and does not pay yet.
    Choose,
    /// The payer pays: cards are captured, everything else settles.
    Pay,
    /// The payer pays by a card that looks suspicious.
    Challenge,
    /// A person finds a suspicious payment good.
    Accept,
    /// The day after: a capture settles.
    Settle,
    Deny,
    Cancel,
    Expire,
    /// The shop pays so many rupiah back.
    Refund(i64),
    /// The payer's bank takes all of it back.
    Chargeback,
}

#[derive(Debug, Clone)]
pub(super) struct Refund {
    key: String,
    amount: i64,
    reason: String,
}

#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) order_id: String,
    pub(super) token: String,
    pub(super) amount: i64,
    pub(super) name: String,
    pub(super) channels: Vec<String>,
    /// Address for its notices.
    pub(super) notify: Option<String>,
    pub(super) callbacks: Callbacks,
    /// Status in Midtrans' words; `None` before the payer has chosen.
    pub(super) status: Option<&'static str>,
    pub(super) fraud: &'static str,
    pub(super) is_page_closed: bool,
    pub(super) refunds: Vec<Refund>,
    /// Fields that a test puts in place of the order's own.
    pub(super) told_instead: Map<String, Value>,
    transaction_id: Uuid,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    settled_at: Option<DateTime<Utc>>,
}

/// Pages to which a payer goes: when all is done, without paying, after a denial.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Callbacks {
    pub(super) finish: Option<String>,
    pub(super) unfinish: Option<String>,
    pub(super) error: Option<String>,
}

/// Order as a shop asks for it.
#[derive(Debug)]
pub(super) struct NewOrder {
    pub(super) order_id: String,
    pub(super) token: String,
    pub(super) transaction_id: Uuid,
    pub(super) amount: i64,
    pub(super) name: String,
    pub(super) channels: Vec<String>,
    pub(super) notify: Option<String>,
    pub(super) callbacks: Callbacks,
    pub(super) expires_at: DateTime<Utc>,
}

/// Message for an order that stays as it is, in Midtrans' words.
pub(super) const REFUSED: &str = "Merchant cannot modify the status of the transaction";

impl Order {
    pub(super) const fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    pub(super) fn new(new: NewOrder, now: DateTime<Utc>) -> Self {
        Self {
            order_id: new.order_id,
            token: new.token,
            amount: new.amount,
            name: new.name,
            channels: new.channels,
            notify: new.notify,
            callbacks: new.callbacks,
            status: None,
            fraud: "accept",
            is_page_closed: false,
            refunds: Vec::new(),
            told_instead: Map::new(),
            transaction_id: new.transaction_id,
            created_at: now,
            expires_at: new.expires_at,
            settled_at: None,
        }
    }

    /// Returns true while the page can still be paid.
    pub(super) fn is_payable(&self, now: DateTime<Utc>) -> bool {
        !self.is_page_closed
            && now < self.expires_at
            && matches!(self.status, None | Some("pending" | "deny"))
    }

    pub(super) fn is_challenged(&self) -> bool {
        self.status == Some("capture") && self.fraud == "challenge"
    }

    pub(super) fn refunded(&self) -> i64 {
        self.refunds.iter().map(|refund| refund.amount).sum()
    }

    /// Returns true when this is the order's id, the shop's or Midtrans' own.
    pub(super) fn is_called(&self, id: &str) -> bool {
        self.order_id == id || self.transaction_id.to_string() == id
    }

    fn is_card(&self) -> bool {
        self.channels.iter().any(|channel| channel == "credit_card")
    }

    /// Applies an action; `Err` with Midtrans' words when it leads to nothing.
    pub(super) fn act(&mut self, action: Action, now: DateTime<Utc>) -> Result<(), &'static str> {
        let challenged = self.is_challenged();
        let captured = self.status == Some("capture") && !challenged;
        let open = matches!(self.status, Some("pending")) || challenged;
        let settled = matches!(self.status, Some("settlement" | "partial_refund"));
        self.status = Some(match action {
            Action::Choose if self.is_payable(now) => "pending",
            Action::Pay if self.is_payable(now) && self.is_card() => "capture",
            Action::Pay if self.is_payable(now) => "settlement",
            Action::Challenge if self.is_payable(now) => "capture",
            Action::Accept if challenged => "capture",
            Action::Settle if captured => "settlement",
            Action::Deny if open || self.is_payable(now) => "deny",
            Action::Cancel if open || captured => "cancel",
            Action::Expire if open => "expire",
            Action::Refund(amount) if settled && self.refund("", amount, "") => {
                if self.refunded() == self.amount {
                    "refund"
                } else {
                    "partial_refund"
                }
            }
            Action::Chargeback if settled => "chargeback",
            _ => return Err(REFUSED),
        });
        match action {
            Action::Challenge => self.fraud = "challenge",
            Action::Accept | Action::Pay => self.fraud = "accept",
            _ => {}
        }
        if self.status == Some("settlement") {
            self.settled_at = Some(now);
        }
        Ok(())
    }

    /// Notes money paid back; false when it is more than is left.
    fn refund(&mut self, key: &str, amount: i64, reason: &str) -> bool {
        if amount <= 0 || amount > self.amount - self.refunded() {
            return false;
        }
        self.refunds.push(Refund {
            key: key.to_owned(),
            amount,
            reason: reason.to_owned(),
        });
        true
    }

    /// Names the last refund as the shop does; the same key pays back once.
    pub(super) fn name_refund(&mut self, key: &str, reason: &str) {
        if let Some(last) = self.refunds.last_mut() {
            key.clone_into(&mut last.key);
            reason.clone_into(&mut last.reason);
        }
    }

    pub(super) fn has_refund(&self, key: &str) -> bool {
        self.refunds.iter().any(|refund| refund.key == key)
    }

    /// Returns the status as in the API and in notices, signed with the server key.
    pub(super) fn told(&self, server_key: &str, message: &str) -> Value {
        let status = self.status.unwrap_or("pending");
        let code = match status {
            "pending" => "201",
            "capture" if self.fraud == "challenge" => "201",
            "deny" => "202",
            "expire" => "407",
            _ => "200",
        };
        let gross = format!("{}.00", self.amount);
        let mut told = json!({
            "transaction_time": jakarta(self.created_at),
            "transaction_status": status,
            "transaction_id": self.transaction_id,
            "status_message": message,
            "status_code": code,
            "payment_type": self.payment_type(),
            "order_id": self.order_id,
            "merchant_id": "G000000000",
            "gross_amount": gross,
            "fraud_status": self.fraud,
            "currency": "IDR",
            "expiry_time": jakarta(self.expires_at),
        });
        let mut more = Map::new();
        if let Some(at) = self.settled_at {
            more.insert("settlement_time".to_owned(), jakarta(at).into());
        }
        if !self.refunds.is_empty() {
            let total = format!("{}.00", self.refunded());
            more.insert("refund_amount".to_owned(), total.into());
            let listed = self.refunds.iter().zip(1..).map(|(refund, number)| {
                json!({
                    "refund_chargeback_id": number, "refund_amount": format!("{}.00", refund.amount),
                    "refund_key": refund.key, "reason": refund.reason,
                })
            });
            more.insert("refunds".to_owned(), listed.collect());
        }
        more.extend(self.told_instead.clone());
        if let Some(told) = told.as_object_mut() {
            told.extend(more);
            let signature = signature(told, server_key);
            told.insert("signature_key".to_owned(), signature.into());
        }
        told
    }

    fn payment_type(&self) -> &str {
        match self.channels.first().map(String::as_str) {
            Some("other_qris") => "qris",
            Some(channel) if channel.ends_with("_va") => "bank_transfer",
            Some(channel) => channel,
            None => "bank_transfer",
        }
    }
}

/// Signs three fields as they are written.
fn signature(told: &Map<String, Value>, server_key: &str) -> String {
    let written = |name: &str| match told.get(name) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    };
    let fields = ["order_id", "status_code", "gross_amount"].map(written);
    hex::encode(Sha512::digest(format!("{}{server_key}", fields.concat())))
}

/// `2026-11-23 14:30:00`, on Midtrans' clock.
fn jakarta(moment: DateTime<Utc>) -> String {
    let zone = FixedOffset::east_opt(7 * 3600);
    let local = zone.map(|zone| moment.with_timezone(&zone).naive_local());
    local
        .unwrap_or_else(|| moment.naive_utc())
        .format("%Y-%m-%d %H:%M:%S")
        .to_string()
}
