//! Rows and views of the catalogue.

use std::{borrow::Cow, collections::BTreeMap};

use chrono::{DateTime, Utc};
use dermaga_runtime::{Texts, contract, gate::Exception};
use dermaga_toolkit::template::{FormTexts, translate_form};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::terms::{PlanTerm, TermView};
use crate::{
    Error, Result,
    ids::{CategoryId, PlanId, ServiceId},
    language::{self, Language},
    money::Rupiah,
    schema, text_enum,
};

text_enum! {
    /// Plan levels, from lowest to highest.
    #[derive(PartialOrd, Ord)]
    pub enum Tier {
        Free = "FREE",
        Basic = "BASIC",
        Pro = "PRO",
        Premium = "PREMIUM",
        Enterprise = "ENTERPRISE",
    }
}

impl From<contract::Tier> for Tier {
    fn from(tier: contract::Tier) -> Self {
        match tier {
            contract::Tier::Free => Self::Free,
            contract::Tier::Basic => Self::Basic,
            contract::Tier::Pro => Self::Pro,
            contract::Tier::Premium => Self::Premium,
            contract::Tier::Enterprise => Self::Enterprise,
        }
    }
}

impl From<Tier> for contract::Tier {
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

#[derive(Debug, Clone, sqlx::FromRow, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Category {
    pub id: CategoryId,
    pub slug: String,
    pub name: String,
    pub description: String,
    /// Place in the list: lower ones first, those of one position by name.
    pub position: i64,
    /// Slug of the category above it.
    pub parent: Option<String>,
    /// Number of its active services.
    pub services: i64,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Service {
    #[sqlx(rename = "service_id")]
    pub id: ServiceId,
    #[sqlx(rename = "service_slug")]
    pub slug: String,
    pub category_slug: String,
    pub category_name: String,
    pub plugin_id: String,
    #[sqlx(rename = "service_name")]
    pub name: String,
    pub summary: String,
    pub description: String,
    pub featured: bool,
    /// True when administrators want it sold, and it passed the check of its plugin.
    #[sqlx(rename = "service_active")]
    pub active: bool,
    /// The only images this service may run, by the plugin's name for them.
    pub images: Json<BTreeMap<String, String>>,
    /// Settings that the template passes to the plugin.
    pub settings: Json<contract::Settings>,
    pub pod_security_exceptions: Json<Vec<Exception>>,
    /// Texts in Indonesian, where a template has them and no administrator has edited the English ones.
    pub indonesian_category: Option<String>,
    pub indonesian_summary: Option<String>,
    pub indonesian_description: Option<String>,
    /// Texts of the form's fields in Indonesian.
    pub indonesian_form: Json<FormTexts>,
    /// Sentences that its plugin says out of the settings in Indonesian.
    pub indonesian_sentences: Json<Texts>,
}

/// Returns the schema of a form with its texts in the current language: those of the template, else those of the
/// plugin.
pub fn form_in_language<'s>(schema: &'s Value, indonesian: &FormTexts) -> Cow<'s, Value> {
    if language::current() == Language::English {
        return Cow::Borrowed(schema);
    }
    let mut schema = schema::spoken(schema).into_owned();
    translate_form(&mut schema, indonesian);
    Cow::Owned(schema)
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Plan {
    pub id: PlanId,
    pub service_id: ServiceId,
    pub slug: String,
    pub name: String,
    pub tier: Tier,
    pub monthly_price: Rupiah,
    pub cpu_millis: i64,
    pub memory_mib: i64,
    pub storage_gib: i64,
    pub replicas: i64,
    pub total_quota: i64,
    pub used_quota: i64,
    pub max_instances_per_user: i64,
    pub features: Json<Vec<String>>,
    /// The same in Indonesian, as [`Service::indonesian_summary`].
    pub indonesian_features: Option<Json<Vec<String>>>,
    /// Longer terms that it is sold for, the shortest first.
    pub terms: Json<Vec<PlanTerm>>,
    /// Price of a frozen month; absent where it cannot be frozen.
    pub storage_price: Option<Rupiah>,
    pub active: bool,
    pub created_at: DateTime<Utc>,
}

/// Resources of one instance of a plan; an instance keeps those that it was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Sizes {
    pub cpu_millis: i64,
    pub memory_mib: i64,
    pub storage_gib: i64,
    pub replicas: i64,
}

impl Plan {
    pub const fn sizes(&self) -> Sizes {
        Sizes {
            cpu_millis: self.cpu_millis,
            memory_mib: self.memory_mib,
            storage_gib: self.storage_gib,
            replicas: self.replicas,
        }
    }

    /// Returns the plan as plugins see it.
    ///
    /// # Errors
    /// When a size in the database is beyond the contract's range.
    pub fn for_plugins(&self) -> Result<contract::Plan> {
        self.for_plugins_at(self.monthly_price)
    }

