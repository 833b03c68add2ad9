//! `/admin/users`.

use axum::extract::State;
use dermaga_shop::{
    Code, Error,
    accounts::{
        AccountStatus, Email, NewAccount, Password, Role,
        administration::{AccountChange, Look},
        check_rules,
        deletion::Deleting,
        generate_password, parse_name, parse_phone,
    },
    audit::GivenReason,
    ids::UserId,
    users::{self, UserFilter, UserState, UserView, deletion, status},
};
use garde::Validate;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        Admin, AppState, SentFrom,
        accounts::{normalised, optional_rule, rule},
        admin::reasons::RequiredReason,
    },
    http::{
        Body, Cursor, Envelope, Id, Nothing, PageQuery, Paged, Reply, Success, When,
        failure_responses, lists, range, routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Making: EmailTaken, Unavailable);
failure_responses!(Changing: NotFound, InvalidState);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, make))
        .routes(routes!(get, change, delete))
        .routes(routes!(set_status))
        .routes(routes!(look_at))
        .routes(routes!(sign_out))
        .routes(routes!(remove_two_factor))
}

/// Filter of a list of accounts.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UserQuery {
    /// Text within the e-mail address or the name, in any case.
    #[garde(length(chars, max = 200))]
    #[param(max_length = 200)]
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_search")]
    q: Option<String>,
    #[garde(skip)]
    #[param(inline)]
    role: Option<Role>,
    #[garde(skip)]
    #[param(inline)]
    state: Option<UserState>,
    /// True for accounts whose e-mail address is confirmed, false for the others.
    #[garde(skip)]
    email_verified: Option<bool>,
    /// Made at or after this moment, or on this date or later where the shop is.
    #[garde(skip)]
    #[param(inline)]
    from: Option<When>,
    /// Made before this moment, or on this date or earlier.
    #[garde(skip)]
    #[param(inline)]
    to: Option<When>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Accounts>>,
}

/// Lists the accounts of customers and administrators, newest first.
#[utoipa::path(get, path = "/admin/users", tag = "admin: users", params(PageQuery, UserQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of accounts", body = Envelope<Vec<UserView>>)))]
async fn list(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<UserQuery>,
) -> Reply<Vec<UserView>> {
    let (from, until) = range(("from", query.from), ("to", query.to), state.clock.zone())?;
    let filter = UserFilter {
        q: query.q.as_deref(),
        role: query.role,
        state: query.state,
        is_email_verified: query.email_verified,
        from,
        until,
    };
    let found = users::list(&state.db, &filter, page.span(query.cursor)?).await?;
    Ok(Success::walk::<lists::Accounts>(
        "Accounts.",
        page,
        found,
        UserView::place,
    ))
}

/// Account to make for another person.
#[derive(Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewUser {
    /// Address with one account at most; kept in lower case.
    #[garde(custom(rule(Email::parse)))]
    #[schema(example = "sari@example.com", format = "email", max_length = 254)]
    email: String,
    #[garde(custom(rule(parse_name)))]
    #[schema(min_length = 1, max_length = 100, format = "person-name")]
    name: String,
    /// An Indonesian mobile number; stored as `+62...`.
    #[garde(custom(optional_rule(parse_phone)))]
    #[schema(example = "0812-3456-7890", format = "phone", max_length = 40)]
    phone: Option<String>,
    #[garde(skip)]
    role: Role,
    /// 10 to 128 characters, and not one that everybody tries first. Without one, a mail goes out with
    /// which the person chooses it; a shop that sends no mails needs one.
    #[garde(custom(optional_rule(check_rules)))]
    #[schema(min_length = 10, max_length = 128, format = "new-password")]
    password: Option<String>,
    #[garde(dive)]
    reason: GivenReason,
}

/// Makes an account for another person, with an empty wallet. Welcome bonuses are for those who sign up
/// themselves. No API token makes an administrator.
#[utoipa::path(post, path = "/admin/users", tag = "admin: users", security(("bearer" = [])), request_body = NewUser,
    responses((status = 201, description = "The account", body = Envelope<UserView>), Making))]
