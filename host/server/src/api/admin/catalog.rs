//! `/admin/catalog`: what is sold, for administrators.

use axum::extract::State;
use dermaga_shop::{
    audit::GivenReason,
    catalog::{CatalogReload, ImageView},
};
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState},
    http::{Body, Envelope, Reply, Success, failure_responses, routes},
};

failure_responses!(Reloading: Conflict);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(reload))
        .routes(routes!(images))
}

/// Options of a reload.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReloadRequest {
    /// True to report the changes only.
    #[serde(default)]
    #[garde(skip)]
    dry_run: bool,
    /// Reason of the act, for the audit trail; required unless `dryRun` is true.
    #[garde(dive, custom(given_unless(self.dry_run)))]
    reason: Option<GivenReason>,
}

/// Checks that a reason is given, unless the changes are only reported: they may be of prices.
fn given_unless(dry_run: bool) -> impl FnOnce(&Option<GivenReason>, &()) -> garde::Result {
    move |reason, ()| match reason {
        None if !dry_run => Err(garde::Error::new("must say why, unless `dryRun` is true")),
        _ => Ok(()),
    }
}

/// Reads the service templates again, without a restart.
///
/// New services and plans are sold at once, known ones are brought up to date. Every template is
/// put to the check of `dermaga plugin check`; one that is wrong is listed under `refused` with
/// file and line, its service stays as it was loaded last, and all others are loaded. Quota,
/// whether something is sold, and edited fields (`kept`) stay as administrators left them; what customers bought stays at its
/// price.
#[utoipa::path(post, path = "/admin/catalog/reload", tag = "admin: catalogue", request_body = ReloadRequest, security(("bearer" = [])),
    responses((status = 200, description = "The changes, made or only shown", body = Envelope<CatalogReload>), Reloading))]
async fn reload(
    State(state): State<AppState>,
    admin: Admin,
    Body(request): Body<ReloadRequest>,
) -> Reply<CatalogReload> {
    let by = admin.by(request.reason.as_ref());
    let reload = dermaga_shop::catalog::reload(&state.catalog, by, request.dry_run).await?;
    Ok(Success::ok(message(&reload), reload))
}

/// Lists the images of all services on sale, with their support as templates and administrators say.
///
/// One is old after its support, or when it was last checked more than `DERMAGA_IMAGE_CHECK_DAYS`
/// ago; the alert `IMAGE_OLD` says the same.
#[utoipa::path(get, path = "/admin/catalog/images", tag = "admin: catalogue", security(("bearer" = [])),
    responses((status = 200, description = "All of them", body = Envelope<Vec<ImageView>>)))]
async fn images(State(state): State<AppState>, _: Admin) -> Reply<Vec<ImageView>> {
    let images = state.catalog.images(state.config.image_check_days).await?;
    Ok(Success::ok("The images on sale.", images))
}

fn message(reload: &CatalogReload) -> String {
    let refused = reload.refused.len();
    let changed = match (reload.changes.len(), reload.applied) {
        (0, _) if refused > 0 => "Nothing is added or changed.".to_owned(),
        (0, _) => unchanged(reload.loaded).to_owned(),
        (1, true) => "1 service or plan is added or changed.".to_owned(),
        (1, false) => "1 service or plan would be added or changed.".to_owned(),
        (count, true) => format!("{count} services and plans are added or changed."),
        (count, false) => format!("{count} services and plans would be added or changed."),
    };
    let refused = match refused {
        0 => return changed,
        1 => "1 template is refused.".to_owned(),
        count => format!("{count} templates are refused."),
    };
    format!("{changed} {refused}")
}

/// Says that a reload of so many templates, none of them refused, changes nothing.
const fn unchanged(templates: usize) -> &'static str {
    match templates {
        0 => "There is no template: nothing is added or changed.",
        1 => "The catalogue is as the template says.",
        _ => "The catalogue is as the templates say.",
    }
}
