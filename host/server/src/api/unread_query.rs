//! Refuses the query of an operation that reads none.
//!
//! A parameter that is ignored is dangerous where it means a condition to its sender:
//! `POST /api/admin/catalog/reload?dryRun=true` would apply what was to be looked at. The document
//! says which operations have parameters in their query; those refuse unknown ones themselves.

use std::collections::HashMap;

use axum::{
    extract::{FromRequestParts, Request},
    http::Method,
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
    pub(super) fn of(document: &OpenApi) -> Self {
        let mut readers = Operations::default();
        for (path, item) in &document.paths.paths {
            for (method, operation) in operations(item) {
                if path == WEBHOOK_PATH || has_query(operation) {
                    readers.add(method, path);
                }
            }
        }
        Self(readers)
    }

    /// Returns true for a request with a query that its operation does not read.
    pub(super) fn is_unread(&self, path: &str, request: &Request) -> bool {
        request.uri().query().is_some() && !self.0.has(request.method(), path)
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

/// Returns a request whose query has no parameter.
///
/// # Errors
/// The refusal of its first parameter.
pub(super) async fn refuse_query(request: Request) -> Result<Request, Box<Response>> {
    let (mut parts, body) = request.into_parts();
    match Params::<NoFilter>::from_request_parts(&mut parts, &()).await {
        Ok(_) => Ok(Request::from_parts(parts, body)),
        Err(refusal) => Err(Box::new(refusal.into_response())),
    }
}
