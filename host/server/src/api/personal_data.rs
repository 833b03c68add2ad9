//! Personal data of one's own account: security events, export, deletion.

use axum::{
    body::Body as Content,
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use dermaga_shop::{
    accounts::{Password, deletion::Deleting},
    notifications::{InboxFilter, NotificationView},
    users::{Sources, deletion},
};
use garde::Validate;
use serde::Deserialize;
use tokio::fs::File;
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer},
    http::{
        Body, Cursor, Envelope, Nothing, PageQuery, Paged, Refusal, Reply, Success, context,
        failure_responses, lists, routes,
    },
};

failure_responses!(Ending: NotFound, InvalidState, TooManyRequests, Unavailable);
failure_responses!(Exporting: TooManyRequests, Unavailable);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(delete))
        .routes(routes!(export))
        .routes(routes!(security_events))
}

/// Place in a list of security events.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SecurityEventQuery {
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::SecurityEvents>>,
}

/// Lists what happened to one's own account, newest first: passwords, keys, sessions, sign-ins from new
/// devices, two-factor sign-in, and acts of administrators. Texts are in the account's language, whatever the request
/// asks for.
#[utoipa::path(get, path = "/user/security-events", tag = "accounts", params(PageQuery, SecurityEventQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of events", body = Envelope<Vec<NotificationView>>)))]
async fn security_events(
    State(state): State<AppState>,
    customer: Customer,
    Paged(page, query): Paged<SecurityEventQuery>,
) -> Reply<Vec<NotificationView>> {
    let filter = InboxFilter {
        is_about_security: true,
        ..InboxFilter::default()
    };
    let notifications = &state.notifications;
    let (found, _unread) = notifications
        .inbox(customer.user_id, filter, page.span(query.cursor)?)
        .await?;
    Ok(Success::walk::<lists::SecurityEvents>(
        "Security events of your account.",
        page,
        found,
        NotificationView::place,
    ))
}

/// Proof that it is the owner who asks.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OwnerProof {
    #[garde(length(chars, min = 1, max = 1024))]
    #[schema(min_length = 1, max_length = 1024)]
    password: String,
    /// Six digits of the app, or a recovery code; for accounts with two-factor sign-in.
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schema(min_length = 1, max_length = 40, example = "123456")]
    code: Option<String>,
}

/// Returns what the shop holds about one's own account, as a ZIP archive of JSON files and the pictures of
/// tickets; at most 5 an hour from each server. Its README says what is left out.
///
/// Pictures beyond 256 MiB are named in it, and can be fetched one by one.
#[utoipa::path(post, path = "/user/export", tag = "accounts", security(("bearer" = [])), request_body = OwnerProof,
    responses((status = 200, description = "The archive", content_type = "application/zip", body = Vec<u8>), Exporting))]
async fn export(
    State(state): State<AppState>,
    customer: Customer,
    Body(request): Body<OwnerProof>,
) -> Result<Response, Refusal> {
    let accounts = &state.accounts;
    let password = Password::new(request.password);
    accounts
        .prove_owner(customer.identity(), password, request.code.as_deref())
        .await?;
    let sources = Sources {
        accounts,
        catalog: &state.catalog,
        domains: &state.domains,
        instances: &state.instances,
        notifications: &state.notifications,
        tickets: &state.tickets,
        wallets: &state.wallets,
        webhooks: &state.webhooks,
    };
    let archive = state.exports.archive(sources, customer.identity()).await?;
    let content = Content::from_stream(ReaderStream::new(File::from_std(archive)));
    let headers = [
        (header::CONTENT_TYPE, "application/zip"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"account.zip\"",
        ),
    ];
    let mut response = (headers, content).into_response();
    context::note_language(response.headers_mut());
    Ok(response)
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AccountDeletion {
    #[garde(length(chars, min = 1, max = 1024))]
    #[schema(min_length = 1, max_length = 1024)]
    password: String,
    /// Six digits of the app, or a recovery code; for accounts with two-factor sign-in.
    #[garde(inner(length(chars, min = 1, max = 40)))]
    #[schema(min_length = 1, max_length = 40, example = "123456")]
    code: Option<String>,
    /// Credit that is left is given up; required when it is paid credit.
    #[serde(default)]
    #[garde(skip)]
    give_up_credit: bool,
}

/// Deletes one's own account: what is personal is gone for good.
///
/// Transactions and receipts are kept without a name, as the law asks of a shop, and a keyed hash of the address
/// where it had a welcome bonus, so that it has it once. Refused while
/// subscriptions, instances, open top-ups, refunds or debts are left, with a detail for each. Paid credit
/// that is left has to be spent, paid back, or given up.
#[utoipa::path(delete, path = "/user", tag = "accounts", security(("bearer" = [])), request_body = AccountDeletion,
    responses((status = 200, description = "It is deleted", body = Envelope<Nothing>), Ending))]
async fn delete(
    State(state): State<AppState>,
    customer: Customer,
    Body(request): Body<AccountDeletion>,
) -> Reply<Nothing> {
    let accounts = &*state.accounts;
    let password = Password::new(request.password);
    accounts
        .prove_owner(customer.identity(), password, request.code.as_deref())
        .await?;
    let (domains, gives_up) = ((accounts, &state.catalog), request.give_up_credit);
    let by = Deleting::Owner(customer.identity());
    deletion::delete(domains, by, customer.user_id, gives_up).await?;
    Ok(Success::ok("Your account is deleted.", Nothing {}))
}
