//! Moves of instances: `POST /admin/plugins/{id}/moves` to another version, and
//! `POST /admin/catalog/services/{slug}/moves` to the present settings, images and sizes of a template.

use axum::extract::State;
use dermaga_shop::{
    Error,
    audit::GivenReason,
    ids::InstanceId,
    provisioning::version_moves::{MOST_AT_ONCE, MoveOutcome, Moves, Order, Target, carry_out},
};
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState, admin::working_time},
    http::{Body, Envelope, Reply, Segment, Success, failure_responses, routes},
};

failure_responses!(MovingToSettings: NotFound, RollHalted);
failure_responses!(Moving: NotFound, InvalidState, RollHalted, PluginUnavailable);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(move_instances))
        .routes(routes!(move_settings))
}

/// Instances to move, and their new version.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MoveRequest {
    /// SHA-256 of the version they go to.
    #[garde(length(equal = 64))]
    #[schema(min_length = 64, max_length = 64)]
    to: String,
    /// Digest of the version they are on; any other when absent.
    #[garde(inner(length(equal = 64)))]
    #[schema(min_length = 64, max_length = 64)]
    from: Option<String>,
    /// Ids, a hundred at most; all when absent.
    #[garde(inner(length(min = 1, max = 100)))]
    #[schema(min_items = 1, max_items = 100)]
    instances: Option<Vec<InstanceId>>,
    /// Id to start after, in the order of ids: `next` of the answer before.
    #[garde(skip)]
    after: Option<InstanceId>,
    /// Largest number of instances, from 1 to 100; 100 when absent.
    #[garde(range(min = 1, max = MOST_AT_ONCE))]
    #[schema(minimum = 1, maximum = 100)]
    limit: Option<u16>,
    /// Only so many of a hundred instances, always the same ones; all when absent.
    #[garde(range(min = 1, max = 100))]
    #[schema(minimum = 1, maximum = 100)]
    share: Option<u8>,
    /// True to report the changes only.
    #[serde(default)]
    #[garde(skip)]
    dry_run: bool,
    /// True to move instances although others failed with the same target; with a `reason` alone.
    #[serde(default)]
    #[garde(skip)]
    despite_failures: bool,
    /// Reason of the act, for the audit trail; required with `despiteFailures`.
    #[garde(dive)]
    reason: Option<GivenReason>,
}

/// Moves instances of a service plugin to another of its versions, and back in the same way.
///
/// Each instance moves by itself, or stays with a reason and runs on. With `dryRun` the answer is a
/// preview: what changes in its objects, which secrets it needs, whether its pods are replaced. A
/// hundred are moved at once, or as many as 20 seconds are enough for (two thirds of
/// DERMAGA_REQUEST_TIMEOUT, where that is less); `remaining` says how many are left, and `next` where to
/// go on. Once one of them failed with the same target, and was undone or fails still, the others are
/// refused (`ROLL_HALTED`); the preview names it in `haltedBy`. With `despiteFailures` they move all the
/// same, and a `reason` is required.
#[utoipa::path(post, path = "/admin/plugins/{id}/moves", tag = "admin: plugins", request_body = MoveRequest, security(("bearer" = [])),
    params(("id" = String, Path, description = "Plugin id, for example `service-n8n`")),
    responses((status = 200, description = "The changes, made or only shown", body = Envelope<Moves>), Moving))]
async fn move_instances(
    State(state): State<AppState>,
    admin: Admin,
    Segment(plugin_id): Segment<String>,
    Body(request): Body<MoveRequest>,
) -> Reply<Moves> {
    require_reason(request.despite_failures, request.reason.as_ref())?;
    let budget = working_time::begin(&state);
    let order = Order {
        target: Target::Version {
            plugin_id,
            to: request.to,
            from: request.from,
        },
        instances: request.instances,
        after: request.after,
        limit: request.limit.unwrap_or(MOST_AT_ONCE),
        share: request.share,
        dry_run: request.dry_run,
        despite_failures: request.despite_failures,
    };
    let by = admin.by(request.reason.as_ref());
    let moves = carry_out(&state.instances, by, &order, budget).await?;
    Ok(Success::ok(message(&moves), moves))
}

/// Instances to move to the present settings, images and sizes of their template.
#[derive(Debug, Default, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettingsMoveRequest {
    /// Ids, a hundred at most; all when absent.
    #[garde(inner(length(min = 1, max = 100)))]
    #[schema(min_items = 1, max_items = 100)]
    instances: Option<Vec<InstanceId>>,
    /// Id to start after, in the order of ids: `next` of the answer before.
    #[garde(skip)]
    after: Option<InstanceId>,
    /// Largest number of instances, from 1 to 100; 100 when absent.
    #[garde(range(min = 1, max = MOST_AT_ONCE))]
    #[schema(minimum = 1, maximum = 100)]
    limit: Option<u16>,
    /// Only so many of a hundred instances, always the same ones; all when absent.
    #[garde(range(min = 1, max = 100))]
    #[schema(minimum = 1, maximum = 100)]
    share: Option<u8>,
    /// True to report the changes only.
    #[serde(default)]
    #[garde(skip)]
    dry_run: bool,
    /// True to move instances although others failed with the same target; with a `reason` alone.
    #[serde(default)]
    #[garde(skip)]
    despite_failures: bool,
    /// Reason of the act, for the audit trail; required with `despiteFailures`.
    #[garde(dive)]
    reason: Option<GivenReason>,
}

/// Moves instances of a service to the present settings, images and sizes of its template.
///
/// An edited table `[settings]` changes no instance by itself: each keeps the settings it was made
/// with. This moves them, with the same preview, in the same steps, within the same time and with the
/// same halt as a move to another version.
#[utoipa::path(post, path = "/admin/catalog/services/{slug}/moves", tag = "admin: catalogue", request_body = SettingsMoveRequest,
    security(("bearer" = [])), params(("slug" = String, Path, description = "Slug of the service, for example `valkey`")),
    responses((status = 200, description = "The changes, made or only shown", body = Envelope<Moves>), MovingToSettings))]
