//! `/admin/wallets` and `/admin/transactions`: all wallets, and changing one by hand.

use axum::{extract::State, response::Response};
use chrono::{DateTime, Utc};
use dermaga_shop::{
    Error,
    audit::GivenReason,
    db::Place,
    ids::UserId,
    money::Rupiah,
    wallet::{
        self, Adjustment, AllWallets, AnyTransactionFilter, CreditKind, Direction, Float,
        OwnedTransaction, OwnedWallet, Transaction, TransactionNumber, TransactionStatus,
        TransactionType, TransactionView, WalletFilter, WalletOrder,
    },
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        Admin, AppState, IdempotencyKey, Keyed,
        wallet::{StatementQuery, statement_of},
    },
    http::{
        Cursor, Envelope, Id, PageQuery, Paged, Params, Refusal, Reply, Success, When,
        failure_responses, lists, range, routes,
    },
};

failure_responses!(Missing: NotFound);
failure_responses!(Adding: NotFound, BalanceCapExceeded);
failure_responses!(Deducting: NotFound, InsufficientCredit);
failure_responses!(Adjusting: NotFound, InsufficientCredit, BalanceCapExceeded);

/// Largest adjustment, in rupiah; a slip of the finger is larger.
const LARGEST_ADJUSTMENT: i64 = 1_000_000_000;

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(wallets))
        .routes(routes!(statistics))
        .routes(routes!(one))
        .routes(routes!(statement))
        .routes(routes!(add_credit))
        .routes(routes!(deduct_credit))
        .routes(routes!(bulk_adjustment))
        .routes(routes!(transactions))
}

/// A customer's wallet, in rupiah.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OwnedWalletView {
    user_id: UserId,
    email: String,
    name: String,
    paid_balance: Rupiah,
    bonus_balance: Rupiah,
    total_balance: Rupiah,
    total_top_up: Rupiah,
    total_spent: Rupiah,
    #[serde(serialize_with = "dermaga_shop::calendar::in_json")]
    created_at: DateTime<Utc>,
    #[serde(serialize_with = "dermaga_shop::calendar::in_json")]
    updated_at: DateTime<Utc>,
}

impl TryFrom<OwnedWallet> for OwnedWalletView {
    type Error = Error;

