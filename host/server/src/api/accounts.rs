//! `/auth` and `/user`: signing up, signing in and one's own profile.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use dermaga_shop::{
    Error,
    accounts::{
        Email, NewAccount, Password, Profile, Role, Tokens, User, check_rules, is_same,
        parse_avatar, parse_name, parse_phone,
        two_factor::{Challenge, SignIn},
    },
    coupons::{self, WelcomeBonus},
    language::{self, Language},
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer, SentFrom},
    http::{Body, Envelope, Nothing, Refusal, Reply, Success, failure_responses, routes},
};

failure_responses!(Registering: EmailTaken, TooManyRequests, Unavailable);
failure_responses!(LoggingIn: InvalidCredentials, AccountDisabled, TooManyRequests, Unavailable);
failure_responses!(Refreshing: Unauthenticated, AccountDisabled);
failure_responses!(ChangingPassword: Conflict, TooManyRequests, Unavailable);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(log_in))
        .routes(routes!(refresh))
        .routes(routes!(log_out))
        .routes(routes!(log_out_everywhere))
        .routes(routes!(change_password))
        .routes(routes!(whoami))
        .routes(routes!(get_profile, put_profile))
        .routes(routes!(patch_avatar))
}

/// A rule of [`super`] as a rule of garde.
pub(super) fn rule<T>(
    parse: impl Fn(&str) -> Result<T, String>,
) -> impl Fn(&str, &()) -> garde::Result {
    move |text, ()| parse(text).map(|_| ()).map_err(garde::Error::new)
}

pub(super) fn optional_rule<T>(
    parse: impl Fn(&str) -> Result<T, String>,
) -> impl Fn(&Option<String>, &()) -> garde::Result {
    move |text, ()| {
        text.as_deref()
            .map_or(Ok(()), |text| rule(&parse)(text, &()))
    }
}

/// Unwraps a normalised value that [`Validate`] has accepted already.
pub(super) fn normalised<T>(field: &str, parsed: Result<T, String>) -> Result<T, Error> {
    parsed.map_err(|message| Error::invalid(field, message))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Registration {
    /// Address with one account at most; kept in lower case.
    #[garde(custom(rule(Email::parse)))]
    #[schema(example = "sari@example.com", format = "email", max_length = 254)]
    email: String,
    /// 10 to 128 characters, and not one that everybody tries first.
    #[garde(custom(rule(check_rules)))]
    #[schema(min_length = 10, max_length = 128, format = "new-password")]
    password: String,
    #[garde(custom(rule(parse_name)))]
    #[schema(min_length = 1, max_length = 100, format = "person-name")]
    name: String,
    /// An Indonesian mobile number; stored as `+62...`.
    #[garde(custom(optional_rule(parse_phone)))]
    #[schema(example = "0812-3456-7890", format = "phone", max_length = 40)]
    phone: Option<String>,
    /// Address of a picture, `https` only.
    #[garde(custom(optional_rule(parse_avatar)))]
    #[schema(format = "https-url", max_length = 2048)]
    avatar: Option<String>,
}

impl TryFrom<Registration> for NewAccount {
    type Error = Error;

    fn try_from(new: Registration) -> Result<Self, Error> {
        Ok(Self {
            email: normalised("email", Email::parse(&new.email))?,
            password: Password::new(new.password),
            name: normalised("name", parse_name(&new.name))?,
            phone: normalised("phone", new.phone.as_deref().map(parse_phone).transpose())?,
            avatar: normalised(
                "avatar",
                new.avatar.as_deref().map(parse_avatar).transpose(),
            )?,
            role: Role::User,
        })
    }
}

/// A new session and whose it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Session {
    user: Profile,
    #[serde(flatten)]
    tokens: Tokens,
}

impl Session {
    pub(super) fn new(user: User, tokens: Tokens) -> Self {
        Self {
            user: user.into(),
            tokens,
        }
    }
}

/// A new account, its session, and what it got as a welcome.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Welcome {
    user: Profile,
    #[serde(flatten)]
    tokens: Tokens,
    /// Every welcome coupon there is, given or not, and why.
    welcome_bonuses: Vec<WelcomeBonus>,
}

/// Signs a customer up.
///
/// Opens an empty wallet and applies the welcome-bonus coupons; one that fails is reported in the
/// answer and never blocks signing up. With `BONUS_REQUIRES_VERIFIED_EMAIL` they wait for the
/// e-mail address to be confirmed. `DERMAGA_REGISTRATIONS_PER_HOUR` limits new accounts from one
/// address.
#[utoipa::path(post, path = "/auth/register", tag = "accounts", request_body = Registration,
    responses((status = 201, description = "The account and its first session", body = Envelope<Welcome>), Registering))]
