//! Counts every request in the class of its route and caller, says so in the standard headers, and refuses
//! those beyond the limit.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method},
    response::{IntoResponse, Response},
};
use dermaga_shop::{
    accounts::Role,
    payments::WEBHOOK_PATH,
    rates::{Class, Party, Quota},
};
use utoipa::openapi::OpenApi;

use super::{
    AppState, PeerAddress,
    auth::identify,
    unread_query::{Operations, operations},
};
use crate::{http::Refusal, sandbox::SANDBOX_PATH};

/// Headers of `draft-ietf-httpapi-ratelimit-headers`.
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Bytes that a field of them has room for without growing.
const LONGEST_FIELD: usize = 64;

/// Path of received mails, below which they come.
const MAIL_PATH: &str = "/api/tickets/mail";
/// Probes, which are asked often by the operator's own machines.
pub(super) const PROBES: &[&str] = &["/healthz", "/readyz", "/metrics"];

/// Operations whose caller is counted by account, by the document.
#[derive(Debug)]
pub struct RouteKinds(Operations);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uncounted,
    /// A gateway's notice, or a received mail.
    Webhook,
    SignedIn,
    Open,
}

impl RouteKinds {
    /// Collects the operations that need a token.
    pub fn of(document: &OpenApi) -> Arc<Self> {
        let mut signed_in = Operations::default();
        for (path, item) in &document.paths.paths {
            for (method, operation) in operations(item) {
                if operation.security.is_some() {
                    signed_in.add(method, path);
                }
            }
        }
        Arc::new(Self(signed_in))
    }

    fn kind(&self, method: &Method, path: &str) -> Kind {
        if PROBES.contains(&path) || path.starts_with(SANDBOX_PATH) {
            Kind::Uncounted
        } else if path.starts_with(WEBHOOK_PATH) || path.starts_with(MAIL_PATH) {
            Kind::Webhook
        } else if self.0.has(method, path) {
            Kind::SignedIn
        } else {
            Kind::Open
        }
    }
}

/// Counts a request, and returns the quota of its party; `None` for one that is not counted.
///
/// A caller who is known by a token is counted by account, and handed to the handler as known; one whose
/// token is not good is a stranger.
pub async fn admit(state: &AppState, kinds: &RouteKinds, request: &mut Request) -> Option<Quota> {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let path = path.as_ref().map_or("", MatchedPath::as_str);
    let (class, party) = match kinds.kind(request.method(), path) {
        Kind::Uncounted => return None,
        Kind::Webhook => (Class::Webhooks, sender(state, request)),
        Kind::Open => (Class::Catalogue, sender(state, request)),
        Kind::SignedIn => {
            let (headers, method) = (request.headers(), request.method());
            // In a box, for it is large, and most requests of strangers need none of it.
            let known = Box::pin(identify(state, headers, method, path)).await;
            match known {
                Ok(identity) => {
                    request.extensions_mut().insert(identity);
                    let class = match identity.role {
                        Role::Administrator => Class::Administrators,
                        Role::User => Class::Customers,
                    };
                    (class, Party::Account(identity.user_id))
                }
                // The handler says what is wrong with the token.
                Err(_) => (Class::Catalogue, sender(state, request)),
            }
        }
    };
    Some(state.rates.admit(class, party).await)
}

/// Returns the party of a request whose caller has no account.
fn sender(state: &AppState, request: &Request) -> Party {
    let PeerAddress(address) = PeerAddress::of(request.extensions(), request.headers(), state);
    Party::at(address)
}

/// Returns the refusal of a request beyond the limit of its party.
pub fn refuse_excess(quota: Quota) -> Option<Response> {
    let refused = quota.check().err()?;
    let class = quota.class.as_str();
    metrics::counter!("http_requests_limited_total", "class" => class).increment(1);
    Some(Refusal(refused).into_response())
}

/// Writes the policy and what is left of it, as structured fields.
pub fn describe_quota(quota: Quota, headers: &mut HeaderMap) {
    let Quota {
        limit,
        remaining,
        more_in,
        window,
        ..
    } = quota;
    let class = quota.class.as_str();
    let mut text = String::with_capacity(LONGEST_FIELD);
    // Writing into a text does not fail.
    let _ = write!(text, "\"{class}\";q={limit};w={window}");
    let policy = HeaderValue::from_str(&text);
    text.clear();
    let _ = write!(text, "\"{class}\";r={remaining};t={more_in}");
    let left = HeaderValue::from_str(&text);
    for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
        if let Ok(value) = value {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_counted_by_what_they_need() {
        let (_, document) =
            crate::api::router(&dermaga_runtime::Limits::default()).split_for_parts();
        let kinds = RouteKinds::of(&document);
        for (method, path, kind) in [
            (Method::GET, "/api/catalog/services", Kind::Open),
            (Method::HEAD, "/api/catalog/services/{slug}", Kind::Open),
            (Method::POST, "/api/auth/login", Kind::Open),
            (Method::GET, "", Kind::Open),
            (Method::GET, "/api/docs/", Kind::Open),
            (Method::GET, "/api/wallet/info", Kind::SignedIn),
            (Method::HEAD, "/api/wallet/info", Kind::SignedIn),
            (Method::GET, "/api/admin/jobs", Kind::SignedIn),
            (Method::POST, WEBHOOK_PATH, Kind::Webhook),
            (Method::POST, "/api/wallet/webhook/midtrans/", Kind::Webhook),
            (Method::POST, "/api/tickets/mail/{secret}", Kind::Webhook),
            (Method::GET, "/readyz", Kind::Uncounted),
            (Method::POST, "/sandbox/midtrans/v2/charge", Kind::Uncounted),
        ] {
            assert_eq!(kinds.kind(&method, path), kind, "{method} {path}");
        }
    }

    #[test]
    fn the_headers_are_structured_fields() {
        let quota = Quota {
            class: Class::Customers,
            limit: 60,
            remaining: 12,
            more_in: 7,
            window: 60,
            is_exceeded: false,
        };
        let mut headers = HeaderMap::new();
        describe_quota(quota, &mut headers);
        assert_eq!(headers["ratelimit-policy"], r#""customers";q=60;w=60"#);
        assert_eq!(headers["ratelimit"], r#""customers";r=12;t=7"#);
    }
}
