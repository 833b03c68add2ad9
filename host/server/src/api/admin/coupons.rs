//! `/admin/coupons` and `/admin/coupon-types`: what administrators do with coupons.

use axum::{extract::State, response::Response};
use dermaga_runtime::contract::Kind;
use dermaga_shop::{
    audit::GivenReason,
    coupons::{
        self, Coupon, CouponFilter, CouponStatistics, CouponStatus, CouponTypeView, CouponView,
        NewCoupon, RedeemedBy, Switch, administration, place_name,
    },
    ids::CouponId,
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        Admin, AppState, IdempotencyKey, Keyed,
        admin::reasons::{OptionalReason, Reason},
    },
    http::{
        Body, Cursor, Envelope, Id, PageQuery, Paged, Params, Refusal, Reply, Success, When,
        failure_responses, lists, range, routes,
    },
};

failure_responses!(Creating: PluginRefusedInput, Conflict, PluginFailed, PluginBusy, PluginSuspended);
failure_responses!(Changing: NotFound, PluginRefusedInput, Conflict, PluginFailed, PluginBusy, PluginSuspended);
failure_responses!(Missing: NotFound);
failure_responses!(Kept: NotFound, Conflict);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list_coupons, create_coupon))
        .routes(routes!(coupon_statistics))
        .routes(routes!(change_statuses))
        .routes(routes!(get_coupon, change_coupon, delete_coupon))
        .routes(routes!(coupon_redemptions))
        .routes(routes!(coupon_types))
}

/// Creates a coupon. Its type (a plugin) checks the parameters.
#[utoipa::path(post, path = "/admin/coupons", tag = "admin: coupons", params(IdempotencyKey), request_body = NewCoupon, security(("bearer" = [])),
    responses((status = 201, description = "Created", body = Envelope<CouponView>), Creating))]
async fn create_coupon(
    State(state): State<AppState>,
    admin: Admin,
    Keyed(new, once): Keyed<NewCoupon>,
) -> Result<Response, Refusal> {
    let create = async {
        let coupon = administration::create(&state.coupons, admin.user_id, new).await?;
        let now = state.clock.now();
        Ok(coupon.map(|coupon| {
            let message = format!("The coupon {} is in use.", coupon.code);
            Success::created(message, CouponView::of(coupon, now))
        }))
    };
    once.answer(&state, admin.user_id, create).await
}

/// Filter of a list of coupons.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CouponQuery {
    /// As it is now: an active coupon whose window is over is EXPIRED.
    #[garde(skip)]
    #[param(inline)]
    status: Option<CouponStatus>,
    /// Id of the coupon type.
    #[garde(length(chars, max = 50))]
    #[param(max_length = 50)]
    plugin: Option<String>,
    /// Part of the code or the description.
    #[garde(length(chars, max = 200))]
    #[param(max_length = 200)]
    #[serde(default, deserialize_with = "dermaga_shop::text::typed_search")]
    q: Option<String>,
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Coupons>>,
}

/// Lists all coupons, newest first.
#[utoipa::path(get, path = "/admin/coupons", tag = "admin: coupons", params(PageQuery, CouponQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of coupons", body = Envelope<Vec<CouponView>>)))]
async fn list_coupons(
    State(state): State<AppState>,
    _admin: Admin,
    Paged(page, query): Paged<CouponQuery>,
) -> Reply<Vec<CouponView>> {
    let now = state.clock.now();
    let filter = CouponFilter {
        status: query.status,
        plugin: query.plugin,
        text: query.q,
        now,
    };
    let found = coupons::list(&state.db, &filter, page.span(query.cursor)?).await?;
    let listed = Success::walk::<lists::Coupons>("The coupons.", page, found, Coupon::place);
    Ok(listed.map(|coupons| {
        let views = coupons.into_iter();
        views.map(|coupon| CouponView::of(coupon, now)).collect()
    }))
}

/// Returns a coupon.
#[utoipa::path(get, path = "/admin/coupons/{id}", tag = "admin: coupons", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The coupon", body = Envelope<CouponView>), Missing))]
async fn get_coupon(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<CouponId>,
) -> Reply<CouponView> {
    let coupon = coupons::by_id(&state.db, id).await?;
    Ok(Success::ok(
        "The coupon.",
        CouponView::of(coupon, state.clock.now()),
    ))
}

/// Replaces the content of a coupon. Code, type and parameters are frozen after its first use; an
/// absent `startsAt` keeps the start. Past redemptions stay, and the status follows: a coupon that
/// was used up is in use again when it gets more uses.
#[utoipa::path(put, path = "/admin/coupons/{id}", tag = "admin: coupons", params(("id" = Uuid, Path)), request_body = NewCoupon, security(("bearer" = [])),
    responses((status = 200, description = "The changed coupon", body = Envelope<CouponView>), Changing))]
async fn change_coupon(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<CouponId>,
    Body(wanted): Body<NewCoupon>,
) -> Reply<CouponView> {
    let coupon = administration::change(&state.coupons, admin.user_id, id, wanted).await?;
    let message = format!("The coupon {} is changed.", coupon.code);
    Ok(Success::ok(
        message,
        CouponView::of(coupon, state.clock.now()),
    ))
}

/// A coupon that is gone.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeletedCoupon {
    id: CouponId,
}

