//! `POST /admin/coupon-types/{id}/backtest`.

use std::time::Duration;

use axum::extract::State;
use dermaga_shop::{
    Error,
    plugins::backtest::{Backtest, Window, backtest, count, too_many},
    text::counted,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState, admin::working_time},
    http::{Body, Envelope, Reply, Segment, Success, When, failure_responses, range, routes},
};

failure_responses!(Testing: NotFound, PluginUnavailable);

/// Decisions that one request may ask again: a few seconds of work for most rules.
const MOST_DECISIONS: u64 = 20_000;
/// And no longer than this for any other.
const TIME: Duration = Duration::from_secs(15);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(run))
}

/// Version to try, and decisions to try it on.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BacktestRequest {
    /// SHA-256 of the candidate, which may be staged only.
    #[garde(length(equal = 64))]
    #[schema(min_length = 64, max_length = 64)]
    digest: String,
    /// Decisions made from this moment on, or from this date on where the shop is.
    #[garde(skip)]
    // Inlined, a described field becomes both its own type and an object.
    #[schema(value_type = String, format = "date-or-date-time", examples("2026-12-31", "2026-12-31T17:00:00Z"))]
    since: When,
    /// And before this one, or until the end of this date; now when absent.
    #[garde(skip)]
    #[schema(inline)]
    until: Option<When>,
}

/// Asks a candidate version again what its coupon type decided: who would have won, who lost, and
/// what it would have cost. Changes nothing.
///
/// After fifteen seconds it stops and returns the decision to continue with.
#[utoipa::path(post, path = "/admin/coupon-types/{id}/backtest", tag = "admin: plugins", request_body = BacktestRequest, security(("bearer" = [])),
    params(("id" = String, Path, description = "Plugin id, for example `coupon-credit-topup`")),
    responses((status = 200, description = "The decision of each case", body = Envelope<Backtest>), Testing))]
async fn run(
    State(state): State<AppState>,
    _admin: Admin,
    Segment(id): Segment<String>,
    Body(request): Body<BacktestRequest>,
) -> Reply<Backtest> {
    let candidate = state.plugins.version(&request.digest).await?;
    if candidate.about().id != id {
        return Err(Error::not_found("version of this plugin").into());
    }
    let zone = state.clock.zone();
    let (since, until) = (("since", Some(request.since)), ("until", request.until));
    let (_, until) = range(since, until, zone)?;
    let window = Window {
        since: request.since.start(zone),
        until: until.unwrap_or_else(|| state.clock.now()),
    };
    if window.since >= window.until {
        return Err(Error::invalid("since", "must be before `until`").into());
    }
    let decisions = count(&state.db, &id, window).await?;
    if decisions > MOST_DECISIONS {
        return Err(too_many(decisions, MOST_DECISIONS).into());
    }
    let time = TIME.min(working_time::within(state.config.http.request_timeout));
    let found = backtest(&state.db, &candidate, window, Some(time), |_| {}).await?;
    let message = format!(
        "{} asked again: {} would have got more, {} less.",
        counted(found.decisions, "decision"),
        found.won,
        found.lost
    );
    Ok(Success::ok(message, found))
}
