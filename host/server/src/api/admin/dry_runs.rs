//! `/admin/plugins/{id}/dry-run`.

use axum::extract::State;
use dermaga_runtime::{CallError, Failure, Plugin};
use dermaga_shop::{
    Code, Error, Result, input,
    plugins::{self, Registry, decisions},
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState},
    http::{Body, Envelope, Reply, Segment, Success, failure_responses, routes},
};

failure_responses!(Calling: NotFound, PluginFailed, PluginUnavailable, PluginBusy);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(dry_run))
}

/// A call to try.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DryRunRequest {
    /// As in the contract, for example `evaluate`.
    #[garde(length(chars, min = 1, max = 50))]
    #[schema(min_length = 1, max_length = 50)]
    function: String,
    #[schema(value_type = Object)]
    #[garde(skip)]
    input: Value,
    /// SHA-256 of the version; the active one when absent.
    #[garde(inner(length(equal = 64)))]
    #[schema(min_length = 64, max_length = 64)]
    digest: Option<String>,
}

/// Answer and usage of a tried call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DryRunView {
    #[schema(value_type = Object)]
    output: Value,
    #[schema(value_type = Object)]
    usage: Value,
    #[schema(value_type = Vec<Object>)]
    logs: Value,
}

/// Calls one function of a plugin and changes nothing.
#[utoipa::path(post, path = "/admin/plugins/{id}/dry-run", tag = "admin: plugins", request_body = DryRunRequest, security(("bearer" = [])),
    params(("id" = String, Path, description = "Plugin id")),
    responses((status = 200, description = "The answer", body = Envelope<DryRunView>), Calling))]
async fn dry_run(
    State(state): State<AppState>,
    _admin: Admin,
    Segment(id): Segment<String>,
    Body(request): Body<DryRunRequest>,
) -> Reply<DryRunView> {
    let plugin = tried(&state.plugins, &id, request.digest.as_deref()).await?;
    let called =
        tokio::task::spawn_blocking(move || plugin.call_json(&request.function, &request.input))
            .await
            .map_err(Error::internal)?
            .map_err(|error| not_run(&error))?;
    let view = DryRunView {
        output: called.value,
        usage: serde_json::to_value(called.usage)?,
        logs: serde_json::to_value(&called.logs)?,
    };
    Ok(Success::ok("The plugin answered.", view))
}

/// Returns the version to try: the active one unless another is named.
async fn tried(registry: &Registry, id: &str, digest: Option<&str>) -> Result<Plugin> {
    let found = match digest {
        Some(digest) => registry.version(digest).await,
        None => plugins::active(registry, id).await,
    };
    let plugin = match found {
        Ok(plugin) => plugin,
        Err(refusal) => {
            // Naming a plugin that nobody uploaded is the caller's mistake: waiting does not help.
            plugins::with_versions(registry, id).await?;
            return Err(refusal);
        }
    };
    if plugin.about().id == id {
        Ok(plugin)
    } else {
        Err(Error::not_found("version of this plugin"))
    }
}

/// The failure of a dry run; what its caller did wrong is no fault of the plugin.
fn not_run(error: &CallError) -> Error {
    let (field, message) = match &error.failure {
        Failure::BadInput(why) => {
            let fault = input::of_serde("input", why, "input");
            // A fault without a name is of the input itself, or of a value somewhere in it.
            match fault.message.as_str() {
                message @ ("must be null" | "must be an object") => {
                    (fault.field, message.to_owned())
                }
                message if fault.field == "input" => {
                    (fault.field, format!("has a value that {message}"))
                }
                _ => (fault.field, fault.message),
            }
        }
        Failure::UnknownFunction { known } => (
            "function".to_owned(),
            format!("is not a function of this plugin; there are: {known}"),
        ),
        _ => return decisions::failed_in_full(error),
    };
    let refusal = "The dry run does not fit the plugin.";
    Error::new(Code::ValidationFailed, refusal).with(field, message)
}
