//! Everything a service plugin needs: `use dermaga_plugin_sdk::service::*`.

use serde::de::DeserializeOwned;
pub use serde_json::{Value, json};

pub use crate::{
    about,
    bindings::{
        metadata::dermaga::plugin::types::{
            Identity as About, Period, Plan, PriceLine, Problem, Resources, Term, Tier,
        },
        service::exports::dermaga::plugin::service::{
            AccessCard, AccessField, AccessValue, EndpointSpec, HealthReport, HealthState, Image,
            ImageSpec, Instance, Occasion, PriceAnswer, PriceRequest, Protocol, RunningPeriod,
            SecretKind, SecretSpec, ServiceDescription,
        },
    },
    export_service, health,
    instance::SecretKey,
    manifest::*,
    money::{self, Rupiah},
    plan_change, price,
};
/// One service type, the same in every template that sells it. Price, health and plan changes have
/// defaults that suit most services.
pub trait ServicePlugin {
    /// Configuration that a customer sets; unknown fields should be refused.
    type Config: DeserializeOwned;

    /// Identity of the plugin, usually [`about!`].
    fn about() -> About;

    /// Describes the service: configuration schema, secrets, endpoints and images.
    fn describe() -> ServiceDescription;

    /// Checks rules on the configuration that the schema cannot express.
    ///
    /// # Errors
    /// The problems found.
    fn check(_plan: &Plan, _config: &Self::Config) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// Returns the price; by default the plan's monthly price, see [`price::by_month`].
    ///
    /// # Errors
    /// The reasons why there is no price.
    fn price(request: &PriceRequest, _config: &Self::Config) -> Result<PriceAnswer, Vec<Problem>> {
        price::by_month(request)
    }

    /// Renders the Kubernetes objects, in the order to apply them.
    ///
    /// # Errors
    /// The reasons why they cannot be rendered.
    fn manifests(instance: &Instance, config: &Self::Config) -> Result<Vec<Value>, Vec<Problem>>;

    /// Judges the health; by default by workloads, pods and volumes, see [`health::judge`].
    fn health(_instance: &Instance, observed: &[Value]) -> HealthReport {
        health::judge(observed)
    }

    /// Returns the card that the customer is shown.
    fn access(instance: &Instance, config: &Self::Config) -> AccessCard;

    /// Allows a change of plan; by default every one that keeps the data, see
    /// [`plan_change::keeps_data`].
    ///
    /// # Errors
    /// The reason for a refusal, a sentence.
    fn plan_change(from: &Plan, to: &Plan, _config: &Self::Config) -> Result<(), String> {
        plan_change::keeps_data(from, to)
    }
}

impl AccessField {
    /// Builds a field with a value that is shown as it is.
    pub fn text(label: &str, value: impl Into<String>) -> Self {
        Self {
            label: label.to_owned(),
            value: AccessValue::Text(value.into()),
        }
    }

    /// Builds a field with the value of this secret, which the host fills in.
    pub fn secret(label: &str, name: &str) -> Self {
        Self {
            label: label.to_owned(),
            value: AccessValue::Secret(name.to_owned()),
        }
    }
}
