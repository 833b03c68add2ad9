//! Inputs of administrators: a coupon to create or to change.

use chrono::{DateTime, Utc};
use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, OneOfBuilder, Schema, Type},
    },
};

use super::CouponCode;
use crate::{audit::GivenReason, catalog::Tier, input::optional_moment};

/// Duration of a discount: a number of months, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Lasts {
    /// Number of months, the first one included.
    Periods(u32),
    /// The word `forever`.
    Forever(Forever),
}

/// The word `forever`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forever {
    Forever,
}

/// Written out, since the derived schema has no place for the bounds of a number of months.
impl PartialSchema for Lasts {
    fn schema() -> RefOr<Schema> {
        let periods = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(MOST_PERIODS))
            .description(Some("This many months, the first one included."));
        let forever = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(["forever"]))
            .description(Some("Every month."));
        let either = OneOfBuilder::new().item(periods).item(forever);
        let text = "Duration of a discount: a number of months, or for ever. Of a longer term it reduces as many months.";
        either.description(Some(text)).into()
    }
}

impl ToSchema for Lasts {}

/// Most months that a discount may last when it does not last for ever.
const MOST_PERIODS: u32 = 1_200;

impl Default for Lasts {
    fn default() -> Self {
        Self::Periods(1)
    }
}

impl Lasts {
    pub(super) fn periods(self) -> Option<i64> {
        match self {
            Self::Periods(periods) => Some(periods.into()),
            Self::Forever(_) => None,
        }
    }
}

fn at_least_one(lasts: &Lasts, _: &()) -> garde::Result {
    match lasts {
        Lasts::Forever(_) | Lasts::Periods(1..=MOST_PERIODS) => Ok(()),
        Lasts::Periods(_) => Err(garde::Error::new(
            "must be from 1 to 1200, or the word `forever`",
        )),
    }
}

fn is_after(
    start: Option<DateTime<Utc>>,
) -> impl FnOnce(&Option<DateTime<Utc>>, &()) -> garde::Result {
    move |end, ()| match (start, end) {
        (Some(start), Some(end)) if *end <= start => {
            Err(garde::Error::new("must be after startsAt"))
        }
        _ => Ok(()),
    }
}

/// A coupon to create.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewCoupon {
    #[garde(skip)]
    pub(super) code: CouponCode,
    #[serde(default, deserialize_with = "crate::text::typed_prose")]
    #[garde(length(chars, max = 200), custom(crate::text::prose))]
    #[schema(max_length = 200)]
    pub(super) description: String,
    /// Id of the coupon type, for example `coupon-credit-topup`.
    #[garde(length(chars, min = 3, max = 50))]
    #[schema(min_length = 3, max_length = 50)]
    pub(super) plugin: String,
    /// As the type's schema says.
    #[schema(value_type = Object)]
    #[garde(skip)]
    pub(super) parameters: Value,
    /// Now, when absent.
    #[garde(skip)]
    #[serde(default, deserialize_with = "optional_moment")]
    pub(super) starts_at: Option<DateTime<Utc>>,
    #[garde(custom(is_after(self.starts_at)))]
    #[serde(default, deserialize_with = "optional_moment")]
    pub(super) ends_at: Option<DateTime<Utc>>,
    /// Uses by all customers together; not limited, when absent.
    #[garde(inner(range(min = 1, max = 1_000_000_000_000)))]
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64)]
    pub(super) max_uses: Option<i64>,
    /// Uses by one customer; not limited, when absent.
    #[garde(inner(range(min = 1, max = 1_000_000_000_000)))]
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64)]
    pub(super) max_uses_per_user: Option<i64>,
    /// Rupiah it may cost in all; not limited, when absent.
    #[garde(inner(range(min = 1, max = 1_000_000_000_000)))]
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64)]
    pub(super) budget: Option<i64>,
    /// Slugs of the services it is good for; all, when empty.
    #[serde(default)]
    #[garde(length(max = 100), inner(length(chars, max = 100)))]
    #[schema(max_items = 100)]
    pub(super) services: Vec<String>,
    /// Plan tiers it is good for; all, when empty.
    #[serde(default)]
    #[garde(length(max = 5))]
    #[schema(max_items = 5)]
    pub(super) tiers: Vec<Tier>,
    /// Number of periods a discount lasts, or `forever`; 1 when absent.
    #[serde(default)]
    #[garde(custom(at_least_one))]
    pub(super) lasts: Lasts,
    /// Reason of the act, for the audit trail; no part of the coupon.
    #[garde(dive)]
    pub(super) reason: Option<GivenReason>,
}

/// A switch for many coupons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Switch {
    Active,
    Disabled,
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_duration_is_a_number_of_months_or_forever() {
        for (sent, periods) in [
            (json!(1), Some(Some(1))),
            (json!(1_200), Some(Some(1_200))),
            (json!("forever"), Some(None)),
            (json!("Forever"), None),
            (json!("3"), None),
            (json!(-1), None),
            (json!(1.5), None),
            (json!(null), None),
        ] {
            let read = from_value::<Lasts>(sent.clone()).ok();
            assert_eq!(read.map(Lasts::periods), periods, "{sent}");
        }
        assert_eq!(Lasts::default().periods(), Some(1));
    }

    #[test]
    fn a_duration_has_bounds() {
        for (months, is_good) in [
            (0, false),
            (1, true),
            (1_200, true),
            (1_201, false),
            (u32::MAX, false),
        ] {
            let checked = at_least_one(&Lasts::Periods(months), &());
            assert_eq!(checked.is_ok(), is_good, "{months}");
        }
        at_least_one(&Lasts::Forever(Forever::Forever), &()).unwrap();
    }

    #[test]
    fn a_window_ends_after_it_starts() {
        let start = DateTime::UNIX_EPOCH;
        let later = start + TimeDelta::milliseconds(1);
        for (from, until, is_good) in [
            (None, None, true),
            (Some(start), None, true),
            (None, Some(start), true),
            (Some(start), Some(later), true),
            (Some(start), Some(start), false),
            (Some(later), Some(start), false),
        ] {
            assert_eq!(is_after(from)(&until, &()).is_ok(), is_good);
        }
    }
}
