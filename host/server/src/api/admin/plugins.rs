//! `/admin/plugins`.

use axum::{
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse as _, Response},
};
use dermaga_runtime::SizeClass;
use dermaga_shop::{
    Error, Result,
    ids::UploadId,
    plugins::{
        self, Activation, GrantedClass, PluginClass, PluginView, Reset, Retirement, Upload,
        VersionState, VersionView,
        signatures::{Distrust, Signature},
        uploads::{self, PluginUpload, UploadState},
    },
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState},
    http::{
        Body, Envelope, FORM_OVERHEAD, Form, Id, Params, Refusal, Reply, Segment, Success,
        failure_responses, form::once, routes,
    },
};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: &str = "respond-async";
/// Bytes of the short parts of an upload.
const SHORT_PART: usize = 1024;

failure_responses!(Uploading: ComponentRefused, PayloadTooLarge, UnsupportedMediaType, PluginBusy);
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
    let limit = component_bytes.saturating_add(FORM_OVERHEAD);
    OpenApiRouter::new()
        .routes(routes!(upload))
        .layer(DefaultBodyLimit::max(limit))
        .routes(routes!(upload_progress))
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

/// A component, as the part `component` of a form, and what goes with it.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
struct UploadForm {
    #[schema(value_type = String, format = Binary)]
    component: Vec<u8>,
    /// Grants the plugin this class with the upload. Without it, the class it was granted before
    /// holds, else `standard`.
    class: Option<PluginClass>,
    /// Signature of its publisher, as `dermaga plugin sign` writes it.
    #[schema(max_length = 200)]
    signature: Option<String>,
}

/// Uploads a component: it is checked and staged, and serves no customer until it is activated.
/// With `Prefer: respond-async` (RFC 7240) the answer comes before a large component is compiled.
#[utoipa::path(post, path = "/admin/plugins", tag = "admin: plugins", security(("bearer" = [])),
    params(("Prefer" = Option<String>, Header, description = "`respond-async`: compile after the answer")),
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "Staged, with its conformance report", body = Envelope<VersionView>),
        (status = 202, description = "Being compiled; `Location` says where to look", body = Envelope<PluginUpload>), Uploading))]
async fn upload(
    State(state): State<AppState>,
    admin: Admin,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let limits = &state.config.runtime.limits;
    // One that is a little larger is refused by its own code.
    let component_bytes = limits
        .component_bytes_of(SizeClass::Large)
        .saturating_add(FORM_OVERHEAD);
    let UploadParts {
        component,
        class,
        signature,
    } = UploadParts::read(form, component_bytes).await?;
    let upload = Upload {
        component,
        class,
        signature,
        uploaded_by: Some(admin.user_id),
    };
    let templates = state.catalog.templates.current();
    if prefers_async(&headers) {
        let by = (admin.user_id, state.scheduler.server());
        let upload = uploads::begin(&state.plugins, templates, upload, by).await?;
        let location = format!("/api/admin/plugins/uploads/{}", upload.id);
        let answer = Success::accepted("The component is being compiled.", upload);
        let applied = [
            (header::LOCATION, location),
            (PREFERENCE_APPLIED, RESPOND_ASYNC.to_owned()),
        ];
        return Ok((applied, answer).into_response());
    }
    let version = plugins::stage(&state.plugins, upload, &templates).await?;
    let (id, number) = (&version.plugin_id, &version.version);
    let message = match version.state {
        VersionState::Staged => format!("{id} {number} is staged. Activate it to use it."),
        state => format!("{id} {number} is installed already; it is {state}."),
    };
    Ok(Success::created(message, version).into_response())
}

/// RFC 7240: preferences are separated by commas, parameters follow a semicolon.
fn prefers_async(headers: &HeaderMap) -> bool {
    let values = headers.get_all("prefer").iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next())
        .any(|name| name.trim().eq_ignore_ascii_case(RESPOND_ASYNC))
}

/// Returns the progress of an upload that was answered before it was compiled.
#[utoipa::path(get, path = "/admin/plugins/uploads/{id}", tag = "admin: plugins", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The upload as it is now", body = Envelope<PluginUpload>), Missing))]
async fn upload_progress(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<UploadId>,
) -> Reply<PluginUpload> {
    let upload = uploads::find(&state.plugins, id).await?;
    let message = match upload.state {
        UploadState::Compiling => "The component is being compiled.",
        UploadState::Staged => "The component is staged. Activate it to use it.",
        UploadState::Refused => "The component was refused.",
    };
    Ok(Success::ok(message, upload))
}

/// Parts of an upload.
struct UploadParts {
    component: Vec<u8>,
    class: Option<PluginClass>,
    signature: Option<Signature>,
}

