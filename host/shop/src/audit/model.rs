//! Acts, and what they were done to.

use std::fmt::{self, Display, Formatter};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::{
    db::Place,
    ids::{
        AlertId, AuditEventId, CannedAnswerId, CategoryId, CouponId, DeliveryId, DomainId,
        InstanceId, PaymentId, PlanId, ServiceId, SubscriptionId, TicketId, UserId, WebhookId,
    },
};

crate::text_enum! {
    /// Act that the audit trail keeps.
    pub enum AuditAct {
        /// An alert was marked as seen.
        AlertAcknowledged = "alert.acknowledged",
        /// The service templates were read again, and what changed was applied.
        CatalogReloaded = "catalog.reloaded",
        CategoryChanged = "category.changed",
        CategoryCreated = "category.created",
        CategoryDeleted = "category.deleted",
        CategoryReset = "category.reset",
        /// The clock of a rehearsal was moved.
        ClockSet = "clock.set",
        CouponCreated = "coupon.created",
        CouponChanged = "coupon.changed",
        CouponDeleted = "coupon.deleted",
        /// A coupon was switched on or off.
        CouponSwitched = "coupon.switched",
        /// A customer or an administrator read an instance's passwords.
        CredentialsShown = "instance.credentials_shown",
        /// Objects in the cluster that differ from the records were adopted, deleted or applied again.
        DriftRepaired = "cluster.drift_repaired",
        /// An instance was told to begin again without its lost data.
        DataLossAccepted = "instance.data_loss_accepted",
        /// A customer's domain was taken from an instance.
        DomainRemoved = "domain.removed",
        /// Instances were to be looked at at once.
        HealthCheckRequested = "health.check_requested",
        /// An instance was moved to another version of its plugin.
        InstanceMoved = "instance.moved",
        /// A customer's instance was restarted by an administrator.
        InstanceRestarted = "instance.restarted",
        /// An instance was moved to the settings that its template has now.
        SettingsMoved = "instance.settings_moved",
        /// An instance and its subscription were ended.
        InstanceTerminated = "instance.terminated",
        /// A job was run by hand.
        JobRun = "job.run",
        /// A mail that was not taken was sent again.
        NotificationResent = "notification.resent",
        /// The operator's templates of notifications were read again.
        NotificationTemplatesLoaded = "notification_templates.loaded",
        /// A top-up was paid back through the gateway.
        PaymentRefunded = "payment.refunded",
        /// A payment that the gateway left unclear was settled by hand.
        PaymentReviewed = "payment.reviewed",
        PlanChanged = "plan.changed",
        PlanCreated = "plan.created",
        PlanDeleted = "plan.deleted",
        /// A plan is kept for those who bought it, and not sold any more.
        PlanRetired = "plan.retired",
        /// A plan was put on sale, or taken off it.
        PlanSwitched = "plan.switched",
        PluginActivated = "plugin.activated",
        /// A plugin was granted a larger or smaller size class.
        PluginClassGranted = "plugin.class_granted",
        /// The suspension of a failing plugin version was ended by hand.
        PluginResumed = "plugin.resumed",
        PluginRetired = "plugin.retired",
        /// A component was uploaded as a new version.
        PluginStaged = "plugin.staged",
        PluginVersionDeleted = "plugin.version_deleted",
        /// The number of a plan that can be sold was changed.
        QuotaChanged = "plan.quota_changed",
        ServiceChanged = "service.changed",
        ServiceCreated = "service.created",
        ServiceDeleted = "service.deleted",
        /// The template decides all fields of a service again.
        ServiceReset = "service.reset",
        /// A service is kept for those who bought it, and not sold any more.
        ServiceRetired = "service.retired",
        /// A service was put on sale, or taken off it.
        ServiceSwitched = "service.switched",
        /// Renewal or price of a subscription was changed.
        SubscriptionChanged = "subscription.changed",
        /// A customer keeps the price after all.
        PriceKept = "subscription.price_kept",
        /// A customer was told of another price.
        PriceMoved = "subscription.price_moved",
        /// A customer wants a subscription frozen from its next period on.
        SubscriptionFreezeAsked = "subscription.freeze_asked",
        /// A customer ended a freeze, or called it back before it began.
        SubscriptionThawed = "subscription.thawed",
        SubscriptionExpired = "subscription.expired",
        /// The period of a subscription was made longer without a charge.
        SubscriptionExtended = "subscription.extended",
        /// A subscription was ended at once, with or without a refund.
        SubscriptionForceCancelled = "subscription.force_cancelled",
        /// A subscription was made for a customer.
        SubscriptionGranted = "subscription.granted",
        /// The end of a subscription's grace was set.
        SubscriptionGraceSet = "subscription.grace_set",
        /// The plan of a subscription was changed by an administrator, at once or with the next period.
        SubscriptionPlanChanged = "subscription.plan_changed",
        /// Cash of a paid period was given back to the wallet.
        SubscriptionRefunded = "subscription.refunded",
        UserChanged = "user.changed",
        UserCreated = "user.created",
        /// An account was deleted by its owner or an administrator.
        UserDeleted = "user.deleted",
        UserDisabled = "user.disabled",
        UserEnabled = "user.enabled",
        /// An administrator signed in to a customer's account to look at it.
        UserLookedAt = "user.looked_at",
        UserRoleChanged = "user.role_changed",
        /// Every session and API token of an account was ended.
        UserSignedOut = "user.signed_out",
        /// The second factor was taken from an account whose owner has lost it.
        UserTwoFactorRemoved = "user.two_factor_removed",
        CreditAdded = "wallet.credit_added",
        CreditDeducted = "wallet.credit_deducted",
        CannedAnswerChanged = "canned_answer.changed",
        CannedAnswerCreated = "canned_answer.created",
        CannedAnswerDeleted = "canned_answer.deleted",
        TicketAnswered = "ticket.answered",
        /// An administrator was made to take care of a ticket, or none any more.
        TicketAssigned = "ticket.assigned",
        /// A ticket was closed: by its customer, an administrator, or the shop after days of silence.
        TicketClosed = "ticket.closed",
        /// A note was written that the customer does not see.
        TicketNoted = "ticket.noted",
        TicketPrioritySet = "ticket.priority_set",
        TicketReopened = "ticket.reopened",
        WebhookChanged = "webhook.changed",
        WebhookCreated = "webhook.created",
        WebhookDeleted = "webhook.deleted",
        /// An event was sent to a webhook again.
        WebhookResent = "webhook.resent",
        /// A webhook was given a new secret.
        WebhookSecretRotated = "webhook.secret_rotated",
        /// A test event was sent to a webhook.
        WebhookTested = "webhook.tested",
    }
}