async fn register(
    State(state): State<AppState>,
    SentFrom(origin): SentFrom,
    Body(new): Body<Registration>,
) -> Reply<Welcome> {
    // An account is written to in the language that its owner asks in.
    let language = language::named();
    let (user, tokens) = state
        .accounts
        .register(new.try_into()?, &origin, language)
        .await?;
    let welcome_bonuses =
        coupons::apply_registration(&state.coupons, &state.accounts, user.id).await;
    let message = format!("Welcome, {}.", user.name);
    Ok(Success::created(
        message,
        Welcome {
            user: user.into(),
            tokens,
            welcome_bonuses,
        },
    ))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Credentials {
    #[garde(custom(rule(Email::of_account)))]
    #[schema(example = "sari@example.com", format = "email", max_length = 254)]
    email: String,
    #[garde(length(chars, min = 1, max = 1024))]
    #[schema(min_length = 1, max_length = 1024)]
    password: String,
}

/// Starts a session.
///
/// An unknown e-mail and a wrong password get the same answer in the same time. After ten failures
/// an address waits 15 minutes for that account, after a hundred for all accounts. After ten
/// failures from anywhere, addresses that have failed there wait 1, 2, 4 ... 30 seconds between
/// attempts. The right password from an address that has not failed always passes. An account with
/// two-factor sign-in gets a challenge, which `/auth/login/two-factor` takes with a code.
#[utoipa::path(post, path = "/auth/login", tag = "accounts", request_body = Credentials,
    responses((status = 200, description = "The session", body = Envelope<Session>),
        (status = 202, description = "The password is right, and a code is needed", body = Envelope<Challenge>), LoggingIn))]
async fn log_in(
    State(state): State<AppState>,
    SentFrom(origin): SentFrom,
    Body(credentials): Body<Credentials>,
) -> Result<Response, Refusal> {
    let email = normalised("email", Email::of_account(&credentials.email))?;
    let signed_in = state
        .accounts
        .log_in(&email, Password::new(credentials.password), &origin)
        .await?;
    Ok(match signed_in {
        SignIn::Session(user, tokens) => {
            Success::ok("You are logged in.", Session::new(*user, tokens)).into_response()
        }
        SignIn::Challenge(challenge) => {
            let message = "Send a code of your app to /api/auth/login/two-factor.";
            Success::accepted(message, challenge).into_response()
        }
    })
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RefreshRequest {
    #[garde(length(bytes, min = 1, max = 256))]
    #[schema(min_length = 1, max_length = 256)]
    refresh_token: String,
}

/// Exchanges a refresh token for a new pair of tokens.
///
/// Each refresh token is good once. Within ten seconds it is answered again with the same new refresh token,
/// as long as that one was not used: several tabs may send it at once. Later it ends its whole session.
#[utoipa::path(post, path = "/auth/refresh-token", tag = "accounts", request_body = RefreshRequest,
    responses((status = 200, description = "The new tokens", body = Envelope<Tokens>), Refreshing))]
async fn refresh(
    State(state): State<AppState>,
    SentFrom(origin): SentFrom,
    Body(request): Body<RefreshRequest>,
) -> Reply<Tokens> {
    let tokens = state
        .accounts
        .refresh(&request.refresh_token, &origin)
        .await?;
    Ok(Success::ok("The session was renewed.", tokens))
}

/// Ends this session: its refresh token at once, its access token within seconds.
#[utoipa::path(post, path = "/auth/logout", tag = "accounts", security(("bearer" = [])),
    responses((status = 200, description = "Logged out", body = Envelope<Nothing>)))]
async fn log_out(State(state): State<AppState>, customer: Customer) -> Reply<Nothing> {
    state.accounts.log_out(customer.identity()).await?;
    Ok(Success::ok("You are logged out.", Nothing {}))
}

/// Ends every session of this account, on every device, within seconds, and revokes its API tokens.
#[utoipa::path(post, path = "/auth/logout-all", tag = "accounts", security(("bearer" = [])),
    responses((status = 200, description = "Logged out everywhere", body = Envelope<Nothing>)))]
