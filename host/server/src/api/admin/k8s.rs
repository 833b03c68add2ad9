//! `/admin/k8s`: what is in the cluster, for administrators.

use axum::extract::State;
use dermaga_shop::{
    Error,
    cluster::{
        ClusterServiceView, IngressView, NamespaceView, NodeView, PodView, Scope, WorkloadView,
    },
    ids::UserId,
    provisioning::EntryChoice,
    text::{self, counted},
};
use garde::Validate;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{Admin, AppState},
    http::{
        Envelope, NoFilter, PageQuery, Paged, Reply, Segment, Success, failure_responses, routes,
    },
};

failure_responses!(Reading: NoCluster, ClusterUnavailable);
failure_responses!(ReadingOne: NotFound, NoCluster, ClusterUnavailable);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(nodes))
        .routes(routes!(node))
        .routes(routes!(namespaces))
        .routes(routes!(pods))
        .routes(routes!(workloads))
        .routes(routes!(services))
        .routes(routes!(ingresses))
}

/// Part of the cluster to look at.
#[derive(Debug, Deserialize, IntoParams, Validate)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ScopeQuery {
    #[garde(inner(custom(named)))]
    #[param(max_length = 63, pattern = "^[a-z0-9-]+$", format = "namespace")]
    namespace: Option<String>,
    /// Id of the customer whose objects to list.
    #[garde(skip)]
    owner: Option<UserId>,
}

impl ScopeQuery {
    fn scope(self) -> Scope {
        Scope {
            namespace: self.namespace,
            owner: self.owner,
        }
    }
}

pub(super) fn named(name: &str, (): &()) -> garde::Result {
    text::namespace(name).map_err(garde::Error::new)
}

/// Lists the cluster's nodes, with the load that their pods put on them.
#[utoipa::path(get, path = "/admin/k8s/nodes", tag = "admin: cluster", params(PageQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of them", body = Envelope<Vec<NodeView>>), Reading))]
async fn nodes(
    State(state): State<AppState>,
    _: Admin,
    Paged(page, NoFilter {}): Paged<NoFilter>,
) -> Reply<Vec<NodeView>> {
    let cluster = state.instances.handle.cluster()?;
    let found = cluster.nodes(page.part()).await?;
    let message = format!("{}.", counted(found.total, "node"));
    Ok(Success::page(message, page, found))
}

/// Returns one of the cluster's nodes.
#[utoipa::path(get, path = "/admin/k8s/nodes/{name}", tag = "admin: cluster", params(("name" = String, Path)),
    security(("bearer" = [])),
    responses((status = 200, description = "The node", body = Envelope<NodeView>), ReadingOne))]
async fn node(
    State(state): State<AppState>,
    _: Admin,
    Segment(name): Segment<String>,
) -> Reply<NodeView> {
    let cluster = state.instances.handle.cluster()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(Error::not_found("node").into());
    }
    Ok(Success::ok("The node.", cluster.node(&name).await?))
}

/// Lists the cluster's namespaces, with the sum of their pods.
#[utoipa::path(get, path = "/admin/k8s/namespaces", tag = "admin: cluster", params(PageQuery, ScopeQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of them", body = Envelope<Vec<NamespaceView>>), Reading))]
async fn namespaces(
    State(state): State<AppState>,
    _: Admin,
    Paged(page, query): Paged<ScopeQuery>,
) -> Reply<Vec<NamespaceView>> {
    let cluster = state.instances.handle.cluster()?;
    let found = cluster.namespaces(&query.scope(), page.part()).await?;
    let message = format!("{}.", counted(found.total, "namespace"));
    Ok(Success::page(message, page, found))
}

/// Lists the cluster's pods, with their usage next to requests and limits.
#[utoipa::path(get, path = "/admin/k8s/pods", tag = "admin: cluster", params(PageQuery, ScopeQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of them", body = Envelope<Vec<PodView>>), Reading))]
async fn pods(
    State(state): State<AppState>,
    _: Admin,
    Paged(page, query): Paged<ScopeQuery>,
) -> Reply<Vec<PodView>> {
    let cluster = state.instances.handle.cluster()?;
    let found = cluster.pods(&query.scope(), page.part()).await?;
    let message = format!("{}.", counted(found.total, "pod"));
    Ok(Success::page(message, page, found))
}

/// Lists the cluster's Deployments, and its StatefulSets, which databases run in.
#[utoipa::path(get, path = "/admin/k8s/deployments", tag = "admin: cluster", params(PageQuery, ScopeQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of them", body = Envelope<Vec<WorkloadView>>), Reading))]
async fn workloads(
    State(state): State<AppState>,
    _: Admin,
    Paged(page, query): Paged<ScopeQuery>,
) -> Reply<Vec<WorkloadView>> {
    let cluster = state.instances.handle.cluster()?;
    let found = cluster.workloads(&query.scope(), page.part()).await?;
    let message = format!("{}.", counted(found.total, "workload"));
    Ok(Success::page(message, page, found))
}

/// Lists the cluster's Services, with the endpoints behind them.
#[utoipa::path(get, path = "/admin/k8s/services", tag = "admin: cluster", params(PageQuery, ScopeQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of them", body = Envelope<Vec<ClusterServiceView>>), Reading))]
async fn services(
    State(state): State<AppState>,
    _: Admin,
    Paged(page, query): Paged<ScopeQuery>,
) -> Reply<Vec<ClusterServiceView>> {
    let cluster = state.instances.handle.cluster()?;
    let found = cluster.services(&query.scope(), page.part()).await?;
    let message = format!("{}.", counted(found.total, "Service"));
    Ok(Success::page(message, page, found))
}

/// Lists the cluster's Ingresses; with `DERMAGA_ENTRY=gateway`, its HTTPRoutes in the same form.
#[utoipa::path(get, path = "/admin/k8s/ingresses", tag = "admin: cluster", params(PageQuery, ScopeQuery), security(("bearer" = [])),
    responses((status = 200, description = "A page of them", body = Envelope<Vec<IngressView>>), Reading))]
async fn ingresses(
    State(state): State<AppState>,
    _: Admin,
    Paged(page, query): Paged<ScopeQuery>,
) -> Reply<Vec<IngressView>> {
    let cluster = state.instances.handle.cluster()?;
    let entry = &state.instances.handle.classes().entry;
    let found = entry.ways_in(cluster, &query.scope(), page.part()).await?;
    let message = match entry.choice {
        EntryChoice::Ingress => format!("{}.", counted(found.total, "Ingress object")),
        EntryChoice::Gateway => format!("{}.", counted(found.total, "route")),
    };
    Ok(Success::page(message, page, found))
}