/// Deletes an unused coupon; a used one can be disabled.
#[utoipa::path(delete, path = "/admin/coupons/{id}", tag = "admin: coupons", params(("id" = Uuid, Path)), request_body = Option<OptionalReason>,
    security(("bearer" = [])),
    responses((status = 200, description = "Deleted", body = Envelope<DeletedCoupon>), Kept))]
async fn delete_coupon(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<CouponId>,
    reason: Reason,
) -> Reply<DeletedCoupon> {
    administration::delete(&state.coupons, reason.of(admin), id).await?;
    Ok(Success::ok("The coupon is deleted.", DeletedCoupon { id }))
}

/// Coupons to switch on or off.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StatusRequest {
    #[garde(length(min = 1, max = 100))]
    #[schema(min_items = 1, max_items = 100)]
    ids: Vec<CouponId>,
    #[garde(skip)]
    status: Switch,
    /// Reason of the act, for the audit trail.
    #[garde(dive)]
    reason: Option<GivenReason>,
}

/// Switches up to 100 coupons on or off: all of them, or none. One that is expired or used up is
/// not switched on; change its window or its limits. Nor is one whose type has no active version.
#[utoipa::path(put, path = "/admin/coupons/bulk-status", tag = "admin: coupons", request_body = StatusRequest, security(("bearer" = [])),
    responses((status = 200, description = "The coupons, in the order of their ids", body = Envelope<Vec<CouponView>>), Kept))]
async fn change_statuses(
    State(state): State<AppState>,
    admin: Admin,
    Body(request): Body<StatusRequest>,
) -> Reply<Vec<CouponView>> {
    let by = admin.by(request.reason.as_ref());
    let coupons = administration::switch(&state.coupons, by, request.ids, request.status).await?;
    let now = state.clock.now();
    let message = match (request.status, coupons.len()) {
        (Switch::Active, 1) => "1 coupon switched on.".to_owned(),
        (Switch::Active, many) => format!("{many} coupons switched on."),
        (Switch::Disabled, 1) => "1 coupon switched off.".to_owned(),
        (Switch::Disabled, many) => format!("{many} coupons switched off."),
    };
    let views = coupons
        .into_iter()
        .map(|coupon| CouponView::of(coupon, now));
    Ok(Success::ok(message, views.collect()))
}

/// Filter of the redemptions to count.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[garde(allow_unvalidated)]
struct StatisticsQuery {
    /// Redeemed at or after this moment, or on this date or later where the shop is.
    #[param(inline)]
    from: Option<When>,
    /// Redeemed before this moment, or on this date or earlier.
    #[param(inline)]
    to: Option<When>,
}

/// Sums cost and revenue of coupons: their number by status, and uses, cost and revenue by type and
/// by coupon.
#[utoipa::path(get, path = "/admin/coupons/statistics", tag = "admin: coupons", params(StatisticsQuery), security(("bearer" = [])),
    responses((status = 200, description = "Totals, by type, and the ten costliest coupons", body = Envelope<CouponStatistics>)))]
async fn coupon_statistics(
    State(state): State<AppState>,
    _admin: Admin,
    Params(query): Params<StatisticsQuery>,
) -> Reply<CouponStatistics> {
    let mut conn = state.db.snapshot().await?;
    let zone = state.clock.zone();
    let window = range(("from", query.from), ("to", query.to), zone)?;
    let statistics = administration::statistics(&mut conn, window, state.clock.now()).await?;
    Ok(Success::ok("Costs and proceeds of coupons.", statistics))
}

/// Place in a list of the uses of a coupon.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RedemptionQuery {
    /// `nextCursor` of the answer before, to read on from there; not together with `page`.
    #[garde(skip)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{1,100}$")]
    cursor: Option<Cursor<lists::Redemptions>>,
}

/// Lists the uses of a coupon, newest first.
#[utoipa::path(get, path = "/admin/coupons/{id}/redemptions", tag = "admin: coupons", params(("id" = Uuid, Path), PageQuery, RedemptionQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of redemptions", body = Envelope<Vec<RedeemedBy>>), Missing))]
async fn coupon_redemptions(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<CouponId>,
    Paged(page, query): Paged<RedemptionQuery>,
) -> Reply<Vec<RedeemedBy>> {
    let found = coupons::redemptions_of(&state.db, id, page.span(query.cursor)?).await?;
    let place = |used: &RedeemedBy| used.redemption.place();
    Ok(Success::walk::<lists::Redemptions>(
        "Who has used this coupon.",
        page,
        found,
        place,
    ))
}

/// The coupon types: active plugins that decide coupons.
#[utoipa::path(get, path = "/admin/coupon-types", tag = "admin: coupons", security(("bearer" = [])),
    responses((status = 200, description = "Coupon types by id", body = Envelope<Vec<CouponTypeView>>)))]
async fn coupon_types(State(state): State<AppState>, _admin: Admin) -> Reply<Vec<CouponTypeView>> {
    let types = state
        .plugins
        .all_active(Kind::Coupon)
        .into_iter()
        .filter_map(|plugin| {
            let description = plugin.coupon_description()?;
            let about = plugin.about();
            Some(CouponTypeView {
                plugin: about.id.clone(),
                version: about.version.clone(),
                title: about.title.clone(),
                summary: about.summary.clone(),
                parameters_schema: description.parameters_schema.clone(),
                places: description
                    .places
                    .iter()
                    .map(|place| place_name(*place).to_owned())
                    .collect(),
            })
        });
    Ok(Success::ok("The coupon types.", types.collect()))
}
