//! Subscriptions: quotes, checkout, detail and cancellation.

mod checkout;
mod model;
mod pricing;
mod routes;
mod store;

use uuid::Uuid;

pub use checkout::{buy, cancel, cancel_at_period_end, quote, validate};
pub use model::{
    PeriodView, PriceLineView, PurchaseView, QuoteView, Subscription, SubscriptionDetail,
    SubscriptionStatus, SubscriptionView,
};
pub use pricing::{Order, Priced, period_end};
pub use routes::router;

use crate::{Error, Result, db::Conn};

/// One of this customer's subscriptions, with what its periods cost.
///
/// # Errors
/// `NOT_FOUND` when there is none or it is somebody else's.
pub async fn detail(conn: &mut Conn, user_id: Uuid, id: Uuid) -> Result<SubscriptionDetail> {
    let row = store::owned(conn, user_id, id)
        .await?
        .ok_or_else(|| Error::not_found("subscription"))?;
    let periods = store::periods(conn, id).await?;
    Ok(SubscriptionDetail {
        subscription: row.into(),
        periods: periods.into_iter().map(PeriodView::from).collect(),
    })
}
