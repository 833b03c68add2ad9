//! `/admin/payments` and `/admin/debts`.

use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use dermaga_shop::{
    ids::{PaymentId, UserId},
    money::Rupiah,
    payments::{
        self, DebtFilter, DebtView, NoticeView, Payment, PaymentFilter, PaymentState, PaymentView,
        refunds::{self, Refund},
        review,
        top_up::LARGEST_TOP_UP,
    },
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState, IdempotencyKey, Keyed},
    http::{
        Cursor, Envelope, Id, PageQuery, Paged, Refusal, Reply, Success, failure_responses, lists,
        routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Reviewing: NotFound, InvalidState);
failure_responses!(Refunding: NotFound, InvalidState, RefundTooLarge, InsufficientCredit, GatewayRefused, GatewayUnavailable, PaymentsNotConfigured);

/// The administrators' routes.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_payments))
        .routes(routes!(gateway_state))
        .routes(routes!(get_payment))
        .routes(routes!(refund_payment))
        .routes(routes!(review_payment))
        .routes(routes!(list_debts))
}

/// Filter of a list of payments.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[garde(allow_unvalidated)]
struct PaymentQuery {
    #[param(inline)]
    state: Option<PaymentState>,
    user_id: Option<UserId>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Payments>>,
}

/// Lists all payments, newest first.
#[utoipa::path(get, path = "/admin/payments", tag = "admin: payments", params(PageQuery, PaymentQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of payments", body = Envelope<Vec<PaymentView>>)))]
async fn list_payments(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<PaymentQuery>,
) -> Reply<Vec<PaymentView>> {
    let filter = PaymentFilter {
        state: query.state,
        user_id: query.user_id,
    };
    let found = payments::list(&state.db, filter, page.span(query.cursor)?).await?;
    let listed = Success::walk::<lists::Payments>("The payments.", page, found, Payment::place);
    Ok(listed.map(|rows| rows.into_iter().map(PaymentView::from).collect()))
}

/// The gateway as this server sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GatewayView {
    is_configured: bool,
    /// True for the sandbox that this server plays by itself.
    is_sandbox: bool,
    /// Moment before which it is asked nothing, after several failures in a row.
    #[serde(serialize_with = "dermaga_shop::calendar::in_json_if_any")]
    left_alone_until: Option<DateTime<Utc>>,
}

/// Returns the state of the gateway.
#[utoipa::path(get, path = "/admin/payments/gateway", tag = "admin: payments", security(("bearer" = [])),
    responses((status = 200, description = "The gateway", body = Envelope<GatewayView>)))]
async fn gateway_state(State(state): State<AppState>, _admin: Admin) -> Reply<GatewayView> {
    let gateway = state.payments.gateway().ok();
    let view = GatewayView {
        is_configured: gateway.is_some(),
        is_sandbox: state.sandbox.is_some(),
        left_alone_until: gateway.and_then(payments::Gateway::left_alone_until),
    };
    Ok(Success::ok("The payment gateway.", view))
}

/// A payment with everything the gateway sent about it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PaymentDetail {
    payment: PaymentView,
    /// Notices in the order they came.
    notices: Vec<NoticeView>,
}

/// Returns a payment with its notices.
#[utoipa::path(get, path = "/admin/payments/{id}", tag = "admin: payments", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The payment", body = Envelope<PaymentDetail>), Missing))]
async fn get_payment(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<PaymentId>,
) -> Reply<PaymentDetail> {
    let (payment, notices) = payments::with_notices(&state.db, id).await?;
    let detail = PaymentDetail {
        payment: payment.into(),
        notices,
    };
    Ok(Success::ok("The payment.", detail))
}

/// Refund through the gateway.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PaymentRefund {
    /// Rupiah.
    #[garde(range(min = 1, max = LARGEST_TOP_UP))]
    #[schema(minimum = 1, maximum = 10_000_000)]
    amount: i64,
    #[serde(deserialize_with = "dermaga_shop::text::typed_reason")]
    #[garde(length(chars, max = 200), custom(dermaga_shop::text::reason))]
    #[schema(min_length = 10, max_length = 200, format = "reason")]
    reason: String,
}

/// Pays a top-up back to its payer through the gateway; the wallet loses it.
///
/// A gateway that does not answer (503) is asked again, later and later, up to every hour; after a
/// day the alert `REFUND_NOT_ANSWERED` is raised, which ends with the refund.
#[utoipa::path(post, path = "/admin/payments/{id}/refund", tag = "admin: payments", request_body = PaymentRefund, security(("bearer" = [])),
    params(("id" = Uuid, Path), IdempotencyKey),
    responses((status = 200, description = "The payment after it", body = Envelope<PaymentView>), Refunding))]
async fn refund_payment(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<PaymentId>,
    Keyed(request, once): Keyed<PaymentRefund>,
) -> Result<Response, Refusal> {
    let refund = Refund {
        amount: Rupiah::new(request.amount),
        reason: request.reason,
        intent: once.intent(admin.user_id),
    };
    let pay_back = async {
        let paid_back = refunds::refund(&state.payments, admin.user_id, id, &refund).await?;
        let message = format!("{} are on their way back to the payer.", refund.amount);
        Ok(paid_back.map(|payment| Success::ok(message, PaymentView::from(payment))))
    };
    once.answer(&state, admin.user_id, pay_back).await
}

/// A payment that was settled by hand.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PaymentReview {
    /// The findings, and the steps taken.
    #[serde(deserialize_with = "dermaga_shop::text::typed_reason")]
    #[garde(length(chars, max = 200), custom(dermaga_shop::text::reason))]
    #[schema(min_length = 10, max_length = 200, format = "reason")]
    reason: String,
}

/// Closes a payment with a `problem` after an administrator has settled it by hand (a refund at the
/// gateway, an adjustment of the wallet): its alert ends, and a payment that still waits is given
/// up.
#[utoipa::path(post, path = "/admin/payments/{id}/review", tag = "admin: payments", request_body = PaymentReview, security(("bearer" = [])),
    params(("id" = Uuid, Path), IdempotencyKey),
    responses((status = 200, description = "The payment after it", body = Envelope<PaymentView>), Reviewing))]
async fn review_payment(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<PaymentId>,
    Keyed(request, once): Keyed<PaymentReview>,
) -> Result<Response, Refusal> {
    let close = async {
        let closed = review::close(&state.payments, admin.user_id, id, &request.reason).await?;
        Ok(closed.map(|payment| Success::ok("The payment is closed.", PaymentView::from(payment))))
    };
    once.answer(&state, admin.user_id, close).await
}

/// Filter of a list of debts.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[garde(allow_unvalidated)]
struct DebtQuery {
    user_id: Option<UserId>,
    /// True for open debts, false for paid ones.
    open: Option<bool>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Debts>>,
}

/// Lists the debts of customers, newest first.
#[utoipa::path(get, path = "/admin/debts", tag = "admin: payments", params(PageQuery, DebtQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of debts", body = Envelope<Vec<DebtView>>)))]
async fn list_debts(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<DebtQuery>,
) -> Reply<Vec<DebtView>> {
    let filter = DebtFilter {
        user_id: query.user_id,
        open: query.open,
    };
    let found = payments::debts(&state.db, filter, page.span(query.cursor)?).await?;
    let place = DebtView::place;
    Ok(Success::walk::<lists::Debts>(
        "The debts.",
        page,
        found,
        place,
    ))
}
