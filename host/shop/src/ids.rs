//! Ids as types, so that the compiler refuses one in the place of another.
//!
//! An id is sent, stored and documented as the UUID in it. A bare `Uuid` remains for ids of no
//! certain kind: holders of leases, subjects of the audit log.

use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type},
    },
};
use uuid::Uuid;

/// Declares ids. [`db::new_id`](crate::db::new_id) makes new ones.
macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident;)+) => {
        /// Names of all types of ids.
        pub const NAMES: &[&str] = &[$(stringify!($name),)+];

        $(
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Id before all others, to begin a list that is read a page at a time.
            pub const MIN: Self = Self(Uuid::nil());

            /// Returns the id with a number, for tests.
            pub const fn from_u128(number: u128) -> Self {
                Self(Uuid::from_u128(number))
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
                    .into()
            }
        }

        impl ToSchema for $name {}
        )+
    };
}

ids! {
    /// Account of a customer or an administrator.
    UserId;
    /// Plan that a customer pays for.
    SubscriptionId;
    /// Group of services in the catalogue.
    CategoryId;
    /// Kind of what is sold.
    ServiceId;
    /// Size of a service at a price.
    PlanId;
    /// Price promised to a customer for a while.
    QuoteId;
    /// Software that runs for a subscription.
    InstanceId;
    /// Rule that lowers a price.
    CouponId;
    /// Movement of money in a wallet.
    TransactionId;
    /// Order of a top-up at the gateway.
    PaymentId;
    /// Recorded call of a plugin.
    DecisionId;
    /// Component that is compiled after its upload.
    UploadId;
    /// Entry of the ledger, whose postings add up to zero.
    EntryId;
    /// Daily seal of the ledger.
    SealId;
    /// Use of a coupon.
    RedemptionId;
    /// Message of the gateway about a payment.
    NoticeId;
    /// Payment of money back through the gateway.
    RefundId;
    /// Money that a wallet owes since a payment was taken back.
    DebtId;
    /// Upgrade that waits for its delivery.
    PlanChangeId;
    /// Run of a job.
    RunId;
    /// Recorded act of an administrator, or read of a secret.
    AuditEventId;
    /// Notice to administrators, open until its cause is gone.
    AlertId;
    /// Time in which an instance had one health.
    HealthSpanId;
    /// Sign-in on one device, with all tokens that follow from it.
    SessionId;
    /// Token that renews a session once.
    RefreshTokenId;
    /// Key that a program signs in with.
    ApiTokenId;
    /// Message to one reader about what happened.
    NotificationId;
    /// Notification on its way by a channel.
    DeliveryId;
    /// Customer's entry in the queue of a plan that is sold out.
    WaitId;
    /// Address that events are sent to.
    WebhookId;
    /// Event on its way to a webhook.
    WebhookDeliveryId;
    /// Question of a customer to the shop.
    TicketId;
    /// Message or note of a ticket.
    TicketMessageId;
    /// Picture of a message.
    AttachmentId;
    /// Text that administrators answer with again and again.
    CannedAnswerId;
    /// Domain of a customer that leads to an instance, or is to.
    DomainId;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{db::new_id, fetch_one, test_database::TestDatabase};

    #[tokio::test]
    async fn an_id_is_stored_sent_and_read_as_its_uuid() {
        let database = TestDatabase::open().await;
        let id: UserId = new_id(&database.clock);
        let uuid = Uuid::from(id);

        let mut conn = database.db.read().await.unwrap();
        let sql = "SELECT $1, $2";
        let (stored, absent) =
            fetch_one!(conn, (Uuid, Option<UserId>), sql, id, None::<UserId>).unwrap();
        assert_eq!((stored, absent), (uuid, None));
        let (read,) = fetch_one!(conn, (UserId,), "SELECT $1", uuid).unwrap();
        assert_eq!(read, id);

        let json = serde_json::to_value(id).unwrap();
        assert_eq!(json, serde_json::to_value(uuid).unwrap());
        assert_eq!(serde_json::from_value::<UserId>(json).unwrap(), id);
        assert_eq!(id.to_string(), uuid.to_string());
        assert_eq!(uuid.to_string().parse(), Ok(id));
    }
}
