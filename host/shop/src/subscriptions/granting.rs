//! Subscriptions that administrators make for a customer: charged as any purchase, or a gift.

use serde_json::json;

use super::{Order, PurchaseView, Subscriptions, checkout};
use crate::{
    Code, Error, Result,
    audit::{self, AuditAct, Event, Subject},
    db::Uncommitted,
    ids::UserId,
    wallet,
};

/// Makes a subscription for the customer of an order, audited. Where the order is a gift, nothing is
/// charged for its first period; later ones are charged as usual.
///
/// # Errors
/// `NOT_FOUND` for an unknown customer; every refusal of `checkout::sell`.
pub async fn grant(
    shop: &Subscriptions,
    actor_id: UserId,
    order: &Order,
    reason: &str,
) -> Result<Uncommitted<PurchaseView>> {
    let customer = wallet::balance(&mut shop.db.read().await?, order.user_id).await;
    customer.map_err(|error| match error.code {
        Code::NotFound => Error::not_found("customer"),
        _ => error,
    })?;
    let buyer = checkout::Buyer::Administrator;
    let (mut bought, view) = checkout::sell(shop, order, buyer).await?.take();
    let details = json!({
        "customer": order.user_id,
        "plan": view.subscription.plan_id,
        "gift": order.is_gift,
        "charged": view.charged,
    });
    let subject = Subject::Subscription(view.subscription.id);
    let event = Event::new(AuditAct::SubscriptionGranted, subject, details).because(reason);
    audit::record(bought.conn(), &shop.clock, actor_id, event).await?;
    Ok(bought.map(|()| view))
}
