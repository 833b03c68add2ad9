//! `/healthz`, `/readyz` and `/metrics`: for machines, outside the API.

use std::time::Duration;

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use dermaga_shop::{Error, Result, alerts, provisioning::ProvisionerStatus};
use serde::Serialize;
use tokio::time::timeout;

use crate::{api::AppState, telemetry};

/// Longest wait for the database: a probe gives up soon after.
const LONGEST: Duration = Duration::from_secs(2);

pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(|| async { telemetry::render_metrics() }))
}

#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: CheckStatus,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum CheckStatus {
    Ok,
    /// Something does not work, and requests can be answered all the same.
    Warning,
    Failed,
}

async fn ready(State(state): State<AppState>) -> impl IntoResponse {
    let (database, alerts) = tokio::join!(database(&state), alerts(&state));
    let mut checks = vec![database, plugins(&state), cluster(&state), alerts];
    checks.extend(end(&state));
    let ready = checks
        .iter()
        .all(|check| check.status != CheckStatus::Failed);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready, checks }))
}

async fn database(state: &AppState) -> Check {
    let engine = state.db.engine_name();
    let answer = timeout(LONGEST, state.db.ping()).await;
    let (status, message) = match answer {
        Ok(Ok(())) => (CheckStatus::Ok, format!("{engine} answers")),
        Ok(Err(error)) => {
            tracing::error!(%error, "readiness.database");
            (CheckStatus::Failed, format!("{engine} does not answer"))
        }
        Err(_) => {
            tracing::error!("readiness.database_slow");
            (
                CheckStatus::Failed,
                format!("{engine} does not answer in time"),
            )
        }
    };
    Check {
        name: "database",
        status,
        message,
    }
}

/// A server that ends still answers, and is to be sent nothing more.
fn end(state: &AppState) -> Option<Check> {
    state.departure.is_leaving().then(|| Check {
        name: "server",
        status: CheckStatus::Failed,
        message: "this server is about to end".to_owned(),
    })
}

/// A plugin that does not load takes its own service or coupons away, not the shop.
fn plugins(state: &AppState) -> Check {
    let failures = state.plugins.failures();
    let (status, message) = if failures.is_empty() {
        (CheckStatus::Ok, "every active plugin is loaded".to_owned())
    } else {
        let names: Vec<&str> = failures.iter().map(|(id, _)| id.as_str()).collect();
        (
            CheckStatus::Warning,
            format!("could not be loaded: {}", names.join(", ")),
        )
    };
    Check {
        name: "plugins",
        status,
        message,
    }
}

/// Neither the folder nor the cluster's version or error: anybody may ask.
fn cluster(state: &AppState) -> Check {
    let ProvisionerStatus {
        provisioner,
        is_available,
        ..
    } = state.instances.handle.status();
    let (status, message) = match (provisioner, is_available) {
        ("directory", _) => (CheckStatus::Ok, "manifests are written, not applied"),
        (_, true) => (CheckStatus::Ok, "the cluster answers"),
        (_, false) => (CheckStatus::Warning, "the cluster does not answer"),
    };
    Check {
        name: "provisioner",
        status,
        message: format!("{provisioner}: {message}"),
    }
}

/// Kinds and numbers only: anybody may ask.
async fn alerts(state: &AppState) -> Check {
    let open = timeout(LONGEST, open_alerts(state)).await;
    let open = open.unwrap_or_else(|_| Err(Error::internal("the database is slow")));
    let (status, message) = match open {
        Ok(open) if open.is_empty() => (CheckStatus::Ok, "no alert is open".to_owned()),
        Ok(open) => {
            let kinds = open.iter().map(|(kind, count)| format!("{count} {kind}"));
            let message = format!("open: {}", kinds.collect::<Vec<_>>().join(", "));
            (CheckStatus::Warning, message)
        }
        Err(error) => {
            tracing::error!(%error, "readiness.alerts");
            (CheckStatus::Warning, "the alerts cannot be read".to_owned())
        }
    };
    Check {
        name: "alerts",
        status,
        message,
    }
}

async fn open_alerts(state: &AppState) -> Result<Vec<(alerts::AlertKind, i64)>> {
    alerts::open(&mut state.db.read().await?).await
}
