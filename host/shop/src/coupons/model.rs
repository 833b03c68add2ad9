//! Rows, values and views of coupons.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use dermaga_runtime::contract::{Effect, Place};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use utoipa::ToSchema;

use crate::{
    catalog::Tier,
    db,
    ids::{CouponId, DecisionId, RedemptionId, SubscriptionId, TransactionId, UserId},
    money::Rupiah,
    text_enum,
};

text_enum! {
    pub enum CouponStatus {
        Active = "ACTIVE",
        /// The window is over.
        Expired = "EXPIRED",
        /// Switched off by an administrator.
        Disabled = "DISABLED",
        /// All uses are taken, or the budget is spent.
        UsedUp = "USED_UP",
    }
}

/// A coupon's code: 3 to 50 of `A-Z 0-9 _ -`, upper-cased however it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, format = "coupon-code", pattern = "^[A-Za-z0-9_-]{3,50}$")]
pub struct CouponCode(String);

impl CouponCode {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CouponCode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        crate::text::code(text).map(Self)
    }
}

impl TryFrom<String> for CouponCode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<CouponCode> for String {
    fn from(code: CouponCode) -> Self {
        code.0
    }
}

impl fmt::Display for CouponCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Coupon {
    pub id: CouponId,
    pub code: String,
    pub description: String,
    pub plugin_id: String,
    pub parameters: Json<Value>,
    pub starts_at: DateTime<Utc>,
    pub ends_at: Option<DateTime<Utc>>,
    pub max_uses: Option<i64>,
    pub max_uses_per_user: Option<i64>,
    pub used_count: i64,
    pub budget: Option<Rupiah>,
    pub granted_amount: Rupiah,
    pub services: Json<Vec<String>>,
    pub tiers: Json<Vec<Tier>>,
    pub periods: Option<i64>,
    pub status: CouponStatus,
    /// Grows with each change by an administrator.
    pub revision: i64,
    pub created_at: DateTime<Utc>,
}

impl Coupon {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> db::Place<CouponId> {
        db::Place {
            at: self.created_at,
            tie: self.id,
        }
    }

    /// Returns true when what is left of its budget holds an amount.
    pub fn has_budget_for(&self, amount: Rupiah) -> bool {
        // A sum that cannot be counted is beyond every budget.
        let sum = self.granted_amount.plus(amount);
        self.budget
            .is_none_or(|budget| sum.is_ok_and(|sum| sum <= budget))
    }

    /// Returns a sentence on a budget that does not hold a discount.
    pub fn budget_in_words(&self) -> String {
        let left = self.budget.map(|budget| budget.minus(self.granted_amount));
        match left {
            Some(Ok(left)) if left.is_positive() => format!(
                "The budget of the coupon {} holds {left}, which is less than this discount.",
                self.code
            ),
            _ => format!("The budget of the coupon {} is spent.", self.code),
        }
    }

    /// Returns true when its uses or its budget are spent.
    pub fn is_used_up(&self) -> bool {
        self.max_uses.is_some_and(|limit| self.used_count >= limit)
            || self
                .budget
                .is_some_and(|budget| self.granted_amount >= budget)
    }

    /// The status as it is now: a window that is over shows before any job has noticed.
    pub fn status_at(&self, now: DateTime<Utc>) -> CouponStatus {
        match self.status {
            CouponStatus::Active if self.ends_at.is_some_and(|end| end <= now) => {
                CouponStatus::Expired
            }
            status => status,
        }
    }
}

/// A coupon as administrators see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CouponView {
    pub id: CouponId,
    pub code: String,
    pub description: String,
    /// The plugin that decides its effect.
    pub plugin: String,
    #[schema(value_type = Object)]
    pub parameters: Value,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub starts_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub ends_at: Option<DateTime<Utc>>,
    pub max_uses: Option<i64>,
    pub max_uses_per_user: Option<i64>,
    pub used_count: i64,
    /// Rupiah it may cost in all.
    pub budget: Option<Rupiah>,
    /// Rupiah it has cost so far.
    pub granted_amount: Rupiah,
    /// Slugs of the services it is good for; empty means all.
    pub services: Vec<String>,
    /// Plan tiers it is good for; empty means all.
    pub tiers: Vec<Tier>,
    /// Months of a subscription it lasts; absent means for ever.
    pub periods: Option<i64>,
    pub status: CouponStatus,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
}

impl CouponView {
    pub fn of(coupon: Coupon, now: DateTime<Utc>) -> Self {
        Self {
            status: coupon.status_at(now),
            id: coupon.id,
            code: coupon.code,
            description: coupon.description,
            plugin: coupon.plugin_id,
            parameters: coupon.parameters.0,
            starts_at: coupon.starts_at,
            ends_at: coupon.ends_at,
            max_uses: coupon.max_uses,
            max_uses_per_user: coupon.max_uses_per_user,
            used_count: coupon.used_count,
            budget: coupon.budget,
            granted_amount: coupon.granted_amount,
            services: coupon.services.0,
            tiers: coupon.tiers.0,
            periods: coupon.periods,
            created_at: coupon.created_at,
        }
    }
}

/// Effect of a redemption, in the form it is stored and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum EffectView {
    Credit(Rupiah),
    Discount(Rupiah),
    FreePeriods(u32),
}

impl From<Effect> for EffectView {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::Credit(amount) => Self::Credit(Rupiah::new(amount)),
            Effect::Discount(amount) => Self::Discount(Rupiah::new(amount)),
            Effect::FreePeriods(periods) => Self::FreePeriods(periods),
        }
    }
}

