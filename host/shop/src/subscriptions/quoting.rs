//! Quotes: prices that are kept for a while, so that a purchase can be bound to one.

use chrono::TimeDelta;
use dermaga_runtime::canonical_json;

use super::{
    Subscriptions,
    pricing::{self, Order, Priced},
    quote::QuoteView,
    store,
};
use crate::{
    Code, Error, Result, calendar, catalog, coupons, db::new_id, ids::QuoteId, owners,
    plugins::Asking, wallet,
};

/// Validity of a quote, in minutes.
const QUOTE_MINUTES: i64 = 15;
/// Days for which an expired quote still says that it has expired.
const EXPIRED_DAYS: i64 = 1;
/// Rows that one transaction of the purge removes.
const PURGED_AT_ONCE: i64 = 1000;

/// Prices an order and keeps the quote for 15 minutes, so that the purchase can be bound to it.
///
/// # Errors
/// Every refusal of plan, configuration or coupon, and of a plugin that fails; `UNAUTHENTICATED` when the account was
/// disabled or deleted meanwhile.
pub async fn quote(shop: &Subscriptions, order: &Order) -> Result<QuoteView> {
    let priced = pricing::price(shop, order, Asking::Preview).await?;
    let balance = wallet::balance(&mut shop.db.read().await?, order.user_id)
        .await?
        .total()?;
    let due = priced.due()?;
    let view = QuoteView {
        id: new_id(&shop.clock),
        plan_id: order.plan_id,
        service: priced.offer.service.slug.clone(),
        plan: priced.offer.plan.slug.clone(),
        term_months: priced.term.months,
        lines: priced.explained(),
        price: priced.price,
        discount: priced.discount(),
        due,
        coupon: priced.coupon.as_ref().map(coupons::Evaluated::preview),
        period_start: priced.moment,
        period_end: priced.period_end,
        days: calendar::days_between(shop.clock.zone(), priced.moment, priced.period_end),
        rounding: priced.rounding(),
        balance,
        affordable: balance >= due,
        expires_at: priced.moment + TimeDelta::minutes(QUOTE_MINUTES),
    };
    let mut conn = shop.db.begin().await?;
    // A quote has the configuration: one that came after the account's deletion would stay for good.
    owners::hold(&mut conn, order.user_id).await?;
    let row = store::NewQuote {
        id: view.id,
        user_id: order.user_id,
        plan_id: order.plan_id,
        term_months: order.term_months,
        coupon_code: order.coupon.as_ref().map(coupons::CouponCode::as_str),
        config: &canonical_json(&priced.config),
        due,
        now: priced.moment,
        expires_at: view.expires_at,
    };
    if let Err(error) = store::insert_quote(&mut conn, &row).await {
        conn.rollback().await?;
        return known(shop, order, Err(error.into())).await;
    }
    conn.commit().await?;
    Ok(view)
}

/// Removes everybody's quotes that have expired a day ago or earlier; returns their number.
///
/// # Errors
/// When the database refuses; what was removed until then is gone.
pub async fn purge_quotes(shop: &Subscriptions) -> Result<u64> {
    let before = shop.clock.now() - TimeDelta::days(EXPIRED_DAYS);
    let mut removed = 0;
    loop {
        let mut conn = shop.db.begin().await?;
        let now = store::purge_quotes(&mut conn, before, PURGED_AT_ONCE).await?;
        conn.commit().await?;
        if now == 0 {
            return Ok(removed);
        }
        removed += now;
    }
}

/// Checks that a quote is for this order and at this price, and still buys.
///
/// # Errors
/// `NOT_FOUND` for a quote of another customer, `VALIDATION_FAILED` for one of another order, `QUOTE_USED` and
/// `QUOTE_CHANGED`.
pub(super) async fn check_quote(
    shop: &Subscriptions,
    order: &Order,
    quote_id: QuoteId,
    priced: &Priced,
) -> Result<()> {
    let quote = store::quote(&mut shop.db.read().await?, order.user_id, quote_id).await?;
    let quote = quote.ok_or_else(|| Error::not_found("quote"))?;
    let coupon = order.coupon.as_ref().map(coupons::CouponCode::as_str);
    if quote.plan_id != order.plan_id
        || quote.term_months != i64::from(order.term_months)
        || quote.coupon_code.as_deref() != coupon
        || quote.config != canonical_json(&priced.config)
    {
        return Err(Error::invalid(
            "quoteId",
            "this quote was made for another plan, term, coupon or configuration",
        ));
    }
    if quote.used_at.is_some() {
        return Err(quote_used());
    }
    if quote.expires_at <= shop.clock.now() {
        return Err(Error::new(
            Code::QuoteChanged,
            "The quote has expired. Ask for a new one.",
        ));
    }
    let due = priced.due()?;
    if quote.due != due {
        let message = format!(
            "The quote was {} and the price is {due} now. Ask for a new quote.",
            quote.due
        );
        return Err(Error::new(Code::QuoteChanged, message));
    }
    Ok(())
}

/// The refusal of a quote that has bought already.
pub(super) fn quote_used() -> Error {
    let message = "This quote was already used for a purchase. Ask for a new one.";
    Error::new(Code::QuoteUsed, message)
}

/// Returns a result as it is, or `NOT_FOUND` when it failed because the plan was deleted meanwhile: neither a quote nor
/// a subscription can refer to it then.
pub(super) async fn known<T>(shop: &Subscriptions, order: &Order, result: Result<T>) -> Result<T> {
    // A deletion takes the quotes along. With a coupon, the subscription is sent together with the coupon's use, whose
    // refusal is taken for that of a deleted coupon.
    let codes = [Code::Internal, Code::CouponNotFound, Code::QuoteUsed];
    if matches!(&result, Err(error) if codes.contains(&error.code)) {
        // Readers of SQLite may not see yet what the purchase has met: a transaction waits until it is durable.
        let mut conn = shop.db.begin().await?;
        catalog::plan(&mut conn, order.plan_id).await?;
        conn.rollback().await?;
    }
    result
}
