//! Effect of a coupon for a customer, now, here: the host's limits around the plugin's rule.

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use dermaga_runtime::{
    Plugin,
    contract::{self, Effect, Fact, Facts, Grant, Place, Purchase},
};

use super::{
    model::{Coupon, CouponCode, CouponPreview, CouponStatus, EffectView, place_name},
    store,
};
use crate::{
    Code, Error, Result, calendar,
    catalog::Tier,
    db::{self, Clock, Conn, Db, new_id},
    ids::{SubscriptionId, TransactionId, UserId},
    money::Rupiah,
    owners,
    plugins::{self, Asking, Decision, Registry, Subject},
    wallet::{self, LockedWallet},
};

/// A coupon whose rule has said yes, not yet redeemed.
#[derive(Debug, Clone)]
pub struct Evaluated {
    pub coupon: Coupon,
    pub effect: Effect,
    /// Worth of the effect, clamped, in rupiah.
    pub amount: Rupiah,
    pub reason: String,
    pub decision: Decision,
    pub(super) facts: Facts,
    /// Months that the purchase pays for.
    pub(super) months: u32,
}

impl Evaluated {
    pub fn preview(&self) -> CouponPreview {
        CouponPreview {
            coupon_code: self.coupon.code.clone(),
            description: self.coupon.description.clone(),
            effect: self.effect.into(),
            amount: self.amount,
            reason: self.reason.clone(),
        }
    }

    /// Returns true when the coupon's budget holds the amount after so much for others.
    pub(crate) fn is_within_budget(&self, before: Rupiah) -> bool {
        let sum = self.amount.plus(before);
        sum.is_ok_and(|sum| self.coupon.has_budget_for(sum))
    }

    /// Returns true when a share of the rule's discount was taken for the months that the coupon lasts: a rule answers
    /// whole rupiah, so that the amount was rounded down twice.
    pub(crate) fn is_rounded_twice(&self) -> bool {
        let lasts = self.coupon.periods;
        let is_shared = lasts.is_some_and(|lasts| lasts < i64::from(self.months));
        is_shared && matches!(self.effect, Effect::Discount(_))
    }

    /// Number of months after those of the purchase that the coupon still reduces; `None` means for ever.
    pub fn months_left(&self) -> Option<i64> {
        let months = i64::from(self.months);
        match self.effect {
            Effect::FreePeriods(free) => Some(i64::from(free).saturating_sub(months).max(0)),
            Effect::Credit(_) => Some(0),
            Effect::Discount(_) => self.coupon.periods.map(|lasts| (lasts - months).max(0)),
        }
    }
}

/// Asks a coupon's rule. Writes nothing but refusals; [`take`] redeems and checks again what was
/// read.
///
/// # Errors
/// A `COUPON_*` code for the host's limits and the rule's refusal; `PLUGIN_*` when the rule failed.
pub async fn evaluate(
    (db, clock, registry): (&Db, &Clock, &Registry),
    code: &CouponCode,
    user_id: UserId,
    (place, asking): (Place, Asking),
    purchase: Option<Purchase>,
) -> Result<Evaluated> {
    let mut conn = db.read().await?;
    let found = store::for_customer(&mut conn, code, user_id).await?;
    drop(conn);
    let (coupon, uses) = found.ok_or_else(|| no_coupon(code.as_str()))?;
    let now = clock.now();
    check_window(&coupon, clock, now)?;
    check_restrictions(&coupon, purchase.as_ref())?;
    let plugin = plugins::active(registry, &coupon.plugin_id).await?;
    check_place(&plugin, place)?;
    // A customer is welcomed once, also where a server stopped before it noted that.
    let is_welcomed = place == Place::Registration && uses > 0;
    if is_welcomed || coupon.max_uses_per_user.is_some_and(|limit| uses >= limit) {
        return Err(already_used(&coupon));
    }
    let mut conn = db.read().await?;
    let facts = facts(&mut conn, &plugin, uses, user_id, (clock.zone(), now)).await?;
    drop(conn);
    let price = purchase.as_ref().map(|purchase| Price {
        total: Rupiah::new(purchase.total),
        months: purchase.term.months,
        left: coupon.periods,
    });
    let input = contract::Evaluation {
        parameters: coupon.parameters.0.clone(),
        moment: now.timestamp(),
        place,
        purchase,
        facts: facts.clone(),
    };
    let subject = Subject {
        user_id: Some(user_id),
        coupon_id: Some(coupon.id),
    };
    let decided =
        plugins::decide::<contract::coupon::Evaluate>(registry, &plugin, input, subject).await?;
    let grant = match decided.value {
        contract::Decision::Grant(grant) => grant,
        contract::Decision::Refuse(refusal) => {
            let error = Error::new(Code::CouponRefused, refusal.message).with("code", refusal.code);
            return Err(plugins::refuse(registry, &decided.decision, asking, error).await);
        }
    };
    // The rule itself says how many months are free.
    let price = price.map(|price| match grant.effect {
        Effect::FreePeriods(_) => Price {
            left: None,
            ..price
        },
        _ => price,
    });
    let amount = amount(&plugin, grant.effect, place, price)?;
    if !coupon.has_budget_for(amount) {
        return Err(budget_spent(&coupon));
    }
    Ok(Evaluated {
        coupon,
        effect: grant.effect,
        amount,
        reason: Price::explained(price, grant),
        decision: decided.decision,
        facts,
        months: price.map_or(1, |price| price.months),
    })
}

