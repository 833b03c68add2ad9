//! Redeeming a coupon that gives credit.

use dermaga_runtime::contract::Place;
use serde_json::json;

use super::{
    Coupons, DECISION_ATTEMPTS,
    evaluation::{Evaluated, evaluate, record_redemption, still_holds_for_owner, take},
    limit_guesses,
    model::{CouponCode, CouponPreview},
    too_busy,
};
use crate::{
    Result,
    db::Uncommitted,
    ids::{DecisionId, UserId},
    plugins::Asking,
    wallet::{self, NewTransaction, Transaction, TransactionType},
};

/// A redeemed credit coupon.
#[derive(Debug, Clone)]
pub struct Redeemed {
    pub preview: CouponPreview,
    pub transaction: Transaction,
    pub decision_id: DecisionId,
}

/// Redeems a credit coupon: decision, use, credit and redemption in one transaction, which the
/// caller commits.
///
/// # Errors
/// As [`evaluate`] and [`take`]; nothing is written then.
pub async fn redeem(
    coupons: &Coupons,
    user_id: UserId,
    code: &CouponCode,
    place: Place,
) -> Result<Uncommitted<Redeemed>> {
    for _ in 0..DECISION_ATTEMPTS {
        let context = (&coupons.db, &coupons.clock, &*coupons.plugins);
        let evaluated = evaluate(context, code, user_id, (place, Asking::Act), None);
        let evaluated = limit_guesses(coupons, user_id, evaluated).await?;
        if let Some(settled) = settle(coupons, user_id, &evaluated).await? {
            return Ok(settled.map(|transaction| Redeemed {
                preview: evaluated.preview(),
                transaction,
                decision_id: evaluated.decision.id,
            }));
        }
    }
    Err(too_busy())
}

async fn settle(
    coupons: &Coupons,
    user_id: UserId,
    evaluated: &Evaluated,
) -> Result<Option<Uncommitted<Transaction>>> {
    let mut conn = coupons.db.begin_together().await?;
    let mut wallet = wallet::lock(&mut conn, user_id).await?;
    let Some(held) = still_holds_for_owner(&mut conn, evaluated, &wallet).await? else {
        conn.rollback().await?;
        return Ok(None);
    };
    evaluated.decision.record(&mut conn).await?;
    let new = NewTransaction {
        user_id,
        kind: TransactionType::CouponRedemption,
        description: format!("Coupon {}", evaluated.coupon.code),
        details: json!({ "couponCode": evaluated.coupon.code, "reason": evaluated.reason }),
        subscription_id: None,
        coupon_id: Some(evaluated.coupon.id),
        price_decision_id: None,
        coupon_decision_id: Some(evaluated.decision.id),
    };
    let key = format!("coupon-decision:{}", evaluated.decision.id);
    let (clock, amount) = (&coupons.clock, evaluated.amount);
    let transaction = wallet::grant_bonus(&mut conn, clock, &mut wallet, amount, &key, new).await?;
    let id = Some(transaction.id);
    record_redemption(&mut conn, clock, evaluated, user_id, id, None).await?;
    // At the end, since everybody who redeems this coupon wants the same row.
    take(&mut conn, clock, held).await?;
    Ok(Some(Uncommitted::new(conn, transaction)))
}