async fn make(
    State(state): State<AppState>,
    admin: Admin,
    Body(new): Body<NewUser>,
) -> Reply<UserView> {
    let act = admin.act(new.reason.as_str());
    let is_invited = new.password.is_none();
    if is_invited && !state.notifications.sends_mails() {
        return Err(Error::invalid(
            "password",
            "is missing: this shop sends no mails with which a person could choose one",
        )
        .into());
    }
    let password = new.password.map_or_else(generate_password, Password::new);
    let account = NewAccount {
        email: normalised("email", Email::parse(&new.email))?,
        password,
        name: normalised("name", parse_name(&new.name))?,
        phone: normalised("phone", new.phone.as_deref().map(parse_phone).transpose())?,
        avatar: None,
        role: new.role,
    };
    let user = state.accounts.make(act, account, is_invited).await?;
    let message = if is_invited {
        "The account is made. A mail to choose a password is on its way."
    } else {
        "The account is made."
    };
    Ok(Success::created(
        message,
        users::get(&state.db, user.id).await?,
    ))
}

/// Returns an account.
#[utoipa::path(get, path = "/admin/users/{id}", tag = "admin: users", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The account", body = Envelope<UserView>), Missing))]
async fn get(State(state): State<AppState>, _admin: Admin, Id(id): Id<UserId>) -> Reply<UserView> {
    let user = users::get(&state.db, id).await?;
    Ok(Success::ok("The account.", user))
}

/// Changes of an account; what is absent stays.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserChange {
    #[garde(custom(optional_rule(parse_name)))]
    #[schema(min_length = 1, max_length = 100, format = "person-name")]
    name: Option<String>,
    /// An Indonesian mobile number; stored as `+62...`.
    #[garde(custom(optional_rule(parse_phone)))]
    #[schema(example = "0812-3456-7890", format = "phone", max_length = 40)]
    phone: Option<String>,
    #[garde(skip)]
    role: Option<Role>,
    #[garde(dive)]
    reason: GivenReason,
}

/// Changes name, phone or role of an account.
///
/// Another role ends the account's sessions and API tokens, and its owner gets a notification. The last
/// administrator keeps the role. No API token changes it.
#[utoipa::path(put, path = "/admin/users/{id}", tag = "admin: users", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = UserChange,
    responses((status = 200, description = "The account", body = Envelope<UserView>), Changing))]
async fn change(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<UserId>,
    Body(change): Body<UserChange>,
) -> Reply<UserView> {
    let act = admin.act(change.reason.as_str());
    let wanted = AccountChange {
        name: normalised("name", change.name.as_deref().map(parse_name).transpose())?,
        phone: normalised(
            "phone",
            change.phone.as_deref().map(parse_phone).transpose(),
        )?,
        role: change.role,
    };
    if wanted.is_empty() {
        let message = "Say what is to change: name, phone or role.";
        return Err(Error::new(Code::ValidationFailed, message).into());
    }
    state.accounts.change(act, id, wanted).await?;
    let user = users::get(&state.db, id).await?;
    Ok(Success::ok("The account is changed.", user))
}

#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserDeletion {
    /// Credit that is left is given up; required when it is paid credit.
    #[serde(default)]
    #[garde(skip)]
    give_up_credit: bool,
    #[garde(dive)]
    reason: GivenReason,
}

/// Deletes an account: what is personal is gone for good, the books stay.
///
/// Refused while subscriptions, instances, open top-ups, refunds or debts are left, with a detail for each,
/// and for the last administrator. Paid credit that is left has to be paid back before, or given up. The own
/// account is deleted by `DELETE /user`, with the password, and no API token deletes an administrator's.
#[utoipa::path(delete, path = "/admin/users/{id}", tag = "admin: users", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = UserDeletion,
    responses((status = 200, description = "It is deleted", body = Envelope<Nothing>), Changing))]
async fn delete(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<UserId>,
    Body(request): Body<UserDeletion>,
) -> Reply<Nothing> {
    let by = Deleting::Administrator(admin.act(request.reason.as_str()));
    let domains = (&*state.accounts, &state.catalog);
    deletion::delete(domains, by, id, request.give_up_credit).await?;
    Ok(Success::ok("The account is deleted.", Nothing {}))
}

