//! `/admin/plugins`.

use axum::extract::State;
use dermaga_shop::{
    audit::GivenReason,
    catalog,
    plugins::{
        self, Activation, GrantedClass, PluginClass, PluginView, Reset, Retirement, VersionView,
    },
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{
        Admin, AppState,
        admin::{
            plugin_uploads,
            reasons::{OptionalReason, Reason},
        },
    },
    http::{Body, Envelope, Params, Reply, Segment, Success, failure_responses, routes},
};

failure_responses!(Missing: NotFound);
failure_responses!(Deleting: NotFound, InvalidState, PluginInUse, Conflict);
failure_responses!(Retiring: NotFound, InvalidState, Conflict);
failure_responses!(RetiringAll: NotFound, InvalidState, PluginInUse, Conflict);
failure_responses!(Resetting: NotFound, PluginUnavailable);
failure_responses!(Activating: NotFound, InvalidState, Conflict, PluginUnavailable, PluginBusy);
failure_responses!(Granting: NotFound, InvalidState);

/// The routes of this domain; `component_bytes`, the size of the largest class, bounds an upload
/// before it is read.
pub(crate) fn router(component_bytes: usize) -> OpenApiRouter<AppState> {
    plugin_uploads::router(component_bytes)
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(version, delete))
        .routes(routes!(activate))
        .routes(routes!(roll_back))
        .routes(routes!(grant_class))
        .routes(routes!(retire))
        .routes(routes!(retire_plugin))
        .routes(routes!(reset))
}

/// Lists all plugins with their versions.
#[utoipa::path(get, path = "/admin/plugins", tag = "admin: plugins", security(("bearer" = [])),
    responses((status = 200, description = "Plugins by id, versions newest first", body = Envelope<Vec<PluginView>>)))]
async fn list(State(state): State<AppState>, _admin: Admin) -> Reply<Vec<PluginView>> {
    let plugins = plugins::list(&state.plugins).await?;
    Ok(Success::ok("The plugins.", plugins))
}

/// Returns a plugin with its versions.
#[utoipa::path(get, path = "/admin/plugins/{id}", tag = "admin: plugins", security(("bearer" = [])),
    params(("id" = String, Path, description = "Plugin id, for example `service-n8n`")),
    responses((status = 200, description = "The plugin", body = Envelope<PluginView>), Missing))]
async fn get(
    State(state): State<AppState>,
    _admin: Admin,
    Segment(id): Segment<String>,
) -> Reply<PluginView> {
    let plugin = plugins::with_versions(&state.plugins, &id).await?;
    Ok(Success::ok("The plugin.", plugin))
}

/// A plugin's id and a version's digest.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct VersionPath {
    /// Plugin id.
    id: String,
    /// SHA-256 of the component.
    digest: String,
}

/// Returns a version with its conformance report.
#[utoipa::path(get, path = "/admin/plugins/{id}/versions/{digest}", tag = "admin: plugins", params(VersionPath), security(("bearer" = [])),
    responses((status = 200, description = "The version", body = Envelope<VersionView>), Missing))]
async fn version(
    State(state): State<AppState>,
    _admin: Admin,
    Segment(path): Segment<VersionPath>,
) -> Reply<VersionView> {
    let version = plugins::version(&state.plugins, &path.id, &path.digest).await?;
    Ok(Success::ok("The version.", version))
}

/// A version that is gone.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Deleted {
    digest: String,
}

/// Deletes a staged version that nothing refers to.
#[utoipa::path(delete, path = "/admin/plugins/{id}/versions/{digest}", tag = "admin: plugins", params(VersionPath),
    request_body = Option<OptionalReason>, security(("bearer" = [])),
    responses((status = 200, description = "Deleted", body = Envelope<Deleted>), Deleting))]
async fn delete(
    State(state): State<AppState>,
    admin: Admin,
    Segment(path): Segment<VersionPath>,
    reason: Reason,
) -> Reply<Deleted> {
    plugins::delete(&state.plugins, &path.id, &path.digest, reason.of(admin)).await?;
    Ok(Success::ok(
        "The version is deleted.",
        Deleted {
            digest: path.digest,
        },
    ))
}

/// Version to activate.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ActivateRequest {
    /// SHA-256 of the component.
    #[garde(length(equal = 64))]
    #[schema(min_length = 64, max_length = 64)]
    digest: String,
    /// Reason of the act, for the audit trail.
    #[garde(dive)]
    reason: Option<GivenReason>,
}

/// Makes a version the active one, without a restart.
///
/// No request meets anything in between. A version with which a service that is sold would fail is
/// refused with file and line of the template, and the one that is active stays.
#[utoipa::path(post, path = "/admin/plugins/{id}/activate", tag = "admin: plugins", request_body = ActivateRequest, security(("bearer" = [])),
    params(("id" = String, Path, description = "Plugin id")),
    responses((status = 200, description = "Active", body = Envelope<Activation>), Activating))]
async fn activate(
    State(state): State<AppState>,
    admin: Admin,
    Segment(id): Segment<String>,
    Body(request): Body<ActivateRequest>,
) -> Reply<Activation> {
    let (digest, by) = (&request.digest, Some(admin.by(request.reason.as_ref())));
    let templates = state.catalog.templates.of_plugins();
    let activation = plugins::activate(&state.plugins, &templates, &id, digest, by).await?;
    tell_of_templates(&state, &id).await;
    Ok(Success::ok(
        format!("{} {} is active.", activation.plugin_id, activation.version),
        activation,
    ))
}

