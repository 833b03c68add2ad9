//! Uploads of plugins: `POST /admin/plugins`, and what became of those that are compiled after the answer.

use axum::{
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse as _, Response},
};
use dermaga_runtime::SizeClass;
use dermaga_shop::{
    Error, Result,
    audit::GivenReason,
    ids::UploadId,
    plugins::{
        self, PluginClass, Upload, VersionState, VersionView,
        signatures::{Distrust, Signature},
        uploads::{self, PluginUpload, UploadState},
    },
};
use utoipa::{
    ToSchema,
    openapi::{Ref, schema::AnyOfBuilder},
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState, admin::reasons},
    http::{
        Envelope, FORM_OVERHEAD, Form, Id, Refusal, Reply, Success, failure_responses,
        form::{Optional, once, once_if_any, or_empty},
        routes,
    },
};

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: &str = "respond-async";
/// Bytes of the short parts of an upload.
const SHORT_PART: usize = 1024;

failure_responses!(Uploading: ComponentRefused, Conflict, PayloadTooLarge, UnsupportedMediaType, PluginBusy);
failure_responses!(Missing: NotFound);

/// The routes of uploads; `component_bytes`, the size of the largest class, bounds one before it is read.
pub(super) fn router(component_bytes: usize) -> OpenApiRouter<AppState> {
    let limit = component_bytes.saturating_add(FORM_OVERHEAD);
    OpenApiRouter::new()
        .routes(routes!(upload))
        .layer(DefaultBodyLimit::max(limit))
        .routes(routes!(upload_progress))
}

fn class_or_none() -> AnyOfBuilder {
    or_empty(Ref::from_schema_name("PluginClass")).description(Some(
        "Grants the plugin this class with the upload. Without it, the class it was granted before holds, else \
         `standard`.",
    ))
}

/// A component, as the part `component` of a form, and what goes with it. An empty part is as none, but for the
/// component, and for a signature that is a file with a name.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document")]
struct UploadForm {
    #[schema(value_type = String, format = Binary)]
    component: Vec<u8>,
    #[schema(schema_with = class_or_none)]
    class: Option<PluginClass>,
    /// Signature of its publisher, as `dermaga plugin sign` writes it.
    #[schema(max_length = 200)]
    signature: Option<String>,
    #[schema(schema_with = reasons::part_schema)]
    reason: Option<GivenReason>,
}

/// Uploads a component: it is checked and staged, and serves no customer until it is activated.
/// With `Prefer: respond-async` (RFC 7240) the answer comes before a large component is compiled; without it, an upload
/// that takes longer than DERMAGA_REQUEST_TIMEOUT is given up.
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
        reason,
    } = UploadParts::read(form, component_bytes).await?;
    let upload = Upload {
        component,
        class,
        signature,
        uploaded_by: Some(admin.user_id),
        reason,
    };
    let templates = state.catalog.templates.of_plugins();
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
        VersionState::Retired => format!(
            "{id} {number} is installed already and RETIRED: it is not activated again. Upload the plugin with a higher version number."
        ),
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
    reason: Option<GivenReason>,
}

impl UploadParts {
    async fn read(mut form: Form, component_bytes: usize) -> Result<Self> {
        let mut component = None;
        let (mut class, mut signature) = (Optional::Absent, Optional::Absent);
        let mut reason = Optional::Absent;
        while let Some(part) = form.next().await? {
            match part.name() {
                "component" => {
                    let bytes = part.bytes(component_bytes).await?;
                    once(&mut component, "component", bytes)?;
                }
                "class" => {
                    let named = part.optional_text(SHORT_PART).await?;
                    let named = named.read(|named| {
                        let class = named.parse::<PluginClass>();
                        class.map_err(|why| Error::invalid("class", why))
                    })?;
                    once_if_any(&mut class, "class", named)?;
                }
                "signature" => {
                    let bytes = part.optional_bytes(SHORT_PART).await?;
                    let read = bytes.read(|bytes| read_signature(&bytes))?;
                    once_if_any(&mut signature, "signature", read)?;
                }
                "reason" => once_if_any(&mut reason, "reason", reasons::of_part(part).await?)?,
                _ => {
                    return Err(part.unknown(&["component", "class", "signature", "reason"]));
                }
            }
        }
        let component = component.ok_or_else(|| {
            let message = "is missing: send the component as the form's part `component`";
            Error::invalid("component", message)
        })?;
        Ok(Self {
            component,
            class: class.filled(),
            signature: signature.filled(),
            reason: reason.filled(),
        })
    }
}

fn read_signature(bytes: &[u8]) -> Result<Signature> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned());
    text.and_then(str::parse)
        .map_err(|why| Distrust::Malformed(why).refusal())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header is a list, of which each part may have parameters (RFC 7240).
    #[test]
    fn an_answer_before_the_end_is_asked_for_by_name() {
        for (lines, is_asked) in [
            (vec![], false),
            (vec!["respond-async"], true),
            (vec!["Respond-Async"], true),
            (vec!["wait=10, respond-async"], true),
            (vec!["respond-async; q=1"], true),
            (vec!["return=minimal", "respond-async"], true),
            (vec!["respond-asynchronously"], false),
            (vec!["x; respond-async"], false),
            (vec![""], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append("prefer", line.parse().unwrap());
            }
            assert_eq!(prefers_async(&headers), is_asked, "{lines:?}");
        }
    }
}
