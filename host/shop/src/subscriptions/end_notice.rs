//! Notice to a customer that a subscription has ended, whose data is removed with it.

use serde_json::json;

use crate::{
    Result,
    calendar::json_text,
    db::{Clock, Conn},
    ids::SubscriptionId,
    outbox::{self, Topic},
};

/// Cause of the end of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause<'a> {
    /// Its customer cancelled it at once.
    Customer,
    /// Its period was over, and it was not to be renewed.
    NotRenewed,
    /// It was suspended and not paid for.
    Unpaid,
    /// An administrator ended it, for this reason.
    Shop(&'a str),
    /// It could not be set up.
    Undeliverable,
}

impl<'a> Cause<'a> {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "CUSTOMER",
            Self::NotRenewed => "NOT_RENEWED",
            Self::Unpaid => "UNPAID",
            Self::Shop(_) => "SHOP",
            Self::Undeliverable => "UNDELIVERABLE",
        }
    }

    const fn reason(self) -> Option<&'a str> {
        match self {
            Self::Shop(reason) => Some(reason),
            _ => None,
        }
    }
}

/// Tells the customer, in the transaction of the end and once for each subscription. `is_undone` when
/// everything that was paid for it came back.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn tell(
    conn: &mut Conn,
    clock: &Clock,
    id: SubscriptionId,
    (cause, is_undone): (Cause<'_>, bool),
) -> Result<()> {
    let row = super::row(conn, id).await?;
    let payload = json!({
        "subscriptionId": id,
        "service": row.service_name,
        "plan": row.plan_name,
        "because": cause.as_str(),
        "reason": cause.reason(),
        "undone": is_undone,
        "endedAt": json_text(clock.now()),
    });
    let what = (Topic::SubscriptionEnded, row.subscription.user_id.into());
    outbox::put_once(conn, clock, what, &id.to_string(), payload).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The templates of the notice choose their sentence by these words.
    #[test]
    fn every_cause_has_its_own_word_and_only_the_shops_has_a_reason() {
        let causes = [
            Cause::Customer,
            Cause::NotRenewed,
            Cause::Unpaid,
            Cause::Shop("Abuse of the service."),
            Cause::Undeliverable,
        ];
        let words: BTreeSet<_> = causes.iter().map(|cause| cause.as_str()).collect();
        assert_eq!(words.len(), causes.len());
        let reasons: Vec<_> = causes.iter().filter_map(|cause| cause.reason()).collect();
        assert_eq!(reasons, ["Abuse of the service."]);
        for template in [
            include_str!("../notifications/templates/subscription-ended.en.txt"),
            include_str!("../notifications/templates/subscription-ended.id.txt"),
        ] {
            // An end by the shop has the last sentence, which has no condition.
            for word in words.iter().filter(|word| **word != "SHOP") {
                assert!(template.contains(&format!("\"{word}\"")), "{word}");
            }
        }
    }
}
