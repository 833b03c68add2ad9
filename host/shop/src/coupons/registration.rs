//! Welcome bonuses: coupons that are redeemed when a customer signs up.

use dermaga_runtime::contract::{Kind, Place};

use super::{
    Coupons, Redeemed,
    model::{Coupon, CouponCode, WelcomeBonus},
    redeem,
    store::{self, Usable},
};
use crate::{Error, Result, ids::UserId, money::Rupiah};

/// Grants a new customer every welcome bonus there is, or says that they wait for the e-mail
/// address. A bonus that fails is reported and logged; it never prevents signing up.
pub async fn apply_registration(coupons: &Coupons, user_id: UserId) -> Vec<WelcomeBonus> {
    let found = usable(coupons).await.unwrap_or_else(|error| {
        unreadable(user_id, &error);
        Vec::new()
    });
    if coupons.settings.bonus_requires_verified_email {
        return found.into_iter().map(waits_for_email).collect();
    }
    apply_all(coupons, user_id, found).await
}

/// Grants the welcome bonuses that waited for the e-mail address, and says of those that were
/// announced to the customer and cannot be given any more why that is so. Returns `None` when the
/// bonuses could not be read: they are still due then.
pub async fn apply_confirmation(coupons: &Coupons, user_id: UserId) -> Option<Vec<WelcomeBonus>> {
    if !coupons.settings.bonus_requires_verified_email {
        return Some(Vec::new());
    }
    match usable_or_announced(coupons, user_id).await {
        Ok(found) => Some(apply_all(coupons, user_id, found).await),
        Err(error) => {
            unreadable(user_id, &error);
            None
        }
    }
}

/// Returns sentences about the bonuses of [`apply_confirmation`], each with a space before it.
pub fn told(bonuses: Option<&[WelcomeBonus]>) -> String {
    let Some(bonuses) = bonuses else {
        return " If there is a welcome bonus, it follows within a few minutes.".to_owned();
    };
    let sentence = |bonus: &WelcomeBonus| match bonus.granted {
        true => format!(" {} was added as a welcome bonus.", bonus.amount),
        false => format!(" A welcome bonus was not given: {}", bonus.message),
    };
    bonuses.iter().map(sentence).collect()
}

fn unreadable(user_id: UserId, error: &Error) {
    tracing::error!(user.id = %user_id, %error, "coupon.welcome_bonus_unreadable");
}

async fn apply_all(coupons: &Coupons, user_id: UserId, found: Vec<Coupon>) -> Vec<WelcomeBonus> {
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
                    tracing::warn!(user.id = %user_id, coupon.code, %error, "coupon.welcome_bonus_refused");
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

async fn usable(coupons: &Coupons) -> Result<Vec<Coupon>> {
    let (ids, now) = (types(coupons), Usable::Now(coupons.clock.now()));
    Ok(store::usable_of(&mut coupons.db.read().await?, &ids, now).await?)
}

async fn usable_or_announced(coupons: &Coupons, user_id: UserId) -> Result<Vec<Coupon>> {
    let mut found = usable(coupons).await?;
    let (ids, then) = (types(coupons), Usable::AtSignUp(user_id));
    let announced = store::usable_of(&mut coupons.db.read().await?, &ids, then).await?;
    let is_new = |coupon: &Coupon| found.iter().all(|known| known.id != coupon.id);
    let lost: Vec<Coupon> = announced.into_iter().filter(is_new).collect();
    found.extend(lost);
    Ok(found)
}

/// Returns the plugins whose coupons welcome customers.
fn types(coupons: &Coupons) -> Vec<String> {
    let types = coupons
        .plugins
        .all_active(Kind::Coupon)
        .into_iter()
        .filter(|plugin| {
            plugin
                .coupon_description()
                .is_some_and(|description| description.places.contains(&Place::Registration))
        });
    types.map(|plugin| plugin.about().id.clone()).collect()
}
