//! Coupons: the host's limits and books around rules that plugins decide.
//!
//! A use is taken in the same database transaction as the purchase it is for, so the rollback of a
//! failed checkout returns it.

pub mod administration;
mod evaluation;
mod inputs;
mod model;
mod reading;
mod redemption;
mod registration;
mod renewal;
mod settings;
mod store;

use std::sync::Arc;

use chrono::TimeDelta;
use dermaga_runtime::contract::Place;

pub use evaluation::{Evaluated, Held, evaluate, record_redemption, still_holds, take};
pub use inputs::{Forever, Lasts, NewCoupon, Switch};
pub use model::{
    Coupon, CouponCode, CouponCost, CouponFilter, CouponPreview, CouponStatistics, CouponStatus,
    CouponTypeView, CouponView, EffectView, RedeemedBy, RedemptionView, StatusCount, TypeCost,
    WelcomeBonus, place_name,
};
pub use reading::{by_id, list, redemptions_by, redemptions_of};
pub use redemption::{Redeemed, redeem};
pub(crate) use registration::was_welcomed;
pub use registration::{apply_confirmation, apply_registration, told};
pub use renewal::{Continued, continue_for, release, take_cost};
pub use settings::Settings;

use crate::{
    Code, Error, Result,
    db::{Clock, Conn, Db},
    ids::UserId,
    plugins::{Asking, Registry},
    throttle::Throttle,
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

/// Marks active coupons whose window is over EXPIRED, and those whose uses or budget are spent
/// USED_UP; returns their number. The status is for reading: a use is refused at once, marked or
/// not.
///
/// # Errors
/// When the database refuses.
pub async fn keep_statuses_true(conn: &mut Conn, clock: &Clock) -> Result<u64> {
    Ok(store::settle_statuses(conn, clock.now()).await?)
}
