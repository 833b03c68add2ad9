//! `interface service`.

use super::{
    convert::{answer, settings, text},
    wit::{service as wit, types},
};
use crate::{
    check_output::{self, Malformed},
    contract::{
        AccessCard, AccessField, AccessValue, Answer, ConfigCheck, DescribeRequest, EndpointSpec,
        Health, HealthState, Image, ImageSpec, Instance, Observation, Occasion, PlanChangeAnswer,
        PlanChangeRequest, PriceAnswer, PriceLine, PriceRequest, Protocol, RunningPeriod,
        SecretKind, SecretSpec, ServiceDescription, service,
    },
    error::LoadError,
    exports::Binder,
};

pub(super) fn bind(binder: &mut Binder<'_>) -> Result<(), LoadError> {
    let interface = binder.interface("dermaga:plugin/service@0.2.0")?;
    binder.bind::<service::Describe, _, _>(&interface, asked, description)?;
    binder.bind::<service::Check, _, _>(&interface, configuration, checked)?;
    binder.bind::<service::Price, _, _>(&interface, |input| (price_request(input),), price)?;
    binder.bind::<service::Manifests, _, _>(&interface, instance, manifests)?;
    binder.bind::<service::Health, _, _>(&interface, observation, health)?;
    binder.bind::<service::Access, _, _>(&interface, instance, access)?;
    binder.bind::<service::PlanChange, _, _>(&interface, plans, plan_change)
}

fn asked(input: &DescribeRequest) -> (String,) {
    (settings(&input.settings),)
}

fn description(
    (result,): (Result<wit::ServiceDescription, Vec<types::Problem>>,),
) -> Result<Answer<ServiceDescription>, Malformed> {
    answer(result, |told| {
        Ok(ServiceDescription {
            config_schema: check_output::object(&told.config_schema, "configSchema")?,
            secrets: told.secrets.into_iter().map(SecretSpec::from).collect(),
            endpoints: told.endpoints.into_iter().map(EndpointSpec::from).collect(),
            images: told.images.into_iter().map(ImageSpec::from).collect(),
        })
    })
}

fn configuration(input: &ConfigCheck) -> (String, types::Plan, String) {
    (
        settings(&input.settings),
        (&input.plan).into(),
        text(&input.config),
    )
}

pub(crate) fn checked(
    (result,): (Result<(), Vec<types::Problem>>,),
) -> Result<Answer<()>, Malformed> {
    answer(result, Ok)
}

fn price_request(input: &PriceRequest) -> wit::PriceRequest {
    wit::PriceRequest {
        settings: settings(&input.settings),
        plan: (&input.plan).into(),
        term: input.term.into(),
        config: text(&input.config),
        occasion: (&input.occasion).into(),
        moment: input.moment,
    }
}

pub(crate) fn price(
    (result,): (Result<wit::PriceAnswer, Vec<types::Problem>>,),
) -> Result<Answer<PriceAnswer>, Malformed> {
    answer(result, |wit::PriceAnswer { lines, total }| {
        let lines = lines.into_iter().map(PriceLine::from).collect();
        check_output::price(PriceAnswer { lines, total })
    })
}

fn instance(input: &Instance) -> (wit::Instance,) {
    (input.into(),)
}

pub(crate) fn manifests(
    (result,): (Result<Vec<String>, Vec<types::Problem>>,),
) -> Result<Answer<Vec<serde_json::Value>>, Malformed> {
    answer(result, |texts| check_output::objects(&texts))
}

fn observation(Observation { instance, observed }: &Observation) -> (wit::Instance, Vec<String>) {
    (instance.into(), observed.iter().map(text).collect())
}

pub(crate) fn health(
    (wit::HealthReport { state, message },): (wit::HealthReport,),
) -> Result<Health, Malformed> {
    check_output::health(Health {
        state: state.into(),
        message,
    })
}

pub(crate) fn access(
    (wit::AccessCard { url, fields, notes },): (wit::AccessCard,),
) -> Result<AccessCard, Malformed> {
    let fields = fields.into_iter().map(AccessField::from).collect();
    check_output::access(AccessCard { url, fields, notes })
}

fn plans(input: &PlanChangeRequest) -> (String, types::Plan, types::Plan, String) {
    (
        settings(&input.settings),
        (&input.from).into(),
        (&input.to).into(),
        text(&input.config),
    )
}

pub(crate) fn plan_change((result,): (Result<(), String>,)) -> Result<PlanChangeAnswer, Malformed> {
    check_output::plan_change(match result {
        Ok(()) => PlanChangeAnswer::Allowed,
        Err(why) => PlanChangeAnswer::Denied(why),
    })
}

impl From<&Instance> for wit::Instance {
    fn from(instance: &Instance) -> Self {
        Self {
            name: instance.name.clone(),
            settings: settings(&instance.settings),
            plan: (&instance.plan).into(),
            config: text(&instance.config),
            hostname: instance.hostname.clone(),
            secret_object: instance.secret_object.clone(),
            secrets: instance.secrets.clone(),
            images: instance.images.iter().map(wit::Image::from).collect(),
        }
    }
}

impl From<&Occasion> for wit::Occasion {
    fn from(occasion: &Occasion) -> Self {
        match occasion {
            Occasion::First => Self::First,
            Occasion::Renewal => Self::Renewal,
            Occasion::Upgrade(RunningPeriod { plan, paid, period }) => {
                let period = (*period).into();
                Self::Upgrade(wit::RunningPeriod {
                    plan: plan.into(),
                    paid: *paid,
                    period,
                })
            }
        }
    }
}

impl From<&Image> for wit::Image {
    fn from(Image { name, reference }: &Image) -> Self {
        Self {
            name: name.clone(),
            reference: reference.clone(),
        }
    }
}

impl From<wit::ImageSpec> for ImageSpec {
    fn from(wit::ImageSpec { name, reference }: wit::ImageSpec) -> Self {
        Self { name, reference }
    }
}

impl From<wit::SecretSpec> for SecretSpec {
    fn from(
        wit::SecretSpec {
            name,
            kind,
            purpose,
        }: wit::SecretSpec,
    ) -> Self {
        let kind = match kind {
            wit::SecretKind::Password(characters) => SecretKind::Password(characters),
            wit::SecretKind::HexBytes(bytes) => SecretKind::HexBytes(bytes),
        };
        Self {
            name,
            kind,
            purpose,
        }
    }
}

impl From<wit::EndpointSpec> for EndpointSpec {
    fn from(
        wit::EndpointSpec {
            name,
            protocol,
            port,
            public,
        }: wit::EndpointSpec,
    ) -> Self {
        let protocol = match protocol {
            wit::Protocol::Http => Protocol::Http,
            wit::Protocol::Tcp => Protocol::Tcp,
        };
        Self {
            name,
            protocol,
            port,
            public,
        }
    }
}

impl From<wit::HealthState> for HealthState {
    fn from(state: wit::HealthState) -> Self {
        match state {
            wit::HealthState::Starting => Self::Starting,
            wit::HealthState::Ready => Self::Ready,
            wit::HealthState::Degraded => Self::Degraded,
            wit::HealthState::Failed => Self::Failed,
        }
    }
}

impl From<wit::AccessField> for AccessField {
    fn from(wit::AccessField { label, value }: wit::AccessField) -> Self {
        let value = match value {
            wit::AccessValue::Text(text) => AccessValue::Text(text),
            wit::AccessValue::Secret(name) => AccessValue::Secret(name),
        };
        Self { label, value }
    }
}
