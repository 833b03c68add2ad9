//! Refuses the query of an operation that reads none.
//!
//! A parameter that is ignored is dangerous where it means a condition to its sender:
//! `POST /api/admin/catalog/reload?dryRun=true` would apply what was to be looked at. The document
//! says which operations have parameters in their query; those refuse unknown ones themselves.

use std::{collections::HashSet, sync::Arc};

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
pub struct QueryReaders(HashSet<(Method, String)>);

impl QueryReaders {
    /// Collects the operations whose query has parameters in the document, and those of the notice
    /// URL, to which gateways and proxies add what they like.
    pub fn of(document: &OpenApi) -> Arc<Self> {
        let mut readers = HashSet::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in operations(item) {
                if path == WEBHOOK_PATH || has_query(operation) {
                    readers.insert((method, path.clone()));
                }
            }
        }
        Arc::new(Self(readers))
    }

    fn reads(&self, method: &Method, path: &str) -> bool {
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        self.0.contains(&(method.clone(), path.to_owned()))
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
pub async fn refuse_unread_query(
    State(readers): State<Arc<QueryReaders>>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().query().is_none() || readers.reads(request.method(), path.as_str()) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    match Params::<NoFilter>::from_request_parts(&mut parts, &()).await {
        Ok(_) => next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => refusal.into_response(),
    }
}
