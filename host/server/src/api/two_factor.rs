//! `/user/two-factor`, and the second step of a login.

use axum::extract::State;
use dermaga_shop::accounts::{
    Password,
    two_factor::{Enrolment, RecoveryCodes, TwoFactorView},
};
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer, SentFrom, accounts::Session},
    http::{Body, Envelope, Nothing, Reply, Success, failure_responses, routes},
};

failure_responses!(Answering: InvalidCredentials, AccountDisabled, TooManyRequests);
failure_responses!(Beginning: InvalidState, TooManyRequests, Unavailable);
failure_responses!(Ending: InvalidState, TwoFactorRequired, TooManyRequests, Unavailable);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(answer))
        .routes(routes!(get, begin, disable))
        .routes(routes!(confirm))
        .routes(routes!(renew_codes))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChallengeAnswer {
    /// Challenge that the login answered with.
    #[garde(length(bytes, min = 1, max = 256))]
    #[schema(min_length = 1, max_length = 256)]
    challenge: String,
    /// Six digits of the app, or a recovery code.
    #[garde(length(chars, min = 1, max = 40))]
    #[schema(min_length = 1, max_length = 40, example = "123456")]
    code: String,
}

/// Starts a session for an account with two-factor sign-in: the challenge of the login, and a code.
///
/// A challenge is good for five minutes. A code works once. After ten wrong codes in a row, none is looked
/// at for fifteen minutes, twice as long after each further ten, up to a day; the account gets a
/// notification.
#[utoipa::path(post, path = "/auth/login/two-factor", tag = "accounts", request_body = ChallengeAnswer,
    responses((status = 200, description = "The session", body = Envelope<Session>), Answering))]
async fn answer(
    State(state): State<AppState>,
    SentFrom(origin): SentFrom,
    Body(answer): Body<ChallengeAnswer>,
) -> Reply<Session> {
    let accounts = &state.accounts;
    let (user, tokens) = accounts
        .answer_challenge(&answer.challenge, &answer.code, &origin)
        .await?;
    Ok(Success::ok(
        "You are logged in.",
        Session::new(user, tokens),
    ))
}

/// Returns the state of one's own two-factor sign-in.
#[utoipa::path(get, path = "/user/two-factor", tag = "accounts", security(("bearer" = [])),
    responses((status = 200, description = "On or off", body = Envelope<TwoFactorView>)))]
async fn get(State(state): State<AppState>, customer: Customer) -> Reply<TwoFactorView> {
    let found = state.accounts.two_factor(customer.identity()).await?;
    Ok(Success::ok("Your two-factor sign-in.", found))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TwoFactorBegin {
    #[garde(length(chars, min = 1, max = 1024))]
    #[schema(min_length = 1, max_length = 1024)]
    password: String,
}

/// Makes a secret for an authenticator app. Two-factor sign-in is on once a code of it is confirmed.
#[utoipa::path(post, path = "/user/two-factor", tag = "accounts", security(("bearer" = [])), request_body = TwoFactorBegin,
    responses((status = 201, description = "The secret, shown this once", body = Envelope<Enrolment>), Beginning))]
async fn begin(
    State(state): State<AppState>,
    customer: Customer,
    Body(request): Body<TwoFactorBegin>,
) -> Reply<Enrolment> {
    let password = Password::new(request.password);
    let shop_name = &state.config.wallet.shop_name;
    let enrolment = state
        .accounts
        .begin_two_factor(customer.identity(), password, shop_name)
        .await?;
    let message = "Add the secret to your app, then confirm with a code of it.";
    Ok(Success::created(message, enrolment))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TwoFactorConfirmation {
    /// Six digits of the app.
    #[garde(length(chars, min = 1, max = 40))]
    #[schema(min_length = 1, max_length = 40, example = "123456")]
    code: String,
}

/// Turns two-factor sign-in on with a code of the app.
///
/// Returns recovery codes for the day on which the app is lost. Other sessions and all API tokens end,
/// since they were made with the password alone.
#[utoipa::path(post, path = "/user/two-factor/confirm", tag = "accounts", security(("bearer" = [])),
    request_body = TwoFactorConfirmation,
    responses((status = 200, description = "Recovery codes, shown this once", body = Envelope<RecoveryCodes>), Beginning))]
async fn confirm(
    State(state): State<AppState>,
    customer: Customer,
    Body(request): Body<TwoFactorConfirmation>,
) -> Reply<RecoveryCodes> {
    let accounts = &state.accounts;
    let codes = accounts
        .confirm_two_factor(customer.identity(), &request.code)
        .await?;
    let message = "Two-factor sign-in is on, and API tokens have ended. Keep the recovery codes: they are not shown again.";
    Ok(Success::ok(message, codes))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TwoFactorProof {
    #[garde(length(chars, min = 1, max = 1024))]
    #[schema(min_length = 1, max_length = 1024)]
    password: String,
    /// Six digits of the app, or a recovery code.
    #[garde(length(chars, min = 1, max = 40))]
    #[schema(min_length = 1, max_length = 40, example = "123456")]
    code: String,
}

/// Turns two-factor sign-in off, with the password and a code. The account gets a notification.
#[utoipa::path(delete, path = "/user/two-factor", tag = "accounts", security(("bearer" = [])), request_body = TwoFactorProof,
    responses((status = 200, description = "It is off", body = Envelope<Nothing>), Ending))]
async fn disable(
    State(state): State<AppState>,
    customer: Customer,
    Body(proof): Body<TwoFactorProof>,
) -> Reply<Nothing> {
    let password = Password::new(proof.password);
    state
        .accounts
        .disable_two_factor(customer.identity(), password, &proof.code)
        .await?;
    Ok(Success::ok("Two-factor sign-in is off.", Nothing {}))
}

/// Makes new recovery codes in place of the old ones, with the password and a code.
#[utoipa::path(post, path = "/user/two-factor/recovery-codes", tag = "accounts", security(("bearer" = [])),
    request_body = TwoFactorProof,
    responses((status = 200, description = "Recovery codes, shown this once", body = Envelope<RecoveryCodes>), Beginning))]
async fn renew_codes(
    State(state): State<AppState>,
    customer: Customer,
    Body(proof): Body<TwoFactorProof>,
) -> Reply<RecoveryCodes> {
    let password = Password::new(proof.password);
    let codes = state
        .accounts
        .renew_recovery_codes(customer.identity(), password, &proof.code)
        .await?;
    let message =
        "Keep the recovery codes: they are not shown again, and the old ones do not work.";
    Ok(Success::ok(message, codes))
}
