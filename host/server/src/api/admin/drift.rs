//! `/admin/instances/drift`: differences between the database and the cluster, and their repair.

use axum::extract::State;
use dermaga_shop::{
    audit::GivenReason,
    provisioning::drift::{
        self, Chosen, DriftKind, DriftView, Item, Order, RepairAction, RepairOutcome, RepairedView,
    },
    text::counted,
};
use garde::Validate;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::{k8s::named, working_time};
use crate::{
    api::{Admin, AppState},
    http::{Body, Envelope, PageQuery, Paged, Reply, Success, failure_responses, routes},
};

failure_responses!(Comparing: NoCluster, ClusterUnavailable);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(repair))
}

/// Differences to list.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DriftQuery {
    #[garde(skip)]
    drift: Option<DriftKind>,
    /// Namespace to compare; its Secrets are then compared too.
    #[garde(inner(custom(named)))]
    #[param(max_length = 63, pattern = "^[a-z0-9-]+$", format = "namespace")]
    namespace: Option<String>,
}

/// Lists the differences between the database and the cluster, with the repair of each.
///
/// Only kinds are compared that instances are made of, with namespaces, quotas, limits, role bindings,
/// replica sets and pods; Secrets by their names, in one namespace at a time.
#[utoipa::path(get, path = "/admin/instances/drift", operation_id = "drift", tag = "admin: instances",
    params(PageQuery, DriftQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of them", body = Envelope<Vec<DriftView>>), Comparing))]
async fn list(
    State(state): State<AppState>,
    _: Admin,
    Paged(page, query): Paged<DriftQuery>,
) -> Reply<Vec<DriftView>> {
    let namespace = query.namespace.as_deref();
    let found = drift::list(&state.instances, namespace, query.drift, page.part()).await?;
    let message = format!("{}.", counted(found.total, "difference"));
    Ok(Success::page(message, page, found))
}

/// An object, as the list of differences names it.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DriftItem {
    /// Kubernetes' kind, such as `ConfigMap`.
    #[garde(length(chars, min = 1, max = 63))]
    #[schema(min_length = 1, max_length = 63)]
    kind: String,
    #[garde(custom(named))]
    #[schema(
        min_length = 1,
        max_length = 63,
        pattern = "^[a-z0-9-]+$",
        format = "namespace"
    )]
    namespace: String,
    #[garde(length(chars, min = 1, max = 253))]
    #[schema(min_length = 1, max_length = 253)]
    name: String,
    /// Kubernetes' id of the object that was looked at; absent for a missing one only.
    #[garde(inner(length(chars, min = 1, max = 100)))]
    #[schema(min_length = 1, max_length = 100)]
    uid: Option<String>,
}

/// Repair of differences: of those that are named, or of all of some kinds.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RepairDriftRequest {
    #[garde(skip)]
    action: RepairAction,
    /// Objects to repair; none where `drift` says which.
    #[garde(length(max = 100), dive, custom(one_choice(&self.drift)))]
    #[serde(default)]
    #[schema(max_items = 100)]
    items: Vec<DriftItem>,
    /// Kinds of differences to repair, 100 at most in one request; those that need a name are refused.
    #[garde(length(max = 4))]
    #[serde(default)]
    #[schema(max_items = 4)]
    drift: Vec<DriftKind>,
    /// Namespace to keep to, beside `drift`.
    #[garde(inner(custom(named)))]
    #[schema(max_length = 63, pattern = "^[a-z0-9-]+$", format = "namespace")]
    namespace: Option<String>,
    #[garde(dive)]
    reason: GivenReason,
}

/// Checks that either objects or kinds are named.
fn one_choice(kinds: &[DriftKind]) -> impl FnOnce(&Vec<DriftItem>, &()) -> garde::Result {
    let has_kinds = !kinds.is_empty();
    move |items, ()| match (items.is_empty(), has_kinds) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => Err(garde::Error::new(
            "must name objects, unless `drift` names kinds: one of the two is needed",
        )),
        (false, true) => Err(garde::Error::new(
            "must be left out where `drift` names kinds",
        )),
    }
}

impl From<DriftItem> for Item {
    fn from(item: DriftItem) -> Self {
        Self {
            kind: item.kind,
            namespace: item.namespace,
            name: item.name,
            uid: item.uid,
        }
    }
}

/// Repairs differences between the database and the cluster, and answers for each object.
///
/// Repeating it is safe: what is as asked already is answered `DONE`, and what 20 seconds (two thirds of
/// DERMAGA_REQUEST_TIMEOUT, where that is less) are not enough for is `REFUSED` until then. Objects of
/// others, and of instances that this database never knew, are deleted only when they are named one by one.
#[utoipa::path(post, path = "/admin/instances/drift/repair", operation_id = "repair_drift", tag = "admin: instances",
    request_body = RepairDriftRequest, security(("bearer" = [])),
    responses((status = 200, description = "The outcome for each object", body = Envelope<Vec<RepairedView>>), Comparing))]
async fn repair(
    State(state): State<AppState>,
    admin: Admin,
    Body(request): Body<RepairDriftRequest>,
) -> Reply<Vec<RepairedView>> {
    let budget = working_time::begin(&state);
    let RepairDriftRequest {
        action,
        items,
        drift: kinds,
        namespace,
        reason,
    } = request;
    let chosen = if items.is_empty() {
        Chosen::Kinds(kinds, namespace)
    } else {
        Chosen::Items(items.into_iter().map(Item::from).collect())
    };
    let order = Order {
        action,
        chosen,
        reason: reason.into(),
    };
    let answers = drift::repair(&state.instances, admin.user_id, order, budget).await?;
    let done = answers
        .iter()
        .filter(|one| one.outcome == RepairOutcome::Done);
    let (done, all) = (done.count(), answers.len());
    let message = format!("{done} of {all} done.");
    Ok(Success::ok(message, answers))
}