fn no_coupon(code: &str) -> Error {
    Error::new(Code::CouponNotFound, format!("There is no coupon {code}."))
}

/// Price of a period that a coupon is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Price {
    pub(super) total: Rupiah,
    /// Months that it is for.
    pub(super) months: u32,
    /// Months that the coupon still counts for; all when absent.
    pub(super) left: Option<i64>,
}

impl Price {
    /// Months of the period that an effect counts for.
    fn counted(self, effect: Effect) -> i64 {
        let months = i64::from(self.months);
        let most = match effect {
            Effect::FreePeriods(free) => i64::from(free),
            Effect::Credit(_) | Effect::Discount(_) => months,
        };
        self.left.unwrap_or(months).min(most).clamp(0, months)
    }

    /// The share of an amount for the months that the effect counts for, rounded down.
    fn share(self, amount: Rupiah, effect: Effect) -> Result<Rupiah> {
        Ok(amount.share(self.counted(effect), self.months.into())?)
    }

    /// Says of a grant how many of the months it counts for, where those are not all.
    pub(super) fn explained(price: Option<Self>, grant: Grant) -> String {
        let counted = price.map(|price| (price.counted(grant.effect), price.months));
        match counted {
            Some((counted, months)) if counted < months.into() => {
                format!(
                    "{} It counts for {counted} of the {months} months.",
                    grant.reason
                )
            }
            _ => grant.reason,
        }
    }
}

/// Worth of the effect here, never more than the price. An effect on a price counts months: of those that
/// it does not last for, nothing is taken off.
pub(super) fn amount(
    plugin: &Plugin,
    effect: Effect,
    place: Place,
    price: Option<Price>,
) -> Result<Rupiah> {
    match (effect, place, price) {
        (Effect::Credit(amount), Place::Wallet | Place::Registration, _) if amount > 0 => {
            Ok(Rupiah::new(amount))
        }
        (Effect::Discount(amount), Place::Checkout, Some(price)) => {
            price.share(Rupiah::new(amount).min(price.total), effect)
        }
        (Effect::FreePeriods(free), Place::Checkout, Some(price)) if free > 0 => {
            price.share(price.total, effect)
        }
        (effect, place, _) => {
            let (id, version) = (&plugin.about().id, &plugin.about().version);
            let message = format!(
                "The plugin {id} {version} answered {effect:?}, which cannot be given at {}.",
                place_name(place)
            );
            Err(Error::new(Code::PluginFailed, message)
                .with("plugin", id.clone())
                .with("code", "EFFECT_OUT_OF_PLACE"))
        }
    }
}

/// A decision that still holds for a customer whose wallet is locked: only a look under that lock makes
/// one, and only one can be [taken](take).
#[derive(Debug)]
pub struct Held<'e> {
    evaluated: &'e Evaluated,
    user_id: UserId,
}

