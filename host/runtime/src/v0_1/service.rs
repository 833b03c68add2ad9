//! `interface service`: functions take no settings, `describe` cannot refuse, and every image has a
//! reference of the plugin's own.

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::{
    check_output::{self, Malformed},
    contract::{self, Answer, ConfigCheck, ImageSpec, Observation, PlanChangeRequest, service},
    error::LoadError,
    exports::Binder,
    v0_2::{service as v0_2, service_types as wit, text, types},
};

pub(super) fn bind(binder: &mut Binder<'_>) -> Result<(), LoadError> {
    let interface = binder.interface("dermaga:plugin/service@0.1.0")?;
    binder.bind::<service::Describe, _, _>(&interface, |_| (), description)?;
    binder.bind::<service::Check, _, _>(&interface, configuration, v0_2::checked)?;
    binder.bind::<service::Price, _, _>(&interface, price_request, v0_2::price)?;
    binder.bind::<service::Manifests, _, _>(&interface, instance, v0_2::manifests)?;
    binder.bind::<service::Health, _, _>(&interface, observation, v0_2::health)?;
    binder.bind::<service::Access, _, _>(&interface, instance, v0_2::access)?;
    binder.bind::<service::PlanChange, _, _>(&interface, plans, v0_2::plan_change)
}

#[derive(ComponentType, Lift)]
#[component(record)]
struct ServiceDescription {
    #[component(name = "config-schema")]
    config_schema: String,
    secrets: Vec<wit::SecretSpec>,
    endpoints: Vec<wit::EndpointSpec>,
    images: Vec<wit::Image>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct PriceRequest {
    plan: types::Plan,
    term: types::Term,
    config: String,
    occasion: wit::Occasion,
    moment: types::Timestamp,
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Instance {
    name: String,
    plan: types::Plan,
    config: String,
    hostname: Option<String>,
    #[component(name = "secret-object")]
    secret_object: String,
    secrets: Vec<String>,
    images: Vec<wit::Image>,
}

fn description(
    (told,): (ServiceDescription,),
) -> Result<Answer<contract::ServiceDescription>, Malformed> {
    let image = |wit::Image { name, reference }| ImageSpec {
        name,
        reference: Some(reference),
    };
    Ok(Answer::Ok(contract::ServiceDescription {
        config_schema: check_output::object(&told.config_schema, "configSchema")?,
        secrets: told.secrets.into_iter().map(Into::into).collect(),
        endpoints: told.endpoints.into_iter().map(Into::into).collect(),
        images: told.images.into_iter().map(image).collect(),
    }))
}

fn configuration(input: &ConfigCheck) -> (types::Plan, String) {
    ((&input.plan).into(), text(&input.config))
}

fn price_request(input: &contract::PriceRequest) -> (PriceRequest,) {
    (PriceRequest {
        plan: (&input.plan).into(),
        term: input.term.into(),
        config: text(&input.config),
        occasion: (&input.occasion).into(),
        moment: input.moment,
    },)
}

fn instance(input: &contract::Instance) -> (Instance,) {
    (Instance {
        name: input.name.clone(),
        plan: (&input.plan).into(),
        config: text(&input.config),
        hostname: input.hostname.clone(),
        secret_object: input.secret_object.clone(),
        secrets: input.secrets.clone(),
        images: input.images.iter().map(Into::into).collect(),
    },)
}

fn observation(input: &Observation) -> (Instance, Vec<String>) {
    let (subject,) = instance(&input.instance);
    (subject, input.observed.iter().map(text).collect())
}

fn plans(input: &PlanChangeRequest) -> (types::Plan, types::Plan, String) {
    (
        (&input.from).into(),
        (&input.to).into(),
        text(&input.config),
    )
}
