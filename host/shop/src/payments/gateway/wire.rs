//! Midtrans' JSON, and what of it is believed.

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, error::Category, json};
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq as _;

use super::{
    super::{
        Payment,
        state::{Cause, Claim, Heard},
    },
    text::Text,
};
use crate::{input, money::Rupiah};

/// Midtrans' clock: Jakarta, without daylight saving.
const JAKARTA_SECONDS: i32 = 7 * 3600;
/// Minutes for which the payment page and a payment chosen there can be paid.
pub(in crate::payments) const PAGE_MINUTES: i64 = 60;

/// Order as in a notice and in the status API. Fields that nothing reads are left out.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::payments) struct Status {
    pub(in crate::payments) order_id: Text,
    #[serde(default)]
    status_code: Text,
    gross_amount: Text,
    pub(in crate::payments) transaction_status: Text,
    #[serde(default)]
    fraud_status: Text,
    #[serde(default)]
    currency: Text,
    #[serde(default)]
    payment_type: Text,
    #[serde(default)]
    signature_key: Text,
    /// Taken back so far, in all.
    #[serde(default)]
    refund_amount: Text,
    refunds: Option<Vec<Refunded>>,
    /// Holds the parts of an amount with a fee; notices have them further out.
    metadata: Option<Value>,
    extra_info: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct Refunded {
    refund_amount: Text,
}

/// Pages to which a customer is sent after the payment page.
#[derive(Debug, Clone, Default)]
pub(in crate::payments) struct Callbacks {
    pub(in crate::payments) finish: Option<String>,
    pub(in crate::payments) unfinish: Option<String>,
    pub(in crate::payments) error: Option<String>,
}

impl Status {
    /// Reads the JSON of a notice or a status; fails with the end of a sentence that says why.
    pub(in crate::payments) fn read(text: &str) -> Result<Self, String> {
        let mut json = serde_json::Deserializer::from_str(text);
        let status = match serde_path_to_error::deserialize(&mut json) {
            Ok(status) => status,
            Err(error) if error.inner().classify() == Category::Data => {
                let (path, why) = (error.path().to_string(), error.inner().to_string());
                let fault = input::of_serde(&path, &why, "it");
                return Err(match fault.field.as_str() {
                    "it" => format!("it {}", fault.message),
                    field => format!("`{field}` {}", fault.message),
                });
            }
            Err(error) => return Err(format!("it {}", input::not_json(error.inner()))),
        };
        json.end()
            .map_err(|error| format!("it {}", input::not_json(&error)))?;
        Ok(status)
    }

    /// Returns true when the holder of `server_key` made this. The fields that are not signed, the
    /// transaction's status among them, are not covered.
    pub(in crate::payments) fn is_signed_with(&self, server_key: &str) -> bool {
        let mut digest = Sha512::new();
        for part in [&self.order_id, &self.status_code, &self.gross_amount] {
            digest.update(part.as_str().as_bytes());
        }
        digest.update(server_key.as_bytes());
        let expected = digest.finalize();
        let given = hex::decode(self.signature_key.as_str()).unwrap_or_default();
        expected.as_slice().ct_eq(&given).into()
    }

    /// Reads this as a claim about `payment`; a sentence when it cannot be used: it is about
    /// another order, currency or amount, or its status is not known. The amount matters only if
    /// money moves.
    pub(in crate::payments) fn judge(&self, payment: &Payment) -> Result<Heard, String> {
        if self.order_id.as_str() != payment.order_id {
            return Err(format!(
                "It is about another order, {}.",
                short(self.order_id.as_str())
            ));
        }
        let claim = self.claim()?;
        let payment_type = self.payment_type.given().map(short);
        if !claim.moves_money() && payment.credited.is_zero() {
            return Ok(Heard {
                payment_type,
                ..claim.into()
            });
        }
        if let Some(currency) = self.currency.given()
            && currency != "IDR"
        {
            return Err(format!("Its currency is {}, not IDR.", short(currency)));
        }
        let fee = Some(self.fee(payment)?);
        Ok(Heard {
            claim,
            fee,
            payment_type,
        })
    }

    /// True when both name the same amount.
    pub(in crate::payments) fn amounts_to(&self, other: &Self) -> bool {
        let amount = rupiah(self.gross_amount.as_str());
        amount.is_some() && amount == rupiah(other.gross_amount.as_str())
    }

    /// True when it names more than was asked for.
    pub(in crate::payments) fn is_more_than_asked(&self, payment: &Payment) -> bool {
        rupiah(self.gross_amount.as_str()).is_some_and(|amount| amount > payment.amount)
    }