/// Looks again, in the caller's transaction, at what is the customer's own.
///
/// Returns `None` when a fact the rule was asked with has changed since: the caller must undo
/// everything and ask the rule again.
///
/// # Errors
/// `COUPON_ALREADY_USED` when the customer has used it meanwhile.
pub async fn still_holds<'e>(
    conn: &mut Conn,
    evaluated: &'e Evaluated,
    wallet: &LockedWallet,
) -> Result<Option<Held<'e>>> {
    let (coupon, facts) = (&evaluated.coupon, &evaluated.facts);
    let uses = if coupon.max_uses_per_user.is_some() || facts.past_redemptions.is_some() {
        store::customer_uses(conn, coupon.id, wallet.user_id).await?
    } else {
        0
    };
    holds_after(conn, evaluated, wallet.user_id, uses).await
}

/// Looks again as [`still_holds`] does, for an owner who redeems: the account is looked at in the same statement.
///
/// # Errors
/// As [`still_holds`]; `UNAUTHENTICATED` when the account is disabled, `NOT_FOUND` when it is deleted.
pub(super) async fn still_holds_for_owner<'e>(
    conn: &mut Conn,
    evaluated: &'e Evaluated,
    wallet: &LockedWallet,
) -> Result<Option<Held<'e>>> {
    wallet.check_open()?;
    let standing = store::standing(conn, evaluated.coupon.id, wallet.user_id).await?;
    if !standing.is_active {
        return Err(owners::over());
    }
    holds_after(conn, evaluated, wallet.user_id, standing.uses).await
}

async fn holds_after<'e>(
    conn: &mut Conn,
    evaluated: &'e Evaluated,
    user_id: UserId,
    uses: i64,
) -> Result<Option<Held<'e>>> {
    let (coupon, facts) = (&evaluated.coupon, &evaluated.facts);
    if coupon.max_uses_per_user.is_some_and(|limit| uses >= limit) {
        return Err(already_used(coupon));
    }
    let told = facts.past_redemptions;
    if told.is_some_and(|told| i64::from(told) != uses) {
        return Ok(None);
    }
    let holds = match facts.first_purchase {
        Some(told) => wallet::is_first_purchase(conn, user_id).await? == told,
        None => true,
    };
    Ok(holds.then_some(Held { evaluated, user_id }))
}

/// Takes the use under the host's limits. From then to the end of the transaction everybody else
/// who redeems the coupon waits.
///
/// # Errors
/// A `COUPON_*` code when another customer was faster, `CONFLICT` when an administrator has changed
/// the coupon since its rule was asked.
pub async fn take(conn: &mut Conn, clock: &Clock, held: Held<'_>) -> Result<()> {
    let Held { evaluated, user_id } = held;
    let (coupon, now) = (&evaluated.coupon, clock.now());
    // Rows that refer to the coupon come with its use, not before: an insert only shares its row,
    // and to take more of a shared row ends in a deadlock with a concurrent delete.
    store::add_customer_use(conn, coupon.id, user_id).await?;
    match store::take_use(conn, coupon, evaluated.amount, now).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(not_taken(conn, clock, coupon, evaluated.amount).await?),
        // A row written with the use refers to a coupon that was deleted.
        Err(error) if db::broke_foreign_key(&error) => Err(no_coupon(&coupon.code)),
        Err(error) => Err(error.into()),
    }
}

/// Writes down a redemption that [`take`] allows, or what a later period was reduced by; with the
/// subscription and the number of its period.
///
/// # Errors
/// When the database refuses.
pub async fn record_redemption(
    conn: &mut Conn,
    clock: &Clock,
    evaluated: &Evaluated,
    user_id: UserId,
    transaction_id: Option<TransactionId>,
    subscription: Option<(SubscriptionId, i64)>,
) -> Result<()> {
    let redemption = store::NewRedemption {
        id: new_id(clock),
        coupon_id: evaluated.coupon.id,
        user_id,
        effect: EffectView::from(evaluated.effect),
        amount: evaluated.amount,
        reason: &evaluated.reason,
        decision_id: evaluated.decision.id,
        transaction_id,
        subscription_id: subscription.map(|(id, _)| id),
        period: subscription.map_or(1, |(_, period)| period),
        now: clock.now(),
    };
    Ok(store::insert_redemption(conn, &redemption).await?)
}

