//! Midtrans' JSON, and what of it is believed.

use chrono::{DateTime, FixedOffset, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq as _;

use super::super::{
    Payment,
    state::{Cause, Claim},
};
use crate::money::Rupiah;

/// Midtrans' clock: Jakarta, without daylight saving.
const JAKARTA_SECONDS: i32 = 7 * 3600;
/// How long the payment page and what is chosen there can be paid.
pub(in crate::payments) const PAGE_MINUTES: i64 = 60;

/// What a notice and the status API say of an order. Fields that nobody reads are left out.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::payments) struct Status {
    pub(in crate::payments) order_id: String,
    pub(in crate::payments) status_code: String,
    pub(in crate::payments) gross_amount: String,
    pub(in crate::payments) transaction_status: String,
    pub(in crate::payments) fraud_status: Option<String>,
    pub(in crate::payments) currency: Option<String>,
    pub(in crate::payments) payment_type: Option<String>,
    pub(in crate::payments) signature_key: Option<String>,
    /// Taken back so far, in all.
    refund_amount: Option<String>,
    #[serde(default)]
    refunds: Vec<Refunded>,
}

#[derive(Debug, Clone, Deserialize)]
struct Refunded {
    refund_amount: String,
}

/// Where a customer is sent after the payment page.
#[derive(Debug, Clone, Default)]
pub(in crate::payments) struct Callbacks {
    pub(in crate::payments) finish: Option<String>,
    pub(in crate::payments) unfinish: Option<String>,
    pub(in crate::payments) error: Option<String>,
}

impl Status {
    /// Whether the holder of `server_key` made this. Says nothing about the fields that are not
    /// signed, the transaction's status among them.
    pub(in crate::payments) fn is_signed_with(&self, server_key: &str) -> bool {
        let mut digest = Sha512::new();
        for part in [&self.order_id, &self.status_code, &self.gross_amount] {
            digest.update(part.as_bytes());
        }
        digest.update(server_key.as_bytes());
        let expected = digest.finalize();
        let given = self.signature_key.as_deref().unwrap_or_default();
        let given = hex::decode(given).unwrap_or_default();
        expected.as_slice().ct_eq(&given).into()
    }

    /// Whether this is about `payment`: its order, its amount, in rupiah. A sentence when not.
    pub(in crate::payments) fn fits(&self, payment: &Payment) -> Result<(), String> {
        if self.order_id != payment.order_id {
            return Err(format!(
                "It is about another order, {}.",
                short(&self.order_id)
            ));
        }
        if let Some(currency) = &self.currency
            && currency != "IDR"
        {
            return Err(format!("Its currency is {}, not IDR.", short(currency)));
        }
        match rupiah(&self.gross_amount) {
            Some(amount) if amount == payment.amount => Ok(()),
            _ => Err(format!(
                "Its amount is {}, and {} was asked for.",
                short(&self.gross_amount),
                payment.amount
            )),
        }
    }

    /// What it says has become of the order; a sentence when that cannot be told.
    pub(in crate::payments) fn claim(&self) -> Result<Claim, String> {
        let full = || rupiah(&self.gross_amount);
        let reversed = |cause, total: Option<Rupiah>| match total {
            Some(total) if total.is_positive() => Ok(Claim::Reversed { cause, total }),
            _ => Err(format!(
                "It says `{}` and not how much was taken back.",
                self.transaction_status
            )),
        };
        match (
            self.transaction_status.as_str(),
            self.fraud_status.as_deref(),
        ) {
            ("capture", Some("accept")) => Ok(Claim::Captured),
            ("capture" | "settlement", Some("deny")) => Ok(Claim::Denied),
            // A card payment without a verdict is not accepted yet.
            ("capture", _) | ("pending" | "authorize", _) => Ok(Claim::Waiting),
            ("settlement", _) => Ok(Claim::Settled),
            ("deny", _) => Ok(Claim::Denied),
            ("cancel", _) => Ok(Claim::Cancelled),
            ("expire", _) => Ok(Claim::Expired),
            ("failure", _) => Ok(Claim::Failed),
            ("refund", _) => reversed(Cause::Refund, self.taken_back().or_else(full)),
            ("partial_refund", _) => reversed(Cause::Refund, self.taken_back()),
            ("chargeback", _) => reversed(Cause::Chargeback, full()),
            ("partial_chargeback", _) => reversed(Cause::Chargeback, self.taken_back()),
            (other, _) => Err(format!("Its status `{}` is not known.", short(other))),
        }
    }

    fn taken_back(&self) -> Option<Rupiah> {
        let listed = || {
            let amounts = self.refunds.iter().map(|one| rupiah(&one.refund_amount));
            let amounts = amounts.collect::<Option<Vec<_>>>()?;
            Rupiah::total(amounts)
                .ok()
                .filter(|_| !self.refunds.is_empty())
        };
        match &self.refund_amount {
            Some(amount) => rupiah(amount),
            None => listed(),
        }
    }
}

/// Whole rupiah as Midtrans writes them: `50000.00` or `50000`. Anything else is no amount.
fn rupiah(text: &str) -> Option<Rupiah> {
    let whole = text.strip_suffix(".00").unwrap_or(text);
    let is_plain = !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| whole.parse().ok().map(Rupiah::new))?
}

