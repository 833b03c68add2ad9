//! The OpenAPI document: generated from the handlers, completed with what is true of every route.

mod examples;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{
        Method, StatusCode,
        header::{CONTENT_ENCODING, CONTENT_TYPE},
    },
    middleware::{self, Next},
    response::{IntoResponse as _, Response as Answer},
    routing::get,
};
use dermaga_shop::{Code, Error, accounts::Scope, error::Detail, payments::WEBHOOK_PATH};
use serde_json::Value;
use tower_http::decompression::DecompressionLayer;
use utoipa::{
    Modify, OpenApi as _,
    openapi::{
        Header, Object, OpenApi, Ref, RefOr, Response, Type,
        path::Operation,
        schema::Schema,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{idempotency, unread_body::UNSUBSCRIBE_PATH};
use crate::http::{self, Failure, FailureBody, Refusal, failures, ids};

const DESCRIPTION: &str = include_str!("openapi/first_steps.md");

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Dermaga", description = DESCRIPTION),
    servers(
        (url = "/", description = "The server that this document comes from."),
        (url = "http://127.0.0.1:3000", description = "A server on this machine: `dermaga serve --dev`.")
    ),
    components(schemas(Failure, FailureBody, Detail, Code)),
    modifiers(&Bearer),
    tags(
        (name = "accounts", description = "Signing up, signing in, one's own account."),
        (name = "catalogue", description = "Services and plans on sale. No token needed."),
        (name = "wallet", description = "Prepaid credit and what happened to it."),
        (name = "notifications", description = "Messages of the shop to its customers: inbox, mails, preferences."),
        (name = "tickets", description = "Questions to the shop and their answers, with pictures."),
        (name = "events", description = "Changes that concern a customer, as they happen."),
        (name = "webhooks", description = "Endpoints of customers that events are sent to, signed by the Standard Webhooks specification."),
        (name = "subscriptions", description = "Quoting, buying and cancelling."),
        (name = "instances", description = "Services that run for a customer."),
        (name = "admin: alerts", description = "For administrators: what needs attention."),
        (name = "admin: audit", description = "For administrators: who did what, and why."),
        (name = "admin: billing", description = "For administrators: renewals, grace, and forecasts of both."),
        (name = "admin: catalogue", description = "For administrators: the templates of what is sold."),
        (name = "admin: cluster", description = "For administrators: what is in the cluster."),
        (name = "admin: coupons", description = "For administrators: credit and discounts decided by plugins."),
        (name = "admin: jobs", description = "For administrators: what runs by the clock, and how it went."),
        (name = "admin: notifications", description = "For administrators: mails, their texts, and those that did not arrive."),
        (name = "admin: payments", description = "For administrators: payments, the gateway's notices, debts."),
        (name = "admin: plugins", description = "For administrators: hot-loading what is sold and how it is priced."),
        (name = "admin: health", description = "For administrators: the health of instances, and its history."),
        (name = "admin: instances", description = "For administrators: decisions about instances."),
        (name = "admin: quota", description = "For administrators: how many of each plan there are, and how many are taken."),
        (name = "admin: subscriptions", description = "For administrators: any customer's subscription."),
        (name = "admin: tickets", description = "For administrators: any customer's ticket, notes, canned answers."),
        (name = "admin: users", description = "For administrators: accounts of customers and administrators."),
        (name = "admin: wallets", description = "For administrators: any customer's wallet and all transactions."),
        (name = "admin: webhooks", description = "For administrators: endpoints of the shop, which get the events of all customers."),
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

/// Names every operation, and adds to it what can happen to any request.
pub fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let operations = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("delete", &mut item.delete),
            ("patch", &mut item.patch),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                operation.operation_id = Some(operation_id(method, path));
                add_general_failures(method, path, operation);
            }
        }
    }
    let components = document.components.get_or_insert_default();
    for (name, header) in limit_headers() {
        components.headers.insert(name.to_owned(), header.into());
    }
    write_out_ids(document);
    explain_codes(document);
    examples::add(document);
}

/// Writes the meaning of each code once, at the list of all of them.
fn explain_codes(document: &mut OpenApi) {
    let Some(components) = &mut document.components else {
        return;
    };
    let Some(RefOr::T(Schema::Object(codes))) = components.schemas.get_mut("Code") else {
        return;
    };
    let mut text = codes.description.take().unwrap_or_default();
    text.push('\n');
    for code in Code::ALL {
        let (status, meaning) = (code.status(), code.meaning());
        text.push_str(&format!("\n- `{code}` ({status}): {meaning}"));
    }
    codes.description = Some(text);
}

fn write_out_ids(document: &mut OpenApi) {
    let mut value = serde_json::json!(document);
    ids::write_out(&mut value);
    make_bodies_optional(&mut value);
    let_codes_be_empty(&mut value);
    if let Ok(written_out) = serde_json::from_value(value) {
        *document = written_out;
    }
}