async fn log_out_everywhere(State(state): State<AppState>, customer: Customer) -> Reply<Nothing> {
    state.accounts.log_out_everywhere(customer.user_id).await?;
    Ok(Success::ok(
        "You are logged out everywhere. API tokens are revoked.",
        Nothing {},
    ))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PasswordChange {
    #[garde(length(chars, min = 1, max = 1024))]
    #[schema(min_length = 1, max_length = 1024)]
    current_password: String,
    /// 10 to 128 characters, and not one that everybody tries first.
    #[garde(custom(rule(check_rules)), custom(differs(&self.current_password)))]
    #[schema(min_length = 10, max_length = 128, format = "new-password")]
    new_password: String,
}

fn differs(current: &str) -> impl Fn(&str, &()) -> garde::Result {
    move |new, ()| {
        if is_same(new, current) {
            Err(garde::Error::new("must differ from the current one"))
        } else {
            Ok(())
        }
    }
}

/// Changes the password, ends every other session and revokes the account's API tokens.
#[utoipa::path(post, path = "/auth/change-password", tag = "accounts", security(("bearer" = [])),
    request_body = PasswordChange,
    responses((status = 200, description = "Tokens of a new session", body = Envelope<Tokens>), ChangingPassword))]
async fn change_password(
    State(state): State<AppState>,
    customer: Customer,
    SentFrom(origin): SentFrom,
    Body(change): Body<PasswordChange>,
) -> Reply<Tokens> {
    let (current, new) = (
        Password::new(change.current_password),
        Password::new(change.new_password),
    );
    let tokens = state
        .accounts
        .change_password(customer.identity(), current, new, &origin)
        .await?;
    Ok(Success::ok(
        "The password is changed. Other sessions and API tokens have ended.",
        tokens,
    ))
}

/// Returns the account that is logged in.
#[utoipa::path(get, path = "/auth/profile", tag = "accounts", security(("bearer" = [])),
    responses((status = 200, description = "The account", body = Envelope<Profile>)))]
async fn whoami(state: State<AppState>, customer: Customer) -> Reply<Profile> {
    get_profile(state, customer).await
}

/// Returns one's own account.
#[utoipa::path(get, path = "/user/profile", tag = "accounts", security(("bearer" = [])),
    responses((status = 200, description = "The account", body = Envelope<Profile>)))]
async fn get_profile(State(state): State<AppState>, customer: Customer) -> Reply<Profile> {
    let user = state.accounts.user(customer.user_id).await?;
    Ok(Success::ok("Your account.", user.into()))
}

#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProfileChange {
    #[garde(custom(rule(parse_name)))]
    #[schema(min_length = 1, max_length = 100, format = "person-name")]
    name: String,
    /// An Indonesian mobile number; absent or null removes it.
    #[garde(custom(optional_rule(parse_phone)))]
    #[schema(example = "0812-3456-7890", format = "phone", max_length = 40)]
    phone: Option<String>,
    /// Language of mails and notifications, and of answers to requests without `Accept-Language`; as it
    /// is, when absent or null.
    #[garde(skip)]
    language: Option<Language>,
}

/// Replaces name and phone, and the language when it is named. Role, balance and e-mail cannot be changed here.
#[utoipa::path(put, path = "/user/profile", tag = "accounts", security(("bearer" = [])), request_body = ProfileChange,
    responses((status = 200, description = "The account", body = Envelope<Profile>)))]
async fn put_profile(
    State(state): State<AppState>,
    customer: Customer,
    Body(change): Body<ProfileChange>,
) -> Reply<Profile> {
    let name = normalised("name", parse_name(&change.name))?;
    let phone = normalised(
        "phone",
        change.phone.as_deref().map(parse_phone).transpose(),
    )?;
    let user = state
        .accounts
        .set_profile(customer.user_id, &name, phone.as_deref(), change.language)
        .await?;
    Ok(Success::ok("Your account is changed.", user.into()))
}

#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AvatarChange {
    /// Address of a picture, `https` only; null removes it.
    #[serde(deserialize_with = "Option::deserialize")]
    #[garde(custom(optional_rule(parse_avatar)))]
    #[schema(required, format = "https-url", max_length = 2048)]
    avatar: Option<String>,
}

/// Replaces or removes the picture.
#[utoipa::path(patch, path = "/user/avatar", tag = "accounts", security(("bearer" = [])), request_body = AvatarChange,
    responses((status = 200, description = "The account", body = Envelope<Profile>)))]
async fn patch_avatar(
    State(state): State<AppState>,
    customer: Customer,
    Body(change): Body<AvatarChange>,
) -> Reply<Profile> {
    let avatar = normalised(
        "avatar",
        change.avatar.as_deref().map(parse_avatar).transpose(),
    )?;
    let user = state
        .accounts
        .set_avatar(customer.user_id, avatar.as_deref())
        .await?;
    Ok(Success::ok("Your picture is changed.", user.into()))
}
