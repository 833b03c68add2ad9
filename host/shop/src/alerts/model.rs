//! Alerts as they are stored and shown.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    db::Place,
    ids::{AlertId, UserId},
};

crate::text_enum! {
    /// Kind of fault.
    pub enum AlertKind {
        /// A plugin version failed so often in a row that it is not called any more.
        PluginSuspended = "PLUGIN_SUSPENDED",
        /// The active version of a plugin does not load on a server.
        PluginNotLoaded = "PLUGIN_NOT_LOADED",
        /// A service template is wrong: its service is sold as it was loaded last, or not at all.
        TemplateRefused = "TEMPLATE_REFUSED",
        /// An image on sale is past its support, or was not checked for long.
        ImageOld = "IMAGE_OLD",
        /// The payment gateway failed several times in a row and is left alone for a while.
        GatewayAway = "GATEWAY_AWAY",
        /// A customer owes money: a top-up was taken back after it was spent.
        CustomerDebt = "CUSTOMER_DEBT",
        /// The payment gateway's answer about a payment cannot be used, or its notice was refused;
        /// a person must look it up there.
        PaymentUnclear = "PAYMENT_UNCLEAR",
        /// The payment gateway has not answered a refund for a day; it is sent on until it does.
        RefundNotAnswered = "REFUND_NOT_ANSWERED",
        /// An instance cannot be set up, or is refused by its plugin, the gate or the cluster.
        InstanceFailed = "INSTANCE_FAILED",
        /// A volume claim that held an instance's data is gone, or is another one.
        InstanceDataLost = "INSTANCE_DATA_LOST",
        /// Another controller changes an instance's objects again and again.
        InstanceContested = "INSTANCE_CONTESTED",
        /// A change of an instance did not work, and it runs as before again.
        InstanceChangeUndone = "INSTANCE_CHANGE_UNDONE",
        /// A network policy that Dermaga did not make is in a customer's namespace.
        ForeignNetworkPolicy = "FOREIGN_NETWORK_POLICY",
        /// Purchases or changes of plan are refused, since their manifests are. Nothing is charged.
        OfferNotDeliverable = "OFFER_NOT_DELIVERABLE",
        /// A purchase was undone, since its service could not be set up.
        PurchaseUndone = "PURCHASE_UNDONE",
        /// The paid credit of all customers together has reached `WALLET_FLOAT_WARNING`.
        FloatHigh = "FLOAT_HIGH",
        /// The proof of the ledger found faults.
        BooksBroken = "BOOKS_BROKEN",
        /// A server's clock was set while it ran, or moments that lie in the future were found.
        ClockJumped = "CLOCK_JUMPED",
    }
}

crate::text_enum! {
    /// State of an alert: open while its cause lasts.
    pub enum AlertState {
        Open = "OPEN",
        Resolved = "RESOLVED",
    }
}

/// Something that administrators must know.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    pub id: AlertId,
    pub kind: AlertKind,
    pub state: AlertState,
    /// Subject of the alert, for example a plugin's id.
    pub subject: String,
    /// The fault and its remedy, in a sentence.
    #[serde(serialize_with = "crate::language::in_words")]
    pub message: String,
    /// Number of times it was noticed since it was raised.
    pub occurrences: i64,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub raised_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub last_raised_at: DateTime<Utc>,
    /// Time at which an administrator first acknowledged it.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub acknowledged_at: Option<DateTime<Utc>>,
    pub acknowledged_by: Option<UserId>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub resolved_at: Option<DateTime<Utc>>,
}

impl Alert {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<AlertId> {
        Place {
            at: self.raised_at,
            tie: self.id,
        }
    }
}

/// Filter of a list of alerts.
#[derive(Debug, Default)]
pub struct AlertFilter<'a> {
    pub kind: Option<AlertKind>,
    pub state: Option<AlertState>,
    pub subject: Option<&'a str>,
    pub acknowledged: Option<bool>,
}
