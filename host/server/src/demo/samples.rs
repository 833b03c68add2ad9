//! Ten coupons to try a shop with.

use chrono::{DateTime, Days, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Api, ApiError};

const SAMPLES: &str = include_str!("samples.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Samples {
    coupon: Vec<Sample>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Sample {
    code: String,
    description: String,
    plugin: String,
    parameters: Value,
    lasts_days: u64,
    max_uses: Option<i64>,
    max_uses_per_user: Option<i64>,
    budget: Option<i64>,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    tiers: Vec<String>,
    #[serde(default = "one")]
    periods: u32,
}

const fn one() -> u32 {
    1
}

impl Sample {
    /// The body of `POST /admin/coupons`.
    fn body(&self, now: DateTime<Utc>) -> Value {
        json!({
            "code": self.code,
            "description": self.description,
            "plugin": self.plugin,
            "parameters": self.parameters,
            "endsAt": now + Days::new(self.lasts_days),
            "maxUses": self.max_uses,
            "maxUsesPerUser": self.max_uses_per_user,
            "budget": self.budget,
            "services": self.services,
            "tiers": self.tiers,
            "lasts": self.periods,
        })
    }
}

/// A sample, and whether it was made now.
pub(super) struct Made {
    pub(super) code: String,
    pub(super) description: String,
    pub(super) is_new: bool,
}

/// Makes the samples that are not there yet.
pub(super) async fn create(admin: &Api, now: DateTime<Utc>) -> Result<Vec<Made>, ApiError> {
    let samples: Samples = toml::from_str(SAMPLES).map_err(|error| ApiError::Unusable {
        what: "the sample coupons",
        reason: error.to_string(),
    })?;
    let mut made = Vec::with_capacity(samples.coupon.len());
    for sample in samples.coupon {
        let is_new = match admin.post("/api/admin/coupons", &sample.body(now)).await {
            Ok(_) => true,
            Err(ApiError::Refused { status: 409, .. }) => false,
            Err(error) => return Err(error),
        };
        made.push(Made {
            code: sample.code,
            description: sample.description,
            is_new,
        });
    }
    Ok(made)
}
