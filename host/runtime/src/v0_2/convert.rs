//! Conversions of the types that both worlds share.

use serde_json::Value;

use super::types as wit;
use crate::{
    canonical::canonical_json,
    check_output::{self, Malformed},
    contract::{About, Answer, Period, Plan, PriceLine, Problem, Resources, Settings, Term, Tier},
};

/// Writes JSON with sorted keys, so that equal values are equal texts to the plugin.
pub(crate) fn text(value: &Value) -> String {
    canonical_json(value)
}

/// Writes the settings of a template, as [`text`] does.
pub(super) fn settings(settings: &Settings) -> String {
    if settings.is_empty() {
        return "{}".to_owned();
    }
    text(&Value::Object(settings.clone()))
}

/// Converts a result of the contract; `ok` turns its success into the host's type.
pub(super) fn answer<T, U>(
    result: Result<T, Vec<wit::Problem>>,
    ok: impl FnOnce(T) -> Result<U, Malformed>,
) -> Result<Answer<U>, Malformed> {
    match result {
        Ok(value) => ok(value).map(Answer::Ok),
        Err(list) => check_output::problems(list.into_iter().map(Problem::from).collect())
            .map(Answer::Problems),
    }
}

impl From<wit::Identity> for About {
    fn from(
        wit::Identity {
            id,
            version,
            title,
            summary,
        }: wit::Identity,
    ) -> Self {
        Self {
            id,
            version,
            title,
            summary,
        }
    }
}

impl From<wit::Problem> for Problem {
    fn from(wit::Problem { field, message }: wit::Problem) -> Self {
        Self { field, message }
    }
}

impl From<wit::PriceLine> for PriceLine {
    fn from(
        wit::PriceLine {
            code,
            label,
            amount,
            reason,
        }: wit::PriceLine,
    ) -> Self {
        Self {
            code,
            label,
            amount,
            reason,
        }
    }
}

impl From<&PriceLine> for wit::PriceLine {
    fn from(
        PriceLine {
            code,
            label,
            amount,
            reason,
        }: &PriceLine,
    ) -> Self {
        Self {
            code: code.clone(),
            label: label.clone(),
            amount: *amount,
            reason: reason.clone(),
        }
    }
}

impl From<Tier> for wit::Tier {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Free => Self::Free,
            Tier::Basic => Self::Basic,
            Tier::Pro => Self::Pro,
            Tier::Premium => Self::Premium,
            Tier::Enterprise => Self::Enterprise,
        }
    }
}

impl From<Resources> for wit::Resources {
    fn from(
        Resources {
            cpu_millis,
            memory_mib,
            storage_gib,
            replicas,
        }: Resources,
    ) -> Self {
        Self {
            cpu_millis,
            memory_mib,
            storage_gib,
            replicas,
        }
    }
}

impl From<&Plan> for wit::Plan {
    fn from(
        Plan {
            slug,
            tier,
            monthly_price,
            resources,
        }: &Plan,
    ) -> Self {
        Self {
            slug: slug.clone(),
            tier: (*tier).into(),
            monthly_price: *monthly_price,
            resources: (*resources).into(),
        }
    }
}

impl From<Term> for wit::Term {
    fn from(Term { months }: Term) -> Self {
        Self { months }
    }
}

impl From<Period> for wit::Period {
    fn from(Period { start, end }: Period) -> Self {
        Self { start, end }
    }
}
