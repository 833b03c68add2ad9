//! Lists that grow and are read on by cursors, each with the name that its cursors carry.

use std::{fmt, str::FromStr};

use dermaga_shop::{
    ids::{
        AuditEventId, DecisionId, DeliveryId, HealthSpanId, NotificationId, RunId,
        WebhookDeliveryId,
    },
    wallet::TransactionNumber,
};
use uuid::Uuid;

/// A list that is read on by [cursors](super::Cursor).
pub trait Listed {
    /// Name in its cursors, by which other lists refuse them.
    const NAME: &'static str;
    /// Value that orders the items of one moment.
    type Key: fmt::Display + FromStr;
}

macro_rules! lists {
    ($($(#[$doc:meta])* $list:ident, $name:literal, $key:ty;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub enum $list {}

            impl Listed for $list {
                const NAME: &'static str = $name;
                type Key = $key;
            }
        )+

        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),+];
    };
}

lists! {
    /// Acts of administrators, and reads of passwords.
    Acts, "acts", AuditEventId;
    /// Decisions of plugins.
    Decisions, "decisions", DecisionId;
    /// Deliveries to one webhook.
    Deliveries, "deliveries", WebhookDeliveryId;
    /// Health of one instance.
    HealthSpans, "health", HealthSpanId;
    /// Events of one instance.
    InstanceEvents, "events", Uuid;
    /// Mails to all accounts.
    Mails, "mails", DeliveryId;
    /// Notifications of one account.
    Notifications, "inbox", NotificationId;
    /// Runs of one job.
    Runs, "runs", RunId;
    /// Security events of one account.
    SecurityEvents, "security", NotificationId;
    /// Transactions of one wallet.
    OwnTransactions, "own", TransactionNumber;
    /// Transactions of all wallets.
    Transactions, "transactions", TransactionNumber;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_lists_have_one_name() {
        let names: BTreeSet<&str> = NAMES.iter().copied().collect();
        assert_eq!(names.len(), NAMES.len());
        // A name ends at the first dot of a cursor.
        assert!(names.iter().all(|name| !name.contains('.')));
    }
}