/// Says of bodies whose fields may all be left out that they may be left out themselves.
fn make_bodies_optional(document: &mut Value) {
    let schemas = document.pointer("/components/schemas").cloned();
    let schemas = schemas.unwrap_or_default();
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let items = paths.into_iter().flat_map(|paths| paths.values_mut());
    let operations = items
        .filter_map(Value::as_object_mut)
        .flat_map(|item| item.values_mut());
    for body in operations.filter_map(|operation| operation.get_mut("requestBody")) {
        let schema = body.pointer("/content/application~1json/schema");
        if schema.is_some_and(|schema| has_optional_fields_alone(schema, &schemas))
            && let Some(body) = body.as_object_mut()
        {
            body.insert("required".to_owned(), false.into());
        }
    }
}

/// Says of bodies with a coupon's code that may be left out that it may be an empty text, too, as forms
/// send it.
fn let_codes_be_empty(document: &mut Value) {
    let schemas = document.pointer_mut("/components/schemas");
    let schemas = schemas.and_then(Value::as_object_mut);
    let code = serde_json::json!({ "$ref": "#/components/schemas/CouponCode" });
    let empty = serde_json::json!({ "type": "string", "maxLength": 0 });
    for schema in schemas.into_iter().flat_map(|schemas| schemas.values_mut()) {
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        let properties = properties.into_iter().flat_map(|all| all.values_mut());
        for parts in properties.filter_map(|property| property.get_mut("oneOf")?.as_array_mut()) {
            if parts.contains(&code) {
                parts.push(empty.clone());
            }
        }
    }
}

fn has_optional_fields_alone(schema: &Value, schemas: &Value) -> bool {
    let reference = schema.get("$ref").and_then(Value::as_str);
    let name = reference.and_then(|path| path.strip_prefix("#/components/schemas/"));
    let schema = name.and_then(|name| schemas.get(name)).unwrap_or(schema);
    let required = schema.get("required").and_then(Value::as_array);
    schema.get("properties").is_some() && required.is_none_or(Vec::is_empty)
}

/// Returns the name of an operation. Made of its method and path, it is no other operation's:
/// `postWalletRedeemCoupon`, `getAdminCouponsById`.
fn operation_id(method: &str, path: &str) -> String {
    let path = path.strip_prefix("/api").unwrap_or(path);
    let words = path
        .split(['/', '-', '{', '}'])
        .filter(|word| !word.is_empty());
    let mut id = method.to_owned();
    for word in words {
        if path.contains(&format!("{{{word}}}")) {
            id.push_str("By");
        }
        let mut letters = word.chars();
        id.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        id.push_str(letters.as_str());
    }
    id
}

/// Failures that follow from an operation's address, its body and who may call it.
fn add_general_failures(method: &str, path: &str, operation: &mut Operation) {
    let mut codes = vec![
        Code::RequestTimeout,
        Code::TooManyRequests,
        Code::Internal,
        Code::Unavailable,
    ];
    let refuses_body = method != "get" && path != UNSUBSCRIBE_PATH;
    if operation.request_body.is_some() || refuses_body {
        codes.extend([
            Code::MalformedRequest,
            Code::ValidationFailed,
            Code::PayloadTooLarge,
            Code::UnsupportedMediaType,
        ]);
    } else if path != WEBHOOK_PATH {
        // A parameter that is not known is refused where there are none, too.
        codes.push(Code::ValidationFailed);
    }
    if path.contains('{') {
        codes.push(Code::NotFound);
    }
    let mut tags = operation.tags.iter().flatten();
    let is_for_administrators = tags.any(|tag| tag.starts_with("admin"));
    if operation.security.is_some() {
        codes.extend([Code::Unauthenticated, Code::TokenExpired]);
        if is_for_administrators || !is_in_every_scope(method, path) {
            codes.push(Code::Forbidden);
        }
    }
    if is_for_administrators {
        codes.push(Code::TwoFactorRequired);
    }
    codes.extend(idempotency::document(operation));
    for (status, response) in failures(&codes) {
        match operation.responses.responses.get_mut(&status) {
            Some(RefOr::T(known)) => {
                if let RefOr::T(added) = response {
                    known.description = both(&known.description, &added.description);
                }
            }
            _ => drop(operation.responses.responses.insert(status, response)),
        }
    }
    if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("429") {
        add_limit_headers(response);
    }
}

