//! `/wallet/transactions/{id}/decisions`: why a customer was charged.

use axum::extract::State;
use dermaga_shop::{
    plugins::{self, ExplainedDecision},
    wallet::{self, TransactionName},
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    api::{AppState, Customer},
    http::{Envelope, Reply, Segment, Success, failure_responses, routes},
};

failure_responses!(Missing: NotFound);

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(decisions_of_transaction))
}

/// Lists the plugin decisions behind a transaction's amount, with their reasons.
#[utoipa::path(get, path = "/wallet/transactions/{id}/decisions", tag = "wallet", security(("bearer" = [])),
    params(("id" = String, Path, description = "Id or number of the transaction")),
    responses((status = 200, description = "The decisions; empty where no plugin was asked", body = Envelope<Vec<ExplainedDecision>>), Missing))]
async fn decisions_of_transaction(
    State(state): State<AppState>,
    customer: Customer,
    Segment(name): Segment<TransactionName>,
) -> Reply<Vec<ExplainedDecision>> {
    let mut conn = state.db.read().await?;
    let transaction = wallet::transaction_of(&mut conn, customer.user_id, name).await?;
    let views = plugins::explain(&mut conn, transaction.id).await?;
    Ok(Success::ok("The decisions and their reasons.", views))
}
