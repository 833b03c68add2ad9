//! `/admin/clock`: reading the shop's clock and moving it, for rehearsals. Not there outside
//! `--dev`.

use axum::extract::State;
use chrono::{DateTime, Utc};
use dermaga_shop::{
    Error, Result,
    audit::{self, AuditAct, Event, GivenReason, Subject},
    db::Clock,
    timekeeping::setting::{self, ClockSetting},
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState},
    http::{Body, Envelope, Reply, Success, failure_responses, routes},
};

failure_responses!(Absent: NotFound);
failure_responses!(Moving: NotFound, ValidationFailed);

/// The routes of this domain.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(read, set))
}

/// The shop's clock.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ClockView {
    #[serde(serialize_with = "dermaga_shop::calendar::in_json")]
    now: DateTime<Utc>,
    /// The same where the shop is.
    local: String,
    timezone: &'static str,
    /// Seconds that the clock was moved by from the system's time.
    offset_seconds: i64,
}

impl ClockView {
    fn of(clock: &Clock) -> Self {
        let now = clock.now();
        Self {
            now,
            local: clock.written(now),
            timezone: clock.zone().name(),
            offset_seconds: clock.offset().unwrap_or_default().num_seconds(),
        }
    }
}

/// Setting of the clock: one of the two.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClockRequest {
    /// The moment it shows now.
    #[garde(skip)]
    #[serde(default, deserialize_with = "dermaga_shop::input::optional_moment")]
    now: Option<DateTime<Utc>>,
    /// Distance from the system's time: `+31d`, `-2h`, `90m`; `0s` sets it right again.
    #[garde(inner(length(chars, min = 2, max = 20)))]
    #[schema(min_length = 2, max_length = 20)]
    offset: Option<String>,
    /// Reason of the act, for the audit trail.
    #[garde(dive)]
    reason: Option<GivenReason>,
}

impl ClockRequest {
    fn setting(&self) -> Result<ClockSetting> {
        match (self.now, &self.offset) {
            (Some(moment), None) => Ok(ClockSetting::Now(moment)),
            (None, Some(text)) => setting::offset(text)
                .map(ClockSetting::Offset)
                .map_err(|wrong| Error::invalid("offset", wrong)),
            _ => Err(Error::invalid(
                "now",
                "or `offset` is required, and not both",
            )),
        }
    }
}

/// The shop's clock. Only there in development, with `--dev`.
#[utoipa::path(get, path = "/admin/clock", tag = "admin: jobs", security(("bearer" = [])),
    responses((status = 200, description = "The clock", body = Envelope<ClockView>), Absent))]
async fn read(State(state): State<AppState>, _admin: Admin) -> Reply<ClockView> {
    let clock = movable(&state)?;
    Ok(Success::ok("The clock.", ClockView::of(clock)))
}

/// Moves the shop's clock, so that a month can be rehearsed: jobs run as if the time had passed.
/// Access tokens age with it, so sign in again. Only there in development, with `--dev`.
#[utoipa::path(put, path = "/admin/clock", tag = "admin: jobs", request_body = ClockRequest, security(("bearer" = [])),
    responses((status = 200, description = "The clock as it is now", body = Envelope<ClockView>), Moving))]
async fn set(
    State(state): State<AppState>,
    admin: Admin,
    Body(request): Body<ClockRequest>,
) -> Reply<ClockView> {
    let clock = movable(&state)?;
    let setting = request.setting()?;
    let system = clock.now() - clock.offset().unwrap_or_default();
    if !setting.is_usable(system) {
        let field = match setting {
            ClockSetting::Now(_) => "now",
            ClockSetting::Offset(_) => "offset",
        };
        let message = "must set the clock to a time between 2000-01-01 and 2199-12-31 (UTC)";
        return Err(Error::invalid(field, message).into());
    }
    let offset = setting.offset(system);
    clock.set_offset(offset);
    // Moved back, it would wait for what it wrote down before.
    dermaga_shop::timekeeping::mend(&state.db, clock).await?;
    let mut conn = state.db.begin().await?;
    let details = json!({ "offsetSeconds": offset.num_seconds() });
    let event = Event::new(AuditAct::ClockSet, Subject::Clock, details);
    let by = admin.by(request.reason.as_ref());
    audit::record_by(&mut conn, clock, by, event).await?;
    conn.commit().await?;
    tracing::warn!(clock.offset_s = offset.num_seconds(), "clock.set");
    let view = ClockView::of(clock);
    let message = format!("The shop's clock shows {}.", view.local);
    Ok(Success::ok(message, view))
}

/// The clock, where it may be moved.
fn movable(state: &AppState) -> Result<&Clock> {
    let may_move = state.config.payments.sandbox && !state.config.is_production();
    if may_move && state.clock.offset().is_some() {
        Ok(&state.clock)
    } else {
        Err(Error::not_found("route"))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn asked(now: Option<DateTime<Utc>>, offset: Option<&str>) -> Result<ClockSetting> {
        let request = ClockRequest {
            now,
            offset: offset.map(str::to_owned),
            reason: None,
        };
        request.setting()
    }

    #[test]
    fn a_clock_is_set_by_a_moment_or_an_offset() {
        let moment = DateTime::UNIX_EPOCH;
        assert_eq!(
            asked(Some(moment), None).unwrap(),
            ClockSetting::Now(moment)
        );
        let expected = ClockSetting::Offset(TimeDelta::days(31));
        assert_eq!(asked(None, Some("+31d")).unwrap(), expected);
        for (now, offset, field) in [
            (None, None, "now"),
            (Some(moment), Some("+1d"), "now"),
            (None, Some("soon"), "offset"),
        ] {
            let refused = asked(now, offset).unwrap_err();
            assert_eq!(refused.details[0].field, field, "{offset:?}");
        }
    }
}