#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StatusChange {
    #[garde(skip)]
    status: AccountStatus,
    #[garde(dive)]
    reason: GivenReason,
}

/// Disables an account, or enables it again.
///
/// Nobody signs in to a disabled account, and its sessions and API tokens end within seconds; what runs
/// goes on, and is renewed as before. Its owner gets a notification. The last administrator cannot be
/// disabled, and no API token disables or enables an administrator.
#[utoipa::path(patch, path = "/admin/users/{id}/status", tag = "admin: users", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = StatusChange,
    responses((status = 200, description = "The account", body = Envelope<UserView>), Changing))]
async fn set_status(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<UserId>,
    Body(change): Body<StatusChange>,
) -> Reply<UserView> {
    let act = admin.act(change.reason.as_str());
    let domains = (&*state.accounts, &state.catalog);
    status::set_status(domains, act, id, change.status).await?;
    let message = match change.status {
        AccountStatus::Active => "The account is enabled.",
        AccountStatus::Disabled => {
            "The account is disabled. Its sessions and API tokens have ended."
        }
    };
    let user = users::get(&state.db, id).await?;
    Ok(Success::ok(message, user))
}

#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LookRequest {
    /// Shown to the owner of the account.
    #[garde(dive)]
    reason: GivenReason,
}

/// Signs in to a customer's account, to look at it as its owner does.
///
/// The token lives for fifteen minutes and cannot be refreshed; its claim `act` is the administrator. It
/// reads what the customer reads, but no credentials, sessions or API tokens, and it changes and spends
/// nothing. The customer gets a notification with the reason, sees the session in the list of sessions, and
/// can end it. Accounts of administrators cannot be looked at. No API token signs in.
#[utoipa::path(post, path = "/admin/users/{id}/sign-in", tag = "admin: users", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = LookRequest,
    responses((status = 201, description = "The token", body = Envelope<Look>), Changing))]
async fn look_at(
    State(state): State<AppState>,
    admin: Admin,
    SentFrom(origin): SentFrom,
    Id(id): Id<UserId>,
    Body(request): Body<LookRequest>,
) -> Reply<Look> {
    let act = admin.act(request.reason.as_str());
    let look = state.accounts.look_at(act, id, &origin).await?;
    let message = "You look at this account for fifteen minutes. Its owner is notified.";
    Ok(Success::created(message, look))
}

/// Ends every session of an account within seconds, and revokes its API tokens.
///
/// The account stays as it is, and its owner signs in again. The owner gets a notification.
#[utoipa::path(post, path = "/admin/users/{id}/sign-out", tag = "admin: users", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = RequiredReason,
    responses((status = 200, description = "They have ended", body = Envelope<Nothing>), Missing))]
async fn sign_out(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<UserId>,
    Body(request): Body<RequiredReason>,
) -> Reply<Nothing> {
    let act = admin.act(request.reason.as_str());
    state.accounts.sign_out(act, id).await?;
    let message = "The account's sessions and API tokens have ended.";
    Ok(Success::ok(message, Nothing {}))
}

/// Turns two-factor sign-in off for an account whose owner has lost app and recovery codes.
///
/// Make sure that it is the owner who asks. All sessions and API tokens of the account end, and its owner
/// gets a notification. Another administrator does it for an administrator. No API token does.
#[utoipa::path(delete, path = "/admin/users/{id}/two-factor", tag = "admin: users", params(("id" = Uuid, Path)), security(("bearer" = [])),
    request_body = RequiredReason,
    responses((status = 200, description = "It is off", body = Envelope<Nothing>), Changing))]
async fn remove_two_factor(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<UserId>,
    Body(request): Body<RequiredReason>,
) -> Reply<Nothing> {
    let act = admin.act(request.reason.as_str());
    state.accounts.remove_two_factor(act, id).await?;
    let message = "Two-factor sign-in is off. The account's sessions and API tokens have ended.";
    Ok(Success::ok(message, Nothing {}))
}
