//! Undoes first purchases that can never be set up, or that end before they were: money of both
//! kinds, quota and the coupon's use.

use serde_json::json;

use crate::{
    Error, Result,
    alerts::{self, AlertKind},
    catalog, coupons,
    db::Conn,
    ids::SubscriptionId,
    payments::debts,
    provisioning::{self, Undeliverable},
    subscriptions::{
        SubscriptionStatus, Subscriptions,
        end_notice::{self, Cause},
        model::{PeriodRow, SubscriptionRow},
        store, upgrade,
    },
    wallet::{self, LockedWallet, NewTransaction, TransactionType},
};

/// Undoes every first purchase whose instance will never be set up. One that fails stops none of
/// the others.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn undo_purchases(shop: &Subscriptions) -> Result<()> {
    // In a statement of its own, or the connection would be held while the purchases are undone.
    let all = provisioning::undeliverable(&mut shop.db.read().await?).await?;
    for found in all {
        if let Err(error) = undo(shop, &found).await {
            tracing::error!(subscription.id = %found.subscription_id, %error, cause = ?error.source, "purchase.not_undone");
        }
    }
    Ok(())
}

/// Subject of the alert about a plan that cannot be set up.
pub(super) fn subject(service: &str, plan: &str) -> String {
    format!("{service} {plan}")
}

/// The one transaction; looks again with the customer's wallet locked, and undoes each purchase
/// once.
async fn undo(shop: &Subscriptions, found: &Undeliverable) -> Result<()> {
    let (clock, id, user_id) = (&shop.clock, found.subscription_id, found.user_id);
    let mut conn = shop.db.begin().await?;
    let mut wallet = wallet::lock(&mut conn, user_id).await?;
    let row = crate::subscriptions::row(&mut conn, id).await?;
    if !is_first(&row) || !provisioning::is_undeliverable(&mut conn, id).await? {
        return Ok(conn.rollback().await?);
    }
    let reason = "It could not be set up. Everything paid for it was given back.";
    let ending = Ending {
        why: &found.message,
        reason: Some(reason),
        cause: Cause::Undeliverable,
    };
    take_back(shop, &mut conn, &mut wallet, &row, ending).await?;
    let message = format!(
        "A purchase of {} {} was undone, since it could not be set up: {} Customers can still buy it; switch the \
         plan off until it is mended.",
        row.service_name, row.plan_name, found.message
    );
    let subject = subject(&row.service_slug, &row.plan_slug);
    alerts::raise(
        &mut conn,
        clock,
        AlertKind::PurchaseUndone,
        &subject,
        &message,
    )
    .await?;
    conn.commit().await?;
    shop.instances.handle.wake();
    tracing::warn!(subscription.id = %id, reason = found.message, "purchase.undone");
    Ok(())
}

/// Returns true when a subscription is in its first period and its instance never ran: ending it now
/// undoes its purchase.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn is_undelivered(conn: &mut Conn, row: &SubscriptionRow) -> Result<bool> {
    Ok(is_first(row) && !provisioning::was_delivered(conn, row.subscription.id).await?)
}

fn is_first(row: &SubscriptionRow) -> bool {
    row.subscription.status == SubscriptionStatus::Active && row.subscription.period_number == 1
}

/// Words of the end of a purchase.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending<'a> {
    /// Shown with the refund.
    pub(crate) why: &'a str,
    /// Shown with the subscription.
    pub(crate) reason: Option<&'a str>,
    /// Told to the customer.
    pub(crate) cause: Cause<'a>,
}

/// Ends a first purchase and returns everything that it took: money of both kinds, quota, and the
/// coupon's use.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn take_back(
    shop: &Subscriptions,
    conn: &mut Conn,
    wallet: &mut LockedWallet,
    row: &SubscriptionRow,
    ending: Ending<'_>,
) -> Result<()> {
    let (clock, id, user_id) = (&shop.clock, row.subscription.id, row.subscription.user_id);
    let mut places = upgrade::abandon(shop, conn, wallet, id).await?;
    // Its plan is the one that was bought again.
    let row = &store::any(conn, id)
        .await?
        .ok_or_else(|| Error::not_found("subscription"))?;
    let period = store::period(conn, id, 1).await?;
    let period = period.ok_or_else(|| Error::internal("a subscription without its period"))?;
    give_back(shop, conn, wallet, (row, &period), ending.why).await?;
    let plan_id = store::cancel(conn, user_id, id, ending.reason, clock.now()).await?;
    provisioning::terminate(conn, clock, id).await?;
    if let Some(plan_id) = plan_id {
        places.push(plan_id);
        end_notice::tell(conn, clock, id, (ending.cause, true)).await?;
    }
    // The coupon before the plan, in the order in which a purchase takes them.
    coupons::release(conn, clock, id).await?;
    catalog::give_back_places(conn, clock, places).await
}

/// Refunds the unused payments of the period, each kind of credit as it was paid.
async fn give_back(
    shop: &Subscriptions,
    conn: &mut Conn,
    wallet: &mut LockedWallet,
    (row, period): (&SubscriptionRow, &PeriodRow),
    why: &str,
) -> Result<()> {
    let id: SubscriptionId = row.subscription.id;
    let new = NewTransaction {
        user_id: row.subscription.user_id,
        kind: TransactionType::Refund,
        description: format!("{} {}, purchase undone", row.service_name, row.plan_name),
        details: json!({ "reason": why, "purchase": period.transaction_id }),
        subscription_id: Some(id),
        coupon_id: None,
        price_decision_id: None,
        coupon_decision_id: None,
    };
    let cash = period.paid_cash.minus(period.refunded_cash)?;
    let (purchase, back) = (period.transaction_id, (cash, period.paid_bonus));
    let key = format!("purchase-undone:{id}");
    wallet::undo_purchase(conn, &shop.clock, wallet, purchase, back, &key, new).await?;
    debts::collect(conn, &shop.clock, wallet, cash, &key).await?;
    store::refund_period(conn, id, period.number, cash).await?;
    Ok(())
}
