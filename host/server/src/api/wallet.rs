//! `/wallet`: what a customer sees of money.

use std::io;

use axum::{body::Body as Content, extract::State, response::Response};
use dermaga_shop::{
    Error,
    calendar::Period,
    ids::UserId,
    money::Rupiah,
    wallet::{
        self, Statistics, Transaction, TransactionFilter, TransactionName, TransactionStatus,
        TransactionType, TransactionView, WalletInfo, receipt,
        statement::{Dates, Statement},
        statistics,
    },
};
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer},
    http::{
        Attachment, Body, Cursor, Envelope, PageQuery, Paged, Params, Refusal, Reply, Segment,
        Success, When, failure_responses, lists, range, routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Unsettled: NotFound, InvalidState);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(info))
        .routes(routes!(transactions))
        .routes(routes!(transaction))
        .routes(routes!(receipt))
        .routes(routes!(statement))
        .routes(routes!(period_statistics))
        .routes(routes!(check_credit))
}

/// The wallet at a glance.
#[utoipa::path(get, path = "/wallet/info", tag = "wallet", security(("bearer" = [])),
    responses((status = 200, description = "Balances, totals and the last ten transactions", body = Envelope<WalletInfo>), Missing))]
async fn info(State(state): State<AppState>, customer: Customer) -> Reply<WalletInfo> {
    let info = wallet::info(&state.wallets, customer.user_id).await?;
    Ok(Success::ok("Your wallet.", info))
}

/// Filter of a list of transactions.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[garde(allow_unvalidated)]
struct TransactionQuery {
    #[param(inline)]
    r#type: Option<TransactionType>,
    #[param(inline)]
    status: Option<TransactionStatus>,
    /// Made at or after this moment, or on this date or later where the shop is.
    #[param(inline)]
    from: Option<When>,
    /// Made before this moment, or on this date or earlier.
    #[param(inline)]
    to: Option<When>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::OwnTransactions>>,
}

/// A customer's transactions, newest first.
#[utoipa::path(get, path = "/wallet/transactions", tag = "wallet", params(PageQuery, TransactionQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of transactions", body = Envelope<Vec<TransactionView>>)))]
async fn transactions(
    State(state): State<AppState>,
    customer: Customer,
    Paged(page, query): Paged<TransactionQuery>,
) -> Reply<Vec<TransactionView>> {
    let zone = state.clock.zone();
    let (from, to) = range(("from", query.from), ("to", query.to), zone)?;
    let filter = TransactionFilter {
        kind: query.r#type,
        status: query.status,
        from,
        to,
    };
    let span = page.span(query.cursor)?;
    let found = wallet::transactions(&state.db, customer.user_id, filter, span).await?;
    let listed = Success::walk::<lists::OwnTransactions>(
        "Your transactions.",
        page,
        found,
        Transaction::place,
    );
    Ok(listed.map(|rows| rows.into_iter().map(TransactionView::from).collect()))
}

/// Returns a transaction, by id or by number (`TXMP-101`).
#[utoipa::path(get, path = "/wallet/transactions/{id}", tag = "wallet", security(("bearer" = [])),
    params(("id" = String, Path, description = "Id or number of the transaction")),
    responses((status = 200, description = "The transaction, with the reasons of its price", body = Envelope<TransactionView>), Missing))]
async fn transaction(
    State(state): State<AppState>,
    customer: Customer,
    Segment(name): Segment<TransactionName>,
) -> Reply<TransactionView> {
    let mut conn = state.db.read().await?;
    let row = wallet::transaction_of(&mut conn, customer.user_id, name).await?;
    Ok(Success::ok("The transaction.", row.into()))
}

/// The receipt of one transaction, as a PDF.
#[utoipa::path(get, path = "/wallet/transactions/{id}/receipt", tag = "wallet", security(("bearer" = [])),
    params(("id" = String, Path, description = "Id or number of the transaction")),
    responses((status = 200, description = "The receipt", content_type = "application/pdf", body = Vec<u8>), Unsettled))]
async fn receipt(
    State(state): State<AppState>,
    customer: Customer,
    Segment(name): Segment<TransactionName>,
) -> Result<Response, Refusal> {
    let (number, content) = receipt::of_transaction(&state.wallets, customer.user_id, name).await?;
    let file = Attachment {
        name: format!("dermaga-receipt-{number}.pdf"),
        media_type: "application/pdf",
        content: content.into(),
    };
    file.answer_in_words()
}

