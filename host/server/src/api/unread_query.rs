//! Refuses the query of an operation that reads none.
//!
//! A parameter that is ignored is dangerous where it means a condition to its sender:
//! `POST /api/admin/catalog/reload?dryRun=true` would apply what was to be looked at. The document
//! says which operations have parameters in their query; those refuse unknown ones themselves.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::{IntoResponse, Response},
};
use dermaga_shop::payments::WEBHOOK_PATH;
use utoipa::openapi::{
    OpenApi, PathItem, RefOr,
    path::{Operation, ParameterIn},
};

use crate::http::{NoFilter, Params};

/// Operations that read their query, or must take any.
#[derive(Debug)]
pub(super) struct QueryReaders(Operations);

/// Set of operations, by the pattern of their route. `HEAD` is as `GET`.
#[derive(Debug, Default)]
pub(super) struct Operations(HashMap<String, Vec<Method>>);

impl Operations {
    pub(super) fn add(&mut self, method: Method, path: &str) {
        self.0.entry(path.to_owned()).or_default().push(method);
    }

    pub(super) fn has(&self, method: &Method, path: &str) -> bool {
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let methods = self.0.get(path);
        methods.is_some_and(|methods| methods.contains(method))
    }
}

impl QueryReaders {
    /// Collects the operations whose query has parameters in the document, and those of the notice
    /// URL, to which gateways and proxies add what they like.
    pub(super) fn of(document: &OpenApi) -> Arc<Self> {
        let mut readers = Operations::default();
        for (path, item) in &document.paths.paths {
            for (method, operation) in operations(item) {
                if path == WEBHOOK_PATH || has_query(operation) {
                    readers.add(method, path);
                }
            }
        }
        Arc::new(Self(readers))
    }
}

/// Lists the operations of a path with their methods.
pub(super) fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let all = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn has_query(operation: &Operation) -> bool {
    let mut parameters = operation.parameters.iter().flatten();
    parameters.any(|parameter| {
        matches!(parameter, RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query)
    })
}

/// Refuses a request with a query parameter when its operation has none.
pub(super) async fn refuse_unread_query(
    State(readers): State<Arc<QueryReaders>>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().query().is_none() || readers.0.has(request.method(), path.as_str()) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    match Params::<NoFilter>::from_request_parts(&mut parts, &()).await {
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => refusal.into_response(),
    }
}
