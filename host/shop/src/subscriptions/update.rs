//! A new configuration for a running service, in its plan, by its customer.
//!
//! The period that is paid for keeps its price. The next one is priced by the new configuration, which
//! may not cost more: a customer could otherwise have the dear one for the price of the cheap one and
//! change back before the renewal.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{SubscriptionStatus, Subscriptions, model::SubscriptionRow, renewal, upgrade};
use crate::{
    Code, Error, Result,
    db::Uncommitted,
    ids::{InstanceId, PlanId, UserId},
    money::Rupiah,
    plugins::Asking,
    provisioning::{self, ObjectChange, Update, lifecycle},
    wallet,
};

/// Configuration that a customer wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub config: Value,
    /// The plan that it is for, where the customer says so.
    pub plan_id: Option<PlanId>,
}

/// Update of an instance: made, or as it would be.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateView {
    pub instance_id: InstanceId,
    /// The whole new configuration.
    #[schema(value_type = Object)]
    pub config: Value,
    /// False for a preview, and when the instance has this configuration already.
    pub applied: bool,
    /// Secrets that are generated with it.
    pub new_secrets: Vec<String>,
    pub changes: Vec<ObjectChange>,
    /// The objects' unified diff as YAML, the values of secrets masked.
    pub diff: String,
    /// Its pods are replaced, or some of them go.
    pub restarts: bool,
    /// Price of the next period with the present configuration.
    pub price_now: Rupiah,
    /// Price of the next period with the new one, before a coupon; never more than now.
    pub price_next: Rupiah,
}

/// An update with its next price decided.
struct Proposal {
    row: SubscriptionRow,
    update: Update,
    view: UpdateView,
}

/// Shows an update without making it.
///
/// # Errors
/// Every refusal of [`update`] but `CONFLICT`.
pub async fn preview(
    shop: &Subscriptions,
    user_id: UserId,
    id: InstanceId,
    wanted: Wanted,
) -> Result<UpdateView> {
    Ok(propose(shop, (user_id, Asking::Preview), id, wanted)
        .await?
        .view)
}

/// Changes the configuration of an instance: the reconciler rolls it out, or goes back to the present one
/// when it does not work. A period that is over is renewed first, in a transaction of its own.
///
/// # Errors
/// `NOT_FOUND` when it is not this customer's; `INVALID_STATE` when it is stopped, unpaid or ended, or
/// a change of plan is under way; `VALIDATION_FAILED` and `PLUGIN_REFUSED_INPUT` for a configuration
/// that does not fit, a field that is fixed and another plan; `PRICE_WOULD_RISE`; `NOT_DELIVERABLE`;
/// `CONFLICT` when it was changed meanwhile; `PLUGIN_*`.
pub async fn update(
    shop: &Subscriptions,
    user_id: UserId,
    id: InstanceId,
    wanted: Wanted,
) -> Result<Uncommitted<UpdateView>> {
    let proposal = propose(shop, (user_id, Asking::Act), id, wanted).await?;
    let Proposal {
        row,
        update,
        mut view,
    } = proposal;
    let mut conn = shop.db.begin().await?;
    if !update.is_change() {
        return Ok(Uncommitted::new(conn, view));
    }
    // Whatever charges this customer waits here, so that a period is priced by one configuration.
    let _wallet = wallet::lock(&mut conn, user_id).await?;
    let seen = &row.subscription;
    let now = super::owned(&mut conn, user_id, seen.id).await?;
    check_state(now.subscription.status)?;
    if upgrade::pending(&mut conn, seen.id).await?.is_some() {
        return Err(upgrade::changing());
    }
    let is_same = now.subscription.period_number == seen.period_number;
    if !is_same || !provisioning::make_update(&mut conn, &shop.instances, &update).await? {
        let message = "The service was changed by another request. Check it and try again.";
        return Err(Error::new(Code::Conflict, message).retry_after(1));
    }
    view.applied = true;
    let handle = shop.instances.handle.clone();
    Ok(Uncommitted::new(conn, view).and_then(move || handle.wake()))
}

