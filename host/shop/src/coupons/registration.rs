//! Welcome bonuses: coupons that are redeemed when a customer signs up.

use dermaga_runtime::contract::{Kind, Place};

use super::{
    Coupons, Redeemed,
    model::{Coupon, CouponCode, WelcomeBonus},
    redeem, store,
};
use crate::{Result, ids::UserId, money::Rupiah};

/// Grants a new customer every welcome bonus there is, or says that they wait for the e-mail
/// address. A bonus that fails is reported and logged; it never prevents signing up.
pub async fn apply_registration(coupons: &Coupons, user_id: UserId) -> Vec<WelcomeBonus> {
    if coupons.settings.bonus_requires_verified_email {
        return found(coupons)
            .await
            .into_iter()
            .map(waits_for_email)
            .collect();
    }
    apply_all(coupons, user_id).await
}

/// Grants the welcome bonuses that waited for the e-mail address.
pub async fn apply_confirmation(coupons: &Coupons, user_id: UserId) -> Vec<WelcomeBonus> {
    if !coupons.settings.bonus_requires_verified_email {
        return Vec::new();
    }
    apply_all(coupons, user_id).await
}

async fn found(coupons: &Coupons) -> Vec<Coupon> {
    registration_coupons(coupons).await.unwrap_or_else(|error| {
        tracing::error!(%error, "coupon.welcome_bonus_unreadable");
        Vec::new()
    })
}

async fn apply_all(coupons: &Coupons, user_id: UserId) -> Vec<WelcomeBonus> {
    let found = found(coupons).await;
    let mut given = Vec::with_capacity(found.len());
    for coupon in found {
        let Ok(code) = coupon.code.parse::<CouponCode>() else {
            continue;
        };
        given.push(
            match redeem_at_registration(coupons, user_id, &code).await {
                Ok(redeemed) => WelcomeBonus {
                    coupon_code: coupon.code,
                    granted: true,
                    amount: redeemed.preview.amount,
                    message: redeemed.preview.reason,
                },
                Err(error) => {
                    tracing::warn!(coupon.code, %error, "coupon.welcome_bonus_refused");
                    WelcomeBonus {
                        coupon_code: coupon.code,
                        granted: false,
                        amount: Rupiah::ZERO,
                        message: error.message,
                    }
                }
            },
        );
    }
    given
}

fn waits_for_email(coupon: Coupon) -> WelcomeBonus {
    WelcomeBonus {
        coupon_code: coupon.code,
        granted: false,
        amount: Rupiah::ZERO,
        message: "You get this when your e-mail address is confirmed.".to_owned(),
    }
}

async fn redeem_at_registration(
    coupons: &Coupons,
    user_id: UserId,
    code: &CouponCode,
) -> Result<Redeemed> {
    let redeemed = redeem(coupons, user_id, code, Place::Registration).await?;
    Ok(redeemed.commit().await?)
}

async fn registration_coupons(coupons: &Coupons) -> Result<Vec<Coupon>> {
    let types = coupons
        .plugins
        .all_active(Kind::Coupon)
        .into_iter()
        .filter(|plugin| {
            plugin
                .coupon_description()
                .is_some_and(|description| description.places.contains(&Place::Registration))
        });
    let ids: Vec<String> = types.map(|plugin| plugin.about().id.clone()).collect();
    Ok(store::usable_of(&mut coupons.db.read().await?, &ids, coupons.clock.now()).await?)
}
