//! `DELETE /user`.

use axum::extract::State;
use dermaga_shop::{accounts::deletion::Deleting, users::deletion};
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

use crate::{
    api::{AppState, Customer},
    http::{Body, Envelope, Nothing, Reply, Success, failure_responses},
};

failure_responses!(Ending: NotFound, InvalidState, TooManyRequests, Unavailable);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(delete))
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
/// Transactions and receipts are kept without a name, as the law asks of a shop. Refused while
/// subscriptions, instances, open top-ups, refunds or debts are left, with a detail for each. Paid credit
/// that is left has to be spent, paid back, or given up.
#[utoipa::path(delete, path = "/user", tag = "accounts", security(("bearer" = [])), request_body = AccountDeletion,
    responses((status = 200, description = "It is deleted", body = Envelope<Nothing>), Ending))]
async fn delete(
    State(state): State<AppState>,
    customer: Customer,
    Body(request): Body<AccountDeletion>,
) -> Reply<Nothing> {
    let accounts = &state.accounts;
    let password = Zeroizing::new(request.password);
    accounts
        .prove_owner(customer.identity(), password, request.code.as_deref())
        .await?;
    let gives_up = request.give_up_credit;
    deletion::delete(accounts, Deleting::Owner, customer.user_id, gives_up).await?;
    Ok(Success::ok("Your account is deleted.", Nothing {}))
}