/// Effect of a coupon, before anything is redeemed.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CouponPreview {
    pub coupon_code: String,
    pub description: String,
    pub effect: EffectView,
    /// Amount in rupiah.
    pub amount: Rupiah,
    /// Reason, in a sentence.
    #[serde(serialize_with = "crate::language::in_words")]
    pub reason: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct RedemptionRow {
    pub id: RedemptionId,
    pub code: String,
    pub effect: Json<EffectView>,
    pub amount: Rupiah,
    pub reason: String,
    pub decision_id: DecisionId,
    pub transaction_id: Option<TransactionId>,
    pub subscription_id: Option<SubscriptionId>,
    pub period: i64,
    pub created_at: DateTime<Utc>,
    pub released_at: Option<DateTime<Utc>>,
}

/// Use of a coupon by its customer, or a later period that it reduced.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedemptionView {
    pub id: RedemptionId,
    pub coupon_code: String,
    pub effect: EffectView,
    pub amount: Rupiah,
    #[serde(serialize_with = "crate::language::in_words")]
    pub reason: String,
    /// The recorded decision; an administrator can replay it.
    pub decision_id: DecisionId,
    pub transaction_id: Option<TransactionId>,
    pub subscription_id: Option<SubscriptionId>,
    /// Of the subscription: 1 where the coupon was redeemed, more where a renewal was reduced.
    pub period: i64,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    /// Moment the use was given back, with a purchase that could not be set up.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub released_at: Option<DateTime<Utc>>,
}

impl RedemptionView {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> db::Place<RedemptionId> {
        db::Place {
            at: self.created_at,
            tie: self.id,
        }
    }
}

impl From<RedemptionRow> for RedemptionView {
    fn from(row: RedemptionRow) -> Self {
        Self {
            id: row.id,
            coupon_code: row.code,
            effect: row.effect.0,
            amount: row.amount,
            reason: row.reason,
            decision_id: row.decision_id,
            transaction_id: row.transaction_id,
            subscription_id: row.subscription_id,
            period: row.period,
            created_at: row.created_at,
            released_at: row.released_at,
        }
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct RedeemedByRow {
    pub user_id: UserId,
    pub email: String,
    #[sqlx(flatten)]
    pub redemption: RedemptionRow,
}

/// Use of a coupon, with its customer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedeemedBy {
    pub user_id: UserId,
    pub email: String,
    #[serde(flatten)]
    pub redemption: RedemptionView,
}

impl From<RedeemedByRow> for RedeemedBy {
    fn from(row: RedeemedByRow) -> Self {
        Self {
            user_id: row.user_id,
            email: row.email,
            redemption: row.redemption.into(),
        }
    }
}

/// Cost and revenue of coupons.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CouponStatistics {
    /// Number of coupons by status.
    pub coupons: Vec<StatusCount>,
    /// Different customers who redeemed in the window.
    pub customers: i64,
    pub uses: i64,
    /// Cost of the uses, in rupiah.
    pub cost: Rupiah,
    /// Amount customers paid in the purchases they were used for, in rupiah.
    pub revenue: Rupiah,
    pub by_type: Vec<TypeCost>,
    /// The ten coupons with the highest cost.
    pub costliest: Vec<CouponCost>,
}

/// Number of coupons with a status.
#[derive(Debug, Clone, Serialize, sqlx::FromRow, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusCount {
    pub status: CouponStatus,
    pub count: i64,
}

/// Uses, cost and revenue of a coupon type.
#[derive(Debug, Clone, Serialize, sqlx::FromRow, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TypeCost {
    pub plugin: String,
    /// Coupons of this type that were used in the window.
    pub coupons: i64,
    pub uses: i64,
    pub cost: Rupiah,
    pub revenue: Rupiah,
}

/// Uses, cost and revenue of one coupon.
#[derive(Debug, Clone, Serialize, sqlx::FromRow, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CouponCost {
    pub id: CouponId,
    pub coupon_code: String,
    pub uses: i64,
    pub cost: Rupiah,
    pub revenue: Rupiah,
}

/// A welcome bonus that was given, or why it was not.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WelcomeBonus {
    pub coupon_code: String,
    pub granted: bool,
    /// Amount in rupiah; zero when nothing was granted.
    pub amount: Rupiah,
    #[serde(serialize_with = "crate::language::in_words")]
    pub message: String,
    /// True when it was not given now since the customer has it already.
    #[serde(skip)]
    pub is_repeated: bool,
}

/// A coupon type: an active plugin that decides coupons.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CouponTypeView {
    pub plugin: String,
    pub version: String,
    pub title: String,
    #[serde(serialize_with = "crate::language::in_words")]
    pub summary: String,
    /// JSON Schema of the parameters that an administrator sets.
    #[schema(value_type = Object)]
    #[serde(serialize_with = "crate::schema::in_words")]
    pub parameters_schema: Value,
    /// Places where coupons of this type are presented: wallet, checkout, registration.
    pub places: Vec<String>,
}

/// The word for a place in sentences and views.
pub const fn place_name(place: Place) -> &'static str {
    match place {
        Place::Wallet => "wallet",
        Place::Checkout => "checkout",
        Place::Registration => "registration",
    }
}

/// Filter of a list of coupons.
#[derive(Debug, Clone)]
pub struct CouponFilter {
    pub status: Option<CouponStatus>,
    pub plugin: Option<String>,
    /// Part of the code or the description.
    pub text: Option<String>,
    /// Moment of the query: an active coupon whose window is over counts as expired.
    pub now: DateTime<Utc>,
}

#[cfg(test)]
pub(super) mod tests;
