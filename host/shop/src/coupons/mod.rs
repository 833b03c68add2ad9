//! Coupons: the host's limits and books around rules that plugins decide.
//!
//! A use is taken in the same database transaction as the purchase it is for, so the rollback of a
//! failed checkout returns it.

pub mod administration;
mod evaluation;
mod inputs;
mod model;
mod reading;
mod renewal;
mod settings;
mod store;

use std::sync::Arc;

use chrono::TimeDelta;
use dermaga_runtime::contract::{Kind, Place};
use serde_json::json;

pub use evaluation::{Evaluated, Held, evaluate, record_redemption, still_holds, take};
pub use inputs::{Forever, Lasts, NewCoupon, Switch};
pub use model::{
    Coupon, CouponCode, CouponCost, CouponFilter, CouponPreview, CouponStatistics, CouponStatus,
    CouponTypeView, CouponView, EffectView, RedeemedBy, RedemptionView, StatusCount, TypeCost,
    WelcomeBonus, place_name,
};
pub use reading::{by_id, list, redemptions_by, redemptions_of};
pub use renewal::{Continued, continue_for, release, take_cost};
pub use settings::Settings;

use crate::{
    Code, Error, Result,
    db::{Clock, Conn, Db, Uncommitted},
    ids::{DecisionId, UserId},
    money::Rupiah,
    plugins::{Asking, Registry},
    throttle::Throttle,
    wallet::{self, NewTransaction, Transaction, TransactionType},
};

/// Coupons of the shop: the database, the clock, the plugins that decide and the settings.
#[derive(Debug, Clone)]
pub struct Coupons {
    pub db: Db,
    pub clock: Clock,
    pub(crate) plugins: Arc<Registry>,
    pub(crate) settings: Settings,
    /// Unknown codes tried, by customer.
    guesses: Arc<Throttle<UserId>>,
}

impl Coupons {
    /// Returns the coupons in this database.
    pub fn new(db: Db, clock: Clock, plugins: Arc<Registry>, settings: Settings) -> Self {
        Self {
            db,
            clock,
            plugins,
            settings,
            guesses: Arc::new(Throttle::new(GUESSES, GUESS_WINDOW, "unknown coupon codes")),
        }
    }
}

/// Attempts to decide when a fact changes between deciding and committing.
pub const DECISION_ATTEMPTS: u32 = 3;

/// The refusal after [`DECISION_ATTEMPTS`].
pub fn too_busy() -> Error {
    Error::new(
        Code::Conflict,
        "Your account is being changed by another request. Try again in a moment.",
    )
    .retry_after(1)
}

/// Unknown codes that a customer may try in [`GUESS_WINDOW`]: enough for typing errors, too few to
/// find a code.
const GUESSES: u32 = 20;
const GUESS_WINDOW: TimeDelta = TimeDelta::minutes(15);

/// Evaluates a code that a customer typed, and counts it when there is no such coupon.
///
/// # Errors
/// `TOO_MANY_REQUESTS` after twenty unknown codes in 15 minutes, for known ones too; as
/// [`evaluate`].
pub async fn limit_guesses<T>(
    coupons: &Coupons,
    user_id: UserId,
    evaluated: impl Future<Output = Result<T>>,
) -> Result<T> {
    let (guesses, clock) = (&coupons.guesses, &coupons.clock);
    guesses.check(&user_id, clock.now())?;
    let evaluated = evaluated.await;
    if matches!(&evaluated, Err(error) if error.code == Code::CouponNotFound) {
        guesses.count(user_id, clock.now());
    }
    evaluated
}

/// Previews a coupon on the wallet page.
///
/// # Errors
/// As [`evaluate`].
pub async fn preview(
    coupons: &Coupons,
    user_id: UserId,
    code: &CouponCode,
) -> Result<CouponPreview> {
    let context = (&coupons.db, &coupons.clock, &*coupons.plugins);
    let asked = (Place::Wallet, Asking::Preview);
    let evaluated = evaluate(context, code, user_id, asked, None);
    Ok(limit_guesses(coupons, user_id, evaluated).await?.preview())
}

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
    let Some(held) = still_holds(&mut conn, evaluated, &wallet).await? else {
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

/// Grants a new customer every welcome bonus there is. A bonus that fails is reported and logged;
/// it never prevents signing up.
pub async fn apply_registration(coupons: &Coupons, user_id: UserId) -> Vec<WelcomeBonus> {
    let found = match registration_coupons(coupons).await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "coupon.welcome_bonus_unreadable");
            return Vec::new();
        }
    };
    if coupons.settings.bonus_requires_verified_email {
        return found.into_iter().map(waits_for_email).collect();
    }
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

/// Marks active coupons whose window is over EXPIRED, and those whose uses or budget are spent
/// USED_UP; returns their number. The status is for reading: a use is refused at once, marked or
/// not.
///
/// # Errors
/// When the database refuses.
pub async fn keep_statuses_true(conn: &mut Conn, clock: &Clock) -> Result<u64> {
    Ok(store::settle_statuses(conn, clock.now()).await?)
}
