//! Coupons and their redemptions as customers and administrators read them.

use super::{Coupon, CouponFilter, RedeemedBy, RedemptionView, store};
use crate::{
    Error, Result,
    db::{Db, Span, Walked},
    ids::{CouponId, RedemptionId, UserId},
};

/// Lists coupons, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list(db: &Db, filter: &CouponFilter, span: Span<CouponId>) -> Result<Walked<Coupon>> {
    Ok(store::admin::list(&mut db.read().await?, filter, span).await?)
}

/// Returns a coupon.
///
/// # Errors
/// `NOT_FOUND` for an unknown one.
pub async fn by_id(db: &Db, id: CouponId) -> Result<Coupon> {
    let found = store::by_id(&mut db.read().await?, id).await?;
    found.ok_or_else(|| Error::not_found("coupon"))
}

/// Lists the uses of a coupon, newest first.
///
/// # Errors
/// `NOT_FOUND` for an unknown coupon.
pub async fn redemptions_of(
    db: &Db,
    coupon_id: CouponId,
    span: Span<RedemptionId>,
) -> Result<Walked<RedeemedBy>> {
    let mut conn = db.read().await?;
    if store::by_id(&mut conn, coupon_id).await?.is_none() {
        return Err(Error::not_found("coupon"));
    }
    let found = store::admin::redemptions(&mut conn, coupon_id, span).await?;
    Ok(found.map(RedeemedBy::from))
}

/// Lists the coupons that a customer has used, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn redemptions_by(
    db: &Db,
    user_id: UserId,
    span: Span<RedemptionId>,
) -> Result<Walked<RedemptionView>> {
    let found = store::redemptions_of_user(&mut db.read().await?, user_id, span).await?;
    Ok(found.map(RedemptionView::from))
}
