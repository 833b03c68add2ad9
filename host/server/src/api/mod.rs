//! Handlers: every route of the server, and what they share.
//!
//! A handler reads a request, calls one function of a domain and words its result. Rules and SQL
//! belong to the domains, which know nothing of this floor.

mod accounts;
mod admin;
mod api_tokens;
mod auth;
mod catalog;
mod coupons;
mod decisions;
mod domains;
mod events;
mod freezing;
mod health;
mod idempotency;
mod instances;
mod lifecycle;
mod mailed_tokens;
mod notifications;
mod observe;
pub mod openapi;
mod payments;
mod personal_data;
mod rate_limits;
mod sessions;
mod state;
mod subscriptions;
mod tickets;
mod two_factor;
mod unread;
mod unread_body;
mod unread_query;
mod upgrades;
mod waitlist;
mod wallet;
mod webhooks;

use std::sync::{Arc, LazyLock};

use axum::Router;
use dermaga_runtime::{Limits, SizeClass};
use utoipa_axum::router::OpenApiRouter;

pub use auth::{Admin, Customer, PeerAddress, SentFrom};
pub use health::routes as health_routes;
pub use idempotency::{IdempotencyKey, Keyed, Once};
pub use observe::{Observer, Seen, catch_panics, in_time};
pub use payments::alias_routes;
pub use rate_limits::{RouteKinds, admit, describe_quota, refuse_excess};
pub use state::{AppState, Shared};
use unread::RefuseUnread;

/// Returns the API, before it has a state, with its document, to which [`openapi::complete`] adds.
pub fn router(limits: &Limits) -> OpenApiRouter<AppState> {
    let domains = OpenApiRouter::new()
        .merge(accounts::router())
        .merge(mailed_tokens::router())
        .merge(api_tokens::router())
        .merge(sessions::router())
        .merge(two_factor::router())
        .merge(personal_data::router())
        .merge(catalog::router())
        .merge(admin::catalog::router())
        .merge(admin::services::router())
        .merge(admin::categories::router())
        .merge(admin::prices::router())
        .merge(admin::quota::router())
        .merge(wallet::router())
        .merge(admin::wallet::router())
        .merge(payments::router())
        .merge(admin::payments::router())
        .merge(coupons::router())
        .merge(admin::coupons::router())
        .merge(decisions::router())
        .merge(subscriptions::router())
        .merge(upgrades::router())
        .merge(freezing::router())
        .merge(waitlist::router())
        .merge(admin::subscriptions::router())
        .merge(admin::forced_ends::router())
        .merge(admin::billing::router())
        .merge(instances::router())
        .merge(domains::router())
        .merge(admin::version_moves::router())
        .merge(admin::drift::router())
        .merge(admin::health::router())
        .merge(admin::instances::router())
        .merge(admin::domains::router())
        .merge(admin::k8s::router())
        .merge(admin::jobs::router())
        .merge(admin::plugins::router(
            limits.component_bytes_of(SizeClass::Large),
        ))
        .merge(admin::dry_runs::router())
        .merge(admin::decisions::router())
        .merge(admin::backtest::router())
        .merge(admin::alerts::router())
        .merge(admin::audit::router())
        .merge(admin::users::router())
        .merge(admin::clock::router())
        .merge(notifications::router())
        .merge(admin::notifications::router())
        .merge(events::router())
        .merge(tickets::router())
        .merge(admin::tickets::router())
        .merge(webhooks::router())
        .merge(admin::webhooks::router());
    OpenApiRouter::with_openapi(openapi::base()).nest("/api", domains)
}

/// The API's routes, and what its document says of them.
#[derive(Debug, Clone)]
pub struct Routes {
    pub router: Router<AppState>,
    pub kinds: Arc<RouteKinds>,
}

impl Routes {
    /// Returns the routes with these limits. To describe them takes as long as hundreds of requests, so that servers
    /// of one process with the usual limits share one description.
    pub fn of(limits: &Limits) -> Self {
        static USUAL: LazyLock<Routes> = LazyLock::new(|| Routes::described(&Limits::default()));
        if *limits == Limits::default() {
            return USUAL.clone();
        }
        Self::described(limits)
    }

    fn described(limits: &Limits) -> Self {
        let (domains, document) = router(limits).split_for_parts();
        Self {
            router: domains.route_layer(RefuseUnread::of(&document)),
            kinds: RouteKinds::of(&document),
        }
    }
}

/// Returns the OpenAPI document as `docs/openapi.json` keeps it.
///
/// # Errors
/// Never, as long as the document is JSON.
pub fn openapi_json() -> serde_json::Result<String> {
    let mut document = router(&Limits::default()).into_openapi();
    openapi::complete(&mut document);
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}