/// Headers of a refused request, which every operation has.
fn limit_headers() -> [(&'static str, Header); 3] {
    let described = |mut header: Header, description: &str| {
        header.description = Some(description.to_owned());
        header
    };
    let seconds = Header::new(Object::with_type(Type::Integer));
    let policy = "Limit `q` in a window of `w` seconds, as `\"customers\";q=60;w=60`";
    let left = "Requests `r` that are left, and seconds `t` after which more of them are, as `\"customers\";r=0;t=7`";
    [
        (
            "Retry-After",
            described(seconds, "Seconds after which to try again"),
        ),
        ("RateLimit-Policy", described(Header::default(), policy)),
        ("RateLimit", described(Header::default(), left)),
    ]
}

fn add_limit_headers(response: &mut Response) {
    for (name, _) in limit_headers() {
        let reference = Ref::new(format!("#/components/headers/{name}"));
        response
            .headers
            .insert(name.to_owned(), RefOr::Ref(reference));
    }
}

/// True when API tokens of all scopes reach an operation.
fn is_in_every_scope(method: &str, path: &str) -> bool {
    let method: Method = method.to_ascii_uppercase().parse().unwrap_or_default();
    let mut scopes = Scope::ALL.iter();
    scopes.all(|scope| scope.allows(&method, path))
}

/// Joins two lists of codes, each code once.
fn both(known: &str, added: &str) -> String {
    let mut codes: Vec<&str> = Vec::new();
    for code in known.split(", ").chain(added.split(", ")) {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes.join(", ")
}

/// The finished document, compressed. It is not built again at every start, which takes more memory than
/// all that a server at rest needs; a test keeps it equal to the routes.
const DOCUMENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json.gz"));

/// Serves the document at `/api/openapi.json` and a page that shows it, without the network, at
/// `/api/docs`.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    const PATH: &str = "/api/openapi.json";
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CONTENT_ENCODING, "gzip"),
    ];
    let document = async move || (headers, DOCUMENT);
    let page = SwaggerUi::new("/api/docs").config(Config::from(PATH));
    Router::from(page)
        .layer(middleware::from_fn(word_missing_file))
        .route(PATH, get(document))
        // Both are compressed in the binary; a client's wish is seen to where it is for every answer.
        .layer(DecompressionLayer::new())
        .layer(middleware::map_response(collected))
}

/// Largest file of the page, and of the document.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Collects what was decompressed: an answer is tagged and compressed where its size is known.
async fn collected(answer: Answer) -> Answer {
    let (parts, body) = answer.into_parts();
    match to_bytes(body, MOST_BYTES).await {
        Ok(bytes) => Answer::from_parts(parts, Body::from(bytes)),
        Err(error) => Refusal(Error::internal(error)).into_response(),
    }
}

/// Answers for a file that the page does not have, and for a name that is no text, as for any unknown address.
async fn word_missing_file(request: Request, next: Next) -> Answer {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let answer = next.run(request).await;
    if matches!(
        answer.status(),
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST
    ) {
        http::route_not_found(method, uri).await
    } else {
        answer
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Generated clients name their functions so: a name that changes breaks them.
    #[test]
    fn an_operation_is_named_after_its_method_and_path() {
        for (method, path, id) in [
            ("get", "/api/wallet/info", "getWalletInfo"),
            (
                "get",
                "/api/admin/wallets/{userId}",
                "getAdminWalletsByUserId",
            ),
            (
                "post",
                "/api/subscriptions/{id}/upgrade-quote",
                "postSubscriptionsByIdUpgradeQuote",
            ),
            (
                "delete",
                "/api/instances/{id}/domains/{domainId}",
                "deleteInstancesByIdDomainsByDomainId",
            ),
            ("get", "/health/live", "getHealthLive"),
        ] {
            assert_eq!(operation_id(method, path), id);
        }
    }

    #[test]
    fn codes_of_one_status_are_listed_once() {
        for (known, added, all) in [
            ("`A`", "`B`", "`A`, `B`"),
            ("`A`, `B`", "`B`, `C`", "`A`, `B`, `C`"),
            ("`A`", "`A`", "`A`"),
        ] {
            assert_eq!(both(known, added), all);
        }
    }

    #[test]
    fn a_code_that_may_be_left_out_may_be_empty() {
        let code = json!({ "$ref": "#/components/schemas/CouponCode" });
        let other = json!({ "$ref": "#/components/schemas/Reason" });
        let schema = |property: &Value| json!({ "properties": { "it": { "oneOf": [{ "type": "null" }, property] } } });
        let mut document = json!({ "components": { "schemas": { "A": schema(&code), "B": schema(&other), "C": {} } } });
        let_codes_be_empty(&mut document);
        let parts = |name: &str| {
            let pointer = format!("/components/schemas/{name}/properties/it/oneOf");
            document
                .pointer(&pointer)
                .and_then(Value::as_array)
                .map(Vec::len)
        };
        assert_eq!(
            (parts("A"), parts("B"), parts("C")),
            (Some(3), Some(2), None)
        );
        let_codes_be_empty(&mut json!({}));
    }
}
