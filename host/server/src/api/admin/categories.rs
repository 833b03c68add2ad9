//! `/admin/categories`.

use axum::{extract::State, response::Response};
use dermaga_shop::{
    audit::GivenReason,
    catalog::{self, CategoryChanges, ManagedCategory, NewCategory},
    ids::CategoryId,
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState, IdempotencyKey, Keyed, admin::reasons::RequiredReason},
    http::{Body, Envelope, Id, Refusal, Reply, Success, failure_responses, routes},
};

failure_responses!(Missing: NotFound);
failure_responses!(Creating: Conflict);
failure_responses!(Deleting: NotFound, InvalidState);
failure_responses!(Resetting: NotFound, InvalidState);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, change, remove))
        .routes(routes!(reset))
}

/// Lists all categories in their order.
#[utoipa::path(get, path = "/admin/categories", tag = "admin: catalogue", security(("bearer" = [])),
    responses((status = 200, description = "All categories", body = Envelope<Vec<ManagedCategory>>)))]
async fn list(State(state): State<AppState>, _admin: Admin) -> Reply<Vec<ManagedCategory>> {
    let categories = catalog::managed_categories(&state.catalog).await?;
    Ok(Success::ok("The categories.", categories))
}

/// Returns a category.
#[utoipa::path(get, path = "/admin/categories/{id}", tag = "admin: catalogue", params(("id" = Uuid, Path)), security(("bearer" = [])),
    responses((status = 200, description = "The category", body = Envelope<ManagedCategory>), Missing))]
async fn get(
    State(state): State<AppState>,
    _admin: Admin,
    Id(id): Id<CategoryId>,
) -> Reply<ManagedCategory> {
    let category = catalog::managed_category(&state.catalog, id).await?;
    Ok(Success::ok("The category.", category))
}

/// Category to create, and why.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CategoryRequest {
    /// Lower-case letters, digits and hyphens, beginning with a letter.
    #[garde(length(chars, min = 2, max = 50))]
    #[schema(min_length = 2, max_length = 50)]
    slug: String,
    #[serde(deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(length(chars, min = 1, max = 80), custom(dermaga_shop::text::title))]
    #[schema(min_length = 1, max_length = 80)]
    name: String,
    #[serde(deserialize_with = "dermaga_shop::text::typed_prose")]
    #[garde(
        length(chars, min = 1, max = 1000),
        custom(dermaga_shop::text::label),
        custom(dermaga_shop::text::prose)
    )]
    #[schema(min_length = 1, max_length = 1000)]
    description: String,
    /// Place in the list: lower ones first, those of one position by name.
    #[serde(default)]
    #[garde(range(min = 0, max = 10_000))]
    #[schema(minimum = 0, maximum = 10_000)]
    position: i64,
    /// Category above it, which has none above itself; absent for one at the top.
    #[garde(skip)]
    parent_id: Option<CategoryId>,
    #[garde(dive)]
    reason: GivenReason,
}

/// Creates a category.
#[utoipa::path(post, path = "/admin/categories", tag = "admin: catalogue", params(IdempotencyKey), request_body = CategoryRequest, security(("bearer" = [])),
    responses((status = 201, description = "Created", body = Envelope<ManagedCategory>), Creating))]
async fn create(
    State(state): State<AppState>,
    admin: Admin,
    Keyed(request, once): Keyed<CategoryRequest>,
) -> Result<Response, Refusal> {
    let new = NewCategory {
        slug: request.slug,
        name: request.name,
        description: request.description,
        position: request.position,
        parent_id: request.parent_id,
    };
    let reason = request.reason;
    let act = async {
        let made =
            catalog::create_category(&state.catalog, admin.user_id, new, reason.as_str()).await?;
        Ok(made.map(|category| {
            let message = format!("There is a category {} now.", category.name);
            Success::created(message, category)
        }))
    };
    once.answer(&state, admin.user_id, act).await
}

/// New content of a category, and why.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CategoryEdit {
    #[serde(deserialize_with = "dermaga_shop::text::typed_line")]
    #[garde(length(chars, min = 1, max = 80), custom(dermaga_shop::text::title))]
    #[schema(min_length = 1, max_length = 80)]
    name: String,
    #[serde(deserialize_with = "dermaga_shop::text::typed_prose")]
    #[garde(
        length(chars, min = 1, max = 1000),
        custom(dermaga_shop::text::label),
        custom(dermaga_shop::text::prose)
    )]
    #[schema(min_length = 1, max_length = 1000)]
    description: String,
    /// Place in the list: lower ones first, those of one position by name.
    #[serde(default)]
    #[garde(range(min = 0, max = 10_000))]
    #[schema(minimum = 0, maximum = 10_000)]
    position: i64,
    /// Category above it, which has none above itself; absent for one at the top.
    #[garde(skip)]
    parent_id: Option<CategoryId>,
    #[garde(dive)]
    reason: GivenReason,
}

/// Replaces what a category says, its place and the category above it. Name and description keep
/// these values over the templates'.
#[utoipa::path(put, path = "/admin/categories/{id}", tag = "admin: catalogue", params(("id" = Uuid, Path)), request_body = CategoryEdit, security(("bearer" = [])),
    responses((status = 200, description = "The category", body = Envelope<ManagedCategory>), Missing))]
async fn change(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<CategoryId>,
    Body(edit): Body<CategoryEdit>,
) -> Reply<ManagedCategory> {
    let wanted = CategoryChanges {
        name: edit.name,
        description: edit.description,
        position: edit.position,
        parent_id: edit.parent_id,
    };
    let (actor, reason) = (admin.user_id, edit.reason.as_str());
    let category = catalog::change_category(&state.catalog, actor, id, wanted, reason).await?;
    Ok(Success::ok("The category is changed.", category))
}

/// Brings back the templates' name and description of a category. Its place and the category above it stay.
#[utoipa::path(post, path = "/admin/categories/{id}/reset", tag = "admin: catalogue", params(("id" = Uuid, Path)), request_body = RequiredReason, security(("bearer" = [])),
    responses((status = 200, description = "The category", body = Envelope<ManagedCategory>), Resetting))]
async fn reset(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<CategoryId>,
    Body(request): Body<RequiredReason>,
) -> Reply<ManagedCategory> {
    let (actor, reason) = (admin.user_id, request.reason.as_str());
    let reset = catalog::reset_category(&state.catalog, actor, id, reason).await?;
    Ok(Success::ok(reset.message(), reset.category))
}

/// Category that is gone.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeletedCategory {
    id: CategoryId,
}

/// Deletes a category without services, sold or not, and without other categories in it.
#[utoipa::path(delete, path = "/admin/categories/{id}", tag = "admin: catalogue", params(("id" = Uuid, Path)), request_body = RequiredReason, security(("bearer" = [])),
    responses((status = 200, description = "Deleted", body = Envelope<DeletedCategory>), Deleting))]
async fn remove(
    State(state): State<AppState>,
    admin: Admin,
    Id(id): Id<CategoryId>,
    Body(request): Body<RequiredReason>,
) -> Reply<DeletedCategory> {
    let (actor, reason) = (admin.user_id, request.reason.as_str());
    catalog::delete_category(&state.catalog, actor, id, reason).await?;
    Ok(Success::ok(
        "The category is deleted.",
        DeletedCategory { id },
    ))
}
