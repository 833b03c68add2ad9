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
        // Read before the status is replaced, which these are parts of.
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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const BEGUN: DateTime<Utc> = DateTime::UNIX_EPOCH;

    /// An order over 10,000 rupiah whose page is open for an hour.
    fn order(channel: &str) -> Order {
        let new = NewOrder {
            order_id: "TXMP-101-a".to_owned(),
            token: String::new(),
            transaction_id: Uuid::nil(),
            amount: 10_000,
            name: String::new(),
            channels: vec![channel.to_owned()],
            notify: None,
            callbacks: Callbacks::default(),
            expires_at: BEGUN + TimeDelta::hours(1),
        };
        Order::new(new, BEGUN)
    }

    fn after(channel: &str, actions: &[Action]) -> Order {
        let mut order = order(channel);
        for action in actions {
            order.act(*action, BEGUN).unwrap();
        }
        order
    }

    #[test]
    fn an_order_goes_the_way_of_its_payer() {
        use Action::{
            Accept, Cancel, Challenge, Chargeback, Choose, Deny, Expire, Pay, Refund, Settle,
        };
        let ways: [(&str, &[Action], &str); 13] = [
            ("other_qris", &[Choose], "pending"),
            ("other_qris", &[Pay], "settlement"),
            ("other_qris", &[Choose, Pay], "settlement"),
            ("other_qris", &[Choose, Expire], "expire"),
            ("other_qris", &[Choose, Cancel], "cancel"),
            ("other_qris", &[Choose, Deny, Pay], "settlement"),
            ("credit_card", &[Pay], "capture"),
            ("credit_card", &[Pay, Settle], "settlement"),
            ("credit_card", &[Pay, Cancel], "cancel"),
            ("credit_card", &[Challenge, Accept, Settle], "settlement"),
            ("credit_card", &[Challenge, Deny], "deny"),
            ("other_qris", &[Pay, Refund(4_000), Refund(6_000)], "refund"),
            (
                "other_qris",
                &[Pay, Refund(4_000), Chargeback],
                "chargeback",
            ),
        ];
        for (channel, actions, status) in ways {
            let order = after(channel, actions);
            assert_eq!(order.status, Some(status), "{actions:?}");
        }
    }

    /// A challenged card is not settled before a person accepts it.
    #[test]
    fn an_action_that_leads_to_nothing_changes_nothing() {
        let challenged = after("credit_card", &[Action::Challenge]);
        let paid = after("other_qris", &[Action::Pay]);
        for (before, action) in [
            (&order("other_qris"), Action::Settle),
            (&order("other_qris"), Action::Refund(1)),
            (&challenged, Action::Settle),
            (&challenged, Action::Refund(1)),
            (&paid, Action::Choose),
            (&paid, Action::Pay),
            (&paid, Action::Accept),
            (&paid, Action::Cancel),
            (&paid, Action::Deny),
            (&paid, Action::Expire),
        ] {
            let mut order = before.clone();
            assert_eq!(order.act(action, BEGUN), Err(REFUSED), "{action:?}");
            assert_eq!((order.status, order.fraud), (before.status, before.fraud));
        }
    }

    #[test]
    fn a_page_is_paid_before_its_end_and_while_it_is_open() {
        let end = BEGUN + TimeDelta::hours(1);
        let last = end - TimeDelta::milliseconds(1);
        assert_eq!(order("other_qris").act(Action::Pay, last), Ok(()));
        assert_eq!(order("other_qris").act(Action::Pay, end), Err(REFUSED));
        let mut closed = order("other_qris");
        closed.is_page_closed = true;
        assert_eq!(closed.act(Action::Pay, BEGUN), Err(REFUSED));
    }

    #[test]
    fn no_more_is_paid_back_than_was_paid() {
        for amount in [0, -1, 10_001, i64::MIN, i64::MAX] {
            let mut order = after("other_qris", &[Action::Pay]);
            assert_eq!(order.act(Action::Refund(amount), BEGUN), Err(REFUSED));
            assert_eq!((order.refunded(), order.status), (0, Some("settlement")));
        }
        let mut order = after("other_qris", &[Action::Pay, Action::Refund(10_000)]);
        assert_eq!(order.act(Action::Refund(1), BEGUN), Err(REFUSED));
    }

    /// A shop that checks the signature checks what was told, also where a test put other words.
    #[test]
    fn an_order_is_told_with_its_code_and_signed_as_told() {
        for (channel, actions, code) in [
            ("other_qris", vec![Action::Choose], "201"),
            ("credit_card", vec![Action::Challenge], "201"),
            ("credit_card", vec![Action::Pay], "200"),
            ("other_qris", vec![Action::Choose, Action::Deny], "202"),
            ("other_qris", vec![Action::Choose, Action::Expire], "407"),
            ("other_qris", vec![Action::Pay], "200"),
        ] {
            let mut order = after(channel, &actions);
            order
                .told_instead
                .insert("gross_amount".to_owned(), json!("9.00"));
            let told = order.told("key", "Success");
            assert_eq!(told["status_code"], code, "{actions:?}");
            let signed = format!("TXMP-101-a{code}9.00key");
            let signature = hex::encode(Sha512::digest(signed));
            assert_eq!(told["signature_key"], signature, "{actions:?}");
        }
    }

    #[test]
    fn refunds_are_listed_with_their_sum() {
        let order = after(
            "other_qris",
            &[Action::Pay, Action::Refund(1_000), Action::Refund(500)],
        );
        let told = order.told("key", "Success");
        assert_eq!(told["refund_amount"], "1500.00");
        assert_eq!(told["refunds"][1]["refund_chargeback_id"], 2);
        assert_eq!(told["refunds"][1]["refund_amount"], "500.00");
        assert_eq!(told["transaction_time"], "1970-01-01 07:00:00");
    }

    #[test]
    fn a_way_of_payment_has_midtrans_name() {
        for (channel, name) in [
            ("other_qris", "qris"),
            ("bca_va", "bank_transfer"),
            ("gopay", "gopay"),
            ("credit_card", "credit_card"),
        ] {
            assert_eq!(order(channel).payment_type(), name);
        }
    }
}