impl UploadParts {
    async fn read(mut form: Form, component_bytes: usize) -> Result<Self> {
        let (mut component, mut class, mut signature) = (None, None, None);
        while let Some(part) = form.next().await? {
            match part.name() {
                "component" => {
                    let bytes = part.bytes(component_bytes).await?;
                    once(&mut component, "component", bytes)?;
                }
                "class" => {
                    let named = part.text(SHORT_PART).await?.parse();
                    let named = named.map_err(|why| Error::invalid("class", why))?;
                    once(&mut class, "class", named)?;
                }
                "signature" => {
                    let bytes = part.bytes(SHORT_PART).await?;
                    once(&mut signature, "signature", read_signature(&bytes)?)?;
                }
                _ => return Err(part.unknown(&["component", "class", "signature"])),
            }
        }
        let component = component.ok_or_else(|| {
            let message = "is missing: send the component as the form's part `component`";
            Error::invalid("component", message)
        })?;
        Ok(Self {
            component,
            class,
            signature,
        })
    }
}

fn read_signature(bytes: &[u8]) -> Result<Signature> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned());
    text.and_then(str::parse)
        .map_err(|why| Distrust::Malformed(why).refusal())
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
#[utoipa::path(delete, path = "/admin/plugins/{id}/versions/{digest}", tag = "admin: plugins", params(VersionPath), security(("bearer" = [])),
    responses((status = 200, description = "Deleted", body = Envelope<Deleted>), Deleting))]
async fn delete(
    State(state): State<AppState>,
    admin: Admin,
    Segment(path): Segment<VersionPath>,
) -> Reply<Deleted> {
    plugins::delete(&state.plugins, &path.id, &path.digest, admin.user_id).await?;
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
    let (digest, actor_id) = (&request.digest, Some(admin.user_id));
    let templates = state.catalog.templates.current();
    let activation = plugins::activate(&state.plugins, &templates, &id, digest, actor_id).await?;
    Ok(Success::ok(
        format!("{} {} is active.", activation.plugin_id, activation.version),
        activation,
    ))
}

/// Activates the version that was active before.
#[utoipa::path(post, path = "/admin/plugins/{id}/rollback", tag = "admin: plugins", security(("bearer" = [])),
    params(("id" = String, Path, description = "Plugin id")),
    responses((status = 200, description = "The earlier version is active", body = Envelope<Activation>), Activating))]
async fn roll_back(
    State(state): State<AppState>,
    admin: Admin,
    Segment(id): Segment<String>,
) -> Reply<Activation> {
    let templates = state.catalog.templates.current();
    let activation = plugins::roll_back(&state.plugins, &templates, &id, admin.user_id).await?;
    Ok(Success::ok(
        format!(
            "{} {} is active again.",
            activation.plugin_id, activation.version
        ),
        activation,
    ))
}

/// A class to grant, and why.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClassRequest {
    #[garde(skip)]
    class: PluginClass,
    /// Reason of at least 10 characters; kept with the audit.
    #[serde(deserialize_with = "dermaga_shop::text::typed_prose")]
    #[garde(length(chars, min = 10, max = 500), custom(dermaga_shop::text::reason))]
    #[schema(min_length = 10, max_length = 500)]
    reason: String,
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
        plugins::grant_class(&state.plugins, &id, class, reason.trim(), admin.user_id).await?;
    Ok(Success::ok(
        format!("{} is of the {} class.", granted.plugin_id, granted.class),
        granted,
    ))
}

/// Retires a version that is not active: it cannot be activated any more. Instances provisioned
/// with it stay on it.
#[utoipa::path(post, path = "/admin/plugins/{id}/versions/{digest}/retire", tag = "admin: plugins", security(("bearer" = [])),
    params(VersionPath),
    responses((status = 200, description = "Retired", body = Envelope<Retirement>), Retiring))]
async fn retire(
    State(state): State<AppState>,
    admin: Admin,
    Segment(path): Segment<VersionPath>,
) -> Reply<Retirement> {
    let retirement = plugins::retire(&state.plugins, &path.id, &path.digest, admin.user_id).await?;
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
    params(("id" = String, Path, description = "Plugin id"), RetireQuery),
    responses((status = 200, description = "Retired", body = Envelope<Retirement>), RetiringAll))]
async fn retire_plugin(
    State(state): State<AppState>,
    admin: Admin,
    Segment(id): Segment<String>,
    Params(query): Params<RetireQuery>,
) -> Reply<Retirement> {
    let stop_selling = query.stop_selling;
    let retirement =
        plugins::retire_plugin(&state.plugins, &id, admin.user_id, stop_selling).await?;
    Ok(Success::ok(format!("{id} is retired."), retirement))
}

/// Ends the suspension of a version that failed again and again, on every server.
#[utoipa::path(post, path = "/admin/plugins/{id}/versions/{digest}/reset", tag = "admin: plugins", security(("bearer" = [])),
    params(VersionPath),
    responses((status = 200, description = "Called again", body = Envelope<Reset>), Resetting))]
async fn reset(
    State(state): State<AppState>,
    admin: Admin,
    Segment(path): Segment<VersionPath>,
) -> Reply<Reset> {
    let reset = plugins::reset(&state.plugins, &path.id, &path.digest, admin.user_id).await?;
    Ok(Success::ok("The version is called again.", reset))
}
