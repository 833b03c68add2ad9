//! `/user/api-tokens`.

use axum::extract::State;
use chrono::TimeDelta;
use dermaga_shop::{
    accounts::api_tokens::{ApiToken, Scope},
    crypto::Hidden,
    ids::ApiTokenId,
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer},
    http::{Body, Envelope, Id, Nothing, Reply, Success, failure_responses, routes},
};

failure_responses!(Creating: Forbidden, Conflict);
failure_responses!(Missing: NotFound);

/// Lifetime of a token in days, unless its owner says otherwise.
const DEFAULT_DAYS: u32 = 90;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
}

/// Lists one's own API tokens that still work; never the tokens themselves.
#[utoipa::path(get, path = "/user/api-tokens", tag = "accounts", security(("bearer" = [])),
    responses((status = 200, description = "The tokens, newest first", body = Envelope<Vec<ApiToken>>)))]
async fn list(State(state): State<AppState>, customer: Customer) -> Reply<Vec<ApiToken>> {
    let tokens = state.accounts.api_tokens(customer.user_id).await?;
    Ok(Success::ok("Your API tokens.", tokens))
}

#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewToken {
    /// Purpose of the token, for its owner to read.
    #[serde(deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(length(chars, min = 1, max = 80), custom(dermaga_shop::text::title))]
    #[schema(min_length = 1, max_length = 80, example = "pipeline")]
    name: String,
    #[garde(skip)]
    scope: Scope,
    /// 1 to 365; 90 when absent.
    #[garde(inner(range(min = 1, max = 365)))]
    #[schema(minimum = 1, maximum = 365, default = 90)]
    expires_in_days: Option<u32>,
}

/// A token and its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CreatedToken {
    #[serde(flatten)]
    details: ApiToken,
    /// Goes into `Authorization: Bearer ...`. Shown this once.
    #[schema(example = "dmg_k3QzL0...", value_type = String)]
    token: Hidden,
}

/// Makes a token with which a program acts for this account.
///
/// A token cannot change the password, end sessions or make other tokens. That of an administrator makes and
/// removes no administrators, signs in to no account, and turns two-factor sign-in off for no account.
#[utoipa::path(post, path = "/user/api-tokens", tag = "accounts", security(("bearer" = [])), request_body = NewToken,
    responses((status = 201, description = "The token, shown this once", body = Envelope<CreatedToken>), Creating))]
async fn create(
    State(state): State<AppState>,
    customer: Customer,
    Body(new): Body<NewToken>,
) -> Reply<CreatedToken> {
    let lifetime = TimeDelta::days(new.expires_in_days.unwrap_or(DEFAULT_DAYS).into());
    let made = state
        .accounts
        .create_api_token(customer.identity(), new.name.trim(), new.scope, lifetime)
        .await?;
    let created = CreatedToken {
        details: made.token,
        token: made.secret,
    };
    Ok(Success::created(
        "Keep the token now: it is not shown again.",
        created,
    ))
}

/// Makes a token useless at once.
#[utoipa::path(delete, path = "/user/api-tokens/{id}", tag = "accounts", security(("bearer" = [])), params(("id" = Uuid, Path)),
    responses((status = 200, description = "Revoked", body = Envelope<Nothing>), Missing))]
async fn revoke(
    State(state): State<AppState>,
    customer: Customer,
    Id(id): Id<ApiTokenId>,
) -> Reply<Nothing> {
    state
        .accounts
        .revoke_api_token(customer.user_id, id)
        .await?;
    Ok(Success::ok("The token is revoked.", Nothing {}))
}