/// What somebody else wrote, cut for a sentence.
fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The body of a Snap request for this payment.
pub(super) fn snap_request(payment: &Payment, name: &str, callbacks: &Callbacks) -> Value {
    let callbacks: serde_json::Map<String, Value> = [
        ("finish", &callbacks.finish),
        ("unfinish", &callbacks.unfinish),
        ("error", &callbacks.error),
    ]
    .into_iter()
    .filter_map(|(key, url)| Some((key.to_owned(), json!(url.as_ref()?))))
    .collect();
    let mut body = json!({
        "transaction_details": { "order_id": payment.order_id, "gross_amount": payment.amount },
        "item_details": [{ "id": "TOP_UP", "name": name, "price": payment.amount, "quantity": 1 }],
        "enabled_payments": payment.method.channels(),
        "credit_card": { "secure": true },
        "expiry": { "start_time": jakarta(payment.created_at), "unit": "minutes", "duration": PAGE_MINUTES },
        "page_expiry": { "unit": "minutes", "duration": PAGE_MINUTES },
    });
    if let Some(body) = body.as_object_mut()
        && !callbacks.is_empty()
    {
        body.insert("callbacks".to_owned(), Value::Object(callbacks));
    }
    body
}

/// `2026-11-23 14:30:00 +0700`
fn jakarta(moment: DateTime<Utc>) -> String {
    let text = |zone: FixedOffset| {
        moment
            .with_timezone(&zone)
            .format("%Y-%m-%d %H:%M:%S %z")
            .to_string()
    };
    FixedOffset::east_opt(JAKARTA_SECONDS).map_or_else(|| moment.to_rfc3339(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(fields: &Value) -> Status {
        let mut all = json!({
            "order_id": "1111", "status_code": "200", "gross_amount": "100000.00",
            "transaction_status": "settlement", "currency": "IDR",
        });
        for (name, value) in fields.as_object().unwrap() {
            all[name] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    /// The inputs and key of the example in Midtrans' documentation.
    #[test]
    fn the_documented_signature_is_good_and_no_other() {
        let key = "askvnoibnosifnboseofinbofinfgbiufglnbfg";
        let good = hex::encode(Sha512::digest(format!("1111200100000.00{key}")));
        assert!(status(&json!({ "signature_key": good })).is_signed_with(key));
        let upper = good.to_uppercase();
        assert!(status(&json!({ "signature_key": upper })).is_signed_with(key));
        for (field, value) in [
            ("gross_amount", "100000"),
            ("order_id", "1112"),
            ("status_code", "201"),
            ("signature_key", ""),
            ("signature_key", "zz"),
            ("signature_key", &good[..126]),
        ] {
            let mut fields = json!({ "signature_key": good });
            fields[field] = value.into();
            assert!(!status(&fields).is_signed_with(key), "{field}={value}");
        }
        assert!(!status(&json!({ "signature_key": good })).is_signed_with("another"));
        assert!(!status(&json!({})).is_signed_with(key));
    }

    #[test]
    fn amounts_are_whole_rupiah() {
        assert_eq!(rupiah("50000.00"), Some(Rupiah::new(50_000)));
        assert_eq!(rupiah("50000"), Some(Rupiah::new(50_000)));
        for wrong in [
            "",
            "50000.50",
            "5e4",
            "-1",
            "+1",
            " 1",
            "1 ",
            "0x1",
            "1,000.00",
            ".00",
            "1.0",
            "99999999999999999999",
            "\u{ff11}000",
        ] {
            assert_eq!(rupiah(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn every_status_says_one_thing() {
        let of = |fields: Value| status(&fields).claim();
        let back = |cause, total| {
            Ok(Claim::Reversed {
                cause,
                total: Rupiah::new(total),
            })
        };
        for (name, fraud, claim) in [
            ("capture", Some("accept"), Claim::Captured),
            ("capture", Some("challenge"), Claim::Waiting),
            ("capture", Some("deny"), Claim::Denied),
            ("capture", None, Claim::Waiting),
            ("settlement", Some("accept"), Claim::Settled),
            ("settlement", None, Claim::Settled),
            ("pending", None, Claim::Waiting),
            ("authorize", Some("accept"), Claim::Waiting),
            ("deny", None, Claim::Denied),
            ("cancel", Some("accept"), Claim::Cancelled),
            ("expire", None, Claim::Expired),
            ("failure", None, Claim::Failed),
        ] {
            let got = of(json!({ "transaction_status": name, "fraud_status": fraud }));
            assert_eq!(got, Ok(claim), "{name} {fraud:?}");
        }
        assert_eq!(
            of(json!({ "transaction_status": "refund" })),
            back(Cause::Refund, 100_000)
        );
        assert_eq!(
            of(json!({ "transaction_status": "partial_refund", "refund_amount": "2500.00" })),
            back(Cause::Refund, 2_500)
        );
        let listed = json!([{ "refund_amount": "1000.00" }, { "refund_amount": "500.00" }]);
        assert_eq!(
            of(json!({ "transaction_status": "partial_refund", "refunds": listed })),
            back(Cause::Refund, 1_500)
        );
        assert_eq!(
            of(json!({ "transaction_status": "chargeback" })),
            back(Cause::Chargeback, 100_000)
        );
        for unclear in ["partial_refund", "partial_chargeback", "paid", ""] {
            assert!(of(json!({ "transaction_status": unclear })).is_err());
        }
    }

    #[test]
    fn times_are_jakartas() {
        assert_eq!(jakarta(DateTime::UNIX_EPOCH), "1970-01-01 07:00:00 +0700");
    }
}
