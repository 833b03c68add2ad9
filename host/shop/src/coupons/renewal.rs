//! Discounts of a coupon on the later periods of the subscription it was redeemed for.
//!
//! The rule is asked again for every period, by the version and with the facts that granted the
//! coupon: what was promised stays, a percentage follows the price, and each answer can be
//! replayed. Window, status and uses were the host's limits for redeeming and are over; the budget
//! still holds.

use chrono::{DateTime, Utc};
use dermaga_runtime::contract::{self, Place, Purchase};

use super::{
    Coupons,
    evaluation::{Evaluated, Price, amount, check_restrictions},
    store,
};
use crate::{
    Error, Result,
    db::{Clock, Conn},
    ids::{SubscriptionId, UserId},
    money::Rupiah,
    plugins::{self, Decision, Subject},
};

/// Effect of a coupon for one more period.
#[derive(Debug, Clone)]
pub enum Continued {
    Reduces(Box<Evaluated>),
    /// No discount, with the reason, and the decision where the rule was asked.
    Nothing {
        code: String,
        reason: String,
        decision: Option<Box<Decision>>,
    },
}

impl Continued {
    /// The decision to record, if there is one.
    pub fn decision(&self) -> Option<&Decision> {
        match self {
            Self::Reduces(evaluated) => Some(&evaluated.decision),
            Self::Nothing { decision, .. } => decision.as_deref(),
        }
    }
}

/// Asks the coupon that a customer's subscription was bought with about its next period, which
/// begins at `moment`, with so many months left of the coupon. Writes nothing.
///
/// # Errors
/// `PLUGIN_*` when the rule failed.
pub async fn continue_for(
    coupons: &Coupons,
    (user_id, subscription_id): (UserId, SubscriptionId),
    (purchase, left): (Purchase, Option<i64>),
    moment: DateTime<Utc>,
) -> Result<Continued> {
    let granted = store::granted(&mut coupons.db.read().await?, subscription_id).await?;
    let (coupon, digest, input) = granted
        .ok_or_else(|| Error::internal("a subscription with a coupon and no redemption of it"))?;
    let nothing = |reason: String, decision: Option<Decision>| Continued::Nothing {
        code: coupon.code.clone(),
        reason,
        decision: decision.map(Box::new),
    };
    if let Err(refused) = check_restrictions(&coupon, Some(&purchase)) {
        return Ok(nothing(refused.message, None));
    }
    let plugin = coupons.plugins.version(&digest).await?;
    let price = Price {
        total: Rupiah::new(purchase.total),
        months: purchase.term.months,
        left,
    };
    let granted: contract::Evaluation = serde_json::from_str(&input)?;
    let facts = granted.facts.clone();
    let input = contract::Evaluation {
        moment: moment.timestamp(),
        purchase: Some(purchase),
        ..granted
    };
    let subject = Subject {
        user_id: Some(user_id),
        coupon_id: Some(coupon.id),
    };
    let registry = &coupons.plugins;
    let decided =
        plugins::decide::<contract::coupon::Evaluate>(registry, &plugin, input, subject).await?;
    let grant = match decided.value {
        contract::Decision::Grant(grant) => grant,
        contract::Decision::Refuse(refusal) => {
            return Ok(nothing(refusal.message, Some(decided.decision)));
        }
    };
    let amount = amount(&plugin, grant.effect, Place::Checkout, Some(price))?;
    Ok(Continued::Reduces(Box::new(Evaluated {
        coupon,
        effect: grant.effect,
        amount,
        reason: Price::explained(Some(price), grant),
        decision: decided.decision,
        facts,
        months: price.months,
    })))
}

/// Releases the uses of a subscription's coupon with their cost, once, in the caller's transaction.
///
/// # Errors
/// When the database refuses.
pub async fn release(
    conn: &mut Conn,
    clock: &Clock,
    subscription_id: SubscriptionId,
) -> Result<()> {
    let now = clock.now();
    for released in store::release(conn, subscription_id, now).await? {
        store::give_back_use(conn, &released, now).await?;
    }
    Ok(())
}

/// Takes the cost of a later period of a customer out of the coupon's budget, in the caller's
/// transaction; `false` when the budget does not hold it.
///
/// # Errors
/// When the database refuses.
pub async fn take_cost(conn: &mut Conn, clock: &Clock, reduced: &Evaluated) -> Result<bool> {
    Ok(store::take_cost(conn, reduced.coupon.id, reduced.amount, clock.now()).await?)
}
