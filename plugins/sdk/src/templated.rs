//! A service plugin that is driven by its templates: `use dermaga_plugin_sdk::{service::*, templated::TemplatedService}`.

use serde::de::DeserializeOwned;

use crate::{
    bindings::service::exports::dermaga::plugin::service::Guest,
    health, log, plan_change, price, problem,
    service::{
        About, AccessCard, HealthReport, HealthState, Instance, Plan, PriceAnswer, PriceRequest,
        Problem, ServiceDescription, ServicePlugin, Value,
    },
};

/// Many services of one kind, each described by the table `[settings]` of a template. The functions
/// are those of [`ServicePlugin`], with the settings.
pub trait TemplatedService {
    /// Settings of a template; unknown fields should be refused.
    type Settings: DeserializeOwned;
    /// Configuration that a customer sets.
    type Config: DeserializeOwned;

    /// Identity of the plugin, usually [`about!`](crate::about).
    fn about() -> About;

    /// Describes the service of a template.
    ///
    /// # Errors
    /// The problems of the settings, each with a pointer into them.
    fn describe(settings: &Self::Settings) -> Result<ServiceDescription, Vec<Problem>>;

    /// Checks rules on the configuration that the schema cannot express.
    ///
    /// # Errors
    /// The problems found.
    fn check(
        _settings: &Self::Settings,
        _plan: &Plan,
        _config: &Self::Config,
    ) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// Returns the price; by default the plan's monthly price, see [`price::by_month`].
    ///
    /// # Errors
    /// The reasons why there is no price.
    fn price(
        _settings: &Self::Settings,
        request: &PriceRequest,
        _config: &Self::Config,
    ) -> Result<PriceAnswer, Vec<Problem>> {
        price::by_month(request)
    }

    /// Renders the Kubernetes objects, in the order to apply them.
    ///
    /// # Errors
    /// The reasons why they cannot be rendered.
    fn manifests(
        settings: &Self::Settings,
        instance: &Instance,
        config: &Self::Config,
    ) -> Result<Vec<Value>, Vec<Problem>>;

    /// Judges the health; by default by workloads, pods and volumes, see [`health::judge`].
    fn health(
        _settings: &Self::Settings,
        _instance: &Instance,
        observed: &[Value],
    ) -> HealthReport {
        health::judge(observed)
    }

    /// Returns the card that the customer is shown.
    fn access(settings: &Self::Settings, instance: &Instance, config: &Self::Config) -> AccessCard;

    /// Allows a change of plan; by default every one that keeps the data, see
    /// [`plan_change::keeps_data`].
    ///
    /// # Errors
    /// The reason for a refusal, a sentence.
    fn plan_change(
        _settings: &Self::Settings,
        from: &Plan,
        to: &Plan,
        _config: &Self::Config,
    ) -> Result<(), String> {
        plan_change::keeps_data(from, to)
    }
}

/// Settings of a plugin that has none.
#[derive(Debug, Clone, Copy, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

impl<P: ServicePlugin> TemplatedService for P {
    type Settings = NoSettings;
    type Config = P::Config;

    fn about() -> About {
        P::about()
    }

    fn describe(_: &NoSettings) -> Result<ServiceDescription, Vec<Problem>> {
        Ok(P::describe())
    }

    fn check(_: &NoSettings, plan: &Plan, config: &P::Config) -> Result<(), Vec<Problem>> {
        P::check(plan, config)
    }

    fn price(
        _: &NoSettings,
        request: &PriceRequest,
        config: &P::Config,
    ) -> Result<PriceAnswer, Vec<Problem>> {
        P::price(request, config)
    }

    fn manifests(
        _: &NoSettings,
        instance: &Instance,
        config: &P::Config,
    ) -> Result<Vec<Value>, Vec<Problem>> {
        P::manifests(instance, config)
    }

    fn health(_: &NoSettings, instance: &Instance, observed: &[Value]) -> HealthReport {
        P::health(instance, observed)
    }

    fn access(_: &NoSettings, instance: &Instance, config: &P::Config) -> AccessCard {
        P::access(instance, config)
    }

    fn plan_change(
        _: &NoSettings,
        from: &Plan,
        to: &Plan,
        config: &P::Config,
    ) -> Result<(), String> {
        P::plan_change(from, to, config)
    }
}

impl<P: TemplatedService> Guest for P {
    fn describe(settings: String) -> Result<ServiceDescription, Vec<Problem>> {
        log::report_panics();
        P::describe(&self::settings(&settings)?)
    }

    fn check(settings: String, plan: Plan, config: String) -> Result<(), Vec<Problem>> {
        log::report_panics();
        P::check(&self::settings(&settings)?, &plan, &configuration(&config)?)
    }

    fn price(request: PriceRequest) -> Result<PriceAnswer, Vec<Problem>> {
        log::report_panics();
        let config = configuration(&request.config)?;
        P::price(&settings(&request.settings)?, &request, &config)
    }

    fn manifests(instance: Instance) -> Result<Vec<String>, Vec<Problem>> {
        log::report_panics();
        let config = configuration(&instance.config)?;
        let objects = P::manifests(&settings(&instance.settings)?, &instance, &config)?;
        Ok(objects.iter().map(Value::to_string).collect())
    }

    fn health(instance: Instance, observed: Vec<String>) -> HealthReport {
        log::report_panics();
        let observed: Result<Vec<Value>, _> = observed
            .iter()
            .map(|json| serde_json::from_str(json))
            .collect();
        let read = observed
            .map_err(|error| format!("an observed object is not JSON: {error}"))
            .and_then(|observed| {
                let settings = settings(&instance.settings).map_err(|problem| problem.message)?;
                Ok((settings, observed))
            });
        match read {
            Ok((settings, observed)) => P::health(&settings, &instance, &observed),
            Err(error) => {
                log::line(log::Level::Error, &error);
                health::report(
                    HealthState::Degraded,
                    "Its state cannot be read at the moment.",
                )
            }
        }
    }

    fn access(instance: Instance) -> AccessCard {
        log::report_panics();
        let read = settings(&instance.settings)
            .and_then(|settings| Ok((settings, configuration(&instance.config)?)));
        match read {
            Ok((settings, config)) => P::access(&settings, &instance, &config),
            Err(Problem { message, .. }) => AccessCard {
                url: None,
                fields: Vec::new(),
                notes: message,
            },
        }
    }

    fn plan_change(settings: String, from: Plan, to: Plan, config: String) -> Result<(), String> {
        log::report_panics();
        let settings = self::settings(&settings).map_err(|problem| problem.message)?;
        let config = configuration(&config).map_err(|problem| problem.message)?;
        P::plan_change(&settings, &from, &to, &config)
    }
}

fn settings<T: DeserializeOwned>(json: &str) -> Result<T, Problem> {
    problem::parse_at("settings", json)
}

fn configuration<T: DeserializeOwned>(json: &str) -> Result<T, Problem> {
    problem::parse("configuration", json)
}
