//! `/wallet/topup` and what follows from it, and the gateway's webhook.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use chrono::{DateTime, Utc};
use dermaga_shop::{
    Error,
    crypto::Hidden,
    db::Conn,
    money::Rupiah,
    payments::{
        self, DebtFilter, DebtView, Payment, PaymentMethod, PaymentState, WEBHOOK_PATH,
        notification, page, problem,
        top_up::{self, LARGEST_TOP_UP, NewTopUp, OpenTopUp, SMALLEST_TOP_UP},
    },
    wallet::{self, TransactionName, TransactionView},
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer, IdempotencyKey, Keyed},
    http::{
        Cursor, Envelope, Nothing, PageQuery, Paged, Refusal, Reply, Segment, Success,
        announced::Raw, context, failure_responses, lists, routes,
    },
};

failure_responses!(ToppingUp: Conflict, TooManyOpenTopUps, BalanceCapExceeded, InvalidState, TooManyRequests, GatewayRefused, GatewayUnavailable, PaymentsNotConfigured);
failure_responses!(Cancelling: NotFound, InvalidState, TooManyRequests, GatewayRefused, GatewayUnavailable, PaymentsNotConfigured);
failure_responses!(Missing: NotFound);
failure_responses!(NoticeUrl: PaymentsNotConfigured);
failure_responses!(Noticing: MalformedRequest, SignatureInvalid, NotFound, NoticeMismatch, PayloadTooLarge, GatewayUnavailable, PaymentsNotConfigured);

/// The customer's routes, and the webhook.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(begin_top_up))
        .routes(routes!(payment_methods))
        .routes(routes!(payment_status))
        .routes(routes!(cancel_top_up))
        .routes(routes!(own_debts))
        .routes(routes!(midtrans_notice, notice_url))
}

/// A top-up to begin.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TopUpRequest {
    /// Rupiah.
    #[garde(range(min = SMALLEST_TOP_UP, max = LARGEST_TOP_UP))]
    #[schema(minimum = 10_000, maximum = 10_000_000)]
    amount: i64,
    #[garde(skip)]
    payment_method: PaymentMethod,
}

/// Begins a top-up and opens its payment page.
///
/// A request that ends without an answer (a broken connection, 408, 503) is the same top-up when it is sent
/// again with the same `Idempotency-Key`, and is answered with its page. The page is also in
/// `GET /wallet/transactions/{id}/status`. A top-up that is cancelled before its page is there is answered with
/// `CONFLICT`, also when it is sent again; begin another one with another key.
#[utoipa::path(post, path = "/wallet/topup", tag = "wallet", params(IdempotencyKey), request_body = TopUpRequest, security(("bearer" = [])),
    responses((status = 201, description = "The payment page, good for an hour", body = Envelope<OpenTopUp>), ToppingUp))]
async fn begin_top_up(
    State(state): State<AppState>,
    customer: Customer,
    Keyed(request, once): Keyed<TopUpRequest>,
) -> Result<Response, Refusal> {
    let user_id = customer.user_id;
    let new = NewTopUp {
        user_id,
        amount: Rupiah::new(request.amount),
        method: request.payment_method,
        intent: once.intent(user_id),
    };
    let payments = Arc::clone(&state.payments);
    let begin = async move {
        let open = top_up::begin(&payments, &new).await?;
        Ok(open.map(|open| Success::created("Pay on the page at redirectUrl.", open)))
    };
    once.answer_to_the_end(&state, user_id, begin).await
}

/// A way to pay.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PaymentMethodView {
    id: PaymentMethod,
    #[serde(serialize_with = "dermaga_shop::language::in_words")]
    name: &'static str,
    /// Channels of the payment page, in the gateway's words.
    channels: &'static [&'static str],
    /// Rupiah.
    minimum: i64,
    maximum: i64,
    /// True when this shop takes payments at all.
    is_available: bool,
}

/// The ways to pay.
#[utoipa::path(get, path = "/wallet/payment-methods", tag = "wallet", security(("bearer" = [])),
    responses((status = 200, description = "Methods that POST /wallet/topup takes", body = Envelope<Vec<PaymentMethodView>>)))]
async fn payment_methods(
    State(state): State<AppState>,
    _customer: Customer,
) -> Reply<Vec<PaymentMethodView>> {
    let is_available = state.payments.gateway().is_ok();
    let methods = PaymentMethod::ALL.iter().map(|method| PaymentMethodView {
        id: *method,
        name: method.title(),
        channels: method.channels(),
        minimum: SMALLEST_TOP_UP,
        maximum: LARGEST_TOP_UP,
        is_available,
    });
    Ok(Success::ok("The ways to pay.", methods.collect()))
}

/// A top-up and its payment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PaymentStatusView {
    transaction: TransactionView,
    payment: PaymentState,
    /// False when the gateway did not answer when it was asked last: then this is what was known
    /// before. It is asked once in five seconds at the most.
    is_confirmed: bool,
    /// A sentence for the customer when the payment cannot be booked and a person settles it.
    #[serde(serialize_with = "dermaga_shop::language::in_words_if_any")]
    notice: Option<&'static str>,
    /// Rupiah that the gateway charged on top, beside the amount.
    fee: Rupiah,
    /// Token of the payment page for Midtrans' own JavaScript (Snap), while the page is open.
    #[schema(value_type = Option<String>)]
    token: Option<Hidden>,
    /// Page for its payment while it is open.
    redirect_url: Option<String>,
    #[serde(serialize_with = "dermaga_shop::calendar::in_json")]
    expires_at: DateTime<Utc>,
}

