//! The OpenAPI document: generated from the handlers, completed with what is true of every route.

use std::collections::BTreeMap;

use axum::Router;
use utoipa::{
    Modify, OpenApi as _,
    openapi::{
        ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_swagger_ui::SwaggerUi;

use super::{Failure, FailureBody, idempotency};
use crate::{Code, error::Detail};

const DESCRIPTION: &str = "\
Every answer is an envelope: `success`, `message`, `data` and `timestamp`, with `pagination` for lists; every failure has \
`error.code`, one of a closed list (schema `Code`), and `error.details`. Money is whole rupiah, times are ISO 8601 in UTC. \
Every answer carries `X-Request-Id`; send your own to find a request in the logs.";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Dermaga", description = DESCRIPTION),
    components(schemas(Failure, FailureBody, Detail, Code)),
    modifiers(&Bearer),
    tags(
        (name = "accounts", description = "Signing up, signing in, one's own account."),
        (name = "catalogue", description = "What is sold. No token needed."),
        (name = "wallet", description = "Prepaid credit and what happened to it."),
        (name = "coupons", description = "Credit and discounts decided by plugins."),
        (name = "subscriptions", description = "Quoting, buying and cancelling."),
        (name = "instances", description = "What runs for a customer."),
        (name = "admin: alerts", description = "For administrators: what needs somebody's attention."),
        (name = "admin: coupons", description = "For administrators."),
        (name = "admin: payments", description = "For administrators: payments, the gateway's notices, debts."),
        (name = "admin: plugins", description = "For administrators: hot-loading what is sold and how it is priced."),
    )
)]
struct Base;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document before any route is in it.
pub fn base() -> OpenApi {
    Base::openapi()
}

/// Adds to every operation what can happen to any request.
pub fn complete(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        operations
            .into_iter()
            .flatten()
            .for_each(add_general_failures);
    }
}

fn add_general_failures(operation: &mut Operation) {
    let mut codes = vec![Code::RequestTimeout, Code::Internal, Code::Unavailable];
    if operation.request_body.is_some() {
        codes.extend([
            Code::MalformedRequest,
            Code::ValidationFailed,
            Code::PayloadTooLarge,
            Code::UnsupportedMediaType,
        ]);
    } else if operation
        .parameters
        .as_ref()
        .is_some_and(|parameters| !parameters.is_empty())
    {
        codes.push(Code::ValidationFailed);
    }
    if operation.security.is_some() {
        codes.extend([Code::Unauthenticated, Code::TokenExpired]);
    }
    if operation
        .tags
        .iter()
        .flatten()
        .any(|tag| tag.starts_with("admin"))
    {
        codes.push(Code::Forbidden);
    }
    codes.extend(idempotency::document(operation));
    for (status, response) in failures(&codes) {
        match operation.responses.responses.get_mut(&status) {
            Some(RefOr::T(known)) => {
                if let RefOr::T(added) = response {
                    known.description = format!("{}, {}", known.description, added.description);
                }
            }
            _ => drop(operation.responses.responses.insert(status, response)),
        }
    }
}

/// The responses of these codes, by status; each description lists its codes.
pub fn failures(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for code in codes {
        by_status
            .entry(code.status())
            .or_default()
            .push(format!("`{code}`"));
    }
    let content = || {
        ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Failure")))
            .build()
    };
    let response = |codes: Vec<String>| {
        ResponseBuilder::new()
            .description(codes.join(", "))
            .content("application/json", content())
            .build()
    };
    by_status
        .into_iter()
        .map(|(status, codes)| (status.to_string(), RefOr::T(response(codes))))
        .collect()
}

/// Serves the document at `/api/openapi.json` and a page that shows it, without the network, at
/// `/api/docs`.
pub fn routes<S: Clone + Send + Sync + 'static>(document: OpenApi) -> Router<S> {
    SwaggerUi::new("/api/docs")
        .url("/api/openapi.json", document)
        .into()
}