    fn try_from(row: OwnedWallet) -> Result<Self, Error> {
        Ok(Self {
            user_id: row.user_id,
            total_balance: row.paid_balance.plus(row.bonus_balance)?,
            email: row.email,
            name: row.name,
            paid_balance: row.paid_balance,
            bonus_balance: row.bonus_balance,
            total_top_up: row.total_top_up,
            total_spent: row.total_spent,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Filter of a list of wallets.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct WalletQuery {
    /// Part of the owner's e-mail address or name.
    #[garde(length(chars, max = 200))]
    #[param(max_length = 200)]
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_search")]
    q: Option<String>,
    /// Rupiah, paid and bonus together.
    #[garde(inner(range(min = 0, max = 1_000_000_000_000)))]
    #[param(minimum = 0, maximum = 1_000_000_000_000_i64)]
    min_balance: Option<i64>,
    #[garde(inner(range(min = 0, max = 1_000_000_000_000)))]
    #[param(minimum = 0, maximum = 1_000_000_000_000_i64)]
    max_balance: Option<i64>,
    /// Order of the list; the largest balance first when absent.
    #[garde(skip)]
    #[param(inline)]
    order: Option<WalletOrder>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`, and in the order of
    /// balances only.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Wallets>>,
}

/// Lists all wallets.
///
/// Other orders than that of balances are read by pages only, and have no `nextCursor`. One who reads on while
/// balances change meets each wallet at the balance that it has then.
#[utoipa::path(get, path = "/admin/wallets", tag = "admin: wallets", params(PageQuery, WalletQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of wallets", body = Envelope<Vec<OwnedWalletView>>)))]
async fn wallets(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<WalletQuery>,
) -> Reply<Vec<OwnedWalletView>> {
    let order = query.order.unwrap_or(WalletOrder::Balance);
    let bounds = query.min_balance.zip(query.max_balance);
    if bounds.is_some_and(|(least, most)| least > most) {
        let message = "must not be more than `maxBalance`";
        return Err(Error::invalid("minBalance", message).into());
    }
    let filter = WalletFilter {
        owner: query.q,
        min_balance: query.min_balance.map(Rupiah::new),
        max_balance: query.max_balance.map(Rupiah::new),
    };
    let span = page.span(query.cursor)?;
    let found = wallet::wallets(&state.db, &filter, order, span).await?;
    let views = found.try_map(OwnedWalletView::try_from)?;
    let message = "All wallets.";
    if order != WalletOrder::Balance {
        return Ok(Success::page(message, page, views.into_page()));
    }
    let place = |view: &OwnedWalletView| Place {
        at: view.total_balance,
        tie: view.user_id,
    };
    Ok(Success::walk::<lists::Wallets>(message, page, views, place))
}

/// Transactions of one type and status. Those that are `REFUNDED` took effect, too: what was received or paid is the sum
/// of `COMPLETED` and `REFUNDED`, and what was taken back has types of its own (`TOP_UP_REFUND`, `CHARGEBACK`, `REFUND`).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TypeTotalView {
    r#type: TransactionType,
    status: TransactionStatus,
    count: i64,
    /// Gain of the wallets by them; negative when they paid.
    amount: Rupiah,
}

/// Sums of all wallets, in rupiah.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WalletStatistics {
    wallets: i64,
    wallets_with_credit: i64,
    /// Paid credit, which the shop owes.
    float: Float,
    bonus_balance: Rupiah,
    /// All top-ups that were received, also those that were taken back since.
    total_top_up: Rupiah,
    total_spent: Rupiah,
    /// Start of this month in the shop's time zone.
    #[serde(serialize_with = "dermaga_shop::calendar::in_json")]
    month_start: DateTime<Utc>,
    /// Transactions since then: those that took effect by the moment when they did, others by their beginning.
    this_month: Vec<TypeTotalView>,
}

/// Returns totals of all wallets, now and for this month.
#[utoipa::path(get, path = "/admin/wallets/statistics", tag = "admin: wallets", security(("bearer" = [])),
    responses((status = 200, description = "Totals and the float", body = Envelope<WalletStatistics>)))]
async fn statistics(State(state): State<AppState>, _admin: Admin) -> Reply<WalletStatistics> {
    let AllWallets {
        totals,
        float,
        month_start,
        this_month,
    } = wallet::all_wallets(&state.wallets).await?;
    let this_month = this_month.into_iter().map(|total| TypeTotalView {
        r#type: total.kind,
        status: total.status,
        count: total.count,
        amount: total.amount,
    });
    let view = WalletStatistics {
        wallets: totals.wallets,
        wallets_with_credit: totals.with_credit,
        float,
        bonus_balance: totals.bonus,
        total_top_up: totals.top_up,
        total_spent: totals.spent,
        month_start,
        this_month: this_month.collect(),
    };
    Ok(Success::ok("All wallets together.", view))
}

/// A wallet with its chain and its last ten transactions.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WalletDetail {
    #[serde(flatten)]
    wallet: OwnedWalletView,
    /// Number of its entries in the ledger.
    entries: i64,
    /// Hash of the last one.
    head_hash: String,
    recent_transactions: Vec<TransactionView>,
}

/// Returns a customer's wallet.
#[utoipa::path(get, path = "/admin/wallets/{userId}", tag = "admin: wallets", params(("userId" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The wallet", body = Envelope<WalletDetail>), Missing))]
async fn one(
    State(state): State<AppState>,
    _admin: Admin,
    Id(user_id): Id<UserId>,
) -> Reply<WalletDetail> {
    let (row, recent) = wallet::owned(&state.db, user_id).await?;
    let view = WalletDetail {
        entries: row.entries,
        head_hash: row.head_hash.clone(),
        wallet: row.try_into()?,
        recent_transactions: recent.into_iter().map(TransactionView::from).collect(),
    };
    Ok(Success::ok("The wallet.", view))
}

/// Returns a customer's statement, as the customer gets it.
#[utoipa::path(get, path = "/admin/wallets/{userId}/statement", tag = "admin: wallets", params(("userId" = Uuid, Path), StatementQuery), security(("bearer" = [])),
    responses((status = 200, description = "The statement", content_type = "text/csv", body = String), Missing))]
async fn statement(
    State(state): State<AppState>,
    _admin: Admin,
    Id(user_id): Id<UserId>,
    Params(query): Params<StatementQuery>,
) -> Result<Response, Refusal> {
    statement_of(&state, user_id, query).await
}

/// Credit to add or take, with the reason.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdjustmentRequest {
    /// Rupiah.
    #[garde(range(min = 1, max = LARGEST_ADJUSTMENT))]
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    amount: i64,
    /// Reason of at least ten characters; the customer can read it.
    #[garde(dive)]
    reason: GivenReason,
    /// Kind of credit. When absent, added credit is bonus, and bonus is taken before paid.
    #[garde(skip)]
    kind: Option<CreditKind>,
}

/// A changed wallet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AdjustedView {
    user_id: UserId,
    transaction: TransactionView,
}

impl From<Transaction> for AdjustedView {
    fn from(transaction: Transaction) -> Self {
        Self {
            user_id: transaction.user_id,
            transaction: transaction.into(),
        }
    }
}

/// Adds credit to a customer's wallet.
#[utoipa::path(post, path = "/admin/wallets/{userId}/add-credit", tag = "admin: wallets", security(("bearer" = [])),
    params(("userId" = Uuid, Path), IdempotencyKey), request_body = AdjustmentRequest,
    responses((status = 201, description = "Added", body = Envelope<AdjustedView>), Adding))]
async fn add_credit(
    state: State<AppState>,
    admin: Admin,
    Id(user_id): Id<UserId>,
    request: Keyed<AdjustmentRequest>,
) -> Result<Response, Refusal> {
    change(&state, admin, user_id, Direction::Add, request).await
}

/// Takes credit from a customer's wallet; never more than it holds.
#[utoipa::path(post, path = "/admin/wallets/{userId}/deduct-credit", tag = "admin: wallets", security(("bearer" = [])),
    params(("userId" = Uuid, Path), IdempotencyKey), request_body = AdjustmentRequest,
    responses((status = 201, description = "Taken", body = Envelope<AdjustedView>), Deducting))]
async fn deduct_credit(
    state: State<AppState>,
    admin: Admin,
    Id(user_id): Id<UserId>,
    request: Keyed<AdjustmentRequest>,
) -> Result<Response, Refusal> {
    change(&state, admin, user_id, Direction::Deduct, request).await
}

async fn change(
    state: &AppState,
    admin: Admin,
    user_id: UserId,
    direction: Direction,
    Keyed(request, once): Keyed<AdjustmentRequest>,
) -> Result<Response, Refusal> {
    let adjustment = Adjustment {
        user_id,
        direction,
        amount: Rupiah::new(request.amount),
        kind: request.kind,
    };
    let act = async {
        let made = wallet::adjust(
            &state.wallets,
            admin.user_id,
            adjustment,
            request.reason.as_str(),
        )
        .await?;
        Ok(made.map(|transaction| {
            let message = match direction {
                Direction::Add => format!("{} was added.", adjustment.amount),
                Direction::Deduct => format!("{} have been taken.", adjustment.amount),
            };
            Success::created(message, AdjustedView::from(transaction))
        }))
    };
    once.answer(state, admin.user_id, act).await
}

/// Adjustment among many.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BulkItem {
    #[garde(skip)]
    user_id: UserId,
    #[garde(skip)]
    direction: Direction,
    /// Rupiah.
    #[garde(range(min = 1, max = LARGEST_ADJUSTMENT))]
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    amount: i64,
    /// Kind of credit. When absent, added credit is bonus, and bonus is taken before paid.
    #[garde(skip)]
    kind: Option<CreditKind>,
}

/// Adjustments that belong together.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BulkRequest {
    #[garde(length(min = 1, max = 100), dive)]
    #[schema(min_items = 1, max_items = 100)]
    adjustments: Vec<BulkItem>,
    /// Reason of at least ten characters; the customers can read it.
    #[garde(dive)]
    reason: GivenReason,
}

/// Adds and takes credit in up to 100 steps: all of them, or none.
#[utoipa::path(post, path = "/admin/wallets/bulk-adjustment", tag = "admin: wallets", security(("bearer" = [])),
    params(IdempotencyKey), request_body = BulkRequest,
    responses((status = 201, description = "All made, in their order", body = Envelope<Vec<AdjustedView>>), Adjusting))]
async fn bulk_adjustment(
    State(state): State<AppState>,
    admin: Admin,
    Keyed(request, once): Keyed<BulkRequest>,
) -> Result<Response, Refusal> {
    let adjustments = request.adjustments.iter().map(|item| Adjustment {
        user_id: item.user_id,
        direction: item.direction,
        amount: Rupiah::new(item.amount),
        kind: item.kind,
    });
    let adjustments: Vec<_> = adjustments.collect();
    let reason = request.reason.as_str();
    let act = async {
        let made = wallet::adjust_all(&state.wallets, admin.user_id, &adjustments, reason).await?;
        Ok(made.map(|made| {
            let message = match made.len() {
                1 => "1 adjustment made.".to_owned(),
                many => format!("{many} adjustments made."),
            };
            let views: Vec<_> = made.into_iter().map(AdjustedView::from).collect();
            Success::created(message, views)
        }))
    };
    once.answer(&state, admin.user_id, act).await
}

/// Filter of a list of all transactions.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AnyTransactionQuery {
    #[garde(skip)]
    user_id: Option<UserId>,
    /// `TXMP-101`
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^TXMP-[0-9]{1,19}$")]
    number: Option<TransactionNumber>,
    #[garde(skip)]
    #[param(inline)]
    r#type: Option<TransactionType>,
    #[garde(skip)]
    #[param(inline)]
    status: Option<TransactionStatus>,
    /// Made at or after this moment, or on this date or later where the shop is.
    #[garde(skip)]
    #[param(inline)]
    from: Option<When>,
    /// Made before this moment, or on this date or earlier.
    #[garde(skip)]
    #[param(inline)]
    to: Option<When>,
    /// Rupiah, in or out.
    #[garde(inner(range(min = 0, max = 1_000_000_000_000)))]
    #[param(minimum = 0, maximum = 1_000_000_000_000_i64)]
    min_amount: Option<i64>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Transactions>>,
}

/// A transaction and whose it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OwnedTransactionView {
    user_id: UserId,
    email: String,
    #[serde(flatten)]
    transaction: TransactionView,
}

impl From<OwnedTransaction> for OwnedTransactionView {
    fn from(row: OwnedTransaction) -> Self {
        Self {
            user_id: row.transaction.user_id,
            email: row.email,
            transaction: row.transaction.into(),
        }
    }
}

/// Lists all customers' transactions, newest first.
#[utoipa::path(get, path = "/admin/transactions", tag = "admin: wallets", params(PageQuery, AnyTransactionQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of transactions", body = Envelope<Vec<OwnedTransactionView>>)))]
async fn transactions(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<AnyTransactionQuery>,
) -> Reply<Vec<OwnedTransactionView>> {
    let zone = state.clock.zone();
    let (from, to) = range(("from", query.from), ("to", query.to), zone)?;
    let filter = AnyTransactionFilter {
        user_id: query.user_id,
        number: query.number,
        kind: query.r#type,
        status: query.status,
        from,
        to,
        min_amount: query.min_amount.map(Rupiah::new),
    };
    let span = page.span(query.cursor)?;
    let found = wallet::any_transactions(&state.db, filter, span).await?;
    let place = |row: &OwnedTransaction| row.transaction.place();
    let listed = Success::walk::<lists::Transactions>("Transactions.", page, found, place);
    Ok(listed.map(|rows| rows.into_iter().map(OwnedTransactionView::from).collect()))
}
