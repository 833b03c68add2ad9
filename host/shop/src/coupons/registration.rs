//! Welcome bonuses: coupons that are redeemed when a customer signs up.

use dermaga_runtime::contract::{Kind, Place};

use super::{
    Coupons, Redeemed,
    model::{Coupon, CouponCode, WelcomeBonus},
    redeem,
    store::{self, Usable},
};
use crate::{
    Code, Error, Result,
    accounts::Accounts,
    db::Conn,
    ids::{CouponId, UserId},
    money::Rupiah,
};

/// Grants a new customer every welcome bonus there is, or says that they wait for the e-mail
/// address. A bonus that fails is reported and logged; it never prevents signing up.
pub async fn apply_registration(
    coupons: &Coupons,
    accounts: &Accounts,
    user_id: UserId,
) -> Vec<WelcomeBonus> {
    let found = usable(coupons).await.unwrap_or_else(|error| {
        unreadable(user_id, &error);
        Vec::new()
    });
    if coupons.settings.bonus_requires_verified_email {
        return found.into_iter().map(waits_for_email).collect();
    }
    let applied = apply_all(coupons, accounts, user_id, found).await;
    applied.bonuses
}

/// Grants the welcome bonuses that waited for the e-mail address, and says of those that were
/// announced to the customer and cannot be given any more why that is so. Returns `None` when the
/// bonuses could not be read, or one of them may be given later: they are still due then.
pub async fn apply_confirmation(
    coupons: &Coupons,
    accounts: &Accounts,
    user_id: UserId,
) -> Option<Vec<WelcomeBonus>> {
    if !coupons.settings.bonus_requires_verified_email {
        return Some(Vec::new());
    }
    match usable_or_announced(coupons, user_id).await {
        Ok(found) => {
            let applied = apply_all(coupons, accounts, user_id, found).await;
            (!applied.is_any_due).then_some(applied.bonuses)
        }
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
    let is_new = |bonus: &&WelcomeBonus| !bonus.is_repeated;
    bonuses.iter().filter(is_new).map(sentence).collect()
}

fn unreadable(user_id: UserId, error: &Error) {
    tracing::error!(user.id = %user_id, %error, "coupon.welcome_bonus_unreadable");
}

/// Bonuses that were tried, each given or not.
struct Applied {
    bonuses: Vec<WelcomeBonus>,
    /// True when a bonus was not given for now.
    is_any_due: bool,
}

async fn apply_all(
    coupons: &Coupons,
    accounts: &Accounts,
    user_id: UserId,
    found: Vec<Coupon>,
) -> Applied {
    let mut bonuses = Vec::with_capacity(found.len());
    let mut is_any_due = false;
    for coupon in found {
        let Ok(code) = coupon.code.parse::<CouponCode>() else {
            continue;
        };
        let redeemed = redeem_at_registration(coupons, accounts, user_id, (coupon.id, &code));
        bonuses.push(
            match redeemed.await {
                Ok(redeemed) => WelcomeBonus {
                    coupon_code: coupon.code,
                    granted: true,
                    amount: redeemed.preview.amount,
                    message: redeemed.preview.reason,
                    is_repeated: false,
                },
                Err(error) => {
                    tracing::warn!(user.id = %user_id, coupon.code, %error, "coupon.welcome_bonus_refused");
                    is_any_due |= is_passing(&error);
                    WelcomeBonus {
                        coupon_code: coupon.code,
                        granted: false,
                        amount: Rupiah::ZERO,
                        is_repeated: error.code == Code::CouponAlreadyUsed,
                        message: error.message,
                    }
                }
            },
        );
    }
    Applied {
        bonuses,
        is_any_due,
    }
}

/// Returns true for a failure after which the bonus can be given yet: of the database or the plugin, or of an
/// account that is disabled.
const fn is_passing(error: &Error) -> bool {
    let passing = matches!(
        error.code,
        Code::Unavailable
            | Code::PluginBusy
            | Code::PluginUnavailable
            | Code::PluginSuspended
            | Code::Unauthenticated
    );
    passing || error.retry_after.is_some()
}

/// Returns true for a customer who had a welcome bonus.
///
/// # Errors
/// When the database does not answer.
pub(crate) async fn was_welcomed(conn: &mut Conn, user_id: UserId) -> Result<bool> {
    Ok(store::was_welcomed(conn, user_id).await?)
}

fn waits_for_email(coupon: Coupon) -> WelcomeBonus {
    WelcomeBonus {
        coupon_code: coupon.code,
        granted: false,
        amount: Rupiah::ZERO,
        message: "You get this when your e-mail address is confirmed.".to_owned(),
        is_repeated: false,
    }
}

async fn redeem_at_registration(
    coupons: &Coupons,
    accounts: &Accounts,
    user_id: UserId,
    (id, code): (CouponId, &CouponCode),
) -> Result<Redeemed> {
    let mut conn = coupons.db.read().await?;
    // Bonuses are tried again where one of them failed: its own limits may let a coupon be used twice.
    let uses = store::customer_uses(&mut conn, id, user_id).await?;
    if uses > 0 {
        let message = "You have this bonus already.";
        return Err(Error::new(Code::CouponAlreadyUsed, message));
    }
    // An account has every bonus there is: the mailbox was welcomed by the first of them.
    let is_first = !store::was_welcomed(&mut conn, user_id).await?;
    drop(conn);
    let email = accounts.user(user_id).await?.email;
    if is_first && accounts.was_welcomed(&email).await? {
        return Err(welcomed_before());
    }
    let mut redeemed = redeem(coupons, user_id, code, Place::Registration).await?;
    let is_new = accounts.keep_welcomed(redeemed.conn(), &email).await?;
    // Another account of the mailbox was faster.
    if is_first && !is_new {
        return Err(welcomed_before());
    }
    Ok(redeemed.commit().await?)
}

fn welcomed_before() -> Error {
    let message = "This e-mail address had a welcome bonus before.";
    Error::new(Code::CouponRefused, message)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bonus_that_fails_for_now_is_due() {
        let refused = |code| Error::new(code, "No.");
        for code in [
            Code::Unavailable,
            Code::PluginBusy,
            Code::PluginUnavailable,
            Code::PluginSuspended,
            Code::Unauthenticated,
        ] {
            assert!(is_passing(&refused(code)), "{code}");
        }
        assert!(is_passing(&refused(Code::Conflict).retry_after(1)));
        for code in [Code::CouponUsedUp, Code::CouponRefused, Code::Conflict] {
            assert!(!is_passing(&refused(code)), "{code}");
        }
    }

    #[test]
    fn a_bonus_that_is_there_already_is_not_called_refused() {
        let bonus = |is_repeated| WelcomeBonus {
            coupon_code: "SELAMAT".to_owned(),
            granted: false,
            amount: Rupiah::ZERO,
            message: "No.".to_owned(),
            is_repeated,
        };
        let sentences = told(Some(&[bonus(true), bonus(false)]));
        assert_eq!(sentences, " A welcome bonus was not given: No.");
    }
}
