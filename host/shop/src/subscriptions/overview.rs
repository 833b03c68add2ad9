//! Subscriptions of all customers as administrators see them: lists, and what became of them month by
//! month.

mod days;
mod statistics;
mod store;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use days::keep_days;
pub use statistics::{
    MOST_MONTHS, MonthOfService, MonthView, ServiceCounts, SubscriptionStatistics, statistics,
};

use super::{ShownStatus, SubscriptionRow, SubscriptionView};
use crate::{
    Result,
    db::{Db, Span, Walked},
    ids::{PlanId, SubscriptionId, UserId},
};

/// Filter of a list of all subscriptions.
#[derive(Debug, Default)]
pub struct AnySubscriptionFilter<'a> {
    pub status: Option<ShownStatus>,
    pub user_id: Option<UserId>,
    /// Slug of the service.
    pub service: Option<&'a str>,
    pub plan_id: Option<PlanId>,
    pub auto_renew: Option<bool>,
    /// Text within the customer's e-mail address, in any case.
    pub email: Option<&'a str>,
    /// First moment of its creation.
    pub from: Option<DateTime<Utc>>,
    /// Moment after the last.
    pub until: Option<DateTime<Utc>>,
    /// Moment before which its period ends.
    pub ends_before: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, sqlx::FromRow)]
struct OwnedRow {
    #[sqlx(flatten)]
    row: SubscriptionRow,
    email: String,
}

/// A subscription and whose it is.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnedSubscription {
    pub user_id: UserId,
    pub email: String,
    #[serde(flatten)]
    pub subscription: SubscriptionView,
}

impl From<OwnedRow> for OwnedSubscription {
    fn from(OwnedRow { row, email }: OwnedRow) -> Self {
        Self {
            user_id: row.subscription.user_id,
            email,
            subscription: row.into(),
        }
    }
}

/// Lists the subscriptions of all customers, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list_all(
    db: &Db,
    filter: &AnySubscriptionFilter<'_>,
    span: Span<SubscriptionId>,
) -> Result<Walked<OwnedSubscription>> {
    let found = store::list(&mut db.read().await?, filter, span).await?;
    Ok(found.map(OwnedSubscription::from))
}