/// Activates the version that was active before.
#[utoipa::path(post, path = "/admin/plugins/{id}/rollback", tag = "admin: plugins", security(("bearer" = [])),
    params(("id" = String, Path, description = "Plugin id")), request_body = Option<OptionalReason>,
    responses((status = 200, description = "The earlier version is active", body = Envelope<Activation>), Activating))]
async fn roll_back(
    State(state): State<AppState>,
    admin: Admin,
    Segment(id): Segment<String>,
    reason: Reason,
) -> Reply<Activation> {
    let (templates, by) = (state.catalog.templates.of_plugins(), reason.of(admin));
    let activation = plugins::roll_back(&state.plugins, &templates, &id, by).await?;
    tell_of_templates(&state, &id).await;
    Ok(Success::ok(
        format!(
            "{} {} is active again.",
            activation.plugin_id, activation.version
        ),
        activation,
    ))
}

/// Brings the alerts about templates of a plugin up to date. It is active, whatever becomes of them.
async fn tell_of_templates(state: &AppState, plugin_id: &str) {
    if let Err(error) = Box::pin(catalog::tell_of_plugin(&state.catalog, plugin_id)).await {
        tracing::warn!(%error, plugin.id = plugin_id, "catalog.alerts_not_told");
    }
}

/// A class to grant, and why.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClassRequest {
    #[garde(skip)]
    class: PluginClass,
    /// Reason of at least 10 characters; kept with the audit.
    #[garde(dive)]
    reason: GivenReason,
}

/// Grants a plugin a class of size and memory: `large` for one that brings an interpreter with it.
#[utoipa::path(put, path = "/admin/plugins/{id}/class", tag = "admin: plugins", request_body = ClassRequest, security(("bearer" = [])),
    params(("id" = String, Path, description = "Plugin id")),
    responses((status = 200, description = "Granted", body = Envelope<GrantedClass>), Granting))]
async fn grant_class(
    State(state): State<AppState>,
    admin: Admin,
    Segment(id): Segment<String>,
    Body(request): Body<ClassRequest>,
) -> Reply<GrantedClass> {
    let ClassRequest { class, reason } = request;
    let granted =
        plugins::grant_class(&state.plugins, &id, class, reason.as_str(), admin.user_id).await?;
    Ok(Success::ok(
        format!("{} is of the {} class.", granted.plugin_id, granted.class),
        granted,
    ))
}

/// Retires a version that is not active: it cannot be activated any more. Instances provisioned
/// with it stay on it.
#[utoipa::path(post, path = "/admin/plugins/{id}/versions/{digest}/retire", tag = "admin: plugins", security(("bearer" = [])),
    params(VersionPath), request_body = Option<OptionalReason>,
    responses((status = 200, description = "Retired", body = Envelope<Retirement>), Retiring))]
async fn retire(
    State(state): State<AppState>,
    admin: Admin,
    Segment(path): Segment<VersionPath>,
    reason: Reason,
) -> Reply<Retirement> {
    let by = reason.of(admin);
    let retirement = plugins::retire(&state.plugins, &path.id, &path.digest, by).await?;
    Ok(Success::ok("The version is retired.", retirement))
}

/// Options of a plugin's retirement.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RetireQuery {
    /// True to end the sale of the services that the plugin makes; without it, a plugin of services
    /// on sale is not retired.
    #[serde(default)]
    #[garde(skip)]
    stop_selling: bool,
}

/// Retires a plugin with all its versions: nothing new is sold with it. Live subscriptions stay on
/// the versions they have.
#[utoipa::path(post, path = "/admin/plugins/{id}/retire", tag = "admin: plugins", security(("bearer" = [])),
    params(("id" = String, Path, description = "Plugin id"), RetireQuery), request_body = Option<OptionalReason>,
    responses((status = 200, description = "Retired", body = Envelope<Retirement>), RetiringAll))]
async fn retire_plugin(
    State(state): State<AppState>,
    admin: Admin,
    Segment(id): Segment<String>,
    Params(query): Params<RetireQuery>,
    reason: Reason,
) -> Reply<Retirement> {
    let (by, stop_selling) = (reason.of(admin), query.stop_selling);
    let retirement = plugins::retire_plugin(&state.plugins, &id, by, stop_selling).await?;
    Ok(Success::ok(format!("{id} is retired."), retirement))
}

/// Ends the suspension of a version that failed again and again, on every server.
#[utoipa::path(post, path = "/admin/plugins/{id}/versions/{digest}/reset", tag = "admin: plugins", security(("bearer" = [])),
    params(VersionPath), request_body = Option<OptionalReason>,
    responses((status = 200, description = "Called again", body = Envelope<Reset>), Resetting))]
async fn reset(
    State(state): State<AppState>,
    admin: Admin,
    Segment(path): Segment<VersionPath>,
    reason: Reason,
) -> Reply<Reset> {
    let by = reason.of(admin);
    let reset = plugins::reset(&state.plugins, &path.id, &path.digest, by).await?;
    Ok(Success::ok("The version is called again.", reset))
}