async fn propose(
    shop: &Subscriptions,
    (user_id, asking): (UserId, Asking),
    id: InstanceId,
    wanted: Wanted,
) -> Result<Proposal> {
    let mut conn = shop.db.read().await?;
    let subscription_id = lifecycle::subscription_of(&mut conn, user_id, id).await?;
    let mut row = super::owned(&mut conn, user_id, subscription_id).await?;
    drop(conn);
    check_state(row.subscription.status)?;
    check_plan(&row, wanted.plan_id)?;
    if asking == Asking::Act && row.subscription.is_overdue(shop.clock.now()) {
        renewal::renew_first(shop, subscription_id).await?;
        row = super::owned(&mut shop.db.read().await?, user_id, subscription_id).await?;
    }
    let instances = &shop.instances;
    let update =
        provisioning::prepare_update(instances, subscription_id, wanted.config, asking).await?;
    let price_now = renewal::plan_price(shop, &row, None).await?;
    let price_next = renewal::plan_price(shop, &row, Some(update.config())).await?;
    if price_next > price_now {
        return Err(dearer(price_now, price_next)?);
    }
    let view = UpdateView {
        instance_id: id,
        config: update.config().clone(),
        applied: false,
        new_secrets: update.new_secrets(),
        changes: update.changes().to_vec(),
        diff: update.diff().to_owned(),
        restarts: update.restarts(),
        price_now,
        price_next,
    };
    Ok(Proposal { row, update, view })
}

fn check_state(status: SubscriptionStatus) -> Result<()> {
    let message = match status {
        SubscriptionStatus::Active => return Ok(()),
        SubscriptionStatus::PastDue | SubscriptionStatus::Suspended => {
            "The next month of this service is not paid yet. Top up your wallet first.".to_owned()
        }
        other => format!("This subscription is {other} and cannot be updated."),
    };
    Err(Error::new(Code::InvalidState, message))
}

fn check_plan(row: &SubscriptionRow, plan_id: Option<PlanId>) -> Result<()> {
    let subscription = &row.subscription;
    if plan_id.is_none_or(|wanted| wanted == subscription.plan_id) {
        return Ok(());
    }
    let message = format!(
        "must be the plan that it has: a plan is changed by PUT /api/subscriptions/{}/upgrade",
        subscription.id
    );
    Err(Error::invalid("planId", message))
}

fn dearer(now: Rupiah, next: Rupiah) -> Result<Error> {
    let message = format!(
        "This configuration costs {next} for the next period, {} more than the present one ({now}). A running service keeps \
         its price: buy a new one for this configuration.",
        next.minus(now)?
    );
    Ok(Error::new(Code::PriceWouldRise, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog::Tier, test_database::ended};

    #[test]
    fn only_what_is_paid_for_gets_a_new_configuration() {
        for &status in SubscriptionStatus::ALL {
            let refused = check_state(status).err().map(|error| error.message);
            match status {
                SubscriptionStatus::Active => assert_eq!(refused, None),
                SubscriptionStatus::PastDue | SubscriptionStatus::Suspended => {
                    assert!(refused.unwrap().ends_with("Top up your wallet first."));
                }
                ended => assert!(refused.unwrap().contains(ended.as_str())),
            }
        }
    }

    #[test]
    fn a_plan_is_named_only_as_it_is() {
        let row = SubscriptionRow {
            subscription: ended(SubscriptionStatus::Active),
            service_slug: "ghost".to_owned(),
            service_name: "Ghost".to_owned(),
            plan_slug: "basic".to_owned(),
            plan_name: "Basic".to_owned(),
            tier: Tier::Basic,
            instance_id: None,
            instance_status: None,
        };
        check_plan(&row, None).unwrap();
        check_plan(&row, Some(row.subscription.plan_id)).unwrap();
        let refused = check_plan(&row, Some(PlanId::from_u128(9))).unwrap_err();
        let path = format!("/api/subscriptions/{}/upgrade", row.subscription.id);
        assert!(refused.details[0].message.contains(&path));
    }

    #[test]
    fn a_dearer_configuration_is_refused_with_the_difference() {
        let refused = dearer(Rupiah::new(50_000), Rupiah::new(65_000)).unwrap();
        assert_eq!(refused.code, Code::PriceWouldRise);
        assert!(refused.message.contains("Rp15.000 more"), "{refused}");
        assert!(dearer(Rupiah::new(-2), Rupiah::new(i64::MAX)).is_err());
    }
}