/// Facts the plugin declared, and no others.
async fn facts(
    conn: &mut Conn,
    plugin: &Plugin,
    uses: i64,
    user_id: UserId,
    (zone, now): (Tz, DateTime<Utc>),
) -> Result<Facts> {
    let mut facts = Facts::default();
    let declared = plugin
        .coupon_description()
        .map(|description| description.facts.as_slice())
        .unwrap_or_default();
    for fact in declared {
        match fact {
            Fact::PastRedemptions => {
                facts.past_redemptions = Some(u32::try_from(uses).unwrap_or(u32::MAX));
            }
            Fact::FirstPurchase => {
                facts.first_purchase = Some(wallet::is_first_purchase(conn, user_id).await?);
            }
            Fact::AccountAge => {
                let since = store::registered_at(conn, user_id).await?.unwrap_or(now);
                facts.account_age_days = Some(calendar::days_between(zone, since, now));
            }
        }
    }
    Ok(facts)
}

fn check_window(coupon: &Coupon, clock: &Clock, now: DateTime<Utc>) -> Result<()> {
    let code = &coupon.code;
    match coupon.status_at(now) {
        CouponStatus::Active if coupon.starts_at > now => {
            let message = format!(
                "The coupon {code} is valid from {}.",
                clock.written(coupon.starts_at)
            );
            Err(Error::new(Code::CouponNotActive, message))
        }
        CouponStatus::Active => Ok(()),
        CouponStatus::Expired => Err(Error::new(
            Code::CouponNotActive,
            format!("The coupon {code} has expired."),
        )),
        CouponStatus::Disabled => Err(Error::new(
            Code::CouponNotActive,
            format!("The coupon {code} is not active."),
        )),
        CouponStatus::UsedUp => Err(used_up(coupon)),
    }
}

pub(super) fn check_restrictions(coupon: &Coupon, purchase: Option<&Purchase>) -> Result<()> {
    let Some(purchase) = purchase else {
        return Ok(());
    };
    let tier = Tier::from(purchase.plan.tier);
    let service_fits = coupon.services.is_empty() || coupon.services.contains(&purchase.service);
    let tier_fits = coupon.tiers.is_empty() || coupon.tiers.contains(&tier);
    if service_fits && tier_fits {
        return Ok(());
    }
    let message = format!(
        "The coupon {} is not for {} {tier}.",
        coupon.code, purchase.service
    );
    Err(Error::new(Code::CouponNotApplicable, message))
}

fn check_place(plugin: &Plugin, place: Place) -> Result<()> {
    let places = plugin
        .coupon_description()
        .map(|description| description.places.as_slice())
        .unwrap_or_default();
    if places.contains(&place) {
        return Ok(());
    }
    let good: Vec<_> = places.iter().map(|place| place_name(*place)).collect();
    let message = format!(
        "This coupon is for: {}; not for {}.",
        good.join(" or "),
        place_name(place)
    );
    Err(Error::new(Code::CouponNotApplicable, message))
}

/// Returns the error for the limit that another customer reached first.
async fn not_taken(
    conn: &mut Conn,
    clock: &Clock,
    coupon: &Coupon,
    amount: Rupiah,
) -> Result<Error> {
    let current = store::by_id(conn, coupon.id)
        .await?
        .ok_or_else(|| no_coupon(&coupon.code))?;
    if let Err(error) = check_window(&current, clock, clock.now()) {
        return Ok(error);
    }
    if current.revision != coupon.revision {
        let message = "This coupon has just been changed. Try again.";
        return Ok(Error::new(Code::Conflict, message).retry_after(1));
    }
    let spent = current.granted_amount.plus(amount)?;
    Ok(if current.budget.is_some_and(|budget| spent > budget) {
        budget_spent(&current)
    } else {
        used_up(&current)
    })
}

fn used_up(coupon: &Coupon) -> Error {
    Error::new(
        Code::CouponUsedUp,
        format!("The coupon {} has been used up.", coupon.code),
    )
}

fn already_used(coupon: &Coupon) -> Error {
    Error::new(
        Code::CouponAlreadyUsed,
        format!(
            "You have used the coupon {} as often as it allows.",
            coupon.code
        ),
    )
}

fn budget_spent(coupon: &Coupon) -> Error {
    Error::new(Code::CouponBudgetSpent, coupon.budget_in_words())
}
