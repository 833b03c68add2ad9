//! Subscriptions: quotes, checkout, detail and cancellation.

pub mod administration;
pub mod cancellation;
pub mod checkout;
pub mod delivery;
pub(crate) mod end_notice;
pub mod freezing;
pub mod granting;
pub mod lifecycle;
mod model;
mod moves;
pub mod overview;
pub mod price_moves;
mod pricing;
mod quote;
pub mod quoting;
pub mod refund;
pub(crate) mod renewal;
mod rounding;
mod settings;
mod store;
#[cfg(test)]
mod tests;
pub mod update;
pub mod upgrade;

use std::sync::Arc;

pub use cancellation::{cancel, cancel_at_period_end, set_auto_renew};
pub use checkout::{buy, validate};
pub(crate) use freezing::price_of_thaw;
pub use freezing::{FreezeState, Freezing, ThawView, freeze, thaw};
pub(crate) use model::SubscriptionRow;
pub use model::{
    PeriodView, PurchaseView, ShownStatus, Subscription, SubscriptionDetail, SubscriptionStatus,
    SubscriptionView,
};
pub use pricing::{Order, Priced, period_end};
pub use quote::{PriceLineView, QuoteView, lines_in_words};
pub use quoting::{purge_quotes, quote};
pub use refund::{Refund, refund};
pub use settings::{MOST_GRACE_DAYS, Settings};
pub use upgrade::{UpgradeQuote, UpgradeView, upgrade};

use crate::{
    Error, Result, catalog,
    coupons::Coupons,
    db::{Clock, Conn, Db, Span, Walked},
    ids::{SubscriptionId, UserId},
    plugins::Registry,
    provisioning::Instances,
};

/// Subscriptions of the shop: what they are sold, priced and delivered with, and the settings.
#[derive(Debug, Clone)]
pub struct Subscriptions {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) plugins: Arc<Registry>,
    pub(crate) coupons: Coupons,
    pub(crate) instances: Instances,
    pub(crate) settings: Arc<Settings>,
}

impl Subscriptions {
    /// Returns the subscriptions in the database of these coupons and instances.
    pub fn new(coupons: Coupons, instances: Instances, settings: Settings) -> Self {
        Self {
            db: coupons.db.clone(),
            clock: coupons.clock.clone(),
            plugins: Arc::clone(&coupons.plugins),
            coupons,
            instances,
            settings: Arc::new(settings),
        }
    }
}

/// Lists a customer's subscriptions, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(
    db: &Db,
    user_id: UserId,
    status: Option<ShownStatus>,
    span: Span<SubscriptionId>,
) -> Result<Walked<SubscriptionView>> {
    let found = store::list(&mut db.read().await?, user_id, status, span).await?;
    Ok(found.map(SubscriptionView::from))
}

/// Counts the subscriptions that are paid and wait for their first delivery.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn count_waiting(conn: &mut Conn) -> Result<i64> {
    Ok(store::count_waiting(conn).await?)
}

/// Returns one of this customer's subscriptions, with the prices of its periods.
///
/// # Errors
/// `NOT_FOUND` when there is none or it is another customer's.
pub async fn detail(
    conn: &mut Conn,
    user_id: UserId,
    id: SubscriptionId,
) -> Result<SubscriptionDetail> {
    let row = owned(conn, user_id, id).await?;
    with_periods(conn, id, row).await
}

/// Returns a subscription of any customer, with the prices of its periods.
///
/// # Errors
/// `NOT_FOUND` when there is none.
pub async fn any_detail(conn: &mut Conn, id: SubscriptionId) -> Result<SubscriptionDetail> {
    let row = row(conn, id).await?;
    with_periods(conn, id, row).await
}

async fn with_periods(
    conn: &mut Conn,
    id: SubscriptionId,
    row: SubscriptionRow,
) -> Result<SubscriptionDetail> {
    let periods = store::periods(conn, id).await?;
    Ok(SubscriptionDetail {
        subscription: row.into(),
        periods: periods.into_iter().map(PeriodView::from).collect(),
    })
}

/// Returns a subscription of any customer.
///
/// # Errors
/// `NOT_FOUND` when there is none.
pub(crate) async fn row(conn: &mut Conn, id: SubscriptionId) -> Result<SubscriptionRow> {
    let row = store::any(conn, id).await?;
    row.ok_or_else(|| Error::not_found("subscription"))
}

/// Returns the name of the plan that the next period of a subscription is for: a planned one, or the present one.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn next_plan_name(conn: &mut Conn, row: &SubscriptionRow) -> Result<String> {
    let seen = &row.subscription;
    match seen.next_plan_id {
        // While it is frozen, a period is for the storage of the present plan.
        Some(id) if seen.freeze_state == FreezeState::None => {
            Ok(catalog::plan(conn, id).await?.name)
        }
        _ => Ok(row.plan_name.clone()),
    }
}

/// Returns one of this customer's subscriptions.
///
/// # Errors
/// `NOT_FOUND` when there is none or it is another customer's.
pub(crate) async fn owned(
    conn: &mut Conn,
    user_id: UserId,
    id: SubscriptionId,
) -> Result<SubscriptionRow> {
    let row = store::owned(conn, user_id, id).await?;
    row.ok_or_else(|| Error::not_found("subscription"))
}

/// Removes what a customer whose account is deleted wrote into quotes and subscriptions; periods and prices stay
/// for the books.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut Conn, user_id: UserId) -> Result<()> {
    store::forget(conn, user_id).await?;
    Ok(())
}