async fn move_settings(
    State(state): State<AppState>,
    admin: Admin,
    Segment(service): Segment<String>,
    Body(request): Body<SettingsMoveRequest>,
) -> Reply<Moves> {
    require_reason(request.despite_failures, request.reason.as_ref())?;
    let budget = working_time::begin(&state);
    let order = Order {
        target: Target::Settings { service },
        instances: request.instances,
        after: request.after,
        limit: request.limit.unwrap_or(MOST_AT_ONCE),
        share: request.share,
        dry_run: request.dry_run,
        despite_failures: request.despite_failures,
    };
    let by = admin.by(request.reason.as_ref());
    let moves = carry_out(&state.instances, by, &order, budget).await?;
    Ok(Success::ok(message(&moves), moves))
}

/// Refuses to go on despite failures without a reason, which the audit trail has beside their number.
fn require_reason(despite_failures: bool, reason: Option<&GivenReason>) -> Result<(), Error> {
    if despite_failures && reason.is_none() {
        return Err(Error::invalid("reason", "is missing"));
    }
    Ok(())
}

fn message(moves: &Moves) -> String {
    let refused = moves.instances.iter();
    let refused = refused
        .filter(|moved| moved.outcome == MoveOutcome::Refused)
        .count();
    let done = moves.instances.len().saturating_sub(refused);
    let moved = match (done, moves.applied) {
        (1, true) => format!("1 instance is being moved, {refused} refused."),
        (1, false) => format!("1 instance can be moved, {refused} refused."),
        (many, true) => format!("{many} instances are being moved, {refused} refused."),
        (many, false) => format!("{many} instances can be moved, {refused} refused."),
    };
    let mut sentences = vec![moved];
    match moves.skipped.len() {
        0 => {}
        1 => sentences.push("1 that was named is not among those to move.".to_owned()),
        some => sentences.push(format!(
            "{some} that were named are not among those to move."
        )),
    }
    match moves.remaining {
        0 => {}
        1 => sentences.push("1 instance is left for the next request, after `next`.".to_owned()),
        some => sentences.push(format!(
            "{some} instances are left for the next request, after `next`."
        )),
    }
    match moves.halted_by.len() {
        0 => {}
        1 => sentences.push(
            "1 instance failed with this target: no other is moved without despiteFailures."
                .to_owned(),
        ),
        some => sentences.push(format!(
            "{some} instances failed with this target: no other is moved without despiteFailures."
        )),
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    use dermaga_shop::{
        ids::UserId,
        provisioning::version_moves::{HaltedBy, Moved},
    };

    use super::*;

    fn moved(outcome: MoveOutcome) -> Moved {
        Moved {
            instance_id: InstanceId::from_u128(1),
            name: "ghost-1".to_owned(),
            user_id: UserId::from_u128(2),
            from: String::new(),
            outcome,
            reason: None,
            new_secrets: Vec::new(),
            changes: Vec::new(),
            diff: String::new(),
            restarts: false,
        }
    }

    fn moves(outcomes: &[MoveOutcome], applied: bool) -> Moves {
        Moves {
            plugin_id: None,
            to: None,
            service: None,
            applied,
            instances: outcomes.iter().copied().map(moved).collect(),
            skipped: Vec::new(),
            remaining: 0,
            next: None,
            halted_by: Vec::new(),
        }
    }

    #[test]
    fn failures_are_overridden_with_a_reason_alone() {
        let reason: GivenReason = "It failed for its missing exception.".parse().unwrap();
        for (despite_failures, reason) in
            [(false, None), (false, Some(&reason)), (true, Some(&reason))]
        {
            require_reason(despite_failures, reason).unwrap();
        }
        let refused = require_reason(true, None).unwrap_err();
        assert_eq!(refused.code, dermaga_shop::Code::ValidationFailed);
        assert_eq!(refused.details[0].field, "reason");
    }

    #[test]
    fn a_move_is_told_in_numbers() {
        use MoveOutcome::{Moved, Ready, Refused};
        let told: [(&[MoveOutcome], bool, &str); 5] = [
            (&[], true, "0 instances are being moved, 0 refused."),
            (&[Moved], true, "1 instance is being moved, 0 refused."),
            (&[Ready], false, "1 instance can be moved, 0 refused."),
            (
                &[Moved, Moved, Refused],
                true,
                "2 instances are being moved, 1 refused.",
            ),
            (&[Refused], false, "0 instances can be moved, 1 refused."),
        ];
        for (outcomes, applied, sentence) in told {
            assert_eq!(message(&moves(outcomes, applied)), sentence);
        }
    }

    #[test]
    fn skipped_and_failed_ones_are_told_apart() {
        let failed = |number| HaltedBy {
            instance_id: InstanceId::from_u128(number),
            name: String::new(),
            reason: String::new(),
        };
        let one = Moves {
            skipped: vec![InstanceId::from_u128(1)],
            halted_by: vec![failed(2)],
            ..moves(&[], false)
        };
        assert_eq!(
            message(&one),
            "0 instances can be moved, 0 refused. 1 that was named is not among those to move. \
             1 instance failed with this target: no other is moved without despiteFailures."
        );
        let two = Moves {
            skipped: vec![InstanceId::from_u128(1), InstanceId::from_u128(2)],
            halted_by: vec![failed(3), failed(4)],
            ..moves(&[], false)
        };
        assert!(
            message(&two)
                .contains(" 2 that were named are not among those to move. 2 instances failed")
        );
    }
}
