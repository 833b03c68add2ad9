//! `/instances/{id}/domains`: domains of a customer that lead to an instance.

use axum::{extract::State, response::Response};
use dermaga_shop::{
    ids::{DomainId, InstanceId},
    provisioning::domains::{DomainState, DomainView},
    text::counted,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer, IdempotencyKey, Keyed},
    http::{Envelope, Id, Nothing, Refusal, Reply, Segment, Success, failure_responses, routes},
};

failure_responses!(Missing: NotFound);
failure_responses!(Claiming: NotFound, InvalidState, Conflict);
failure_responses!(Verifying: NotFound, InvalidState, Conflict, TooManyRequests);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, claim))
        .routes(routes!(remove))
        .routes(routes!(verify))
}

/// Domain to claim.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DomainRequest {
    /// One name of the public DNS, without a wildcard; letters of any script.
    #[garde(length(chars, min = 1, max = 244))]
    #[schema(min_length = 1, max_length = 244, example = "www.example.com")]
    domain: String,
}

/// Lists the domains of an instance, the oldest first: those that lead to it, and those that wait for a proof.
#[utoipa::path(get, path = "/instances/{id}/domains", tag = "instances", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The domains", body = Envelope<Vec<DomainView>>), Missing))]
async fn list(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<InstanceId>,
) -> Reply<Vec<DomainView>> {
    let found = state.domains.list(customer.user_id, id).await?;
    Ok(Success::ok(
        format!("{}.", counted(found.len(), "domain")),
        found,
    ))
}

/// Claims a domain of one's own for an instance. It leads there once it is proven.
///
/// Publish the TXT record or the file of `proof`, then ask for a look at it by `POST .../verify`; the shop looks by
/// itself as well, every few minutes. A claim without a proof ends after seven days. Point the domain to `target` in
/// DNS, too: requests come to the instance, and a certificate is issued, when it leads there.
#[utoipa::path(post, path = "/instances/{id}/domains", tag = "instances", params(("id" = Uuid, Path), IdempotencyKey),
    request_body = DomainRequest, security(("bearer" = [])),
    responses((status = 201, description = "The claim, with the proof to publish", body = Envelope<DomainView>), Claiming))]
async fn claim(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<InstanceId>,
    Keyed(request, once): Keyed<DomainRequest>,
) -> Result<Response, Refusal> {
    let caller = customer.identity().signed_in();
    let act = async {
        let claimed = state.domains.claim(caller, id, &request.domain).await?;
        let message = "Publish the record or the file, and ask for a look at it.";
        Ok(claimed.map(|view| Success::created(message, view)))
    };
    once.answer(&state, customer.user_id, act).await
}

/// Looks for the proof of a claim now; a customer may ask each server for 60 looks in an hour.
///
/// A domain whose proof is found leads to the instance from then on. One that leads to another service is refused
/// until it is removed there.
#[utoipa::path(post, path = "/instances/{id}/domains/{domainId}/verify", tag = "instances",
    params(("id" = Uuid, Path), ("domainId" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The domain: `ACTIVE`, or `PENDING` with the `problem`", body = Envelope<DomainView>), Verifying))]
async fn verify(
    State(state): State<AppState>,
    customer: Customer,
    Segment((id, domain_id)): Segment<(InstanceId, DomainId)>,
) -> Reply<DomainView> {
    let caller = customer.identity().signed_in();
    let view = state.domains.verify(caller, id, domain_id).await?;
    let message = if view.state == DomainState::Active {
        "The domain leads to your service."
    } else {
        "The proof was not found yet."
    };
    Ok(Success::ok(message, view))
}

/// Removes a domain from an instance. One that leads there is taken back, and free for others once that is done.
#[utoipa::path(delete, path = "/instances/{id}/domains/{domainId}", tag = "instances",
    params(("id" = Uuid, Path), ("domainId" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "Removed", body = Envelope<Nothing>),
        (status = 202, description = "Being taken back", body = Envelope<Nothing>), Missing))]
async fn remove(
    State(state): State<AppState>,
    customer: Customer,
    Segment((id, domain_id)): Segment<(InstanceId, DomainId)>,
) -> Reply<Nothing> {
    let caller = customer.identity().signed_in();
    let is_led = state.domains.remove(caller, id, domain_id).await?;
    Ok(removed(is_led))
}

/// Words the removal of a domain, which led to an instance or not.
pub(super) fn removed(is_led: bool) -> Success<Nothing> {
    if is_led {
        Success::accepted("The domain is being taken back.", Nothing {})
    } else {
        Success::ok("The domain is removed.", Nothing {})
    }
}