/// Thing that something was done to, written as `kind:id`.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    Alert(AlertId),
    CannedAnswer(CannedAnswerId),
    Catalog,
    Category(CategoryId),
    Clock,
    Cluster,
    Coupon(CouponId),
    /// Notification on its way by a channel.
    Delivery(DeliveryId),
    /// Domain of a customer.
    Domain(DomainId),
    Instance(InstanceId),
    /// Several instances.
    Instances,
    /// Job by its name.
    Job(&'a str),
    NotificationTemplates,
    Payment(PaymentId),
    Plan(PlanId),
    /// Plugin by its id.
    Plugin(&'a str),
    Service(ServiceId),
    Subscription(SubscriptionId),
    Ticket(TicketId),
    /// Account.
    User(UserId),
    /// Wallet by its customer.
    Wallet(UserId),
    /// Webhook of the shop.
    Webhook(WebhookId),
}

impl Display for Subject<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert(id) => write!(f, "alert:{id}"),
            Self::CannedAnswer(id) => write!(f, "canned_answer:{id}"),
            Self::Catalog => f.write_str("catalog"),
            Self::Category(id) => write!(f, "category:{id}"),
            Self::Clock => f.write_str("clock"),
            Self::Cluster => f.write_str("cluster"),
            Self::Coupon(id) => write!(f, "coupon:{id}"),
            Self::Delivery(id) => write!(f, "delivery:{id}"),
            Self::Domain(id) => write!(f, "domain:{id}"),
            Self::Instance(id) => write!(f, "instance:{id}"),
            Self::Instances => f.write_str("instances"),
            Self::Job(name) => write!(f, "job:{name}"),
            Self::NotificationTemplates => f.write_str("notification_templates"),
            Self::Payment(id) => write!(f, "payment:{id}"),
            Self::Plan(id) => write!(f, "plan:{id}"),
            Self::Plugin(id) => write!(f, "plugin:{id}"),
            Self::Service(id) => write!(f, "service:{id}"),
            Self::Subscription(id) => write!(f, "subscription:{id}"),
            Self::Ticket(id) => write!(f, "ticket:{id}"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Wallet(user_id) => write!(f, "wallet:{user_id}"),
            Self::Webhook(id) => write!(f, "webhook:{id}"),
        }
    }
}

/// Act to record.
#[derive(Debug)]
pub struct Event<'a> {
    pub(super) act: AuditAct,
    pub(super) subject: Subject<'a>,
    pub(super) reason: Option<&'a str>,
    pub(super) details: Value,
}

impl<'a> Event<'a> {
    /// Returns it with what is needed to understand it later: values before and after, amounts,
    /// never secrets.
    pub const fn new(act: AuditAct, subject: Subject<'a>, details: Value) -> Self {
        Self {
            act,
            subject,
            reason: None,
            details,
        }
    }

    /// Adds the reason that the actor gave.
    #[must_use]
    pub const fn because(self, reason: &'a str) -> Self {
        self.given(Some(reason))
    }

    /// Adds the reason that the actor gave, or none.
    #[must_use]
    pub const fn given(mut self, reason: Option<&'a str>) -> Self {
        self.reason = reason;
        self
    }
}

/// Recorded act.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    pub id: AuditEventId,
    /// Account that acted.
    pub actor_id: Option<UserId>,
    /// E-mail address of that account today.
    pub actor_email: Option<String>,
    pub act: AuditAct,
    /// Kind and id of what it was done to, for example `coupon:0199…`, or `catalog`, `clock`, `cluster` and
    /// `instances`.
    pub subject: String,
    /// Reason that the actor gave.
    pub reason: Option<String>,
    /// Values before and after, amounts and the like; its fields depend on the act.
    #[schema(value_type = Object)]
    pub details: Json<Value>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
}

impl AuditEvent {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<AuditEventId> {
        Place {
            at: self.created_at,
            tie: self.id,
        }
    }
}

/// Filter of a list of acts.
#[derive(Debug, Default)]
pub struct AuditFilter<'a> {
    pub actor_id: Option<UserId>,
    pub act: Option<AuditAct>,
    pub subject: Option<&'a str>,
    /// Text within the reason, in any case.
    pub reason: Option<&'a str>,
    /// First moment.
    pub from: Option<DateTime<Utc>>,
    /// Moment after the last.
    pub until: Option<DateTime<Utc>>,
}