    /// Returns the same at another monthly price: the one a customer bought at.
    ///
    /// # Errors
    /// As [`Plan::for_plugins`].
    pub fn for_plugins_at(&self, monthly_price: Rupiah) -> Result<contract::Plan> {
        let size = |value: i64| u32::try_from(value).map_err(Error::internal);
        Ok(contract::Plan {
            slug: self.slug.clone(),
            tier: self.tier.into(),
            monthly_price: monthly_price.get(),
            resources: contract::Resources {
                cpu_millis: size(self.cpu_millis)?,
                memory_mib: size(self.memory_mib)?,
                storage_gib: size(self.storage_gib)?,
                replicas: size(self.replicas)?,
            },
        })
    }

    pub const fn available_quota(&self) -> i64 {
        self.total_quota.saturating_sub(self.used_quota)
    }
}

text_enum! {
    /// Reason why a plan cannot be bought, by the code that buying it answers.
    pub enum Unavailable {
        /// It is not on sale.
        PlanUnavailable = "PLAN_UNAVAILABLE",
        /// It is sold out.
        QuotaExhausted = "QUOTA_EXHAUSTED",
        /// No version of its plugin runs.
        PluginUnavailable = "PLUGIN_UNAVAILABLE",
        /// No node of the cluster has room for it.
        ClusterFull = "CLUSTER_FULL",
    }
}

/// Total resources of a plan.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourcesView {
    /// Thousandths of a CPU core.
    pub cpu_millis: i64,
    pub memory_mib: i64,
    pub storage_gib: i64,
    pub replicas: i64,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    pub id: PlanId,
    pub slug: String,
    pub name: String,
    pub tier: Tier,
    /// Rupiah a month.
    pub monthly_price: Rupiah,
    /// Terms that it is sold for, one month first.
    pub terms: Vec<TermView>,
    /// Rupiah for a month in which it is frozen: stopped, its data kept. Absent where it cannot be frozen.
    pub storage_price: Option<Rupiah>,
    pub resources: ResourcesView,
    pub features: Vec<String>,
    pub max_instances_per_user: i64,
    pub available_quota: i64,
    /// True when it can be bought now: active, quota left, a version of its plugin running, and room in
    /// the cluster.
    pub is_available: bool,
    /// Reason why it cannot be bought now; absent when it can.
    pub unavailable_reason: Option<Unavailable>,
}

impl PlanView {
    /// Marks a plan as one that cannot be bought. The first reason stays.
    pub(super) fn withhold(&mut self, reason: Unavailable) {
        self.is_available = false;
        self.unavailable_reason.get_or_insert(reason);
    }
}

impl From<Plan> for PlanView {
    fn from(plan: Plan) -> Self {
        let unavailable_reason = match plan.available_quota() {
            _ if !plan.active => Some(Unavailable::PlanUnavailable),
            ..=0 => Some(Unavailable::QuotaExhausted),
            _ => None,
        };
        Self {
            available_quota: plan.available_quota(),
            is_available: unavailable_reason.is_none(),
            unavailable_reason,
            terms: plan.term_views(),
            storage_price: plan.storage_price,
            id: plan.id,
            slug: plan.slug,
            name: plan.name,
            tier: plan.tier,
            monthly_price: plan.monthly_price,
            resources: ResourcesView {
                cpu_millis: plan.cpu_millis,
                memory_mib: plan.memory_mib,
                storage_gib: plan.storage_gib,
                replicas: plan.replicas,
            },
            features: in_language(
                plan.features.0,
                plan.indonesian_features.map(|texts| texts.0),
            ),
            max_instances_per_user: plan.max_instances_per_user,
        }
    }
}

/// Returns the text of the current language; where there is none in Indonesian, the English one.
pub(super) fn in_language<T>(english: T, indonesian: Option<T>) -> T {
    match language::current() {
        Language::English => english,
        Language::Indonesian => indonesian.unwrap_or(english),
    }
}

/// The plugin of a service.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServicePluginView {
    pub id: String,
    /// Version in use; absent when none runs on this server; the service cannot be bought then.
    pub version: Option<String>,
    /// JSON Schema of the configuration a customer may give.
    #[schema(value_type = Option<Object>)]
    pub config_schema: Option<Value>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    pub id: ServiceId,
    pub slug: String,
    pub category: String,
    pub category_name: String,
    pub name: String,
    pub summary: String,
    pub description: String,
    pub featured: bool,
    /// Price of the cheapest plan, rupiah a month.
    pub price_from: Option<Rupiah>,
    pub plugin: ServicePluginView,
    pub plans: Vec<PlanView>,
}

/// Filter of a list of services; words are looked for in name, summary and slug.
#[derive(Debug, Default)]
pub struct ServiceFilter {
    pub category: Option<String>,
    pub featured: Option<bool>,
    pub words: Option<String>,
}