/// Dates of a statement.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[garde(allow_unvalidated)]
pub(super) struct StatementQuery {
    /// The first date, where the shop is; the first of this month, when absent. A moment counts as
    /// its date.
    #[param(inline)]
    from: Option<When>,
    /// The last date, included; today, when absent. At most 366 days.
    #[param(inline)]
    to: Option<When>,
}

/// Writes the entries of the wallet as CSV for a spreadsheet: opening balance, every entry in the
/// order of the ledger, closing balance. Amounts are whole rupiah.
#[utoipa::path(get, path = "/wallet/statement", tag = "wallet", params(StatementQuery), security(("bearer" = [])),
    responses((status = 200, description = "The statement", content_type = "text/csv", body = String), Missing))]
async fn statement(
    State(state): State<AppState>,
    customer: Customer,
    Params(query): Params<StatementQuery>,
) -> Result<Response, Refusal> {
    statement_of(&state, customer.user_id, query).await
}

pub(crate) async fn statement_of(
    state: &AppState,
    user_id: UserId,
    query: StatementQuery,
) -> Result<Response, Refusal> {
    let zone = state.clock.zone();
    range(("from", query.from), ("to", query.to), zone)?;
    let date = |when: When| when.date(zone);
    let dates = Dates::of(
        (query.from.map(date), query.to.map(date)),
        zone,
        state.clock.now(),
    )?;
    let mut statement = Statement::open(&state.db, user_id, dates, zone).await?;
    let first = statement.part().await?.unwrap_or_default();
    let file = Attachment {
        name: dates.file_name(),
        media_type: "text/csv; charset=utf-8; header=present",
        content: if statement.is_over() {
            first.into()
        } else {
            in_parts(first, statement)
        },
    };
    file.answer_in_words()
}

/// Writes the rest of a long statement as the client takes it. A fault then breaks the answer off, so that no
/// client takes a part for the whole.
fn in_parts(first: Vec<u8>, rest: Statement) -> Content {
    let rest = stream::try_unfold(rest, |mut rest| async move {
        let part = rest.part().await?;
        Ok::<_, Error>(part.map(|part| (part, rest)))
    });
    let parts = stream::once(future::ready(Ok(first))).chain(rest);
    Content::from_stream(parts.map_err(|error| {
        tracing::error!(%error, cause = ?error.source, "statement.broke_off");
        io::Error::other(error.to_string())
    }))
}

/// Period to add up.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[garde(allow_unvalidated)]
struct PeriodQuery {
    /// The running one, where the shop is; the month when absent.
    #[serde(default)]
    #[param(inline)]
    period: Period,
}

/// Sums what went in and out in the running day, week, month or year.
#[utoipa::path(get, path = "/wallet/statistics", tag = "wallet", params(PeriodQuery), security(("bearer" = [])),
    responses((status = 200, description = "Sums by type and by part of the period", body = Envelope<Statistics>)))]
async fn period_statistics(
    State(state): State<AppState>,
    customer: Customer,
    Params(query): Params<PeriodQuery>,
) -> Reply<Statistics> {
    let (zone, now) = (state.clock.zone(), state.clock.now());
    let mut conn = state.db.snapshot().await?;
    let found = statistics::of_period(&mut conn, customer.user_id, query.period, zone, now).await?;
    Ok(Success::ok("Money in and out.", found))
}

/// An amount to compare with the balance.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreditCheck {
    /// Rupiah.
    #[garde(range(min = 0, max = 1_000_000_000_000))]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    amount: i64,
}

/// Result of comparing the wallet with an amount.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CreditCheckView {
    sufficient: bool,
    balance: Rupiah,
    /// Zero when the credit suffices.
    missing: Rupiah,
}

/// Checks that the wallet holds an amount.
#[utoipa::path(post, path = "/wallet/check-credit", tag = "wallet", request_body = CreditCheck, security(("bearer" = [])),
    responses((status = 200, description = "The answer, and the amount that is missing", body = Envelope<CreditCheckView>)))]
async fn check_credit(
    State(state): State<AppState>,
    customer: Customer,
    Body(check): Body<CreditCheck>,
) -> Reply<CreditCheckView> {
    let balance = wallet::balance(&mut state.db.read().await?, customer.user_id)
        .await?
        .total()?;
    let amount = Rupiah::new(check.amount);
    let missing = amount.minus(balance)?.max(Rupiah::ZERO);
    let view = CreditCheckView {
        sufficient: missing.is_zero(),
        balance,
        missing,
    };
    Ok(Success::ok(
        if view.sufficient {
            "The credit suffices."
        } else {
            "The credit does not suffice."
        },
        view,
    ))
}