    /// Returns the rupiah paid on top of the payment's amount; a sentence when the amounts do not
    /// fit.
    fn fee(&self, payment: &Payment) -> Result<Rupiah, String> {
        let more = rupiah(self.gross_amount.as_str());
        let more = more.and_then(|amount| amount.minus(payment.amount).ok());
        let wrong = |how: &str| {
            let gross = short(self.gross_amount.as_str());
            Err(format!(
                "Its amount is {gross}, and {} was asked for{how}.",
                payment.amount
            ))
        };
        match more {
            Some(more) if more.is_zero() => Ok(more),
            Some(more) if more.is_positive() => {
                if more == payment.fee || self.names_fee(payment.amount, more) {
                    Ok(more)
                } else {
                    wrong("; it does not name the rest as a fee")
                }
            }
            _ => wrong(""),
        }
    }

    /// True when the gateway's own account of the amount says that `asked` was asked for and `more`
    /// is what it laid on top.
    fn names_fee(&self, asked: Rupiah, more: Rupiah) -> bool {
        let inner = self.metadata.as_ref();
        let inner = inner.and_then(|metadata| metadata.pointer("/extra_info/gross_amount_info"));
        let outer = self.extra_info.as_ref();
        let outer = outer.and_then(|extra| extra.get("gross_amount_info"));
        let named = |account: &Value, key: &str| match account.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(rupiah(text)),
            Some(other) => Some(rupiah(&other.to_string())),
        };
        inner
            .or(outer)
            .is_some_and(|account| match named(account, "original_amount") {
                Some(original) => original == Some(asked),
                None => named(account, "customer_imposed_payment_fee") == Some(Some(more)),
            })
    }

    /// Returns the order's new state as a claim; a sentence when it cannot be derived.
    pub(in crate::payments) fn claim(&self) -> Result<Claim, String> {
        let full = || rupiah(self.gross_amount.as_str());
        let reversed = |cause, total: Option<Rupiah>| match total {
            Some(total) if total.is_positive() => Ok(Claim::Reversed { cause, total }),
            _ => Err(format!(
                "It says `{}` and not how much was taken back.",
                short(self.transaction_status.as_str())
            )),
        };
        match (self.transaction_status.as_str(), self.fraud_status.given()) {
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
        if let Some(amount) = self.refund_amount.given() {
            return rupiah(amount);
        }
        let refunds = self
            .refunds
            .as_deref()
            .filter(|listed| !listed.is_empty())?;
        let amounts = refunds.iter().map(|one| rupiah(one.refund_amount.as_str()));
        Rupiah::total(amounts.collect::<Option<Vec<_>>>()?).ok()
    }
}

/// Whole rupiah as Midtrans writes them: `50000.00` or `50000`, or `50000.0` for a number. Anything
/// else is no amount.
fn rupiah(text: &str) -> Option<Rupiah> {
    let cut = text.strip_suffix(".00").or_else(|| text.strip_suffix(".0"));
    let whole = cut.unwrap_or(text);
    let is_plain = !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| whole.parse().ok().map(Rupiah::new))?
}

/// A text of another program, cut for a sentence.
fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The body of a Snap request for this payment, whose page is open until the payment expires.
pub(super) fn snap_request(payment: &Payment, name: &str, callbacks: &Callbacks) -> Value {
    let asked_at = payment.expires_at - TimeDelta::minutes(PAGE_MINUTES);
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
        "expiry": { "start_time": jakarta(asked_at), "unit": "minutes", "duration": PAGE_MINUTES },
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

    #[test]
    fn what_is_wrong_with_a_notice_is_told_in_plain_words() {
        let fine = status(&json!({}));
        assert_eq!(fine.order_id.as_str(), "1111");
        for (text, why) in [
            ("", "it is not JSON: it ends too early (line 1, column 0)"),
            (
                "{]",
                "it is not JSON: it cannot be read from line 1, column 2 on",
            ),
            ("{} {}", "`order_id` is missing"),
            ("[]", "it must be an object"),
            ("7", "it must be an object"),
            (
                r#"{"order_id":[]}"#,
                "`order_id` must be a text or a number",
            ),
            (
                r#"{"order_id":"1","order_id":"2"}"#,
                "`order_id` is given twice",
            ),
            (
                r#"{"order_id":"1","gross_amount":"1","transaction_status":"settlement","refunds":3}"#,
                "`refunds` must be a list",
            ),
        ] {
            assert_eq!(Status::read(text).unwrap_err(), why, "{text}");
        }
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
        assert_eq!(rupiah("50000.0"), Some(Rupiah::new(50_000)));
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
            ".0",
            "1.000",
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
