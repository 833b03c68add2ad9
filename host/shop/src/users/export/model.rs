//! Rows that only an archive shows.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::Value;
use sqlx::types::Json;

use crate::{
    accounts::Scope,
    audit::{AuditAct, AuditEvent},
    ids::{
        ApiTokenId, AuditEventId, InstanceId, NotificationId, PaymentId, PlanChangeId, PlanId,
        QuoteId, RefundId, SessionId, SubscriptionId, TransactionId, UserId, WebhookId,
    },
    money::Rupiah,
    payments::RefundState,
    provisioning::view::EventView,
    webhooks::WebhookDelivery,
};

/// Session that has ended.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndedSession {
    pub(super) id: SessionId,
    #[serde(serialize_with = "crate::accounts::device_in_words")]
    device: String,
    /// Absent for an administrator's.
    address: Option<String>,
    by_administrator: bool,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub(super) created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    last_used_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    expires_at: DateTime<Utc>,
    /// Absent where it expired.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    ended_at: Option<DateTime<Utc>>,
}

/// API token that was revoked or has expired.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndedToken {
    pub(super) id: ApiTokenId,
    name: String,
    scope: Scope,
    hint: String,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub(super) created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    expires_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    last_used_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    revoked_at: Option<DateTime<Utc>>,
}

/// Price that was promised.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeptQuote {
    pub(super) id: QuoteId,
    plan_id: PlanId,
    term_months: i64,
    coupon_code: Option<String>,
    #[serde(serialize_with = "parsed")]
    config: String,
    due: Rupiah,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub(super) created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    expires_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    used_at: Option<DateTime<Utc>>,
}

/// Refund of a top-up through the gateway.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub(super) struct GatewayRefund {
    pub(super) id: RefundId,
    payment_id: PaymentId,
    amount: Rupiah,
    state: RefundState,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub(super) created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    finished_at: Option<DateTime<Utc>>,
}

/// Change of a plan within a period.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeOfPlan {
    pub(super) id: PlanChangeId,
    subscription_id: SubscriptionId,
    from_plan_id: PlanId,
    to_plan_id: PlanId,
    from_monthly_price: Rupiah,
    period_number: i64,
    paid_cash: Rupiah,
    paid_bonus: Rupiah,
    transaction_id: TransactionId,
    state: String,
    /// Absent where it was not reverted.
    message: Option<String>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub(super) created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    settled_at: Option<DateTime<Utc>>,
}

/// Move of a subscription to another price, the last one.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub(super) struct MoveOfPrice {
    pub(super) subscription_id: SubscriptionId,
    plan_id: PlanId,
    monthly_price: Rupiah,
    term_price: Option<Rupiah>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    effective_at: DateTime<Utc>,
    /// Absent while it waits for its period.
    applied_period: Option<i64>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub(super) created_at: DateTime<Utc>,
}

/// Writes a text that is JSON as that.
fn parsed<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value.serialize(serializer)
}

/// Notification with its mail, if one was made.
#[derive(Debug, Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mail {
    pub(super) id: NotificationId,
    kind: String,
    address: Option<String>,
    state: Option<String>,
    attempts: Option<i64>,
    answer: Option<String>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub(super) created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    sent_at: Option<DateTime<Utc>>,
}

/// Event of one of several instances.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceEvent {
    pub(super) instance_id: InstanceId,
    #[serde(flatten)]
    pub(super) event: EventView,
}

/// Delivery to one of several endpoints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointDelivery {
    pub(super) webhook_id: WebhookId,
    #[serde(flatten)]
    pub(super) delivery: WebhookDelivery,
}

/// Recorded act without the names of other people.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordedAct {
    id: AuditEventId,
    act: AuditAct,
    subject: String,
    reason: Option<String>,
    details: Option<Json<Value>>,
    is_by_you: bool,
    #[serde(serialize_with = "crate::calendar::in_json")]
    created_at: DateTime<Utc>,
}

impl RecordedAct {
    /// Returns an act upon what is a person's own.
    pub(super) fn upon(event: AuditEvent, id: UserId) -> Self {
        Self {
            id: event.id,
            act: event.act,
            subject: event.subject,
            reason: event.reason,
            details: Some(event.details),
            is_by_you: event.actor_id == Some(id),
            created_at: event.created_at,
        }
    }

    /// Returns an act by a person, of which only the kind of the subject is kept where that is not among what is
    /// the person's own.
    pub(super) fn by(event: AuditEvent, own: &BTreeSet<String>) -> Self {
        let is_own = own.contains(&event.subject);
        let kind = event.subject.split(':').next().unwrap_or_default();
        let subject = if is_own { event.subject.as_str() } else { kind };
        Self {
            id: event.id,
            act: event.act,
            subject: subject.to_owned(),
            reason: event.reason.filter(|_| is_own),
            details: Some(event.details).filter(|_| is_own),
            is_by_you: true,
            created_at: event.created_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_act_upon_another_person_names_its_kind_alone() {
        let (me, other) = (UserId::from_u128(1), UserId::from_u128(2));
        let event = |id: UserId| AuditEvent {
            id: AuditEventId::MIN,
            actor_id: Some(me),
            actor_email: Some("admin@example.com".to_owned()),
            act: AuditAct::UserChanged,
            subject: format!("user:{id}"),
            reason: Some("Budi asked for it.".to_owned()),
            details: Json(json!({ "name": "Budi" })),
            created_at: DateTime::UNIX_EPOCH,
        };
        let own = BTreeSet::from([format!("user:{me}")]);
        let act = serde_json::to_value(RecordedAct::by(event(other), &own)).unwrap();
        assert_eq!(act["subject"], "user");
        let text = act.to_string();
        assert!(!text.contains("Budi") && !text.contains("admin@"), "{text}");
        let act = serde_json::to_value(RecordedAct::by(event(me), &own)).unwrap();
        assert_eq!(act["details"]["name"], "Budi");
        let act = serde_json::to_value(RecordedAct::upon(event(me), me)).unwrap();
        assert_eq!(
            (&act["isByYou"], &act["actorEmail"]),
            (&json!(true), &Value::Null)
        );
    }
}