impl PaymentStatusView {
    async fn of(conn: &mut Conn, payment: Payment, is_confirmed: bool) -> Result<Self, Error> {
        let transaction = wallet::transaction(conn, payment.transaction_id).await?;
        // A page is no longer to be paid on once a person has to look at the payment.
        let is_open = payment.state.is_waiting() && payment.problem.is_none();
        Ok(Self {
            transaction: transaction.into(),
            payment: payment.state,
            is_confirmed,
            notice: payment.problem.is_some().then_some(problem::NOTICE),
            fee: payment.fee,
            token: payment.token.filter(|_| is_open),
            redirect_url: payment.redirect_url.filter(|_| is_open),
            expires_at: payment.expires_at,
        })
    }
}

/// The present state of a top-up. The gateway is asked while it waits, once in five seconds at the
/// most; also for its payment page, when that has not arrived.
#[utoipa::path(get, path = "/wallet/transactions/{id}/status", tag = "wallet", security(("bearer" = [])),
    params(("id" = String, Path, description = "Id or number of the transaction")),
    responses((status = 200, description = "The top-up as it is now", body = Envelope<PaymentStatusView>), Missing))]
async fn payment_status(
    State(state): State<AppState>,
    customer: Customer,
    Segment(name): Segment<TransactionName>,
) -> Reply<PaymentStatusView> {
    let payment = payments::of_customer(&state.db, customer.user_id, name).await?;
    let payments = Arc::clone(&state.payments);
    let look = async move { page::refresh(&payments, payment).await };
    let (payment, is_confirmed) = context::to_the_end(look).await??;
    let mut conn = state.db.read().await?;
    let view = PaymentStatusView::of(&mut conn, payment, is_confirmed).await?;
    Ok(Success::ok("The top-up.", view))
}

/// Cancels a waiting top-up. Should its payment arrive all the same, it is credited.
#[utoipa::path(post, path = "/wallet/transactions/{id}/cancel", tag = "wallet", security(("bearer" = [])),
    params(("id" = String, Path, description = "Id or number of the transaction")),
    responses((status = 200, description = "Cancelled", body = Envelope<PaymentStatusView>), Cancelling))]
async fn cancel_top_up(
    State(state): State<AppState>,
    customer: Customer,
    Segment(name): Segment<TransactionName>,
) -> Reply<PaymentStatusView> {
    let payment = payments::of_customer(&state.db, customer.user_id, name).await?;
    let payments = Arc::clone(&state.payments);
    let cancel = async move { top_up::cancel(&payments, &payment).await };
    let payment = context::to_the_end(cancel).await??;
    let mut conn = state.db.read().await?;
    let view = PaymentStatusView::of(&mut conn, payment, true).await?;
    Ok(Success::ok("The top-up is cancelled.", view))
}

/// Place in a list of a customer's debts.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OwnDebtQuery {
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::OwnDebts>>,
}

/// Lists the debts of this customer, present and past: top-ups that were taken back after they were
/// spent.
#[utoipa::path(get, path = "/wallet/debts", tag = "wallet", params(PageQuery, OwnDebtQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of debts, newest first", body = Envelope<Vec<DebtView>>)))]
async fn own_debts(
    State(state): State<AppState>,
    customer: Customer,
    Paged(page, query): Paged<OwnDebtQuery>,
) -> Reply<Vec<DebtView>> {
    let filter = DebtFilter {
        user_id: Some(customer.user_id),
        open: None,
    };
    let found = payments::debts(&state.db, filter, page.span(query.cursor)?).await?;
    let message = "Your debts. Your next top-ups and refunds pay the open ones first.";
    let place = DebtView::place;
    Ok(Success::walk::<lists::OwnDebts>(
        message, page, found, place,
    ))
}

/// Takes Midtrans' notices. One that cannot be applied now is answered with 5xx and sent again.
#[utoipa::path(post, path = "/wallet/webhook/midtrans", tag = "wallet",
    request_body(content = Object, description = "A notice as Midtrans signs it"),
    responses((status = 200, description = "Applied, or applied before", body = Envelope<Nothing>), Noticing))]
pub(crate) async fn midtrans_notice(
    State(state): State<AppState>,
    Raw(body): Raw,
) -> Reply<Nothing> {
    let message = notification::receive(&state.payments, &body).await?;
    Ok(Success::ok(message, Nothing {}))
}

/// Answers who looks at the notice URL, as Midtrans' dashboard does with HEAD before it takes one.
#[utoipa::path(get, path = "/wallet/webhook/midtrans", tag = "wallet",
    responses((status = 200, description = "Notices are taken here, by POST", body = Envelope<Nothing>), NoticeUrl))]
pub(crate) async fn notice_url(State(state): State<AppState>) -> Reply<Nothing> {
    state.payments.gateway()?;
    Ok(Success::ok(
        "Midtrans' notices are taken here, by POST.",
        Nothing {},
    ))
}

/// The notice URL as people write it into Midtrans' dashboard: with a slash at its end.
pub fn alias_routes() -> Router<AppState> {
    let handlers = get(notice_url).post(midtrans_notice);
    Router::new().route(&format!("{WEBHOOK_PATH}/"), handlers)
}
