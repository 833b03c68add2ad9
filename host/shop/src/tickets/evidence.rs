//! Evidence of a ticket: what is known of the instance that it names, and of its payment.

use serde_json::{Value, json};

use crate::{
    Code, Result,
    calendar::json_text,
    ids::{InstanceId, UserId},
    payments::{DebtFilter, debts},
    provisioning::{self, Instances, lifecycle},
    subscriptions, wallet,
};

/// Returns what is known of a customer's instance now.
///
/// # Errors
/// `NOT_FOUND` when there is none or it is another customer's.
pub(super) async fn of(instances: &Instances, user_id: UserId, id: InstanceId) -> Result<Value> {
    let mut evidence = Box::pin(provisioning::evidence(instances, user_id, id)).await?;
    let payment = payment(instances, user_id, id).await?;
    if let Value::Object(fields) = &mut evidence {
        fields.insert("payment".to_owned(), payment);
    }
    Ok(evidence)
}

async fn payment(instances: &Instances, user_id: UserId, id: InstanceId) -> Result<Value> {
    let mut conn = instances.db.read().await?;
    let subscription_id = lifecycle::subscription_of(&mut conn, user_id, id).await?;
    let detail = subscriptions::detail(&mut conn, user_id, subscription_id).await?;
    let balance = match wallet::balance(&mut conn, user_id).await {
        Ok(balance) => Some(json!({ "paid": balance.paid, "bonus": balance.bonus })),
        Err(error) if error.code == Code::NotFound => None,
        Err(error) => return Err(error),
    };
    drop(conn);
    let open = DebtFilter {
        user_id: Some(user_id),
        open: Some(true),
    };
    let one = crate::db::Span::Page(crate::db::Part {
        offset: 0,
        limit: 1,
    });
    let debts = debts(&instances.db, open, one).await?;
    let seen = detail.subscription;
    Ok(json!({
        "subscriptionId": seen.id,
        "status": seen.status,
        "plan": seen.plan,
        "freezeState": seen.freeze_state,
        "autoRenew": seen.auto_renew,
        "periodStart": json_text(seen.period_start),
        "periodEnd": json_text(seen.period_end),
        "graceUntil": seen.grace_until.map(json_text),
        "suspendedAt": seen.suspended_at.map(json_text),
        "unpaid": seen.unpaid,
        "balance": balance,
        "openDebts": debts.total,
    }))
}
