//! `/auth`: what is done with a token that is mailed, the confirmation of an address and a new password.

use axum::{
    extract::State,
    http::{HeaderMap, Method, header},
};
use dermaga_shop::{
    accounts::{Email, Password, check_rules, confirmation::Proof},
    coupons::{self, WelcomeBonus},
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use super::accounts::{normalised, rule};
use crate::{
    api::{
        AppState, PeerAddress,
        auth::{answer_to, identify},
    },
    http::{Body, Envelope, Nothing, Reply, Success, failure_responses, routes},
};

/// Route that confirms an address.
const VERIFY: &str = "/api/auth/verify-email";

failure_responses!(Verifying: InvalidCredentials, AccountDisabled, TooManyRequests, Unavailable);
failure_responses!(Confirming: TooManyRequests);
failure_responses!(Resetting: AccountDisabled, TooManyRequests);

/// The routes of mailed tokens.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(verify_email))
        .routes(routes!(resend_confirmation))
        .routes(routes!(forgot_password))
        .routes(routes!(reset_password))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Confirmation {
    /// Token in the mail.
    #[garde(length(bytes, min = 1, max = 256))]
    #[schema(min_length = 1, max_length = 256)]
    token: String,
    /// Password of the account; not needed with the access token of one of its sessions.
    #[garde(inner(length(chars, min = 1, max = 1024)))]
    #[schema(min_length = 1, max_length = 1024)]
    password: Option<String>,
}

/// Bonuses of a confirmed address.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Confirmed {
    /// Bonuses that waited for this, and those that were announced at the registration, given or
    /// not, and why.
    welcome_bonuses: Vec<WelcomeBonus>,
}

/// Confirms an e-mail address with the token in the mail that was sent to it, and the account's password.
///
/// A token works once, for two days. An access token of the account is enough in place of the password. Without
/// either, another person may have registered the address: a new password (`/auth/forgot-password`) passes the
/// account to the reader of its mails.
///
/// A wrong or missing password is answered 400, as is a token that is not good. 401 is for an access token that is
/// not good, and for a password that was replaced while it was checked.
#[utoipa::path(post, path = "/auth/verify-email", tag = "accounts", security((), ("bearer" = [])),
    request_body = Confirmation,
    responses((status = 200, description = "The address is confirmed", body = Envelope<Confirmed>), Verifying))]
async fn verify_email(
    State(state): State<AppState>,
    PeerAddress(from): PeerAddress,
    headers: HeaderMap,
    Body(confirmation): Body<Confirmation>,
) -> Reply<Confirmed> {
    let proof = match confirmation.password {
        Some(password) => Some(Proof::Password(Password::new(password), from)),
        None if headers.contains_key(header::AUTHORIZATION) => {
            let identity = identify(&state, &headers, &Method::POST, VERIFY).await?;
            Some(Proof::Session(identity))
        }
        None => None,
    };
    let confirmed = state.accounts.confirm_email(&confirmation.token, proof);
    let user_id = confirmed.await?;
    answer_to(&state, user_id).await;
    let given = coupons::apply_confirmation(&state.coupons, &state.accounts, user_id).await;
    if given.is_some() {
        state.accounts.bonuses_given(user_id).await?;
    }
    let about_bonuses = coupons::told(given.as_deref());
    let message = format!("Your e-mail address is confirmed.{about_bonuses}");
    let welcome_bonuses = given.unwrap_or_default();
    Ok(Success::ok(message, Confirmed { welcome_bonuses }))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfirmationRequest {
    #[garde(custom(rule(Email::of_account)))]
    #[schema(example = "sari@example.com", format = "email", max_length = 254)]
    email: String,
}

/// Sends the mail again that confirms an e-mail address.
///
/// The answer is the same for every address, and is made before the account is looked up. Five mails an
/// hour may be asked for from one address on the network; an e-mail address gets no more than five an hour.
/// Each server counts by itself.
#[utoipa::path(post, path = "/auth/verify-email/resend", tag = "accounts", request_body = ConfirmationRequest,
    responses((status = 200, description = "The same for every address", body = Envelope<Nothing>), Confirming))]
async fn resend_confirmation(
    State(state): State<AppState>,
    PeerAddress(from): PeerAddress,
    Body(request): Body<ConfirmationRequest>,
) -> Reply<Nothing> {
    let email = normalised("email", Email::of_account(&request.email))?;
    state.accounts.ask_confirmation(&email, from).await?;
    let message = "If this address waits to be confirmed, a mail is on its way to it.";
    Ok(Success::ok(message, Nothing {}))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ForgottenPassword {
    #[garde(custom(rule(Email::of_account)))]
    #[schema(example = "sari@example.com", format = "email", max_length = 254)]
    email: String,
}

/// Sends a mail with a token with which a new password is chosen.
///
/// The answer is the same for every address, and is made before the account is looked up. Five mails an
/// hour may be asked for from one address on the network; an e-mail address gets no more than five an hour,
/// and its last token stays good; each server counts by itself. `DERMAGA_PASSWORD_RESET_EXPIRES_IN` limits the time of a token.
#[utoipa::path(post, path = "/auth/forgot-password", tag = "accounts", request_body = ForgottenPassword,
    responses((status = 200, description = "The same for every address", body = Envelope<Nothing>), Confirming))]
async fn forgot_password(
    State(state): State<AppState>,
    PeerAddress(from): PeerAddress,
    Body(request): Body<ForgottenPassword>,
) -> Reply<Nothing> {
    let email = normalised("email", Email::of_account(&request.email))?;
    state.accounts.ask_reset(&email, from).await?;
    let message = "If this address has an account, a mail is on its way to it.";
    Ok(Success::ok(message, Nothing {}))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PasswordReset {
    /// Token in the mail.
    #[garde(length(bytes, min = 1, max = 256))]
    #[schema(min_length = 1, max_length = 256)]
    token: String,
    /// 10 to 128 characters, and not one that everybody tries first.
    #[garde(custom(rule(check_rules)))]
    #[schema(min_length = 10, max_length = 128, format = "new-password")]
    new_password: String,
}

/// Sets a new password with the token in the mail that was sent to the account's address.
///
/// A token works once. All sessions, API tokens and other such tokens of the account end, and the
/// account gets a notification. Log in with the new password afterwards. An address that was never confirmed
/// is confirmed by this, and two-factor sign-in and webhooks of its account are removed: they may be another
/// person's, who registered it first.
#[utoipa::path(post, path = "/auth/reset-password", tag = "accounts", request_body = PasswordReset,
    responses((status = 200, description = "The password is changed", body = Envelope<Nothing>), Resetting))]
async fn reset_password(
    State(state): State<AppState>,
    PeerAddress(from): PeerAddress,
    Body(reset): Body<PasswordReset>,
) -> Reply<Nothing> {
    let new = Password::new(reset.new_password);
    let changed = state.accounts.reset_password(&reset.token, new, from);
    answer_to(&state, changed.await?).await;
    let message =
        "The password is changed. Log in with it; all sessions and API tokens have ended.";
    Ok(Success::ok(message, Nothing {}))
}
