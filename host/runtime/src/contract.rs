//! The contract's values as the host sees them: the newest version of `wit/`, with JSON shapes.
//!
//! The rest of the server, recorded decisions and golden cases use these types. The bindings of
//! each contract version convert to and from them. Fields that a newer version adds to an input may
//! be absent in JSON, so that older records still parse.

mod functions;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use functions::{Function, LimitClass, coupon, service};

/// A supported version of the contract: a folder of `wit/` and a module of bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    V0_1,
    V0_2,
}

impl Version {
    /// Oldest first.
    pub const ALL: [Self; 2] = [Self::V0_1, Self::V0_2];
    pub const NEWEST: Self = Self::V0_2;

    /// Returns the version as in the package's name, for example `0.2.0`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1.0",
            Self::V0_2 => "0.2.0",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The newest contract version, which new plugins are built against.
pub const CONTRACT: &str = Version::NEWEST.as_str();

/// Settings of a template for its plugin, in a shape of the plugin's choice; empty when there are
/// none.
pub type Settings = serde_json::Map<String, Value>;

/// Whole rupiah.
pub type Rupiah = i64;
/// Seconds since the Unix epoch, UTC.
pub type Timestamp = i64;

/// A component's description of its product, asked for without settings.
#[derive(Debug, Clone, PartialEq)]
pub enum Description {
    /// `Problems` when the plugin needs a template's settings to describe anything.
    Service(Answer<ServiceDescription>),
    Coupon(CouponDescription),
}

/// The world that a component implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Service,
    Coupon,
}

impl Kind {
    /// Returns `service` or `coupon`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Coupon => "coupon",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A component's description of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct About {
    pub id: String,
    pub version: String,
    pub title: String,
    pub summary: String,
}

/// One reason why an input is not acceptable; `field` is a JSON pointer or empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Problem {
    pub field: String,
    pub message: String,
}

/// An answer that may be a list of problems: `{"ok": ...}` or `{"problems": [...]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer<T> {
    Ok(T),
    Problems(Vec<Problem>),
}

/// Plan levels, from lowest to highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Tier {
    Free,
    Basic,
    Pro,
    Premium,
    Enterprise,
}

/// Total resources of a plan; the gate refuses more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    pub memory_mib: u32,
    pub storage_gib: u32,
    /// Pods over all workloads.
    pub replicas: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    pub slug: String,
    pub tier: Tier,
    pub monthly_price: Rupiah,
    pub resources: Resources,
}

/// Length of the time that a charge pays for, in calendar months.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Term {
    pub months: u32,
}

/// Time from `start` (inclusive) to `end` (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Period {
    pub start: Timestamp,
    pub end: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceLine {
    pub code: String,
    pub label: String,
    pub amount: Rupiah,
    pub reason: String,
}

// ---- service ----

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretKind {
    /// This many letters and digits.
    Password(u32),
    /// This many random bytes, as lower-case hexadecimal.
    HexBytes(u32),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretSpec {
    pub name: String,
    pub kind: SecretKind,
    pub purpose: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Http,
    Tcp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointSpec {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub public: bool,
}

/// An image that a service runs; `reference` is the plugin's own choice, if it has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSpec {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// An image in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    pub name: String,
    pub reference: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceDescription {
    pub config_schema: Value,
    pub secrets: Vec<SecretSpec>,
    pub endpoints: Vec<EndpointSpec>,
    pub images: Vec<ImageSpec>,
}

/// Input of [`service::Describe`]; `null` means one without settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Option<DescribeRequestJson>")]
pub struct DescribeRequest {
    #[serde(skip_serializing_if = "Settings::is_empty")]
    pub settings: Settings,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeRequestJson {
    #[serde(default)]
    settings: Settings,
}

impl From<Option<DescribeRequestJson>> for DescribeRequest {
    fn from(json: Option<DescribeRequestJson>) -> Self {
        let settings = json.map(|request| request.settings).unwrap_or_default();
        Self { settings }
    }
}

/// Input of [`service::Check`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigCheck {
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub settings: Settings,
    pub plan: Plan,
    pub config: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunningPeriod {
    pub plan: Plan,
    pub paid: Rupiah,
    pub period: Period,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Occasion {
    First,
    Renewal,
    Upgrade(RunningPeriod),
}

/// Input of [`service::Price`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceRequest {
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub settings: Settings,
    pub plan: Plan,
    pub term: Term,
    pub config: Value,
    pub occasion: Occasion,
    pub moment: Timestamp,
}

/// Lines and their sum. A price with a negative total or lines that do not add up is a
/// malformed answer and never leaves the runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceAnswer {
    pub lines: Vec<PriceLine>,
    pub total: Rupiah,
}

/// Input of [`service::Manifests`] and [`service::Access`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instance {
    pub name: String,
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub settings: Settings,
    pub plan: Plan,
    pub config: Value,
    #[serde(default)]
    pub hostname: Option<String>,
    pub secret_object: String,
    pub secrets: Vec<String>,
    pub images: Vec<Image>,
}

/// Input of [`service::Health`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observation {
    pub instance: Instance,
    pub observed: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    Starting,
    Ready,
    Degraded,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    pub state: HealthState,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AccessValue {
    Text(String),
    /// The name of a secret.
    Secret(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessField {
    pub label: String,
    pub value: AccessValue,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessCard {
    pub url: Option<String>,
    pub fields: Vec<AccessField>,
    pub notes: String,
}

/// Input of [`service::PlanChange`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanChangeRequest {
    #[serde(default, skip_serializing_if = "Settings::is_empty")]
    pub settings: Settings,
    pub from: Plan,
    pub to: Plan,
    pub config: Value,
}

/// `"allowed"` or `{"denied": "why"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PlanChangeAnswer {
    Allowed,
    Denied(String),
}

// ---- coupon ----

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    Wallet,
    Checkout,
    Registration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fact {
    PastRedemptions,
    FirstPurchase,
    AccountAge,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CouponDescription {
    pub parameters_schema: Value,
    pub places: Vec<Place>,
    pub facts: Vec<Fact>,
}

/// Input of [`coupon::Check`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParametersCheck {
    pub parameters: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Purchase {
    pub service: String,
    pub plan: Plan,
    pub term: Term,
    pub lines: Vec<PriceLine>,
    pub total: Rupiah,
}

/// Facts about the customer; a fact that the plugin did not declare is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Facts {
    pub past_redemptions: Option<u32>,
    pub first_purchase: Option<bool>,
    pub account_age_days: Option<u32>,
}

/// Input of [`coupon::Evaluate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evaluation {
    pub parameters: Value,
    pub moment: Timestamp,
    pub place: Place,
    #[serde(default)]
    pub purchase: Option<Purchase>,
    #[serde(default)]
    pub facts: Facts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    Credit(Rupiah),
    Discount(Rupiah),
    FreePeriods(u32),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    pub effect: Effect,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refusal {
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    Grant(Grant),
    Refuse(Refusal),
}
