//! Rows and views of quotes, and the lines that explain a price.

use chrono::{DateTime, Utc};
use dermaga_runtime::{canonical_json, contract::PriceLine};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::pricing::{Order, Priced};
use crate::{
    Code, Error, Result,
    coupons::{CouponCode, CouponPreview, Evaluated},
    ids::{PlanId, QuoteId},
    language,
    money::Rupiah,
};

/// A line of a price, with its reason.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceLineView {
    pub code: String,
    pub label: String,
    /// Negative for a reduction.
    pub amount: Rupiah,
    pub reason: String,
}

/// Writes price lines in the current language, for `#[serde(serialize_with)]`. What is kept of a charge has
/// them as they are.
///
/// # Errors
/// As the serializer.
pub fn lines_in_words<S: Serializer>(
    lines: &[PriceLineView],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(lines.iter().map(|line| PriceLineView {
        code: line.code.clone(),
        label: language::spoken(&line.label).into_owned(),
        amount: line.amount,
        reason: language::spoken(&line.reason).into_owned(),
    }))
}

impl PriceLineView {
    pub(super) fn of_coupon(coupon: &Evaluated) -> Self {
        Self {
            code: "coupon".to_owned(),
            label: format!("Coupon {}", coupon.coupon.code),
            amount: coupon.amount.negated(),
            reason: coupon.reason.clone(),
        }
    }
}

impl PriceLineView {
    /// The line that waives a price.
    pub(super) fn of_gift(price: Rupiah) -> Self {
        Self {
            code: "gift".to_owned(),
            label: "Gift of the shop".to_owned(),
            amount: price.negated(),
            reason: "The shop charges nothing for this period.".to_owned(),
        }
    }
}

impl From<PriceLine> for PriceLineView {
    fn from(line: PriceLine) -> Self {
        Self {
            code: line.code,
            label: line.label,
            amount: Rupiah::new(line.amount),
            reason: line.reason,
        }
    }
}

/// Price of a purchase, every rupiah explained, with the balance of the wallet.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuoteView {
    /// Id to send as `quoteId`, to be charged exactly this or not at all. It buys once.
    pub id: QuoteId,
    pub plan_id: PlanId,
    pub service: String,
    pub plan: String,
    /// Calendar months that it pays for.
    pub term_months: u32,
    /// The price lines, then the coupon's; they add up to `due`.
    #[serde(serialize_with = "crate::subscriptions::lines_in_words")]
    pub lines: Vec<PriceLineView>,
    /// Price before the coupon.
    pub price: Rupiah,
    pub discount: Rupiah,
    /// Amount that will be charged.
    pub due: Rupiah,
    pub coupon: Option<CouponPreview>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub period_start: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub period_end: DateTime<Utc>,
    /// Calendar days of the period that it pays for.
    pub days: u32,
    /// Says how amounts become whole rupiah.
    #[serde(serialize_with = "crate::language::in_words")]
    pub rounding: &'static str,
    pub balance: Rupiah,
    /// The wallet holds enough.
    pub affordable: bool,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub expires_at: DateTime<Utc>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct QuoteRow {
    pub(super) plan_id: PlanId,
    pub(super) term_months: i64,
    pub(super) coupon_code: Option<String>,
    pub(super) config: String,
    pub(super) due: Rupiah,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) used_at: Option<DateTime<Utc>>,
}

impl QuoteRow {
    /// Refuses a purchase to which this quote does not bind the shop.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` for another order; `QUOTE_USED`; `QUOTE_CHANGED` when it has expired, or the price is another
    /// one.
    pub(super) fn check(&self, order: &Order, priced: &Priced, now: DateTime<Utc>) -> Result<()> {
        let coupon = order.coupon.as_ref().map(CouponCode::as_str);
        if self.plan_id != order.plan_id
            || self.term_months != i64::from(order.term_months)
            || self.coupon_code.as_deref() != coupon
            || self.config != canonical_json(&priced.config)
        {
            return Err(Error::invalid(
                "quoteId",
                "this quote was made for another plan, term, coupon or configuration",
            ));
        }
        if self.used_at.is_some() {
            return Err(quote_used());
        }
        if self.expires_at <= now {
            return Err(Error::new(
                Code::QuoteChanged,
                "The quote has expired. Ask for a new one.",
            ));
        }
        let due = priced.due()?;
        if self.due != due {
            let message = format!(
                "The quote was {} and the price is {due} now. Ask for a new quote.",
                self.due
            );
            return Err(Error::new(Code::QuoteChanged, message));
        }
        Ok(())
    }
}

/// Returns the refusal of a quote that has bought already.
pub(super) fn quote_used() -> Error {
    let message = "This quote was already used for a purchase. Ask for a new one.";
    Error::new(Code::QuoteUsed, message)
}
