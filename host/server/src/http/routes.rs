//! Routes of handlers that have one type.

use std::{fmt, sync::Arc};

use axum::{extract::Request, handler::Handler, response::Response};
use futures::future::BoxFuture;

/// Handler whose own type is hidden. For each handler, compilers prove of all types in the layers around it that they
/// can move between threads: half of the time that this crate took.
pub struct Erased<S>(Arc<dyn Fn(Request, S) -> BoxFuture<'static, Response> + Send + Sync>);

impl<S> Clone for Erased<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Erased<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Erased").finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static> Handler<Erased<S>, S> for Erased<S> {
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, state: S) -> Self::Future {
        (self.0)(request, state)
    }
}

/// Hides the type of a handler.
pub fn erased<T, S: Clone + Send + Sync + 'static>(handler: impl Handler<T, S>) -> Erased<S> {
    Erased(Arc::new(move |request, state| {
        Box::pin(handler.clone().call(request, state))
    }))
}

/// Makes the routes of handlers that `utoipa::path` describes, as `utoipa_axum::routes` does, with their types hidden.
macro_rules! routes {
    ($($handler:ident),+ $(,)?) => {{
        use utoipa_axum::PathItemExt as _;
        let mut schemas = Vec::new();
        let mut paths = utoipa::openapi::path::Paths::new();
        let mut methods = axum::routing::MethodRouter::new();
        $(
            let (path, operation, types) = utoipa_axum::routes!(@resolve_types $handler : schemas);
            for method in &types {
                methods = methods.on(method.to_method_filter(), $crate::http::erased($handler));
            }
            paths.add_path_operation(&path, types, operation);
        )+
        (schemas, paths, methods)
    }};
}
pub(crate) use routes;
